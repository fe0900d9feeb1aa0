"""Tables ``cdrs`` and ``cdr_legs``: the records of ended calls.

A call's records are made when its ``call.ended`` is met, which is the last event of its stream:
media figures, which arrive after the legs have ended, are in. Ids and order come from the log, so
a rebuild gives the same rows and :mod:`pbx.readmodel.cdr_files` the same text.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import Connection

from pbx.domain.calls import CALLS, CallEnded
from pbx.eventlog import EventLog, Record
from pbx.kernel.events import Event
from pbx.readmodel.call_state import CallState, LegState
from pbx.readmodel.projection import CallStates, write_rows
from pbx.readmodel.tables import cdr_legs, cdrs

_NS_PER_DAY: Final = 86_400 * 1_000_000_000


class CdrProjection:
    """One row an ended call, one row each of its legs; `export` carries new rows further."""

    name = "cdrs"
    categories = frozenset((CALLS,))
    tables = (cdrs, cdr_legs)

    def __init__(self, log: EventLog, export: Callable[[], None] = lambda: None) -> None:
        self._states = CallStates(log)
        self._ended: list[CallState] = []
        self._export = export
        self._unexported = True

    def apply(self, record: Record, event: Event) -> None:
        state = self._states.before(record)
        if state.end_position:
            return  # written already; nothing after the end changes a record
        state.apply(record, event)
        if isinstance(event, CallEnded):
            self._ended.append(state)

    def flush(self, connection: Connection) -> None:
        write_rows(connection, cdrs, [cdr_row(call) for call in self._ended])
        write_rows(
            connection,
            cdr_legs,
            [cdr_leg_row(call, leg) for call in self._ended for leg in call.legs.values()],
        )

    def reset(self) -> None:
        self._states.clear()
        self._ended.clear()
        self._unexported = True

    def committed(self) -> None:
        for call in self._ended:
            self._states.forget(call.call_id)
            self._unexported = True
        self._ended.clear()

    def settled(self) -> None:
        if self._unexported:
            self._unexported = False
            self._export()


def cdr_row(call: CallState) -> dict[str, Any]:
    """The row of ``cdrs``."""
    return {
        "call_id": call.call_id,
        "position": call.end_position,
        "tenant": call.tenant,
        "from_uri": call.from_uri,
        "to_uri": call.to_uri,
        "request_uri": call.request_uri,
        "asserted_identity": call.asserted_identity,
        "account": call.account,
        "source": call.source,
        "transport": call.transport,
        "answered_by": _answered_by(call),
        "start_ns": call.start_ns,
        "provision_ns": call.provision_ns,
        "answer_ns": call.answer_ns,
        "end_ns": call.end_ns,
        "talk_ms": call.talk_ms,
        "status": call.status,
        "cause": call.cause,
        "q850": call.q850,
        "ended_by": call.ended_by,
        "reason": call.reason,
        "recovered": call.recovered,
        "legs": len(call.legs),
    }


def cdr_leg_row(call: CallState, leg: LegState) -> dict[str, Any]:
    """The row of ``cdr_legs``."""
    return {
        "call_id": call.call_id,
        "leg_id": leg.leg_id,
        "position": call.end_position,
        "ordinal": leg.ordinal,
        "day": day_of(leg.end_ns),
        "parent_leg_id": leg.parent_leg_id,
        "role": leg.role,
        "sip_call_id": leg.sip_call_id,
        "from_uri": call.from_uri,
        "asserted_identity": call.asserted_identity,
        "account": call.account,
        "request_uri": call.request_uri,
        # The caller's leg has no contact of ours: its final target is who took the call.
        "target_uri": leg.target_uri or _answered_by(call),
        "source": call.source,
        "transport": call.transport,
        "start_ns": leg.start_ns,
        "provision_ns": leg.provision_ns,
        "answer_ns": leg.answer_ns,
        "end_ns": leg.end_ns,
        "talk_ms": leg.talk_ms,
        "status": leg.status,
        "cause": leg.cause,
        "q850": leg.q850,
        "ended_by": leg.ended_by,
        "redirector": leg.redirector,
        "application": "",
        "gateway": "",
        "billing_id": "",
        "proxied": call.proxied,
        "codec": leg.codec,
        "packets_in": leg.packets_in,
        "packets_out": leg.packets_out,
        "packets_lost": leg.packets_lost,
        "jitter_ms": leg.jitter_ms,
        "mos": leg.mos,
    }


def day_of(time_ns: int) -> str:
    """UTC date, ``YYYY-MM-DD``."""
    return _day(time_ns // _NS_PER_DAY)


@lru_cache(maxsize=64)
def _day(number: int) -> str:
    return (date(1970, 1, 1) + timedelta(days=number)).isoformat()


def _answered_by(call: CallState) -> str:
    leg = call.legs.get(call.answer_leg_id)
    return leg.target_uri if leg is not None else ""
