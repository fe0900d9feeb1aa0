"""RFC 2782 order of SRV records, for any records and any draw."""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from sip.endpoint.locate import Srv, order_srv

records = st.lists(
    st.builds(
        Srv,
        priority=st.integers(0, 3),
        weight=st.one_of(st.just(0), st.integers(0, 65_535)),
        port=st.integers(1, 65_535),
        host=st.sampled_from(["a.test.", "b.test.", "c.test."]),
    ),
    max_size=12,
)


class Extreme:
    """A draw that hypothesis chooses, the ends of [0, 1) included."""

    def __init__(self, draws: list[float]) -> None:
        self._draws = draws

    def random(self) -> float:
        return self._draws.pop() if self._draws else 0.0


@given(
    records,
    st.lists(
        st.floats(0.0, 1.0, exclude_max=True) | st.sampled_from([0.0, 1.0 - 2**-53]), max_size=12
    ),
)
def test_each_record_comes_once_and_priorities_never_mix(
    srvs: list[Srv], draws: list[float]
) -> None:
    ordered = order_srv(srvs, Extreme(draws))
    assert Counter(ordered) == Counter(srvs)
    assert [srv.priority for srv in ordered] == sorted(srv.priority for srv in srvs)


@given(st.integers(0, 2**32))
def test_the_first_one_is_drawn_by_weight(seed: int) -> None:
    """Over 2,000 draws a share stays within five standard deviations of its weight."""
    rng = random.Random(seed)
    heavy, light = Srv(0, 30, 1, "heavy."), Srv(0, 10, 2, "light.")
    first = Counter(order_srv([heavy, light], rng)[0].host for _ in range(2_000))
    # RFC 2782 draws from 0 to the sum inclusive; the record listed first owns 0 as well.
    share = 31 / 41
    spread = 5 * (2_000 * share * (1 - share)) ** 0.5
    assert abs(first["heavy."] - 2_000 * share) < spread


@given(st.integers(0, 2**32))
def test_weight_zero_keeps_a_small_chance(seed: int) -> None:
    """RFC 2782: "a very small chance of being selected" beside a weighted record."""
    rng = random.Random(seed)
    zero, one = Srv(0, 0, 1, "zero."), Srv(0, 9, 2, "nine.")
    first = Counter(order_srv([one, zero], rng)[0].host for _ in range(2_000))
    assert 100 < first["zero."] < 320
