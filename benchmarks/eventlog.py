"""Figures of the event log: append rate, cost of a call's ten events, replay rate, start-up.

Run ``python -m benchmarks.eventlog``, with ``--start`` also over a million events. CPU is that of
the process (``time.process_time``) and of the calling thread (``time.thread_time``); files lie in a
temporary directory on the disk. On a machine that others use, CPU is the honest figure.
"""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import cast

import psutil

from pbx.calls.locations import Locations
from pbx.calls.node import SignalNode
from pbx.datadir import DataDirectory
from pbx.domain.bindings import BindingAdded, BindingRefreshed
from pbx.domain.calls import (
    CallAnswered,
    CallDecided,
    CallEnded,
    CallStarted,
    LegAnswered,
    LegCreated,
    LegEnded,
    LegRinging,
    MediaAllocated,
    MediaStats,
)
from pbx.eventlog import LOG_FILE, Conflict, EmbeddedLog, LogWriter, Meta, Position, open_log
from pbx.eventlog.record import TIME_NS, Entry
from pbx.kernel.events import Event
from pbx.kernel.ids import uuid7
from pbx.readmodel import (
    PROJECTION_NAMES,
    Database,
    load_checkpoints,
    make_projector,
    open_read_model,
    wait_for,
)
from pbx.readmodel.replay import replay
from pbx.signal.projected import read_projected
from pbx.signal.restore import open_calls, restore_bindings

CALLS = 5_000
EVENTS = 10
PROJECT_ROLE = """
import sys
from pathlib import Path
from pbx.datadir import DataDirectory
from pbx.project_role import run
from pbx.roles import RoleContext
from pbx.settings import Settings

sys.exit(run(RoleContext(DataDirectory(Path(sys.argv[1])), Settings())))
"""


def events_of_a_call(a: str, b: str) -> list[Event]:
    """The ten events of an ordinary answered call."""
    return [
        CallStarted(
            leg_id=a,
            sip_call_id="4f8a1c3e-77@192.0.2.11",
            from_uri="sip:alice@example.org",
            to_uri="sip:bob@example.org",
            request_uri="sip:bob@example.org",
            source="192.0.2.11:5060",
            transport="udp",
            account="alice@example.org",
            user_agent="Bench 1.0",
        ),
        MediaAllocated(bridge=a, engine="native", elapsed_ms=2),
        CallDecided(step="routing", outcome="account", reason="local account", elapsed_ms=2),
        LegCreated(
            leg_id=b,
            parent_leg_id=a,
            role="B",
            sip_call_id="b2b-77",
            target_uri="sip:bob@192.0.2.12:5060",
            account="bob@example.org",
            destination="192.0.2.12:5060/udp",
            elapsed_ms=3,
        ),
        LegRinging(leg_id=b, status=180, elapsed_ms=120),
        LegAnswered(leg_id=b, elapsed_ms=4_000),
        CallAnswered(leg_id=a, peer_leg_id=b, elapsed_ms=4_001),
        MediaStats(leg_id=a, bridge=a, codec="PCMU", packets_in=3_000, packets_out=2_998, mos=4.4),
        LegEnded(
            leg_id=b, status=200, cause="normal", q850=16, ended_by="caller", elapsed_ms=64_000
        ),
        CallEnded(
            status=200,
            cause="normal",
            q850=16,
            ended_by="caller",
            elapsed_ms=64_000,
            talk_ms=60_000,
        ),
    ]


def call_names(count: int) -> list[str]:
    """Streams as the signal role names them: sorted by time."""
    rng = random.Random(7)
    return [uuid7(1_700_000_000_000_000_000 + n * 2_000_000, rng) for n in range(count)]


class TimedLog:
    """Notes how long each fact waited until it was durable."""

    def __init__(self, log: EmbeddedLog) -> None:
        self._commit = log.commit
        self.delays_ms: list[float] = []
        self.committed: list[tuple[float, int]] = []
        """When how many."""
        log.commit = self.commit  # type: ignore[method-assign]

    def commit(self, batch: Sequence[Entry]) -> list[Position | Conflict]:
        verdicts = self._commit(batch)
        now = time.time_ns()
        self.committed.append((now / 1e9, len(batch)))
        self.delays_ms += [(now - row[TIME_NS]) / 1e6 for row in batch if isinstance(row, tuple)]
        return verdicts


def measure_calls(log: EmbeddedLog, *, rate: int | None, busy: float = 0.0) -> str:
    """`CALLS` calls through a :class:`LogWriter`, as fast as it goes or at `rate` calls/s.

    `busy` is the share of the time in which the calling thread keeps the interpreter to itself,
    as signalling does.
    """
    completions: list[Callable[[], None]] = []
    timed = TimedLog(log)
    writer = LogWriter(log, notify=completions.append, bound=CALLS * EVENTS * 2)
    writer.start()
    count = CALLS if rate is None else rate * 4
    calls = [(f"call/{name}", Meta(correlation=name)) for name in call_names(count)]
    events = events_of_a_call("a1", "b1")
    head = log.head()
    calling = 0.0
    wall, cpu = time.perf_counter(), time.process_time()
    for number, (stream, meta) in enumerate(calls):
        if rate is not None:
            while (pause := wall + number / rate - time.perf_counter()) > 0:
                if pause > (1 - busy) / rate:
                    sum(range(1000))
                else:
                    time.sleep(pause)
        before = time.thread_time()
        for version, event in enumerate(events, start=1):
            writer.observe(stream, version, event, meta)
        calling += time.thread_time() - before
    while log.head() - head < count * EVENTS:
        log.wait(log.head(), 0.1)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    assert writer.stop() == 0
    figures = (
        f"calling thread {calling / count * 1e6:.1f} µs a call,"
        f" process {cpu / count * 1e6:.1f} µs a call"
    )
    if rate is not None:
        delays = sorted(timed.delays_ms)
        return (
            f"observe, {rate} calls/s, thread {busy:.0%} busy: {figures}, durable after"
            f" {delays[len(delays) // 2]:.1f} ms (p99 {delays[len(delays) * 99 // 100]:.1f} ms)"
        )
    return f"observe, flat out: {count * EVENTS / wall:,.0f} events/s, {figures}"


def measure_projection(folder: Path, rate: int, seconds: int) -> str:
    """The project role beside a server with `rate` calls/s: its CPU, and how far it is behind."""
    log = open_log(folder, node="bench")
    timed = TimedLog(log)
    writer = LogWriter(log, notify=lambda function: function())
    with project_role(folder) as role:
        database = open_read_model(folder)
        wait_for(database, log.head(), timeout_s=30)
        writer.start()
        cpu, begin = role_cpu_s(role), time.perf_counter()
        seen: list[tuple[float, Position]] = []
        # A call's events come a tenth of a second apart: many calls are up, batches cut them.
        lane = max(1, rate)
        stories = [events_of_a_call(f"{n}a", f"{n}b") for n in range(lane)]
        streams = [f"call/{name}" for name in call_names(rate * (seconds + 1))]
        step = 0
        while (now := time.perf_counter()) < begin + seconds:
            while step < (now - begin) * rate * EVENTS:
                round_, place = divmod(step, lane * EVENTS)
                event, number = divmod(place, lane)
                stream = streams[round_ * lane + number]
                writer.observe(stream, event + 1, stories[number][event], Meta())
                step += 1
            seen.append((time.time(), lowest(database)))
            time.sleep(0.004)
        writer.stop()
        wait_for(database, log.head(), timeout_s=30)
        seen.append((time.time(), lowest(database)))
        cpu = role_cpu_s(role) - cpu
        database.close()
    behind = lags_ms(timed.committed, seen)
    log.close()
    return (
        f"project role, {rate} calls/s: {cpu / (step / EVENTS) * 1e3:.2f} ms CPU a call,"
        f" tables behind by {behind[len(behind) // 2]:.0f} ms"
        f" (p99 {behind[len(behind) * 99 // 100]:.0f} ms)"
    )


def lowest(database: Database) -> Position:
    """How far all projections are."""
    with database.read() as connection:
        return min((c.position for c in load_checkpoints(connection)), default=0)


def lags_ms(committed: list[tuple[float, int]], seen: list[tuple[float, Position]]) -> list[float]:
    """For each event the time from its commit to its first being seen in the tables, sorted."""
    lags: list[float] = []
    position = index = 0
    for moment, count in committed:
        for _ in range(count):
            position += 1
            while seen[index][1] < position:
                index += 1
            lags.append((seen[index][0] - moment) * 1e3)
    return sorted(lags)


def measure_idle(folder: Path, seconds: float = 20.0) -> str:
    """What a project role costs that has nothing to do."""
    open_log(folder, node="bench").close()
    with project_role(folder) as role:
        cpu = role_cpu_s(role)
        time.sleep(seconds)
        cpu = role_cpu_s(role) - cpu
    return f"project role, idle: {cpu / seconds:.2%} of a core"


@contextlib.contextmanager
def project_role(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that does what the supervisor's does."""
    DataDirectory(folder).prepare()
    command = [sys.executable, "-c", PROJECT_ROLE, str(folder)]
    with subprocess.Popen(command) as process:
        try:
            while not (folder / "readmodel.lock").exists():
                time.sleep(0.05)
            time.sleep(2.0)  # what is imported and migrated at the start does not count
            yield process
        finally:
            process.terminate()


def role_cpu_s(process: subprocess.Popen[bytes]) -> float:
    """User plus system time of a process."""
    times = psutil.Process(process.pid).cpu_times()
    return float(times.user + times.system)


def measure_append(log: EmbeddedLog) -> str:
    """Decided appends of one event, one after the other: what an admin command or 200 waits."""
    event = events_of_a_call("a1", "b1")[1]
    count = 500
    wall = time.perf_counter()
    for version in range(count):
        log.append("call/decided", version, [event], Meta())
    return f"append, one at a time: {(time.perf_counter() - wall) / count * 1e3:.2f} ms each"


def measure_replay(folder: Path, log: EmbeddedLog) -> str:
    """All projections from zero over what :func:`measure_calls` wrote."""
    database = open_read_model(folder)
    projector = make_projector(log, database)
    head = log.head()
    wall, cpu = time.perf_counter(), time.process_time()
    projector.catch_up(head)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    database.close()
    return f"replay, five projections: {head / wall:,.0f} events/s, {cpu / head * 1e6:.1f} µs each"


def measure_rebuild(folder: Path, log: EmbeddedLog) -> str:
    """What ``pbx replay --all`` does: a file of its own, then the comparison row by row."""
    database = open_read_model(folder)
    wall, cpu = time.perf_counter(), time.process_time()
    outcome = replay(log, database, PROJECTION_NAMES)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    database.close()
    assert outcome.different == 0
    return (
        f"pbx replay --all: {outcome.rate:,.0f} events/s, with the comparison of {outcome.rows:,}"
        f" rows {wall:.1f} s, {cpu / outcome.events * 1e6:.1f} µs CPU an event"
    )


def write_history(log: EmbeddedLog, events: int, phones: int = 10_000) -> None:
    """`phones` that register, then calls and refreshes in turn; the last 100 calls do not end."""
    rows: list[Entry] = []
    now_ns = time.time_ns()

    def add(stream: str, version: int, event: Event) -> None:
        name, data = log.codec.encode(stream, event)
        rows.append((stream, version, name, now_ns, "bench", "", "", "", "", data))

    phone_events = (events // EVENTS) * 2
    for number in range(phone_events):
        phone = number % phones
        stream, version = f"binding/user{phone}@example.org", number // phones + 1
        add(stream, version, phone_event(phone, version, now_ns))
        if len(rows) >= 5_000:
            log.commit(rows)
            rows.clear()
    calls = (events - phone_events) // EVENTS
    for number, call in enumerate(call_names(calls)):
        story = events_of_a_call(f"{call}.1", f"{call}.2")
        for version, event in enumerate(story[: 7 if number >= calls - 100 else None], start=1):
            add(f"call/{call}", version, event)
        if len(rows) >= 5_000:
            log.commit(rows)
            rows.clear()
    log.commit(rows)


def phone_event(phone: int, version: int, now_ns: int) -> Event:
    """A phone registers once and refreshes ever after."""
    place = f"192.0.2.{phone % 250}:{1024 + phone}"
    contact_id, expires_ns = f"c{phone}", now_ns + 3_600_000_000_000
    if version > 1:
        return BindingRefreshed(
            contact_id=contact_id,
            expires_ns=expires_ns,
            sip_call_id=f"r{phone}@192.0.2.1",
            cseq=version,
            remote=place,
            local="192.0.2.1:5060",
        )
    return BindingAdded(
        contact_id=contact_id,
        contact=f"sip:user{phone}@{place}",
        expires_ns=expires_ns,
        sip_call_id=f"r{phone}@192.0.2.1",
        cseq=1,
        user_agent="Bench 1.0",
        remote=place,
        local="192.0.2.1:5060",
        methods=("ACK", "BYE", "CANCEL", "INVITE", "OPTIONS"),
        since_ns=now_ns,
    )


def measure_start(folder: Path, events: int) -> Iterator[str]:
    """What a signal role does before it listens: from the log alone, then with the read model."""
    log = open_log(folder, node="bench")
    write_history(log, events)
    size = f"{log.head():,} events ({(folder / LOG_FILE).stat().st_size >> 20} MB)"
    yield f"start from {size} alone: {_start(folder, log)}"
    yield measure_replay(folder, log)
    yield f"start from {size} and the read model: {_start(folder, log)}"
    yield measure_rebuild(folder, log)
    log.close()


def _start(folder: Path, log: EmbeddedLog) -> str:
    locations = Locations(cast(SignalNode, None))  # asked by timers and calls only
    wall, cpu = time.perf_counter(), time.process_time()
    projected = read_projected(folder, log, "bench")
    restore_bindings(log, locations, projected.bindings)
    calls = open_calls(log, "bench", projected.calls)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return (
        f"{wall:.2f} s, {cpu:.2f} s CPU for {locations.count:,} bindings and"
        f" {len(calls)} open calls"
    )


def main() -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory(dir=".") as name:
        log = open_log(Path(name), node="bench")
        print(measure_calls(log, rate=None))
        print(measure_replay(Path(name), log))
        log.close()
        for rate, busy in ((20, 0.0), (500, 0.0), (500, 0.6)):
            folder = Path(name) / f"{rate}-{busy}"
            folder.mkdir()
            log = open_log(folder, node="bench")
            print(measure_calls(log, rate=rate, busy=busy))
            log.close()
        log = open_log(Path(name), node="bench")
        print(measure_append(log))
        log.close()
        for rate in (20, 100, 200):
            folder = Path(name) / f"project-{rate}"
            folder.mkdir()
            print(measure_projection(folder, rate, 10), flush=True)
        folder = Path(name) / "idle"
        folder.mkdir()
        print(measure_idle(folder))
        if "--start" in sys.argv:
            folder = Path(name) / "start"
            folder.mkdir()
            for line in measure_start(folder, 1_000_000):
                print(line, flush=True)
    assert threading.active_count() == 1


if __name__ == "__main__":
    main()
