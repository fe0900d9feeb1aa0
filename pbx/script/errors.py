"""The error tree of ``pbx.script``, and what positions look like.

::

    PbxError
    └── ScriptError
        ├── CompileError      the text is no program; carries every diagnostic that was found
        ├── ProgramException  a running program did what the language forbids; its task is over
        │   └── LimitExceeded …or used more than it may (steps, memory, depth, output)
        ├── ModuleMissing     no file of that name in the environment
        └── ScenarioError     a scenario of the offline host cannot be read

``ProgramException`` never escapes :meth:`pbx.script.machine.Machine.run`: it becomes a ``Failed``
outcome with the source line and the call stack.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from pbx.kernel.errors import PbxError


class ScriptError(PbxError):
    """Base of everything ``pbx.script`` raises on purpose."""


class Severity(Enum):
    """Errors make a program unusable; warnings do not."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding about a program text."""

    severity: Severity
    message: str
    source: str
    """File name as it was given."""
    line: int
    """From 1."""
    column: int
    """From 1, in characters."""
    excerpt: str = ""
    """The source line."""

    def __str__(self) -> str:
        text = f"{self.source}:{self.line}:{self.column}: {self.severity.value}: {self.message}"
        if self.excerpt.strip():
            # Tabs are kept so that the mark stands under its column in every editor.
            lead = "".join(
                "\t" if char == "\t" else " " for char in self.excerpt[: self.column - 1]
            )
            text += f"\n    {self.excerpt}\n    {lead}^"
        return text


class CompileError(ScriptError):
    """The text does not compile. ``diagnostics`` holds errors and warnings in source order."""

    def __init__(self, diagnostics: tuple[Diagnostic, ...]) -> None:
        self.diagnostics = diagnostics
        errors = [str(one) for one in diagnostics if one.severity is Severity.ERROR]
        super().__init__("\n".join(errors))


@dataclass(frozen=True, slots=True)
class StackFrame:
    """Where a running program is: one level of its call stack."""

    section: str
    """Such as ``entry Main`` or ``function transferTo``."""
    source: str
    line: int
    column: int
    """From 1; 0 when the interpreter was told not to keep columns."""
    excerpt: str = ""

    def __str__(self) -> str:
        text = f"{self.source}:{self.line}:{self.column} in {self.section}"
        return f"{text}\n    {self.excerpt.strip()}" if self.excerpt.strip() else text


class ProgramException(ScriptError):
    """The program did what the language forbids; there is no catch in the language."""


class LimitExceeded(ProgramException):
    """The program used more steps, memory, depth or output than a task may."""


class ModuleMissing(ScriptError):
    """A program or module that was asked for is not in the environment."""


class ScenarioError(ScriptError):
    """A scenario for the offline host is malformed; the text says where and what to write."""
