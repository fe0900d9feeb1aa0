"""One change as one append: commands work on a log that collects what they do to one stream.

:class:`Change` stands between a command and the log. What the command appends to the stream of the
resource is kept back, seen by the command itself, and written by :meth:`Change.write` in one
piece, on the condition that nobody else has changed the resource since the client read it. So a
PATCH of several parts happens whole or not, and two administrators cannot overwrite each other
between look and leap, whatever process the other one works in. Appends to other streams go
through.

The version of a resource is that of the last event of its stream which concerns it; ``types`` says
which do. That is its ETag.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

import msgspec

from pbx.eventlog import ANY_VERSION, Conflict, EventLog, Meta, Position, Record
from pbx.eventlog.record import Entry, make_rows
from pbx.eventlog.registry import Codec
from pbx.kernel.events import Event
from pbx.web.problems import Problem

Types = tuple[str, ...]
"""Beginnings of names of event types; an empty tuple stands for all but the passing ones."""

PASSING: Final = ("dataset.entry-",)
"""What rules write into an account's stream while calls come: no change of its configuration."""


class Resource(NamedTuple):
    """What a change is about."""

    stream: str
    types: Types = ()

    def concerns(self, record: Record) -> bool:
        """Whether an event of the stream changes the resource."""
        if self.types:
            return record.type.startswith(self.types)
        return not record.type.startswith(PASSING)


def last_change(log: EventLog, resource: Resource, after: int = 0) -> Record | None:
    """The newest event of the resource behind a version of its stream."""
    last = None
    for record in log.read_stream(resource.stream, after_version=after):
        if resource.concerns(record):
            last = record
    return last


def version_of(log: EventLog, resource: Resource) -> int:
    """The version of the resource; 0 before it was ever changed."""
    last = last_change(log, resource)
    return 0 if last is None else last.version


def etag(version: int) -> str:
    """The strong entity tag of a version (RFC 9110 §8.8.3)."""
    return f'"{version}"'


_VERSION: Final = re.compile(r"0|[1-9][0-9]{0,17}", re.ASCII)


class Precondition(NamedTuple):
    """``If-Match`` or ``If-None-Match``, read (RFC 9110 §13.1)."""

    any: bool = False
    """``*``."""
    versions: frozenset[int] = frozenset()

    def fits(self, version: int) -> bool:
        """Whether the header names this version."""
        return self.any or version in self.versions


def read_precondition(text: str) -> Precondition:
    """A list of entity tags. Weak ones and those of others match nothing."""
    if text.strip() == "*":
        return Precondition(any=True)
    tags = [part.strip() for part in text.split(",")]
    numbers = [tag[1:-1] for tag in tags if len(tag) > 2 and tag[0] == tag[-1] == '"']
    return Precondition(
        versions=frozenset(int(number) for number in numbers if _VERSION.fullmatch(number))
    )


def changed_meanwhile(log: EventLog, resource: Resource) -> Problem:
    """412, with who changed the resource last."""
    last = last_change(log, resource)
    if last is None:
        return Problem(412, "changed-meanwhile", "It was never set", "GET it, and send its ETag")
    when = datetime.fromtimestamp(last.time_ns // 1_000_000_000, UTC)
    return Problem(
        412,
        "changed-meanwhile",
        "Somebody changed it meanwhile",
        f"{last.actor or 'somebody'} changed it at {when:%Y-%m-%d %H:%M:%S} UTC ({last.type}): GET "
        "it again, look, and send the new ETag as If-Match",
        changed_by=last.actor,
        changed_at=f"{when:%Y-%m-%dT%H:%M:%SZ}",
        etag=etag(last.version),
        headers={"ETag": etag(last.version)},
    )


class Change:
    """See the module. An :class:`~pbx.eventlog.EventLog` for the time of one command."""

    def __init__(
        self,
        log: EventLog,
        resource: Resource,
        *,
        origin: str,
        precondition: Precondition | None = None,
    ) -> None:
        """`origin` is where the change came from; it goes into each event's envelope.

        Raises :class:`Problem` (412) if the precondition does not hold now.
        """
        self._log = log
        self._resource = resource
        self._origin = origin
        self._precondition = precondition
        self._base = self._current()
        self._staged: list[tuple[Event, Record]] = []
        self._meta = Meta()
        self._erased: list[str] = []
        self.position: Position = 0
        """Of the last event that was written; 0 if none was."""
        self.node = log.node

    def _current(self) -> int:
        """The version of the stream, if the resource is still what the client knows."""
        last = 0
        known = 0
        for record in self._log.read_stream(self._resource.stream):
            last = record.version
            if self._resource.concerns(record):
                known = record.version
        if self._precondition is not None and not self._precondition.fits(known):
            raise changed_meanwhile(self._log, self._resource)
        return last

    def erase(self, subject: str) -> None:
        """Destroy a key when the change is written, see :meth:`write`."""
        self._erased.append(subject)

    def write(self) -> list[str]:
        """Write what was collected; returns the subjects whose keys are to be destroyed now.

        Raises :class:`Conflict` if something that is no part of the resource came between: do the
        command again. Raises :class:`Problem` (412) if the resource itself was changed.
        """
        if self._staged:
            events = [event for event, _ in self._staged]
            try:
                self.position = self._log.append(
                    self._resource.stream, self._base, events, self._meta
                )
            except Conflict:
                if self._precondition is not None:
                    self._current()  # raises 412 if it was the resource
                raise
        return self._erased

    # What a command asks of a log.

    @property
    def codec(self) -> Codec:
        return self._log.codec

    def append(
        self, stream: str, expected_version: int, events: Sequence[Event], meta: Meta
    ) -> Position:
        """As the port says; events of the resource's stream are kept back."""
        meta = msgspec.structs.replace(meta, causation=self._origin)
        if stream != self._resource.stream:
            self.position = self._log.append(stream, expected_version, events, meta)
            return self.position
        current = self._base + len(self._staged)
        if expected_version not in (ANY_VERSION, current):
            raise Conflict(stream, expected_version, current)
        self._meta = meta
        rows = make_rows(self.codec, stream, events, meta, time_ns=0, node=self.node)
        head = self._log.head()
        for number, (event, row) in enumerate(zip(events, rows, strict=True), current + 1):
            _, _, kind, time_ns, node, actor, correlation, causation, tenant, data = row
            record = Record(
                self.codec, head, stream, number, kind, time_ns, node, actor, correlation,
                causation, tenant, data,
            )  # fmt: skip
            self._staged.append((event, record))
        return head

    def read_stream(self, stream: str, after_version: int = 0) -> Iterator[Record]:
        """The stream with what is kept back."""
        if stream != self._resource.stream:
            yield from self._log.read_stream(stream, after_version)
            return
        for record in self._log.read_stream(stream, after_version):
            if record.version <= self._base:
                yield record
        for _, record in self._staged:
            if record.version > after_version:
                yield record

    def read(
        self,
        after: Position = 0,
        *,
        category: str | None = None,
        types: Sequence[str] = (),
        limit: int | None = None,
    ) -> Iterator[Record]:
        """What is written."""
        return self._log.read(after, category=category, types=types, limit=limit)

    def read_back(
        self, until: Position | None = None, *, types: Sequence[str] = ()
    ) -> Iterator[Record]:
        return self._log.read_back(until, types=types)

    def at(self, position: Position) -> Record | None:
        return self._log.at(position)

    def head(self) -> Position:
        return self._log.head()

    def position_at(self, time_ns: int) -> Position:
        return self._log.position_at(time_ns)

    def wait(self, after: Position, timeout_s: float) -> bool:
        return self._log.wait(after, timeout_s)

    def sync(self) -> None:
        self._log.sync()

    def commit(self, batch: Sequence[Entry]) -> list[Position | Conflict]:
        return self._log.commit(batch)

    def close(self) -> None:
        """The log is somebody else's."""
