"""The annotated tree to a Python code object.

The language is compiled to Python functions, built as Python syntax trees (never as text, so that
nothing in a program can become code of ours). A section that may give control back becomes a
generator, any other a plain function; a request to the host is a ``yield``. Nodes carry the
program's own lines and columns: the traceback of an exception is the program's call stack
(:mod:`pbx.script.python_syntax` sees to it).

Each block pays for its operations when it is entered (``m.budget -= n``), and loops and generator
sections give control back when the budget of the slice is spent.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from types import CodeType
from typing import Any, Final

from pbx.script import nodes as n
from pbx.script.builtins.registry import Builtin
from pbx.script.python_syntax import METER, STORE, Location, PythonSyntax
from pbx.script.resolver import (
    ConstantValue,
    ExternalCall,
    LocalSlot,
    Resolved,
    SectionCall,
    SectionInfo,
    TaskVariable,
)
from pbx.script.source import Source
from pbx.script.values import MAX_NUMBER, MIN_NUMBER, YES
from pbx.script.weights import expression_steps, statement_steps

DEPTH: Final = "d"


@dataclass(frozen=True, slots=True)
class Generated:
    """Code that, when executed, defines the sections ``s0``, ``s1`` … in its namespace."""

    code: CodeType
    builtins: dict[str, Builtin]
    """Names in the namespace to the built-ins they must be bound to."""


def generate(resolved: Resolved, source: Source, filename: str) -> Generated:
    """Compile resolved sections. Raises ``CompileError`` when they are too complex for Python."""
    builtins: dict[str, Builtin] = {}
    functions: list[ast.stmt] = [
        _SectionCompiler(resolved, info, number, source, builtins).function()
        for number, info in enumerate(resolved.sections)
    ]
    module = ast.Module(body=functions, type_ignores=[])
    try:
        code = compile(module, filename, "exec", dont_inherit=True)
    except (RecursionError, MemoryError, SyntaxError, OverflowError):
        raise source.error(
            0, "the program is too complex: divide its largest section into several"
        ) from None
    return Generated(code, builtins)


def section_name(number: int) -> str:
    """The name of a section's Python function in the namespace."""
    return f"s{number}"


_COMPARE: Final[dict[str, ast.cmpop]] = {
    "<": ast.Lt(),
    "<=": ast.LtE(),
    ">": ast.Gt(),
    ">=": ast.GtE(),
}
_COMPARE_HELP: Final = {
    "<": "less",
    "<=": "less_or_equal",
    ">": "greater",
    ">=": "greater_or_equal",
}
_ARITHMETIC: Final = {
    "-": "subtract",
    "*": "multiply",
    "/": "divide",
    "%": "remainder",
}
# Python 3.12 and later ask for the field.
_NO_TYPE_PARAMETERS: Final[dict[str, Any]] = (
    {"type_params": []} if "type_params" in ast.FunctionDef._fields else {}
)


class _SectionCompiler(PythonSyntax):
    def __init__(
        self,
        resolved: Resolved,
        info: SectionInfo,
        number: int,
        source: Source,
        builtins: dict[str, Builtin],
    ) -> None:
        super().__init__(source, info.node.offset)
        self._resolved = resolved
        self._info = info
        self._number = number
        self._builtins = builtins

    # Sections and blocks.

    def function(self) -> ast.stmt:
        """The Python function of this section."""
        info = self._info
        count = len(info.node.parameters)
        names = [METER, DEPTH, *(f"v{slot}" for slot in range(count))]
        body: list[ast.stmt] = []
        if info.slots > count:
            targets = [self._store(f"v{slot}") for slot in range(count, info.slots)]
            body.append(ast.Assign(targets=targets, value=self._constant(None), **self._at))
        if info.suspends:
            # The depth is an argument, so it needs no care when the section is left.
            body.append(
                ast.If(
                    test=self._compare(self._load(DEPTH), ast.Gt(), self._load("MAX_CALL_DEPTH")),
                    body=[self._do(self._method("too_deep"))],
                    orelse=[],
                    **self._at,
                )
            )
        body += self._paid(info.node.body, extra=2, check=True)
        return ast.FunctionDef(
            name=section_name(self._number),
            args=ast.arguments(
                posonlyargs=[],
                args=[ast.arg(arg=name, **self._at) for name in names],
                kwonlyargs=[],
                kw_defaults=[],
                defaults=[],
            ),
            body=body,
            decorator_list=[],
            **_NO_TYPE_PARAMETERS,
            **self._at,
        )

    def _paid(
        self, statements: list[n.Statement], *, extra: int = 0, check: bool = False
    ) -> list[ast.stmt]:
        """A block with what it costs in front of it."""
        steps = extra + sum(statement_steps(one) for one in statements)
        compiled: list[ast.stmt] = []
        if steps:
            compiled.append(
                ast.AugAssign(
                    target=ast.Attribute(
                        value=self._load(METER), attr="budget", ctx=STORE, **self._at
                    ),
                    op=ast.Sub(),
                    value=self._constant(steps),
                    **self._at,
                )
            )
        if check:
            if self._info.suspends:
                spent: ast.expr = ast.Yield(value=self._method("pause"), **self._at)
            else:
                spent = self._method("overdraw")
            compiled.append(
                ast.If(
                    test=self._compare(
                        self._attribute(METER, "budget"), ast.Lt(), self._constant(0)
                    ),
                    body=[self._do(spent)],
                    orelse=[],
                    **self._at,
                )
            )
        for statement in statements:
            self._temporaries = 0
            compiled += self._statement(statement)
        return compiled or [ast.Pass(**self._at)]

    def _statement(self, node: n.Statement) -> list[ast.stmt]:
        self._move(node.offset)
        match node:
            case n.Assign():
                return self._assign(node)
            case n.CallStatement():
                return [self._do(self._value(node.call))]
            case n.Var():
                found = []
                for one in node.names:
                    self._move(one.offset)
                    value = self._constant(None) if one.value is None else self._value(one.value)
                    assert isinstance(one.binding, LocalSlot)
                    target = self._store(f"v{one.binding.number}")
                    found.append(ast.Assign(targets=[target], value=value, **self._at))
                return list(found)
            case n.If():
                return [self._if(node)]
            case n.Loop():
                return self._loop(node)
            case n.ExitIf():
                test = self._test(node.condition)
                return [ast.If(test=test, body=[ast.Break(**self._at)], orelse=[], **self._at)]
            case n.Return():
                value = self._constant(None) if node.value is None else self._value(node.value)
                if self._info.node.kind != "function":
                    return [self._do(value), ast.Return(value=None, **self._at)]
                return [ast.Return(value=value, **self._at)]
            case n.Stop():
                return [ast.Raise(exc=self._load("Stopped"), cause=None, **self._at)]
            case n.Const() | n.Empty():
                return []

    def _if(self, node: n.If) -> ast.stmt:
        tests: list[tuple[Location, ast.expr, list[ast.stmt]]] = []
        for condition, body in node.branches:
            self._move(condition.offset)
            at = self._at
            self._temporaries = 0
            test = self._test(condition)
            tests.append((at, test, self._paid(body)))
        otherwise = [] if node.otherwise is None else self._paid(node.otherwise)
        for at, test, compiled in reversed(tests):
            branch = ast.If(test=test, body=compiled, orelse=otherwise, **at)
            otherwise = [branch]
        return branch

    def _loop(self, node: n.Loop) -> list[ast.stmt]:
        before = [] if node.start is None else self._statement(node.start)
        self._move(node.offset)
        at = self._at
        extra = 1
        inside: list[ast.stmt] = []
        if node.condition is not None:
            extra += expression_steps(node.condition)
            self._temporaries = 0
            test = self._test(node.condition)
            self._at = at
            if not (isinstance(test, ast.Constant) and test.value is True):
                inside.append(ast.If(test=test, body=[], orelse=[ast.Break(**at)], **at))
                inside[-1].body = [ast.Pass(**at)]  # type: ignore[attr-defined]
        if node.step is not None:
            extra += statement_steps(node.step)
        self._at = at
        body = self._paid(node.body, extra=extra, check=True)
        # What pays stands before the condition, so that an endless condition is paid, too.
        paid, rest = body[:2], body[2:]
        after = [] if node.step is None else self._statement(node.step)
        loop = ast.While(
            test=ast.Constant(value=True, **at),
            body=[*paid, *inside, *rest, *after],
            orelse=[],
            **at,
        )
        return [*before, loop]

    def _assign(self, node: n.Assign) -> list[ast.stmt]:
        target = node.target
        if isinstance(target, n.Name):
            if node.sign is None:
                value = self._value(node.value)
            else:
                value = self._operation(node.sign, target, node.value, node.offset)
            return [self._store_name(target, value)]
        compiled: list[ast.stmt] = []
        container = self._hold(self._value(target.target), compiled)
        match target:
            case n.Key():
                name, setter, getter = self._constant(target.key.encode()), "set_key", "key"
            case n.ComputedKey():
                name = self._hold(self._value(target.key), compiled)
                setter, getter = "set_key", "key"
            case n.Index():
                name = self._hold(self._value(target.index), compiled)
                setter, getter = "set_index", "index"
        if node.sign is None:
            value = self._value(node.value)
        else:
            self._move(node.offset)
            old = self._invoke(getter, container, name)
            value = self._combine(node.sign, old, self._value(node.value))
        self._move(node.offset)
        compiled.append(self._do(self._invoke(setter, self._load(METER), container, name, value)))
        return compiled

    def _hold(self, value: ast.expr, before: list[ast.stmt]) -> ast.expr:
        """Evaluate once, before the statement; returns what reads the result."""
        if isinstance(value, ast.Constant):
            return value
        name = self._temporary()
        before.append(ast.Assign(targets=[self._store(name)], value=value, **self._at))
        return self._load(name)

    def _store_name(self, target: n.Name, value: ast.expr) -> ast.stmt:
        binding = target.binding
        if isinstance(binding, TaskVariable):
            return self._do(self._method("set_variable", self._constant(binding.key), value))
        assert isinstance(binding, LocalSlot)
        return ast.Assign(targets=[self._store(f"v{binding.number}")], value=value, **self._at)

    # Expressions as values.

    def _value(self, node: n.Expression) -> ast.expr:
        if not isinstance(node, n.Constant | n.Name):
            self._move(node.offset)
        match node:
            case n.Constant():
                return self._constant(node.value)
            case n.Name():
                return self._read(node)
            case n.Key():
                target = self._value(node.target)
                self._move(node.offset)
                return self._invoke("key", target, self._constant(node.key.encode()))
            case n.ComputedKey():
                return self._invoke("key", self._value(node.target), self._value(node.key))
            case n.Index():
                return self._invoke("index", self._value(node.target), self._value(node.index))
            case n.Call():
                return self._call(node)
            case n.Spawn():
                argument = (
                    self._constant(None) if node.argument is None else self._value(node.argument)
                )
                return ast.Yield(
                    value=self._invoke("Spawn", self._constant(node.name.encode()), argument),
                    **self._at,
                )
            case n.Unary():
                if node.sign == "!":
                    return self._truth(self._test(node))
                if node.sign == "-" and isinstance(node.operand, n.Constant):
                    if isinstance(node.operand.value, int):
                        return self._constant(-node.operand.value)
                name = "negate" if node.sign == "-" else "plus"
                return self._invoke(name, self._value(node.operand))
            case n.Binary():
                if node.sign in _ARITHMETIC or node.sign == "+":
                    return self._operation(node.sign, node.left, node.right, node.offset)
                return self._truth(self._test(node))
            case n.Logical():
                return self._logical(node)
            case n.Conditional():
                return self._choose(
                    self._test(node.condition), self._value(node.yes), self._value(node.no)
                )

    def _truth(self, test: ast.expr) -> ast.expr:
        return self._choose(test, self._constant(YES), self._constant(None))

    def _read(self, node: n.Name) -> ast.expr:
        match node.binding:
            case LocalSlot(number):
                return self._load(f"v{number}")
            case ConstantValue(value):
                return self._constant(value)
            case TaskVariable(key):
                return self._method("variable", self._constant(key))
            case None:
                raise AssertionError(f"{node.name} was not resolved")

    def _logical(self, node: n.Logical) -> ast.expr:
        if node.sign == "&&":
            left = self._null_test(self._value(node.left), null=True)
            return self._choose(left, self._constant(None), self._value(node.right))
        if node.sign == "||":
            name = self._temporary()
            left = self._walrus(name, self._value(node.left))
            test = self._null_test(left, null=False)
            return self._choose(test, self._load(name), self._value(node.right))
        return self._truth(self._test(node))

    def _operation(
        self, sign: str, left: n.Expression, right: n.Expression, offset: int
    ) -> ast.expr:
        one = self._value(left)
        other = self._value(right)
        self._move(offset)
        return self._combine(sign, one, other)

    def _combine(self, sign: str, left: ast.expr, right: ast.expr) -> ast.expr:
        """`left sign right`, with the common case of two numbers inline."""
        if sign in ("and", "or"):
            operator: ast.operator = ast.BitAnd() if sign == "and" else ast.BitOr()
            return self._truth(
                ast.BinOp(
                    left=self._null_test(left, null=False),
                    op=operator,
                    right=self._null_test(right, null=False),
                    **self._at,
                )
            )
        if sign not in ("+", "-"):
            return self._invoke(_ARITHMETIC[sign], left, right)
        tests: list[ast.expr] = []
        one = self._operand(left, tests)
        other = self._operand(right, tests)
        if not tests or any(_is_text(side) for side in (left, right)):
            if sign == "+":
                return self._invoke("add", self._load(METER), left, right)
            return self._invoke("subtract", left, right)
        if sign == "+":
            slow = self._invoke("add", self._load(METER), one, other)
        else:
            slow = self._invoke("subtract", one, other)
        result = self._temporary()
        total = ast.BinOp(
            left=one, op=ast.Add() if sign == "+" else ast.Sub(), right=other, **self._at
        )
        in_range = ast.Compare(
            left=self._constant(MIN_NUMBER),
            ops=[ast.LtE(), ast.LtE()],
            comparators=[self._walrus(result, total), self._constant(MAX_NUMBER)],
            **self._at,
        )
        return self._choose(self._all(*tests, in_range), self._load(result), slow)

    def _operand(self, value: ast.expr, tests: list[ast.expr]) -> ast.expr:
        """A name that holds `value` once `tests` ran; the tests are true for numbers.

        Both operands must be evaluated although the first test may fail: an operand that is more
        than a variable is held by the first test only when nothing stands before it.
        """
        if isinstance(value, ast.Constant):
            return value
        if isinstance(value, ast.Name) and value.id.startswith("v"):
            tests.append(self._is_number(value))
            return value
        name = self._temporary()
        held = self._walrus(name, value)
        # `(t := value).__class__ is int` first, so that no test before it can skip it.
        position = sum(1 for test in tests if _holds(test))
        tests.insert(position, self._is_number(held))
        if position:
            # A second held operand: evaluate it whatever the first one is.
            first = tests.pop(0)
            second = tests.pop(0)
            tests.insert(0, ast.BinOp(left=first, op=ast.BitAnd(), right=second, **self._at))
        return self._load(name)

    # Expressions as Python truths.

    def _test(self, node: n.Expression) -> ast.expr:
        match node:
            case n.Constant():
                return self._constant(node.value is not None)
            case n.Unary(sign="!"):
                self._move(node.offset)
                inner = self._test(node.operand)
                return ast.UnaryOp(op=ast.Not(), operand=inner, **self._at)
            case n.Binary() if node.sign not in _ARITHMETIC and node.sign != "+":
                return self._comparison(node)
            case n.Logical(sign="&&"):
                self._move(node.offset)
                return self._all(self._test(node.left), self._test(node.right))
            case n.Logical(sign="||"):
                self._move(node.offset)
                values = [self._test(node.left), self._test(node.right)]
                return ast.BoolOp(op=ast.Or(), values=values, **self._at)
            case n.Logical():
                left, right = self._test(node.left), self._test(node.right)
                self._move(node.offset)
                operator: ast.operator
                match node.sign:
                    case "and":
                        operator = ast.BitAnd()
                    case "or":
                        operator = ast.BitOr()
                    case _:
                        operator = ast.BitXor()
                return ast.BinOp(left=left, op=operator, right=right, **self._at)
            case n.Conditional():
                return self._choose(
                    self._test(node.condition), self._test(node.yes), self._test(node.no)
                )
            case _:
                return self._null_test(self._value(node), null=False)

    def _comparison(self, node: n.Binary) -> ast.expr:
        sign = node.sign
        left, right = self._value(node.left), self._value(node.right)
        self._move(node.offset)
        if sign in ("==", "!="):
            return self._equality(left, right, equal=sign == "==")
        helper = _COMPARE_HELP[sign]
        tests: list[ast.expr] = []
        one = self._operand(left, tests)
        other = self._operand(right, tests)
        if not tests or any(_is_text(side) for side in (left, right)):
            return self._invoke(helper, left, right)
        slow = self._invoke(helper, one, other)
        quick = self._compare(one, _COMPARE[sign], other)
        return self._choose(self._all(*tests) if len(tests) > 1 else tests[0], quick, slow)

    def _equality(self, left: ast.expr, right: ast.expr, *, equal: bool) -> ast.expr:
        for one, other in ((left, right), (right, left)):
            if isinstance(other, ast.Constant):
                if other.value is None:
                    return self._null_test(one, null=equal)
                # Bytes and integers equal nothing but bytes and integers.
                return self._compare(one, ast.Eq() if equal else ast.NotEq(), other)
        same = self._invoke("equal", self._load(METER), left, right)
        return same if equal else ast.UnaryOp(op=ast.Not(), operand=same, **self._at)

    # Calls.

    def _call(self, node: n.Call) -> ast.expr:
        arguments = [self._value(one) for one in node.arguments]
        self._move(node.offset)
        deeper = ast.BinOp(
            left=self._load(DEPTH), op=ast.Add(), right=self._constant(1), **self._at
        )
        match node.binding:
            case SectionCall(number):
                call = self._invoke(section_name(number), self._load(METER), deeper, *arguments)
                if self._resolved.sections[number].suspends:
                    return ast.YieldFrom(value=call, **self._at)
                return call
            case ExternalCall(module, section):
                return ast.YieldFrom(
                    value=self._method(
                        "external",
                        deeper,
                        ast.Constant(value=module, **self._at),
                        ast.Constant(value=section, **self._at),
                        *arguments,
                    ),
                    **self._at,
                )
            case Builtin() as builtin:
                return self._builtin(builtin, deeper, arguments)
            case None:
                raise AssertionError(f"{node.name} was not resolved")

    def _builtin(self, builtin: Builtin, deeper: ast.expr, arguments: list[ast.expr]) -> ast.expr:
        name = f"f_{builtin.name.lower()}"
        self._builtins[name] = builtin
        match builtin.sort:
            case "pure":
                return self._invoke(name, *arguments)
            case "metered":
                return self._invoke(name, self._load(METER), *arguments)
            case "host":
                return ast.Yield(value=self._invoke(name, *arguments), **self._at)
            case "external":
                return ast.YieldFrom(
                    value=self._invoke(name, self._load(METER), deeper, *arguments), **self._at
                )


def _is_text(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and not isinstance(value.value, int)


def _holds(test: ast.expr) -> bool:
    return isinstance(test, ast.Compare) and (
        isinstance(test.left, ast.Attribute) and isinstance(test.left.value, ast.NamedExpr)
    )
