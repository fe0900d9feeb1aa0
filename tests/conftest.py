"""What holds for every test: seeded Hypothesis, no sleeping, interop tests marked by their place.

A test that passes must pass on every machine at every time: outside ``tests/interop`` nothing may
wait for the real clock, and Hypothesis draws the same examples in every run. ``deep`` is for
hunting by hand: ``pytest --hypothesis-profile=deep``.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import HealthCheck, settings

# Two busy cores make any deadline flaky, and data generation slow now and then.
settings.register_profile(
    "default",
    derandomize=True,
    deadline=None,
    max_examples=100,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("deep", deadline=None, max_examples=10_000)
settings.load_profile("default")

INTEROP = Path(__file__).parent / "interop"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what lies in ``tests/interop``, so that no file can forget it."""
    for item in items:
        if INTEROP in item.path.parents:
            item.add_marker(pytest.mark.interop)


def _no_sleeping(seconds: float) -> NoReturn:
    raise AssertionError(f"time.sleep({seconds}) in a test: wait for a condition instead")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Make ``time.sleep`` an error while a test runs, except against real programs."""
    if item.get_closest_marker("interop"):
        return (yield)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "sleep", _no_sleeping)
        return (yield)
