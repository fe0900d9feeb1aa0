"""The four machines as tables: complete, reachable, and as the figures of the RFCs say."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum

import pytest

from sip.transaction import tables
from sip.transaction.tables import (
    INVITE_CLIENT,
    INVITE_SERVER,
    NON_INVITE_CLIENT,
    NON_INVITE_SERVER,
    ClientAction,
    ClientEvent,
    ClientState,
    InviteClientState,
    InviteServerState,
    ServerEvent,
    ServerState,
)

Table = Mapping[tuple[IntEnum, IntEnum], tuple[tuple[IntEnum, ...], IntEnum]]
MACHINES = [
    pytest.param(INVITE_CLIENT, InviteClientState, id="invite-client"),
    pytest.param(NON_INVITE_CLIENT, ClientState, id="non-invite-client"),
    pytest.param(INVITE_SERVER, InviteServerState, id="invite-server"),
    pytest.param(NON_INVITE_SERVER, ServerState, id="non-invite-server"),
]


@pytest.mark.parametrize(("table", "states"), MACHINES)
def test_every_state_is_reached_and_left(table: Table, states: type[IntEnum]) -> None:
    """From the first state every other is reachable; only the last one has no way out."""
    first, last = next(iter(states)), list(states)[-1]
    reached = {first}
    while True:
        more = {after for (state, _), (_, after) in table.items() if state in reached}
        if more <= reached:
            break
        reached |= more
    assert reached == set(states)
    assert {state for state, _ in table} == set(states) - {last}


@pytest.mark.parametrize(("table", "states"), MACHINES)
def test_every_state_can_end(table: Table, states: type[IntEnum]) -> None:
    """No state is a trap: from each a path of events leads to Terminated."""
    ends = {list(states)[-1]}
    while True:
        more = {state for (state, _), (_, after) in table.items() if after in ends}
        if more <= ends:
            break
        ends |= more
    assert ends == set(states)


@pytest.mark.parametrize(
    ("table", "states", "events", "machine"),
    [
        (INVITE_CLIENT, InviteClientState, ClientEvent, tables.INVITE_CLIENT_MACHINE),
        (NON_INVITE_CLIENT, ClientState, ClientEvent, tables.NON_INVITE_CLIENT_MACHINE),
        (INVITE_SERVER, InviteServerState, ServerEvent, tables.INVITE_SERVER_MACHINE),
        (NON_INVITE_SERVER, ServerState, ServerEvent, tables.NON_INVITE_SERVER_MACHINE),
    ],
)
def test_compiled_machine_is_the_table(
    table: Table, states: type[IntEnum], events: type[IntEnum], machine: tables.Machine
) -> None:
    """What runs is what is written: same transitions, and nothing where nothing is listed."""
    for state in states:
        for event in events:
            compiled = machine[state][event]
            listed = table.get((state, event))
            if listed is None:
                assert compiled is None
            else:
                assert compiled == (tuple(int(action) for action in listed[0]), int(listed[1]))


def test_ack_of_a_failure_is_sent_for_each_repetition() -> None:
    """RFC 3261 §17.1.1.2: any retransmission of the final response brings the ACK again."""
    for state in (InviteClientState.CALLING, InviteClientState.PROCEEDING):
        assert ClientAction.SEND_ACK in INVITE_CLIENT[(state, ClientEvent.FAILURE)][0]
    assert INVITE_CLIENT[(InviteClientState.COMPLETED, ClientEvent.FAILURE)] == (
        (ClientAction.SEND_ACK,),
        InviteClientState.COMPLETED,
    )


def test_accepted_state_of_rfc_6026() -> None:
    """§7.1, §7.2: 2xx are passed on while Accepted, INVITE repetitions are absorbed."""
    assert INVITE_CLIENT[(InviteClientState.ACCEPTED, ClientEvent.SUCCESS)] == (
        (ClientAction.REPORT_RESPONSE,),
        InviteClientState.ACCEPTED,
    )
    assert (InviteServerState.ACCEPTED, ServerEvent.REQUEST) not in INVITE_SERVER
    assert (InviteServerState.ACCEPTED, ServerEvent.TU_FAILURE) not in INVITE_SERVER
