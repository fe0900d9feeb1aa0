"""What a codec of the audio path is: matrices of samples to matrices of payloads and back.

Fed by ``media.graph`` once a tick with all streams of one codec; a stream is a *row*, a number
that the graph gives. State, where a codec has any, is an array with one line a row.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Pcm = NDArray[np.int16]
"""Samples, (streams, samples)."""
Octets = NDArray[np.uint8]
"""Payloads, (streams, bytes)."""
Rows = NDArray[np.int64]
"""Numbers of streams, (streams,)."""
Sizes = NDArray[np.int64]
"""Bytes or samples of each stream, (streams,)."""

TICKS_PER_S = 50
"""Frames of 20 ms: what one tick of the audio path handles."""


class Codec(Protocol):
    """One encoding at one rate, for up to :meth:`grow` streams. Not thread-safe."""

    name: str
    """Encoding name of the ``rtpmap``, upper case."""
    clock_rate_hz: int
    """Of RTP timestamps; not always the sampling rate (G.722: 8000, RFC 3551 §4.5.2)."""
    rate_hz: int
    """Sampling rate of the audio."""

    def grow(self, capacity: int) -> None:
        """Have room for rows below ``capacity``; states are kept."""
        ...

    def reset(self, rows: Rows) -> None:
        """Forget what these rows were; do so when a row is given to another stream."""
        ...

    def samples(self, size_bytes: int, first: int) -> int:
        """Samples in a payload of this size that starts with the octet ``first``; 0: not one."""
        ...

    def decode(self, rows: Rows, payloads: Octets) -> Pcm:
        """One payload a row, all of the same number of samples."""
        ...

    def encode(self, rows: Rows, pcm: Pcm) -> tuple[Octets, Sizes]:
        """Payloads and their sizes; the matrix is as wide as the longest."""
        ...

    def conceal(self, rows: Rows, following: Octets | None) -> Pcm | None:
        """20 ms in place of a lost packet by the codec's own means; None: it has none.

        ``following``: the packets after the lost ones, where all are known (in-band FEC).
        """
        ...


class Stateless:
    """What codecs without memory have in common."""

    def grow(self, capacity: int) -> None:
        """Nothing is kept."""

    def reset(self, rows: Rows) -> None:
        """Nothing is kept."""

    def conceal(self, rows: Rows, following: Octets | None) -> Pcm | None:
        return None


def full(payloads: Octets) -> Sizes:
    """Sizes of payloads that all fill their line."""
    return np.full(len(payloads), payloads.shape[1], dtype=np.int64)
