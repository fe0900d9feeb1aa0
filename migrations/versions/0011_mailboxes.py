"""Mailboxes and the messages in them.

Both tables begin empty, and so does their projection: what the log has is projected.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from migrations.types import NUMBER, TEXT

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "mailboxes",
        sa.Column("account", TEXT, nullable=False),
        sa.Column("number", NUMBER, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("mailbox_class", TEXT, nullable=False),
        sa.Column("folder", sa.Boolean(), nullable=False),
        sa.Column("uid_validity", sa.BigInteger(), nullable=False),
        sa.Column("access", TEXT, nullable=False),
        sa.Column("created_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account", "number", name="pk_mailboxes"),
    )
    op.create_table(
        "messages",
        sa.Column("account", TEXT, nullable=False),
        sa.Column("number", NUMBER, nullable=False),
        sa.Column("uid", NUMBER, nullable=False),
        sa.Column("modseq", sa.BigInteger(), nullable=False),
        sa.Column("flags", TEXT, nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("received_ns", sa.BigInteger(), nullable=False),
        sa.Column("sender", TEXT, nullable=False),
        sa.Column("subject", TEXT, nullable=False),
        sa.Column("content_class", TEXT, nullable=False),
        sa.Column("urgent", sa.Boolean(), nullable=False),
        sa.Column("original_uid", NUMBER, nullable=False),
        sa.Column("sha256", TEXT, nullable=False),
        sa.Column("source", TEXT, nullable=False),
        sa.Column("stored_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account", "number", "uid", name="pk_messages"),
    )


def downgrade() -> None:
    op.drop_table("messages")
    op.drop_table("mailboxes")
    # Whoever migrates up again projects from the beginning.
    op.execute("DELETE FROM projections WHERE name = 'mailboxes'")
