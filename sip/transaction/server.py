"""Server transactions (RFC 3261 §17.2, RFC 6026 §7.1): carrying out what `tables.py` says.

Fed by the engine (requests again, ACK, CANCEL), the heap (timers) and the transaction user
(`respond`); feeds response datagrams to the flow the request came over (RFC 3261 §18.2.2,
RFC 3581 §4) and failures to `owner`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from sip.core import lines_of
from sip.flow import Flow
from sip.message import REASONS, Request
from sip.transaction.tables import (
    INVITE_SERVER_MACHINE,
    NON_INVITE_SERVER_MACHINE,
    InviteServerState,
    Machine,
    ServerAction,
    ServerEvent,
    ServerState,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from sip.core import Core, ExtraHeaders
    from sip.timers import Timer
    from sip.transaction.match import ServerKey, TopVia

_REQUEST: Final = int(ServerEvent.REQUEST)
_ACK: Final = int(ServerEvent.ACK)
_TU_PROVISIONAL: Final = int(ServerEvent.TU_PROVISIONAL)
_TU_SUCCESS: Final = int(ServerEvent.TU_SUCCESS)
_TU_FAILURE: Final = int(ServerEvent.TU_FAILURE)
_RETRANSMIT: Final = int(ServerEvent.RETRANSMIT)
_TIMEOUT: Final = int(ServerEvent.TIMEOUT)
_LINGER: Final = int(ServerEvent.LINGER)
_TRANSPORT_ERROR: Final = int(ServerEvent.TRANSPORT_ERROR)


class ServerOwner(Protocol):
    """Who wants to know that a response was lost for good."""

    def on_server_failure(self, transaction: ServerTransaction, cause: str, now: float) -> None: ...


class ServerTransaction:
    """One request and its responses. `user` is the transaction user's slot."""

    __slots__ = (
        "_expires_at",
        "_head",
        "_interval_s",
        "_last",
        "_machine",
        "_pending",
        "_state",
        "_tail",
        "_timer",
        "core",
        "flow",
        "key",
        "merge_key",
        "method",
        "owner",
        "request",
        "to_tag",
        "user",
    )

    def __init__(
        self, core: Core, key: ServerKey, request: Request, via: TopVia, flow: Flow, to_tag: str
    ) -> None:
        self.core = core
        self.key = key
        self.method = request.method
        self.request = request
        self.flow = flow
        self.to_tag = to_tag
        """Tag that our responses add to To; "" when the request already carries one."""
        self.owner: ServerOwner | None = None
        self.merge_key: tuple[str, str, str] | None = None
        self.user: object = None
        # Everything that all responses of this transaction share, RFC 3261 §8.2.6.2.
        first = request.first
        self._head = f"{via.echo}From: {first('From')}\r\nTo: {first('To')}"
        self._tail = f"\r\nCall-ID: {first('Call-ID')}\r\nCSeq: {first('CSeq')}\r\n"
        self._machine: Machine = (
            INVITE_SERVER_MACHINE if request.method == "INVITE" else NON_INVITE_SERVER_MACHINE
        )
        self._state = 0
        self._pending = b""
        self._last = b""
        self._timer: Timer | None = None
        self._interval_s = 0.0
        self._expires_at = 0.0
        core.servers[key] = self
        core.watch(flow, self)

    @property
    def state(self) -> InviteServerState | ServerState:
        if self.method == "INVITE":
            return InviteServerState(self._state)
        return ServerState(self._state)

    @property
    def answered(self) -> bool:
        """Whether a final response was given (states after Proceeding)."""
        if self.method == "INVITE":
            return self._state != InviteServerState.PROCEEDING
        return self._state >= ServerState.COMPLETED

    @property
    def accepted(self) -> bool:
        return self.method == "INVITE" and self._state == InviteServerState.ACCEPTED

    @property
    def silent(self) -> bool:
        """Nothing was answered yet."""
        return not self._last

    def respond(
        self,
        status: int,
        reason: str | None = None,
        lines: str = "",
        body: bytes = b"",
        *,
        now: float,
    ) -> None:
        """Send a response; `lines` are complete header lines beyond the echoed ones.

        Absorbed when a final response was given before.
        """
        if reason is None or "\r" in reason or "\n" in reason:
            reason = REASONS.get(status, "")
        # RFC 3261 §8.2.6.2: 100 need not carry a tag, and must not open a dialog.
        tag = f";tag={self.to_tag}" if self.to_tag and status != 100 else ""
        text = (
            f"SIP/2.0 {status} {reason}\r\n{self._head}{tag}{self._tail}{lines}"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        self._pending = text.encode("utf-8", "surrogateescape") + body
        if status < 200:
            self._step(_TU_PROVISIONAL, now)
        elif status < 300:
            self._step(_TU_SUCCESS, now)
        else:
            self._step(_TU_FAILURE, now)

    def respond_trying(self, now: float) -> None:
        """100, with the Timestamp of the request (RFC 3261 §8.2.6.1)."""
        timestamp = self.request.first("Timestamp")
        self.respond(100, None, f"Timestamp: {timestamp}\r\n" if timestamp else "", now=now)

    def respond_with(
        self,
        status: int,
        reason: str | None,
        headers: ExtraHeaders,
        body: bytes = b"",
        content_type: str = "",
        *,
        now: float,
    ) -> None:
        """`respond` for headers given as pairs, with our Server line."""
        lines = lines_of(headers) + self.core.server_line
        if content_type and body:
            lines += f"Content-Type: {content_type}\r\n"
        self.respond(status, reason, lines, body, now=now)

    def repeat_success(self, now: float) -> None:
        """The usage retransmits its 2xx (RFC 3261 §13.3.1.4)."""
        self._pending = self._last
        self._step(_TU_SUCCESS, now)

    def repeat_provisional(self, now: float) -> None:
        """The usage retransmits a reliable provisional response (RFC 3262 §3)."""
        self._pending = self._last
        self._step(_TU_PROVISIONAL, now)

    def forget(self) -> None:
        """Leave no trace, and the request unanswered."""
        self._state = len(self._machine) - 1
        self._terminate()

    def receive_again(self, now: float) -> None:
        """A retransmission of the request."""
        self._step(_REQUEST, now)

    def receive_ack(self, now: float) -> None:
        """The ACK of a 3xx-6xx."""
        self._step(_ACK, now)

    def transport_failed(self, now: float) -> None:
        self._step(_TRANSPORT_ERROR, now)

    def _timer_fired(self, now: float) -> None:
        self._timer = None
        if self._expires_at == 0.0:
            self._step(_LINGER, now)
        elif now >= self._expires_at:
            self._step(_TIMEOUT, now)
        else:
            self._step(_RETRANSMIT, now)

    def _step(self, event: int, now: float) -> None:
        transition = self._machine[self._state][event]
        if transition is None:
            return
        actions, self._state = transition
        if self._state == len(self._machine) - 1:
            self._terminate()
        for action in actions:
            _ACTIONS[action](self, now)

    def _terminate(self) -> None:
        core = self.core
        core.timers.cancel(self._timer)
        self._timer = None
        core.servers.pop(self.key, None)
        if self.merge_key is not None:
            core.merged.pop(self.merge_key, None)
        core.unwatch(self.flow, self)

    # -- actions

    def _send(self, now: float) -> None:
        self._last = self._pending
        self.core.send(self.flow, self._last, self)

    def _resend(self, now: float) -> None:
        if self._last:
            self.core.send(self.flow, self._last, self)

    def _retransmit(self, now: float) -> None:
        """Timer G, doubling up to T2."""
        core = self.core
        core.send(self.flow, self._last, self)
        self._interval_s = min(self._interval_s * 2, core.values.t2_s)
        deadline = min(now + self._interval_s, self._expires_at)
        self._timer = core.timers.arm(deadline, self._timer_fired)

    def _arm_retransmit(self, now: float) -> None:
        core = self.core
        self._expires_at = now + core.values.timeout_s
        self._interval_s = core.values.t1_s
        first_s = core.values.timeout_s if self.flow.reliable else core.values.t1_s
        self._timer = core.timers.arm_after(now, first_s, self._timer_fired)

    def _stop_timers(self, now: float) -> None:
        self.core.timers.cancel(self._timer)
        self._timer = None

    def _arm_linger(self, now: float) -> None:
        """L and J 64·T1, I T4; I and J take no time over a reliable transport."""
        core = self.core
        if self.accepted:
            delay_s = core.values.timeout_s
        elif self.flow.reliable:
            self._step(_LINGER, now)
            return
        elif self.method == "INVITE":
            delay_s = core.values.t4_s
        else:
            delay_s = core.values.timeout_s
        self._expires_at = 0.0
        self._timer = core.timers.arm_after(now, delay_s, self._timer_fired)

    def _report_timeout(self, now: float) -> None:
        self.core.count("responses_unacknowledged")
        if self.owner is not None:
            self.owner.on_server_failure(self, "timeout", now)

    def _report_error(self, now: float) -> None:
        if self.owner is not None:
            self.owner.on_server_failure(self, "transport", now)


_ACTIONS: Final[tuple[Callable[[ServerTransaction, float], None], ...]] = tuple(
    {
        ServerAction.SEND: ServerTransaction._send,
        ServerAction.RESEND: ServerTransaction._resend,
        ServerAction.RETRANSMIT: ServerTransaction._retransmit,
        ServerAction.ARM_RETRANSMIT: ServerTransaction._arm_retransmit,
        ServerAction.STOP_TIMERS: ServerTransaction._stop_timers,
        ServerAction.ARM_LINGER: ServerTransaction._arm_linger,
        ServerAction.REPORT_TIMEOUT: ServerTransaction._report_timeout,
        ServerAction.REPORT_ERROR: ServerTransaction._report_error,
    }[action]
    for action in ServerAction
)
