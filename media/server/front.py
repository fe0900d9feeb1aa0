"""NG datagrams to requests and back: cookies, encodings, subscribers. Sans-I/O.

Fed by ``media.server.shell`` with datagrams of any listener; calls ``NgService.handle``.

A request that comes again with the cookie of one that was answered gets the same bytes again and
is not carried out twice; without it a lost reply would open ports twice.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Final, NamedTuple

from media.errors import NgSyntaxError
from media.ng.messages import Encoding, Message, decode, encode
from media.server.service import NgService

#: Clients give up after 3 s (ours) or some seconds (Kamailio: 1 s and 5 tries).
COOKIE_LIFE_S: Final = 10.0
#: At 1 KB a reply this is 16 MB in the worst case, and 1,600 requests/s before it cuts the life.
MAX_COOKIES: Final = 16_384

Peer = Hashable
"""What a listener knows its clients by: an address with the listener's own key."""


class Outgoing(NamedTuple):
    """A datagram to send."""

    peer: Peer
    data: bytes


class _Cached(NamedTuple):
    expires: float
    reply: bytes


class NgFront:
    """All clients of one service."""

    def __init__(self, service: NgService) -> None:
        self._service = service
        self._cookies: OrderedDict[tuple[Peer, str], _Cached] = OrderedDict()
        self._nodes: dict[Peer, str] = {}
        self._subscribers: dict[str, Peer] = {}
        self._event_serial = 0
        self.malformed = 0
        """Datagrams that were not NG."""
        self.repeated = 0
        """Requests answered from memory."""

    def receive(
        self, datagram: bytes, peer: Peer, now: float, *, subscribable: bool
    ) -> bytes | None:
        """Return the reply to send to ``peer``, if any.

        ``subscribable``: whether this listener's clients may get events (Unix sockets; the
        address of a UDP datagram proves nothing).
        """
        try:
            cookie, message, encoding = decode(datagram)
        except NgSyntaxError as error:
            self.malformed += 1
            if not error.cookie:
                return None
            refusal: Message = {"result": "error", "error-reason": str(error)}
            return encode(error.cookie, refusal, Encoding.BENCODE)
        key = (peer, cookie)
        cached = self._cookies.get(key)
        if cached is not None and cached.expires > now:
            self.repeated += 1
            return cached.reply
        if message.get("command") == "hello" and not subscribable:
            reply: Message = {"result": "error", "error-reason": "Events need a Unix socket"}
        else:
            reply = self._service.handle(message, now, self._nodes.get(peer, ""))
            if message.get("command") == "hello" and reply["result"] == "ok":
                self._subscribe(str(message["node"]), peer)
        data = encode(cookie, reply, encoding)
        self._remember(key, data, now)
        return data

    def events(self) -> list[Outgoing]:
        """Event datagrams for those who subscribed; others' are dropped."""
        outgoing: list[Outgoing] = []
        for event in self._service.events():
            peer = self._subscribers.get(event.node)
            if peer is not None:
                self._event_serial += 1
                data = {"command": "event", **event.data}
                outgoing.append(Outgoing(peer, encode(f"event-{self._event_serial}", data)))
        return outgoing

    def peer_gone(self, peer: Peer) -> None:
        """A subscriber's socket does not exist any more; its calls stay until it says hello."""
        node = self._nodes.pop(peer, None)
        if node is not None and self._subscribers.get(node) == peer:
            del self._subscribers[node]

    def statistics(self) -> dict[str, int]:
        """Counters and sizes."""
        return {
            "malformed": self.malformed,
            "repeated": self.repeated,
            "cookies": len(self._cookies),
            "subscribers": len(self._subscribers),
        }

    def _subscribe(self, node: str, peer: Peer) -> None:
        """One peer a node: the last that said hello (the one before was its former life)."""
        before = self._subscribers.get(node)
        if before is not None and before != peer:
            self._nodes.pop(before, None)
        former = self._nodes.get(peer)
        if former is not None and former != node:
            self._subscribers.pop(former, None)
        self._subscribers[node] = peer
        self._nodes[peer] = node

    def _remember(self, key: tuple[Peer, str], reply: bytes, now: float) -> None:
        cookies = self._cookies
        while cookies:
            oldest = next(iter(cookies.values()))
            if oldest.expires > now and len(cookies) < MAX_COOKIES:
                break
            cookies.popitem(last=False)
        cookies.pop(key, None)
        cookies[key] = _Cached(now + COOKIE_LIFE_S, reply)
