"""A compiled file: from text to sections that can be called.

Fed by :mod:`pbx.script.parser`, :mod:`~pbx.script.resolver` and :mod:`~pbx.script.codegen`; run by
:mod:`pbx.script.machine`. A compiled program holds no state of a task, so that any number of tasks
share one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from pbx.script import catalogue, operators
from pbx.script.builtins.registry import Environment
from pbx.script.codegen import generate, section_name
from pbx.script.errors import CompileError, Diagnostic, Severity
from pbx.script.limits import MAX_CALL_DEPTH
from pbx.script.parser import parse
from pbx.script.requests.tasks import SPAWN
from pbx.script.resolver import resolve
from pbx.script.source import Source


class Stopped(Exception):
    """``stop`` ends the task from any depth."""


@dataclass(frozen=True, slots=True)
class CompiledSection:
    """An entry, procedure or function."""

    kind: str
    name: str
    parameters: int
    suspends: bool
    function: Callable[..., Any]


@dataclass(frozen=True, slots=True)
class CompiledProgram:
    """All sections of a file, by folded name."""

    source: Source
    environment: Environment
    sections: tuple[CompiledSection, ...]
    warnings: tuple[Diagnostic, ...]
    filename: str
    """As it stands in the code objects."""

    def find(self, name: str, kind: str | None = None) -> CompiledSection | None:
        """The section of that name (any case), or None."""
        folded = name.lower()
        for section in self.sections:
            if section.name.lower() == folded and kind in (None, section.kind):
                return section
        return None

    def title(self, function: str) -> str:
        """Kind and name of the section behind a Python function's name."""
        section = self.sections[int(function[1:])]
        return f"{section.kind} {section.name}"

    @property
    def entries(self) -> tuple[str, ...]:
        """Names of the entries."""
        return tuple(one.name for one in self.sections if one.kind == "entry")


_NAMESPACE: Final[dict[str, Any]] = {
    "__builtins__": {},
    "int": int,
    "MAX_CALL_DEPTH": MAX_CALL_DEPTH,
    "Stopped": Stopped,
    "Spawn": SPAWN,
    "add": operators.add,
    "subtract": operators.subtract,
    "multiply": operators.multiply,
    "divide": operators.divide,
    "remainder": operators.remainder,
    "negate": operators.negate,
    "plus": operators.plus,
    "equal": operators.equal,
    "less": operators.less,
    "less_or_equal": operators.less_or_equal,
    "greater": operators.greater,
    "greater_or_equal": operators.greater_or_equal,
    "key": operators.key,
    "index": operators.index,
    "set_key": operators.set_key,
    "set_index": operators.set_index,
}


def check_program(source: Source, environment: Environment) -> tuple[Diagnostic, ...]:
    """Everything that can be said about a text without running it, in source order."""
    try:
        return compile_program(source, environment).warnings
    except CompileError as error:
        return error.diagnostics


def compile_program(
    source: Source, environment: Environment = Environment.REAL_TIME
) -> CompiledProgram:
    """Compile a file. Raises ``CompileError`` with all that was found."""
    tree = parse(source)
    resolved = resolve(tree, source, catalogue.table_of(environment))
    findings = tuple(resolved.diagnostics)
    if any(one.severity is Severity.ERROR for one in findings):
        raise CompileError(findings)
    filename = f"<{environment.value} program {source.name}>"
    generated = generate(resolved, source, filename)
    namespace = dict(_NAMESPACE)
    for name, builtin in generated.builtins.items():
        namespace[name] = builtin.run
    # What is executed defines functions and nothing else; it was built as a tree from the parsed
    # program and can reach only what stands in the namespace.
    exec(generated.code, namespace)
    sections = tuple(
        CompiledSection(
            info.node.kind,
            info.node.name,
            len(info.node.parameters),
            info.suspends,
            namespace[section_name(number)],
        )
        for number, info in enumerate(resolved.sections)
    )
    return CompiledProgram(source, environment, sections, findings, filename)
