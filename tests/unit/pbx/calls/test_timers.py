"""The timer heap of call control."""

from pbx.calls.timers import Timers


def test_timers_fire_in_order_and_once() -> None:
    """Due ones fire with the time given; later ones wait."""
    timers = Timers()
    fired: list[tuple[str, float]] = []
    timers.call_at(2.0, lambda now: fired.append(("late", now)))
    timers.call_at(1.0, lambda now: fired.append(("early", now)))
    assert timers.next_due() == 1.0
    timers.run(1.5)
    assert fired == [("early", 1.5)]
    timers.run(3.0)
    assert fired == [("early", 1.5), ("late", 3.0)]
    assert timers.next_due() is None


def test_cancelled_timers_do_not_fire_and_leave_the_heap() -> None:
    """A heap of thousands of cancelled timers shrinks again."""
    timers = Timers()
    kept = timers.call_at(5.0, lambda now: None)
    for _ in range(5000):
        timers.call_at(100.0, lambda now: None).cancel()
    assert len(timers) == 1
    assert len(timers._heap) < 1100
    kept.cancel()
    kept.cancel()
    assert len(timers) == 0
    assert timers.next_due() is None


def test_a_callback_may_add_and_cancel() -> None:
    """What a callback schedules for the past fires in the same run."""
    timers = Timers()
    fired: list[str] = []
    victim = timers.call_at(1.0, lambda now: fired.append("victim"))

    def first(now: float) -> None:
        victim.cancel()
        timers.call_at(now, lambda _: fired.append("added"))

    timers.call_at(0.5, first)
    timers.run(1.0)
    assert fired == ["added"]
