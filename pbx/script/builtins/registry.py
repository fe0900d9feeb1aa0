"""How a built-in function or procedure is declared, and the catalogue of an environment.

Three sorts:

- *computed here*: a Python function over values; it gets the task's
  :class:`~pbx.script.limits.Meter` first when it may make large values or walk deep ones
  (``metered``);
- *asked of the host*: a typed request (:mod:`pbx.script.requests`) that the running program yields;
- *calls* of external sections by name, which the machine carries out itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Literal


class Environment(Enum):
    """Where a program runs; decides which functions exist and how its files are named."""

    REAL_TIME = "real-time"
    WEB = "web"
    SCRIPT = "script"

    @property
    def program_suffix(self) -> str:
        """File name end of programs."""
        return {"real-time": ".sppr", "web": ".wcgp", "script": ".scgp"}[self.value]

    @property
    def module_suffix(self) -> str:
        """File name end of modules that programs include."""
        return {"real-time": ".sppi", "web": ".wcgi", "script": ".scgi"}[self.value]

    @classmethod
    def of_file(cls, name: str) -> Environment:
        """By the end of a file name; real-time when it says nothing."""
        for one in cls:
            if name.lower().endswith((one.program_suffix, one.module_suffix)):
                return one
        return cls.REAL_TIME


EVERYWHERE: Final = frozenset(Environment)


@dataclass(frozen=True, slots=True)
class Builtin:
    """One row of the catalogue."""

    name: str
    procedure: bool
    minimum: int
    maximum: int | None
    """None for any number of arguments."""
    run: Callable[..., Any]
    sort: Literal["pure", "metered", "host", "external"] = "pure"
    environments: frozenset[Environment] = EVERYWHERE

    @property
    def arity(self) -> str:
        """The number of arguments in words."""
        low, high = self.minimum, self.maximum
        if high is None:
            return f"at least {low} argument{'s' if low != 1 else ''}"
        if low == high:
            return f"{low or 'no'} argument{'s' if low != 1 else ''}"
        return f"{low} to {high} arguments"


_TABLE: Final[dict[str, list[Builtin]]] = {}


def add(builtin: Builtin) -> None:
    """Put a row into the catalogue. Raises ``ValueError`` if an environment has that name."""
    rows = _TABLE.setdefault(builtin.name.lower(), [])
    if any(row.environments & builtin.environments for row in rows):
        raise ValueError(f"{builtin.name} is declared twice")
    rows.append(builtin)


def _arity(function: Callable[..., Any], skip: int) -> tuple[int, int | None]:
    code = function.__code__
    names = code.co_argcount - skip
    defaults = len(function.__defaults__ or ())
    variadic = bool(code.co_flags & 0x04)
    return names - defaults, None if variadic else names


def pure(
    *names: str, procedure: bool = False, environments: Iterable[Environment] = EVERYWHERE
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declare a function over values alone; the arity is that of the Python function."""

    def declare(function: Callable[..., Any]) -> Callable[..., Any]:
        low, high = _arity(function, 0)
        for name in names:
            add(Builtin(name, procedure, low, high, function, "pure", frozenset(environments)))
        return function

    return declare


def metered(
    *names: str, procedure: bool = False, environments: Iterable[Environment] = EVERYWHERE
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declare a function whose first parameter is the meter of the task."""

    def declare(function: Callable[..., Any]) -> Callable[..., Any]:
        low, high = _arity(function, 1)
        for name in names:
            add(Builtin(name, procedure, low, high, function, "metered", frozenset(environments)))
        return function

    return declare


def table(environment: Environment) -> dict[str, Builtin]:
    """Folded name to row, of what has been declared for an environment so far."""
    return {
        name: row
        for name, rows in _TABLE.items()
        for row in rows
        if environment in row.environments
    }


def everywhere_else(name: str) -> list[Environment]:
    """Environments that have a built-in of that name, for messages."""
    return [one for row in _TABLE.get(name.lower(), ()) for one in row.environments]
