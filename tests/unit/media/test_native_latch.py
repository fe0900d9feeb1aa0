"""The latch at exact times: what each state takes, and when it changes."""

from __future__ import annotations

from typing import Any

import pytest

from media.native.latch import (
    MAX_CANDIDATES,
    TRANSITIONS,
    Accepted,
    Latch,
    LatchInput,
    LatchState,
    control_ports,
    may_send_early,
)
from media.native.relay import Address, DropReason, LearnPolicy, StreamConfig

PHONE: Address = ("192.0.2.7", 40000)
MAPPED: Address = ("192.0.2.7", 41111)
OURS: Address = ("192.0.2.7", 30000)
OTHER: Address = ("198.51.100.1", 5004)


def latch(**of: Any) -> Latch:
    made = Latch(lambda address: address == OURS)
    made.describe(StreamConfig(**{"nat": True, "signalling_host": PHONE[0], **of}))
    return made


def send(
    made: Latch, source: Address, first: int, count: int, now: float, *, ssrc: int = 1
) -> list[Accepted | DropReason]:
    """A run of packets at 20 ms."""
    return [
        DropReason.SOURCE
        if made.is_stranger(source)
        else made.receive(source, ssrc, number & 0xFFFF, number * 160, 160, now + index * 0.02)
        for index, number in enumerate(range(first, first + count))
    ]


WAITING = [DropReason.NOT_LOCKED] * 3


def test_only_idle_is_never_entered_again() -> None:
    """Every other state is the target of a transition and has a way out by a description."""
    assert {state for state, _ in TRANSITIONS} == set(LatchState)
    assert set(TRANSITIONS.values()) == set(LatchState) - {LatchState.IDLE}
    for state in LatchState:
        assert TRANSITIONS[state, LatchInput.DESCRIBED_STRICT] is LatchState.LOCKED
        assert TRANSITIONS[state, LatchInput.DESCRIBED_NAT] is LatchState.LEARNING


def test_nothing_is_accepted_in_idle() -> None:
    made = Latch(lambda _: False)
    assert made.state is LatchState.IDLE
    assert made.is_stranger(PHONE)
    assert made.control(PHONE) is DropReason.NOT_LOCKED


def where(made: Latch) -> tuple[LatchState, Address | None]:
    return made.state, made.locked


def test_a_candidate_that_pauses_starts_again() -> None:
    made = latch()
    assert send(made, PHONE, 1, 3, 0.0) == WAITING
    assert send(made, PHONE, 4, 3, 1.1) == WAITING
    assert where(made) == (LatchState.LEARNING, None)
    assert send(made, PHONE, 7, 1, 1.2) == [Accepted.LOCKED]
    assert where(made) == (LatchState.LOCKED, PHONE)


def test_the_sequence_number_may_wrap_while_learning() -> None:
    assert send(latch(), PHONE, 65534, 4, 0.0) == [*WAITING, Accepted.LOCKED]


def test_a_better_rival_holds_up_the_lock_only_while_it_speaks() -> None:
    named = ("198.51.100.9", 6000)
    made = latch(remote=named)
    assert send(made, PHONE, 1, 3, 0.0) == WAITING
    assert send(made, named, 1, 2, 0.0) == WAITING[:2]
    assert send(made, PHONE, 4, 1, 0.1) == [DropReason.NOT_LOCKED]
    assert send(made, PHONE, 5, 1, 0.3) == [Accepted.LOCKED]


def test_one_packet_of_a_rival_holds_up_nothing() -> None:
    """Else a single forged datagram now and then would keep a call silent."""
    named = ("198.51.100.9", 6000)
    made = latch(remote=named)
    send(made, named, 1, 1, 0.05)
    assert send(made, PHONE, 1, 4, 0.0) == [*WAITING, Accepted.LOCKED]


def test_candidates_are_bounded() -> None:
    """When all places are taken, only a better one or the end of a quiet one makes room."""
    made = latch(learn=LearnPolicy.ANY, remote=("198.51.100.9", 6000))
    for number in range(MAX_CANDIDATES):
        send(made, ("203.0.113.5", 1000 + number), 1, 1, 0.0)
    assert send(made, OTHER, 1, 8, 0.1) == [DropReason.NOT_LOCKED] * 8  # no place
    assert send(made, PHONE, 1, 4, 0.4) == [*WAITING, Accepted.LOCKED]  # a better rank


def test_a_quiet_candidate_makes_room() -> None:
    made = latch(learn=LearnPolicy.ANY)
    for number in range(MAX_CANDIDATES):
        send(made, ("203.0.113.5", 1000 + number), 1, 1, 0.0)
    assert send(made, OTHER, 1, 4, 1.5) == [*WAITING, Accepted.LOCKED]


def test_a_new_mapping_waits_for_five_seconds_of_silence() -> None:
    made = latch()
    send(made, PHONE, 1, 4, 0.0)  # the last at 0.06 s
    assert send(made, MAPPED, 5, 1, 5.05) == [DropReason.SOURCE]
    assert where(made) == (LatchState.LOCKED, PHONE)
    assert send(made, MAPPED, 6, 3, 5.07) == WAITING
    assert where(made) == (LatchState.REBIND, PHONE)
    assert send(made, MAPPED, 9, 1, 5.13) == [Accepted.REBOUND]
    assert where(made) == (LatchState.LOCKED, MAPPED)
    assert made.previous == PHONE
    assert send(made, PHONE, 10, 1, 5.2) == [DropReason.SOURCE]


def test_the_old_source_ends_a_rebinding() -> None:
    made = latch()
    send(made, PHONE, 1, 4, 0.0)
    assert send(made, MAPPED, 5, 3, 6.0) == WAITING
    assert send(made, PHONE, 5, 1, 6.1) == [Accepted.MEDIA]
    assert where(made) == (LatchState.LOCKED, PHONE)
    assert send(made, MAPPED, 8, 1, 6.2) == [DropReason.SOURCE]


@pytest.mark.parametrize(
    ("sequence_number", "timestamp"),
    [
        (4, 4 * 160),  # not a new packet
        (3, 3 * 160),  # an old one
        (3004, 3004 * 160),  # too far
        (5, -1),  # the timestamp runs backwards
    ],
)
def test_a_rebinding_continues_the_stream(sequence_number: int, timestamp: int) -> None:
    made = latch()
    send(made, PHONE, 1, 4, 0.0)
    verdict = made.receive(MAPPED, 1, sequence_number, timestamp & 0xFFFFFFFF, 160, 9.0)
    assert verdict is DropReason.SOURCE
    assert where(made) == (LatchState.LOCKED, PHONE)


def test_our_own_ports_are_nobody() -> None:
    made = latch()
    assert send(made, OURS, 1, 4, 0.0) == [DropReason.OWN_PORT] * 4
    send(made, PHONE, 1, 4, 0.0)
    assert send(made, OURS, 5, 4, 9.0) == [DropReason.OWN_PORT] * 4


def test_rebinding_candidates_are_bounded() -> None:
    made = latch()
    send(made, PHONE, 1, 4, 0.0)
    for number in range(MAX_CANDIDATES):
        send(made, (PHONE[0], 1000 + number), 5, 1, 9.0)
    assert send(made, MAPPED, 5, 4, 9.1) == [DropReason.NOT_LOCKED] * 4


def test_datagrams_without_sequence_lock_by_number_alone() -> None:
    made = latch(payload_types=None)
    verdicts = [made.receive(PHONE, 0, -1, 0, 10, 0.1 * n) for n in range(4)]
    assert verdicts == [*WAITING, Accepted.LOCKED]
    verdicts = [made.receive(MAPPED, 0, -1, 0, 10, 9.0 + 0.1 * n) for n in range(4)]
    assert verdicts == [*WAITING, Accepted.REBOUND]


def test_a_peer_without_nat_is_the_address_of_its_sdp() -> None:
    made = latch(nat=False, remote=PHONE)
    assert where(made) == (LatchState.LOCKED, PHONE)
    assert send(made, PHONE, 1, 1, 0.0) == [Accepted.MEDIA]
    assert send(made, MAPPED, 2, 8, 9.0) == [DropReason.SOURCE] * 8
    made.describe(StreamConfig(remote=OTHER))
    assert made.locked == OTHER


def test_turning_nat_on_learns() -> None:
    made = latch(nat=False, remote=PHONE)
    made.describe(StreamConfig(remote=PHONE, nat=True))
    assert where(made) == (LatchState.LEARNING, None)


def test_the_same_generation_keeps_the_lock() -> None:
    made = latch()
    send(made, PHONE, 1, 4, 0.0)
    made.describe(StreamConfig(nat=True, remote=OTHER))
    assert made.locked == PHONE
    made.describe(StreamConfig(nat=True, remote=OTHER, generation=1))
    assert where(made) == (LatchState.LEARNING, None)


def test_multiplexed_reports_come_from_the_locked_source() -> None:
    made = latch()
    assert made.control(PHONE) is DropReason.NOT_LOCKED
    send(made, PHONE, 1, 4, 0.0)
    assert made.control(PHONE) is None
    assert made.control(MAPPED) is DropReason.SOURCE
    asymmetric = latch(nat=False, remote=PHONE, asymmetric=True)
    assert asymmetric.control(MAPPED) is None
    assert asymmetric.control(OTHER) is DropReason.SOURCE


@pytest.mark.parametrize(
    ("host", "nat", "signalling_host", "early"),
    [
        ("192.168.1.5", False, None, True),
        ("192.168.1.5", True, "203.0.113.1", False),
        ("192.168.1.5", True, "192.168.1.5", True),
        ("10.1.1.1", True, None, False),
        ("172.31.255.255", True, None, False),
        ("172.32.0.1", True, None, True),
        ("100.64.0.1", True, None, False),
        ("169.254.0.1", True, None, False),
        ("fd12::1", True, None, False),
        ("fe80::1", True, None, False),
        ("2001:db8::1", True, None, True),
        ("203.0.113.1", True, None, True),
    ],
)
def test_media_goes_early_where_the_address_is_the_peers(
    host: str, nat: bool, signalling_host: str | None, early: bool
) -> None:
    config = StreamConfig(remote=(host, 4000), nat=nat, signalling_host=signalling_host)
    assert may_send_early(config) is early
    assert not may_send_early(StreamConfig(nat=nat, signalling_host=signalling_host))


def test_reports_come_from_the_next_port_or_the_one_of_the_sdp() -> None:
    assert control_ports(StreamConfig(), PHONE) == (40001,)
    assert control_ports(StreamConfig(remote=(PHONE[0], 7)), PHONE) == (40001, 7)
