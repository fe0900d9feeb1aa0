"""The errors of this package.

::

    DomainError
    └── RuleError     a rule set cannot be stored: which rule, where in it, what is expected
"""

from __future__ import annotations

from pbx.kernel.errors import DomainError


class RuleError(DomainError):
    """A rule set is refused as a whole; the text names the rule, the place and what is expected."""

    def __init__(self, problem: str, *, number: int = 0, name: str = "", place: str = "") -> None:
        """`number` counts rules from 1, 0 means the set itself; `place`: ``condition 2`` …"""
        where = [f"rule {number}" + (f' "{name}"' if name else "")] if number else []
        if place:
            where.append(place)
        super().__init__(": ".join([*where, problem]))
        self.problem = problem
        self.number = number
        self.name = name
        self.place = place

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (self.problem, self.number, self.name, self.place)


def _rebuild(problem: str, number: int, name: str, place: str) -> RuleError:
    return RuleError(problem, number=number, name=name, place=place)
