"""Mailboxes in the signal role: the store on its thread, and what the lamps of phones show.

Programs reach the store through :meth:`SignalMail.provider`; lamps follow the log, whoever changes
a mailbox.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Final

from pbx.blobs import FileBlobs
from pbx.calls.event_packages import MessageCounts
from pbx.eventlog import EmbeddedLog, follow
from pbx.kernel.clock import Clock
from pbx.mailboxes.bodies import Bodies
from pbx.mailboxes.provider import MailProvider
from pbx.mailboxes.store import MailStore
from pbx.mailboxes.waiting import WaitingMessages
from pbx.mailboxes.worker import ThreadWorker
from pbx.router import RoutingState
from pbx.script.runtime.node import TaskNode

CATEGORY: Final = "pbx.messages"
POLL_S: Final = 0.25
"""How soon a lamp follows what others did to a mailbox."""


class SignalMail:
    """See the module. Made and used on the loop of the role."""

    def __init__(
        self,
        event_log: EmbeddedLog,
        data: Path,
        clock: Clock,
        notify: Callable[[Callable[[], None]], object],
    ) -> None:
        """`notify` has a function called on the loop, from any thread."""
        self._log = event_log
        self._clock = clock
        self._providers: list[MailProvider] = []
        bodies = Bodies(FileBlobs(data / "blobs"), secrets.token_bytes)
        self.store = MailStore(event_log, bodies, clock)
        """For jobs of :attr:`worker` only."""
        self.worker = ThreadWorker(notify)
        self.waiting = WaitingMessages(event_log, later=asyncio.get_running_loop().call_soon)

    def provider(
        self, routing: RoutingState, tasks: Callable[[], TaskNode], woken: Callable[[], None]
    ) -> MailProvider:
        """What answers the requests of programs about mailboxes; `tasks` gives their node, `woken`
        lets them have their turns."""
        made = MailProvider(
            self.store,
            self.worker,
            routing,
            self._clock,
            tasks=tasks,
            new_token=lambda: secrets.token_hex(12),
            woken=woken,
        )
        self._providers.append(made)
        return made

    def counts(self, account: str) -> MessageCounts:
        """What ``message-summary`` tells of an account."""
        return MessageCounts(*self.waiting.counts(account))

    async def follow(self, position: int, acted: Callable[[], None]) -> None:
        """Take up what is appended after a position, for ever; `acted` sends what that caused."""
        async for record in follow(self._log, position, category=CATEGORY, poll_s=POLL_S):
            self.waiting.apply(record)
            for provider in self._providers:
                provider.apply(record)
            acted()
