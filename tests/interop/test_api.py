"""The API of a running server, asked by programs that know its OpenAPI document alone.

Schemathesis makes requests of that document, right ones and wrong ones, and checks each answer
against it; curl does what ``docs/api.md`` says.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from tests.interop.conftest import TRUSTING, with_accounts
from tests.interop.peers.processes import await_condition
from tests.interop.peers.sipp import Sipp, register
from tests.support.server_process import DOMAIN, ServerProcess

# Schemathesis shows wrong tokens on purpose, and far more often than anybody should be let.
SETTINGS: Final = TRUSTING + "[limits]\nfailed_logins = 100000\n"
SECONDS: Final = 100
"""Of Schemathesis, at most."""
EXAMPLES: Final = 12

# Statuses that are right for requests which fit the schema and are refused all the same.
CONFIG: Final = """
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "304", "400", "401", "403", "404", "409", "412", "422"]
[checks.negative_data_rejection]
expected-statuses = ["400", "401", "403", "404", "405", "412", "413", "415", "422", "428"]
[checks.missing_required_header]
expected-statuses = ["428"]
"""


class Site(NamedTuple):
    """A server, where its API is, and a token for everything."""

    server: ServerProcess
    admin: str
    token: str


class Answer(NamedTuple):
    status: int
    headers: Any
    body: Any


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    data = tmp_path_factory.mktemp("api")
    with ServerProcess(data, settings=SETTINGS, options=("--admin", "127.0.0.1:0")) as made:
        with_accounts(made)
        token = made.run("token", "create", "tests", "--scope", "admin").strip()
        yield Site(made, made.admin(), token)


def ask(site: Site, method: str, path: str, body: Any = None, **headers: str) -> Answer:
    """One request; headers are written with underscores."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        f"http://{site.admin}{path}",
        data,
        {
            "Authorization": f"Bearer {site.token}",
            "Content-Type": "application/json",
            **named,
        },
        method=method,
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            raw = answer.read()
            return Answer(answer.status, answer.headers, json.loads(raw) if raw else None)
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.headers, json.loads(error.read()))


def test_a_change_is_in_force_when_it_is_answered(site: Site) -> None:
    """The account that is made can call, by the alias it gets."""
    path = f"/api/v1/domains/{DOMAIN}/accounts"
    made = ask(site, "POST", path, {"name": "eve", "aliases": ["501"]}, Idempotency_Key="a")
    assert made.status == 201
    again = ask(site, "POST", path, {"name": "eve", "aliases": ["501"]}, Idempotency_Key="a")
    assert (again.status, again.body) == (201, made.body)
    assert again.headers["idempotency-replayed"] == "true"
    trace = ask(site, "POST", "/api/v1/router/trace", {"address": f"501@{DOMAIN}"})
    assert trace.body["account"] == f"eve@{DOMAIN}"
    etag = made.headers["etag"]
    place = made.headers["location"]
    site.server.run("alias", "add", "502", f"eve@{DOMAIN}")
    late = ask(site, "PATCH", place, {"aliases": []}, If_Match=etag)
    assert late.status == 412
    assert late.body["changed_by"].startswith("cli:")
    assert late.body["etag"] == ask(site, "GET", place).headers["etag"]


@pytest.mark.needs("sipp")
@pytest.mark.parametrize("by", ["api", "command"])
def test_a_call_is_seen_and_ended(site: Site, tmp_path: Path, by: str) -> None:
    remote = site.server.address()
    with Sipp(tmp_path, "uas_answer", calls=1) as uas:
        register(tmp_path, remote, "bob", uas.port)
        phones = ask(site, "GET", f"/api/v1/registrations?account=bob@{DOMAIN}").body["items"]
        assert [phone["account"] for phone in phones] == [f"bob@{DOMAIN}"]
        with Sipp(tmp_path, "uac_plain", remote, calls=1, rate=1, hold_ms=20_000):
            found: list[Any] = []

            def answered() -> bool:
                found[:] = ask(site, "GET", "/api/v1/calls").body["items"]
                return bool(found) and found[0]["state"] == "answered"

            await_condition(answered, "the call is listed")
            call_id = found[0]["call_id"]
            if by == "api":
                path = f"/api/v1/calls/{call_id}/hangup"
                asked = ask(site, "POST", path, {"reason": 'a "test"'})
                assert (asked.status, asked.body["call_id"]) == (202, call_id)
            else:
                site.server.run("calls", "end", call_id, "--reason", 'a "test"')
            site.server.await_no_calls()
        register(tmp_path, remote, "bob", uas.port, expires_s=0)
    assert ask(site, "GET", f"/api/v1/calls/{call_id}").status == 404
    records = ask(site, "GET", f"/api/v1/cdrs?account=bob@{DOMAIN}").body["items"]
    assert records[-1]["call_id"] == call_id
    assert (records[-1]["cause"], records[-1]["reason"]) == ("admin", 'a "test"')
    story = site.server.run("log", "--call", call_id)
    assert (f"token:{site.token.split('_')[1]}" if by == "api" else "cli:") in story


def test_commands_over_http(site: Site) -> None:
    site.server.run("account", "rights", f"alice@{DOMAIN}", "Master")
    login = base64.b64encode(f"alice@{DOMAIN}:secret-alice".encode()).decode()
    request = urllib.request.Request(
        f"http://{site.admin}/CLI/?command=MAINDOMAINNAME",
        headers={"Authorization": f"Basic {login}"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.read().decode() == f"{DOMAIN}\n"


@pytest.mark.needs("schemathesis")
def test_answers_are_what_the_document_says(site: Site, tmp_path: Path) -> None:
    """All checks and phases of Schemathesis, without chance, within a bound of time."""
    config = tmp_path / "schemathesis.toml"
    config.write_text(CONFIG)
    done = subprocess.run(
        [
            sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "run",
            f"http://{site.admin}/api/v1/openapi.json",
            "--header", f"Authorization: Bearer {site.token}",
            "--generation-deterministic",
            "--max-examples", str(EXAMPLES), "--max-time", str(SECONDS), "--no-color",
            "--continue-on-failure", "--warnings", "off", "--suppress-health-check", "all",
        ],
        cwd=tmp_path, capture_output=True, text=True, timeout=3 * SECONDS, check=False,
    )  # fmt: skip
    (tmp_path / "out.txt").write_text(done.stdout)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
