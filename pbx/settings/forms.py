"""What a setting accepts: a documented key, and the forms of richer values.

A key is declared with :func:`key`; what it accepts is its annotation (``int``, ``float``, ``bool``,
``str``) or, for anything richer, a *form*: a parser for one raw TOML value and the words that
describe it in an error. A tuple is a TOML list of the same form.
"""

from __future__ import annotations

import ipaddress
import re
import zoneinfo
from collections.abc import Callable
from dataclasses import field
from typing import Any, Final, NamedTuple

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

TRANSPORTS: Final = ("udp", "tcp", "tls")
NG_DEFAULT: Final = "127.0.0.1:22222"


class Form(NamedTuple):
    """How a text becomes a value. `parse` raises ``ValueError`` for a text that is not of it."""

    words: str
    parse: Callable[[str], Any]


class Key(NamedTuple):
    """What is known of one key besides name, type and default."""

    doc: str
    unit: str
    low: float | None
    high: float | None
    form: Form | None
    secret: bool = False
    """Holds a password: shown masked, or not at all where it is not even well-formed."""


def key(
    default: Any,
    doc: str,
    *,
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    form: Form | None = None,
    secret: bool = False,
) -> Any:
    """A documented key; `low` and `high` are inclusive."""
    return field(default=default, metadata={"key": Key(doc, unit, low, high, form, secret)})


class Listener(NamedTuple):
    """One socket that takes SIP: ``HOST:PORT/transport``, IPv6 hosts in brackets."""

    transport: str
    host: str
    """Numeric, without brackets."""
    port: int
    """0 lets the system choose; the server says which."""

    def __str__(self) -> str:
        return f"{host_port(self.host, self.port)}/{self.transport}"


def host_port(host: str, port: int) -> str:
    """``192.0.2.1:5060`` or ``[2001:db8::1]:5060``."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse_host_port(text: str, *, port_low: int = 0) -> tuple[str, int]:
    """The two parts of a numeric ``HOST:PORT``. Raises ``ValueError``."""
    host, colon, port_text = text.strip().rpartition(":")
    if not colon or not port_text.isascii() or not port_text.isdigit():
        raise ValueError(text)
    port = int(port_text)
    if not port_low <= port <= 65535:
        raise ValueError(text)
    bracketed = host.startswith("[") and host.endswith("]")
    address = ipaddress.ip_address(host[1:-1] if bracketed else host)
    if bracketed != (address.version == 6):
        raise ValueError(text)
    return str(address), port


def parse_listener(text: str) -> Listener:
    """A listener; the transport may be left out and is UDP then. Raises ``ValueError``."""
    place, _, transport = text.strip().partition("/")
    transport = transport.lower() or "udp"
    if transport not in TRANSPORTS:
        raise ValueError(text)
    return Listener(transport, *parse_host_port(place))


def parse_link(text: str) -> str:
    """``HOST:PORT`` or ``off``. Raises ``ValueError``."""
    return "off" if text.strip().lower() == "off" else host_port(*parse_host_port(text))


def parse_secret(text: str) -> str:
    """A secret long enough, or none. Raises ``ValueError``, which does not show it."""
    if text and len(text) < 16:
        raise ValueError("too short")
    return text


def parse_cli_listener(text: str) -> Listener:
    """A listener of the command protocol: ``HOST:PORT``, with ``/tls`` behind it for TLS.

    Raises ``ValueError``.
    """
    place, _, transport = text.strip().partition("/")
    known = {"": "cli", "cli": "cli", "tls": "clis", "clis": "clis"}.get(transport.lower())
    if known is None:
        raise ValueError(text)
    return Listener(known, *parse_host_port(place))


def parse_network(text: str) -> Network:
    """``10.0.0.0/8`` or one address. Raises ``ValueError``."""
    return ipaddress.ip_network(text.strip())


def parse_address(text: str) -> str:
    """One numeric address, IPv4 or IPv6 without brackets. Raises ``ValueError``."""
    return str(ipaddress.ip_address(text.strip()))


def parse_advertised(text: str) -> str:
    """A numeric address, or nothing."""
    return parse_address(text) if text.strip() else ""


def parse_engine(text: str) -> str:
    """``local``, ``off``, or ``ng:HOST:PORT`` of an rtpengine daemon. Raises ``ValueError``."""
    if text in ("local", "off"):
        return text
    prefix, _, place = text.partition(":")
    if prefix != "ng":
        raise ValueError(text)
    return f"ng:{host_port(*parse_host_port(place, port_low=1))}"


def parse_log_engine(text: str) -> str:
    """``embedded`` or ``kafka:HOST:PORT[,HOST:PORT…]``. Raises ``ValueError``."""
    if text == "embedded":
        return text
    prefix, _, places = text.partition(":")
    if prefix != "kafka":
        raise ValueError(text)
    for place in places.split(","):
        host, colon, port = place.strip().rpartition(":")
        if not (host and colon and port.isascii() and port.isdigit() and 0 < int(port) <= 65535):
            raise ValueError(text)
    return f"kafka:{','.join(place.strip() for place in places.split(','))}"


def kafka_servers(engine: str) -> list[str]:
    """The brokers named by ``eventlog.engine``; none if the log is embedded."""
    return engine.removeprefix("kafka:").split(",") if engine.startswith("kafka:") else []


def parse_topic_prefix(text: str) -> str:
    """The beginning of a Kafka topic's name, or nothing. Raises ``ValueError``."""
    if text and not (
        text.isascii()
        and text.replace("-", "").replace("_", "").replace(".", "a").isalnum()
        and len(text) <= 100
    ):
        raise ValueError(text)
    return text


def parse_ng(text: str) -> str:
    """``auto``, ``off`` or ``HOST:PORT``. Raises ``ValueError``."""
    if text in ("auto", "off"):
        return text
    return host_port(*parse_host_port(text))


def parse_place(text: str) -> str:
    """``off`` or ``HOST:PORT``. Raises ``ValueError``."""
    return text if text == "off" else host_port(*parse_host_port(text))


def parse_line(text: str) -> str:
    """A text that may stand in a header field: no control characters, so no line ends."""
    if not text.isprintable():
        raise ValueError(text)
    return text


def parse_node(text: str) -> str:
    """A node's name: it is part of a stream's name and of identifiers."""
    if not text.isascii() or not text.replace("-", "").replace(".", "").isalnum():
        raise ValueError(text)
    return text


_DATABASE_URL: Final = re.compile(r"postgresql(?:\+psycopg)?://(?P<rest>[^\s]+)", re.ASCII)
_PASSWORD: Final = re.compile(r"(?P<before>//[^:@/?]*:).*(?=@)|(?P<key>[?&]password=)[^&]*")


def parse_database(text: str) -> str:
    """The URL of a PostgreSQL database, or nothing. Raises ``ValueError``."""
    text = text.strip()
    if not text:
        return ""
    match = _DATABASE_URL.fullmatch(text)
    if match is None:
        raise ValueError("not the URL of a PostgreSQL database")  # it may hold a password
    return f"postgresql+psycopg://{match['rest']}"


def without_password(url: str) -> str:
    """A secret setting as it may be shown: a URL without its password, else nothing of it."""
    if "://" not in url:
        return "***" if url else ""
    return _PASSWORD.sub(lambda match: f"{match['before'] or match['key']}***", url)


def parse_zone(text: str) -> str:
    """A time zone of the IANA data base. Raises ``ValueError``."""
    try:
        return zoneinfo.ZoneInfo(text).key
    except (zoneinfo.ZoneInfoNotFoundError, OSError) as error:
        raise ValueError(text) from error


def parse_number(text: str) -> str:
    """A number as it is dialled. Raises ``ValueError``."""
    if not text.isascii() or not text.isalnum():
        raise ValueError(text)
    return text


def one_of(*choices: str) -> Form:
    """Takes one of these words and nothing else."""

    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(text)
        return text

    return Form(" or ".join(f'"{choice}"' for choice in choices), parse)


LISTENER: Final = Form('"HOST:PORT/udp", "HOST:PORT/tcp" or "HOST:PORT/tls"', parse_listener)
CLI_LISTENER: Final = Form('"HOST:PORT" or "HOST:PORT/tls"', parse_cli_listener)
NETWORK: Final = Form('a network such as "10.0.0.0/8" or one address', parse_network)
ADDRESS: Final = Form('a numeric address such as "192.0.2.1" or "2001:db8::1"', parse_address)
ADVERTISED: Final = Form("a numeric address or an empty text", parse_advertised)
ENGINE: Final = Form('"local", "ng:HOST:PORT" or "off"', parse_engine)
LINE: Final = Form("a text of one line", parse_line)
LINK: Final = Form('"off" or HOST:PORT with a numeric host', parse_link)
SECRET: Final = Form("16 characters or more", parse_secret)
NODE: Final = Form("a name of ASCII letters, digits, hyphens and points", parse_node)
LOG_ENGINE: Final = Form('"embedded" or "kafka:HOST:PORT[,HOST:PORT…]"', parse_log_engine)
TOPIC_PREFIX: Final = Form(
    "ASCII letters, digits, points, hyphens, underscores", parse_topic_prefix
)
DIGEST: Final = one_of("SHA-256", "MD5")
DATABASE: Final = Form('"postgresql://USER@HOST/DATABASE" or an empty text', parse_database)
PLACE: Final = Form('"HOST:PORT" or "off"', parse_place)
ZONE: Final = Form('a time zone such as "Europe/Moscow" or "UTC"', parse_zone)
NUMBER: Final = Form('a number such as "112"', parse_number)
URLS: Final = one_of("off", "public", "any")
NG: Final = Form('"auto", "off" or "HOST:PORT"', parse_ng)


def networks(*texts: str) -> tuple[Network, ...]:
    """A default written as texts."""
    return tuple(ipaddress.ip_network(text) for text in texts)
