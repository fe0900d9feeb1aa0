"""The state of any configuration stream as one flat table: key -> value (pure).

The aggregates of ``pbx.domain`` fold a stream each for its own purpose; here all of them fold it
side by side and what they know is laid out flat, so that comparing, showing and restoring need no
knowledge of what an object is. :func:`pbx.history.restore.events_to` is the way back.

==================================  ==============================================================
Key                                 Value
==================================  ==============================================================
``("exists",)``                     True; absent while the object does not exist
``("set", section, key)``           a setting (``pbx.data`` value), secrets included if readable
``("router", table)``               text of a Router table
``("password",)``                   :class:`Hidden`
``("aliases",)``, ``("members",)``  tuples; likewise ``telnums``, ``rights``, ``options``
``("file", name)``                  ``StoredFile`` of an application environment
``("address", ip)``                 when a blacklisted address is free again, ns of UTC, 0: never
``("event", noun)``                 :class:`Stated`: an event that says by itself what holds, of
                                    an aggregate that this module does not know
==================================  ==============================================================
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from pbx.domain import accounts, blacklist, configuration, environments, objects, server
from pbx.domain import setting_events as settings
from pbx.domain.accounts import AccountPasswordSet
from pbx.eventlog import UnknownEvent
from pbx.kernel.events import EVENT_TYPES, TYPE_OF, Event

Key: TypeAlias = tuple[str, ...]
View: TypeAlias = Mapping[Key, Any]

EXISTS: Final[Key] = ("exists",)
PASSWORD: Final[Key] = ("password",)
_STATING: Final = (".changed", "-set", ".set")
"""How the names of events end that say what holds from then on, whatever was before."""
_UNREADABLE: Final = ("[sealed]", "[erased]")


@dataclass(frozen=True, slots=True, eq=False)
class Hidden:
    """A value that is never shown. Two are equal if they hold the same, or, where the reader has
    no keys, if they were set by the same event."""

    mark: int
    """Which event of the stream set it."""
    event: AccountPasswordSet = field(repr=False)

    @property
    def readable(self) -> bool:
        """Whether it can be set again."""
        return self.event.ha1_md5 not in _UNREADABLE

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Hidden):
            return NotImplemented
        if self.readable and other.readable:
            return self.event == other.event
        return self.mark == other.mark

    def __hash__(self) -> int:
        return hash("hidden")


@dataclass(frozen=True, slots=True)
class Stated:
    """The public fields of an event that says what holds from then on."""

    type: str
    fields: Mapping[str, Any]

    @property
    def restorable(self) -> bool:
        """Whether the event can be written again as it is: a set of values, not an increment."""
        row = EVENT_TYPES.get(self.type)
        states = self.type.rpartition(".v")[0].endswith(_STATING)
        return states and row is not None and not row.sealed and _default(row.struct) is not None


class Change(NamedTuple):
    """One key that differs between two views; None stands for absent."""

    key: Key
    old: Any
    new: Any


@dataclass(frozen=True, slots=True)
class Folded:
    """A stream as of its last event, as each of the aggregates sees it."""

    kind: str = ""
    """First part of the stream's name."""
    count: int = 0
    """Events folded."""
    domain: accounts.DomainState = accounts.NO_DOMAIN
    account: accounts.AccountState = accounts.NO_ACCOUNT
    object: objects.ObjectState = objects.NO_OBJECT
    server: server.ServerState = server.NO_SERVER
    settings: configuration.Configuration = configuration.NO_CONFIGURATION
    environment: environments.Environment = environments.NO_ENVIRONMENT
    blacklist: blacklist.Blacklist = blacklist.EMPTY
    password: Hidden | None = None
    secrets: Mapping[str, int] = field(default_factory=dict)
    """Section -> the last event of it that had secrets this reader cannot read."""
    others: Mapping[str, Stated] = field(default_factory=dict)


def initial(stream: str) -> Folded:
    """Before the first event of `stream`."""
    kind = stream.partition("/")[0]
    if stream == server.STREAM:
        return Folded(
            kind,
            settings=configuration.SERVER_CONFIGURATION,
            environment=environments.SERVER_ENVIRONMENT,
        )
    return Folded("blacklist" if stream == blacklist.STREAM else kind)


def evolve(state: Folded, happened: Event) -> Folded:
    """Fold one event."""
    count = state.count + 1
    if _type_name(happened).rpartition(".v")[0] in (
        f"{state.kind}.created",
        f"{state.kind}.deleted",
    ):
        state = replace(state, password=None, secrets={}, others={})
    if type(happened) not in _FOLDED:
        return replace(state, count=count, others=_stated(state.others, happened))
    password, secrets = state.password, state.secrets
    if isinstance(happened, AccountPasswordSet):
        password = Hidden(count, happened)
    elif isinstance(happened, _SETTINGS) and happened.secrets in _UNREADABLE:
        secrets = {**secrets, happened.section: count}
    return Folded(
        state.kind,
        count,
        accounts.evolve_domain(state.domain, happened),
        accounts.evolve_account(state.account, happened),
        objects.evolve_object(state.object, happened),
        server.evolve_server(state.server, happened),
        configuration.evolve_configuration(state.settings, happened),
        environments.evolve_environment(state.environment, happened),
        blacklist.evolve_blacklist(state.blacklist, happened),
        password,
        secrets,
        state.others,
    )


def fold(stream: str, events: Iterable[Event]) -> Folded:
    """All of them."""
    state = initial(stream)
    for happened in events:
        state = evolve(state, happened)
    return state


def view_of(state: Folded) -> dict[Key, Any]:
    """The flat table of a state."""
    view: dict[Key, Any] = {}
    if state.domain.exists or state.account.exists or state.object.exists:
        view[EXISTS] = True
    _put(view, {"aliases": state.domain.aliases or state.account.aliases})
    _put(view, {"telnums": state.account.telnums, "rights": state.settings.rights})
    if state.password is not None:
        view[PASSWORD] = state.password
    if state.object.exists:
        _object(view, state.object)
    if state.server.main_domain:
        view["main-domain",] = state.server.main_domain
    view.update((("router", table), text) for table, text in state.server.tables.items() if text)
    for section, values in state.settings.sections.items():
        view.update((("set", section, key), value) for key, value in values.items())
    view.update((("sealed", section), mark) for section, mark in state.secrets.items())
    if state.kind == "domain" and state.environment.exists:
        view["environment",] = True
    view.update((("language", name), True) for name in state.environment.languages)
    view.update((("file", name), file) for name, file in state.environment.files.items())
    view.update((("address", ip), until) for ip, until in state.blacklist.until_ns.items())
    view.update((("event", noun), said) for noun, said in state.others.items())
    return view


def diff(old: View, new: View) -> list[Change]:
    """What leads from one view to another, by key."""
    keys = [*old, *(key for key in new if key not in old)]
    return [Change(key, old.get(key), new.get(key)) for key in keys if old.get(key) != new.get(key)]


def apply(changes: Iterable[Change], view: View) -> dict[Key, Any]:
    """`view` with every key of `changes` at its new value: ``apply(diff(a, b), a) == b``."""
    result = dict(view)
    for change in changes:
        if change.new is None:
            result.pop(change.key, None)
        else:
            result[change.key] = change.new
    return result


def _put(view: dict[Key, Any], values: Mapping[str, Any]) -> None:
    """Only what is not empty: an empty list is no key."""
    view.update(((name,), value) for name, value in values.items() if value)


def _object(view: dict[Key, Any], state: objects.ObjectState) -> None:
    _put(view, {"members": state.members, "options": state.options})
    _put(view, {"real_name": state.real_name, "target": state.target})
    _put(view, {"owner": state.owner, "program": state.program})
    for key, value in (state.settings or {}).items():
        view["list", key] = value


def _type_name(happened: Event) -> str:
    if isinstance(happened, UnknownEvent):
        return happened.type
    row = TYPE_OF.get(type(happened))
    return "" if row is None else row.name


def _stated(others: Mapping[str, Stated], happened: Event) -> Mapping[str, Stated]:
    name = _type_name(happened)
    noun = name.rpartition(".v")[0]
    for verb in _STATING:
        noun = noun.removesuffix(verb)
    if isinstance(happened, UnknownEvent):
        return {**others, noun: Stated(name, msgspec.json.decode(happened.data))}
    rest = {other: said for other, said in others.items() if other != noun}
    if name.rpartition(".v")[0] != noun and happened == _default(type(happened)):
        return rest  # nothing is set any more
    hidden = TYPE_OF[type(happened)].sealed
    fields = {f: getattr(happened, f) for f in happened.__struct_fields__ if f not in hidden}
    return {**rest, noun: Stated(name, fields)}


def _default(struct: type[Event]) -> Event | None:
    """The event that takes everything back; None if it needs to be told something."""
    try:
        return struct()
    except TypeError:
        return None


_SETTINGS: Final = (
    settings.AccountSettingsChanged,
    settings.DomainSettingsChanged,
    settings.ServerSettingsChanged,
)
_FOLDED: Final[frozenset[type[Event]]] = frozenset(
    {
        *_SETTINGS,
        settings.AccountRightsSet,
        accounts.DomainCreated, accounts.DomainDeleted, accounts.DomainAliasesSet,
        accounts.AccountCreated, accounts.AccountDeleted, accounts.AccountPasswordSet,
        accounts.AccountLimitsSet, accounts.AccountAliasesSet, accounts.AccountTelnumsSet,
        objects.GroupCreated, objects.GroupSet, objects.GroupDeleted,
        objects.ForwarderCreated, objects.ForwarderSet, objects.ForwarderDeleted,
        objects.ListCreated, objects.ListSet, objects.ListDeleted,
        objects.TaskCreated, objects.TaskSet, objects.TaskDeleted,
        server.RouterTableSet, server.MainDomainSet,
        environments.EnvironmentCreated, environments.EnvironmentDeleted,
        environments.EnvironmentFileStored, environments.EnvironmentFileDeleted,
        blacklist.AddressBlacklisted, blacklist.AddressReleased,
    }
)  # fmt: skip
"""Events whose effect the aggregates above tell; any other one speaks for itself."""
