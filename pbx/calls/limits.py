"""How many calls at once: in total (overload) and per account.

Counts calls, not transactions; a call gives back what it took on every way it can end
(:meth:`CallLimits.release` in ``Call.finish``). Emergency calls are not known yet to this part.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbx.calls.directory import Directory


class CallLimits:
    """Concurrent calls by account."""

    __slots__ = ("_active", "_default", "_directory")

    def __init__(self, directory: Directory, default: int) -> None:
        """`default` is the limit of accounts without their own, -1 for none."""
        self._directory = directory
        self._default = default
        self._active: dict[str, int] = {}

    def take(self, account: str, counted: list[str]) -> str | None:
        """Count a call for `account` (noted in `counted`); the reason if it may have no more.

        A call counts once for an account, whatever parts it plays in it.
        """
        if not account or account in counted:
            return None
        active = self._active.get(account, 0)
        entry = self._directory.by_address(account)
        limit = self._default if entry is None or entry.calls_limit < 0 else entry.calls_limit
        if 0 <= limit <= active:
            return f"{account} has {active} calls, its limit"
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
        """Calls of `account` now."""
        return self._active.get(account, 0)

    def statistics(self) -> dict[str, int]:
        """Table size; 0 when no call is up."""
        return {"counted_accounts": len(self._active)}
