"""The media service behind its NG protocol, and what to do without one.

:class:`NgMedia` turns offers, answers and releases of bridges into NG requests; it is sans-I/O:
the shell hands datagrams in with :meth:`NgMedia.receive` and gets them out through `send`.
:class:`NoMedia` leaves descriptions as they are (``media.engine = "off"``): phones then talk
directly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from media.errors import NgBusy
from media.ng import messages
from media.ng.client import NgClient, NgReply
from media.ng.figures import LegMedia, leg_media
from pbx.calls.ports import MediaParty, MediaReply

#: Distance of pings; three lost ones mark the service as away and new calls get 503.
PING_S: Final = 2.0
_AWAY_AFTER: Final = 3
#: A foreign engine does not report that it gave a session up: each is asked after so often.
_QUERY_EVERY_S: Final = 30.0


_Replied = Callable[[NgReply, float], None]


class NgMedia:
    """Implements ``MediaPort`` over one NG client."""

    def __init__(
        self,
        name: str,
        prefix: str,
        send: Callable[[bytes], None],
        *,
        node: str = "",
        epoch: str = "",
        on_timeout: Callable[[str, float], None] | None = None,
        on_restarted: Callable[[float], None] | None = None,
        on_sound: Callable[[Mapping[str, Any], float], None] | None = None,
    ) -> None:
        """`name` appears in the log; `prefix` makes cookies unique; `send` sends a datagram.

        `node` and `epoch` announce us to our own service, which then reports media time-outs
        and drops calls of an earlier run. `on_timeout(session, now)` gets those reports,
        `on_restarted(now)` that the service lost all sessions, `on_sound(event, now)` what happens
        to parties that the service hosts. A foreign engine reports nothing:
        its sessions are asked after in turn.
        """
        self.name = name
        self._send = send
        self._node = node
        self._epoch = epoch
        self._on_timeout = on_timeout
        self._on_restarted = on_restarted
        self._on_sound = on_sound
        self._instance = ""
        self._foreign = not node
        self._open: dict[str, float] = {}
        """Sessions of a foreign engine and when they were last known to be there, oldest first."""
        self._client = NgClient(prefix, on_event=self._event)
        self._sessions: dict[str, list[tuple[dict[str, Any], _Replied]]] = {}
        """Sessions with a request under way, and the requests that wait behind it."""
        self._now = 0.0
        self._missed = 0
        self.answered = False
        """Whether the service has ever answered."""
        self._ping_due: float | None = None

    # The shell's side.

    def start(self, now: float) -> None:
        """Say hello and begin to ping."""
        self._ping_due = now
        self.handle_timers(now)

    @property
    def available(self) -> bool:
        """Whether the service answered lately."""
        return self._missed < _AWAY_AFTER

    def receive(self, datagram: bytes, now: float) -> None:
        """A datagram of the service."""
        self._now = now
        self._client.receive(datagram)

    def next_timer(self) -> float | None:
        """When :meth:`handle_timers` is due."""
        due = self._client.next_timer()
        if self._ping_due is None:
            return due
        return self._ping_due if due is None or self._ping_due < due else due

    def handle_timers(self, now: float) -> None:
        """Repeat and give up requests; ping."""
        self._now = now
        for datagram in self._client.handle_timers(now):
            self._send(datagram)
        if self._ping_due is not None and self._ping_due <= now:
            self._ping_due = now + PING_S
            # hello doubles as ping: after a restart of the service it subscribes us again.
            hello = messages.hello(self._node, self._epoch) if self._node else messages.ping()
            self._request(hello, now, self._ponged)
            if self._foreign:
                self._ask_after(now)

    def statistics(self) -> dict[str, int]:
        """Counters of the client."""
        return self._client.statistics()

    def _ponged(self, reply: NgReply, now: float) -> None:
        if reply.is_local:
            self._missed += 1
            return
        self._missed = 0
        self.answered = True
        if messages.is_unknown_command(reply.data):
            self._node = ""  # a foreign engine: it knows only ping
            self._foreign = True
            return
        instance = str(reply.data.get("instance", ""))
        known, self._instance = self._instance, instance
        if known and known != instance and self._on_restarted is not None:
            self._on_restarted(now)

    def _ask_after(self, now: float) -> None:
        """Query the sessions that were not heard of for long; an unknown one has timed out."""
        for session, heard_at in list(self._open.items()):
            if now - heard_at < _QUERY_EVERY_S:
                return
            del self._open[session]
            self._open[session] = now
            if session not in self._sessions:
                self._ask(session, messages.query(session), now, partial(self._queried, session))

    def _queried(self, session: str, reply: NgReply, now: float) -> None:
        if reply.ok or reply.is_local or session not in self._open:
            return
        del self._open[session]
        if self._on_timeout is not None:
            self._on_timeout(session, now)

    def _event(self, event: dict[str, Any]) -> None:
        if event.get("event") == "media-timeout" and self._on_timeout is not None:
            self._on_timeout(str(event.get("call-id", "")), self._now)
        elif self._on_sound is not None:
            self._on_sound(event, self._now)

    def _request(
        self, message: dict[str, Any], now: float, done: Callable[[NgReply, float], None]
    ) -> None:
        try:
            datagram = self._client.request(message, now, lambda reply: done(reply, self._now))
        except NgBusy as busy:
            done(NgReply({}, str(busy)), now)
            return
        self._send(datagram)

    def _ask(self, session: str, message: dict[str, Any], now: float, done: _Replied) -> None:
        """One request of a session at a time: the repetition of a lost offer must not arrive
        after the delete, or the session would stay behind with its ports."""
        waiting = self._sessions.get(session)
        if waiting is not None:
            waiting.append((message, done))
            return
        self._sessions[session] = []
        self._run(session, message, now, done)

    def _run(self, session: str, message: dict[str, Any], now: float, done: _Replied) -> None:
        def replied(reply: NgReply, later: float) -> None:
            done(reply, later)
            waiting = self._sessions[session]
            if waiting:
                message, done_next = waiting.pop(0)
                self._run(session, message, later, done_next)
            else:
                del self._sessions[session]

        self._request(message, now, replied)

    @property
    def hosts(self) -> bool:
        """Whether parties can be hosted: our own service does, others do not."""
        return not self._foreign

    def host(
        self,
        session: str,
        message: dict[str, Any],
        now: float,
        done: Callable[[NgReply, float], None],
    ) -> None:
        """A request about a party that the service hosts, in order with others of its session."""
        self._ask(session, message, now, done)

    # MediaPort.

    def offer(
        self,
        session: str,
        offerer: MediaParty,
        answerer: MediaParty | None,
        sdp: bytes,
        now: float,
        done: Callable[[MediaReply, float], None],
    ) -> None:
        message = messages.offer(
            session,
            offerer.tag,
            sdp,
            to_tag=answerer.tag if answerer is not None else "",
            received_from=offerer.source,
            rtcp_mux=("demux",),
            origin_key=answerer.tag if answerer is not None else "",
        )
        if self._foreign:
            self._open.setdefault(session, now)
        self._ask(session, message, now, lambda reply, later: done(_reply(reply), later))

    def answer(
        self,
        session: str,
        offerer: MediaParty,
        answerer: MediaParty,
        sdp: bytes,
        now: float,
        done: Callable[[MediaReply, float], None],
        *,
        early: bool = False,
    ) -> None:
        message = messages.answer(
            session,
            offerer.tag,
            answerer.tag,
            sdp,
            received_from=answerer.source,
            origin_key=offerer.tag,
            provisional=early,
        )
        self._ask(session, message, now, lambda reply, later: done(_reply(reply), later))

    def delete(
        self,
        session: str,
        offerer_tag: str,
        now: float,
        done: Callable[[Mapping[str, LegMedia], float], None],
    ) -> None:
        self._open.pop(session, None)

        def deleted(reply: NgReply, later: float) -> None:
            done(_figures(reply), later)

        self._ask(session, messages.delete(session, offerer_tag), now, deleted)


def _reply(reply: NgReply) -> MediaReply:
    return MediaReply(reply.sdp, reply.error, reply.is_capacity if reply.error else False)


def _figures(reply: NgReply) -> Mapping[str, LegMedia]:
    tags = reply.data.get("tags")
    if not isinstance(tags, dict):
        return {}
    return {tag: leg_media(reply.data, tag) for tag in tags}


class NoMedia:
    """``media.engine = "off"``: descriptions pass untouched, nothing is relayed or counted.

    The one ``MediaPort`` that replies before it returns.
    """

    name = "off"
    available = True

    def offer(
        self,
        session: str,
        offerer: MediaParty,
        answerer: MediaParty | None,
        sdp: bytes,
        now: float,
        done: Callable[[MediaReply, float], None],
    ) -> None:
        done(MediaReply(sdp), now)

    def answer(
        self,
        session: str,
        offerer: MediaParty,
        answerer: MediaParty,
        sdp: bytes,
        now: float,
        done: Callable[[MediaReply, float], None],
        *,
        early: bool = False,
    ) -> None:
        done(MediaReply(sdp), now)

    def delete(
        self,
        session: str,
        offerer_tag: str,
        now: float,
        done: Callable[[Mapping[str, LegMedia], float], None],
    ) -> None:
        done({}, now)
