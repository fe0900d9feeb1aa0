"""Settings and preferences of accounts as programs see them: effective values, read when asked for.

The configuration of one object is folded from its stream of the log and kept until that stream
changes. Implements :class:`~pbx.voice.services.Preferences`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Final

from pbx.data import Value
from pbx.domain import configuration as conf
from pbx.domain.configuration import Configuration
from pbx.eventlog import Record
from pbx.objects import effective

MAX_KEPT: Final = 1000
"""Configurations in memory: accounts whose programs run, not all accounts."""


class ConfigurationBook:
    """See the module. `read_stream` reads a stream of the log, opening what is sealed."""

    def __init__(self, read_stream: Callable[[str], Iterable[Record]]) -> None:
        self._read_stream = read_stream
        self._kept: OrderedDict[str, Configuration] = OrderedDict()

    def changed(self, stream: str) -> None:
        """Something was appended to a stream."""
        self._kept.pop(stream, None)

    def of(self, stream: str) -> Configuration:
        """The configuration of ``account/…``, ``domain/…`` or ``server``."""
        known = self._kept.get(stream)
        if known is not None:
            self._kept.move_to_end(stream)
            return known
        state = conf.SERVER_CONFIGURATION if stream == conf.SERVER else conf.NO_CONFIGURATION
        for record in self._read_stream(stream):
            state = conf.evolve_configuration(state, record.event)
        self._kept[stream] = state
        while len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)
        return state

    def exists(self, account: str) -> bool:
        """Whether there is such an account."""
        return self.of(f"account/{account}").exists

    def settings(self, account: str) -> dict[str, Value]:
        """Effective settings of an account."""
        domain, server = self._levels(account)
        return effective.account_settings(
            self.of(f"account/{account}").section(conf.SETTINGS),
            domain.section(conf.ACCOUNT_DEFAULTS),
            server.section(conf.ACCOUNT_DEFAULTS),
        )

    def preferences(self, account: str) -> dict[str, Value]:
        """Effective preferences of an account."""
        domain, server = self._levels(account)
        return effective.preferences(
            self.of(f"account/{account}").section(conf.PREFS),
            domain.section(conf.PREFS),
            server.section(conf.PREFS),
        )

    def rights(self, account: str) -> frozenset[str]:
        """What an account may administrate."""
        return frozenset(self.of(f"account/{account}").rights)

    def _levels(self, account: str) -> tuple[Configuration, Configuration]:
        domain = account.partition("@")[2]
        return self.of(f"domain/{domain}"), self.of(conf.SERVER)

    def real_name(self, account: str) -> str:
        """An account's own name; empty if it has none."""
        name = self.of(f"account/{account}").section(conf.SETTINGS).get("RealName")
        return name if isinstance(name, str) else ""

    def language_of(self, account: str | None) -> str | None:
        """See the port: None is the language of the files themselves, English."""
        value = self.preferences(account).get("Language") if account else None
        if not isinstance(value, str) or value.lower() in ("", "default", "english"):
            return None
        return value.lower()

    def zone_of(self, account: str | None) -> str | None:
        """See the port."""
        value = self.preferences(account).get("TimeZone") if account else None
        return value if isinstance(value, str) and "/" in value else None
