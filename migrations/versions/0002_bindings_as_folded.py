"""Bindings with all that a starting server folds; the history a checkpoint belongs to; skips.

The bindings are projected anew: versions were not kept before.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from migrations.types import TEXT

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("DELETE FROM bindings")
    op.execute("DELETE FROM projections WHERE name = 'bindings'")
    with op.batch_alter_table("bindings") as bindings:
        bindings.add_column(sa.Column("version", sa.BigInteger(), nullable=False))
    op.create_table(
        "binding_streams",
        sa.Column("account", TEXT, nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account", name=op.f("pk_binding_streams")),
    )
    op.create_table(
        "skipped_events",
        sa.Column("projection", TEXT, nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("error", TEXT, nullable=False),
        sa.Column("skipped_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("projection", "position", name=op.f("pk_skipped_events")),
    )
    # 0 is not known: such a checkpoint is taken as it is until it moves on.
    op.add_column(
        "projections",
        sa.Column("time_ns", sa.BigInteger(), nullable=False, server_default=sa.text("0")),
    )
    with op.batch_alter_table("projections") as projections:
        projections.alter_column("time_ns", server_default=None)


def downgrade() -> None:
    with op.batch_alter_table("projections") as projections:
        projections.drop_column("time_ns")
    op.drop_table("skipped_events")
    op.drop_table("binding_streams")
    op.execute("DELETE FROM bindings")
    op.execute("DELETE FROM projections WHERE name = 'bindings'")
    with op.batch_alter_table("bindings") as bindings:
        bindings.drop_column("version")
