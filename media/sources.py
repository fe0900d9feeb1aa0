"""What is played to a leg: recordings and tones, one after the other without a gap.

Fed by ``media.server.audio`` with items; asked by ``media.graph`` for a frame each tick. An item
that ends within a frame is followed by the next one in the same frame, at the next sample.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from media.codecs.base import Pcm
from media.dsp.tones import Generator

MAX_ITEMS: Final = 256
"""A spoken number of many digits, or a menu, is some dozens."""


class Source(Protocol):
    """Something that sounds."""

    def read(self, out: Pcm) -> int:
        """Fill ``out``, (samples,); fewer than asked: it has ended. The rest is zero."""
        ...

    def position_samples(self) -> int:
        """Where it is; of something that is repeated, within the present repetition."""
        ...

    def left_samples(self) -> int | None:
        """What is left; None: not known, or for ever."""
        ...


class Clip:
    """A recording, once, or until so many samples were played."""

    def __init__(
        self,
        pcm: NDArray[np.int16],
        start: int = 0,
        total: int | None = None,
        loop_from: int = 0,
    ) -> None:
        """``pcm``: (samples,), shared by all who play it. ``total``: samples to play in all,
        from ``loop_from`` again where needed; 0 = for ever; None = to the end, once."""
        self._pcm = pcm
        self._loop_from = loop_from
        self._at = min(max(start, 0), len(pcm))
        self._endless = total == 0 and len(pcm) > 0
        if total is None:
            self._left = len(pcm) - self._at
        else:
            self._left = total if len(pcm) else 0

    def read(self, out: Pcm) -> int:
        done = 0
        pcm = self._pcm
        while done < len(out) and (self._left > 0 or self._endless):
            if self._at == len(pcm):
                self._at = self._loop_from
            count = min(len(out) - done, len(pcm) - self._at)
            if not self._endless:
                count = min(count, self._left)
            out[done : done + count] = pcm[self._at : self._at + count]
            done += count
            self._at += count
            self._left -= count
        if done < len(out):
            out[done:] = 0
        return done

    def position_samples(self) -> int:
        return self._at

    def left_samples(self) -> int | None:
        return None if self._endless else self._left


class Sound:
    """A tone (``media.dsp.tones``), whole or for some samples."""

    def __init__(self, generator: Generator, total: int = 0) -> None:
        """``total``: samples; 0 = until the tone ends by itself, if it does."""
        self._generator = generator
        self._total = total
        self._done = 0

    def read(self, out: Pcm) -> int:
        room = out if not self._total else out[: self._total - self._done]
        count = self._generator.read(room)
        out[len(room) :] = 0
        self._done += count
        return count

    def position_samples(self) -> int:
        return self._done

    def left_samples(self) -> int | None:
        if self._generator.finished:
            return 0
        return self._total - self._done if self._total else None


class Item(NamedTuple):
    """One thing to play."""

    name: str
    """The client's, told in events."""
    source: Source
    interruptible: bool = True
    """Whether a digit ends it."""


class Played(NamedTuple):
    """An item has ended."""

    name: str
    reason: str
    """``end`` ``digit`` ``stop``."""
    position_samples: int


class Playlist:
    """What one leg is to hear, in order."""

    __slots__ = ("_finished", "_items", "_linger", "_told")

    def __init__(self) -> None:
        self._items: deque[Item] = deque()
        self._finished: list[Played] = []
        self._linger = 0
        self._told = False

    def add(self, item: Item, linger_samples: int = 0) -> None:
        """Play an item after those that are there. Raises ``ValueError`` when there are too many.

        ``linger_samples``: how long before the end of the last item it is told as played, so
        that the next one can be queued without a gap.
        """
        if len(self._items) >= MAX_ITEMS:
            raise ValueError(f"more than {MAX_ITEMS} items are queued")
        self._items.append(item)
        self._linger = linger_samples

    @property
    def playing(self) -> bool:
        return bool(self._items)

    @property
    def stirs(self) -> bool:
        """Whether something plays, or its end is still to be told."""
        return bool(self._items or self._finished)

    def position_samples(self) -> int:
        return self._items[0].source.position_samples() if self._items else 0

    def read(self, out: Pcm) -> int:
        """Fill ``out``, (samples,); what is not played is zero. Returns the samples played."""
        items = self._items
        done = items[0].source.read(out) if items else 0
        while done < len(out) and items:
            self._end("end")
            if items:
                done += items[0].source.read(out[done:])
        if items and items[0].source.left_samples() == 0:
            self._end("end")  # now, not with the next frame: what is queued then has no gap
        if self._linger and len(items) == 1 and not self._told:
            left = items[0].source.left_samples()
            if left is not None and left <= self._linger:
                self._told = True
                self._tell("end")
        return done

    def interrupt(self) -> None:
        """A digit was pressed: what may be interrupted ends, and all that waits behind it."""
        if any(not item.interruptible for item in self._items):
            return
        self.stop("digit")

    def stop(self, reason: str = "stop") -> None:
        """End everything."""
        while self._items:
            self._end(reason)

    def finished(self) -> list[Played]:
        """What ended since the last call."""
        finished, self._finished = self._finished, []
        return finished

    def _tell(self, reason: str) -> None:
        item = self._items[0]
        self._finished.append(Played(item.name, reason, item.source.position_samples()))

    def _end(self, reason: str) -> None:
        if not self._told:
            self._tell(reason)
        self._told = False
        self._items.popleft()
