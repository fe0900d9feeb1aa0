"""Taking changes back: a revert is a new event that names what it undoes.

Nothing is removed from the log. A revert of one change touches the keys of that change only; if
one of them was changed again later it is refused, unless it is forced. Router tables are merged
line by line. The rules that hold for the change itself hold for taking it back: names must be
free, owners must exist, a table must be right. A revert deletes no object: that is said with the
command that does, since it destroys keys.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from pbx.commands import Aggregate, execute
from pbx.domain import server
from pbx.eventlog import EventLog, Meta, Position
from pbx.history.changes import (
    EVERYTHING,
    ROUTER,
    Target,
    change_at,
    changes,
    name_of,
    state_at,
)
from pbx.history.errors import HistoryError, LaterChanges
from pbx.history.lines import Conflict, merged
from pbx.history.restore import events_to
from pbx.history.show import key_text
from pbx.history.view import (
    EXISTS,
    PASSWORD,
    Change,
    Folded,
    Key,
    apply,
    diff,
    evolve,
    initial,
    view_of,
)
from pbx.inventory import Inventory
from pbx.kernel.events import Event
from pbx.router import parse_table


class Plan(NamedTuple):
    """What a revert would do."""

    target: Target
    changes: list[Change]
    """From the state now; none if it is as wanted already."""
    cause: str
    """Position of the event that is taken back, or of the last one before the time chosen."""
    notes: list[str]
    """What cannot be brought back."""


class Reverts:
    """Reverts in the name of one actor, over a log that was opened with its keys.

    Every method raises :class:`HistoryError` (or another ``DomainError``) with words for the
    administrator.
    """

    def __init__(self, log: EventLog, *, actor: str, inventory: Inventory | None = None) -> None:
        """`inventory` is one that is kept already; without it all is folded in memory."""
        self._log = log
        self._actor = actor
        self._inventory = Inventory() if inventory is None else inventory

    def of_change(self, position: Position, *, force: bool = False) -> Plan:
        """Undo one event."""
        done = change_at(self._log, position)
        if done.problem or not done.changes:
            raise HistoryError(done.problem or f"the event at {position} changed nothing")
        stream = done.record.stream
        routed = all(change.key[0] == ROUTER for change in done.changes)
        target = Target(stream, ROUTER if routed else name_of(stream), EVERYTHING)
        state = state_at(self._log, target)
        held = view_of(state)
        back = [Change(key, new, old) for key, old, new in done.changes]
        wanted, conflicts = _undone(held, back, force=force)
        if conflicts:
            raise LaterChanges(self._named(stream, position, conflicts))
        return self._plan(target, state, wanted, str(position))

    def to_time(self, target: Target, at_ns: int) -> Plan:
        """Make an object what it was at a time, whatever happened to it since."""
        state = state_at(self._log, target)
        held = view_of(state)
        then = view_of(state_at(self._log, target, at_ns))
        back = [change for change in diff(held, then) if target.covers(change.key)]
        cause = 0
        for record in self._log.read_stream(target.stream):
            if record.time_ns <= at_ns:
                cause = record.position
        return self._plan(target, state, apply(back, held), str(cause or ""))

    def carry_out(self, plan: Plan) -> Position | None:
        """Append the events; refused if somebody changed the object after the plan was made."""
        stream = plan.target.stream
        tenant = stream.partition("/")[2].rpartition("@")[2] if "/" in stream else ""
        wanted = {change.key: change for change in plan.changes}

        def decide(state: Folded) -> Sequence[Event]:
            held = view_of(state)
            moved = [key for key, change in wanted.items() if held.get(key) != change.old]
            if moved:
                raise HistoryError(
                    f"{', '.join(map(key_text, moved))} of {plan.target.name} changed meanwhile: "
                    "look again"
                )
            return events_to(stream, state, apply(plan.changes, held))

        meta = Meta(actor=self._actor, tenant=tenant, causation=plan.cause)
        return execute(self._log, Aggregate(initial(stream), evolve), stream, decide, meta)

    def _plan(self, target: Target, state: Folded, wanted: dict[Key, Any], cause: str) -> Plan:
        held = view_of(state)
        notes = _settle(held, wanted)
        steps = diff(held, wanted)
        if EXISTS in held and EXISTS not in wanted:
            kind, _, name = target.stream.partition("/")
            raise HistoryError(
                f"{target.name} did not exist then, and a revert deletes nothing; if that is "
                f"what you want: pbx {kind} delete {name}"
            )
        if EXISTS not in wanted and not held and steps and target.stream not in _ALWAYS:
            raise HistoryError(f"{target.name} does not exist: revert its deletion first")
        self._check(target.stream, steps, wanted)
        events_to(target.stream, state, wanted)  # what cannot be set is refused before anybody asks
        return Plan(target, steps, cause, notes)

    def _named(self, stream: str, position: Position, keys: Iterable[tuple[Key, str]]) -> list[str]:
        """Each conflict with who made it."""
        last: dict[Key, str] = {}
        for changed in changes(self._log, Target(stream, stream, EVERYTHING)):
            record = changed.record
            if record.position > position:
                who = f"changed by {record.actor or 'somebody'} at position {record.position}"
                last.update((change.key, who) for change in changed.changes)
        return [f"{key_text(key)}{where} {last.get(key, 'changed later')}" for key, where in keys]

    def _check(self, stream: str, steps: Sequence[Change], wanted: dict[Key, Any]) -> None:
        """The rules that span streams, as the commands check them."""
        kind, _, address = stream.partition("/")
        name, _, domain = address.rpartition("@")
        known = self._inventory.refresh(self._log)
        if kind not in ("domain", "server") and name and domain not in known.domains:
            raise HistoryError(f"there is no domain {domain}: bring it back first")
        for change in steps:
            gained = _gained(change)
            for text in gained:
                holder = ""
                if change.key == ("aliases",):
                    if kind == "domain":
                        other = known.domain_of(text)
                        holder = f"the domain {other}" if other not in ("", address) else ""
                    else:
                        holder = known.holder(text, domain, but=address)
                elif change.key == ("telnums",):
                    other = known.telnum_holder(text)
                    holder = f"the account {other}" if other not in ("", address) else ""
                if holder:
                    raise HistoryError(f"{text} belongs to {holder} now: take it away first")
            if change.key == EXISTS:
                taken = known.holder(name, domain) if name else ""
                other = "" if name else known.domain_of(address)
                if taken or other:
                    raise HistoryError(f"{address} is {taken or f'a name of {other}'} now")
            if change.key == ("owner",) and f"{change.new}@{domain}" not in known.accounts:
                raise HistoryError(f"the owner {change.new}@{domain} does not exist any more")
            if change.key == ("main-domain",) and change.new and change.new not in known.domains:
                raise HistoryError(f"the domain {change.new} does not exist any more")
            if change.key[0] == ROUTER:
                parse_table(change.new or "", change.key[1])


_ALWAYS: Final = (server.STREAM, "server/blacklist")
"""Streams whose object needs not be made."""


def _gained(change: Change) -> list[str]:
    """Elements of a list that a change adds."""
    if not isinstance(change.new, tuple):
        return []
    return [text for text in change.new if text not in (change.old or ())]


def _undone(
    held: dict[Key, Any], back: Sequence[Change], *, force: bool
) -> tuple[dict[Key, Any], list[tuple[Key, str]]]:
    """`held` with changes taken back, and the keys (with the place) that stand in the way."""
    steps: list[Change] = []
    conflicts: list[tuple[Key, str]] = []
    for key, made, before in back:
        now = held.get(key)
        if now == before:
            continue
        if now == made or force:
            steps.append(Change(key, now, before))
        elif key[0] == ROUTER:
            try:
                text = merged(made or "", now or "", before or "")
            except Conflict as conflict:
                conflicts.append((key, f" {conflict}"))
            else:
                steps.append(Change(key, now, text or None))
        else:
            conflicts.append((key, ""))
    return apply(steps, held), conflicts


def _settle(held: dict[Key, Any], wanted: dict[Key, Any]) -> list[str]:
    """Leave out of `wanted` what nothing can bring back; returns it in words."""
    notes = []
    for key in {*held, *wanted}:
        if key[0] == "sealed":
            _as_held(key, held, wanted)
    then = wanted.get(PASSWORD)
    if then != held.get(PASSWORD) and (then is None or not then.readable):
        _as_held(PASSWORD, held, wanted)
        if then is not None or EXISTS in held:
            notes.append(
                "the password of then is not kept any more: set one with pbx account passwd"
                if then is not None
                else "the password stays: there was none then"
            )
    return notes


def _as_held(key: Key, held: dict[Key, Any], wanted: dict[Key, Any]) -> None:
    if key in held:
        wanted[key] = held[key]
    else:
        wanted.pop(key, None)
