"""Session timer of one leg (RFC 4028), with OPTIONS where the peer has none.

Fed by the INVITE usage with requests and responses that carry Session-Expires; tells it when to
refresh and when the peer has gone silent. Each leg of a B2BUA has a timer of its own.

Refresher is kept as "we" or "they": the words uac and uas of the header change their meaning
with the direction of the latest refresh (§7.2, §9).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from sip.errors import MalformedHeader
from sip.headers import parse_min_se, parse_session_expires

if TYPE_CHECKING:
    from sip.core import Core
    from sip.message import Message, Request, Response
    from sip.timers import Timer

# §10: the side that waits hangs up this long before the session expires, or a third of it.
_GRACE_S: Final = 32.0


class SessionOwner(Protocol):
    """What the timer asks of its usage."""

    def refresh_session(self, now: float) -> None: ...
    def session_expired(self, now: float) -> None: ...
    def probe_peer(self, now: float) -> None: ...


class NoSession:
    """Stands for the usage once it was released; no timer is armed then."""

    def refresh_session(self, now: float) -> None: ...
    def session_expired(self, now: float) -> None: ...
    def probe_peer(self, now: float) -> None: ...


NO_SESSION: Final = NoSession()


class SessionTimer:
    """`interval_s` is 0 while no session timer runs."""

    __slots__ = ("_timer", "core", "interval_s", "min_se_s", "owner", "we_refresh", "wanted_s")

    def __init__(self, core: Core, owner: SessionOwner, wanted_s: int) -> None:
        self.core = core
        self.owner = owner
        self.wanted_s = wanted_s if "timer" in core.config.supported else 0
        """What we ask for; 0 never asks."""
        self.min_se_s = core.config.min_se_s
        self.interval_s = 0
        self.we_refresh = False
        self._timer: Timer | None = None

    # -- as UAC of an INVITE or UPDATE

    def request_lines(self) -> str:
        """Session-Expires and Min-SE of a request (§7.1); the running refresher keeps its part."""
        if self.interval_s:
            refresher = "uac" if self.we_refresh else "uas"
            text = f"Session-Expires: {self.interval_s};refresher={refresher}\r\n"
        elif self.wanted_s:
            # No refresher: the peer knows better whether it can (§7.1 recommends so).
            text = f"Session-Expires: {max(self.wanted_s, self.min_se_s)}\r\n"
        else:
            return ""
        return f"{text}Min-SE: {self.min_se_s}\r\n"

    def raise_minimum(self, response: Response) -> bool:
        """Take the Min-SE of a 422 (§7.3); False when trying again would be pointless."""
        try:
            minimum_s = parse_min_se(response.first("Min-SE") or "")
        except MalformedHeader:
            return False
        if minimum_s <= self.min_se_s:
            return False
        self.min_se_s = minimum_s
        if self.interval_s:
            self.interval_s = max(self.interval_s, minimum_s)
        return True

    def answered(self, response: Response, now: float) -> None:
        """A 2xx to our request (§7.2): take over what it says, and start over."""
        value = response.first("Session-Expires")
        self.interval_s = 0
        if value is not None:
            try:
                expires = parse_session_expires(value)
            except MalformedHeader:
                pass
            else:
                # §7.2 obliges the peer to name the refresher; who forgets leaves it to us.
                self._adopt(expires.interval_s, expires.refresher != "uas")
        self.restart(now)

    # -- as UAS

    def too_small(self, request: Request, peer_supports: bool) -> bool:
        """Whether the request must be answered 422 (§9). Raises MalformedHeader."""
        value = request.first("Session-Expires")
        if value is None or not peer_supports:
            return False
        return parse_session_expires(value).interval_s < self.core.config.min_se_s

    def response_lines(self, request: Request, peer_supports: bool) -> str:
        """Adopt what the request asks for, and give the lines of the 2xx (§9)."""
        value = request.first("Session-Expires")
        minimum_s = self._minimum_of(request)
        refresher = ""
        if value is not None:
            try:
                expires = parse_session_expires(value)
            except MalformedHeader:
                return ""
            interval_s, refresher = expires.interval_s, expires.refresher
            if self.wanted_s:
                interval_s = max(min(interval_s, self.wanted_s), minimum_s)
        elif self.wanted_s:
            interval_s = max(self.wanted_s, minimum_s)
        else:
            self.interval_s = 0
            return ""
        if not peer_supports:
            refresher = "uas"  # §9, table 2: it could not refresh
        elif not refresher:
            refresher = "uac"
        self._adopt(interval_s, refresher == "uas")
        # §9: only a refresher that is the UAC must understand the extension.
        require = "Require: timer\r\n" if refresher == "uac" else ""
        return f"Session-Expires: {self.interval_s};refresher={refresher}\r\n{require}"

    def _minimum_of(self, message: Message) -> int:
        value = message.first("Min-SE")
        if value is None:
            return self.min_se_s
        try:
            return max(self.min_se_s, parse_min_se(value))
        except MalformedHeader:
            return self.min_se_s

    # -- the clock

    def _adopt(self, interval_s: int, we_refresh: bool) -> None:
        # Nothing below the absolute minimum of §4 makes us refresh in a frenzy.
        self.interval_s = max(interval_s, 90)
        self.we_refresh = we_refresh

    def restart(self, now: float) -> None:
        """The session was set up or refreshed just now."""
        self.stop()
        interval_s = self.interval_s
        if interval_s and self.we_refresh:
            self._timer = self.core.timers.arm(now + interval_s / 2, self._refresh)
        elif interval_s:
            delay_s = interval_s - min(_GRACE_S, interval_s / 3)
            self._timer = self.core.timers.arm(now + delay_s, self._expire)
        elif self.core.config.keepalive_s:
            self._timer = self.core.timers.arm(now + self.core.config.keepalive_s, self._probe)

    def stop(self) -> None:
        self.core.timers.cancel(self._timer)
        self._timer = None

    def release(self) -> None:
        """The usage is over and wants to be freed."""
        self.stop()
        self.owner = NO_SESSION

    def refresh_failed(self, now: float) -> None:
        """The refresh was refused: the session ends when its interval does (§10)."""
        self.stop()
        interval_s = self.interval_s
        delay_s = max(interval_s / 2 - min(_GRACE_S, interval_s / 3), 0.0)
        self._timer = self.core.timers.arm(now + delay_s, self._expire)

    def _refresh(self, now: float) -> None:
        self._timer = None
        self.owner.refresh_session(now)

    def _expire(self, now: float) -> None:
        self._timer = None
        self.owner.session_expired(now)

    def _probe(self, now: float) -> None:
        self._timer = None
        self.owner.probe_peer(now)
