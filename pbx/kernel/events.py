"""How an event type is declared: its name, category, durability and sealed fields.

Fed by ``pbx.domain`` (every event struct carries the :func:`event` decorator); read by
``pbx.eventlog.registry``, which encodes, decodes and upcasts, and by the schema export.

An event type is named ``noun.verb.vN`` and its shape never changes in place: a new shape is a
new struct with the next ``vN`` and an upcaster from the old one.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, Final, NamedTuple, TypeVar, dataclass_transform

import msgspec
import msgspec.inspect

#: Marks a field whose value is stored encrypted with the key of its subject (the stream).
SEALED: Final = msgspec.Meta(extra={"sealed": True})

#: Marks a field that tells of a person: who called whom, from where. Stored encrypted on request
#: (``privacy.seal_calls``), with the key of the account that its text names. A text, or a tuple of
#: texts, each of which is sealed by itself. Also in structs that are items of a field of the event
#: (``tuple[Struct, ...]``).
PERSONAL: Final = msgspec.Meta(extra={"personal": True})


class Durability(Enum):
    """When an append may be promised to somebody (see ``docs/architecture.md``)."""

    DECIDED = "decided"
    """Durable before the reply that promises it: accounts, bindings added or removed."""
    OBSERVED = "observed"
    """A fact from the wire: queued, group-committed within 10 ms, nobody waits."""


# Tells type checkers what the struct's metaclass does: subclasses are frozen and kw_only too.
@dataclass_transform(frozen_default=True, kw_only_default=True)
class Event(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """Base of every event; fields with defaults may be absent in the stored JSON."""


class EventType(msgspec.Struct, frozen=True):
    """One row of the registry."""

    name: str
    category: str
    durability: Durability
    struct: type[Event]
    expendable: bool = False
    """A statistic: dropped first when the queue before the log overflows. No state hangs on it."""
    sealed: tuple[str, ...] = ()
    """Fields stored encrypted."""
    personal: tuple[str, ...] = ()
    """Fields stored encrypted on request."""
    personal_items: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Fields that are lists of structs, each with those of their fields that are so, too."""

    @property
    def tells_of_persons(self) -> bool:
        """Whether it has fields that are stored encrypted on request."""
        return bool(self.personal or self.personal_items)


EVENT_TYPES: Final[dict[str, EventType]] = {}
"""Every declared type by name; filled at import time by :func:`event`."""
TYPE_OF: Final[dict[type[Event], EventType]] = {}
"""The same rows by struct, for encoding."""

Fields = dict[str, Any]
"""The JSON object of an event before it becomes a struct."""


class Upcaster(NamedTuple):
    """Turns the stored fields of an old version into those of the next."""

    target: str
    convert: Callable[[Fields], Fields]
    sealed: tuple[str, ...]
    """Sealed fields of the old version; they are opened before `convert` sees them."""


UPCASTERS: Final[dict[str, Upcaster]] = {}
"""By the old type's name. Chains: v1 → v2 → v3; readers know only the newest."""

E = TypeVar("E", bound=Event)


def event(
    name: str, *, category: str, durability: Durability, expendable: bool = False
) -> Callable[[type[E]], type[E]]:
    """Declare an event type. Raises ``ValueError`` if the name is taken: names are for ever."""

    def declare(struct: type[E]) -> type[E]:
        if name in EVENT_TYPES:
            raise ValueError(f"event type {name} is declared twice")
        row = EventType(
            name=name,
            category=category,
            durability=durability,
            struct=struct,
            expendable=expendable,
            sealed=sealed_fields(struct),
            personal=marked_fields(struct, "personal"),
            personal_items=marked_items(struct, "personal"),
        )
        EVENT_TYPES[name] = row
        TYPE_OF[struct] = row
        return struct

    return declare


def upcaster(
    source: str, *, target: str, sealed: tuple[str, ...] = ()
) -> Callable[[Callable[[Fields], Fields]], Callable[[Fields], Fields]]:
    """Declare how the fields of `source` become those of `target`, its next version.

    The function gets a dict that it may change and returns the new one. Raises ``ValueError`` if
    the names are not consecutive versions of one event, or `source` has an upcaster already.
    """
    noun, _, old = source.rpartition(".v")
    if target != f"{noun}.v{int(old) + 1}" or source in UPCASTERS:
        raise ValueError(f"no upcaster can lead from {source} to {target}")

    def declare(convert: Callable[[Fields], Fields]) -> Callable[[Fields], Fields]:
        UPCASTERS[source] = Upcaster(target, convert, sealed)
        return convert

    return declare


def sealed_fields(struct: type[Event]) -> tuple[str, ...]:
    """Names of the fields of `struct` annotated with :data:`SEALED`; they must be ``str``."""
    return marked_fields(struct, "sealed")


def marked_items(struct: type[Event], mark: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The fields of `struct` that are ``tuple[Item, ...]`` of a struct which has fields with
    `mark`, and the names of these."""
    info = msgspec.inspect.type_info(struct)
    assert isinstance(info, msgspec.inspect.StructType)
    found = []
    for field in info.fields:
        kind = field.type
        if isinstance(kind, msgspec.inspect.VarTupleType) and isinstance(
            kind.item_type, msgspec.inspect.StructType
        ):
            names = marked_fields(kind.item_type.cls, mark)
            if names:
                found.append((field.name, names))
    return tuple(found)


def marked_fields(struct: type[msgspec.Struct], mark: str) -> tuple[str, ...]:
    """Names of the fields of `struct` whose annotation has `mark`: ``str``, or ``tuple[str, ...]``
    if they are personal."""
    names = []
    info = msgspec.inspect.type_info(struct)
    assert isinstance(info, msgspec.inspect.StructType)
    for field in info.fields:
        kind = field.type
        if isinstance(kind, msgspec.inspect.Metadata) and (kind.extra or {}).get(mark):
            found = kind.type
            if isinstance(found, msgspec.inspect.VarTupleType) and mark == "personal":
                found = found.item_type
            if not isinstance(found, msgspec.inspect.StrType):
                raise TypeError(f"{struct.__name__}.{field.name}: only str fields can be {mark}")
            names.append(field.name)
    return tuple(names)
