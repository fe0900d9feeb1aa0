"""Who hears whom: lines that are joined, conferences, programs that talk to programs.

Lines make paths: the two lines of a call between programs are each other's ``inner``, the lines of
two bridged tasks are ``joined``, and a line may end in a ``room``. Telephones (lines with a media
session) stand at the ends of paths only. When something changes, the ends of the path are put into
the conference that they share, and what a program plays moves to whoever hears it now.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pbx.voice.host import ApplicationHost
    from pbx.voice.line import Line

MAX_STEPS: Final = 16
"""Lines on one path; longer chains of programs that call programs are loops."""


def beyond(line: Line) -> Line | str | None:
    """What the peer of `line` hears of others: a telephone's line, a conference, or nothing."""
    current = line
    for _ in range(MAX_STEPS):
        if current.room:
            return current.room
        mate = current.joined
        if mate is None:
            return None
        if mate.session is not None:
            return mate
        if mate.inner is None:
            return None
        current = mate.inner
    return None


def ears(line: Line) -> Line | str | None:
    """Who hears what the task of `line` plays: a telephone's line, a conference, or nobody yet."""
    if line.session is not None:
        return line
    return beyond(line.inner) if line.inner is not None else None


class Wiring:
    """See the module."""

    def __init__(self, host: ApplicationHost) -> None:
        self._host = host

    def changed(self, line: Line, now: float) -> None:
        """Something about `line` is other than before."""
        for one in self._path(line):
            if one.session is not None:
                one.session.enter(self._conference(one), now)
        for one in self._path(line):
            playing = self._host.playing.get(one.task.task_id)
            if playing is not None:
                playing.listeners_changed(now)

    def _conference(self, line: Line) -> str:
        if not line.up and not line.early:
            return ""
        other = beyond(line)
        if other is None:
            return ""
        if isinstance(other, str):
            return other
        assert line.session is not None  # callers asked
        assert other.session is not None  # beyond() says so
        first, second = sorted((line.session.id, other.session.id))
        return f"{first}+{second[-12:]}"

    def _path(self, line: Line) -> list[Line]:
        found: list[Line] = []
        waiting = [line]
        while waiting and len(found) < 2 * MAX_STEPS:
            one = waiting.pop()
            if one in found or one.closed:
                continue
            found.append(one)
            waiting += [other for other in (one.joined, one.inner) if other is not None]
        return found

    def join(self, one: Line, other: Line, now: float) -> None:
        """The peers of two tasks hear each other."""
        for line in (one, other):
            self.leave(line, now)
        one.joined, other.joined = other, one
        self.changed(one, now)

    def enter(self, line: Line, room: str, now: float) -> None:
        """The peer takes part in a conference."""
        self.leave(line, now)
        line.room = room
        self.changed(line, now)

    def leave(self, line: Line, now: float) -> None:
        """The peer hears its own task only."""
        mate, line.joined = line.joined, None
        if mate is not None and mate.joined is line:
            mate.joined = None
            self.changed(mate, now)
        line.room = ""
        self.changed(line, now)

    def closed(self, line: Line, now: float) -> None:
        """The line is no more."""
        inner, line.inner = line.inner, None
        if inner is not None and inner.inner is line:
            inner.inner = None
        mate, line.joined = line.joined, None
        if mate is not None and mate.joined is line:
            mate.joined = None
            self.changed(mate, now)
        if inner is not None:
            self.changed(inner, now)
