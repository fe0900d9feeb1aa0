"""``pbx cdr correct`` on either database: a bug in the rules is found in the past and mended."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from pbx.domain.calls import LegMoved
from pbx.domain.readmodel import STREAM, CdrCorrected
from pbx.eventlog import EmbeddedLog, LogUnavailable, open_log
from pbx.readmodel import Database, catch_up, open_read_model
from pbx.readmodel.call_state import CallState, LegState
from pbx.readmodel.correct import Corrector
from pbx.readmodel.projections import cdrs as rules
from pbx.readmodel.replay import rebuilt
from pbx.readmodel.tables import cdr_legs, cdrs
from tests.support.call_histories import history, write_history
from tests.support.commands import Pbx

CALLS = 60


@pytest.fixture
def place(
    new_place: Callable[[], tuple[Path, str]], monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, str]:
    folder, url = new_place()
    folder.chmod(0o700)
    monkeypatch.setenv("RINGLOG_READMODEL__URL", url)
    return folder, url


@pytest.fixture
def log(place: tuple[Path, str]) -> Iterator[EmbeddedLog]:
    """Calls, every fifth of which was transferred."""
    opened = open_log(place[0], node="n1")
    write_history(opened, history(7, CALLS))
    yield opened
    opened.close()


@pytest.fixture
def live(place: tuple[Path, str], log: EmbeddedLog) -> Iterator[Database]:
    """The records as a server with the bug left them: it counts a transferred leg twice."""
    right_cdr, right_leg = rules._cdr, rules._cdr_leg
    counted = rules._CDR.index("legs")
    talked = rules._CDR_LEG.index("talk_ms")

    def wrong_cdr(call: CallState, partition: str) -> tuple[Any, ...]:
        row = list(right_cdr(call, partition))
        row[counted] += sum(_is_moved(leg) for leg in call.legs.values())
        return tuple(row)

    def wrong_leg(call: CallState, leg: LegState) -> tuple[Any, ...]:
        row = list(right_leg(call, leg))
        if _is_moved(leg):
            row[talked] *= 2
        return tuple(row)

    database = open_read_model(*place)
    with pytest.MonkeyPatch.context() as bug:
        bug.setattr(rules, "_cdr", wrong_cdr)
        bug.setattr(rules, "_cdr_leg", wrong_leg)
        catch_up(log, database)
    yield database
    database.close()


def _is_moved(leg: LegState) -> bool:
    return bool(leg.moved_from or leg.moved_to)


@pytest.fixture
def wrong(log: EmbeddedLog) -> set[str]:
    """The ended calls with a transferred leg, from their own events."""
    streams: dict[str, list[Any]] = {}
    for record in log.read(category="pbx.calls"):
        streams.setdefault(record.stream, []).append(record)
    return {
        stream.removeprefix("call/")
        for stream, records in streams.items()
        if records[-1].type == "call.ended.v1"
        and any(isinstance(record.event, LegMoved) for record in records)
    }


@pytest.fixture
def pbx(place: tuple[Path, str], capsys: pytest.CaptureFixture[str]) -> Pbx:
    return Pbx(place[0], capsys)


def rows(database: Database) -> list[Mapping[str, Any]]:
    with database.read() as connection:
        return [
            dict(row)
            for table in (cdrs, cdr_legs)
            for row in connection.execute(
                select(table).order_by(*table.primary_key.columns)
            ).mappings()
        ]


def corrections_in(log: EmbeddedLog) -> list[CdrCorrected]:
    return [e for r in log.read_stream(STREAM) if isinstance(e := r.event, CdrCorrected)]


def test_exactly_the_wrong_records_are_listed_and_nothing_is_changed(
    live: Database, log: EmbeddedLog, wrong: set[str], pbx: Pbx
) -> None:
    before = rows(live)
    found = json.loads(pbx("cdr", "correct", "--json"))
    assert 3 < len(wrong) < CALLS
    assert {call["call_id"] for call in found["calls"]} == wrong
    assert (found["changed"], found["added"], found["removed"]) == (len(wrong), 0, 0)
    for call in found["calls"]:
        fields = {change["field"] for change in call["changes"]}
        assert "legs" in fields
        assert fields <= {"legs", "talk_ms"}, "nothing else is wrong with them"
        for change in call["changes"]:
            if change["field"] == "legs":
                assert (change["leg_id"], change["new"]) == ("", change["old"] - 1)
            else:
                assert change["old"] == 2 * change["new"]
    assert not found["applied"]
    assert rows(live) == before
    assert corrections_in(log) == []


def test_it_is_told_side_by_side(live: Database, wrong: set[str], pbx: Pbx) -> None:
    lines = pbx("cdr", "correct").splitlines()
    heads = [line.split()[0] for line in lines[:-3] if not line.startswith(" ")]
    assert set(heads) == wrong
    assert any(line.split()[:2] == ["call", "legs"] and " → " in line for line in lines)
    assert "events/s)" in lines[-3]
    assert lines[-2].startswith(f"{len(wrong)} calls differ: {len(wrong)} changed, 0 without")
    assert lines[-1] == "nothing was replaced; do that with --apply"


def test_applied_it_is_right_and_the_log_says_so(
    live: Database, log: EmbeddedLog, wrong: set[str], pbx: Pbx, new_place: Any
) -> None:
    other = open_read_model(*new_place())
    catch_up(log, other)
    right = rows(other)
    other.close()
    assert rows(live) != right
    assert pbx("cdr", "correct", "--apply").endswith("they were replaced\n")
    assert rows(live) == right
    (event,) = corrections_in(log)
    assert (event.rules, event.changed, set(event.calls)) == (rules.RULES, len(wrong), wrong)
    ends = [row["end_ns"] for row in right if row["call_id"] in wrong and "leg_id" not in row]
    assert (event.first_end_ns, event.last_end_ns) == (min(ends), max(ends))
    (record,) = log.read_stream(STREAM)
    assert record.actor.startswith("cli:")
    assert pbx("cdr", "correct").splitlines()[-1] == "all records are those of today's rules"
    assert pbx("cdr", "correct", "--apply").splitlines()[-1].startswith("all records are")
    assert len(corrections_in(log)) == 1


def test_text_files_follow(live: Database, place: tuple[Path, str], pbx: Pbx) -> None:
    files = {path: path.read_text() for path in (place[0] / "CDRs").iterdir()}
    assert files
    pbx("cdr", "correct", "--apply")
    after = {path: path.read_text() for path in (place[0] / "CDRs").iterdir()}
    assert after.keys() == files.keys()
    assert after != files
    pbx("replay", "cdrs")
    assert {path: path.read_text() for path in after} == after


def test_a_time_limits_what_is_listed_and_applied(
    live: Database, log: EmbeddedLog, wrong: set[str], pbx: Pbx
) -> None:
    ends = {row["call_id"]: row["end_ns"] for row in rows(live) if "leg_id" not in row}
    middle_s = sorted(ends[call_id] for call_id in wrong)[len(wrong) // 2] // 1_000_000_000
    time = datetime.fromtimestamp(middle_s, UTC).isoformat()
    early = {call_id for call_id in wrong if ends[call_id] < middle_s * 1_000_000_000}
    late = wrong - early
    assert early
    assert late
    found = json.loads(pbx("cdr", "correct", "--json", "--until", time))
    assert {call["call_id"] for call in found["calls"]} == early
    found = json.loads(pbx("cdr", "correct", "--json", "--since", time, "--apply"))
    assert {call["call_id"] for call in found["calls"]} == late
    found = json.loads(pbx("cdr", "correct", "--json"))
    assert {call["call_id"] for call in found["calls"]} == early
    assert set(corrections_in(log)[0].calls) == late


def test_differences_go_to_a_file(
    live: Database, wrong: set[str], pbx: Pbx, tmp_path: Path
) -> None:
    path = tmp_path / "differences.csv"
    pbx("cdr", "correct", "--export", str(path))
    with path.open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert {line["call_id"] for line in lines} == wrong
    assert all(line["ended"].endswith("Z") and line["kind"] == "changed" for line in lines)
    counted = [line for line in lines if line["field"] == "legs"]
    assert [int(line["old"]) - 1 for line in counted] == [int(line["new"]) for line in counted]
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.glob("*.new")) == []


def test_a_file_that_cannot_be_written_is_named(live: Database, pbx: Pbx, tmp_path: Path) -> None:
    told = pbx("cdr", "correct", "--apply", "--export", str(tmp_path / "no" / "x.csv"), status=1)
    assert "cannot write" in told
    assert "No such file or directory" in told
    assert "calls differ" in pbx("cdr", "correct"), "nothing was applied"


def test_records_that_are_missing_or_should_not_be(live: Database, log: EmbeddedLog) -> None:
    with live.write() as connection:
        some = connection.execute(select(cdrs).limit(2)).mappings().all()
        connection.execute(cdrs.delete().where(cdrs.c.call_id == some[0]["call_id"]))
        connection.execute(cdrs.insert(), [{**some[1], "call_id": "zz"}])
    with rebuilt(log, live, ["cdrs"]) as rebuild:
        corrector = Corrector(live, rebuild)
        kinds = {correction.call_id: correction.kind for correction in corrector.corrections()}
        assert kinds[some[0]["call_id"]] == "added"
        assert kinds["zz"] == "removed"
        corrector.apply(log, "cli:al")
    with rebuilt(log, live, ["cdrs"]) as rebuild:
        assert list(Corrector(live, rebuild).corrections()) == []
    (event,) = corrections_in(log)
    assert (event.added, event.removed) == (1, 1)


def test_what_the_log_does_not_take_is_not_applied(
    live: Database, log: EmbeddedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise LogUnavailable("the disk is full")

    with rebuilt(log, live, ["cdrs"]) as rebuild:
        corrector = Corrector(live, rebuild)
        assert list(corrector.corrections())
        monkeypatch.setattr(log, "append", full)
        with pytest.raises(LogUnavailable):
            corrector.apply(log, "cli:al")
    with rebuilt(log, live, ["cdrs"]) as rebuild:
        assert list(Corrector(live, rebuild).corrections())
