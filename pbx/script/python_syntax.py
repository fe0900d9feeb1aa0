"""Pieces of Python's syntax tree, each at a place of a CG/PL program.

Used by :mod:`pbx.script.codegen`, which knows what they are pieces of.
"""

from __future__ import annotations

import ast
from typing import Any, Final

from pbx.script.source import Source

Location = dict[str, Any]
"""The fields of a Python node that say where it stands."""

METER: Final = "m"
"""The parameter of every function that holds what the program may still do."""
LOAD: Final = ast.Load()
STORE: Final = ast.Store()


class PythonSyntax:
    """Makes nodes that stand where :meth:`_move` went last; for one section of a program."""

    def __init__(self, source: Source, offset: int) -> None:
        """`offset` is where the section begins."""
        self._source = source
        self._temporaries = 0
        """Names given out; they are used again from statement to statement."""
        self._at: Location = {}
        self._move(offset)

    def _move(self, offset: int) -> None:
        line, column = self._source.locate(offset)
        self._at = {
            "lineno": line,
            "col_offset": column - 1,
            "end_lineno": line,
            "end_col_offset": column,
        }

    def _load(self, name: str) -> ast.expr:
        return ast.Name(id=name, ctx=LOAD, **self._at)

    def _store(self, name: str) -> ast.expr:
        return ast.Name(id=name, ctx=STORE, **self._at)

    def _constant(self, value: bytes | int | bool | None) -> ast.expr:
        return ast.Constant(value=value, **self._at)

    def _invoke(self, name: str, *arguments: ast.expr) -> ast.expr:
        return ast.Call(func=self._load(name), args=list(arguments), keywords=[], **self._at)

    def _attribute(self, name: str, attribute: str) -> ast.expr:
        return ast.Attribute(value=self._load(name), attr=attribute, ctx=LOAD, **self._at)

    def _method(self, attribute: str, *arguments: ast.expr) -> ast.expr:
        return ast.Call(
            func=self._attribute(METER, attribute), args=list(arguments), keywords=[], **self._at
        )

    def _compare(self, left: ast.expr, operator: ast.cmpop, right: ast.expr) -> ast.expr:
        return ast.Compare(left=left, ops=[operator], comparators=[right], **self._at)

    def _null_test(self, value: ast.expr, *, null: bool) -> ast.expr:
        if isinstance(value, ast.Constant):
            return self._constant((value.value is None) == null)
        return self._compare(value, ast.Is() if null else ast.IsNot(), self._constant(None))

    def _choose(self, test: ast.expr, yes: ast.expr, no: ast.expr) -> ast.expr:
        return ast.IfExp(test=test, body=yes, orelse=no, **self._at)

    def _temporary(self) -> str:
        self._temporaries += 1
        return f"t{self._temporaries}"

    def _walrus(self, name: str, value: ast.expr) -> ast.expr:
        return ast.NamedExpr(
            target=ast.Name(id=name, ctx=STORE, **self._at), value=value, **self._at
        )

    def _all(self, *tests: ast.expr) -> ast.expr:
        return ast.BoolOp(op=ast.And(), values=list(tests), **self._at)

    def _do(self, value: ast.expr) -> ast.stmt:
        return ast.Expr(value=value, **self._at)

    def _is_number(self, value: ast.expr) -> ast.expr:
        kind = ast.Attribute(value=value, attr="__class__", ctx=LOAD, **self._at)
        return self._compare(kind, ast.Is(), self._load("int"))
