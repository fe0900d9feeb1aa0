"""For administrators: test programs with pytest, without a server.

::

    from pbx.script.testing import call, start

    def test_welcome():
        run = call("sayhello.sppr", digits="!1")
        assert run.answered
        assert run.heard == ["blank.wav"]

    def test_callback():
        run = start("sayhello_cb.sppr", parameter=["401"], destinations={"401": {"status": 486}})
        assert run.log == ["Will call to 401"]

``call`` rings at the program, ``start`` starts it without a call. Keywords are the tables of a
scenario file (:mod:`pbx.script.offline.scenario`). What a program does wrong raises
:class:`ProgramFailed` unless ``fails=True``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pbx.script.builtins.registry import Environment
from pbx.script.conversion import to_python
from pbx.script.environment import Level
from pbx.script.errors import ProgramException, ScriptError
from pbx.script.limits import Limits
from pbx.script.machine import Failed, Finished, Machine, Paused
from pbx.script.offline.files import OfflineFiles
from pbx.script.offline.run import OfflineRun, stock_directory
from pbx.script.offline.scenario import Scenario, scenario_of
from pbx.script.program import CompiledProgram, compile_program
from pbx.script.requests.ambient import SysLog
from pbx.script.source import Source


class ProgramFailed(AssertionError):
    """The program under test failed, did not start, or did not end."""


class Run:
    """The results of an offline run."""

    def __init__(self, done: OfflineRun) -> None:
        self.done = done
        self.transcript = done.transcript
        self.endings = done.endings

    @property
    def heard(self) -> list[str]:
        """Names of the sounds whose playing began, in order."""
        return self.done.heard

    @property
    def log(self) -> list[str]:
        """Lines of ``SysLog`` and messages about the tasks."""
        return self.done.log

    @property
    def answered(self) -> bool:
        """Whether a pending call was answered."""
        return bool(self.transcript.of("answer"))

    @property
    def rejected(self) -> str | None:
        """Status and text of a refusal, such as ``486 Busy Here``."""
        found = self.transcript.of("reject")
        return found[-1].removeprefix("rejects the call: ") if found else None

    @property
    def calls(self) -> list[str]:
        """Sentences about calls that programs started."""
        return self.transcript.of("start call")

    @property
    def mail(self) -> list[dict[str, Any]]:
        """Headers of the messages that programs sent."""
        return [one.headers for one in self.done.services.mail]

    @property
    def scenario(self) -> Scenario:
        """The scenario with its accounts as the programs left them."""
        return self.done.scenario

    def texts(self, what: str, who: str | None = None) -> list[str]:
        """Sentences of one kind in the transcript."""
        return self.transcript.of(what, who)

    def __str__(self) -> str:
        return str(self.transcript)


def call(
    program: str | Path,
    *,
    digits: str = "",
    caller: Mapping[str, Any] | None = None,
    fails: bool = False,
    files: Mapping[str, bytes] | None = None,
    limits: Limits | None = None,
    **scenario: Any,
) -> Run:
    """A call rings at a program; `digits` is what the caller does."""
    party = dict(caller or {})
    if digits:
        party["does"] = digits
    return start(program, fails=fails, files=files, limits=limits, caller=party, **scenario)


def start(
    program: str | Path,
    *,
    fails: bool = False,
    files: Mapping[str, bytes] | None = None,
    limits: Limits | None = None,
    **scenario: Any,
) -> Run:
    """Start a program without a call; names without a file are stock applications.

    `files` are more files of its environment: ``name`` or ``language/name`` to content.
    """
    path = Path(program)
    suffix = Environment.REAL_TIME.program_suffix
    name = path.name.lower().removesuffix(suffix)
    directories = {Level.STOCK: stock_directory()}
    if path.is_file():
        directories[Level.DOMAIN] = path.resolve().parent
    extra = {key.lower(): data for key, data in (files or {}).items()}
    done = OfflineRun(
        name,
        scenario_of(scenario),
        OfflineFiles(directories, extra=extra, imagine=not scenario.get("strict_media")),
        limits=limits,
    ).run()
    run = Run(done)
    problems = [str(one) for one in done.failures]
    if done.start_problem is not None:
        problems.append(str(done.start_problem))
    problems += [f"{label} did not end" for label in done.still_running]
    if problems and not fails:
        raise ProgramFailed("\n".join([*problems, "", str(run)]))
    return run


def compile_text(text: str, name: str = "test.sppr") -> CompiledProgram:
    """Compile a program text. Raises ``CompileError``."""
    return compile_program(Source(name, text), Environment.of_file(name))


def evaluate(expression: str, **limits: Any) -> Any:
    """The value of an expression, as Python (strings as ``str``, null as None).

    Raises ``ProgramException``. The expression may use every function that is computed without the
    host.
    """
    return logged(f"entry main {{ SysLog({expression}); }}", **limits)[-1]


def logged(text: str, **limits: Any) -> list[Any]:
    """What a program gives to ``SysLog``, as Python values; other requests are answered with null.

    Raises ``ProgramException`` when it fails, ``ScriptError`` for a fault of the interpreter.
    """
    machine = Machine(compile_text(text), limits=Limits(**limits))
    found: list[Any] = []
    outcome = machine.run()
    while True:
        match outcome:
            case Finished():
                return found
            case Failed():
                if outcome.internal is not None:
                    raise ScriptError(str(outcome)) from outcome.internal
                raise ProgramException(str(outcome))
            case Paused():
                outcome = machine.run()
            case SysLog(value):
                found.append(to_python(value))
                outcome = machine.resume(None, waited=False)
            case _:
                outcome = machine.resume(None)
