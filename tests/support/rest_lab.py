"""The administration over HTTP in this process: two domains, tokens of every kind, a client."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, Final

from httpx2 import Response
from starlette.testclient import TestClient

from pbx.admin.service import AdminConfig, AdminService
from pbx.commands import Administration
from pbx.eventlog import MemoryLog
from pbx.readmodel import open_read_model
from pbx.rest.backend import Backend
from pbx.rest.operations import PREFIX
from pbx.rest.role import routes
from pbx.settings_changes import SettingsChanges
from pbx.tokens import create_token
from tests.support.clock import VirtualClock
from tests.support.web_lab import WebLab

MAIN: Final = "main.example"
OTHER: Final = "other.example"
CLERK_CODES: Final = (
    "Domain",
    "CanCreateAccounts",
    "CanCreateAliases",
    "BasicSettings",
    "RealName",
)
"""Rights of ``clerk`` in the second domain."""


class RestLab:
    """A log with ``ann`` and ``bob`` in the main domain, ``clerk`` and ``carl`` in another."""

    def __init__(self, folder: Path | None = None, log: MemoryLog | None = None) -> None:
        """Over a `log` as it is, if one is given."""
        self.log = MemoryLog(node="lab") if log is None else log
        self._bytes = count(1)
        self.changes = SettingsChanges(self.log, actor="lab")
        self.administration = Administration(self.log, actor="lab")
        if log is None:
            self._fill(self.administration)
        self.clock = VirtualClock(1000.0)
        self.service = AdminService(
            self.log, AdminConfig(version="1.2.3"), self.clock, random.Random(7)
        )
        self.backend = Backend(
            self.service,
            open_database=None if folder is None else lambda: open_read_model(folder),
            own_hosts=frozenset({"localhost"}),
        )
        self.web = WebLab(self.log, routes=routes(self.backend))
        self.admin = self.token("admin")

    def _fill(self, administration: Administration) -> None:
        administration.create_domain(MAIN)
        administration.create_domain(OTHER)
        for address in (f"ann@{MAIN}", f"bob@{MAIN}", f"clerk@{OTHER}", f"carl@{OTHER}"):
            administration.create_account(address, "first password")
        administration.create_group(f"sales@{MAIN}", ["ann", "bob"])
        administration.create_group(f"team@{OTHER}", ["carl"])
        administration.create_forwarder(f"info@{MAIN}", "ann")
        administration.create_forwarder(f"post@{OTHER}", "carl")
        self.changes.set_rights(f"clerk@{OTHER}", CLERK_CODES)

    def token(self, *scopes: str, domain: str = "", account: str = "") -> str:
        """The text of a new token."""
        return create_token(
            self.log,
            actor="lab",
            name="test",
            scopes=scopes,
            domain=domain,
            account=account,
            now_ns=self.web.clock.wall_ns(),
            random=lambda length: next(self._bytes).to_bytes(length, "big"),
        ).text

    @contextmanager
    def client(self, token: str | None = None) -> Iterator[Caller]:
        """A client that shows `token`; that of a Master if None."""
        with self.web.client(self.admin if token is None else token) as client:
            yield Caller(client)

    def close(self) -> None:
        """Release threads and tables."""
        self.backend.close()
        self.web.close()


class Caller:
    """A client of the API."""

    def __init__(self, client: TestClient) -> None:
        self.http = client

    def get(self, path: str, **headers: str) -> Response:
        return self.send("GET", path, **headers)

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> Response:
        """`headers` are written with underscores; a body is sent as JSON."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        arguments: dict[str, Any] = {} if body is None else {"json": body}
        if method == "PATCH":
            named.setdefault("Content-Type", "application/merge-patch+json")
        return self.http.request(method, PREFIX + path, headers=named, **arguments)

    def etag(self, path: str) -> str:
        """Of what is at a path now."""
        return str(self.get(path).headers["etag"])

    def change(self, method: str, path: str, body: Any = None, **headers: str) -> Response:
        """With the ETag of now."""
        return self.send(method, path, body, If_Match=self.etag(path), **headers)


def problem(answer: Response) -> tuple[int, str]:
    """Status and name of a refusal."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    body = answer.json()
    assert body["status"] == answer.status_code
    return answer.status_code, body["type"].removeprefix("urn:ringlog:problem:")
