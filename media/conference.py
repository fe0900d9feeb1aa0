"""Who hears whom: conferences, bridges of two, whispering and listening in.

Kept by ``media.graph``, which takes from it a frozen plan of arrays and makes a new one when
somebody joins, leaves or changes his part. A bridge is a conference of two.

The parts are those of supervisors' features: a member *speaks* ``normal``, ``muted`` or
``special``, and *hears* the members of some of these kinds. An agent that is coached hears
``special`` too; the caller does not.
"""

from __future__ import annotations

from typing import Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from media.bank import Bank
from media.codecs.base import TICKS_PER_S, Pcm
from media.dsp.mix import loudest, mix, soft_clip
from media.dsp.resample import Resampler
from media.sources import Playlist

NORMAL: Final = "normal"
MUTED: Final = "muted"
SPECIAL: Final = "special"
KINDS: Final = (NORMAL, MUTED, SPECIAL)
MAX_MEMBERS: Final = 1000
DEFAULT_HEARS: Final = frozenset((NORMAL,))
#: Frames between a talker's first sound and being told: 300 ms, so that a cough is none.
TALKER_FRAMES: Final = 15


class Member(Protocol):
    """A leg as a conference knows it."""

    tap: int
    bank: Bank
    row: int


class Part:
    """What one member does in its conference."""

    __slots__ = ("hears", "member", "speaks", "talk_frames", "talking")

    def __init__(self, member: Member) -> None:
        self.member = member
        self.speaks = NORMAL
        self.hears = DEFAULT_HEARS
        self.talking = False
        self.talk_frames = 0


class Conference:
    """One mix."""

    __slots__ = ("name", "parts", "playlist", "silence_dbov")

    def __init__(self, name: str) -> None:
        self.name = name
        self.parts: dict[int, Part] = {}
        """By the member's tap number."""
        self.playlist = Playlist()
        """What all members hear beside each other."""
        self.silence_dbov = -127.0
        """Below it a member is not mixed, when there are more than two."""

    @property
    def rate_hz(self) -> int:
        """The highest in use."""
        return max(part.member.bank.rate_hz for part in self.parts.values())

    @property
    def is_plain(self) -> bool:
        """Whether everybody hears all others: then one sum serves all."""
        return all(
            part.speaks != SPECIAL and part.hears == DEFAULT_HEARS for part in self.parts.values()
        )


class _Portion(NamedTuple):
    """The members of one bank in a group."""

    bank: Bank
    rows: NDArray[np.int64]
    places: NDArray[np.int64]
    """Lines of the group's matrix."""


class _Group:
    """All conferences that are mixed at one rate."""

    def __init__(self, rate_hz: int, conferences: list[Conference]) -> None:
        self.rate_hz = rate_hz
        self.frame = rate_hz // TICKS_PER_S
        self.conferences = conferences
        self.parts: list[Part] = []
        self.starts = np.zeros(len(conferences), dtype=np.int64)
        for number, conference in enumerate(conferences):
            self.starts[number] = len(self.parts)
            self.parts += conference.parts.values()
        self.ends = np.append(self.starts[1:], len(self.parts))
        self.small = np.repeat(self.ends - self.starts <= 2, self.ends - self.starts)
        self.audible = np.array([part.speaks != MUTED for part in self.parts], dtype=np.bool_)
        limits = [conference.silence_dbov for conference in conferences]
        self.limit = np.repeat(np.array(limits, dtype=np.float32), self.ends - self.starts)
        self.portions: list[_Portion] = []
        for bank in {id(part.member.bank): part.member.bank for part in self.parts}.values():
            places = [at for at, part in enumerate(self.parts) if part.member.bank is bank]
            rows = [self.parts[at].member.row for at in places]
            self.portions.append(_Portion(bank, np.array(rows), np.array(places)))
        self.special = [
            (int(start), int(end), _weights(conference))
            for conference, start, end in zip(conferences, self.starts, self.ends, strict=True)
            if not conference.is_plain
        ]


def _weights(conference: Conference) -> NDArray[np.float32]:
    """(hearing, speaking) members: 1 where the first hears the second."""
    parts = list(conference.parts.values())
    return np.array(
        [[float(one is not two and two.speaks in one.hears) for two in parts] for one in parts],
        dtype=np.float32,
    )


class Mixer:
    """All conferences of a graph."""

    def __init__(self) -> None:
        self.conferences: dict[str, Conference] = {}
        self._groups: list[_Group] = []
        self._stale = False
        self._resamplers: dict[tuple[int, int], Resampler] = {}

    def join(self, name: str, member: Member) -> Part:
        """Raises ``ValueError`` when the conference is full."""
        conference = self.conferences.setdefault(name, Conference(name))
        if len(conference.parts) >= MAX_MEMBERS:
            raise ValueError(f"a conference has up to {MAX_MEMBERS} members")
        part = conference.parts[member.tap] = Part(member)
        for resampler in self._resamplers.values():
            resampler.grow(member.tap + 1)
            resampler.reset(np.array([member.tap]))
        self._stale = True
        return part

    def leave(self, name: str, member: Member) -> None:
        """The last one to leave ends the conference."""
        conference = self.conferences[name]
        del conference.parts[member.tap]
        if not conference.parts:
            conference.playlist.stop()
            del self.conferences[name]
        self._stale = True

    def changed(self) -> None:
        """A part or an option was changed."""
        self._stale = True

    def run(self) -> list[tuple[Conference, Part]]:
        """Mix what the banks heard into what they are to say; returns parts whose talking
        changed."""
        if self._stale:
            self._plan()
        changes: list[tuple[Conference, Part]] = []
        for group in self._groups:
            self._mix(group, changes)
        return changes

    def _plan(self) -> None:
        by_rate: dict[int, list[Conference]] = {}
        for conference in self.conferences.values():
            by_rate.setdefault(conference.rate_hz, []).append(conference)
        self._groups = [_Group(rate_hz, some) for rate_hz, some in by_rate.items()]
        self._stale = False

    def _mix(self, group: _Group, changes: list[tuple[Conference, Part]]) -> None:
        pcm = np.empty((len(group.parts), group.frame), dtype=np.int16)
        level = np.empty(len(group.parts), dtype=np.float32)
        talks = np.empty(len(group.parts), dtype=np.bool_)
        for bank, rows, places in group.portions:
            pcm[places] = self._at_rate(bank.heard[rows], bank.rate_hz, group, places)
            level[places] = bank.level_dbov[rows]
            talks[places] = bank.talks[rows]
        mixed = group.audible & (group.small | (level > group.limit))
        chosen = loudest(group.starts, level, mixed)
        heard = mix(group.starts, pcm, chosen)
        for first, last, weights in group.special:
            total = weights @ pcm[first:last].astype(np.float32)
            heard[first:last] = soft_clip(total.astype(np.int32))
        for conference, start, end in zip(group.conferences, group.starts, group.ends, strict=True):
            if conference.playlist.playing:
                frame = np.empty(group.frame, dtype=np.int16)
                conference.playlist.read(frame)
                heard[start:end] = soft_clip(heard[start:end].astype(np.int32) + frame)
        for bank, rows, places in group.portions:
            bank.said[rows] = self._from_rate(heard[places], bank.rate_hz, group, places)
        self._talkers(group, talks & group.audible, changes)

    def _at_rate(self, pcm: Pcm, rate_hz: int, group: _Group, places: NDArray[np.int64]) -> Pcm:
        if rate_hz == group.rate_hz:
            return pcm
        return self._resample(pcm, rate_hz, group.rate_hz, group, places)

    def _from_rate(self, pcm: Pcm, rate_hz: int, group: _Group, places: NDArray[np.int64]) -> Pcm:
        if rate_hz == group.rate_hz:
            return pcm
        return self._resample(pcm, group.rate_hz, rate_hz, group, places)

    def _resample(
        self, pcm: Pcm, source_hz: int, target_hz: int, group: _Group, places: NDArray[np.int64]
    ) -> Pcm:
        taps = np.array([group.parts[place].member.tap for place in places])
        resampler = self._resamplers.get((source_hz, target_hz))
        if resampler is None:
            resampler = Resampler(source_hz, target_hz, source_hz // TICKS_PER_S)
            self._resamplers[source_hz, target_hz] = resampler
        resampler.grow(int(taps.max()) + 1)
        return resampler.process(taps, pcm)

    def _talkers(
        self,
        group: _Group,
        talks: NDArray[np.bool_],
        changes: list[tuple[Conference, Part]],
    ) -> None:
        """Who began or ceased to talk, with the hysteresis of ``TALKER_FRAMES``."""
        starts, ends = group.starts.tolist(), group.ends.tolist()
        for conference, start, end in zip(group.conferences, starts, ends, strict=True):
            for at in range(start, end):
                part = group.parts[at]
                if bool(talks[at]) == part.talking:
                    part.talk_frames = 0
                    continue
                part.talk_frames += 1
                if part.talk_frames >= TALKER_FRAMES:
                    part.talking = not part.talking
                    part.talk_frames = 0
                    changes.append((conference, part))
