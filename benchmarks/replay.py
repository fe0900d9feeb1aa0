"""Calls while call records are replayed: post-dial delay with and without, in one run.

``python -m benchmarks.replay [EVENTS]`` fills a log with a million events, starts a server on it
and has SIPp call through it at a steady rate: first alone, then with ``pbx replay cdrs`` running
beside it over and over, then alone again, so that a drift of the machine shows. The post-dial delay
of a call is that of its own record: INVITE to the first 18x. SIPp's phone answers at once, so it is
what our server adds. On SQLite, then the same with the read model in PostgreSQL; at last the rate
of replay with nothing else going on.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from sqlalchemy import select

from benchmarks import harness
from benchmarks.eventlog import write_history
from pbx.datadir import DataDirectory
from pbx.eventlog import open_log
from pbx.readmodel import catch_up, open_read_model
from pbx.readmodel.replay import replay
from pbx.readmodel.tables import cdrs
from tests.support.postgres import PostgresServer

EVENTS: Final = 1_000_000
RATE: Final = 20.0
"""Calls a second: two cores also run SIPp twice, five processes of ours and the replay."""
CALLS: Final = 400
WARM: Final = 40
PATIENCE: Final = 100
"""Looks, a tenth of a second apart, for the records of the last calls."""


class Figures:
    """Post-dial delays of one part of the run, ms."""

    def __init__(self, delays_ms: list[float]) -> None:
        self.count = len(delays_ms)
        ordered = sorted(delays_ms)
        self.p50 = ordered[self.count // 2]
        self.p99 = ordered[self.count * 99 // 100]

    def __str__(self) -> str:
        return f"p50 {self.p50:6.1f} ms  p99 {self.p99:6.1f} ms  of {self.count} calls"


class Replaying:
    """``pbx replay cdrs`` again and again, while it is entered."""

    def __init__(self, data: Path, url: str) -> None:
        self._command = [*harness.PBX, "replay", "cdrs", "--data", str(data)]
        self._environment = {**os.environ, "RINGLOG_READMODEL__URL": url}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.said: list[str] = []
        """The first line of each run that ended meanwhile: events, seconds, rate."""

    def __enter__(self) -> Replaying:
        self._thread.start()
        time.sleep(1.0)  # Python and its modules
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            done = subprocess.run(
                self._command, capture_output=True, text=True, env=self._environment, check=False
            )
            if done.returncode:
                raise harness.BenchError(f"pbx replay: {done.stdout}{done.stderr}")
            first, verdict, *_ = done.stdout.splitlines()
            if "equal" not in verdict:
                raise harness.BenchError(f"pbx replay: {done.stdout}")
            self.said.append(first)


def call(data: Path, url: str, port: int) -> Figures:
    """One part: its calls, then their records."""
    since_ns = time.time_ns()
    scenario = ["-sn", "uac", "-s", "bob", "-d", "0"]
    harness.sipp(scenario, port, rate=RATE, calls=CALLS)
    log = open_log(data)
    database = open_read_model(data, url)
    try:
        query = select(cdrs.c.start_ns, cdrs.c.provision_ns).where(
            cdrs.c.end_ns >= since_ns, cdrs.c.start_ns >= since_ns, cdrs.c.provision_ns > 0
        )
        for _ in range(PATIENCE):  # the last calls are being written
            catch_up(log, database)
            with database.read() as connection:
                found = connection.execute(query).all()
            if len(found) >= CALLS:
                break
            time.sleep(0.1)
    finally:
        database.close()
        log.close()
    if len(found) != CALLS:
        raise harness.BenchError(f"{len(found)} records of {CALLS} calls")
    return Figures([(ringing - start) / 1e6 for start, ringing in found])


def fill(folder: Path, events: int) -> None:
    """A data directory with a past."""
    DataDirectory(folder).prepare()
    log = open_log(folder, node="bench")
    write_history(log, events)
    log.close()


def rate(folder: Path, url: str) -> str:
    """Replay with nothing else going on."""
    log = open_log(folder)
    database = open_read_model(folder, url)
    catch_up(log, database, timeout_s=600)
    outcome = replay(log, database, ["cdrs"])
    if outcome.different:
        raise harness.BenchError(f"{outcome.different} rows differ from those of the server")
    database.close()
    log.close()
    return f"{outcome.rate:,.0f} events/s, {outcome.events:,} events, {outcome.rows:,} rows equal"


def measure(name: str, data: Path, url: str) -> None:
    """Print the lines of one database."""
    with ExitStack() as stack:
        uas = stack.enter_context(harness.sipp_uas())
        os.environ["RINGLOG_READMODEL__URL"] = url
        # Records of the made-up past are not what is measured.
        os.environ["RINGLOG_CDR__FEED"] = "false"
        server = stack.enter_context(harness.ringlog(media="off", data=data))
        harness.register(server.port, f"sip:bob@{harness.HOST}:{uas}")
        log, database = open_log(data), open_read_model(data, url)
        catch_up(log, database, timeout_s=600)
        database.close()
        log.close()
        harness.sipp(["-sn", "uac", "-s", "bob", "-d", "0"], server.port, rate=RATE, calls=WARM)
        before = call(data, url, server.port)
        with Replaying(data, url) as replaying:
            beside = call(data, url, server.port)
        after = call(data, url, server.port)
    print(f"{name}: post-dial delay at {RATE:g} calls/s")
    print(f"  alone               {before}")
    print(f"  beside pbx replay   {beside}")
    print(f"  alone again         {after}")
    p50, p99 = (before.p50 + after.p50) / 2, (before.p99 + after.p99) / 2
    print(f"  with / without      p50 {beside.p50 / p50:.2f}  p99 {beside.p99 / p99:.2f}")
    for line in replaying.said:
        print(f"  beside the calls    {line}")
    print(f"  nothing beside it   {rate(data, url)}", flush=True)


def main() -> None:
    """Print the figures."""
    events = int(sys.argv[1]) if len(sys.argv) > 1 else EVENTS
    with tempfile.TemporaryDirectory(prefix="ringlog-replay-") as folder:
        first, second = Path(folder, "sqlite"), Path(folder, "postgresql")
        fill(first, events)
        shutil.copytree(first, second)
        measure("SQLite", first, "")
        shutil.rmtree(first)
        with PostgresServer() as postgres:
            measure("PostgreSQL", second, postgres.new_database())


if __name__ == "__main__":
    main()
