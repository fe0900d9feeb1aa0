"""Tables ``calls`` and ``legs`` from ``call/…`` streams: calls that live and calls that ended."""

from __future__ import annotations

from operator import attrgetter
from typing import Final

from sqlalchemy import Connection

from pbx.domain.calls import CALLS
from pbx.eventlog import EventLog, Record
from pbx.kernel.events import Event
from pbx.readmodel.call_state import CallState
from pbx.readmodel.projection import CallStates, ProjectionBase, write_rows
from pbx.readmodel.tables import calls, legs


class CallProjection(ProjectionBase):
    """One row a call, one row a leg."""

    name = "calls"
    categories = frozenset((CALLS,))
    tables = (calls, legs)

    def __init__(self, log: EventLog) -> None:
        self._states = CallStates(log)
        self._changed: dict[str, CallState] = {}

    def apply(self, record: Record, event: Event) -> None:
        state = self._states.before(record, self.skipped)
        state.apply(record, event)
        self._changed[record.stream] = state

    def flush(self, connection: Connection) -> None:
        changed = self._changed.values()
        write_rows(connection, calls, _CALL, [_of_call(call) for call in changed])
        write_rows(
            connection,
            legs,
            ("call_id", *_LEG),
            [(call.call_id, *_of_leg(leg)) for call in changed for leg in call.legs.values()],
        )

    def reset(self) -> None:
        self._states.clear()
        self._changed.clear()

    def committed(self) -> None:
        for call in self._changed.values():
            if call.end_ns:
                self._states.forget(call.call_id)
        self._changed.clear()


# The columns are the attributes of the same names.
_CALL: Final = tuple(calls.columns.keys())
_of_call: Final = attrgetter(*_CALL)
_LEG: Final = tuple(c.name for c in legs.columns if c.name != "call_id")
_of_leg: Final = attrgetter(*_LEG)
