"""The packet path: relay of datagrams with secure latching. `relay.py` says what it promises."""

from __future__ import annotations

import os
from importlib.util import find_spec

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
from media.native.twin import TwinRelay

IMPLEMENTATION_VARIABLE = "RINGLOG_RELAY"


def native_is_built() -> bool:
    """Whether the C core was built with this installation."""
    return find_spec("media.native._relay") is not None


def open_relay(options: RelayOptions | None = None, implementation: str | None = None) -> Relay:
    """A running relay: "native", "twin", or "auto" for the C core where it was built.

    Without an argument the environment variable RINGLOG_RELAY decides, else "auto". Raises
    ImportError when "native" is asked for and was not built.
    """
    choice = implementation or os.environ.get(IMPLEMENTATION_VARIABLE) or "auto"
    if choice not in ("auto", "native", "twin"):
        raise ValueError(f'a relay is "auto", "native" or "twin", not "{choice}"')
    if choice == "twin" or (choice == "auto" and not native_is_built()):
        return TwinRelay(options)
    from media.native.native import NativeRelay  # absent where there was no compiler

    return NativeRelay(options)


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
    "native_is_built",
    "open_relay",
]
