"""``/events/ws``: filters, acknowledgements, and what ends a connection."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient, WebSocketDenialResponse, WebSocketTestSession
from starlette.websockets import WebSocketDisconnect

from pbx.domain.calls import LegDigit
from pbx.eventlog import Meta
from pbx.settings import WebSettings
from pbx.web.event_socket import Window
from tests.support.web_lab import WebLab, bare


def digits(lab: WebLab, count: int, stream: str = "call/1") -> None:
    lab.log.append(stream, -1, [LegDigit(leg_id="a")] * count, Meta())


def positions(session: WebSocketTestSession, count: int) -> list[str]:
    """Positions of the next events, as numbers."""
    return [bare(session.receive_json()["event"]["position"]) for _ in range(count)]


def token(lab: WebLab, number: int) -> str:
    """The token behind the record with this number."""
    return list(lab.log.read_feed(limit=number))[-1][0]


def closed(session: WebSocketTestSession) -> WebSocketDisconnect:
    """How the server ended it."""
    try:
        while True:
            session.receive_json()
    except WebSocketDisconnect as ended:
        return ended


def test_events_come_as_far_as_the_window_and_go_on_when_acknowledged(lab: WebLab) -> None:
    with lab.client() as client:
        digits(lab, 5)
        with client.websocket_connect("/events/ws?type=leg.*&window=2") as session:
            assert positions(session, 2) == ["2", "3"]
            session.send_json({"ack": token(lab, 2)})
            assert positions(session, 1) == ["4"]
            session.send_json({"ack": token(lab, 4)})  # and 3 with it
            assert positions(session, 2) == ["5", "6"]


def test_a_reader_resumes_behind_what_it_acknowledged(lab: WebLab) -> None:
    with lab.client() as client:
        digits(lab, 4)
        with client.websocket_connect("/events/ws?type=leg.*&window=10") as session:
            assert positions(session, 4) == ["2", "3", "4", "5"]
            session.send_json({"ack": token(lab, 3)})
        with client.websocket_connect("/events/ws?type=leg.*&after=3") as session:
            assert positions(session, 2) == ["4", "5"]


def test_new_events_come_by_themselves(lab: WebLab) -> None:
    with (
        lab.client() as client,
        client.websocket_connect("/events/ws?after=now&stream=call/2") as session,
    ):
        digits(lab, 1, "call/1")
        digits(lab, 1, "call/2")
        assert positions(session, 1) == ["3"]


def test_a_browser_shows_its_token_as_a_subprotocol(lab: WebLab) -> None:
    offered = ["ringlog.v1", f"bearer.{lab.token()}"]
    digits(lab, 1)
    with (
        lab.client("") as client,
        client.websocket_connect("/events/ws?type=leg.*", subprotocols=offered) as session,
    ):
        accepted: Any = session.accepted_subprotocol
        assert accepted == "ringlog.v1"
        assert positions(session, 1) == ["2"]


@pytest.mark.parametrize(
    ("query", "status"),
    [("after=x", 400), ("after=99", 410), ("window=0", 400), ("category=no", 400), ("x=1", 400)],
)
def test_a_wrong_question_is_answered_before_the_handshake(
    lab: WebLab, query: str, status: int
) -> None:
    with (
        lab.client() as client,
        pytest.raises(WebSocketDenialResponse) as refused,
        client.websocket_connect(f"/events/ws?{query}"),
    ):
        pass
    assert refused.value.status_code == status


def test_a_token_without_the_scope_is_refused_before_the_handshake(lab: WebLab) -> None:
    with (
        lab.client(lab.token("cdrs:read")) as client,
        pytest.raises(WebSocketDenialResponse) as refused,
        client.websocket_connect("/events/ws"),
    ):
        pass
    assert refused.value.status_code == 403


@pytest.mark.parametrize(
    "message", ["{}", "x", '{"ack":1}', '{"ack":"2","and":"more"}', '{"ack":"99"}', '{"ack":""}']
)
def test_a_message_that_is_no_acknowledgement_ends_it(lab: WebLab, message: str) -> None:
    with lab.client() as client:
        digits(lab, 1)
        with client.websocket_connect("/events/ws?type=leg.*") as session:
            assert positions(session, 1) == ["2"]
            session.send_text(message)
            assert closed(session).code == 4400


def test_a_binary_message_ends_it(lab: WebLab) -> None:
    with lab.client() as client, client.websocket_connect("/events/ws") as session:
        session.send_bytes(b'{"ack":"1"}')
        assert closed(session).code == 4400


def test_a_revoked_token_ends_it(lab: WebLab) -> None:
    text = lab.token()
    with lab.client(text) as client, client.websocket_connect("/events/ws?after=now") as session:
        lab.revoke(text)
        assert closed(session).code == 4401


def test_the_end_of_the_server_ends_it(lab: WebLab) -> None:
    with lab.client() as client, client.websocket_connect("/events/ws?after=now") as session:
        stop(client, lab)
        assert (closed(session)).code == 1001


def stop(client: TestClient, lab: WebLab) -> None:
    portal = client.portal
    assert portal is not None
    portal.call(lab.services.closing.set)
    portal.call(lab.services.watch.close)


def test_a_silent_feed_says_how_far_it_is(lab: WebLab) -> None:
    with lab.client() as client:
        digits(lab, 1)

        def end() -> None:
            lab.services.closing.set()

        lab.when_level(lambda: passing(lab, 15), lambda: None, end)
        with client.websocket_connect("/events/ws?stream=call/none") as session:
            assert session.receive_json() == {"heartbeat": {"position": lab.log.feed_head()}}


def passing(lab: WebLab, seconds: float) -> None:
    lab.clock.now_s += seconds


class TestWindow:
    def test_it_is_stalled_only_when_it_is_full(self) -> None:
        window = Window(2, 0.0)
        window.sent("1", 1.0)
        assert not window.stalled(100.0, 30.0)
        window.sent("2", 101.0)
        assert not window.stalled(130.0, 30.0)
        assert window.stalled(131.0, 30.0)
        window.acknowledged("1", 132.0)
        assert (window.room, window.stalled(500.0, 30.0)) == (1, False)

    def test_only_what_is_on_its_way_can_be_acknowledged(self) -> None:
        window = Window(3, 0.0)
        for token in ("1", "2"):
            window.sent(token, 0.0)
        window.acknowledged("2", 0.0)
        for token in ("1", "2", "3"):
            with pytest.raises(ValueError, match=token):
                window.acknowledged(token, 0.0)


def test_a_reader_that_acknowledges_nothing_is_dropped() -> None:
    lab = WebLab(settings=WebSettings(stall_s=0.01))
    with lab.client() as client:
        digits(lab, 3)
        with client.websocket_connect("/events/ws?type=leg.*&window=1") as session:
            assert positions(session, 1) == ["2"]
            lab.clock.now_s += 30
            ended: Any = closed(session)
            assert (ended.code, "acknowledged" in ended.reason) == (4408, True)
    lab.close()
