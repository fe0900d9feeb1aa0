"""Conditions as functions: parameters are read once, a call only compares.

A test takes the :class:`~pbx.rules.facts.Facts` and says whether the condition holds. Absent data
is ``False`` for ``is`` and ``in`` and ``True`` for their negations (Telephony reference §3.2);
conditions on the called account never hold while none is known.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from pbx.rules import moments
from pbx.rules.errors import RuleError
from pbx.rules.pictures import Match, any_picture, picture
from pbx.rules.vocabulary import (
    KINDS,
    NEGATIVE,
    OF_ACCOUNT,
    Kind,
    Operator,
    Subject,
)

if TYPE_CHECKING:
    from pbx.rules.facts import Facts

Test = Callable[["Facts"], bool]

_ADDRESSES: Final = frozenset({Subject.FROM, Subject.TO, Subject.AUTHENTICATED})
"""Compared as ``user@domain``: a scheme and angle brackets in a parameter do not count."""


def check_condition(subject: Subject, operator: Operator, parameter: str) -> None:
    """Whether it can be tested. Raises :class:`RuleError` with what is expected."""
    condition_test(subject, operator, parameter)


def condition_test(subject: Subject, operator: Operator, parameter: str) -> Test:
    """The function of one condition."""
    kind = KINDS.get(subject, Kind.TEXT)
    try:
        positive = _TESTS[kind](subject, operator, parameter)
    except RuleError as error:
        raise RuleError(f"{subject.value} {operator.value}: {error.problem}") from None
    test = (lambda facts: not positive(facts)) if operator in NEGATIVE else positive
    if subject in OF_ACCOUNT:
        return lambda facts: facts.has_account and test(facts)
    return test


def _match(subject: Subject, operator: Operator, parameter: str) -> Match:
    """The comparison of one text, negation left aside."""
    if subject in _ADDRESSES:
        parameter = _bare_addresses(parameter)
    several = operator in (Operator.IN, Operator.NOT_IN)
    return any_picture(parameter) if several else picture(parameter)


def _bare_addresses(parameter: str) -> str:
    parts = []
    for part in parameter.split(","):
        part = part.strip()
        if part.startswith("<") and part.endswith(">"):
            part = part[1:-1]
        scheme, colon, rest = part.partition(":")
        parts.append(rest if colon and scheme.lower() in ("sip", "sips", "mailto") else part)
    return ",".join(parts)


def _text(subject: Subject, operator: Operator, parameter: str) -> Test:
    if parameter.startswith("#") and operator in (Operator.IN, Operator.NOT_IN):
        return _dataset(subject, parameter[1:].strip())
    match = _match(subject, operator, parameter)

    def test(facts: Facts) -> bool:
        text = facts.text(subject)
        return text is not None and match(text)

    return test


def _dataset(subject: Subject, name: str) -> Test:
    """``in #Name``: the addresses of a dataset of the account."""
    if not name:
        raise RuleError("expected the name of a dataset after #")

    def test(facts: Facts) -> bool:
        text = facts.text(subject)
        return text is not None and text in facts.dataset(name)

    return test


def _lines(subject: Subject, operator: Operator, parameter: str) -> Test:
    match = _match(subject, operator, parameter)
    return lambda facts: any(match(line) for line in facts.lines(subject))


def _setting(subject: Subject, operator: Operator, parameter: str) -> Test:
    several = operator in (Operator.IN, Operator.NOT_IN)
    for part in parameter.split(",") if several else [parameter]:
        name, colon, _ = part.partition(":")
        if not colon or not name.strip():
            raise RuleError(f'"{part}" is no preference: expected name:picture')
    return _lines(subject, operator, parameter)


def _whole(text: str) -> int:
    text = text.strip()
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise RuleError(f'"{text}" is no number: expected a whole number such as 0 or 2')
    return int(text)


def _number(subject: Subject, operator: Operator, parameter: str) -> Test:
    if operator is Operator.GREATER or operator is Operator.LESS:
        bound = _whole(parameter)
        greater = operator is Operator.GREATER

        def ordering(facts: Facts) -> bool:
            value = facts.value(subject)
            return isinstance(value, int) and (value > bound if greater else value < bound)

        return ordering
    several = operator in (Operator.IN, Operator.NOT_IN)
    numbers = frozenset(_whole(part) for part in (parameter.split(",") if several else [parameter]))
    return lambda facts: facts.value(subject) in numbers


def _time(subject: Subject, operator: Operator, parameter: str) -> Test:
    if operator is Operator.GREATER or operator is Operator.LESS:
        bound = moments.parse_time(parameter)
        if operator is Operator.GREATER:
            return lambda facts: moments.day_second(facts.local) > bound
        return lambda facts: moments.day_second(facts.local) < bound
    return _any_moment(moments.time_test, operator, parameter)


def _date(subject: Subject, operator: Operator, parameter: str) -> Test:
    if operator is Operator.GREATER:
        later = moments.later_test(parameter)
        return lambda facts: later(facts.local)
    if operator is Operator.LESS:
        earlier = moments.earlier_test(parameter)
        return lambda facts: earlier(facts.local)
    return _any_moment(moments.date_test, operator, parameter)


def _any_moment(make: Callable[[str], moments.Test], operator: Operator, parameter: str) -> Test:
    several = operator in (Operator.IN, Operator.NOT_IN)
    tests = [make(part.strip()) for part in (parameter.split(",") if several else [parameter])]
    if len(tests) == 1:
        only = tests[0]
        return lambda facts: only(facts.local)
    return lambda facts: any(test(facts.local) for test in tests)


def _day(subject: Subject, operator: Operator, parameter: str) -> Test:
    several = operator in (Operator.IN, Operator.NOT_IN)
    days: frozenset[int] = frozenset()
    for part in parameter.split(",") if several else [parameter]:
        days |= moments.parse_days(part)
    return lambda facts: facts.local.isoweekday() % 7 in days


_TESTS: Final[dict[Kind, Callable[[Subject, Operator, str], Test]]] = {
    Kind.TEXT: _text,
    Kind.LINES: _lines,
    Kind.SETTING: _setting,
    Kind.NUMBER: _number,
    Kind.TIME: _time,
    Kind.DATE: _date,
    Kind.DAY: _day,
}


def shown(facts: Facts, subject: Subject) -> str:
    """The value that a condition saw, for traces; ``-`` if there is none."""
    kind = KINDS.get(subject, Kind.TEXT)
    if kind is Kind.TIME:
        return moments.show_time(facts.local)
    if kind is Kind.DATE:
        return moments.show_date(facts.local)
    if kind is Kind.DAY:
        return moments.show_day(facts.local)
    if subject in OF_ACCOUNT and not facts.has_account:
        return "-"
    value = facts.value(subject)
    if isinstance(value, tuple):
        return "; ".join(value) or "-"
    return "-" if value is None else str(value)
