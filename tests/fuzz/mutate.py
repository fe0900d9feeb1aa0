"""A seeded mutator of byte strings: the same seed gives the same mutants on every machine."""

from __future__ import annotations

import random
from collections.abc import Sequence

# What breaks parsers more often than noise does.
INTERESTING = (
    b"",
    b"\x00",
    b"\xff",
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b"\r\n ",
    b" ",
    b"\t",
    b'"',
    b"\\",
    b"<",
    b">",
    b",",
    b";",
    b":",
    b"=",
    b"@",
    b"?",
    b"%",
    b"%00",
    b"*",
    b"-1",
    b"0",
    b"99999999999999999999",
    b"4294967296",
    "é".encode(),
    b"[::1]",
)


class Mutator:
    """Makes mutants of the members of a corpus.

    ``words`` are added to the interesting byte strings: header names, keywords of the protocol.
    """

    def __init__(self, corpus: Sequence[bytes], words: Sequence[bytes], seed: int) -> None:
        self._corpus = corpus
        self._words = [*INTERESTING, *words]
        self._rng = random.Random(seed)

    def next(self) -> bytes:
        """A mutant: one to six changes to one member of the corpus."""
        data = bytearray(self._rng.choice(self._corpus))
        for _ in range(self._rng.randint(1, 6)):
            self._change(data)
        return bytes(data)

    def _change(self, data: bytearray) -> None:
        rng = self._rng
        start = rng.randint(0, len(data))
        end = min(len(data), start + rng.choice((1, 2, 8, 40, 200)))
        kind = rng.randrange(7)
        if kind == 0 and start < len(data):
            data[start] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del data[start:end]
        elif kind == 2:
            data[start:start] = data[start:end] * rng.choice((1, 2, 50))
        elif kind == 3:
            data[start:start] = rng.choice(self._words)
        elif kind == 4:
            data[start:end] = rng.choice(self._words)
        elif kind == 5:
            other = rng.choice(self._corpus)
            cut = rng.randint(0, len(other))
            data[start:end] = other[cut : cut + rng.choice((8, 40, 200, 2000))]
        else:
            lines = data.split(b"\r\n")
            rng.shuffle(lines)
            data[:] = b"\r\n".join(lines)
