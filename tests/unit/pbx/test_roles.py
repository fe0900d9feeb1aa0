"""``pbx.roles``: how a process becomes a role and what it tells its supervisor."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

import pytest

from pbx import roles
from pbx.datadir import DataDirectory
from pbx.roles import EXIT_FATAL, Fatal, RoleContext, run_role, set_up_logging
from pbx.settings import LogSettings, Settings
from pbx.settings_source import settings_to_raw


class Pipe:
    """The supervisor's end."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()

    def reports(self) -> list[object]:
        os.close(self.writing)
        with os.fdopen(self.reading, "rb") as stream:
            return [json.loads(line) for line in stream]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DataDirectory:
    """A prepared directory; the test process must not bind its life to anybody's."""
    monkeypatch.setattr(roles, "_die_with", lambda supervisor: None)
    directory = DataDirectory(tmp_path)
    directory.prepare()
    directory.settings.write_text(json.dumps(settings_to_raw(Settings())))
    return directory


def test_a_role_gets_the_settings_and_reports(data: DataDirectory) -> None:
    def work(context: RoleContext) -> int:
        assert context.settings == Settings()
        assert context.data.path == data.path
        context.listening("127.0.0.1:5060/udp")
        context.ready()
        return 5

    pipe = Pipe()
    assert run_role("work", data.path, pipe.writing, 0, {"work": work}) == 5
    assert pipe.reports() == [{"listening": "127.0.0.1:5060/udp"}, {"ready": True}]


def test_fatal_is_reported_with_its_reason(data: DataDirectory) -> None:
    def work(context: RoleContext) -> int:
        raise Fatal("the port is taken")

    pipe = Pipe()
    assert run_role("work", data.path, pipe.writing, 0, {"work": work}) == EXIT_FATAL
    assert pipe.reports() == [{"fatal": "the port is taken"}]


def test_a_fault_is_logged_and_ends_the_process(
    data: DataDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    def work(context: RoleContext) -> int:
        raise ZeroDivisionError("oops")

    pipe = Pipe()
    assert run_role("work", data.path, pipe.writing, 0, {"work": work}) == 1
    assert pipe.reports() == []
    assert "ZeroDivisionError: oops" in capsys.readouterr().err


def test_reports_of_a_role_run_by_hand_go_nowhere(data: DataDirectory) -> None:
    RoleContext(data, Settings()).ready()


def test_a_role_outlives_a_supervisor_that_stopped_reading(data: DataDirectory) -> None:
    """SIGPIPE is ignored in Python; the error is the supervisor's death, dealt with elsewhere."""
    pipe = Pipe()
    os.close(pipe.reading)
    RoleContext(data, Settings(), pipe.writing).ready()
    os.close(pipe.writing)


@pytest.mark.parametrize(("form", "start"), [("text", "20"), ("json", '{"time": "20')])
def test_a_log_record_is_one_line(
    form: str, start: str, capsys: pytest.CaptureFixture[str]
) -> None:
    set_up_logging(LogSettings(format=form), "work")
    logging.getLogger("pbx.work").info("hello %s", "world")
    logging.getLogger("pbx.work").debug("not said")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(start)
    assert "hello world" in line


def test_a_json_record_carries_the_exception(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging(LogSettings(format="json"), "work")
    try:
        raise ValueError("bad")
    except ValueError:
        logging.getLogger("pbx.work").exception("failed")
    record = json.loads(capsys.readouterr().err)
    assert (record["level"], record["message"]) == ("error", "failed")
    assert "ValueError: bad" in record["exception"]


@pytest.mark.parametrize(("trace", "said"), [(True, "INVITE"), (False, "")])
def test_the_sip_trace_has_a_switch_of_its_own(
    trace: bool, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    set_up_logging(LogSettings(sip_trace=trace), "work")
    logging.getLogger("sip.trace").debug("INVITE")
    assert said in capsys.readouterr().err
