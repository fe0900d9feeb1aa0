"""Random CG/PL programs from a seed, as syntax trees: thousands a second, unlike strategies."""

from __future__ import annotations

from random import Random

from pbx.script import nodes as n
from pbx.script.builtins.registry import Environment
from pbx.script.catalogue import table_of

_TABLE = table_of(Environment.REAL_TIME)
PURE = sorted(k for k, row in _TABLE.items() if row.sort != "host" and not row.procedure)
PROCEDURES = sorted(k for k, row in _TABLE.items() if row.sort != "host" and row.procedure)
NAMES = ("a", "b", "c", "x1")
LITERALS: tuple[bytes | int | None, ...] = (
    None, 0, 1, 2, 7, 255, 2**63 - 1, b"", b"abc", b"12", b"0.5", b"{a=(#1,b);}", b"[", b"(a+)+",
    b"<a b='1'>t<c/></a>", b"hex", b"MD5", b"AES", b"\x80\xff", "ž".encode(), b"YES", b"m::f",
)  # fmt: skip


def random_program(seed: int) -> n.Program:
    """A program with one function and one entry."""
    return _Maker(Random(seed)).program()


class _Maker:
    def __init__(self, random: Random) -> None:
        self._random = random

    def program(self) -> n.Program:
        items: list[n.Section | n.TaskVariables | n.Const] = []
        random = self._random
        if random.random() < 0.5:
            items.append(n.TaskVariables(0, ["b"]))
        if random.random() < 0.5:
            items.append(n.Const(0, [n.Declared(0, "fixed", self._literal())]))
        body = self._block(0, in_loop=False)
        items.append(n.Section(0, "function", "f", ["a", "c"], "defined", None, body))
        main = self._block(0, in_loop=False)
        last = n.Call(0, "void", [n.Call(0, "f", [self._expression(3), self._expression(3)])])
        main.append(n.CallStatement(0, last))
        items.append(n.Section(0, "entry", "main", [], "defined", None, main))
        return n.Program(0, items)

    def _literal(self) -> n.Expression:
        return n.Constant(0, self._random.choice(LITERALS))

    def _call(self, name: str, depth: int) -> n.Call:
        row = _TABLE[name]
        high = row.minimum + 1 if row.maximum is None else row.maximum
        count = self._random.randint(row.minimum, high)
        arguments = [self._expression(depth + 1) for _ in range(count)]
        method = bool(count) and self._random.random() < 0.5
        return n.Call(0, name, arguments, method=method)

    def _expression(self, depth: int) -> n.Expression:
        random = self._random
        choice = random.randint(0, 2 if depth > 4 else 10)
        deeper = depth + 1
        match choice:
            case 0:
                return self._literal()
            case 1 | 2:
                return n.Name(0, random.choice(NAMES))
            case 3:
                return n.Key(0, self._expression(deeper), random.choice(("k", "Key", "what")))
            case 4:
                return n.ComputedKey(0, self._expression(deeper), self._expression(deeper))
            case 5:
                return n.Index(0, self._expression(deeper), self._expression(deeper))
            case 6:
                return n.Unary(0, random.choice("-+!"), self._expression(deeper))
            case 7:
                sign = random.choice(("+", "-", "*", "/", "%", "<", "<=", "==", "!=", ">=", ">"))
                return n.Binary(0, sign, self._expression(deeper), self._expression(deeper))
            case 8:
                sign = random.choice(("and", "or", "xor", "&&", "||"))
                return n.Logical(0, sign, self._expression(deeper), self._expression(deeper))
            case 9:
                parts = [self._expression(deeper) for _ in range(3)]
                return n.Conditional(0, *parts)
            case _:
                return self._call(random.choice(PURE), deeper)

    def _target(self) -> n.Target:
        random = self._random
        match random.randint(0, 5):
            case 0:
                return n.Key(0, self._expression(2), "k")
            case 1:
                return n.ComputedKey(0, self._expression(3), self._expression(3))
            case 2:
                return n.Index(0, self._expression(3), self._expression(3))
            case _:
                return n.Name(0, random.choice(NAMES))

    def _block(self, depth: int, *, in_loop: bool) -> list[n.Statement]:
        count = self._random.randint(0, 5 if depth < 2 else 2)
        return [self._statement(depth, in_loop=in_loop) for _ in range(count)]

    def _statement(self, depth: int, *, in_loop: bool) -> n.Statement:
        random = self._random
        match random.randint(0, 5 if depth > 2 else 9):
            case 0 | 1:
                sign = random.choice((None, None, "+", "-", "*", "/", "%", "or", "and"))
                return n.Assign(0, self._target(), sign, self._expression(1))
            case 2:
                return n.CallStatement(0, self._call(random.choice(PROCEDURES), 1))
            case 3:
                value = self._expression(1) if random.random() < 0.7 else None
                return n.Var(0, [n.Declared(0, random.choice(NAMES), value)])
            case 4:
                if in_loop:
                    return n.ExitIf(0, self._expression(2))
                return n.Return(0, self._expression(1) if random.random() < 0.7 else None)
            case 5:
                return n.Stop(0) if random.random() < 0.2 else n.Empty(0)
            case 6 | 7:
                branches = [
                    (self._expression(2), self._block(depth + 1, in_loop=False))
                    for _ in range(random.randint(1, 3))
                ]
                last = self._block(depth + 1, in_loop=False) if random.random() < 0.5 else None
                return n.If(0, branches, last)
            case _:
                start = n.Assign(0, n.Name(0, "a"), None, self._expression(2))
                step = n.Assign(0, n.Name(0, "a"), "+", n.Constant(0, 1))
                return n.Loop(
                    0,
                    start if random.random() < 0.5 else None,
                    self._expression(2) if random.random() < 0.7 else None,
                    step if random.random() < 0.5 else None,
                    self._block(depth + 1, in_loop=True),
                )
