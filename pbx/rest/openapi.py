"""The OpenAPI 3.1 document, made of the declarations that check requests.

Served at ``/api/v1/openapi.json``; ``docs/schemas/openapi.json`` is the same, for who has no server
at hand and for reviews of what changes (``make schemas``; a test compares).
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from pbx.rest.operations import JSON, MAX_REASON, MERGE_PATCH, PREFIX, Operation
from pbx.rest.shapes import Address, DomainName, Problem
from pbx.rest.table import OPERATIONS, TAGS
from pbx.web.problems import MEDIA_TYPE

Document = dict[str, Any]

FILE: Final = "openapi.json"
VERSION: Final = "1.0.0"
"""Of the interface. Fields of answers and operations may be added within 1.x."""
_REF: Final = "#/components/schemas/{name}"

_SETTING_VALUE: Final[Document] = {
    "description": "A value of the command protocol's data format. What JSON has not is a "
    'dictionary with one key: {"$data": "…"}, {"$time": "…"}, {"$ip": "…"}. In a merge patch null '
    "takes a key away.",
    "anyOf": [
        {"type": "string"},
        {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1},
        {"type": "null"},
        {"type": "array", "items": {"$ref": "#/components/schemas/SettingValue"}},
        {
            "type": "object",
            "additionalProperties": {"$ref": "#/components/schemas/SettingValue"},
        },
    ],
}

_PATH_PARAMETERS: Final[dict[str, tuple[Any, str]]] = {
    "domain": (DomainName, "Name of a domain, or an alias of it."),
    "address": (Address, "NAME@DOMAIN"),
    "call_id": (DomainName, "Id of a call, as listCalls and the event feeds show it."),
}

_RESPONSES: Final[dict[int, str]] = {
    304: "It is what `If-None-Match` names.",
    400: "The request is malformed; the detail says where.",
    401: "A valid token is needed.",
    403: "The token may not do that.",
    404: "There is no such object, or the token does not see it.",
    409: "The name is taken, or the object is in use.",
    412: "Somebody changed it meanwhile; `changed_by` says who.",
    413: "The body is too large.",
    415: "The body is of a type that is not taken.",
    422: "A rule refuses it; the detail says which.",
    428: "`If-Match` is missing.",
    429: "Too many requests with wrong tokens.",
    503: "Not available now; try again.",
}


@functools.cache
def document() -> Document:
    """The whole document."""
    return build(OPERATIONS)


@functools.cache
def as_text() -> str:
    """As it is written to its file."""
    return json.dumps(document(), ensure_ascii=False, indent=2) + "\n"


def write(folder: Path) -> Path:
    """Write it into a folder. Raises ``OSError``."""
    file = folder / FILE
    file.write_text(as_text(), encoding="utf-8")
    return file


def build(operations: Sequence[Operation]) -> Document:
    """The document of some operations."""
    types = _types(operations)
    shown, components = msgspec.json.schema_components(types, ref_template=_REF)
    schemas = dict(zip(map(_key, types), shown, strict=True))
    paths: Document = {}
    for operation in operations:
        path = paths.setdefault(PREFIX + operation.path, {"parameters": _in_path(operation.path)})
        path[operation.method.lower()] = _operation(operation, schemas)
    components["SettingValue"] = _SETTING_VALUE
    built = {
        "openapi": "3.1.0",
        "info": {
            "title": "Ringlog administration",
            "version": VERSION,
            "description": "Domains, accounts, groups, forwarders, the Router, Signal Rules, "
            "calls, call records and registrations. docs/api.md has examples.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}],
        "tags": [{"name": tag, "description": title} for tag, (title, _) in TAGS.items()],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "pbx token create NAME --scope …",
                }
            },
            "schemas": dict(sorted(components.items())),
            "headers": {
                "ETag": {
                    "description": "Version of the resource; send it back as If-Match.",
                    "required": True,
                    "schema": {"type": "string", "pattern": '^"[0-9]+"$'},
                },
                "Location": {
                    "description": "Where the new object is.",
                    "required": True,
                    "schema": {"type": "string"},
                },
            },
        },
    }
    plain: Document = _plain(built)
    return plain


def _types(operations: Iterable[Operation]) -> list[Any]:
    found: dict[str, Any] = {}
    wanted: list[Any] = [Problem, *(kind for kind, _ in _PATH_PARAMETERS.values())]
    for operation in operations:
        wanted += [operation.body, operation.reply]
        if operation.query is not None:
            wanted += [item.type for item in msgspec.structs.fields(operation.query)]
    for kind in wanted:
        if kind is not None:
            found.setdefault(_key(kind), kind)
    return list(found.values())


def _key(kind: Any) -> str:
    return repr(kind)


def _in_path(path: str) -> list[Document]:
    parts = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": _PATH_PARAMETERS[name][1],
            # A name in a path is at least one character; one with a slash in it is no name.
            "schema": {
                "type": "string",
                "minLength": 1,
                "maxLength": _longest(_PATH_PARAMETERS[name][0]),
            },
        }
        for name in parts
    ]


def _longest(kind: Any) -> int:
    length = msgspec.json.schema(kind)["maxLength"]
    assert isinstance(length, int)
    return length


def _operation(operation: Operation, schemas: Document) -> Document:
    built: Document = {
        "operationId": operation.name,
        "tags": [operation.tag],
        "summary": operation.summary,
        "description": f"Needs the scope `{operation.scope}`.",
        "responses": _responses(operation, schemas),
    }
    parameters = [*_in_query(operation, schemas), *_in_header(operation)]
    if parameters:
        built["parameters"] = parameters
    if operation.body is not None:
        schema = schemas[_key(operation.body)]
        types = (MERGE_PATCH, JSON) if operation.merges else (JSON,)
        built["requestBody"] = {
            "required": True,
            "content": {media_type: {"schema": schema} for media_type in types},
        }
    return built


def _in_query(operation: Operation, schemas: Document) -> list[Document]:
    if operation.query is None:
        return []
    found = []
    for item in msgspec.structs.fields(operation.query):
        schema = dict(schemas[_key(item.type)])
        described: Document = {"name": item.name, "in": "query", "required": False}
        if "description" in schema:
            described["description"] = schema.pop("description")
        found.append({**described, "schema": {**schema, "default": item.default}})
    return found


def _in_header(operation: Operation) -> list[Document]:
    found: list[Document] = []
    if operation.guarded:
        found.append(
            {
                "name": "If-Match",
                "in": "header",
                "required": True,
                "description": "The ETag of what is changed; `*` changes whatever is there.",
                "schema": {"type": "string", "minLength": 1},
                "example": '"17"',
            }
        )
    if operation.method == "GET" and operation.etag:
        found.append(
            {
                "name": "If-None-Match",
                "in": "header",
                "required": False,
                "description": "An ETag that is known; 304 if it is still that.",
                "schema": {"type": "string"},
            }
        )
    if operation.method != "GET":
        found.append(
            {
                "name": "X-Reason",
                "in": "header",
                "required": False,
                "description": "Why; it is kept with the change, see `pbx config log`.",
                "schema": {"type": "string", "maxLength": MAX_REASON},
            }
        )
    if operation.repeatable:
        found.append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": False,
                "description": "Made up by the client: a repeated request gets the first answer.",
                "schema": {"type": "string", "minLength": 1, "maxLength": 255},
            }
        )
    return found


def statuses(operation: Operation) -> list[int]:
    """Every status besides success that an operation may answer with."""
    found = {400, 401, 403, 429, 503}
    if "{" in operation.path:
        found.add(404)
    if operation.body is not None:
        found |= {413, 415}
    if operation.guarded:
        found |= {404, 412, 428}
    if operation.refused:
        found |= {409, 422}
    if operation.rejects:
        found.add(422)
    return sorted(found)


def _responses(operation: Operation, schemas: Document) -> Document:
    success: Document = {"description": "Done."}
    headers: Document = {}
    if operation.etag:
        headers["ETag"] = {"$ref": "#/components/headers/ETag"}
    if operation.status == 201:
        headers["Location"] = {"$ref": "#/components/headers/Location"}
    if headers:
        success["headers"] = headers
    if operation.reply is not None:
        success["content"] = {JSON: {"schema": schemas[_key(operation.reply)]}}
    found: Document = {str(operation.status): success}
    if operation.method == "GET" and operation.etag:
        found["304"] = {"description": _RESPONSES[304]}
    problem = {MEDIA_TYPE: {"schema": {"$ref": _REF.format(name="Problem")}}}
    for status in statuses(operation):
        found[str(status)] = {"description": _RESPONSES[status], "content": problem}
    return found


def _plain(value: Any) -> Any:
    """Plain JSON: enums by their values, tuples as lists."""
    return json.loads(msgspec.json.encode(value))
