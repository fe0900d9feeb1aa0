"""A server whose read model is in PostgreSQL: calls go on while the database is away."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.conftest import TRUSTING, with_accounts
from tests.interop.peers.sipp import Sipp, register
from tests.support.postgres import PostgresServer
from tests.support.server_process import ServerError, ServerProcess

pytestmark = pytest.mark.needs("sipp", "initdb", "psycopg")

PASSWORD = "geheim"


@pytest.fixture
def postgres() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    """With a password, which the test's server does not ask for."""
    return postgres.new_database().replace("ringlog@", f"ringlog:{PASSWORD}@")


def make_server(folder: Path, url: str) -> ServerProcess:
    return ServerProcess(folder, settings=f'{TRUSTING}[readmodel]\nurl = "{url}"\n')


def make_call(server: ServerProcess, folder: Path) -> None:
    with Sipp(folder, "uas_answer") as uas:
        register(folder, server.address("udp"), "bob", uas.port)
        with Sipp(folder, "uac_plain", server.address()) as uac:
            uac.wait()
            uas.wait()
        register(folder, server.address("udp"), "bob", uas.port, expires_s=0)


def test_calls_go_on_while_the_database_is_away(
    postgres: PostgresServer, url: str, tmp_path: Path
) -> None:
    with make_server(tmp_path / "data", url) as server:
        with_accounts(server)
        make_call(server, tmp_path)
        assert len(server.await_cdrs(1)) == 1
        assert not (server.data / "readmodel.sqlite3").exists()
        assert len(list((server.data / "CDRs").glob("*.cdr"))) == 1

        postgres.stop(signal.SIGQUIT)
        make_call(server, tmp_path)
        with pytest.raises(ServerError, match=r"the read model \(.*\) cannot be used now"):
            server.cdrs()

        postgres.start()
        assert len(server.await_cdrs(2)) == 2
        outcome = json.loads(server.run("replay", "--all", "--json"))
        assert outcome["different"] == 0
        assert outcome["events_per_second"] > 0
        assert PASSWORD not in server.log()
        assert PASSWORD not in server.run("settings")
        assert "ringlog:***@" in server.run("settings")


def test_a_server_starts_without_its_database_and_takes_it_up_later(
    postgres: PostgresServer, url: str, tmp_path: Path
) -> None:
    postgres.stop()
    with make_server(tmp_path / "data", url) as server:
        with_accounts(server)
        make_call(server, tmp_path)
        assert "nothing is projected, trying again" in server.log()
        postgres.start()
        assert len(server.await_cdrs(1)) == 1

        # The role dies by kill -9: its lease is free at once, the next one goes on.
        os.kill(server.roles()["project"].pid, signal.SIGKILL)
        make_call(server, tmp_path)
        assert len(server.await_cdrs(2, timeout_s=20)) == 2
        started = time.monotonic()
        server.kill()
        server.start()
        assert time.monotonic() - started < 20
        assert len(server.await_cdrs(2)) == 2
