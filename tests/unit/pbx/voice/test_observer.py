"""What programs do becomes events, in the stream of their task, which the call names."""

from __future__ import annotations

import logging

import pytest

from pbx.cli.programs import CallStreams
from pbx.cli.story import Story
from pbx.domain import applications as a
from pbx.kernel.events import Event
from tests.support.program_lab import CALL, ProgramLab

ALICE = {"uri": "sip:alice@example.org"}
MENU = """
entry main {
  if(AcceptCall() != null) { stop; }
  PlayFile("welcome"); PlayFile("forsales");
  var key = ReadInput(10);
  if(key == "2") { PlayFile("enterpin"); void(ReadInput(9)); void(ReadInput(9)); PlayFile("done"); }
  if(key == "9") { void(TransferCall("sip:sales@example.org")); }
  PlayFile("goodbye");
}
"""


def of(events: list[Event], kind: type[Event]) -> list[Event]:
    return [event for event in events if isinstance(event, kind)]


def ring(text: str, does: str, *, choices: bool = True) -> tuple[ProgramLab, list[Event]]:
    lab = ProgramLab(text, choices=choices, caller={**ALICE, "does": does})
    return lab, lab.call()


def test_a_call_through_a_menu() -> None:
    lab, events = ring(MENU, "w1 1 w30")
    started, answered, chosen, ended = events
    assert isinstance(started, a.ApplicationStarted)
    assert (started.program, started.account, started.cause, started.call_id) == (
        "x", "alice@example.org", "call", CALL,
    )  # fmt: skip
    assert isinstance(answered, a.ApplicationAnswered)
    assert isinstance(chosen, a.ApplicationInput)
    assert (chosen.menu, chosen.choice, chosen.digits) == ("welcome", "1", 1)
    assert chosen.source == "domain/x.sppr:5"
    assert isinstance(ended, a.ApplicationEnded)
    assert (ended.reason, ended.ended_by, ended.menu, ended.choices) == (
        "return", "program", "goodbye", 1,
    )  # fmt: skip
    # The call leads to the program's stream.
    (attached,) = [r.event for r in lab.log.read_stream(f"call/{CALL}") if r.version == 2]
    assert isinstance(attached, a.ApplicationAttached)
    records = list(lab.log.read_stream(f"application/{attached.task_id}"))
    assert [record.version for record in records] == [1, 2, 3, 4]
    assert {record.correlation for record in records} == {CALL}
    assert {record.tenant for record in records} == {"example.org"}
    assert lab.observer.statistics() == {"tasks": 0}


def test_a_pin_is_counted_and_never_told() -> None:
    lab, events = ring(MENU, "w1 2 4 7 w30")
    inputs = of(events, a.ApplicationInput)
    assert [(one.menu, one.choice, one.digits) for one in inputs] == [  # type: ignore[attr-defined]
        ("welcome", "2", 1), ("enterpin", "", 2),
    ]  # fmt: skip
    data = b"".join(record.data for record in lab.log.read())
    assert b'"4"' not in data
    assert b'"7"' not in data


def test_choices_can_be_kept_out_of_the_log() -> None:
    _, events = ring(MENU, "w1 1 w30", choices=False)
    (chosen,) = of(events, a.ApplicationInput)
    assert (chosen.choice, chosen.digits) == ("", 1)  # type: ignore[attr-defined]


def test_who_hung_up_and_where() -> None:
    _, events = ring(MENU, "w1 h")
    ended = events[-1]
    assert isinstance(ended, a.ApplicationEnded)
    assert (ended.ended_by, ended.menu) == ("caller", "welcome")
    _, events = ring(
        "entry main { void(AcceptCall()); void(ReadInput(30)); Disconnect(); }", "w2 h"
    )
    assert of(events, a.ApplicationEnded)[0].ended_by == "caller"  # type: ignore[attr-defined]
    _, events = ring("entry main { void(AcceptCall()); Disconnect(); }", "w9")
    assert of(events, a.ApplicationEnded)[0].ended_by == "program"  # type: ignore[attr-defined]
    _, events = ring('entry main { RejectCall("486-busy"); }', "w9")
    (acted,) = of(events, a.ApplicationActed)
    assert (acted.action, acted.target) == ("reject", "486-busy")  # type: ignore[attr-defined]
    assert events[-1].ended_by == "program"  # type: ignore[attr-defined]


def test_a_transfer_is_an_act_and_no_hang_up() -> None:
    _, events = ring(MENU, "w1 9 w30")
    (acted,) = of(events, a.ApplicationActed)
    assert isinstance(acted, a.ApplicationActed)
    assert (acted.action, acted.target) == ("transfer", "sip:sales@example.org")
    assert acted.source == "domain/x.sppr:7"


def test_a_program_that_fails_names_its_line(caplog: pytest.LogCaptureFixture) -> None:
    text = "procedure f(n) forward;\nentry main { f(1); }\n\n\nprocedure f(n) { f(n + 1); }\n"
    with caplog.at_level(logging.ERROR, "pbx.program"):
        _, events = ring(text, "w9")
    (failed,) = of(events, a.ApplicationFailed)
    assert isinstance(failed, a.ApplicationFailed)
    assert (failed.file, failed.line, failed.limit) == ("domain/x.sppr", 5, True)
    assert "endless recursion" in failed.message
    assert failed.stack[-1] == "domain/x.sppr:2 in entry main"
    assert events[-1].reason == "exception"  # type: ignore[attr-defined]
    assert events[-1].ended_by == "server"  # type: ignore[attr-defined]
    assert "domain/x.sppr:5" in caplog.text


SPAWNS = """
entry Child { SysLog("hello"); void(SendEvent(Vars().parent, "done")); }
entry main { var child = spawn Child(1); void(ReadInput(10)); }
"""


def test_tasks_that_are_spawned_belong_to_the_call(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "pbx.program"):
        lab, events = ring(SPAWNS, "w9")
    assert "x (T2): hello" in caplog.text
    _, child = of(events, a.ApplicationStarted)
    assert isinstance(child, a.ApplicationStarted)
    assert (child.cause, child.parent, child.call_id) == ("spawn", "T1", CALL)
    assert [one.task_id for one in of(events, a.ApplicationSpawned)] == ["T2"]  # type: ignore[attr-defined]
    told = [record.type for record in CallStreams(f"call/{CALL}").records(lab.log)]
    assert sum(kind.startswith("application.") for kind in told) == len(events) + 1


def test_the_story_of_a_call_has_its_programs() -> None:
    lab, _ = ring(MENU, "w1 9 w30")
    story = Story()
    lines = [
        line
        for record in CallStreams(f"call/{CALL}").records(lab.log)
        for line in story.tell(record)
    ]
    text = "\n".join(lines)
    assert text.count("x: starts for alice@example.org (T1)") == 1
    assert "x: the caller presses 9 at welcome (domain/x.sppr:5)" in text
    assert "x: transfer sip:sales@example.org (domain/x.sppr:7)" in text
    assert "x: ends (" in text


def test_a_task_by_command_names_the_administrator() -> None:
    lab = ProgramLab("entry main { void(ReadInput(100)); }")
    task_id = lab.control.start("x", account="alice@example.org", actor="cli:root")
    lab.pump()
    lab.control.kill(task_id, actor="postmaster@example.org")
    records = list(lab.log.read_stream(f"application/{task_id}"))
    assert [(record.type, record.actor) for record in records] == [
        ("application.started.v1", "cli:root"),
        ("application.ended.v1", "postmaster@example.org"),
    ]
    assert records[0].event.cause == "command"  # type: ignore[attr-defined]
    assert records[1].event.reason == "killed"  # type: ignore[attr-defined]
    assert {record.correlation for record in records} == {task_id}


def test_a_program_that_acts_without_end_does_not_fill_the_log() -> None:
    text = 'entry main { var n; for(n = 0; n < 900; n += 1) { void(StartCall("")); } }'
    lab = ProgramLab(text)
    lab.control.start("x", account="alice@example.org")
    lab.pump()
    events = lab.events()
    assert len(of(events, a.ApplicationActed)) == 200
    assert isinstance(events[-1], a.ApplicationEnded)
