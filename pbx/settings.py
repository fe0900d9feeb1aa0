"""Every setting of a server: name, unit, default, accepted form.

Fed by ``pbx.settings_source`` (TOML file, environment, command line), loaded once by the
composition root, which hands sections down; nothing looks a setting up by name later. The classes
below are the reference that ``pbx settings`` prints.

A key is declared with :func:`key`; what it accepts is its annotation (``int``, ``float``, ``bool``,
``str``) or, for anything richer, a *form*: a parser for one raw TOML value and the words that
describe it in an error. A tuple is a TOML list of the same form.

One file, over 600 lines: it is the reference of all settings, and holds nothing but declarations
and the forms they use.
"""

from __future__ import annotations

import ipaddress
import re
import zoneinfo
from collections.abc import Callable
from dataclasses import dataclass, field
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


# ---------------------------------------------------------------------------------------- forms


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


def _one_of(*choices: str) -> Form:
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
DIGEST: Final = _one_of("SHA-256", "MD5")
DATABASE: Final = Form('"postgresql://USER@HOST/DATABASE" or an empty text', parse_database)
PLACE: Final = Form('"HOST:PORT" or "off"', parse_place)
ZONE: Final = Form('a time zone such as "Europe/Moscow" or "UTC"', parse_zone)
NUMBER: Final = Form('a number such as "112"', parse_number)
URLS: Final = _one_of("off", "public", "any")
NG: Final = Form('"auto", "off" or "HOST:PORT"', parse_ng)


def _networks(*texts: str) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)


# ------------------------------------------------------------------------------------- sections


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """The server as a whole."""

    data: str = key(
        "",
        "Data directory: log, read model, recordings, CDR files, keys. Empty: /var/lib/ringlog for "
        "root, else $XDG_DATA_HOME/ringlog (~/.local/share/ringlog).",
    )
    node: str = key(
        "ringlog",
        "Name of this node; the log names the origin of every event by it. Each node of a cluster "
        "needs its own.",
        form=NODE,
    )
    advertised: str = key(
        "",
        "Address that phones reach this server at, where it is not the one it listens on (a NAT "
        "in front of it). Empty: the listener's own address.",
        form=ADVERTISED,
    )
    time_zone: str = key(
        "UTC",
        "Zone in which times of rules are meant for accounts that have none of their own.",
        form=ZONE,
    )
    stop_s: float = key(
        15.0,
        "How long an orderly stop may take, calls being ended and the log written, before what is "
        "left is killed.",
        unit="s",
        low=0.1,
        high=3600,
    )


@dataclass(frozen=True, slots=True)
class SipSettings:
    """SIP listeners, timers and who is trusted."""

    listen: tuple[Listener, ...] = key(
        (Listener("udp", "0.0.0.0", 5060), Listener("tcp", "0.0.0.0", 5060)),
        "Sockets that take SIP. Port 0 lets the system choose; the server prints which.",
        form=LISTENER,
    )
    tls_certificate: str = key(
        "",
        "PEM file with the certificate chain of the TLS listeners, shown to servers that we call, "
        "too. Empty: DATA/tls/self-signed.crt, made at the first start.",
    )
    tls_key: str = key(
        "",
        "PEM file with its private key. Empty: in the file of the certificate, or "
        "DATA/tls/self-signed.key.",
    )
    tls_ca_file: str = key(
        "",
        "PEM file with the authorities that servers we call over TLS are verified against, instead "
        "of those of the system.",
    )
    tls_verify: bool = key(
        True,
        "Verify the certificates of servers that we call over TLS: chain, and name (RFC 5922). "
        "Off: a connection is encrypted, but nobody knows to whom.",
    )
    user_agent: str = key("Ringlog", "What we call ourselves in User-Agent and Server.", form=LINE)
    client_ips: tuple[Network, ...] = key(
        (),
        "Trusted sources: they call without credentials, other servers through us as well. Empty: "
        "nobody does.",
        form=NETWORK,
    )
    nat_networks: tuple[Network, ...] = key(
        _networks("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"),
        "Private ranges used behind remote NATs. A phone whose own address lies in them while its "
        "packets come from elsewhere is answered where the packets come from.",
        form=NETWORK,
    )
    outside_calls: bool = key(
        False,
        "Take calls to our accounts from strangers without credentials. Off: they are challenged "
        "like everybody else, so that nobody learns which accounts exist.",
    )
    t1_s: float = key(
        0.5,
        "Timer T1: estimate of a round trip (RFC 3261 §17.1.1.1).",
        unit="s",
        low=0.01,
        high=10,
    )
    t2_s: float = key(
        4.0, "Timer T2: longest interval between retransmissions.", unit="s", low=0.1, high=60
    )
    t4_s: float = key(
        5.0, "Timer T4: longest life of a message in the network.", unit="s", low=0.1, high=60
    )
    udp_mtu_bytes: int = key(
        1300,
        "Requests larger than this go over TCP if the target takes it (RFC 3261 §18.1.1).",
        unit="bytes",
        low=576,
        high=65_000,
    )
    session_expires_s: int = key(
        1800,
        "Session timer we ask for (RFC 4028): a leg that is not refreshed in time is ended.",
        unit="s",
        low=90,
        high=86_400,
    )
    min_se_s: int = key(
        90, "Shortest session timer we accept (RFC 4028 §4).", unit="s", low=90, high=86_400
    )
    no_answer_s: float = key(
        180.0,
        "How long a callee may ring; Expires of the INVITE may shorten it.",
        unit="s",
        low=1,
        high=3600,
    )
    register_expires_s: int = key(
        3600,
        "Life of a binding whose REGISTER does not ask for one.",
        unit="s",
        low=60,
        high=86_400,
    )
    register_min_s: int = key(
        60, "Shortest life of a binding; less is answered 423.", unit="s", low=1, high=3600
    )
    register_max_s: int = key(
        86_400, "Longest life of a binding; more is shortened.", unit="s", low=60, high=604_800
    )
    subscribe_max_s: int = key(
        3600,
        "Longest life of a subscription (lamps, waiting messages); more is shortened. After a "
        "crash a phone shows old states for so long at most.",
        unit="s",
        low=60,
        high=86_400,
    )
    digest_algorithms: tuple[str, ...] = key(
        ("MD5",),
        "Digest algorithms offered to phones, strongest first (RFC 8760). Many phones fail when "
        "they are offered one that they do not know, even beside MD5: add SHA-256 where all of "
        "yours take it.",
        form=DIGEST,
    )
    nonce_life_s: float = key(
        120.0,
        "Life of a digest nonce; after it the phone gets a new one with stale=true.",
        unit="s",
        low=10,
        high=3600,
    )
    enum_zones: tuple[str, ...] = key(
        (),
        "Zones in which telephone numbers that nobody here has are looked up (ENUM), such as "
        '"e164.arpa"; empty: none. A number is told to whoever runs the zone.',
        form=LINE,
    )


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """Bounds that keep the server up when somebody asks too much of it."""

    calls_total: int = key(
        5000, "Calls at once on this node; more get 503 with Retry-After.", low=1, high=1_000_000
    )
    calls_per_account: int = key(
        -1,
        "Calls at once of an account that has no limit of its own; -1: no limit.",
        low=-1,
        high=1_000_000,
    )
    emergency_numbers: tuple[str, ...] = key(
        ("112", "911"),
        "Dialled numbers that no limit and no rule stops, and that rules send no calls to.",
        form=NUMBER,
    )
    rule_urls: str = key(
        "public",
        'Which URLs rules may fetch: those on the Internet ("public"), within your networks too '
        '("any"), or none ("off"). Users write rules: "any" lets them reach what you reach.',
        form=URLS,
    )
    setups_per_s: float = key(
        0.0, "New calls per second above which 503 is answered; 0: no limit.", unit="1/s", low=0
    )
    registrations: int = key(
        100_000, "Bindings of all accounts together; more get 503.", low=1, high=10_000_000
    )
    contacts_per_account: int = key(
        10, "Bindings of an account that has no limit of its own.", low=1, high=1000
    )
    cached_names: int = key(
        50_000,
        "Names kept in memory by the signal role, 2 KB each; others are looked up in a file.",
        low=100,
        high=10_000_000,
    )
    subscriptions: int = key(
        20_000, "Subscriptions of all accounts together; more get 503.", low=0, high=1_000_000
    )
    subscriptions_per_account: int = key(
        500, "Subscriptions of one account over all its phones; more get 403.", low=0, high=100_000
    )
    requests_per_s: float = key(
        200.0,
        "Requests per second of one source address without credentials; more are dropped.",
        unit="1/s",
        low=0.1,
    )
    requests_burst: int = key(
        400, "How many of them may come at once.", unit="requests", low=1, high=1_000_000
    )
    connections: int = key(
        10_000, "TCP and TLS connections together; more are closed at once.", low=1, high=1_000_000
    )
    connections_per_source: int = key(
        200, "Connections from one source address.", low=1, high=1_000_000
    )
    first_message_s: float = key(
        10.0,
        "Time a new connection has for its first complete message or keep-alive.",
        unit="s",
        low=0.1,
        high=3600,
    )
    message_s: float = key(
        10.0,
        "Time any later message on a connection may take from its first byte to its last.",
        unit="s",
        low=0.1,
        high=3600,
    )
    idle_s: float = key(
        3900.0,
        "Life of a connection over which nothing complete comes: longer than a registration, for "
        "phones that send no keep-alives.",
        unit="s",
        low=1,
        high=1_000_000,
    )
    tls_handshake_s: float = key(
        5.0, "Time a TLS handshake may take, either way.", unit="s", low=0.1, high=60
    )
    failed_logins: int = key(
        10,
        "Wrong answers to a challenge within `failed_logins_s` that lock a source or account.",
        low=1,
        high=100_000,
    )
    failed_logins_s: float = key(60.0, "Window of `failed_logins`.", unit="s", low=1, high=86_400)
    lock_s: float = key(
        300.0, "How long a locked source or account stays locked.", unit="s", low=1, high=86_400
    )


@dataclass(frozen=True, slots=True)
class HelperSettings:
    """An external program that is asked about unknown names and about passwords."""

    program: tuple[str, ...] = key(
        (),
        "Command with its arguments, started beside the server with DATA as its current directory. "
        "Empty: none. Domains say whether it is asked about names (ExternalOnUnknown), accounts "
        "whether about their passwords (UseExtPassword).",
        form=LINE,
    )
    timeout_s: float = key(
        5.0,
        "How long an answer may take; then the program is stopped and started again.",
        unit="s",
        low=0.1,
        high=60,
    )
    restart_s: float = key(5.0, "Wait before it is started again.", unit="s", low=0.1, high=3600)


@dataclass(frozen=True, slots=True)
class MediaSettings:
    """The media service, or the rtpengine daemon in its place."""

    engine: str = key(
        "local",
        '"local" runs our own media service; "ng:HOST:PORT" uses an rtpengine daemon that takes '
        'the NG protocol there; with "off" phones send media to each other directly.',
        form=ENGINE,
    )
    addresses: tuple[str, ...] = key(
        (),
        "Local addresses that media uses. Empty: those of the SIP listeners, or, where they listen "
        "on all, the addresses this machine reaches the network with.",
        form=ADDRESS,
    )
    advertised: str = key(
        "",
        "Address written into session descriptions in place of the local one (a NAT in front of "
        "the server). Empty: server.advertised, else the local one.",
        form=ADVERTISED,
    )
    port_min: int = key(10_000, "First port for media.", low=1024, high=65_534)
    port_max: int = key(20_000, "Last port for media.", low=1025, high=65_535)
    timeout_s: float = key(
        60.0,
        "A call in which no side sends media for so long is ended.",
        unit="s",
        low=1,
        high=86_400,
    )
    hold_timeout_s: float = key(
        1800.0, "The same while the call is on hold.", unit="s", low=1, high=86_400
    )
    ng: str = key(
        "auto",
        "Where our media service takes the NG protocol from foreign clients: HOST:PORT; "
        f'"off"; or "auto": {NG_DEFAULT} if nobody has it.',
        form=NG,
    )


@dataclass(frozen=True, slots=True)
class EventLogSettings:
    """The event log of this node."""

    engine: str = key(
        "embedded",
        '"embedded" keeps the log on this machine alone; "kafka:HOST:PORT,…" makes this node one '
        "of a cluster whose log is on Kafka (docs/kafka.md). There is no way back for a log.",
        form=LOG_ENGINE,
    )
    commit_ms: float = key(
        10.0,
        "How long facts from the wire may wait to be committed together.",
        unit="ms",
        low=0.1,
        high=1000,
    )
    backlog: int = key(
        20_000,
        "Facts that may wait while the log takes nothing (full disk); new work is refused as soon "
        "as it fails. Above it statistics are dropped; what calls do is dropped only above ten "
        "times as many. An event takes 500 bytes: 20000 are 10 MB, at worst 100 MB.",
        unit="events",
        low=1000,
        high=10_000_000,
    )


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """The other nodes that share the log of this one."""

    link: str = key(
        "off",
        "Where other nodes connect to reach the phones whose flow ends here: HOST:PORT on a "
        'network of the nodes, never on the Internet; "off": this node stands alone. Port 0 picks '
        "one; the log tells the others.",
        form=LINK,
    )
    secret: str = key(
        "",
        "What the nodes of a cluster have in common and nobody else: 16 characters or more, the "
        "same on all. Better in the environment than in a file that many read.",
        form=SECRET,
        secret=True,
    )


@dataclass(frozen=True, slots=True)
class ReadModelSettings:
    """The tables that listings and pages read, derived from the log."""

    url: str = key(
        "",
        "PostgreSQL database that holds the tables, shared by the nodes of a cluster: "
        "postgresql://USER@HOST/DATABASE. Give the password by ~/.pgpass or PGPASSWORD rather "
        "than here. Empty: the file DATA/readmodel.sqlite3.",
        form=DATABASE,
        secret=True,
    )


@dataclass(frozen=True, slots=True)
class PrivacySettings:
    """What the log tells of persons, and whom."""

    seal_calls: bool = key(
        False,
        "Encrypt in the log who calls whom and from where, with a key of each account: without "
        "the keys neither the log nor a copy of it tells, and `pbx erase` makes it unreadable "
        "for ever. Call records show it to whoever may read them. Holds for what is written from "
        "then on.",
    )
    menu_choices: bool = key(
        True,
        "Write into the log which single digit a caller chose at a prompt of a program. Digits of "
        "anything longer, and at prompts that ask for a PIN, are never written.",
    )
    keys: str = key(
        "",
        "Where sealing keys are kept: postgresql://… for nodes that share a log; empty: "
        "DATA/keys.sqlite3, or where `pbx keys move` put them.",
        secret=True,
    )


@dataclass(frozen=True, slots=True)
class KafkaSettings:
    """The cluster's log on Kafka; used if ``eventlog.engine`` names brokers."""

    prefix: str = key(
        "",
        "Put before the names of all topics (pbx.calls …), where several clusters share Kafka.",
        form=TOPIC_PREFIX,
    )
    partitions: int = key(
        6,
        "Partitions of each topic but pbx.config, which has one. Chosen for ever when the topics "
        "are made: it decides where a stream lies.",
        low=1,
        high=1000,
    )
    replication: int = key(
        0, "Copies of each partition; 0: three, or as many as there are brokers.", low=0, high=10
    )
    min_insync: int = key(
        0,
        "Copies that must have a record before it counts; 0: replication less one.",
        low=0,
        high=9,
    )
    calls_days: int = key(
        0,
        "How long Kafka keeps pbx.calls, pbx.applications, pbx.nodes and pbx.cdrs; 0: for ever. "
        "Nodes keep their own copies whatever this says.",
        unit="days",
        low=0,
        high=100_000,
    )
    messages_days: int = key(
        0,
        "How long Kafka keeps pbx.messages; 0: for ever, which a new node needs to know the "
        "mailboxes.",
        unit="days",
        low=0,
        high=100_000,
    )
    security: str = key(
        "PLAINTEXT",
        "How to speak with the brokers.",
        form=_one_of("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"),
    )
    ca_file: str = key("", "PEM file of the authorities that brokers' certificates are checked by.")
    certificate: str = key("", "PEM file with this client's certificate, if brokers ask for one.")
    key_file: str = key("", "PEM file with its private key.")
    sasl_mechanism: str = key(
        "SCRAM-SHA-512",
        "How to log in where `security` is SASL.",
        form=_one_of("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"),
    )
    sasl_user: str = key("", "Who logs in.")
    sasl_password_file: str = key("", "File whose first line is the password.")
    decide_s: float = key(
        5.0,
        "How long a decision (an account, a binding) may wait for Kafka before it is refused.",
        unit="s",
        low=0.1,
        high=600,
    )
    unknown_s: float = key(
        30.0,
        "How long one that was sent may wait for its outcome before its caller is told that the "
        "outcome is unknown.",
        unit="s",
        low=1,
        high=3600,
    )
    backlog_alarm: int = key(
        10_000,
        "Events that Kafka has not got yet above which a warning is logged. They wait on this "
        "node's disk, 500 bytes each, whatever their number.",
        unit="events",
        low=1,
        high=1_000_000_000,
    )


@dataclass(frozen=True, slots=True)
class LogSettings:
    """The operator's log on standard error."""

    level: str = key("info", "How much is said.", form=_one_of("debug", "info", "warning", "error"))
    format: str = key(
        "text", "One line of text or of JSON per record.", form=_one_of("text", "json")
    )
    sip_trace: bool = key(
        False, "Log every SIP message, credentials masked. For hunting a fault, not for every day."
    )


@dataclass(frozen=True, slots=True)
class CdrSettings:
    """Call detail records."""

    text_files: bool = key(
        True,
        "Write DATA/CDRs/YYYY-MM-DD.cdr besides the table. Nodes that fill one database from one "
        "log have no one order of records: they write none, whatever this says.",
    )
    feed: bool = key(
        True,
        "Write each call record to the log as an event, too, for feeds, webhooks and the topic "
        "pbx.cdrs of Kafka. When it is switched on, records of the past follow.",
    )


@dataclass(frozen=True, slots=True)
class CliSettings:
    """The command protocol for administrators and their scripts."""

    enabled: bool = key(True, "Take commands. Off: the admin role is not started.")
    listen: tuple[Listener, ...] = key(
        (),
        "Sockets that take commands. Empty: 127.0.0.1:106, if it is free and this user may open "
        "it. Passwords travel in clear without /tls, so name a public address with care.",
        form=CLI_LISTENER,
    )
    connections: int = key(
        200, "Connections together; more are closed with a word.", low=1, high=10_000
    )
    connections_per_source: int = key(
        20, "Connections from one source address.", low=1, high=10_000
    )
    line_bytes: int = key(
        16 * 1024 * 1024,
        "Longest command after a login: files of applications are sent in one.",
        unit="bytes",
        low=65_536,
        high=1024**3,
    )


@dataclass(frozen=True, slots=True)
class WebSettings:
    """The API: event feeds, schemas, administration over HTTP."""

    admin_listen: str = key(
        "127.0.0.1:8010",
        "Where the API listens; port 0 lets the system choose. Every request needs a token "
        "(pbx token create). An address that others can reach is opened only once there is one.",
        form=PLACE,
    )
    admin_tls_listen: str = key(
        "off",
        "The same with TLS; its usual port is 9010. Use it where others listen in.",
        form=PLACE,
    )
    tls_certificate: str = key(
        "",
        "PEM file with the certificate chain of the TLS listener. Empty: that of sip, else a "
        "self-signed one in DATA/tls.",
    )
    tls_key: str = key("", "PEM file with its private key. Empty: in the file of the certificate.")
    connections: int = key(
        500, "Connections at once; more are closed at once.", low=1, high=100_000
    )
    connections_per_source: int = key(
        200, "Connections from one source address.", low=1, high=100_000
    )
    feeds: int = key(
        200,
        "Readers that follow events at once (server-sent events, WebSocket); more get 503.",
        low=1,
        high=100_000,
    )
    request_s: float = key(
        10.0, "Time a request may take to arrive, headers and body.", unit="s", low=0.1, high=3600
    )
    idle_s: float = key(
        60.0, "Life of a connection without a request.", unit="s", low=1, high=86_400
    )
    stall_s: float = key(
        30.0,
        "A reader that takes nothing for so long, or acknowledges nothing, is dropped; it may come "
        "back and go on where it was.",
        unit="s",
        low=1,
        high=3600,
    )
    heartbeat_s: float = key(
        15.0, "How often a feed without events says that it lives.", unit="s", low=0.1, high=600
    )
    body_bytes: int = key(
        1_048_576, "Largest body of a request.", unit="bytes", low=1024, high=1_073_741_824
    )


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    """Deliveries of events to URLs of others; they run beside the projections."""

    deliver: bool = key(
        True,
        "This node delivers. Nodes that share their tables (readmodel.url) share the webhooks out; "
        "of nodes that share a log and have tables of their own one should deliver, since two "
        "deliver everything twice.",
    )
    timeout_s: float = key(
        10.0, "Time a receiver has to answer a delivery.", unit="s", low=0.1, high=300
    )
    retry_first_s: float = key(
        5.0, "Pause after the first failure; doubled each time.", unit="s", low=0.01, high=3600
    )
    retry_longest_s: float = key(3600.0, "Longest pause.", unit="s", low=0.01, high=86_400)
    give_up_s: float = key(
        432_000.0,
        "A webhook of which nothing could be delivered for so long is paused: pbx webhook status "
        "says why, pbx webhook resume goes on. Nothing is lost meanwhile.",
        unit="s",
        low=1,
        high=31_536_000,
    )
    most: int = key(
        100, "Webhooks at once: each has a connection and 1 MB at worst.", low=1, high=10_000
    )


@dataclass(frozen=True, slots=True)
class Settings:
    """All sections; ``[name]`` in the file."""

    server: ServerSettings = field(default_factory=ServerSettings)
    sip: SipSettings = field(default_factory=SipSettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
    helper: HelperSettings = field(default_factory=HelperSettings)
    media: MediaSettings = field(default_factory=MediaSettings)
    eventlog: EventLogSettings = field(default_factory=EventLogSettings)
    cluster: ClusterSettings = field(default_factory=ClusterSettings)
    readmodel: ReadModelSettings = field(default_factory=ReadModelSettings)
    privacy: PrivacySettings = field(default_factory=PrivacySettings)
    kafka: KafkaSettings = field(default_factory=KafkaSettings)
    log: LogSettings = field(default_factory=LogSettings)
    cdr: CdrSettings = field(default_factory=CdrSettings)
    cli: CliSettings = field(default_factory=CliSettings)
    web: WebSettings = field(default_factory=WebSettings)
    webhooks: WebhookSettings = field(default_factory=WebhookSettings)
