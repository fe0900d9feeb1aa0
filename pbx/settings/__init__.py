"""Every setting of a server: name, unit, default, accepted form.

Fed by ``pbx.settings_source`` (TOML file, environment, command line), loaded once by the
composition root, which hands sections down; nothing looks a setting up by name later. The
sections are declared in ``telephony``, ``records`` and ``access`` and are the reference that
``pbx settings`` prints; ``forms`` has what a key accepts.
"""

from pbx.settings.access import CliSettings, WebhookSettings, WebSettings
from pbx.settings.forms import (
    CLI_LISTENER,
    LISTENER,
    NG,
    NG_DEFAULT,
    PLACE,
    Form,
    Key,
    Listener,
    host_port,
    kafka_servers,
    parse_cli_listener,
    parse_database,
    parse_engine,
    parse_host_port,
    parse_listener,
    parse_log_engine,
    parse_ng,
    parse_place,
    parse_topic_prefix,
    without_password,
)
from pbx.settings.records import (
    CdrSettings,
    ClusterSettings,
    EventLogSettings,
    KafkaSettings,
    LogSettings,
    PrivacySettings,
    ReadModelSettings,
)
from pbx.settings.settings import Settings
from pbx.settings.telephony import (
    HelperSettings,
    LimitSettings,
    MediaSettings,
    ServerSettings,
    SipSettings,
)

__all__ = [
    "CLI_LISTENER",
    "LISTENER",
    "NG",
    "NG_DEFAULT",
    "PLACE",
    "CdrSettings",
    "CliSettings",
    "ClusterSettings",
    "EventLogSettings",
    "Form",
    "HelperSettings",
    "KafkaSettings",
    "Key",
    "LimitSettings",
    "Listener",
    "LogSettings",
    "MediaSettings",
    "PrivacySettings",
    "ReadModelSettings",
    "ServerSettings",
    "Settings",
    "SipSettings",
    "WebSettings",
    "WebhookSettings",
    "host_port",
    "kafka_servers",
    "parse_cli_listener",
    "parse_database",
    "parse_engine",
    "parse_host_port",
    "parse_listener",
    "parse_log_engine",
    "parse_ng",
    "parse_place",
    "parse_topic_prefix",
    "without_password",
]
