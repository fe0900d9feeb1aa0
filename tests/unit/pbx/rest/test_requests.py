"""Requests that are wrong, repeated, or too much."""

from __future__ import annotations

import asyncio

import pytest
from starlette.responses import Response

from pbx.kernel.errors import LogUnavailable
from pbx.rest import idempotency
from pbx.rest.idempotency import IdempotentAnswers
from pbx.web.problems import Problem
from tests.support.rest_lab import MAIN, RestLab, problem

ANN = f"/accounts/ann@{MAIN}"


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("limit=0", 400),
        ("limit=1001", 400),
        ("limit=x", 400),
        ("limit=1&limit=2", 400),
        ("other=1", 400),
        ("cursor=%00", 400),
        ("cursor=AAAA", 400),
        ("cursor=" + "x" * 1025, 400),
        ("limit=1000", 200),
    ],
)
def test_parameters_are_checked(lab: RestLab, query: str, status: int) -> None:
    with lab.client() as api:
        answer = api.get(f"/domains?{query}")
        assert answer.status_code == status
        if status == 400:
            assert problem(answer)[1] in ("bad-parameter", "bad-cursor")
        assert problem(api.get(f"{ANN}?x=1")) == (400, "bad-parameter")


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (b"", "malformed-json"),
        (b"{", "malformed-json"),
        (b"\xff", "malformed-json"),
        (b'{"name": "x", "settings": {"Key": ' + b"[" * 100_000, "malformed-json"),
        (b"[]", "invalid-body"),
        (b'{"name": 5}', "invalid-body"),
        (b'{"name": ""}', "invalid-body"),
        (b'{"name": "x", "unknown": 1}', "invalid-body"),
        (b'{"name": "x", "settings": {"Key": 1.5}}', "invalid-body"),
        (b'{"name": "x", "settings": {"Key": true}}', "invalid-body"),
        (b'{"name": "x", "settings": {"Key": 99999999999999999999}}', "invalid-body"),
        (b'{"name": "x", "settings": {"Key": {"$data": "!"}}}', "invalid-body"),
        (b'{"name": "x", "settings": {"Key": ' + b"[" * 50 + b"]" * 50 + b"}}", "invalid-body"),
    ],
)
def test_bodies_are_checked(lab: RestLab, body: bytes, name: str) -> None:
    with lab.client() as api:
        answer = api.http.post(
            f"/api/v1/domains/{MAIN}/accounts",
            content=body,
            headers={"Content-Type": "application/json"},
        )
        assert problem(answer) == (400, name)
        assert "createAccount" in answer.json()["detail"] or "Key" in answer.json()["detail"]


def test_the_type_of_a_body_is_checked(lab: RestLab) -> None:
    with lab.client() as api:
        for given in ("text/plain", "application/xml", "", "multipart/form-data"):
            answer = api.http.post(
                "/api/v1/domains", content=b"{}", headers={"Content-Type": given}
            )
            assert problem(answer) == (415, "unsupported-media-type")
        patched = api.change("PATCH", ANN, {}, Content_Type="application/json")
        assert patched.status_code == 200


def test_methods_and_paths_that_are_not_there(lab: RestLab) -> None:
    with lab.client() as api:
        answer = api.send("POST", ANN, {})
        assert problem(answer) == (405, "method-not-allowed")
        assert {"GET", "PATCH", "DELETE"} <= set(answer.headers["allow"].split(", "))
        for path in ("/none", "/accounts/", "/domains/", "/accounts/a%2Fb@c"):
            assert problem(api.get(path)) == (404, "not-found")
        head = api.send("HEAD", ANN)
        assert (head.status_code, head.content) == (200, b"")


def test_a_reason_is_short_and_printable(lab: RestLab) -> None:
    with lab.client() as api:
        long = api.change("PATCH", ANN, {}, X_Reason="x" * 201)
        assert problem(long) == (400, "bad-header")
        assert api.change("PATCH", ANN, {}, X_Reason="x" * 200).status_code == 200


def test_a_post_that_is_repeated_happens_once(lab: RestLab) -> None:
    body = {"name": "eve"}
    path = f"/domains/{MAIN}/accounts"
    with lab.client() as api:
        first = api.send("POST", path, body, Idempotency_Key="k1")
        head = lab.log.head()
        again = api.send("POST", path, body, Idempotency_Key="k1")
        assert (again.status_code, again.json()) == (201, first.json())
        assert again.headers["location"] == first.headers["location"]
        assert again.headers["etag"] == first.headers["etag"]
        assert again.headers["idempotency-replayed"] == "true"
        assert lab.log.head() == head
        other = api.send("POST", path, {"name": "eva"}, Idempotency_Key="k1")
        assert problem(other) == (422, "idempotency-key-reused")
        assert problem(api.send("POST", path, body)) == (409, "taken")
        assert problem(api.send("POST", path, body, Idempotency_Key="k2")) == (409, "taken")
        assert problem(api.send("POST", path, body, Idempotency_Key="k2")) == (409, "taken")
    with lab.client(lab.token("config:write")) as other_client:  # keys are each token's own
        assert problem(other_client.send("POST", path, body, Idempotency_Key="k1")) == (
            409,
            "taken",
        )


def test_answers_are_kept_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idempotency, "MAX_ANSWERS", 3)
    answers = IdempotentAnswers()
    carried_out: list[str] = []

    async def ask(key: str, now: float = 0.0) -> None:
        async def carry_out() -> Response:
            carried_out.append(key)
            return Response(b"done", 201)

        await answers.answer(("token", key), ("op", "/path", b""), now, carry_out)

    async def run() -> None:
        for key in ("a", "b", "c", "d", "d"):
            await ask(key)
        assert (carried_out, len(answers)) == (["a", "b", "c", "d"], 3)
        await ask("a")  # forgotten: the oldest made room
        await ask("e", now=idempotency.KEPT_S + 1)
        assert len(answers) == 1

    asyncio.run(run())


def test_what_failed_may_be_tried_again_and_what_runs_is_not_doubled() -> None:
    answers = IdempotentAnswers()
    key, request = ("token", "k"), ("op", "/path", b"")

    async def fail() -> Response:
        raise LogUnavailable("the disk is full")

    async def slow() -> Response:
        with pytest.raises(Problem, match="is being carried out"):
            await answers.answer(key, request, 0.0, slow)
        return Response(b"done", 201)

    async def run() -> None:
        with pytest.raises(LogUnavailable):
            await answers.answer(key, request, 0.0, fail)
        assert (await answers.answer(key, request, 0.0, slow)).status_code == 201

    asyncio.run(run())


def test_a_log_that_takes_nothing_is_told(lab: RestLab, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> int:
        raise LogUnavailable("the disk is full")

    with lab.client() as api:
        etag = api.etag(ANN)
        monkeypatch.setattr(lab.log, "append", full)
        answer = api.send("PATCH", ANN, {"aliases": ["9"]}, If_Match=etag)
        assert problem(answer) == (503, "log-unavailable")
        assert answer.headers["retry-after"]
        assert api.get(ANN).status_code == 200
