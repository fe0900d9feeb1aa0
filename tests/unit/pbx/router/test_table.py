"""The table language: what is taken, what a record means, what is refused and where."""

from __future__ import annotations

import pytest

from pbx.router import DEFAULT_TABLE, Address, AddressError, Kind, Relay, TableError, parse_table
from pbx.router.table import (
    MAX_LINE,
    MAX_LINES,
    MAX_PROBLEMS,
    MAX_TABLE,
    Match,
    Record,
    usable_table,
)


def only(line: str) -> Record:
    (record,) = parse_table(line).records
    return record


@pytest.mark.parametrize(
    ("line", "relay", "kind"),
    [
        ("<a> = b", Relay.NO_RELAY, None),
        ("Relay:<a>=b", Relay.RELAY, None),
        ("relayall : signal: <a>=b", Relay.RELAY_ALL, Kind.SIGNAL),
        ("MAIL:NoRelay:<a>=b", Relay.NO_RELAY, Kind.MAIL),
        ("  Access:\t<a>\t=\tb\t", Relay.NO_RELAY, Kind.ACCESS),
    ],
)
def test_prefixes_in_either_order(line: str, relay: Relay, kind: Kind | None) -> None:
    record = only(line)
    assert (record.relay, record.kind) == (relay, kind)


@pytest.mark.parametrize(
    ("left", "match"),
    [
        ("<director>", Match.MAIN),
        ("<director@localhost>", Match.MAIN),
        ("<director@127.0.0.1>", Match.MAIN),
        ("<director@*>", Match.LOCAL),
        ("<director@Some.Dom>", Match.EXACT),
        ("<director@[192.0.2.1]>", Match.EXACT),
        ("<director@*.some.dom>", Match.WILD),
        ("some.dom", Match.EXACT),
        ("mail*.some.dom", Match.WILD),
        ("node(2d).some.dom", Match.WILD),
        ("localhost", Match.MAIN),
        ("*", Match.WILD),
    ],
)
def test_what_the_domain_part_applies_to(left: str, match: Match) -> None:
    assert only(f"{left} = x.dom").match is match


@pytest.mark.parametrize(
    ("line", "local", "names", "result"),
    [
        ("<7(10d)@*> = app{+7*,gw}#pbx", "71234567890", ("a.dom",), "app{+71234567890,gw}#pbx"),
        ("<*-Sales@a.dom> = *@far.dom", "Ann-sales", ("a.dom",), "Ann@far.dom"),
        (r"<\*(2d)@*> = service{*}#", "*12", ("a.dom",), "service{12}#"),
        (r"<\*(3d)@*> = voicemail#*@*", "*401", ("alias.dom", "a.dom"), "voicemail#401@a.dom"),
        (r"<x@a.dom> = \*70@far.dom", "x", ("a.dom",), "*70@far.dom"),
        ("<x@*.a.dom> = y@*.b.dom", "x", ("w.a.dom",), "y@w.b.dom"),
        ("<(2d)@*.a.dom> = n*@*.b.dom", "12", ("w.a.dom",), "n12@w.b.dom"),
        ("*.a.dom = a.dom", "x", ("w.a.dom",), "x@a.dom"),
        ("*.a.dom = *.b.dom", "x", ("w.a.dom",), "x@w.b.dom"),
        ("a.dom = desk@b.dom", "x", ("a.dom",), "desk@b.dom"),
        ("a.dom = app#pbx", "x", ("a.dom",), "app#pbx"),
        ("*.a.dom = *@b.dom", "x", ("w.a.dom",), "w@b.dom"),
        ("a.dom = b.dom:5070", "x", ("a.dom",), "x@b.dom:5070"),
        ("<x@a.dom> = y!z", "x", ("a.dom",), "z@y"),
        ("<x@a.dom> = y@localhost", "x", ("a.dom",), "y"),
        ("<x@a.dom> = y@[2001:db8::1]", "x", ("a.dom",), "y@[2001:db8::1]"),
    ],
)
def test_rewriting(line: str, local: str, names: tuple[str, ...], result: str) -> None:
    record = only(line)
    folded = local.lower()
    assert record.fits(folded, names, False, True)
    assert str(record.rewrite(local, names)) == result


def test_what_cannot_be_a_parameter_is_not_put_between_braces() -> None:
    record = only("<*@pstn> = gatewaycaller{*}#pbx")
    for local in ("1,gwus", "1}#admin", "{1", "1#2"):
        assert record.rewrite(local, ("pstn",)) is None
    assert record.rewrite("1%2", ("pstn",)) == Address("gatewaycaller{1%2}#pbx", "")


def test_a_star_that_makes_no_domain_is_an_error_of_the_address() -> None:
    record = only("<*@a.dom> = x@*.far.dom")
    assert str(record.rewrite("w", ("a.dom",))) == "x@w.far.dom"
    with pytest.raises(AddressError):
        record.rewrite("w w", ("a.dom",))


def test_the_mark_of_a_nested_address_needs_relay_all() -> None:
    """The partner would send it on (Router reference §2.4)."""
    assert only("Relay:a.dom=b.dom").marks("x")
    assert not only("Relay:a.dom=b.dom").marks("x%far.dom")
    assert only("RelayAll:a.dom=b.dom").marks("x%far.dom")
    assert not only("a.dom=b.dom").marks("x")
    assert not only("NoRelay:a.dom=b.dom").marks("x")


def test_a_wildcard_does_not_match_the_name_of_the_main_domain() -> None:
    """Its name is gone by then; one of its aliases is not."""
    record = only("*.dom = far.dom")
    assert not record.fits("x", ("a.dom",), True, True)
    assert record.fits("x", ("alias.dom", "a.dom"), True, True)
    assert record.fits("x", ("a.dom",), False, True)


def test_comments_and_blank_lines_and_line_ends() -> None:
    text = "; only a comment\r\n\r\n  ;<a> = b\r\n<c> = d ; why\r\n\t\n"
    table = parse_table(text)
    assert table.text == text
    assert [(record.line, record.text) for record in table.records] == [(4, "<c> = d")]


@pytest.mark.parametrize(
    ("line", "column", "expected", "found"),
    [
        ("Signl:<a> = b", 1, "one of the prefixes NoRelay, Relay", "Signl:"),
        ("Relay:NoRelay:<a> = b", 7, "one of the prefixes Mail, Signal, Access", "NoRelay:"),
        ("Relay:Mail:Signal:<a> = b", 12, "no third prefix", "Signal:"),
        ("<a = b", 7, "'>' after the address", ""),
        ("<a>", 4, "'=' after the left side", ""),
        ("<a> b", 5, "'=' after the left side", "b"),
        ("<a> ; = b", 5, "'=' after the left side", ";"),
        ("a.dom ; = b", 7, "'=' after the left side", ";"),
        ("= b", 1, "a domain or an address in <>", "="),
        ("<> = b", 2, "a name, or * for any", ""),
        ("<@a.dom> = b", 2, "a name, or * for any", ""),
        ("<a@> = b", 4, "a domain such as", ""),
        ("<a b> = c", 3, "a character other than a blank", " "),
        ("<(3x)@*> = b", 2, "a digit class such as (3d)", "(3x)"),
        ("<(3d> = b", 2, "a digit class such as (3d)", "(3d"),
        ("<(5-3d)> = b", 2, "a digit class of 1 to", "(5-3d)"),
        ("<(0d)> = b", 2, "a digit class of 1 to", "(0d)"),
        ("<(3d)*> = b", 6, "literal text after the wildcard", "*"),
        ("<a\\\\> = b\\", 9, "no '\\\\' here", "b\\"),
        ("<a@x_*!.dom> = b", 4, "a domain such as *.example.com", "x_*!.dom"),
        ("a@b.dom = c", 2, "an address in <>, or a domain alone", "a@b.dom"),
        ("a..b = c", 1, "a domain such as", "a..b"),
        ("<a> =", 6, "an address or a domain after '='", ""),
        ("<a> = ; b", 6, "an address or a domain after '='", ""),
        ("<a> = b c", 8, "one address", " c"),
        ("<a> = b@", 7, "a domain after '@'", "b@"),
        ("<a> = b@c..d", 7, "a domain such as", "b@c..d"),
        ("<a> = b*", 8, "no * here", "b*"),
        ("<a> = b@*.dom", 9, "no * here", "b@*.dom"),
        ("<a@*> = b*", 10, "no * here", "b*"),
        ("<a(1d)> = b@*..dom", 11, "a domain such as", "b@*..dom"),
        ("a.dom = *.dom", 9, "no * here", "*.dom"),
        ("<a> = b\x07", 8, "can be printed", "\x07"),
        ("<a> = \ue000", 7, "can be printed", "\ue000"),
        ("<a> = " + "b" * MAX_LINE, MAX_LINE + 1, "at most", ""),
    ],
)
def test_errors_name_line_column_and_what_was_expected(
    line: str, column: int, expected: str, found: str
) -> None:
    with pytest.raises(TableError) as caught:
        parse_table(f"; first\n{line}\n<ok> = fine")
    (problem,) = caught.value.problems
    assert problem.line == 2
    assert problem.column == column, problem
    assert expected in problem.expected, problem
    assert problem.found == found
    assert f"line 2, column {column}: expected " in str(caught.value)


def test_all_wrong_lines_are_told_at_once_within_a_bound() -> None:
    with pytest.raises(TableError) as caught:
        parse_table("bad\n<ok> = fine\n" * 5)
    assert [problem.line for problem in caught.value.problems] == [1, 3, 5, 7, 9]
    with pytest.raises(TableError) as caught:
        parse_table("bad\n" * 100)
    assert len(caught.value.problems) == MAX_PROBLEMS


def test_tables_have_bounds() -> None:
    for text in ("\n" * MAX_LINES, ";" * (MAX_TABLE + 1)):
        with pytest.raises(TableError, match="at most"):
            parse_table(text)


def test_a_stored_table_is_used_as_far_as_it_can_be() -> None:
    """A line that a newer version took does not cost the others."""
    text = "<a> = b\nNewer:<c> = d\n<e> = f"
    table = usable_table(text)
    assert table.text == text
    assert [record.line for record in table.records] == [1, 3]


def test_the_default_table() -> None:
    table = parse_table(DEFAULT_TABLE)
    assert len(table.records) == 9
    assert all(len(line) <= 90 for line in DEFAULT_TABLE.splitlines())
    assert [record.line for record in table.records] == [*range(3, 12)]
