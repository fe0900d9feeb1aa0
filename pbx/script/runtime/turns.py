"""Who has the next turn: families of tasks in rotation, and the tasks of a family in theirs.

A family is a task that was started from outside with all that stems from it by ``spawn``. Since
families take turns, a program that spawns as many tasks as it may slows down nobody but itself.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Turns(Generic[T]):
    """A queue of turns."""

    __slots__ = ("_families",)

    def __init__(self) -> None:
        # By the order in which they come; a dictionary keeps that, and each family is in it once.
        self._families: dict[str, deque[T]] = {}

    def __bool__(self) -> bool:
        return bool(self._families)

    def append(self, family: str, turn: T) -> None:
        """One more turn for a task of `family`."""
        waiting = self._families.get(family)
        if waiting is None:
            self._families[family] = deque((turn,))
        else:
            waiting.append(turn)

    def popleft(self) -> T:
        """The next turn; its family comes last now. Raises ``StopIteration`` if there is none."""
        family = next(iter(self._families))
        waiting = self._families.pop(family)
        turn = waiting.popleft()
        if waiting:
            self._families[family] = waiting
        return turn
