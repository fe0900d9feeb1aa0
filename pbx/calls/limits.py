"""How many calls at once, per account and per domain; how many in a period, per account.

Counts calls, not transactions; a call gives back what it took on every way it can end
(:meth:`CallLimits.release` in ``Call.finish``). Emergency calls are never asked (``setup.py``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbx.calls.call_flows import CallFlows

if TYPE_CHECKING:
    from pbx.calls.directory import Directory


class CallLimits:
    """Concurrent calls by account and by domain."""

    __slots__ = ("_active", "_default", "_directory", "flows")

    def __init__(self, directory: Directory, default: int) -> None:
        """`default` is the limit of accounts without their own, -1 for none."""
        self._directory = directory
        self.flows = CallFlows(directory.settings)
        self._default = default
        self._active: dict[str, int] = {}
        """By ``name@domain``, and by ``@domain`` for domains that have a limit."""

    def admit(
        self, account: str, counted: list[str], now: float, *, outgoing: bool = False
    ) -> str | None:
        """:meth:`take`, and one more call of this period; the reason if there may be no more."""
        if not account or account in counted:
            return None
        flows = self.flows
        refusal = flows.problem(account, now, outgoing=outgoing) or self.take(account, counted)
        if not refusal:
            flows.count(account, now, outgoing=outgoing)
        return refusal

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
        domain = account[account.rindex("@") :]
        domain_limit = self._directory.calls_limit_of(domain[1:])
        if domain_limit >= 0 and domain not in counted:
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
        return {"counted_accounts": len(self._active), **self.flows.statistics()}
