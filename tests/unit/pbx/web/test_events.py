"""``GET /events``: pages and server-sent events."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from starlette.testclient import TestClient

from pbx.domain.accounts import AccountPasswordSet
from pbx.domain.calls import LegAnswered, LegDigit
from pbx.eventlog import Meta
from pbx.settings import WebSettings
from tests.support.web_lab import WebLab, bare

SSE = {"Accept": "text/event-stream"}


def digits(lab: WebLab, count: int, *, tenant: str = "", stream: str = "call/1") -> None:
    lab.log.append(stream, -1, [LegDigit(leg_id="a")] * count, Meta(tenant=tenant, time_ns=5))


def sse(text: str) -> list[dict[str, str]]:
    """The messages of a stream, comments left out."""
    messages = []
    for block in text.split("\n\n"):
        fields = dict(
            line.split(": ", 1) for line in block.split("\n") if line and not line.startswith(":")
        )
        if "data" in fields:
            messages.append(fields)
    return messages


def test_a_page_has_envelopes_and_where_to_go_on(lab: WebLab) -> None:
    with lab.client() as client:
        digits(lab, 3)
        first = client.get("/events?type=leg.*&limit=2").json()
        assert [bare(event["position"]) for event in first["events"]] == ["2", "3"]
        assert (bare(first["next"]), first["more"]) == ("3", True)
        second = client.get("/events", params={"type": "leg.*", "after": first["next"]}).json()
        assert [event["version"] for event in second["events"]] == [3]
        assert (bare(second["next"]), second["more"]) == ("4", False)
        third = client.get("/events", params={"type": "leg.*", "after": second["next"]}).json()
        assert third == {"events": [], "next": second["next"], "more": False}


def test_an_envelope(lab: WebLab) -> None:
    meta = Meta(
        time_ns=1_500_000_000_123_456_789,
        actor="al@a.example",
        correlation="c",
        causation="7",
        tenant="a.example",
        node="n",
    )
    with lab.client() as client:
        lab.log.append("call/1", 0, [LegAnswered(leg_id="a", elapsed_ms=812)], meta)
        [event] = client.get("/events?stream=call/1").json()["events"]
    assert event == {
        "position": "2-8271cd15",
        "stream": "call/1",
        "version": 1,
        "type": "leg.answered.v1",
        "time": "2017-07-14T02:40:00.123456789Z",
        "node": "n",
        "actor": "al@a.example",
        "correlation": "c",
        "causation": "7",
        "tenant": "a.example",
        "data": {"leg_id": "a", "elapsed_ms": 812},
    }


def test_what_is_sealed_stays_so(lab: WebLab) -> None:
    """Even where the log was opened with keys, as this one is."""
    secret = AccountPasswordSet(realm="x", ha1_md5="5e884898", ha1_sha256="da280473")
    with lab.client() as client:
        lab.log.append("account/al@x", 0, [secret], Meta())
        answer = client.get("/events?category=pbx.config")
    assert "5e884898" not in answer.text
    sealed = {"realm": "x", "ha1_md5": "[sealed]", "ha1_sha256": "[sealed]"}
    assert answer.json()["events"][-1]["data"] == sealed
    assert answer.json()["events"][0]["data"]["secret_sha256"] == "[sealed]"


def test_a_token_of_a_domain_sees_only_that(lab: WebLab) -> None:
    with lab.client(lab.token(domain="a.example")) as client:
        digits(lab, 2, tenant="a.example", stream="call/1")
        digits(lab, 2, tenant="b.example", stream="call/2")
        digits(lab, 2, stream="call/3")
        events = client.get("/events").json()["events"]
        assert {event["tenant"] for event in events} == {"a.example"}
        assert client.get("/events?stream=call/2").json()["events"] == []
        assert client.get("/events?stream=call/1&tenant=a.example").json()["events"]
        other = client.get("/events?tenant=b.example")
        assert (other.status_code, other.json()["type"]) == (403, "urn:ringlog:problem:tenant")
        streamed = client.get("/events?limit=4", headers=SSE).text
        assert {msgspec.json.decode(m["data"])["tenant"] for m in sse(streamed)} == {"a.example"}


def test_a_free_token_may_choose_a_domain(lab: WebLab) -> None:
    with lab.client() as client:
        digits(lab, 1, tenant="a.example", stream="call/1")
        digits(lab, 1, tenant="b.example", stream="call/2")
        [event] = client.get("/events?tenant=B.example.").json()["events"]
    assert event["stream"] == "call/2"


def test_now_is_behind_what_there_is(lab: WebLab) -> None:
    with lab.client() as client:
        digits(lab, 3)
        page = client.get("/events?after=now").json()
        assert page == {"events": [], "next": lab.log.feed_head(), "more": False}


@pytest.mark.parametrize(
    ("query", "status", "name"),
    [
        ("afer=1", 400, "bad-parameter"),
        ("limit=0", 400, "bad-parameter"),
        ("limit=1001", 400, "bad-parameter"),
        ("limit=x", 400, "bad-parameter"),
        ("limit=99999999999999999999", 400, "bad-parameter"),
        ("wait=-1", 400, "bad-parameter"),
        ("after=x", 400, "bad-position"),
        ("after=1%00", 400, "bad-position"),
        ("after=" + "1" * 5000, 400, "bad-position"),
        ("after=99", 410, "position-unknown"),
        ("category=calls", 400, "bad-filter"),
        ("type=[a]", 400, "bad-filter"),
        ("tenant=", 400, "bad-filter"),
        ("stream=" + ",".join(f"call/{n}" for n in range(51)), 400, "bad-filter"),
    ],
)
@pytest.mark.parametrize("headers", [{}, SSE])
def test_a_wrong_question_is_answered_with_what_is_wrong(
    lab: WebLab, headers: dict[str, str], query: str, status: int, name: str
) -> None:
    with lab.client() as client:
        answer = client.get(f"/events?{query}", headers=headers)
    assert (answer.status_code, answer.json()["type"]) == (status, f"urn:ringlog:problem:{name}")


def test_a_stream_has_positions_as_ids(lab: WebLab) -> None:
    with lab.client() as client:
        digits(lab, 3)
        answer = client.get("/events?type=leg.*&limit=3", headers=SSE)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text.startswith("retry: 2000\n\n")
    messages = sse(answer.text)
    assert [bare(message["id"]) for message in messages] == ["2", "3", "4"]
    assert [msgspec.json.decode(message["data"])["version"] for message in messages] == [1, 2, 3]


def test_last_event_id_resumes_and_wins_over_the_query(lab: WebLab) -> None:
    with lab.client() as client:
        digits(lab, 3)
        headers = {**SSE, "Last-Event-ID": "3"}
        answer = client.get("/events?type=leg.*&limit=1&after=0", headers=headers)
    assert [bare(message["id"]) for message in sse(answer.text)] == ["4"]


def test_a_stream_goes_on_with_what_is_appended_while_it_is_read(lab: WebLab) -> None:
    with lab.client() as client:
        digits(lab, 1)
        lab.when_level(lambda: digits(lab, 2))
        answer = client.get("/events?type=leg.*&limit=3", headers=SSE)
    assert [bare(message["id"]) for message in sse(answer.text)] == ["2", "3", "4"]


def test_a_page_may_wait_for_an_event(lab: WebLab) -> None:
    with lab.client() as client:
        lab.when_level(lambda: digits(lab, 1))
        page = client.get("/events?type=leg.*&wait=30").json()
    assert [event["version"] for event in page["events"]] == [1]


def test_a_stream_ends_when_its_token_is_revoked(lab: WebLab) -> None:
    text = lab.token()
    with lab.client(text) as client:
        digits(lab, 1)
        lab.when_level(lambda: lab.revoke(text))
        answer = client.get("/events?type=leg.*", headers=SSE)
    last = sse(answer.text)[-1]
    assert last["event"] == "problem"
    assert msgspec.json.decode(last["data"])["status"] == 401


def test_a_silent_stream_says_that_it_lives_and_moves_on(lab: WebLab) -> None:
    """The heartbeat carries an id: who resumes there need not look through the same again."""

    def nothing_for_a_while() -> None:
        lab.clock.now_s += 15

    with lab.client() as client:
        digits(lab, 1)
        lab.when_level(
            nothing_for_a_while,
            nothing_for_a_while,
            lambda: digits(lab, 1, stream="call/wanted"),
        )
        answer = client.get("/events?stream=call/wanted&limit=1", headers=SSE)
    blocks = answer.text.split("\n\n")[:-1]
    beat = f": alive\nid: {list(lab.log.read_feed())[1][0]}"
    assert blocks[:3] == ["retry: 2000", beat, beat]
    assert blocks[3].startswith("id: 3-")
    assert len(blocks) == 4


def test_places_for_streams_are_bounded() -> None:
    lab = WebLab(settings=WebSettings(feeds=1))
    lab.services.feeds = 1
    with lab.client() as client:
        digits(lab, 1)
        answer = client.get("/events?limit=1", headers=SSE)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")
        assert client.get("/events?limit=1").status_code == 200
        lab.services.feeds = 0
        assert client.get("/events?limit=1", headers=SSE).status_code == 200
        assert lab.services.feeds == 0
    lab.close()


def test_a_log_that_fails_ends_a_stream_with_a_problem(
    lab: WebLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pbx.kernel.errors import LogUnavailable

    with lab.client() as client:
        digits(lab, 1)
        calls = iter(range(100))
        read = lab.log.read_feed

        def failing(*given: Any, **named: Any) -> Any:
            if named.get("streams") != ("token/*",) and next(calls) == 1:
                raise LogUnavailable("the disk is gone")
            return read(*given, **named)

        monkeypatch.setattr(lab.log, "read_feed", failing)
        answer = client.get("/events", headers=SSE)
    last = sse(answer.text)[-1]
    assert (last["event"], msgspec.json.decode(last["data"])["detail"]) == (
        "problem",
        "the disk is gone",
    )


def test_streams_end_when_the_server_stops(lab: WebLab) -> None:
    with lab.client() as client:
        lab.when_level(lab.services.closing.set)
        answer = client.get("/events?type=leg.*", headers=SSE)
    assert answer.text == "retry: 2000\n\n"


def test_a_head_request_of_a_stream_ends(lab: WebLab) -> None:
    with lab.client() as client:
        assert isinstance(client, TestClient)
        assert client.head("/events", headers=SSE).status_code == 200
