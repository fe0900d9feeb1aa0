"""``/schemas``: what the events look like, for machines."""

from __future__ import annotations

import functools
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from pbx.eventlog.schemas import INDEX_FILE, as_text, schema_files
from pbx.web.auth import requires
from pbx.web.problems import Problem


@functools.cache
def _documents() -> dict[str, bytes]:
    return {name: as_text(document).encode() for name, document in schema_files().items()}


@requires(None)
async def schema_index(request: Request) -> Response:
    """The list of types, and where each schema is."""
    return _document(INDEX_FILE)


@requires(None)
async def schema(request: Request) -> Response:
    """One document."""
    return _document(request.path_params["name"])


def _document(name: str) -> Response:
    body = _documents().get(name)
    if body is None:
        raise Problem(404, "no-schema", "There is no such schema", "GET /schemas lists them")
    kind = (
        "application/json" if name in (INDEX_FILE, "asyncapi.json") else "application/schema+json"
    )
    return Response(body, media_type=kind)


ROUTES: Final[list[BaseRoute]] = [
    Route("/schemas", schema_index, methods=["GET"]),
    Route("/schemas/{name}", schema, methods=["GET"]),
]
