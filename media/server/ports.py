"""Port pairs for media, one pool an address: even for RTP, the next for RTCP (RFC 3550 §11).

Fed by ``media.server.exchange``, which opens the sockets through the relay. Sans-I/O: the relay
binds, ``now`` and randomness are arguments.

A pair is drawn at random, so that a stranger cannot guess where the next call will be (RTP
bleed), and rests after release, so that late packets of the old call do not meet a new one.
"""

from __future__ import annotations

import errno
from collections import deque
from typing import Final, Protocol

from media.errors import LocalMediaError, NoPorts
from media.native.relay import Relay, StreamStats

QUARANTINE_S: Final = 60.0
#: With nothing else free, a pair may be used again this long after release: enough for packets
#: on their way, and better than refusing a call. Latching still keeps strangers out.
SHORT_QUARANTINE_S: Final = 2.0
#: Pairs that other programs hold are skipped; so many tries find one in a range of which nine
#: tenths are taken with a probability of 99.9 %.
MAX_TRIES: Final = 64


class Rng(Protocol):
    """What is needed of ``random.Random`` (tests) or ``random.SystemRandom`` (server)."""

    def getrandbits(self, k: int, /) -> int: ...

    def random(self) -> float: ...


class PortPair:
    """Two reserved ports and the streams opened on them; ``rtcp`` is opened when needed."""

    __slots__ = ("host", "port", "rtcp", "rtp")

    def __init__(self, host: str, port: int, rtp: int) -> None:
        self.host = host
        self.port = port
        self.rtp = rtp
        """Stream handle on ``port``."""
        self.rtcp = 0
        """Stream handle on ``port + 1``, or 0."""


class PortPool:
    """The pairs of one local address."""

    __slots__ = (
        "_free",
        "_in_use",
        "_quarantine",
        "_rng",
        "exhausted",
        "foreign",
        "host",
        "quarantine_s",
        "size",
    )

    def __init__(
        self, host: str, first: int, last: int, rng: Rng, quarantine_s: float = QUARANTINE_S
    ) -> None:
        """Pairs that lie wholly within ``first``–``last``."""
        self._free = list(range(first + first % 2, last, 2))
        if not self._free or first < 1 or last > 65_535:
            raise LocalMediaError(f"no port pairs in {first}-{last}")
        self.host = host
        self.size = len(self._free)
        self.quarantine_s = quarantine_s
        self.exhausted = 0
        """How often nothing was free."""
        self.foreign = 0
        """How often a port was held by somebody else."""
        self._rng = rng
        self._in_use: set[int] = set()
        self._quarantine: deque[tuple[float, int]] = deque()  # (release time, port), in order

    def open(self, relay: Relay, now: float) -> PortPair:
        """Reserve a pair and bind its RTP port. Raises :class:`NoPorts`."""
        for _ in range(MAX_TRIES):
            port = self._draw(now)
            try:
                handle = relay.open(self.host, port)
            except OSError as error:
                if error.errno != errno.EADDRINUSE:  # no descriptors, address gone: not this port
                    self._free.append(port)
                    break
                self.foreign += 1
                self._quarantine.append((now, port))
                continue
            self._in_use.add(port)
            return PortPair(self.host, port, handle)
        self.exhausted += 1
        raise NoPorts("no ports")

    def open_with_rtcp(self, relay: Relay, now: float) -> PortPair:
        """Reserve a pair and bind both ports. Raises :class:`NoPorts`."""
        for _ in range(MAX_TRIES):
            pair = self.open(relay, now)
            if self.open_rtcp(pair, relay):
                return pair
            self.foreign += 1
            self.release(pair, relay, now)
        self.exhausted += 1
        raise NoPorts("no ports")

    def open_rtcp(self, pair: PortPair, relay: Relay) -> bool:
        """Bind the odd port of a reserved pair if it is not; False if somebody else has it."""
        if not pair.rtcp:
            try:
                pair.rtcp = relay.open(self.host, pair.port + 1)
            except OSError:
                return False
        return True

    def release(self, pair: PortPair, relay: Relay, now: float) -> list[StreamStats]:
        """Close the sockets, return their last figures; the pair rests before its next use."""
        stats = [relay.close(pair.rtp)]
        if pair.rtcp:
            stats.append(relay.close(pair.rtcp))
        self._in_use.remove(pair.port)
        self._quarantine.append((now, pair.port))
        return stats

    def owns(self, port: int) -> bool:
        """Whether a port is one of ours at this moment (self-loop check)."""
        return port - port % 2 in self._in_use

    def statistics(self) -> dict[str, int]:
        """Pairs by state, and the counters."""
        return {
            "pairs": self.size,
            "used": len(self._in_use),
            "quarantined": len(self._quarantine),
            "free": len(self._free),
            "exhausted": self.exhausted,
            "foreign": self.foreign,
        }

    def _draw(self, now: float) -> int:
        quarantine = self._quarantine
        free = self._free
        while quarantine and now - quarantine[0][0] >= self.quarantine_s:
            free.append(quarantine.popleft()[1])
        if free:
            at = int(self._rng.random() * len(free))
            free[at], free[-1] = free[-1], free[at]
            return free.pop()
        if quarantine and now - quarantine[0][0] >= SHORT_QUARANTINE_S:
            return quarantine.popleft()[1]
        self.exhausted += 1
        raise NoPorts("no ports")
