"""Events to bytes and back: names, upcasters, sealed fields, unknown types, JSON Schema.

Fed by the declarations of ``pbx.kernel.events`` (importing this module imports every module of
``pbx.domain``); used by the log implementations and by :class:`pbx.eventlog.record.Record`.

Data is JSON: an operator can read the log with ``sqlite3`` alone, and a consumer in any language
with the exported schemas.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec

import pbx.domain
from pbx.kernel.errors import DecodeError, LogError
from pbx.kernel.events import EVENT_TYPES, TYPE_OF, UPCASTERS, Event, EventType, Fields, Upcaster

for _module in pkgutil.iter_modules(pbx.domain.__path__):
    importlib.import_module(f"pbx.domain.{_module.name}")

CATEGORY_OF_PREFIX: Final[dict[str, str]] = {
    "call": "pbx.calls",
    "application": "pbx.applications",
    "cdr": "pbx.cdrs",
    "account": "pbx.config",
    "domain": "pbx.config",
    "server": "pbx.config",
    "group": "pbx.config",
    "forwarder": "pbx.config",
    "list": "pbx.config",
    "task": "pbx.config",
    "token": "pbx.config",
    "webhook": "pbx.config",
    "binding": "pbx.bindings",
    "node": "pbx.nodes",
    "login": "pbx.nodes",
    "trunk": "pbx.nodes",
    "message": "pbx.messages",
    "mailbox": "pbx.messages",
    "storage": "pbx.files",
}
"""A stream belongs to one category for ever: the part of its name before the slash decides."""

OTHER_CATEGORY: Final = "pbx.other"
"""Streams of a newer version."""

SEALED_TEXT: Final = "[sealed]"
"""What a sealed field decodes to without keys."""

PERSONAL_FORM: Final = "p1."
"""Starts a personal value that is sealed."""
_PERSONAL_MARK: Final = b'"' + PERSONAL_FORM.encode()

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

    def seal_personal(self, stream: str, type_name: str, field: str, text: str) -> str: ...

    def unseal_personal(self, type_name: str, field: str, value: str) -> str: ...


class UnknownEvent(Event):
    """An event of a type this version does not know: kept as it is, appended back unchanged."""

    type: str
    data: bytes


class Codec:
    """Encodes events for one log and decodes its records.

    Without a `sealer` sealed fields decode to :data:`SEALED_TEXT` and events that have some cannot
    be encoded. Personal fields are sealed if `seal_personal` says so, and opened if there is a
    sealer. Without `secrets` the sealer is for them alone: secrets stay sealed.
    """

    __slots__ = ("_decoders", "_personal", "_sealer", "_secrets", "_types", "_upcasters")

    def __init__(
        self,
        sealer: Sealer | None = None,
        *,
        seal_personal: bool = False,
        secrets: bool = True,
        types: Mapping[str, EventType] = EVENT_TYPES,
        upcasters: Mapping[str, Upcaster] = UPCASTERS,
    ) -> None:
        self._sealer = sealer
        self._personal = sealer if seal_personal else None
        self._secrets = sealer if secrets else None
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
        if row.sealed or (row.tells_of_persons and self._personal is not None):
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
        plain = msgspec.json.Decoder(row.struct).decode
        decoder: Callable[[bytes], Event] = plain
        if row.tells_of_persons:

            def maybe_sealed(data: bytes) -> Event:
                # Searching costs a tenth of a microsecond; most logs hold no such value.
                if _PERSONAL_MARK in data:
                    return self._decode_stepwise("", type_name, data)
                return plain(data)

            decoder = maybe_sealed
        self._decoders[type_name] = decoder
        return decoder

    def _encode_sealed(self, stream: str, event: Event, row: EventType) -> bytes:
        fields: Fields = msgspec.to_builtins(event)
        if row.sealed:
            if self._secrets is None:
                raise LogError(f"{row.name} has sealed fields and the log was opened without keys")
            for name in row.sealed:
                if fields.get(name):
                    fields[name] = self._secrets.seal(stream, row.name, name, fields[name])
        personal = self._personal
        for name in row.personal if personal is not None else ():
            assert personal is not None
            value = fields.get(name)
            if not value:
                continue
            if isinstance(value, str):
                fields[name] = personal.seal_personal(stream, row.name, name, value)
            else:
                fields[name] = [
                    personal.seal_personal(stream, row.name, name, text) for text in value
                ]
        if personal is not None:
            for name, item, part in _personal_items(row, fields):
                item[part] = personal.seal_personal(stream, row.name, name, item[part])
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
        for name in row.personal if row is not None else ():
            value = fields.get(name)
            if isinstance(value, list):
                fields[name] = [self._opened(type_name, name, text) for text in value]
            elif value:
                fields[name] = self._opened(type_name, name, value)
        for name, item, part in _personal_items(row, fields) if row is not None else ():
            if str(item[part]).startswith(PERSONAL_FORM):
                item[part] = self._opened(type_name, name, item[part])
        while step is not None:
            fields = step.convert(fields)
            type_name = step.target
            step = self._upcasters.get(type_name)
        return msgspec.convert(fields, self._types[type_name].struct)

    def _unseal(self, stream: str, type_name: str, name: str, sealed: str) -> str:
        if self._secrets is None:
            return SEALED_TEXT
        return self._secrets.unseal(stream, type_name, name, sealed)

    def _opened(self, type_name: str, name: str, value: Any) -> Any:
        """One personal text, which may be in clear."""
        if not isinstance(value, str) or not value.startswith(PERSONAL_FORM):
            return value
        if self._sealer is None:
            return SEALED_TEXT
        return self._sealer.unseal_personal(type_name, name, value)

    @property
    def keys_are_remote(self) -> bool:
        """Whether to decode a sealed field may take long: its key is in another machine's
        database."""
        return bool(getattr(self._sealer, "remote", False))

    def reach_keys(self) -> None:
        """Connect to the store of keys: whoever needs the first one shall not wait for that."""
        store = getattr(self._sealer, "store", None)
        if store is not None:
            store.erased("")

    def make_keys(self, subjects: Sequence[str]) -> None:
        """Make the keys of many subjects at once, durable, before something is sealed for them."""
        make = getattr(self._sealer, "make", None)
        if make is not None:
            make(subjects)

    def forget_keys(self, subject: str) -> None:
        """The key of a subject (a stream) came or went: what is remembered of it is old."""
        forget = getattr(self._sealer, "forget", None)
        if forget is not None:
            forget(subject)


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
                "personal": [
                    *row.personal,
                    *(f"{name}.{part}" for name, parts in row.personal_items for part in parts),
                ],
                "schema": schema,
            }
            for row, schema in zip(rows, schemas, strict=True)
        },
        "$defs": components,
    }


def _personal_items(row: EventType, fields: Fields) -> Iterator[tuple[str, Fields, str]]:
    """Personal values inside lists: the name they are sealed by, where they are, under what."""
    for name, parts in row.personal_items:
        for item in fields.get(name) or ():
            for part in parts:
                if item.get(part):
                    yield f"{name}.{part}", item, part


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
