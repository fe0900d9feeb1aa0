"""How far call records are published as events, and which were changed since.

Both tables begin empty: the records of the past are published, too.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from migrations.types import TEXT

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "cdr_feed",
        sa.Column("partition", TEXT, nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("partition", name="pk_cdr_feed"),
    )
    op.create_table(
        "cdr_changed",
        sa.Column("call_id", TEXT, nullable=False),
        sa.Column("partition", TEXT, nullable=False),
        sa.Column("changed_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("call_id", name="pk_cdr_changed"),
    )
    op.create_index("ix_cdrs_partition_position", "cdrs", ["partition", "position"])


def downgrade() -> None:
    op.drop_index("ix_cdrs_partition_position", "cdrs")
    op.drop_table("cdr_changed")
    op.drop_table("cdr_feed")
