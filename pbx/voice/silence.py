"""How much silence a recording ends with."""

from __future__ import annotations

import array
import sys
from typing import Final

DEFAULT_LEVEL: Final = 300
"""Of 32767: about -41 dB, below speech and above the noise of a telephone line."""
_HEADER: Final = 12


def trailing_silence_ms(data: bytes, level: int | None = None, minimum_ms: int = 0) -> int:
    """Milliseconds at the end of a WAV file (16 bit, mono) that stay below `level`.

    0 for another file, and for silence shorter than `minimum_ms`.
    """
    found = _samples(data)
    if found is None:
        return 0
    samples, rate_hz = found
    limit = DEFAULT_LEVEL if level is None or level <= 0 else min(level, 32767)
    count = 0
    for value in reversed(samples):
        if abs(value) > limit:
            break
        count += 1
    milliseconds = count * 1000 // rate_hz
    return milliseconds if milliseconds >= minimum_ms else 0


def _samples(data: bytes) -> tuple[array.array[int], int] | None:
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        return None
    at = _HEADER
    rate_hz = 0
    while at + 8 <= len(data):
        name, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        body = data[at + 8 : at + 8 + size]
        if name == b"fmt " and len(body) >= 16:
            kind = int.from_bytes(body[:2], "little")
            channels = int.from_bytes(body[2:4], "little")
            bits = int.from_bytes(body[14:16], "little")
            if kind != 1 or channels != 1 or bits != 16:
                return None
            rate_hz = int.from_bytes(body[4:8], "little")
        elif name == b"data" and rate_hz:
            samples = array.array("h")
            samples.frombytes(body[: len(body) // 2 * 2])
            if sys.byteorder == "big":
                samples.byteswap()
            return samples, rate_hz
        at += 8 + size + size % 2
    return None
