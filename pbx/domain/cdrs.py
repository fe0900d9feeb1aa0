"""Call records as events: stream ``cdr/<call id>``, category ``pbx.cdrs``, made from ``pbx.calls``.

Written by :mod:`pbx.readmodel.cdr_feed` when the tables of call records have new or other rows;
read by consumers outside. Nothing inside is made from them: the tables come from the calls.

The newest event of a stream is the record as it is now. Version 1 is written when the call has
ended; a later one when the rules of records were corrected or a person was erased. The same content
may come twice in a cluster (a node died between writing and noting it): it is the same record.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from pbx.kernel.events import PERSONAL, Durability, Event, event

CDRS: Final = "pbx.cdrs"

Personal = Annotated[str, PERSONAL]


class RecordedLeg(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """One leg of a call record; what it shares with the call stands there. Times: UTC, ns."""

    leg_id: str
    ordinal: int = 0
    """Order of appearance in the call."""
    parent_leg_id: str = ""
    role: str = ""
    """``A`` caller, ``B`` callee, ``X`` by transfer."""
    sip_call_id: str = ""
    target_uri: Personal = ""
    start_ns: int = 0
    provision_ns: int = 0
    """First 18x; 0 if none."""
    answer_ns: int = 0
    """0 if it was not answered."""
    end_ns: int = 0
    talk_ms: int = 0
    status: int = 0
    """Final SIP status."""
    cause: str = ""
    q850: int = 0
    ended_by: str = ""
    """``caller`` ``callee`` ``server``."""
    redirector: Personal = ""
    application: str = ""
    gateway: str = ""
    billing_id: str = ""
    proxied: bool = False
    """Its media was relayed."""
    codec: str = ""
    packets_in: int = 0
    packets_out: int = 0
    packets_lost: int = 0
    jitter_ms: float = 0.0
    mos: float = 0.0
    """0 when too few packets were seen for an estimate."""


@event("cdr.recorded.v1", category=CDRS, durability=Durability.OBSERVED)
class CdrRecorded(Event):
    """The record of an ended call with its legs: the row of ``cdrs`` and those of ``cdr_legs``.

    Times are UTC, ns, 0 for never.
    """

    call_id: str
    rules: int
    """Version of the rules by which the record was made; those of a corrected one are later."""
    tenant: str = ""
    from_uri: Personal = ""
    to_uri: Personal = ""
    request_uri: Personal = ""
    """What was dialled."""
    asserted_identity: Personal = ""
    account: Personal = ""
    """Authenticated account of the caller."""
    source: Personal = ""
    """``ip:port`` the call came from."""
    transport: str = ""
    answered_by: Personal = ""
    """Target of the leg that took the call."""
    start_ns: int = 0
    provision_ns: int = 0
    answer_ns: int = 0
    end_ns: int = 0
    talk_ms: int = 0
    status: int = 0
    cause: str = ""
    q850: int = 0
    ended_by: str = ""
    reason: str = ""
    recovered: bool = False
    """The server died during the call; its end is the last sign of life."""
    legs: tuple[RecordedLeg, ...] = ()
    """In order of appearance."""


@event("cdr.withdrawn.v1", category=CDRS, durability=Durability.OBSERVED)
class CdrWithdrawn(Event):
    """By today's rules this call has no record; the one that was told before is void."""

    call_id: str
    rules: int


def cdr_stream(call_id: str) -> str:
    """The stream of a call's record."""
    return f"cdr/{call_id}"
