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
from pbx.eventlog import Record
from pbx.mailboxes.store import MailStore, Stored
from pbx.mailboxes.waiting import WaitingMessages
from pbx.signal import restore
from pbx.voice.host import ApplicationHost
from tests.simulation.media import SimulatedRelay

Broken = tuple[Any, str, Callable[..., Any]]
"""Where, which attribute, what is there instead."""


def _bye_lost_in_renegotiation() -> Iterator[Broken]:
    """The BYE of the callee is not passed on while an offer of the caller is on its way."""
    original = Call.on_usage_ended

    def broken(self: Call, leg: Leg, event: Any, now: float) -> None:
        if leg.role is Role.CALLEE and self.negotiating is not None and event.by == "remote":
            return
        original(self, leg, event, now)

    yield Call, "on_usage_ended", broken


def _record_twice() -> Iterator[Broken]:
    """``call.ended`` is written twice when the caller cancels."""
    original = Call._close

    def broken(self: Call, now: float) -> None:
        original(self, now)
        if self.end is not None and self.end.status == 487:
            self.journal.write(
                CallEnded(status=487, cause="cancel", q850=16, ended_by="caller", elapsed_ms=0)
            )

    yield Call, "_close", broken


def _ports_kept() -> Iterator[Broken]:
    """The relay forgets to close every fiftieth port."""
    original = SimulatedRelay.close
    count = [0]

    def broken(self: SimulatedRelay, handle: int) -> StreamStats:
        count[0] += 1
        if count[0] % 50:
            return original(self, handle)
        return self.stats(handle)

    yield SimulatedRelay, "close", broken


def _binding_not_restored() -> Iterator[Broken]:
    """After a restart every twentieth stored binding is not folded."""
    original = Locations.fold
    count = [0]

    def broken(self: Locations, stream: str, version: int, event: Any) -> None:
        count[0] += 1
        if count[0] % 20:
            original(self, stream, version, event)

    yield Locations, "fold", broken


def _late_end() -> Iterator[Broken]:
    """Calls note their end half a second late."""
    original = Call.finish

    def broken(self: Call, end: Any, now: float, reason: str = "") -> None:
        original(self, end, now + 0.5, reason)

    yield Call, "finish", broken


def _mail_lost() -> Iterator[Broken]:
    """Every fourth message that a program sends is acknowledged and not stored."""
    original = MailStore._decided
    count = [0]

    def broken(self: MailStore, stream: str, level: Any, decide: Any, meta: Any) -> Any:
        count[0] += 1
        if count[0] % 4 or stream.count("/") == 1:
            return original(self, stream, level, decide, meta)
        decide(level().state)
        return level().state

    yield MailStore, "_decided", broken


def _mail_twice() -> Iterator[Broken]:
    """Every fourth delivery takes place twice."""
    original = MailStore.store
    count = [0]

    def broken(self: MailStore, *where: Any, token: str, **more: Any) -> Stored:
        count[0] += 1
        if count[0] % 4 == 0:
            original(self, *where, token=f"{token}-again", **more)
        return original(self, *where, token=token, **more)

    yield MailStore, "store", broken


def _hang_up_loses_message() -> Iterator[Broken]:
    """Who hangs up while a program records has said nothing."""
    original = ApplicationHost.line_closed

    def broken(self: ApplicationHost, line: Any, now: float) -> None:
        recording = self.recordings.get(line.task.task_id)
        original(self, line, now)
        if recording is not None:
            self.recorded_as(recording, None, now)

    yield ApplicationHost, "line_closed", broken


def _lamp_forgets() -> Iterator[Broken]:
    """A lamp does not notice that messages are marked."""
    original = WaitingMessages.apply

    def broken(self: WaitingMessages, record: Record) -> None:
        if record.type != "mail.flags-set.v1":
            original(self, record)

    yield WaitingMessages, "apply", broken


def _tasks_left_open() -> Iterator[Broken]:
    """Programs that died with the server get no end."""
    yield restore, "_close_tasks", lambda *_: None


def _sessions_kept() -> Iterator[Broken]:
    """Every tenth session of a program is never forgotten."""
    original = ApplicationHost.forget_session
    count = [0]

    def broken(self: ApplicationHost, session: Any) -> None:
        count[0] += 1
        if count[0] % 10:
            original(self, session)

    yield ApplicationHost, "forget_session", broken


PLANTS: dict[str, Callable[[], Iterator[Broken]]] = {
    "bye-lost-in-renegotiation": _bye_lost_in_renegotiation,
    "record-twice": _record_twice,
    "ports-kept": _ports_kept,
    "binding-not-restored": _binding_not_restored,
    "late-end": _late_end,
    "mail-lost": _mail_lost,
    "mail-twice": _mail_twice,
    "hang-up-loses-message": _hang_up_loses_message,
    "lamp-forgets": _lamp_forgets,
    "tasks-left-open": _tasks_left_open,
    "sessions-kept": _sessions_kept,
}
IN_PROGRAMS = frozenset(tuple(PLANTS)[5:])
"""Those that only calls to programs can meet."""


@contextmanager
def planted(name: str) -> Iterator[None]:
    """Run with the bug `name`."""
    owner, attribute, broken = next(PLANTS[name]())
    with patch.object(owner, attribute, broken):
        yield
