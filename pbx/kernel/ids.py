"""Identifiers that sort by time: UUID version 7 (RFC 9562 §5.7).

Time and randomness are arguments, so a simulation draws the same ids from the same seed. Streams
named by such ids append at the right edge of the log's index, which keeps inserts local.
"""

from __future__ import annotations

from typing import Final, Protocol

_NS_PER_MS: Final = 1_000_000


class Bits(Protocol):
    """Random bits: ``random.Random`` in tests, ``random.SystemRandom`` in the server."""

    def getrandbits(self, k: int, /) -> int: ...


def uuid7(wall_ns: int, rng: Bits) -> str:
    """A new id in canonical text form.

    Bits: 48 Unix milliseconds, version 7, 12 random, variant ``10``, 62 random. 74 random bits
    make a clash between two nodes within one millisecond hopeless; order inside the millisecond is
    not promised.
    """
    random = rng.getrandbits(74)
    value = (
        (wall_ns // _NS_PER_MS & 0xFFFF_FFFF_FFFF) << 80
        | 0x7 << 76
        | (random >> 62) << 64
        | 0b10 << 62
        | random & 0x3FFF_FFFF_FFFF_FFFF
    )
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def uuid7_ms(text: str) -> int:
    """Unix milliseconds in which `text` was made. Raises ``ValueError`` if it is no UUID 7."""
    digits = text.replace("-", "")
    if len(digits) != 32 or digits[12] != "7":
        raise ValueError(f"not a UUID version 7: {text!r}")
    return int(digits[:12], 16)
