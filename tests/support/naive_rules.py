"""Signal Rules decided the slow and obvious way, as a second opinion on ``pbx.rules``.

Shares only the vocabulary and the values with it: pictures become regular expressions, times are
compared as texts and tuples, nothing is compiled or cached.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime

from pbx.rules.values import Condition, Rule, Rules
from pbx.rules.vocabulary import Operator, Subject, Verb

Values = Mapping[Subject, str | int | tuple[str, ...] | None]

_OF_ACCOUNT = {Subject.REG_CLIENTS, Subject.PRESENCE, Subject.PREFERENCE, Subject.FREE_BUSY}
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def like(picture: str, text: str) -> bool:
    """``*`` is any run; case does not count."""
    pattern = ".*".join(re.escape(piece.casefold()) for piece in picture.split("*"))
    return re.fullmatch(pattern, text.casefold(), re.DOTALL) is not None


def holds(condition: Condition, values: Values, local: datetime, *, has_account: bool) -> bool:
    """Whether one condition holds."""
    subject, operator = condition.subject, condition.operator
    if subject in _OF_ACCOUNT and not has_account:
        return False
    several = operator in (Operator.IN, Operator.NOT_IN)
    parts = (
        [part.strip() for part in condition.parameter.split(",")]
        if several
        else [condition.parameter]
    )
    if operator in (Operator.GREATER, Operator.LESS):
        found = _ordered(subject, parts[0], values, local)
        return found > 0 if operator is Operator.GREATER else found < 0
    positive = any(_equal(subject, part, values, local) for part in parts)
    return positive == (operator in (Operator.IS, Operator.IN))


def _equal(subject: Subject, part: str, values: Values, local: datetime) -> bool:
    if subject is Subject.CURRENT_DAY:
        return local.strftime("%a") == part
    if subject is Subject.TIME_OF_DAY:
        begin, end = part.split("-")
        clock = local.strftime("%H:%M")
        return begin <= clock < end if begin <= end else not end <= clock < begin
    if subject is Subject.CURRENT_DATE:
        return f"{local.day:02} {MONTHS[local.month - 1]} {local.year}" == part
    value = values.get(subject)
    if value is None:
        return False
    if subject is Subject.REG_CLIENTS:
        return value == int(part)
    if isinstance(value, tuple):
        return any(like(part, line) for line in value)
    return like(part, str(value))


def _ordered(subject: Subject, part: str, values: Values, local: datetime) -> int:
    """1: greater, -1: less, 0: neither."""
    left: object
    right: object
    if subject is Subject.REG_CLIENTS:
        left, right = values.get(subject), int(part)
        if left is None:
            return 0
    elif subject is Subject.TIME_OF_DAY:
        left, right = local.strftime("%H:%M:%S"), f"{part}:00"
    else:
        day, month, year = part.split(" ")
        left = (local.year, local.month, local.day)
        right = (int(year), MONTHS.index(month) + 1, int(day))
    if left == right:
        return 0
    return 1 if left > right else -1  # type: ignore[operator]


def order(server: Rules, domain: Rules, account: Rules, stage: int) -> list[Rule]:
    """The rules of a stage as they are looked at (Telephony reference §3.4)."""

    def of(rules: Rules, low: int, high: int) -> list[Rule]:
        found = [r for r in rules if r.stage == stage and low <= r.priority <= high]
        return sorted(found, key=lambda rule: rule.priority, reverse=True)

    return [
        *of(server, 6, 10), *of(domain, 6, 10), *of(account, 1, 10),
        *of(domain, 1, 5), *of(server, 1, 5),
    ]  # fmt: skip


def decide(
    rules: Sequence[Rule], values: Values, local: datetime, *, has_account: bool = True
) -> tuple[list[str], list[str], bool]:
    """Names of the rules that apply, their actions in words, whether the rest is discarded."""
    applied: list[str] = []
    actions: list[str] = []
    for rule in rules:
        if not all(holds(c, values, local, has_account=has_account) for c in rule.conditions):
            continue
        applied.append(rule.name)
        verbs = [action.verb for action in rule.actions]
        actions += [
            action.text for action in rule.actions if action.verb not in (Verb.STOP, Verb.DISCARD)
        ]
        if Verb.DISCARD in verbs:
            return applied, actions, True
        if Verb.STOP in verbs or Verb.REJECT in verbs:
            return applied, actions, False
    return applied, actions, False
