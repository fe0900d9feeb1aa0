"""The syntax tree of a program (CG/PL reference §7).

Made by :mod:`pbx.script.parser`, annotated by :mod:`pbx.script.resolver`, read by
:mod:`pbx.script.codegen` and :mod:`pbx.script.printer`. Offsets and bindings do not take part in
comparisons: two trees are equal when they mean the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pbx.script.resolver import CallBinding, NameBinding

SectionKind = Literal["entry", "procedure", "function"]
Linkage = Literal["defined", "forward", "external"]


@dataclass(slots=True)
class Node:
    """Base: where the text begins."""

    offset: int = field(compare=False)


# Expressions.


@dataclass(slots=True)
class Constant(Node):
    """A literal: string (bytes), number or null. ``true`` is the string ``YES``."""

    value: bytes | int | None


@dataclass(slots=True)
class Name(Node):
    """A variable or constant."""

    name: str
    """As it was spelled; names are compared case-insensitively."""
    binding: NameBinding | None = field(default=None, compare=False)


@dataclass(slots=True)
class Key(Node):
    """``target.key``: a key is case-sensitive."""

    target: Expression
    key: str


@dataclass(slots=True)
class ComputedKey(Node):
    """``target.(key)``."""

    target: Expression
    key: Expression


@dataclass(slots=True)
class Index(Node):
    """``target[index]``."""

    target: Expression
    index: Expression


@dataclass(slots=True)
class Call(Node):
    """``name(args)``, ``module::name(args)``, or ``first.name(rest)`` when `method` is set."""

    name: str
    arguments: list[Expression]
    module: str | None = None
    method: bool = False
    binding: CallBinding | None = field(default=None, compare=False)


@dataclass(slots=True)
class Spawn(Node):
    """``spawn name(argument)``."""

    name: str
    argument: Expression | None


@dataclass(slots=True)
class Unary(Node):
    """``-``, ``+`` or ``!`` (also spelled ``not``)."""

    sign: str
    operand: Expression


@dataclass(slots=True)
class Binary(Node):
    """Arithmetic and comparisons."""

    sign: str
    left: Expression
    right: Expression


@dataclass(slots=True)
class Logical(Node):
    """``and or xor`` evaluate both sides; ``&& ||`` one, and give its value."""

    sign: str
    left: Expression
    right: Expression


@dataclass(slots=True)
class Conditional(Node):
    """``condition ? yes : no``."""

    condition: Expression
    yes: Expression
    no: Expression


Expression = (
    Constant
    | Name
    | Key
    | ComputedKey
    | Index
    | Call
    | Spawn
    | Unary
    | Binary
    | Logical
    | Conditional
)

Target = Name | Key | ComputedKey | Index


# Statements.


@dataclass(slots=True)
class Assign(Node):
    """``target = value``; `sign` holds the operator of ``+=`` and its relatives, else None."""

    target: Target
    sign: str | None
    value: Expression


@dataclass(slots=True)
class CallStatement(Node):
    """A procedure call."""

    call: Call


@dataclass(slots=True)
class Declared(Node):
    """One name of a ``var`` or ``const``."""

    name: str
    value: Expression | None
    binding: NameBinding | None = field(default=None, compare=False)


@dataclass(slots=True)
class Var(Node):
    """Local variables."""

    names: list[Declared]


@dataclass(slots=True)
class Const(Node):
    """Constants."""

    names: list[Declared]


@dataclass(slots=True)
class If(Node):
    """Branches in order, then `otherwise` (None when there is no ``else``)."""

    branches: list[tuple[Expression, list[Statement]]]
    otherwise: list[Statement] | None


@dataclass(slots=True)
class Loop(Node):
    """All loops: ``for`` has a start and a step, ``while`` a condition, ``loop`` none of them."""

    start: Statement | None
    condition: Expression | None
    step: Statement | None
    body: list[Statement]


@dataclass(slots=True)
class ExitIf(Node):
    """Leave the loop whose body holds this when the expression is non-null."""

    condition: Expression


@dataclass(slots=True)
class Return(Node):
    """Leave the section."""

    value: Expression | None


@dataclass(slots=True)
class Stop(Node):
    """End the task."""


@dataclass(slots=True)
class Empty(Node):
    """``null;``."""


Statement = Assign | CallStatement | Var | Const | If | Loop | ExitIf | Return | Stop | Empty


# Declarations.


@dataclass(slots=True)
class Section(Node):
    """An entry, procedure or function, or its declaration."""

    kind: SectionKind
    name: str
    parameters: list[str]
    linkage: Linkage
    module: str | None = None
    body: list[Statement] = field(default_factory=list)


@dataclass(slots=True)
class TaskVariables(Node):
    """Top-level ``var``: names of the task's own dictionary (``Vars()``)."""

    names: list[str]


@dataclass(slots=True)
class Program(Node):
    """A whole file."""

    items: list[Section | TaskVariables | Const]
