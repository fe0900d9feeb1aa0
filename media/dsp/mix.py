"""Mixing: everybody hears the others and not himself (N-1), for many conferences at once.

Fed by ``media.graph`` with the frames of all members, sorted by conference; feeds it what each of
them hears.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from media.codecs.base import Pcm

#: The loudest that are mixed. More voices at once are noise, and each adds its room's hiss.
MAX_TALKERS: Final = 6
#: Where the gain begins to fall: peaks between here and full scale are bent, not cut.
KNEE: Final = 30_000.0
_ROOM: Final = 32_767.0 - KNEE


def soft_clip(mixed: NDArray[np.int32]) -> Pcm:
    """int16 of sums; beyond ``KNEE`` the curve bends and never reaches full scale."""
    if not mixed.size or (mixed.max() <= KNEE and mixed.min() >= -KNEE):
        return mixed.astype(np.int16)
    wide = mixed.astype(np.float32)
    over = np.maximum(np.abs(wide) - KNEE, 0.0)
    bent = KNEE + over * _ROOM / (over + _ROOM)
    result = np.where(over > 0.0, np.copysign(bent, wide), wide)
    return result.astype(np.int16)


def loudest(
    starts: NDArray[np.int64], level_dbov: NDArray[np.float32], allowed: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Who is mixed: of each conference the ``MAX_TALKERS`` loudest that are allowed.

    ``starts``: first member of each conference; the others: (members,).
    """
    chosen = allowed.copy()
    ends = np.append(starts[1:], len(allowed))
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        if end - start <= MAX_TALKERS or np.count_nonzero(allowed[start:end]) <= MAX_TALKERS:
            continue
        level = np.where(allowed[start:end], level_dbov[start:end], -np.inf)
        kept = np.argpartition(level, -MAX_TALKERS)[-MAX_TALKERS:]
        chosen[start:end] = False
        chosen[start + kept] = True
    return chosen


def mix(starts: NDArray[np.int64], pcm: Pcm, talks: NDArray[np.bool_]) -> Pcm:
    """What each member hears; int16, (members, samples).

    ``starts``: first member of each conference. ``pcm``: what each says, (members, samples).
    ``talks``: whose sound is in the mix, (members,).
    """
    if not len(pcm):
        return pcm
    wide = pcm.astype(np.int32)
    if not talks.all():
        wide[~talks] = 0
    total = np.add.reduceat(wide, starts, axis=0)
    counts = np.diff(np.append(starts, len(pcm)))
    return soft_clip(np.repeat(total, counts, axis=0) - wide)
