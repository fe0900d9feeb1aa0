"""NG datagrams at the service: cookies, encodings, subscribers, garbage."""

from __future__ import annotations

from typing import Final

import pytest

from media.ng.messages import Encoding, Message, decode, encode
from media.server.front import COOKIE_LIFE_S, MAX_COOKIES, NgFront
from tests.support.media_lab import MediaLab, sdp

OURS: Final = "/run/signal.sock"
FOREIGN: Final = ("192.0.2.5", 40_000)


class FrontLab(MediaLab):
    def __init__(self) -> None:
        super().__init__(offer_timeout_s=1.0)
        self.front = NgFront(self.service)

    def request(
        self,
        message: Message,
        cookie: str = "c1",
        peer: object = OURS,
        encoding: Encoding = Encoding.JSON,
    ) -> Message:
        data = encode(cookie, message, encoding)
        reply = self.front.receive(data, peer, self.now, subscribable=peer != FOREIGN)
        assert reply is not None
        answer = decode(reply)
        assert answer.cookie == cookie
        assert answer.encoding is encoding
        return answer.data


def offer(call_id: str) -> Message:
    return {"command": "offer", "call-id": call_id, "from-tag": "a", "sdp": sdp()}


@pytest.mark.parametrize("encoding", list(Encoding))
def test_a_reply_has_the_cookie_and_the_encoding_of_its_request(encoding: Encoding) -> None:
    assert FrontLab().request({"command": "ping"}, encoding=encoding) == {"result": "pong"}


def test_a_repeated_request_gets_the_same_reply_and_is_not_carried_out() -> None:
    lab = FrontLab()
    first = lab.request(offer("x"))
    assert lab.request(offer("x")) == first
    assert lab.relay.open_ports == 4
    assert lab.front.statistics()["repeated"] == 1
    assert lab.service.statistics(0.0)["controlstatistics"]["totaloffercount"] == 1


def test_cookies_of_different_clients_are_different() -> None:
    lab = FrontLab()
    assert lab.request(offer("x"))["result"] == "ok"
    assert lab.request({"command": "ping"}, peer=FOREIGN) == {"result": "pong"}


def test_a_cookie_is_forgotten_after_some_seconds() -> None:
    lab = FrontLab()
    lab.request(offer("x"))
    lab.relay.now += COOKIE_LIFE_S
    assert lab.request({"command": "ping"}) == {"result": "pong"}
    assert lab.front.statistics()["cookies"] == 1


def test_remembered_cookies_are_bounded() -> None:
    lab = FrontLab()
    for number in range(MAX_COOKIES + 10):
        lab.request({"command": "ping"}, cookie=f"k{number}")
    assert lab.front.statistics()["cookies"] == MAX_COOKIES


def test_garbage_is_answered_when_it_has_a_cookie_and_dropped_otherwise() -> None:
    lab = FrontLab()
    reply = lab.front.receive(b"k1 garbage", FOREIGN, 0.0, subscribable=False)
    assert reply is not None
    assert decode(reply).data["result"] == "error"
    assert lab.front.receive(b"garbage", FOREIGN, 0.0, subscribable=False) is None
    assert lab.front.statistics()["malformed"] == 2


def hello(epoch: str, node: str = "n1") -> Message:
    return {"command": "hello", "node": node, "epoch": epoch}


def test_events_go_to_the_client_that_said_hello() -> None:
    lab = FrontLab()
    lab.request(hello("1"), "h")
    lab.request(offer("x"), "o")
    lab.pass_time(1)
    (outgoing,) = lab.front.events()
    assert outgoing.peer == OURS
    event = decode(outgoing.data)
    assert event.data["command"] == "event"
    assert event.data["event"] == "offer-timeout"
    assert event.data["call-id"] == "x"


def test_without_hello_there_are_no_events() -> None:
    lab = FrontLab()
    lab.request(offer("x"))
    lab.pass_time(1)
    assert lab.front.events() == []


def test_udp_clients_cannot_subscribe() -> None:
    reply = FrontLab().request(hello("1"), peer=FOREIGN)
    assert reply["error-reason"] == "Events need a Unix socket"


def test_a_refused_hello_subscribes_nobody() -> None:
    lab = FrontLab()
    assert lab.request({"command": "hello"})["result"] == "error"
    assert lab.front.statistics()["subscribers"] == 0


def test_a_restarted_client_takes_over_the_subscription() -> None:
    lab = FrontLab()
    lab.request(hello("1"), "h1")
    lab.request(offer("x"), "o")
    assert lab.request(hello("2"), "h2", peer="/run/new.sock")["deleted"] == 1
    lab.request(offer("y"), "o2", peer="/run/new.sock")
    lab.pass_time(1)
    assert [outgoing.peer for outgoing in lab.front.events()] == ["/run/new.sock"]
    assert lab.front.statistics()["subscribers"] == 1


def test_a_client_that_changes_its_name_keeps_one_subscription() -> None:
    lab = FrontLab()
    lab.request(hello("1"), "h1")
    lab.request(hello("1"), "h2")
    lab.request(hello("1", "n2"), "h3")
    assert lab.front.statistics()["subscribers"] == 1


def test_a_gone_client_gets_no_more_events_and_its_calls_stay() -> None:
    lab = FrontLab()
    lab.request(hello("1"), "h")
    lab.request(offer("x"), "o")
    lab.front.peer_gone(OURS)
    lab.front.peer_gone(OURS)
    assert lab.service.call_count == 1
    lab.pass_time(1)
    assert lab.front.events() == []


def test_the_news_of_a_former_client_do_not_unsubscribe_the_present_one() -> None:
    lab = FrontLab()
    lab.request(hello("1"), "h1")
    lab.request(hello("2"), "h2", peer="/run/new.sock")
    lab.front.peer_gone(OURS)
    assert lab.front.statistics()["subscribers"] == 1
