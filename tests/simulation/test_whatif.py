"""What ``pbx whatif --rules`` says of simulated calls is what happened in them."""

from __future__ import annotations

import pytest

from pbx.calls.directory import Directory
from pbx.calls.emergency import Emergency
from pbx.calls.routing import Router
from pbx.calls.rulebook import Rulebook
from pbx.domain.calls import CallStarted, LegAnswered, LegCreated, LegEnded
from pbx.rules.stages import seconds_of
from pbx.whatif.recorded import recorded_calls
from pbx.whatif.rules import Configuration, Plan, compare_all
from pbx.whatif.tables import Everybody
from tests.simulation.__main__ import run_seed
from tests.simulation.world import Options, World

#: Stages and answers at the same moment: which came first is not in milliseconds.
_CLOSE_MS = 150


def rung(plan: Plan) -> set[str]:
    """The accounts that a plan rings."""
    words = [step.text.rpartition("rings ")[2] for step in plan.steps if "rings " in step.text]
    return {word for word in words if not word.startswith("sip:")}


def close(world: World, stream: str, book: Rulebook) -> bool:
    """Whether anything ended right when a timed stage was due."""
    began: dict[str, tuple[str, int]] = {}
    for record in world.log.read_stream(stream):
        event = record.event
        if isinstance(event, LegCreated):
            began[event.leg_id] = event.account, event.elapsed_ms
        elif isinstance(event, LegEnded | LegAnswered) and event.leg_id in began:
            account, created_ms = began[event.leg_id]
            accounts = {account, *(name for name, _ in began.values())}
            for name in accounts:
                for code in book.of_account(name, with_server=True).timed:
                    due_ms = seconds_of(code) * 1000
                    if abs(event.elapsed_ms - created_ms - due_ms) < _CLOSE_MS:
                        return True
    return False


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ruled", "grouped"])
def test_it_tells_what_happened(name: str, seed: int) -> None:
    """With the rules of that moment: whoever it says would ring did, and if nothing is left open
    nobody else did."""
    options = Options(seed=seed, calls=150, names=(name,), faults=False, singles=60, triples=12)
    world, breaches, _ = run_seed(options)
    assert not breaches
    recorded = {f"call/{call.call_id}": call for call in recorded_calls(world.log, 0)}
    directory, book = Directory(), Rulebook()
    emergency = Emergency(directory, ("112",))
    side = Configuration(Router(directory, Everybody(), emergency), book)
    compared = sure = 0
    for record in world.log.read():
        directory.apply(record.stream, record.event)
        book.apply(record.stream, record.event)
        if not isinstance(record.event, CallStarted) or record.stream not in recorded:
            continue
        (found,) = compare_all(
            [recorded[record.stream]], side, side, emergency, directory.main_domain
        )
        if found is None or found.unknown or close(world, record.stream, book):
            continue
        happened = {
            other.event.account
            for other in world.log.read_stream(record.stream)
            if isinstance(other.event, LegCreated) and other.event.role == "B"
        }
        said = {a for a in rung(found.old) if (r := found.call.rang.get(a)) is None or r.phones}
        compared += 1
        assert said <= happened, (record.stream, found.old, happened)
        if not found.old.beyond:
            sure += 1
            assert said == happened, (record.stream, found.old, happened)
    assert compared > 60 and sure > 30, (compared, sure)
