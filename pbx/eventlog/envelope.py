"""The one envelope in which events leave the server, as JSON: HTTP, WebSocket, webhooks.

``docs/schemas/envelope.json`` describes it; :func:`envelope_schema` makes that. ``data`` has the
newest shape of the event's type, and fields with their default value are absent, as in the log.
Sealed fields read ``[sealed]`` whatever keys the log was opened with.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from pbx.eventlog.feed import newest_name
from pbx.eventlog.record import Record
from pbx.eventlog.registry import SEALED_TEXT, Codec
from pbx.kernel.errors import DecodeError
from pbx.kernel.events import EVENT_TYPES, UPCASTERS

_NS_PER_S: Final = 1_000_000_000


class Envelope(msgspec.Struct, frozen=True, gc=False):
    """One event as consumers see it."""

    position: str
    """Opaque; hand it back as `after` to go on behind this event."""
    stream: str
    """What the event is about: ``call/<id>``, ``account/<name@domain>``, …"""
    version: int
    """Number in the stream, from 1, growing. Stream and version name an event for ever."""
    type: str
    """``leg.answered.v1``; a name never changes its meaning nor its shape."""
    time: str
    """When it happened: UTC, RFC 3339, nanoseconds."""
    node: str
    """The node that wrote it."""
    actor: str
    """Who caused it; empty if nobody in particular."""
    correlation: str
    """The call or message it belongs to."""
    causation: str
    """What led to it."""
    tenant: str
    """The domain."""
    data: msgspec.Raw
    """The event's own fields, see the schema of its type."""


_KEYLESS: Final = Codec()
_ENCODE: Final = msgspec.json.Encoder().encode
_FIELDS: Final = msgspec.json.Decoder(dict[str, Any])


def envelope(token: str, record: Record) -> bytes:
    """`record` as one line of JSON; `token` is the feed's token behind it."""
    type_name, data = _shown(record)
    return _ENCODE(
        Envelope(
            position=token,
            stream=record.stream,
            version=record.version,
            type=type_name,
            time=rfc3339(record.time_ns),
            node=record.node,
            actor=record.actor,
            correlation=record.correlation,
            causation=record.causation,
            tenant=record.tenant,
            data=msgspec.Raw(data),
        )
    )


def _shown(record: Record) -> tuple[str, bytes]:
    if record.type in UPCASTERS:
        try:
            event = _KEYLESS.decode(record.stream, record.type, record.data)
        except DecodeError:
            return record.type, record.data  # as it is stored: nothing is lost, nothing opened
        name = newest_name(record.type)
        return name, _ENCODE(event)
    row = EVENT_TYPES.get(record.type)
    if row is not None and row.sealed:
        fields = _FIELDS.decode(record.data)
        fields.update((name, SEALED_TEXT) for name in row.sealed if fields.get(name))
        return record.type, _ENCODE(fields)
    return record.type, record.data


def rfc3339(time_ns: int) -> str:
    """UTC with nanoseconds: ``2026-01-31T08:00:00.123456789Z``."""
    seconds, rest = divmod(time_ns, _NS_PER_S)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"
