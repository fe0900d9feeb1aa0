"""Statistics elements by name and by object id (objects and settings reference §11.1).

The root is that of the re-implemented product. Custom elements (``….1000.N``) are set by
administrators and kept in the log; the others are figures of this server under ``….2000``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final

from pbx.domain.statistics import StatisticSet, statistics_stream
from pbx.eventlog import ANY_VERSION, EventLog, Meta
from pbx.kernel.clock import Clock
from pbx.kernel.errors import DomainError

ROOT: Final = "1.3.6.1.4.1.5678.2.1"
CUSTOM: Final = f"{ROOT}.1000"
OWN: Final = f"{ROOT}.2000"
MAX_CUSTOM: Final = 1000
"""Custom elements; the product has a few dozen."""

NAMES: Final = (
    "domains", "accounts", "pwdInputActive", "pwdInputTotal", "pwdInputLogins",
    "pwdInputCommands", "failedAUTHs", "tempBlacklistedIPs", "upTime",
)  # fmt: skip
"""In the order of their numbers, from 1."""


class Statistics:
    """Counters of this process, gauges asked for, custom elements from the log."""

    def __init__(self, log: EventLog, clock: Clock) -> None:
        self._log = log
        self._clock = clock
        self._counts: Counter[str] = Counter()
        self._custom: dict[int, int] | None = None
        self.gauges: Mapping[str, Callable[[], int]] = {}

    def count(self, name: str) -> None:
        """One more of what `name` counts."""
        self._counts[name] += 1

    def get(self, element: str) -> int:
        """The value of an element. Raises :class:`DomainError` if there is none."""
        number = custom_number(element)
        if number is not None:
            found = self._customs().get(number)
            if found is None:
                raise DomainError("unknown statistics element")
            return found
        name = _own_name(element)
        if name is None:
            raise DomainError("unknown statistics element")
        gauge = self.gauges.get(name)
        return gauge() if gauge is not None else self._counts[name]

    def set(self, element: str, value: int, *, increment: bool, actor: str) -> int:
        """Set a custom element, or add to it."""
        number = custom_number(element)
        if number is None:
            known = _own_name(element) is not None
            raise DomainError("the element is read-only" if known else "unknown statistics element")
        customs = self._customs()
        if number not in customs and len(customs) >= MAX_CUSTOM:
            raise DomainError(f"there are {MAX_CUSTOM} custom elements already")
        value += customs.get(number, 0) if increment else 0
        if not -(2**63) <= value < 2**63:
            raise DomainError("the value would not fit into 64 bits")
        stream = statistics_stream(self._log.node)
        event = StatisticSet(element=number, value=value)
        self._log.append(stream, ANY_VERSION, [event], Meta(actor=actor))
        customs[number] = value
        return value

    def next_name(self, element: str) -> str:
        """The object id behind `element`, ``""`` being before the first.

        Raises :class:`DomainError` behind the last one and for one that there is not.
        """
        ids = [f"{CUSTOM}.{number}" for number in sorted(self._customs())]
        ids += [f"{OWN}.{number}" for number in range(1, len(NAMES) + 1)]
        if not element:
            return ids[0]
        name = _own_name(element)
        current = f"{OWN}.{NAMES.index(name) + 1}" if name is not None else element
        if current not in ids or current == ids[-1]:
            raise DomainError("unknown statistics element")
        return ids[ids.index(current) + 1]

    def _customs(self) -> dict[int, int]:
        if self._custom is None:
            self._custom = {}
            for record in self._log.read_stream(statistics_stream(self._log.node)):
                event = record.event
                if isinstance(event, StatisticSet):
                    self._custom[event.element] = event.value
        return self._custom


def custom_number(element: str) -> int | None:
    """The number of a custom element; None if `element` names none."""
    prefix, _, number = element.rpartition(".")
    if prefix != CUSTOM or not number.isascii() or not number.isdigit() or len(number) > 9:
        return None
    return int(number)


def _own_name(element: str) -> str | None:
    if element in NAMES:
        return element
    prefix, _, number = element.rpartition(".")
    if prefix == OWN and number.isascii() and number.isdigit() and len(number) <= 4:
        if 1 <= int(number) <= len(NAMES):
            return NAMES[int(number) - 1]
    return None
