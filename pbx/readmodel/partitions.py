"""A log of one partition or of several, as the read model sees it.

A log in one file is one partition, whose name is empty. A log on a broker has several, and a
database that nodes share is filled by them: each is an ordered log of its own
(:class:`~pbx.eventlog.EventLog`, for reading), a stream lies in one of them, and positions of two
of them cannot be compared. Everything projected has a checkpoint a partition.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar, runtime_checkable

from pbx.eventlog import EventLog, Position
from pbx.eventlog.registry import CATEGORY_OF_PREFIX
from pbx.readmodel.database import Database


@runtime_checkable
class PartitionedLog(Protocol):
    """What a log of several partitions has besides what every log has."""

    def partitions(self) -> Sequence[str]:
        """Their names, the same on every node: ``pbx.calls-0``, …"""
        ...

    def partition(self, name: str) -> EventLog:
        """One of them, for reading; positions count within it."""
        ...


class Categorized(Protocol):
    """A projection, as far as it matters here."""

    @property
    def categories(self) -> frozenset[str]: ...


P = TypeVar("P", bound=Categorized)

_CATEGORIES = frozenset(CATEGORY_OF_PREFIX.values())


def views_of(log: EventLog, database: Database) -> dict[str, EventLog]:
    """The partitions by name, or the log itself as ``''``.

    Nodes that share a database need what they all see alike, which are the partitions. A database
    of one node takes the log at hand as it is, with what was not shipped to the broker yet.
    """
    if database.shared and isinstance(log, PartitionedLog):
        return {name: log.partition(name) for name in log.partitions()}
    return {"": log}


def heads_of(log: EventLog, database: Database) -> dict[str, Position]:
    """Position of the last record of each partition. Raises ``LogUnavailable``."""
    return {name: view.head() for name, view in views_of(log, database).items()}


def is_partitioned(log: EventLog, database: Database) -> bool:
    """Whether there are several orders of records, those of the partitions."""
    return database.shared and isinstance(log, PartitionedLog)


def concerned(partition: str, projections: Sequence[P]) -> list[P]:
    """The projections that may find something in a partition.

    Its name begins with the category of its streams and a mark (``pbx.calls-3``); one named
    otherwise may hold anything.
    """
    category = next((c for c in _CATEGORIES if partition.startswith((f"{c}-", f"{c}/"))), None)
    return [p for p in projections if category is None or category in p.categories]
