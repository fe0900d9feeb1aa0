"""Checkpoints and skipped events by partition of the log; the partition of a call record.

A log that is one file is one partition, whose name is empty.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from migrations.types import NUMBER, TEXT

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_Columns = tuple[tuple[str, sa.types.TypeEngine[Any]], ...]

_PROJECTIONS: _Columns = (
    ("position", sa.BigInteger()),
    ("generation", NUMBER),
    ("error", TEXT),
    ("error_position", sa.BigInteger()),
    ("updated_ns", sa.BigInteger()),
    ("time_ns", sa.BigInteger()),
)
_SKIPPED: _Columns = (
    ("position", sa.BigInteger()),
    ("error", TEXT),
    ("skipped_ns", sa.BigInteger()),
)


def upgrade() -> None:
    _remake("projections", ("name", "partition"), _PROJECTIONS)
    _remake("skipped_events", ("projection", "partition", "position"), _SKIPPED)
    op.add_column("cdrs", sa.Column("partition", TEXT, nullable=False, server_default=""))


def downgrade() -> None:
    with op.batch_alter_table("cdrs") as cdrs:
        cdrs.drop_column("partition")
    op.execute("DELETE FROM skipped_events WHERE partition <> ''")
    op.execute("DELETE FROM projections WHERE partition <> ''")
    _remake("skipped_events", ("projection", "position"), _SKIPPED)
    _remake("projections", ("name",), _PROJECTIONS)


def _remake(name: str, keys: tuple[str, ...], columns: _Columns) -> None:
    """Make a table of a few rows anew with another primary key."""
    connection = op.get_bind()
    rows = [dict(row) for row in connection.execute(sa.text(f"SELECT * FROM {name}")).mappings()]
    op.drop_table(name)
    known = dict(columns)
    made = op.create_table(
        name,
        *(sa.Column(key, known.get(key, TEXT), nullable=False) for key in keys),
        *(sa.Column(other, known[other], nullable=False) for other in known if other not in keys),
        sa.PrimaryKeyConstraint(*keys, name=op.f(f"pk_{name}")),
    )
    if rows:
        names = made.columns.keys()
        filled = [{"partition": "", **row} for row in rows]
        op.bulk_insert(made, [{column: row[column] for column in names} for row in filled])
