"""Groups, forwarders, mailing lists and named tasks: events, state, decisions (pure).

Streams ``group/<name@domain>``, ``forwarder/…``, ``list/…`` and ``task/…``, category
``pbx.config``, all *decided*. These objects share the name space of their domain with accounts and
aliases; that a name is free is checked by ``pbx.commands``, which knows all of them. An event after
the first says what holds from then on, whole: a stream is short, and its last event is readable by
itself.

Source: Objects and settings reference §4.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec

from pbx.domain.accounts import CONFIG
from pbx.kernel.errors import DomainError
from pbx.kernel.events import Durability, Event, event
from pbx.router import ObjectKind, qualified

MAX_MEMBERS: Final = 1000
"""Of one group; mail to more is what mailing lists are for."""

#: Options of a group (all off at first), as the settings are spelled.
GROUP_OPTIONS: Final = (
    "Expand", "FinalDelivery", "SetReplyTo", "RemoveAuthor", "RemoveToAndCc", "RejectAutomatic",
    "EmailDisabled", "SignalDisabled",
)  # fmt: skip

STREAM_PREFIX: Final = {
    ObjectKind.GROUP: "group",
    ObjectKind.FORWARDER: "forwarder",
    ObjectKind.LIST: "list",
    ObjectKind.TASK: "task",
}
KIND_OF_PREFIX: Final = {prefix: kind for kind, prefix in STREAM_PREFIX.items()}


@event("group.created.v1", category=CONFIG, durability=Durability.DECIDED)
class GroupCreated(Event):
    """A group exists, without members."""

    name: str
    domain: str


@event("group.set.v1", category=CONFIG, durability=Durability.DECIDED)
class GroupSet(Event):
    """Members and options of the group from now on."""

    members: tuple[str, ...] = ()
    """Addresses as written; without a domain they are of the group's."""
    real_name: str = ""
    options: tuple[str, ...] = ()
    """Names of the options that are on."""


@event("group.deleted.v1", category=CONFIG, durability=Durability.DECIDED)
class GroupDeleted(Event):
    """The group is gone; its members are not."""

    name: str
    domain: str


@event("forwarder.created.v1", category=CONFIG, durability=Durability.DECIDED)
class ForwarderCreated(Event):
    """A name stands for another address."""

    name: str
    domain: str
    target: str
    """As written; without a domain it is of the forwarder's."""


@event("forwarder.set.v1", category=CONFIG, durability=Durability.DECIDED)
class ForwarderSet(Event):
    """The forwarder stands for this address from now on."""

    target: str


@event("forwarder.deleted.v1", category=CONFIG, durability=Durability.DECIDED)
class ForwarderDeleted(Event):
    """The name stands for nothing any more."""

    name: str
    domain: str


@event("list.created.v1", category=CONFIG, durability=Durability.DECIDED)
class ListCreated(Event):
    """A mailing list exists."""

    name: str
    domain: str
    owner: str
    """Account of the same domain."""


@event("list.set.v1", category=CONFIG, durability=Durability.DECIDED)
class ListSet(Event):
    """Settings of the list from now on."""

    owner: str
    settings: dict[str, Any] = msgspec.field(default_factory=dict)


@event("list.deleted.v1", category=CONFIG, durability=Durability.DECIDED)
class ListDeleted(Event):
    """The list is gone."""

    name: str
    domain: str


@event("task.created.v1", category=CONFIG, durability=Durability.DECIDED)
class TaskCreated(Event):
    """A named task exists; it is started by the first signal to its name."""

    name: str
    domain: str
    owner: str
    """Account of the same domain it runs for."""
    program: str


@event("task.set.v1", category=CONFIG, durability=Durability.DECIDED)
class TaskSet(Event):
    """What the task is from now on."""

    owner: str
    program: str
    real_name: str = ""


@event("task.deleted.v1", category=CONFIG, durability=Durability.DECIDED)
class TaskDeleted(Event):
    """The task is gone; if it runs, it runs on to its end."""

    name: str
    domain: str


# State.


@dataclass(frozen=True, slots=True)
class ObjectState:
    """One of these objects as of its last event; fields of the other kinds are empty."""

    kind: ObjectKind | None = None
    """None while it does not exist."""
    name: str = ""
    domain: str = ""
    real_name: str = ""
    members: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    target: str = ""
    owner: str = ""
    program: str = ""
    settings: Mapping[str, Any] | None = None

    @property
    def exists(self) -> bool:
        return self.kind is not None

    @property
    def address(self) -> str:
        """``name@domain``."""
        return f"{self.name}@{self.domain}"


NO_OBJECT: Final = ObjectState()


def evolve_object(state: ObjectState, happened: Event) -> ObjectState:
    """Fold one event of any of these streams."""
    match happened:
        case GroupCreated():
            return ObjectState(ObjectKind.GROUP, happened.name, happened.domain)
        case GroupSet():
            return replace(
                state,
                members=happened.members,
                real_name=happened.real_name,
                options=happened.options,
            )
        case ForwarderCreated():
            return ObjectState(
                ObjectKind.FORWARDER, happened.name, happened.domain, target=happened.target
            )
        case ForwarderSet():
            return replace(state, target=happened.target)
        case ListCreated():
            return ObjectState(
                ObjectKind.LIST, happened.name, happened.domain, owner=happened.owner
            )
        case ListSet():
            return replace(state, owner=happened.owner, settings=happened.settings)
        case TaskCreated():
            return ObjectState(
                ObjectKind.TASK,
                happened.name,
                happened.domain,
                owner=happened.owner,
                program=happened.program,
            )
        case TaskSet():
            return replace(
                state,
                owner=happened.owner,
                program=happened.program,
                real_name=happened.real_name,
            )
        case GroupDeleted() | ForwarderDeleted() | ListDeleted() | TaskDeleted():
            return NO_OBJECT
        case _:
            return state


def object_stream(kind: ObjectKind, name: str, domain: str) -> str:
    """Where the events of an object are."""
    return f"{STREAM_PREFIX[kind]}/{name}@{domain}"


# Decisions.


def decide_create_group(
    state: ObjectState,
    name: str,
    domain: str,
    members: Sequence[str] = (),
    real_name: str = "",
    options: Iterable[str] = (),
) -> list[Event]:
    """A new group, with its members in the same append."""
    _require_new(state, ObjectKind.GROUP)
    wanted = _group(domain, members, real_name, options)
    created: list[Event] = [GroupCreated(name=name, domain=domain)]
    return created if wanted == GroupSet() else [*created, wanted]


def decide_set_group(
    state: ObjectState,
    address: str,
    members: Sequence[str] | None = None,
    real_name: str | None = None,
    options: Iterable[str] | None = None,
) -> list[Event]:
    """Change what is given; nothing if that changes nothing."""
    _require(state, ObjectKind.GROUP, address)
    wanted = _group(
        state.domain,
        state.members if members is None else members,
        state.real_name if real_name is None else real_name,
        state.options if options is None else options,
    )
    held = GroupSet(members=state.members, real_name=state.real_name, options=state.options)
    return [] if wanted == held else [wanted]


def _group(domain: str, members: Sequence[str], real_name: str, options: Iterable[str]) -> GroupSet:
    wanted = tuple(dict.fromkeys(member.strip() for member in members))
    if len(wanted) > MAX_MEMBERS:
        raise DomainError(f"{len(wanted)} members: a group has at most {MAX_MEMBERS}")
    for member in wanted:
        qualified(member, domain)
    known = {option.lower(): option for option in GROUP_OPTIONS}
    on = []
    for option in options:
        if option.lower() not in known:
            raise DomainError(f"{option!r} is no option of a group: {', '.join(GROUP_OPTIONS)}")
        on.append(known[option.lower()])
    return GroupSet(members=wanted, real_name=real_name, options=tuple(sorted(set(on))))


def decide_create_forwarder(state: ObjectState, name: str, domain: str, target: str) -> list[Event]:
    """A new forwarder to any address of the Router."""
    _require_new(state, ObjectKind.FORWARDER)
    qualified(target, domain)
    return [ForwarderCreated(name=name, domain=domain, target=target.strip())]


def decide_set_forwarder(state: ObjectState, address: str, target: str) -> list[Event]:
    """Let it stand for another address."""
    _require(state, ObjectKind.FORWARDER, address)
    qualified(target, state.domain)
    target = target.strip()
    return [] if target == state.target else [ForwarderSet(target=target)]


def decide_create_list(state: ObjectState, name: str, domain: str, owner: str) -> list[Event]:
    """A new mailing list; that its owner exists is the caller's to check."""
    _require_new(state, ObjectKind.LIST)
    return [ListCreated(name=name, domain=domain, owner=owner)]


def decide_set_list(
    state: ObjectState,
    address: str,
    owner: str | None = None,
    settings: Mapping[str, Any] | None = None,
) -> list[Event]:
    """Change what is given of a list; `settings` replace all of them."""
    _require(state, ObjectKind.LIST, address)
    held = ListSet(owner=state.owner, settings=dict(state.settings or {}))
    wanted = ListSet(
        owner=state.owner if owner is None else owner,
        settings=held.settings if settings is None else dict(settings),
    )
    return [] if wanted == held else [wanted]


def decide_create_task(
    state: ObjectState, name: str, domain: str, owner: str, program: str
) -> list[Event]:
    """A new named task; that its owner exists is the caller's to check."""
    _require_new(state, ObjectKind.TASK)
    return [TaskCreated(name=name, domain=domain, owner=owner, program=_program(program))]


def decide_set_task(
    state: ObjectState,
    address: str,
    owner: str | None = None,
    program: str | None = None,
    real_name: str | None = None,
) -> list[Event]:
    """Change what is given of a named task."""
    _require(state, ObjectKind.TASK, address)
    held = TaskSet(owner=state.owner, program=state.program, real_name=state.real_name)
    wanted = TaskSet(
        owner=state.owner if owner is None else owner,
        program=state.program if program is None else _program(program),
        real_name=state.real_name if real_name is None else real_name,
    )
    return [] if wanted == held else [wanted]


def _program(text: str) -> str:
    name = text.strip().removesuffix(".sppr")
    if not name or not name.isprintable() or any(character in " {}#@%!/," for character in name):
        raise DomainError(f"{text!r} is no name of a real-time application")
    return name


_DELETED: Final[dict[ObjectKind, Callable[..., Event]]] = {
    ObjectKind.GROUP: GroupDeleted,
    ObjectKind.FORWARDER: ForwarderDeleted,
    ObjectKind.LIST: ListDeleted,
    ObjectKind.TASK: TaskDeleted,
}


def decide_delete_object(state: ObjectState, kind: ObjectKind, address: str) -> list[Event]:
    """Remove an object of that kind."""
    _require(state, kind, address)
    return [_DELETED[kind](name=state.name, domain=state.domain)]


def _require(state: ObjectState, kind: ObjectKind, address: str) -> None:
    if state.kind is not kind:
        raise DomainError(
            f"there is no {kind.value} {address}; see: pbx {STREAM_PREFIX[kind]} list"
        )


def _require_new(state: ObjectState, kind: ObjectKind) -> None:
    if state.exists:
        raise DomainError(f"the {kind.value} {state.address} exists already")
