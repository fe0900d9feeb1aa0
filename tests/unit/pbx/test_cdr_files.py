"""Text call records: 24 fields, equal to the table after crashes, rebuilds and removals."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, select

from pbx.eventlog import MemoryLog
from pbx.readmodel import CdrFiles, Database, catch_up, open_read_model
from pbx.readmodel.cdr_files import (
    FIELDS,
    cdr_fields,
    cdr_line,
    iso_time,
    media_field,
    parse_cdr_line,
)
from pbx.readmodel.replay import replay
from pbx.readmodel.tables import cdr_files, cdr_legs, projections
from tests.support.call_histories import history, write_history

ROW: dict[str, Any] = {
    "call_id": "01b8dac5",
    "leg_id": "eb04.2",
    "parent_leg_id": "eb04.1",
    "role": "B",
    "sip_call_id": "x@192.0.2.1",
    "from_uri": "sip:alice@example.org",
    "asserted_identity": "sip:alice@example.org",
    "account": "alice@example.org",
    "request_uri": "sip:200@example.org",
    "target_uri": "sip:bob@192.0.2.2",
    "source": "192.0.2.1:5060",
    "transport": "udp",
    "start_ns": 1_893_456_000_000_000_000,
    "provision_ns": 1_893_456_000_100_000_000,
    "answer_ns": 1_893_456_004_001_999_999,
    "end_ns": 1_893_456_064_002_000_000,
    "talk_ms": 60_001,
    "status": 200,
    "cause": "normal",
    "q850": 16,
    "ended_by": "callee",
    "redirector": "",
    "application": "",
    "gateway": "",
    "billing_id": "",
    "proxied": True,
    "codec": "PCMA",
    "packets_in": 990,
    "packets_out": 1000,
    "packets_lost": 10,
    "jitter_ms": 2.5,
    "mos": 4.3,
}


def test_the_line_has_the_24_fields_in_their_order() -> None:
    assert cdr_line(ROW).split("\t") == [
        "1",
        "01b8dac5",
        "eb04.2/eb04.1",
        "B",
        "x@192.0.2.1",
        "sip:alice@example.org",
        "sip:alice@example.org",
        "alice@example.org",
        "sip:200@example.org",
        "sip:bob@192.0.2.2",
        "192.0.2.1:5060/udp",
        "2030-01-01T00:00:00.000Z",
        "2030-01-01T00:00:00.100Z",
        "2030-01-01T00:00:04.001Z",
        "2030-01-01T00:01:04.002Z",
        "60.001",
        "200",
        "normal/16",
        "callee",
        "-",
        "-",
        "-",
        "-",
        "y,PCMA,990/1000,1.00,2.5,4.30",
    ]


def test_nothing_is_a_dash() -> None:
    row = {**ROW, "parent_leg_id": "", "answer_ns": 0, "provision_ns": 0, "account": ""}
    fields = cdr_line(row).split("\t")
    assert (fields[2], fields[7], fields[12], fields[13]) == ("eb04.2/-", "-", "-", "-")
    silent = {
        "proxied": False,
        "codec": "",
        "packets_in": 0,
        "packets_out": 0,
        "packets_lost": 0,
        "jitter_ms": 0.0,
        "mos": 0.0,
    }
    assert media_field(silent) == "n,-,0/0,-,-,-"
    assert iso_time(0) == ""


@pytest.mark.parametrize(
    "value",
    ["a\tb", "a\nb", "a\r\nb", "\\t", "\\", "a\\\\n\t", "\u2028", "Zo\u00eb", "\x0b\x85"],
)
def test_no_value_can_make_a_field_or_a_line(value: str) -> None:
    """A display name or URI with TAB or line feed must not forge records."""
    line = cdr_line({**ROW, "from_uri": value})
    assert (line.count("\t"), line.count("\n"), line.count("\r")) == (FIELDS - 1, 0, 0)
    assert parse_cdr_line(line + "\n") == cdr_fields({**ROW, "from_uri": value})


@pytest.mark.parametrize("line", ["", "1\t2", "2" + "\t-" * 23, "1" + "\t-" * 24])
def test_other_lines_are_refused(line: str) -> None:
    with pytest.raises(ValueError, match="not a call record of format 1"):
        parse_cdr_line(line)


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog(node="n")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = open_read_model(tmp_path)
    yield made
    made.close()


def written(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted((folder / "CDRs").iterdir())}


def expected(database: Database) -> dict[str, str]:
    """What the table says the files are."""
    files: dict[str, str] = {}
    order = (cdr_legs.c.position, cdr_legs.c.ordinal)
    with database.read() as connection:
        for row in connection.execute(select(cdr_legs).order_by(*order)).mappings():
            name = f"{row['day']}.cdr"
            files[name] = files.get(name, "") + cdr_line(row) + "\n"
    return files


def test_files_equal_the_table_and_turn_at_midnight(
    log: MemoryLog, database: Database, tmp_path: Path
) -> None:
    steps = history(3, 40)
    for start in range(0, len(steps), 50):
        write_history(log, steps[start : start + 50])
        catch_up(log, database)
    assert set(written(tmp_path)) == {"2029-12-31.cdr", "2030-01-01.cdr"}
    assert written(tmp_path) == expected(database)
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "CDRs").iterdir()}
    assert modes == {0o600}


class TestMending:
    @pytest.fixture(autouse=True)
    def half(self, log: MemoryLog, database: Database) -> list[Any]:
        """Half of a history is exported; the rest comes in :meth:`go_on`."""
        steps = history(4, 30)
        write_history(log, steps[: len(steps) // 2])
        catch_up(log, database)
        return steps[len(steps) // 2 :]

    @pytest.mark.parametrize("rest", ["1\ttorn li", "a whole line\n", "two\nlines\n"])
    def test_what_a_crash_left_behind_is_overwritten(
        self, log: MemoryLog, database: Database, tmp_path: Path, half: list[Any], rest: str
    ) -> None:
        """Lines were written, but the crash came before the table knew."""
        for path in (tmp_path / "CDRs").iterdir():
            with path.open("a") as file:
                file.write(rest)
        write_history(log, half)
        catch_up(log, database)
        found, wanted = written(tmp_path), expected(database)
        newest = max(wanted)
        assert found[newest] == wanted[newest]

    def test_a_crash_before_the_export_is_mended_by_the_next_start(
        self, log: MemoryLog, database: Database, tmp_path: Path, half: list[Any]
    ) -> None:
        from pbx.readmodel import Projector, all_projections

        write_history(log, half)
        Projector(log, database, all_projections(log)).catch_up(log.head())  # exports nothing
        assert written(tmp_path) != expected(database)
        CdrFiles(database, tmp_path / "CDRs").export()
        assert written(tmp_path) == expected(database)

    def test_a_file_that_was_taken_away_is_written_anew_with_the_next_record(
        self, log: MemoryLog, database: Database, tmp_path: Path, half: list[Any]
    ) -> None:
        for path in (tmp_path / "CDRs").iterdir():
            path.unlink()
        write_history(log, half)
        catch_up(log, database)
        newest = max(expected(database))
        assert written(tmp_path)[newest] == expected(database)[newest]

    def test_a_rebuild_that_changes_records_writes_the_files_anew(
        self, log: MemoryLog, database: Database, tmp_path: Path
    ) -> None:
        right = written(tmp_path)
        with database.write() as connection:
            connection.execute(delete(cdr_legs).where(cdr_legs.c.role == "A"))
        assert replay(log, database, ["cdrs"]).different > 0
        CdrFiles(database, tmp_path / "CDRs").export()
        assert written(tmp_path) == right == expected(database)

    def test_an_export_overtaken_by_a_rebuild_claims_nothing(
        self, log: MemoryLog, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The rows were replaced between reading and writing: the next export starts anew."""
        with database.write() as connection:
            connection.execute(delete(cdr_files))
        files = CdrFiles(database, tmp_path / "CDRs")
        write = files._write

        def rebuild_then_write(day: str, offset: int, content: bytes) -> None:
            with database.write() as connection:
                connection.execute(projections.update().values(generation=7))
            write(day, offset, content)

        monkeypatch.setattr(files, "_write", rebuild_then_write)
        files.export()
        with database.read() as connection:
            assert connection.execute(select(cdr_files)).all() == []

    def test_a_folder_that_cannot_be_written_is_reported_once_and_tried_again(
        self,
        log: MemoryLog,
        database: Database,
        tmp_path: Path,
        half: list[Any],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        caplog.set_level(logging.ERROR)
        folder = tmp_path / "elsewhere"
        files = CdrFiles(database, folder / "CDRs")
        with database.write() as connection:
            connection.execute(delete(cdr_files))
        files.export()
        files.export()
        assert caplog.text.count("call record files are behind") == 1
        folder.mkdir()
        files.export()
        assert written(folder) == expected(database)
