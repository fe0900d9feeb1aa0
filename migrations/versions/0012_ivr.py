"""What programs did: runs, inputs of callers, and reports on them as views."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from migrations.types import NUMBER, TEXT

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_DAY = {
    "sqlite": "strftime('%Y-%m-%d', start_ns / 1000000000, 'unixepoch')",
    "postgresql": "to_char(to_timestamp(start_ns / 1000000000) AT TIME ZONE 'UTC', 'YYYY-MM-DD')",
}


def _mean_s(value: str) -> str:
    """A mean of milliseconds as seconds; null values do not count."""
    return f"CAST(round(coalesce(avg({value}), 0) / 1000.0, 3) AS DOUBLE PRECISION)"


def _count(condition: str) -> str:
    return f"sum(CASE WHEN {condition} THEN 1 ELSE 0 END)"


def _views(dialect: str) -> dict[str, str]:
    day, call = _DAY[dialect], "cause = 'call'"
    return {
        # Answers, times and ends are those of calls; runs are also spawned and started by commands.
        "report_ivr_applications": f"""
            SELECT {day} AS day, tenant, program,
                   count(*) AS runs,
                   {_count(call)} AS calls,
                   {_count(f"{call} AND answered")} AS answered,
                   {_mean_s(f"CASE WHEN {call} AND answered THEN answer_ms END")}
                       AS answer_mean_s,
                   {_mean_s(f"CASE WHEN {call} AND end_ns > 0 THEN in_program_ms END")}
                       AS in_program_mean_s,
                   {_count(f"{call} AND ended_by = 'caller'")} AS hung_up,
                   {_count(f"{call} AND forwarded")} AS forwarded,
                   {_count("reason = 'killed'")} AS killed,
                   {_count("reason = 'exception'")} AS failed,
                   {_count("end_ns = 0")} AS running
            FROM ivr_tasks GROUP BY 1, 2, 3""",
        # The way of each call through the menus, as far as it is told.
        "report_ivr_paths": f"""
            SELECT {day} AS day, tenant, program, path, count(*) AS calls,
                   {_mean_s("in_program_ms")} AS in_program_mean_s,
                   {_count("forwarded")} AS forwarded,
                   {_count("ended_by = 'caller'")} AS hung_up
            FROM ivr_tasks WHERE cause = 'call' AND end_ns > 0 GROUP BY 1, 2, 3, 4""",
        # Where callers who hung up were: the last prompt they heard.
        "report_ivr_drop_offs": f"""
            SELECT {day} AS day, tenant, program, last_menu, count(*) AS calls,
                   {_mean_s("in_program_ms")} AS in_program_mean_s
            FROM ivr_tasks WHERE cause = 'call' AND ended_by = 'caller' GROUP BY 1, 2, 3, 4""",
        "report_ivr_choices": f"""
            SELECT {day} AS day, tenant, program, menu, choice, count(*) AS times,
                   count(DISTINCT ivr_inputs.task_id) AS runs,
                   {_mean_s("at_ms")} AS at_mean_s
            FROM ivr_inputs JOIN ivr_tasks ON ivr_tasks.task_id = ivr_inputs.task_id
            GROUP BY 1, 2, 3, 4, 5""",
        "report_ivr_failures": f"""
            SELECT {day} AS day, tenant, program, failure_file AS file, failure_line AS line,
                   failure AS message, count(*) AS runs
            FROM ivr_tasks WHERE reason = 'exception' GROUP BY 1, 2, 3, 4, 5, 6""",
    }


def upgrade() -> None:
    op.create_table(
        "ivr_tasks",
        sa.Column("task_id", TEXT, nullable=False),
        sa.Column("tenant", TEXT, nullable=False),
        sa.Column("node", TEXT, nullable=False),
        sa.Column("program", TEXT, nullable=False),
        sa.Column("account", TEXT, nullable=False),
        sa.Column("cause", TEXT, nullable=False),
        sa.Column("call_id", TEXT, nullable=False),
        sa.Column("parent", TEXT, nullable=False),
        sa.Column("language", TEXT, nullable=False),
        sa.Column("start_ns", sa.BigInteger(), nullable=False),
        sa.Column("answered", sa.Boolean(), nullable=False),
        sa.Column("answer_ms", NUMBER, nullable=False),
        sa.Column("forwarded", sa.Boolean(), nullable=False),
        sa.Column("end_ns", sa.BigInteger(), nullable=False),
        sa.Column("in_program_ms", NUMBER, nullable=False),
        sa.Column("reason", TEXT, nullable=False),
        sa.Column("ended_by", TEXT, nullable=False),
        sa.Column("last_menu", TEXT, nullable=False),
        sa.Column("choices", NUMBER, nullable=False),
        sa.Column("path", TEXT, nullable=False),
        sa.Column("failure", TEXT, nullable=False),
        sa.Column("failure_file", TEXT, nullable=False),
        sa.Column("failure_line", NUMBER, nullable=False),
        sa.PrimaryKeyConstraint("task_id", name="pk_ivr_tasks"),
    )
    op.create_index("ix_ivr_tasks_start_ns", "ivr_tasks", ["start_ns"])
    op.create_index("ix_ivr_tasks_call_id", "ivr_tasks", ["call_id"])
    op.create_table(
        "ivr_inputs",
        sa.Column("task_id", TEXT, nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("menu", TEXT, nullable=False),
        sa.Column("choice", TEXT, nullable=False),
        sa.Column("digits", NUMBER, nullable=False),
        sa.Column("source", TEXT, nullable=False),
        sa.Column("at_ms", NUMBER, nullable=False),
        sa.PrimaryKeyConstraint("task_id", "version", name="pk_ivr_inputs"),
    )
    for name, query in _views(op.get_bind().dialect.name).items():
        op.execute(f"CREATE VIEW {name} AS {query}".replace(":", r"\:"))


def downgrade() -> None:
    for name in reversed(_views("sqlite")):
        op.execute(f"DROP VIEW {name}")
    op.drop_table("ivr_inputs")
    op.drop_index("ix_ivr_tasks_call_id", "ivr_tasks")
    op.drop_index("ix_ivr_tasks_start_ns", "ivr_tasks")
    op.drop_table("ivr_tasks")
    # Whoever migrates up again projects from the beginning.
    op.execute("DELETE FROM projections WHERE name = 'ivr'")
