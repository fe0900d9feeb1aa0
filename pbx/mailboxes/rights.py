"""Who may do what with a mailbox: access control lists (mail reference §7.5).

The owner has all rights, a master administrator too. For anybody else: what all entries give that
mean him, more by those with ``+`` in front of the identifier, less by those with ``-``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from pbx.domain.mailboxes import RIGHTS, AccessEntry

LOOKUP: Final = "l"
READ: Final = "r"
SEEN: Final = "s"
WRITE: Final = "w"
INSERT: Final = "i"
CREATE: Final = "c"
DELETE: Final = "d"
ADMINISTER: Final = "a"

ALL: Final = RIGHTS

Member = Callable[[str, str], bool]
"""Whether a group (``name@domain``) has an account as a member."""


def effective(entries: Iterable[AccessEntry], owner: str, who: str, member: Member) -> str:
    """The rights of account `who` in a mailbox of account `owner`, as letters in their order."""
    if who == owner:
        return ALL
    given: set[str] = set()
    taken: set[str] = set()
    for entry in entries:
        sign = entry.who[:1] if entry.who[:1] in ("+", "-") else ""
        if _means(entry.who.removeprefix(sign), owner, who, member):
            (taken if sign == "-" else given).update(entry.rights)
    return "".join(letter for letter in ALL if letter in given - taken)


def _means(identifier: str, owner: str, who: str, member: Member) -> bool:
    domain = owner.rpartition("@")[2]
    if identifier.startswith("#"):
        group = identifier[1:]
        return member(group if "@" in group else f"{group}@{domain}", who)
    name, at, named_domain = identifier.partition("@")
    if name == "anyone":
        return not at or who.rpartition("@")[2] == named_domain
    return who == (identifier if at else f"{name}@{domain}")
