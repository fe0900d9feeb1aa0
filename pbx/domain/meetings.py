"""Meetings of accounts: what programs keep under a key so that others find them.

Stream ``account/<name@domain>``, category ``pbx.config``. A Meeting survives a restart; the task
that is active in it does not, so that it is not told here. Keys are often PINs: they are sealed, as
are the parameters (CG/PL reference §9.15).
"""

from __future__ import annotations

from typing import Annotated

from pbx.domain.setting_events import CONFIG
from pbx.kernel.events import SEALED, Durability, Event, event

Sealed = Annotated[str, SEALED]


@event("meeting.set.v1", category=CONFIG, durability=Durability.OBSERVED)
class MeetingSet(Event):
    """There is a Meeting, with this parameter from now on."""

    key: Sealed
    parameter: Sealed = ""
    """In the text form of programs; empty for null."""
    meeting_set: str = ""
    """Which of the account's sets of Meetings."""


@event("meeting.removed.v1", category=CONFIG, durability=Durability.OBSERVED)
class MeetingRemoved(Event):
    """It is not any more."""

    key: Sealed
    meeting_set: str = ""
