"""Reliable provisional responses (RFC 3262), the state of both sides.

`ReliableSender` serves the UAS side of an INVITE usage, one per usage; `ReliableReceiver` the UAC
side, one per early dialog (the RSeq spaces of forks are independent).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from sip.errors import MalformedHeader
from sip.headers import RAck, parse_rack, parse_rseq

if TYPE_CHECKING:
    from sip.core import Core
    from sip.message import Request, Response
    from sip.timers import Timer
    from sip.transaction.server import ServerTransaction

_RSEQ_LIMIT: Final = 2**31 - 1


class ReliableSender:
    """At most one unacknowledged response; what the user sends meanwhile waits (§3)."""

    __slots__ = (
        "_deadline",
        "_gave_up",
        "_interval_s",
        "_rseq",
        "_timer",
        "core",
        "had_body",
        "outstanding",
        "queue",
        "transaction",
    )

    def __init__(
        self, core: Core, transaction: ServerTransaction, gave_up: Callable[[float], None]
    ) -> None:
        self.core = core
        self.transaction = transaction
        self._gave_up = gave_up
        # §3: between 1 and 2**31 - 1; far enough below the end that it cannot be reached.
        self._rseq = core.rng.getrandbits(30) + 1
        self.outstanding = False
        self.had_body = False
        """The unacknowledged response carries SDP: no 2xx before its PRACK (§5)."""
        self.queue: list[Callable[[float], None]] = []
        self._timer: Timer | None = None
        self._interval_s = 0.0
        self._deadline = 0.0

    def next_lines(self) -> str:
        """Require and RSeq of the next reliable response."""
        self._rseq += 1
        return f"Require: 100rel\r\nRSeq: {self._rseq}\r\n"

    def sent(self, had_body: bool, now: float) -> None:
        """The response left; repeat it from T1, doubling without the cap of T2 (§3)."""
        self.outstanding = True
        self.had_body = had_body
        self._interval_s = self.core.values.t1_s
        self._deadline = now + self.core.values.timeout_s
        self._arm(now)

    def _arm(self, now: float) -> None:
        at = min(now + self._interval_s, self._deadline)
        self._timer = self.core.timers.arm(at, self._fired)

    def _fired(self, now: float) -> None:
        self._timer = None
        if now >= self._deadline:
            self.stop()
            self._gave_up(now)
            return
        self.transaction.repeat_provisional(now)
        self._interval_s *= 2
        self._arm(now)

    def acknowledges(self, request: Request) -> bool:
        """Whether a PRACK is for the outstanding response; if so, stop repeating it."""
        try:
            rack = parse_rack(request.first("RAck") or "")
        except MalformedHeader:
            return False
        cseq = self.transaction.request.cseq
        if not self.outstanding or rack != RAck(self._rseq, cseq.number, "INVITE"):
            return False
        self._stop_timer()
        return True

    def release(self, now: float) -> None:
        """The PRACK is dealt with: send what waited, up to the next reliable response."""
        self.outstanding = False
        while self.queue and not self.outstanding:
            self.queue.pop(0)(now)

    def stop(self) -> None:
        """A final response makes all of this moot."""
        self._stop_timer()
        self.outstanding = False
        self.queue.clear()

    def _stop_timer(self) -> None:
        self.core.timers.cancel(self._timer)
        self._timer = None


class ReliableReceiver:
    """Order of the reliable responses of one early dialog (§4)."""

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last = 0

    def accept(self, response: Response) -> int:
        """The RSeq to acknowledge; 0 for a repetition, a gap, or an unreadable number."""
        try:
            rseq = parse_rseq(response.first("RSeq") or "")
        except MalformedHeader:
            return 0
        if rseq > _RSEQ_LIMIT * 2 or (self._last and rseq != self._last + 1):
            return 0
        self._last = rseq
        return rseq
