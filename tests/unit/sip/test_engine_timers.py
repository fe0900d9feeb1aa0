"""The timer heap: order, cancelling, bounded garbage."""

from __future__ import annotations

from sip.timers import Callback, TimerHeap


def test_fires_in_order_and_only_when_due() -> None:
    heap = TimerHeap()
    fired: list[tuple[str, float]] = []
    for name, at in (("b", 2.0), ("a", 1.0), ("c", 3.0), ("a2", 1.0)):
        heap.arm(at, lambda now, name=name: fired.append((name, now)))  # type: ignore[misc]
    assert heap.next_deadline() == 1.0
    heap.run(0.5)
    assert fired == []
    heap.run(2.0)
    assert fired == [("a", 2.0), ("a2", 2.0), ("b", 2.0)]
    assert len(heap) == 1


def test_a_timer_armed_for_now_fires_in_the_same_run() -> None:
    heap = TimerHeap()
    fired: list[float] = []
    heap.arm(1.0, lambda now: void(heap.arm(now, fired.append)))
    heap.run(1.0)
    assert fired == [1.0]
    assert heap.next_deadline() is None


def void(_: object) -> None:
    """Callbacks return nothing."""


def test_cancelled_timers_do_not_fire_and_may_be_cancelled_again() -> None:
    heap = TimerHeap()
    fired: list[float] = []
    timer = heap.arm(1.0, fired.append)
    other = heap.arm(2.0, fired.append)
    heap.cancel(timer)
    heap.cancel(timer)
    heap.cancel(None)
    assert len(heap) == 1
    assert heap.next_deadline() == 2.0
    heap.run(5.0)
    assert fired == [5.0]
    heap.cancel(other)  # it fired already
    assert len(heap) == 0
    assert heap.garbage == 0


def test_garbage_is_swept() -> None:
    """Most SIP timers are cancelled: the heap stays about twice as large as what is alive."""
    heap = TimerHeap()
    alive = [heap.arm(1000.0 + n, lambda now: None) for n in range(10)]
    for n in range(5000):
        heap.cancel(heap.arm(500.0 + n, lambda now: None))
        assert heap.garbage <= 300
    assert len(heap) == len(alive)


def test_lanes_and_heap_fire_in_one_order() -> None:
    heap = TimerHeap()
    fired: list[str] = []

    def note(name: str) -> Callback:
        return lambda now: fired.append(name)

    heap.arm_after(0.0, 3.0, note("lane3-a"))
    heap.arm(2.5, note("heap"))
    heap.arm_after(1.0, 1.0, note("lane1"))
    heap.arm_after(1.0, 3.0, note("lane3-b"))
    heap.arm_after(0.5, 3.0, note("late-arrival"))  # a clock that went back
    gone = heap.arm_after(0.0, 0.5, note("never"))
    heap.cancel(gone)
    assert len(heap) == 5
    assert heap.next_deadline() == 2.0
    heap.run(3.0)
    assert fired == ["lane1", "heap", "lane3-a"]
    heap.run(9.0)
    assert fired[3:] == ["late-arrival", "lane3-b"]
    assert (len(heap), heap.garbage) == (0, 0)


def test_garbage_in_lanes_is_swept_too() -> None:
    heap = TimerHeap()
    for n in range(5000):
        heap.cancel(heap.arm_after(float(n), 1e6, void))
        assert heap.garbage <= 300
    assert len(heap) == 0
