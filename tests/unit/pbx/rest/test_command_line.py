"""``/CLI/``: the command protocol over HTTP."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from tests.support.rest_lab import MAIN, RestLab

PASSWORD = "Pa$$w0rd"


def basic(name: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long answers were kept back, without waiting."""
    found: list[float] = []

    async def sleep(seconds: float) -> None:
        found.append(seconds)

    monkeypatch.setattr("pbx.rest.command_line.asyncio.sleep", sleep)
    return found


@pytest.fixture
def http(lab: RestLab, slept: list[float]) -> Iterator[TestClient]:
    """A client on this machine, without a token."""
    lab.administration.set_password(f"postmaster@{MAIN}", PASSWORD)
    with TestClient(lab.web.app, client=("127.0.0.1", 50000)) as client:
        yield client


def test_a_command_and_its_result(http: TestClient) -> None:
    login = basic("postmaster", PASSWORD)
    answer = http.get("/CLI/", params={"command": "LISTDOMAINS"}, headers=login)
    assert (answer.status_code, answer.text) == (200, f"({MAIN}, other.example)\n")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    done = http.post("/cli/", data={"command": "createaccount new"}, headers=login)
    assert (done.status_code, done.text) == (200, "")
    again = http.post("/Cli", data={"command": "createaccount new"}, headers=login)
    assert (again.status_code, again.text) == (550, "520 account with this name already exists\n")


def test_rights_are_those_of_the_account(lab: RestLab, http: TestClient) -> None:
    login = basic("ann", "first password")
    answer = http.get("/CLI/", params={"command": "LISTDOMAINS"}, headers=login)
    assert (answer.status_code, answer.text) == (550, "510 insufficient access rights\n")


def test_a_token_opens_nothing_here_and_a_password_nothing_there(
    lab: RestLab, http: TestClient
) -> None:
    token = {"Authorization": f"Bearer {lab.admin}"}
    assert http.get("/CLI/", params={"command": "NOOP"}, headers=token).status_code == 401
    login = basic("postmaster", PASSWORD)
    assert http.get("/api/v1/domains", headers=login).status_code == 401


def test_guessing_is_slowed_and_locked(http: TestClient, slept: list[float]) -> None:
    for _ in range(10):
        answer = http.get("/CLI/", params={"command": "NOOP"}, headers=basic("postmaster", "x"))
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Basic")
    assert slept[0] > 0
    assert slept == sorted(slept)
    assert slept[-1] >= 4
    right = http.get("/CLI/", params={"command": "NOOP"}, headers=basic("postmaster", PASSWORD))
    assert right.status_code == 401  # locked: not even looked at


def test_wrong_requests(http: TestClient) -> None:
    login = basic("postmaster", PASSWORD)
    assert http.get("/CLI/", headers=login).status_code == 400
    assert http.put("/CLI/", headers=login).status_code == 405
    assert http.get("/CLI/x", headers=login).status_code == 401
    huge = http.post("/CLI/", data={"command": "x" * 2_000_000}, headers=login)
    assert huge.status_code == 413


def test_others_are_clients_first(lab: RestLab, slept: list[float]) -> None:
    with TestClient(lab.web.app, client=("192.0.2.1", 5)) as far:
        assert far.get("/CLI/", params={"command": "NOOP"}).status_code == 403


def test_a_page_of_somebody_else_gives_no_commands(http: TestClient) -> None:
    login = basic("postmaster", PASSWORD)
    for site, status in (("cross-site", 403), ("same-site", 403), ("none", 200)):
        headers = {**login, "Sec-Fetch-Site": site}
        answer = http.get("/CLI/", params={"command": "NOOP"}, headers=headers)
        assert answer.status_code == status
