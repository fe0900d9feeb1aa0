"""Texts of many lines (Router tables): differences, merging, who wrote which line (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from typing import NamedTuple, TypeVar

T = TypeVar("T")


class Hunk(NamedTuple):
    """Lines `start` to `end` (from 0, end excluded) of the old text become `new`."""

    start: int
    end: int
    new: tuple[str, ...]
    new_start: int


class Conflict(Exception):
    """Two changes of the same lines; `lines` are those of the newest text, from 1."""

    def __init__(self, lines: Sequence[int]) -> None:
        super().__init__(f"lines {', '.join(map(str, lines))}")
        self.lines = tuple(lines)


def lines_of(text: str) -> list[str]:
    """Lines with their ends, so that joining gives the text again."""
    return text.splitlines(keepends=True)


def hunks(old: Sequence[str], new: Sequence[str]) -> list[Hunk]:
    """What leads from one text to the other, in order."""
    matcher = SequenceMatcher(None, old, new, autojunk=False)
    return [
        Hunk(start, end, tuple(new[new_start:new_end]), new_start)
        for tag, start, end, new_start, new_end in matcher.get_opcodes()
        if tag != "equal"
    ]


def patched(old: Sequence[str], changes: Iterable[Hunk]) -> list[str]:
    """`old` with every hunk applied."""
    result: list[str] = []
    at = 0
    for hunk in changes:
        result += [*old[at : hunk.start], *hunk.new]
        at = hunk.end
    return [*result, *old[at:]]


def merged(base: str, ours: str, theirs: str) -> str:
    """`ours` with what leads from `base` to `theirs`. Raises :class:`Conflict` where `ours` has
    changed the same lines, or lines right beside them."""
    start, mine, other = lines_of(base), lines_of(ours), lines_of(theirs)
    held, wanted = hunks(start, mine), hunks(start, other)
    conflicts: list[int] = []
    moved: list[Hunk] = []
    for hunk in wanted:
        shift = 0
        for have in held:
            if have[:3] == hunk[:3]:
                break  # done already
            if have.start <= hunk.end and hunk.start <= have.end:
                last = max(len(have.new), 1)
                conflicts += range(have.new_start + 1, have.new_start + last + 1)
            elif have.end < hunk.start:
                shift += len(have.new) - (have.end - have.start)
        else:
            moved.append(hunk._replace(start=hunk.start + shift, end=hunk.end + shift))
    if conflicts:
        raise Conflict(sorted(set(conflicts)))
    return "".join(patched(mine, moved))


def attributed(lines: Sequence[tuple[str, T]], new: str, origin: T) -> list[tuple[str, T]]:
    """The lines of `new`, each with the origin it had, or with `origin` if it was not there."""
    old = [line for line, _ in lines]
    written = lines_of(new)
    result: list[tuple[str, T]] = []
    at = 0
    for hunk in hunks(old, written):
        result += lines[at : hunk.start]
        result += [(line, origin) for line in hunk.new]
        at = hunk.end
    return [*result, *lines[at:]]
