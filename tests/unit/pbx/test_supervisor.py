"""``pbx.supervisor``: the life of roles as decisions, in virtual time and without processes."""

from __future__ import annotations

from itertools import pairwise
from signal import SIGHUP, SIGKILL, SIGTERM

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pbx.supervisor import (
    BACK_OFF_MAX_S,
    BACK_OFF_S,
    CALM_S,
    FIRST_TRIES,
    SIDE_BACK_OFF_MAX_S,
    START_S,
    Action,
    Finish,
    Kill,
    RolePlan,
    RoleState,
    Say,
    Spawn,
    Supervisor,
    Tell,
)

STOP_S = 15.0
PLANS = [
    RolePlan("media", stop_phase=1),
    RolePlan("signal", needs=("media",), stop_phase=0, answers=True),
    RolePlan("project", stop_phase=1),
]


def told(actions: list[Action]) -> list[str]:
    """What the operator reads."""
    return [action.line for action in actions if isinstance(action, Tell)]


def done(actions: list[Action]) -> list[Action]:
    """Everything but that."""
    return [action for action in actions if not isinstance(action, Tell)]


def running(now: float = 0.0) -> Supervisor:
    """A supervisor all of whose roles are ready at `now`."""
    supervisor = Supervisor(PLANS, stop_s=STOP_S)
    supervisor.start(now)
    for role in ("media", "project", "signal"):
        supervisor.reported(role, {"ready": True}, now)
    supervisor.actions()
    return supervisor


# Start.


def test_a_role_starts_when_what_it_needs_is_ready() -> None:
    supervisor = Supervisor(PLANS, stop_s=STOP_S)
    supervisor.start(0.0)
    assert supervisor.actions() == [Spawn("media"), Spawn("project")]
    supervisor.reported("media", {"ready": True}, 1.0)
    assert supervisor.actions() == [Spawn("signal")]


def test_ready_is_said_once_the_listeners_are_named() -> None:
    supervisor = Supervisor(PLANS, stop_s=STOP_S)
    supervisor.start(0.0)
    supervisor.reported("media", {"ready": True}, 0.0)
    supervisor.actions()
    supervisor.reported("signal", {"listening": "127.0.0.1:5060/udp"}, 0.0)
    supervisor.reported("signal", {"listening": "127.0.0.1:5060/tcp"}, 0.0)
    assert supervisor.actions() == []
    supervisor.reported("signal", {"ready": True}, 0.0)
    assert supervisor.actions() == [
        Say("listening 127.0.0.1:5060/udp"),
        Say("listening 127.0.0.1:5060/tcp"),
        Say("ready"),
    ]
    assert supervisor.listening("signal") == ["127.0.0.1:5060/udp", "127.0.0.1:5060/tcp"]


def test_a_restarted_role_says_nothing_twice() -> None:
    supervisor = running()
    supervisor.exited("signal", -9, 100.0)
    supervisor.handle_timers(100.0 + BACK_OFF_S)
    supervisor.actions()
    supervisor.reported("signal", {"ready": True}, 101.0)
    assert supervisor.actions() == []
    assert supervisor.state("signal") is RoleState.READY


def test_reports_out_of_place_change_nothing() -> None:
    supervisor = running()
    supervisor.reported("signal", {"listening": "x"}, 1.0)
    supervisor.reported("signal", {"fatal": "x"}, 1.0)
    assert supervisor.actions() == []
    assert supervisor.listening("signal") == []


# Roles beside the calls.


SIDE = [*PLANS, RolePlan("web", needs=("signal",), stop_phase=1, vital=False)]


def beside(now: float = 0.0) -> Supervisor:
    """A server that answers; the role beside it was just started."""
    supervisor = Supervisor(SIDE, stop_s=STOP_S)
    supervisor.start(now)
    for role in ("media", "project", "signal"):
        supervisor.reported(role, {"ready": True}, now)
    assert Spawn("web") in supervisor.actions()
    return supervisor


def test_a_side_role_is_started_once_calls_are_answered() -> None:
    supervisor = Supervisor(SIDE, stop_s=STOP_S)
    supervisor.start(0.0)
    assert Spawn("web") not in supervisor.actions()


def test_a_side_role_that_cannot_start_is_tried_seldom_and_the_server_stays() -> None:
    supervisor, now, pauses = beside(), 0.0, []
    for _ in range(20):
        supervisor.reported("web", {"fatal": "the port is taken"}, now)
        supervisor.exited("web", 3, now)
        actions = supervisor.actions()
        assert done(actions) == []
        assert "web: the port is taken" in told(actions)
        due = supervisor.next_timer()
        assert due is not None
        pauses.append(due - now)
        now = due
        supervisor.handle_timers(now)
        assert done(supervisor.actions()) == [Spawn("web")]
    assert set(pauses) == {SIDE_BACK_OFF_MAX_S}
    assert supervisor.state("signal") is RoleState.READY


def test_a_side_role_that_crashes_at_start_backs_off_for_ever() -> None:
    supervisor, now, pauses = beside(), 0.0, []
    for _ in range(15):
        supervisor.exited("web", 1, now)
        due = supervisor.next_timer()
        assert due is not None
        pauses.append(due - now)
        now = due
        supervisor.handle_timers(now)
        assert done(supervisor.actions()) == [Spawn("web")]
    assert pauses[0] == BACK_OFF_S
    assert pauses == sorted(pauses)
    assert pauses[-1] == SIDE_BACK_OFF_MAX_S


def test_a_side_role_that_worked_is_restarted_as_fast_as_others() -> None:
    supervisor = beside()
    supervisor.reported("web", {"ready": True}, 1.0)
    supervisor.exited("web", -9, 2.0)
    assert supervisor.next_timer() == 2.0 + BACK_OFF_S


def test_a_listener_that_is_opened_later_is_said_then() -> None:
    supervisor = beside()
    supervisor.reported("web", {"ready": True}, 1.0)
    supervisor.actions()
    for _ in range(2):
        supervisor.reported("web", {"listening": "admin 192.0.2.1:8010/http"}, 2.0)
    assert supervisor.actions() == [Say("listening admin 192.0.2.1:8010/http")]


# Not starting.


def test_a_fatal_report_ends_the_start_with_its_reason() -> None:
    """A port that is taken: trying again would hide it from whoever typed the command."""
    supervisor = Supervisor(PLANS, stop_s=STOP_S)
    supervisor.start(0.0)
    supervisor.reported("media", {"ready": True}, 0.0)
    supervisor.actions()
    supervisor.reported("signal", {"fatal": "cannot listen"}, 0.0)
    actions = supervisor.actions()
    assert told(actions) == ["signal: cannot listen"]
    assert done(actions) == [Kill("signal", SIGTERM)]
    supervisor.exited("signal", 3, 0.1)
    assert supervisor.actions() == [Kill("media", SIGTERM), Kill("project", SIGTERM)]
    supervisor.exited("media", 0, 0.2)
    supervisor.exited("project", 0, 0.2)
    assert supervisor.actions() == [Finish(1)]


def test_a_role_that_dies_before_it_was_ever_ready_is_given_up_after_some_tries() -> None:
    supervisor = Supervisor([RolePlan("media")], stop_s=STOP_S)
    supervisor.start(0.0)
    now = 0.0
    for _ in range(FIRST_TRIES - 1):
        supervisor.exited("media", 1, now)
        due = supervisor.next_timer()
        assert due is not None
        now = due
        supervisor.actions()
        supervisor.handle_timers(now)
        assert supervisor.actions() == [Spawn("media")]
    supervisor.exited("media", 1, now)
    actions = supervisor.actions()
    assert told(actions) == ["media does not start (exit status 1): giving up"]
    assert done(actions) == [Finish(1)]


def test_a_role_that_hangs_at_its_start_is_killed_and_tried_again() -> None:
    supervisor = Supervisor([RolePlan("media")], stop_s=STOP_S)
    supervisor.start(0.0)
    supervisor.actions()
    assert supervisor.next_timer() == START_S
    supervisor.handle_timers(START_S)
    assert done(supervisor.actions()) == [Kill("media", SIGKILL)]
    supervisor.exited("media", -9, START_S)
    supervisor.handle_timers(START_S + BACK_OFF_S)
    assert done(supervisor.actions()) == [Spawn("media")]


# Restart.


def test_a_role_that_was_ready_is_restarted_for_ever_with_growing_pauses() -> None:
    supervisor = running()
    now = CALM_S / 2
    pauses = []
    for _ in range(30):
        supervisor.exited("signal", -11, now)
        due = supervisor.next_timer()
        assert due is not None
        pauses.append(due - now)
        now = due
        supervisor.handle_timers(now)
        assert done(supervisor.actions()) == [Spawn("signal")]
    assert pauses[:4] == pytest.approx([0.1, 0.2, 0.4, 0.8])
    assert pauses[-1] == pytest.approx(BACK_OFF_MAX_S)
    assert all(after > before - 1e-6 for before, after in pairwise(pauses))


def test_work_without_a_fault_makes_the_next_pause_short_again() -> None:
    supervisor = running()
    for start in (0.0, 100.0):
        supervisor.exited("signal", -9, start + CALM_S)
        assert supervisor.next_timer() == pytest.approx(start + CALM_S + BACK_OFF_S)
        supervisor.handle_timers(start + CALM_S + BACK_OFF_S)
        supervisor.reported("signal", {"ready": True}, 100.0)


def test_a_fatal_report_of_a_role_that_was_ready_is_no_end() -> None:
    """While its port is taken by somebody else a server goes on trying: phones wait for it."""
    supervisor = running()
    supervisor.exited("signal", -9, 100.0)
    supervisor.handle_timers(101.0)
    supervisor.actions()
    supervisor.reported("signal", {"fatal": "cannot listen"}, 101.0)
    supervisor.exited("signal", 3, 101.0)
    assert told(supervisor.actions())[0] == "signal: cannot listen"
    supervisor.handle_timers(102.0)
    assert done(supervisor.actions()) == [Spawn("signal")]


def test_the_death_of_one_role_does_not_touch_the_others() -> None:
    supervisor = running()
    supervisor.exited("media", -9, 100.0)
    assert done(supervisor.actions()) == []
    assert supervisor.state("signal") is RoleState.READY


@pytest.mark.parametrize(
    ("code", "words"),
    [(0, "exit status 0"), (-9, "killed by SIGKILL"), (-99, "killed by signal 99")],
)
def test_the_operator_reads_how_a_role_ended(code: int, words: str) -> None:
    supervisor = running()
    supervisor.exited("signal", code, 100.0)
    assert told(supervisor.actions()) == [f"signal ended ({words}); starting it again in 0.1 s"]


# Reload.


def test_a_reload_reaches_the_roles_that_can_and_are_up() -> None:
    plans = [RolePlan("signal", reloads=True), RolePlan("media")]
    supervisor = Supervisor(plans, stop_s=STOP_S)
    supervisor.start(0.0)
    supervisor.actions()
    supervisor.reload()
    assert supervisor.actions() == []
    supervisor.reported("signal", {"ready": True}, 0.0)
    supervisor.reload()
    assert supervisor.actions() == [Kill("signal", SIGHUP)]


# Stop.


def test_a_stop_goes_phase_by_phase() -> None:
    """Calls are ended with the help of media, and their last events are projected."""
    supervisor = running()
    supervisor.stop(10.0)
    assert supervisor.actions() == [Kill("signal", SIGTERM)]
    assert supervisor.next_timer() == 10.0 + STOP_S
    supervisor.exited("signal", 0, 11.0)
    assert supervisor.actions() == [Kill("media", SIGTERM), Kill("project", SIGTERM)]
    supervisor.exited("project", 0, 11.0)
    assert supervisor.actions() == []
    supervisor.exited("media", -15, 11.0)
    assert supervisor.actions() == [Finish(0)]
    assert supervisor.next_timer() is None


def test_nothing_is_started_while_stopping() -> None:
    supervisor = running()
    supervisor.exited("signal", -9, 9.0)
    supervisor.stop(9.0)
    supervisor.actions()
    supervisor.exited("media", -9, 9.1)
    supervisor.handle_timers(10.0)
    assert done(supervisor.actions()) == []
    supervisor.exited("project", 0, 10.0)
    assert supervisor.actions() == [Finish(0)]


def test_what_does_not_stop_in_time_is_killed_once() -> None:
    supervisor = running()
    supervisor.stop(0.0)
    supervisor.actions()
    supervisor.handle_timers(STOP_S)
    assert done(supervisor.actions()) == [
        Kill("media", SIGKILL),
        Kill("signal", SIGKILL),
        Kill("project", SIGKILL),
    ]
    supervisor.handle_timers(STOP_S + 1)
    assert supervisor.actions() == []
    assert supervisor.next_timer() is None


def test_a_second_stop_kills_at_once() -> None:
    supervisor = running()
    supervisor.stop(0.0)
    supervisor.actions()
    supervisor.stop(0.1)
    assert Kill("signal", SIGKILL) in supervisor.actions()
    for role in ("signal", "media", "project"):
        supervisor.exited(role, -9, 0.2)
    assert supervisor.actions() == [Finish(0)]


def test_a_stop_before_anything_started_ends_at_once() -> None:
    supervisor = Supervisor([RolePlan("media", needs=("media",))], stop_s=STOP_S)
    supervisor.start(0.0)
    supervisor.stop(0.0)
    assert supervisor.actions() == [Finish(0)]


class AnyOrder(RuleBasedStateMachine):
    """Whatever happens in whatever order: one process a role, and a stop always ends."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.supervisor = Supervisor(PLANS, stop_s=STOP_S)
        self.alive: set[str] = set()
        self.finished: int | None = None
        self.stopping = False
        self.supervisor.start(0.0)
        self.carry_out()

    def carry_out(self) -> None:
        for action in self.supervisor.actions():
            match action:
                case Spawn(role):
                    assert role not in self.alive
                    assert not self.stopping
                    self.alive.add(role)
                case Kill(_, number) if number is SIGTERM:
                    self.stopping = True
                case Finish(code):
                    assert self.finished is None
                    assert not self.alive
                    self.finished = code
                case _:
                    pass

    @precondition(lambda self: self.alive)
    @rule(data=st.data(), code=st.sampled_from([0, 1, -9]))
    def role_exits(self, data: st.DataObject, code: int) -> None:
        role = data.draw(st.sampled_from(sorted(self.alive)))
        self.alive.remove(role)
        self.supervisor.exited(role, code, self.now)
        self.carry_out()

    @precondition(lambda self: self.alive)
    @rule(data=st.data(), report=st.sampled_from([{"ready": True}, {"fatal": "x"}, {}]))
    def role_reports(self, data: st.DataObject, report: dict[str, object]) -> None:
        role = data.draw(st.sampled_from(sorted(self.alive)))
        self.supervisor.reported(role, report, self.now)
        self.carry_out()

    @rule(seconds=st.floats(0, 100))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.supervisor.handle_timers(self.now)
        self.carry_out()

    @rule()
    def operator_stops(self) -> None:
        self.stopping = True
        self.supervisor.stop(self.now)
        self.carry_out()

    @invariant()
    def something_is_always_awaited(self) -> None:
        """A server that is not over has a process or a timer: it never just sits there."""
        assert self.finished is not None or self.alive or self.supervisor.next_timer() is not None


TestAnyOrder = AnyOrder.TestCase
