"""Client side of NG without I/O: requests out, replies and events in, retransmission.

Fed by ``pbx.signal`` with the datagrams of the engine's socket and with time; call control gives
it requests. It works against our service and against rtpengine, which both keep the reply of a
cookie for some seconds, so a repeated request is not carried out twice.

Timers: a request is repeated every 0.5 s and given up after 3 s. A Unix socket loses nothing, but
a restarted engine has lost what was in its queue.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final

from media.errors import NgBusy, NgSyntaxError
from media.ng.messages import Encoding, Message, body_of, decode, encode

RETRANSMIT_S: Final = 0.5
FAIL_AFTER_S: Final = 3.0
#: One request per call is running at a time, so this is thousands of calls being set up at once;
#: more means that the engine is gone, and new calls are better refused at once.
MAX_OUTSTANDING: Final = 4096

#: What engines say when they are full: ours (the first two), rtpengine, and any (``supports``).
CAPACITY_ERRORS: Final = frozenset(
    (
        "no ports",
        "Too many calls",
        "Ran out of ports",
        "Parallel session limit reached",
        "load limit",
    )
)
TIMEOUT: Final = "no reply from the media engine"
DISCONNECTED: Final = "the media engine went away"


class NgReply:
    """Outcome of a request. ``error`` is empty when the engine did what was asked."""

    __slots__ = ("data", "error")

    def __init__(self, data: Message, error: str = "") -> None:
        self.data = data
        self.error = error

    def __repr__(self) -> str:
        return f"NgReply({'ok' if self.ok else self.error!r})"

    @property
    def ok(self) -> bool:
        return not self.error

    @property
    def sdp(self) -> bytes:
        """The rewritten description; empty if the reply has none."""
        text = self.data.get("sdp")
        return body_of(text) if isinstance(text, str) else b""

    @property
    def warning(self) -> str:
        return str(self.data.get("warning", ""))

    @property
    def is_capacity(self) -> bool:
        """Whether the engine is full or away: the call is refused with 503, not for its SDP."""
        return self.is_local or self.error in CAPACITY_ERRORS

    @property
    def is_local(self) -> bool:
        """Whether the error was found here (time-out, engine gone) and not said by the engine."""
        return bool(self.error) and not self.data


Done = Callable[[NgReply], None]
OnEvent = Callable[[Message], None]


class _Request:
    __slots__ = ("datagram", "deadline", "done", "due")

    def __init__(self, datagram: bytes, now: float, done: Done) -> None:
        self.datagram = datagram
        self.done = done
        self.due = now + RETRANSMIT_S
        self.deadline = now + FAIL_AFTER_S


class NgClient:
    """One engine. The user sends every datagram returned and arms one timer."""

    def __init__(
        self,
        prefix: str,
        *,
        encoding: Encoding = Encoding.JSON,
        max_outstanding: int = MAX_OUTSTANDING,
        on_event: OnEvent | None = None,
    ) -> None:
        """``prefix`` makes cookies unique among all clients and restarts: give random letters.

        ``on_event`` gets the events that our service sends unasked, without ``command``.
        """
        self._prefix = prefix
        self._encoding = encoding
        self._max_outstanding = max_outstanding
        self._on_event = on_event
        self._serial = 0
        # Both are in order of due time: the interval is the same for all.
        self._waiting: OrderedDict[str, _Request] = OrderedDict()
        self._counters = dict.fromkeys(
            ("requests", "retransmissions", "timeouts", "errors", "events", "strays"), 0
        )

    def request(self, message: Mapping[str, Any], now: float, done: Done) -> bytes:
        """Return the datagram to send; ``done`` is called exactly once, never from here.

        Raises :class:`NgBusy` when too many requests wait (then ``done`` is not called).
        """
        if len(self._waiting) >= self._max_outstanding:
            raise NgBusy("too many requests wait for the media engine")
        self._serial += 1
        cookie = f"{self._prefix}{self._serial:x}"
        datagram = encode(cookie, dict(message), self._encoding)
        self._waiting[cookie] = _Request(datagram, now, done)
        self._counters["requests"] += 1
        return datagram

    def receive(self, datagram: bytes) -> None:
        """Take a datagram of the engine: calls one ``done`` or the event callback, or drops it."""
        try:
            cookie, data, _ = decode(datagram)
        except NgSyntaxError:
            self._counters["strays"] += 1
            return
        request = self._waiting.pop(cookie, None)
        if request is not None:
            error = _error_of(data)
            if error:
                self._counters["errors"] += 1
            request.done(NgReply(data, error))
        elif data.get("command") == "event" and self._on_event is not None:
            self._counters["events"] += 1
            del data["command"]
            self._on_event(data)
        else:  # the reply to a repeated request that was answered before
            self._counters["strays"] += 1

    def next_timer(self) -> float | None:
        """When :meth:`handle_timers` wants to be called."""
        for request in self._waiting.values():
            return request.due
        return None

    def handle_timers(self, now: float) -> list[bytes]:
        """Return requests to repeat; calls ``done`` of those that are given up."""
        again: list[bytes] = []
        failed: list[_Request] = []
        while self._waiting:
            cookie, request = next(iter(self._waiting.items()))
            if request.due > now:
                break
            if now >= request.deadline:
                del self._waiting[cookie]
                failed.append(request)
                continue
            request.due = min(now + RETRANSMIT_S, request.deadline)
            self._waiting.move_to_end(cookie)
            again.append(request.datagram)
        self._counters["retransmissions"] += len(again)
        self._counters["timeouts"] += len(failed)
        for request in failed:
            request.done(NgReply({}, TIMEOUT))
        return again

    def disconnected(self) -> None:
        """The engine is known to be gone: fail what waits."""
        waiting, self._waiting = self._waiting, OrderedDict()
        for request in waiting.values():
            request.done(NgReply({}, DISCONNECTED))

    def statistics(self) -> dict[str, int]:
        """Counters, and ``outstanding``, which returns to 0."""
        return {**self._counters, "outstanding": len(self._waiting)}


def _error_of(data: Message) -> str:
    result = data.get("result")
    if result in ("ok", "pong"):
        return ""
    return str(data.get("error-reason") or result or "malformed reply")
