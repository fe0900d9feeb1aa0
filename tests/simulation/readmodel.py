"""The project role inside the simulation, and the comparison of its tables.

:class:`LiveReadModel` projects now and then while calls run, in batches of uneven size; at the
end a second read model is built from the whole log at once. Both must hold the same rows, and the
rows must say what the streams say.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from pbx.domain.calls import CallAnswered
from pbx.eventlog import EventLog
from pbx.readmodel import tables
from pbx.readmodel.database import SqliteDatabase
from pbx.readmodel.projections import all_projections
from pbx.readmodel.runner import Projector
from tests.support.clock import VirtualClock

if TYPE_CHECKING:
    from tests.simulation.invariants import Story
    from tests.simulation.world import World

_COMPARED = (
    tables.domains,
    tables.accounts,
    tables.bindings,
    tables.calls,
    tables.legs,
    tables.cdrs,
    tables.cdr_legs,
    tables.mailboxes,
    tables.messages,
    tables.ivr_tasks,
    tables.ivr_inputs,
)
#: Differences shown.
_SHOWN = 5


class LiveReadModel:
    """A read model in a directory that vanishes with it."""

    def __init__(self, log: EventLog, clock: VirtualClock) -> None:
        self._log = log
        self._directory = TemporaryDirectory(prefix="ringlog-sim-")
        self.database = SqliteDatabase(Path(self._directory.name) / "readmodel.sqlite3")
        self._projector = Projector(log, self.database, all_projections(log), clock=clock)

    def catch_up(self) -> None:
        """Project everything the log has now."""
        self._projector.catch_up(self._log.head())

    def rows(self) -> dict[str, list[tuple[Any, ...]]]:
        """All rows of all tables, in order of their keys."""
        found: dict[str, list[tuple[Any, ...]]] = {}
        with self.database.read() as connection:
            for table in _COMPARED:
                order = list(table.primary_key.columns)
                result = connection.execute(select(table).order_by(*order))
                found[table.name] = [tuple(row) for row in result]
            for name, error in connection.execute(
                select(tables.projections.c.name, tables.projections.c.error)
            ):
                if error:
                    found.setdefault("stopped projections", []).append((name, error))
        return found

    def close(self) -> None:
        """Remove the files."""
        self.database.close()
        self._directory.cleanup()


def compare_read_models(world: World, told: dict[str, Story]) -> list[str]:
    """Live against rebuilt, and call records against the streams."""
    live_model = world.read_model
    live_model.catch_up()
    live = live_model.rows()
    rebuilt_model = LiveReadModel(world.log, world.clock)
    rebuilt_model.catch_up()
    rebuilt = rebuilt_model.rows()
    rebuilt_model.close()
    wrong = [f"projection {name}: {error}" for name, error in live.pop("stopped projections", [])]
    rebuilt.pop("stopped projections", None)
    for name, rows in live.items():
        others = rebuilt[name]
        if rows != others:
            only = [row for row in rows if row not in set(others)][:_SHOWN]
            missing = [row for row in others if row not in set(rows)][:_SHOWN]
            wrong.append(f"table {name}: live has {only}, rebuilt has {missing}")
    return wrong + _compare_records(world, live, told)


def _compare_records(
    world: World, live: dict[str, list[tuple[Any, ...]]], told: dict[str, Story]
) -> list[str]:
    """Every call has exactly one call record, which says what its stream says."""
    wrong = []
    columns = [column.name for column in tables.cdrs.columns]
    records = {row[0]: dict(zip(columns, row, strict=True)) for row in live["cdrs"]}
    legs: dict[str, int] = {}
    for row in live["cdr_legs"]:
        legs[row[0]] = legs.get(row[0], 0) + 1
    for stream, story in told.items():
        record = records.pop(stream.removeprefix("call/"), None)
        ended = story.ended
        if record is None or ended is None:
            wrong.append(f"{stream} has no call record")
            continue
        answer = next((at for at, event in story.events if isinstance(event, CallAnswered)), 0.0)
        said = (record["status"], record["cause"], record["ended_by"], record["talk_ms"])
        meant = (ended.status, ended.cause, ended.ended_by, ended.talk_ms)
        if said != meant:
            wrong.append(f"{stream}: call record says {said}, the log {meant}")
        for name, moment in (
            ("start_ns", story.started_at),
            ("answer_ns", answer),
            ("end_ns", story.ended_at),
        ):
            expected_ns = world.clock.wall_ns_at(moment) if moment else 0
            if abs(record[name] - expected_ns) > 2_000_000:
                wrong.append(
                    f"{stream}: {name} is off by {(record[name] - expected_ns) / 1e6:.1f} ms"
                )
        if record["legs"] != len(story.legs) or legs.get(record["call_id"]) != len(story.legs):
            wrong.append(
                f"{stream}: {len(story.legs)} legs in the log, {record['legs']} in the call "
                f"record, {legs.get(record['call_id'], 0)} leg records"
            )
    wrong += [f"call record {call_id} has no call in the log" for call_id in records]
    return wrong
