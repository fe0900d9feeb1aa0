"""Mailboxes of the simulated world: the product's store and provider on a simulated thread.

:class:`MailMachine` is what outlives a crash (the texts) and what the judge knows: which deliveries
programs were told of, and which were under way when the server was killed. :class:`ProcessMail` is
one life's part. A kill meets the store's thread at any of its appends, a full disk all of them.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from random import Random
from typing import Any, Final, NamedTuple, cast

from media import wav
from media.server.files import RecordingWriter, Written
from pbx.blobs import MemoryBlobs
from pbx.calls.event_packages import MessageCounts
from pbx.domain.mailboxes import MailStored
from pbx.eventlog import EventLog, LogUnavailable, MemoryLog, Meta, Position
from pbx.kernel.events import Event
from pbx.mailboxes.bodies import Bodies
from pbx.mailboxes.provider import MailProvider
from pbx.mailboxes.store import MailStore
from pbx.mailboxes.waiting import WaitingMessages
from pbx.mailboxes.worker import Done, Job, outcome_of
from pbx.router import RoutingState
from pbx.script.runtime.node import TaskNode
from tests.support.clock import Scheduler

#: As the signal role's (``pbx.signal.mail``).
POLL_S: Final = 0.25
#: A job waits for disks.
JOB_S: Final = 0.004
#: Until the loop has its outcome.
HANDED_S: Final = 0.0005
#: Of jobs that a crash meets, while such are left.
CRASHES: Final = 0.05
ROOT: Final = Path("/simulated-recordings")

Tokens = dict[str, set[str]]
"""Deliveries by account."""


class Killed(BaseException):
    """The process dies in the middle of a job: no handler of the product sees it."""


class Kept(NamedTuple):
    """A recording that a program was given."""

    task_id: str
    program: str
    account: str
    length_ms: int
    at: float


class MailMachine:
    """See the module."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.blobs = MemoryBlobs()
        self.bodies = Bodies(self.blobs, rng.randbytes)
        self.told: Tokens = defaultdict(set)
        self.doubtful: Tokens = defaultdict(set)
        self.recordings = Recordings()
        self.kept: list[Kept] = []
        self.crash: Callable[[], None] = lambda: None
        """Kills the server."""
        self.crashes_left = 0
        """Of those that come in the middle of a job."""
        self.watched: tuple[str, ...] = ()
        """Accounts whose lamps are looked at."""


class Recordings:
    """Files of the media service in memory, and the store from which programs take them."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    def file_of(self, name: str) -> str:
        return f"{name}.wav"

    def take(self, name: str) -> bytes | None:
        return self.files.pop(name, None)


class MemoryRecordingWriter(RecordingWriter):
    """Without a thread: complete as soon as it is closed."""

    def __init__(self, recordings: Recordings) -> None:
        self._store = recordings
        self._open: dict[int, tuple[Path, int, int, bytearray]] = {}
        self._done: list[Written] = []
        self._last = 0

    def open(self, path: Path, rate_hz: int, channels: int) -> int:
        self._last += 1
        self._open[self._last] = (path, rate_hz, channels, bytearray())
        return self._last

    def append(self, number: int, data: bytes) -> None:
        self._open[number][3].extend(data)

    def close(self, number: int) -> None:
        path, rate_hz, channels, data = self._open.pop(number)
        whole = wav.header(len(data), rate_hz, channels) + bytes(data)
        self._store.files[path.stem] = whole
        self._done.append(Written(number, path, len(whole), ""))

    def finished(self) -> list[Written]:
        done, self._done = self._done, []
        return done

    def shutdown(self) -> None:
        for number in list(self._open):
            self.close(number)


class _StoreLog:
    """The log as the store sees it: may be full, may be the last thing this process sees."""

    def __init__(self, log: MemoryLog, healthy: Callable[[], bool]) -> None:
        self._log = log
        self._healthy = healthy
        self.stored: list[tuple[str, str]] = []
        """Account and token of what was appended since somebody looked."""
        self.appends_left: int | None = None
        """Then the process is dead; None: it lives."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    def append(self, stream: str, version: int, events: Sequence[Event], meta: Meta) -> Position:
        if self.appends_left is not None:
            if not self.appends_left:
                raise Killed
            self.appends_left -= 1
        if not self._healthy():
            raise LogUnavailable("disk full")
        position = self._log.append(stream, version, events, meta)
        account = stream.split("/")[1]
        self.stored += [(account, one.token) for one in events if isinstance(one, MailStored)]
        return position


class _Worker:
    """One job after the other, each some milliseconds later."""

    def __init__(
        self, machine: MailMachine, scheduler: Scheduler, log: _StoreLog, acted: Callable[[], None]
    ) -> None:
        self._machine = machine
        self._scheduler = scheduler
        self._log = log
        self._acted = acted
        self._jobs: deque[tuple[Job, Done]] = deque()
        self._busy = False
        self._undelivered: list[tuple[str, str]] = []
        self._dead = False

    def submit(self, job: Job, done: Done) -> bool:
        self._jobs.append((job, done))
        self._next()
        return True

    @property
    def waiting(self) -> int:
        return len(self._jobs) + self._busy

    def _next(self) -> None:
        if self._jobs and not self._busy:
            self._busy = True
            self._scheduler.after(self._machine.rng.expovariate(1 / JOB_S), self._run)

    def _met_by_crash(self) -> bool:
        machine = self._machine
        if machine.crashes_left and machine.rng.random() < CRASHES:
            machine.crashes_left -= 1
            machine.crash()
        return self._dead

    def _run(self) -> None:
        if self._dead or self._met_by_crash():
            return
        job, done = self._jobs.popleft()
        self._log.stored.clear()
        outcome = outcome_of(job)
        self._undelivered = list(self._log.stored)
        self._scheduler.after(HANDED_S, self._deliver, done, outcome)

    def _deliver(self, done: Done, outcome: Any) -> None:
        if self._dead or (self._undelivered and self._met_by_crash()):
            return
        for account, token in self._undelivered:
            self._machine.told[account].add(token)
        self._undelivered = []
        self._busy = False
        done(outcome)
        self._next()
        self._acted()

    def kill(self) -> None:
        """The process dies: what is under way may be done in part, or done and never told of."""
        self._dead = True
        lost = list(self._undelivered)
        if self._jobs and self._machine.rng.random() < 0.7:
            self._log.stored.clear()
            self._log.appends_left = self._machine.rng.randrange(3)
            try:
                outcome_of(self._jobs[0][0])
            except Killed:
                pass
            lost += self._log.stored
        for account, token in lost:
            self._machine.doubtful[account].add(token)


class ProcessMail:
    """Mailboxes in one life of the server."""

    def __init__(
        self,
        machine: MailMachine,
        scheduler: Scheduler,
        log: MemoryLog,
        *,
        healthy: Callable[[], bool],
        acted: Callable[[], None],
    ) -> None:
        self._machine = machine
        self._scheduler = scheduler
        self._event_log = log
        self._acted = acted
        self._alive = True
        self._position = log.head()
        store_log = _StoreLog(log, healthy)
        self.store = MailStore(cast(EventLog, store_log), machine.bodies, scheduler.clock)
        self.worker = _Worker(machine, scheduler, store_log, acted)
        self.waiting = WaitingMessages(
            log, changed=self._changed, later=lambda act: scheduler.after(0.0, act)
        )
        self.provider: MailProvider | None = None
        self.lamps: dict[str, MessageCounts] = {}

    def counts(self, account: str) -> MessageCounts:
        return MessageCounts(*self.waiting.counts(account))

    def provide(
        self, routing: RoutingState, tasks: Callable[[], TaskNode], woken: Callable[[], None]
    ) -> MailProvider:
        self.provider = MailProvider(
            self.store,
            self.worker,
            routing,
            self._scheduler.clock,
            tasks=tasks,
            new_token=lambda: f"{self._machine.rng.getrandbits(96):024x}",
            woken=woken,
        )
        return self.provider

    def start(self) -> None:
        """Light the lamps, follow the log."""
        for account in self._machine.watched:
            self._changed(account)
        self._follow()

    def kill(self) -> None:
        self._alive = False
        self.worker.kill()

    def _changed(self, account: str) -> None:
        self.lamps[account] = self.counts(account)

    def _follow(self) -> None:
        if not self._alive:
            return
        after, self._position = self._position, self._event_log.head()
        for record in self._event_log.read(after, category="pbx.messages"):
            self.waiting.apply(record)
            if self.provider is not None:
                self.provider.apply(record)
        if after != self._position:
            self._acted()
        self._scheduler.after(POLL_S, self._follow)


def lamps_of(boxes: Iterable[Any], messages: Iterable[Any]) -> dict[str, MessageCounts]:
    """What lamps should show, from rows of the read model: voice in an INBOX that is not deleted,
    in numbers of all and of urgent ones (RFC 3842 §3.5)."""
    inboxes = {(box["account"], box["number"]) for box in boxes if box["name"] == "INBOX"}
    numbers: dict[str, list[int]] = {}
    for row in messages:
        flags = set(row["flags"].split(","))
        if (row["account"], row["number"]) in inboxes and flags & {"Media", "Deleted"} == {"Media"}:
            found = numbers.setdefault(row["account"], [0, 0, 0, 0])
            old = "Seen" in flags
            found[old] += 1
            if row["urgent"]:
                found[2 + old] += 1
    return {account: MessageCounts(*found) for account, found in numbers.items()}
