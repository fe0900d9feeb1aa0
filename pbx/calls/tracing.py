"""What a call to an address would come to: the Router's decision, and what the caller may not call.

Shown by ``pbx route`` and by the API.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pbx.calls.call_classes import CallClasses
from pbx.calls.directory import Directory
from pbx.calls.emergency import Emergency
from pbx.router import AddressError, Kind, Route, parse_address, route, traced
from sip.errors import RemoteProtocolError
from sip.uri import parse_uri


def traced_call(
    text: str, kind: Kind, directory: Directory, *, caller: str, emergency_numbers: Sequence[str]
) -> tuple[Route, dict[str, Any], str]:
    """The decision, the same as plain values, and why the class of service of the caller
    (``name@domain``; empty: a stranger) has it not: empty if it has."""
    found, shown = traced(text, kind, directory, caller=caller)
    why = ""
    if caller and kind is Kind.SIGNAL:
        why = _barred(text, directory, caller, emergency_numbers)
    if why:
        shown = {**shown, "status": 403, "reason": why}
    return found, shown, why


def _barred(text: str, directory: Directory, caller: str, emergency_numbers: Sequence[str]) -> str:
    emergency = Emergency(directory, emergency_numbers)
    try:
        address = parse_address(text)
        domain = address.domain or caller.partition("@")[2]
        if emergency.is_emergency(parse_uri(f"sip:{address.local}@{domain}")):
            return ""
    except (AddressError, RemoteProtocolError):
        return ""
    found = route(address, Kind.SIGNAL, directory, caller=caller)
    return CallClasses(directory.settings).refusal(caller, address, found)
