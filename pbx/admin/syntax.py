"""The syntax of commands: a line of text describes it, words of a command line are matched with it.

A description is what stands behind a command's name in the reference::

    accountName [ accountType:MultiMailbox|TextMailbox ] [ PATH storage ] [ settings:dictionary ]

``CAPITALS`` are keywords, other words parameters with their kind behind a colon: ``string`` (the
default), ``number``, ``dictionary``, ``array``, ``data``, ``object``, or the words to choose from.
``[ ]`` is optional; ``{ A | B }`` is a choice. Keywords and words to choose from are taken in any
letter case.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, TypeAlias

from pbx.admin.errors import GENERAL, CliError
from pbx.data import Value, Word, write
from pbx.objects.forms import read_number

Arguments: TypeAlias = dict[str, Value]
"""Parameters by name; keywords that were given are True-ish: their own name in capitals."""


class Keyword(NamedTuple):
    word: str


class Parameter(NamedTuple):
    name: str
    kind: str
    choices: tuple[str, ...]


class Optional(NamedTuple):
    parts: tuple[Node, ...]


class Choice(NamedTuple):
    branches: tuple[tuple[Node, ...], ...]


Node: TypeAlias = Keyword | Parameter | Optional | Choice

_TOKEN: Final = re.compile(r"\s*([\[\]{}|]|[^\s\[\]{}]+)")
_KINDS: Final = {
    "string": str, "dictionary": dict, "array": list, "data": bytes, "object": object,
    "number": object,
}  # fmt: skip


class Syntax:
    """A parsed description."""

    __slots__ = ("nodes", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        tokens = [match[1] for match in _TOKEN.finditer(text)]
        self.nodes, rest = _sequence(tokens, 0, "")
        assert rest == len(tokens), f"unbalanced brackets in {text!r}"

    def match(self, command: str, words: Sequence[Word]) -> Arguments:
        """The arguments. Raises :class:`CliError` that says what is missing or too much."""
        attempt = _Attempt(words)
        for at, arguments in attempt.sequence(self.nodes, 0, {}):
            if at == len(words):
                return arguments
            attempt.fails(at, "")
        raise self._error(command, words, attempt)

    def parameters(self) -> list[Parameter]:
        """All parameters, in order."""
        return list(_parameters(self.nodes))

    def _error(self, command: str, words: Sequence[Word], attempt: _Attempt) -> CliError:
        shown = f"{command} {self.text}".strip()
        wanted = " or ".join(dict.fromkeys(text for text in attempt.wanted if text))
        if attempt.furthest >= len(words):
            return CliError(GENERAL, f"parameter missing: {wanted}; write {shown}")
        word = words[attempt.furthest]
        text = write(word.value)
        text = text if len(text) <= 40 else text[:40] + "…"
        if wanted:
            problem = f"column {word.column}: expected {wanted}, not {text}"
            return CliError(GENERAL, f"incorrect data format: {problem}; write {shown}")
        return CliError(GENERAL, f"unexpected parameter {text}; write {shown}")


class _Attempt:
    """Matching with backtracking; remembers how far it came and what would have fitted there."""

    def __init__(self, words: Sequence[Word]) -> None:
        self.words = words
        self.furthest = 0
        self.wanted: list[str] = []

    def fails(self, at: int, wanted: str) -> None:
        if at > self.furthest:
            self.furthest, self.wanted = at, []
        if at == self.furthest:
            self.wanted.append(wanted)

    def sequence(
        self, nodes: Sequence[Node], at: int, arguments: Arguments
    ) -> Iterator[tuple[int, Arguments]]:
        if not nodes:
            yield at, arguments
            return
        for after, found in self.node(nodes[0], at, arguments):
            yield from self.sequence(nodes[1:], after, found)

    def node(self, node: Node, at: int, arguments: Arguments) -> Iterator[tuple[int, Arguments]]:
        match node:
            case Optional(parts):
                yield from self.sequence(parts, at, arguments)
                yield at, arguments
            case Choice(branches):
                for branch in branches:
                    yield from self.sequence(branch, at, arguments)
            case Keyword(word):
                if at < len(self.words) and _is_word(self.words[at], word):
                    yield at + 1, {**arguments, word: word}
                else:
                    self.fails(at, word)
            case Parameter():
                if at < len(self.words):
                    try:
                        value = _fitting(node, self.words[at])
                    except ValueError:
                        self.fails(at, _describe(node))
                    else:
                        yield at + 1, {**arguments, node.name: value}
                else:
                    self.fails(at, _describe(node))


def _is_word(word: Word, keyword: str) -> bool:
    return word.bare and isinstance(word.value, str) and word.value.upper() == keyword


def _fitting(parameter: Parameter, word: Word) -> Value:
    """The word as the parameter's value. Raises ``ValueError`` if it does not fit."""
    value = word.value
    if parameter.choices:
        for choice in parameter.choices:
            if isinstance(value, str) and value.lower() == choice.lower():
                return choice
        raise ValueError(value)
    if parameter.kind == "number":
        return read_number(value)
    if not isinstance(value, _KINDS[parameter.kind]):
        raise ValueError(value)
    return value


def _describe(parameter: Parameter) -> str:
    if parameter.choices:
        return " or ".join(parameter.choices)
    kind = "" if parameter.kind in ("string", "object") else f" (a {parameter.kind})"
    return (
        f"{parameter.name}{kind.replace('a array', 'an array').replace('a data', 'a data block')}"
    )


def _sequence(tokens: list[str], at: int, end: str) -> tuple[tuple[Node, ...], int]:
    nodes: list[Node] = []
    while at < len(tokens) and tokens[at] not in ("]", "}", "|"):
        token = tokens[at]
        if token == "[":
            parts, at = _sequence(tokens, at + 1, "]")
            branches = [parts]
            while tokens[at] == "|":
                parts, at = _sequence(tokens, at + 1, "]")
                branches.append(parts)
            assert tokens[at] == "]"
            inner = branches[0] if len(branches) == 1 else (Choice(tuple(branches)),)
            nodes.append(Optional(inner))
        elif token == "{":
            branches = []
            while True:
                parts, at = _sequence(tokens, at + 1, "}")
                branches.append(parts)
                if tokens[at] == "}":
                    break
            nodes.append(Choice(tuple(branches)))
        elif token.isupper():
            nodes.append(Keyword(token))
        else:
            name, _, kind = token.partition(":")
            choices = tuple(kind.split("|")) if "|" in kind else ()
            nodes.append(Parameter(name, "string" if choices else kind or "string", choices))
        at += 1
    return tuple(nodes), at


def _parameters(nodes: Sequence[Node]) -> Iterator[Parameter]:
    for node in nodes:
        match node:
            case Parameter():
                yield node
            case Optional(parts):
                yield from _parameters(parts)
            case Choice(branches):
                for branch in branches:
                    yield from _parameters(branch)
            case Keyword():
                pass
