"""Session-Expires and Min-SE (RFC 4028 §4, §5)."""

from __future__ import annotations

from typing import NamedTuple

from sip.errors import MalformedHeader
from sip.grammar import LWS, parse_number, parse_params


class SessionExpires(NamedTuple):
    interval_s: int
    refresher: str = ""
    """``uac``, ``uas`` or empty: roles of the transaction that carries the header."""

    def __str__(self) -> str:
        refresher = f";refresher={self.refresher}" if self.refresher else ""
        return f"{self.interval_s}{refresher}"


def _delta_seconds(text: str, header: str) -> tuple[int, dict[str, str | None]]:
    number, semicolon, rest = text.partition(";")
    params = parse_params(semicolon + rest, header) if semicolon else {}
    return parse_number(number.strip(LWS), header), params


def parse_session_expires(text: str) -> SessionExpires:
    """Raises MalformedHeader."""
    interval_s, params = _delta_seconds(text, "Session-Expires")
    refresher = (params.get("refresher") or "").lower()
    if refresher not in ("", "uac", "uas"):
        raise MalformedHeader("Session-Expires", "unknown refresher")
    return SessionExpires(interval_s, refresher)


def parse_min_se(text: str) -> int:
    """Seconds. Raises MalformedHeader."""
    return _delta_seconds(text, "Min-SE")[0]
