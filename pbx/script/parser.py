"""Tokens to the syntax tree: recursive descent over the grammar of CG/PL reference §7.

Fed by :mod:`pbx.script.lexer`, feeds the resolver. It stops at the first error, with a position and
what was expected. Both dialects are one grammar here: a block is ``is … end`` or ``{ … }``, and a
file may mix them.

Depth is bounded (:data:`MAX_DEPTH`), as the tree is walked by recursion afterwards and a hostile
file must not reach Python's own limit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pbx.script import nodes as n
from pbx.script.errors import CompileError
from pbx.script.lexer import Kind, Token, tokenize
from pbx.script.source import Source

MAX_DEPTH: Final = 60
"""Nested blocks, parentheses, and operands in a row (``a + b + …`` is a left-deep tree, four
operands count as one level). Forty times what published programs use."""
OPERANDS_PER_LEVEL: Final = 4
MAX_LOOP_DEPTH: Final = 16
"""Loops inside loops; the machine that runs the program allows 20 nested blocks."""
MAX_BRANCHES: Final = 150
"""``elif`` parts of one ``if``."""

_ASSIGNMENTS: Final = {
    "=": None,
    "+=": "+",
    "-=": "-",
    "*=": "*",
    "/=": "/",
    "%=": "%",
    "|=": "or",
    "&=": "and",
}
_COMPARISONS: Final = frozenset(("<", "<=", "==", "!=", ">=", ">"))
_SUMS: Final = frozenset(("+", "-"))
_TERMS: Final = frozenset(("*", "/", "%"))
_LOGICAL: Final = {
    "and": "and",
    "&": "and",
    "or": "or",
    "|": "or",
    "xor": "xor",
    "^": "xor",
    "&&": "&&",
    "||": "||",
}
_CHAINED: Final = {("and", "then"): "&&", ("or", "else"): "||"}
TRUE: Final = b"YES"


def parse(source: Source) -> n.Program:
    """The tree of a program file. Raises ``CompileError``."""
    return _Parser(source, tokenize(source)).program()


class _Parser:
    def __init__(self, source: Source, tokens: list[Token]) -> None:
        self._source = source
        self._tokens = tokens
        self._at = 0
        self._token = tokens[0]
        self._depth = 0
        self._loops = 0

    # Tokens.

    def _next(self) -> Token:
        token = self._token
        if token.kind is not Kind.END:
            self._at += 1
            self._token = self._tokens[self._at]
        return token

    def _peek(self) -> Token:
        return self._tokens[min(self._at + 1, len(self._tokens) - 1)]

    def _is(self, word: str) -> bool:
        token = self._token
        return token.word == word and token.kind is not Kind.NAME

    def _accept(self, word: str) -> bool:
        if self._is(word):
            self._next()
            return True
        return False

    def _expect(self, word: str, why: str = "") -> Token:
        if not self._is(word):
            raise self._unexpected(f"“{word}”{why}")
        return self._next()

    def _unexpected(self, expected: str) -> CompileError:
        token = self._token
        found = token.text if token.kind is not Kind.END else Kind.END.value
        if len(found) > 40:
            found = found[:37] + "…"
        return self._source.error(token.offset, f"{expected} is expected, not “{found}”")

    def _error(self, offset: int, message: str) -> CompileError:
        return self._source.error(offset, message)

    def _name(self, what: str) -> Token:
        token = self._token
        if token.kind is Kind.NAME:
            return self._next()
        if token.kind is Kind.KEYWORD:
            raise self._error(token.offset, f"“{token.text}” is a keyword and cannot be {what}")
        raise self._unexpected(what)

    def _deeper(self, offset: int) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._error(
                offset, "nested too deeply: move a part into a function or a variable"
            )

    # Declarations.

    def program(self) -> n.Program:
        items: list[n.Section | n.TaskVariables | n.Const] = []
        while self._token.kind is not Kind.END:
            if self._accept(";"):
                continue
            token = self._token
            if token.kind is Kind.KEYWORD and token.word in ("entry", "procedure", "function"):
                items.append(self._section())
            elif self._is("var"):
                items.append(self._task_variables())
            elif self._is("const"):
                items.append(self._const())
            else:
                raise self._unexpected("entry or procedure")
        return n.Program(0, items)

    def _section(self) -> n.Section:
        token = self._next()
        kind = token.word
        name = self._name(f"the name of the {kind}")
        module: str | None = None
        parameters: list[str] = []
        spelled = name.text
        if kind != "entry":
            if self._accept("::"):
                module, spelled = spelled, self._name(f"the name of the {kind}").text
            self._expect("(", f" after the name of the {kind}")
            parameters = self._parameters()
        section = n.Section(
            name.offset,
            kind,  # type: ignore[arg-type]
            spelled,
            parameters,
            "defined",
            module,
        )
        if self._accept("forward"):
            section.linkage = "forward"
            self._expect(";")
        elif self._accept("external"):
            section.linkage = "external"
            self._expect(";")
        elif module is not None:
            raise self._error(
                name.offset, "only an external section can belong to a module: write “external;”"
            )
        elif self._accept("is"):
            section.body = self._statements(_until_end)
            self._close(kind)
        elif self._is("{"):
            section.body = self._braces(loop=False)
        else:
            raise self._unexpected("“is”, “{”, “forward” or “external”")
        return section

    def _parameters(self) -> list[str]:
        names: list[str] = []
        seen: set[str] = set()
        if self._accept(")"):
            return names
        while True:
            token = self._name("the name of a parameter")
            if token.word in seen:
                raise self._error(token.offset, f"there are two parameters {token.text}")
            seen.add(token.word)
            names.append(token.text)
            if self._accept(")"):
                return names
            self._expect(",")

    def _task_variables(self) -> n.TaskVariables:
        offset = self._next().offset
        names = [self._name("a variable").text]
        while self._accept(","):
            names.append(self._name("a variable").text)
        if self._is("="):
            raise self._error(
                self._token.offset,
                "a variable of the task has no initial value: assign it in a section, "
                "or declare a const",
            )
        self._expect(";")
        return n.TaskVariables(offset, names)

    def _const(self) -> n.Const:
        offset = self._next().offset
        names = [self._constant()]
        while self._accept(","):
            names.append(self._constant())
        self._expect(";")
        return n.Const(offset, names)

    def _constant(self) -> n.Declared:
        name = self._name("a constant")
        self._expect("=")
        return n.Declared(name.offset, name.text, self._expression())

    # Statements.

    def _statements(self, finished: Callable[[Token], bool]) -> list[n.Statement]:
        found: list[n.Statement] = []
        while not finished(self._token):
            if self._token.kind is Kind.END:
                raise self._unexpected("a statement or the end of the block")
            if self._accept(";"):
                continue
            found.append(self._statement())
        return found

    def _close(self, word: str) -> None:
        self._expect("end")
        self._accept(word)
        self._expect(";", f" after “end {word}”")

    def _braces(self, *, loop: bool) -> list[n.Statement]:
        outer = self._loops
        self._deeper(self._token.offset)
        self._expect("{")
        body = self._statements(_until_brace)
        self._expect("}")
        self._depth -= 1
        if loop:
            self._loops = outer
        return body

    def _statement(self) -> n.Statement:
        token = self._token
        word = token.word if token.kind is Kind.KEYWORD else ""
        if word == "if":
            return self._if()
        if word in ("while", "for", "loop"):
            return self._loop()
        if word == "var":
            declared = self._var()
            self._expect(";")
            return declared
        if word == "const":
            return self._const()
        if word == "return":
            self._next()
            value = None if self._is(";") else self._expression()
            self._expect(";")
            return n.Return(token.offset, value)
        if word == "exitif":
            self._next()
            condition = self._expression()
            self._expect(";")
            return n.ExitIf(token.offset, condition)
        if word == "stop":
            self._next()
            self._expect(";")
            return n.Stop(token.offset)
        if word == "null" and self._peek().word == ";":
            self._next()
            self._expect(";")
            return n.Empty(token.offset)
        if word in ("elif", "else"):
            hint = " (“else if” is written “elif”)" if word == "else" else ""
            raise self._error(token.offset, f"“{word}” belongs to no “if”{hint}")
        simple = self._simple()
        self._expect(";", " at the end of the statement")
        return simple

    def _simple(self) -> n.Statement:
        offset = self._token.offset
        left = self._postfix()
        token = self._token
        if token.kind is Kind.SIGN and token.word in _ASSIGNMENTS:
            if not isinstance(left, n.Target):
                raise self._error(offset, "nothing can be assigned to this")
            self._next()
            return n.Assign(token.offset, left, _ASSIGNMENTS[token.word], self._expression())
        if isinstance(left, n.Call):
            return n.CallStatement(offset, left)
        if isinstance(left, n.Name):
            # A procedure without parameters may be called by its bare name; the resolver knows.
            return n.CallStatement(offset, n.Call(offset, left.name, []))
        raise self._error(offset, "a statement is an assignment or a call of a procedure")

    def _var(self) -> n.Var:
        offset = self._next().offset
        names: list[n.Declared] = []
        while True:
            name = self._name("a variable")
            value = self._expression() if self._accept("=") else None
            names.append(n.Declared(name.offset, name.text, value))
            if not self._accept(","):
                return n.Var(offset, names)

    def _if(self) -> n.If:
        offset = self._next().offset
        branches: list[tuple[n.Expression, list[n.Statement]]] = []
        otherwise: list[n.Statement] | None = None
        condition = self._expression()
        if self._is("{"):
            branches.append((condition, self._braces(loop=False)))
            while self._accept("elif"):
                condition = self._expression()
                branches.append((condition, self._braces(loop=False)))
            if self._is("else"):
                self._next()
                self._refuse_else_if()
                otherwise = self._braces(loop=False)
        else:
            self._deeper(offset)
            self._expect("then")
            branches.append((condition, self._statements(_until_branch)))
            while self._accept("elif"):
                condition = self._expression()
                self._expect("then")
                branches.append((condition, self._statements(_until_branch)))
            if self._accept("else"):
                self._refuse_else_if()
                otherwise = self._statements(_until_end)
            self._close("if")
            self._depth -= 1
        if len(branches) > MAX_BRANCHES:
            raise self._error(offset, f"more than {MAX_BRANCHES} branches: use a dictionary")
        return n.If(offset, branches, otherwise)

    def _refuse_else_if(self) -> None:
        # In the Basic-like dialect `else if …` could be an if within the else part, which then
        # needs an `end if` of its own; that is legal and stays so.
        if self._is("if") and self._tokens[self._at - 2].word == "}":
            raise self._error(self._token.offset, "“else if” does not exist: write “elif”")

    def _loop(self) -> n.Loop:
        offset = self._token.offset
        self._loops += 1
        if self._loops > MAX_LOOP_DEPTH:
            raise self._error(offset, f"more than {MAX_LOOP_DEPTH} loops in each other")
        start: n.Statement | None = None
        condition: n.Expression | None = None
        step: n.Statement | None = None
        parenthesized = False
        if self._accept("while"):
            condition = self._expression()
        elif self._accept("for"):
            if self._accept("("):
                parenthesized = True
                start = None if self._is(";") else self._start()
                self._expect(";")
                condition = None if self._is(";") else self._expression()
                self._expect(";")
                step = None if self._is(")") else self._simple()
                self._expect(")")
            else:
                if not (self._is("while") or self._is("by") or self._is("loop")):
                    start = self._start()
                if self._accept("while"):
                    condition = self._expression()
                if self._accept("by"):
                    step = self._simple()
        if (self._is("{") and not (start is None and step is None and condition is None)) or (
            self._is("{") and parenthesized
        ):
            body = self._braces(loop=True)
        else:
            self._deeper(offset)
            self._expect("loop")
            body = self._statements(_until_end)
            self._close("loop")
            self._depth -= 1
        self._loops -= 1
        return n.Loop(offset, start, condition, step, body)

    def _start(self) -> n.Statement:
        return self._var() if self._is("var") else self._simple()

    # Expressions.

    def _expression(self) -> n.Expression:
        self._deeper(self._token.offset)
        value = self._logical()
        token = self._token
        if self._accept("?"):
            yes = self._expression()
            self._expect(":")
            no = self._expression()
            value = n.Conditional(token.offset, value, yes, no)
        self._depth -= 1
        return value

    def _logical(self) -> n.Expression:
        left = self._comparison()
        count = 0
        while True:
            token = self._token
            sign = _LOGICAL.get(token.word) if token.kind is not Kind.NAME else None
            if sign is None:
                self._depth -= count // OPERANDS_PER_LEVEL
                return left
            self._next()
            chained = _CHAINED.get((token.word, self._token.word))
            if chained is not None and self._token.kind is Kind.KEYWORD:
                self._next()
                sign = chained
            left = n.Logical(token.offset, sign, left, self._comparison())
            count = self._operand(count, token.offset)

    def _operand(self, count: int, offset: int) -> int:
        count += 1
        if count % OPERANDS_PER_LEVEL == 0:
            self._deeper(offset)
        return count

    def _chain(self, signs: frozenset[str], operand: Callable[[], n.Expression]) -> n.Expression:
        left = operand()
        count = 0
        while self._token.kind is Kind.SIGN and self._token.word in signs:
            token = self._next()
            left = n.Binary(token.offset, token.word, left, operand())
            count = self._operand(count, token.offset)
        self._depth -= count // OPERANDS_PER_LEVEL
        return left

    def _comparison(self) -> n.Expression:
        return self._chain(_COMPARISONS, self._sum)

    def _sum(self) -> n.Expression:
        return self._chain(_SUMS, self._term)

    def _term(self) -> n.Expression:
        return self._chain(_TERMS, self._unary)

    def _unary(self) -> n.Expression:
        token = self._token
        if (token.kind is Kind.SIGN and token.word in ("-", "+", "!")) or self._is("not"):
            self._next()
            self._deeper(token.offset)
            sign = "!" if token.word == "not" else token.word
            operand = n.Unary(token.offset, sign, self._unary())
            self._depth -= 1
            return operand
        return self._postfix()

    def _postfix(self) -> n.Expression:
        value = self._primary()
        count = 0
        while self._token.kind is Kind.SIGN and self._token.word in (".", "["):
            token = self._next()
            count = self._operand(count, token.offset)
            if token.word == "[":
                value = n.Index(token.offset, value, self._expression())
                self._expect("]")
            elif self._accept("("):
                value = n.ComputedKey(token.offset, value, self._expression())
                self._expect(")")
            else:
                value = self._member(value)
        self._depth -= count // OPERANDS_PER_LEVEL
        return value

    def _member(self, value: n.Expression) -> n.Expression:
        token = self._token
        if token.kind not in (Kind.NAME, Kind.KEYWORD):
            raise self._unexpected("a key")
        self._next()
        module: str | None = None
        name = token.text
        if self._accept("::"):
            module, name = name, self._name("the name of a section").text
            if not self._is("("):
                raise self._unexpected("“(”")
        if self._accept("("):
            return n.Call(token.offset, name, [value, *self._arguments()], module, method=True)
        return n.Key(token.offset, value, name)

    def _arguments(self) -> list[n.Expression]:
        found: list[n.Expression] = []
        if self._accept(")"):
            return found
        while True:
            found.append(self._expression())
            if self._accept(")"):
                return found
            self._expect(",")

    def _primary(self) -> n.Expression:
        token = self._token
        offset = token.offset
        if token.kind is Kind.NAME:
            self._next()
            module: str | None = None
            name = token.text
            if self._accept("::"):
                module, name = name, self._name("the name of a section").text
                if not self._is("("):
                    raise self._unexpected("“(”")
            if self._accept("("):
                return n.Call(offset, name, self._arguments(), module)
            return n.Name(offset, name)
        if token.kind is Kind.STRING:
            parts = []
            while self._token.kind is Kind.STRING:
                value = self._next().value
                assert isinstance(value, bytes)
                parts.append(value)
            return n.Constant(offset, b"".join(parts))
        if token.kind is Kind.NUMBER:
            self._next()
            return n.Constant(offset, token.value)
        if token.kind is Kind.KEYWORD:
            if token.word in ("null", "false"):
                self._next()
                return n.Constant(offset, None)
            if token.word == "true":
                self._next()
                return n.Constant(offset, TRUE)
            if token.word == "spawn":
                return self._spawn()
        if self._accept("("):
            inner = self._expression()
            self._expect(")")
            return inner
        raise self._unexpected("an expression")

    def _spawn(self) -> n.Spawn:
        offset = self._next().offset
        name = self._name("the name of an entry").text
        argument: n.Expression | None = None
        if self._accept("("):
            if not self._accept(")"):
                argument = self._expression()
                self._expect(")")
        return n.Spawn(offset, name, argument)


def _until_end(token: Token) -> bool:
    return token.word == "end" and token.kind is Kind.KEYWORD


def _until_brace(token: Token) -> bool:
    return token.word == "}"


def _until_branch(token: Token) -> bool:
    return token.kind is Kind.KEYWORD and token.word in ("end", "elif", "else")
