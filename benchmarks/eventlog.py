"""Figures of the event log: append rate, cost of a call's ten events, replay rate.

Run ``python -m benchmarks.eventlog``. CPU is that of the process (``time.process_time``) and of the
calling thread (``time.thread_time``); files lie in a temporary directory on the disk.
"""

from __future__ import annotations

import random
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

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
from pbx.eventlog import Conflict, EmbeddedLog, LogWriter, Meta, Position, open_log
from pbx.eventlog.record import TIME_NS, Entry
from pbx.kernel.events import Event
from pbx.kernel.ids import uuid7
from pbx.readmodel import make_projector, open_read_model

CALLS = 5_000
EVENTS = 10


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
        log.commit = self.commit  # type: ignore[method-assign]

    def commit(self, batch: Sequence[Entry]) -> list[Position | Conflict]:
        verdicts = self._commit(batch)
        now = time.time_ns()
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
    assert threading.active_count() == 1


if __name__ == "__main__":
    main()
