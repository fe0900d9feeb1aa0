"""The asyncio shell of the SIP engine: listeners, one timer, and the pump.

Fed by sockets, DNS and one loop timer; feeds :class:`~sip.engine.SipEngine` and carries out what
it asks for. The engine's events go to call control synchronously, after each batch of input.

The pump: whatever fed the engine calls it with the time of the input; it sends the outputs and
hands over the events until both are empty. Call control that acts on its own account (an
operator's command, a media event) calls :meth:`SipEndpoint.flush` afterwards.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from time import monotonic as system_monotonic
from typing import Any

from sip.core import CloseFlow, Forward, Resolve, TargetFailed, Transmit
from sip.endpoint.limits import EndpointLimits
from sip.endpoint.locate import FAILED_MAX_S, FAILED_S, Reach
from sip.endpoint.ports import Engine, Monotonic, OnEvents, Peers
from sip.endpoint.resolver import Resolver
from sip.endpoint.stream import StreamListener, StreamPool
from sip.endpoint.tls import TlsContexts
from sip.endpoint.udp import UdpListener
from sip.flow import Address, Flow, Target, is_elsewhere

log = logging.getLogger("sip.endpoint")


class SipEndpoint:
    """Sockets and timer of one engine. Create it, use it and close it in one event loop.

    Binding is synchronous; a listener answers from the next turn of the loop. `aclose()` must be
    awaited before the loop ends.
    """

    def __init__(
        self,
        engine: Engine,
        on_events: OnEvents,
        resolver: Resolver,
        *,
        monotonic: Monotonic = system_monotonic,
        limits: EndpointLimits | None = None,
        tls: TlsContexts | None = None,
        prefer_ipv6: bool = False,
    ) -> None:
        self.peers: Peers | None = None
        """The other nodes, in a cluster."""
        self._engine = engine
        self._on_events = on_events
        self._resolver = resolver
        self._monotonic = monotonic
        self._limits = limits if limits is not None else EndpointLimits()
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._streams = StreamPool(
            self._loop,
            engine,
            self._limits,
            tls,
            monotonic=monotonic,
            pump=self._pump,
            spawn=self._spawn,
            target_failed=resolver.target_failed,
        )
        self._udp: dict[Address, UdpListener] = {}
        self._listeners: list[StreamListener] = []
        self._reach = Reach(frozenset(), prefer_ipv6)
        self._tasks: set[asyncio.Task[None]] = set()
        self._resolving = 0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._sweep: asyncio.TimerHandle | None = None
        self._flush_handle: asyncio.Handle | None = None
        self._pumping = False
        self._closed = False

    # ---- listeners

    def add_udp(self, host: str, port: int) -> Address:
        """Listen on a numeric host (port 0: any); returns the bound address. Raises OSError."""
        listener = UdpListener(self._loop, host, port, self._limits, self._receive_datagrams)
        self._udp[listener.local] = listener
        self._announce("udp", listener.local, listener.family)
        return listener.local

    def add_tcp(self, host: str, port: int) -> Address:
        """As :meth:`add_udp`, over TCP."""
        return self._add_stream("tcp", host, port)

    def add_tls(self, host: str, port: int) -> Address:
        """As :meth:`add_udp`, over TLS; needs the `tls` contexts given at construction."""
        if self._tls is None:
            raise ValueError("a TLS listener needs certificates")
        return self._add_stream("tls", host, port)

    def _add_stream(self, kind: str, host: str, port: int) -> Address:
        listener = StreamListener(self._loop, kind, host, port, self._streams.accept)
        self._listeners.append(listener)
        if host not in ("0.0.0.0", "::"):
            self._streams.local_hosts.setdefault((kind, listener.family), host)
        self._announce(kind, listener.local, listener.family)
        if self._sweep is None:
            self._sweep = self._loop.call_later(self._limits.sweep_s, self._expire)
        return listener.local

    def _announce(self, transport: str, local: Address, family: int) -> None:
        self._reach = Reach(self._reach.pairs | {(transport, family)}, self._reach.prefer_ipv6)
        self._engine.add_listener(transport, local)
        log.info("listening on %s:%d/%s", *local, transport)

    # ---- what call control uses

    def flush(self) -> None:
        """Carry out soon what the engine was asked for outside an input; cheap to repeat."""
        if self._flush_handle is None and not self._pumping:
            self._flush_handle = self._loop.call_soon(self._flush)

    def flush_now(self) -> None:
        """As :meth:`flush`, for whoever is called by the loop itself: saves a turn of it."""
        self._pump(self._monotonic())

    # ---- what the other nodes of a cluster use

    def send_for_peer(self, flow: Flow, data: bytes) -> bool:
        """Send what another node has for a flow that ends here; False if it is gone.

        A stream is found by its remote address: the other node does not know its serial.
        """
        if flow.transport == "udp":
            return self._send_from(flow, data)
        opened = self._engine.open_stream(flow.transport, flow.remote)
        return opened is not None and self._streams.write(opened, data)

    def receive_forwarded(self, flow: Flow, data: bytes) -> None:
        """Take a message that another node got for us over `flow`, whose local address is its."""
        now = self._monotonic()
        self._engine.receive_forwarded(data, flow, now)
        self._pump(now)

    def undelivered(self, flow: Flow, token: object) -> None:
        """Another node could not send over `flow` what `token` was given for."""
        now = self._monotonic()
        self._engine.transport_failed(flow, token, now)
        self._pump(now)

    def reload_tls(self) -> None:
        """Read the certificates again, for new connections. Raises OSError and changes nothing."""
        if self._tls is not None:
            self._tls.reload()
            log.info("certificates reloaded")

    def statistics(self) -> dict[str, int]:
        """Connections and look-ups now; drops and refusals, by reason, since the start."""
        return {
            "connections": len(self._streams),
            "resolving": self._resolving,
            "udp-dropped": sum(listener.dropped for listener in self._udp.values()),
            **self._streams.counters,
        }

    async def aclose(self) -> None:
        """Send what the engine still has, close all sockets, end the tasks. May be repeated."""
        if self._closed:
            return
        self._flush()
        self._closed = True
        for handle in (self._timer, self._sweep, self._flush_handle):
            if handle is not None:
                handle.cancel()
        for udp in self._udp.values():
            udp.close()
        for listener in self._listeners:
            listener.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._resolver.aclose()
        await self._streams.aclose()

    # ---- input

    def _receive_datagrams(self, batch: list[tuple[bytes, Flow]]) -> None:
        now = self._monotonic()
        receive = self._engine.receive_datagram
        for data, flow in batch:
            try:
                receive(data, flow, now)
            except Exception:
                # A defect of ours: it must not cost the rest of the batch.
                log.exception("a datagram of %s:%d could not be handled", *flow.remote)
        self._pump(now)

    def _flush(self) -> None:
        self._flush_handle = None
        self._pump(self._monotonic())

    def _on_timer(self) -> None:
        self._timer = None
        now = self._monotonic()
        try:
            self._engine.handle_timers(now)
        finally:
            self._pump(now)

    def _expire(self) -> None:
        self._streams.expire(self._monotonic())
        self._sweep = self._loop.call_later(self._limits.sweep_s, self._expire)

    # ---- pump

    def _pump(self, now: float) -> None:
        """Send and hand over until the engine has nothing more, then arm the timer."""
        if self._pumping or self._closed:
            return  # Fed from within a pump: the running one goes round once more.
        engine = self._engine
        self._pumping = True
        closing: list[CloseFlow] = []
        try:
            for _ in range(self._limits.pump_rounds):
                outputs = engine.outputs()
                for output in outputs:
                    if isinstance(output, CloseFlow):
                        # What came before the fault is answered by the events first.
                        closing.append(output)
                    else:
                        self._carry_out(output, now)
                events = engine.events()
                if events:
                    self._on_events(events, now)
                elif not outputs:
                    break
            else:
                # Something feeds on itself (a target that fails at once, again and again).
                self._flush_handle = self._loop.call_soon(self._flush)
            for output in closing:
                self._streams.close_flow(output.flow, now)
        finally:
            self._pumping = False
            self._arm(engine.next_timer(), now)

    def _carry_out(self, output: Transmit | Resolve | Forward | TargetFailed, now: float) -> None:
        if isinstance(output, Transmit):
            to = output.to
            if to.transport == "udp":
                self._send_datagram(to, output.data, output.token, now)
            elif isinstance(to, Flow) and is_elsewhere(to.local):
                if not self._send_elsewhere(to, output.data, output.token):
                    self._engine.transport_failed(to, output.token, now)
            else:
                self._streams.send(to, output.data, output.token, now)
        elif isinstance(output, Resolve):
            self._resolve(output, now)
        elif isinstance(output, TargetFailed):
            for_s = FAILED_S if output.for_s is None else min(output.for_s, FAILED_MAX_S)
            self._resolver.target_failed(output.target, now, for_s)
        elif self.peers is not None:
            self.peers.forward(output.node, output.flow, output.data)

    def _send_datagram(self, to: Flow | Target, data: bytes, token: object, now: float) -> None:
        flow = to if isinstance(to, Flow) else to.flow
        if flow is None or not (
            self._send_from(flow, data) or self._send_elsewhere(flow, data, token)
        ):
            self._engine.transport_failed(to, token, now)

    def _send_elsewhere(self, flow: Flow, data: bytes, token: object) -> bool:
        if self.peers is None or not is_elsewhere(flow.local):
            return False
        return self.peers.transmit(flow, data, token)

    def _send_from(self, flow: Flow, data: bytes) -> bool:
        listener = self._udp.get(flow.local)
        return listener is not None and listener.send(data, flow.remote)

    def _arm(self, deadline: float | None, now: float) -> None:
        """Arm the timer for `deadline`.

        A timer that fires too early costs one empty wake-up; moving it for every message would
        cost more. So it is moved only when the deadline comes nearer.
        """
        if deadline is None:
            return
        if self._timer is not None:
            if self._timer_at <= deadline:
                return
            self._timer.cancel()
        self._timer_at = deadline
        self._timer = self._loop.call_later(max(0.0, deadline - now), self._on_timer)

    # ---- tasks

    def _resolve(self, output: Resolve, now: float) -> None:
        targets = self._resolver.locate_nowait(output.uri, output.transport, self._reach, now)
        if targets is None and self._resolving < self._limits.resolve_queries:
            self._resolving += 1
            self._spawn(self._resolve_slowly(output))
        else:
            self._engine.resolved(output.query, targets or [], now)

    async def _resolve_slowly(self, output: Resolve) -> None:
        try:
            targets = await self._resolver.locate(
                output.uri, output.transport, self._reach, self._monotonic
            )
        finally:
            self._resolving -= 1
        now = self._monotonic()
        self._engine.resolved(output.query, targets, now)
        self._pump(now)

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._loop.call_exception_handler(
                {"message": "a task of the SIP endpoint failed", "exception": error, "task": task}
            )
