"""Settings of what is kept: event log and cluster, tables, call records, the operator's log."""

from __future__ import annotations

from dataclasses import dataclass

from pbx.settings.forms import DATABASE, LINK, LOG_ENGINE, SECRET, TOPIC_PREFIX, key, one_of


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
        form=one_of("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"),
    )
    ca_file: str = key("", "PEM file of the authorities that brokers' certificates are checked by.")
    certificate: str = key("", "PEM file with this client's certificate, if brokers ask for one.")
    key_file: str = key("", "PEM file with its private key.")
    sasl_mechanism: str = key(
        "SCRAM-SHA-512",
        "How to log in where `security` is SASL.",
        form=one_of("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"),
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

    level: str = key("info", "How much is said.", form=one_of("debug", "info", "warning", "error"))
    format: str = key(
        "text", "One line of text or of JSON per record.", form=one_of("text", "json")
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
