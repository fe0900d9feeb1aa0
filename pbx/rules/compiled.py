"""Rules ready for calls: merged by level and stage, conditions turned into functions.

Compiled when a rule set changes, never on a call. :func:`merge` puts the levels of one called
account into their order; :func:`evaluate` walks the rules of one stage and says what shall happen
and why. Nothing happens here.

Inside each stage (Telephony reference §3.4): server rules above priority 5, domain rules above 5,
all account rules, the other domain rules, the other server rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Final, NamedTuple

from pbx.rules import stages
from pbx.rules.facts import Facts
from pbx.rules.matching import Test, condition_test, shown
from pbx.rules.values import Action, Condition, Rule
from pbx.rules.vocabulary import Level, Verb

_ENDING: Final = frozenset({Verb.STOP, Verb.DISCARD, Verb.REJECT})
_SHOWN: Final = 120
"""Characters of a value in a trace; header lines of strangers may be long."""


class Entry(NamedTuple):
    """One active rule of one level."""

    level: Level
    owner: str
    """The domain or account whose rule it is; empty for the server."""
    rule: Rule
    tests: tuple[Test, ...]
    ends: bool
    """No further rule of the stage is looked at when this one applies."""
    discards: bool
    label: str
    """Whose rule it is and its name, for traces."""
    texts: tuple[str, ...]
    """The conditions in words."""


Entries = tuple[Entry, ...]


def compile_rules(level: Level, owner: str, rules: Iterable[Rule]) -> Entries:
    """The active rules of one level, in their order."""
    return tuple(
        Entry(
            level,
            owner,
            rule,
            tuple(
                condition_test(condition.subject, condition.operator, condition.parameter)
                for condition in rule.conditions
            ),
            any(action.verb in _ENDING for action in rule.actions),
            any(action.verb is Verb.DISCARD for action in rule.actions),
            f"{level.value} {owner}".rstrip() + f' "{rule.name}"',
            tuple(condition.text for condition in rule.conditions),
        )
        for rule in rules
        if rule.active
    )


class RuleSet:
    """The merged rules of one call, by stage."""

    __slots__ = ("_stages", "timed")

    def __init__(self, by_stage: Mapping[int, Entries]) -> None:
        self._stages = by_stage
        self.timed: tuple[int, ...] = tuple(
            sorted(
                (code for code in by_stage if stages.is_timed(code) and code < stages.IMMEDIATE),
                reverse=True,
            )
        )
        """Codes of the stages while it rings, the earliest first."""

    def at(self, stage: int) -> Entries:
        """The rules of a stage, in their order."""
        return self._stages.get(stage, ())

    def __bool__(self) -> bool:
        return bool(self._stages)

    def after_arrival(self) -> RuleSet:
        """Without the stage at arrival."""
        return RuleSet(
            {code: rows for code, rows in self._stages.items() if code != stages.IMMEDIATE}
        )


EMPTY: Final = RuleSet({})


def merge(server: Entries = (), domain: Entries = (), account: Entries = ()) -> RuleSet:
    """The levels of one called account in one order."""
    by_stage: dict[int, list[Entry]] = {}
    for rows, high in ((server, True), (domain, True), (account, None), (domain, False)):
        _add(by_stage, rows, high)
    _add(by_stage, server, False)
    return RuleSet({code: tuple(rows) for code, rows in by_stage.items()})


def _add(by_stage: dict[int, list[Entry]], rows: Entries, high: bool | None) -> None:
    for entry in rows:
        if high is None or (entry.rule.priority > stages.ABOVE_ACCOUNTS) is high:
            by_stage.setdefault(entry.rule.stage, []).append(entry)


class Decision(NamedTuple):
    """An action that shall take place, and whose it is."""

    action: Action
    entry: Entry


class Tested(NamedTuple):
    """One condition that was looked at."""

    condition: Condition
    seen: str
    holds: bool

    @property
    def text(self) -> str:
        """``From is *@example.com: yes (bob@example.com)``."""
        return f"{self.condition.text}: {'yes' if self.holds else 'no'} ({self.seen})"


class Looked(NamedTuple):
    """One rule that was looked at, with its conditions up to the first that did not hold."""

    level: Level
    owner: str
    name: str
    applied: bool
    tested: tuple[Tested, ...]

    @property
    def text(self) -> str:
        """One line for people."""
        whose = f"{self.level.value} {self.owner}".rstrip()
        why = ", ".join(tested.text for tested in self.tested) or "no conditions"
        return f'{whose} "{self.name}" {"applied" if self.applied else "passed over"}: {why}'


class Verdict:
    """What the rules of a stage decided; the trace is made when it is asked for."""

    __slots__ = ("__dict__", "_facts", "_looked", "actions", "discarded", "stage")

    def __init__(
        self,
        stage: int,
        actions: tuple[Decision, ...],
        discarded: bool,
        looked: list[tuple[Entry, int, bool]],
        facts: Facts,
    ) -> None:
        self.stage = stage
        self.actions = actions
        """In their order; the stops are not among them."""
        self.discarded = discarded
        """No rule shall be looked at any more, at no stage."""
        self._looked = looked
        self._facts = facts

    @cached_property
    def trace(self) -> tuple[Looked, ...]:
        """Every rule that was looked at, with the values seen."""
        return tuple(
            _looked(entry, count, applied, self._facts) for entry, count, applied in self._looked
        )

    @property
    def told(self) -> tuple[str, ...]:
        """A line each rule that was looked at, as the log keeps it: of a rule that did not apply
        only the condition that failed, since those before it held."""
        facts = self._facts
        lines = []
        for entry, count, applied in self._looked:
            if applied:
                shown_ = ", ".join(
                    [
                        f"{text} ({_short(facts, condition)})"
                        for text, condition in zip(entry.texts, entry.rule.conditions, strict=True)
                    ]
                )
                lines.append(f"{entry.label} applied: {shown_ or 'no conditions'}")
            else:
                condition = entry.rule.conditions[count - 1]
                seen = _short(facts, condition)
                lines.append(f"{entry.label} passed over: not {entry.texts[count - 1]} ({seen})")
        return tuple(lines)

    @property
    def applied(self) -> tuple[str, ...]:
        """Names of the rules that applied."""
        return tuple(entry.rule.name for entry, _, applied in self._looked if applied)


def _looked(entry: Entry, count: int, applied: bool, facts: Facts) -> Looked:
    tested = []
    for index, condition in enumerate(entry.rule.conditions[:count]):
        seen = _short(facts, condition)
        tested.append(Tested(condition, seen, applied or index < count - 1))
    return Looked(entry.level, entry.owner, entry.rule.name, applied, tuple(tested))


def _short(facts: Facts, condition: Condition) -> str:
    seen = shown(facts, condition.subject)
    return seen if len(seen) <= _SHOWN else f"{seen[: _SHOWN - 1]}…"


def evaluate(rules: RuleSet, facts: Facts, stage: int) -> Verdict:
    """What the rules of `stage` (a code) say about `facts`.

    ``Reject with`` ends the stage as ``Stop Processing`` does: the answer is given.
    """
    actions: list[Decision] = []
    looked: list[tuple[Entry, int, bool]] = []
    discarded = False
    for entry in rules.at(stage):
        for count, test in enumerate(entry.tests, 1):
            if not test(facts):
                looked.append((entry, count, False))
                break
        else:
            looked.append((entry, len(entry.tests), True))
            actions += [
                Decision(action, entry)
                for action in entry.rule.actions
                if action.verb is not Verb.STOP and action.verb is not Verb.DISCARD
            ]
            if entry.ends:
                discarded = entry.discards
                break
    return Verdict(stage, tuple(actions), discarded, looked, facts)
