"""Alembic's environment: runs inside :func:`pbx.readmodel.database.migrate`, or from the shell.

The read model passes its open connection in ``config.attributes["connection"]``; ``alembic`` on
the command line (``alembic.ini``, for developers who make a revision) names a file with
``-x file=PATH``.
"""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection, create_engine

from pbx.readmodel.tables import metadata


def run(connection: Connection) -> None:
    """Migrate on `connection`, in its transaction if it has one."""
    context.configure(
        connection=connection,
        target_metadata=metadata,
        # SQLite cannot alter most of a table in place: Alembic copies it.
        render_as_batch=True,
        compare_type=True,
    )
    with context.begin_transaction():
        context.run_migrations()


if context.is_offline_mode():
    raise SystemExit("migrations of the read model need its file: SQLite tables are copied")
connected: Connection | None = context.config.attributes.get("connection")
if connected is not None:
    run(connected)
else:
    path = context.get_x_argument(as_dictionary=True).get("file", "readmodel.sqlite3")
    with create_engine(f"sqlite:///{path}").begin() as opened:
        run(opened)
