"""A rule as a value, and its stored form (Telephony reference §3.1)::

    (priorityNumber, name,
     ((condition, operator, parameter), …), ((action, parameter), (action), …), comment)

The stored form comes and goes as nested lists of strings and numbers, as the data grammar reads
and writes them; numbers may be strings. What was written comes back as it was written: names keep
their spelling. A rule without conditions always applies.

Fed by commands and by the log's ``rules.changed`` events; feeds :mod:`.compiled`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from pbx.rules import stages
from pbx.rules.addresses import Target, parse_targets
from pbx.rules.errors import RuleError
from pbx.rules.matching import check_condition
from pbx.rules.vocabulary import (
    OPERATORS,
    PARAMETERS,
    SUBJECTS,
    VERBS,
    Operator,
    Parameter,
    Subject,
    Verb,
    folded,
    operators_of,
)

MAX_RULES: Final = 200
"""Rules of one level: the sets that people keep have some ten; a call looks at each."""
MAX_PARTS: Final = 32
"""Conditions of a rule, and actions."""
MAX_NAME: Final = 128
MAX_PARAMETER: Final = 4096
"""Characters; texts of messages are the longest."""

_NO_PARAMETER: Final = "---"
"""Placeholder of stored actions that have none."""
_SHAPE: Final = "expected (priorityNumber, name, (conditions), (actions)) and a comment if any"


@dataclass(frozen=True, slots=True)
class Condition:
    """One test; all tests of a rule must hold."""

    subject: Subject
    operator: Operator
    parameter: str
    spelling: tuple[str, str] = field(default=("", ""), compare=False)
    """Subject and operator as they were written; empty: the stored names."""

    @property
    def text(self) -> str:
        """For people: ``From is *@example.com``."""
        return f"{self.subject.value} {self.operator.value} {self.parameter}"


@dataclass(frozen=True, slots=True)
class Action:
    """One effect; they take place in order."""

    verb: Verb
    parameter: str = ""
    spelling: str = field(default="", compare=False)

    @property
    def text(self) -> str:
        """For people: ``Redirect To bob@example.com``."""
        return f"{self.verb.value} {self.parameter}" if self.parameter else self.verb.value

    @property
    def targets(self) -> tuple[Target, ...]:
        """The addresses of a redirect or fork."""
        return parse_targets(self.parameter)

    @property
    def rejection(self) -> tuple[int, str]:
        """Status and reason phrase (empty: the usual one) of ``Reject with``."""
        return parse_rejection(self.parameter)


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule; build it with :func:`parse_rule`, which checks it."""

    name: str
    stage: int
    """Stage code, see :mod:`.stages`."""
    priority: int
    """0 inactive, 1 to 9, 10 highest."""
    conditions: tuple[Condition, ...]
    actions: tuple[Action, ...]
    comment: str = ""

    @property
    def number(self) -> int:
        """The stored number; sets are sorted by it, highest first."""
        return self.stage * 100 + self.priority

    @property
    def active(self) -> bool:
        return self.priority != stages.INACTIVE

    def to_data(self) -> list[Any]:
        """The stored form."""
        data: list[Any] = [
            str(self.number),
            self.name,
            [
                [
                    condition.spelling[0] or condition.subject.value,
                    condition.spelling[1] or condition.operator.value,
                    condition.parameter,
                ]
                for condition in self.conditions
            ],
            [
                [action.spelling or action.verb.value]
                + ([action.parameter] if action.parameter else [])
                for action in self.actions
            ],
        ]
        return [*data, self.comment] if self.comment else data


Rules = tuple[Rule, ...]
"""The rules of one level, in their stored order: highest number first, then as they were given."""


def parse_rules(data: object) -> Rules:
    """A whole set in its stored form. Raises :class:`RuleError`; nothing of it is taken then."""
    rows = _array(data, "the rules are an array of rules")
    if len(rows) > MAX_RULES:
        raise RuleError(f"{len(rows)} rules: at most {MAX_RULES} of one level are possible")
    rules = []
    seen: dict[str, int] = {}
    for number, row in enumerate(rows, 1):
        rule = parse_rule(row, number)
        first = seen.setdefault(rule.name, number)
        if first != number:
            raise RuleError(
                f"rule {first} has the same name: give each its own", number=number, name=rule.name
            )
        rules.append(rule)
    return ordered(rules)


def check_rules(data: object) -> list[RuleError]:
    """Everything that is wrong with a set: the first error of each rule."""
    try:
        parse_rules(data)
    except RuleError as error:
        if not error.number:
            return [error]
    else:
        return []
    errors: list[RuleError] = []
    names: set[str] = set()
    for number, row in enumerate(_array(data, ""), 1):
        try:
            rule = parse_rule(row, number)
        except RuleError as error:
            errors.append(error)
            continue
        if rule.name in names:
            errors.append(
                RuleError("another rule has the same name", number=number, name=rule.name)
            )
        names.add(rule.name)
    return errors


def ordered(rules: Iterable[Rule]) -> Rules:
    """Rules as they are kept: by number, highest first; equal ones stay in order."""
    return tuple(sorted(rules, key=lambda rule: -rule.number))


def rules_to_data(rules: Rules) -> list[Any]:
    """The stored form of a set."""
    return [rule.to_data() for rule in rules]


def parse_rule(data: object, number: int = 1) -> Rule:
    """One rule; `number` is its place in the set, for errors."""
    name = ""
    try:
        parts = _array(data, "a rule is an array")
        if not 4 <= len(parts) <= 5:
            raise RuleError(f"it has {len(parts)} elements: {_SHAPE}")
        name = _name(parts[1])
        stage, priority = stages.split_number(_number(parts[0]))
        conditions = _parts(parts[2], "condition", parse_condition)
        actions = _parts(parts[3], "action", parse_action)
        comment = _text(parts[4], "the comment") if len(parts) == 5 else ""
        if not actions:
            raise RuleError("it has no action: give at least one, such as (Stop Processing)")
        for index, action in enumerate(actions[:-1], 1):
            if action.verb is Verb.STOP:
                raise RuleError("Stop Processing must be the last action", place=f"action {index}")
    except RuleError as error:
        raise RuleError(error.problem, number=number, name=name, place=error.place) from None
    return Rule(name, stage, priority, conditions, actions, comment)


def updated(rules: Rules, data: object) -> Rules:
    """The set after an ``UPDATE…RULE``: with fewer than four elements only the priority of the rule
    of that name changes, else the rule is stored in place of the one of its name."""
    parts = _array(data, "a rule is an array")
    if len(parts) >= 4:
        rule = parse_rule(parts)
        kept = [other for other in rules if other.name != rule.name]
        if len(kept) >= MAX_RULES:
            raise RuleError(f"at most {MAX_RULES} rules of one level are possible")
        return ordered([*kept, rule])
    if len(parts) < 2:
        raise RuleError(f"the change has {len(parts)} elements: expected (priorityNumber, name)")
    name = _name(parts[1])
    stage, priority = stages.split_number(_number(parts[0]))
    if all(rule.name != name for rule in rules):
        raise RuleError(f'there is no rule "{name}"', name=name)
    return ordered(
        replace(rule, stage=stage, priority=priority) if rule.name == name else rule
        for rule in rules
    )


def without(rules: Rules, name: str) -> Rules:
    """The set without the rule of that name; that there is none is no error."""
    return tuple(rule for rule in rules if rule.name != name)


def parse_condition(data: object) -> Condition:
    """``(condition, operator, parameter)``."""
    parts = _array(data, "a condition is (name, operator, parameter)")
    if len(parts) != 3:
        raise RuleError(f"it has {len(parts)} elements: expected (name, operator, parameter)")
    name = _text(parts[0], "the name of a condition")
    word = _text(parts[1], "the operator")
    parameter = _text(parts[2], "the parameter")
    subject = SUBJECTS.get(folded(name))
    if subject is None:
        known = ", ".join(known.value for known in Subject)
        raise RuleError(f'"{name}" is no condition: expected one of {known}')
    operator = OPERATORS.get(folded(word))
    possible = operators_of(subject)
    if operator not in possible:
        names = ", ".join(known.value for known in possible)
        raise RuleError(f'"{word}" is no operator of {subject.value}: expected one of {names}')
    assert operator is not None
    check_condition(subject, operator, parameter)
    spelling = ("" if name == subject.value else name, "" if word == operator.value else word)
    return Condition(subject, operator, parameter, spelling)


def parse_action(data: object) -> Action:
    """``(action, parameter)`` or ``(action)``."""
    parts = _array(data, "an action is (name) or (name, parameter)")
    if not 1 <= len(parts) <= 2:
        raise RuleError(f"it has {len(parts)} elements: expected (name) or (name, parameter)")
    name = _text(parts[0], "the name of an action")
    parameter = _text(parts[1], "the parameter").strip() if len(parts) == 2 else ""
    verb = VERBS.get(folded(name))
    if verb is None:
        known = ", ".join(known.value for known in Verb)
        raise RuleError(f'"{name}" is no action: expected one of {known}')
    wanted = PARAMETERS[verb]
    if wanted is Parameter.NONE:
        if parameter not in ("", _NO_PARAMETER):
            raise RuleError(f"{verb.value} takes no parameter")
        parameter = ""
    elif wanted is Parameter.NEEDED and not parameter:
        raise RuleError(f"{verb.value} needs a parameter")
    action = Action(verb, parameter, "" if name == verb.value else name)
    if verb in (Verb.REDIRECT, Verb.FORK):
        parse_targets(parameter)
    elif verb is Verb.REJECT:
        parse_rejection(parameter)
    elif verb is Verb.SEND_URL:
        _check_url(parameter)
    elif verb is Verb.SEND_IM:
        parse_message(parameter)
    return action


def parse_rejection(text: str) -> tuple[int, str]:
    """``486``, ``486 Busy at lunch``, ``Not now`` (603) or nothing (603)."""
    first, _, rest = text.strip().partition(" ")
    if not first.isdecimal():
        return 603, text.strip()
    status = int(first)
    if not 400 <= status <= 699:
        raise RuleError(
            f"Reject with {first}: expected a status from 400 to 699, and a text if any"
        )
    return status, rest.strip()


def parse_message(text: str) -> tuple[Target, str]:
    """The parameter of ``SendIM``: the address in the first line, the text in the others."""
    first, _, body = text.partition("\n")
    targets = parse_targets(first)
    if len(targets) != 1 or not body.strip():
        raise RuleError("SendIM: expected one address in the first line and the text below it")
    return targets[0], body


def _check_url(url: str) -> None:
    scheme, _, rest = url.partition("://")
    if scheme.lower() not in ("http", "https") or not rest or any(c.isspace() for c in url):
        raise RuleError("SendURL: expected http://… or https://… without spaces")


def _array(data: object, what: str) -> Sequence[Any]:
    if not isinstance(data, list | tuple):
        raise RuleError(f"{what}, not {_shown(data)}")
    return data


def _parts(data: object, what: str, parse: Any) -> tuple[Any, ...]:
    rows = _array(data, f"the {what}s of a rule are an array")
    if len(rows) > MAX_PARTS:
        raise RuleError(f"{len(rows)} {what}s: a rule has at most {MAX_PARTS}")
    found = []
    for index, row in enumerate(rows, 1):
        try:
            found.append(parse(row))
        except RuleError as error:
            raise RuleError(error.problem, place=f"{what} {index}") from None
    return tuple(found)


def _name(data: object) -> str:
    name = _text(data, "the name of a rule")
    if not 1 <= len(name) <= MAX_NAME or not name.isprintable():
        raise RuleError(f"the name of a rule has 1 to {MAX_NAME} printable characters")
    return name


def _number(data: object) -> int:
    if isinstance(data, int) and not isinstance(data, bool):
        return data
    if isinstance(data, str) and data.isascii() and data.isdigit() and len(data) <= 9:
        return int(data)
    raise RuleError(f"the priority number is {_shown(data)}: expected one such as 100010 or 509")


def _text(data: object, what: str) -> str:
    if isinstance(data, int) and not isinstance(data, bool):
        data = str(data)
    if not isinstance(data, str):
        raise RuleError(f"{what} is {_shown(data)}: expected a string")
    if len(data) > MAX_PARAMETER:
        raise RuleError(f"{what} has {len(data)} characters: at most {MAX_PARAMETER} are possible")
    return data


def _shown(data: object) -> str:
    text = repr(data)
    return text if len(text) <= 40 else f"{text[:37]}…"
