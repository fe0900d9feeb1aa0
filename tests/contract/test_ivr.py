"""Statistics of applications on either database: rows, reports, rebuilding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

import pytest
from sqlalchemy import Table, select

from pbx.domain import applications as a
from pbx.domain import calls as c
from pbx.eventlog import ANY_VERSION, MemoryLog, Meta
from pbx.kernel.events import Event
from pbx.readmodel import Projector, all_projections
from pbx.readmodel.database import Database
from pbx.readmodel.reports import REPORTS, report
from pbx.readmodel.tables import calls, cdrs, ivr_inputs, ivr_tasks
from pbx.voice import recovery
from tests.support.clock import VirtualClock

START_NS = 1_893_456_000_000_000_000
"""2030-01-01T00:00:00Z"""
DAY_NS = 86_400_000_000_000
MS = 1_000_000
Row = Mapping[str, Any]


class Bench:
    def __init__(self, database: Database) -> None:
        self.log = MemoryLog(node="n1")
        self.database = database

    def write(self, task: str, *events: Event, time_ns: int = START_NS) -> None:
        """The story of a task; each event at its time."""
        for event in events:
            at = time_ns + getattr(event, "elapsed_ms", 0) * MS
            meta = Meta(time_ns=at, tenant="example.org", actor="test")
            self.log.append(f"application/{task}", ANY_VERSION, [event], meta)

    def project(self) -> None:
        Projector(
            self.log, self.database, all_projections(self.log), clock=VirtualClock()
        ).catch_up(self.log.head())

    def rows(self, table: Table) -> list[Row]:
        self.project()
        with self.database.read() as connection:
            found = connection.execute(select(table).order_by(*table.primary_key.columns))
            return [dict(row) for row in found.mappings()]

    def report(self, name: str, **options: Any) -> Sequence[Row]:
        self.project()
        with self.database.read() as connection:
            return report(connection, name, **options)


@pytest.fixture
def bench(database: Database) -> Bench:
    return Bench(database)


def started(task: str, program: str = "pbx", **changes: Any) -> a.ApplicationStarted:
    fields = {"account": "pbx@example.org", "call_id": "c-" + task, **changes}
    return a.ApplicationStarted(task_id=task, program=program, **fields)


def chose(menu: str, choice: str, at: int, digits: int = 1) -> a.ApplicationInput:
    return a.ApplicationInput(
        menu=menu, choice=choice, digits=digits, source="stock/pbx.sppr:31", elapsed_ms=at
    )


def ended(at: int, **changes: Any) -> a.ApplicationEnded:
    fields: dict[str, Any] = {"reason": "stop", "ended_by": "program", **changes}
    return a.ApplicationEnded(elapsed_ms=at, **fields)


def call_through_menus(task: str) -> list[Event]:
    return [
        started(task, language="russian"),
        a.ApplicationAnswered(elapsed_ms=200),
        chose("welcome", "1", 3_000),
        chose("dialknownextension", "", 9_000, digits=3),
        a.ApplicationActed(action="transfer", target="sip:401@example.org", elapsed_ms=9_100),
        ended(9_400, menu="tryingextension", choices=2),
    ]


def test_a_run_is_a_row_with_its_path(bench: Bench) -> None:
    bench.write("T1@n1", *call_through_menus("T1@n1"))
    (row,) = bench.rows(ivr_tasks)
    assert {key: row[key] for key in ("program", "account", "cause", "call_id", "language")} == {
        "program": "pbx", "account": "pbx@example.org", "cause": "call", "call_id": "c-T1@n1",
        "language": "russian",
    }  # fmt: skip
    assert row["path"] == "welcome=1 dialknownextension=?"
    assert (row["answered"], row["answer_ms"], row["forwarded"]) == (True, 200, True)
    assert (row["choices"], row["in_program_ms"]) == (2, 9_400)
    assert row["end_ns"] - row["start_ns"] == 9_400 * MS
    assert (row["reason"], row["ended_by"], row["last_menu"]) == (
        "stop", "program", "tryingextension",
    )  # fmt: skip
    first, second = bench.rows(ivr_inputs)
    assert (first["menu"], first["choice"], first["at_ms"]) == ("welcome", "1", 3_000)
    assert (second["choice"], second["digits"], second["source"]) == ("", 3, "stock/pbx.sppr:31")


def test_programs_make_no_calls_and_no_call_records(bench: Bench) -> None:
    bench.write("T1", started("T1"), ended(10))
    attached = a.ApplicationAttached(task_id="T1", program="pbx")
    bench.log.append("call/c1", ANY_VERSION, [attached], Meta(time_ns=START_NS))
    assert bench.rows(cdrs) == []
    assert [row["call_id"] for row in bench.rows(calls)] == ["c1"]


def test_the_reports(bench: Bench) -> None:
    bench.write("T1", *call_through_menus("T1"))
    bench.write("T2", *call_through_menus("T2"))
    bench.write(
        "T3",
        started("T3"),
        a.ApplicationAnswered(elapsed_ms=500),
        chose("welcome", "2", 2_000),
        ended(6_000, ended_by="caller", menu="waitinginqueue", choices=1),
    )
    bench.write(
        "T4",
        started("T4", "broken"),
        a.ApplicationFailed(message="division", file="domain/broken.sppr", line=7, elapsed_ms=10),
        ended(10, reason="exception", ended_by="server"),
    )
    bench.write("T5", started("T5", cause="command", call_id=""), time_ns=START_NS + DAY_NS)
    assert bench.report("ivr-applications") == [
        {
            "day": "2030-01-01", "tenant": "example.org", "program": "broken", "runs": 1,
            "calls": 1, "answered": 0, "answer_mean_s": 0.0, "in_program_mean_s": 0.01,
            "hung_up": 0, "forwarded": 0, "killed": 0, "failed": 1, "interrupted": 0,
            "running": 0,
        },
        {
            "day": "2030-01-01", "tenant": "example.org", "program": "pbx", "runs": 3,
            "calls": 3, "answered": 3, "answer_mean_s": 0.3, "in_program_mean_s": 8.267,
            "hung_up": 1, "forwarded": 2, "killed": 0, "failed": 0, "interrupted": 0,
            "running": 0,
        },
        {
            "day": "2030-01-02", "tenant": "example.org", "program": "pbx", "runs": 1,
            "calls": 0, "answered": 0, "answer_mean_s": 0.0, "in_program_mean_s": 0.0,
            "hung_up": 0, "forwarded": 0, "killed": 0, "failed": 0, "interrupted": 0,
            "running": 1,
        },
    ]  # fmt: skip
    paths = bench.report("ivr-paths", application="pbx")
    assert [(row["path"], row["calls"], row["forwarded"]) for row in paths] == [
        ("welcome=1 dialknownextension=?", 2, 2), ("welcome=2", 1, 0),
    ]  # fmt: skip
    (lost,) = bench.report("ivr-drop-offs")
    assert (lost["last_menu"], lost["calls"], lost["in_program_mean_s"]) == (
        "waitinginqueue", 1, 6.0,
    )  # fmt: skip
    choices = bench.report("ivr-choices", until="2030-01-02")
    assert [(row["menu"], row["choice"], row["times"], row["runs"]) for row in choices] == [
        ("dialknownextension", "", 2, 2), ("welcome", "1", 2, 2), ("welcome", "2", 1, 1),
    ]  # fmt: skip
    (failure,) = bench.report("ivr-failures")
    assert (failure["file"], failure["line"], failure["message"]) == (
        "domain/broken.sppr", 7, "division",
    )  # fmt: skip
    assert bench.report("ivr-applications", since="2030-01-03") == []
    assert bench.report("ivr-applications", tenant="elsewhere.org") == []
    assert {name for name in REPORTS if name.startswith("ivr-")} == {
        "ivr-applications", "ivr-paths", "ivr-drop-offs", "ivr-choices", "ivr-failures",
    }  # fmt: skip


def test_programs_of_a_node_that_was_killed_are_closed(bench: Bench) -> None:
    """By the next start, as of the last sign of life; how late that start is does not matter."""
    bench.write("T1", started("T1"), chose("welcome", "1", 2_000), time_ns=START_NS)
    bench.write("T2", started("T2"), ended(1_000))
    assert recovery.open_tasks(bench.log.read(), "n1") == ["application/T1"]
    assert recovery.open_tasks(bench.log.read(), "n2") == [], "that is another node's"
    stream = list(bench.log.read_stream("application/T1"))
    event = recovery.closing_event(stream, START_NS + 7_000 * MS)
    assert event is not None
    bench.log.append("application/T1", stream[-1].version, [event], Meta(time_ns=START_NS + DAY_NS))
    assert recovery.open_tasks(bench.log.read(), "n1") == []
    row = next(row for row in bench.rows(ivr_tasks) if row["task_id"] == "T1")
    assert (row["reason"], row["ended_by"]) == ("interrupted", "server")
    assert (row["end_ns"], row["in_program_ms"]) == (START_NS + 7_000 * MS, 7_000)
    assert (row["last_menu"], row["choices"]) == ("welcome", 1)
    (told,) = bench.report("ivr-applications")
    assert (told["runs"], told["interrupted"], told["killed"], told["running"]) == (2, 1, 0, 0)
    assert recovery.closing_event(list(bench.log.read_stream("application/T1")), 0) is None


def random_story(random: Random, task: str) -> list[Event]:
    events: list[Event] = [started(task, random.choice(["pbx", "voicemail"]))]
    at = 0
    for _ in range(random.randint(0, 6)):
        at += random.randint(1, 5_000)
        events.append(
            random.choice(
                [
                    chose(random.choice("ab"), random.choice(["1", "2", ""]), at),
                    a.ApplicationAnswered(elapsed_ms=at),
                    a.ApplicationActed(action="transfer", elapsed_ms=at),
                    a.ApplicationSpawned(task_id="x", elapsed_ms=at),
                ]
            )
        )
    if random.random() < 0.9:
        events.append(ended(at, ended_by=random.choice(["caller", "program"])))
    return events


@pytest.mark.parametrize("seed", range(5))
def test_a_rebuild_equals_what_was_kept_live(bench: Bench, seed: int, database: Database) -> None:
    """However the records were cut into batches."""
    random = Random(seed)
    stories = {f"T{number}": random_story(random, f"T{number}") for number in range(30)}
    projector = Projector(bench.log, database, all_projections(bench.log), clock=VirtualClock())
    while stories:
        task = random.choice(sorted(stories))
        bench.write(task, stories[task].pop(0))
        if not stories[task]:
            del stories[task]
        if random.random() < 0.3:
            projector.catch_up(bench.log.head())
    live = [bench.rows(ivr_tasks), bench.rows(ivr_inputs)]
    with database.write() as connection:
        for table in (ivr_tasks, ivr_inputs):
            connection.execute(table.delete())
        from pbx.readmodel.tables import projections

        connection.execute(projections.delete().where(projections.c.name == "ivr"))
    assert [bench.rows(ivr_tasks), bench.rows(ivr_inputs)] == live
    # And as the events themselves say.
    for row in live[0]:
        events = [record.event for record in bench.log.read_stream(f"application/{row['task_id']}")]
        inputs = [event for event in events if isinstance(event, a.ApplicationInput)]
        assert row["choices"] == len(inputs)
        assert row["path"] == " ".join(f"{one.menu}={one.choice or '?'}" for one in inputs)
        assert bool(row["end_ns"]) == isinstance(events[-1], a.ApplicationEnded)


def test_call_events_are_nothing_to_this_projection(bench: Bench) -> None:
    bench.log.append("call/c1", ANY_VERSION, [c.MediaAllocated(bridge="m")], Meta(time_ns=START_NS))
    assert bench.rows(ivr_tasks) == []
