"""What the settings of an account say about its mail: read from the log when asked, kept level."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Final, NamedTuple

from pbx.domain.accounts import account_stream, domain_stream
from pbx.domain.configuration import (
    ACCOUNT_DEFAULTS,
    NO_CONFIGURATION,
    SERVER,
    SERVER_CONFIGURATION,
    SETTINGS,
    Configuration,
    evolve_configuration,
)
from pbx.domain.mailboxes import MAX_MAILBOXES
from pbx.eventlog import EventLog
from pbx.objects.effective import account_setting

KEPT: Final = 1000
"""Objects remembered; a look at one that is costs a search of the log's index."""
_MASTER: Final = "Master"


class MailLimits(NamedTuple):
    """Of one account; -1: none."""

    max_bytes: int
    """Of all its messages (MaxAccountSize)."""
    max_message_bytes: int
    """Of one that comes (MaxMessageSize)."""
    max_mailboxes: int


class MailSettings:
    """See the module. For one thread."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._kept: OrderedDict[str, tuple[int, Configuration]] = OrderedDict()

    def exists(self, account: str) -> bool:
        """Whether there is an account ``name@domain``."""
        return self._account(account).exists

    def is_master(self, account: str) -> bool:
        """Whether it may do everything on this server."""
        return _MASTER in self._account(account).rights

    def limits(self, account: str) -> MailLimits:
        """As of now."""
        own = self._account(account).section(SETTINGS)
        domain = self._state(domain_stream(account.rpartition("@")[2]), NO_CONFIGURATION)
        server = self._state(SERVER, SERVER_CONFIGURATION)
        levels = own, domain.section(ACCOUNT_DEFAULTS), server.section(ACCOUNT_DEFAULTS)

        def number(name: str) -> int:
            value: Any = account_setting(name, *levels)
            return value if isinstance(value, int) else -1

        mailboxes = number("MaxMailboxes")
        return MailLimits(
            number("MaxAccountSize"),
            number("MaxMessageSize"),
            MAX_MAILBOXES if mailboxes < 0 else min(mailboxes, MAX_MAILBOXES),
        )

    def _account(self, account: str) -> Configuration:
        name, _, domain = account.rpartition("@")
        return self._state(account_stream(name, domain), NO_CONFIGURATION)

    def _state(self, stream: str, initial: Configuration) -> Configuration:
        version, state = self._kept.pop(stream, (0, initial))
        for record in self._log.read_stream(stream, after_version=version):
            version, state = record.version, evolve_configuration(state, record.event)
        self._kept[stream] = version, state
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return state
