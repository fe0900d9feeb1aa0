"""Concealment of lost frames for codecs without one of their own: G.711, L16, G.722, GSM.

Fed by ``media.graph`` with what the streams sounded like until now. The idea of ITU-T G.711
Appendix I, over matrices: the last pitch period is repeated and faded, 10 ms as it was, to
silence at 60 ms; when sound returns, 4 ms of the continuation are blended into it.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from media.codecs.base import Pcm

HISTORY_FRAMES: Final = 2
"""Of 20 ms each, before the lost one: twice the longest period and a bit."""
MAX_CONCEALED: Final = 3
"""Frames; after 60 ms nothing is left."""
_SEARCH_HZ: Final = 8000
"""The pitch is looked for at this rate whatever the audio's is."""
_LAGS: Final = (20, 120)
"""Samples at 8 kHz: 400 Hz to 67 Hz."""
_TEMPLATE: Final = 80
_BLEND_S: Final = 0.004


def _gain(start_s: float, samples: int, rate_hz: int) -> NDArray[np.float32]:
    """Of the concealment at this time after the loss."""
    time_s = start_s + np.arange(samples) / rate_hz
    return np.clip(1.0 - (time_s - 0.010) / 0.050, 0.0, 1.0).astype(np.float32)


def periods(history: Pcm, rate_hz: int) -> NDArray[np.int64]:
    """The pitch period of each stream in samples, (streams,); ``history``: at least 40 ms."""
    step = rate_hz // _SEARCH_HZ
    low = history[:, (history.shape[1] - 1) % step :: step].astype(np.float32)
    first, last = _LAGS
    template = low[:, -_TEMPLATE:]
    # Windows that lie one lag before the template, the shortest lag last.
    past = low[:, low.shape[1] - _TEMPLATE - last : low.shape[1] - first]
    windows = np.lib.stride_tricks.sliding_window_view(past, _TEMPLATE, axis=1)
    match = np.einsum("nlt,nt->nl", windows, template)
    energy = np.einsum("nlt,nlt->nl", windows, windows)
    score = np.maximum(match, 0.0) ** 2 / (energy + 1.0)
    # Among peaks of about the same height the shortest lag wins: it is the period, the others
    # are its multiples.
    fence = np.full((len(score), 1), -1.0, dtype=score.dtype)
    around = np.concatenate([fence, score, fence], axis=1)
    peak = (score >= around[:, :-2]) & (score >= around[:, 2:])
    good = peak & (score >= 0.9 * score.max(axis=1, keepdims=True))
    lag = first + np.argmax(good[:, ::-1], axis=1)
    result: NDArray[np.int64] = lag.astype(np.int64) * step
    return result


def continuation(history: Pcm, samples: int, rate_hz: int) -> NDArray[np.float32]:
    """The streams as if their last period went on; float32, (streams, samples)."""
    period = periods(history, rate_hz)[:, None]
    end = history.shape[1]
    at = np.arange(samples)[None, :] % period
    heard = np.take_along_axis(history, end - period + at, axis=1).astype(np.float32)
    # The last quarter of each repetition is blended with what came before the period, so that
    # its end meets its beginning.
    quarter = np.maximum(period // 4, 1)
    weight = np.clip((at - (period - quarter) + 1) / quarter, 0.0, 1.0)
    before = np.maximum(end - 2 * period + at, 0)
    earlier = np.take_along_axis(history, before, axis=1)
    result: NDArray[np.float32] = (heard + weight * (earlier - heard)).astype(np.float32)
    return result


def conceal(history: Pcm, lost: NDArray[np.int64], samples: int, rate_hz: int) -> Pcm:
    """Frames in place of lost ones; int16, (streams, samples).

    ``history``: (streams, ≥ 40 ms), with the frames made up before. ``lost``: (streams,) frames
    lost in a row before this one.
    """
    pcm = continuation(history, samples, rate_hz)
    frame_s = samples / rate_hz
    gains = np.zeros((MAX_CONCEALED + 1, samples), dtype=np.float32)
    for number in range(MAX_CONCEALED):
        # History holds what was faded already: only the rest of the way is faded here.
        already = _gain(number * frame_s, 1, rate_hz)[0]
        gains[number] = _gain(number * frame_s, samples, rate_hz) / max(already, 1e-6)
    pcm *= gains[np.minimum(lost, MAX_CONCEALED)]
    return pcm.astype(np.int16)


def blend(history: Pcm, fresh: Pcm, rate_hz: int) -> Pcm:
    """The first frames after a loss, begun from the continuation; int16, as ``fresh``."""
    samples = min(int(_BLEND_S * rate_hz), fresh.shape[1])
    weight = (np.arange(samples, dtype=np.float32) + 1) / samples
    start = continuation(history, samples, rate_hz)
    joined = fresh.copy()
    joined[:, :samples] = start + weight * (fresh[:, :samples] - start)
    return joined
