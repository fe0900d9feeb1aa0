"""How an event type is declared: its name, category, durability and sealed fields.

Fed by ``pbx.domain`` (every event struct carries the :func:`event` decorator); read by
``pbx.eventlog.registry``, which encodes, decodes and upcasts, and by the schema export.

An event type is named ``noun.verb.vN`` and its shape never changes in place: a new shape is a
new struct with the next ``vN`` and an upcaster from the old one.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, Final, TypeVar, dataclass_transform

import msgspec

#: Marks a field whose value is stored encrypted with the key of its subject (the stream).
SEALED: Final = msgspec.Meta(extra={"sealed": True})


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


EVENT_TYPES: Final[dict[str, EventType]] = {}
"""Every declared type by name; filled at import time by :func:`event`."""
TYPE_OF: Final[dict[type[Event], EventType]] = {}
"""The same rows by struct, for encoding."""

E = TypeVar("E", bound=Event)


def event(name: str, *, category: str, durability: Durability) -> Callable[[type[E]], type[E]]:
    """Declare an event type. Raises ``ValueError`` if the name is taken: names are for ever."""

    def declare(struct: type[E]) -> type[E]:
        if name in EVENT_TYPES:
            raise ValueError(f"event type {name} is declared twice")
        row = EventType(name=name, category=category, durability=durability, struct=struct)
        EVENT_TYPES[name] = row
        TYPE_OF[struct] = row
        return struct

    return declare


def sealed_fields(struct: type[Any]) -> tuple[str, ...]:
    """Names of the fields of `struct` annotated with :data:`SEALED`."""
    names = []
    for field in msgspec.inspect.type_info(struct).fields:  # type: ignore[attr-defined]
        extra = getattr(field.type, "extra", None) or {}
        if extra.get("sealed"):
            names.append(field.name)
    return tuple(names)
