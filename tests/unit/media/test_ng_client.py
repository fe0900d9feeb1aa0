"""The NG client: every request ends exactly once, whatever is lost."""

from __future__ import annotations

import pytest

from media.errors import NgBusy
from media.ng.client import DISCONNECTED, FAIL_AFTER_S, RETRANSMIT_S, TIMEOUT, NgClient, NgReply
from media.ng.messages import Encoding, Message, decode, encode, ping


class Engine:
    """A client and what its callbacks were told."""

    def __init__(self, max_outstanding: int = 100, encoding: Encoding = Encoding.JSON) -> None:
        self.replies: list[NgReply] = []
        self.events: list[Message] = []
        self.client = NgClient(
            "t",
            max_outstanding=max_outstanding,
            encoding=encoding,
            on_event=self.events.append,
        )

    def request(self, now: float = 0.0) -> bytes:
        return self.client.request(ping(), now, self.replies.append)

    def reply(self, datagram: bytes, data: Message) -> None:
        self.client.receive(encode(decode(datagram).cookie, data))


def test_a_reply_ends_its_request() -> None:
    engine = Engine()
    first, second = engine.request(), engine.request()
    assert decode(first).cookie != decode(second).cookie
    engine.reply(second, {"result": "ok", "sdp": "v=0\r\n", "warning": "careful"})
    (reply,) = engine.replies
    assert reply.ok
    assert reply.sdp == b"v=0\r\n"
    assert reply.warning == "careful"
    assert not reply.is_local
    assert repr(reply) == "NgReply('ok')"
    assert engine.client.statistics()["outstanding"] == 1


@pytest.mark.parametrize(
    ("data", "error"),
    [
        ({"result": "pong"}, ""),
        ({"result": "error", "error-reason": "Unknown call-id"}, "Unknown call-id"),
        ({"result": "load limit"}, "load limit"),
        ({}, "malformed reply"),
    ],
)
def test_what_the_engine_says_is_success_or_its_reason(data: Message, error: str) -> None:
    engine = Engine()
    engine.reply(engine.request(), data)
    assert engine.replies[0].error == error
    assert engine.replies[0].sdp == b""


@pytest.mark.parametrize(
    ("data", "full"),
    [
        ({"result": "pong"}, False),
        ({"result": "error", "error-reason": "no ports"}, True),
        ({"result": "error", "error-reason": "Ran out of ports"}, True),
        ({"result": "load limit"}, True),
        ({"result": "error", "error-reason": "SDP has no c= line"}, False),
    ],
)
def test_a_full_engine_is_told_from_a_bad_description(data: Message, full: bool) -> None:
    engine = Engine()
    engine.reply(engine.request(), data)
    assert engine.replies[0].is_capacity is full
    assert NgReply({}, TIMEOUT).is_capacity


def test_an_unanswered_request_is_repeated_and_given_up() -> None:
    engine = Engine()
    datagram = engine.request(10.0)
    repeats = []
    while (due := engine.client.next_timer()) is not None:
        repeats += [(due, data) for data in engine.client.handle_timers(due)]
    assert repeats == [(10.0 + RETRANSMIT_S * n, datagram) for n in range(1, 6)]
    (reply,) = engine.replies
    assert reply.error == TIMEOUT
    assert reply.is_local
    assert engine.client.statistics()["timeouts"] == 1
    assert engine.client.statistics()["outstanding"] == 0


def test_a_late_call_of_the_timer_gives_up_at_once() -> None:
    engine = Engine()
    engine.request(0.0)
    assert engine.client.handle_timers(FAIL_AFTER_S) == []
    assert engine.replies[0].error == TIMEOUT


def test_requests_made_later_wait_longer() -> None:
    engine = Engine()
    early = engine.request(0.0)
    engine.request(0.3)
    assert engine.client.handle_timers(RETRANSMIT_S) == [early]
    assert engine.client.next_timer() == pytest.approx(0.3 + RETRANSMIT_S)


def test_a_second_reply_and_garbage_are_strays() -> None:
    engine = Engine()
    datagram = engine.request()
    for _ in range(2):
        engine.reply(datagram, {"result": "pong"})
    engine.client.receive(b"garbage")
    assert len(engine.replies) == 1
    assert engine.client.statistics()["strays"] == 2


def test_events_come_unasked() -> None:
    engine = Engine()
    engine.client.receive(encode("event-1", {"command": "event", "event": "locked", "tag": "a"}))
    assert engine.events == [{"event": "locked", "tag": "a"}]


def test_events_without_a_listener_are_strays() -> None:
    client = NgClient("t")
    client.receive(encode("event-1", {"command": "event", "event": "locked"}))
    assert client.statistics()["strays"] == 1


def test_outstanding_requests_are_bounded() -> None:
    engine = Engine(max_outstanding=1)
    engine.request()
    with pytest.raises(NgBusy):
        engine.request()
    assert engine.replies == []


def test_a_lost_engine_fails_all_that_waits() -> None:
    engine = Engine()
    engine.request()
    engine.request()
    engine.client.disconnected()
    assert [reply.error for reply in engine.replies] == [DISCONNECTED] * 2
    assert engine.client.next_timer() is None
    assert "went away" in repr(engine.replies[0])


def test_a_request_may_be_made_from_a_reply() -> None:
    client = NgClient("t")
    seen: list[str] = []

    def again(reply: NgReply) -> None:
        seen.append(reply.error)
        if len(seen) == 1:
            client.request(ping(), 3.0, again)

    client.request(ping(), 0.0, again)
    client.handle_timers(FAIL_AFTER_S)
    client.handle_timers(2 * FAIL_AFTER_S)
    assert seen == [TIMEOUT, TIMEOUT]


def test_bencode_can_be_chosen() -> None:
    engine = Engine(encoding=Encoding.BENCODE)
    assert engine.request() == b"t1 d7:command4:pinge"
