"""State of the relayed calls: call → two sides → media → ports.

Kept by ``media.server.service``; changed by ``exchange``; read by ``report``.

A call has two *sides*, each facing one party. Several tags may stand for one side: the legs of a
forked offer, of which the one that answered last has the media (the caller is then bridged with
the branch that spoke last, as with early media of several phones). Each media of the call has one
port pair a side, and what arrives on one side leaves from the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from media.errors import NgRequestError
from media.native.relay import Address, LearnPolicy, Relay, StreamConfig, StreamStats
from media.sdp.description import Codec, Description, MediaDescription
from media.sdp.negotiator import OriginLine
from media.server.options import ExchangeOptions
from media.server.ports import PortPair, PortPool

#: Branches of one forked call; each is a to-tag that answered.
MAX_TAGS: Final = 32


class Figures(NamedTuple):
    """Counters of one side of a media, over all that was received from and sent to the party."""

    packets_in: int = 0
    bytes_in: int = 0
    packets_out: int = 0
    bytes_out: int = 0
    rtcp_in: int = 0
    rtcp_out: int = 0
    dropped: int = 0
    lost: int = 0

    def plus(self, other: Figures) -> Figures:
        return Figures(*map(int.__add__, self, other))

    def minus(self, other: Figures) -> Figures:
        return Figures(*map(int.__sub__, self, other))


def figures_of(stats: StreamStats) -> Figures:
    """The counters of a stream that add up."""
    return Figures(
        stats.packets_in,
        stats.bytes_in,
        stats.packets_out,
        stats.bytes_out,
        stats.rtcp_in,
        stats.rtcp_out,
        sum(stats.dropped.values()),
        stats.lost,
    )


class Face:
    """One media as one side sees it: our ports toward the party, and what it told of itself."""

    __slots__ = (
        "asymmetric",
        "codecs",
        "config",
        "description",
        "earlier",
        "family",
        "generation",
        "learn",
        "mux",
        "nat",
        "pair",
        "pool",
        "remote",
        "rtcp_config",
        "rtcp_remote",
        "signalling_host",
    )

    def __init__(self) -> None:
        self.pair: PortPair | None = None
        self.pool: PortPool | None = None
        self.family = ""
        self.description: MediaDescription | None = None
        """What the party said last in an exchange that was completed."""
        self.codecs: dict[int, Codec] = {}
        self.remote: Address | None = None
        self.rtcp_remote: Address | None = None
        self.signalling_host = ""
        self.nat = False
        self.asymmetric = False
        self.learn = LearnPolicy.SIGNALLING_IP
        self.mux = False
        """RTCP shares the port on this side (RFC 5761)."""
        self.generation = 0
        self.config: StreamConfig | None = None
        self.rtcp_config: StreamConfig | None = None
        self.earlier = Figures()
        """Of ports that this media had before, on this side."""

    def open(self, pool: PortPool, family: str, rtcp: bool, relay: Relay, now: float) -> PortPair:
        """Reserve ports at ``pool``. Raises :class:`media.errors.NoPorts`."""
        self.pair = pool.open_with_rtcp(relay, now) if rtcp else pool.open(relay, now)
        self.pool = pool
        self.family = family
        self.config = self.rtcp_config = None
        return self.pair

    def release(self, relay: Relay, now: float) -> None:
        """Give the ports back; the figures are kept."""
        if self.pair is not None and self.pool is not None:
            for stats in self.pool.release(self.pair, relay, now):
                self.earlier = self.earlier.plus(figures_of(stats))
            self.pair = self.pool = None

    @property
    def is_rejected(self) -> bool:
        """Whether the last exchange left this media out."""
        return self.description is not None and self.description.is_rejected

    def count(self, relay: Relay) -> Count:
        """All counters so far, and those of the RTP stream alone."""
        if self.pair is None:
            return Count(self.earlier, None)
        stats = relay.stats(self.pair.rtp)
        total = self.earlier.plus(figures_of(stats))
        if self.pair.rtcp:
            total = total.plus(figures_of(relay.stats(self.pair.rtcp)))
        return Count(total, stats)


class Count(NamedTuple):
    """A face's counters at one moment."""

    total: Figures
    rtp: StreamStats | None
    """None when the media has no ports."""


class Party:
    """One tag. ``base`` is what the ports of its side had counted when it took them over."""

    __slots__ = ("base", "created", "final", "side", "tag")

    def __init__(self, tag: str, side: Side, created: float) -> None:
        self.tag = tag
        self.side = side
        self.created = created
        self.base: list[Figures] = []
        self.final: list[Figures] | None = None
        """Its own figures, once another branch had taken over."""


class Side:
    """What faces one party (or the branches of a fork, one after the other)."""

    __slots__ = ("current", "faces", "index", "interface", "origin")

    def __init__(self, index: int) -> None:
        self.index = index
        self.faces: list[Face] = []
        self.current: Party | None = None
        self.origin: OriginLine | None = None
        """Of the descriptions that this side is shown."""
        self.interface = ""
        """Name of the one that faces this party; empty = the first."""

    def take_over(self, party: Party, relay: Relay) -> None:
        """``party`` has the media of this side from now on."""
        if party is self.current:
            return
        if self.current is not None or party.final is not None:
            counted = [face.count(relay).total for face in self.faces]
            if self.current is not None:
                self.current.final = own_figures(self.current, counted)
            # What it counted when it had the media before goes on.
            before = _padded(party.final or [], len(counted))
            party.base = [now.minus(own) for now, own in zip(counted, before, strict=True)]
            party.final = None
        self.current = party


def own_figures(party: Party, counted: list[Figures]) -> list[Figures]:
    """What the party itself has of the figures of its side, per media."""
    if party.final is not None:
        return _padded(party.final, len(counted))
    return [
        total.minus(base)
        for total, base in zip(counted, _padded(party.base, len(counted)), strict=True)
    ]


def _padded(figures: list[Figures], count: int) -> list[Figures]:
    return figures + [Figures()] * (count - len(figures))


class Offer(NamedTuple):
    """The last offer: it may be answered several times, by several tags."""

    party: Party
    description: Description
    options: ExchangeOptions
    media_count: int
    """m-lines that the offerer wrote; more were added if it left out old ones."""
    loops: bool = False
    """It had passed this service before and was not touched; nor will the answer be."""


class Call:
    """One NG call-id."""

    __slots__ = (
        "answered",
        "call_id",
        "created",
        "delete_at",
        "due",
        "last_signal",
        "offer",
        "owner",
        "parties",
        "sides",
    )

    def __init__(self, call_id: str, owner: str, now: float) -> None:
        self.call_id = call_id
        self.owner = owner
        """Node that makes the requests; empty for clients that did not say ``hello``."""
        self.created = now
        self.last_signal = now
        self.due = now
        """When it is to be looked at next."""
        self.delete_at: float | None = None
        self.answered = False
        """Whether an answer was final: in early media, silence is no sign of death."""
        self.parties: dict[str, Party] = {}
        self.sides = (Side(0), Side(1))
        self.offer: Offer | None = None

    def opposite(self, side: Side) -> Side:
        return self.sides[1 - side.index]

    def offerer(self, from_tag: str, to_tag: str, now: float) -> Party:
        """The party that makes an offer; a new tag is of the side that it belongs to.

        A new party is entered by :meth:`join` once its description was accepted.
        """
        party = self.parties.get(from_tag)
        if party is not None:
            return party
        other = self.parties.get(to_tag)
        if other is not None:
            side = self.opposite(other.side)
        else:  # the first offerer; or one that a client put in place of the answerer
            side = self.sides[1 if self.parties else 0]
        return Party(from_tag, side, now)

    def answerer(self, from_tag: str, to_tag: str, now: float) -> Party:
        """The party that answers the offer of ``from_tag``. Raises :class:`NgRequestError`."""
        offerer = self.parties.get(from_tag)
        if self.offer is None or offerer is None or offerer.side is not self.offer.party.side:
            raise NgRequestError("No offer of this from-tag to answer")
        side = self.opposite(offerer.side)
        party = self.parties.get(to_tag)
        if party is None:
            if len(self.parties) >= MAX_TAGS:
                raise NgRequestError("Too many tags in this call")
            return Party(to_tag, side, now)
        if party.side is not side:
            raise NgRequestError("to-tag is of the party that made the offer")
        return party

    def join(self, party: Party) -> None:
        """Enter a party under its tag."""
        self.parties[party.tag] = party

    @property
    def is_held(self) -> bool:
        """Whether no media runs both ways: then silence is no sign of death."""
        for face in self.sides[0].faces:
            config = face.config
            if face.pair is not None and config is not None:
                if config.enabled_in and config.enabled_out:
                    return False
        return True

    def faces(self) -> Iterator[Face]:
        """All faces of both sides."""
        for side in self.sides:
            yield from side.faces

    def add_medias(self, count: int) -> None:
        """Have at least so many medias."""
        for side in self.sides:
            while len(side.faces) < count:
                side.faces.append(Face())
