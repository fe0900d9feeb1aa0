"""Settings of calls: the server as SIP sees it, its bounds, and the media service."""

from __future__ import annotations

from dataclasses import dataclass

from pbx.settings.forms import (
    ADDRESS,
    ADVERTISED,
    DIGEST,
    ENGINE,
    LINE,
    LISTENER,
    NETWORK,
    NG,
    NG_DEFAULT,
    NODE,
    NUMBER,
    URLS,
    ZONE,
    Listener,
    Network,
    key,
    networks,
)


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
        networks("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"),
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
