"""Commands on settings: all of a change or nothing, and no silent overwriting.

Beside ``pbx.commands``: the same way of working (load, decide, append), over the dictionaries of
accounts, domains and the server. Called by the command protocol, the command line and the web.

A caller that read a section before it replaces it hands in the version it read: if somebody else
changed that section since, :class:`ChangedMeanwhile` says who, when and what.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple, TypeAlias

from pbx.commands import ACCOUNT, Aggregate, execute
from pbx.data import Value
from pbx.domain import accounts
from pbx.domain import configuration as conf
from pbx.domain.accounts import AccountState, Secrets
from pbx.domain.configuration import Configuration
from pbx.domain.setting_events import (
    AccountSettingsChanged,
    DomainSettingsChanged,
    ServerSettingsChanged,
    SettingsChanged,
)
from pbx.eventlog import EventLog, Meta, Position, Record
from pbx.kernel.errors import DomainError
from pbx.kernel.events import Event
from pbx.objects.check import check, is_default
from pbx.objects.keys import is_secret

OBJECT: Final = Aggregate(conf.NO_CONFIGURATION, conf.evolve_configuration)
SERVER: Final = Aggregate(conf.SERVER_CONFIGURATION, conf.evolve_configuration)

_NAMED_KEYS: Final = 6
"""Keys that a conflict names; more are counted."""


class ChangedMeanwhile(DomainError):
    """Somebody else changed what is to be replaced."""

    def __init__(self, actor: str, time_ns: int, keys: Sequence[str]) -> None:
        when = datetime.fromtimestamp(time_ns // 1_000_000_000, UTC)
        names = ", ".join(keys[:_NAMED_KEYS])
        more = f" and {len(keys) - _NAMED_KEYS} more" if len(keys) > _NAMED_KEYS else ""
        super().__init__(
            f"{actor or 'somebody'} changed {names}{more} at {when:%H:%M:%S} UTC, after you read "
            "it: read it again, or repeat the command to overwrite"
        )
        self.actor = actor
        self.keys = tuple(keys)


class Target(NamedTuple):
    """Whose settings."""

    kind: str
    """``account``, ``domain`` or ``server``."""
    name: str = ""
    """``name@domain``, the domain, or nothing."""

    @property
    def stream(self) -> str:
        return f"{self.kind}/{self.name}" if self.name else self.kind

    @property
    def tenant(self) -> str:
        return self.name.rpartition("@")[2]


THE_SERVER: Final = Target("server")

_EVENTS: Final[Mapping[str, type[SettingsChanged]]] = {
    "account": AccountSettingsChanged,
    "domain": DomainSettingsChanged,
    "server": ServerSettingsChanged,
}

Decide: TypeAlias = Callable[[Configuration], Sequence[Event]]


def read(log: EventLog, target: Target) -> tuple[Configuration, int]:
    """The dictionaries of an object, and the version they are of."""
    aggregate = SERVER if target.kind == "server" else OBJECT
    state, version = aggregate.initial, 0
    for record in log.read_stream(target.stream):
        state, version = aggregate.evolve(state, record.event), record.version
    return state, version


def configurations(log: EventLog) -> Iterator[tuple[str, Configuration]]:
    """Every object that has a setting of its own, by stream. Secrets stay what the log shows."""
    states: dict[str, Configuration] = {}
    types = ("*.settings-changed.v1", "*.created.v1", "*.deleted.v1", "account.limits-set.v1")
    for record in log.read(category=accounts.CONFIG, types=types):
        kind = record.stream.partition("/")[0]
        if kind in _EVENTS:
            initial = SERVER.initial if kind == "server" else OBJECT.initial
            state = states.get(record.stream, initial)
            states[record.stream] = conf.evolve_configuration(state, record.event)
    for stream, state in sorted(states.items()):
        if state.exists and state.sections:
            yield stream, state


class SettingsChanges:
    """Changes in the name of one actor. Every method raises :class:`DomainError` or
    ``LogUnavailable``; when it returns, what it did is durable."""

    def __init__(self, log: EventLog, *, actor: str, origin: str = "") -> None:
        self._log = log
        self._actor = actor
        self._origin = origin
        """Where the command came from, such as ``cli:127.0.0.1``."""

    def meta(self, tenant: str) -> Meta:
        return Meta(actor=self._actor, tenant=tenant, causation=self._origin)

    def update(
        self,
        target: Target,
        section: str,
        values: Mapping[str, Value],
        extra: Sequence[Event] = (),
        *,
        read_version: int | None = None,
    ) -> Position | None:
        """Merge: absent keys stay, ``default`` takes a key away.

        `extra` are events of the same object that are appended with it. Raises
        :class:`ChangedMeanwhile` if somebody else changed one of these keys after `read_version`.
        """
        removed = [key for key, value in values.items() if is_default(value)]
        kept = {key: value for key, value in values.items() if key not in removed}
        check(target.kind, section, kept)
        event = _EVENTS[target.kind]

        def decide(state: Configuration) -> Sequence[Event]:
            if read_version is not None:
                self._unchanged_since(target, section, read_version, frozenset(values))
            return [*extra, *conf.decide_update(state, event, section, kept, removed, is_secret)]

        return self._execute(target, decide)

    def replace(
        self,
        target: Target,
        section: str,
        values: Mapping[str, Value],
        *,
        read_version: int | None = None,
        extra: Sequence[Event] = (),
    ) -> Position | None:
        """Make a section exactly `values`.

        Raises :class:`ChangedMeanwhile` if it was changed after `read_version` by somebody else.
        """
        check(target.kind, section, values)
        event = _EVENTS[target.kind]

        def decide(state: Configuration) -> Sequence[Event]:
            if read_version is not None:
                self._unchanged_since(target, section, read_version)
            return [*extra, *conf.decide_replace(state, event, section, values, is_secret)]

        return self._execute(target, decide)

    def set_rights(self, address: str, rights: Sequence[str]) -> Position | None:
        """Replace the rights of an account."""
        return self._execute(
            Target("account", address), lambda state: conf.decide_set_rights(state, rights)
        )

    def create_account(
        self,
        name: str,
        domain: str,
        values: Mapping[str, Value],
        secrets: Secrets | None,
    ) -> None:
        """An account with its settings and its password in one append: never half made."""
        check("account", conf.SETTINGS, values)
        settings = {key: value for key, value in values.items() if not is_default(value)}
        shown = settings.pop("RealName", "")

        def decide(state: AccountState) -> Sequence[Event]:
            created = accounts.decide_create_account(
                state, name, domain, shown if isinstance(shown, str) else "", secrets
            )
            return [
                *created,
                *conf.decide_update(
                    conf.NO_CONFIGURATION,
                    AccountSettingsChanged,
                    conf.SETTINGS,
                    settings,
                    (),
                    is_secret,
                ),
            ]

        stream = accounts.account_stream(name, domain)
        execute(self._log, ACCOUNT, stream, decide, self.meta(domain))

    def append(self, target: Target, decide: Decide) -> Position | None:
        """Append what `decide` makes of the object's dictionaries."""
        return self._execute(target, decide)

    def _execute(self, target: Target, decide: Decide) -> Position | None:
        aggregate = SERVER if target.kind == "server" else OBJECT

        def checked(state: Configuration) -> Sequence[Event]:
            if not state.exists:
                raise DomainError(f"there is no {target.kind} {target.name}")
            return decide(state)

        return execute(self._log, aggregate, target.stream, checked, self.meta(target.tenant))

    def _unchanged_since(
        self, target: Target, section: str, version: int, only: frozenset[str] | None = None
    ) -> None:
        """`only` are the keys that matter; None: all."""
        keys: dict[str, None] = {}
        last: Record | None = None
        for record in self._log.read_stream(target.stream, after_version=version):
            event = record.event
            if (
                isinstance(
                    event, AccountSettingsChanged | DomainSettingsChanged | ServerSettingsChanged
                )
                and event.section == section
                and (record.actor, record.causation) != (self._actor, self._origin)
            ):
                changed = dict.fromkeys((*event.values, *event.removed))
                if only is not None:
                    changed = {key: None for key in changed if key in only}
                if changed:
                    keys.update(changed)
                    last = record
        if last is not None:
            raise ChangedMeanwhile(last.actor, last.time_ns, list(keys))
