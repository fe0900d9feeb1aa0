"""What the data format can say, as Python values.

==============  =========================  ==========================================
Format          Text                       Value
==============  =========================  ==========================================
string          ``atom``, ``"quoted"``     ``str``
data block      ``[AQID]``                 ``bytes``
number          ``#50``, ``#0x17EF``       ``int`` of 64 bits, signed
time stamp      ``#T22-10-2009_15:24:45``  ``datetime`` in UTC, whole seconds; :class:`Era`
address         ``#I[10.0.44.55]:25``      :class:`IpAddress`
null            ``#NULL#``                 ``None``
array           ``(a, b)``                 ``list``
dictionary      ``{k = v;}``               ``dict``, keys are strings
XML             ``<a>…</a>``               :class:`XmlObject`
run-time        ``#(call 12)``             :class:`Opaque`, written only
==============  =========================  ==========================================
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address
from typing import Final, NamedTuple, TypeAlias


class Era(enum.Enum):
    """A time stamp beyond all others."""

    PAST = "PAST"
    FUTURE = "FUTURE"


class IpAddress(NamedTuple):
    """A network address, with a port or without."""

    host: IPv4Address | IPv6Address
    port: int | None = None


@dataclass(frozen=True, slots=True)
class XmlObject:
    """An XML element, its text kept as it was written."""

    text: str


@dataclass(frozen=True, slots=True)
class Opaque:
    """The handle of something that runs: can be shown, not read back."""

    text: str


TimeStamp: TypeAlias = datetime | Era
Value: TypeAlias = (
    "str | bytes | int | datetime | Era | IpAddress | XmlObject | Opaque"
    " | list[Value] | dict[str, Value] | None"
)

NUMBER_MIN: Final = -(2**63)
NUMBER_MAX: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Limits:
    """What a reader takes."""

    depth: int = 64
    """Brackets within brackets. Real settings have up to seven; each level costs two frames of
    the interpreter's stack, of which it has a thousand."""
    chars: int = 16 * 1024 * 1024
    """Characters of one object: a prompt of ten megabytes as a data block."""


DEFAULT_LIMITS: Final = Limits()
