"""The NG service: requests in, replies and events out. Sans-I/O over a relay and port pools.

Fed by ``media.server.front`` (datagrams) or directly by a simulator; drives ``exchange``. The
process around it is ``media.server.run``.

The user calls :meth:`NgService.handle` for requests, :meth:`NgService.relay_ready` when the
relay's ``fileno()`` is readable, :meth:`NgService.handle_timers` at :meth:`NgService.next_timer`,
and takes :meth:`NgService.events` after each.

Life of a call: an offer makes it. It ends by ``delete``, when no media came for 60 s (3600 s while
a party holds), 3600 s after an offer that nobody answered, or when the signalling process that
made it has restarted (``hello`` with another epoch).
"""

from __future__ import annotations

import heapq
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from media.errors import MediaError, NgRequestError
from media.native.relay import Locked, Rebound, Relay, RelayEvent
from media.ng.messages import Message
from media.server.addresses import Interface, Network
from media.server.calls import Call, Party, Side
from media.server.exchange import Exchange, Rewritten
from media.server.options import ExchangeOptions, identifier, number, words
from media.server.ports import QUARANTINE_S, PortPool, Rng
from media.server.report import Report

if TYPE_CHECKING:
    # Loaded with numpy when the first party is hosted, never by a service that only relays.
    from media.server.audio import AudioService

    MakeAudio = Callable[[Relay, Exchange, Rng], AudioService]

#: Requests about parties that are hosted here (``docs/ng-extensions.md``).
AUDIO_COMMANDS: Final = (
    "play",
    "stop",
    "record",
    "dtmf",
    "digit",
    "conference",
    "echo",
    "position",
)

#: A signalling process introduces itself by name; a cluster has few nodes.
MAX_NODES: Final = 64
#: Events not yet taken by the shell; a subscriber that missed some still gets its calls' figures
#: by ``query``.
MAX_EVENTS: Final = 10_000
#: Calls looked at in one wake, so that ten thousand that expire together do not stop requests.
TIMER_BATCH: Final = 64
#: Figures of calls that timed out, for the ``delete`` that crosses the event on its way.
MAX_LAST_WORDS: Final = 1024
#: rtpengine's default for ``list``.
LIST_LIMIT: Final = 32


@dataclass(frozen=True, slots=True)
class ServiceConfig:
    """Settings of the service."""

    interfaces: tuple[Interface, ...]
    """The first is the default."""
    port_min: int = 10_000
    port_max: int = 20_000
    quarantine_s: float = QUARANTINE_S
    media_timeout_s: float = 60.0
    """Without a packet from anybody, while both sides may send."""
    hold_timeout_s: float = 3600.0
    """The same while a party holds, where silence is usual."""
    offer_timeout_s: float = 3600.0
    """Of an offer without an answer; signalling normally ends it long before."""
    max_calls: int = 10_000
    """Four sockets each; more than the default port range can carry."""
    internal: tuple[Network, ...] = ()
    """Public networks of our own that outside peers may not point media at."""


@dataclass(frozen=True, slots=True)
class ServiceEvent:
    """Something to tell the signalling process ``node``; ``data`` is an NG dictionary."""

    node: str
    data: Message


class NgService:
    """All calls of one media process."""

    def __init__(
        self,
        config: ServiceConfig,
        relay: Relay,
        rng: Rng,
        *,
        wall_offset_s: float = 0.0,
        make_audio: MakeAudio | None = None,
    ) -> None:
        """``wall_offset_s``: Unix time minus the clock that ``now`` is read from.

        ``make_audio``: called when the first party is to be hosted; a service that only relays
        never loads what the audio path needs. None: hosting is refused.
        """
        self._config = config
        self._relay = relay
        self._wall_offset_s = wall_offset_s
        self._started: float | None = None
        self.instance = f"{rng.getrandbits(64):016x}"
        """Another one after each start: tells clients that their calls are gone."""
        self.pools: dict[str, PortPool] = {}
        for interface in config.interfaces:
            for host in (interface.ip4, interface.ip6):
                if host and host not in self.pools:
                    self.pools[host] = PortPool(
                        host, config.port_min, config.port_max, rng, config.quarantine_s
                    )
        self._exchange = Exchange(
            relay,
            rng,
            config.interfaces,
            self.pools,
            internal=config.internal,
        )
        self._calls: dict[str, Call] = {}
        self._due: list[tuple[float, int, Call]] = []
        self._serial = 0
        self._epochs: dict[str, str] = {}
        self._events: list[ServiceEvent] = []
        self._last_words: OrderedDict[str, Message] = OrderedDict()
        self._counters: Counter[str] = Counter()
        self._make_audio = make_audio
        self._rng = rng
        self.audio: AudioService | None = None
        """The audio path, once it was needed."""
        self._commands: Final[dict[str, Callable[[Message, float, str], Message]]] = {
            "ping": self._ping,
            "offer": self._offer,
            "answer": self._answer,
            "delete": self._delete,
            "query": self._query,
            "list": self._list,
            "statistics": self._statistics,
            "hello": self._hello,
            "reset": self._reset,
            "serve": self._serve,
            "create": self._create,
            "create answer": self._create_answer,
            **dict.fromkeys(AUDIO_COMMANDS, self._about_audio),
        }

    # -- requests ---------------------------------------------------------------------------

    def handle(self, message: Mapping[str, Any], now: float, node: str = "") -> Message:
        """Carry a request out and return the reply; never raises for what the message says.

        ``node``: the name under which the sender said ``hello``; its calls are deleted when it
        restarts.
        """
        if self._started is None:
            self._started = now
        request = dict(message)
        command = request.get("command")
        run = self._commands.get(command) if isinstance(command, str) else None
        try:
            if run is None:
                raise NgRequestError("Unrecognized command")
            self._counters[f"{command}count"] += 1
            return run(request, now, node)
        except MediaError as error:
            self._counters["errorcount"] += 1
            return {"result": "error", "error-reason": str(error)}

    def _ping(self, _message: Message, _now: float, _node: str) -> Message:
        return {"result": "pong"}

    def _offer(self, message: Message, now: float, node: str) -> Message:
        text = _sdp(message)
        call_id, from_tag = _required(message, "call-id"), _required(message, "from-tag")
        options = ExchangeOptions(message)
        call = self._calls.get(call_id)
        if call is None:
            if len(self._calls) >= self._config.max_calls:
                self._counters["rejectedsessions"] += 1
                if "load-limit" in words(message, "supports"):
                    return {"result": "load limit"}
                raise NgRequestError("Too many calls")
            call = Call(call_id, node, now)
        party = call.offerer(from_tag, identifier(message, "to-tag"), now)
        try:
            rewritten = self._exchange.offer(call, party, text, options, now)
        except MediaError:
            if call.offer is None:
                self._counters["rejectedsessions"] += 1
            raise
        call.join(party)
        if call_id not in self._calls:
            self._calls[call_id] = call
            self._last_words.pop(call_id, None)
            self._counters["managedsessions"] += 1
        call.last_signal = now
        call.delete_at = None
        self._schedule(call, now + self._timeout(call))
        return _reply(rewritten)

    def _answer(self, message: Message, now: float, _node: str) -> Message:
        text = _sdp(message)
        call = self._find(message)
        from_tag, to_tag = _required(message, "from-tag"), _required(message, "to-tag")
        options = ExchangeOptions(message)
        party = call.answerer(from_tag, to_tag, now)
        rewritten = self._exchange.answer(call, party, text, options, now)
        call.join(party)
        call.last_signal = now
        self._schedule(call, now + self._timeout(call))
        return _reply(rewritten)

    def _delete(self, message: Message, now: float, _node: str) -> Message:
        call_id = _required(message, "call-id")
        call = self._calls.get(call_id)
        from_tag, to_tag = identifier(message, "from-tag"), identifier(message, "to-tag")
        tags = {from_tag, to_tag} - {""}
        if call is None and call_id in self._last_words:
            return {**self._last_words.pop(call_id), "warning": "The call had timed out"}
        if call is None or (tags and tags.isdisjoint(call.parties)):
            reason = "Call-ID not found or tags didn't match"
            if "fatal" in words(message, "flags"):
                raise NgRequestError(reason)
            return {"result": "ok", "warning": reason}
        reply = self._report(call, now)
        branch = call.parties.get(to_tag)
        delay_s = number(message, "delete-delay", 0)
        if branch is not None and branch.side.current not in (branch, None):
            del call.parties[to_tag]  # a branch that another one had overtaken
        elif delay_s > 0:
            call.delete_at = now + delay_s
            self._schedule(call, call.delete_at)
        else:
            self._remove(call, now)
            self._counters["regularterminatedsessions"] += 1
        return reply

    def _query(self, message: Message, now: float, _node: str) -> Message:
        return self._report(self._find(message), now)

    def _list(self, message: Message, _now: float, _node: str) -> Message:
        limit = max(0, number(message, "limit", LIST_LIMIT))
        return {
            "calls": [call_id for call_id, _ in zip(self._calls, range(limit), strict=False)],
            "result": "ok",
        }

    def _statistics(self, _message: Message, now: float, _node: str) -> Message:
        return {"statistics": self.statistics(now), "result": "ok"}

    def _hello(self, message: Message, now: float, _node: str) -> Message:
        """Extension: a signalling process introduces itself; calls of its former life end."""
        node, epoch = _required(message, "node"), _required(message, "epoch")
        deleted = 0
        if self._epochs.get(node, epoch) != epoch:
            deleted = self._remove_all(node, now)
        elif node not in self._epochs and len(self._epochs) >= MAX_NODES:
            raise NgRequestError("Too many nodes")
        self._epochs[node] = epoch
        return {"result": "ok", "instance": self.instance, "deleted": deleted}

    def _reset(self, message: Message, now: float, _node: str) -> Message:
        """Extension: delete all calls of a node."""
        node = _required(message, "node")
        self._epochs.pop(node, None)
        return {"result": "ok", "deleted": self._remove_all(node, now)}

    # -- hosted parties ---------------------------------------------------------------------

    def _serve(self, message: Message, now: float, node: str) -> Message:
        """Extension: a party offers, and this service itself is the other party."""
        _sdp(message)
        call, party = self._hosted(message, now, node)
        reply = self._audio().serve(call, party, message, now)
        call.answered = True
        self._keep_hosted(call, party, now)
        return reply

    def _create(self, message: Message, now: float, node: str) -> Message:
        """Extension: an offer of ours, to a new party or to one that is hosted."""
        call, party = self._hosted(message, now, node)
        reply = self._audio().create(call, party, message, now)
        self._keep_hosted(call, party, now)
        return reply

    def _create_answer(self, message: Message, now: float, _node: str) -> Message:
        _sdp(message)
        call = self._find(message)
        party = call.parties.get(_required(message, "from-tag"))
        if party is None:
            raise NgRequestError("No offer of ours to answer")
        reply = self._audio().accept(call, party, message, now)
        call.answered = call.answered or "provisional" not in words(message, "flags")
        self._keep_hosted(call, party, now)
        return reply

    def _about_audio(self, message: Message, _now: float, _node: str) -> Message:
        if self.audio is None:
            raise NgRequestError("Unknown call-id")
        return self.audio.handle(str(message["command"]).replace(" ", "-"), message)

    def _hosted(self, message: Message, now: float, node: str) -> tuple[Call, Party]:
        """The call of a hosted party, or a new one that :meth:`_keep_hosted` enters."""
        call_id, tag = _required(message, "call-id"), _required(message, "from-tag")
        call = self._calls.get(call_id)
        if call is None:
            if len(self._calls) >= self._config.max_calls:
                self._counters["rejectedsessions"] += 1
                raise NgRequestError("Too many calls")
            call = Call(call_id, node, now)
            return call, Party(tag, call.sides[0], now)
        party = call.parties.get(tag)
        if party is None or call.offer is not None:
            raise NgRequestError("the call-id is of another call")
        return call, party

    def _keep_hosted(self, call: Call, party: Party, now: float) -> None:
        call.join(party)
        party.side.take_over(party, self._relay)
        if call.call_id not in self._calls:
            self._calls[call.call_id] = call
            self._last_words.pop(call.call_id, None)
            self._counters["managedsessions"] += 1
        call.last_signal = now
        self._schedule(call, now + self._timeout(call))

    def _audio(self) -> AudioService:
        if self.audio is None:
            if self._make_audio is None:
                raise NgRequestError("This service only relays")
            self.audio = self._make_audio(self._relay, self._exchange, self._rng)
        return self.audio

    def tick(self, now: float) -> None:
        """20 ms of the audio path; call it when ``audio.pacer.due`` is reached."""
        if self.audio is not None:
            self.audio.tick(now)
            self._tell_audio()

    def _tell_audio(self) -> None:
        if self.audio is None:
            return
        for call, _tag, data in self.audio.events():
            if call is not None:
                self._tell(call, data)

    # -- timers and events ------------------------------------------------------------------

    def next_timer(self) -> float | None:
        """When :meth:`handle_timers` wants to be called."""
        while self._due and not self._is_waiting(*self._due[0]):
            heapq.heappop(self._due)
        return self._due[0][0] if self._due else None

    def handle_timers(self, now: float) -> None:
        """Look at calls that are due; a bounded number, the next ones stay due."""
        for _ in range(TIMER_BATCH):
            if not self._due or self._due[0][0] > now:
                return
            entry = heapq.heappop(self._due)
            if self._is_waiting(*entry):
                self._look_at(entry[2], now)

    def relay_ready(self, _now: float) -> None:
        """Take the relay's events; they become events for the node of their call."""
        for event in self._relay.events():
            owner = self._exchange.owners.get(event.handle)
            if owner is not None:
                call, side = owner
                self._tell(call, _of_relay(event, call, side))

    def events(self) -> list[ServiceEvent]:
        """What happened since the last call."""
        self._tell_audio()
        events, self._events = self._events, []
        return events

    @property
    def call_count(self) -> int:
        """Running calls."""
        return len(self._calls)

    # -- figures ----------------------------------------------------------------------------

    def statistics(self, now: float) -> Message:
        """Figures of the process, in rtpengine's shape where it has them."""
        counters = self._counters
        started = now if self._started is None else self._started
        total = {
            name: counters[name]
            for name in (
                "managedsessions",
                "rejectedsessions",
                "timeoutsessions",
                "silenttimeoutsessions",
                "offertimeoutsessions",
                "regularterminatedsessions",
                "forcedterminatedsessions",
            )
        }
        commands = {f"total{name}count": counters[f"{name}count"] for name in self._commands}
        return {
            "currentstatistics": {
                "sessionsown": len(self._calls),
                "sessionsforeign": 0,
                "sessionstotal": len(self._calls),
                "streams": len(self._exchange.owners),
                "nodes": len(self._epochs),
            },
            "totalstatistics": {
                "uptime": str(int(now - started)),
                **total,
                "refusedaddresses": self._exchange.paths.refused_addresses,
                "lostevents": counters["lostevents"],
            },
            "controlstatistics": {**commands, "errorcount": counters["errorcount"]},
            **({} if self.audio is None else {"audio": self.audio.statistics()}),
            "interfaces": [
                {"address": host, "ports": pool.statistics()} for host, pool in self.pools.items()
            ],
        }

    # -- inside -----------------------------------------------------------------------------

    def _find(self, message: Message) -> Call:
        call = self._calls.get(_required(message, "call-id"))
        if call is None:
            raise NgRequestError("Unknown call-id")
        return call

    def _report(self, call: Call, now: float) -> Message:
        report = Report(call, self._relay, now, self._wall_offset_s)
        return {**report.message(), "result": "ok"}

    def _is_waiting(self, due: float, _serial: int, call: Call) -> bool:
        """Whether a timer entry still counts: calls end, and get nearer ones."""
        return call.due == due and self._calls.get(call.call_id) is call

    def _schedule(self, call: Call, due: float) -> None:
        """Look at the call no later than ``due``; only a nearer time costs an entry."""
        if call.delete_at is not None:
            due = min(due, call.delete_at)
        if due < call.due or call.due <= call.created:
            call.due = due
            self._serial += 1
            heapq.heappush(self._due, (due, self._serial, call))

    def _timeout(self, call: Call) -> float:
        config = self._config
        if not call.answered:
            return config.offer_timeout_s
        return config.hold_timeout_s if call.is_held else config.media_timeout_s

    def _look_at(self, call: Call, now: float) -> None:
        """A call is due: end it, or find out when to look again."""
        call.due = call.created  # no entry waits
        if call.delete_at is not None and now >= call.delete_at:
            self._remove(call, now)
            self._counters["regularterminatedsessions"] += 1
            return
        if call.answered:
            for face in call.faces():
                if face.is_rejected:
                    self._exchange.release(face, now)
        expires = self._last_life(call, now) + self._timeout(call)
        if expires > now:
            self._schedule(call, expires)
            return
        if not call.answered:
            event, counter = "offer-timeout", "offertimeoutsessions"
        elif call.is_held:
            event, counter = "media-timeout", "silenttimeoutsessions"
        else:
            event, counter = "media-timeout", "timeoutsessions"
        self._counters[counter] += 1
        last_words = self._report(call, now)
        self._tell(call, {"event": event, **last_words})
        self._last_words[call.call_id] = last_words
        if len(self._last_words) > MAX_LAST_WORDS:
            self._last_words.popitem(last=False)
        self._remove(call, now)

    def _last_life(self, call: Call, now: float) -> float:
        """When a request or a media packet of this call came last."""
        last = call.last_signal
        for face in call.faces():
            if face.pair is not None:
                age_s = self._relay.stats(face.pair.rtp).last_packet_age_s
                if age_s is not None:
                    last = max(last, now - age_s)
        return last

    def _remove_all(self, node: str, now: float) -> int:
        calls = [call for call in self._calls.values() if call.owner == node]
        for call in calls:
            self._remove(call, now)
        self._counters["forcedterminatedsessions"] += len(calls)
        return len(calls)

    def _remove(self, call: Call, now: float) -> None:
        del self._calls[call.call_id]
        if self.audio is not None:
            self.audio.removed(call)
        for face in call.faces():
            self._exchange.release(face, now)
        if len(self._due) > 64 and len(self._due) > 4 * len(self._calls):
            self._due = [entry for entry in self._due if self._is_waiting(*entry)]
            heapq.heapify(self._due)

    def _tell(self, call: Call, data: Message) -> None:
        if len(self._events) >= MAX_EVENTS:
            self._counters["lostevents"] += 1
            return
        data["call-id"] = call.call_id
        self._events.append(ServiceEvent(call.owner, data))


def _of_relay(event: RelayEvent, call: Call, side: Side) -> Message:
    host, port = event.address
    data: Message = {"address": host, "port": port}
    if side.current is not None:
        data["tag"] = side.current.tag
    if isinstance(event, Locked):
        data["event"] = "locked"
    elif isinstance(event, Rebound):
        data["event"] = "rebound"
        data["old-address"], data["old-port"] = event.old
    else:
        data["event"] = "source-alarm"
        data["dropped"] = event.dropped
    return data


def _reply(rewritten: Rewritten) -> Message:
    reply: Message = {"result": "ok", "sdp": rewritten.sdp}
    if rewritten.warning:
        reply["warning"] = rewritten.warning
    return reply


def _required(message: Message, key: str) -> str:
    value = identifier(message, key)
    if not value:
        raise NgRequestError(f"No {key} in message")
    return value


def _sdp(message: Message) -> str:
    value = message.get("sdp")
    if not isinstance(value, str) or not value:
        raise NgRequestError("No SDP body in message")
    return value
