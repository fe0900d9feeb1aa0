"""Options of the simulation: ``pytest tests/simulation --seeds 20 --calls 500``."""

from __future__ import annotations

import pytest

#: Without options, e.g. when all tests run: enough to notice a broken build, in seconds.
DEFAULT_SEEDS = 4
DEFAULT_CALLS = 150


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("simulation")
    group.addoption("--seeds", type=int, default=DEFAULT_SEEDS, help="how many seeds")
    group.addoption("--calls", type=int, default=DEFAULT_CALLS, help="simulated calls per seed")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test per seed, so that workers share them."""
    if "seed" in metafunc.fixturenames:
        seeds = metafunc.config.getoption("--seeds", DEFAULT_SEEDS)
        metafunc.parametrize("seed", range(1, int(seeds) + 1))


@pytest.fixture
def calls(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--calls", DEFAULT_CALLS))
