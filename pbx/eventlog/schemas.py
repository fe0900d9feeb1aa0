"""Documents for consumers: JSON Schema of each event type and of the envelope, and AsyncAPI.

Made from the registry; ``pbx log schema --out DIR`` writes them, ``/schemas`` serves them, and
``docs/schemas`` keeps what was published, against which :func:`breaking_changes` compares.

JSON Schema 2020-12; AsyncAPI 3.0.0.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from pbx.eventlog.envelope import Envelope
from pbx.eventlog.registry import SEALED_TEXT, json_schemas
from pbx.kernel.events import EVENT_TYPES, EventType

Document = dict[str, Any]

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
ASYNCAPI: Final = "3.0.0"
ENVELOPE_FILE: Final = "envelope.json"
ASYNCAPI_FILE: Final = "asyncapi.json"
INDEX_FILE: Final = "index.json"


def schema_files(types: Mapping[str, EventType] = EVENT_TYPES) -> dict[str, Document]:
    """Every document by the name of its file."""
    documents = {f"{name}.json": schema for name, schema in event_schemas(types).items()}
    documents[ENVELOPE_FILE] = envelope_schema()
    documents[ASYNCAPI_FILE] = asyncapi(types)
    documents[INDEX_FILE] = index(types)
    return documents


def as_text(document: Document) -> str:
    """A document as it is written to its file."""
    return json.dumps(document, ensure_ascii=False, indent=2) + "\n"


def write_schemas(folder: Path) -> int:
    """Write every document into `folder`, drop those of types that are gone; returns how many.

    Raises ``OSError``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    documents = schema_files()
    for file in folder.glob("*.v[0-9]*.json"):
        if file.name not in documents:
            file.unlink()
    for name, document in documents.items():
        (folder / name).write_text(as_text(document), encoding="utf-8")
    return len(documents)


def event_schemas(types: Mapping[str, EventType] = EVENT_TYPES) -> dict[str, Document]:
    """JSON Schema of the data of each type, by its name; each stands by itself."""
    exported = json_schemas(types)
    definitions: Document = exported["$defs"]
    schemas = {}
    for name, row in exported["events"].items():
        own = definitions[row["schema"]["$ref"].rpartition("/")[2]]
        schema = {
            "$schema": DIALECT,
            "$id": f"{name}.json",
            "title": name,
            "description": _one_line(own.get("description", "")),
            "x-category": row["category"],
            "x-durability": row["durability"],
            "type": "object",
            "properties": {
                field: _property(value, sealed=field in row["sealed"])
                for field, value in own["properties"].items()
            },
            "required": own.get("required", []),
        }
        used = _used(schema, definitions)
        if used:
            schema["$defs"] = {each: definitions[each] for each in sorted(used)}
        schemas[name] = json.loads(json.dumps(schema))  # plain JSON: a tuple is a list
    return schemas


def _property(schema: Document, *, sealed: bool) -> Document:
    if not sealed:
        return schema
    return {**schema, "x-sealed": True, "description": f"Shown as {SEALED_TEXT}."}


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _used(schema: Any, definitions: Document) -> set[str]:
    """Names of the definitions a schema refers to, and of those these refer to."""
    found: set[str] = set()
    pending = [schema]
    while pending:
        part = pending.pop()
        if isinstance(part, list):
            pending += part
        elif isinstance(part, dict):
            target = part.get("$ref")
            if isinstance(target, str):
                name = target.rpartition("/")[2]
                if name not in found:
                    found.add(name)
                    pending.append(definitions[name])
            pending += part.values()
    return found


def envelope_schema() -> Document:
    """JSON Schema of the envelope; ``data`` is left to the schema of its type."""
    text = {
        "position": "Opaque: hand it back as `after` to go on behind this event.",
        "stream": "What the event is about: call/<id>, account/<name@domain>, …",
        "version": "Number in the stream, from 1, growing; stream and version name the event.",
        "type": "Its schema is <type>.json; a name never changes its meaning nor its shape.",
        "time": "When it happened: UTC, RFC 3339, nanoseconds.",
        "node": "The node that wrote it.",
        "actor": "Who caused it; empty if nobody in particular.",
        "correlation": "The call or message it belongs to.",
        "causation": "What led to it.",
        "tenant": "The domain.",
        "data": "The event's own fields; those with their default value are absent.",
    }
    properties: Document = {}
    for field in msgspec.structs.fields(Envelope):
        schema: Document = {"type": "string"}
        if field.name == "version":
            schema = {"type": "integer", "minimum": 1}
        elif field.name == "data":
            schema = {"type": "object"}
        elif field.name == "time":
            schema["format"] = "date-time"
        properties[field.name] = {**schema, "description": text[field.name]}
    return {
        "$schema": DIALECT,
        "$id": ENVELOPE_FILE,
        "title": "envelope",
        "description": "One event, as every feed shows it.",
        "type": "object",
        "properties": properties,
        "required": list(properties),
    }


def index(types: Mapping[str, EventType] = EVENT_TYPES) -> Document:
    """What ``GET /schemas`` answers: the types, and where each schema is."""
    return {
        "envelope": ENVELOPE_FILE,
        "asyncapi": ASYNCAPI_FILE,
        "types": {
            row.name: {
                "schema": f"{row.name}.json",
                "category": row.category,
                "durability": row.durability.value,
            }
            for row in sorted(types.values(), key=lambda row: row.name)
        },
    }


def asyncapi(types: Mapping[str, EventType] = EVENT_TYPES) -> Document:
    """An AsyncAPI document: a channel a category, a message a type, all of them sent by us."""
    schemas = event_schemas(types)
    channels: Document = {}
    operations: Document = {}
    messages: Document = {}
    for name, schema in schemas.items():
        category = types[name].category
        key = _key(name)
        messages[key] = {
            "name": name,
            "title": name,
            "summary": schema["description"],
            "contentType": "application/json",
            "payload": {
                "allOf": [
                    {"$ref": "#/components/schemas/envelope"},
                    {
                        "type": "object",
                        "properties": {
                            "type": {"const": name},
                            "data": {"$ref": f"#/components/schemas/{key}"},
                        },
                    },
                ]
            },
        }
        channel = channels.setdefault(
            _key(category),
            {
                "address": category,
                "description": f"Events of the category {category}, in order.",
                "messages": {},
            },
        )
        channel["messages"][key] = {"$ref": f"#/components/messages/{key}"}
    for channel in channels:
        operations[f"send_{channel}"] = {
            "action": "send",
            "channel": {"$ref": f"#/channels/{channel}"},
            "summary": "Ringlog tells what happened; docs/feeds.md names the ways to listen.",
        }
    components = {
        "envelope": _embedded(envelope_schema(), "envelope"),
        **{_key(name): _embedded(schema, _key(name)) for name, schema in schemas.items()},
    }
    return {
        "asyncapi": ASYNCAPI,
        "info": {
            "title": "Ringlog events",
            "version": "1",
            "description": "Every step of a call, every binding and every change of "
            "configuration, in one envelope. Fields may be added; any other change is a new type.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {"schemas": components, "messages": messages},
    }


def _key(name: str) -> str:
    """A name as AsyncAPI allows it for a key of a component."""
    return name.replace(".", "_").replace("-", "_")


def _embedded(schema: Document, key: str) -> Document:
    """A schema as a component of another document: references lead to its own definitions."""
    inner = {name: value for name, value in schema.items() if name not in ("$schema", "$id")}
    text = json.dumps(inner).replace('"#/$defs/', f'"#/components/schemas/{key}/$defs/')
    embedded: Document = json.loads(text)
    return embedded
