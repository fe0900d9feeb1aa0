"""Planted bugs: each breaks the product on purpose, and the simulator has to notice.

``python -m tests.simulation --plant NAME`` must fail; ``tests/simulation/test_planted.py`` runs
all of them. A bug is a patch of one method of the product, undone afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from media.native.relay import StreamStats
from pbx.calls.call import Call
from pbx.calls.leg import Leg, Role
from pbx.calls.locations import Locations
from pbx.domain.calls import CallEnded
from tests.simulation.media import SimulatedRelay


def _bye_lost_in_renegotiation() -> Iterator[tuple[type, str, Callable[..., Any]]]:
    """The BYE of the callee is not passed on while an offer of the caller is on its way."""
    original = Call.on_usage_ended

    def broken(self: Call, leg: Leg, event: Any, now: float) -> None:
        if leg.role is Role.CALLEE and self.negotiating is not None and event.by == "remote":
            return
        original(self, leg, event, now)

    yield Call, "on_usage_ended", broken


def _record_twice() -> Iterator[tuple[type, str, Callable[..., Any]]]:
    """``call.ended`` is written twice when the caller cancels."""
    original = Call._close

    def broken(self: Call, now: float) -> None:
        original(self, now)
        if self.end is not None and self.end.status == 487:
            self.journal.write(
                CallEnded(status=487, cause="cancel", q850=16, ended_by="caller", elapsed_ms=0)
            )

    yield Call, "_close", broken


def _ports_kept() -> Iterator[tuple[type, str, Callable[..., Any]]]:
    """The relay forgets to close every fiftieth port."""
    original = SimulatedRelay.close
    count = [0]

    def broken(self: SimulatedRelay, handle: int) -> StreamStats:
        count[0] += 1
        if count[0] % 50:
            return original(self, handle)
        return self.stats(handle)

    yield SimulatedRelay, "close", broken


def _binding_not_restored() -> Iterator[tuple[type, str, Callable[..., Any]]]:
    """After a restart every twentieth stored binding is not folded."""
    original = Locations.fold
    count = [0]

    def broken(self: Locations, stream: str, version: int, event: Any) -> None:
        count[0] += 1
        if count[0] % 20:
            original(self, stream, version, event)

    yield Locations, "fold", broken


def _late_end() -> Iterator[tuple[type, str, Callable[..., Any]]]:
    """Calls note their end half a second late."""
    original = Call.finish

    def broken(self: Call, end: Any, now: float, reason: str = "") -> None:
        original(self, end, now + 0.5, reason)

    yield Call, "finish", broken


PLANTS: dict[str, Callable[[], Iterator[tuple[type, str, Callable[..., Any]]]]] = {
    "bye-lost-in-renegotiation": _bye_lost_in_renegotiation,
    "record-twice": _record_twice,
    "ports-kept": _ports_kept,
    "binding-not-restored": _binding_not_restored,
    "late-end": _late_end,
}


@contextmanager
def planted(name: str) -> Iterator[None]:
    """Run with the bug `name`."""
    owner, attribute, broken = next(PLANTS[name]())
    with patch.object(owner, attribute, broken):
        yield
