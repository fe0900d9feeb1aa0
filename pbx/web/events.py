"""``GET /events``: pages of JSON, or server-sent events for those who follow.

Server-sent events as in the HTML standard, §9.2: ``id`` is the token behind an event, so a
browser's ``Last-Event-ID`` resumes by itself.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from pbx.eventlog.batches import BATCH, Batch
from pbx.kernel.errors import LogError
from pbx.tokens import Principal
from pbx.web.auth import UNAUTHORIZED, principal_of, requires
from pbx.web.feed_request import PAGE, FeedRequest, accepts, feed_request
from pbx.web.problems import Problem, problem_of
from pbx.web.services import Services, services_of

EVENT_STREAM: Final = "text/event-stream"
RETRY_MS: Final = 2000
"""Pause a browser makes before it connects again."""


@requires("events:read")
async def events(request: Request) -> Response:
    """A page, or a stream if the reader accepts one."""
    services = services_of(request)
    if not accepts(request.headers.getlist("accept"), EVENT_STREAM):
        return await _page(services, feed_request(request))
    wanted = feed_request(request, last_event_id=request.headers.get("last-event-id", ""))
    wanted.filter.read(services.log, wanted.after, 1)  # refuses a bad position with a status
    if request.method == "HEAD":
        return Response(media_type=EVENT_STREAM)
    return EventStream(services, wanted, principal_of(request))


async def _page(services: Services, wanted: FeedRequest) -> Response:
    limit = wanted.limit or PAGE
    deadline = services.clock.monotonic() + wanted.wait_s
    after = wanted.after
    while True:
        seen = services.log.feed_head()
        batch = await services.next_batch(wanted.filter, after, limit)
        after = batch.after
        left = deadline - services.clock.monotonic()
        if batch.events or left <= 0 or services.closing.is_set():
            return Response(_page_body(batch), media_type="application/json")
        if not batch.more:
            await services.watch.wait_beyond(seen, left)


def _page_body(batch: Batch) -> bytes:
    following = msgspec.json.encode(batch.after)
    return b'{"events":[%s],"next":%s,"more":%s}' % (
        b",".join(item.body for item in batch.events),
        following,
        b"true" if batch.more else b"false",
    )


class EventStream(StreamingResponse):
    """Server-sent events until the reader or the server leaves."""

    def __init__(self, services: Services, wanted: FeedRequest, principal: Principal) -> None:
        self._services = services
        super().__init__(
            event_stream(services, wanted, principal),
            media_type=EVENT_STREAM,
            headers={"X-Accel-Buffering": "no"},  # proxies must not collect it
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            with self._services.feed_place():
                await super().__call__(scope, receive, send)
        except Problem as problem:
            await problem.response()(scope, receive, send)


async def event_stream(
    services: Services, wanted: FeedRequest, principal: Principal
) -> AsyncIterator[bytes]:
    """The text of the stream, in pieces of a batch."""
    clock, heartbeat_s = services.clock, services.settings.heartbeat_s
    after, left = wanted.after, wanted.limit
    yield b"retry: %d\n\n" % RETRY_MS
    said = clock.monotonic()
    while not services.closing.is_set():
        if not services.tokens.still(principal, clock.wall_ns()):
            yield _problem_event(UNAUTHORIZED)
            return
        try:
            seen = services.log.feed_head()
            batch = await services.next_batch(
                wanted.filter, after, BATCH if left is None else min(BATCH, left)
            )
            after = batch.after
            if batch.events:
                yield b"".join(_message(item.token, item.body) for item in batch.events)
                said = clock.monotonic()
            if left is not None:
                left -= len(batch.events)
                if not left:
                    return
            silent_s = clock.monotonic() - said
            if silent_s >= heartbeat_s:
                # The id moves a reader with a narrow filter on, though nothing fitted.
                yield b": alive\n" + (b"id: %s\n" % after.encode() if after else b"") + b"\n"
                said, silent_s = clock.monotonic(), 0.0
            if not batch.more:
                await services.watch.wait_beyond(seen, heartbeat_s - silent_s)
        except LogError as error:
            yield _problem_event(problem_of(error))
            return


def _message(token: str, body: bytes) -> bytes:
    return b"id: %s\ndata: %s\n\n" % (token.encode(), body)


def _problem_event(problem: Problem) -> bytes:
    return b"event: problem\ndata: %s\n\n" % problem.encoded()


ROUTES: Final[list[BaseRoute]] = [Route("/events", events, methods=["GET"])]
