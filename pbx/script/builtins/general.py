"""General functions and type tests (CG/PL reference §9.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbx.script.builtins.registry import metered, pure
from pbx.script.errors import ProgramException
from pbx.script.limits import ELEMENT_BYTES, MAX_NESTING, Meter
from pbx.script.operators import greater, less
from pbx.script.values import (
    YES,
    Data,
    Dictionary,
    Handle,
    IpAddress,
    TaskHandle,
    Timestamp,
    Value,
    Xml,
    object_class,
    yes,
)

if TYPE_CHECKING:
    from pbx.script.machine import Machine


@pure("Same")
def same(left: Value, right: Value) -> Value:
    """Whether both are one object, both null, or both the true-value."""
    return yes(left is right or (left == YES and right == YES))


@metered("Copy")
def copy(m: Meter, value: Value) -> Value:
    """A deep copy."""
    return _copy(m, value, 0)


def _copy(m: Meter, value: Value, depth: int) -> Value:
    if not isinstance(value, list | Dictionary | Xml):
        return value
    if depth > MAX_NESTING:
        raise ProgramException(f"objects nested deeper than {MAX_NESTING} cannot be copied")
    m.allocate(ELEMENT_BYTES)
    m.charge(1)
    if isinstance(value, list):
        copied: list[Value] = []
        for one in value:
            m.keep(one)
            copied.append(_copy(m, one, depth + 1))
        return copied
    if isinstance(value, Xml):
        element = Xml(value.type, value.prefix)
        element.namespaces = dict(value.namespaces)
        element.attributes = dict(value.attributes)
        for child in value.children:
            m.keep(child)
            made = _copy(m, child, depth + 1)
            assert isinstance(made, Xml | bytes)
            element.children.append(made)
        return element
    result = Dictionary()
    result.set_case_sensitive(value.case_sensitive)
    for key, one in value.items():
        m.keep(key)
        m.keep(one)
        result.set(key, _copy(m, one, depth + 1))
    return result


@pure("Length")
def length(value: Value) -> Value:
    """Bytes of a string or datablock, elements, keys, messages of a mailbox; else 0."""
    if isinstance(value, Handle):
        return value.messages
    return len(value) if isinstance(value, bytes | Data | list | Dictionary) else 0


@pure("Min")
def minimum(left: Value, right: Value) -> Value:
    """`left` if it is less, else `right`."""
    return left if less(left, right) else right


@pure("Max")
def maximum(left: Value, right: Value) -> Value:
    """`left` if it is greater, else `right`."""
    return left if greater(left, right) else right


@pure("Void", procedure=True)
def void(value: Value) -> None:
    """Discards a function's value."""


@pure("ObjectClass")
def class_of(value: Value) -> Value:
    """The class name of a value."""
    return object_class(value)


@metered("Vars")
def variables(m: Machine) -> Value:
    """The variables of the task."""
    return m.variables


@metered("ThisTask")
def this_task(m: Machine) -> Value:
    """The handle of the running task, null outside of tasks."""
    return m.task


@pure("IsString")
def is_string(value: Value) -> Value:
    return yes(value.__class__ is bytes)


@pure("IsNumber")
def is_number(value: Value) -> Value:
    return yes(value.__class__ is int)


@pure("IsDate")
def is_date(value: Value) -> Value:
    return yes(value.__class__ is Timestamp)


@pure("IsIPAddress")
def is_ip_address(value: Value) -> Value:
    return yes(value.__class__ is IpAddress)


@pure("IsData")
def is_data(value: Value) -> Value:
    return yes(value.__class__ is Data)


@pure("IsArray")
def is_array(value: Value) -> Value:
    return yes(value.__class__ is list)


@pure("IsDictionary")
def is_dictionary(value: Value) -> Value:
    return yes(value.__class__ is Dictionary)


@pure("IsXML")
def is_xml(value: Value) -> Value:
    return yes(value.__class__ is Xml)


@pure("IsTask")
def is_task(value: Value) -> Value:
    return yes(value.__class__ is TaskHandle)
