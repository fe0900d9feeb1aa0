"""Responses that every part of an INVITE usage gives: 100, 422, refusals, and common lines.

Used by `negotiation`, `invite_uas` and `invite`; feeds server transactions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sip.core import ExtraHeaders, option_tags
from sip.dialog.invite_base import InviteBase
from sip.errors import MalformedHeader
from sip.message import Request

if TYPE_CHECKING:
    from sip.transaction.server import ServerTransaction


class InviteReplies(InviteBase):
    """See the module."""

    __slots__ = ()

    def _response_contact(self, transaction: ServerTransaction) -> str:
        """Our Contact as seen over the flow of a transaction."""
        flow = transaction.flow
        return self.contact + self.core.side(flow.transport, flow.local).contact_at

    def _server_lines(self, headers: ExtraHeaders, body: bytes, content_type: str) -> str:
        """Lines of a response that opens or changes the session."""
        lines = self.core.session_lines_with(headers, self.core.server_line)
        return f"{lines}Content-Type: {content_type}\r\n" if body else lines

    def _arm_trying(self, transaction: ServerTransaction, now: float) -> None:
        """100 after 200 ms unless the user was faster (RFC 3261 §17.2.1)."""
        core = self.core
        delay_s = core.config.trying_delay_s

        def trying(now: float) -> None:
            self._trying_timer = None
            if transaction.silent:
                transaction.respond_trying(now)

        if delay_s > 0:
            self._trying_timer = core.timers.arm_after(now, delay_s, trying)
        else:
            trying(now)

    def _stop_trying(self) -> None:
        self.core.timers.cancel(self._trying_timer)
        self._trying_timer = None

    def _check_interval(self, transaction: ServerTransaction, request: Request, now: float) -> bool:
        """422 when the session interval asked for is too small (RFC 4028 §9)."""
        try:
            supports = "timer" in option_tags(request, "Supported")
            if not self.session.too_small(request, supports):
                return True
        except MalformedHeader as error:
            transaction.respond(error.status_hint, error.reason, self.core.server_line, now=now)
            return False
        lines = f"Min-SE: {self.core.config.min_se_s}\r\n{self.core.server_line}"
        transaction.respond(422, None, lines, now=now)
        return False

    def _refuse(self, transaction: ServerTransaction, status: int, now: float) -> None:
        transaction.respond(status, None, self.core.server_line, now=now)

    def _refuse_for_now(self, transaction: ServerTransaction, now: float) -> None:
        """500 with a random Retry-After of 0 to 10 s (RFC 3261 §14.2, RFC 3311 §5.2)."""
        delay_s = int(self.core.rng.random() * 11)
        lines = f"Retry-After: {delay_s}\r\n{self.core.server_line}"
        transaction.respond(500, None, lines, now=now)
