"""Forms of settings values: what is accepted, in words, and what it means.

Settings are strings in most cases, so readers take ``5`` and ``#5`` alike. A value is stored as it
was written; the functions here turn it into what code computes with. All raise ``ValueError`` for
a value that is not of the form.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from pbx.data import Value

UNLIMITED: Final = -1


class Form(NamedTuple):
    """A form: `words` complete the sentence "expected …" of an error."""

    words: str
    read: Callable[[Value], Any]


_PERIOD: Final = re.compile(r"([0-9]{1,9})(s|sec|m|min|h|d|w)?", re.IGNORECASE)
_PERIOD_S: Final = {
    "": 1, "s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 604_800,
}  # fmt: skip
_SIZE: Final = re.compile(r"([0-9]{1,12})([kmgt]?)", re.IGNORECASE)
_SIZE_BYTES: Final = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}


def read_text(value: Value) -> str:
    """Any string."""
    if not isinstance(value, str):
        raise ValueError(value)
    return value


def read_line(value: Value) -> str:
    """A string that can stand in a header field."""
    text = read_text(value)
    if not text.isprintable():
        raise ValueError(value)
    return text


def read_flag(value: Value) -> bool:
    """``YES`` or ``NO`` in any letter case."""
    text = read_text(value).upper()
    if text not in ("YES", "NO"):
        raise ValueError(value)
    return text == "YES"


def read_number(value: Value) -> int:
    """A whole number, as a number or as a string of digits."""
    if isinstance(value, int):
        return value
    text = read_text(value)
    if not text.removeprefix("-").isascii() or not text.removeprefix("-").isdigit():
        raise ValueError(value)
    if len(text) > 20:
        raise ValueError(value)
    return int(text)


def read_limit(value: Value) -> int:
    """How many of something: 0 or more, -1 for ``unlimited``."""
    if isinstance(value, str) and value.lower() == "unlimited":
        return UNLIMITED
    number = read_number(value)
    if number < UNLIMITED:
        raise ValueError(value)
    return number


def read_period_s(value: Value) -> float:
    """Seconds of ``5s``, ``10m``, ``1h``, ``2d``, ``1w``, of a number; ``never`` is infinite."""
    if isinstance(value, int):
        if value < 0:
            raise ValueError(value)
        return float(value)
    text = read_text(value)
    if text.lower() == "never":
        return math.inf
    match = _PERIOD.fullmatch(text)
    if match is None:
        raise ValueError(value)
    return float(int(match[1]) * _PERIOD_S[(match[2] or "").lower()])


def read_size_bytes(value: Value) -> int:
    """Bytes of ``100K``, ``10M``, ``3G``, a number of bytes; -1 for ``unlimited``."""
    if isinstance(value, int):
        return read_limit(value)
    text = read_text(value)
    if text.lower() == "unlimited" or text == "-1":
        return UNLIMITED
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(value)
    return int(match[1]) * _SIZE_BYTES[match[2].lower()]


class FlowLimit(NamedTuple):
    """At most `events` in `period_s` seconds; -1 is no limit."""

    events: int
    period_s: float


def read_flow(value: Value) -> FlowLimit:
    """An array of a count and a period."""
    if not isinstance(value, list) or len(value) != 2:
        raise ValueError(value)
    flow = FlowLimit(read_limit(value[0]), read_period_s(value[1]))
    if not 0 < flow.period_s < math.inf:
        raise ValueError(value)
    return flow


def read_texts(value: Value) -> list[str]:
    """An array of strings."""
    if not isinstance(value, list):
        raise ValueError(value)
    return [read_text(item) for item in value]


def read_dictionary(value: Value) -> dict[str, Value]:
    """A dictionary."""
    if not isinstance(value, dict):
        raise ValueError(value)
    return value


def read_dictionaries(value: Value) -> dict[str, dict[str, Value]]:
    """A dictionary of dictionaries: records by name."""
    return {key: read_dictionary(item) for key, item in read_dictionary(value).items()}


SERVICES: Final = (
    "Mail", "Relay", "Signal", "Mobile", "TLS", "POP", "IMAP", "MAPI", "AirSync", "SIP", "XMPP",
    "WebMail", "XIMSS", "FTP", "ACAP", "PWD", "LDAP", "RADIUS", "S/MIME", "WebCAL", "WebSite",
    "PBX", "HTTP", "MobilePBX", "XMedia", "YMedia", "MobilePronto",
)  # fmt: skip


def read_services(value: Value) -> frozenset[str]:
    """Enabled services: ``All``, ``None``, or an array of a number and their names.

    The number says how many kinds were known to who stored it: kinds beyond are enabled.
    """
    if isinstance(value, str):
        choice = {"all": frozenset(SERVICES), "none": frozenset[str]()}.get(value.lower())
        if choice is None:
            raise ValueError(value)
        return choice
    if not isinstance(value, list):
        raise ValueError(value)
    names = list(value)
    known = len(SERVICES)
    if names:
        try:
            known = read_number(names[0])
            names = names[1:]
        except ValueError:
            pass  # names alone
    by_name = {service.lower(): service for service in SERVICES}
    enabled = {by_name.get(read_text(name).lower(), "") for name in names}
    if "" in enabled or known < 0:
        raise ValueError(value)
    return frozenset(enabled | set(SERVICES[known:]))


def read_ip_list(value: Value) -> list[tuple[bool, int, int, int]]:
    """Lines of addresses, networks and ranges, see :func:`address_in`.

    ``!`` in front excludes; ``;`` begins a comment. Items are (included, IP version, first, last).
    """
    items: list[tuple[bool, int, int, int]] = []
    for line in read_text(value).splitlines():
        text = line.partition(";")[0].strip()
        if not text:
            continue
        included = not text.startswith("!")
        first, dash, last = text.removeprefix("!").strip().partition("-")
        if dash:
            low, high = ipaddress.ip_address(first.strip()), ipaddress.ip_address(last.strip())
            if low.version != high.version or int(low) > int(high):
                raise ValueError(value)
            items.append((included, low.version, int(low), int(high)))
        else:
            network = ipaddress.ip_network(first.strip().strip("[]"), strict=False)
            low, high = network.network_address, network.broadcast_address
            items.append((included, network.version, int(low), int(high)))
    return items


def address_in(items: list[tuple[bool, int, int, int]], address: str) -> bool:
    """Whether a list names an address: the first line that fits decides."""
    ip = ipaddress.ip_address(address)
    for included, version, low, high in items:
        if ip.version == version and low <= int(ip) <= high:
            return included
    return False


def one_of(*choices: str) -> Form:
    """One of some words, in any letter case."""

    def read(value: Value) -> str:
        found = {choice.lower(): choice for choice in choices}.get(read_text(value).lower())
        if found is None:
            raise ValueError(value)
        return found

    return Form("one of " + ", ".join(choices), read)


def ranged(low: int, high: int) -> Form:
    """A whole number in a range."""

    def read(value: Value) -> int:
        number = read_number(value)
        if not low <= number <= high:
            raise ValueError(value)
        return number

    return Form(f"a whole number from {low} to {high}", read)


TEXT: Final = Form("a string", read_text)
LINE: Final = Form("a string of one line", read_line)
FLAG: Final = Form("YES or NO", read_flag)
NUMBER: Final = Form("a whole number", read_number)
LIMIT: Final = Form("a whole number, or unlimited (-1)", read_limit)
PERIOD: Final = Form("a period such as 5s, 10m, 1h, 2d, or never", read_period_s)
SIZE: Final = Form("a size such as 100K, 10M, 3G, or unlimited", read_size_bytes)
FLOW: Final = Form("a count and a period such as (10, 1m)", read_flow)
TEXTS: Final = Form("an array of strings", read_texts)
DICTIONARY: Final = Form("a dictionary", read_dictionary)
DICTIONARIES: Final = Form("a dictionary of dictionaries", read_dictionaries)
SERVICE_SET: Final = Form("All, None, or an array of a number and names of services", read_services)
IP_LIST: Final = Form(
    "lines of addresses, networks (10.0.0.0/8) and ranges (10.0.0.1-10.0.0.9), with ! to exclude "
    "and ; for comments",
    read_ip_list,
)
ANY: Final = Form("any object", lambda value: value)
