"""Levels in dBov and voice activity, for all streams of a tick at once.

Fed by ``media.graph`` with decoded frames; feeds mixing (who is loud), recordings (silence is
left out), events (who talks) and comfort noise. 0 dBov is the RMS of a square wave at full scale
(RFC 6464 §3); a sine at full scale has -3 dBov.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from media.codecs.base import Pcm, Rows

SILENCE_DBOV: Final = -127.0
_FULL_SCALE_POWER: Final = 32_768.0**2
#: A frame is speech this far above the noise floor.
THRESHOLD_DB: Final = 8.0
#: The end of words is softer than their middle.
HANGOVER_FRAMES: Final = 10
#: What is below is silence even where no noise is; -55 dBov is a quiet room on a good telephone.
ABSOLUTE_FLOOR_DBOV: Final = -55.0
#: Frames over which the minimum is the noise floor: 2 x 0.75 s, so that words do not raise it.
_WINDOW_FRAMES: Final = 38


def levels_dbov(pcm: Pcm) -> NDArray[np.float32]:
    """(streams,); digital silence is -127."""
    wide = pcm.astype(np.float32)
    power = np.einsum("ns,ns->n", wide, wide) / pcm.shape[1]
    with np.errstate(divide="ignore"):
        level = 10.0 * np.log10(power / _FULL_SCALE_POWER)
    result: NDArray[np.float32] = np.maximum(level, SILENCE_DBOV).astype(np.float32)
    return result


class VoiceActivity:
    """Whether each stream talks: its level against the lowest of the last 0.75 to 1.5 s."""

    def __init__(self) -> None:
        self._floor = np.zeros(0, dtype=np.float32)
        self._lowest = np.zeros(0, dtype=np.float32)
        self._hangover = np.zeros(0, dtype=np.int64)
        self._frames = np.zeros(0, dtype=np.int64)

    def grow(self, capacity: int) -> None:
        """Have room for rows below ``capacity``."""
        fresh = np.arange(len(self._floor), capacity, dtype=np.int64)
        self._floor = np.resize(self._floor, capacity)
        self._lowest = np.resize(self._lowest, capacity)
        self._hangover = np.resize(self._hangover, capacity)
        self._frames = np.resize(self._frames, capacity)
        self.reset(fresh)

    def reset(self, rows: Rows) -> None:
        """These rows are other streams now; their floor starts at the absolute one."""
        self._floor[rows] = ABSOLUTE_FLOOR_DBOV
        self._lowest[rows] = 0.0
        self._hangover[rows] = 0
        self._frames[rows] = 0

    def update(self, rows: Rows, level_dbov: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Take one frame of each of these rows; returns who talks, (rows,)."""
        lowest = np.minimum(self._lowest[rows], level_dbov)
        frames = self._frames[rows] + 1
        full = frames >= _WINDOW_FRAMES
        floor = np.where(full, lowest, np.minimum(self._floor[rows], lowest))
        self._floor[rows] = floor
        self._lowest[rows] = np.where(full, 0.0, lowest)
        self._frames[rows] = np.where(full, 0, frames)
        loud = level_dbov > np.maximum(floor + THRESHOLD_DB, ABSOLUTE_FLOOR_DBOV)
        hangover = np.where(loud, HANGOVER_FRAMES, np.maximum(self._hangover[rows] - 1, 0))
        self._hangover[rows] = hangover
        talks: NDArray[np.bool_] = hangover > 0
        return talks
