"""ENUM (RFC 6116): from a telephone number to a URI by NAPTR records. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

MAX_URI: Final = 256
_MAX_PATTERN: Final = 128
_SERVICE: Final = re.compile(r"e2u(?:\+[a-z0-9:-]+)+", re.IGNORECASE | re.ASCII)
#: What an expression may have beyond digits and anchors. Others could run for ever (RFC 6116 §3.6
#: knows no more than this in practice), and they come from whoever has the zone.
_SIMPLE: Final = re.compile(r"\^?[0-9+\\.*()\[\]-]*\$?", re.ASCII)


_REPEATED: Final = re.compile(r"(?<!\\)[*+]")


class EnumRecord(NamedTuple):
    """A NAPTR record; fields as RFC 3403 §4.1 names them."""

    order: int
    preference: int
    flags: str
    service: str
    regexp: str


def domain_of(number: str, zone: str) -> str:
    """``+12345`` in ``e164.arpa`` is ``5.4.3.2.1.e164.arpa``; empty for what is no number."""
    digits = number.removeprefix("+")
    if not digits.isascii() or not digits.isdigit() or len(digits) > 32:
        return ""
    return ".".join([*reversed(digits), zone.strip(".").lower()])


def choose(records: Iterable[EnumRecord], number: str, service: str = "sip") -> str:
    """The URI of the first record for `service` that says one; empty if none does."""
    usable = sorted(
        (r for r in records if r.flags.lower() == "u"), key=lambda r: (r.order, r.preference)
    )
    for record in usable:
        if _SERVICE.fullmatch(record.service) is None:
            continue
        services = [part.partition(":")[0] for part in record.service.lower().split("+")[1:]]
        if service in services:
            uri = _substituted(record.regexp, number)
            if uri:
                return uri
    return ""


def _substituted(expression: str, number: str) -> str:
    """What ``!pattern!replacement!`` makes of a number (RFC 3402 §3.2)."""
    if len(expression) < 4 or expression[0].isalnum() or expression[0] == "\\":
        return ""
    parts = re.split(rf"(?<!\\){re.escape(expression[0])}", expression[1:])
    if len(parts) != 3 or parts[2] not in ("", "i"):
        return ""
    pattern, replacement, _ = parts
    if len(pattern) > _MAX_PATTERN or _SIMPLE.fullmatch(pattern) is None:
        return ""
    if len(_REPEATED.findall(re.sub(r"\[[^]]*\]", "", pattern))) > 1:
        return ""
    try:
        match = re.search(pattern, number)
    except re.error:
        return ""
    if match is None:
        return ""
    found = match
    delimiter = expression[0]
    text = re.sub(
        r"\\([1-9])",
        lambda m: (found[int(m[1])] or "") if int(m[1]) <= found.re.groups else "",
        replacement.replace(f"\\{delimiter}", delimiter),
    )
    if len(text) > MAX_URI or not text.isascii() or not text.isprintable() or " " in text:
        return ""
    return text
