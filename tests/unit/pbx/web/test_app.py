"""``pbx.web``: errors in one shape, bounds of requests, headers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Message

from pbx.kernel.errors import Conflict, DomainError, LogUnavailable
from pbx.settings import WebSettings
from pbx.web.auth import requires
from pbx.web.limits import DISCARDED_BYTES, Bounded
from pbx.web.problems import Problem
from tests.support.web_lab import WebLab


def routes() -> list[BaseRoute]:
    errors = {
        "domain": DomainError("no such domain"),
        "conflict": Conflict("domain/x", 1, 2),
        "log": LogUnavailable("the disk is full"),
        "problem": Problem(418, "teapot", "A teapot", "short and stout", spout=True),
        "defect": RuntimeError("secret of the house"),
    }

    @requires(None)
    async def fail(request: Request) -> Response:
        raise errors[request.path_params["what"]]

    @requires(None)
    async def echo(request: Request) -> Response:
        return PlainTextResponse(await request.body())

    return [Route("/fail/{what}", fail), Route("/echo", echo, methods=["POST"])]


@pytest.fixture
def lab() -> Iterator[WebLab]:
    made = WebLab(routes=routes(), settings=WebSettings(body_bytes=1024))
    yield made
    made.close()


@pytest.mark.parametrize(
    ("path", "status", "name", "detail"),
    [
        ("/fail/domain", 422, "refused", "no such domain"),
        ("/fail/conflict", 409, "conflict", "domain/x is at version 2, not 1"),
        ("/fail/log", 503, "log-unavailable", "the disk is full"),
        ("/fail/problem", 418, "teapot", "short and stout"),
        ("/fail/defect", 500, "internal", None),
        ("/nothing", 404, "not-found", None),
        ("/events/", 404, "not-found", None),
        ("/schemas/x.json", 404, "no-schema", "GET /schemas lists them"),
    ],
)
def test_every_error_has_one_shape(
    lab: WebLab,
    caplog: pytest.LogCaptureFixture,
    path: str,
    status: int,
    name: str,
    detail: str | None,
) -> None:
    caplog.set_level(logging.CRITICAL)
    with lab.client() as client:
        answer = client.get(path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert (body["type"], body["status"]) == (f"urn:ringlog:problem:{name}", status)
    assert body.get("detail") == detail
    assert body["title"]
    assert "secret" not in answer.text


def test_members_of_a_problem_are_kept(lab: WebLab) -> None:
    with lab.client() as client:
        assert client.get("/fail/problem").json()["spout"] is True


def test_a_wrong_method_says_which_are_right(lab: WebLab) -> None:
    with lab.client() as client:
        answer = client.post("/events")
    assert answer.status_code == 405
    assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD"}


def test_a_body_within_the_bound_is_taken(lab: WebLab) -> None:
    with lab.client() as client:
        assert client.post("/echo", content=b"x" * 1024).text == "x" * 1024


def test_a_body_that_says_it_is_too_large_is_refused_unread(lab: WebLab) -> None:
    with lab.client() as client:
        answer = client.post("/echo", content=b"x" * 1025)
    assert (answer.status_code, answer.headers["connection"]) == (413, "close")
    assert "1024" in answer.json()["detail"]


def test_a_body_that_is_too_large_is_read_to_its_end_within_bounds() -> None:
    """A client that still sends would lose the answer with the connection."""

    async def ask(length: int, *more: tuple[bytes, bytes]) -> int:
        taken = 0

        async def receive() -> Message:
            nonlocal taken
            taken += 1
            return {"type": "http.request", "body": b"x" * 1024, "more_body": taken < 3}

        async def nothing(*arguments: object) -> None:
            raise AssertionError("nobody is asked")

        headers = [(b"content-length", str(length).encode()), *more]
        scope = {"type": "http", "headers": headers}
        with pytest.raises(Problem, match="too large"):
            await Bounded(nothing, body_bytes=1024, body_s=1.0)(scope, receive, nothing)
        return taken

    assert asyncio.run(ask(3072)) == 3
    assert asyncio.run(ask(3072, (b"expect", b"100-continue"))) == 0  # it has not begun to send
    assert asyncio.run(ask(DISCARDED_BYTES + 1)) == 0


def test_a_body_without_a_length_is_counted(lab: WebLab) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(11):
            yield b"x" * 100

    with lab.client() as client:
        assert client.post("/echo", content=chunks()).status_code == 413


def test_answers_are_neither_cached_nor_guessed_at(lab: WebLab) -> None:
    with lab.client() as client:
        answer = client.get("/schemas")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_schemas_lead_from_the_list_to_each_type(lab: WebLab) -> None:
    with lab.client() as client:
        index = client.get("/schemas").json()
        row = index["types"]["leg.answered.v1"]
        schema = client.get(f"/schemas/{row['schema']}")
        assert schema.headers["content-type"] == "application/schema+json"
        assert schema.json()["title"] == "leg.answered.v1"
        assert client.get(f"/schemas/{index['asyncapi']}").json()["asyncapi"] == "3.0.0"
        assert client.get(f"/schemas/{index['envelope']}").json()["required"]
