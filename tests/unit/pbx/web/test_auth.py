"""``pbx.web.auth``: nobody gets in without a token, and everybody is told the same."""

from __future__ import annotations

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.testclient import WebSocketDenialResponse

from pbx.kernel.errors import LogUnavailable
from pbx.settings import LimitSettings
from pbx.web.app import make_app
from pbx.web.auth import Failures, requires
from tests.support.web_lab import SECOND, WebLab

PATHS = ("/events", "/schemas", "/schemas/asyncapi.json", "/", "/nothing", "/events/ws")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer x", "Basic YTpi", "Bearer ringlog_" + "0" * 16 + "_" + "0" * 64, "é"],
)
def test_without_a_good_token_every_path_answers_the_same(
    lab: WebLab, path: str, authorization: str
) -> None:
    with lab.client("") as client:
        shown = {b"Authorization": authorization.encode("latin-1")}
        answer = client.get(path, headers=shown)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == 'Bearer realm="ringlog"'
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == "urn:ringlog:problem:unauthorized"


def test_a_token_opens_until_it_is_revoked(lab: WebLab) -> None:
    text = lab.token()
    with lab.client(text) as client:
        assert client.get("/events").status_code == 200
        lab.revoke(text)
        assert client.get("/events").status_code == 401


def test_a_token_opens_until_it_expires(lab: WebLab) -> None:
    with lab.client(lab.token(expires_ns=lab.clock.wall_ns() + 10 * SECOND)) as client:
        lab.clock.now_s += 9
        assert client.get("/events").status_code == 200
        lab.clock.now_s += 1
        assert client.get("/events").status_code == 401


def test_a_token_made_after_the_server_started_opens_at_once(lab: WebLab) -> None:
    with lab.client("") as client:
        assert client.get("/events").status_code == 401
        headers = {"Authorization": f"bearer {lab.token()}"}
        assert client.get("/events", headers=headers).status_code == 200


def test_a_scope_that_is_missing_is_named(lab: WebLab) -> None:
    with lab.client(lab.token("cdrs:read")) as client:
        answer = client.get("/events")
    assert (answer.status_code, answer.json()["type"]) == (403, "urn:ringlog:problem:scope-needed")
    assert "events:read" in answer.json()["detail"]


def test_an_administrator_may_everything(lab: WebLab) -> None:
    with lab.client(lab.token("admin")) as client:
        assert client.get("/events").status_code == 200


def test_any_token_may_read_the_schemas(lab: WebLab) -> None:
    with lab.client(lab.token("cdrs:read")) as client:
        assert client.get("/schemas").status_code == 200


def test_guessing_is_slowed_and_a_good_token_is_not() -> None:
    lab = WebLab(limits=LimitSettings(failed_logins=3, failed_logins_s=60))
    good = {"Authorization": f"Bearer {lab.token()}"}
    with lab.client("") as client:
        statuses = [client.get("/events").status_code for _ in range(5)]
        assert statuses == [401, 401, 401, 429, 429]
        assert client.get("/events", headers=good).status_code == 200
        assert client.get("/events").headers["retry-after"] == "61"
        lab.clock.now_s += 60
        assert client.get("/events").status_code == 401
    lab.close()


def test_failures_are_remembered_for_a_bounded_number_of_sources(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pbx.web.auth.MAX_SOURCES", 2)
    failures = Failures(1, 10)
    for source in ("a", "b", "c"):
        assert failures.failed(source, 0) == 0
    assert failures.failed("c", 1) == 9
    assert failures.failed("a", 1) == 0  # forgotten, and begun anew


def test_tokens_that_cannot_be_read_let_nobody_in(
    lab: WebLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is gone: that is no 401, which would make programs throw their tokens away."""

    def unavailable() -> str:
        raise LogUnavailable("the disk is gone")

    with lab.client() as client:
        monkeypatch.setattr(lab.log, "feed_head", unavailable)
        answer = client.get("/schemas")
    assert (answer.status_code, answer.json()["detail"]) == (503, "the disk is gone")


def test_a_websocket_without_a_token_is_refused_before_the_handshake(lab: WebLab) -> None:
    with (
        lab.client("") as client,
        pytest.raises(WebSocketDenialResponse) as refused,
        client.websocket_connect("/events/ws"),
    ):
        pass
    assert refused.value.status_code == 401


def test_a_route_that_does_not_say_whom_it_lets_in_is_a_mistake(lab: WebLab) -> None:
    async def open_to_all(request: Request) -> Response:
        return PlainTextResponse("hello")

    with pytest.raises(TypeError, match="requires"):
        make_app(lab.services, [Mount("/api", routes=[Route("/x", open_to_all)])])


def test_routes_of_others_stand_behind_the_same_door() -> None:
    @requires("admin")
    async def page(request: Request) -> Response:
        return PlainTextResponse("hello")

    lab = WebLab(routes=[Route("/page", page)])
    with lab.client(lab.token("admin")) as client:
        assert client.get("/page").text == "hello"
    with lab.client(lab.token()) as client:
        assert client.get("/page").status_code == 403
    lab.close()
