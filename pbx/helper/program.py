"""An external program beside a role: started, watched, started again, never waited for.

The shell around :mod:`.protocol`. The program is our child: it gets requests on its standard
input and answers on its standard output; what it writes to standard error goes to our log. If it
ends, does not answer in time or writes what is no line, it is stopped and started again after a
while; requests meanwhile fail at once, so a broken program costs calls no time.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from pbx.helper.protocol import MAX_LINE_BYTES, Done, HelperProtocol

log = logging.getLogger("pbx.helper")

_QUIT_S: Final = 1.0
"""For the answer to QUIT, and for the end after it."""
_PASSED_ON: Final = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "HOME", "USER", "TMPDIR")
"""Variables the program gets: ours may hold secrets."""


class HelperProgram:
    """See the module. Lives on one event loop."""

    def __init__(
        self,
        command: tuple[str, ...],
        folder: Path,
        *,
        timeout_s: float,
        restart_s: float,
        monotonic: Callable[[], float],
    ) -> None:
        """`folder` is the program's current directory."""
        self._command = command
        self._folder = folder
        self._timeout_s = timeout_s
        self._restart_s = restart_s
        self._monotonic = monotonic
        self._protocol: HelperProtocol | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._stopping = False
        self.starts = 0
        self.first_run = asyncio.Event()
        """It has been started; before that there was nothing to ask."""

    @property
    def running(self) -> bool:
        """Whether there is a program to ask."""
        return self._protocol is not None

    def start(self) -> None:
        """Run it from now on."""
        self._task = asyncio.get_running_loop().create_task(self._keep_running())

    def ask(self, command: str, words: tuple[str, ...], done: Done) -> None:
        """One request; `done` comes once, at once if it cannot be asked."""
        protocol, process = self._protocol, self._process
        if protocol is None or process is None or process.stdin is None:
            done("FAILURE", f"{self._command[0]} does not run")
            return
        line = protocol.request(command, words, done, self._monotonic())
        if line:
            process.stdin.write(line)
            self._arm()

    async def aclose(self) -> None:
        """QUIT, then the end by force."""
        self._stopping = True
        process, protocol = self._process, self._protocol
        if process is not None and protocol is not None and process.stdin is not None:
            with contextlib.suppress(TimeoutError, OSError):
                gone = asyncio.Event()
                self.ask("QUIT", (), lambda word, text: gone.set())
                await asyncio.wait_for(gone.wait(), _QUIT_S)
                process.stdin.close()
                await asyncio.wait_for(process.wait(), _QUIT_S)
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _keep_running(self) -> None:
        while not self._stopping:
            try:
                reason = await self._run_once()
            except OSError as error:
                reason = error.strerror or str(error)
            if not self._stopping:
                log.warning(
                    "%s: %s; it is started again in %g s",
                    self._command[0], reason, self._restart_s,
                )  # fmt: skip
                await asyncio.sleep(self._restart_s)

    async def _run_once(self) -> str:
        """One run; why it ended."""
        environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        process = await asyncio.create_subprocess_exec(
            *self._command,
            cwd=self._folder,
            env=environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=MAX_LINE_BYTES,
        )
        assert process.stdin is not None and process.stdout is not None
        self.starts += 1
        protocol = HelperProtocol(self._timeout_s)
        self._process, self._protocol = process, protocol
        self.first_run.set()
        reason = "it ended"
        try:
            process.stdin.write(protocol.opening(self._monotonic()))
            self._arm()
            reason = await self._read(process.stdout, protocol) or reason
        finally:
            self._protocol = self._process = None
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
            protocol.ended(reason)
            await _drained(process.stdout)
            await process.wait()
        return reason

    async def _read(self, lines: asyncio.StreamReader, protocol: HelperProtocol) -> str:
        while True:
            try:
                line = await lines.readuntil(b"\n")
            except asyncio.IncompleteReadError:
                return "an answer did not come in time" if self._late(protocol) else ""
            except asyncio.LimitOverrunError:
                return f"it wrote a line of more than {MAX_LINE_BYTES} bytes"
            protocol.received(line)
            self._arm()

    def _late(self, protocol: HelperProtocol) -> bool:
        return protocol.overdue(self._monotonic())

    def _arm(self) -> None:
        """Look again when the first request is too late."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        protocol = self._protocol
        due = protocol.next_due() if protocol is not None else None
        if due is not None:
            delay_s = max(0.0, due - self._monotonic())
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._check)

    def _check(self) -> None:
        self._timer = None
        protocol, process = self._protocol, self._process
        if protocol is None or process is None:
            return
        if not self._late(protocol):
            self._arm()
        elif process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()  # its pipe ends, and with it the run


async def _drained(lines: asyncio.StreamReader) -> None:
    """What is left in the pipe of a program that was stopped: unread, it holds up its end."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_QUIT_S):
            while await lines.read(65_536):
                pass
