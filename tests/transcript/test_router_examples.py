"""Every example of the Router reference, as text (`router/examples.txt`)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from pbx.router import Forwarder, Kind, Outcome, Route, Unknown, UnknownPolicy, route
from pbx.router.defaults import DEFAULT_TABLE
from tests.support.routing import DictState, corporation

FILE = Path(__file__).parent / "router" / "examples.txt"
_CASE = re.compile(r"(.+) as (\w+)(?: by (\S+))? -> (.+)")


class Case(NamedTuple):
    section: str
    table: str
    given: tuple[str, ...]
    address: str
    kind: str
    caller: str
    expected: str


def cases() -> Iterator[Case]:
    section = ""
    table: list[str] | None = None
    given: list[str] = []
    for line in FILE.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            continue
        if line.startswith("=="):
            section, table, given = line[3:], None, []
        elif line.startswith("|"):
            table = [*(table or []), line[1:].removeprefix(" ")]
        elif found := _CASE.fullmatch(line):
            text = DEFAULT_TABLE if table is None else "\n".join(table)
            address, kind, caller, expected = found.groups()
            yield Case(section, text, tuple(given), address, kind, caller or "", expected)
        elif line:
            given.append(line)


def shown(route: Route) -> str:
    if route.outcome in (Outcome.REFUSED, Outcome.UNKNOWN):
        return f"refused {route.status}"
    module, host, address = route.triple()
    port = f":{route.port}" if route.port else ""
    return f"{module} {host}{port} {address}".rstrip()


def state_of(case: Case) -> DictState:
    state = corporation(case.table)
    for line in case.given:
        word, subject, *rest = line.split()
        if word == "telnum":
            state.telnums[subject] = rest[0]
        elif word == "forwarder":
            name, _, domain = subject.partition("@")
            state.add(domain, Forwarder(name, rest[0]))
        else:
            assert word == "unknown"
            kind, address = rest
            state.policies[subject, Kind(kind)] = UnknownPolicy(Unknown.REROUTE, address)
    return state


@pytest.mark.parametrize("case", list(cases()), ids=lambda case: f"{case.section}: {case.address}")
def test_example(case: Case) -> None:
    found = route(case.address, Kind(case.kind), state_of(case), caller=case.caller)
    assert shown(found) == case.expected
    assert found.steps, "every decision says how it was made"


def test_there_are_as_many_examples_as_the_file_has_arrows() -> None:
    """A line that the reader does not understand would otherwise pass unseen."""
    lines = FILE.read_text(encoding="utf-8").splitlines()
    arrows = sum(" as " in line and " -> " in line for line in lines if line[:1] not in "#|")
    assert len(list(cases())) == arrows
