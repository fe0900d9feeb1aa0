"""A decision with its steps as plain values: what ``pbx route --json`` and the API show."""

from __future__ import annotations

from typing import Any

from pbx.router.engine import fan_out, route
from pbx.router.result import Route, shown_steps
from pbx.router.state import RoutingState
from pbx.router.table import Kind


def traced(
    address: str, kind: Kind, state: RoutingState, *, caller: str = ""
) -> tuple[Route, dict[str, Any]]:
    """Route `address` for `caller` (``name@domain``; empty: a stranger); the decision twice."""
    found = route(address, kind, state, caller=caller)
    module, host, final = found.triple()
    members = list(fan_out(found, kind, state, caller=caller)) if found.members else []
    return found, {
        "outcome": found.outcome.value,
        "module": module,
        "host": host,
        "port": found.port,
        "address": final,
        "account": found.account,
        "detail": found.detail,
        "parameters": found.parameters,
        "relay": found.relay,
        "status": found.status,
        "reason": found.reason,
        "consult": found.consult,
        "steps": shown_steps(found),
        "members": [
            {"address": str(member.address), "outcome": member.outcome.value} for member in members
        ],
    }
