"""The group-committing writer: order, durability classes, full disk, locked file, overflow."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from pbx.domain.accounts import DomainCreated
from pbx.domain.calls import CallDecided, LegAnswered, LegDigit
from pbx.eventlog import (
    ANY_VERSION,
    Codec,
    Conflict,
    EmbeddedLog,
    LogUnavailable,
    LogWriter,
    MemoryLog,
    Meta,
    Position,
)
from pbx.eventlog.record import Entry
from pbx.eventlog.writer import BATCH
from pbx.kernel.events import Event

PATIENCE_S = 30.0
"""Bounds a hang; every wait below ends by a condition, never by this."""


class Loop:
    """Stands for the event loop: collects completions, runs them on the test's thread."""

    def __init__(self) -> None:
        self._ready: list[Callable[[], None]] = []
        self._changed = threading.Condition()
        self.verdicts: list[Position | Exception] = []
        self.closed = False

    def notify(self, function: Callable[[], None]) -> None:
        with self._changed:
            if self.closed:
                raise RuntimeError("Event loop is closed")
            self._ready.append(function)
            self._changed.notify()

    def done(self, verdict: Position | Exception) -> None:
        self.verdicts.append(verdict)

    def run_until_verdicts(self, count: int) -> None:
        while len(self.verdicts) < count:
            with self._changed:
                assert self._changed.wait_for(lambda: self._ready, PATIENCE_S), "no completion came"
                ready, self._ready = self._ready, []
            for function in ready:
                function()


class FaultyLog(MemoryLog):
    """A log whose commits can be made to fail or to wait."""

    def __init__(self) -> None:
        super().__init__(node="n")
        self.fault: Exception | None = None
        self.poison: bytes | None = None
        self.batches: list[int] = []
        self.gate = threading.Event()
        self.gate.set()
        self.attempted = threading.Event()

    def commit(self, batch: Sequence[Entry]) -> list[Position | Conflict]:
        self.attempted.set()
        assert self.gate.wait(PATIENCE_S)
        if self.fault is not None:
            raise self.fault
        for entry in batch:
            rows = [entry] if isinstance(entry, tuple) else entry.rows
            if self.poison is not None and any(self.poison in row[9] for row in rows):
                raise UnicodeEncodeError("utf-8", "\udcff", 0, 1, "surrogates not allowed")
        self.batches.append(len(batch))
        return super().commit(batch)


@pytest.fixture
def log() -> FaultyLog:
    return FaultyLog()


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def writer(log: FaultyLog, loop: Loop) -> Iterator[LogWriter]:
    made = LogWriter(log, notify=loop.notify, retry_s=0.001, bound=20)
    made.start()
    yield made
    log.gate.set()
    made.stop(PATIENCE_S)


def digit(number: int) -> LegDigit:
    return LegDigit(leg_id=f"{number}")


def fact(number: int) -> LegAnswered:
    return LegAnswered(leg_id=f"{number}")


def events(log: MemoryLog, stream: str) -> list[Event]:
    return [record.event for record in log.read_stream(stream)]


def test_facts_are_committed_in_groups_and_in_order(
    log: FaultyLog, loop: Loop, writer: LogWriter
) -> None:
    log.gate.clear()
    for number in range(1, 16):
        writer.observe("call/a", number, fact(number), Meta(correlation="a"))
    log.gate.set()
    assert log.wait(14, PATIENCE_S)
    assert events(log, "call/a") == [fact(number) for number in range(1, 16)]
    assert len(log.batches) <= 2
    assert {record.correlation for record in log.read()} == {"a"}


def test_a_decision_takes_the_facts_before_it_along(
    log: FaultyLog, loop: Loop, writer: LogWriter
) -> None:
    """Order within a stream holds across the two classes."""
    writer.observe("binding/a", 1, fact(1), Meta())
    writer.decide("binding/a", 1, [fact(2), fact(3)], Meta(), loop.done)
    loop.run_until_verdicts(1)
    assert loop.verdicts == [3]
    assert events(log, "binding/a") == [fact(1), fact(2), fact(3)]


class Standing:
    """Time that does not pass: whatever comes follows closely."""

    def wall_ns(self) -> int:
        return 1

    def monotonic(self) -> float:
        return 1.0


def test_decisions_that_follow_closely_share_a_commit(log: FaultyLog, loop: Loop) -> None:
    """While the writer gathers another decision comes: both are in one transaction."""
    writer = LogWriter(log, notify=loop.notify, clock=Standing())

    class Gathering(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            writer.decide("binding/c", 0, [fact(3)], Meta(), loop.done)
            return super().wait(0)

    writer.start()
    writer.decide("binding/a", 0, [fact(1)], Meta(), loop.done)
    loop.run_until_verdicts(1)
    writer._halt = Gathering()
    writer.decide("binding/b", 0, [fact(2)], Meta(), loop.done)
    loop.run_until_verdicts(3)
    assert log.batches == [1, 2]
    writer.stop(PATIENCE_S)


def test_completions_run_where_notify_puts_them(
    log: FaultyLog, loop: Loop, writer: LogWriter
) -> None:
    threads: list[int] = []

    def done(verdict: Position | Exception) -> None:
        threads.append(threading.get_ident())
        loop.done(verdict)

    writer.decide("account/a", 0, [fact(1)], Meta(), done)
    loop.run_until_verdicts(1)
    assert threads == [threading.get_ident()]


def test_a_conflict_reaches_its_decision_only(
    log: FaultyLog, loop: Loop, writer: LogWriter
) -> None:
    log.gate.clear()
    for expected in (0, 5, 1):
        writer.decide("account/a", expected, [fact(expected)], Meta(), loop.done)
    log.gate.set()
    loop.run_until_verdicts(3)
    first, second, third = loop.verdicts
    assert (first, third) == (1, 2)
    assert isinstance(second, Conflict)
    assert second.current_version == 1


def test_a_failing_completion_does_not_keep_the_others_from_theirs(
    log: FaultyLog, loop: Loop, writer: LogWriter, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(verdict: Position | Exception) -> None:
        loop.done(verdict)
        raise ZeroDivisionError

    log.gate.clear()
    writer.decide("account/a", 0, [fact(1)], Meta(), broken)
    writer.decide("account/b", 0, [fact(1)], Meta(), loop.done)
    log.gate.set()
    loop.run_until_verdicts(2)
    assert loop.verdicts == [1, 2]
    assert "completion of an append failed" in caplog.text


def test_while_the_log_is_unavailable_decisions_fail_and_facts_wait(
    log: FaultyLog, loop: Loop, writer: LogWriter, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    log.fault = LogUnavailable("the disk is full")
    writer.observe("call/a", 1, fact(1), Meta())
    writer.decide("account/a", 0, [fact(1)], Meta(), loop.done)
    loop.run_until_verdicts(1)
    assert str(loop.verdicts[0]) == "the disk is full"
    assert (writer.healthy, writer.error) == (False, "the disk is full")
    writer.observe("call/a", 2, fact(2), Meta())
    assert writer.backlog == 2

    log.fault = None
    assert log.wait(1, PATIENCE_S)
    writer.decide("account/a", 0, [fact(9)], Meta(), loop.done)
    loop.run_until_verdicts(2)
    assert (writer.healthy, writer.error) == (True, "")
    assert events(log, "call/a") == [fact(1), fact(2)]
    assert events(log, "account/a") == [fact(9)], "a refused decision is never written later"
    assert caplog.text.count("new work is refused") == 1
    assert caplog.text.count("takes events again") == 1


def test_decisions_that_queue_up_behind_a_failing_commit_fail_with_it(
    log: FaultyLog, loop: Loop, writer: LogWriter
) -> None:
    """Nobody waits for one attempt after the other."""
    log.fault = LogUnavailable("locked")
    log.gate.clear()
    writer.decide("account/a", 0, [fact(1)], Meta(), loop.done)
    assert log.attempted.wait(PATIENCE_S)
    for number in range(3):
        writer.observe("call/a", number + 1, fact(number), Meta())
        writer.decide("account/a", 0, [fact(1)], Meta(), loop.done)
    log.attempted.clear()
    log.gate.set()
    loop.run_until_verdicts(4)
    assert {str(verdict) for verdict in loop.verdicts} == {"locked"}
    assert writer.backlog == 3
    log.fault = None
    assert log.wait(2, PATIENCE_S)
    assert events(log, "call/a") == [fact(number) for number in range(3)]


def test_a_decision_behind_more_facts_than_a_transaction_takes_is_refused_too(
    log: FaultyLog, loop: Loop
) -> None:
    """What failed is full already: the decision does not get as far as an attempt."""
    writer = LogWriter(log, notify=loop.notify, retry_s=0.001)
    writer.start()
    log.fault = LogUnavailable("the disk is full")
    for number in range(BATCH + 10):
        writer.observe("call/a", number + 1, fact(number), Meta())
    writer.decide("account/a", 0, [fact(1)], Meta(), loop.done)
    loop.run_until_verdicts(1)
    log.attempted.clear()
    assert log.attempted.wait(PATIENCE_S)
    writer.decide("account/a", 0, [fact(1)], Meta(), loop.done)
    loop.run_until_verdicts(2)
    assert {str(verdict) for verdict in loop.verdicts} == {"the disk is full"}
    assert writer.backlog == BATCH + 10
    log.fault = None
    assert log.wait(BATCH + 9, PATIENCE_S)
    assert events(log, "call/a") == [fact(number) for number in range(BATCH + 10)]
    assert events(log, "account/a") == []
    assert writer.stop(PATIENCE_S) == 0


def test_past_the_bound_the_oldest_statistics_go_first(
    log: FaultyLog, loop: Loop, writer: LogWriter
) -> None:
    log.fault = LogUnavailable("locked")
    for number in range(1, 41):
        event = digit(number) if number % 2 else fact(number)
        writer.observe("call/a", number, event, Meta())
    assert not writer.healthy
    log.fault = None
    stored: list[Event] = []
    writer.decide("account/a", 0, [fact(1)], Meta(), loop.done)
    loop.run_until_verdicts(1)
    while not isinstance(loop.verdicts[-1], int):
        writer.decide("account/a", 0, [fact(1)], Meta(), loop.done)
        loop.run_until_verdicts(len(loop.verdicts) + 1)
    stored = events(log, "call/a")
    assert [e for e in stored if isinstance(e, LegAnswered)] == [fact(n) for n in range(2, 41, 2)]
    kept = [int(e.leg_id) for e in stored if isinstance(e, LegDigit)]
    shed = writer.statistics()["shed"]
    assert shed > 0
    assert len(kept) + shed == 20
    assert writer.statistics()["lost"] == 0
    # Entries the thread has taken already cannot be dropped; of the others the oldest went.
    queued = [n for n in kept if n > 1]
    assert queued == sorted(queued)
    assert 39 in kept


def test_facts_about_calls_are_dropped_only_at_ten_times_the_bound(
    log: FaultyLog, loop: Loop
) -> None:
    writer = LogWriter(log, notify=loop.notify, bound=5)  # not started: nothing is taken
    for number in range(1, 61):
        writer.observe("call/a", number, fact(number), Meta())
    writer.observe("call/a", 61, digit(61), Meta())
    assert writer.backlog == 50
    assert (writer.statistics()["lost"], writer.statistics()["shed"]) == (10, 1)
    writer.start()
    assert writer.stop(PATIENCE_S) == 0
    assert events(log, "call/a") == [fact(number) for number in range(1, 51)]


def test_one_entry_that_cannot_be_stored_does_not_stop_the_others(
    log: FaultyLog, loop: Loop, writer: LogWriter, caplog: pytest.LogCaptureFixture
) -> None:
    log.poison = b"poison"
    log.gate.clear()
    writer.observe("call/a", 1, fact(1), Meta())
    bad = CallDecided(step="poison", outcome="", reason="")
    writer.observe("call/a", 2, bad, Meta())
    writer.decide("account/b", 0, [bad], Meta(), loop.done)
    writer.decide("account/a", 0, [fact(1)], Meta(), loop.done)
    log.gate.set()
    loop.run_until_verdicts(2)
    assert isinstance(loop.verdicts[0], UnicodeEncodeError)
    assert isinstance(loop.verdicts[1], int)
    assert events(log, "call/a") == [fact(1)]
    assert writer.statistics()["rejected"] == 2
    assert writer.healthy


def test_a_disk_that_fills_up_amid_single_writes_loses_nothing(
    log: FaultyLog, loop: Loop, writer: LogWriter
) -> None:
    """The batch is retried singly, and the second of the single writes finds the log locked."""
    real = log._decide
    log.poison = b"poison"
    log.gate.clear()
    writer.decide("account/a", 0, [fact(1)], Meta(), loop.done)
    bad = CallDecided(step="poison", outcome="", reason="")
    writer.observe("call/a", 1, bad, Meta())

    def decide_then_fail(decision: object) -> Position | Conflict:
        log.fault = LogUnavailable("locked")
        return real(decision)  # type: ignore[arg-type]

    log._decide = decide_then_fail  # type: ignore[method-assign]
    log.gate.set()
    loop.run_until_verdicts(1)
    assert loop.verdicts == [1], "what was written is reported as written"
    log._decide = real  # type: ignore[method-assign]
    log.fault = log.poison = None
    assert log.wait(1, PATIENCE_S)
    assert events(log, "call/a") == [bad]


def test_stop_writes_what_is_queued(log: FaultyLog, loop: Loop) -> None:
    writer = LogWriter(log, notify=loop.notify)
    writer.start()
    writer.observe("call/a", 1, fact(1), Meta())
    assert writer.stop(PATIENCE_S) == 0
    assert not writer.healthy
    assert events(log, "call/a") == [fact(1)]


def test_a_writer_that_never_started_reports_its_queue(log: FaultyLog, loop: Loop) -> None:
    writer = LogWriter(log, notify=loop.notify)
    writer.observe("call/a", 1, fact(1), Meta())
    assert writer.stop(0) == 1


def test_stop_reports_what_could_not_be_written(log: FaultyLog, loop: Loop) -> None:
    log.fault = LogUnavailable("the disk is full")
    writer = LogWriter(log, notify=loop.notify)
    writer.start()
    writer.observe("call/a", 1, fact(1), Meta())
    assert writer.stop(PATIENCE_S) == 1


def test_completions_after_the_end_of_the_loop_do_not_stop_the_facts(
    log: FaultyLog, loop: Loop, caplog: pytest.LogCaptureFixture
) -> None:
    writer = LogWriter(log, notify=loop.notify)
    writer.start()
    loop.closed = True
    writer.decide("account/a", 0, [fact(1)], Meta(), loop.done)
    writer.observe("call/a", 1, fact(1), Meta())
    assert writer.stop(PATIENCE_S) == 0
    assert events(log, "call/a") == [fact(1)]
    assert "after the loop's end" in caplog.text


def test_facts_of_a_node_need_no_version(log: FaultyLog, loop: Loop, writer: LogWriter) -> None:
    for number in (1, 2):
        writer.observe("node/n", ANY_VERSION, fact(number), Meta(time_ns=7, node="m"))
    assert log.wait(1, PATIENCE_S)
    assert [(r.version, r.time_ns, r.node) for r in log.read()] == [(1, 7, "m"), (2, 7, "m")]


class TestOnDisk:
    def test_a_full_disk_refuses_decisions_and_loses_no_fact(
        self, tmp_path: Path, loop: Loop
    ) -> None:
        log = EmbeddedLog(tmp_path / "log.sqlite3", codec=Codec(), node="n")
        log.append("domain/x", 0, [DomainCreated(name="x")], Meta())
        database = log._writer
        assert database is not None
        (pages,) = database.execute("PRAGMA page_count").fetchone()
        database.execute(f"PRAGMA max_page_count = {pages}")
        writer = LogWriter(log, notify=loop.notify, retry_s=0.001)
        writer.start()
        for number in range(1, 501):
            writer.observe("call/a", number, fact(number), Meta())
        writer.decide("domain/y", 0, [DomainCreated(name="y")], Meta(), loop.done)
        loop.run_until_verdicts(1)
        assert isinstance(loop.verdicts[0], LogUnavailable)
        assert "the disk is full" in str(loop.verdicts[0])
        assert not writer.healthy

        database.execute("PRAGMA max_page_count = 1000000")
        assert log.wait(500, PATIENCE_S), "the backlog is written as soon as there is room"
        writer.decide("domain/y", 0, [DomainCreated(name="y")], Meta(), loop.done)
        loop.run_until_verdicts(2)
        assert writer.stop(PATIENCE_S) == 0
        assert [r.version for r in log.read_stream("call/a")] == list(range(1, 501))
        assert [r.event for r in log.read_stream("domain/y")] == [DomainCreated(name="y")]
        log.close()

    def test_a_locked_database_refuses_decisions_in_bounded_time(
        self, tmp_path: Path, loop: Loop
    ) -> None:
        path = tmp_path / "log.sqlite3"
        log = EmbeddedLog(path, codec=Codec(), busy_timeout_s=0.01)
        other = EmbeddedLog(path)
        other.append("domain/x", 0, [DomainCreated(name="x")], Meta())
        assert other._writer is not None
        other._writer.execute("BEGIN IMMEDIATE")
        writer = LogWriter(log, notify=loop.notify, retry_s=0.001)
        writer.start()
        writer.observe("call/a", 1, fact(1), Meta())
        writer.decide("domain/y", 0, [DomainCreated(name="y")], Meta(), loop.done)
        loop.run_until_verdicts(1)
        assert "locked by another process for more than 0.01 s" in str(loop.verdicts[0])
        other._writer.execute("ROLLBACK")
        assert log.wait(1, PATIENCE_S)
        assert writer.stop(PATIENCE_S) == 0
        assert [r.event for r in log.read_stream("call/a")] == [fact(1)]
        other.close()
        log.close()


class SyncLog(MemoryLog):
    """Notes syncs; fails the first `failures` of them."""

    def __init__(self, failures: int = 0) -> None:
        super().__init__(node="n")
        self.failures = failures
        self.syncs = 0
        self.synced = threading.Event()

    def sync(self) -> None:
        self.syncs += 1
        if self.syncs <= self.failures:
            raise LogUnavailable("Input/output error")
        self.synced.set()


def test_facts_are_synced_soon_without_further_traffic(loop: Loop) -> None:
    """A power cut loses a bounded time of facts, also of the last ones before a quiet night."""
    log = SyncLog(failures=1)
    writer = LogWriter(log, notify=loop.notify, sync_s=0.001)
    writer.start()
    writer.observe("call/a", 1, fact(1), Meta())
    assert log.synced.wait(PATIENCE_S)
    assert log.syncs == 2
    assert writer.stop(PATIENCE_S) == 0
    assert log.syncs == 2


def test_what_is_unsynced_at_the_end_is_synced(loop: Loop) -> None:
    """An orderly stop leaves nothing to a power cut; a decision leaves nothing to sync."""
    log = SyncLog()
    writer = LogWriter(log, notify=loop.notify, sync_s=3600)
    writer.start()
    writer.observe("call/a", 1, fact(1), Meta())
    assert log.wait(0, PATIENCE_S)
    writer.stop(PATIENCE_S)
    assert log.syncs == 1
    other = LogWriter(log, notify=loop.notify, sync_s=3600)
    other.start()
    other.decide("account/a", 0, [fact(2)], Meta(), loop.done)
    loop.run_until_verdicts(1)
    other.stop(PATIENCE_S)
    assert log.syncs == 1
