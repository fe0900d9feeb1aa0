"""Numbers (CG/PL reference §9.3)."""

from __future__ import annotations

from pbx.script.builtins.registry import pure
from pbx.script.conversion import to_number
from pbx.script.values import Value


@pure("Number")
def number(value: Value) -> Value:
    """A number, or the leading decimal number of a string; else 0."""
    return to_number(value)
