"""The log of a cluster as the signal role, commands and projections see it: the local file.

:class:`ClusterLog` is an :class:`~pbx.eventlog.embedded.EmbeddedLog` whose positions, reading and
facts are those of the file. Decisions on streams that nodes share go to the log role, which has
them decided by Kafka's order. kafka-python is not needed here.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

from pbx.eventlog.embedded import EmbeddedLog
from pbx.eventlog.embedded_file import CLUSTER_FORMAT
from pbx.eventlog.feed import BEGINNING, Step, check_filter
from pbx.eventlog.kafka.categories import is_shared
from pbx.eventlog.kafka.client import DecisionClient
from pbx.eventlog.kafka.envelope import MAX_EVENTS, wire_event
from pbx.eventlog.kafka.partition import FeedReader, PartitionLog
from pbx.eventlog.kafka.wire import MAX_RECORD_BYTES, Decide
from pbx.eventlog.record import Decision, Entry, Meta, Position, make_rows
from pbx.eventlog.registry import Codec
from pbx.kernel.clock import Clock
from pbx.kernel.errors import Conflict, LogError
from pbx.kernel.events import Event

logger = logging.getLogger(__name__)

SOCKET: Final = "log.sock"
"""Where the log role listens, in the data directory's ``run``."""
DECIDE_S: Final = 5.0
UNKNOWN_S: Final = 30.0

Done = Callable[[Position | Exception], None]


class ClusterLog(EmbeddedLog):
    """The log in the file `path`, this node's part of a cluster.

    `socket` is where the log role is asked.
    """

    format: ClassVar[int] = CLUSTER_FORMAT

    def __init__(
        self,
        path: Path,
        *,
        codec: Codec | None = None,
        node: str = "",
        clock: Clock | None = None,
        busy_timeout_s: float = 1.0,
        socket: Path | None = None,
    ) -> None:
        super().__init__(path, codec=codec, node=node, clock=clock, busy_timeout_s=busy_timeout_s)
        self._client = DecisionClient(
            socket if socket is not None else path.parent / "run" / SOCKET,
            decide_s=self._patience("decide_s", DECIDE_S),
            unknown_s=self._patience("unknown_s", UNKNOWN_S),
        )

    def _patience(self, name: str, default: float) -> float:
        """As the log role has it in its settings."""
        found = self._query("SELECT value FROM cluster WHERE name = ?", (name,))
        return float(found[0][0]) if found else default

    # Appending.

    def append(
        self, stream: str, expected_version: int, events: Sequence[Event], meta: Meta
    ) -> Position:
        """As the port says; on a shared stream it waits for Kafka.

        Raises :class:`~pbx.kernel.errors.LogUnavailable` when nothing was changed, and its
        subclass ``OutcomeUnknown`` when that is not certain.
        """
        if not is_shared(stream):
            return super().append(stream, expected_version, events, meta)
        rows = make_rows(
            self.codec, stream, events, meta, time_ns=self._clock.wall_ns(), node=self.node
        )
        verdict = self._ask(Decision(stream, expected_version, rows))
        if isinstance(verdict, Exception):
            raise verdict
        return verdict

    def commit(self, batch: Sequence[Entry]) -> list[Position | Conflict]:
        """As the port says, but that a decision on a shared stream ends a transaction: when it
        is refused, what stood before it in the batch was written."""
        verdicts: list[Position | Conflict] = []
        local: list[Entry] = []
        for entry in batch:
            if isinstance(entry, Decision) and self.asks(entry):
                if local:
                    verdicts += super().commit(local)
                    local = []
                verdict = self._ask(entry)
                if isinstance(verdict, Exception) and not isinstance(verdict, Conflict):
                    raise verdict
                verdicts.append(verdict)
            else:
                local.append(entry)
        if local:
            verdicts += super().commit(local)
        return verdicts

    def asks(self, decision: Decision) -> bool:
        """Whether this decision has to be asked for (:meth:`submit`), not committed."""
        return is_shared(decision.stream) and not decision.alone

    def submit(self, decision: Decision, done: Done) -> None:
        """Have a decision made; `done` is called later, on another thread, with the position,
        ``Conflict``, ``LogUnavailable`` or ``OutcomeUnknown``. Facts committed before are part of
        what it was decided on."""
        try:
            question = _question(decision, self.head())
        except LogError as error:
            done(error)
            return
        self._client.submit(question, done)

    def _ask(self, decision: Decision) -> Position | Exception:
        answered = threading.Event()
        results: list[Position | Exception] = []

        def done(result: Position | Exception) -> None:
            results.append(result)
            answered.set()

        self.submit(decision, done)
        answered.wait()
        with self._appended:
            self._appended.notify_all()
        return results[0]

    def close(self) -> None:
        """Release the file; open questions end as unknown."""
        self._client.close()
        super().close()

    # By partitions.

    def partitions(self) -> list[str]:
        """Names of the partitions, such as ``pbx.calls/3``: the same on all nodes."""
        return [name for (name,) in self._query("SELECT name FROM partitions ORDER BY name", ())]

    def partition(self, name: str) -> PartitionLog:
        """One partition, as all nodes see it; raises ``LogError`` if there is none of the name."""
        return PartitionLog(self, name)

    def read_feed(
        self,
        after: str = BEGINNING,
        *,
        categories: Sequence[str] = (),
        types: Sequence[str] = (),
        streams: Sequence[str] = (),
        tenant: str | None = None,
        limit: int | None = None,
    ) -> Iterator[Step]:
        """As the port says; tokens are good on every node. Ends where this node's copy ends."""
        check_filter(categories, types, streams)
        return FeedReader(self).read(
            after,
            categories=categories,
            types=types,
            streams=streams,
            tenant=tenant,
            limit=limit,
        )

    def feed_head(self) -> str:
        """As the port says."""
        return FeedReader(self).head()

    def query(self, statement: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        """For the views of this package."""
        return self._query(statement, values)


def _question(decision: Decision, after: Position) -> Decide:
    if not decision.rows:
        raise LogError(f"an append to {decision.stream} without events")
    size = sum(len(row[-1]) + 500 for row in decision.rows)
    if size > MAX_RECORD_BYTES or len(decision.rows) > MAX_EVENTS:
        raise LogError(
            f"an append of {len(decision.rows)} events, {size} bytes, to {decision.stream}: at most"
            f" {MAX_EVENTS} events of {MAX_RECORD_BYTES} bytes go into one Kafka record"
        )
    return Decide(
        id=uuid.uuid4().hex,
        stream=decision.stream,
        expected=decision.expected_version,
        after=after,
        events=[wire_event(row) for row in decision.rows],
    )
