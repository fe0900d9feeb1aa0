"""What an NG request asks for, read out of its dictionary once.

Fed by ``media.server.service``; feeds ``exchange``. Unknown keys and flags are ignored, as
rtpengine does; a key of the wrong type is an error, because nothing good follows from guessing.
"""

from __future__ import annotations

from typing import Any, Final

from media.errors import NgRequestError
from media.native.relay import LearnPolicy
from media.ng.messages import Message
from media.server.addresses import Reach, reach_of

#: Call-IDs and tags are keys that live as long as the call.
MAX_ID_CHARS: Final = 512


def text(message: Message, key: str) -> str:
    """A string, empty if absent. Raises :class:`NgRequestError`."""
    value = message.get(key, "")
    if isinstance(value, str):
        return value
    if isinstance(value, int | float):  # JSON clients may send a Call-ID of digits as a number
        return str(value)
    raise NgRequestError(f"{key} is not a string")


def identifier(message: Message, key: str) -> str:
    """A call-id or tag, empty if absent."""
    value = text(message, key)
    if len(value) > MAX_ID_CHARS:
        raise NgRequestError(f"{key} is too long")
    return value


def words(message: Message, key: str) -> frozenset[str]:
    """A list of flags, with hyphens in place of spaces; one string counts as a list of one."""
    value: Any = message.get(key)
    if value is None:
        return _NOTHING
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise NgRequestError(f"{key} is not a list of strings")
    return frozenset([item.replace(" ", "-") for item in value])


def number(message: Message, key: str, default: int) -> int:
    """A number; bencode clients may send it as a string."""
    value = message.get(key, default)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        value = int(value)
    if not isinstance(value, int):
        raise NgRequestError(f"{key} is not a number")
    return value


_NOTHING: Final[frozenset[str]] = frozenset()
_LEARN: Final = {policy.value: policy for policy in LearnPolicy}


class ExchangeOptions:
    """Options of one offer or answer. Constructing raises :class:`NgRequestError`."""

    __slots__ = (
        "address_family",
        "asymmetric",
        "direction",
        "ice",
        "learn",
        "loop_protect",
        "media_address",
        "mux",
        "origin_key",
        "proto",
        "provisional",
        "received_from",
        "replace",
        "rtcp_attribute",
        "source_address",
        "strip_crypto",
    )

    def __init__(self, message: Message) -> None:
        flags = words(message, "flags")
        self.replace = words(message, "replace")
        self.mux = words(message, "rtcp-mux")
        self.direction = _strings(message, "direction")
        self.address_family = text(message, "address-family").upper()
        if self.address_family not in ("", "IP4", "IP6"):
            raise NgRequestError("address-family is IP4 or IP6")
        self.received_from = _received_from(message)
        self.media_address = _numeric(text(message, "media-address"), "media-address")
        self.source_address = "SIP-source-address" in flags
        if self.source_address and not self.received_from:
            raise NgRequestError("SIP-source-address needs received-from")
        self.asymmetric = "asymmetric" in flags
        self.loop_protect = "loop-protect" in flags
        self.rtcp_attribute = "auto"
        if "no-rtcp-attribute" in flags:
            self.rtcp_attribute = "none"
        elif "full-rtcp-attribute" in flags:
            self.rtcp_attribute = "full"
        self.strip_crypto = "off" in words(message, "SDES")
        self.proto = text(message, "transport-protocol")
        self.ice = text(message, "ICE")
        self.origin_key = identifier(message, "origin-key")
        self.provisional = "provisional" in flags
        learn = text(message, "learn")
        if learn and learn not in _LEARN:
            raise NgRequestError(f"learn is one of {', '.join(_LEARN)}")
        self.learn = _LEARN[learn] if learn else None

    @property
    def wants_ice(self) -> bool:
        """Whether ICE was asked for, which the relay removes."""
        return self.ice not in ("", "remove", "default", "optional")


def _strings(message: Message, key: str) -> list[str]:
    value = message.get(key, [])
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise NgRequestError(f"{key} is not a list of strings")
    return value


def _received_from(message: Message) -> str:
    """``["IP4", "192.0.2.1"]``; some clients send the address alone."""
    value = _strings(message, "received-from")
    return _numeric(value[-1], "received-from") if value else ""


def _numeric(host: str, key: str) -> str:
    host = host.strip("[]")
    if host and reach_of(host) in (Reach.NEVER, Reach.UNSPECIFIED):
        raise NgRequestError(f"{key} is not a usable address")
    return host
