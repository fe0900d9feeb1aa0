"""Reports on call records as views: what analytics ask first, in SQL that anybody can read.

Times are UTC. A day or an hour is that of the start of the call, but for traffic, which is spread
over the hours in which it was carried. ``docs/analytics.md`` explains the columns.
"""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_HOUR_NS = 3_600_000_000_000

#: What the two databases call differently.
_WORDS = {
    "sqlite": {
        "day": "strftime('%Y-%m-%d', {ns} / 1000000000, 'unixepoch')",
        "hour": "strftime('%Y-%m-%dT%H:00Z', {ns} / 1000000000, 'unixepoch')",
        "least": "min",
        "greatest": "max",
    },
    "postgresql": {
        "day": "to_char(to_timestamp({ns} / 1000000000) AT TIME ZONE 'UTC', 'YYYY-MM-DD')",
        "hour": "to_char(to_timestamp({ns} / 1000000000) AT TIME ZONE 'UTC', "
        '\'YYYY-MM-DD"T"HH24:00"Z"\')',
        "least": "least",
        "greatest": "greatest",
    },
}


def _views(dialect: str) -> dict[str, str]:
    words = _WORDS[dialect]

    def day(ns: str) -> str:
        return words["day"].format(ns=ns)

    def hour(ns: str) -> str:
        return words["hour"].format(ns=ns)

    def share(part: str, whole: str) -> str:
        return f"CAST(round(100.0 * {part} / {whole}, 2) AS DOUBLE PRECISION)"

    return {
        # Answer-seizure ratio (ITU-T E.411), average call duration, and how the others ended.
        "report_answer_ratio": f"""
            SELECT {day("start_ns")} AS day, tenant,
                   count(*) AS calls,
                   sum(CASE WHEN answer_ns > 0 THEN 1 ELSE 0 END) AS answered,
                   {share("sum(CASE WHEN answer_ns > 0 THEN 1 ELSE 0 END)", "count(*)")}
                       AS asr_percent,
                   CAST(round(coalesce(avg(CASE WHEN answer_ns > 0 THEN talk_ms END), 0) / 1000.0,
                        3) AS DOUBLE PRECISION) AS acd_s,
                   CAST(sum(talk_ms) / 1000.0 AS DOUBLE PRECISION) AS talk_s,
                   sum(CASE WHEN answer_ns = 0 AND cause = 'busy' THEN 1 ELSE 0 END) AS busy,
                   sum(CASE WHEN answer_ns = 0 AND cause = 'noanswer' THEN 1 ELSE 0 END)
                       AS no_answer,
                   sum(CASE WHEN answer_ns = 0 AND cause = 'cancel' THEN 1 ELSE 0 END)
                       AS cancelled,
                   sum(CASE WHEN answer_ns = 0 AND cause NOT IN ('busy', 'noanswer', 'cancel')
                       THEN 1 ELSE 0 END) AS failed
            FROM cdrs GROUP BY 1, 2""",
        # From the INVITE to the first sign of the callee: 18x, or the answer if there was none.
        "report_post_dial_delay": f"""
            SELECT day, tenant, count(*) AS calls,
                   CAST(round(avg(delay_ms), 3) AS DOUBLE PRECISION) AS mean_ms,
                   CAST(min(CASE WHEN rank * 2 >= calls THEN delay_ms END) AS DOUBLE PRECISION)
                       AS p50_ms,
                   CAST(min(CASE WHEN rank * 20 >= calls * 19 THEN delay_ms END)
                       AS DOUBLE PRECISION) AS p95_ms,
                   CAST(min(CASE WHEN rank * 100 >= calls * 99 THEN delay_ms END)
                       AS DOUBLE PRECISION) AS p99_ms,
                   CAST(max(delay_ms) AS DOUBLE PRECISION) AS max_ms
            FROM (SELECT day, tenant, delay_ms,
                         row_number() OVER (PARTITION BY day, tenant ORDER BY delay_ms) AS rank,
                         count(*) OVER (PARTITION BY day, tenant) AS calls
                  FROM (SELECT {day("start_ns")} AS day, tenant,
                               ((CASE WHEN provision_ns > 0 THEN provision_ns ELSE answer_ns END)
                                - start_ns) / 1000000.0 AS delay_ms
                        FROM cdrs WHERE provision_ns > 0 OR answer_ns > 0) AS delays) AS ranked
            GROUP BY day, tenant""",
        # Carried traffic in erlangs: a conversation counts in every hour it touches.
        "report_traffic": f"""
            WITH RECURSIVE pieces (tenant, from_ns, until_ns, hour_ns) AS (
                SELECT tenant, answer_ns, end_ns, answer_ns - answer_ns % {_HOUR_NS}
                FROM cdrs WHERE answer_ns > 0 AND end_ns > answer_ns
                UNION ALL
                SELECT tenant, from_ns, until_ns, hour_ns + {_HOUR_NS}
                FROM pieces WHERE hour_ns + {_HOUR_NS} < until_ns)
            SELECT {hour("hour_ns")} AS hour, {day("hour_ns")} AS day, tenant,
                   count(*) AS conversations,
                   CAST(round(sum({words["least"]}(until_ns, hour_ns + {_HOUR_NS})
                              - {words["greatest"]}(from_ns, hour_ns)) / {_HOUR_NS}.0, 4)
                        AS DOUBLE PRECISION) AS erlang
            FROM pieces GROUP BY 1, 2, 3""",
        "report_busy_hour": """
            SELECT day, tenant, hour, conversations, erlang
            FROM (SELECT day, tenant, hour, conversations, erlang,
                         row_number() OVER (PARTITION BY day, tenant
                                            ORDER BY erlang DESC, hour) AS place
                  FROM report_traffic) AS hours
            WHERE place = 1""",
        # Calls at once, ringing ones too; hours in which none began or ended have no row.
        "report_concurrent_calls": f"""
            SELECT {hour("at_ns")} AS hour, {day("at_ns")} AS day, tenant,
                   max(running) AS most, sum(begun) AS begun
            FROM (SELECT at_ns, tenant, begun,
                         sum(step) OVER (PARTITION BY tenant ORDER BY at_ns, step
                                         ROWS UNBOUNDED PRECEDING) AS running
                  FROM (SELECT start_ns AS at_ns, tenant, 1 AS step, 1 AS begun FROM cdrs
                        UNION ALL
                        SELECT end_ns, tenant, -1, 0 FROM cdrs) AS steps) AS levels
            GROUP BY 1, 2, 3""",
        # What the parties sent us, leg by leg. MOS is 0 where too few packets were seen.
        "report_quality": f"""
            SELECT {day("start_ns")} AS day, codec, count(*) AS legs,
                   CAST(round(avg(CASE WHEN mos > 0 THEN mos END), 2) AS DOUBLE PRECISION)
                       AS mos_mean,
                   sum(CASE WHEN mos >= 4.3 THEN 1 ELSE 0 END) AS mos_4_3_up,
                   sum(CASE WHEN mos >= 4.0 AND mos < 4.3 THEN 1 ELSE 0 END) AS mos_4_0_to_4_3,
                   sum(CASE WHEN mos >= 3.6 AND mos < 4.0 THEN 1 ELSE 0 END) AS mos_3_6_to_4_0,
                   sum(CASE WHEN mos > 0 AND mos < 3.6 THEN 1 ELSE 0 END) AS mos_below_3_6,
                   CAST(round(100.0 * sum(packets_lost) / sum(packets_in + packets_lost), 3)
                       AS DOUBLE PRECISION) AS loss_percent,
                   sum(CASE WHEN packets_lost = 0 THEN 1 ELSE 0 END) AS loss_none,
                   sum(CASE WHEN packets_lost > 0
                            AND packets_lost * 100 <= packets_in + packets_lost
                       THEN 1 ELSE 0 END) AS loss_to_1_percent,
                   sum(CASE WHEN packets_lost * 100 > packets_in + packets_lost
                            AND packets_lost * 20 <= packets_in + packets_lost
                       THEN 1 ELSE 0 END) AS loss_1_to_5_percent,
                   sum(CASE WHEN packets_lost * 20 > packets_in + packets_lost
                       THEN 1 ELSE 0 END) AS loss_above_5_percent,
                   CAST(round(avg(jitter_ms), 2) AS DOUBLE PRECISION) AS jitter_mean_ms,
                   CAST(max(jitter_ms) AS DOUBLE PRECISION) AS jitter_max_ms
            FROM (SELECT start_ns, codec, packets_in, packets_lost,
                         CAST(mos AS NUMERIC) AS mos, CAST(jitter_ms AS NUMERIC) AS jitter_ms
                  FROM cdr_legs WHERE packets_in > 0) AS heard
            GROUP BY 1, 2""",
        "report_destinations": f"""
            SELECT {day("start_ns")} AS day, tenant, request_uri AS destination,
                   count(*) AS calls,
                   sum(CASE WHEN answer_ns > 0 THEN 1 ELSE 0 END) AS answered,
                   {share("sum(CASE WHEN answer_ns > 0 THEN 1 ELSE 0 END)", "count(*)")}
                       AS asr_percent,
                   CAST(sum(talk_ms) / 1000.0 AS DOUBLE PRECISION) AS talk_s
            FROM cdrs GROUP BY 1, 2, 3""",
    }


def upgrade() -> None:
    for name, query in _views(op.get_bind().dialect.name).items():
        op.execute(f"CREATE VIEW {name} AS {query}".replace(":", r"\:"))


def downgrade() -> None:
    for name in reversed(_views("sqlite")):
        op.execute(f"DROP VIEW {name}")
