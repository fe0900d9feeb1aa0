"""Logins to accounts: stream ``login/<name@domain>``, category ``pbx.nodes``.

Facts, thinned out by who writes them: a script that logs in every minute would fill the log. A
login is written when it comes from another address than the one before, or an hour after it; a
failure once in ten minutes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple, Protocol

from pbx.kernel.events import Durability, Event, event

NODES = "pbx.nodes"

SUCCESS_EVERY_S: Final = 3600.0
FAILURE_EVERY_S: Final = 600.0


@event("login.succeeded.v1", category=NODES, durability=Durability.OBSERVED)
class LoginSucceeded(Event):
    """The owner came in."""

    address: str
    protocol: str = ""


@event("login.failed.v1", category=NODES, durability=Durability.OBSERVED, expendable=True)
class LoginFailed(Event):
    """Somebody tried to."""

    address: str
    protocol: str = ""


class LoginEntry(NamedTuple):
    """When, and from where."""

    time_ns: int
    address: str


class Logins(NamedTuple):
    """What an account's info tells of logins."""

    last: LoginEntry | None = None
    previous: LoginEntry | None = None
    failed: LoginEntry | None = None


class _Record(Protocol):
    @property
    def time_ns(self) -> int: ...

    @property
    def event(self) -> Event: ...


def logins_of(records: Iterable[_Record]) -> Logins:
    """Fold the records of a stream of logins."""
    logins = Logins()
    for record in records:
        match record.event:
            case LoginSucceeded(address=address):
                last = LoginEntry(record.time_ns, address)
                logins = logins._replace(last=last, previous=logins.last)
            case LoginFailed(address=address):
                logins = logins._replace(failed=LoginEntry(record.time_ns, address))
    return logins


def login_stream(account: str) -> str:
    """Where the logins of an account are."""
    return f"login/{account}"
