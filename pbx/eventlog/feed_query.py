"""A feed's filter as SQL conditions of the embedded log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from pbx.eventlog.registry import CATEGORY_OF_PREFIX, OTHER_CATEGORY, prefixes_of

_MANY: Final = ("call", "cdr")
"""Kinds of streams that most events are about."""
MAX_THIN: Final = 50
"""Streams named one by one up to which they are looked up by key instead of by scanning."""


class Condition(NamedTuple):
    """Text to follow another condition, and its values."""

    text: str
    values: tuple[str, ...]


def feed_condition(
    categories: Sequence[str], types: Sequence[str], streams: Sequence[str], tenant: str | None
) -> Condition:
    """The whole filter. The unary plus keeps SQLite from the stream key, whose order is another:
    it would sort everything for each chunk."""
    parts: list[str] = []
    values: list[str] = []
    if categories:
        any_of = [_category(category) for category in categories]
        parts.append(f"({' OR '.join(part.text for part in any_of)})")
        values += [value for part in any_of for value in part.values]
    for column, patterns in (("type", types), ("+stream", streams)):
        if patterns:
            parts.append(f"({' OR '.join([f'{column} GLOB ?'] * len(patterns))})")
            values += patterns
    if tenant is not None:
        parts.append("tenant = ?")
        values.append(tenant)
    return Condition("".join(f" AND {part}" for part in parts), tuple(values))


def _category(category: str) -> Condition:
    if category == OTHER_CATEGORY:
        known = [_prefix(prefix) for prefix in CATEGORY_OF_PREFIX]
        return Condition(
            f"NOT ({' OR '.join(part.text for part in known)})",
            tuple(value for part in known for value in part.values),
        )
    any_of = [_prefix(prefix) for prefix in prefixes_of(category)]
    return Condition(
        f"({' OR '.join(part.text for part in any_of)})",
        tuple(value for part in any_of for value in part.values),
    )


def _prefix(prefix: str) -> Condition:
    # "0" follows "/" in ASCII; `server` is a stream without a slash.
    return Condition(
        "(+stream >= ? AND +stream < ? OR +stream = ?)", (f"{prefix}/", f"{prefix}0", prefix)
    )


def thin_streams(streams: Sequence[str], *, all_of_them: bool) -> Condition | None:
    """A condition that the stream key answers, if the streams are few; else None.

    Named streams are. Those of a kind (``token/*``) are too unless they are calls, but a reader of
    pages would collect them anew for each page: they count when somebody reads `all_of_them`.
    """
    if not streams or len(streams) > MAX_THIN:
        return None
    parts: list[str] = []
    values: list[str] = []
    for stream in streams:
        kind, slash, rest = stream.partition("/")
        if not any(sign in stream for sign in "*?"):
            parts.append("stream = ?")
            values.append(stream)
        elif all_of_them and slash and rest == "*" and kind not in _MANY and kind.isalpha():
            parts.append("(stream >= ? AND stream < ?)")
            values += [f"{kind}/", f"{kind}0"]
        else:
            return None
    return Condition(f" AND ({' OR '.join(parts)})", tuple(values))
