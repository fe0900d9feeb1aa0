"""Reports and exports on either database, against the same figures counted here row by row."""

from __future__ import annotations

import csv
import math
import re
from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest
from sqlalchemy import select

from pbx.eventlog import MemoryLog
from pbx.kernel.errors import ReadModelError
from pbx.readmodel import Database, catch_up
from pbx.readmodel import export as export_module
from pbx.readmodel.cdr_files import iso_time
from pbx.readmodel.export import export
from pbx.readmodel.reports import REPORTS, report
from pbx.readmodel.tables import cdr_legs, cdrs
from tests.support.call_histories import history, write_history

HOUR_NS = 3_600_000_000_000
CALLS = 120

Row = Mapping[str, Any]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """An empty folder for exports."""
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


@pytest.fixture
def filled(database: Database) -> tuple[Database, list[Row], list[Row]]:
    """A read model with some calls; their records and those of their legs."""
    log = MemoryLog()
    write_history(log, history(seed=5, calls=CALLS))
    catch_up(log, database)
    with database.read() as connection:
        calls: list[Row] = [dict(row) for row in connection.execute(select(cdrs)).mappings()]
        legs: list[Row] = [dict(row) for row in connection.execute(select(cdr_legs)).mappings()]
    assert len(calls) > CALLS / 2
    return database, calls, legs


def rows_of(database: Database, name: str, **options: Any) -> list[Row]:
    with database.read() as connection:
        return list(report(connection, name, **options))


def day(ns: int) -> str:
    return f"{datetime.fromtimestamp(ns // 10**9, UTC):%Y-%m-%d}"


def hour(ns: int) -> str:
    return f"{datetime.fromtimestamp(ns // 10**9, UTC):%Y-%m-%dT%H:00Z}"


Filled = tuple[Database, list[Row], list[Row]]


def test_answer_ratio_counts_every_call_once(filled: Filled) -> None:
    database, calls, _ = filled
    found = rows_of(database, "answer-ratio")
    assert sum(row["calls"] for row in found) == len(calls)
    for row in found:
        mine = [
            c for c in calls if (day(c["start_ns"]), c["tenant"]) == (row["day"], row["tenant"])
        ]
        answered = [c for c in mine if c["answer_ns"]]
        assert row["calls"] == len(mine)
        assert row["answered"] == len(answered)
        assert row["asr_percent"] == pytest.approx(100 * len(answered) / len(mine), abs=0.006)
        talk_s = sum(c["talk_ms"] for c in answered) / 1000
        assert row["acd_s"] == pytest.approx(talk_s / max(1, len(answered)), abs=0.001)
        rest = row["busy"] + row["no_answer"] + row["cancelled"] + row["failed"]
        assert rest == len(mine) - len(answered)


def test_post_dial_delay_percentiles_are_values_that_occurred(filled: Filled) -> None:
    """The nearest-rank percentile: the smallest value that so many calls do not exceed."""
    database, calls, _ = filled
    for row in rows_of(database, "post-dial-delay"):
        delays = sorted(
            ((c["provision_ns"] or c["answer_ns"]) - c["start_ns"]) / 1e6
            for c in calls
            if (c["provision_ns"] or c["answer_ns"])
            and (day(c["start_ns"]), c["tenant"]) == (row["day"], row["tenant"])
        )
        assert row["calls"] == len(delays)
        for name, part in (("p50_ms", 0.5), ("p95_ms", 0.95), ("p99_ms", 0.99)):
            rank = math.ceil(part * len(delays))
            assert row[name] == pytest.approx(delays[rank - 1], abs=0.001)
        assert row["max_ms"] == pytest.approx(delays[-1], abs=0.001)


def test_traffic_is_spread_over_the_hours_it_was_carried_in(filled: Filled) -> None:
    database, calls, _ = filled
    expected: dict[tuple[str, str], float] = defaultdict(float)
    for call in calls:
        if call["answer_ns"]:
            start = call["answer_ns"] - call["answer_ns"] % HOUR_NS
            while start < call["end_ns"]:
                part = min(call["end_ns"], start + HOUR_NS) - max(call["answer_ns"], start)
                if part > 0:
                    expected[hour(start), call["tenant"]] += part / HOUR_NS
                start += HOUR_NS
    found = {(row["hour"], row["tenant"]): row["erlang"] for row in rows_of(database, "traffic")}
    assert found == {key: pytest.approx(value, abs=1e-4) for key, value in expected.items()}
    busiest: dict[tuple[str, str], float] = defaultdict(float)
    for (name, tenant), erlang in found.items():
        busiest[name[:10], tenant] = max(busiest[name[:10], tenant], erlang)
    shown = {(r["day"], r["tenant"]): r["erlang"] for r in rows_of(database, "busy-hour")}
    assert shown == busiest


def test_concurrent_calls_reach_the_same_height(filled: Filled) -> None:
    database, calls, _ = filled
    for tenant in {call["tenant"] for call in calls}:
        mine = [c for c in calls if c["tenant"] == tenant]
        steps = sorted([(c["start_ns"], 1) for c in mine] + [(c["end_ns"], -1) for c in mine])
        most = running = 0
        for _, step in steps:
            running += step
            most = max(most, running)
        found = rows_of(database, "concurrent-calls", tenant=tenant)
        assert max(row["most"] for row in found) == most
        assert sum(row["begun"] for row in found) == len(mine)


def test_quality_puts_every_heard_leg_into_one_class(filled: Filled) -> None:
    database, _, legs = filled
    found = rows_of(database, "quality")
    heard = [leg for leg in legs if leg["packets_in"]]
    assert heard
    assert sum(row["legs"] for row in found) == len(heard)
    for row in found:
        assert row["loss_none"] <= row["legs"]
        of_loss = ("loss_none", "loss_to_1_percent", "loss_1_to_5_percent", "loss_above_5_percent")
        assert sum(row[name] for name in of_loss) == row["legs"]
        mine = [
            leg
            for leg in heard
            if (day(leg["start_ns"]), leg["codec"]) == (row["day"], row["codec"])
        ]
        lost = sum(leg["packets_lost"] for leg in mine)
        total = lost + sum(leg["packets_in"] for leg in mine)
        assert row["loss_percent"] == pytest.approx(100 * lost / total, abs=0.001)
        assert row["mos_3_6_to_4_0"] == sum(3.6 <= leg["mos"] < 4.0 for leg in mine)


def test_destinations_are_added_up_over_the_days_and_ranked(filled: Filled) -> None:
    database, calls, _ = filled
    found = rows_of(database, "destinations")
    counts = [row["calls"] for row in found]
    assert counts == sorted(counts, reverse=True)
    assert sum(counts) == len(calls)
    assert len({(row["tenant"], row["destination"]) for row in found}) == len(found)
    assert len(rows_of(database, "destinations", limit=1)) == 1


@pytest.mark.parametrize("name", [name for name in REPORTS if not name.startswith("ivr-")])
def test_a_range_of_days_leaves_the_others_out(filled: Filled, name: str) -> None:
    database, calls, _ = filled
    first = min(day(call["start_ns"]) for call in calls)
    after = (datetime.fromisoformat(first) + timedelta(days=1)).date().isoformat()
    everything = rows_of(database, name)
    parts = rows_of(database, name, until=after), rows_of(database, name, since=after)
    assert all(parts)
    if name != "destinations":
        assert [*parts[0], *parts[1]] == everything
    assert rows_of(database, name, until=first) == []


def test_a_report_without_domains_refuses_one(filled: Filled) -> None:
    with pytest.raises(ValueError, match="not by domain"):
        rows_of(filled[0], "quality", tenant="example.com")


@pytest.mark.parametrize("what", ["calls", "legs"])
def test_csv_and_parquet_hold_the_same_records(
    filled: Filled, out: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_module, "BATCH", 7)
    database, calls, legs = filled
    expected = calls if what == "calls" else legs
    paths = out / "records.csv", out / "records.parquet"
    for path in paths:
        with database.read() as connection:
            assert export(connection, path, what=what) == len(expected)
        assert path.stat().st_mode & 0o777 == 0o600
    with paths[0].open(encoding="utf-8", newline="") as file:
        from_csv = list(csv.DictReader(file))
    from_parquet = pq.read_table(paths[1]).to_pylist()
    keys = ("call_id",) if what == "calls" else ("call_id", "leg_id")
    by_key = {tuple(row[key] for key in keys): row for row in expected}
    assert len(by_key) == len(from_csv) == len(from_parquet)
    for text, typed in zip(from_csv, from_parquet, strict=True):
        row = by_key[tuple(text[key] for key in keys)]
        assert tuple(typed[key] for key in keys) == tuple(text[key] for key in keys)
        assert text["end"] == iso_time(row["end_ns"])
        assert text["answer"] == iso_time(row["answer_ns"])
        assert (typed["answer"] is None) is (row["answer_ns"] == 0)
        assert typed["end"].timestamp() == pytest.approx(row["end_ns"] / 1e9, abs=1e-5)
        assert text["talk_ms"] == str(row["talk_ms"]) == str(typed["talk_ms"])
        assert "position" not in text
    assert {path.name for path in out.iterdir()} == {"records.csv", "records.parquet"}


def test_the_documented_duckdb_query_gives_the_answer_ratio(filled: Filled, out: Path) -> None:
    """As it stands in ``docs/analytics.md``, over two files of one export each."""
    database, calls, _ = filled
    middle = sorted(call["end_ns"] for call in calls)[len(calls) // 2]
    with database.read() as connection:
        export(connection, out / "calls-1.parquet", until_ns=middle)
        export(connection, out / "calls-2.parquet", since_ns=middle)
    page = (Path(__file__).parents[2] / "docs" / "analytics.md").read_text(encoding="utf-8")
    (query,) = re.findall(r"```sql\n(.*?)```", page, re.DOTALL)
    assert "'calls-*.parquet'" in query
    # The query names no path, so it is asked where the files are.
    found = duckdb.execute(query.replace("'calls-", f"'{out}/calls-")).fetchall()
    wanted: dict[int, list[Row]] = {}
    for call in calls:
        wanted.setdefault(call["start_ns"] // HOUR_NS, []).append(call)
    assert len(found) == len(wanted) > 1
    for (hour, count, answered, ratio), (key, its) in zip(
        found, sorted(wanted.items()), strict=True
    ):
        assert int(hour.timestamp()) == key * HOUR_NS // 10**9
        assert count == len(its)
        assert answered == sum(call["answer_ns"] > 0 for call in its)
        assert float(ratio) == pytest.approx(100.0 * answered / count, abs=0.051)


def test_an_export_of_a_range_and_a_domain(filled: Filled, out: Path) -> None:
    database, calls, _ = filled
    ends = sorted(call["end_ns"] for call in calls)
    since, until = ends[len(ends) // 4], ends[len(ends) // 2]
    tenant = calls[0]["tenant"]
    for what in ("calls", "legs"):
        path = out / f"{what}.csv"
        with database.read() as connection:
            export(connection, path, what=what, since_ns=since, until_ns=until, tenant=tenant)
        with path.open(encoding="utf-8", newline="") as file:
            found = {row["call_id"] for row in csv.DictReader(file)}
        allowed = {call["call_id"] for call in calls if call["tenant"] == tenant}
        assert found <= allowed
        if what == "calls":
            in_time = {c["call_id"] for c in calls if since <= c["end_ns"] < until}
            assert found == allowed & in_time


def test_what_cannot_be_written_is_said_and_leaves_the_old_file(filled: Filled, out: Path) -> None:
    database, _, _ = filled
    with database.read() as connection:
        with pytest.raises(ReadModelError, match=r"\.csv or \.parquet"):
            export(connection, out / "calls.xlsx")
        with pytest.raises(ReadModelError, match="cannot write"):
            export(connection, out / "nowhere" / "calls.csv")
    assert list(out.iterdir()) == []


def test_text_from_the_wire_is_no_formula() -> None:
    assert export_module._harmless("=HYPERLINK(1)") == "'=HYPERLINK(1)"
    assert export_module._harmless("sip:+1@example.com") == "sip:+1@example.com"
    assert export_module._harmless(-1) == -1
