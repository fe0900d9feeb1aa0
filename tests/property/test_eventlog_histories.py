"""Random histories: a rebuilt read model equals the live one, text equals table, logs agree.

Hypothesis draws seeds, cuts and appends; :mod:`tests.support.call_histories` makes calls of them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from pbx.domain.calls import CallEnded, LegDigit
from pbx.eventlog import ANY_VERSION, Codec, Conflict, EmbeddedLog, EventLog, MemoryLog, Meta
from pbx.eventlog.record import Decision, Entry, Row
from pbx.readmodel import (
    PROJECTION_NAMES,
    CdrFiles,
    Database,
    Projector,
    all_projections,
    open_read_model,
)
from pbx.readmodel.cdr_files import cdr_fields, parse_cdr_line
from pbx.readmodel.replay import replay
from pbx.readmodel.tables import cdr_files, cdr_legs, metadata, projections
from tests.support.call_histories import history, write_history


def all_rows(database: Database) -> dict[str, list[Mapping[str, Any]]]:
    """Every table that a projection fills."""
    with database.read() as connection:
        return {
            table.name: [
                dict(row)
                for row in connection.execute(
                    select(table).order_by(*table.primary_key.columns)
                ).mappings()
            ]
            for table in metadata.sorted_tables
            if table not in (projections, cdr_files)
        }


@settings(max_examples=15)
@given(seed=st.integers(0, 2**32), cuts=st.lists(st.integers(1, 60), max_size=8))
def test_live_and_rebuilt_read_models_are_equal(seed: int, cuts: list[int]) -> None:
    """The live one saw restarts of the projector and batches of any size."""
    log = MemoryLog(node="n")
    steps = history(seed, 8)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        live = open_read_model(folder)
        files = CdrFiles(live, folder / "CDRs")
        start = 0
        for count in (*cuts, len(steps)):
            write_history(log, steps[start : start + count])
            start += count
            batch = 1 + count % 7
            Projector(log, live, all_projections(log, files.export), batch=batch).catch_up(
                log.head()
            )
        outcome = replay(log, live, PROJECTION_NAMES)
        assert outcome.different == 0, outcome.differences

        rows = all_rows(live)
        ended = {s.stream.partition("/")[2] for s in steps if isinstance(s.event, CallEnded)}
        assert {row["call_id"] for row in rows["cdrs"]} == ended, "one record an ended call"
        assert {row["call_id"] for row in rows["calls"] if not row["end_ns"]}.isdisjoint(ended)
        for row in rows["cdr_legs"]:
            assert row["start_ns"] <= row["end_ns"]
            assert row["answer_ns"] == 0 or row["start_ns"] <= row["answer_ns"] <= row["end_ns"]
        assert _lines(folder) == _fields(live)
        live.close()


def _lines(folder: Path) -> list[list[str]]:
    lines = [
        parse_cdr_line(line)
        for path in (folder / "CDRs").glob("*.cdr")
        for line in path.read_text().split("\n")[:-1]
    ]
    return sorted(lines)


def _fields(database: Database) -> list[list[str]]:
    with database.read() as connection:
        return sorted(cdr_fields(row) for row in connection.execute(select(cdr_legs)).mappings())


STREAMS = st.sampled_from(["call/a", "call/b", "account/a@b", "node/n"])


def _row(stream: str, version: int, number: int) -> Row:
    data = b'{"leg_id":"%d"}' % number
    return (stream, version, "leg.digit.v1", number, "n", "", "", "", "", data)


FACTS = st.builds(
    _row, STREAMS, st.one_of(st.integers(1, 6), st.just(ANY_VERSION)), st.integers(0, 3)
)
DECISIONS = st.builds(
    lambda stream, expected, numbers: Decision(
        stream, expected, [_row(stream, 0, number) for number in numbers]
    ),
    STREAMS,
    st.integers(ANY_VERSION, 6),
    st.lists(st.integers(0, 3), min_size=1, max_size=3),
)


@settings(max_examples=60)
@given(batches=st.lists(st.lists(st.one_of(FACTS, DECISIONS), max_size=70), max_size=5))
def test_the_embedded_log_does_what_the_one_in_memory_does(batches: list[list[Entry]]) -> None:
    """The memory log is the model: same records, same verdicts, whatever the batches."""
    with tempfile.TemporaryDirectory() as name:
        model = MemoryLog(node="n")
        embedded = EmbeddedLog(Path(name) / "log.sqlite3", codec=Codec(), node="n")
        for batch in batches:
            assert _words(model.commit(batch)) == _words(embedded.commit(batch))
        for read in READINGS:
            assert read(model) == read(embedded)
        embedded.close()


def _words(verdicts: list[Any]) -> list[object]:
    return [str(v) if isinstance(v, Conflict) else v for v in verdicts]


READINGS: list[Callable[[EventLog], object]] = [
    lambda log: [(r.position, r.row) for r in log.read()],
    lambda log: [r.version for r in log.read_stream("call/a")],
    lambda log: [r.position for r in log.read(3, category="pbx.config", limit=4)],
    lambda log: log.head(),
    lambda log: [r.position for r in log.read_back(7)],
    lambda log: [r.position for r in log.read(types=["leg.*"])],
    lambda log: log.at(3) is None,
]


@settings(max_examples=30)
@given(texts=st.lists(st.text(), min_size=1, max_size=5))
def test_any_text_of_an_event_survives(texts: list[str]) -> None:
    """Well-formed text comes back as it was."""
    log = MemoryLog(node="n")
    for text in texts:
        log.append("call/a", ANY_VERSION, [LegDigit(leg_id=text)], Meta())
    assert [record.event for record in log.read()] == [LegDigit(leg_id=text) for text in texts]
