"""Replay rate of the read model on SQLite and on PostgreSQL, side by side.

Run ``python -m benchmarks.readmodel [EVENTS]``: the same log is projected from zero by all
projections into both, then rebuilt beside itself and compared, as ``pbx replay --all`` does, and at
last replaced where it differs (every record of a call). The PostgreSQL server is made for the run
and does not wait for the disk; its CPU is not ours and not counted, but it shares the machine.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sqlalchemy import update

from benchmarks.eventlog import write_history
from pbx.eventlog import EmbeddedLog, open_log
from pbx.readmodel import PROJECTION_NAMES, Database, make_projector, open_read_model
from pbx.readmodel.replay import replay
from pbx.readmodel.tables import cdrs
from tests.support.postgres import PostgresServer

EVENTS: Final = 200_000


def measure(log: EmbeddedLog, database: Database, name: str) -> Iterator[str]:
    """Lines about one database."""
    projector = make_projector(log, database)
    head = log.head()
    wall, cpu = time.perf_counter(), time.process_time()
    projector.catch_up(head)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    yield (
        f"{name}: five projections and text files: {head / wall:,.0f} events/s,"
        f" {cpu / head * 1e6:.1f} µs CPU each"
    )
    wall = time.perf_counter()
    outcome = replay(log, database, PROJECTION_NAMES)
    wall = time.perf_counter() - wall
    assert outcome.different == 0
    yield (
        f"{name}: pbx replay --all: {outcome.rate:,.0f} events/s, with the comparison of"
        f" {outcome.rows:,} rows {wall:.1f} s"
    )
    with database.write() as connection:
        connection.execute(update(cdrs).values(talk_ms=1))
    wall = time.perf_counter()
    outcome = replay(log, database, ["cdrs"])
    wall = time.perf_counter() - wall - outcome.seconds
    yield (
        f"{name}: pbx replay cdrs: {outcome.rate:,.0f} events/s, {outcome.different:,} wrong rows"
        f" found and replaced in {wall:.1f} s"
    )


def main() -> None:
    """Print the figures."""
    events = int(sys.argv[1]) if len(sys.argv) > 1 else EVENTS
    with tempfile.TemporaryDirectory(dir=".") as name, PostgresServer() as server:
        for kind, url in (("SQLite", ""), ("PostgreSQL", server.new_database())):
            folder = Path(name) / kind
            folder.mkdir()
            log = open_log(folder, node="bench")
            write_history(log, events)
            database = open_read_model(folder, url)
            for line in measure(log, database, kind):
                print(line, flush=True)
            database.close()
            log.close()


if __name__ == "__main__":
    main()
