"""What a reader of a feed asks for: query parameters to values, one form for all transports."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from starlette.datastructures import QueryParams
from starlette.requests import HTTPConnection

from pbx.domain.accounts import domain_name
from pbx.eventlog.feed import BEGINNING, MAX_PATTERNS, MAX_TOKEN, FeedFilter
from pbx.kernel.errors import BadFilter, BadPosition, DomainError
from pbx.web.auth import principal_of, tenant_for
from pbx.web.problems import Problem
from pbx.web.services import services_of

NOW: Final = "now"
"""In place of a position: behind what there is."""
MAX_PAGE: Final = 1000
"""Events in one page: some 500 KB."""
PAGE: Final = 100
MAX_WAIT_S: Final = 60.0
"""Proxies cut silent requests after a minute."""

PARAMETERS: Final = ("after", "type", "category", "stream", "tenant", "limit", "wait", "window")


@dataclass(frozen=True, slots=True)
class FeedRequest:
    """A checked request."""

    filter: FeedFilter
    after: str
    limit: int | None
    """Events in the answer; None: the default of a page, no end of a stream."""
    wait_s: float
    """How long an empty page may wait for an event."""
    window: int
    """Unacknowledged events of a WebSocket."""


def feed_request(connection: HTTPConnection, *, last_event_id: str = "") -> FeedRequest:
    """Read the query of `connection`. Raises :class:`Problem`, ``BadFilter``, ``BadPosition``."""
    query = connection.query_params
    for name in query:
        if name not in PARAMETERS:
            raise Problem(
                400,
                "bad-parameter",
                "There is no such parameter",
                f"{name[:80]!r} is none of {', '.join(PARAMETERS)}",
                parameter=name[:80],
            )
    chosen = FeedFilter(
        categories=_list(query, "category"),
        types=_list(query, "type"),
        streams=_list(query, "stream"),
        tenant=tenant_for(principal_of(connection), _tenant(query)),
    )
    return FeedRequest(
        filter=chosen,
        after=_after(connection, last_event_id or query.get("after", BEGINNING)),
        limit=int(_number(query, "limit", 1, MAX_PAGE)) if "limit" in query else None,
        wait_s=_number(query, "wait", 0, MAX_WAIT_S),
        window=int(_number(query, "window", 1, MAX_PAGE, PAGE)),
    )


def _after(connection: HTTPConnection, text: str) -> str:
    if text == NOW:
        return services_of(connection).log.feed_head()
    if len(text) > MAX_TOKEN:
        raise BadPosition("no position is so long")
    return text


def _list(query: QueryParams, name: str) -> tuple[str, ...]:
    """Repeated, or separated by commas, or both."""
    parts = [part.strip() for text in query.getlist(name) for part in text.split(",")]
    values = tuple(dict.fromkeys(part for part in parts if part))
    if len(values) > MAX_PATTERNS:
        raise BadFilter(f"at most {MAX_PATTERNS} values for {name}")
    return values


def _tenant(query: QueryParams) -> str | None:
    text = query.get("tenant")
    if text is None:
        return None
    try:
        return domain_name(text)
    except DomainError as error:
        raise BadFilter(str(error)) from error


def _number(query: QueryParams, name: str, low: float, high: float, default: float = 0.0) -> float:
    text = query.get(name)
    if text is None:
        return default
    if text.isascii() and text.isdigit() and len(text) < 10 and low <= int(text) <= high:
        return int(text)
    raise Problem(
        400,
        "bad-parameter",
        "A parameter has a wrong value",
        f"{name}={text[:40]}: a whole number from {low:g} to {high:g} is wanted",
        parameter=name,
    )


def accepts(values: Iterable[str], media_type: str) -> bool:
    """Whether an Accept header asks for `media_type` by name."""
    return any(
        part.partition(";")[0].strip().lower() == media_type
        for value in values
        for part in value.split(",")
    )
