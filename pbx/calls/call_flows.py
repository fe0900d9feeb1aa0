"""How many calls an account may make, and be given, in a period: ``CallOutFlow``, ``CallInpFlow``.

Counts calls, a window that slides: whoever is stopped waits for the oldest call of the period to
leave it, and what was refused does not count. Only accounts with a limit take room. Emergency
calls are never asked (``setup.py``).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from pbx.objects.forms import FlowLimit

if TYPE_CHECKING:
    from pbx.calls.account_limits import LimitBook

MAX_COUNTED: Final = 10_000
"""Calls of one window that are remembered (some 300 KB): a higher limit is none to speak of."""
_KEYS: Final = {False: "CallInpFlow", True: "CallOutFlow"}
_SWEEP_AT: Final = 10_000
"""Windows at which those that are over are looked for."""


class CallFlows:
    """See the module."""

    def __init__(self, book: LimitBook) -> None:
        self._book = book
        self._windows: dict[tuple[str, str], tuple[float, deque[float]]] = {}
        """Account and setting -> length of the period in seconds, times of calls."""
        self._sweep_at = _SWEEP_AT

    def refusal(self, account: str, now: float, *, outgoing: bool) -> str:
        """Count one more call of an account at `now` (monotonic); why not, if it may have none."""
        problem = self.problem(account, now, outgoing=outgoing)
        if not problem:
            self.count(account, now, outgoing=outgoing)
        return problem

    def problem(self, account: str, now: float, *, outgoing: bool) -> str:
        """Why an account may have no more calls now; empty if it may."""
        key = _KEYS[outgoing]
        flow = self._flow(account, key)
        if flow is None:
            return ""
        _, times = self._windows.get((account, key), (0.0, deque[float]()))
        while times and times[0] <= now - flow.period_s:
            times.popleft()
        if len(times) < flow.events:
            return ""
        what = "made" if outgoing else "was given"
        return f"{account} {what} {len(times)} calls in {flow.period_s:.0f} s, its limit ({key})"

    def count(self, account: str, now: float, *, outgoing: bool) -> None:
        """One more call."""
        key = _KEYS[outgoing]
        flow = self._flow(account, key)
        if flow is None:
            return
        _, times = self._windows.get((account, key), (0.0, deque[float]()))
        times.append(now)
        self._windows[account, key] = flow.period_s, times
        if len(self._windows) >= self._sweep_at:
            self._sweep(now)

    def _flow(self, account: str, key: str) -> FlowLimit | None:
        flow = self._book.value(key, account) if account else None
        if isinstance(flow, FlowLimit) and 0 <= flow.events < MAX_COUNTED:
            return flow
        return None

    def _sweep(self, now: float) -> None:
        """Forget windows whose last call has left them; look again when they have doubled."""
        self._windows = {
            key: (period_s, times)
            for key, (period_s, times) in self._windows.items()
            if times and times[-1] > now - period_s
        }
        self._sweep_at = max(_SWEEP_AT, 2 * len(self._windows))

    def statistics(self) -> dict[str, int]:
        """Table size."""
        return {"call_windows": len(self._windows)}
