"""Call control's side of the NG protocol: order, loss, restarts, foreign engines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from media.ng.figures import LegMedia
from media.ng.messages import decode, encode
from pbx.calls.media import PING_S, NgMedia, NoMedia
from pbx.calls.ports import MediaParty, MediaReply

A = MediaParty("a", "192.0.2.11", "192.0.2.1")
B = MediaParty("b", "192.0.2.12", "")


class Service:
    """Collects requests; the test answers them when it likes."""

    def __init__(self, node: str = "n1") -> None:
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.timeouts: list[str] = []
        self.restarts: list[float] = []
        self.replies: list[MediaReply] = []
        self.figures: list[Mapping[str, LegMedia]] = []
        self.media = NgMedia(
            "local",
            "t_",
            self._send,
            node=node,
            epoch="e",
            on_timeout=lambda session, now: self.timeouts.append(session),
            on_restarted=self.restarts.append,
        )

    def _send(self, datagram: bytes) -> None:
        message = decode(datagram)
        self.sent.append((message.cookie, message.data))

    def commands(self) -> list[str]:
        return [data["command"] for _, data in self.sent]

    def reply(self, now: float, **data: Any) -> None:
        """Answer the oldest request."""
        cookie, _ = self.sent.pop(0)
        self.media.receive(encode(cookie, {"result": "ok", **data}), now)

    def got(self, reply: MediaReply, now: float) -> None:
        self.replies.append(reply)


def away(media: NgMedia) -> bool:
    """Whether new calls are refused for want of media."""
    return not media.available


def test_requests_of_one_session_wait_for_each_other() -> None:
    """A repeated offer must not reach the service after the delete; sessions do not wait."""
    service = Service()
    service.media.offer("s1", A, None, b"v=0\r\n", 0.0, service.got)
    service.media.answer("s1", A, B, b"v=0\r\n", 0.0, service.got, early=True)
    service.media.delete("s1", "a", 0.0, lambda figures, now: service.figures.append(figures))
    service.media.offer("s2", A, B, b"v=0\r\n", 0.0, service.got)
    assert [data["call-id"] for _, data in service.sent] == ["s1", "s2"]
    service.reply(0.1, sdp="v=0\r\ns=1\r\n")
    assert service.commands() == ["offer", "answer"]
    assert "provisional" in service.sent[1][1]["flags"]
    service.reply(0.2, sdp="v=0\r\n")
    service.reply(0.3, sdp="v=0\r\ns=2\r\n")
    assert service.commands() == ["delete"]
    service.reply(0.4, tags={"a": {"medias": []}, "b": {"medias": []}})
    assert [reply.sdp for reply in service.replies] == [
        b"v=0\r\ns=1\r\n",
        b"v=0\r\n",
        b"v=0\r\ns=2\r\n",
    ]
    assert [set(figures) for figures in service.figures] == [{"a", "b"}]
    assert service.media.statistics()["outstanding"] == 0


def test_a_silent_service_is_away_and_comes_back() -> None:
    """Three lost pings mark it; a request then fails as full, not for its description."""
    service = Service()
    service.media.start(0.0)
    service.reply(0.0, instance="i1")
    assert not away(service.media)
    assert service.media.answered
    service.media.offer("s1", A, None, b"v=0\r\n", 0.0, service.got)
    now = 0.0
    while not away(service.media):
        due = service.media.next_timer()
        assert due is not None
        now = max(due, now)
        service.media.handle_timers(now)
    assert 3 * PING_S <= now < 6 * PING_S + 3
    assert service.replies[0].full
    service.sent = service.sent[-1:]
    service.reply(now, instance="i1")
    assert not away(service.media)
    assert service.restarts == []


def test_a_restarted_service_is_reported_once() -> None:
    """Its instance changes: every session is gone."""
    service = Service()
    service.media.start(0.0)
    service.reply(0.0, instance="i1")
    service.media.handle_timers(PING_S)
    service.reply(PING_S, instance="i2")
    service.media.handle_timers(2 * PING_S)
    service.reply(2 * PING_S, instance="i2")
    assert service.restarts == [PING_S]


def test_media_timeouts_are_reported_by_our_service() -> None:
    """As an event without a request; other events are not for call control."""
    service = Service()
    event = {"command": "event", "event": "media-timeout", "call-id": "s1"}
    service.media.receive(encode("e1", event), 0.0)
    service.media.receive(encode("e2", {**event, "event": "locked"}), 0.0)
    assert service.timeouts == ["s1"]


def test_sessions_of_a_foreign_engine_are_asked_after() -> None:
    """It reports nothing; an unknown session has timed out there."""
    service = Service(node="")
    service.media.start(0.0)
    assert service.commands() == ["ping"]
    service.reply(0.0)
    service.media.offer("s1", A, B, b"v=0\r\n", 0.0, service.got)
    service.reply(0.0, sdp="v=0\r\n")
    for step in range(1, 16):
        service.media.handle_timers(step * PING_S)
    queries = [data for _, data in service.sent if data["command"] == "query"]
    assert [query["call-id"] for query in queries] == ["s1"]
    service.sent = [sent for sent in service.sent if sent[1]["command"] == "query"]
    cookie, _ = service.sent.pop()
    service.media.receive(
        encode(cookie, {"result": "error", "error-reason": "Unknown call-id"}), 30.0
    )
    assert service.timeouts == ["s1"]


def test_a_foreign_engine_behind_our_hello_is_recognised() -> None:
    """Unknown command: from then on it is pinged and asked after."""
    service = Service()
    service.media.start(0.0)
    cookie, _ = service.sent.pop()
    service.media.receive(
        encode(cookie, {"result": "error", "error-reason": "Unrecognized command"}), 0.0
    )
    service.media.handle_timers(PING_S)
    assert service.commands() == ["ping"]
    assert service.media.available


def test_without_media_descriptions_pass_untouched() -> None:
    """And nothing is counted."""
    replies: list[MediaReply] = []
    figures: list[Mapping[str, LegMedia]] = []
    media = NoMedia()
    media.offer("s", A, None, b"x", 0.0, lambda reply, now: replies.append(reply))
    media.answer("s", A, B, b"y", 0.0, lambda reply, now: replies.append(reply))
    media.delete("s", "a", 0.0, lambda found, now: figures.append(found))
    assert replies == [MediaReply(b"x"), MediaReply(b"y")]
    assert figures == [{}]
