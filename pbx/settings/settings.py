"""All sections together: what the composition root loads once and hands down in parts."""

from __future__ import annotations

from dataclasses import dataclass, field

from pbx.settings.access import CliSettings, WebhookSettings, WebSettings
from pbx.settings.records import (
    CdrSettings,
    ClusterSettings,
    EventLogSettings,
    KafkaSettings,
    LogSettings,
    PrivacySettings,
    ReadModelSettings,
)
from pbx.settings.telephony import (
    HelperSettings,
    LimitSettings,
    MediaSettings,
    ServerSettings,
    SipSettings,
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
