"""Names to slots, calls to what they call; and everything else that can be said before a run.

Annotates the tree of :mod:`pbx.script.parser` for :mod:`pbx.script.codegen`. Unlike the parser it
goes on after a finding, so that ``pbx script check`` shows all of them. Scopes follow CG/PL
reference §6: blocks nest, an inner ``var`` shadows, a name that nobody declared is a variable of
the section, initially null.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from pbx.script import nodes as n
from pbx.script.builtins.registry import Builtin, everywhere_else
from pbx.script.errors import Diagnostic, ProgramException, Severity
from pbx.script.limits import Limits, Meter
from pbx.script.operators import binary, negate, plus
from pbx.script.source import Source
from pbx.script.values import YES, Value

MAX_DIAGNOSTICS: Final = 200
"""More findings in one file help nobody."""


@dataclass(frozen=True, slots=True)
class LocalSlot:
    """A variable of the section."""

    number: int


@dataclass(frozen=True, slots=True)
class TaskVariable:
    """A key of ``Vars()``."""

    key: bytes


@dataclass(frozen=True, slots=True)
class ConstantValue:
    """A constant; its value is put where the name stands."""

    value: bytes | int | None


NameBinding = LocalSlot | TaskVariable | ConstantValue


@dataclass(frozen=True, slots=True)
class SectionCall:
    """A section of the same file, by its index among the defined ones."""

    number: int


@dataclass(frozen=True, slots=True)
class ExternalCall:
    """A section of another file."""

    module: str
    section: str


CallBinding = SectionCall | ExternalCall | Builtin


@dataclass(slots=True)
class SectionInfo:
    """What code generation needs to know about a defined section."""

    node: n.Section
    slots: int = 0
    """Variables; parameters come first."""
    suspends: bool = False
    """Whether it may give control back: it loops, waits, recurses or calls one that does."""
    calls: set[int] = field(default_factory=set)
    """Numbers of the sections it calls."""


@dataclass(slots=True)
class Resolved:
    """The outcome: sections in file order, and all findings."""

    sections: list[SectionInfo]
    diagnostics: list[Diagnostic]


def resolve(program: n.Program, source: Source, builtins: dict[str, Builtin]) -> Resolved:
    """Bind every name and call of `program`; findings include errors that forbid running it."""
    return _Resolver(program, source, builtins).run()


@dataclass(slots=True)
class _Known:
    """A section name of this file and how it was declared."""

    node: n.Section
    number: int | None
    offset: int
    """Where it is first declared: it must be known before it is used."""
    external: ExternalCall | None = None


class _Resolver:
    def __init__(self, program: n.Program, source: Source, builtins: dict[str, Builtin]) -> None:
        self._program = program
        self._source = source
        self._builtins = builtins
        self._diagnostics: list[Diagnostic] = []
        self._infos: list[SectionInfo] = []
        self._known: dict[tuple[str | None, str], _Known] = {}
        self._task_variables: dict[str, str] = {}
        self._constants: dict[str, ConstantValue] = {}
        self._scopes: list[dict[str, NameBinding]] = []
        self._info = SectionInfo(n.Section(0, "entry", "", [], "defined"))
        self._written: set[str] = set()
        self._implicit: dict[str, LocalSlot] = {}
        self._read_first: dict[str, tuple[int, str]] = {}
        self._meter = Meter(Limits())

    # Findings.

    def _report(self, offset: int, message: str, severity: Severity = Severity.ERROR) -> None:
        if len(self._diagnostics) < MAX_DIAGNOSTICS:
            self._diagnostics.append(self._source.diagnostic(offset, message, severity))

    def _warn(self, offset: int, message: str) -> None:
        self._report(offset, message, Severity.WARNING)

    def run(self) -> Resolved:
        self._declare()
        for info in self._infos:
            self._section(info)
        self._find_suspending()
        self._diagnostics.sort(key=lambda one: (one.line, one.column))
        return Resolved(self._infos, self._diagnostics)

    # Declarations.

    def _declare(self) -> None:
        forward: dict[str, n.Section] = {}
        for item in self._program.items:
            if isinstance(item, n.TaskVariables):
                for name in item.names:
                    self._task_variables.setdefault(name.lower(), name)
            elif isinstance(item, n.Const):
                for one in item.names:
                    self._constants[one.name.lower()] = self._constant(one)
            else:
                self._declare_section(item, forward)
        for name, node in forward.items():
            known = self._known.get((None, name))
            if known is None or known.node.linkage == "forward":
                self._report(node.offset, f"{node.kind} {node.name} is announced but never defined")

    def _declare_section(self, node: n.Section, forward: dict[str, n.Section]) -> None:
        name = node.name.lower()
        place = (node.module.lower() if node.module else None, name)
        before = self._known.get(place)
        if node.linkage == "external":
            module = (node.module or node.name).lower()
            self._known[place] = _Known(
                node, None, node.offset, ExternalCall(module, node.name.lower())
            )
            return
        if node.linkage == "forward":
            forward.setdefault(name, node)
            if before is None:
                self._known[place] = _Known(node, None, node.offset)
            return
        if before is not None and before.node.linkage == "defined":
            line, _ = self._source.locate(before.node.offset)
            self._report(node.offset, f"{node.name} is defined already in line {line}")
            return
        if before is not None and before.node.linkage == "forward":
            announced = before.node
            if announced.kind != node.kind:
                self._report(node.offset, f"{node.name} was announced as a {announced.kind}")
            elif len(announced.parameters) != len(node.parameters):
                self._report(
                    node.offset,
                    f"{node.name} was announced with {len(announced.parameters)} parameters",
                )
        offset = before.offset if before is not None else node.offset
        self._known[place] = _Known(node, len(self._infos), offset)
        self._infos.append(SectionInfo(node))

    def _constant(self, declared: n.Declared) -> ConstantValue:
        assert declared.value is not None
        try:
            value = self._fold(declared.value)
        except _NotConstant as problem:
            self._report(problem.offset, "the value of a constant must be known beforehand")
            value = None
        except ProgramException as problem:
            self._report(declared.offset, str(problem))
            value = None
        assert value is None or isinstance(value, bytes | int)
        binding = ConstantValue(value)
        declared.binding = binding
        return binding

    def _fold(self, node: n.Expression) -> Value:
        match node:
            case n.Constant():
                return node.value
            case n.Name():
                binding = self._find(node.name)
                if isinstance(binding, ConstantValue):
                    return binding.value
            case n.Unary():
                value = self._fold(node.operand)
                if node.sign == "!":
                    return YES if value is None else None
                return negate(value) if node.sign == "-" else plus(value)
            case n.Binary():
                return binary(self._meter, node.sign, self._fold(node.left), self._fold(node.right))
            case n.Logical():
                left = self._fold(node.left)
                if node.sign == "&&":
                    return None if left is None else self._fold(node.right)
                if node.sign == "||":
                    return self._fold(node.right) if left is None else left
                return binary(self._meter, node.sign, left, self._fold(node.right))
            case n.Conditional():
                chosen = node.no if self._fold(node.condition) is None else node.yes
                return self._fold(chosen)
            case _:
                pass
        raise _NotConstant(node.offset)

    # Scopes.

    def _find(self, name: str) -> NameBinding | None:
        folded = name.lower()
        for scope in reversed(self._scopes):
            if folded in scope:
                return scope[folded]
        if folded in self._constants:
            return self._constants[folded]
        if folded in self._task_variables:
            return TaskVariable(self._task_variables[folded].encode())
        return None

    def _slot(self) -> LocalSlot:
        slot = LocalSlot(self._info.slots)
        self._info.slots += 1
        return slot

    def _undeclared(self, name: str) -> LocalSlot:
        folded = name.lower()
        slot = self._implicit.get(folded)
        if slot is None:
            slot = self._implicit[folded] = self._slot()
            self._scopes[0].setdefault(folded, slot)
        return slot

    def _section(self, info: SectionInfo) -> None:
        self._info = info
        self._written = set()
        self._implicit = {}
        self._read_first = {}
        self._scopes = [{}]
        for name in info.node.parameters:
            self._scopes[0][name.lower()] = self._slot()
        self._block(info.node.body, in_loop=False)
        for folded, (offset, spelled) in self._read_first.items():
            if folded not in self._written:
                hint = self._function_hint(folded) or self._name_hint(folded)
                self._warn(offset, f"{spelled} is never set here: it is always null{hint}")

    def _function_hint(self, folded: str) -> str:
        if (None, folded) in self._known or folded in self._builtins:
            return "; a call needs parentheses"
        return ""

    def _name_hint(self, folded: str) -> str:
        names = [*self._written, *self._scopes[0], *self._constants, *self._task_variables]
        return _suggestion(folded, [name for name in names if name != folded])

    # Statements.

    def _block(self, body: list[n.Statement], *, in_loop: bool) -> None:
        ended = False
        for statement in body:
            if ended:
                self._warn(statement.offset, "this is never reached")
                ended = False
            self._statement(statement, in_loop=in_loop)
            ended = _leaves(statement)

    def _scoped(self, body: list[n.Statement], *, in_loop: bool = False) -> None:
        self._scopes.append({})
        self._block(body, in_loop=in_loop)
        self._scopes.pop()

    def _statement(self, node: n.Statement, *, in_loop: bool) -> None:
        match node:
            case n.Assign():
                self._expression(node.value)
                if node.sign is not None or not isinstance(node.target, n.Name):
                    self._expression(node.target)
                if isinstance(node.target, n.Name):
                    self._assigned(node.target)
            case n.CallStatement():
                self._call(node.call, statement=True)
            case n.Var():
                for one in node.names:
                    if one.value is not None:
                        self._expression(one.value)
                    one.binding = self._scopes[-1][one.name.lower()] = self._slot()
            case n.Const():
                for one in node.names:
                    self._scopes[-1][one.name.lower()] = self._constant(one)
            case n.If():
                for condition, body in node.branches:
                    self._expression(condition)
                    self._scoped(body)
                if node.otherwise is not None:
                    self._scoped(node.otherwise)
            case n.Loop():
                self._loop(node)
            case n.ExitIf():
                if not in_loop:
                    self._report(
                        node.offset,
                        "exitif belongs directly to the body of a loop, not into an if or outside",
                    )
                self._expression(node.condition)
            case n.Return():
                self._return(node)
            case n.Stop() | n.Empty():
                pass

    def _loop(self, node: n.Loop) -> None:
        self._info.suspends = True
        self._scopes.append({})
        if node.start is not None:
            self._statement(node.start, in_loop=False)
        if node.condition is not None:
            self._expression(node.condition)
        # The body may assign what the step reads, so the step is bound after it.
        self._scopes.append({})
        self._block(node.body, in_loop=True)
        self._scopes.pop()
        if node.step is not None:
            self._statement(node.step, in_loop=False)
        self._scopes.pop()

    def _return(self, node: n.Return) -> None:
        kind = self._info.node.kind
        if node.value is not None:
            self._expression(node.value)
            if kind != "function":
                self._warn(node.offset, f"a {kind} returns no value: it is dropped")
        elif kind == "function":
            self._warn(node.offset, "a function returns a value: this returns null")

    def _assigned(self, target: n.Name) -> None:
        binding = self._find(target.name)
        if isinstance(binding, ConstantValue):
            self._report(target.offset, f"{target.name} is a constant")
            return
        self._written.add(target.name.lower())
        target.binding = binding if binding is not None else self._undeclared(target.name)

    # Expressions.

    def _expression(self, node: n.Expression) -> None:
        match node:
            case n.Constant():
                pass
            case n.Name():
                self._name(node)
            case n.Key():
                self._expression(node.target)
            case n.ComputedKey():
                self._expression(node.target)
                self._expression(node.key)
            case n.Index():
                self._expression(node.target)
                self._expression(node.index)
            case n.Call():
                self._call(node, statement=False)
            case n.Spawn():
                self._spawn(node)
            case n.Unary():
                self._expression(node.operand)
            case n.Binary() | n.Logical():
                self._expression(node.left)
                self._expression(node.right)
            case n.Conditional():
                self._expression(node.condition)
                self._expression(node.yes)
                self._expression(node.no)

    def _name(self, node: n.Name) -> None:
        folded = node.name.lower()
        binding = self._find(node.name)
        if binding is None:
            binding = self._undeclared(node.name)
        if folded in self._implicit and binding == self._implicit[folded]:
            self._read_first.setdefault(folded, (node.offset, node.name))
        node.binding = binding

    def _spawn(self, node: n.Spawn) -> None:
        self._info.suspends = True
        if node.argument is not None:
            self._expression(node.argument)
        known = self._known.get((None, node.name.lower()))
        if known is None or known.node.kind != "entry":
            entries = [name for (_, name), one in self._known.items() if one.node.kind == "entry"]
            self._report(
                node.offset,
                f"there is no entry {node.name}{_suggestion(node.name.lower(), entries)}",
            )
        else:
            self._check_order(known, node.offset, node.name)

    def _check_order(self, known: _Known, offset: int, name: str) -> None:
        if known.offset > offset:
            self._warn(
                offset,
                f"{name} is used before it is known: announce it with “forward;” "
                "(other servers demand it)",
            )

    def _call(self, node: n.Call, *, statement: bool) -> None:
        for argument in node.arguments:
            self._expression(argument)
        folded = node.name.lower()
        known = self._known.get((node.module.lower() if node.module else None, folded))
        if known is not None:
            self._section_call(node, known, statement=statement)
            return
        if node.module is not None:
            self._report(
                node.offset,
                f"{node.module}::{node.name} is not declared: "
                f"write “function {node.module}::{node.name}(…) external;” before",
            )
            return
        builtin = self._builtins.get(folded)
        if builtin is None:
            self._unknown(node, statement=statement)
            return
        node.binding = builtin
        self._check_kind(node, builtin.name, procedure=builtin.procedure, statement=statement)
        count = len(node.arguments)
        if count < builtin.minimum or (builtin.maximum is not None and count > builtin.maximum):
            self._report(node.offset, f"{builtin.name} takes {builtin.arity}, not {count}")
        if builtin.sort in ("host", "external"):
            self._info.suspends = True

    def _unknown(self, node: n.Call, *, statement: bool) -> None:
        what = "procedure" if statement else "function"
        elsewhere = everywhere_else(node.name)
        if elsewhere:
            places = " and ".join(sorted(f"{one.value} programs" for one in elsewhere))
            self._report(node.offset, f"{node.name} exists in {places} only")
            return
        names = [name for _, name in self._known] + list(self._builtins)
        self._report(
            node.offset,
            f"there is no {what} {node.name}{_suggestion(node.name.lower(), names)}",
        )

    def _section_call(self, node: n.Call, known: _Known, *, statement: bool) -> None:
        section = known.node
        if section.kind == "entry":
            self._report(node.offset, f"{section.name} is an entry: it can only be spawned")
            return
        self._check_order(known, node.offset, section.name)
        self._check_kind(
            node, section.name, procedure=section.kind == "procedure", statement=statement
        )
        expected = len(section.parameters)
        if len(node.arguments) != expected:
            self._report(
                node.offset,
                f"{section.name} takes {expected or 'no'} argument{'s' if expected != 1 else ''}, "
                f"not {len(node.arguments)}",
            )
        if known.external is not None:
            node.binding = known.external
            self._info.suspends = True
        elif known.number is not None:
            node.binding = SectionCall(known.number)
            self._info.calls.add(known.number)

    def _check_kind(self, node: n.Call, name: str, *, procedure: bool, statement: bool) -> None:
        if statement and not procedure:
            self._report(
                node.offset, f"{name} is a function: use its value, or write void({name}(…))"
            )
        elif procedure and not statement:
            self._report(node.offset, f"{name} is a procedure: it has no value to use here")

    # Which sections may give control back.

    def _find_suspending(self) -> None:
        infos = self._infos
        for number, info in enumerate(infos):
            if not info.suspends and self._reaches(number, number):
                info.suspends = True
        changed = True
        while changed:
            changed = False
            for info in infos:
                if not info.suspends and any(infos[callee].suspends for callee in info.calls):
                    info.suspends = changed = True
        # A long chain of sections that never wait would still be deep recursion of the machine.
        for number in range(len(infos)):
            if not infos[number].suspends and self._height(number, MAX_PLAIN_HEIGHT) < 0:
                infos[number].suspends = True

    def _reaches(self, start: int, goal: int) -> bool:
        seen: set[int] = set()
        todo = list(self._infos[start].calls)
        while todo:
            number = todo.pop()
            if number == goal:
                return True
            if number not in seen:
                seen.add(number)
                todo.extend(self._infos[number].calls)
        return False

    def _height(self, number: int, room: int) -> int:
        level: set[int] = {number}
        while level and room >= 0:
            level = {callee for one in level for callee in self._infos[one].calls}
            room -= 1
        return room


MAX_PLAIN_HEIGHT: Final = 20
"""Longest chain of calls that never give control back."""


class _NotConstant(Exception):
    def __init__(self, offset: int) -> None:
        super().__init__()
        self.offset = offset


def _leaves(statement: n.Statement) -> bool:
    """Whether nothing after `statement` in its block can run."""
    match statement:
        case n.Return() | n.Stop():
            return True
        case n.If():
            return statement.otherwise is not None and all(
                any(_leaves(one) for one in body)
                for body in [*(body for _, body in statement.branches), statement.otherwise]
            )
        case n.Loop():
            endless = statement.condition is None or (
                isinstance(statement.condition, n.Constant)
                and statement.condition.value is not None
            )
            return endless and not any(isinstance(one, n.ExitIf) for one in statement.body)
        case _:
            return False


def _suggestion(name: str, names: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.75)
    return f" (did you mean {close[0]}?)" if close else ""
