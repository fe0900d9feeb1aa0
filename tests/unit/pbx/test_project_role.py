"""``pbx.project_role``: the log becomes tables and files until the role is told to stop."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import select

from pbx import project_role
from pbx.configdb import FILE, open_config
from pbx.datadir import DataDirectory
from pbx.domain.accounts import AccountCreated, AccountPasswordSet, DomainCreated
from pbx.eventlog import KEYS_FILE, LOG_FILE, Meta, open_log
from pbx.project_role import run
from pbx.readmodel.database import READ_MODEL_FILE, SqliteDatabase
from pbx.readmodel.tables import domains
from pbx.roles import Fatal, RoleContext
from pbx.settings import Settings
from pbx.settings_source import load_settings
from tests.support.call_histories import history, write_history


@pytest.fixture
def data(tmp_path: Path) -> Iterator[DataDirectory]:
    """A directory with one domain in its log; signal handlers are put back afterwards."""
    directory = DataDirectory(tmp_path)
    directory.prepare()
    log = open_log(directory.path)
    log.append("domain/a.example", 0, [DomainCreated(name="a.example")], Meta())
    log.close()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield directory
    for number, handler in before.items():
        signal.signal(number, handler)


class StopWhenReady(RoleContext):
    """Stops the role as the supervisor does, the moment it reports."""

    def ready(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("text_files", [True, False])
def test_what_is_in_the_log_at_the_stop_is_projected(data: DataDirectory, text_files: bool) -> None:
    settings = load_settings(overrides={"cdr": {"text_files": text_files}})
    assert run(StopWhenReady(data, settings)) == 0
    database = SqliteDatabase(data.path / READ_MODEL_FILE)
    with database.read() as connection:
        names = connection.execute(select(domains.c.name)).scalars().all()
    database.close()
    assert names == ["a.example"]


@pytest.mark.parametrize("feed", [True, False])
def test_call_records_become_events_of_this_node(data: DataDirectory, feed: bool) -> None:
    with closing(open_log(data.path, node="n1")) as log:
        write_history(log, history(2, 20))
    settings = load_settings(
        overrides={
            "cdr": {"feed": feed},
            "server": {"node": "n1"},
            "privacy": {"seal_calls": True},
        }
    )
    assert run(StopWhenReady(data, settings)) == 0
    with closing(open_log(data.path, unseal=False)) as log:
        ended = list(log.read(types=["call.ended.*"]))
        told = list(log.read(category="pbx.cdrs"))
    assert len(told) == (len(ended) if feed else 0)
    assert all(record.node == "n1" and b"@example.org" not in record.data for record in told)


def test_a_projector_that_dies_takes_the_role_with_it(
    data: DataDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the supervisor starts a new one."""
    monkeypatch.setattr("pbx.readmodel.runner.Projector.run", lambda *_: None)
    monkeypatch.setattr("pbx.readmodel.share.TICK_S", 0.01)
    monkeypatch.setattr("pbx.project_role.LOOK_S", 0.01)
    assert run(RoleContext(data, Settings())) == 1


def test_the_role_opens_personal_fields_and_no_secrets(data: DataDirectory) -> None:
    """It makes call records and has no business with passwords."""
    secret = AccountPasswordSet(realm="a.example", ha1_md5="0" * 32, ha1_sha256="0" * 64)
    created = AccountCreated(name="al", domain="a.example", display_name="Al Smith")
    with closing(open_log(data.path, seal_personal=True)) as log:
        log.append("account/al@a.example", 0, [secret, created], Meta(actor="test"))
    with closing(open_log(data.path, unseal="personal")) as log:
        found = [record.event for record in log.read_stream("account/al@a.example")]
    assert found == [
        AccountPasswordSet(realm="a.example", ha1_md5="[sealed]", ha1_sha256="[sealed]"),
        created,
    ]
    assert run(StopWhenReady(data, Settings())) == 0
    (data.path / KEYS_FILE).unlink()
    assert run(StopWhenReady(data, Settings())) == 0  # without keys it projects what it can read


def test_a_file_that_is_no_log_is_fatal(data: DataDirectory) -> None:
    for file in data.path.glob(f"{LOG_FILE}*"):
        file.unlink()
    (data.path / LOG_FILE).write_bytes(b"not a database at all" * 100)
    with pytest.raises(Fatal):
        run(StopWhenReady(data, Settings()))


@pytest.mark.needs("psycopg")
def test_a_database_that_is_away_keeps_no_server_from_starting(
    data: DataDirectory, caplog: pytest.LogCaptureFixture
) -> None:
    """The role reports itself ready, waits, and ends when it is told to."""
    url = "postgresql://al:geheim@127.0.0.1:1/ringlog"
    settings = load_settings(overrides={"readmodel": {"url": url}})
    assert run(StopWhenReady(data, settings)) == 0
    assert "nothing is projected, trying again: the read model (ringlog on 127.0.0.1:1)" in (
        caplog.text
    )
    assert "geheim" not in caplog.text


def test_a_file_that_is_no_read_model_is_fatal_and_says_the_remedy(data: DataDirectory) -> None:
    (data.path / READ_MODEL_FILE).write_bytes(b"not a database at all" * 100)
    with pytest.raises(Fatal, match="it can be deleted"):
        run(StopWhenReady(data, Settings()))


class Moments(threading.Event):
    """Is set when nothing is left to happen; each wait is a moment in which something happens."""

    def __init__(self, *moments: Callable[[], object]) -> None:
        super().__init__()
        self._moments = list(moments)

    def wait(self, timeout: float | None = None) -> bool:
        if self._moments:
            self._moments.pop(0)()
        else:
            self.set()
        return self.is_set()


def test_the_configuration_is_brought_level_meanwhile(
    data: DataDirectory, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever looks something up finds nothing to do; a file that cannot be used is told once."""
    found: list[list[str]] = []

    def look() -> None:
        with closing(open_config(data.path)) as database, closing(database.reader()) as reader:
            found.append([name for name, _, _ in reader.domains()])

    def change() -> None:
        with closing(open_log(data.path)) as log:
            log.append("domain/b.example", 0, [DomainCreated(name="b.example")], Meta())

    blocked = data.path / FILE
    blocked.mkdir()
    nothing: Callable[[], object] = lambda: None  # noqa: E731
    project_role._level_until(Moments(nothing, blocked.rmdir, look, look, change, look), data)
    assert caplog.text.count("not brought level") == 1
    assert found == [[], ["a.example"], ["a.example", "b.example"]]
