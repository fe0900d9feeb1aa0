"""Tables ``cdrs`` and ``cdr_legs``: the records of ended calls.

A call's records are made when its ``call.ended`` is met, which is the last event of its stream:
media figures, which arrive after the legs have ended, are in. Ids and order come from the log, so
a rebuild gives the same rows and :mod:`pbx.readmodel.cdr_files` the same text.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from functools import lru_cache
from operator import attrgetter
from typing import Any, Final

from sqlalchemy import Connection

from pbx.domain.calls import CALLS, CallEnded, CallErased
from pbx.eventlog import EventLog, Record
from pbx.kernel.events import Event
from pbx.readmodel.call_state import CallState, LegState
from pbx.readmodel.cdr_feed import mark_changed
from pbx.readmodel.cdr_files import rewrite_days
from pbx.readmodel.projection import CallStates, ProjectionBase, write_rows
from pbx.readmodel.tables import cdr_legs, cdrs

RULES: Final = 2
"""Version of what makes a call's events a record, here and in :mod:`pbx.readmodel.call_state`;
raise it with every change, so that ``cdr.corrected.v1`` says by which rules records are."""

_NS_PER_DAY: Final = 86_400 * 1_000_000_000


class CdrProjection(ProjectionBase):
    """One row an ended call, one row each of its legs.

    `export` carries new rows further; it is called again soon if it returns True or raises.
    """

    name = "cdrs"
    categories = frozenset((CALLS,))
    tables = (cdrs, cdr_legs)

    def __init__(self, log: EventLog, export: Callable[[], bool | None] = lambda: None) -> None:
        self._states = CallStates(log, until_end=True)
        self._ended: dict[str, CallState] = {}
        """By call id: those that ended or were erased since the last flush."""
        self._erased: list[CallState] = []
        self._export = export
        self._unexported = True

    def apply(self, record: Record, event: Event) -> None:
        state = self._states.before(record, self.skipped)
        if not self._states.apply(state, record, event):
            return  # written already; nothing after the end changes a record but an erasure
        if isinstance(event, CallErased) and state.end_position:
            self._ended[state.call_id] = state
            self._erased.append(state)
        elif isinstance(event, CallEnded):
            self._ended[state.call_id] = state

    def flush(self, connection: Connection) -> None:
        ended = self._ended.values()
        write_rows(connection, cdrs, _CDR, [_cdr(call, self.partition) for call in ended])
        write_rows(
            connection,
            cdr_legs,
            _CDR_LEG,
            [_cdr_leg(call, leg) for call in ended for leg in call.legs.values()],
        )
        if self._erased:
            days = {day_of(leg.end_ns) for call in self._erased for leg in call.legs.values()}
            rewrite_days(connection, sorted(days))
            mark_changed(connection, {call.call_id: self.partition for call in self._erased})

    def reset(self) -> None:
        self._states.clear()
        self._ended.clear()
        self._erased.clear()
        self._unexported = True

    def committed(self) -> None:
        for call_id in self._ended:
            self._states.forget(call_id)
            self._unexported = True
        self._ended.clear()
        self._erased.clear()

    def settled(self) -> None:
        if self._unexported:
            self._unexported = self._export() is True


# Columns that are attributes of the same names of call and leg, and those that are not.
_OWN: Final = ("position", "answered_by", "legs", "partition")
_OF_CALL: Final = tuple(c.name for c in cdrs.columns if c.name not in _OWN)
_of_call: Final = attrgetter(*_OF_CALL)
_CDR: Final = (*_OF_CALL, *_OWN)

_LEG_OWN: Final = ("position", "day", "target_uri", "gateway")
_LEG_OF_CALL: Final = (
    "call_id",
    "from_uri",
    "asserted_identity",
    "account",
    "request_uri",
    "source",
    "transport",
    "proxied",
)
_OF_LEG: Final = tuple(c.name for c in cdr_legs.columns if c.name not in (*_LEG_OWN, *_LEG_OF_CALL))
_leg_of_call: Final = attrgetter(*_LEG_OF_CALL)
_of_leg: Final = attrgetter(*_OF_LEG)
_CDR_LEG: Final = (*_LEG_OF_CALL, *_OF_LEG, *_LEG_OWN)


def _cdr(call: CallState, partition: str) -> tuple[Any, ...]:
    """The row of ``cdrs``, in the order of ``_CDR``."""
    return (*_of_call(call), call.end_position, call.answered_by, len(call.legs), partition)


def _cdr_leg(call: CallState, leg: LegState) -> tuple[Any, ...]:
    """The row of ``cdr_legs``, in the order of ``_CDR_LEG``."""
    return (
        *_leg_of_call(call),
        *_of_leg(leg),
        call.end_position,
        day_of(leg.end_ns),
        # The caller's leg has no contact of ours: its final target is who took the call.
        leg.target_uri or call.answered_by,
        "",
    )


def day_of(time_ns: int) -> str:
    """UTC date, ``YYYY-MM-DD``."""
    return _day(time_ns // _NS_PER_DAY)


@lru_cache(maxsize=64)
def _day(number: int) -> str:
    return (date(1970, 1, 1) + timedelta(days=number)).isoformat()
