"""A server that starts knows the same, whichever way it came to know it.

Hypothesis draws a history of bindings and calls and moments at which the project role stopped; what
is restored from the read model of that moment and the log's tail must be the fold of the whole log,
value for value and version for version.
"""

from __future__ import annotations

import random
import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pbx.calls.locations import Locations
from pbx.calls.node import SignalNode
from pbx.domain.bindings import BindingAdded, BindingRefreshed, BindingRemoved
from pbx.domain.calls import CallEnded, CallStarted, LegDigit
from pbx.eventlog import MemoryLog, UnknownEvent
from pbx.eventlog.record import Row
from pbx.kernel.events import Event
from pbx.readmodel import Projector, open_read_model
from pbx.readmodel.database import READ_MODEL_FILE, SqliteDatabase
from pbx.readmodel.projections.bindings import BindingProjection
from pbx.readmodel.projections.calls import CallProjection
from pbx.signal.projected import read_projected
from pbx.signal.restore import open_calls, restore_bindings
from sip.registrar import Binding

NODES = ("n1", "n2")


class Step(NamedTuple):
    """One event; `gap` versions before it were never written."""

    stream: str
    event: Event
    node: str = "n1"
    gap: int = 0


def _binding_event(rng: random.Random) -> Event:
    contact_id = f"c{rng.randrange(3)}"
    kind = rng.randrange(10)
    place = f"192.0.2.{rng.randrange(9)}:{rng.randrange(1024, 65536)}"
    if kind == 0:
        return UnknownEvent(type="binding.praised.v1", data=b"{}")
    if kind < 3:
        return BindingRemoved(contact_id=contact_id, contact="sip:a@x", reason="expired")
    if kind < 7:
        return BindingRefreshed(
            contact_id=contact_id,
            expires_ns=rng.getrandbits(62),
            sip_call_id=f"r{rng.randrange(9)}",
            cseq=rng.getrandbits(31),
            remote=place,
            local="[2001:db8::1]:5060",
            transport=rng.choice(["udp", "tcp", "tls"]),
            nat=rng.random() < 0.5,
        )
    return BindingAdded(
        contact_id=contact_id,
        contact=f"sip:{rng.choice(['al', 'Zoë', 'a%00b'])}@{place};ob",
        expires_ns=rng.getrandbits(62),
        sip_call_id=f"r{rng.randrange(9)}",
        cseq=rng.getrandbits(31),
        q=rng.choice([0.0, 0.333, 0.7, 1.0]),
        instance=rng.choice(["", "<urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6>"]),
        reg_id=rng.randrange(3),
        path=tuple(f"<sip:p{n};lr>" for n in range(rng.randrange(3))),
        user_agent=rng.choice(["", "Tele\tphone 1.0"]),
        transport=rng.choice(["udp", "tcp"]),
        local="192.0.2.1:5060",
        remote=place,
        nat=rng.random() < 0.5,
        contact_params=rng.choice(["", ';+sip.instance="<urn:x>";methods="INVITE"']),
        methods=tuple(rng.sample(["ACK", "BYE", "INVITE"], rng.randrange(4))),
        since_ns=rng.choice([0, rng.getrandbits(62)]),
    )


def _call_event(rng: random.Random) -> Event:
    kind = rng.randrange(4)
    if kind == 0:
        return CallEnded(status=200, cause="normal", q850=16, ended_by="caller", elapsed_ms=5)
    if kind == 1:
        return LegDigit(leg_id="a")
    return CallStarted(
        leg_id="a",
        sip_call_id="s",
        from_uri="sip:a@x",
        to_uri="sip:b@x",
        request_uri="sip:b@x",
        source="192.0.2.1:5060",
        transport="udp",
    )


def steps_of(seed: int, count: int) -> list[Step]:
    """Streams of four accounts and of calls that are started once and end at most once."""
    rng = random.Random(seed)
    steps: list[Step] = []
    fates: dict[str, str] = {}
    for _ in range(count):
        if rng.random() < 0.7:
            account = f"user{rng.randrange(4)}@example.org"
            gap = rng.randrange(4) if rng.random() < 0.1 else 0
            steps.append(Step(f"binding/{account}", _binding_event(rng), gap=gap))
            continue
        stream = f"call/{rng.randrange(6):04}"
        event = _call_event(rng)
        fate = fates.setdefault(stream, "")
        starts, ends = isinstance(event, CallStarted), isinstance(event, CallEnded)
        if (starts and fate) or (not starts and not fate) or fate == "ended":
            continue
        fates[stream] = "ended" if ends else "started"
        steps.append(Step(stream, event, NODES[int(stream[-1]) % 2]))
    return steps


def log_of(steps: list[Step]) -> MemoryLog:
    log = MemoryLog(node="n1")
    versions: dict[str, int] = {}
    for number, step in enumerate(steps):
        version = versions[step.stream] = versions.get(step.stream, 0) + 1 + step.gap
        name, data = log.codec.encode(step.stream, step.event)
        row: Row = (step.stream, version, name, 10**18 + number, step.node, "", "", "", "", data)
        log.commit([row])
    return log


def told(locations: Locations) -> dict[str, tuple[int, tuple[Binding, ...]]]:
    """Everything a registrar knows."""
    found = {}
    for number in range(4):
        address = f"user{number}@example.org"
        location = locations.at(address)
        if location is not None:
            found[address] = (location.version, location.bindings)
    assert locations.statistics() == {
        "locations": len(found),
        "bindings": sum(len(bindings) for _, bindings in found.values()),
    }
    return found


def new_locations() -> Locations:
    return Locations(cast(SignalNode, None))  # which is asked by timers and calls only


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A read model without a row, to be copied: migrating takes longer than an example."""
    folder = tmp_path_factory.mktemp("empty")
    open_read_model(folder).close()
    return folder / READ_MODEL_FILE


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32),
    count=st.integers(0, 80),
    share=st.floats(0, 1),
    other_share=st.floats(0, 1),
    batch=st.integers(1, 20),
)
def test_read_model_and_tail_are_the_fold_of_the_whole_log(
    empty: Path, seed: int, count: int, share: float, other_share: float, batch: int
) -> None:
    log = log_of(steps_of(seed, count))
    head = log.head()
    with tempfile.TemporaryDirectory() as name:
        data = Path(name)
        shutil.copy(empty, data)
        database = SqliteDatabase(data / READ_MODEL_FILE)
        Projector(log, database, [BindingProjection()], batch=batch).catch_up(int(share * head))
        Projector(log, database, [CallProjection(log)], batch=batch).catch_up(
            int(other_share * head)
        )
        restored = {node: read_projected(data, log, node) for node in NODES}
        database.close()
    bindings = restored["n1"].bindings
    assert (bindings is not None) == (int(share * head) > 0), "what is there is used"

    from_log, from_rows = new_locations(), new_locations()
    restore_bindings(log, from_log, None)
    restore_bindings(log, from_rows, bindings)
    assert told(from_rows) == told(from_log)
    for node, found in restored.items():
        assert set(open_calls(log, node, found.calls)) == set(open_calls(log, node, None))
