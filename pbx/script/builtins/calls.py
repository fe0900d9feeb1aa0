"""Functions that are computed here for some arguments and elsewhere for others.

Each is a generator that the running program delegates to: it may yield host requests, or call
sections of other files.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Final

from pbx.script.builtins.asn1 import Asn1Error, decode, encode
from pbx.script.builtins.containers import find_in_array
from pbx.script.builtins.data import convert
from pbx.script.builtins.registry import Builtin, add
from pbx.script.errors import ProgramException
from pbx.script.operators import describe
from pbx.script.requests.ambient import DnsLookup, Nonce
from pbx.script.requests.mailboxes import FindInCalendar
from pbx.script.values import Data, Dictionary, Handle, Value, text_of

if TYPE_CHECKING:
    from pbx.script.machine import Machine

Delegate = Generator[Any, Value, Value]


def _declare(
    name: str, minimum: int, maximum: int | None, *, procedure: bool = False
) -> Callable[[Callable[..., Delegate]], Callable[..., Delegate]]:
    def declare(function: Callable[..., Delegate]) -> Callable[..., Delegate]:
        add(Builtin(name, procedure, minimum, maximum, function, "external"))
        return function

    return declare


def _by_name(m: Machine, depth: int, kind: str, name: Value, rest: tuple[Value, ...]) -> Delegate:
    if not isinstance(name, bytes):
        raise ProgramException(f"the name of a section is a string, not {describe(name)}")
    module, separator, section = text_of(name).lower().partition("::")
    return m.external(depth, module, section if separator else module, *rest, kind=kind)


@_declare("FuncCall", 1, None)
def call_function(m: Machine, depth: int, name: Value, *rest: Value) -> Delegate:
    """Call ``module::function`` by its name."""
    return (yield from _by_name(m, depth, "function", name, rest))


@_declare("ProcCall", 1, None, procedure=True)
def call_procedure(m: Machine, depth: int, name: Value, *rest: Value) -> Delegate:
    """Call ``module::procedure`` by its name."""
    return (yield from _by_name(m, depth, "procedure", name, rest))


@_declare("Find", 2, 2)
def find(m: Machine, _depth: int, target: Value, what: Value) -> Delegate:
    """Position in an array, or events of a calendar."""
    if isinstance(target, Handle) and target.kind == "calendar":
        parameters = what if isinstance(what, Dictionary) else Dictionary()
        return (yield FindInCalendar(target, parameters))
    return find_in_array(m, target, what)


_DNS: Final = frozenset(("dns-a", "dns-aaaa", "dns-ptr", "dns-txt"))


@_declare("Convert", 2, 2)
def convert_anything(m: Machine, _depth: int, value: Value, format_: Value) -> Delegate:
    """Between encodings, charsets and notations."""
    name = text_of(format_).lower() if isinstance(format_, bytes) else ""
    if name in _DNS:
        return (yield DnsLookup(name.removeprefix("dns-"), value))
    if name in ("gennonce", "checknonce"):
        return (yield Nonce(name, value))
    if name == "asn.1":
        try:
            if isinstance(value, Data):
                return decode(m, value.octets)
            if isinstance(value, list):
                return m.sized_data(encode(m, value))
        except Asn1Error as problem:
            return str(problem).encode()
        return None
    return convert(m, value, format_)
