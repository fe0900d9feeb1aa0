"""Keeps the roles of a server running: decisions only, no processes (``pbx.app`` is the shell).

Fed with what happened to the children (:meth:`Supervisor.reported`, :meth:`Supervisor.exited`) and
with time; gives actions. The life of a role::

    WAITING   not started: for what it needs, or for its back-off to pass
    STARTING  a process runs that has not said that it is ready
    READY     it does its work
    STOPPING  it was told to stop
    STOPPED   over, for good: the server is stopping

==========  ==============================  =====================================
State       What                            Next
==========  ==============================  =====================================
WAITING     needs are ready, time is up     STARTING (spawn)
STARTING    report ``ready``                READY
STARTING    `START_S` passed                WAITING (kill; its exit follows)
STARTING    exit, was never ready           WAITING, or the server stops after
                                            `FIRST_TRIES` tries or a ``fatal``
READY       exit                            WAITING with back-off
any         stop                            STOPPING (SIGTERM), phase by phase
STOPPING    exit                            STOPPED
STOPPING    stop time is up, second stop    STOPPING (SIGKILL)
==========  ==============================  =====================================

A role that was ready once is restarted for ever: phones register again and calls go on as soon
as whatever killed it is over. A role that never was ready has a wrong setting or a port that is
taken: trying for ever would hide that from whoever just typed the command. A role that is not
*vital* never ends the server: it is tried again, ever more seldom, and each time the log says why.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from signal import SIGHUP, SIGKILL, SIGTERM, Signals
from typing import Any, Final, NamedTuple

START_S: Final = 60.0
"""A role that is not ready by then hangs; recovery of a large log takes seconds."""
BACK_OFF_S: Final = 0.1
"""First pause before a restart: below the first retransmission of SIP (T1, 0.5 s), so that a
phone does not notice; doubled each time."""
BACK_OFF_MAX_S: Final = 5.0
CALM_S: Final = 10.0
"""A role that was ready for so long starts again with the first pause."""
FIRST_TRIES: Final = 3
HOPELESS: Final = 10
"""Failures after which the pause is the longest there is."""
SIDE_BACK_OFF_MAX_S: Final = 60.0
"""Longest pause of a role that is not vital and never was ready: its port may come free."""


class RoleState(enum.Enum):
    """See the table above."""

    WAITING = "waiting"
    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class RolePlan:
    """What a role is to the server."""

    name: str
    needs: tuple[str, ...] = ()
    """Roles that must be ready before this one is first started."""
    stop_phase: int = 0
    """Lower phases are stopped first and are gone before the next is told."""
    answers: bool = False
    """The server is ready when this role is."""
    reloads: bool = False
    """It takes SIGHUP to read its certificates again."""
    vital: bool = True
    """The server cannot do its work without it."""


class Spawn(NamedTuple):
    """Start a process for the role."""

    role: str


class Kill(NamedTuple):
    """Send a signal to the role's process."""

    role: str
    signal: Signals


class Say(NamedTuple):
    """Print a line for whoever started the server (a script reads it)."""

    line: str


class Tell(NamedTuple):
    """Log a line for the operator."""

    line: str


class Finish(NamedTuple):
    """All roles are gone: the server ends with this status."""

    code: int


Action = Spawn | Kill | Say | Tell | Finish


class _Role:
    __slots__ = ("deadline", "failures", "listening", "plan", "ready_at", "state", "was_ready")

    def __init__(self, plan: RolePlan) -> None:
        self.plan = plan
        self.state = RoleState.WAITING
        self.deadline: float | None = None
        """End of the back-off (WAITING) or of the patience (STARTING)."""
        self.failures = 0
        """Exits in a row without `CALM_S` of work between them."""
        self.was_ready = False
        self.ready_at = 0.0
        self.listening: list[str] = []


class Supervisor:
    """The decisions. After every input drain :meth:`actions` and re-arm :meth:`next_timer`."""

    def __init__(self, plans: Sequence[RolePlan], *, stop_s: float) -> None:
        self._roles = {plan.name: _Role(plan) for plan in plans}
        self._phases = sorted({plan.stop_phase for plan in plans})
        self._stop_s = stop_s
        self._stopping: float | None = None
        """When everything still running is killed; None while the server is to run."""
        self._killed = False
        """SIGKILL was sent to all: it is certain, so only their exits are waited for."""
        self._code = 0
        self._said: set[str] = set()
        self._actions: list[Action] = []
        self._finished = False

    # Outputs.

    def actions(self) -> list[Action]:
        """What to do, in order; each is given once."""
        actions, self._actions = self._actions, []
        return actions

    def next_timer(self) -> float | None:
        """When :meth:`handle_timers` wants to be called."""
        times = [role.deadline for role in self._roles.values() if role.deadline is not None]
        if self._stopping is not None and not self._killed:
            times.append(self._stopping)
        return min(times, default=None)

    def state(self, role: str) -> RoleState:
        """Where a role is in its life."""
        return self._roles[role].state

    def listening(self, role: str) -> list[str]:
        """The sockets the role's last process said it listens on."""
        return self._roles[role].listening

    # Inputs.

    def start(self, now: float) -> None:
        """Start what needs nothing."""
        self._spawn_possible(now)

    def reported(self, name: str, report: Mapping[str, Any], now: float) -> None:
        """A role said something: ``listening``, ``ready`` or ``fatal``."""
        role = self._roles[name]
        if role.state is RoleState.READY and not role.plan.vital and "listening" in report:
            self._say_once(f"listening {report['listening']}")  # opened later
        if role.state is not RoleState.STARTING:
            return
        if "listening" in report:
            role.listening.append(str(report["listening"]))
        if "fatal" in report:
            self._actions.append(Tell(f"{name}: {report['fatal']}"))
            if role.plan.vital and not role.was_ready:
                self._give_up(now)
                return
            if not role.plan.vital:
                # Trying again at once is no use: straight to the longest pause.
                role.failures = max(role.failures, HOPELESS)
        if report.get("ready"):
            role.state = RoleState.READY
            role.was_ready = True
            role.ready_at = now
            role.deadline = None
            for place in role.listening:
                self._say_once(f"listening {place}")
            if role.plan.answers:
                self._say_once("ready")
            self._spawn_possible(now)

    def exited(self, name: str, code: int, now: float) -> None:
        """The role's process is gone; `code` as ``subprocess`` gives it (negative: a signal)."""
        role = self._roles[name]
        if self._stopping is not None:
            role.state = RoleState.STOPPED
            role.deadline = None
            self._stop_phases()
            return
        if role.state is RoleState.READY and now - role.ready_at >= CALM_S:
            role.failures = 0
        role.failures += 1
        role.state = RoleState.WAITING
        if role.plan.vital and not role.was_ready and role.failures >= FIRST_TRIES:
            self._actions.append(Tell(f"{name} does not start ({_how(code)}): giving up"))
            self._give_up(now)
            return
        vain = not role.plan.vital and not role.was_ready
        longest = SIDE_BACK_OFF_MAX_S if vain else BACK_OFF_MAX_S
        pause = min(longest, BACK_OFF_S * 2.0 ** min(role.failures - 1, 16))
        role.deadline = now + pause
        self._actions.append(Tell(f"{name} ended ({_how(code)}); starting it again in {pause:g} s"))

    def stop(self, now: float) -> None:
        """End in order; called a second time, at once."""
        if self._stopping is not None:
            self._kill_all()
            return
        self._stopping = now + self._stop_s
        for role in self._roles.values():
            role.deadline = None
            if role.state is RoleState.WAITING:
                role.state = RoleState.STOPPED
        self._stop_phases()

    def reload(self) -> None:
        """Have the roles that can do so read their files again; calls go on."""
        for role in self._roles.values():
            if role.plan.reloads and role.state is RoleState.READY:
                self._actions.append(Kill(role.plan.name, SIGHUP))

    def handle_timers(self, now: float) -> None:
        """Do what has become due."""
        if self._stopping is not None:
            if now >= self._stopping and not self._killed:
                self._actions.append(Tell("the time to stop is up: killing what is left"))
                self._kill_all()
            return
        for role in self._roles.values():
            if role.deadline is None or now < role.deadline:
                continue
            role.deadline = None
            if role.state is RoleState.STARTING:
                self._actions.append(Tell(f"{role.plan.name} is not ready after {START_S:g} s"))
                self._actions.append(Kill(role.plan.name, SIGKILL))
        self._spawn_possible(now)

    # Details.

    def _spawn_possible(self, now: float) -> None:
        for role in self._roles.values():
            if role.state is not RoleState.WAITING or role.deadline is not None:
                continue
            if all(self._roles[need].was_ready for need in role.plan.needs):
                role.state = RoleState.STARTING
                role.deadline = now + START_S
                role.listening = []
                self._actions.append(Spawn(role.plan.name))

    def _give_up(self, now: float) -> None:
        self._code = 1
        if self._stopping is None:
            self.stop(now)

    def _stop_phases(self) -> None:
        """Tell the first phase that still has somebody; finish when nobody is left."""
        for phase in self._phases:
            alive = [
                role
                for role in self._roles.values()
                if role.plan.stop_phase == phase and role.state is not RoleState.STOPPED
            ]
            for role in alive:
                if role.state is not RoleState.STOPPING:
                    role.state = RoleState.STOPPING
                    self._actions.append(Kill(role.plan.name, SIGTERM))
            if alive:
                return
        if not self._finished:
            self._finished = True
            self._stopping = None
            self._actions.append(Finish(self._code))

    def _kill_all(self) -> None:
        self._killed = True
        for role in self._roles.values():
            if role.state is not RoleState.STOPPED:
                role.state = RoleState.STOPPING
                self._actions.append(Kill(role.plan.name, SIGKILL))

    def _say_once(self, line: str) -> None:
        """A restarted role listens where it did before: scripts want to read it once."""
        if line not in self._said:
            self._said.add(line)
            self._actions.append(Say(line))


def _how(code: int) -> str:
    if code >= 0:
        return f"exit status {code}"
    try:
        return f"killed by {Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
