"""What holds for every test: seeded Hypothesis, no sleeping, interop tests marked by their place.

A test that passes must pass on every machine at every time: outside ``tests/interop`` nothing may
wait for the real clock, and Hypothesis draws the same examples in every run. ``deep`` is for
hunting by hand: ``pytest --hypothesis-profile=deep``.

``@pytest.mark.needs("sipp", "pjsua2")`` names the programs and Python modules a test speaks with.
On a machine that lacks one the test is left out and the summary says so in one line; under CI
(``CI=true``) nothing may be left out, so that a green run means that everything ran.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import shutil
import time
from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import HealthCheck, settings

from tests.support import kafka_broker, network_namespace

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

ROOT = Path(__file__).parent.parent
INTEROP = ROOT / "tests" / "interop"
LEFT_OUT = pytest.StashKey[Counter[str]]()
REMEDIES = {
    "kafka-broker": "apt-get install default-jre-headless maven, then make setup",
    "network-namespace": "run as root where network namespaces may be made (iproute2)",
}
"""For what no package by itself brings."""
RIGHTS = {"network-namespace"}
"""Not to be installed: where a machine does not give them CI leaves the tests out, and says so."""


def pytest_configure() -> None:
    """Programs of the administrator (kamailio, PostgreSQL) lie where a user's PATH may not lead."""
    places = ["/usr/sbin", *sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")))]
    os.environ["PATH"] = os.pathsep.join((os.environ["PATH"], *places))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what lies in ``tests/interop``; leave out tests whose programs are missing."""
    keep: list[pytest.Item] = []
    left_out: list[pytest.Item] = []
    tests_without: Counter[str] = Counter()
    for item in items:
        if INTEROP in item.path.parents:
            item.add_marker(pytest.mark.interop)
        needed = {name for mark in item.iter_markers("needs") for name in mark.args}
        missing = sorted(name for name in needed if not _available(name))
        tests_without.update(missing)
        (left_out if missing else keep).append(item)
    config.stash[LEFT_OUT] = tests_without
    if not left_out:
        return
    to_install = sorted(set(tests_without) - RIGHTS)
    if os.environ.get("CI") == "true" and to_install:
        raise pytest.UsageError(
            f"CI may leave nothing out, but these are missing: {', '.join(to_install)}"
        )
    items[:] = keep
    config.hook.pytest_deselected(items=left_out)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which tools were missing and how to get them."""
    packages = _packages()
    tests_without = terminalreporter.config.stash.get(LEFT_OUT, Counter())
    for name, count in sorted(tests_without.items()):
        remedy = f"apt-get install {packages[name]}" if name in packages else "make setup"
        remedy = REMEDIES.get(name, remedy)
        terminalreporter.write_line(f"left out {count} tests that need {name}: {remedy}")


@pytest.fixture(scope="session")
def kafka_servers() -> Iterator[list[str]]:
    """Addresses of a real broker, for all tests together: each makes topics of its own. Tests
    that use it are marked ``needs("kafka-broker")``."""
    with kafka_broker.KafkaCluster() as cluster:
        yield cluster.servers


def _available(name: str) -> bool:
    if name == "kafka-broker":
        return importlib.util.find_spec("kafka") is not None and kafka_broker.installed()
    if name == "network-namespace":
        return network_namespace.possible()
    if ".so." in name:
        try:
            ctypes.CDLL(name)
        except OSError:
            return False
        return True
    return shutil.which(name) is not None or importlib.util.find_spec(name) is not None


def _packages() -> dict[str, str]:
    lines = (ROOT / "scripts" / "test-tools.txt").read_text(encoding="utf-8").splitlines()
    rows = (line.split() for line in lines if line and not line.startswith("#"))
    return {row[0]: row[1] for row in rows}


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
