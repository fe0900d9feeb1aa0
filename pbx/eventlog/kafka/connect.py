"""Clients of Kafka by the settings. Used by the log role and ``pbx log init`` alone."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import ssl
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, TypeVar

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.errors import KafkaError

from pbx.eventlog.kafka.wire import MAX_RECORD_BYTES
from pbx.kernel.errors import LogUnavailable
from pbx.settings import KafkaSettings

REQUEST_MS: Final = 8000
"""A broker that does not answer for so long is taken for gone."""
DELIVERY_MS: Final = 12_000
"""Then a record was not delivered; the shipper begins a new session."""
FETCH_WAIT_MS: Final = 500
"""A fetch without records waits so long at the broker; records end it at once."""
LOOK_S: Final = 2.0
"""For a look at a broker that no client could be made for."""
OBJECTION_S: Final = 0.5
"""In TLS 1.3 a server objects to the client's certificate, or to none, after the handshake."""
IN_FLIGHT_REQUESTS: Final = 5
"""Most that an idempotent producer may have."""


T = TypeVar("T")


def options(servers: list[str], settings: KafkaSettings, name: str) -> dict[str, Any]:
    """What all clients have in common. Raises ``LogUnavailable`` for settings that cannot work and
    files that cannot be used; files are read anew each time, so that new ones count."""
    common: dict[str, Any] = {
        "bootstrap_servers": servers,
        "client_id": name,
        "request_timeout_ms": REQUEST_MS,
        "bootstrap_timeout_ms": 5000,
        "reconnect_backoff_max_ms": 1000,
        "security_protocol": settings.security,
    }
    if settings.security in ("SSL", "SASL_SSL"):
        common["ssl_context"] = _tls(settings)
    if settings.security.startswith("SASL"):
        if not settings.sasl_user:
            raise LogUnavailable(
                f"kafka.security = {settings.security} needs kafka.sasl_user and"
                " kafka.sasl_password_file"
            )
        common["sasl_mechanism"] = settings.sasl_mechanism
        common["sasl_plain_username"] = settings.sasl_user
        common["sasl_plain_password"] = _first_line(settings.sasl_password_file)
    return common


def in_clear(servers: Iterable[str], settings: KafkaSettings) -> str:
    """What others on the way to the brokers could read, for the operator; empty if nothing."""
    away = [server for server in servers if not _is_loopback(server)]
    if not away or settings.security in ("SSL", "SASL_SSL"):
        return ""
    what = "calls, accounts and messages"
    if settings.security == "SASL_PLAINTEXT" and settings.sasl_mechanism == "PLAIN":
        what = f"the password of {settings.sasl_user} and {what}"
    return (
        f"what goes to and from the broker {away[0]} is not encrypted: {what} can be read and"
        " changed on the way. Set kafka.security to SSL or SASL_SSL, unless the network is the"
        " nodes' own"
    )


def _is_loopback(server: str) -> bool:
    host = server.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _tls(settings: KafkaSettings) -> ssl.SSLContext:
    """Brokers prove their names; without ``kafka.ca_file`` by the authorities of the system."""
    context = _loaded(
        "kafka.ca_file",
        settings.ca_file,
        lambda: ssl.create_default_context(cafile=settings.ca_file or None),
    )
    if settings.certificate:
        _loaded(
            "kafka.certificate or kafka.key_file",
            settings.certificate,
            lambda: context.load_cert_chain(settings.certificate, settings.key_file or None),
        )
    elif settings.key_file:
        raise LogUnavailable("kafka.key_file is of no use without kafka.certificate")
    return context


def _loaded(what: str, file: str, load: Callable[[], T]) -> T:
    try:
        return load()
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        reason = getattr(error, "strerror", None) or error
        raise LogUnavailable(f"{what} ({file}) cannot be used: {reason}") from error


def producer(servers: list[str], settings: KafkaSettings, name: str) -> KafkaProducer:
    """Idempotent, all copies in step. Raises ``LogUnavailable`` with what is wrong; so do the
    others."""
    return _connected(
        servers,
        settings,
        lambda: KafkaProducer(
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
        ),
    )


def consumer(servers: list[str], settings: KafkaSettings, name: str) -> KafkaConsumer:
    """Reads what it is assigned, from where it is told; commits nothing."""
    return _connected(
        servers,
        settings,
        lambda: KafkaConsumer(
            **options(servers, settings, name),
            metrics_enabled=False,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="none",
            fetch_max_wait_ms=FETCH_WAIT_MS,
            max_partition_fetch_bytes=MAX_RECORD_BYTES + 65_536,
            allow_auto_create_topics=False,
        ),
    )


def admin(servers: list[str], settings: KafkaSettings, name: str) -> KafkaAdminClient:
    """Makes and describes topics."""
    return _connected(
        servers, settings, lambda: KafkaAdminClient(**options(servers, settings, name))
    )


def _connected(servers: list[str], settings: KafkaSettings, make: Callable[[], T]) -> T:
    try:
        return make()
    except KafkaError as error:
        raise LogUnavailable(obstacle(servers, settings)) from error


def obstacle(servers: list[str], settings: KafkaSettings) -> str:
    """Why no client came about, by a look at the brokers: clients say that it took too long."""
    found = []
    reached = ""
    for server in servers:
        trouble = _try(server, settings)
        reached = reached or ("" if trouble else server)
        if trouble:
            found.append(trouble)
    if not reached:
        return "; ".join(found)
    if settings.security.startswith("SASL"):
        return (
            f"{reached} does not let {settings.sasl_user} in: see kafka.sasl_user,"
            " kafka.sasl_password_file and kafka.sasl_mechanism"
        )
    return f"{reached} takes connections but does not answer as a broker: is kafka.security right?"


def _try(server: str, settings: KafkaSettings) -> str:
    """Connect, with TLS if that is how; what goes wrong."""
    host, _, port = server.rpartition(":")
    host = host.strip("[]")
    try:
        with socket.create_connection((host, int(port)), LOOK_S) as plain:
            if settings.security in ("SSL", "SASL_SSL"):
                with _tls(settings).wrap_socket(plain, server_hostname=host) as secure:
                    secure.settimeout(OBJECTION_S)
                    with contextlib.suppress(TimeoutError):
                        secure.recv(1)
    except ssl.SSLCertVerificationError as error:
        return (
            f"the certificate of {server} is not accepted: {error.verify_message} (kafka.ca_file)"
        )
    except ssl.SSLError as error:
        return (
            f"TLS with {server} fails: {error.reason or error}; does it want a certificate of ours"
            " (kafka.certificate), or no TLS (kafka.security)?"
        )
    except OSError as error:
        return f"{server}: {error.strerror or error}"
    return ""


def _first_line(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").partition("\n")[0]
    except OSError as error:
        raise LogUnavailable(
            f"cannot read the password file {path or '(kafka.sasl_password_file is not set)'}:"
            f" {error.strerror}"
        ) from error
