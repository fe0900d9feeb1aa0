"""Protection of the listeners' users: rate per source, lock-out with decay, known scanners.

Asked before anything expensive happens to a request from outside a dialog. All tables are
bounded: the oldest entry makes room, so a spoofed flood costs its own entries only.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from pbx.calls.config import CallConfig
from pbx.domain.blacklist import AddressBlacklisted, AddressReleased
from pbx.kernel.events import Event

#: Sources and accounts remembered; one entry is about 200 bytes.
MAX_ENTRIES: Final = 20_000
FOREVER_S: Final = 1e9


class _Bucket:
    """Token bucket of one source."""

    __slots__ = ("at", "tokens")

    def __init__(self, tokens: float, now: float) -> None:
        self.tokens = tokens
        self.at = now


class _Failures:
    """Wrong log-ins of one source or account; the count decays by half each window."""

    __slots__ = ("at", "count", "locked_until")

    def __init__(self, now: float) -> None:
        self.count = 0.0
        self.at = now
        self.locked_until = 0.0


class Guard:
    """See the module. Keys are source hosts and ``name@domain`` addresses."""

    def __init__(self, config: CallConfig) -> None:
        self._config = config
        self._agents = config.scanner_agents
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self._failures: OrderedDict[str, _Failures] = OrderedDict()
        self._blacklist: dict[str, float] = {}
        """Bounded by who writes it: ``pbx.domain.blacklist``."""
        self.dropped = 0
        """Requests that got no answer."""

    def admits(self, host: str, user_agent: str | None, now: float) -> bool:
        """Whether a request of a source deserves any answer at all."""
        if user_agent and user_agent.lower().startswith(self._agents):
            self.dropped += 1
            return False
        if self._blacklist and self.refuses(host, now):
            self.dropped += 1
            return False
        config = self._config
        bucket = self._buckets.get(host)
        if bucket is None:
            if len(self._buckets) >= MAX_ENTRIES:
                self._buckets.popitem(last=False)
            bucket = self._buckets[host] = _Bucket(float(config.requests_burst), now)
        tokens = min(
            float(config.requests_burst),
            bucket.tokens + (now - bucket.at) * config.requests_per_s,
        )
        bucket.at = now
        if tokens < 1.0:
            bucket.tokens = tokens
            self.dropped += 1
            return False
        bucket.tokens = tokens - 1.0
        return True

    def apply(self, event: Event, time_ns: int, wall_ns: int, now: float) -> None:
        """Fold a decision of an administrator: an address is refused for a time, or no more.

        A lock counts in monotonic time, so the rest of it is taken at this moment.
        """
        match event:
            case AddressBlacklisted(address=address, until_ns=until_ns):
                left_s = (until_ns - wall_ns) / 1e9 if until_ns else FOREVER_S
                if left_s > 0:
                    self._blacklist[address] = now + left_s
            case AddressReleased(address=address):
                self._blacklist.pop(address, None)
                self._failures.pop(address, None)

    def refuses(self, host: str, now: float) -> bool:
        """Whether a source is blacklisted."""
        until = self._blacklist.get(host)
        if until is None:
            return False
        if until <= now:
            del self._blacklist[host]
            return False
        return True

    def locked(self, key: str, now: float) -> bool:
        """Whether log-ins of this source or account are refused unseen."""
        entry = self._failures.get(key)
        return entry is not None and entry.locked_until > now

    def failed(self, key: str, now: float, *, factor: int = 1) -> bool:
        """Count a wrong log-in; True when `key` gets locked by it just now.

        `factor` multiplies how many it takes.
        """
        config = self._config
        entry = self._failures.get(key)
        if entry is None:
            if len(self._failures) >= MAX_ENTRIES:
                self._failures.popitem(last=False)
            entry = self._failures[key] = _Failures(now)
        entry.count = entry.count * 0.5 ** ((now - entry.at) / config.failed_logins_s) + 1.0
        entry.at = now
        # The decay since the first of them must not let through one more than the setting says.
        if entry.count > config.failed_logins * factor - 1 and entry.locked_until <= now:
            entry.locked_until = now + config.lock_s
            return True
        return False

    def succeeded(self, key: str) -> None:
        """A right log-in clears what the same account did wrong before."""
        self._failures.pop(key, None)

    def statistics(self) -> dict[str, int]:
        """Table sizes and drops."""
        return {
            "guard_sources": len(self._buckets),
            "guard_failures": len(self._failures),
            "guard_dropped": self.dropped,
        }
