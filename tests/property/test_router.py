"""The router over generated addresses and tables: round trips, order, termination."""

from __future__ import annotations

import string

from hypothesis import given
from hypothesis import strategies as st

from pbx.router import (
    Address,
    AddressError,
    CompiledTables,
    Forwarder,
    Group,
    Kind,
    Outcome,
    TableError,
    Unknown,
    UnknownPolicy,
    fan_out,
    parse_address,
    parse_table,
    route,
)
from pbx.router.address import address_of, dialled_number, split_local, standard_form, unnested
from pbx.router.engine import LIMIT, MAX_MEMBERS
from pbx.router.index import scan
from pbx.router.patterns import Pattern, PatternError, Wildcard, parse_pattern
from tests.support.routing import DictState

# Few letters and digits, so that what is generated meets what is generated elsewhere.
NAME = st.text("ab12", min_size=1, max_size=3)
DOMAIN = st.sampled_from(["a.dom", "b.dom", "alias.dom", "far.dom", "x.far.dom", "telnum", "pstn"])
KIND = st.sampled_from(list(Kind))
TEXT = st.text(st.sampled_from('ab1+*()-@%!#{},.<>[]"\\:;= \t\x00é'), max_size=25)
LITERAL = st.text("ab1+.*(\\<>;", max_size=4)


@st.composite
def patterns(draw: st.DrawFn) -> Pattern:
    wildcard = draw(st.sampled_from(list(Wildcard)))
    low = draw(st.integers(1, 4)) if wildcard is Wildcard.DIGITS else 0
    high = low + draw(st.integers(0, 3)) if low else 0
    suffix = "" if wildcard is Wildcard.NONE else draw(LITERAL)
    return Pattern(draw(LITERAL), wildcard, suffix, low, high)


@st.composite
def lines(draw: st.DrawFn) -> str:
    relay = draw(st.sampled_from(["", "Relay:", "NoRelay:", "RelayAll: "]))
    kind = draw(st.sampled_from(["", "", "Signal:", "mail:", "Access: "]))
    local = draw(
        st.one_of(NAME, st.sampled_from(["*", "(2d)", "(1-3d)", "a*", "*b", "1(1d)", "(1d)2"]))
    )
    wild = not local.isalnum()
    domain = draw(st.sampled_from(["", "@*", "@*.far.dom", "@a.dom", "@alias.dom", "@far.dom"]))
    star = draw(st.sampled_from(["", "*"])) if wild else ""
    end = draw(st.sampled_from(["", "@a.dom", "@far.dom", "@telnum", "#a", "@x.far.dom._via"]))
    right = f"{star}{draw(NAME)}{end}"
    if draw(st.booleans()):
        return f"{relay}{kind}<{local}{domain}> = {right} ; why"
    left = draw(st.sampled_from(["far.dom", "*.far.dom", "telnum", "alias.dom", "x*.dom"]))
    return f"{kind}{relay}{left}={draw(st.sampled_from(['pstn', 'a.dom', 'error', 'b@b.dom']))}"


TABLES = st.lists(lines(), max_size=8).map("\n".join)


def state_with(table: str) -> DictState:
    state = DictState("a.dom", "b.dom", table=table)
    state.hosts["alias.dom"] = "a.dom"
    state.account("a@a.dom", "1")
    state.account("b@b.dom", "12")
    state.add("a.dom", Forwarder("f", "ab@far.dom"), Group("b", ("a", "b", "f", "x@far.dom")))
    return state


@given(TEXT)
def test_an_address_that_can_be_read_is_written_the_same(text: str) -> None:
    """Its canonical form means itself."""
    wrong = None
    try:
        address = parse_address(text)
    except AddressError as error:
        wrong = error
    if wrong is None:
        assert parse_address(str(address)) == address
    else:
        assert 1 <= wrong.column <= len(text) + 1
        assert wrong.expected


@given(NAME, st.lists(st.sampled_from(["x.dom", "y.dom", "z.dom"]), min_size=1, max_size=4))
def test_all_notations_of_a_way_are_one(name: str, hops: list[str]) -> None:
    """Source route, bang path and ``%`` (Router reference §1.1)."""
    first, *rest = hops
    percent = "%".join((name, *reversed(rest)))
    expected = Address(percent, first)
    bang = "!".join((*hops, name))
    assert parse_address(f"{percent}@{first}") == expected
    assert parse_address(bang) == expected
    if rest:
        *through, last = rest
        way = ",".join(f"@{hop}" for hop in (first, *through))
        assert parse_address(f"<{way}:{name}@{last}>") == expected
    inner = unnested(percent)
    assert (inner is None) == (not rest)
    if inner is not None:
        assert standard_form(percent) == str(inner)


@given(st.text(max_size=20), st.sampled_from(["a.dom", "192.0.2.7", "2001:db8::1"]))
def test_the_user_part_of_a_uri_is_an_address_or_an_error(user: str, host: str) -> None:
    try:
        address = address_of(user, host)
    except AddressError:
        return
    assert "@" not in address.local.rpartition("#")[2]
    if user:
        assert parse_address(str(address)) == address


@given(st.text("0123456789()+-. a", max_size=15))
def test_dialled_numbers_have_digits_and_a_leading_plus_only(text: str) -> None:
    number = dialled_number(text)
    assert number == "" or number.removeprefix("+").isdigit()
    if number:
        assert dialled_number(number) == number


@given(st.text("ab{},#%", max_size=12))
def test_local_parts_lose_nothing(local: str) -> None:
    parts = split_local(local)
    if parts is None:
        return
    written = parts.name
    if parts.detail is not None:
        inside = "" if parts.parameters is None else f"{{{','.join(parts.parameters)}}}"
        written = f"{parts.detail}{inside}#{parts.name}"
    assert written == local


@given(patterns())
def test_patterns_are_read_as_written(pattern: Pattern) -> None:
    assert parse_pattern(str(pattern)) == pattern


@given(st.text("a1*()d-\\ ", max_size=10))
def test_a_pattern_or_an_error_with_its_column(text: str) -> None:
    wrong = None
    try:
        parse_pattern(text)
    except PatternError as error:
        wrong = error
    if wrong is not None:
        assert 0 <= wrong.column < len(text)
        assert wrong.expected


@given(TABLES, TEXT)
def test_a_table_keeps_its_text_and_names_every_wrong_line(table: str, rest: str) -> None:
    text = f"{table}\n{rest}"
    wrong = None
    try:
        read = parse_table(text)
    except TableError as error:
        wrong = error
    if wrong is not None:
        for problem in wrong.problems:
            line = text.split("\n")[problem.line - 1]
            assert 1 <= problem.column <= len(line) + 1
            assert str(problem) in str(wrong)
        return
    assert read.text == text
    for record in read.records:
        (alone,) = parse_table(record.text).records
        assert (alone.match, alone.domain, alone.local) == (
            record.match, record.domain, record.local,
        )  # fmt: skip
        assert (alone.kind, alone.relay, alone.target) == (
            record.kind, record.relay, record.target,
        )  # fmt: skip


@given(TABLES, st.text("ab12", max_size=4), DOMAIN, KIND)
def test_the_index_finds_what_a_scan_finds(table: str, local: str, domain: str, kind: Kind) -> None:
    """First match in the order of lines, whatever the index groups."""
    state = state_with(table)
    resolved = state.local_domain(domain)
    names = (domain,) if resolved in ("", domain) else (domain, resolved)
    main = resolved == "a.dom"
    arguments = (kind, local, names, main, bool(resolved))
    assert state.tables.first(*arguments) is scan(state.tables.records, *arguments)


@given(TABLES, TEXT, KIND)
def test_every_decision_ends_and_says_how(table: str, address: str, kind: Kind) -> None:
    """No table and no address makes it raise or run on."""
    state = state_with(table)
    state.policies["b.dom", kind] = UnknownPolicy(Unknown.REROUTE, "*@a.dom")
    found = route(address, kind, state, caller="a@a.dom")
    assert found.steps
    assert len(found.steps) <= 4 * LIMIT
    if found.outcome in (Outcome.UNKNOWN, Outcome.REFUSED):
        assert 400 <= found.status < 700
        assert found.reason
    else:
        assert not found.reason
    if found.outcome is Outcome.FOREIGN:
        assert found.host
        assert state.local_domain(found.host) == "" or found.host != found.address.domain
    members = list(fan_out(found, kind, state))
    assert len(members) <= MAX_MEMBERS
    assert not members or found.outcome is Outcome.GROUP


@given(TABLES, NAME, DOMAIN, KIND)
def test_without_a_relay_record_or_an_object_nothing_is_marked(
    table: str, name: str, domain: str, kind: Kind
) -> None:
    """Strangers get out only where somebody wrote that they may."""
    plain = "\n".join(
        line.replace("NoRelay:", "").replace("RelayAll:", "").replace("Relay:", "NoRelay:")
        for line in table.splitlines()
    )
    state = DictState("a.dom", table=plain)
    found = route(f"{name}@{domain}", kind, state)
    assert not found.relay


@given(st.lists(st.tuples(NAME, NAME), max_size=6), NAME)
def test_forwarders_in_any_arrangement_end(pairs: list[tuple[str, str]], start: str) -> None:
    state = DictState("a.dom")
    state.add("a.dom", *(Forwarder(name, target) for name, target in pairs))
    found = route(start, Kind.SIGNAL, state)
    assert found.status in (404, 482)


@given(st.text(string.printable, max_size=30))
def test_parameters_cannot_be_smuggled_in(text: str) -> None:
    """What a caller dials stays one parameter of one application (§2.3)."""
    state = DictState("a.dom", table="Signal:<*@pstn> = gatewaycaller{*,gwru}#pbx")
    state.account("pbx@a.dom")
    try:
        local = address_of(text, "pstn").local
    except AddressError:
        return
    found = route(Address(local, "pstn"), Kind.SIGNAL, state)
    if found.outcome is Outcome.APPLICATION:
        assert (found.account, found.detail) == ("pbx@a.dom", "gatewaycaller")
        assert found.parameters is not None
        assert len(found.parameters) == 2
        assert found.parameters[1] == "gwru"


def test_compiled_tables_keep_the_order_of_tables() -> None:
    """The server's, then the cluster's."""
    tables = CompiledTables(
        [parse_table("<a> = b", "server"), parse_table("<a> = c\n<b> = d", "cluster")]
    )
    assert [(record.table, record.line) for record in tables.records] == [
        ("server", 1), ("cluster", 1), ("cluster", 2),
    ]  # fmt: skip
    found = tables.first(Kind.MAIL, "a", (), True, False)
    assert found is tables.records[0]
