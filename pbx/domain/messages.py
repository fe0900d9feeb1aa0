"""Events of instant messages: stream ``message/<uuid7>``, category ``pbx.messages``.

Page mode only for now (RFC 3428); the text is not stored.
"""

from __future__ import annotations

from typing import Annotated

from pbx.kernel.events import PERSONAL, Durability, Event, event

MESSAGES = "pbx.messages"


@event("message.relayed.v1", category=MESSAGES, durability=Durability.OBSERVED)
class MessageRelayed(Event):
    """A MESSAGE was passed to the contacts of its addressee; `status` is what the sender got."""

    from_uri: Annotated[str, PERSONAL]
    to_uri: Annotated[str, PERSONAL]
    status: int
    account: Annotated[str, PERSONAL] = ""
    size_bytes: int = 0
    rules: tuple[str, ...] = ()
    """Names of the Signal Rules that applied."""
