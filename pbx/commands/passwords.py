"""Passwords: what may be one, and what is kept of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from pbx.domain.accounts import Secrets
from pbx.kernel.errors import DomainError
from sip.digest import ha1

MAX_PASSWORD: Final = 256
"""Characters; more than any phone has room for."""
WEAK_PASSWORD: Final = 8
"""Shorter ones are taken, since old phones and scripts have them, and warned about."""


def digest_secrets(name: str, domain: str, password: str, aliases: Sequence[str] = ()) -> Secrets:
    """What is kept of a password. Raises :class:`DomainError` if it cannot be one."""
    if not 1 <= len(password) <= MAX_PASSWORD:
        raise DomainError(f"a password has 1 to {MAX_PASSWORD} characters, not {len(password)}")
    if not password.isprintable():
        raise DomainError("a password has printable characters only: phones cannot send others")
    pairs = {
        login: (ha1("MD5", login, domain, password), ha1("SHA-256", login, domain, password))
        for login in (name, *aliases)
    }
    ha1_md5, ha1_sha256 = pairs.pop(name)
    return Secrets(domain, ha1_md5, ha1_sha256, json.dumps(pairs) if pairs else "")
