"""Webhooks that nodes share out: how far each got, and which node delivers it.

In the database that the nodes have in common (:mod:`pbx.readmodel.postgres`); a server with tables
of its own keeps a file instead (:mod:`pbx.webhooks.store`). As with partitions nobody leads: each
node counts the others and takes leases up to its share, and what a dead node held the others take.

A lease keeps two nodes from posting the same event. A node that was cut off and does not know it
may still post the one at hand; it cannot note it, since a row is written only if it is as the
writer left it, and so it learns that it is no longer its turn.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from sqlalchemy import and_, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from pbx.readmodel.database import Database
from pbx.readmodel.tables import webhook_progress

KIND: Final = "webhooks"
_FIELDS: Final = tuple(
    column.name for column in webhook_progress.columns if column.name not in ("webhook_id", "node")
)

Values = Mapping[str, Any]


class WebhookRows:
    """The webhooks of `database`, which must be shared, as `node` sees them. For one thread."""

    def __init__(self, database: Database, node: str) -> None:
        assert database.shared
        self._database = database
        self._node = node

    def load(self, webhook_id: str) -> dict[str, Any] | None:
        """What was saved last; None if nothing ever was. Raises ``ReadModelAway``."""
        return self._load(webhook_id, _FIELDS)

    def deliverer(self, webhook_id: str) -> str:
        """The node that delivered last; empty if none did. Raises ``ReadModelAway``."""
        row = self._load(webhook_id, ("node",))
        return str(row["node"]) if row is not None else ""

    def _load(self, webhook_id: str, names: tuple[str, ...]) -> dict[str, Any] | None:
        query = select(*(webhook_progress.c[name] for name in names))
        with self._database.read() as connection:
            row = connection.execute(
                query.where(webhook_progress.c.webhook_id == webhook_id)
            ).one_or_none()
        return None if row is None else dict(zip(names, row, strict=True))

    def save(self, webhook_id: str, before: Values | None, values: Values) -> bool:
        """Write `values` if the row is as `before` (None: is missing); False if it is not, which
        was another node. Raises ``ReadModelAway``."""
        table = webhook_progress
        row = {name: _storable(values[name]) for name in _FIELDS}
        try:
            with self._database.write() as connection:
                if before is None:
                    connection.execute(
                        insert(table).values(webhook_id=webhook_id, node=self._node, **row)
                    )
                    return True
                same = [table.c[name] == _storable(before[name]) for name in _FIELDS]
                done = connection.execute(
                    update(table)
                    .where(and_(table.c.webhook_id == webhook_id, *same))
                    .values(node=self._node, **row)
                )
                return done.rowcount == 1
        except IntegrityError:
            return False

    def forget(self, webhook_id: str) -> None:
        """Drop the row of a webhook that was removed. Raises ``ReadModelAway``."""
        with self._database.write() as connection:
            connection.execute(
                delete(webhook_progress).where(webhook_progress.c.webhook_id == webhook_id)
            )

    def share(self, count: int) -> int:
        """How many of `count` webhooks are this node's to deliver. Raises ``ReadModelAway``."""
        from pbx.readmodel.share import share_of  # loads all projections; `pbx webhook` needs none

        return share_of(count, *self._database.members(KIND))

    def take(self, webhook_id: str) -> bool:
        """Have it to deliver, unless another node has. Raises ``ReadModelAway``."""
        return self._database.lease_of(_name(webhook_id)).acquire()

    def give(self, webhook_id: str) -> None:
        """Leave it to others; never raises."""
        self._database.lease_of(_name(webhook_id)).release()

    def alive(self, webhook_ids: Iterable[str]) -> bool:
        """Whether those that were taken still are; never raises."""
        return self._database.leases_alive([_name(each) for each in webhook_ids])

    def close(self) -> None:
        """Leave everything to others."""
        self._database.close()


def _name(webhook_id: str) -> str:
    return f"webhook/{webhook_id}"


def _storable(value: Any) -> Any:
    """Words of a receiver may hold the one character that PostgreSQL cannot store."""
    return value.replace("\0", "\ufffd") if isinstance(value, str) else value
