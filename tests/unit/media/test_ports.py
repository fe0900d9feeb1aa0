"""The port pool: pairs, chance, quarantine, exhaustion (RFC 3550 §11)."""

from __future__ import annotations

import errno
from random import Random

import pytest

from media.errors import LocalMediaError, NoPorts
from media.server.ports import MAX_TRIES, SHORT_QUARANTINE_S, PortPair, PortPool
from tests.support.fake_relay import FakeRelay

HOST = "10.0.0.1"


def pool_of(first: int, last: int, seed: int = 1) -> PortPool:
    return PortPool(HOST, first, last, Random(seed))


@pytest.mark.parametrize(("first", "last", "pairs"), [(10000, 10003, 2), (10001, 10004, 1)])
def test_pairs_are_even_and_odd_within_the_range(first: int, last: int, pairs: int) -> None:
    relay, pool = FakeRelay(), pool_of(first, last)
    assert pool.size == pairs
    for _ in range(pairs):
        pair = pool.open_with_rtcp(relay, 0.0)
        assert pair.port % 2 == 0
        assert first <= pair.port < pair.port + 1 <= last
        assert relay.address(pair.rtcp) == (HOST, pair.port + 1)


@pytest.mark.parametrize(("first", "last"), [(10000, 10000), (10001, 10002), (0, 5), (5, 65536)])
def test_a_range_without_pairs_is_a_fault_of_the_configuration(first: int, last: int) -> None:
    with pytest.raises(LocalMediaError):
        pool_of(first, last)


def test_the_choice_is_random_and_repeats_with_the_seed() -> None:
    def ports(seed: int) -> list[int]:
        relay, pool = FakeRelay(), pool_of(10000, 20000, seed)
        return [pool.open(relay, 0.0).port for _ in range(50)]

    assert ports(1) == ports(1)
    assert ports(1) != ports(2)
    assert ports(1) != sorted(ports(1))


def test_the_rtcp_port_is_bound_when_it_is_needed() -> None:
    relay, pool = FakeRelay(), pool_of(10000, 10001)
    pair = pool.open(relay, 0.0)
    assert relay.open_ports == 1
    assert pool.open_rtcp(pair, relay)
    assert pool.open_rtcp(pair, relay)
    assert relay.open_ports == 2


def test_a_released_pair_rests_for_a_minute() -> None:
    relay, pool = FakeRelay(), pool_of(10000, 10005)
    first = pool.open_with_rtcp(relay, 0.0)
    stats = pool.release(first, relay, 10.0)
    assert len(stats) == 2
    assert relay.open_ports == 0
    others = {pool.open(relay, 69.9).port, pool.open(relay, 69.9).port}
    assert first.port not in others
    assert pool.open(relay, 70.0).port == first.port


def test_with_nothing_else_free_the_oldest_rests_two_seconds() -> None:
    relay, pool = FakeRelay(), pool_of(10000, 10003)
    older, newer = pool.open(relay, 0.0), pool.open(relay, 0.0)
    pool.release(older, relay, 0.0)
    pool.release(newer, relay, 1.0)
    with pytest.raises(NoPorts):
        pool.open(relay, SHORT_QUARANTINE_S - 0.1)
    assert pool.open(relay, SHORT_QUARANTINE_S).port == older.port


def test_an_exhausted_pool_says_so_and_counts() -> None:
    relay, pool = FakeRelay(), pool_of(10000, 10001)
    pair = pool.open(relay, 0.0)
    with pytest.raises(NoPorts, match="no ports"):
        pool.open(relay, 0.0)
    assert pool.statistics() == {
        "pairs": 1,
        "used": 1,
        "quarantined": 0,
        "free": 0,
        "exhausted": 1,
        "foreign": 0,
    }
    pool.release(pair, relay, 0.0)
    assert pool.statistics()["used"] == 0


def test_ports_of_other_programs_are_skipped() -> None:
    relay, pool = FakeRelay(), pool_of(10000, 10009)
    relay.taken = {10000, 10002, 10004, 10007}  # the last takes the RTCP half of a pair
    assert pool.open_with_rtcp(relay, 0.0).port == 10008
    assert pool.foreign > 0
    assert relay.open_ports == 2


@pytest.mark.parametrize("taken", [0, 1])
def test_a_range_that_others_hold_is_given_up_after_some_tries(taken: int) -> None:
    relay, pool = FakeRelay(), pool_of(10000, 10000 + 4 * MAX_TRIES)
    relay.taken = set(range(10000 + taken, 20000, 2))
    with pytest.raises(NoPorts):
        pool.open_with_rtcp(relay, 0.0)
    assert pool.foreign == MAX_TRIES
    assert relay.open_ports == 0


def test_a_fault_that_is_not_of_the_port_is_not_held_against_ports() -> None:
    class NoDescriptors(FakeRelay):
        def open(self, host: str, port: int) -> int:
            raise OSError(errno.EMFILE, "too many open files")

    pool = pool_of(10000, 10003)
    with pytest.raises(NoPorts):
        pool.open(NoDescriptors(), 0.0)
    assert pool.statistics()["free"] == 2
    assert pool.foreign == 0
    assert pool.exhausted == 1


def test_an_rtcp_port_that_is_taken_is_told() -> None:
    relay, pool = FakeRelay(), pool_of(10000, 10001)
    pair = pool.open(relay, 0.0)
    relay.taken = {10001}
    assert not pool.open_rtcp(pair, relay)


def test_our_own_ports_are_known_both_of_a_pair() -> None:
    relay, pool = FakeRelay(), pool_of(10000, 10001)
    pair: PortPair = pool.open(relay, 0.0)
    assert pool.owns(10000)
    assert pool.owns(10001)
    assert not pool.owns(10002)
    pool.release(pair, relay, 0.0)
    assert not pool.owns(10000)
