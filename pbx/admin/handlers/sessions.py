"""Sessions of the command protocol, as those of users (CLI reference §5.12)."""

from __future__ import annotations

from pbx.admin.dispatch import Context, Result, text
from pbx.admin.errors import NO_RIGHTS, CliError
from pbx.admin.syntax import Arguments
from pbx.data import Value
from pbx.kernel.errors import DomainError


def find(c: Context, a: Arguments) -> Result:
    """FINDACCOUNTSESSION: one of them."""
    found = _found(c, a)
    if not found:
        raise DomainError("unknown session")
    return Result(found[0])


def list_sessions(c: Context, a: Arguments) -> Result:
    """LISTACCOUNTSESSIONS."""
    sessions: list[Value] = [*_found(c, a)]
    return Result(sessions)


def get(c: Context, a: Arguments) -> Result:
    """GETSESSION."""
    return Result(c.service.sessions.describe(_session(c, a)))


def kill(c: Context, a: Arguments) -> None:
    """KILLSESSION."""
    c.service.sessions.kill(_session(c, a))


def _found(c: Context, a: Arguments) -> list[str]:
    address = text(a, "address") if "address" in a else ""
    protocol = text(a, "protocol") if "protocol" in a else ""
    return c.service.sessions.find(c.account(a), address, protocol)


def _session(c: Context, a: Arguments) -> str:
    """The id, which is that of a session the administrator may see."""
    session = text(a, "sessionID")
    account = c.service.sessions.account_of(session)
    domain = account.rpartition("@")[2]
    if "domainName" in a:
        wanted = c.domain(a).name
        if not c.authority.administers(wanted, c.world.admin_domain_of(wanted)):
            raise CliError(NO_RIGHTS)
        if domain != wanted:
            raise DomainError("unknown session")
    elif not c.authority.all_domains:
        raise CliError(NO_RIGHTS)
    if not account:
        raise DomainError("unknown session")
    return session
