"""Codecs over matrices: (streams, samples) int16 to (streams, bytes) and back.

Fed and used by ``media.graph``. What is here: G.711, L16, G.722, GSM, Opus, comfort noise, loss
concealment. :func:`offered` says which of them this installation has.
"""

from __future__ import annotations

from media.codecs import opus, recursive
from media.codecs.base import Codec
from media.codecs.g711 import G711
from media.codecs.l16 import L16


def offered() -> list[tuple[str, int]]:
    """Encoding names and clock rates that can be made, in our order of preference."""
    names = [("PCMA", 8000), ("PCMU", 8000), ("L16", 16_000), ("L16", 8000)]
    if recursive.available():
        names = [("G722", 8000), *names, ("GSM", 8000)]
    return [("OPUS", 48_000), *names] if opus.available() else names


def make(name: str, clock_rate_hz: int, opus_rate_hz: int = 16_000) -> Codec:
    """A codec for many streams. Raises ``KeyError`` for what :func:`offered` does not list."""
    key = (name.upper(), clock_rate_hz)
    if key not in offered():
        raise KeyError(key)
    if key[0] in ("PCMU", "PCMA"):
        return G711(key[0])
    if key[0] == "L16":
        return L16(clock_rate_hz)
    if key[0] == "OPUS":
        return opus.Opus(opus_rate_hz)
    return recursive.G722() if key[0] == "G722" else recursive.Gsm()


__all__ = ["Codec", "make", "offered"]
