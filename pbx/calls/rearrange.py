"""What transfers and takeovers have in common: claims on legs, and legs that change their call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from pbx.calls.cause import Q850_NORMAL, End, EndCause, EndedBy
from pbx.calls.leg import Leg, Role
from pbx.domain.calls import LegAnswered, LegCreated, LegMoved

if TYPE_CHECKING:
    from pbx.calls.call import Call

#: The end of legs that a transfer or takeover made superfluous.
TRANSFERRED: Final = End(200, EndCause.NORMAL, Q850_NORMAL, EndedBy.SERVER, "transferred")


class Rearrangement(Protocol):
    """A transfer or takeover under way, as the calls it touches see it."""

    joining: bool
    """True while answered legs are re-joined: offers of theirs get 491 meanwhile."""

    def leg_gone(self, leg: Leg, end: End, now: float) -> bool:
        """A leg of a touched call ended. True: that call goes on regardless."""
        ...

    def call_finished(self, end: End, now: float) -> None:
        """The call that runs this ends."""
        ...

    def other_call_finished(self, other: Call, now: float) -> None:
        """The claimed call ends by itself (server stop, media time-out)."""
        ...


def let_go(rearrangement: Rearrangement, call: Call, claimed: Call) -> None:
    """It is decided: `call`, which ran it, and the claimed one are free for another."""
    rearrangement.joining = False
    if call.transfer is rearrangement:
        call.transfer = None
    if claimed.claimed_by is rearrangement:
        claimed.claimed_by = None


def move_leg(leg: Leg, source: Call, destination: Call, parent: Leg, now: float) -> None:
    """`leg` goes on in another call; each call's stream tells its part of the story.

    For the old call the leg has ended, for the new one it is created and answered now, so every
    stream gives complete call records by itself.
    """
    moved = LegMoved(
        leg_id=leg.id,
        from_call=source.id,
        to_call=destination.id,
        elapsed_ms=source.journal.elapsed_ms(now),
    )
    source.journal.write(moved)
    leg.note_end(TRANSFERRED, now)
    source.legs.pop(leg.id, None)
    leg.call = destination
    leg.role = Role.TRANSFER
    leg.answered_at = now
    destination.legs[leg.id] = leg
    journal = destination.journal
    elapsed_ms = journal.elapsed_ms(now)
    journal.write(
        LegCreated(
            leg_id=leg.id,
            parent_leg_id=parent.id,
            role=Role.TRANSFER.value,
            sip_call_id=leg.usage.call_id,
            target_uri=leg.target_uri or leg.usage.remote_uri,
            account=leg.account,
            elapsed_ms=elapsed_ms,
        )
    )
    journal.write(LegAnswered(leg_id=leg.id, elapsed_ms=elapsed_ms))
    journal.write(
        LegMoved(leg_id=leg.id, from_call=source.id, to_call=destination.id, elapsed_ms=elapsed_ms)
    )
