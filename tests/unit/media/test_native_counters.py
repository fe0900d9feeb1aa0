"""RFC 3550 A.1, A.3, §6.4.1 on streams whose figures are known."""

from __future__ import annotations

from media.native.counters import RateCap, SourceCounters

RATE = 8000


def counted(numbers: list[int], *, ssrc: int = 1) -> SourceCounters:
    made = SourceCounters()
    feed(made, numbers, ssrc=ssrc)
    return made


def feed(made: SourceCounters, numbers: list[int], *, ssrc: int = 1) -> None:
    for number in numbers:
        made.receive(ssrc, number & 0xFFFF, number * 160, number * 0.02, RATE)


def test_nothing_received_is_nothing_lost() -> None:
    made = SourceCounters()
    assert (made.lost, made.ssrc, made.jitter, made.source_changes) == (0, None, 0.0, 0)


def test_loss_over_two_wraps_of_the_sequence() -> None:
    numbers = [number for number in range(60_000, 200_000) if number % 10]
    assert counted(numbers).lost == 13_999  # the first missing one came before the first seen


def test_reordered_packets_are_not_lost() -> None:
    assert counted([1, 2, 5, 4, 3, 6]).lost == 0


def test_duplicates_do_not_make_up_for_loss_below_zero() -> None:
    assert counted([1, 2, 2, 2, 3]).lost == 0


def test_a_single_jump_is_noise() -> None:
    made = counted([1, 2, 30_000, 3, 4])
    assert (made.lost, made.source_changes) == (0, 0)


def test_two_packets_after_a_jump_are_a_restart() -> None:
    made = counted([1, 3, 30_000, 30_001, 30_003])
    assert (made.lost, made.source_changes) == (2, 1)


def test_loss_is_summed_over_sources() -> None:
    made = counted([1, 3])
    feed(made, [9, 12], ssrc=2)
    assert (made.lost, made.source_changes, made.ssrc) == (3, 1, 2)


def test_an_even_stream_has_no_jitter() -> None:
    assert counted(list(range(100))).jitter == 0.0


def test_jitter_moves_by_a_sixteenth_of_the_deviation() -> None:
    made = counted([0, 1])
    made.receive(1, 2, 2 * 160, 2 * 0.02 + 0.01, RATE)  # 10 ms late: 80 units
    assert made.jitter == 80 / 16


def test_jitter_settles_at_the_mean_deviation() -> None:
    """Alternating delays of 0 and 10 ms: |D| is 80 units every time."""
    made = SourceCounters()
    for number in range(400):
        made.receive(1, number, number * 160, number * 0.02 + number % 2 * 0.01, RATE)
    assert abs(made.jitter - 80) < 1


def test_packets_of_one_timestamp_say_nothing() -> None:
    """RFC 4733: the packets of a key press share a timestamp for as long as it lasts."""
    made = counted([0, 1])
    for number in range(2, 50):
        made.receive(1, number, 2 * 160, number * 0.02, RATE)
    assert made.jitter == 0.0


def test_a_jumping_timestamp_is_no_jitter() -> None:
    made = counted([0, 1])
    made.receive(1, 2, 0x7000_0000, 0.04, RATE)
    assert made.jitter == 0.0


def test_the_timestamp_may_wrap() -> None:
    made = SourceCounters()
    for number in range(10):
        made.receive(1, number, (0xFFFF_FF00 + number * 160) & 0xFFFF_FFFF, number * 0.02, RATE)
    assert made.jitter == 0.0


def test_without_a_clock_rate_there_is_no_jitter() -> None:
    made = SourceCounters()
    for number in range(10):
        made.receive(1, number, number * 160, number * 0.5, 0)
    assert made.jitter == 0.0


def test_the_cap_lets_a_burst_and_then_the_rate_through() -> None:
    cap = RateCap()
    assert sum(cap.allows(200, 0.0) for _ in range(1000)) == 50
    passed = sum(cap.allows(200, n / 1000) for n in range(1, 1001))
    assert 199 <= passed <= 201


def test_a_low_cap_has_a_least_burst() -> None:
    cap = RateCap()
    assert sum(cap.allows(1, 0.0) for _ in range(100)) == 8


def test_no_cap_takes_all() -> None:
    cap = RateCap()
    assert all(cap.allows(0, 0.0) for _ in range(10_000))
