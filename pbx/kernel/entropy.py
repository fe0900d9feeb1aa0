"""Randomness of the operating system, fetched in blocks.

Tags, branches, Call-IDs and nonces need unpredictable bits, some seven times a call; a system
call for each costs more than the message it is for.
"""

from __future__ import annotations

import os
import random
from typing import Any, Final

_BLOCK_BYTES: Final = 4096
_RECIPROCAL: Final = 2.0**-53


class SystemEntropy(random.Random):
    """As ``random.SystemRandom``, with a buffer; one thread, and not across a fork.

    Bytes leave the buffer once and are overwritten by nothing: what was handed out is gone.
    """

    def __init__(self) -> None:
        self._block = b""
        self._used = 0
        super().__init__()

    def _take(self, count: int) -> bytes:
        used = self._used
        if used + count > len(self._block):
            self._block = os.urandom(max(_BLOCK_BYTES, count))
            used = 0
        self._used = used + count
        return self._block[used : used + count]

    def getrandbits(self, k: int, /) -> int:
        """An integer of `k` random bits. Raises ``ValueError`` for a negative `k`."""
        if k < 0:
            raise ValueError("number of bits must be non-negative")
        count = (k + 7) // 8
        return int.from_bytes(self._take(count), "big") >> (count * 8 - k)

    def random(self) -> float:
        """A number in [0, 1) with 53 random bits."""
        return (int.from_bytes(self._take(7), "big") >> 3) * _RECIPROCAL

    def randbytes(self, n: int) -> bytes:
        """`n` random bytes."""
        return self._take(n)

    def seed(self, *args: Any, **kwds: Any) -> None:
        """There is nothing to seed."""

    def getstate(self) -> Any:
        """There is no state to save. Raises ``NotImplementedError``."""
        raise NotImplementedError("the system's entropy has no state")

    def setstate(self, state: Any) -> None:
        """There is no state to restore. Raises ``NotImplementedError``."""
        raise NotImplementedError("the system's entropy has no state")
