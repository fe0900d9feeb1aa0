"""The running transactions against the tables, under any order of events.

Every step a transaction takes must be the one its table lists for its state and event; an event
that is not listed must change nothing. And whatever happened: it ends, and nothing stays armed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import IntEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sip.transaction.client import ClientTransaction
from sip.transaction.server import ServerTransaction
from sip.transaction.tables import (
    INVITE_CLIENT,
    INVITE_SERVER,
    NON_INVITE_CLIENT,
    NON_INVITE_SERVER,
    ClientEvent,
    ServerEvent,
)
from tests.unit.sip import test_transaction_client, test_transaction_server

Table = Mapping[tuple[IntEnum, IntEnum], tuple[tuple[IntEnum, ...], IntEnum]]


@contextmanager
def watched(
    kind: type[ClientTransaction] | type[ServerTransaction], events: type[IntEnum], table: Table
) -> Iterator[list[tuple[int, int]]]:
    """Check every step of `kind` against `table`."""
    steps: list[tuple[int, int]] = []
    original = kind._step

    def step(self: ClientTransaction | ServerTransaction, event: int, now: float) -> None:
        before = self.state
        inner = len(steps)
        steps.append((int(before), event))
        original(self, event, now)  # type: ignore[arg-type]
        listed = table.get((before, events(event)))
        expected = before if listed is None else listed[1]
        if len(steps) == inner + 1:  # no step inside this one
            assert self.state == expected, f"{before!r} × {events(event)!r} → {self.state!r}"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kind, "_step", step)
        yield steps


@given(
    method=st.sampled_from(["INVITE", "OPTIONS"]),
    reliable=st.booleans(),
    acts=st.lists(
        st.sampled_from(["100", "180", "200", "302", "486", "603", "error", "wait", "long"]),
        max_size=25,
    ),
)
def test_client_follows_its_table(method: str, reliable: bool, acts: list[str]) -> None:
    table = INVITE_CLIENT if method == "INVITE" else NON_INVITE_CLIENT
    with watched(ClientTransaction, ClientEvent, table):
        bench = test_transaction_client.Bench(
            method, test_transaction_client.TCP if reliable else test_transaction_client.UDP
        )
        for act in acts:
            if act == "error":
                bench.transaction.transport_failed(bench.now)
            elif act in ("wait", "long"):
                bench.wait(bench.now + (0.7 if act == "wait" else 20.0))
            else:
                bench.answer(int(act))
        bench.answer(404)
        bench.wait(bench.now + 100)
    assert bench.gone
    finals = [told for told in bench.handler.told if not isinstance(told, int) or told >= 200]
    assert len([told for told in finals if told != 200]) <= 1
    assert finals


@given(
    method=st.sampled_from(["INVITE", "OPTIONS"]),
    reliable=st.booleans(),
    acts=st.lists(
        st.sampled_from(["100", "180", "200", "486", "again", "ack", "error", "wait", "long"]),
        max_size=25,
    ),
)
def test_server_follows_its_table(method: str, reliable: bool, acts: list[str]) -> None:
    table = INVITE_SERVER if method == "INVITE" else NON_INVITE_SERVER
    with watched(ServerTransaction, ServerEvent, table):
        bench = test_transaction_server.Bench(
            method, test_transaction_server.TCP if reliable else test_transaction_server.UDP
        )
        for act in acts:
            if act == "error":
                bench.transaction.transport_failed(bench.now)
            elif act == "again":
                bench.again()
            elif act == "ack":
                bench.transaction.receive_ack(bench.now)
            elif act in ("wait", "long"):
                bench.wait(bench.now + (0.7 if act == "wait" else 20.0))
            else:
                bench.respond(int(act))
        bench.respond(404)
        bench.wait(bench.now + 100)
    assert bench.gone
    finals = {status for _, status in bench.sent if status >= 200}
    assert len(finals) <= 1
