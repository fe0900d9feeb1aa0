"""The external program for who works on threads: asking blocks, for no longer than the program may.

The program and its pipes live on an event loop of their own, on one thread.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading
import time
from pathlib import Path
from typing import Final

from pbx.helper.program import HelperProgram
from pbx.settings import Settings

STARTING_S: Final = 2.0
"""How long a question waits for a program that has just been started for the first time."""
_MARGIN_S: Final = 5.0
"""Beyond the time of the program; only a defect of ours takes it."""
FAILURE: Final = "FAILURE"


class BlockingHelper:
    """See the module. Thread-safe. It runs from :meth:`start` to :meth:`close`."""

    def __init__(
        self, command: tuple[str, ...], folder: Path, *, timeout_s: float, restart_s: float
    ) -> None:
        """As :class:`~pbx.helper.program.HelperProgram`."""
        self._timeout_s = timeout_s
        self._program = HelperProgram(
            command, folder, timeout_s=timeout_s, restart_s=restart_s, monotonic=time.monotonic
        )
        self._loop = asyncio.SelectorEventLoop()
        self._thread = threading.Thread(target=self._run, name="helper", daemon=True)
        self._started = 0.0
        self._closed = False

    def start(self) -> None:
        """Run the program from now on."""
        self._started = time.monotonic()
        self._thread.start()

    def ask(self, command: str, words: tuple[str, ...]) -> tuple[str, str]:
        """Word and text of the answer; ``FAILURE`` with the reason if there is none."""
        if self._closed:
            return FAILURE, "the server stops"
        asked = asyncio.run_coroutine_threadsafe(self._ask(command, words), self._loop)
        try:
            return asked.result(self._timeout_s + STARTING_S + _MARGIN_S)
        except (TimeoutError, concurrent.futures.TimeoutError, concurrent.futures.CancelledError):
            return FAILURE, "no answer"

    def close(self) -> None:
        """End the program; who waits for an answer has none."""
        if self._closed:
            return
        self._closed = True
        ended = asyncio.run_coroutine_threadsafe(self._program.aclose(), self._loop)
        with contextlib.suppress(TimeoutError, concurrent.futures.TimeoutError):
            ended.result(self._timeout_s + _MARGIN_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_MARGIN_S)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.call_soon(self._program.start)
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()

    async def _ask(self, command: str, words: tuple[str, ...]) -> tuple[str, str]:
        patience_s = self._started + STARTING_S - time.monotonic()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._program.first_run.wait(), max(0.0, patience_s))
        answer: asyncio.Future[tuple[str, str]] = self._loop.create_future()

        def done(word: str, text: str) -> None:
            if not answer.done():
                answer.set_result((word, text))

        self._program.ask(command, words, done)
        return await answer


def blocking_helper(settings: Settings, folder: Path) -> BlockingHelper | None:
    """The program that the settings name, running in `folder`; None if they name none."""
    helper = settings.helper
    if not helper.program:
        return None
    made = BlockingHelper(
        helper.program, folder, timeout_s=helper.timeout_s, restart_s=helper.restart_s
    )
    made.start()
    return made
