"""Programs on the command line: ``pbx ivr report``, ``pbx task``, the story of a call."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pbx.cli.main import main
from pbx.domain import applications as a
from pbx.eventlog import ANY_VERSION, EmbeddedLog, Meta
from pbx.kernel.events import Event
from tests.contract.test_ivr import call_through_menus
from tests.contract.test_projections import ANSWERED, CALL, ENDED, START_NS, over
from tests.unit.pbx import test_cli_log as logs
from tests.unit.pbx.voice.test_control import Served

data, log, pbx = logs.data, logs.log, logs.pbx
Pbx = Callable[..., str]


def write(log: EmbeddedLog, stream: str, *events: Event) -> None:
    for event in events:
        at = START_NS + getattr(event, "elapsed_ms", 0) * 1_000_000
        log.append(stream, ANY_VERSION, [event], Meta(time_ns=at, tenant="example.org"))


@pytest.fixture
def call(log: EmbeddedLog) -> None:
    """A call that went through the attendant, which spawned a helper."""
    write(log, f"call/{CALL}", ANSWERED[0])
    write(
        log,
        f"call/{CALL}",
        a.ApplicationAttached(
            task_id="T1@n1", program="pbx", account="pbx@example.org", elapsed_ms=5
        ),
        *ANSWERED[1:],
        *ENDED,
        over(64_002),
    )
    write(
        log,
        "application/T1@n1",
        *call_through_menus("T1@n1")[:-1],
        a.ApplicationSpawned(task_id="T2@n1", elapsed_ms=9_200),
        call_through_menus("T1@n1")[-1],
    )
    write(
        log,
        "application/T2@n1",
        a.ApplicationStarted(task_id="T2@n1", program="pbx", cause="spawn", parent="T1@n1"),
        a.ApplicationFailed(
            message="a limit", file="stock/pbx.sppr", line=9, column=3, section="entry Helper",
            elapsed_ms=9_300,
        ),
        a.ApplicationEnded(reason="exception", ended_by="server", elapsed_ms=9_301),
    )  # fmt: skip


@pytest.mark.usefixtures("call")
def test_the_story_of_a_call_tells_what_its_programs_did(pbx: Pbx) -> None:
    text = pbx("log", "--call", CALL)
    for words in (
        "pbx: starts for pbx@example.org (T1@n1)",
        "+0.200        pbx: has its caller on the line",
        "+3.000        pbx: the caller presses 1 at welcome (stock/pbx.sppr:31)",
        "+9.000        pbx: the caller presses 3 digits, not told at dialknownextension",
        "pbx: transfer sip:401@example.org",
        "pbx: spawns T2@n1",
        "FAILS: a limit (stock/pbx.sppr:9:3 in entry Helper)",
        "pbx: ends (stop, by the program, last heard tryingextension)",
    ):
        assert words in text, words
    kinds = [json.loads(line)["type"] for line in pbx("log", "--call", CALL, "--json").splitlines()]
    assert kinds.count("application.ended.v1") == 2
    alone = pbx("log", "--stream", f"call/{CALL}")
    assert "application.ended" not in alone


@pytest.mark.usefixtures("call")
def test_the_ladder_has_them_between_the_messages(pbx: Pbx) -> None:
    text = pbx("explain", CALL)
    assert "* pbx: the caller presses 1 at welcome" in text
    assert text.index("INVITE") < text.index("* pbx: has its caller on the line")
    entries = json.loads(pbx("explain", CALL, "--json"))["entries"]
    assert [entry["elapsed_ms"] for entry in entries if entry.get("step") == "pbx"][:3] == [
        5, 200, 3_000,
    ]  # fmt: skip


@pytest.mark.usefixtures("call")
def test_the_report(pbx: Pbx) -> None:
    found = json.loads(pbx("ivr", "report", "--json"))
    assert list(found) == ["applications", "paths", "drop-offs", "choices", "failures"]
    (row,) = found["applications"]
    assert (row["program"], row["runs"], row["calls"], row["failed"]) == ("pbx", 2, 1, 1)
    text = pbx("ivr", "report", "--application", "pbx.sppr", "--from", "2030-01-01")
    assert "Ways through the menus" in text
    assert "welcome=1 dialknownextension=?" in text
    assert "Where callers hung up" not in text
    assert "stock/pbx.sppr" in pbx("ivr", "report", "failures")
    assert pbx("ivr", "report", "--to", "2030-01-01") == "no application ran in this time\n"
    assert pbx("ivr", "report", "--application", "other") == "no application ran in this time\n"
    assert "there are: applications, paths" in pbx("ivr", "report", "nosuch", status=1)
    assert "PROGRAM" in pbx("report", "ivr-applications")


@pytest.fixture
def served(data: Path) -> Iterator[Served]:
    (data / "run").mkdir()
    served = Served(data / "run" / "control.sock")
    yield served
    served.stop()


def test_tasks_from_the_command_line(pbx: Pbx, served: Served) -> None:
    pbx("domain", "create", "example.org")
    pbx("account", "create", "alice@example.org", "--password", "correct horse")
    started = pbx("task", "start", "alice@example.org", "x", "--param", '("401", #5)')
    task = started.strip()
    assert pbx("task", "status", task).splitlines() == [
        f"{task} runs x for alice@example.org",
        "  call: disconnected",
        "  at: domain/x.sppr:5",
        "  status: (401,#5)",
    ]
    assert pbx("task", "send", task, "hello", "--param", "{a=1;}") == (
        f"event hello sent to {task}\n"
    )
    (row,) = json.loads(pbx("task", "list", "--running", "--json"))
    assert (row["task_id"], row["program"]) == (task, "x")
    assert "hello" in row["status"]
    assert pbx("task", "list", "--running", "elsewhere.org").splitlines()[1:] == []
    assert pbx("task", "kill", task) == f"{task} ended\n"
    assert pbx("task", "status", task, status=1) == "pbx: unknown task\n"
    assert "cannot be read" in pbx(
        "task", "start", "alice@example.org", "x", "--param", "((", status=1
    )
    assert "pbx account list" in pbx("task", "start", "bob@example.org", "x", status=1)
    actors = [record.actor for record in served.lab.log.read() if record.type.startswith("app")]
    assert actors[0].startswith("cli:")
    assert json.loads(pbx("task", "list", "--json")) == []  # named ones


def test_without_a_server_tasks_are_told_to_need_one(pbx: Pbx, data: Path) -> None:
    assert "start the server (pbx serve)" in pbx("task", "list", "--running", status=1)


def test_commands_are_told_apart_by_their_help(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["env"], ["ivr"], ["task"]):
        with pytest.raises(SystemExit):
            main([*words, "--help"])
        assert "usage" in capsys.readouterr().out
    assert threading.active_count() < 20
