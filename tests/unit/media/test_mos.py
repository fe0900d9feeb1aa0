"""Quality estimates: the E-model against values worked out by hand."""

from __future__ import annotations

import pytest

from media.mos import mos, mos_of_r, playout_delay_ms, r_factor


def test_a_perfect_g711_call() -> None:
    assert r_factor(0, 0, "PCMA") == pytest.approx(93.2)
    assert mos_of_r(93.2) == pytest.approx(4.41, abs=0.01)


def test_delay_costs_more_beyond_177_ms() -> None:
    assert r_factor(100, 0, "PCMU") == pytest.approx(93.2 - 2.4)
    assert r_factor(277.3, 0, "PCMU") == pytest.approx(93.2 - 0.024 * 277.3 - 11.0)


def test_loss_costs_by_the_codecs_robustness() -> None:
    assert r_factor(0, 10, "pcma") == pytest.approx(93.2 - 95 * 10 / 35.1)
    assert r_factor(0, 10, "G729") == pytest.approx(93.2 - 11 - 84 * 10 / 29)
    assert r_factor(0, 10, "never-heard-of") == r_factor(0, 10, "G729")


@pytest.mark.parametrize(("r", "score"), [(-5, 1.0), (0, 1.0), (100, 4.5), (120, 4.5)])
def test_the_scale_ends_at_1_and_4_5(r: float, score: float) -> None:
    assert mos_of_r(r) == score


def test_the_curve_never_falls_below_1() -> None:
    assert min(mos_of_r(r / 10) for r in range(1001)) == 1.0


def test_ten_percent_loss_and_60_ms_jitter_is_near_theory() -> None:
    theory = mos_of_r(93.2 - 0.024 * 200 - 0.11 * 22.7 - 95 * 10 / 35.1)
    found = mos(received=900, lost=100, jitter_ms=60, codec="PCMA")
    assert found == pytest.approx(theory, abs=0.2)


def test_too_few_packets_tell_nothing() -> None:
    assert mos(received=99, lost=0, jitter_ms=0, codec="PCMA") == 0.0


def test_duplicates_are_no_negative_loss() -> None:
    clean = mos(received=1000, lost=0, jitter_ms=0, codec="PCMA")
    assert mos(received=1000, lost=-3, jitter_ms=0, codec="PCMA") == clean


def test_half_the_round_trip_is_delay() -> None:
    near = mos(received=1000, lost=0, jitter_ms=0, codec="PCMA")
    far = mos(received=1000, lost=0, jitter_ms=0, codec="PCMA", round_trip_ms=600)
    assert far < near - 0.5


def test_a_jitter_buffer_holds_40_to_200_ms() -> None:
    assert playout_delay_ms(0) == 40
    assert playout_delay_ms(20) == 80
    assert playout_delay_ms(500) == 200
