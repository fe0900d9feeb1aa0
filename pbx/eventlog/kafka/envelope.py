"""The value of a Kafka record: JSON that a consumer in any language can read.

Written by the shipper, read by :mod:`pbx.eventlog.kafka.reader` and by foreign consumers, for whom
``docs/kafka.md`` describes it. A record is one of three things:

- a *fact*: one event that happened, with the version its writer gave it; ``at`` is its position in
  the writer's journal;
- a *decision*: all events of one append, with the version it ``expected`` and its ``id``;
- a *barrier*: no events; it begins a session of its writer in this partition.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from pbx.eventlog.record import Row
from pbx.kernel.errors import DecodeError

Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
"""What the replica's file can store; a record with more is none of ours."""
MAX_EVENTS: Final = 4096
"""Events of one append: their index has twelve bits in a position."""


class WireEvent(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One event; names as in :class:`pbx.eventlog.record.Record`."""

    type: str
    time_ns: Count
    data: msgspec.Raw
    version: Count = 0
    """What the writer took it for; the fold has the last word. 0: the log numbers it."""
    node: str = ""
    actor: str = ""
    correlation: str = ""
    causation: str = ""
    tenant: str = ""


class Envelope(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One Kafka record."""

    stream: str
    writer: str
    """Which log file wrote it; a random name for the life of the file."""
    session: Count
    seq: Count
    """Counts the records of this writer and session in this partition from 1, without gaps."""
    events: Annotated[list[WireEvent], msgspec.Meta(max_length=MAX_EVENTS)]
    expected: Annotated[int, msgspec.Meta(ge=-1, le=2**62)] | None = None
    """Of a decision: version of the stream it was based on, -1 for any. None: a fact."""
    id: str = ""
    at: Count = 0

    @property
    def is_barrier(self) -> bool:
        """Nothing but the beginning of a session."""
        return not self.events

    def rows(self, versions: tuple[int, ...]) -> list[Row]:
        """The events as rows with the versions that the fold gave."""
        return [
            (
                self.stream,
                version,
                event.type,
                event.time_ns,
                event.node,
                event.actor,
                event.correlation,
                event.causation,
                event.tenant,
                bytes(event.data),
            )
            for event, version in zip(self.events, versions, strict=True)
        ]


def wire_event(row: Row) -> WireEvent:
    """A row as it travels."""
    _, version, name, time_ns, node, actor, correlation, causation, tenant, data = row
    return WireEvent(
        type=name,
        time_ns=time_ns,
        data=msgspec.Raw(data),
        version=max(0, version),
        node=node,
        actor=actor,
        correlation=correlation,
        causation=causation,
        tenant=tenant,
    )


def decode_envelope(value: bytes | None) -> Envelope:
    """Raises :class:`DecodeError` for whatever is not a record of ours."""
    if value is None:
        raise DecodeError("a record without a value")
    try:
        envelope = _DECODE(value)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DecodeError(str(error)) from error
    if envelope.session < 1 or envelope.seq < 1:
        raise DecodeError("session and seq count from 1")
    if envelope.expected is None and len(envelope.events) > 1:
        raise DecodeError("a fact is one event")
    return envelope


encode_envelope: Final = msgspec.json.Encoder().encode
_DECODE: Final = msgspec.json.Decoder(Envelope).decode
