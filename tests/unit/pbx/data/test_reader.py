"""Text to values: every form of the grammar, and errors that name the place."""

from __future__ import annotations

from datetime import UTC, datetime
from ipaddress import ip_address

import pytest

from pbx.data import (
    DataLimit,
    DataSyntax,
    Era,
    IpAddress,
    Limits,
    Place,
    Value,
    XmlObject,
    parse,
    words_of,
)

VALUES: list[tuple[str, Value]] = [
    ("MyName", "MyName"),
    ("user1@corpX.un", "user1@corpX.un"),
    ("Пётр", "Пётр"),
    ("a!b#c%d:e", "a!b#c%d:e"),
    ('"My Name with spaces"', "My Name with spaces"),
    (r'"a \"string\" within string"', 'a "string" within string'),
    (r'"Single \\ backslash"', "Single \\ backslash"),
    (r'"Line1\eLine2"', "Line1\nLine2"),
    ("\"\\r\\n\\t\\012\\u'41F'\"", "\r\n\t\x0cП"),
    ('"one" "two"\n"three"', "onetwothree"),
    ('""', ""),
    ("#50", 50),
    ("#-50", -50),
    ("#0x17EF", 0x17EF),
    ("#-0b1000111000", -0b1000111000),
    ("#0o45374", 0o45374),
    ("#9223372036854775807", 2**63 - 1),
    ("#-9223372036854775808", -(2**63)),
    ("#T22-10-2009_15:24:45", datetime(2009, 10, 22, 15, 24, 45, tzinfo=UTC)),
    ("#T22-10-2009", datetime(2009, 10, 22, tzinfo=UTC)),
    ("#TPAST", Era.PAST),
    ("#TFUTURE", Era.FUTURE),
    ("#I[10.0.44.55]", IpAddress(ip_address("10.0.44.55"))),
    ("#I[10.0.44.55]:25", IpAddress(ip_address("10.0.44.55"), 25)),
    (
        "#I[2001:470:1f01:2565::a:80f]:25",
        IpAddress(ip_address("2001:470:1f01:2565::a:80f"), 25),
    ),
    ("#NULL#", None),
    ("#null#", None),
    ("[HcqHfHI=]", bytes.fromhex("1DCA877C72")),
    ("[ Hcq\n HfHI= ] [AQ==]", bytes.fromhex("1DCA877C7201")),
    ("[]", b""),
    ("()", []),
    (
        '(Element1 , ("Sub Element1", SubElement2) , "Element 3")',
        ["Element1", ["Sub Element1", "SubElement2"], "Element 3"],
    ),
    ("{}", {}),
    (
        '{Key1=(Elem1,Elem2); "Third Key" = {Sub1="XXX 1"; Sub2=X245;};}',
        {"Key1": ["Elem1", "Elem2"], "Third Key": {"Sub1": "XXX 1", "Sub2": "X245"}},
    ),
    ('{""=#1;}', {"": 1}),
    ("// remark\n(a, /* b */ c) // more", ["a", "c"]),
    ('<a b="c>d">x<!-- < --><b/><![CDATA[<]]></a>',
     XmlObject('<a b="c>d">x<!-- < --><b/><![CDATA[<]]></a>')),
    ("{x=<a/>;}", {"x": XmlObject("<a/>")}),
]  # fmt: skip


@pytest.mark.parametrize(("text", "value"), VALUES, ids=[text for text, _ in VALUES])
def test_values(text: str, value: Value) -> None:
    assert parse(text) == value


ERRORS = [
    ("", Place(1, 1), "an object", "the end"),
    ("(Name]", Place(1, 6), '"," or ")"', "']'"),
    ("(Name LastName)", Place(1, 7), '"," or ")"', "'LastName)'"),
    ('{Name="Whatever"}', Place(1, 17), '";"', "'}'"),
    ("{Name}", Place(1, 6), '"="', "'}'"),
    ("{\n a = b;\n a = c;\n}", Place(3, 2), "not in the dictionary", "'a = c;'"),
    ("{a=b;", Place(1, 6), 'a key or "}"', "the end"),
    ("(a,)", Place(1, 4), "an object", "')'"),
    ("(a", Place(1, 3), '"," or ")"', "the end"),
    ("a b", Place(1, 3), "the end of the object", "'b'"),
    ('"open', Place(1, 1), "closing quote", "'\"open'"),
    ('"\\q"', Place(1, 2), "an escape", "'\\\\q\"'"),
    ('"\\999"', Place(1, 2), "an escape", "'\\\\999\"'"),
    ('"\\u\'D800\'"', Place(1, 2), "an escape", repr("\\u'D800'\"")),
    ("#9223372036854775808", Place(1, 1), "64 bits", "'#9223372036854775808'"),
    ("#1.5", Place(1, 1), "a number", "'#1.5'"),
    ("#x", Place(1, 1), "a number", "'#x'"),
    ("#(call 1)", Place(1, 1), "an object that can be read", "'#(call 1)'"),
    ("#T31-02-2009", Place(1, 1), "a time that exists", "'#T31-02-2009'"),
    ("#T1-2-3", Place(1, 1), "a time such as", "'#T1-2-3'"),
    ("#I[10.0.0.999]", Place(1, 1), "an IPv4 or IPv6 address", "'#I[10.0.0.999]'"),
    ("#I[10.0.0.1]:99999", Place(1, 1), "a port", "'#I[10.0.0.1]:99999'"),
    ("#I10.0.0.1", Place(1, 1), "an address such as", "'#I10.0.0.1'"),
    ("[A]", Place(1, 1), "complete base64", "'[A]'"),
    ("[A!]", Place(1, 1), "a data block", "'[A!]'"),
    ("/* no end", Place(1, 1), "a comment with its end", "'/* no end'"),
    ("<a><b></a></b>", Place(1, 7), "</b>", "'</a></b>'"),
    ("<a>", Place(1, 4), "</a>", "the end"),
    ("<a x=>", Place(1, 7), "</a>", "the end"),
    ("<a", Place(1, 1), "an XML tag", "'<a'"),
    ("(a,\r\n\r\n b c)", Place(3, 4), '"," or ")"', "'c)'"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "place", "expected", "found"), ERRORS,
                         ids=[error[0] for error in ERRORS])  # fmt: skip
def test_errors_name_place_and_expectation(
    text: str, place: Place, expected: str, found: str
) -> None:
    with pytest.raises(DataSyntax) as raised:
        parse(text)
    assert (raised.value.place, raised.value.found) == (place, found)
    assert expected in raised.value.expected


def test_depth_is_limited_for_brackets_and_xml() -> None:
    deep = Limits(depth=5)
    assert parse("(" * 5 + ")" * 5, deep) == [[[[[]]]]]
    for text in ("(" * 6 + ")" * 6, "{a=" * 6, "<a>" * 6):
        with pytest.raises(DataLimit, match="deeper than 5"):
            parse(text, deep)
    with pytest.raises(DataLimit):
        parse("(" * 100_000)


def test_length_is_limited() -> None:
    assert parse("a" * 10, Limits(chars=10)) == "a" * 10
    with pytest.raises(DataLimit, match="10 are the most"):
        parse("a" * 11, Limits(chars=10))


def test_a_long_number_is_refused_without_computing_it() -> None:
    with pytest.raises(DataSyntax, match="64 bits"):
        parse("#" + "9" * 1_000_000)


def test_words_of_a_command_line() -> None:
    words = words_of('STARTPBXTASK pbx PROGRAM rendezvous PARAM("8916XXXXXXX","401")')
    assert [word.value for word in words] == [
        "STARTPBXTASK", "pbx", "PROGRAM", "rendezvous", "PARAM", ["8916XXXXXXX", "401"],
    ]  # fmt: skip
    assert [word.bare for word in words] == [True] * 5 + [False]
    assert words[-1].column == 42


def test_words_are_laxer_than_atoms_and_strings_stay_apart() -> None:
    words = words_of('  X * ~/Junk user1%dom.ru a/b "one" "two"{a=b;}[AQ==]<a/> 2001:db8::1  ')
    assert [word.value for word in words] == [
        "X", "*", "~/Junk", "user1%dom.ru", "a/b", "one", "two", {"a": "b"}, b"\1",
        XmlObject("<a/>"), "2001:db8::1",
    ]  # fmt: skip
    assert words_of("") == []
    with pytest.raises(DataSyntax, match=r"column 3: expected a word"):
        words_of("X )")
