"""Commands: load a stream, decide, append; again if somebody else was faster.

Called by the command line, the admin role and the API, beside a running server or without one:
all writers go through the log, whose key (stream, version) is the only lock. The decisions are in
``pbx.domain``; here is what they need from outside: the log, digest secrets, and the rules that
span streams.

A rule that spans streams (an account needs its domain, a name belongs to one object) cannot be
atomic, since an append is to one stream. It is checked right before the append; who loses such a
race owns an account in a domain that is gone, which no reader lets log in, or a name that means
what was written last.

``execution`` is the loop around a decision, ``passwords`` what is kept of them,
``administration`` the commands themselves.
"""

from pbx.commands.administration import Administration
from pbx.commands.execution import (
    ACCOUNT,
    DOMAIN,
    MAX_TRIES,
    OBJECT,
    SERVER,
    Aggregate,
    execute,
    load,
)
from pbx.commands.passwords import MAX_PASSWORD, WEAK_PASSWORD, digest_secrets

__all__ = [
    "ACCOUNT",
    "DOMAIN",
    "MAX_PASSWORD",
    "MAX_TRIES",
    "OBJECT",
    "SERVER",
    "WEAK_PASSWORD",
    "Administration",
    "Aggregate",
    "digest_secrets",
    "execute",
    "load",
]
