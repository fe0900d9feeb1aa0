"""What the signal role takes up from the log while it runs: what others append to it.

:class:`ConfigFollower` follows accounts, domains and whatever else commands change,
:class:`NodeFollower` what other nodes and operators append. Both run on the loop of the role; what
waits for the disk is done on a thread.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from pbx.applied import AppliedMark
from pbx.calls.node import SignalNode
from pbx.configdb import ConfigDb, ConfigUnavailable
from pbx.eventlog import EmbeddedLog, LogError, Position, Record, Subscription, follow

log = logging.getLogger("pbx.signal")

#: How old the configuration may be that is decided on.
_BEHIND_S: Final = 1.0
#: How often the log is looked at for what others append. On a busy node its head has moved each
#: time, and each look is a read on another thread: 150 µs, of which calls would pay a tenth of a
#: millisecond at 20 a second. A second is promised for both.
_CONFIG_POLL_S: Final = 0.1
_NODES_POLL_S: Final = 0.25


class ConfigFollower:
    """Keeps the configuration of a node level with the log, and says how far it is."""

    def __init__(
        self,
        event_log: EmbeddedLog,
        config: ConfigDb,
        node: SignalNode,
        applied: Path,
        monotonic: Callable[[], float],
        *,
        consumers: Sequence[Callable[[Record], None]] = (),
        acted: Callable[[], None],
    ) -> None:
        """`applied` is the file of the mark; `consumers` get each record after the node; `acted`
        sends what that caused."""
        self._log = event_log
        self._config = config
        self._node = node
        self._applied = applied
        self._monotonic = monotonic
        self._consumers = (node.apply, *consumers)
        self._acted = acted

    async def run(self, position: Position) -> None:
        """Follow what is appended after `position`, for ever."""
        subscription = Subscription(self._log, position, category="pbx.config")
        with AppliedMark(self._applied) as mark:
            mark.set(position)
            while True:
                # While calls are made the log always has something new, and seldom that.
                behind = subscription.behind
                records = await asyncio.to_thread(subscription.poll) if behind else []
                if not records:
                    await asyncio.sleep(_CONFIG_POLL_S)
                    continue
                # What is forgotten below is looked up there: it must be there before.
                await self._advanced()
                for record in records:
                    if record.stream.startswith("account/"):
                        self._log.codec.forget_keys(record.stream)
                    for consume in self._consumers:
                        consume(record)
                mark.set(records[-1].position)
                self._acted()

    async def _advanced(self) -> None:
        """Bring the configuration database level, however long it takes. While it cannot be,
        nothing new is taken: a password that was changed or an account that was deleted must not
        count on."""
        node = self._node
        began = self._monotonic()
        while True:
            try:
                await asyncio.to_thread(self._config.advance, self._log)
            except (ConfigUnavailable, LogError) as error:
                if self._monotonic() - began < _BEHIND_S:
                    await asyncio.sleep(_CONFIG_POLL_S)
                    continue
                if not node.behind:
                    log.error("new calls are refused, the configuration is too old: %s", error)
                node.behind = True
                await asyncio.sleep(_BEHIND_S)
            else:
                if node.behind:
                    log.info("the configuration is level again")
                node.behind = False
                return


class NodeFollower:
    """Tells a node what other nodes and operators append: bindings, starts and stops, drains."""

    def __init__(
        self, event_log: EmbeddedLog, node: SignalNode, *, acted: Callable[[], None]
    ) -> None:
        """`acted` sends what a record caused."""
        self._log = event_log
        self._node = node
        self._acted = acted

    async def run(self, position: Position, category: str) -> None:
        """Follow what is appended to `category` after `position`, for ever."""
        async for record in follow(self._log, position, category=category, poll_s=_NODES_POLL_S):
            self._node.apply(record)
            self._acted()
