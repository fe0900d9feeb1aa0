"""Arrays and dictionaries (CG/PL reference §9.6, §9.7)."""

from __future__ import annotations

from pbx.script.builtins.registry import metered, pure
from pbx.script.errors import LimitExceeded, ProgramException
from pbx.script.limits import ELEMENT_BYTES, MAX_ELEMENTS, Meter
from pbx.script.operators import describe, equal
from pbx.script.values import Dictionary, Value, Xml, fold


@metered("NewArray")
def new_array(m: Meter) -> Value:
    """An empty array."""
    m.allocate(ELEMENT_BYTES)
    return []


@metered("NewDictionary")
def new_dictionary(m: Meter) -> Value:
    """An empty, case-sensitive dictionary."""
    m.allocate(ELEMENT_BYTES)
    return Dictionary()


def _array(value: Value, function: str) -> list[Value]:
    if not isinstance(value, list):
        raise ProgramException(f"{function} needs an array, not {describe(value)}")
    return value


@metered("Invert")
def invert(m: Meter, array: Value) -> Value:
    """A new array in reverse order."""
    values = _array(array, "Invert")
    m.allocate(ELEMENT_BYTES * len(values))
    return values[::-1]


@metered("AddElement", procedure=True)
def add_element(m: Meter, target: Value, value: Value) -> None:
    """Append to an array, or to the content of an XML element."""
    m.keep(value)
    if isinstance(target, list):
        if len(target) >= MAX_ELEMENTS:
            raise LimitExceeded(f"an array has more than {MAX_ELEMENTS} elements")
        target.append(value)
    elif isinstance(target, Xml):
        if not isinstance(value, Xml | bytes):
            raise ProgramException(f"XML holds elements and strings, not {describe(value)}")
        if value is target:
            raise ProgramException("an element cannot hold itself")
        target.children.append(value)
    else:
        raise ProgramException(f"AddElement needs an array or XML, not {describe(target)}")


def _position(value: Value) -> int | None:
    if isinstance(value, int):
        return value
    if isinstance(value, bytes) and value.isdigit() and len(value) < 10:
        return int(value)
    return None


@pure("RemoveElement", procedure=True)
def remove_element(array: Value, index: Value) -> None:
    """Remove one element; nothing happens when there is none."""
    values = _array(array, "RemoveElement")
    at = _position(index)
    if at is not None and 0 <= at < len(values):
        del values[at]


@metered("InsertElement", procedure=True)
def insert_element(m: Meter, array: Value, index: Value, value: Value) -> None:
    """Insert before an element; the tail moves."""
    values = _array(array, "InsertElement")
    at = _position(index)
    if at is None or not 0 <= at <= len(values):
        raise ProgramException(f"there is no place for element {describe(index)} in the array")
    if len(values) >= MAX_ELEMENTS:
        raise LimitExceeded(f"an array has more than {MAX_ELEMENTS} elements")
    m.keep(value)
    m.charge(len(values) >> 8)
    values.insert(at, value)


def find_in_array(m: Meter, array: Value, value: Value) -> Value:
    """The index of the first equal element, or -1."""
    if not isinstance(array, list):
        return -1
    for number, one in enumerate(array):
        m.charge(1)
        if equal(m, one, value):
            return number
    return -1


@metered("SortStrings", procedure=True)
def sort_strings(m: Meter, array: Value) -> None:
    """Sort in place, case-insensitively."""
    values = _array(array, "SortStrings")
    strings = [one for one in values if isinstance(one, bytes)]
    if len(strings) != len(values):
        raise ProgramException("SortStrings needs an array of strings only")
    m.charge(len(values) * 2)
    strings.sort(key=fold)
    values[:] = strings


@pure("SetCaseSensitive", procedure=True)
def set_case_sensitive(dictionary: Value, flag: Value) -> None:
    """Null makes the keys of a dictionary case-insensitive."""
    if not isinstance(dictionary, Dictionary):
        raise ProgramException(f"SetCaseSensitive needs a dictionary, not {describe(dictionary)}")
    dictionary.set_case_sensitive(flag is not None)
