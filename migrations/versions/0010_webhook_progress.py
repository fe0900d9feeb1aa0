"""How far webhooks got that the nodes of a cluster share out.

The table begins empty; a node that kept a file of its own brings it along.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from migrations.types import TEXT

revision = "0010"
down_revision = "0005"
branch_labels = None
depends_on = None

_TEXTS = ("webhook_id", "node", "after", "error")
_COLUMNS = (
    "webhook_id", "node", "after", "replays", "resumes", "delivered", "delivered_ns", "failures",
    "failing_since_ns", "next_try_ns", "error",
)  # fmt: skip


def upgrade() -> None:
    op.create_table(
        "webhook_progress",
        *(
            sa.Column(name, TEXT if name in _TEXTS else sa.BigInteger(), nullable=False)
            for name in _COLUMNS
        ),
        sa.PrimaryKeyConstraint("webhook_id", name="pk_webhook_progress"),
    )


def downgrade() -> None:
    op.drop_table("webhook_progress")
