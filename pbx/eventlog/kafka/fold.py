"""Which records of a partition count, and with which versions: the same for every reader.

Kafka cannot append on a condition, and a producer that lost an answer must send again. So records
say what they depend on, and every reader folds the partition in order and treats a record whose
condition fails as *void*: it has no events. No leader decides, nobody is fenced by force, and the
verdict is the same everywhere, since it is a function of the records before.

Two conditions, in this order:

1. **Lane.** The records of one writer in one partition form a lane, numbered (session, seq). A
   record counts if it is the successor of the last one that counted: the next ``seq`` of the
   session, or ``seq`` 1 of a later session.

   ====================================  =========  =================================
   Against the last one of the lane      Verdict    What happened
   ====================================  =========  =================================
   same session, seq + 1                 counts
   later session, seq 1                  counts     the writer began anew
   same session, seq or less             DUPLICATE  sent again after a lost answer
   same session, more than seq + 1       GAP        the record between was lost
   later session, seq above 1            GAP        the same
   earlier session                       FENCED     a zombie: its writer began anew
   ====================================  =========  =================================

2. **Version**, of decisions: the stream is at the expected version, else CONFLICT. A fact
   happened whatever others did: if its version is taken, it gets the next free one.

A reader whose partition was cut (retention) does not know what was before: it takes the first
record of a lane, and the first of a stream, as they come. Kept partitions (``pbx.config``,
``pbx.bindings``) have no such readers.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import NamedTuple

from pbx.eventlog.kafka.envelope import Envelope
from pbx.eventlog.record import ANY_VERSION


class Lane(NamedTuple):
    """The last record of a writer that counted."""

    session: int
    seq: int


class Outcome(enum.Enum):
    """What became of a record; all but VALID have no events."""

    VALID = "valid"
    DUPLICATE = "duplicate"
    GAP = "gap"
    FENCED = "fenced"
    CONFLICT = "conflict"


class Verdict(NamedTuple):
    """What a record is worth."""

    outcome: Outcome
    versions: tuple[int, ...] = ()
    """Of its events, if VALID."""
    current: int = 0
    """Version of the stream after the record."""

    @property
    def in_lane(self) -> bool:
        """Whether the lane goes on from this record."""
        return self.outcome in (Outcome.VALID, Outcome.CONFLICT)


def fold(
    record: Envelope,
    lane: Lane | None,
    version_of: Callable[[str], int | None],
    *,
    cut: bool = False,
) -> Verdict:
    """The verdict on the next record of a partition.

    `lane` is that of the record's writer, None if nothing of it was seen; `version_of` gives the
    version of a stream, None likewise. `cut`: the reader did not see the partition's beginning.
    """
    outcome = _in_lane(record, lane, cut=cut)
    if outcome is not Outcome.VALID:
        return Verdict(outcome)
    if record.is_barrier:
        return Verdict(Outcome.VALID)
    current = version_of(record.stream)
    if record.expected is None:
        wished = record.events[0].version
        version = wished if wished > (current or 0) else (current or 0) + 1
        return Verdict(Outcome.VALID, (version,), version)
    if current is None and cut:
        current = max(0, record.expected)
    current = current or 0
    if record.expected not in (current, ANY_VERSION):
        return Verdict(Outcome.CONFLICT, (), current)
    last = current + len(record.events)
    return Verdict(Outcome.VALID, tuple(range(current + 1, last + 1)), last)


def _in_lane(record: Envelope, lane: Lane | None, *, cut: bool) -> Outcome:
    if lane is None:
        return Outcome.VALID if cut or record.seq == 1 else Outcome.GAP
    if record.session < lane.session:
        return Outcome.FENCED
    if record.session > lane.session:
        return Outcome.VALID if record.seq == 1 else Outcome.GAP
    if record.seq <= lane.seq:
        return Outcome.DUPLICATE
    return Outcome.VALID if record.seq == lane.seq + 1 else Outcome.GAP
