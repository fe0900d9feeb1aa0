"""What only a log in a file must withstand: kill -9, torn tails, full disks, foreign files."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pbx.domain.accounts import AccountPasswordSet, DomainCreated
from pbx.domain.calls import LegDigit
from pbx.domain.nodes import NodeAlive
from pbx.eventlog import (
    Codec,
    EmbeddedLog,
    LogFormatError,
    LogUnavailable,
    Meta,
    open_keys,
    open_log,
)
from pbx.eventlog.embedded_file import FORMAT
from pbx.eventlog.record import Row, make_rows

ROOT = Path(__file__).parent.parent.parent.parent

APPENDER = """
import sys
from pathlib import Path
from pbx.domain.calls import LegDigit
from pbx.eventlog import LogWriter, Meta, open_log

log = open_log(Path(sys.argv[1]), unseal=False)
writer = LogWriter(log, notify=lambda function: function())
writer.start()

def decide(version, stream):
    def done(verdict):
        # Said only when durable: what the parent reads must be in the log after any crash.
        sys.stdout.write(f"{stream} {version + 1}\\n")
        sys.stdout.flush()
        decide(version + 1, stream)
    writer.decide(stream, version, [LegDigit(leg_id="x")], Meta(), done)

for number in range(4):
    decide(0, f"account/{number}")
version = 0
while True:
    version += 1
    writer.observe("call/noise", version, LegDigit(leg_id="x"), Meta())
    if writer.backlog > 1000:
        log.wait(log.head(), 1.0)
"""


DIGIT = LegDigit(leg_id="a")


def row(version: int, stream: str = "call/a") -> Row:
    return (stream, version, "leg.digit.v1", version, "", "", "", "", "", b'{"leg_id":"a"}')


@pytest.mark.slow
def test_kill_9_loses_no_decided_event(tmp_path: Path) -> None:
    """Whatever was acknowledged before SIGKILL is there, and the log opens by itself."""
    acknowledged: dict[str, int] = {}
    for wanted in (40, 200):
        shutil.rmtree(tmp_path, ignore_errors=True)
        tmp_path.mkdir()
        acknowledged.clear()
        process = subprocess.Popen(
            [sys.executable, "-c", APPENDER, str(tmp_path)],
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            text=True,
        )
        assert process.stdout is not None
        with process.stdout as output:
            for _ in range(wanted):
                stream, version = output.readline().split()
                acknowledged[stream] = int(version)
            process.send_signal(signal.SIGKILL)
            for line in output:
                if line.endswith("\n"):
                    stream, version = line.split()
                    acknowledged[stream] = int(version)
        assert process.wait() == -signal.SIGKILL

        log = open_log(tmp_path)
        for stream, promised in acknowledged.items():
            versions = [record.version for record in log.read_stream(stream)]
            assert versions == list(range(1, len(versions) + 1))
            assert promised <= len(versions) <= promised + 1
        noise = [record.version for record in log.read_stream("call/noise")]
        assert noise == list(range(1, len(noise) + 1)), "what is left of the facts is a prefix"
        log.append("account/0", len(list(log.read_stream("account/0"))), [DIGIT], Meta())
        log.close()


@pytest.mark.parametrize("cut", [1, 100, 4096, 5000, 20_000])
def test_a_torn_tail_is_cut_off_at_a_transaction(tmp_path: Path, cut: int) -> None:
    """The machine lost power amid a write: the end of the WAL is missing or garbage."""
    log = EmbeddedLog(tmp_path / "log.sqlite3")
    for number in range(20):
        log.commit([row(number * 5 + n) for n in range(1, 6)])
    torn = tmp_path / "torn"
    torn.mkdir()
    for name in ("log.sqlite3", "log.sqlite3-wal"):
        shutil.copy(tmp_path / name, torn / name)
    log.close()
    wal = torn / "log.sqlite3-wal"
    content = wal.read_bytes()
    wal.write_bytes(content[: len(content) - cut] + b"\xff" * (cut // 2))

    opened = EmbeddedLog(torn / "log.sqlite3")
    versions = [record.version for record in opened.read()]
    assert versions == list(range(1, len(versions) + 1))
    assert len(versions) % 5 == 0, "a transaction is there whole or not at all"
    assert len(versions) < 100
    opened.commit([row(len(versions) + 1)])
    assert opened.head() == len(versions) + 1
    opened.close()


def test_files_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    log.append(
        "account/a@b",
        0,
        [AccountPasswordSet(realm="b", ha1_md5="m", ha1_sha256="s")],
        Meta(),
    )
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    log.close()
    assert {"log.sqlite3", "log.sqlite3-wal", "keys.sqlite3"} <= set(modes)
    assert set(modes.values()) == {0o600}


def test_many_may_create_the_log_at_once(tmp_path: Path) -> None:
    """Server and command are started together on a fresh machine."""
    errors: list[BaseException] = []

    def create(number: int) -> None:
        try:
            log = EmbeddedLog(tmp_path / "log.sqlite3", busy_timeout_s=30)
            log.commit([row(1, f"call/{number}")])
            log.close()
        except BaseException as error:  # noqa: BLE001  shown below
            errors.append(error)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    log = EmbeddedLog(tmp_path / "log.sqlite3")
    assert len(list(log.read())) == 8
    log.close()


def test_a_log_of_a_newer_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite3"
    EmbeddedLog(path).close()
    database = sqlite3.connect(path)
    database.execute(f"PRAGMA user_version = {FORMAT + 1}")
    database.close()
    with pytest.raises(LogFormatError, match=f"format {FORMAT + 1}"):
        EmbeddedLog(path)


def test_the_database_of_another_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite3"
    database = sqlite3.connect(path)
    database.execute("PRAGMA application_id = 77")
    database.execute("CREATE TABLE theirs (x)")
    database.close()
    with pytest.raises(LogFormatError, match="another or a newer program"):
        EmbeddedLog(path)


def test_a_file_that_is_no_database_and_a_missing_folder_are_named(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite3"
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(LogUnavailable, match=r"log\.sqlite3: file is not a database"):
        EmbeddedLog(path)
    with pytest.raises(LogUnavailable, match="No such file"):
        EmbeddedLog(tmp_path / "missing" / "log.sqlite3")


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path) -> None:
    log = EmbeddedLog(tmp_path / "log.sqlite3")
    log.commit([row(1)])
    database = log._writer
    assert database is not None
    (pages,) = database.execute("PRAGMA page_count").fetchone()
    database.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(LogUnavailable, match="the disk is full"):
        log.commit([row(version) for version in range(2, 500)])
    assert log.head() == 1
    database.execute("PRAGMA max_page_count = 100000")
    log.commit([row(version) for version in range(2, 500)])
    assert log.head() == 499
    log.close()


def test_after_an_io_error_the_connection_is_replaced(tmp_path: Path) -> None:
    """A connection that saw SQLITE_IOERR or the like is not trusted again."""
    log = EmbeddedLog(tmp_path / "log.sqlite3")
    log.commit([row(1)])
    broken = log._writer
    assert broken is not None
    broken.execute("DROP TABLE events")  # any error that is neither busy nor full
    with pytest.raises(LogUnavailable, match="no such table"):
        log.commit([row(2)])
    assert log._writer is not broken
    with pytest.raises(LogUnavailable, match="no such table"):
        log.head()
    log.close()


def test_a_row_that_cannot_be_stored_is_the_callers_error(tmp_path: Path) -> None:
    """Not LogUnavailable: trying again would never help."""
    log = EmbeddedLog(tmp_path / "log.sqlite3")
    bad: Row = ("call/a", 1, "leg.digit.v1", "soon", "", "", "", "", "", b"{}")  # type: ignore[assignment]
    with pytest.raises(sqlite3.IntegrityError):
        log.commit([row(1), bad])
    with pytest.raises(UnicodeEncodeError):
        log.commit([row(1, "call/\udcff")])
    assert log.head() == 0
    log.commit([row(1)])
    log.close()


def test_renumbered_facts_are_counted(tmp_path: Path) -> None:
    log = EmbeddedLog(tmp_path / "log.sqlite3", codec=Codec())
    log.append("binding/a", 0, [LegDigit(leg_id="cli")], Meta())
    log.commit([row(1, "binding/a"), row(-1, "node/n")])
    assert log.renumbered == 1
    assert [r.version for r in log.read_stream("binding/a")] == [1, 2]
    log.close()


def test_a_closed_log_takes_nothing(tmp_path: Path) -> None:
    log = EmbeddedLog(tmp_path / "log.sqlite3")
    log.close()
    with pytest.raises(LogUnavailable, match="is closed"):
        log.commit([row(1)])
    assert not log.wait(0, 30.0)


def test_the_log_of_a_data_directory_seals_with_its_keys(tmp_path: Path) -> None:
    event = AccountPasswordSet(realm="b", ha1_md5="m", ha1_sha256="s")
    log = open_log(tmp_path, node="n1")
    log.append("account/a@b", 0, [event], Meta())
    log.append("domain/b", 0, [DomainCreated(name="b")], Meta())
    log.close()
    open_keys(tmp_path).erase("account/a@b")
    log = open_log(tmp_path)
    first, second = log.read()
    assert "[erased]" in str(first.event)
    assert second.event == DomainCreated(name="b")
    log.close()


def test_facts_reach_the_disk_by_sync_and_with_the_next_decision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Facts alone are not synced; `sync` does it once; a decision does it by itself."""
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", synced.append)
    log = EmbeddedLog(tmp_path / "log.sqlite3", node="n")
    event = NodeAlive(calls=1)
    row = make_rows(log.codec, "node/n", [event], Meta(), time_ns=1, node="n")[0]
    log.commit([(row[0], 1, *row[2:])])
    log.sync()
    log.sync()
    assert len(synced) == 1
    log.commit([(row[0], 2, *row[2:])])
    log.append("node/n", 2, [event], Meta())
    log.sync()
    assert len(synced) == 1
    log.close()


def test_a_disk_that_cannot_be_synced_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`LogUnavailable`, and the facts stay due for the next try."""
    log = EmbeddedLog(tmp_path / "log.sqlite3", node="n")
    row = make_rows(log.codec, "node/n", [NodeAlive()], Meta(), time_ns=1, node="n")[0]
    log.commit([(row[0], 1, *row[2:])])

    def broken(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", broken)
        with pytest.raises(LogUnavailable, match="Input/output error"):
            log.sync()
    log.sync()
    log.close()
