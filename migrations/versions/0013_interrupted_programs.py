"""Programs without an end have an index; the report counts those that died with a server."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_VIEW = "report_ivr_applications"
_DAY = {
    "sqlite": "strftime('%Y-%m-%d', start_ns / 1000000000, 'unixepoch')",
    "postgresql": "to_char(to_timestamp(start_ns / 1000000000) AT TIME ZONE 'UTC', 'YYYY-MM-DD')",
}


def _mean_s(value: str) -> str:
    return f"CAST(round(coalesce(avg({value}), 0) / 1000.0, 3) AS DOUBLE PRECISION)"


def _count(condition: str) -> str:
    return f"sum(CASE WHEN {condition} THEN 1 ELSE 0 END)"


def _query(dialect: str, *more: str) -> str:
    """The view; `more` are columns before the last one."""
    call = "cause = 'call'"
    columns = (
        f"{_DAY[dialect]} AS day, tenant, program, count(*) AS runs",
        f"{_count(call)} AS calls",
        f"{_count(f'{call} AND answered')} AS answered",
        f"{_mean_s(f'CASE WHEN {call} AND answered THEN answer_ms END')} AS answer_mean_s",
        _mean_s(f"CASE WHEN {call} AND end_ns > 0 THEN in_program_ms END")
        + " AS in_program_mean_s",
        _count(f"{call} AND ended_by = 'caller'") + " AS hung_up",
        f"{_count(f'{call} AND forwarded')} AS forwarded",
        _count("reason = 'killed'") + " AS killed",
        _count("reason = 'exception'") + " AS failed",
        *more,
        f"{_count('end_ns = 0')} AS running",
    )
    return f"SELECT {', '.join(columns)} FROM ivr_tasks GROUP BY 1, 2, 3"


def _replace_view(*more: str) -> None:
    op.execute(f"DROP VIEW {_VIEW}")
    query = _query(op.get_bind().dialect.name, *more)
    op.execute(f"CREATE VIEW {_VIEW} AS {query}".replace(":", r"\:"))


def upgrade() -> None:
    op.create_index(
        "ix_ivr_tasks_open",
        "ivr_tasks",
        ["node"],
        sqlite_where=sa.text("end_ns = 0"),
        postgresql_where=sa.text("end_ns = 0"),
    )
    _replace_view(_count("reason = 'interrupted'") + " AS interrupted")


def downgrade() -> None:
    _replace_view()
    op.drop_index("ix_ivr_tasks_open", "ivr_tasks")
