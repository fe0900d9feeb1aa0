"""``Idempotency-Key``: who repeats a POST after a lost answer gets that answer, and nothing twice.

As the IETF draft "The Idempotency-Key HTTP Header Field" has it. Kept in memory: after a restart of
the server a repeated creation is answered 409, which names what is there.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final

from starlette.responses import Response

from pbx.web.problems import HANDLED, Problem, problem_of

MAX_KEY: Final = 255
KEPT_S: Final = 86_400.0
"""A client that repeats after a day does not repeat because of a lost answer."""
MAX_ANSWERS: Final = 10_000
"""Some 10 MB; the oldest is forgotten first."""
MAX_ANSWER_BYTES: Final = 65_536
"""Longer answers are not kept: those of creations have some hundred bytes."""


class _Kept:
    """An answer, or a request that is being carried out."""

    __slots__ = ("at", "request", "response")

    def __init__(self, request: bytes, at: float) -> None:
        self.request = request
        self.at = at
        self.response: Response | None = None


class IdempotentAnswers:
    """Answers by token and key. For one event loop."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, str], _Kept] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    async def answer(
        self,
        key: tuple[str, str],
        request: tuple[str, str, bytes],
        now: float,
        carry_out: Callable[[], Awaitable[Response]],
    ) -> Response:
        """The answer to `request`, carried out once for each `key` (of the token, and its own).

        Raises :class:`Problem` for a key that is none, or that another request had; and what
        `carry_out` raises, after which the same request may be tried again.
        """
        if not 1 <= len(key[1]) <= MAX_KEY or not key[1].isprintable():
            raise Problem(
                400,
                "bad-header",
                "Idempotency-Key is not taken",
                f"1 to {MAX_KEY} printable characters",
            )
        self._forget(now)
        shown = _fingerprint(request)
        kept = self._kept.get(key)
        if kept is None:
            return await self._first(key, shown, now, carry_out)
        if kept.request != shown:
            raise Problem(
                422,
                "idempotency-key-reused",
                "This Idempotency-Key belongs to another request",
                "make a new key for each request; repeat only the same request with the same key",
            )
        if kept.response is None:
            raise Problem(
                409,
                "in-progress",
                "The request with this Idempotency-Key is being carried out",
                "wait for its answer, or repeat it in a second",
                headers={"Retry-After": "1"},
            )
        return _replayed(kept.response)

    async def _first(
        self,
        key: tuple[str, str],
        shown: bytes,
        now: float,
        carry_out: Callable[[], Awaitable[Response]],
    ) -> Response:
        kept = self._kept[key] = _Kept(shown, now)
        if len(self._kept) > MAX_ANSWERS:
            self._kept.popitem(last=False)
        try:
            try:
                response = await carry_out()
            except HANDLED as error:
                problem = problem_of(error)
                if problem.status >= 500:
                    raise
                response = problem.response()
        except BaseException:
            self._kept.pop(key, None)  # nothing is known of it: it may be tried again
            raise
        if len(response.body) > MAX_ANSWER_BYTES:
            self._kept.pop(key, None)
        else:
            kept.response = response
        return response

    def _forget(self, now: float) -> None:
        while self._kept:
            oldest = next(iter(self._kept))
            if self._kept[oldest].at + KEPT_S > now:
                return
            del self._kept[oldest]


def _fingerprint(request: tuple[str, str, bytes]) -> bytes:
    name, path, body = request
    return hashlib.sha256(b"\0".join((name.encode(), path.encode(), body))).digest()


def _replayed(response: Response) -> Response:
    headers = {
        name: value
        for name, value in response.headers.items()
        if name not in ("content-length", "content-type")
    }
    headers["Idempotency-Replayed"] = "true"
    media_type = response.headers.get("content-type")
    return Response(response.body, response.status_code, headers=headers, media_type=media_type)
