"""What an operation of the API is, and its way from a request to its handler and back.

An :class:`Operation` declares everything: path, method, scope, the structs of query, body and
answer, whether it is guarded by ``If-Match``. Requests are checked by the declaration, and the
OpenAPI document is made of the same (:mod:`pbx.rest.openapi`), so that neither can lie about the
other.

Checks come in this order, each with a status of its own: method 405, scope 403, content type 415,
query 400, ``If-Match`` missing 428, body 400; then the handler: not seen 404, no right 403, changed
meanwhile 412, taken 409, refused by a rule 422.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from pbx.admin.dispatch import Context
from pbx.admin.errors import (
    ACCOUNT_EXISTS,
    ACCOUNT_IN_USE,
    DOMAIN_EXISTS,
    FORWARDER_EXISTS,
    GROUP_EXISTS,
    NO_ACCOUNT,
    NO_DOMAIN,
    NO_FORWARDER,
    NO_RIGHTS,
    CliError,
)
from pbx.kernel.errors import DomainError, LogError, PbxError
from pbx.rest.backend import Backend
from pbx.rest.changes import Precondition, Resource, etag, read_precondition
from pbx.rest.idempotency import IdempotentAnswers
from pbx.tokens import Principal
from pbx.web.auth import principal_of, require_scope, requires
from pbx.web.problems import Problem
from pbx.web.services import services_of

T = TypeVar("T")

PREFIX: Final = "/api/v1"
JSON: Final = "application/json"
MERGE_PATCH: Final = "application/merge-patch+json"
MAX_REASON: Final = 200
"""Characters of ``X-Reason``: it is kept with each change for ever."""

_TAKEN: Final = frozenset(
    {DOMAIN_EXISTS, ACCOUNT_EXISTS, GROUP_EXISTS, FORWARDER_EXISTS, ACCOUNT_IN_USE}
)
_UNKNOWN: Final = frozenset({NO_DOMAIN, NO_ACCOUNT, NO_FORWARDER})


@dataclass(slots=True)
class Reply:
    """What a handler answers."""

    body: Any = None
    version: int | None = None
    """Of the resource, for its ETag."""
    location: str = ""
    """Path of what was made, below the prefix."""


@dataclass(slots=True)
class Call:
    """One request, checked."""

    backend: Backend
    principal: Principal
    peer: str
    reason: str = ""
    path: Mapping[str, str] = field(default_factory=dict)
    query: Any = None
    body: Any = None
    precondition: Precondition | None = None

    @property
    def origin(self) -> str:
        """Where a change came from, and why, for the envelope of its events."""
        return f"api:{self.peer} {self.reason}".rstrip()

    def read(self, work: Callable[[Context], T]) -> T:
        """Look at the configuration."""
        return self.backend.reading(self.principal, self.peer, work)

    def change(self, resource: Callable[[Context], Resource], work: Callable[[Context], T]) -> T:
        """Change it; see :meth:`~pbx.rest.backend.Backend.changing`."""
        return self.backend.changing(
            self.principal, self.peer, self.origin, resource, work, self.precondition
        )


Handler = Callable[[Call], Reply]


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path."""

    method: str
    path: str
    """Below :data:`PREFIX`, with ``{names}``."""
    name: str
    """``operationId``."""
    tag: str
    summary: str
    summary_ru: str
    scope: str
    handler: Handler
    body: Any = None
    """Type of the request's body; None for none."""
    query: Any = None
    """Struct of the query parameters; None for none."""
    reply: Any = None
    """Type of the answer's body; None for none."""
    status: int = 200
    etag: bool = False
    """The answer carries the ETag of a resource."""
    guarded: bool = False
    """It needs ``If-Match``."""
    refused: bool = False
    """It is a change that rules may refuse: 409 and 422."""
    rejects: bool = False
    """It changes nothing and may not be able to read what it is given: 422."""

    @property
    def merges(self) -> bool:
        """Whether the body is a JSON merge patch (RFC 7396)."""
        return self.method == "PATCH"

    @property
    def repeatable(self) -> bool:
        """Whether an ``Idempotency-Key`` is obeyed."""
        return self.method == "POST" and self.refused


class Api:
    """All operations over one backend, as routes."""

    def __init__(self, operations: Iterable[Operation], backend: Backend) -> None:
        self._backend = backend
        self._answers = IdempotentAnswers()
        by_path: defaultdict[str, dict[str, Operation]] = defaultdict(dict)
        for operation in operations:
            assert operation.method not in by_path[operation.path], operation
            by_path[operation.path][operation.method] = operation
        self.routes: list[BaseRoute] = [
            Route(PREFIX + path, self._endpoint(methods), methods=[*methods])
            for path, methods in by_path.items()
        ]

    def _endpoint(self, methods: Mapping[str, Operation]) -> Callable[[Request], Any]:
        @requires(None)  # each operation has a scope of its own
        async def endpoint(request: Request) -> Response:
            method = "GET" if request.method == "HEAD" else request.method
            return await self._answer(methods[method], request)

        return endpoint

    async def _answer(self, operation: Operation, request: Request) -> Response:
        principal = principal_of(request)
        require_scope(principal, operation.scope)
        raw = b""
        if operation.body is not None:
            _require_content_type(operation, request)
            raw = await request.body()
        call = Call(
            self._backend,
            principal,
            request.client.host if request.client else "",
            _reason(request),
            request.path_params,
            _query(operation, request),
            precondition=_precondition(operation, request),
        )
        call.body = None if operation.body is None else _decoded(operation, raw)

        async def carried_out() -> Response:
            reply = await self._backend.in_thread(lambda: _carry_out(operation, call))
            return _response(operation, request, reply)

        key = request.headers.get("idempotency-key") if operation.repeatable else None
        if key is None:
            return await carried_out()
        return await self._answers.answer(
            (principal.token_id, key),
            (operation.name, request.url.path, raw),
            services_of(request).clock.monotonic(),
            carried_out,
        )


def _carry_out(operation: Operation, call: Call) -> Reply:
    try:
        return operation.handler(call)
    except CliError as error:
        raise _problem_of(error) from error
    except (Problem, LogError):
        raise
    except DomainError as error:
        raise Problem(422, "refused", "A rule refuses this", str(error)) from error
    except PbxError as error:  # of the Router: an address or a table that cannot be read
        raise Problem(422, "refused", "This cannot be read", str(error)) from error


def _problem_of(error: CliError) -> Problem:
    if error.code == NO_RIGHTS:
        return Problem(
            403,
            "right-needed",
            "This token may not do that",
            "its rights are those of its account, see pbx account rights; what is about the whole "
            "server needs a token without --domain",
        )
    if error.code in _UNKNOWN:
        return Problem(404, "not-found", "There is no such object", str(error))
    # 500 stands for an unknown command, too, which nothing here gives.
    if error.code in _TAKEN:
        return Problem(409, "taken", "The name is taken, or the object is in use", str(error))
    return Problem(422, "refused", "A rule refuses this", str(error))


# ------------------------------------------------------------------------------- reading requests


def _require_content_type(operation: Operation, request: Request) -> None:
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    taken = (JSON, MERGE_PATCH) if operation.merges else (JSON,)
    if given not in taken:
        raise Problem(
            415,
            "unsupported-media-type",
            "The body is of a type that is not taken here",
            f"send Content-Type: {' or '.join(taken)}",
            headers={"Accept-Patch" if operation.merges else "Accept": ", ".join(taken)},
        )


def _reason(request: Request) -> str:
    text = request.headers.get("x-reason", "").strip()
    if len(text) > MAX_REASON or (text and not text.isprintable()):
        raise Problem(
            400,
            "bad-header",
            "X-Reason is not taken",
            f"up to {MAX_REASON} printable characters, in Latin-1 as header fields are",
        )
    return text


def _query(operation: Operation, request: Request) -> Any:
    given: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name in given:
            raise _bad_parameter(f"{name[:80]} is given twice")
        given[name] = value
    if operation.query is None:
        if given:
            raise _bad_parameter(f"{next(iter(given))[:80]!r}: this takes no parameters")
        return None
    try:
        return msgspec.convert(given, operation.query, strict=False)
    except msgspec.ValidationError as error:
        raise _bad_parameter(str(error)) from error


def _bad_parameter(detail: str) -> Problem:
    return Problem(400, "bad-parameter", "A parameter of the query is wrong", detail)


def _precondition(operation: Operation, request: Request) -> Precondition | None:
    if not operation.guarded:
        return None
    text = request.headers.get("if-match")
    if text is None:
        raise Problem(
            428,
            "if-match-needed",
            "Say which version you change",
            "GET it and send its ETag as If-Match, so that nobody's change is overwritten unseen; "
            "If-Match: * changes whatever is there",
        )
    return read_precondition(text)


def _decoded(operation: Operation, raw: bytes) -> Any:
    try:
        return msgspec.json.decode(raw, type=operation.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        kind = "invalid-body" if isinstance(error, msgspec.ValidationError) else "malformed-json"
        raise Problem(
            400,
            kind,
            "The body is not what is expected",
            f"{error}; the schema is in {PREFIX}/openapi.json, operation {operation.name}",
        ) from error


# ------------------------------------------------------------------------------- writing answers


def _response(operation: Operation, request: Request, reply: Reply) -> Response:
    headers = {}
    if reply.version is not None:
        headers["ETag"] = etag(reply.version)
        asked = request.headers.get("if-none-match")
        if operation.method == "GET" and asked is not None:
            if read_precondition(asked.replace("W/", "")).fits(reply.version):
                return Response(status_code=304, headers=headers)
    if reply.location:
        headers["Location"] = PREFIX + reply.location
    if operation.reply is None:
        return Response(status_code=operation.status, headers=headers)
    body = msgspec.json.encode(reply.body)
    return Response(body, operation.status, headers=headers, media_type=JSON)


def merged(held: Any, patch: Any) -> Any:
    """The result of a JSON merge patch (RFC 7396 §2)."""
    if not isinstance(patch, dict):
        return patch
    result = dict(held) if isinstance(held, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result
