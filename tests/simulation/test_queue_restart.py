"""Who waits in a queue, and who takes calls of it, when the server is killed."""

from __future__ import annotations

import pytest

from pbx.domain.applications import ApplicationEnded, ApplicationStarted
from pbx.domain.calls import CallEnded
from pbx.eventlog import Record
from tests.simulation.__main__ import report
from tests.simulation.invariants import judge
from tests.simulation.world import FIRST_CALL_S, Options, World, simulate

#: Callers wait for 10 s on the average; by then some talk to agents and some still wait.
KILLED_S = FIRST_CALL_S + 20.0
DOWN_S = 0.5


def ended(records: list[Record]) -> dict[str, Record]:
    return {
        record.stream: record
        for record in records
        if isinstance(record.event, CallEnded | ApplicationEnded)
    }


@pytest.mark.slow
def test_a_killed_server_leaves_no_ghosts_in_queues() -> None:
    """Calls of callers and agents end with a cause, programs as interrupted; the queue of the next
    life begins empty, and takes and gives calls again."""
    seen: dict[str, int] = {}

    def prepare(world: World) -> None:
        def before() -> None:
            process = world.server.process
            assert process is not None
            assert process.voice is not None
            host = process.voice.host
            seen.update(queued=host.tasks.rendezvous.queued(), tasks=len(host.tasks.tasks))
            seen["joined"] = sum(line.joined is not None for line in host.lines.values())
            seen["head"] = world.log.head()
            for plan in world.active.values():
                plan.excused = "the server was killed"
            world.server.crash(DOWN_S)

        def after() -> None:
            process = world.server.process
            assert process is not None
            assert process.voice is not None
            seen["queued after"] = process.voice.host.tasks.rendezvous.queued()
            seen["tasks after"] = len(process.voice.host.tasks.tasks)
            seen["closed"] = world.log.head()

        world.scheduler.at(KILLED_S, before)
        world.scheduler.at(KILLED_S + DOWN_S + 0.0001, after)

    options = Options(
        seed=3, calls=60, rate=1.0, names=("program-waiting",), faults=False, singles=80, triples=0
    )
    world = simulate(options, prepare)
    breaches = judge(world)
    world.close()
    assert not breaches, report(options, breaches, trace=False)
    assert seen["queued"] > 0, "nobody waited when the server was killed: another seed is needed"
    assert seen["joined"] > 0, "nobody talked to an agent: another seed is needed"
    assert (seen["queued after"], seen["tasks after"]) == (0, 0)

    past = list(world.log.read(limit=seen["head"]))
    closing = ended(list(world.log.read(seen["head"], limit=seen["closed"] - seen["head"])))
    over = ended(past)
    tasks = [one for one in past if isinstance(one.event, ApplicationStarted)]
    open_tasks = [one for one in tasks if one.stream not in over]
    assert len(open_tasks) == seen["tasks"]
    for record in open_tasks:
        end = closing[record.stream].event
        assert isinstance(end, ApplicationEnded)
        assert (end.reason, end.ended_by) == ("interrupted", "server")
        call = closing[f"call/{record.correlation}"].event
        assert isinstance(call, CallEnded)
        assert (call.cause, call.ended_by, call.recovered) == ("error", "server", True)
    later = [one.event for one in world.log.read(seen["closed"], category="pbx.applications")]
    assert any(getattr(event, "action", "") == "bridge" for event in later), "agents take calls"
