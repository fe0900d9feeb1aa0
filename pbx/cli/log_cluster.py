"""``pbx log init`` and ``pbx log status``: the log on Kafka, for whoever runs it."""

from __future__ import annotations

import argparse
import sys
from contextlib import closing
from typing import Any, Final

from pbx.cli.common import data_directory, print_json, print_table, settings_of
from pbx.kernel.errors import LogError
from pbx.settings import kafka_servers

_NOT_CLUSTERED: Final = (
    'the log is embedded; eventlog.engine = "kafka:HOST:PORT" puts it on Kafka (docs/kafka.md)'
)


def init(arguments: argparse.Namespace) -> int:
    """Make the topics that are missing, say what is not as the settings have it. Exit status 1 if
    something differs."""
    settings = settings_of(arguments)
    servers = kafka_servers(settings.eventlog.engine)
    if not servers:
        raise LogError(_NOT_CLUSTERED)
    try:
        from pbx.eventlog.kafka import connect, topics
    except ImportError as error:
        raise LogError("the log on Kafka needs kafka-python: pip install 'ringlog[kafka]'") from (
            error
        )
    if warning := connect.in_clear(servers, settings.kafka):
        print(f"pbx: warning: {warning}", file=sys.stderr)
    with closing(connect.admin(servers, settings.kafka, "ringlog-init")) as admin:
        reports = topics.init(admin, settings.kafka)
    if arguments.json:
        print_json([report._asdict() for report in reports])
    else:
        for report in reports:
            print(f"{report.name}: {'made' if report.created else 'there'}")
            for difference in report.differences:
                print(f"  {difference}")
    return int(any(report.differences for report in reports))


def status(arguments: argparse.Namespace) -> int:
    """What waits for Kafka and how far this node has read. Exit status 1 if Kafka cannot be
    used."""
    from pbx.eventlog import LOG_FILE
    from pbx.eventlog.embedded_file import CLUSTER_FORMAT, format_of
    from pbx.eventlog.kafka.client import ask_status
    from pbx.eventlog.kafka.replica import Journal

    data = data_directory(arguments)
    path = data.path / LOG_FILE
    if format_of(path) != CLUSTER_FORMAT:
        raise LogError(_NOT_CLUSTERED)
    with closing(Journal(path)) as journal:
        backlog, partitions = journal.backlog(), journal.partitions()
    found: dict[str, Any] = {
        "running": False,
        "reachable": False,
        "trouble": "the log role does not run: start the server (pbx serve)",
        "backlog_events": backlog.events,
        "backlog_oldest_s": round(backlog.oldest_s, 3),
    }
    answered = ask_status(data.log_socket)
    if answered is not None:
        found |= answered | {"running": True}
    found["partitions"] = {
        partition.name: {
            "next_offset": partition.next_offset,
            "first_offset": partition.base_offset,
        }
        for partition in partitions
    }
    if arguments.json:
        print_json(found)
    else:
        _show(found)
    return int(not found["reachable"])


def _show(found: dict[str, Any]) -> None:
    if "brokers" in found:
        print(f"brokers    {', '.join(found['brokers'])}")
    print(f"reachable  {'yes' if found['reachable'] else 'no: ' + found['trouble']}")
    age = f", the oldest for {found['backlog_oldest_s']:g} s" if found["backlog_events"] else ""
    print(f"backlog    {found['backlog_events']} events wait for Kafka{age}")
    lag = found.get("lag_records", -1)
    print(f"lag        {lag if lag >= 0 else 'unknown number of'} records not read yet")
    if found["running"]:
        print(
            f"since start: {found['shipped_events']} events shipped,"
            f" {found['decisions']} decisions, {found['consumed_records']} records read,"
            f" session {found['session']}"
        )
    topics: dict[str, list[int]] = {}
    for name, row in found["partitions"].items():
        topics.setdefault(name.partition("/")[0], []).append(row["next_offset"])
    print_table(
        ("CATEGORY", "PARTITIONS", "RECORDS READ"),
        [(name, len(ends), sum(ends)) for name, ends in topics.items()],
    )
