"""Whom a stream listens to: secure symmetric latching. This file is the specification.

Fed by `core.py` with the source and the RTP header of each datagram; `packet.c` is the same
machine in C, and a property test drives both side by side. Symmetric RTP (RFC 4961) toward a
peer behind NAT means sending to where its packets come from. Done naively, whoever sends first
receives the call ("RTP bleed"), so a source has to prove itself before it is believed.

States, and what enters them:

    IDLE      the socket is bound, no SDP of this side was applied; nothing is accepted.
    LEARNING  an SDP of a peer behind NAT was applied; packets of plausible sources are weighed,
              none is forwarded.
    LOCKED    the source is known: by SDP (no NAT), or because a candidate qualified. Packets of
              others are dropped and counted.
    REBIND    the locked source has been silent for `rebind_silence_s` and another port of the
              same host goes on with the same stream, as after a NAT lost its mapping.

Every transition is in `TRANSITIONS`; what is plausible is in `WORST_RANK`.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from ipaddress import ip_address, ip_network

from media.native.relay import Address, DropReason, LearnPolicy, StreamConfig


class LatchState(enum.Enum):
    IDLE = "idle"
    LEARNING = "learning"
    LOCKED = "locked"
    REBIND = "rebind"


class LatchInput(enum.Enum):
    DESCRIBED_STRICT = "described-strict"  # SDP of a peer without NAT
    DESCRIBED_NAT = "described-nat"  # SDP of a peer behind NAT with a new address
    QUALIFIED = "qualified"  # a candidate sent enough packets in sequence
    CONTINUED = "continued"  # after silence, the same stream from another port of the host
    RESUMED = "resumed"  # the locked source itself speaks again


_S, _I = LatchState, LatchInput

TRANSITIONS: dict[tuple[LatchState, LatchInput], LatchState] = {
    (_S.IDLE, _I.DESCRIBED_STRICT): _S.LOCKED,
    (_S.IDLE, _I.DESCRIBED_NAT): _S.LEARNING,
    (_S.LEARNING, _I.DESCRIBED_STRICT): _S.LOCKED,
    (_S.LEARNING, _I.DESCRIBED_NAT): _S.LEARNING,
    (_S.LEARNING, _I.QUALIFIED): _S.LOCKED,
    (_S.LOCKED, _I.DESCRIBED_STRICT): _S.LOCKED,
    (_S.LOCKED, _I.DESCRIBED_NAT): _S.LEARNING,
    (_S.LOCKED, _I.CONTINUED): _S.REBIND,
    (_S.REBIND, _I.DESCRIBED_STRICT): _S.LOCKED,
    (_S.REBIND, _I.DESCRIBED_NAT): _S.LEARNING,
    (_S.REBIND, _I.RESUMED): _S.LOCKED,
    (_S.REBIND, _I.QUALIFIED): _S.LOCKED,
}

# How well a source fits what signalling said; the lower rank wins the lock.
RANK_SDP_ADDRESS, RANK_SDP_HOST, RANK_SIGNALLING_HOST, RANK_OTHER = range(4)

WORST_RANK: dict[LearnPolicy, int] = {
    LearnPolicy.EXACT: RANK_SDP_HOST,
    LearnPolicy.SIGNALLING_IP: RANK_SIGNALLING_HOST,
    LearnPolicy.ANY: RANK_OTHER,
}

LOCK_PACKETS = 4
"""Consecutive packets that make a source believed: a guesser cannot know the sequence of a
stream that he does not send, and four cost 80 ms. The number is Asterisk's too."""

MAX_CANDIDATES = 4
"""Sources weighed at once. Real phones need one; more only helps an attacker."""

CANDIDATE_LIFE_S = 1.0
"""A candidate that was quiet for longer starts again; a phone sends every 10 to 60 ms."""

RIVAL_S = 0.2
"""A better candidate that spoke within this time holds up the lock of a worse one."""

MAX_SEQUENCE_STEP = 3000
"""RFC 3550 A.1 MAX_DROPOUT: one minute of 20 ms packets, as far as a rebinding may jump."""

PRIVATE_NETWORKS = tuple(
    ip_network(text)
    for text in (
        "10.0.0.0/8",  # RFC 1918
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",  # RFC 6598, shared by carriers' NATs
        "169.254.0.0/16",  # RFC 3927
        "fc00::/7",  # RFC 4193
        "fe80::/10",  # RFC 4291
    )
)


class Accepted(enum.Enum):
    """A packet that may be forwarded, and what it changed."""

    MEDIA = "media"
    LOCKED = "locked"
    REBOUND = "rebound"


def may_send_early(config: StreamConfig) -> bool:
    """Whether media may go to the SDP address before its peer was heard.

    The private address in the SDP of a peer behind NAT belongs to somebody else here, unless
    the SIP message came from it.
    """
    if config.remote is None:
        return False
    if not config.nat or config.remote[0] == config.signalling_host:
        return True
    host = ip_address(config.remote[0])
    return not any(host in network for network in PRIVATE_NETWORKS)


def control_ports(config: StreamConfig, lock: Address) -> tuple[int, ...]:
    """Ports of the locked host that RTCP may come from: the next one (RFC 3550 §11) or the one
    that the SDP names (RFC 3605)."""
    if config.remote is None:
        return (lock[1] + 1,)
    return (lock[1] + 1, config.remote[1])


class _Candidate:
    """A source that is being weighed."""

    __slots__ = ("count", "last_s", "rank", "sequence_number", "source", "ssrc")

    def __init__(self, source: Address, rank: int) -> None:
        self.source = source
        self.rank = rank
        self.count = 0  # consecutive packets so far
        self.ssrc = 0
        self.sequence_number = 0
        self.last_s = 0.0

    def packet(self, ssrc: int, sequence_number: int, now: float) -> int:
        """Count one packet; returns how many came in sequence. Sequence -1: it has none."""
        in_sequence = (
            self.count > 0
            and now - self.last_s <= CANDIDATE_LIFE_S
            and ssrc == self.ssrc
            and (sequence_number < 0 or sequence_number == (self.sequence_number + 1) & 0xFFFF)
        )
        self.count = self.count + 1 if in_sequence else 1
        self.ssrc = ssrc
        self.sequence_number = sequence_number
        self.last_s = now
        return self.count


class Latch:
    """The machine of one stream. `is_own_port` tells our own sockets from peers: two relay
    ports that learned each other would circulate media for ever."""

    __slots__ = (
        "_asymmetric",
        "_candidates",
        "_generation",
        "_is_own_port",
        "_nat",
        "_rebind_silence_s",
        "_remote",
        "_signalling_host",
        "_worst_rank",
        "last_s",
        "locked",
        "previous",
        "sequence_number",
        "ssrc",
        "state",
        "timestamp",
    )

    def __init__(self, is_own_port: Callable[[Address], bool]) -> None:
        self._is_own_port = is_own_port
        self.state = LatchState.IDLE
        self.locked: Address | None = None
        self.previous: Address | None = None  # before the last rebinding
        self._candidates: list[_Candidate] = []
        self._generation = 0
        self._nat = False
        self._asymmetric = False
        self._remote: Address | None = None
        self._signalling_host: str | None = None
        self._worst_rank = RANK_SDP_HOST
        self._rebind_silence_s = 0.0
        # The last accepted packet: what a rebinding has to continue.
        self.ssrc = 0
        self.sequence_number = 0
        self.timestamp = 0
        self.last_s = 0.0

    def describe(self, config: StreamConfig) -> None:
        """Apply a configuration; only a new generation opens learning again."""
        anew = (
            self.state is LatchState.IDLE
            or config.generation != self._generation
            or config.nat != self._nat
        )
        self._generation = config.generation
        self._nat = config.nat
        self._asymmetric = config.asymmetric
        self._remote = config.remote
        self._signalling_host = config.signalling_host
        self._worst_rank = WORST_RANK[config.learn]
        self._rebind_silence_s = config.rebind_silence_s
        if not config.nat:
            self._enter(LatchInput.DESCRIBED_STRICT)
            self.locked = config.remote
        elif anew:
            self._enter(LatchInput.DESCRIBED_NAT)
            self.locked = None

    def is_stranger(self, source: Address) -> bool:
        """Whether no packet of this source can be accepted, whatever it says."""
        if source == self.locked:
            return False
        if self.locked is None:
            return not self._nat or self._rank(source) > self._worst_rank
        if source[0] != self.locked[0]:
            return True
        return not (self._nat or self._asymmetric)

    def receive(
        self,
        source: Address,
        ssrc: int,
        sequence_number: int,
        timestamp: int,
        payload_bytes: int,
        now: float,
    ) -> Accepted | DropReason:
        """Judge a packet whose source is no stranger; `sequence_number` -1 if it is not RTP."""
        accepted: Accepted | DropReason = Accepted.MEDIA
        if source != self.locked and self._nat:
            if self.state is LatchState.LEARNING:
                accepted = self._learn(source, ssrc, sequence_number, payload_bytes, now)
            else:
                accepted = self._rebind(source, ssrc, sequence_number, timestamp, now)
            if isinstance(accepted, DropReason):
                return accepted
        elif self.state is LatchState.REBIND:
            self._enter(LatchInput.RESUMED)
        self.ssrc = ssrc
        self.sequence_number = sequence_number
        self.timestamp = timestamp
        self.last_s = now
        return accepted

    def control(self, source: Address) -> DropReason | None:
        """Judge RTCP on the port of RTP: it comes from the locked source or is dropped, and
        nothing is learned from it."""
        if source == self.locked:
            return None
        if self.locked is None:
            return DropReason.NOT_LOCKED
        if not self._nat and self._asymmetric and source[0] == self.locked[0]:
            return None
        return DropReason.SOURCE

    def _enter(self, event: LatchInput) -> None:
        self.state = TRANSITIONS[self.state, event]
        if event is not LatchInput.CONTINUED:
            self._candidates.clear()

    def _rank(self, source: Address) -> int:
        remote = self._remote
        if remote is not None and source[0] == remote[0]:
            return RANK_SDP_ADDRESS if source[1] == remote[1] else RANK_SDP_HOST
        if source[0] == self._signalling_host:
            return RANK_SIGNALLING_HOST
        return RANK_OTHER

    def _learn(
        self, source: Address, ssrc: int, sequence_number: int, payload_bytes: int, now: float
    ) -> Accepted | DropReason:
        if self._is_own_port(source):
            return DropReason.OWN_PORT
        if payload_bytes == 0:
            return DropReason.NOT_LOCKED  # a keep-alive (RFC 6263) proves nothing
        candidate = self._candidate(source, self._rank(source), now)
        if candidate is None or candidate.packet(ssrc, sequence_number, now) < LOCK_PACKETS:
            return DropReason.NOT_LOCKED
        if any(
            rival.rank < candidate.rank and rival.count > 1 and now - rival.last_s <= RIVAL_S
            for rival in self._candidates
        ):
            return DropReason.NOT_LOCKED
        self._enter(LatchInput.QUALIFIED)
        self.locked = source
        return Accepted.LOCKED

    def _rebind(
        self, source: Address, ssrc: int, sequence_number: int, timestamp: int, now: float
    ) -> Accepted | DropReason:
        if now - self.last_s < self._rebind_silence_s or ssrc != self.ssrc:
            return DropReason.SOURCE
        if sequence_number >= 0:
            step = (sequence_number - self.sequence_number) & 0xFFFF
            elapsed = (timestamp - self.timestamp) & 0xFFFFFFFF
            if not 0 < step < MAX_SEQUENCE_STEP or elapsed >= 1 << 31:
                return DropReason.SOURCE
        if self._is_own_port(source):
            return DropReason.OWN_PORT
        if self.state is LatchState.LOCKED:
            self._enter(LatchInput.CONTINUED)
        candidate = self._candidate(source, RANK_SDP_HOST, now)
        if candidate is None or candidate.packet(ssrc, sequence_number, now) < LOCK_PACKETS:
            return DropReason.NOT_LOCKED
        self._enter(LatchInput.QUALIFIED)
        self.previous, self.locked = self.locked, source
        return Accepted.REBOUND

    def _candidate(self, source: Address, rank: int, now: float) -> _Candidate | None:
        """The candidate of a source; a new one takes a free place or the place of the worst,
        if that is worse or has gone quiet. None: no place, the packet counts for nothing."""
        worst: _Candidate | None = None
        for candidate in self._candidates:
            if candidate.source == source:
                return candidate
            if worst is None or (candidate.rank, -candidate.last_s) > (worst.rank, -worst.last_s):
                worst = candidate
        newcomer = _Candidate(source, rank)
        if len(self._candidates) < MAX_CANDIDATES or worst is None:
            self._candidates.append(newcomer)
        elif worst.rank > rank or now - worst.last_s > CANDIDATE_LIFE_S:
            self._candidates[self._candidates.index(worst)] = newcomer
        else:
            return None
        return newcomer
