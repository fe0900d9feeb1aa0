"""Pages: where the next one begins is in an opaque cursor, not in a number of objects.

A cursor is the sort key of the last object of a page. Objects that come or go between two pages
move nothing: each that was there all the time is shown once.
"""

from __future__ import annotations

import base64
import binascii
import heapq
from collections.abc import Iterable
from typing import Any

import msgspec

from pbx.web.problems import Problem


def cursor_of(listing: str, *key: str | int) -> str:
    """The place behind an object. `listing` keeps cursors of other listings out."""
    return base64.urlsafe_b64encode(msgspec.json.encode([listing, *key])).decode().rstrip("=")


def read_cursor(listing: str, text: str, kinds: tuple[type, ...]) -> tuple[Any, ...] | None:
    """The key in a cursor; None for an empty one. Raises :class:`Problem` if it is none of ours."""
    if not text:
        return None
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        parts = msgspec.json.decode(raw, type=list[str | int])
    except (binascii.Error, ValueError, msgspec.DecodeError):
        parts = []
    name, *key = parts or [""]
    if name != listing or [type(part) for part in key] != list(kinds):
        raise Problem(
            400,
            "bad-cursor",
            "This is no cursor of this listing",
            "hand back `next` of the page before as it came, or leave it out for the first page",
        )
    return tuple(key)


def named_page(
    listing: str, names: Iterable[str], cursor: str, limit: int, filter: str = ""
) -> tuple[list[str], str | None]:
    """The names of one page in order, and the cursor of the next (None: there is none)."""
    found = read_cursor(listing, cursor, (str,))
    after = "" if found is None else found[0]
    wanted = filter.strip().lower()
    rest = (name for name in names if name > after and wanted in name)
    page = heapq.nsmallest(limit + 1, rest)
    if len(page) <= limit:
        return page, None
    return page[:limit], cursor_of(listing, page[limit - 1])
