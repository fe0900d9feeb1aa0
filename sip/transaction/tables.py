"""The four transaction machines of RFC 3261 §17 with RFC 6026, as tables.

Everything that decides a transition is in this file: state × event to actions and next state.
`client.py` and `server.py` only know how to carry out an action. A pair that is not listed is
absorbed without effect: over UDP a late or repeated message is ordinary, never an error.

What enters each state:

* INVITE client (§17.1.1, RFC 6026 §8.4): Calling by sending the INVITE; Proceeding by 1xx;
  Completed by 3xx-6xx (ACK sent here); Accepted by 2xx (ACK sent by the transaction user).
* non-INVITE client (§17.1.2): Trying by sending; Proceeding by 1xx; Completed by a final response.
* INVITE server (§17.2.1, RFC 6026 §8.5): Proceeding by the INVITE; Completed by our 3xx-6xx;
  Confirmed by its ACK; Accepted by our 2xx.
* non-INVITE server (§17.2.2): Trying by the request; Proceeding by our 1xx; Completed by our final.

Three rows go beyond the figures of the RFCs, each marked "Deviation" at its line:

1. INVITE client, Proceeding, TRANSPORT_ERROR: only raised when a stream flow closes. Waiting
   for a response that can no longer arrive would leave the caller ringing for ever.
2. INVITE server, Proceeding, TRANSPORT_ERROR and non-INVITE server, Trying, TRANSPORT_ERROR: the
   same for the other side; without the row a request whose flow is gone keeps its state.
3. Accepted, TU_SUCCESS on the INVITE server is in RFC 6026 as "2xx from TU"; TU_FAILURE there
   stays unlisted, so a late rejection after an acceptance is absorbed.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Final, NamedTuple, TypeAlias


class ClientEvent(IntEnum):
    """What can happen to a client transaction."""

    PROVISIONAL = 0  # 1xx
    SUCCESS = 1  # 2xx
    FAILURE = 2  # 3xx-6xx
    RETRANSMIT = 3  # timers A, E
    TIMEOUT = 4  # timers B, F
    LINGER = 5  # timers D, K, M
    TRANSPORT_ERROR = 6


class ClientAction(IntEnum):
    RETRANSMIT = 0  # send the request again and arm A or E
    RETRANSMIT_T2 = 1  # the same at the flat interval T2
    STOP_TIMERS = 2
    REPORT_RESPONSE = 3  # to the transaction user
    REPORT_TIMEOUT = 4
    REPORT_ERROR = 5
    SEND_ACK = 6  # of a 3xx-6xx: same branch, §17.1.1.3
    ARM_LINGER = 7  # D or M (INVITE), K (non-INVITE); of zero length over a reliable transport


class InviteClientState(IntEnum):
    CALLING = 0
    PROCEEDING = 1
    COMPLETED = 2
    ACCEPTED = 3
    TERMINATED = 4


class ClientState(IntEnum):
    """Of a non-INVITE client transaction."""

    TRYING = 0
    PROCEEDING = 1
    COMPLETED = 2
    TERMINATED = 3


class ServerEvent(IntEnum):
    """What can happen to a server transaction."""

    REQUEST = 0  # the request again
    ACK = 1
    TU_PROVISIONAL = 2
    TU_SUCCESS = 3
    TU_FAILURE = 4
    RETRANSMIT = 5  # timer G
    TIMEOUT = 6  # timer H
    LINGER = 7  # timers I, J, L
    TRANSPORT_ERROR = 8


class ServerAction(IntEnum):
    SEND = 0  # the response the transaction user gave
    RESEND = 1  # the last response, if there is one
    RETRANSMIT = 2  # the last response, and arm G again
    ARM_RETRANSMIT = 3  # G (UDP only) and H
    STOP_TIMERS = 4
    ARM_LINGER = 5  # I (T4), J or L (64·T1)
    REPORT_TIMEOUT = 6
    REPORT_ERROR = 7


class InviteServerState(IntEnum):
    PROCEEDING = 0
    COMPLETED = 1
    CONFIRMED = 2
    ACCEPTED = 3
    TERMINATED = 4


class ServerState(IntEnum):
    """Of a non-INVITE server transaction."""

    TRYING = 0
    PROCEEDING = 1
    COMPLETED = 2
    TERMINATED = 3


_CE, _CA = ClientEvent, ClientAction
_SE, _SA = ServerEvent, ServerAction
_IC, _NC = InviteClientState, ClientState
_IS, _NS = InviteServerState, ServerState

INVITE_CLIENT: Final[Mapping[tuple[IntEnum, IntEnum], tuple[tuple[IntEnum, ...], IntEnum]]] = {
    (_IC.CALLING, _CE.RETRANSMIT): ((_CA.RETRANSMIT,), _IC.CALLING),
    (_IC.CALLING, _CE.TIMEOUT): ((_CA.REPORT_TIMEOUT,), _IC.TERMINATED),
    (_IC.CALLING, _CE.TRANSPORT_ERROR): ((_CA.REPORT_ERROR,), _IC.TERMINATED),
    (_IC.CALLING, _CE.PROVISIONAL): ((_CA.STOP_TIMERS, _CA.REPORT_RESPONSE), _IC.PROCEEDING),
    (_IC.CALLING, _CE.SUCCESS): ((_CA.ARM_LINGER, _CA.REPORT_RESPONSE), _IC.ACCEPTED),
    (_IC.CALLING, _CE.FAILURE): (
        (_CA.SEND_ACK, _CA.ARM_LINGER, _CA.REPORT_RESPONSE),
        _IC.COMPLETED,
    ),
    (_IC.PROCEEDING, _CE.PROVISIONAL): ((_CA.REPORT_RESPONSE,), _IC.PROCEEDING),
    (_IC.PROCEEDING, _CE.SUCCESS): ((_CA.ARM_LINGER, _CA.REPORT_RESPONSE), _IC.ACCEPTED),
    (_IC.PROCEEDING, _CE.FAILURE): (
        (_CA.SEND_ACK, _CA.ARM_LINGER, _CA.REPORT_RESPONSE),
        _IC.COMPLETED,
    ),
    # Raised by the usage 64·T1 after its CANCEL (§9.1): nobody answers any more.
    (_IC.PROCEEDING, _CE.TIMEOUT): ((_CA.REPORT_TIMEOUT,), _IC.TERMINATED),
    # Deviation 1.
    (_IC.PROCEEDING, _CE.TRANSPORT_ERROR): ((_CA.REPORT_ERROR,), _IC.TERMINATED),
    (_IC.COMPLETED, _CE.FAILURE): ((_CA.SEND_ACK,), _IC.COMPLETED),
    (_IC.COMPLETED, _CE.LINGER): ((), _IC.TERMINATED),
    # The ACK could not be sent; the final response was already reported.
    (_IC.COMPLETED, _CE.TRANSPORT_ERROR): ((), _IC.TERMINATED),
    (_IC.ACCEPTED, _CE.SUCCESS): ((_CA.REPORT_RESPONSE,), _IC.ACCEPTED),
    (_IC.ACCEPTED, _CE.LINGER): ((), _IC.TERMINATED),
}

NON_INVITE_CLIENT: Final[Mapping[tuple[IntEnum, IntEnum], tuple[tuple[IntEnum, ...], IntEnum]]] = {
    (_NC.TRYING, _CE.RETRANSMIT): ((_CA.RETRANSMIT,), _NC.TRYING),
    (_NC.TRYING, _CE.TIMEOUT): ((_CA.REPORT_TIMEOUT,), _NC.TERMINATED),
    (_NC.TRYING, _CE.TRANSPORT_ERROR): ((_CA.REPORT_ERROR,), _NC.TERMINATED),
    (_NC.TRYING, _CE.PROVISIONAL): ((_CA.REPORT_RESPONSE,), _NC.PROCEEDING),
    (_NC.TRYING, _CE.SUCCESS): ((_CA.ARM_LINGER, _CA.REPORT_RESPONSE), _NC.COMPLETED),
    (_NC.TRYING, _CE.FAILURE): ((_CA.ARM_LINGER, _CA.REPORT_RESPONSE), _NC.COMPLETED),
    (_NC.PROCEEDING, _CE.RETRANSMIT): ((_CA.RETRANSMIT_T2,), _NC.PROCEEDING),
    (_NC.PROCEEDING, _CE.TIMEOUT): ((_CA.REPORT_TIMEOUT,), _NC.TERMINATED),
    (_NC.PROCEEDING, _CE.TRANSPORT_ERROR): ((_CA.REPORT_ERROR,), _NC.TERMINATED),
    (_NC.PROCEEDING, _CE.PROVISIONAL): ((_CA.REPORT_RESPONSE,), _NC.PROCEEDING),
    (_NC.PROCEEDING, _CE.SUCCESS): ((_CA.ARM_LINGER, _CA.REPORT_RESPONSE), _NC.COMPLETED),
    (_NC.PROCEEDING, _CE.FAILURE): ((_CA.ARM_LINGER, _CA.REPORT_RESPONSE), _NC.COMPLETED),
    (_NC.COMPLETED, _CE.LINGER): ((), _NC.TERMINATED),
}

INVITE_SERVER: Final[Mapping[tuple[IntEnum, IntEnum], tuple[tuple[IntEnum, ...], IntEnum]]] = {
    (_IS.PROCEEDING, _SE.REQUEST): ((_SA.RESEND,), _IS.PROCEEDING),
    (_IS.PROCEEDING, _SE.TU_PROVISIONAL): ((_SA.SEND,), _IS.PROCEEDING),
    (_IS.PROCEEDING, _SE.TU_SUCCESS): ((_SA.SEND, _SA.ARM_LINGER), _IS.ACCEPTED),
    (_IS.PROCEEDING, _SE.TU_FAILURE): ((_SA.SEND, _SA.ARM_RETRANSMIT), _IS.COMPLETED),
    # Deviation 2.
    (_IS.PROCEEDING, _SE.TRANSPORT_ERROR): ((_SA.REPORT_ERROR,), _IS.TERMINATED),
    (_IS.COMPLETED, _SE.REQUEST): ((_SA.RESEND,), _IS.COMPLETED),
    (_IS.COMPLETED, _SE.RETRANSMIT): ((_SA.RETRANSMIT,), _IS.COMPLETED),
    (_IS.COMPLETED, _SE.ACK): ((_SA.STOP_TIMERS, _SA.ARM_LINGER), _IS.CONFIRMED),
    (_IS.COMPLETED, _SE.TIMEOUT): ((_SA.REPORT_TIMEOUT,), _IS.TERMINATED),
    (_IS.COMPLETED, _SE.TRANSPORT_ERROR): ((_SA.REPORT_ERROR,), _IS.TERMINATED),
    (_IS.CONFIRMED, _SE.LINGER): ((), _IS.TERMINATED),
    # Deviation 3. Retransmissions of the INVITE are absorbed here (RFC 6026 §7.1).
    (_IS.ACCEPTED, _SE.TU_SUCCESS): ((_SA.SEND,), _IS.ACCEPTED),
    (_IS.ACCEPTED, _SE.TRANSPORT_ERROR): ((_SA.REPORT_ERROR,), _IS.ACCEPTED),
    (_IS.ACCEPTED, _SE.LINGER): ((), _IS.TERMINATED),
}

NON_INVITE_SERVER: Final[Mapping[tuple[IntEnum, IntEnum], tuple[tuple[IntEnum, ...], IntEnum]]] = {
    (_NS.TRYING, _SE.TU_PROVISIONAL): ((_SA.SEND,), _NS.PROCEEDING),
    (_NS.TRYING, _SE.TU_SUCCESS): ((_SA.SEND, _SA.ARM_LINGER), _NS.COMPLETED),
    (_NS.TRYING, _SE.TU_FAILURE): ((_SA.SEND, _SA.ARM_LINGER), _NS.COMPLETED),
    # Deviation 2.
    (_NS.TRYING, _SE.TRANSPORT_ERROR): ((_SA.REPORT_ERROR,), _NS.TERMINATED),
    (_NS.PROCEEDING, _SE.REQUEST): ((_SA.RESEND,), _NS.PROCEEDING),
    (_NS.PROCEEDING, _SE.TU_PROVISIONAL): ((_SA.SEND,), _NS.PROCEEDING),
    (_NS.PROCEEDING, _SE.TU_SUCCESS): ((_SA.SEND, _SA.ARM_LINGER), _NS.COMPLETED),
    (_NS.PROCEEDING, _SE.TU_FAILURE): ((_SA.SEND, _SA.ARM_LINGER), _NS.COMPLETED),
    (_NS.PROCEEDING, _SE.TRANSPORT_ERROR): ((_SA.REPORT_ERROR,), _NS.TERMINATED),
    (_NS.COMPLETED, _SE.REQUEST): ((_SA.RESEND,), _NS.COMPLETED),
    (_NS.COMPLETED, _SE.LINGER): ((), _NS.TERMINATED),
    # The response could not be sent; the peer will ask again or give up.
    (_NS.COMPLETED, _SE.TRANSPORT_ERROR): ((_SA.REPORT_ERROR,), _NS.TERMINATED),
}


class Transition(NamedTuple):
    """What to do, and the state afterwards, both as plain integers."""

    actions: tuple[int, ...]
    state: int


Machine: TypeAlias = tuple[tuple[Transition | None, ...], ...]


def compiled(
    table: Mapping[tuple[IntEnum, IntEnum], tuple[tuple[IntEnum, ...], IntEnum]],
    states: type[IntEnum],
    events: type[IntEnum],
) -> Machine:
    """The same table indexed by integers: machine[state][event] is a Transition or None.

    Hashing a pair of enum members on every message would cost more than the transition.
    """
    rows = []
    for state in states:
        row: list[Transition | None] = []
        for event in events:
            entry = table.get((state, event))
            row.append(entry and Transition(tuple(int(a) for a in entry[0]), int(entry[1])))
        rows.append(tuple(row))
    return tuple(rows)


INVITE_CLIENT_MACHINE: Final = compiled(INVITE_CLIENT, InviteClientState, ClientEvent)
NON_INVITE_CLIENT_MACHINE: Final = compiled(NON_INVITE_CLIENT, ClientState, ClientEvent)
INVITE_SERVER_MACHINE: Final = compiled(INVITE_SERVER, InviteServerState, ServerEvent)
NON_INVITE_SERVER_MACHINE: Final = compiled(NON_INVITE_SERVER, ServerState, ServerEvent)
