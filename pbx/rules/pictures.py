"""Pictures: texts with ``*`` for any run of characters, compared without case.

A picture in brackets may name a network, ours: ``SIP [10.0.0.0/8]*`` holds for ``SIP [10.1.2.3]``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import ip_address, ip_network
from typing import Final

Match = Callable[[str], bool]
"""Whether a text, already casefolded, fits."""

_NETWORK: Final = re.compile(r"(.*)\[([0-9A-Fa-f.:]+/\d{1,3})\](.*)", re.DOTALL)
_ADDRESS: Final = re.compile(r"\[([0-9A-Fa-f.:]+)\]")


def folded(text: str) -> str:
    """As texts are compared."""
    return text.casefold()


def picture(text: str) -> Match:
    """The test of one picture."""
    text = folded(text)
    network = _NETWORK.fullmatch(text)
    if network is not None:
        found = _network(network[1], network[2], network[3])
        if found is not None:
            return found
    pieces = text.split("*")
    if len(pieces) == 1:
        return text.__eq__
    head, *middle, tail = pieces
    inner = [piece for piece in middle if piece]
    if not inner:
        return _ends(head, tail)
    return _chain(head, inner, tail)


def _ends(head: str, tail: str) -> Match:
    """``head*tail``."""
    if not head and not tail:
        return lambda text: True
    if not tail:
        return lambda text: text.startswith(head)
    if not head:
        return lambda text: text.endswith(tail)
    shortest = len(head) + len(tail)
    return lambda text: len(text) >= shortest and text.startswith(head) and text.endswith(tail)


def _chain(head: str, inner: list[str], tail: str) -> Match:
    """``head*a*b*tail``: leftmost places, which is right since stars take anything; linear time,
    unlike a regular expression with as many wildcards."""

    def test(text: str) -> bool:
        if not text.startswith(head) or not text.endswith(tail):
            return False
        at, end = len(head), len(text) - len(tail)
        for piece in inner:
            at = text.find(piece, at, end)
            if at < 0:
                return False
            at += len(piece)
        return at <= end

    return test


def _network(before: str, network_text: str, after: str) -> Match | None:
    try:
        network = ip_network(network_text, strict=False)
    except ValueError:
        return None
    around = picture(f"{before}[]{after}")

    def test(text: str) -> bool:
        found = _ADDRESS.search(text)
        if found is None:
            return False
        try:
            address = ip_address(found[1])
        except ValueError:
            return False
        return address in network and around(f"{text[: found.start(1)]}{text[found.end(1) :]}")

    return test


def any_picture(text: str) -> Match:
    """The test of a comma-separated list of pictures."""
    parts = [part.strip() for part in text.split(",")]
    plain = frozenset(folded(part) for part in parts if "*" not in part and "/" not in part)
    others = [picture(part) for part in parts if "*" in part or "/" in part]
    if not others:
        return plain.__contains__
    if len(others) == 1 and not plain:
        return others[0]
    return lambda text: text in plain or any(match(text) for match in others)
