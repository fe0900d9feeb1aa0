"""Events of the registrar: stream ``binding/<account@domain>``, category ``pbx.bindings``.

All are in the log before the 200 that promises them; a refresh only moves an expiry and is written
ahead, so that most are not written at all. ``contact_id`` is stable for one binding: it is derived
from the instance id and reg-id (RFC 5626) or from the contact URI.
"""

from __future__ import annotations

from typing import Annotated

from pbx.kernel.events import PERSONAL, Durability, Event, event

BINDINGS = "pbx.bindings"


@event("binding.added.v1", category=BINDINGS, durability=Durability.DECIDED)
class BindingAdded(Event):
    """A contact was bound to the address of record."""

    contact_id: str
    contact: Annotated[str, PERSONAL]
    """The Contact URI exactly as registered."""
    expires_ns: int
    """Wall time at which the binding lapses."""
    sip_call_id: str
    cseq: int
    q: float = 1.0
    instance: str = ""
    reg_id: int = 0
    path: tuple[str, ...] = ()
    user_agent: str = ""
    transport: str = "udp"
    local: str = ""
    """``ip:port`` of our listener the REGISTER came to."""
    remote: Annotated[str, PERSONAL] = ""
    """``ip:port`` the REGISTER came from."""
    nat: bool = False
    contact_params: str = ""
    """Header parameters of the Contact other than q and expires, e.g. feature tags."""
    methods: tuple[str, ...] = ()
    since_ns: int = 0


@event("binding.refreshed.v1", category=BINDINGS, durability=Durability.OBSERVED)
class BindingRefreshed(Event):
    """The same contact registered again; only what may change is recorded."""

    contact_id: str
    expires_ns: int
    """Later than the phone was told: refreshes up to then need not be recorded. The binding lapses
    by its ``binding.removed``, or at this time if no server is there to write it."""
    sip_call_id: str
    cseq: int
    remote: Annotated[str, PERSONAL] = ""
    local: str = ""
    transport: str = "udp"
    nat: bool = False


@event("binding.removed.v1", category=BINDINGS, durability=Durability.DECIDED)
class BindingRemoved(Event):
    """A contact is gone."""

    contact_id: str
    contact: Annotated[str, PERSONAL]
    reason: str
    """``unregistered`` ``expired`` ``replaced`` ``flow-closed`` ``admin``."""
