"""The packet path: relay of datagrams with secure latching. `relay.py` says what it promises."""

from media.native.relay import (
    ANY_PAYLOAD_TYPE,
    Address,
    DropReason,
    LearnPolicy,
    Locked,
    Rebound,
    Relay,
    RelayEvent,
    RelayOptions,
    SelfLoop,
    SourceAlarm,
    StreamConfig,
    StreamStats,
)

__all__ = [
    "ANY_PAYLOAD_TYPE",
    "Address",
    "DropReason",
    "LearnPolicy",
    "Locked",
    "Rebound",
    "Relay",
    "RelayEvent",
    "RelayOptions",
    "SelfLoop",
    "SourceAlarm",
    "StreamConfig",
    "StreamStats",
]
