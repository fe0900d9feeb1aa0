"""Tables ``calls`` and ``legs`` from ``call/…`` streams: calls that live and calls that ended."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from pbx.domain.calls import CALLS
from pbx.eventlog import EventLog, Record
from pbx.kernel.events import Event
from pbx.readmodel.call_state import CallState, LegState
from pbx.readmodel.projection import CallStates, write_rows
from pbx.readmodel.tables import calls, legs


class CallProjection:
    """One row a call, one row a leg."""

    name = "calls"
    categories = frozenset((CALLS,))
    tables = (calls, legs)

    def __init__(self, log: EventLog) -> None:
        self._states = CallStates(log)
        self._changed: dict[str, CallState] = {}

    def apply(self, record: Record, event: Event) -> None:
        state = self._states.before(record)
        state.apply(record, event)
        self._changed[record.stream] = state

    def flush(self, connection: Connection) -> None:
        changed = self._changed.values()
        write_rows(connection, calls, [call_row(call) for call in changed])
        write_rows(
            connection, legs, [leg_row(call, leg) for call in changed for leg in call.legs.values()]
        )

    def reset(self) -> None:
        self._states.clear()
        self._changed.clear()

    def committed(self) -> None:
        for call in self._changed.values():
            if call.end_ns:
                self._states.forget(call.call_id)
        self._changed.clear()

    def settled(self) -> None:
        pass


def call_row(call: CallState) -> dict[str, Any]:
    """The row of ``calls``."""
    return {
        "call_id": call.call_id,
        "tenant": call.tenant,
        "node": call.node,
        "state": call.state,
        "from_uri": call.from_uri,
        "from_display": call.from_display,
        "to_uri": call.to_uri,
        "request_uri": call.request_uri,
        "asserted_identity": call.asserted_identity,
        "account": call.account,
        "source": call.source,
        "transport": call.transport,
        "user_agent": call.user_agent,
        "start_ns": call.start_ns,
        "answer_ns": call.answer_ns,
        "end_ns": call.end_ns,
        "talk_ms": call.talk_ms,
        "status": call.status,
        "cause": call.cause,
        "q850": call.q850,
        "ended_by": call.ended_by,
        "reason": call.reason,
        "recovered": call.recovered,
    }


def leg_row(call: CallState, leg: LegState) -> dict[str, Any]:
    """The row of ``legs``."""
    return {
        "call_id": call.call_id,
        "leg_id": leg.leg_id,
        "ordinal": leg.ordinal,
        "parent_leg_id": leg.parent_leg_id,
        "role": leg.role,
        "state": leg.state,
        "sip_call_id": leg.sip_call_id,
        "target_uri": leg.target_uri,
        "account": leg.account,
        "destination": leg.destination,
        "redirector": leg.redirector,
        "peer_leg_id": leg.peer_leg_id,
        "moved_from": leg.moved_from,
        "moved_to": leg.moved_to,
        "start_ns": leg.start_ns,
        "provision_ns": leg.provision_ns,
        "answer_ns": leg.answer_ns,
        "end_ns": leg.end_ns,
        "talk_ms": leg.talk_ms,
        "status": leg.status,
        "cause": leg.cause,
        "q850": leg.q850,
        "ended_by": leg.ended_by,
        "reason": leg.reason,
        "codec": leg.codec,
        "packets_in": leg.packets_in,
        "packets_out": leg.packets_out,
        "packets_lost": leg.packets_lost,
        "jitter_ms": leg.jitter_ms,
        "mos": leg.mos,
    }
