"""One session of this node as a writer: a producer and the numbers of the records it sends.

Used by the shipper. Within a session nothing is ever sent twice and no number is left out, so that
readers (:mod:`pbx.eventlog.kafka.fold`) can tell a lost record from a repeated one. Whatever goes
wrong ends the session: the next one begins with a *barrier* in each partition. When this node's
own reader has met the barriers, nothing of former sessions can count any more, and what is still
in the journal is certainly not in Kafka.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any, Final

from kafka import KafkaProducer
from kafka.errors import KafkaError

from pbx.eventlog.kafka.envelope import Envelope, WireEvent, encode_envelope

logger = logging.getLogger(__name__)

CLOSE_S: Final = 1.0


class Session:
    """A session numbered `number` of `writer`; `failed` is called on any thread, once."""

    def __init__(
        self,
        producer: KafkaProducer,
        writer: str,
        number: int,
        places: dict[int, tuple[str, int]],
        failed: Callable[[str], None],
    ) -> None:
        self.number = number
        self.barriers: set[int] = set(places)
        """Partitions whose barrier was not met yet."""
        self.error = ""
        self._producer = producer
        self._writer = writer
        self._places = places
        """Topic and number of each partition."""
        self._seq = dict.fromkeys(places, 0)
        self._failed = failed
        self._lock = threading.Lock()

    @property
    def live(self) -> bool:
        """Whether facts and decisions may be sent."""
        return not self.barriers and not self.error

    def begin(self) -> None:
        """Send the barriers. Raises ``KafkaError``."""
        for partition in self._places:
            self.send(partition, "", [])

    def send(
        self,
        partition: int,
        stream: str,
        events: list[WireEvent],
        *,
        expected: int | None = None,
        append_id: str = "",
        at: int = 0,
    ) -> int:
        """Hand a record to the producer; returns its number. Raises ``KafkaError``: the session
        is over then. Called by one thread."""
        self._seq[partition] += 1
        value = encode_envelope(
            Envelope(
                stream=stream,
                writer=self._writer,
                session=self.number,
                seq=self._seq[partition],
                events=events,
                expected=expected,
                id=append_id,
                at=at,
            )
        )
        topic, number = self._places[partition]
        try:
            future = self._producer.send(
                topic,
                value=value,
                key=stream.encode() or None,
                headers=[("type", event.type.encode()) for event in events[:1]],
                partition=number,
            )
        except (KafkaError, ValueError) as error:
            self._over(error)
            raise
        future.add_errback(self._over)
        return self._seq[partition]

    def _over(self, error: Any) -> None:
        with self._lock:
            if self.error:
                return
            self.error = str(error) or type(error).__name__
        self._failed(self.error)

    def end(self, reason: str = "") -> None:
        """Stop sending; what is on its way may or may not arrive."""
        with self._lock:
            self.error = self.error or reason or "ended"
        try:
            self._producer.close(timeout=CLOSE_S)
        except Exception as error:  # noqa: BLE001  it is given up whatever it says
            logger.debug("closing the producer: %s", error)
