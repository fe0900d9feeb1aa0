"""What the topics of a cluster hold, read as ``docs/kafka.md`` tells consumers to read them.

Shares no code with ``pbx``: tests compare it with what the nodes believe.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import kafka


class Stored(NamedTuple):
    """An event that counts."""

    stream: str
    version: int
    type: str
    node: str
    data: dict[str, Any]


def read_topics(servers: Sequence[str], topics: Sequence[str]) -> list[Stored]:
    """Everything up to the present ends of the topics, void and repeated records left out."""
    consumer = kafka.KafkaConsumer(
        bootstrap_servers=list(servers), enable_auto_commit=False, group_id=None
    )
    try:
        places = [
            kafka.TopicPartition(topic, number)
            for topic in topics
            for number in sorted(consumer.partitions_for_topic(topic) or ())
        ]
        found: list[Stored] = []
        for place in places:
            found += _read_partition(consumer, place)
        return found
    finally:
        consumer.close()


def _read_partition(consumer: Any, place: Any) -> list[Stored]:
    end = consumer.end_offsets([place])[place]
    consumer.assign([place])
    consumer.seek_to_beginning(place)
    found: list[Stored] = []
    last: dict[str, tuple[int, int]] = {}
    versions: dict[str, int] = {}
    while consumer.position(place) < end:
        for record in consumer.poll(timeout_ms=1000).get(place, ()):
            if record.offset < end:
                found += _counting(json.loads(record.value), last, versions)
    return found


def _counting(
    record: dict[str, Any], last: dict[str, tuple[int, int]], versions: dict[str, int]
) -> list[Stored]:
    """The events of a record, none if it was sent twice or is void."""
    session, seq = last.get(record["writer"], (0, 0))
    goes_on = (record["session"], record["seq"]) == (session, seq + 1)
    if not goes_on and not (record["session"] > session and record["seq"] == 1):
        return []
    last[record["writer"]] = record["session"], record["seq"]
    now = versions.get(record["stream"], 0)
    if record.get("expected", now) not in (now, -1):
        return []
    found = []
    for event in record["events"]:
        its = event.get("version", 0) if "expected" not in record else 0
        now = versions[record["stream"]] = its if its > now else now + 1
        found.append(
            Stored(record["stream"], now, event["type"], event.get("node", ""), event["data"])
        )
    return found
