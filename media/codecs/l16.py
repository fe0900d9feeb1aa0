"""L16: 16-bit samples in network order (RFC 3551 §4.5.11), mono."""

from __future__ import annotations

import numpy as np

from media.codecs.base import Octets, Pcm, Rows, Sizes, Stateless, full


class L16(Stateless):
    """See :class:`media.codecs.base.Codec`."""

    name = "L16"

    def __init__(self, rate_hz: int) -> None:
        self.clock_rate_hz = self.rate_hz = rate_hz

    def samples(self, size_bytes: int, first: int) -> int:
        return 0 if size_bytes % 2 else size_bytes // 2

    def decode(self, rows: Rows, payloads: Octets) -> Pcm:
        return np.ascontiguousarray(payloads).view(">i2").astype(np.int16)

    def encode(self, rows: Rows, pcm: Pcm) -> tuple[Octets, Sizes]:
        payloads = np.ascontiguousarray(pcm.astype(">i2")).view(np.uint8)
        return payloads, full(payloads)
