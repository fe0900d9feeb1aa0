"""Operators of the language, keys and indexes (CG/PL reference §4).

Compiled programs call these for everything that they do not do inline. Wrong operands give null,
as §4.2 says; only assignment through something that is no container is an exception.
"""

from __future__ import annotations

from pbx.script.errors import LimitExceeded, ProgramException
from pbx.script.limits import (
    MAX_ELEMENTS,
    MAX_NESTING,
    MAX_STRING_BYTES,
    SMALL_BYTES,
    Meter,
)
from pbx.script.values import (
    MAX_NUMBER,
    MIN_NUMBER,
    YES,
    Data,
    Dictionary,
    Timestamp,
    Value,
    Xml,
    object_class,
    wrap,
)


def add(m: Meter, left: Value, right: Value) -> Value:
    """``left + right``."""
    if left.__class__ is int:
        if right.__class__ is int:
            total = left + right
            return total if MIN_NUMBER <= total <= MAX_NUMBER else wrap(total)
        if isinstance(right, Timestamp):
            return right.moved(left)
        if isinstance(right, bytes):
            return b"%d%b" % (left, right)
        return None
    if left.__class__ is bytes:
        if right.__class__ is bytes:
            text: bytes = left + right
            size = len(text)
            if size > SMALL_BYTES:
                if size > MAX_STRING_BYTES:
                    raise LimitExceeded(f"a string is longer than {MAX_STRING_BYTES} bytes")
                m.allocate(size)
            return text
        if right.__class__ is int:
            return b"%b%d" % (left, right)
        return None
    if isinstance(left, Timestamp) and isinstance(right, int):
        return left.moved(right)
    if isinstance(left, Data):
        if isinstance(right, Data):
            return m.sized_data(left.octets + right.octets)
        if isinstance(right, bytes):
            return m.sized_data(left.octets + right)
    return None


def subtract(left: Value, right: Value) -> Value:
    """``left - right``."""
    if isinstance(left, int) and isinstance(right, int):
        total = left - right
        return total if MIN_NUMBER <= total <= MAX_NUMBER else wrap(total)
    if isinstance(left, Timestamp):
        if isinstance(right, int):
            return left.moved(-right)
        if isinstance(right, Timestamp):
            return max(MIN_NUMBER, min(MAX_NUMBER, left.seconds - right.seconds))
    return None


def multiply(left: Value, right: Value) -> Value:
    """``left * right``."""
    if isinstance(left, int) and isinstance(right, int):
        total = left * right
        return total if MIN_NUMBER <= total <= MAX_NUMBER else wrap(total)
    return None


def divide(left: Value, right: Value) -> Value:
    """``left / right``, towards zero; null for a zero divisor."""
    if isinstance(left, int) and isinstance(right, int) and right:
        total = abs(left) // abs(right)
        return wrap(total if (left < 0) == (right < 0) else -total)
    return None


def remainder(left: Value, right: Value) -> Value:
    """``left % right``: has the sign of `left`."""
    if isinstance(left, int) and isinstance(right, int) and right:
        rest = abs(left) % abs(right)
        return -rest if left < 0 else rest
    return None


def negate(value: Value) -> Value:
    """``-value``; 0 for what is no number."""
    return wrap(-value) if isinstance(value, int) else 0


def plus(value: Value) -> Value:
    """``+value``; 0 for what is no number."""
    return value if isinstance(value, int) else 0


def equal(m: Meter, left: Value, right: Value) -> bool:
    """``left == right`` as a Python truth."""
    if left is right:
        return True
    kind = left.__class__
    if kind is not right.__class__:
        return False
    if kind is list or kind is Dictionary or kind is Xml:
        return _same_content(m, left, right, 0)
    return left == right


def _same_content(m: Meter, left: Value, right: Value, depth: int) -> bool:
    if left is right:
        return True
    if left.__class__ is not right.__class__:
        return False
    if depth > MAX_NESTING:
        raise ProgramException(f"objects nested deeper than {MAX_NESTING} cannot be compared")
    m.charge(1)
    if isinstance(left, list):
        assert isinstance(right, list)
        if len(left) != len(right):
            return False
        return all(
            _same_content(m, one, other, depth + 1) for one, other in zip(left, right, strict=True)
        )
    if isinstance(left, Dictionary):
        assert isinstance(right, Dictionary)
        if len(left) != len(right):
            return False
        return all(
            _same_content(m, value, right.get(key), depth + 1) for key, value in left.items()
        )
    if isinstance(left, Xml):
        assert isinstance(right, Xml)
        return (
            left.type == right.type
            and left.prefix == right.prefix
            and left.namespaces == right.namespaces
            and left.attributes == right.attributes
            and len(left.children) == len(right.children)
            and all(
                _same_content(m, one, other, depth + 1)
                for one, other in zip(left.children, right.children, strict=True)
            )
        )
    return left == right


def less(left: Value, right: Value) -> bool:
    """``left < right`` as a Python truth; false when they cannot be compared."""
    kind = left.__class__
    if kind is right.__class__ and (kind is int or kind is bytes or kind is Timestamp):
        return left < right  # type: ignore[operator]
    return False


def less_or_equal(left: Value, right: Value) -> bool:
    """``left <= right``."""
    kind = left.__class__
    if kind is right.__class__ and (kind is int or kind is bytes or kind is Timestamp):
        return left <= right  # type: ignore[operator]
    return False


def greater(left: Value, right: Value) -> bool:
    """``left > right``."""
    return less(right, left)


def greater_or_equal(left: Value, right: Value) -> bool:
    """``left >= right``."""
    return less_or_equal(right, left)


def key(target: Value, name: Value) -> Value:
    """``target.name``: null unless a dictionary has it."""
    if target.__class__ is Dictionary and name.__class__ is bytes:
        return target.get(name)
    return None


def index(target: Value, at: Value) -> Value:
    """``target[at]``: null when there is no such element."""
    if at.__class__ is not int:
        return None
    assert isinstance(at, int)
    if target.__class__ is list:
        return target[at] if 0 <= at < len(target) else None
    if isinstance(target, bytes):
        return target[at : at + 1] if 0 <= at < len(target) else None
    if isinstance(target, Dictionary):
        return target.key_at(at)
    if isinstance(target, Data):
        return Data(target.octets[at : at + 1]) if 0 <= at < len(target) else None
    return None


def set_key(m: Meter, target: Value, name: Value, value: Value) -> None:
    """``target.name = value``. Raises ``ProgramException`` unless `target` is a dictionary."""
    if not isinstance(target, Dictionary):
        raise ProgramException(
            f"a key can only be assigned in a dictionary, not in {describe(target)}"
        )
    if not isinstance(name, bytes):
        raise ProgramException(f"a key is a string, not {describe(name)}")
    if value is not None:
        if len(target) >= MAX_ELEMENTS:
            raise LimitExceeded(f"a dictionary has more than {MAX_ELEMENTS} keys")
        m.keep(value)
        m.keep(name)
    target.set(name, value)


def set_index(m: Meter, target: Value, at: Value, value: Value) -> None:
    """``target[at] = value``. Raises ``ProgramException`` unless `target` is an array."""
    if not isinstance(target, list):
        raise ProgramException(
            f"an element can only be assigned in an array, not in {describe(target)}"
        )
    if not isinstance(at, int):
        raise ProgramException(f"an index is a number, not {describe(at)}")
    m.keep(value)
    if 0 <= at < len(target):
        target[at] = value
    elif at == len(target):
        if at >= MAX_ELEMENTS:
            raise LimitExceeded(f"an array has more than {MAX_ELEMENTS} elements")
        target.append(value)
    else:
        raise ProgramException(f"index {at} is outside of an array of {len(target)} elements")


def describe(value: Value) -> str:
    """A value's type, for messages."""
    name = object_class(value)
    return "null" if name is None else name.decode().removeprefix("ST").lower()


def binary(m: Meter, sign: str, left: Value, right: Value) -> Value:
    """Any binary operator that evaluates both sides, for constant expressions."""
    match sign:
        case "+":
            return add(m, left, right)
        case "-":
            return subtract(left, right)
        case "*":
            return multiply(left, right)
        case "/":
            return divide(left, right)
        case "%":
            return remainder(left, right)
        case "==":
            return YES if equal(m, left, right) else None
        case "!=":
            return None if equal(m, left, right) else YES
        case "<":
            return YES if less(left, right) else None
        case ">":
            return YES if less(right, left) else None
        case "<=":
            return YES if less_or_equal(left, right) else None
        case ">=":
            return YES if less_or_equal(right, left) else None
        case "and":
            return YES if left is not None and right is not None else None
        case "or":
            return YES if left is not None or right is not None else None
        case "xor":
            return YES if (left is None) != (right is None) else None
        case _:
            raise AssertionError(sign)
