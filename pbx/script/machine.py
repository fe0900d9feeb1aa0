"""Runs a compiled program until it needs something from outside.

Sans-I/O: :meth:`Machine.run` executes a slice and returns an :data:`Outcome`; the caller carries
out a :class:`~pbx.script.requests.base.HostRequest` and hands the result to
:meth:`Machine.resume`. Nothing in here waits, looks at a clock or draws randomness; a program can
be repeated from the values it was resumed with.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from enum import Enum
from types import FrameType, GeneratorType, TracebackType
from typing import Any, Final, Literal, Protocol

from pbx.script.errors import (
    CompileError,
    LimitExceeded,
    ModuleMissing,
    ProgramException,
    StackFrame,
)
from pbx.script.limits import MAX_CALL_DEPTH, Limits, Meter, measure
from pbx.script.program import CompiledProgram, Stopped
from pbx.script.requests.base import Answered, HostRequest
from pbx.script.values import Dictionary, TaskHandle, Value


class Modules(Protocol):
    """Where a running program finds its external sections."""

    def module(self, name: str) -> CompiledProgram:
        """The compiled module of that name (lower case).

        Raises ``ModuleMissing`` or ``CompileError``.
        """
        ...


class NoModules:
    """For programs that stand alone."""

    __slots__ = ()

    def module(self, name: str) -> CompiledProgram:
        raise ModuleMissing(f"there is no module {name}")


@dataclass(frozen=True, slots=True)
class Paused:
    """The slice is used up: call :meth:`Machine.run` again when others had their turn."""


@dataclass(frozen=True, slots=True)
class Finished:
    """The program ended as it wanted to."""

    reason: Literal["return", "stop"]


@dataclass(frozen=True, slots=True)
class Failed:
    """A program exception ended the task. There is nothing to resume."""

    message: str
    stack: tuple[StackFrame, ...]
    """Innermost first."""
    limit: bool = False
    """Whether a limit was exceeded."""
    internal: BaseException | None = field(default=None, compare=False)
    """A fault of the interpreter itself, to be reported as such."""

    def __str__(self) -> str:
        return "\n".join([self.message, *(f"  at {frame}" for frame in self.stack)])


Outcome = HostRequest | Paused | Finished | Failed


class _State(Enum):
    NEW = "new"
    PAUSED = "paused"
    WAITING = "waiting"
    OVER = "over"


PAUSED: Final = Paused()
_MEASURE_SHARE: Final = 16
"""Live memory is measured after a sixteenth of the limit was newly made, and again after it
doubled: seldom enough to cost little, often enough to be near the truth."""
REQUEST_STEPS: Final = 10
"""What a request that is answered at once costs."""
_MAX_STACK: Final = 24
"""Frames shown of a deep stack: the innermost and, after a gap, the outermost."""


class Machine(Meter):
    """One running program with its limits; made for one task, used up by it."""

    __slots__ = ("_generator", "_programs", "_state", "modules", "program", "task", "variables")

    def __init__(
        self,
        program: CompiledProgram,
        entry: str = "main",
        *,
        limits: Limits | None = None,
        modules: Modules | None = None,
        task: TaskHandle | None = None,
        variables: Dictionary | None = None,
    ) -> None:
        """Raises ``ProgramException`` if the program has no such entry."""
        super().__init__(limits if limits is not None else Limits())
        self.program = program
        self.modules: Modules = modules if modules is not None else NoModules()
        self.task = task
        self.variables = variables if variables is not None else Dictionary()
        self._programs = {program.filename: program}
        self._state = _State.NEW
        section = program.find(entry, "entry")
        if section is None:
            raise ProgramException(f"{program.source.name} has no entry {entry}")
        self._generator = self._start(section.function, suspends=section.suspends)

    def _start(self, function: Any, *, suspends: bool) -> Generator[HostRequest | Paused, Value]:
        if suspends:
            yield from function(self, 1)
        else:
            function(self, 1)

    # For the host.

    @property
    def over(self) -> bool:
        """Whether the program has ended."""
        return self._state is _State.OVER

    def run(self) -> Outcome:
        """Start, or go on after :class:`Paused`. Raises ``RuntimeError`` in any other state."""
        if self._state not in (_State.NEW, _State.PAUSED):
            raise RuntimeError(f"run() while {self._state.value}")
        return self._go(None)

    def resume(self, value: Value, *, waited: bool = True) -> Outcome:
        """Go on with the result of the request that was returned last.

        ``waited=False`` says that no time passed: such calls do not restart the count of
        operations, as a loop over them would be endless all the same.
        """
        if self._state is not _State.WAITING:
            raise RuntimeError(f"resume() while {self._state.value}")
        if waited:
            self.left = self.limits.steps
            self.output = 0
        else:
            # Asking costs more than computing; this also ends a loop that only asks.
            self.left -= REQUEST_STEPS
            if self.left < 0:
                return self._go(None, self.exhausted())
        return self._go(value)

    def fail(self, problem: ProgramException) -> Outcome:
        """Go on with a program exception instead of a result: the host refuses the request."""
        if self._state is not _State.WAITING:
            raise RuntimeError(f"fail() while {self._state.value}")
        return self._go(None, problem)

    def kill(self) -> None:
        """End the program where it stands; later calls of ``run`` and ``resume`` are errors."""
        self._state = _State.OVER
        self._generator.close()

    def position(self) -> StackFrame | None:
        """Where the program waits; None when it has ended or not begun."""
        found: StackFrame | None = None
        generator: object = self._generator
        while isinstance(generator, GeneratorType) and generator.gi_frame is not None:
            frame = self._frame(generator.gi_frame, generator.gi_frame.f_lineno, 0)
            found = frame or found
            generator = generator.gi_yieldfrom
        return found

    def current_program(self) -> CompiledProgram:
        """The file whose code asked last: what it spawns are its own entries."""
        found = self.program
        generator: object = self._generator
        while isinstance(generator, GeneratorType) and generator.gi_frame is not None:
            found = self._programs.get(generator.gi_frame.f_code.co_filename, found)
            generator = generator.gi_yieldfrom
        return found

    def _go(self, value: Value, problem: ProgramException | None = None) -> Outcome:
        generator = self._generator
        self.budget = self.limits.slice_steps
        try:
            outcome = generator.send(value) if problem is None else generator.throw(problem)
            while True:
                if self.fresh > max(self.limits.memory_bytes // _MEASURE_SHARE, self.live):
                    problem = self._measure()
                    if problem is not None:
                        outcome = generator.throw(problem)
                        continue
                if outcome.__class__ is Answered:
                    outcome = generator.send(outcome.value)
                elif outcome is PAUSED:
                    self._state = _State.PAUSED
                    return PAUSED
                else:
                    self._settle()
                    self._state = _State.WAITING
                    return outcome
        except StopIteration:
            self._state = _State.OVER
            return Finished("return")
        except Stopped:
            self._state = _State.OVER
            return Finished("stop")
        except ProgramException as problem:
            self._state = _State.OVER
            stack = self._stack(problem.__traceback__)
            return Failed(str(problem), stack, limit=isinstance(problem, LimitExceeded))
        except Exception as problem:  # noqa: BLE001 - a program must not take others along
            self._state = _State.OVER
            message = f"internal error of the interpreter: {type(problem).__name__}: {problem}"
            return Failed(message, self._stack(problem.__traceback__), internal=problem)

    def _settle(self) -> None:
        self.left -= self.limits.slice_steps - self.budget

    def _measure(self) -> LimitExceeded | None:
        roots: list[object] = [self.variables]
        generator: object = self._generator
        while isinstance(generator, GeneratorType) and generator.gi_frame is not None:
            roots.extend(generator.gi_frame.f_locals.values())
            generator = generator.gi_yieldfrom
        limit = self.limits.memory_bytes
        self.live = measure(roots, limit)
        self.fresh = 0
        if self.live > limit:
            return LimitExceeded(f"the program holds more than {limit} bytes of values")
        return None

    # For compiled code.

    def pause(self) -> Paused:
        """Account for the slice; what it returns is yielded."""
        self._settle()
        if self.left < 0:
            raise self.exhausted()
        self.budget = self.limits.slice_steps
        return PAUSED

    def too_deep(self) -> None:
        """Raise: sections call each other too deeply."""
        raise LimitExceeded(f"more than {MAX_CALL_DEPTH} calls in each other: endless recursion?")

    def variable(self, key: bytes) -> Value:
        """A variable of the task."""
        return self.variables.get(key)

    def set_variable(self, key: bytes, value: Value) -> None:
        """Assign a variable of the task."""
        self.keep(value)
        self.variables.set(key, value)

    def external(
        self, depth: int, module: str, name: str, *arguments: Value, kind: str | None = None
    ) -> Generator[Any, Any, Value]:
        """Call a section of another file; with `kind` it must be a procedure or a function."""
        try:
            program = self.modules.module(module)
        except ModuleMissing as problem:
            raise ProgramException(str(problem)) from None
        except CompileError as problem:
            raise ProgramException(f"module {module} does not compile: {problem}") from None
        self._programs[program.filename] = program
        section = program.find(name)
        if section is None or section.kind == "entry":
            raise ProgramException(f"module {module} has no procedure or function {name}")
        if kind is not None and section.kind != kind:
            raise ProgramException(f"{module}::{name} is a {section.kind}, not a {kind}")
        if len(arguments) != section.parameters:
            raise ProgramException(
                f"{module}::{name} takes {section.parameters} arguments, not {len(arguments)}"
            )
        if section.suspends:
            result: Value = yield from section.function(self, depth, *arguments)
            return result
        if depth > MAX_CALL_DEPTH:
            self.too_deep()
        value: Value = section.function(self, depth, *arguments)
        return value

    # Where the program is.

    def _stack(self, traceback: TracebackType | None) -> tuple[StackFrame, ...]:
        frames: list[StackFrame] = []
        while traceback is not None:
            column = _column(traceback)
            frame = self._frame(traceback.tb_frame, traceback.tb_lineno, column)
            if frame is not None:
                frames.append(frame)
            traceback = traceback.tb_next
        frames.reverse()
        if len(frames) > _MAX_STACK:
            half = _MAX_STACK // 2
            gap = StackFrame(f"… {len(frames) - _MAX_STACK} more calls …", "", 0, 0)
            return (*frames[:half], gap, *frames[-half:])
        return tuple(frames)

    def _frame(self, frame: FrameType, line: int, column: int) -> StackFrame | None:
        program = self._programs.get(frame.f_code.co_filename)
        if program is None:
            return None
        section = program.title(frame.f_code.co_name)
        source = program.source
        return StackFrame(section, source.name, line, column, source.line(line))


def _column(traceback: TracebackType) -> int:
    for number, position in enumerate(traceback.tb_frame.f_code.co_positions()):
        if number * 2 == traceback.tb_lasti:
            return 0 if position[2] is None else position[2] + 1
    return 0
