"""The simulator's writer keeps the promises of the real one, in virtual time."""

from __future__ import annotations

import pytest

from pbx.domain.calls import LegDigit
from pbx.eventlog import Conflict, EventWriter, LogUnavailable, MemoryLog, Meta, Position
from tests.support.clock import EPOCH_NS, Scheduler
from tests.support.sim_log import SimulatedLogWriter


class World:
    """A log that outlives the writers before it."""

    def __init__(self) -> None:
        self.scheduler = Scheduler()
        self.log = MemoryLog(node="n", clock=self.scheduler.clock)
        self.verdicts: list[tuple[float, Position | Exception]] = []

    def writer(self, decide_s: float = 0.0) -> SimulatedLogWriter:
        return SimulatedLogWriter(
            self.log, self.scheduler.clock, self.scheduler.at, decide_s=decide_s
        )

    def done(self, verdict: Position | Exception) -> None:
        self.verdicts.append((self.scheduler.clock.now, verdict))

    def stored(self) -> list[tuple[str, int]]:
        return [(record.stream, record.version) for record in self.log.read()]


@pytest.fixture
def world() -> World:
    return World()


DIGIT = LegDigit(leg_id="a")


def test_facts_are_durable_after_ten_milliseconds(world: World) -> None:
    writer: EventWriter = world.writer()
    writer.observe("call/a", 1, DIGIT, Meta())
    world.scheduler.run_until(0.0099)
    assert (writer.backlog, world.stored()) == (1, [])
    writer.observe("call/a", 2, DIGIT, Meta())
    world.scheduler.run_until(0.0101)
    assert (writer.backlog, world.stored()) == (0, [("call/a", 1), ("call/a", 2)])
    assert next(world.log.read()).time_ns == EPOCH_NS


def test_a_crash_loses_undurable_facts_and_calls_nobody_back(world: World) -> None:
    writer = world.writer(decide_s=0.002)
    writer.observe("call/a", 1, DIGIT, Meta())
    writer.decide("account/a", 0, [DIGIT], Meta(), world.done)
    assert writer.crash() == 2
    writer.observe("call/a", 2, DIGIT, Meta())
    writer.decide("account/a", 0, [DIGIT], Meta(), world.done)
    world.scheduler.run_until(1.0)
    assert (world.stored(), world.verdicts, len(writer.lost)) == ([], [], 2)
    after = world.writer()
    after.decide("account/a", 0, [DIGIT], Meta(), world.done)
    world.scheduler.run_until(2.0)
    assert world.verdicts == [(1.0, 1)]


def test_a_decision_is_answered_later_never_inside_the_call(world: World) -> None:
    writer = world.writer()
    writer.observe("call/a", 1, DIGIT, Meta())
    writer.decide("account/a", 0, [DIGIT], Meta(), world.done)
    assert world.verdicts == []
    world.scheduler.run_until(0.0)
    assert world.verdicts == [(0.0, 2)]
    assert world.stored() == [("call/a", 1), ("account/a", 1)]
    writer.decide("account/a", 0, [DIGIT], Meta(), world.done)
    world.scheduler.run_until(0.0)
    assert isinstance(world.verdicts[1][1], Conflict)


def test_a_full_disk_keeps_facts_and_refuses_decisions_until_it_heals(world: World) -> None:
    writer = world.writer()
    writer.fail("disk full")
    assert not writer.healthy
    writer.observe("call/a", 1, DIGIT, Meta())
    writer.decide("account/a", 0, [DIGIT], Meta(), world.done)
    world.scheduler.run_until(5.0)
    assert isinstance(world.verdicts[0][1], LogUnavailable)
    assert (writer.backlog, world.stored()) == (1, [])
    writer.heal()
    world.scheduler.run_until(5.0)
    assert (writer.backlog, world.stored()) == (0, [("call/a", 1)])


def test_an_orderly_end_flushes(world: World) -> None:
    writer = world.writer()
    writer.observe("call/a", 1, DIGIT, Meta())
    writer.flush()
    assert world.stored() == [("call/a", 1)]
    world.scheduler.run_until(1.0)
    assert world.stored() == [("call/a", 1)]
