"""Reading the history of the configuration: who changed what, and how it was at any moment.

Everything is folded from the log's category ``pbx.config``; nothing is kept for it. A log that was
opened without keys will do: what is sealed is told as changed and never shown.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from pbx.domain import blacklist, server
from pbx.domain.objects import KIND_OF_PREFIX
from pbx.domain.setting_events import CONFIG
from pbx.eventlog import DecodeError, EventLog, Position, Record
from pbx.history.errors import HistoryError
from pbx.history.lines import attributed
from pbx.history.view import Change, Folded, Key, diff, evolve, initial, view_of

ROUTER: Final = "router"
EVERYTHING: Final = "*"
_STREAMS_HELD: Final = 10_000
"""Folded streams kept while a log is read: an import changes each a few times in a row."""


class Changed(NamedTuple):
    """One event of the configuration and what it changed."""

    record: Record
    changes: list[Change]
    problem: str = ""
    """Why the event cannot be read, if so."""


@dataclass(frozen=True, slots=True)
class Target:
    """What is asked about: a stream, or some keys of it."""

    stream: str
    name: str
    """As shown to people."""
    only: str = ""
    """First part of the keys that count; ``*``: all; empty: all but the Router tables, which are
    an object of their own to administrators."""

    def covers(self, key: Key) -> bool:
        """Whether a key belongs to it."""
        if self.only:
            return self.only in (key[0], EVERYTHING)
        return key[0] != ROUTER


def name_of(stream: str) -> str:
    """A stream in words: ``account ann@example.com``, ``server``."""
    return "blacklist" if stream == blacklist.STREAM else stream.replace("/", " ", 1)


def target_of(log: EventLog, text: str) -> Target:
    """What an administrator's word means. Raises :class:`HistoryError` if nothing ever was so.

    ``router``, ``server``, ``blacklist``, a domain, ``name@domain`` of any object (the one that
    exists, or that existed last), or a stream such as ``group/sales@example.com``.
    """
    word = text.strip().lower()
    if word == ROUTER:
        return Target(server.STREAM, ROUTER, only=ROUTER)
    if word in ("server", "blacklist"):
        stream = server.STREAM if word == "server" else blacklist.STREAM
        return Target(stream, word)
    if "/" in word:
        candidates = [word]
    elif "@" in word:
        candidates = [f"{kind}/{word}" for kind in ("account", *KIND_OF_PREFIX)]
    else:
        candidates = [f"domain/{word}"]
    found: list[tuple[bool, Position, str]] = []
    for stream in candidates:
        state, last = _folded(log, stream)
        if last is not None:
            found.append((bool(view_of(state)), last.position, stream))
    if not found:
        raise HistoryError(
            f"nothing named {text} was ever configured: give a domain, name@domain, router, "
            "server, blacklist, or a stream as pbx log shows it"
        )
    stream = max(found)[2]
    return Target(stream, name_of(stream))


def _folded(
    log: EventLog, stream: str, until: Callable[[Record], bool] | None = None
) -> tuple[Folded, Record | None]:
    state, last = initial(stream), None
    for record in log.read_stream(stream):
        if until is not None and until(record):
            break
        state, last = _next(state, record)[0], record
    return state, last


def state_at(log: EventLog, target: Target, at_ns: int | None = None) -> Folded:
    """The state of a stream at a time (UTC, with the events of that very moment), or now."""
    late = None if at_ns is None else lambda record: bool(record.time_ns > at_ns)
    return _folded(log, target.stream, late)[0]


def view_at(log: EventLog, target: Target, at_ns: int | None = None) -> dict[Key, Any]:
    """The keys of `target` at a time, or now."""
    view = view_of(state_at(log, target, at_ns))
    return {key: value for key, value in view.items() if target.covers(key)}


def changes(
    log: EventLog,
    target: Target | None = None,
    *,
    since_ns: int | None = None,
    until_ns: int | None = None,
    actor: str = "",
) -> Iterator[Changed]:
    """Each change of the configuration in order, of one object or of all of them."""
    if target is not None:
        records: Iterator[Record] = log.read_stream(target.stream)
    else:
        start = 0 if since_ns is None else log.position_at(since_ns)
        records = log.read(start, category=CONFIG)
    states: OrderedDict[str, tuple[Folded, int]] = OrderedDict()
    for record in records:
        if since_ns is not None and record.time_ns < since_ns:
            continue
        if until_ns is not None and record.time_ns >= until_ns:
            continue
        if actor and actor not in record.actor:
            continue
        changed, state = _changed(log, record, states.pop(record.stream, None))
        states[record.stream] = (state, record.version)
        if len(states) > _STREAMS_HELD:
            states.popitem(last=False)
        if target is not None:
            covered = [change for change in changed.changes if target.covers(change.key)]
            if changed.changes and not covered:
                continue
            changed = changed._replace(changes=covered)
        yield changed


def change_at(log: EventLog, position: Position) -> Changed:
    """The change of one event. Raises :class:`HistoryError` if there is none at the position."""
    record = log.at(position)
    if record is None or record.category != CONFIG:
        what = "nothing" if record is None else f"{record.type}, which is no configuration,"
        raise HistoryError(f"{what} is at position {position}; see: pbx config log")
    return _changed(log, record, None)[0]


def _changed(
    log: EventLog, record: Record, known: tuple[Folded, int] | None
) -> tuple[Changed, Folded]:
    """`known` is an earlier state of the stream and its version."""
    before, version = known or (initial(record.stream), 0)
    if version < record.version - 1:
        for earlier in log.read_stream(record.stream, after_version=version):
            if earlier.version >= record.version:
                break
            before = _next(before, earlier)[0]
    after, problem = _next(before, record)
    return Changed(record, diff(view_of(before), view_of(after)), problem), after


def _next(state: Folded, record: Record) -> tuple[Folded, str]:
    """An event that cannot be read changes nothing here; the second value says why."""
    try:
        return evolve(state, record.event), ""
    except DecodeError as error:
        return state, str(error)


class Blamed(NamedTuple):
    """A key that is set now, and the event that set it."""

    key: Key
    value: Any
    record: Record


class BlamedLine(NamedTuple):
    """A line of a Router table, and the event that wrote it."""

    table: str
    number: int
    """From 1."""
    text: str
    record: Record


def blame(log: EventLog, target: Target) -> tuple[list[Blamed], list[BlamedLine]]:
    """Who set each key of an object as it is now; of Router tables, who wrote each line."""
    origin: dict[Key, Record] = {}
    lines: dict[str, list[tuple[str, Record]]] = {}
    view: dict[Key, Any] = {}
    state = initial(target.stream)
    for record in log.read_stream(target.stream):
        state = _next(state, record)[0]
        after = view_of(state)
        for change in diff(view, after):
            origin[change.key] = record
            if change.key[0] == ROUTER:
                table = change.key[1]
                lines[table] = attributed(lines.get(table, []), change.new or "", record)
        view = after
    keys = [
        Blamed(key, value, origin[key])
        for key, value in view.items()
        if target.covers(key) and key[0] != ROUTER
    ]
    written = [
        BlamedLine(table, number, text.rstrip("\r\n"), record)
        for table in lines
        if target.covers((ROUTER, table))
        for number, (text, record) in enumerate(lines[table], 1)
    ]
    return keys, written
