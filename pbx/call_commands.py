"""Commands on calls that are up. As :mod:`pbx.commands`: what is asked for goes through the log.

The node that has the call follows the log and ends it (:meth:`pbx.calls.node.SignalNode.apply`);
how it ended is in the events of the call, with who asked.
"""

from __future__ import annotations

from typing import Final

from pbx.domain.nodes import CallEndAsked
from pbx.eventlog import ANY_VERSION, EventLog, Meta
from pbx.kernel.errors import DomainError

MAX_REASON: Final = 200
"""Characters; it stands in a SIP header field and in the call record."""


def ask_end(
    log: EventLog,
    node: str,
    call_id: str,
    *,
    actor: str,
    reason: str = "",
    origin: str = "",
    tenant: str = "",
) -> None:
    """Have `node` end its call `call_id`. Raises :class:`DomainError` or ``LogUnavailable``."""
    reason = reason.strip()
    if len(reason) > MAX_REASON or (reason and not reason.isprintable()):
        raise DomainError(f"a reason has up to {MAX_REASON} printable characters")
    meta = Meta(actor=actor, causation=origin, correlation=call_id, tenant=tenant)
    asked = CallEndAsked(call_id=call_id, reason=reason)
    log.append(f"node/{node}", ANY_VERSION, [asked], meta)
