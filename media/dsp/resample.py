"""Change of sampling rate between 8, 16 and 48 kHz: polyphase FIR, (streams, samples) at once.

Fed by ``media.graph`` (streams) and ``media.wav`` (whole files). A frame and the samples before
it are multiplied by one matrix whose columns are the filter at each output's phase: a banded
matrix, but one product of BLAS is faster than strided copies.

The low-pass is a windowed sinc that ends at the lower rate's half: at 0.85 of it the response is
within 0.1 dB, what would alias is 70 dB down.
"""

from __future__ import annotations

from functools import cache
from math import gcd
from typing import Final

import numpy as np
from numpy.typing import NDArray

from media.codecs.base import Pcm, Rows

RATES_HZ: Final = (8000, 16_000, 48_000)
_HALF_PERIODS: Final = 20
"""Of the sinc on each side: the delay is so many samples of the lower rate."""
_KAISER_BETA: Final = 7.0
_CUTOFF: Final = 0.92
"""Middle of the transition, in parts of the lower rate's half."""


def _low_pass(up: int, down: int) -> NDArray[np.float64]:
    """The filter at ``up`` times the source's rate."""
    wide = max(up, down)
    half = _HALF_PERIODS * wide
    time = np.arange(-half, half + 1) / wide
    taps = np.sinc(_CUTOFF * time) * np.kaiser(2 * half + 1, _KAISER_BETA)
    return np.asarray(taps * up / taps.sum())


@cache
def _matrix(source_hz: int, target_hz: int, samples: int) -> tuple[NDArray[np.float32], int]:
    """Weights, float32, (history + samples, outputs), and the history in samples."""
    common = gcd(source_hz, target_hz)
    up, down = target_hz // common, source_hz // common
    taps = _low_pass(up, down)
    history = -(-(len(taps) - 1) // up)
    outputs = samples * up // down
    weights = np.zeros((history + samples, outputs))
    for output in range(outputs):
        at = output * down  # of this output at the fine rate
        newest = at // up
        for back in range(history + 1):
            tap = at - (newest - back) * up
            if tap < len(taps):
                weights[history + newest - back, output] = taps[tap]
    return weights.astype(np.float32), history


class Resampler:
    """Streams of frames from one rate to another; state is the end of each stream's past."""

    def __init__(self, source_hz: int, target_hz: int, samples: int) -> None:
        """``samples``: of a frame at the source's rate, a multiple of what makes whole outputs."""
        self.source_hz = source_hz
        self.target_hz = target_hz
        self._weights, self._history = _matrix(source_hz, target_hz, samples)
        self._past = np.zeros((0, self._history), dtype=np.float32)

    def grow(self, capacity: int) -> None:
        """Have room for rows below ``capacity``."""
        more = capacity - len(self._past)
        if more > 0:
            room = np.zeros((more, self._history), dtype=np.float32)
            self._past = np.concatenate([self._past, room])

    def reset(self, rows: Rows) -> None:
        """These rows are other streams now."""
        self._past[rows] = 0.0

    def process(self, rows: Rows, pcm: Pcm) -> Pcm:
        """The next frame of these rows at the other rate."""
        joined = np.concatenate([self._past[rows], pcm], axis=1, dtype=np.float32)
        self._past[rows] = joined[:, joined.shape[1] - self._history :]
        out = joined @ self._weights
        np.rint(out, out=out)
        np.clip(out, -32_768, 32_767, out=out)
        return out.astype(np.int16)


def resample(pcm: Pcm, source_hz: int, target_hz: int) -> Pcm:
    """A whole recording; int16, (samples,), without the delay of the filter."""
    if source_hz == target_hz:
        return pcm
    block = source_hz // 50
    weights, history = _matrix(source_hz, target_hz, block)
    delay = _HALF_PERIODS * target_hz // min(source_hz, target_hz)
    wanted = -(-len(pcm) * target_hz // source_hz)
    blocks = -(-(wanted + delay) // (target_hz // 50))
    padded = np.zeros(history + blocks * block, dtype=np.float32)
    padded[history : history + len(pcm)] = pcm
    # All blocks in one product, each with the end of the one before it.
    joined = np.lib.stride_tricks.sliding_window_view(padded, history + block)[::block]
    out = np.rint(joined @ weights).reshape(-1)[delay : delay + wanted]
    result: Pcm = np.clip(out, -32_768, 32_767).astype(np.int16)
    return result
