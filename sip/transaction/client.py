"""Client transactions (RFC 3261 §17.1, RFC 6026 §7.2): carrying out what `tables.py` says.

Fed by the engine (responses, transport errors), the heap (timers) and `sip/request.py`, which
starts one per destination tried; feeds responses, timeouts and errors back to that request.

One heap entry serves a transaction at a time: retransmission and timeout share it (the earlier
of both is armed), and the final wait replaces it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sip.flow import Flow, Target
from sip.message import Response
from sip.transaction.match import client_key
from sip.transaction.tables import (
    INVITE_CLIENT_MACHINE,
    NON_INVITE_CLIENT_MACHINE,
    ClientAction,
    ClientEvent,
    ClientState,
    InviteClientState,
    Machine,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from sip.core import Core
    from sip.request import ClientRequest
    from sip.timers import Timer

_PROVISIONAL: Final = int(ClientEvent.PROVISIONAL)
_SUCCESS: Final = int(ClientEvent.SUCCESS)
_FAILURE: Final = int(ClientEvent.FAILURE)
_RETRANSMIT: Final = int(ClientEvent.RETRANSMIT)
_TIMEOUT: Final = int(ClientEvent.TIMEOUT)
_LINGER: Final = int(ClientEvent.LINGER)
_TRANSPORT_ERROR: Final = int(ClientEvent.TRANSPORT_ERROR)


class ClientTransaction:
    """One request toward one destination, under one branch."""

    __slots__ = (
        "_ack",
        "_data",
        "_expires_at",
        "_interval_s",
        "_machine",
        "_response",
        "_state",
        "_timer",
        "branch",
        "core",
        "cseq",
        "key",
        "method",
        "reliable",
        "request",
        "to",
        "via",
    )

    def __init__(
        self,
        core: Core,
        request: ClientRequest,
        method: str,
        branch: str,
        via: str,
        to: Flow | Target,
        data: bytes,
    ) -> None:
        self.core = core
        self.request = request
        self.method = method
        self.branch = branch
        self.via = via
        """Our Via line as sent, up to and including the branch."""
        self.to = to
        self.key = client_key(branch, method)
        self.cseq = f"{request.cseq} {method}"
        """CSeq as sent: a response that repeats it needs no parser."""
        self.reliable = to[0] != "udp"
        self._machine: Machine = (
            INVITE_CLIENT_MACHINE if method == "INVITE" else NON_INVITE_CLIENT_MACHINE
        )
        self._state = 0
        self._data = data
        self._ack: bytes | None = None
        self._response: Response | None = None
        self._timer: Timer | None = None
        self._interval_s = core.values.t1_s
        self._expires_at = 0.0

    @property
    def state(self) -> InviteClientState | ClientState:
        if self.method == "INVITE":
            return InviteClientState(self._state)
        return ClientState(self._state)

    @property
    def terminated(self) -> bool:
        return self._state == len(self._machine) - 1

    def start(self, now: float) -> None:
        """Send the request; arm A/E and B/F."""
        core = self.core
        core.clients[self.key] = self
        if self.reliable:
            if isinstance(self.to, Flow):
                core.watch(self.to, self)
            else:
                core.await_stream(self.to, self)
        self._expires_at = now + core.values.timeout_s
        core.send(self.to, self._data, self)
        first_s = core.values.timeout_s if self.reliable else core.values.t1_s
        self._timer = core.timers.arm_after(now, first_s, self._timer_fired)

    def receive(self, response: Response, now: float) -> None:
        """A response whose Via and CSeq method match."""
        self._response = response
        status = response.status
        if status < 200:
            self._happen(_PROVISIONAL, now)
        elif status < 300:
            self._happen(_SUCCESS, now)
        else:
            self._happen(_FAILURE, now)

    def transport_failed(self, now: float) -> None:
        """The destination cannot be reached, or its stream closed."""
        self._happen(_TRANSPORT_ERROR, now)

    def hush(self) -> None:
        """Repeat the request no more; its answer is still taken, and acknowledged."""
        if not self.reliable and self._timer is not None and self._expires_at and self._data:
            core = self.core
            core.timers.cancel(self._timer)
            self._timer = core.timers.arm(self._expires_at, self._timer_fired)

    def give_up(self, now: float) -> None:
        """As if timer B had fired: nobody answered the CANCEL either (RFC 3261 §9.1)."""
        self._happen(_TIMEOUT, now)

    def _timer_fired(self, now: float) -> None:
        self._timer = None
        if self._expires_at == 0.0:
            self._happen(_LINGER, now)
        elif now >= self._expires_at:
            self._happen(_TIMEOUT, now)
        else:
            self._happen(_RETRANSMIT, now)

    def _happen(self, event: int, now: float) -> None:
        """An event from outside. At the end the request lets go of us, so that both are freed
        at once instead of by the cycle collector, which would stop the world for them."""
        self._step(event, now)
        if self._state == len(self._machine) - 1 and self.request.transaction is self:
            self.request.transaction = None

    def _step(self, event: int, now: float) -> None:
        transition = self._machine[self._state][event]
        if transition is None:
            return
        # The state changes first: the transaction user may act on us while it is told.
        actions, self._state = transition
        if self._state == len(self._machine) - 1:
            self._terminate()
        for action in actions:
            _ACTIONS[action](self, now)

    def _terminate(self) -> None:
        core = self.core
        core.timers.cancel(self._timer)
        self._timer = None
        core.clients.pop(self.key, None)
        if self.reliable:
            if isinstance(self.to, Flow):
                core.unwatch(self.to, self)
            else:
                core.forget_stream(self.to, self)

    # -- actions

    def _retransmit(self, now: float) -> None:
        """Timer A doubles without bound, timer E up to T2."""
        core = self.core
        core.send(self.to, self._data, self)
        interval_s = self._interval_s * 2
        if self.method != "INVITE" and interval_s > core.values.t2_s:
            interval_s = core.values.t2_s
        self._arm_retransmit(interval_s, now)

    def _retransmit_t2(self, now: float) -> None:
        self.core.send(self.to, self._data, self)
        self._arm_retransmit(self.core.values.t2_s, now)

    def _arm_retransmit(self, interval_s: float, now: float) -> None:
        self._interval_s = interval_s
        deadline = min(now + interval_s, self._expires_at)
        self._timer = self.core.timers.arm(deadline, self._timer_fired)

    def _stop_timers(self, now: float) -> None:
        self.core.timers.cancel(self._timer)
        self._timer = None

    def _report_response(self, now: float) -> None:
        response = self._response
        assert response is not None  # only reached from receive()
        self._response = None
        self.request.on_response(self, response, now)

    def _report_timeout(self, now: float) -> None:
        self.request.on_failure(self, "timeout", now)

    def _report_error(self, now: float) -> None:
        self.request.on_failure(self, "transport", now)

    def _send_ack(self, now: float) -> None:
        if self._ack is None:
            response = self._response
            assert response is not None
            self._ack = self.request.build_failure_ack(self, response)
        self.core.send(self.to, self._ack, self)

    def _arm_linger(self, now: float) -> None:
        """D and M 64·T1, K T4; D and K take no time where nothing is retransmitted."""
        core = self.core
        core.timers.cancel(self._timer)
        self._timer = None
        self._data = b""  # never sent again
        if self._state == InviteClientState.ACCEPTED and self.method == "INVITE":
            delay_s = core.values.timeout_s
        elif self.reliable:
            self._step(_LINGER, now)
            return
        else:
            delay_s = core.values.timeout_s if self.method == "INVITE" else core.values.t4_s
        self._expires_at = 0.0
        self._timer = core.timers.arm_after(now, delay_s, self._timer_fired)


_ACTIONS: Final[tuple[Callable[[ClientTransaction, float], None], ...]] = tuple(
    {
        ClientAction.RETRANSMIT: ClientTransaction._retransmit,
        ClientAction.RETRANSMIT_T2: ClientTransaction._retransmit_t2,
        ClientAction.STOP_TIMERS: ClientTransaction._stop_timers,
        ClientAction.REPORT_RESPONSE: ClientTransaction._report_response,
        ClientAction.REPORT_TIMEOUT: ClientTransaction._report_timeout,
        ClientAction.REPORT_ERROR: ClientTransaction._report_error,
        ClientAction.SEND_ACK: ClientTransaction._send_ack,
        ClientAction.ARM_LINGER: ClientTransaction._arm_linger,
    }[action]
    for action in ClientAction
)
