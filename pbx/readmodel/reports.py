"""Reports on call records: the views of the read model by name, and what may be asked of them.

The views themselves are in ``migrations/versions`` (``0004_reports.py``, ``0012_ivr.py``,
``0013_interrupted_programs.py``), so that
they are there for any SQL client. Used by ``pbx report`` (and later by the web).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, column, select, table, text


class Report(NamedTuple):
    """One view."""

    view: str
    what: str
    time: str
    """The column that ``since`` and ``until`` (texts such as 2026-01-31) compare with."""
    order: tuple[str, ...]
    by_tenant: bool = True
    biggest_first: str = ""
    """Column by which the rows of the whole range are added up and ranked, if any."""


REPORTS: Final[Mapping[str, Report]] = {
    "answer-ratio": Report(
        "report_answer_ratio", "answer-seizure ratio, average call duration, causes", "day",
        ("day", "tenant"),
    ),
    "post-dial-delay": Report(
        "report_post_dial_delay", "INVITE to ringing, percentiles", "day", ("day", "tenant")
    ),
    "traffic": Report("report_traffic", "erlangs by hour", "day", ("hour", "tenant")),
    "busy-hour": Report(
        "report_busy_hour", "the hour of most traffic of each day", "day", ("day", "tenant")
    ),
    "concurrent-calls": Report(
        "report_concurrent_calls", "most calls at once by hour", "day", ("hour", "tenant")
    ),
    "quality": Report(
        "report_quality", "MOS, loss and jitter by codec", "day", ("day", "codec"), by_tenant=False
    ),
    "destinations": Report(
        "report_destinations", "what is called most", "day", ("calls", "destination"),
        biggest_first="calls",
    ),
    "ivr-applications": Report(
        "report_ivr_applications", "programs: runs, answers, times, failures", "day",
        ("day", "tenant", "program"),
    ),
    "ivr-paths": Report(
        "report_ivr_paths", "ways of calls through menus", "day",
        ("day", "tenant", "program", "path"),
    ),
    "ivr-drop-offs": Report(
        "report_ivr_drop_offs", "where callers hung up", "day",
        ("day", "tenant", "program", "last_menu"),
    ),
    "ivr-choices": Report(
        "report_ivr_choices", "what was chosen in menus", "day",
        ("day", "tenant", "program", "menu", "choice"),
    ),
    "ivr-failures": Report(
        "report_ivr_failures", "programs that failed, by line", "day",
        ("day", "tenant", "program", "file", "line"),
    ),
}  # fmt: skip
"""By the names of the command line."""

ADDED_UP: Final = ("calls", "answered", "talk_s")


def report(
    connection: Connection,
    name: str,
    *,
    since: str = "",
    until: str = "",
    tenant: str = "",
    application: str = "",
    limit: int | None = None,
) -> Sequence[Mapping[str, Any]]:
    """The rows of a report, from the day `since` on and before the day `until`.

    `application` is for the reports on programs (``ivr-…``).

    Raises ``KeyError`` for a name that is none of :data:`REPORTS`, ``ValueError`` for a tenant
    where the report has none.
    """
    wanted = REPORTS[name]
    if tenant and not wanted.by_tenant:
        raise ValueError(f"the report {name} is not by domain")
    query = select(text("*")).select_from(table(wanted.view))
    if since:
        query = query.where(column(wanted.time) >= since)
    if until:
        query = query.where(column(wanted.time) < until)
    if tenant:
        query = query.where(column("tenant") == tenant)
    if application:
        query = query.where(column("program") == application)
    rows = [dict(row) for row in connection.execute(query).mappings()]
    if wanted.biggest_first:
        rows = _added_up(rows, wanted)
    else:
        rows.sort(key=lambda row: tuple(row[name] for name in wanted.order))
    return rows[:limit]


def _added_up(rows: list[dict[str, Any]], wanted: Report) -> list[dict[str, Any]]:
    """One row a destination for the whole range, the biggest first."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        key = (row["tenant"], row["destination"])
        total = found.setdefault(
            key, {"tenant": key[0], "destination": key[1], **dict.fromkeys(ADDED_UP, 0)}
        )
        for name in ADDED_UP:
            total[name] += row[name]
    for total in found.values():
        total["asr_percent"] = round(100 * total["answered"] / total["calls"], 2)
    return sorted(found.values(), key=lambda row: (-row[wanted.biggest_first], row["destination"]))
