"""``pbx.app``: the supervisor's shell with tiny roles; nothing sleeps, pipes and exits are awaited.

The roles are real processes that speak the roles' protocol; what a role of the product does is
tested in ``tests/interop``.
"""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

import pytest

from pbx.app import Processes, plans_for, role_command, serve
from pbx.datadir import DataDirectory, DataDirectoryError
from pbx.eventlog import LOG_FILE, EmbeddedLog
from pbx.eventlog.kafka.replica import join
from pbx.settings import Settings
from pbx.settings_source import load_settings
from pbx.supervisor import RolePlan

PREAMBLE = """
import json, os, signal, sys
report_to = int(sys.argv[1])
def report(**what): os.write(report_to, json.dumps(what).encode() + b"\\n")
def wait(): signal.sigwait([signal.SIGTERM])
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
"""
WORKER = 'report(listening="127.0.0.1:5070/udp"); report(ready=True); wait()'


@pytest.fixture
def data(tmp_path: Path) -> DataDirectory:
    directory = DataDirectory(tmp_path)
    directory.prepare()
    return directory


class Server:
    """A supervisor over role programs; what it says drives the test from inside its own loop."""

    def __init__(
        self, data: DataDirectory, settings: Settings | None = None, **programs: str
    ) -> None:
        self.said: list[str] = []
        self.on_line: dict[str, str] = {}
        self.starts: list[str] = []
        self.programs = programs
        plans = [RolePlan(name, answers=name == "signal", reloads=True) for name in programs]
        self.processes = Processes(data, settings or Settings(), plans, self.command, self.say)

    def command(self, role: str, descriptor: int) -> Sequence[str]:
        self.starts.append(role)
        program = PREAMBLE + textwrap.dedent(self.programs[role])
        return [sys.executable, "-c", program, str(descriptor), str(len(self.starts))]

    def say(self, line: str) -> None:
        self.said.append(line)
        if line == "ready":
            os.kill(os.getpid(), signal.SIGTERM)

    def run(self) -> int:
        return self.processes.run()


def test_a_server_starts_says_ready_and_stops(data: DataDirectory) -> None:
    server = Server(data, signal=WORKER)
    assert server.run() == 0
    assert server.said == ["listening 127.0.0.1:5070/udp", "ready"]


def test_signal_handlers_are_put_back(data: DataDirectory) -> None:
    before = signal.getsignal(signal.SIGTERM)
    Server(data, signal=WORKER).run()
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_role_killed_after_it_was_ready_is_started_again(data: DataDirectory) -> None:
    """The first process kills itself once ready; the second stops the server."""
    server = Server(
        data,
        worker="""
            report(ready=True)
            if sys.argv[2] == "1": os.kill(os.getpid(), signal.SIGKILL)
            os.kill(os.getppid(), signal.SIGINT)
            wait()
        """,
    )
    assert server.run() == 0
    assert server.starts == ["worker", "worker"]


@pytest.mark.parametrize(("terminal", "reloaded"), [(False, True), (True, False)])
def test_sighup_reloads_a_daemon_and_stops_a_server_whose_terminal_is_gone(
    data: DataDirectory,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    terminal: bool,
    reloaded: bool,
) -> None:
    """The role hangs up on its supervisor and notes which signal comes back."""
    monkeypatch.setattr("sys.stdin", io.StringIO())
    monkeypatch.setattr("sys.stdin.isatty", lambda: terminal)
    noted = tmp_path / "noted"
    server = Server(
        data,
        worker=f"""
            both = [signal.SIGHUP, signal.SIGTERM]
            signal.pthread_sigmask(signal.SIG_BLOCK, both)
            report(ready=True)
            os.kill(os.getppid(), signal.SIGHUP)
            got = signal.sigwait(both)
            open({str(noted)!r}, "w").write(got.name)
            if got == signal.SIGHUP:
                os.kill(os.getppid(), signal.SIGTERM)
                wait()
        """,
    )
    assert server.run() == 0
    assert noted.read_text() == ("SIGHUP" if reloaded else "SIGTERM")


def test_a_fatal_report_ends_the_server(
    data: DataDirectory, caplog: pytest.LogCaptureFixture
) -> None:
    server = Server(data, signal='report(fatal="no such port"); sys.exit(3)')
    assert server.run() == 1
    assert "signal: no such port" in caplog.text
    assert server.starts == ["signal"]


def test_what_is_no_report_is_logged_and_passed_over(
    data: DataDirectory, caplog: pytest.LogCaptureFixture
) -> None:
    server = Server(
        data,
        signal=r'os.write(report_to, b"noise\n[1]\n" + b"x" * 70000 + b"\n"); ' + WORKER,
    )
    assert server.run() == 0
    assert server.said[-1] == "ready"
    assert caplog.text.count("sent a report that is none") == 3


def test_a_role_may_close_its_reports_and_work_on(data: DataDirectory) -> None:
    server = Server(data, signal="report(ready=True); os.close(report_to); wait()")
    assert server.run() == 0


def test_chosen_ports_are_kept_for_the_next_start_of_the_role(data: DataDirectory) -> None:
    """Phones know them by now."""
    settings = load_settings(overrides={"sip": {"listen": ["127.0.0.1:0/udp"]}})
    assert Server(data, settings, signal=WORKER).run() == 0
    kept = load_settings(overrides=json.loads(data.settings.read_bytes()))
    assert [str(listener) for listener in kept.sip.listen] == ["127.0.0.1:5070/udp"]


def test_standard_output_of_a_role_is_not_that_of_the_server(
    data: DataDirectory, capfd: pytest.CaptureFixture[str]
) -> None:
    """Scripts read the server's lines: a stray print must not look like one."""
    assert Server(data, signal='print("stray", flush=True); ' + WORKER).run() == 0
    captured = capfd.readouterr()
    assert captured.out == ""
    assert "stray" in captured.err


def test_a_role_that_ignores_sigterm_is_killed_when_time_is_up(data: DataDirectory) -> None:
    settings = load_settings(overrides={"server": {"stop_s": 0.1}})
    server = Server(data, settings, signal="report(ready=True)\nwhile True: wait()")
    assert server.run() == 0


def test_a_data_directory_has_one_server(data: DataDirectory) -> None:
    with data.owned(), pytest.raises(DataDirectoryError, match="already runs"):
        serve(data, Settings())


def test_the_roles_of_a_server_follow_its_media_engine() -> None:
    assert [plan.name for plan in plans_for(Settings())] == [
        "media",
        "signal",
        "project",
        "web",
        "admin",
    ]
    for engine in ("ng:127.0.0.1:2223", "off"):
        foreign = load_settings(overrides={"media": {"engine": engine}})
        assert [plan.name for plan in plans_for(foreign)] == [
            "signal",
            "project",
            "web",
            "admin",
        ]
        assert plans_for(foreign)[0].needs == ()


def test_a_node_of_a_cluster_has_a_log_role_that_starts_first_and_stops_last() -> None:
    settings = load_settings(overrides={"eventlog": {"engine": "kafka:k1:9092,k2:9092"}})
    plans = {plan.name: plan for plan in plans_for(settings)}
    assert set(plans) == {"log", "media", "signal", "project", "web", "admin"}
    assert "log" in plans["signal"].needs
    assert "log" in plans["project"].needs
    assert plans["log"].stop_phase > max(plans["signal"].stop_phase, plans["project"].stop_phase)


def test_a_log_of_a_cluster_does_not_go_on_alone(data: DataDirectory) -> None:
    data.prepare()
    EmbeddedLog(data.path / LOG_FILE).close()
    join(data.path / LOG_FILE, "w")
    with pytest.raises(DataDirectoryError, match="part of a cluster"):
        serve(data, Settings())


def test_the_web_role_waits_for_calls_and_ends_none() -> None:
    [web] = [plan for plan in plans_for(Settings()) if plan.name == "web"]
    assert (web.needs, web.vital, web.answers) == (("signal",), False, False)
    off = load_settings(overrides={"web": {"admin_listen": "off"}})
    assert "web" not in [plan.name for plan in plans_for(off)]
    tls = {"admin_listen": "off", "admin_tls_listen": "127.0.0.1:9010"}
    assert "web" in [plan.name for plan in plans_for(load_settings(overrides={"web": tls}))]


def test_a_restarted_web_role_listens_where_it_did(data: DataDirectory) -> None:
    """The first process names the port the system chose; the second reads it in its settings."""
    settings = load_settings(overrides={"web": {"admin_listen": "127.0.0.1:0"}})
    server = Server(
        data,
        settings,
        web=f"""
            kept = json.load(open({str(data.settings)!r}))["web"]
            report(listening="admin 127.0.0.1:8123/http")
            report(listening="admin 127.0.0.1:9123/https")
            report(ready=True)
            if sys.argv[2] == "1": os.kill(os.getpid(), signal.SIGKILL)
            assert kept["admin_listen"] == "127.0.0.1:8123", kept
            assert kept["admin_tls_listen"] == "127.0.0.1:9123", kept
            os.kill(os.getppid(), signal.SIGINT)
            wait()
        """,
    )
    assert server.run() == 0
    assert server.said == [
        "listening admin 127.0.0.1:8123/http",
        "listening admin 127.0.0.1:9123/https",
    ]


def test_the_real_roles_are_started_without_the_current_folder(data: DataDirectory) -> None:
    command = role_command(data)("signal", 7)
    assert command[:5] == [sys.executable, "-P", "-m", "pbx", "role"]
    assert command[-4:] == ["--report-to", "7", "--supervisor", str(os.getpid())]


def test_kill_9_of_the_supervisor_takes_its_roles_along(data: DataDirectory) -> None:
    """The role holds a pipe open; its end of file is the proof that the role is gone."""
    program = """
        import os, subprocess, sys
        from pathlib import Path
        from pbx.datadir import DataDirectory
        from pbx.app import Processes
        from pbx.settings import Settings
        from pbx.supervisor import RolePlan
        role = '''
        import os, signal, sys
        from pathlib import Path
        from pbx.roles import run_role
        def work(context):
            context.ready()
            signal.pause()
        run_role("work", Path(sys.argv[2]), int(sys.argv[1]), int(sys.argv[3]), {"work": work})
        '''
        import textwrap
        def command(role_name, descriptor):
            return [sys.executable, "-c", textwrap.dedent(role), str(descriptor), sys.argv[1],
                    str(os.getpid())]
        data = DataDirectory(Path(sys.argv[1]))
        Processes(data, Settings(), [RolePlan("work", answers=True)], command).run()
    """
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    held, given = os.pipe()
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), str(data.path)],
        stdout=subprocess.PIPE,
        stderr=given,  # inherited by the role as its standard error
        env=environment,
    ) as supervisor:
        os.close(given)
        assert supervisor.stdout is not None
        assert supervisor.stdout.readline() == b"ready\n"
        supervisor.kill()
        supervisor.wait()
        with os.fdopen(held, "rb") as end:
            assert end.read() == b""


@pytest.mark.parametrize(
    "module", ["pbx.signal.run", "pbx.media_role", "pbx.project_role", "pbx.app", "pbx.cli.main"]
)
def test_only_the_web_role_loads_what_it_needs(module: str) -> None:
    """Others start faster and smaller without; a webhook loads its client when there is one."""
    program = f"""
        import sys
        import {module}
        if {module!r} == "pbx.cli.main": pbx.cli.main.build_parser()
        heavy = ("starlette", "uvicorn", "h11", "websockets", "httpcore2", "anyio", "pbx.web")
        print([name for name in heavy if name in sys.modules])
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
