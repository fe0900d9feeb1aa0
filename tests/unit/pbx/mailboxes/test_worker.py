"""Jobs on a thread, and without one: in order, bounded, and nothing that ends the thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any

import pytest

from pbx.mailboxes import worker as module
from pbx.mailboxes.worker import InlineWorker, ThreadWorker


def test_outcomes_come_back_on_the_loop_in_order() -> None:
    loop: queue.Queue[Callable[[], None]] = queue.Queue()
    worker = ThreadWorker(loop.put)
    found: list[Any] = []
    threads: list[int] = []

    def job(number: int) -> int:
        threads.append(threading.get_ident())
        if number == 1:
            raise ZeroDivisionError
        return number

    worker.start()
    for number in range(3):
        assert worker.submit(lambda number=number: job(number), found.append)  # type: ignore[misc]
    worker.stop()
    assert found == [], "nothing before the loop has its turn"
    while not loop.empty():
        loop.get()()
    assert found[0] == 0
    assert isinstance(found[1], ZeroDivisionError)
    assert found[2] == 2
    assert threading.get_ident() not in threads


def test_a_loop_that_is_gone_ends_the_thread() -> None:
    def closed(function: Callable[[], None]) -> None:
        raise RuntimeError("the loop is closed")

    worker = ThreadWorker(closed)
    worker.start()
    worker.submit(lambda: 1, lambda outcome: None)
    worker._thread.join(5)
    assert not worker._thread.is_alive()
    worker.stop()


@pytest.mark.parametrize("kind", ["thread", "inline"])
def test_jobs_that_wait_have_a_bound(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_JOBS", 2)
    worker = ThreadWorker(lambda function: None) if kind == "thread" else InlineWorker()
    taken = [worker.submit(lambda: 1, lambda outcome: None) for _ in range(4)]
    assert taken == [True, True, False, False]


def test_without_a_thread() -> None:
    worker = InlineWorker()
    found: list[Any] = []

    def again(outcome: Any) -> None:
        found.append(outcome)
        if len(found) < 3:
            worker.submit(lambda: len(found), again)

    worker.submit(lambda: 0, again)
    assert found == []
    worker.run()
    assert found == [0, 1, 2]
