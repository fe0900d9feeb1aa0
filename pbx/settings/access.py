"""Settings of ways in and out beside SIP: commands, the API, webhooks."""

from __future__ import annotations

from dataclasses import dataclass

from pbx.settings.forms import CLI_LISTENER, PLACE, Listener, key


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
    program_requests_a_minute: int = key(
        30,
        "Requests of one source address to web programs (/sys/NAME.wcgp), which need no token. "
        "0 switches web programs off.",
        low=0,
        high=100_000,
    )
    program_calls_a_minute: int = key(
        6,
        "Tasks that web programs start, and so calls, from all addresses; one address gets a "
        "third. 0: none.",
        low=0,
        high=10_000,
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
