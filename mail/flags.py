"""Flags of messages: their names, their negative names, and texts such as ``Seen,Undeleted``.

Mail reference §7.4. A flag of the table is written in any letter case; others are keywords, which
begin with ``$`` (RFC 9051 §2.3.2). What is stored is a set of names in their spelling here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple, TypeAlias

from mail.errors import FlagError

Flags: TypeAlias = frozenset[str]

SEEN: Final = "Seen"
DELETED: Final = "Deleted"
MEDIA: Final = "Media"
HIDDEN: Final = "Hidden"
REDIRECTED: Final = "Redirected"
RECENT: Final = "Recent"
"""Of a session, never stored: nothing has it here."""

NAMES: Final = (
    SEEN, "Answered", "Flagged", DELETED, "Draft", RECENT, REDIRECTED, "MDNSent", HIDDEN,
    "Service", MEDIA, "Junk",
)  # fmt: skip
MAX_KEYWORDS: Final = 32
"""Of one message; clients colour with some ten."""
MAX_TEXT: Final = 2000
"""Characters of a list of flags."""
NONE: Final[Flags] = frozenset()

_BY_NAME: Final = {name.lower(): name for name in NAMES}
_KEYWORD: Final = re.compile(r"\$[A-Za-z0-9_.-]{1,40}", re.ASCII)


class FlagSet(NamedTuple):
    """What a text asks for: flags to be there, and flags not to be there."""

    has: Flags = NONE
    lacks: Flags = NONE

    def fits(self, flags: Flags) -> bool:
        """Whether a message with `flags` is meant."""
        return self.has <= flags and not self.lacks & flags

    def applied(self, flags: Flags) -> Flags:
        """`flags` after the change that the text asks for. Raises :class:`FlagError`."""
        if RECENT in self.has | self.lacks:
            raise FlagError("Recent cannot be set: it belongs to a session")
        changed = (flags | self.has) - self.lacks
        if sum(flag.startswith("$") for flag in changed) > MAX_KEYWORDS:
            raise FlagError(f"a message has at most {MAX_KEYWORDS} keywords")
        return changed


def parse_flags(text: str) -> FlagSet:
    """``Seen,Undeleted``; an empty text asks for nothing. Raises :class:`FlagError`."""
    if len(text) > MAX_TEXT:
        raise FlagError(f"a list of flags has at most {MAX_TEXT} characters")
    has: set[str] = set()
    lacks: set[str] = set()
    for word in text.split(","):
        name = word.strip()
        if name:
            flag, there = _flag(name)
            (has if there else lacks).add(flag)
    both = has & lacks
    if both:
        raise FlagError(f"{min(both)} cannot be there and not be there")
    return FlagSet(frozenset(has), frozenset(lacks))


def _flag(name: str) -> tuple[str, bool]:
    known = _BY_NAME.get(name.lower())
    if known is not None:
        return known, True
    if _KEYWORD.fullmatch(name):
        return name, True
    if name[:2].lower() == "un":
        known = _BY_NAME.get(name[2:].lower())
        if known is not None:
            return known, False
        if _KEYWORD.fullmatch(name[2:]):
            return name[2:], False
    raise FlagError(
        f"{name[:40]!r} is no flag: {', '.join(NAMES)}, with Un in front for the opposite, or a "
        "keyword that begins with $"
    )


def ordered(flags: Iterable[str]) -> tuple[str, ...]:
    """Flags in one order whoever set them: that of the table, then keywords by name."""
    held = set(flags)
    known = [name for name in NAMES if name in held]
    return (*known, *sorted(held.difference(NAMES)))


def flags_text(flags: Iterable[str]) -> str:
    """``Seen,Media``."""
    return ",".join(ordered(flags))
