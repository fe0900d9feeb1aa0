"""The whole PBX under seeded faults: every invariant holds for every seed.

A failing seed prints the command that repeats it and the ladder of the call that failed.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.simulation.__main__ import report, run_seed
from tests.simulation.scenarios import BY_NAME, PROGRAMS
from tests.simulation.world import Options

MAX_PROGRAM_CALLS = 80
"""Calls of a seed that programs answer: each takes 30 ms of CPU, as the media service ticks."""
PROGRAM_CALLS_PER_S = 2.0
"""Crashes are in proportion to calls: most of these, which last, must end otherwise."""


@pytest.mark.slow
def test_every_invariant_holds(seed: int, calls: int) -> None:
    """All scenarios, all faults: loss, duplication, reordering, corruption, cuts, crashes."""
    options = Options(seed=seed, calls=calls)
    world, breaches, _ = run_seed(options)
    assert not breaches, report(options, breaches, trace=True)
    assert len(world.plans) == calls


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_scenario_without_faults(name: str) -> None:
    """Each scenario by itself over a perfect network: rules about order are strict here."""
    options = Options(seed=1, calls=25, names=(name,), faults=False, singles=60, triples=12)
    _, breaches, _ = run_seed(options)
    assert not breaches, report(options, breaches, trace=True)


@pytest.mark.slow
def test_every_invariant_holds_where_programs_answer(seed: int, calls: int) -> None:
    """Attendant, voice mail, queue, transfer, broken ones: all faults, random hang-ups."""
    calls = min(calls, MAX_PROGRAM_CALLS)
    names = tuple(scenario.name for scenario in PROGRAMS)
    options = Options(seed=seed, calls=calls, rate=PROGRAM_CALLS_PER_S, names=names)
    world, breaches, _ = run_seed(options)
    assert not breaches, report(options, breaches, trace=True)
    assert len(world.plans) == calls


@pytest.mark.slow
def test_registrations_with_providers_survive_everything(seed: int) -> None:
    """The same faults, and twenty registrars that judge what the server sends them."""
    options = Options(seed=seed, calls=200, rate=2.0, providers=20)
    _, breaches, _ = run_seed(options)
    assert not breaches, report(options, breaches, trace=True)


@pytest.mark.slow
def test_one_seed_gives_one_history_whatever_the_hash_seed() -> None:
    """Nothing depends on the order of sets, on addresses in memory or on real time."""
    digests = set()
    for hash_seed in ("0", "7"):
        result = subprocess.run(
            [sys.executable, "-m", "tests.simulation", "--seed", "3", "--calls", "120"],
            env={"PYTHONHASHSEED": hash_seed, "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert "history" in result.stdout, result.stderr
        digests.add(result.stdout.partition("history ")[2].split()[0])
    assert len(digests) == 1
