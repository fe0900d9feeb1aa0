"""Rate limits, lock-outs with decay, scanners."""

from pbx.calls import guard as guard_module
from pbx.calls.config import CallConfig
from pbx.calls.guard import Guard

CONFIG = CallConfig(requests_per_s=10, requests_burst=5, failed_logins=3, failed_logins_s=60)


def test_a_source_may_burst_and_then_keeps_to_the_rate() -> None:
    """Token bucket per source; another source is not touched."""
    guard = Guard(CONFIG)
    assert [guard.admits("192.0.2.1", None, 0.0) for _ in range(6)] == [True] * 5 + [False]
    assert guard.admits("192.0.2.2", None, 0.0)
    assert guard.admits("192.0.2.1", None, 0.1)
    assert not guard.admits("192.0.2.1", None, 0.1)
    assert guard.statistics()["guard_dropped"] == 2


def test_scanners_get_no_answer() -> None:
    """By the beginning of their User-Agent, whatever its case."""
    guard = Guard(CONFIG)
    assert not guard.admits("192.0.2.1", "friendly-scanner", 0.0)
    assert not guard.admits("192.0.2.1", "SIPVicious 0.3", 0.0)
    assert guard.admits("192.0.2.1", "Linphone/5", 0.0)


def test_failures_lock_and_the_lock_ends() -> None:
    """Three within the window lock; the lock lapses; old failures decay."""
    guard = Guard(CONFIG)
    assert [guard.failed("a", t) for t in (0.0, 1.0, 2.0)] == [False, False, True]
    assert guard.locked("a", 2.0)
    assert not guard.locked("a", 2.0 + CONFIG.lock_s)
    slow = Guard(CONFIG)
    assert not any(slow.failed("a", 100.0 * t) for t in range(50))


def test_a_right_login_clears_and_a_factor_widens() -> None:
    """Success forgets; accounts take `factor` times as many."""
    guard = Guard(CONFIG)
    for t in range(3):
        guard.failed("a", float(t) / 10)
    guard.succeeded("a")
    assert not guard.failed("a", 1.0)
    assert not any(guard.failed("b", t / 100, factor=5) for t in range(14))
    assert guard.failed("b", 0.15, factor=5) or guard.failed("b", 0.16, factor=5)


def test_tables_are_bounded(monkeypatch: object) -> None:
    """A spoofed flood pushes out the oldest entries only."""
    guard = Guard(CONFIG)
    for number in range(guard_module.MAX_ENTRIES + 10):
        guard.admits(f"h{number}", None, 0.0)
        guard.failed(f"h{number}", 0.0)
    statistics = guard.statistics()
    assert statistics["guard_sources"] == guard_module.MAX_ENTRIES
    assert statistics["guard_failures"] == guard_module.MAX_ENTRIES
