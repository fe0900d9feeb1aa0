"""Starting from the read model: whatever is the matter with it, the log has the last word."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text

from pbx.domain.accounts import DomainCreated
from pbx.domain.applications import ApplicationAnswered, ApplicationEnded, ApplicationStarted
from pbx.domain.bindings import BindingAdded
from pbx.domain.calls import CallStarted
from pbx.eventlog import ANY_VERSION, EmbeddedLog, MemoryLog, Meta, UnknownEvent, open_log
from pbx.kernel.events import Event
from pbx.readmodel import make_projector, open_read_model, skip_event
from pbx.readmodel.database import READ_MODEL_FILE, Database
from pbx.readmodel.tables import HEAD_REVISION
from pbx.signal import projected
from pbx.signal.projected import Projected, read_projected
from pbx.signal.restore import close_orphans

ADDRESS = "al@example.org"
ADDED = BindingAdded(
    contact_id="c1", contact="sip:al@192.0.2.7", expires_ns=5, sip_call_id="r", cseq=1
)
STARTED = CallStarted(
    leg_id="a",
    sip_call_id="s",
    from_uri="sip:a@x",
    to_uri="sip:b@x",
    request_uri="sip:b@x",
    source="192.0.2.1:5060",
    transport="udp",
)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EmbeddedLog]:
    opened = open_log(tmp_path, node="n1")
    opened.append(f"binding/{ADDRESS}", 0, [ADDED], Meta())
    opened.append("call/1", 0, [STARTED], Meta())
    yield opened
    opened.close()


@pytest.fixture
def database(tmp_path: Path, log: EmbeddedLog) -> Iterator[Database]:
    """A read model that is level with the log."""
    opened = open_read_model(tmp_path)
    make_projector(log, opened).catch_up(log.head())
    yield opened
    opened.close()


def test_it_reads_the_tables_of_this_version() -> None:
    """Without SQLAlchemy it cannot take the names from there."""
    assert projected.REVISION == HEAD_REVISION
    assert projected.FILE == READ_MODEL_FILE


def test_what_is_certain_is_read(tmp_path: Path, log: EmbeddedLog, database: Database) -> None:
    found = read_projected(tmp_path, log, "n1")
    assert found.bindings is not None
    assert found.bindings.versions == {ADDRESS: 1}
    (binding,) = found.bindings.bindings[ADDRESS]
    assert (binding.contact, binding.expires_ns) == (ADDED.contact, ADDED.expires_ns)
    assert found.calls == (log.head(), ["call/1"])
    assert read_projected(tmp_path, log, "n2").calls == (log.head(), [])


def test_it_waits_for_nobody_who_writes(
    tmp_path: Path, log: EmbeddedLog, database: Database
) -> None:
    """The projector is in the middle of a transaction: what was committed before is read."""
    with database.write() as connection:
        connection.execute(text("DELETE FROM bindings"))
        connection.execute(text("UPDATE projections SET position = 1"))
        found = read_projected(tmp_path, log, "n1")
        assert found.bindings is not None
        assert ADDRESS in found.bindings.bindings
    assert read_projected(tmp_path, log, "n1").bindings is None, "1 is not what it says it is"


def test_without_a_read_model_none_is_made(tmp_path: Path) -> None:
    assert read_projected(tmp_path, MemoryLog(), "n1") == Projected()
    assert list(tmp_path.iterdir()) == []


def test_a_new_or_broken_file_is_left_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """At the first start the project role makes the file at the same time: nothing to warn of."""
    caplog.set_level(logging.WARNING)
    path = tmp_path / READ_MODEL_FILE
    path.touch()
    assert read_projected(tmp_path, MemoryLog(), "n1") == Projected()
    assert caplog.text == ""
    path.write_bytes(b"no database" * 1000)
    assert read_projected(tmp_path, MemoryLog(), "n1") == Projected()
    assert "starting from the log" in caplog.text


def test_tables_of_another_version_are_not_read(
    tmp_path: Path, log: EmbeddedLog, database: Database
) -> None:
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    assert read_projected(tmp_path, log, "n1") == Projected()


@pytest.mark.parametrize("records", [0, 1, 5])
def test_rows_of_another_log_are_not_used(
    tmp_path: Path, log: EmbeddedLog, database: Database, records: int
) -> None:
    """A log restored from a backup is shorter, or has other events at the same positions."""
    other = MemoryLog()
    for number in range(records):
        other.append(f"domain/{number}", 0, [DomainCreated(name="x")], Meta())
    assert read_projected(tmp_path, other, "n1") == Projected()


def test_what_stepped_over_an_event_is_not_used(
    tmp_path: Path, log: EmbeddedLog, database: Database
) -> None:
    """The log's fold may take the event; the others' rows stand."""
    log.append(f"binding/{ADDRESS}", 1, [UnknownEvent(type="binding.added.v1", data=b"{}")], Meta())
    make_projector(log, database).catch_up(log.head())
    stopped = read_projected(tmp_path, log, "n1")
    assert stopped.bindings is not None, "a projection that stopped is right up to there"
    assert stopped.bindings.position == 2
    skip_event(log, database, "bindings")
    skipped = read_projected(tmp_path, log, "n1")
    assert skipped.bindings is None
    assert skipped.calls is not None


def test_the_file_of_a_server_that_was_killed_is_read(
    tmp_path: Path, log: EmbeddedLog, database: Database
) -> None:
    """Its rows are in the WAL still, and the file beside it that indexes the WAL may be gone."""
    copy = tmp_path / "copy"
    copy.mkdir()
    for suffix in ("", "-wal"):
        source = database.folder / (READ_MODEL_FILE + suffix)
        (copy / source.name).write_bytes(source.read_bytes())
    found = read_projected(copy, log, "n1")
    assert found.bindings is not None
    assert ADDRESS in found.bindings.bindings


@pytest.mark.parametrize("with_read_model", [False, True])
def test_programs_of_the_run_before_are_closed(
    tmp_path: Path, log: EmbeddedLog, with_read_model: bool
) -> None:
    """Tasks that died with the server end with it, whether or not tables know of them; those that
    ended, and those of other nodes, are left alone."""

    def write(task: str, *events: Event, node: str = "") -> None:
        meta = Meta(correlation="call-1", tenant="example.org", node=node)
        log.append(f"application/{task}", ANY_VERSION, events, meta)

    write("T1", ApplicationStarted(task_id="T1", program="pbx"), ApplicationAnswered(elapsed_ms=9))
    write("T2", ApplicationStarted(task_id="T2", program="pbx"), ApplicationEnded(reason="stop"))
    write("T3", ApplicationStarted(task_id="T3", program="pbx"), node="n2")
    if with_read_model:
        with closing(open_read_model(tmp_path)) as database:
            make_projector(log, database).catch_up(log.head())
        found = read_projected(tmp_path, log, "n1")
        assert found.tasks == (log.head(), ["application/T1"])
    write("T4", ApplicationStarted(task_id="T4", program="queue"))  # after the checkpoint
    for _ in range(2):  # the second start finds nothing to do
        close_orphans(log, "n1", read_projected(tmp_path, log, "n1"))
        ends = {
            task: [
                record
                for record in log.read_stream(f"application/{task}")
                if isinstance(record.event, ApplicationEnded)
            ]
            for task in ("T1", "T2", "T3", "T4")
        }
        assert [len(found) for found in ends.values()] == [1, 1, 0, 1]
        (end,) = ends["T1"]
        assert isinstance(end.event, ApplicationEnded)
        assert (end.event.reason, end.event.ended_by) == ("interrupted", "server")
        assert (end.version, end.correlation, end.tenant) == (3, "call-1", "example.org")
        assert end.actor == "node:n1"
