"""A thread for the mail store: what it does waits for disks, and the signal role must not.

Jobs run one after the other, in the order in which they were given; results come back on the loop.
:class:`InlineWorker` is the same without a thread, for tests and the simulator.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

log = logging.getLogger("pbx.mail")

MAX_JOBS: Final = 1000
"""Waiting: what a thousand callers may have asked for. A job takes some milliseconds."""

Job = Callable[[], Any]
Done = Callable[[Any], None]
"""Gets what the job returned, or the exception that ended it."""


class Worker(Protocol):
    """Does jobs elsewhere."""

    def submit(self, job: Job, done: Done) -> bool:
        """Have it done; `done` is called later, never before this returns. False: too many wait."""
        ...


class ThreadWorker:
    """Jobs on one thread; `notify` hands a function to the loop (``call_soon_threadsafe``)."""

    def __init__(self, notify: Callable[[Callable[[], None]], object]) -> None:
        self._notify = notify
        self._jobs: queue.Queue[tuple[Job, Done] | None] = queue.Queue(MAX_JOBS)
        self._thread = threading.Thread(target=self._run, name="mail-store", daemon=True)

    def start(self) -> None:
        """Begin; jobs may be given before."""
        self._thread.start()

    def submit(self, job: Job, done: Done) -> bool:
        try:
            self._jobs.put_nowait((job, done))
        except queue.Full:
            log.warning("%d requests wait for the mail store: another one is refused", MAX_JOBS)
            return False
        return True

    def stop(self, timeout_s: float = 5.0) -> None:
        """Do what was given, then end. No more than `timeout_s` is waited for that."""
        if self._thread.is_alive():
            try:
                self._jobs.put(None, timeout=timeout_s)
            except queue.Full:
                return
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while (item := self._jobs.get()) is not None:
            job, done = item
            outcome = outcome_of(job)
            try:
                self._notify(lambda done=done, outcome=outcome: done(outcome))  # type: ignore[misc]
            except RuntimeError:  # the loop is closed: nobody waits any more
                return


class InlineWorker:
    """Jobs on the caller's thread, when :meth:`run` is called."""

    def __init__(self) -> None:
        self._jobs: deque[tuple[Job, Done]] = deque()

    def submit(self, job: Job, done: Done) -> bool:
        if len(self._jobs) >= MAX_JOBS:
            return False
        self._jobs.append((job, done))
        return True

    def run(self) -> None:
        """Do all that was given, and what that leads to."""
        while self._jobs:
            job, done = self._jobs.popleft()
            done(outcome_of(job))


def outcome_of(job: Job) -> Any:
    """What a job returns, or the exception that ended it: nothing it meets ends the thread."""
    try:
        return job()
    except Exception as error:  # noqa: BLE001 - handed to who asked
        return error
