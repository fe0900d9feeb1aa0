"""What call control needs of the rest, as protocols: log, media, clock, randomness.

The signal role gives the real ones (``pbx.signal``), the simulator its own; both run the same
call control. Everything here is called from one thread and never blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from media.ng.figures import LegMedia
from pbx.eventlog import Meta
from pbx.kernel.events import Event


class LogPort(Protocol):
    """The write side of the event log as call control sees it."""

    @property
    def healthy(self) -> bool:
        """False while appends fail (disk full, database locked): new work is refused."""
        ...

    def observe(self, stream: str, version: int, event: Event, meta: Meta) -> None:
        """Queue a fact; never blocks, never fails."""
        ...

    def decide(
        self,
        stream: str,
        expected_version: int,
        events: Sequence[Event],
        meta: Meta,
        done: Callable[[int | Exception], None],
    ) -> None:
        """Append; `done` gets the position once durable, or the error."""
        ...


class Rng(Protocol):
    """Randomness (``random.Random`` in tests, ``random.SystemRandom`` in the server)."""

    def getrandbits(self, k: int, /) -> int: ...

    def random(self) -> float: ...


class MediaParty(NamedTuple):
    """One side of a media session as the media service must know it."""

    tag: str
    source: str
    """Host its signalling comes from: where its media is expected from behind a NAT."""
    local: str
    """Our address toward this party, empty if the listener is not bound to one address."""


class MediaReply(NamedTuple):
    """Outcome of an offer or answer."""

    sdp: bytes
    error: str = ""
    full: bool = False
    """The service has no room or is away: the call is refused for that, not for its description."""


class MediaPort(Protocol):
    """Rewrites session descriptions and relays what they describe.

    A *session* is one bridge. Replies come later, in order, on the same thread; a service that
    does not answer gives a reply with an error.
    """

    name: str

    @property
    def available(self) -> bool:
        """False while the media service does not answer: new calls are refused."""
        ...

    def offer(
        self,
        session: str,
        offerer: MediaParty,
        answerer: MediaParty | None,
        sdp: bytes,
        now: float,
        done: Callable[[MediaReply, float], None],
    ) -> None: ...

    def answer(
        self,
        session: str,
        offerer: MediaParty,
        answerer: MediaParty,
        sdp: bytes,
        now: float,
        done: Callable[[MediaReply, float], None],
        *,
        early: bool = False,
    ) -> None:
        """`early`: the answerer still rings, its media may be silent."""
        ...

    def delete(
        self,
        session: str,
        offerer_tag: str,
        now: float,
        done: Callable[[Mapping[str, LegMedia], float], None],
    ) -> None: ...
