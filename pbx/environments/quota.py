"""The limits of an account's file storage: ``MaxWebSize``, ``MaxWebFiles``, ``MaxFileSize``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pbx.domain import configuration as conf
from pbx.domain.storage import StorageLimits
from pbx.eventlog import EventLog
from pbx.objects import effective
from pbx.settings_changes import THE_SERVER, Target, read

KEYS: Final = ("MaxWebSize", "MaxWebFiles", "MaxFileSize")


def limits_from(setting: Callable[[str], object]) -> StorageLimits:
    """From the effective settings of an account; -1 is no limit."""
    values = [setting(key) for key in KEYS]
    found = [value if isinstance(value, int) and value >= 0 else None for value in values]
    return StorageLimits(*found)


def limits_in_log(log: EventLog) -> Callable[[str], StorageLimits]:
    """Reads the settings of the account, its domain and the server each time."""

    def limits_of(account: str) -> StorageLimits:
        own = read(log, Target("account", account))[0].section(conf.SETTINGS)
        domain = read(log, Target("domain", account.rpartition("@")[2]))[0]
        server = read(log, THE_SERVER)[0]
        levels = (
            domain.section(conf.ACCOUNT_DEFAULTS),
            server.section(conf.ACCOUNT_DEFAULTS),
        )
        return limits_from(lambda key: effective.account_setting(key, own, *levels))

    return limits_of
