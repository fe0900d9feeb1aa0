"""How much one task may use, and the account it is kept on.

A program is foreign code on the signalling machine: each bound here keeps one task from being felt
by other calls. The numbers are those of CG/PL reference §8 where it gives any.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pbx.script.errors import LimitExceeded
from pbx.script.values import Data, Dictionary, Value, Xml

MAX_STRING_BYTES: Final = 16 << 20
"""One string or datablock."""
MAX_ELEMENTS: Final = 1_000_000
"""One array or dictionary."""
MAX_NESTING: Final = 100
"""Containers in containers, where they are walked (copied, compared, written as text)."""
MAX_CALL_DEPTH: Final = 200
"""Sections that call each other."""
SMALL_BYTES: Final = 64
"""Shorter strings are not accounted when made, only when a container keeps them."""
ELEMENT_BYTES: Final = 64
"""What one element of a container is accounted with, besides the bytes of a string."""
MAX_OVERDRAFT: Final = 200_000
"""Steps that one function of the language may use beyond its slice: it cannot be interrupted."""
BYTES_PER_STEP: Final = 64
"""Copying this many bytes costs as much as one operation."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one task."""

    steps: int = 1_000_000
    """Operations between two calls that wait: guards against endless loops."""
    slice_steps: int = 10_000
    """After so many the machine gives control back, so that other tasks and calls get theirs:
    some two milliseconds."""
    memory_bytes: int = 64 << 20
    """What all variables of a task may hold together."""
    output_bytes: int = 1 << 20
    """Text written to the log between two calls that wait."""
    log_line_bytes: int = 16 << 10
    """One log line; the rest is cut, visibly."""


class Meter:
    """The running account of one task; functions of the language charge it.

    ``budget`` counts down the operations of a slice, ``fresh`` up the bytes that were made since
    live memory was last measured.
    """

    __slots__ = ("budget", "fresh", "left", "limits", "live", "output")

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.budget = limits.slice_steps
        self.left = limits.steps
        self.fresh = 0
        self.live = 0
        self.output = 0

    def charge(self, steps: int) -> None:
        """Account for work beyond one operation. Raises ``LimitExceeded`` when all is used."""
        self.budget -= steps
        if self.budget < 0:
            self.overdraw()

    def overdraw(self) -> None:
        """Go on within a slice although its budget is spent; raises when the limit is, too."""
        if self.budget < -MAX_OVERDRAFT:
            raise LimitExceeded("one operation works on more data than it may")
        if self.left - self.limits.slice_steps + self.budget < 0:
            raise self.exhausted()

    def exhausted(self) -> LimitExceeded:
        """What is raised when all operations are used."""
        return LimitExceeded(
            f"more than {self.limits.steps} operations without waiting: an endless loop?"
        )

    def allocate(self, size_bytes: int) -> None:
        """Account for a value that was made. Raises ``LimitExceeded``."""
        self.fresh += size_bytes
        self.budget -= size_bytes // BYTES_PER_STEP
        if self.fresh > self.limits.memory_bytes:
            raise LimitExceeded(
                f"the program holds more than {self.limits.memory_bytes} bytes of values"
            )

    def keep(self, value: Value) -> None:
        """Account for an element that a container keeps."""
        size = ELEMENT_BYTES
        if value.__class__ is bytes:
            size += len(value)
        self.allocate(size)

    def sized(self, value: bytes) -> bytes:
        """A string that was made, accounted. Raises ``LimitExceeded`` if it is too long."""
        size = len(value)
        if size > SMALL_BYTES:
            if size > MAX_STRING_BYTES:
                raise LimitExceeded(f"a string is longer than {MAX_STRING_BYTES} bytes")
            self.allocate(size)
        return value

    def sized_data(self, value: bytes) -> Data:
        """The same for a datablock."""
        return Data(self.sized(value))

    def write(self, size_bytes: int) -> None:
        """Account for output. Raises ``LimitExceeded``."""
        self.output += size_bytes
        if self.output > self.limits.output_bytes:
            raise LimitExceeded(
                f"more than {self.limits.output_bytes} bytes of log text without waiting"
            )


def measure(roots: list[object], limit_bytes: int) -> int:
    """Bytes held by values reachable from `roots`, shared ones counted once.

    Stops early once `limit_bytes` are passed. Other Python objects among the roots are ignored.
    """
    seen: set[int] = set()
    total = 0
    todo: list[object] = list(roots)
    while todo and total <= limit_bytes:
        value = todo.pop()
        kind = value.__class__
        if kind is bytes:
            size = len(value)  # type: ignore[arg-type]
            if size > SMALL_BYTES:
                if id(value) in seen:
                    continue
                seen.add(id(value))
            total += size
        elif kind is list:
            if id(value) in seen:
                continue
            seen.add(id(value))
            total += ELEMENT_BYTES * (len(value) + 1)  # type: ignore[arg-type]
            todo.extend(value)  # type: ignore[arg-type]
        elif kind is Dictionary:
            if id(value) in seen:
                continue
            seen.add(id(value))
            assert isinstance(value, Dictionary)
            total += ELEMENT_BYTES * (len(value) + 1)
            todo.extend(value.map.values())
            todo.extend(value.map)
        elif kind is Data:
            assert isinstance(value, Data)
            todo.append(value.octets)
        elif kind is Xml:
            if id(value) in seen:
                continue
            seen.add(id(value))
            assert isinstance(value, Xml)
            total += ELEMENT_BYTES * (1 + len(value.children) + 2 * len(value.attributes))
            total += sum(len(text) for text in value.attributes.values())
            todo.extend(value.children)
    return total
