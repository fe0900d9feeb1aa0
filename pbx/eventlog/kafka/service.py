"""The machinery of the log role, put together: reader, shipper, control socket, alarms.

``pbx/log_role.py`` runs it in a process of its own; tests run it in theirs. One per log file: it is
the only writer of the replica's tables.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from pbx.eventlog.embedded import EmbeddedLog
from pbx.eventlog.embedded_file import CLUSTER_FORMAT, format_of
from pbx.eventlog.kafka import connect
from pbx.eventlog.kafka.categories import LOG_CATEGORIES
from pbx.eventlog.kafka.control import ControlServer
from pbx.eventlog.kafka.reader import Reader, Topic
from pbx.eventlog.kafka.replica import Journal, Replica, Verdicts, join
from pbx.eventlog.kafka.shipper import Shipper
from pbx.eventlog.kafka.topics import topic_name
from pbx.settings import KafkaSettings

logger = logging.getLogger("pbx.log")

DRAIN_S: Final = 5.0
"""For shipping what the journal has when the role stops; what is left is shipped at the start."""
WATCH_S: Final = 1.0
SAY_AGAIN_S: Final = 60.0
"""A trouble that lasts is logged again so often."""


class Alarms:
    """Turns states into log lines at their transitions."""

    def __init__(self, backlog_alarm: int) -> None:
        self._bound = backlog_alarm
        self._trouble = ""
        self._said_at = 0.0
        self._over = False

    def reachable(self, trouble: str, now: float) -> None:
        """`trouble` is why Kafka cannot be used; empty while it can."""
        if trouble and (not self._trouble or now - self._said_at >= SAY_AGAIN_S):
            logger.warning(
                "Kafka cannot be reached: %s. Calls go on and are kept on this node's disk;"
                " changes of accounts and settings are refused", trouble,
            )  # fmt: skip
            self._said_at = now
        elif not trouble and self._trouble:
            logger.warning("Kafka is reached again")
        self._trouble = trouble

    def backlog(self, events: int, oldest_s: float) -> None:
        """Events that Kafka has not got."""
        if events > self._bound and not self._over:
            logger.warning(
                "more than %d events wait for Kafka, the oldest for %.0f s: see pbx log status;"
                " look after the brokers and the free space of this disk (500 bytes an event)",
                self._bound, oldest_s,
            )  # fmt: skip
            self._over = True
        elif self._over and events < self._bound // 2:
            logger.warning("the events that waited for Kafka are shipped, %d are left", events)
            self._over = False


class LogService:
    """Ships and reads the log at `path` over the brokers `servers`; callers come to `socket`."""

    def __init__(
        self, path: Path, socket: Path, servers: list[str], settings: KafkaSettings, node: str
    ) -> None:
        self._path = path
        self._servers = servers
        self._settings = settings
        if format_of(path) != CLUSTER_FORMAT:
            EmbeddedLog(path).close()
            join(path, uuid.uuid4().hex)
        with closing(Replica(path)) as replica:
            self.writer = replica.writer
            # Who asks for a decision must wait as long as the role does.
            replica.remember("decide_s", str(settings.decide_s))
            replica.remember("unknown_s", str(settings.unknown_s))
            self.is_new = not replica.partitions
            """This node has read nothing from Kafka yet."""
        self._troubles: dict[str, str] = {"reader": "connecting", "shipper": "connecting"}
        self._alarms = Alarms(settings.backlog_alarm)
        self._halt = threading.Event()
        self._verdicts = Verdicts(path)
        name = f"ringlog-{node}"
        self._shipper = Shipper(
            path,
            self.writer,
            lambda: connect.producer(servers, settings, name),
            verdict=self._verdicts.verdict,
            away=lambda: bool(self._troubles["reader"]),
            decide_s=settings.decide_s,
            unknown_s=settings.unknown_s,
            trouble=lambda text: self._note("shipper", text),
        )
        self._reader = Reader(
            path,
            [Topic(category, topic_name(settings, category)) for category in LOG_CATEGORIES],
            lambda: connect.consumer(servers, settings, name),
            met=self._shipper.met,
            known=self._known,
            trouble=lambda text: self._note("reader", text),
        )
        self._control = ControlServer(socket, self._shipper.decide, self.status)
        self._watch = threading.Thread(target=self._watch_over, name="log-alarms", daemon=True)

    def start(self) -> None:
        """Begin; :meth:`wait_caught_up` says when the replica has what Kafka had."""
        self._reader.start()
        self._shipper.start()
        self._control.start()
        self._watch.start()

    def wait_caught_up(self, timeout_s: float) -> bool:
        """Wait until everything that Kafka had at the start is in the replica; False if it did
        not get there in time, or never will (:meth:`failure`)."""
        return self._reader.wait_caught_up(timeout_s)

    def stop(self, drain_s: float = DRAIN_S) -> None:
        """Ship what can be shipped, then end."""
        self._halt.set()
        self._watch.join()
        self._shipper.stop(drain_s)
        self._control.stop()
        self._reader.stop()
        self._verdicts.close()

    def failure(self) -> str:
        """Why it cannot go on until somebody mended it; empty if it can."""
        return self._reader.fatal

    @property
    def trouble(self) -> str:
        """Why Kafka cannot be used now; empty while it can."""
        reader, shipper = self._troubles["reader"], self._troubles["shipper"]
        if reader or shipper:
            return reader or shipper
        return "" if self._shipper.reachable else "nothing that was sent comes back"

    def status(self) -> dict[str, Any]:
        """Metrics, for ``pbx log status``."""
        with closing(Journal(self._path)) as journal:
            backlog = journal.backlog()
        return {
            "brokers": self._servers,
            "reachable": not self.trouble,
            "trouble": self.failure() or self.trouble,
            "backlog_events": backlog.events,
            "backlog_oldest_s": round(backlog.oldest_s, 3),
            "lag_records": self._reader.lag,
            "consumed_records": self._reader.consumed,
            "shipped_events": self._shipper.shipped,
            "decisions": self._shipper.decided,
            "session": self._shipper.session_number,
            "sessions": self._shipper.sessions,
        }

    def _note(self, part: str, text: str) -> None:
        self._troubles[part] = text

    def _known(self, places: dict[int, tuple[str, int]]) -> None:
        by_topic: dict[str, list[tuple[int, int]]] = {}
        for id_, (topic, number) in places.items():
            by_topic.setdefault(topic, []).append((number, id_))
        by_category = {
            category: [id_ for _, id_ in sorted(by_topic[topic_name(self._settings, category)])]
            for category in LOG_CATEGORIES
        }
        self._shipper.known(places, by_category)

    def _watch_over(self) -> None:
        with closing(Journal(self._path)) as journal:
            while not self._halt.wait(WATCH_S):
                self._alarms.reachable(self.failure() or self.trouble, time.monotonic())
                self._alarms.backlog(*journal.backlog())
