"""G.711 A-law and µ-law by table (ITU-T G.711; RFC 3551 §4.5.14)."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from media.codecs.base import Octets, Pcm, Rows, Sizes, Stateless, full

ULAW_SILENCE: Final = 0xFF
ALAW_SILENCE: Final = 0xD5
_ULAW_BIAS: Final = 132
_ULAW_CLIP: Final = 32_635


def _ulaw_decoder() -> NDArray[np.int16]:
    code = ~np.arange(256, dtype=np.uint8)
    exponent = (code >> 4 & 7).astype(np.int32)
    size = ((code & 15).astype(np.int32) * 8 + _ULAW_BIAS << exponent) - _ULAW_BIAS
    return np.where(code & 0x80, -size, size).astype(np.int16)


def _alaw_decoder() -> NDArray[np.int16]:
    code = np.arange(256, dtype=np.uint8) ^ 0x55
    exponent = (code >> 4 & 7).astype(np.int32)
    mantissa = (code & 15).astype(np.int32) * 16 + 8
    size = np.where(exponent > 0, mantissa + 256 << np.maximum(exponent - 1, 0), mantissa)
    return np.where(code & 0x80, size, -size).astype(np.int16)


def _ulaw_encoder() -> NDArray[np.uint8]:
    """By the 16 bits of a sample as an unsigned index."""
    pcm = np.arange(65_536, dtype=np.uint16).view(np.int16).astype(np.int32)
    size = np.minimum(np.abs(pcm), _ULAW_CLIP) + _ULAW_BIAS
    exponent = np.floor(np.log2(size)).astype(np.int32) - 7
    mantissa = size >> exponent + 3 & 15
    code = exponent << 4 | mantissa | np.where(pcm < 0, 0x80, 0)
    table: NDArray[np.uint8] = (~code & 0xFF).astype(np.uint8)
    return table


def _alaw_encoder() -> NDArray[np.uint8]:
    pcm = np.arange(65_536, dtype=np.uint16).view(np.int16).astype(np.int32)
    # A negative number is taken as its ones' complement: -1 is in the first interval below zero.
    size = np.where(pcm < 0, ~pcm, pcm) >> 4
    exponent = np.maximum(np.floor(np.log2(np.maximum(size, 1))).astype(np.int32) - 3, 0)
    exponent = np.where(size >= 16, exponent, 0)
    code = exponent << 4 | size >> np.maximum(exponent - 1, 0) & 15
    table: NDArray[np.uint8] = ((code | np.where(pcm < 0, 0, 0x80)) ^ 0x55).astype(np.uint8)
    return table


ULAW_TO_PCM: Final = _ulaw_decoder()
"""int16, (256,)."""
ALAW_TO_PCM: Final = _alaw_decoder()
PCM_TO_ULAW: Final = _ulaw_encoder()
"""uint8, (65536,), by the sample as uint16."""
PCM_TO_ALAW: Final = _alaw_encoder()


class G711(Stateless):
    """Either law; see :class:`media.codecs.base.Codec`."""

    clock_rate_hz = 8000
    rate_hz = 8000

    def __init__(self, name: str) -> None:
        """``PCMU`` or ``PCMA``."""
        self.name = name
        self._decoder = ULAW_TO_PCM if name == "PCMU" else ALAW_TO_PCM
        self._encoder = PCM_TO_ULAW if name == "PCMU" else PCM_TO_ALAW

    def samples(self, size_bytes: int, first: int) -> int:
        return size_bytes

    def decode(self, rows: Rows, payloads: Octets) -> Pcm:
        return self._decoder.take(payloads)

    def encode(self, rows: Rows, pcm: Pcm) -> tuple[Octets, Sizes]:
        payloads = self._encoder.take(pcm.view(np.uint16))
        return payloads, full(payloads)
