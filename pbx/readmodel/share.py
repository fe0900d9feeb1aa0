"""Which partitions of the log this node projects: its fair share, as long as it lives.

Run by the project role. Nobody leads: the nodes that are there count each other (in PostgreSQL by
the sessions that joined), and each takes leases of partitions up to its share and gives back what
is above it. A node that dies loses its leases with its session, and the others take them within
:data:`TICK_S`. A server alone holds everything.

For each partition held a :class:`~pbx.readmodel.runner.Projector` runs on a thread of its own.
"""

from __future__ import annotations

import logging
import threading
from typing import Final

from pbx.eventlog import EventLog
from pbx.kernel.errors import LogUnavailable, ReadModelAway
from pbx.readmodel import make_projector
from pbx.readmodel.database import Database
from pbx.readmodel.partitions import concerned, is_partitioned, views_of
from pbx.readmodel.projections import all_projections
from pbx.readmodel.runner import Projector

TICK_S: Final = 1.0
"""How often the share is looked at."""

logger = logging.getLogger(__name__)


def share_of(partitions: int, nodes: int, rank: int) -> int:
    """How many of `partitions` the node at place `rank` (from 0) of `nodes` is to hold."""
    each, rest = divmod(partitions, max(nodes, 1))
    return each + (1 if rank < rest else 0)


class Share:
    """The projectors of this node. Used by one thread at a time."""

    def __init__(
        self, log: EventLog, database: Database, *, text_files: bool = True, feed: bool = False
    ) -> None:
        self._log = log
        self._database = database
        self._text_files = text_files
        self._feed = feed
        self._workers: dict[str, _Worker] = {}
        self._applied = 0
        self._trouble = ""
        if text_files and is_partitioned(log, database):
            logger.info(
                "no text files of call records: nodes that share their tables have no one order of"
                " records; pbx cdr list has them"
            )

    @property
    def held(self) -> list[str]:
        """The partitions that are projected here."""
        return sorted(self._workers)

    @property
    def applied(self) -> int:
        """Records read from the log so far."""
        return self._applied + sum(w.projector.applied for w in self._workers.values())

    def run(self, stop: threading.Event) -> None:
        """Hold the share until `stop` is set, or until a projector dies by a defect of ours."""
        while not stop.wait(TICK_S):
            self.tick()
            if self.died:
                return

    @property
    def died(self) -> bool:
        """Whether a projector ended that was not told to."""
        return any(not worker.thread.is_alive() for worker in self._workers.values())

    def tick(self) -> None:
        """Take and give back leases. Trouble with log or database is waited out, said once."""
        try:
            if self._workers and not self._database.leases_alive(self._workers):
                self._stop(self.held)
            if self._database.shared and not self._database.is_current():
                self._stop(self.held)
                raise ReadModelAway(
                    f"the tables in {self._database.place} are of a newer version: update this node"
                )
            self._balance()
        except (ReadModelAway, LogUnavailable) as error:
            if not self._trouble:
                logger.error("nothing is projected, trying again: %s", error)
            self._trouble = str(error)
            return
        if self._trouble:
            logger.warning("projecting again")
        self._trouble = ""

    def close(self) -> None:
        """Project what is in the log by now and give everything back."""
        self._stop(self.held)

    def _balance(self) -> None:
        wanted = [
            name
            for name, view in views_of(self._log, self._database).items()
            if concerned(name, all_projections(view))
        ]
        nodes, rank = self._database.members()
        share = share_of(len(wanted), nodes, rank) if self._database.shared else len(wanted)
        held = self.held
        if len(held) > share:
            self._stop(held[share:])
        # Each node begins elsewhere: they do not all ask for the same one.
        begin = rank * len(wanted) // max(nodes, 1)
        for partition in wanted[begin:] + wanted[:begin]:
            if len(self._workers) >= share:
                break
            if partition not in self._workers and self._database.lease_of(partition).acquire():
                self._start(partition)

    def _start(self, partition: str) -> None:
        try:
            projector = make_projector(
                self._log,
                self._database,
                partition,
                text_files=self._text_files,
                feed=self._feed,
            )
        except BaseException:
            self._database.lease_of(partition).release()
            raise
        self._workers[partition] = _Worker(projector, partition)
        if partition:
            logger.info("projecting %s", partition)

    def _stop(self, partitions: list[str]) -> None:
        for partition in partitions:
            self._workers[partition].stop.set()
        for partition in partitions:
            worker = self._workers.pop(partition)
            worker.thread.join()
            self._applied += worker.projector.applied
            self._database.lease_of(partition).release()
            if partition:
                logger.info("no longer projecting %s", partition)


class _Worker:
    """A projector on its thread."""

    def __init__(self, projector: Projector, partition: str) -> None:
        self.projector = projector
        self.stop = threading.Event()
        self.thread = threading.Thread(
            target=projector.run, args=(self.stop,), name=f"projector {partition}".strip()
        )
        self.thread.start()
