"""Events to bytes and back: names, upcasters, sealed fields, unknown types, JSON Schema.

Fed by the declarations of ``pbx.kernel.events`` (importing this module imports every module of
``pbx.domain``); used by the log implementations and by :class:`pbx.eventlog.record.Record`.

Data is JSON: an operator can read the log with ``sqlite3`` alone, and a consumer in any language
with the exported schemas.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import msgspec

import pbx.domain
from pbx.kernel.errors import DecodeError, LogError
from pbx.kernel.events import EVENT_TYPES, TYPE_OF, UPCASTERS, Event, EventType, Fields, Upcaster

for _module in pkgutil.iter_modules(pbx.domain.__path__):
    importlib.import_module(f"pbx.domain.{_module.name}")

CATEGORY_OF_PREFIX: Final[dict[str, str]] = {
    "call": "pbx.calls",
    "account": "pbx.config",
    "domain": "pbx.config",
    "server": "pbx.config",
    "group": "pbx.config",
    "forwarder": "pbx.config",
    "list": "pbx.config",
    "task": "pbx.config",
    "binding": "pbx.bindings",
    "node": "pbx.nodes",
    "message": "pbx.messages",
    "mailbox": "pbx.messages",
}
"""A stream belongs to one category for ever: the part of its name before the slash decides."""

OTHER_CATEGORY: Final = "pbx.other"
"""Streams of a newer version."""

SEALED_TEXT: Final = "[sealed]"
"""What a sealed field decodes to without keys."""

ERASED_TEXT: Final = "[erased]"
"""What a sealed field decodes to once its subject's key was destroyed."""


def category_of(stream: str) -> str:
    """The category of a stream by its prefix."""
    if stream.startswith("call/"):  # nearly all of them
        return "pbx.calls"
    return CATEGORY_OF_PREFIX.get(stream.partition("/")[0], OTHER_CATEGORY)


def prefixes_of(category: str) -> tuple[str, ...]:
    """The prefixes of a category. Raises ``ValueError`` for a name that is none."""
    prefixes = tuple(p for p, c in CATEGORY_OF_PREFIX.items() if c == category)
    if not prefixes:
        raise ValueError(f"no such category: {category}")
    return prefixes


class Sealer(Protocol):
    """Encrypts fields with the key of a subject (:mod:`pbx.eventlog.sealing`)."""

    def seal(self, subject: str, type_name: str, field: str, text: str) -> str: ...

    def unseal(self, subject: str, type_name: str, field: str, sealed: str) -> str: ...


class UnknownEvent(Event):
    """An event of a type this version does not know: kept as it is, appended back unchanged."""

    type: str
    data: bytes


class Codec:
    """Encodes events for one log and decodes its records.

    Without a `sealer` sealed fields decode to :data:`SEALED_TEXT` and events that have some cannot
    be encoded.
    """

    __slots__ = ("_decoders", "_sealer", "_types", "_upcasters")

    def __init__(
        self,
        sealer: Sealer | None = None,
        *,
        types: Mapping[str, EventType] = EVENT_TYPES,
        upcasters: Mapping[str, Upcaster] = UPCASTERS,
    ) -> None:
        self._sealer = sealer
        self._types = types
        self._upcasters = upcasters
        # Straight from bytes to struct; types with upcasters or sealed fields take the long way.
        self._decoders: dict[str, Callable[[bytes], Event]] = {}

    def encode(self, stream: str, event: Event) -> tuple[str, bytes]:
        """Type name and data. Raises ``LogError`` for an undeclared type or a missing sealer."""
        row = TYPE_OF.get(type(event))
        if row is None:
            if isinstance(event, UnknownEvent):
                return event.type, event.data
            raise LogError(f"{type(event).__name__} is not declared as an event")
        if row.sealed:
            return row.name, self._encode_sealed(stream, event, row)
        try:
            return row.name, _ENCODE(event)
        except UnicodeEncodeError:
            return row.name, _ENCODE(_well_formed(msgspec.to_builtins(event)))

    def decode(self, stream: str, type_name: str, data: bytes) -> Event:
        """The event in its newest shape. Raises :class:`DecodeError`."""
        try:
            decoder = self._decoders.get(type_name) or self._prepare(type_name)
            if decoder is not None:
                return decoder(data)
            return self._decode_stepwise(stream, type_name, data)
        except (msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
            raise DecodeError(f"{type_name} in {stream}: {error}") from error

    def _prepare(self, type_name: str) -> Callable[[bytes], Event] | None:
        if type_name in self._upcasters:
            return None
        row = self._types.get(type_name)
        if row is None or row.sealed:
            return None
        decoder = msgspec.json.Decoder(row.struct).decode
        self._decoders[type_name] = decoder
        return decoder

    def _encode_sealed(self, stream: str, event: Event, row: EventType) -> bytes:
        if self._sealer is None:
            raise LogError(f"{row.name} has sealed fields and the log was opened without keys")
        fields: Fields = msgspec.to_builtins(event)
        for name in row.sealed:
            if fields.get(name):
                fields[name] = self._sealer.seal(stream, row.name, name, fields[name])
        return _ENCODE(fields)

    def _decode_stepwise(self, stream: str, type_name: str, data: bytes) -> Event:
        row = self._types.get(type_name)
        step = self._upcasters.get(type_name)
        if row is None and step is None:
            return UnknownEvent(type=type_name, data=data)
        fields: Fields = _FIELDS.decode(data)
        sealed = step.sealed if step is not None else row.sealed if row is not None else ()
        for name in sealed:
            if fields.get(name):
                fields[name] = self._unseal(stream, type_name, name, fields[name])
        while step is not None:
            fields = step.convert(fields)
            type_name = step.target
            step = self._upcasters.get(type_name)
        return msgspec.convert(fields, self._types[type_name].struct)

    def _unseal(self, stream: str, type_name: str, name: str, sealed: str) -> str:
        if self._sealer is None:
            return SEALED_TEXT
        return self._sealer.unseal(stream, type_name, name, sealed)


def json_schemas(types: Mapping[str, EventType] = EVENT_TYPES) -> dict[str, Any]:
    """JSON Schema of the data of every declared type, for consumers of the log.

    Returns ``{"events": {type name: {category, durability, sealed, schema}}, "$defs": {…}}``.
    """
    rows = sorted(types.values(), key=lambda row: row.name)
    schemas, components = msgspec.json.schema_components(
        [row.struct for row in rows], ref_template="#/$defs/{name}"
    )
    return {
        "events": {
            row.name: {
                "category": row.category,
                "durability": row.durability.value,
                "sealed": list(row.sealed),
                "schema": schema,
            }
            for row, schema in zip(rows, schemas, strict=True)
        },
        "$defs": components,
    }


def _well_formed(value: Any) -> Any:
    """`value` with lone surrogates replaced: text from the wire may carry undecodable bytes."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, list | tuple):
        return [_well_formed(item) for item in value]
    if isinstance(value, dict):
        return {key: _well_formed(item) for key, item in value.items()}
    return value


_ENCODE: Final = msgspec.json.Encoder().encode
_FIELDS: Final = msgspec.json.Decoder(dict[str, Any])
