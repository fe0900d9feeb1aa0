"""From a view back to events: what makes the state of a stream another one (pure)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from pbx.data import Value
from pbx.domain import accounts, blacklist, environments, objects, server
from pbx.domain import setting_events as settings
from pbx.domain.configuration import decide_update
from pbx.history.errors import HistoryError
from pbx.history.view import (
    EXISTS,
    PASSWORD,
    Change,
    Folded,
    Key,
    Stated,
    View,
    diff,
    evolve,
    view_of,
)
from pbx.kernel.events import EVENT_TYPES, Event
from pbx.objects.keys import is_secret

_CREATE: Final[Mapping[str, Callable[[str, str, View], Event]]] = {
    "domain": lambda name, domain, view: accounts.DomainCreated(
        name=domain, aliases=view.get(("aliases",), ())
    ),
    "account": lambda name, domain, view: accounts.AccountCreated(name=name, domain=domain),
    "group": lambda name, domain, view: objects.GroupCreated(name=name, domain=domain),
    "forwarder": lambda name, domain, view: objects.ForwarderCreated(
        name=name, domain=domain, target=view["target",]
    ),
    "list": lambda name, domain, view: objects.ListCreated(
        name=name, domain=domain, owner=view["owner",]
    ),
    "task": lambda name, domain, view: objects.TaskCreated(
        name=name, domain=domain, owner=view["owner",], program=view["program",]
    ),
}
_DELETE: Final[Mapping[str, Callable[[str, str], Event]]] = {
    "domain": lambda name, domain: accounts.DomainDeleted(name=domain),
    "account": lambda name, domain: accounts.AccountDeleted(name=name, domain=domain),
    "group": lambda name, domain: objects.GroupDeleted(name=name, domain=domain),
    "forwarder": lambda name, domain: objects.ForwarderDeleted(name=name, domain=domain),
    "list": lambda name, domain: objects.ListDeleted(name=name, domain=domain),
    "task": lambda name, domain: objects.TaskDeleted(name=name, domain=domain),
}
_SETTINGS: Final[Mapping[str, type[settings.SettingsChanged]]] = {
    "account": settings.AccountSettingsChanged,
    "domain": settings.DomainSettingsChanged,
    "server": settings.ServerSettingsChanged,
}


def events_to(stream: str, state: Folded, wanted: View) -> list[Event]:
    """The events after which the view of `state`, folded on, is `wanted`; none if it is already.

    Raises :class:`HistoryError` for what cannot be set again: an erased password, or a fact that
    is no setting.
    """
    held = view_of(state)
    name, _, domain = stream.partition("/")[2].rpartition("@")
    made: list[Event] = []
    if EXISTS in held and EXISTS not in wanted:
        return [_DELETE[state.kind](name, domain)]
    if EXISTS not in held and EXISTS in wanted:
        made.append(_CREATE[state.kind](name, domain, wanted))
        state = evolve(state, made[0])
        held = view_of(state)
    changes = diff(held, wanted)
    return made + _changed(state, changes, wanted)


def _changed(state: Folded, changes: Sequence[Change], wanted: View) -> list[Event]:
    events: list[Event] = []
    sections: dict[str, list[Change]] = {}
    whole = False
    for change in changes:
        head = change.key[0]
        if head == "set":
            sections.setdefault(change.key[1], []).append(change)
        elif head in _WHOLE:
            whole = True
        else:
            events.append(_single(state.kind, change))
    for section, changed in sections.items():
        events += _section(state, section, changed)
    if whole:
        events.append(_object(state, wanted))
    return events


_WHOLE: Final = frozenset({"members", "options", "real_name", "target", "owner", "program", "list"})
"""Keys of objects, whose events say all of it."""


def _object(state: Folded, wanted: View) -> Event:
    def text(name: str) -> str:
        value: str = wanted.get((name,), "")
        return value

    match state.kind:
        case "group":
            return objects.GroupSet(
                members=wanted.get(("members",), ()),
                real_name=text("real_name"),
                options=wanted.get(("options",), ()),
            )
        case "forwarder":
            return objects.ForwarderSet(target=text("target"))
        case "list":
            values = {key[1]: value for key, value in wanted.items() if key[0] == "list"}
            return objects.ListSet(owner=text("owner"), settings=values)
        case _:
            return objects.TaskSet(
                owner=text("owner"), program=text("program"), real_name=text("real_name")
            )


def _section(state: Folded, section: str, changes: Sequence[Change]) -> list[Event]:
    values: dict[str, Value] = {
        change.key[2]: change.new for change in changes if change.new is not None
    }
    removed = [change.key[2] for change in changes if change.new is None]
    return decide_update(state.settings, _SETTINGS[state.kind], section, values, removed, is_secret)


def _single(kind: str, change: Change) -> Event:
    key, new = change.key, change.new
    match key[0]:
        case "aliases" if kind == "domain":
            return accounts.DomainAliasesSet(aliases=new or ())
        case "aliases":
            return accounts.AccountAliasesSet(aliases=new or ())
        case "telnums":
            return accounts.AccountTelnumsSet(telnums=new or ())
        case "rights":
            return settings.AccountRightsSet(rights=new or ())
        case "router":
            return server.RouterTableSet(text=new or "", table=key[1])
        case "main-domain" if new:
            return server.MainDomainSet(name=new)
        case "address" if new is None:
            return blacklist.AddressReleased(address=key[1])
        case "address":
            return blacklist.AddressBlacklisted(
                address=key[1], until_ns=new, reason="administrator"
            )
        case "language" if new is None:
            return environments.EnvironmentDeleted(language=key[1])
        case "language":
            return environments.EnvironmentCreated(language=key[1])
        case "environment" if new:
            return environments.EnvironmentCreated()
        case "file" if new is None:
            return environments.EnvironmentFileDeleted(name=key[1])
        case "file":
            return environments.EnvironmentFileStored(
                name=key[1],
                sha256=new.sha256,
                size_bytes=new.size_bytes,
                modified_ns=new.modified_ns,
            )
        case "password" if new is not None and new.readable:
            event: Event = new.event
            return event
        case "event":
            return _stated(change)
    raise HistoryError(f"{_WHY.get(key, key[0] + ' cannot be set back by a revert')}")


_WHY: Final[Mapping[Key, str]] = {
    PASSWORD: "the password of then is not kept any more, or there was none: give a new one, "
    "with pbx account passwd",
    ("main-domain",): "no Main Domain was chosen then: choose one, with pbx domain main",
    ("environment",): "an environment cannot be taken back: delete its files",
}


def _stated(change: Change) -> Event:
    said: Any = change.new or change.old
    if isinstance(said, Stated) and said.restorable:
        fields = {} if change.new is None else dict(change.new.fields)
        return EVENT_TYPES[said.type].struct(**fields)
    raise HistoryError(f"{change.key[1]} is no setting that could be set back")
