"""The implicit subscription of a REFER (RFC 3515 §2.4, RFC 6665): our NOTIFYs of its progress.

Fed by the usage that accepted the REFER; sends one NOTIFY at a time in that dialog, so that the
peer never sees them out of order, and ends by a final status, by expiry, or when a NOTIFY fails.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sip.message import REASONS, Response

if TYPE_CHECKING:
    from sip.core import Core
    from sip.dialog.dialog import Dialog
    from sip.events import FailureCause
    from sip.request import ClientRequest
    from sip.timers import Timer

from collections.abc import Callable

# A transfer target may ring for three minutes (RFC 3261 §13.3.1.1 lets proxies wait that long).
REFER_EXPIRES_S: Final = 180


class ReferSubscription:
    """`done(subscription)` is called once, when nothing more will be sent."""

    __slots__ = (
        "_done",
        "_last",
        "_queue",
        "_running",
        "_timer",
        "_until",
        "core",
        "dialog",
        "event",
        "final",
    )

    def __init__(
        self,
        core: Core,
        dialog: Dialog,
        event: str,
        done: Callable[[ReferSubscription], None],
        now: float,
    ) -> None:
        self.core = core
        self.dialog = dialog
        self.event = event
        """Value of Event: "refer", with ;id= from the second REFER on (§2.4.6)."""
        self.final = False
        self._done = done
        self._last = (100, "Trying")
        self._running: ClientRequest | None = None
        self._queue: list[tuple[int, str]] = []
        self._until = now + REFER_EXPIRES_S
        self._timer: Timer | None = core.timers.arm(self._until, self._expired)

    def notify(self, status: int, reason: str | None, final: bool, now: float) -> None:
        """Report a status line; nothing is sent after a final one."""
        if self.final:
            return
        self.final = final
        line = (status, REASONS.get(status, "") if reason is None else reason)
        if self._running is not None:
            if len(self._queue) >= 2:
                self._queue.pop()  # progress nobody has seen yet is replaced by newer progress
            self._queue.append(line)
        else:
            self._send(line, now)

    def _send(self, line: tuple[int, str], now: float) -> None:
        self._last = line
        last = self.final and not self._queue
        left_s = max(int(self._until - now), 0)
        state = "terminated;reason=noresource" if last else f"active;expires={left_s}"
        body = f"SIP/2.0 {line[0]} {line[1]}\r\n".encode("utf-8", "surrogateescape")
        extra = (
            f"Event: {self.event}\r\nSubscription-State: {state}\r\n"
            f"Content-Type: message/sipfrag;version=2.0\r\n{self.core.user_agent_line}"
        )
        client = self.dialog.new_request(self, "NOTIFY", extra, body, contact=True)
        self._running = client
        client.start(self.dialog.hop(), now)

    def on_response(self, client: ClientRequest, response: Response, now: float) -> None:
        if response.status < 200:
            return
        self._running = None
        if response.status >= 300:
            # RFC 6665 §4.2.2: a refused NOTIFY ends the subscription.
            self._close()
        elif self._queue:
            self._send(self._queue.pop(0), now)
        elif self.final:
            self._close()

    def on_failure(self, client: ClientRequest, cause: FailureCause, now: float) -> None:
        self._running = None
        self._close()

    def _expired(self, now: float) -> None:
        self._timer = None
        if self.final:
            return  # the last NOTIFY is on its way
        self.final = True
        if self._running is None:
            self._send(self._last, now)

    def _close(self) -> None:
        self.core.timers.cancel(self._timer)
        self._timer = None
        self.final = True
        self._queue.clear()
        self._done(self)
