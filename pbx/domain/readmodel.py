"""What operators did to the read model: stream ``server/read-model``, category ``pbx.config``.

The tables are derived and may be deleted; what a person decided about them must not be forgotten
with them, and consumers of call records must learn that past ones were corrected.
"""

from __future__ import annotations

from typing import Final

from pbx.kernel.events import Durability, Event, event

STREAM: Final = "server/read-model"
_CONFIG: Final = "pbx.config"


@event("projection.skipped.v1", category=_CONFIG, durability=Durability.DECIDED)
class ProjectionSkipped(Event):
    """An operator let a projection go on behind an event that it could not apply."""

    projection: str
    position: int
    partition: str = ""
    """Of the log; the position counts within it."""
    reason: str = ""
    """Why it could not be applied."""


@event("cdr.corrected.v1", category=_CONFIG, durability=Durability.DECIDED)
class CdrCorrected(Event):
    """Call records of the past were replaced by what today's rules make of the same calls."""

    rules: int
    """Version of the rules (``pbx.readmodel.projections.cdrs.RULES``)."""
    changed: int = 0
    """Calls whose record, or that of a leg, has other values now."""
    added: int = 0
    """Calls that had no record."""
    removed: int = 0
    """Calls that should have had none."""
    calls: tuple[str, ...] = ()
    """Ids of the calls, as many as an event may name (a thousand); all of them unless the numbers
    say more."""
    first_end_ns: int = 0
    last_end_ns: int = 0
    """All of them ended in this time, both included."""
