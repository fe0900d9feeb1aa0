"""What a program asks of its host: typed requests, and how call arguments become their fields.

A request is a frozen dataclass. Its field annotations say what an argument must be:

===================  ==========================================================
``str``              a string, decoded from UTF-8 (odd bytes survive)
``int``              a number
``TaskHandle`` …     a value of that class
``Value``            anything
``… | None``         null is allowed; with a default the argument may be left out
===================  ==========================================================

An argument of another type makes the call's value null without asking the host
(CG/PL reference §9), or is a program exception where the reference says so (``strict=True``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import MISSING, dataclass, fields
from typing import Any, ClassVar, Final, TypeVar, dataclass_transform

from pbx.script.builtins.registry import EVERYWHERE, Builtin, Environment, add
from pbx.script.errors import ProgramException
from pbx.script.operators import describe
from pbx.script.values import (
    Data,
    Dictionary,
    Handle,
    IpAddress,
    TaskHandle,
    Timestamp,
    Value,
    Xml,
    text_of,
)

REAL_TIME_ONLY: Final = frozenset((Environment.REAL_TIME,))
WEB_ONLY: Final = frozenset((Environment.WEB,))


class HostRequest:
    """Base of all requests. The value given to ``Machine.resume`` is the call's value."""

    __slots__ = ()
    function: ClassVar[str] = ""
    """The name in the language."""
    waits: ClassVar[bool] = False
    """Whether the task may be suspended until something happens outside."""


@dataclass(frozen=True, slots=True)
class Answered(HostRequest):
    """The value is known without the host: the machine goes on with it at once."""

    value: Value


_KINDS: Final[dict[str, type]] = {
    "str": bytes,
    "int": int,
    "Data": Data,
    "list[Value]": list,
    "Dictionary": Dictionary,
    "Xml": Xml,
    "TaskHandle": TaskHandle,
    "Handle": Handle,
    "Timestamp": Timestamp,
    "IpAddress": IpAddress,
}

R = TypeVar("R", bound=HostRequest)


@dataclass_transform(frozen_default=True)
def request(
    *names: str,
    procedure: bool = False,
    waits: bool = False,
    strict: bool = False,
    environments: Iterable[Environment] = EVERYWHERE,
) -> Callable[[type[R]], type[R]]:
    """Declare a request class and the function or procedure that makes it."""

    def declare(cls: type[R]) -> type[R]:
        made = dataclass(frozen=True, slots=True)(cls)
        made.function = names[0] if names else cls.__name__
        made.waits = waits
        make, low, high = maker(made, strict=strict)
        for name in names or (cls.__name__,):
            add(Builtin(name, procedure, low, high, make, "host", frozenset(environments)))
        return made

    return declare


def maker(cls: type[R], *, strict: bool) -> tuple[Callable[..., HostRequest], int, int]:
    """What turns call arguments into a request of a class, and its least and most arguments."""
    kinds: list[tuple[str, bool]] = []
    low = 0
    for one in fields(cls):  # type: ignore[arg-type]
        parts = [part.strip() for part in str(one.type).split("|")]
        optional = "None" in parts
        (kind,) = [part for part in parts if part != "None"]
        if kind != "Value" and kind not in _KINDS:
            raise TypeError(f"{cls.__name__}.{one.name}: no conversion to {kind}")
        kinds.append((kind, optional))
        if one.default is MISSING:
            low += 1

    def make(*arguments: Value) -> HostRequest:
        converted: list[Any] = []
        for value, (kind, optional) in zip(arguments, kinds, strict=False):
            if kind == "Value" or (value is None and optional):
                converted.append(value)
            elif value.__class__ is not _KINDS[kind]:
                if strict:
                    raise ProgramException(
                        f"{cls.function} cannot take {describe(value)} as argument "
                        f"{len(converted) + 1}"
                    )
                return _NOTHING
            elif kind == "str":
                assert isinstance(value, bytes)
                converted.append(text_of(value))
            else:
                converted.append(value)
        return cls(*converted)

    return make, low, len(kinds)


_NOTHING: Final = Answered(None)
