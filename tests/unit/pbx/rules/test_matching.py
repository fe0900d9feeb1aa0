"""Conditions, one kind after the other, and the addresses of actions."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from pbx.rules import Facts, RuleError, Subject, given, parse_targets
from pbx.rules.matching import condition_test, shown
from pbx.rules.vocabulary import Operator

MOSCOW = ZoneInfo("Europe/Moscow")
#: Friday, 2026-07-24, 09:30:15 in Moscow.
MOMENT = datetime(2026, 7, 24, 6, 30, 15, tzinfo=UTC)


def holds(subject: Subject, operator: str, parameter: str, value: Any = None, **more: Any) -> bool:
    facts = Facts(given({subject: value}), MOMENT, zone=MOSCOW, **more)
    return condition_test(subject, Operator(operator), parameter)(facts)


@pytest.mark.parametrize(
    ("picture", "text", "expected"),
    [
        ("*", "", True),
        ("sip:*@corp.dom", "sip:bob@corp.dom", True),
        ("sip:*@corp.dom", "sip:bob@corp.dom;fromCC=true", False),
        ("*;fromCC=true", "sip:bob@corp.dom;fromCC=true", True),
        ("LOCAL [0.0.0.0]*", "LOCAL [0.0.0.0]:7", True),
        ("LOCAL [0.0.0.0]*", "SIP [10.0.0.1]", False),
        ("SIP [10.0.0.0/8]*", "SIP [10.1.2.3]", True),
        ("SIP [10.0.0.0/8]", "SIP [11.1.2.3]", False),
        ("* [2001:db8::/32]", "SIP [2001:db8::7]", True),
        ("* [2001:db8::/32]", "SIP [nonsense]", False),
        ("* [2001:db8::/32]", "SIP", False),
        ("SIP [1.2.3.4/99]", "SIP [1.2.3.4/99]", True),
        ("a*a", "a", False),
        ("ab*b*b", "abb", False),
        ("ab*b*b", "abbb", True),
        ("ab*c*b", "abb", False),
        ("BOB", "bob", True),
    ],
)
def test_pictures(picture: str, text: str, expected: bool) -> None:
    """``*`` is any run of characters, case does not count; networks in brackets."""
    assert holds(Subject.SUBMIT_ADDRESS, "is", picture, text) is expected
    assert holds(Subject.SUBMIT_ADDRESS, "is not", picture, text) is not expected


@pytest.mark.parametrize(
    ("subject", "operator", "parameter", "value", "expected"),
    [
        (Subject.FROM, "in", "sip:bob@a.com, *@b.org", "carol@B.org", True),
        (Subject.FROM, "is", "<sip:bob@a.com>", "bob@a.com", True),
        (Subject.FROM, "not in", "bob@a.com,*@b.org", "bob@a.com", False),
        (Subject.FROM, "is", "*", None, False),
        (Subject.FROM, "is not", "x", None, True),
        (Subject.AUTHENTICATED, "is", "", "", True),
        (Subject.REQUEST_FIELD, "is", "X-Line: gold*", ("A: b", "X-Line: gold 7"), True),
        (Subject.REQUEST_FIELD, "is not", "X-Line: gold*", ("A: b", "X-Line: gold"), False),
        (Subject.REQUEST_FIELD, "in", "A: c,A: b", ("A: b",), True),
        (Subject.REQUEST_FIELD, "is", "*", (), False),
        (Subject.REG_CLIENTS, "is", "0", 0, True),
        (Subject.REG_CLIENTS, "greater than", "1", 2, True),
        (Subject.REG_CLIENTS, "less than", "1", 1, False),
        (Subject.REG_CLIENTS, "in", "1, 2", 2, True),
        (Subject.REG_CLIENTS, "not in", "1,2", 3, True),
        (Subject.PRESENCE, "in", "busy,away", "Away", True),
        (Subject.PREFERENCE, "is", "Language:*ussian", ("Skin:x", "Language:Russian"), True),
        (Subject.PREFERENCE, "not in", "Language:E*,Skin:y", ("Language:Russian",), True),
        (Subject.FREE_BUSY, "is", "BUSY", None, False),
    ],
)
def test_values(
    subject: Subject, operator: str, parameter: str, value: Any, expected: bool
) -> None:
    assert holds(subject, operator, parameter, value) is expected


@pytest.mark.parametrize(
    ("subject", "operator", "parameter", "expected"),
    [
        (Subject.TIME_OF_DAY, "in", "09:00-13:00,14:00-18:00", True),
        (Subject.TIME_OF_DAY, "in", "06:00-07:00", False),
        (Subject.TIME_OF_DAY, "in", "22:00-09:31", True),
        (Subject.TIME_OF_DAY, "not in", "22:00-09:30", True),
        (Subject.TIME_OF_DAY, "is", "9:30am", True),
        (Subject.TIME_OF_DAY, "is", "9:30pm", False),
        (Subject.TIME_OF_DAY, "greater than", "9:30", True),
        (Subject.TIME_OF_DAY, "less than", "9:30:15", False),
        (Subject.TIME_OF_DAY, "in", "12am-12pm", True),
        (Subject.CURRENT_DAY, "in", "Mon,Tue,Wed,Thu,Fri", True),
        (Subject.CURRENT_DAY, "is", "Friday", True),
        (Subject.CURRENT_DAY, "is", "5", True),
        (Subject.CURRENT_DAY, "in", "Sat-Mon", False),
        (Subject.CURRENT_DAY, "not in", "Sat-Mon", True),
        (Subject.CURRENT_DATE, "greater than", "01 Jun 2026 00:00:00", True),
        (Subject.CURRENT_DATE, "less than", "24 Jul 2026", False),
        (Subject.CURRENT_DATE, "greater than", "24 Jul 2026", False),
        (Subject.CURRENT_DATE, "greater than", "24 Jul 2026 09:30:14", True),
        (Subject.CURRENT_DATE, "is", "2026-07-24", True),
        (Subject.CURRENT_DATE, "is", "24-07-2026", True),
        (Subject.CURRENT_DATE, "is", "#T24-07-2026_09:30:15", True),
        (Subject.CURRENT_DATE, "in", "01 May 2026,24 Jul", True),
        (Subject.CURRENT_DATE, "in", "20 Jul 2026-24 Jul 2026", True),
        (Subject.CURRENT_DATE, "in", "2026-07-20-2026-07-23", False),
        (Subject.CURRENT_DATE, "in", "20 Dec-10 Jan", False),
        (Subject.CURRENT_DATE, "in", "10 Jul-10 Aug", True),
    ],
)
def test_moments(subject: Subject, operator: str, parameter: str, expected: bool) -> None:
    """Times are meant in the zone of the account."""
    assert holds(subject, operator, parameter) is expected


@pytest.mark.parametrize(
    "subject", [Subject.REG_CLIENTS, Subject.PRESENCE, Subject.PREFERENCE, Subject.FREE_BUSY]
)
def test_no_account_no_condition(subject: Subject) -> None:
    """Conditions on the account do not hold while none is known, negated or not (§3.3)."""
    parameter = {Subject.REG_CLIENTS: "1", Subject.PREFERENCE: "a:b"}.get(subject, "x")
    for operator in ("is", "is not"):
        assert not holds(subject, operator, parameter, 1, has_account=False)
    assert shown(Facts(given({}), MOMENT, has_account=False), subject) == "-"


def test_datasets() -> None:
    """``in #Name`` asks for the addresses of a dataset."""

    def dataset(name: str) -> tuple[str, ...]:
        return ("Bob@A.com",) if name == "Seen" else ()

    assert holds(Subject.FROM, "in", "#Seen", "bob@a.com", dataset=dataset)
    assert not holds(Subject.FROM, "in", "#Other", "bob@a.com", dataset=dataset)
    assert holds(Subject.FROM, "not in", "#Other", "bob@a.com", dataset=dataset)


def test_shown_values() -> None:
    """What a trace shows of each kind."""
    facts = Facts(given({Subject.REQUEST_FIELD: ("A: b", "C: d")}), MOMENT, zone=MOSCOW)
    assert shown(facts, Subject.TIME_OF_DAY) == "09:30:15"
    assert shown(facts, Subject.CURRENT_DATE) == "24 Jul 2026 09:30:15"
    assert shown(facts, Subject.CURRENT_DAY) == "Fri"
    assert shown(facts, Subject.REQUEST_FIELD) == "A: b; C: d"
    assert shown(facts, Subject.FROM) == "-"


@pytest.mark.parametrize(
    ("text", "uri", "application"),
    [
        ("401", "sip:401@own.com", None),
        ("+7 916 123-45-67", "sip:+7916123-45-67@own.com", None),
        ("bob@b.org", "sip:bob@b.org", None),
        ("bob@b.org:5070;services=no", "sip:bob@b.org:5070;services=no", None),
        ("<sip:bob@b.org;transport=tcp>", "sip:bob@b.org;transport=tcp", None),
        ("tel:+7916", "tel:+7916", None),
        ("#voicemail", "", ("voicemail", None, "")),
        ("ccincoming#pbx", "", ("ccincoming", None, "pbx@own.com")),
        ("ccincoming#pbx@b.org", "", ("ccincoming", None, "pbx@b.org")),
        ("q{a, b,}#PBX", "", ("q", ("a", "b", ""), "pbx@own.com")),
        ("#ivr{1}", "", ("ivr", ("1",), "")),
        ("b2bua-transfer#pbx@domain.name", "", ("b2bua-transfer", None, "pbx@domain.name")),
    ],
)
def test_addresses(text: str, uri: str, application: Any) -> None:
    """The forms of §3.5; names belong to the owner's domain."""
    (target,) = parse_targets(text)
    assert target.uri_at("own.com") == uri
    if application is not None:
        found = (target.application, target.parameters, target.account_at("own.com"))
        assert found == application


def test_several_addresses() -> None:
    """Commas separate, except within braces, brackets and quotes."""
    texts = [target.text for target in parse_targets("a, q{1,2}#pbx ,<sip:c@d;x=1,2>\nbob@b.org")]
    assert texts == ["a", "q{1,2}#pbx", "<sip:c@d;x=1,2>", "bob@b.org"]


@pytest.mark.parametrize(
    "text", ["", "a b@c", "@c", "a@", "a@b@c", "#", "a#", "{x}#pbx", "x#y#z", "<bob>", "a@b c"]
)
def test_no_addresses(text: str) -> None:
    with pytest.raises(RuleError, match="expected a name"):
        parse_targets(text)


def test_too_many_addresses() -> None:
    with pytest.raises(RuleError, match="at most 20"):
        parse_targets(",".join(["a"] * 21))
