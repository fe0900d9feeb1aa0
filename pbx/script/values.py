"""What a program computes with, and what each value is in Python (CG/PL reference §3).

==============  ==============================================================
null            ``None``; also "false"
string          ``bytes``, meant as UTF-8: lengths and offsets count bytes
number          ``int`` in the signed 64-bit range
timestamp       :class:`Timestamp`
ip-address      :class:`IpAddress`
datablock       :class:`Data`
array           ``list``
dictionary      :class:`Dictionary`
XML object      :class:`Xml`
task handle     :class:`TaskHandle`
other handles   :class:`Handle` (mailbox, view, message, calendar)
==============  ==============================================================

Strings, numbers, timestamps, addresses and datablocks are immutable; the rest is shared by
reference, as the language demands.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import Final, Literal, Union

YES: Final = b"YES"
"""The true-value."""

MIN_NUMBER: Final = -(2**63)
MAX_NUMBER: Final = 2**63 - 1
_SPAN: Final = 2**64


def wrap(number: int) -> int:
    """A number brought into the signed 64-bit range, as the machine's arithmetic would."""
    return ((number - MIN_NUMBER) % _SPAN) + MIN_NUMBER


def yes(condition: object) -> bytes | None:
    """``YES`` or null for a Python truth."""
    return YES if condition else None


@dataclass(frozen=True, slots=True, order=True)
class Timestamp:
    """Seconds since 1970-01-01 without a zone. :data:`PAST` and :data:`FUTURE` are special."""

    seconds: int

    @property
    def special(self) -> bool:
        """Whether this is the remote past or the remote future."""
        return self.seconds in (_PAST_SECONDS, _FUTURE_SECONDS)

    def moved(self, seconds: int) -> Timestamp:
        """Later by `seconds`; special values stay, results stay between them."""
        if self.special:
            return self
        return Timestamp(min(max(self.seconds + seconds, _FIRST_SECOND), _LAST_SECOND))


_PAST_SECONDS: Final = MIN_NUMBER
_FUTURE_SECONDS: Final = MAX_NUMBER
_FIRST_SECOND: Final = -62135596800
"""Year 1, the first that has a text form."""
_LAST_SECOND: Final = 253402300799
"""Year 9999, the last."""
PAST: Final = Timestamp(_PAST_SECONDS)
FUTURE: Final = Timestamp(_FUTURE_SECONDS)


@dataclass(frozen=True, slots=True)
class IpAddress:
    """An IPv4 or IPv6 address with a port, or 0 for none."""

    address: IPv4Address | IPv6Address
    port: int = 0

    def __str__(self) -> str:
        text = f"[{self.address}]"
        return f"{text}:{self.port}" if self.port else text


@dataclass(frozen=True, slots=True)
class Data:
    """A block of octets."""

    octets: bytes

    def __len__(self) -> int:
        return len(self.octets)


@dataclass(frozen=True, slots=True)
class TaskHandle:
    """Names a task of this system or cluster; equal when it is the same task."""

    task_id: str


@dataclass(slots=True)
class Handle:
    """A mailbox, mailbox view, message or calendar that the host keeps open for the task."""

    kind: Literal["mailbox", "view", "message", "calendar"]
    number: int
    messages: int = field(default=0, compare=False)
    """What ``Length`` answers; the host keeps it up to date."""


class Dictionary:
    """String keys to values, in key order: bytes order, or case-insensitive order if so set.

    A key whose value is null does not exist.
    """

    __slots__ = ("_names", "_order", "map")

    def __init__(self, items: dict[bytes, Value] | None = None) -> None:
        self.map: dict[bytes, Value] = {}
        """By key; by folded key when case does not matter."""
        self._names: dict[bytes, bytes] | None = None
        self._order: list[bytes] | None = None
        if items:
            for key, value in items.items():
                self.set(key, value)

    @property
    def case_sensitive(self) -> bool:
        """True unless ``SetCaseSensitive(d,null)`` was called."""
        return self._names is None

    def set_case_sensitive(self, flag: bool) -> None:
        """Change how keys compare; of keys that become equal the first in order stays."""
        if flag == (self._names is None):
            return
        pairs = list(self.items())
        self.map = {}
        self._order = None
        self._names = None if flag else {}
        for key, value in pairs:
            if self.get(key) is None:
                self.set(key, value)

    def get(self, key: bytes) -> Value:
        """The value, or null."""
        if self._names is not None:
            key = fold(key)
        return self.map.get(key)

    def set(self, key: bytes, value: Value) -> None:
        """Store; null removes the key."""
        stored = key
        if self._names is not None:
            stored = fold(key)
        if value is None:
            if self.map.pop(stored, None) is not None:
                self._order = None
                if self._names is not None:
                    self._names.pop(stored, None)
            return
        if stored not in self.map:
            self._order = None
            if self._names is not None:
                self._names[stored] = key
        self.map[stored] = value

    def _sorted(self) -> list[bytes]:
        if self._order is None:
            self._order = sorted(self.map)
        return self._order

    def keys(self) -> list[bytes]:
        """Keys in order, as they were spelled."""
        names = self._names
        if names is None:
            return list(self._sorted())
        return [names[key] for key in self._sorted()]

    def key_at(self, index: int) -> bytes | None:
        """The name of the `index`-th key, or None."""
        order = self._sorted()
        if not 0 <= index < len(order):
            return None
        return order[index] if self._names is None else self._names[order[index]]

    def items(self) -> Iterator[tuple[bytes, Value]]:
        """Pairs in key order."""
        names = self._names
        for key in self._sorted():
            yield (key if names is None else names[key]), self.map[key]

    def __len__(self) -> int:
        return len(self.map)

    def __repr__(self) -> str:
        return f"Dictionary({dict(self.items())!r})"


class Xml:
    """An XML element: its name, namespaces, attributes and content."""

    __slots__ = ("attributes", "children", "namespaces", "prefix", "type")

    def __init__(self, type_: str, prefix: str = "", namespace: str | None = None) -> None:
        self.type = type_
        self.prefix = prefix
        self.namespaces: dict[str, str] = {}
        """Prefix to namespace, declared at this element; the empty prefix is the default."""
        self.attributes: dict[tuple[str, str], str] = {}
        """(prefix, name) to value, in the order they were set."""
        self.children: list[Xml | bytes] = []
        """Sub-elements and texts."""
        if namespace is not None:
            self.namespaces[prefix] = namespace

    def namespace_of(self, prefix: str) -> str | None:
        """The namespace declared here for a prefix."""
        return self.namespaces.get(prefix)

    def __repr__(self) -> str:
        return f"<Xml {self.prefix}:{self.type} {len(self.children)}>"


Value = Union[
    None,
    bytes,
    int,
    Timestamp,
    IpAddress,
    Data,
    "list[Value]",
    Dictionary,
    Xml,
    TaskHandle,
    Handle,
]
"""Any value of the language."""


def fold(text: bytes) -> bytes:
    """A string for case-insensitive comparison, by UTF-8 letters."""
    if text.isascii():
        return text.lower()
    return text.decode("utf-8", "surrogateescape").lower().encode("utf-8", "surrogateescape")


def text_of(value: bytes) -> str:
    """A string as Python text; bytes that are no UTF-8 survive the way back."""
    return value.decode("utf-8", "surrogateescape")


def string_of(text: str) -> bytes:
    """Python text as a string."""
    return text.encode("utf-8", "surrogateescape")


CLASS_NAMES: Final[dict[type, bytes]] = {
    bytes: b"STString",
    int: b"STNumber",
    Timestamp: b"STDate",
    IpAddress: b"STIPAddress",
    Data: b"STData",
    list: b"STArray",
    Dictionary: b"STDictionary",
    Xml: b"STXML",
    TaskHandle: b"STTask",
}
HANDLE_CLASSES: Final = {
    "mailbox": b"STMailbox",
    "view": b"STMailboxView",
    "message": b"STMessage",
    "calendar": b"STCalendar",
}


def object_class(value: Value) -> bytes | None:
    """What ``ObjectClass`` answers; null for null."""
    if value is None:
        return None
    if isinstance(value, Handle):
        return HANDLE_CLASSES[value.kind]
    return CLASS_NAMES[type(value)]
