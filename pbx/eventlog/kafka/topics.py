"""The topics: what they should be, making them, and saying what differs.

``pbx log init`` is the one who calls :func:`init`. Topics are never changed and never deleted here:
a difference is shown with the command that removes it, for whoever runs Kafka.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import KafkaError, TopicAlreadyExistsError

from pbx.eventlog.kafka.categories import CONFIG, LOG_CATEGORIES
from pbx.eventlog.kafka.wire import MAX_RECORD_BYTES
from pbx.kernel.errors import LogUnavailable
from pbx.settings import KafkaSettings

DAY_MS: Final = 86_400_000
MAX_MESSAGE_BYTES: Final = MAX_RECORD_BYTES + 65_536


class TopicPlan(NamedTuple):
    """What a topic should be."""

    name: str
    partitions: int
    replication: int
    configs: dict[str, str]


class TopicReport(NamedTuple):
    """What became of a topic."""

    name: str
    created: bool
    differences: list[str]
    """Each says what is, what should be and how to get there."""


def topic_name(settings: KafkaSettings, category: str) -> str:
    """Of a category of the log."""
    return settings.prefix + category


def plans(settings: KafkaSettings, brokers: int) -> list[TopicPlan]:
    """All topics for a Kafka of so many brokers."""
    replication = settings.replication or min(3, brokers)
    min_insync = settings.min_insync or max(1, replication - 1)
    found = []
    for category in LOG_CATEGORIES:
        days = _days(settings, category)
        found.append(
            TopicPlan(
                topic_name(settings, category),
                1 if category == CONFIG else settings.partitions,
                replication,
                {
                    "cleanup.policy": "delete",
                    "retention.ms": str(days * DAY_MS) if days else "-1",
                    "retention.bytes": "-1",
                    "min.insync.replicas": str(min_insync),
                    "unclean.leader.election.enable": "false",
                    "max.message.bytes": str(MAX_MESSAGE_BYTES),
                },
            )
        )
    return found


def _days(settings: KafkaSettings, category: str) -> int:
    """Configuration and bindings are folded from their beginning by a new node: for ever."""
    if category in ("pbx.applications", "pbx.calls", "pbx.nodes", "pbx.cdrs"):
        return settings.calls_days
    return settings.messages_days if category == "pbx.messages" else 0


def init(admin: KafkaAdminClient, settings: KafkaSettings) -> list[TopicReport]:
    """Make the topics that are missing and compare the others. Raises ``LogUnavailable``."""
    try:
        brokers = len(admin.describe_cluster()["brokers"])
        wanted = plans(settings, brokers)
        for plan in wanted:
            if plan.replication > brokers:
                raise LogUnavailable(
                    f"{plan.replication} copies need as many brokers and Kafka has {brokers}:"
                    " start more, or set kafka.replication"
                )
        present = set(admin.list_topics())
        missing = [plan for plan in wanted if plan.name not in present]
        for plan in missing:
            _create(admin, plan)
        return [
            TopicReport(
                plan.name, plan in missing, differences(plan, *_described(admin, plan.name))
            )
            for plan in wanted
        ]
    except KafkaError as error:
        raise LogUnavailable(f"Kafka refuses: {error}") from error


def _create(admin: KafkaAdminClient, plan: TopicPlan) -> None:
    try:
        admin.create_topics(
            {
                plan.name: {
                    "num_partitions": plan.partitions,
                    "replication_factor": plan.replication,
                    "configs": plan.configs,
                }
            },
            wait_for_metadata=True,
        )
    except TopicAlreadyExistsError:
        pass  # another node was faster


def _described(admin: KafkaAdminClient, name: str) -> tuple[int, int, dict[str, str]]:
    """Partitions, copies and settings of a topic."""
    (topic,) = admin.describe_topics([name])
    partitions = topic["partitions"]
    copies = min((len(p["replica_nodes"]) for p in partitions), default=0)
    found: Any = admin.describe_configs(
        [ConfigResource(ConfigResourceType.TOPIC, name)], config_filter="all"
    )
    return len(partitions), copies, _config_values(found, name)


def _config_values(found: Any, name: str) -> dict[str, str]:
    rows = found["topic"][name]
    return {key: str(row["value"]) for key, row in rows.items()}


def differences(
    plan: TopicPlan, partitions: int, copies: int, configs: Mapping[str, str]
) -> list[str]:
    """What is not as planned, with what to do about it."""
    found = []
    if partitions != plan.partitions:
        found.append(
            f"{plan.name} has {partitions} partitions, the settings say {plan.partitions}: set"
            f" kafka.partitions = {partitions}; the number cannot be changed once there are events"
        )
    if copies < plan.replication:
        found.append(
            f"{plan.name} has {copies} copies of each partition instead of {plan.replication}:"
            " kafka-reassign-partitions.sh adds copies"
        )
    for key, value in plan.configs.items():
        if configs.get(key) != value:
            found.append(
                f"{plan.name}: {key} is {configs.get(key)} instead of {value}: kafka-configs.sh"
                f" --alter --entity-type topics --entity-name {plan.name}"
                f" --add-config {key}={value}"
            )
    return found
