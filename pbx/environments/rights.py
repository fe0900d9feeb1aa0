"""Who may do what in the file storage of another account.

The owner may do everything, and so may the domain's administrators with ``CanAccessWebSites``.
Others have what an attribute of the file, or of the nearest directory that has one, says::

    <ACL><subKey key="user2@example.com">lr</subKey></ACL>

Letters are those of mailboxes: ``l`` list, ``r`` read, ``i`` (or ``w``) write, ``x`` delete.
``anyone`` is everybody, ``anyone@`` every account of the owner's domain. What lies below
``private`` is the owner's only, whatever an attribute says. Without an attribute nobody else gets
in.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum
from typing import Final

from pbx.domain.configuration import SETTINGS, Configuration
from pbx.domain.storage import StorageState, is_private

ACL_CODE: Final = "CanAccessWebSites"
"""The right of a domain's administrators."""
_ALL_DOMAINS: Final = frozenset({"Master", "UserAccounts"})
_DOMAIN: Final = "Domain"
_ACL: Final = re.compile(r"\s*<ACL[\s>/]")
_ENTRY: Final = re.compile(
    r"<subKey\s+key\s*=\s*(\"[^\"<]*\"|'[^'<]*')\s*>\s*([A-Za-z]*)\s*</subKey\s*>"
)


def administers_files(
    who: str, owner: str, configuration_of: Callable[[str], Configuration], main_domain: str
) -> bool:
    """Whether an account may handle all files of another, as an administrator of its domain.

    `configuration_of` gives the configuration of a stream (``account/…``, ``domain/…``). Server
    rights count for accounts of the main domain only (Objects and settings reference §7).
    """
    rights = frozenset(configuration_of(f"account/{who}").rights)
    own, theirs = who.rpartition("@")[2], owner.rpartition("@")[2]
    if own == main_domain and not rights.isdisjoint(_ALL_DOMAINS):
        return True
    if _DOMAIN not in rights or ACL_CODE not in rights:
        return False
    if own == theirs:
        return True
    named = configuration_of(f"domain/{theirs}").section(SETTINGS).get("AdminDomainName")
    return isinstance(named, str) and named.lower() == own


class Right(Enum):
    """What somebody wants to do; the value are the letters of which one is enough."""

    LIST = "l"
    READ = "r"
    WRITE = "iw"
    DELETE = "x"


def granted(state: StorageState, path: str, owner: str, who: str, right: Right) -> bool:
    """Whether the attributes let `who` (``name@domain``) do it; `path` may not exist yet."""
    if is_private(path):
        return False
    while True:
        entry = state.entries.get(path)
        for attribute in () if entry is None else entry.attributes:
            if _ACL.match(attribute):
                return not _letters(attribute, owner, who).isdisjoint(right.value)
        if not path:
            return False
        path = path.rpartition("/")[0]


def _letters(attribute: str, owner: str, who: str) -> frozenset[str]:
    same_domain = who.rpartition("@")[2] == owner.rpartition("@")[2]
    names = {who, "anyone", *(("anyone@",) if same_domain and who else ())}
    found: set[str] = set()
    for key, letters in _ENTRY.findall(attribute):
        if key[1:-1].strip().lower() in names:
            found.update(letters.lower())
    return frozenset(found)
