"""Correcting past call records: what today's rules make of the same calls, beside what is stored.

Run by ``pbx cdr correct``. The rules are the code of the projection ``cdrs``; when they change, the
records of the past are those of the old rules until they are corrected here. The calls are replayed
into a second copy (:mod:`pbx.readmodel.replay`), the records that differ are given one call after
the other, and on demand exactly these are replaced; the log says so (``cdr.corrected.v1``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Final, NamedTuple

from sqlalchemy import select

from pbx.domain.readmodel import STREAM, CdrCorrected
from pbx.eventlog import ANY_VERSION, EventLog, Meta
from pbx.readmodel.database import Database
from pbx.readmodel.projections.cdrs import RULES
from pbx.readmodel.replay import Difference, Rebuild
from pbx.readmodel.tables import cdr_legs, cdrs

PROJECTION: Final = "cdrs"
NAMED: Final = 1000
"""Calls an event names, 40 KB; consumers that miss some look for the time they ended in."""


class Change(NamedTuple):
    """One value of a record; None where there is no such record."""

    leg_id: str
    """Empty: of the call's own record."""
    field: str
    old: Any
    new: Any


class Correction(NamedTuple):
    """The records of one call that differ."""

    call_id: str
    end_ns: int
    kind: str
    """``added``, ``removed`` (the call's own record), else ``changed``."""
    changes: tuple[Change, ...]


class Corrector:
    """One comparison, and what may follow from it."""

    def __init__(
        self,
        live: Database,
        rebuild: Rebuild,
        *,
        since_ns: int | None = None,
        until_ns: int | None = None,
    ) -> None:
        """Only calls that ended in a time, `until_ns` excluded."""
        self._live = live
        self._rebuild = rebuild
        self._since_ns = since_ns
        self._until_ns = until_ns
        self._judged = ("", False)
        self.counts = {"changed": 0, "added": 0, "removed": 0}
        """Calls, by kind."""
        self._calls: list[str] = []
        self._ends: tuple[int, int] | None = None

    @property
    def total(self) -> int:
        """Calls whose records differ."""
        return sum(self.counts.values())

    def corrections(self) -> Iterator[Correction]:
        """The calls whose records differ, in order of their ids. To be read to the end."""
        found = self._rebuild.compare(PROJECTION, self._is_wanted)
        for call_id, group in groupby(found, key=lambda difference: str(difference.key[0])):
            correction = self._correction(call_id, list(group))
            self.counts[correction.kind] += 1
            if len(self._calls) < NAMED:
                self._calls.append(call_id)
            low, high = self._ends or (correction.end_ns, correction.end_ns)
            self._ends = min(low, correction.end_ns), max(high, correction.end_ns)
            yield correction

    def apply(self, log: EventLog, actor: str) -> None:
        """Replace what :meth:`corrections` gave. Raises ``LogUnavailable``: then nothing is."""
        low, high = self._ends or (0, 0)
        event = CdrCorrected(
            rules=RULES, **self.counts, calls=tuple(self._calls), first_end_ns=low, last_end_ns=high
        )
        self._rebuild.put_right(
            PROJECTION,
            # Before the commit: a correction that is not in the log does not happen.
            lambda: log.append(STREAM, ANY_VERSION, [event], Meta(actor=actor)),
        )

    def _is_wanted(self, difference: Difference) -> bool:
        if self._since_ns is None and self._until_ns is None:
            return True
        call_id = str(difference.key[0])
        if self._judged[0] != call_id:
            ends = _ends_of(difference) or [self._end_ns(call_id)]
            self._judged = (call_id, any(self._is_within(end_ns) for end_ns in ends))
        return self._judged[1]

    def _is_within(self, end_ns: int) -> bool:
        return (self._since_ns is None or end_ns >= self._since_ns) and (
            self._until_ns is None or end_ns < self._until_ns
        )

    def _end_ns(self, call_id: str) -> int:
        """Of a call whose own record is right."""
        query = select(cdrs.c.end_ns).where(cdrs.c.call_id == call_id)
        with self._live.read() as connection:
            return int(connection.execute(query).scalar() or 0)

    def _correction(self, call_id: str, group: Sequence[Difference]) -> Correction:
        kind = "changed"
        ends: list[int] = []
        changes: list[Change] = []
        for difference in group:
            leg_id = str(difference.key[1]) if difference.table == cdr_legs.name else ""
            if not leg_id:
                ends = _ends_of(difference)
                kind = _kind(difference)
            changes += _changes(leg_id, difference.before, difference.after)
        return Correction(call_id, (ends or [self._end_ns(call_id)])[0], kind, tuple(changes))


def _ends_of(difference: Difference) -> list[int]:
    """Old and new end of the call, if the difference is that of its own record."""
    if difference.table != cdrs.name:
        return []
    rows = (difference.before, difference.after)
    return [int(row["end_ns"]) for row in rows if row is not None]


def _kind(difference: Difference) -> str:
    if difference.before is None:
        return "added"
    return "removed" if difference.after is None else "changed"


def _changes(
    leg_id: str, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None
) -> Iterator[Change]:
    names = list(before if before is not None else after or ())
    for name in names:
        old = None if before is None else before[name]
        new = None if after is None else after[name]
        if old != new:
            yield Change(leg_id, name, old, new)
