"""Feeds: what consumers outside read, at their own pace, and take up again where they stopped.

Every log implements :class:`FeedLog`; HTTP, WebSocket and webhooks (``pbx.web``, ``pbx.webhooks``)
read through it and nothing else. A *token* says how far a reader is. It is text and opaque: the
embedded log writes its position and a mark of the record there, a log of several partitions a
vector of positions. Whoever holds one keeps it and hands it back; nobody compares, counts or makes
one up. ``""`` is before the first record.

The mark tells when a log lost what a reader has seen (its file was restored, or a power cut took
the last second) and has gone on with other records at the same positions: resuming there would be
a gap that nobody notices.

A pair ``(token, None)`` is progress without a record: everything up to `token` was looked at and
nothing fitted. It lets a reader with a narrow filter stop after any amount of work, and resume
there. The filters are applied by the log, the tenant's among them: what a reader may not see never
leaves it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final, Protocol

from pbx.eventlog.record import Record
from pbx.eventlog.registry import CATEGORY_OF_PREFIX, OTHER_CATEGORY
from pbx.kernel.errors import BadFilter, BadPosition, PositionUnknown
from pbx.kernel.events import UPCASTERS

BEGINNING: Final = ""
"""The token before the first record."""

MAX_PATTERNS: Final = 50
"""Patterns in one filter: more than there are types; each costs a comparison a record."""
MAX_PATTERN: Final = 300
"""Characters: as long as the longest stream name (an account in a domain of 253)."""
MAX_TOKEN: Final = 4096
"""Characters of a token: room for the positions of some hundred partitions."""

_PATTERN: Final = re.compile(r"[^\x00-\x20\[\]\x7f]+")
_TOKEN: Final = re.compile(r"([0-9]{1,18})(?:-([0-9a-f]{8}))?", re.ASCII)
_MARK: Final = 0xFFFF_FFFF
"""Bits of a record's time that mark it: two records at one position differ in nanoseconds."""

CATEGORIES: Final = frozenset((*CATEGORY_OF_PREFIX.values(), OTHER_CATEGORY))
"""What a filter may name."""

Step = tuple[str, Record | None]
"""A record with the token behind it; without one, how far the log was looked through."""


class FeedLog(Protocol):
    """A log as its consumers see it. Safe to use from several threads."""

    def read_feed(
        self,
        after: str = BEGINNING,
        *,
        categories: Sequence[str] = (),
        types: Sequence[str] = (),
        streams: Sequence[str] = (),
        tenant: str | None = None,
        limit: int | None = None,
    ) -> Iterator[Step]:
        """Steps after a token, up to the head at some moment after the call.

        An empty sequence does not filter. `types` and `streams` are names or patterns of which one
        must fit: ``*`` stands for any text, ``?`` for one character; `types` are those that are
        stored, see :func:`stored_types`. `tenant` None is everybody's; a text is exactly that
        domain's records. `limit` counts records.

        Raises at once, not at the first step: ``BadPosition`` for a token that is none,
        ``PositionUnknown`` for one of another log, ``BadFilter`` for an unknown category or a
        pattern that cannot be, ``LogUnavailable``.
        """
        ...

    def feed_head(self) -> str:
        """The token behind the last record there is; equal as long as nothing is appended."""
        ...


@dataclass(frozen=True, slots=True)
class FeedFilter:
    """What a reader wants to see, validated. Raises :class:`BadFilter`."""

    categories: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    """As the reader names them: ``leg.answered``, ``leg.answered.v1`` or ``leg.*``."""
    streams: tuple[str, ...] = ()
    tenant: str | None = None

    def __post_init__(self) -> None:
        check_filter(self.categories, self.types, self.streams)

    def read(self, log: FeedLog, after: str, limit: int | None = None) -> Iterator[Step]:
        """The steps of `log` that fit; raises as :meth:`FeedLog.read_feed` does."""
        return log.read_feed(
            after,
            categories=self.categories,
            types=stored_types(self.types),
            streams=self.streams,
            tenant=self.tenant,
            limit=limit,
        )


def check_filter(categories: Sequence[str], types: Sequence[str], streams: Sequence[str]) -> None:
    """Refuse what no record can fit by its form. Raises :class:`BadFilter`."""
    for category in categories:
        if category not in CATEGORIES:
            raise BadFilter(
                f"there is no category {category!r}; there are {', '.join(sorted(CATEGORIES))}"
            )
    for kind, patterns in (("type", types), ("stream", streams)):
        # Types are given thrice: by name, with any version, and by the names they had before.
        if len(patterns) > MAX_PATTERNS * 3:
            raise BadFilter(f"at most {MAX_PATTERNS} patterns for {kind}")
        for pattern in patterns:
            if len(pattern) > MAX_PATTERN or not _PATTERN.fullmatch(pattern):
                raise BadFilter(
                    f"{pattern[:80]!r} is no {kind}: a name, in which * stands for any text and ? "
                    "for one character"
                )


def stored_types(patterns: Sequence[str]) -> tuple[str, ...]:
    """Patterns of the types as they are stored, for those a reader named.

    A name without its version fits all of them. Old versions reach readers in the newest shape,
    under the newest name, so that name has to find them.
    """
    if not patterns:
        return ()
    wanted = [*patterns, *(f"{pattern}.v*" for pattern in patterns if not pattern.endswith("*"))]
    older = [
        source
        for source in UPCASTERS
        if any(fnmatchcase(newest_name(source), pattern) for pattern in wanted)
    ]
    return tuple(dict.fromkeys([*wanted, *older]))


def newest_name(type_name: str) -> str:
    """The name under which readers get events stored as `type_name`."""
    while (step := UPCASTERS.get(type_name)) is not None:
        type_name = step.target
    return type_name


def make_token(position: int, time_ns: int) -> str:
    """The token behind the record at a position, of a log with one sequence."""
    return f"{position}-{time_ns & _MARK:08x}"


def position_of(token: str, time_at: Callable[[int], int | None]) -> int:
    """The position a token of a log with one sequence stands for.

    `time_at` gives the time of the record at a position, None if there is none. A bare position is
    taken too, from people; nothing can be said about its history. Raises :class:`BadPosition`, or
    :class:`PositionUnknown` if the log has no such record.
    """
    if token == BEGINNING:
        return 0
    match = _TOKEN.fullmatch(token)
    if match is None:
        raise BadPosition(
            f"{token[:80]!r} is no position of this log; hand back one you were given"
        )
    position = int(match[1])
    if position == 0:
        return 0
    time_ns = time_at(position)
    if time_ns is None or (match[2] and int(match[2], 16) != time_ns & _MARK):
        raise PositionUnknown(
            f"this log has no such event at position {position}: it lost its end or was restored "
            "from a backup, or the position is of another log. Go on from an older position that "
            "you kept, or read anew"
        )
    return position


def fits(
    categories: Sequence[str], types: Sequence[str], streams: Sequence[str], tenant: str | None
) -> Callable[[Record], bool]:
    """The same filter as a function, for logs without a query language."""

    def keep(record: Record) -> bool:
        return (
            (not categories or record.category in categories)
            and (not types or any(fnmatchcase(record.type, pattern) for pattern in types))
            and (not streams or any(fnmatchcase(record.stream, pattern) for pattern in streams))
            and (tenant is None or record.tenant == tenant)
        )

    return keep
