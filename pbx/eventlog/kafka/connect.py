"""Clients of Kafka by the settings. Used by the log role and ``pbx log init`` alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer

from pbx.eventlog.kafka.wire import MAX_RECORD_BYTES
from pbx.kernel.errors import LogUnavailable
from pbx.settings import KafkaSettings

REQUEST_MS: Final = 8000
"""A broker that does not answer for so long is taken for gone."""
DELIVERY_MS: Final = 12_000
"""Then a record was not delivered; the shipper begins a new session."""
FETCH_WAIT_MS: Final = 500
"""A fetch without records waits so long at the broker; records end it at once."""
IN_FLIGHT_REQUESTS: Final = 5
"""Most that an idempotent producer may have."""


def options(servers: list[str], settings: KafkaSettings, name: str) -> dict[str, Any]:
    """What all clients have in common. Raises ``LogUnavailable`` for files that cannot be read."""
    common: dict[str, Any] = {
        "bootstrap_servers": servers,
        "client_id": name,
        "request_timeout_ms": REQUEST_MS,
        "bootstrap_timeout_ms": 5000,
        "reconnect_backoff_max_ms": 1000,
        "security_protocol": settings.security,
    }
    if "SSL" in settings.security:
        common["ssl_cafile"] = settings.ca_file or None
        common["ssl_certfile"] = settings.certificate or None
        common["ssl_keyfile"] = settings.key_file or None
    if settings.security.startswith("SASL"):
        common["sasl_mechanism"] = settings.sasl_mechanism
        common["sasl_plain_username"] = settings.sasl_user
        common["sasl_plain_password"] = _first_line(settings.sasl_password_file)
    return common


def producer(servers: list[str], settings: KafkaSettings, name: str) -> KafkaProducer:
    """Idempotent, all copies in step."""
    return KafkaProducer(
        **options(servers, settings, name),
        metrics_enabled=False,
        acks="all",
        enable_idempotence=True,
        delivery_timeout_ms=DELIVERY_MS,
        max_block_ms=5000,
        linger_ms=1,
        batch_size=262_144,
        max_request_size=MAX_RECORD_BYTES + 65_536,
        max_in_flight_requests_per_connection=IN_FLIGHT_REQUESTS,
        allow_auto_create_topics=False,
    )


def consumer(servers: list[str], settings: KafkaSettings, name: str) -> KafkaConsumer:
    """Reads what it is assigned, from where it is told; commits nothing."""
    return KafkaConsumer(
        **options(servers, settings, name),
        metrics_enabled=False,
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="none",
        fetch_max_wait_ms=FETCH_WAIT_MS,
        max_partition_fetch_bytes=MAX_RECORD_BYTES + 65_536,
        allow_auto_create_topics=False,
    )


def admin(servers: list[str], settings: KafkaSettings, name: str) -> KafkaAdminClient:
    """Makes and describes topics."""
    return KafkaAdminClient(**options(servers, settings, name))


def _first_line(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").partition("\n")[0]
    except OSError as error:
        raise LogUnavailable(
            f"cannot read the password file {path or '(kafka.sasl_password_file is not set)'}:"
            f" {error.strerror}"
        ) from error
