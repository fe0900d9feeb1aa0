"""How many calls at once: in total (overload), per account and per domain.

Counts calls, not transactions; a call gives back what it took on every way it can end
(:meth:`CallLimits.release` in ``Call.finish``). Emergency calls are never asked (``setup.py``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbx.domain.accounts import DomainDeleted
from pbx.domain.rules import DomainLimitsSet

if TYPE_CHECKING:
    from pbx.calls.directory import Directory
    from pbx.kernel.events import Event


class CallLimits:
    """Concurrent calls by account and by domain."""

    __slots__ = ("_active", "_default", "_directory", "_domain_limits")

    def __init__(self, directory: Directory, default: int) -> None:
        """`default` is the limit of accounts without their own, -1 for none."""
        self._directory = directory
        self._default = default
        self._domain_limits: dict[str, int] = {}
        self._active: dict[str, int] = {}
        """By ``name@domain``, and by ``@domain`` for domains that have a limit."""

    def apply(self, stream: str, event: Event) -> None:
        """Fold one event of the configuration."""
        if isinstance(event, DomainLimitsSet):
            name = stream.partition("/")[2]
            if event.calls_limit < 0:
                self._domain_limits.pop(name, None)
            else:
                self._domain_limits[name] = event.calls_limit
        elif isinstance(event, DomainDeleted):
            self._domain_limits.pop(stream.partition("/")[2], None)

    def take(self, account: str, counted: list[str]) -> str | None:
        """Count a call for `account` (noted in `counted`); the reason if it may have no more.

        A call counts once for an account, whatever parts it plays in it, and once for a domain.
        A domain's calls are counted from when it has a limit.
        """
        if not account or account in counted:
            return None
        active = self._active.get(account, 0)
        entry = self._directory.by_address(account)
        limit = self._default if entry is None or entry.calls_limit < 0 else entry.calls_limit
        if 0 <= limit <= active:
            return f"{account} has {active} calls, its limit"
        if self._domain_limits:
            domain = account[account.rindex("@") :]
            domain_limit = self._domain_limits.get(domain[1:])
            if domain_limit is not None and domain not in counted:
                of_domain = self._active.get(domain, 0)
                if domain_limit <= of_domain:
                    return f"the domain {domain[1:]} has {of_domain} calls, its limit"
                self._active[domain] = of_domain + 1
                counted.append(domain)
        self._active[account] = active + 1
        counted.append(account)
        return None

    def release(self, counted: list[str]) -> None:
        """Give back what :meth:`take` noted."""
        active = self._active
        for account in counted:
            left = active.get(account, 0) - 1
            if left > 0:
                active[account] = left
            else:
                active.pop(account, None)

    def active(self, account: str) -> int:
        """Calls of `account` now; of a domain as ``@domain``."""
        return self._active.get(account, 0)

    def statistics(self) -> dict[str, int]:
        """Table size; 0 when no call is up."""
        return {"counted_accounts": len(self._active)}
