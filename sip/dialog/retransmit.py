"""Our 2xx to an INVITE, repeated until its ACK (RFC 3261 §13.3.1.4).

Armed by the INVITE usage that accepted (initial INVITE or re-INVITE), stopped by the ACK; tells
the usage when 64·T1 have passed without one. Not the transaction's business: RFC 6026 §7.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sip.dialog.invite_base import InviteBase
    from sip.timers import Timer
    from sip.transaction.server import ServerTransaction


class Retransmitter:
    """Our 2xx to an INVITE until its ACK (RFC 3261 §13.3.1.4), on every transport."""

    __slots__ = (
        "_deadline",
        "_interval_s",
        "_timer",
        "answer_due",
        "initial",
        "transaction",
        "usage",
    )

    def __init__(
        self,
        usage: InviteBase,
        transaction: ServerTransaction,
        *,
        initial: bool,
        answer_due: bool,
        now: float,
    ) -> None:
        self.usage = usage
        self.transaction = transaction
        self.initial = initial
        self.answer_due = answer_due
        """The 2xx carries our offer, so the ACK must bring the answer."""
        self._interval_s = usage.core.values.t1_s
        self._deadline = now + usage.core.values.timeout_s
        self._timer: Timer | None = usage.core.timers.arm_after(now, self._interval_s, self._fired)

    def stop(self) -> None:
        self.usage.core.timers.cancel(self._timer)
        self._timer = None

    def _fired(self, now: float) -> None:
        self._timer = None
        if now >= self._deadline:
            self.usage.ack_timed_out(now)
            return
        self.transaction.repeat_success(now)
        core = self.usage.core
        self._interval_s = min(self._interval_s * 2, core.values.t2_s)
        self._timer = core.timers.arm(min(now + self._interval_s, self._deadline), self._fired)
