"""One leg: a dialog (the INVITE usage of ``sip``) plus its side of a media session.

A leg leaks only what its events carry: the other leg never sees its headers. It belongs to one
call at a time (an attended transfer moves it) and writes its own part of the call's journal.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING

from pbx.calls import cause
from pbx.calls.cause import End, EndCause, EndedBy
from pbx.calls.ports import MediaParty
from pbx.calls.presentation import Presentation, of_party
from pbx.domain.calls import LegAnswered, LegEnded, LegHeld, LegResumed, LegRinging

if TYPE_CHECKING:
    from pbx.calls.call import Call
    from pbx.calls.dial import Dial
    from pbx.calls.presentation import Diversion
    from pbx.calls.program import ProgramUsage
    from sip.dialog.invite import InviteUsage
    from sip.transaction.server import ServerTransaction


class Role(Enum):
    """Place of a leg in its call."""

    CALLER = "A"
    CALLEE = "B"
    TRANSFER = "X"


class LegState(Enum):
    """INVITED: our INVITE is out, or the caller's is in; ANSWERED: 2xx; ENDED: nothing left."""

    INVITED = 1
    ANSWERED = 2
    ENDED = 3


OfferDone = Callable[[int, bytes, float], None]


class Leg:
    """See the module; `usage.user` points back here."""

    __slots__ = (
        "account", "agreed_body", "answered_at", "call", "crossings", "dial", "diversions",
        "held", "id", "offer_done", "phrase", "program", "refer_outcome", "refusal_fields", "role",
        "seen_statuses", "shown", "state", "target_uri", "usage",
    )  # fmt: skip

    def __init__(
        self,
        call: Call,
        usage: InviteUsage | ProgramUsage,
        role: Role,
        account: str,
        *,
        program: bool = False,
    ) -> None:
        """`program`: the party is a program, `usage` a ``ProgramUsage``."""
        self.call = call
        self.id = call.next_leg_id()
        self.usage = usage
        self.program = program
        self.role = role
        self.account = account
        self.target_uri = ""
        self.diversions: tuple[Diversion, ...] = ()
        """Redirects that led to this leg."""
        self.shown: Presentation | None = None
        """How its party is shown to others, if that is not its account or address."""
        self.dial: Dial | None = None
        """The dial that tries this leg, until its final response."""
        self.state = LegState.INVITED
        self.answered_at = 0.0
        self.agreed_body = b""
        """The party's last description that the other side accepted (its offer or answer)."""
        self.held = False
        self.phrase = ""
        """Reason phrase of a refusal of this leg, if a rule or program chose one."""
        self.refusal_fields: tuple[tuple[str, str], ...] = ()
        """Fields of a refusal of this leg: challenges."""
        self.refer_outcome: Callable[[int, str, bool, float], None] | None = None
        """Hears how the party gets on with the REFER that a program had us send it."""
        self.seen_statuses: set[int] | None = None
        self.offer_done: OfferDone | None = None
        self.crossings: list[ServerTransaction] = []
        """Requests on their way through this leg, from its party or to it (INFO, MESSAGE)."""
        usage.user = self
        if account:
            call.node.account_legs.setdefault(account, {})[self.id] = self

    def began(self, now: float) -> None:
        """The caller's INVITE was let in."""
        self._changed(now)

    def _changed(self, now: float) -> None:
        """Tell who watches the calls of its account (RFC 4235), if anybody does."""
        subscriptions = self.call.node.subscriptions
        if self.account in subscriptions.dialog_watched:
            subscriptions.changed("dialog", self.account, now)

    @property
    def parties(self) -> frozenset[str]:
        """Accounts that have a part in the call by this leg: its own, and those that sent the call
        here."""
        return frozenset(
            (self.account, *[diversion.uri.removeprefix("sip:") for diversion in self.diversions])
        )

    @property
    def alive(self) -> bool:
        """Not ended."""
        return self.state is not LegState.ENDED

    def party(self) -> MediaParty:
        """This leg for the media service."""
        flow = self.usage.flow
        if flow is None:
            return MediaParty(self.id, "", "")
        local = flow.local[0]
        if local in ("0.0.0.0", "::"):
            local = ""
        return MediaParty(self.id, flow.remote[0], local)

    def send_offer(self, body: bytes, now: float, done: OfferDone) -> None:
        """Offer `body` in a re-INVITE or UPDATE; `done(status, answer, now)` comes once."""
        if self.state is not LegState.ANSWERED or self.offer_done is not None:
            done(491 if self.alive else 481, b"", now)
            return
        self.offer_done = done
        self.usage.offer(body, now=now)

    def offer_ended(self, status: int, body: bytes, now: float) -> None:
        """The engine reports the end of :meth:`send_offer`."""
        done, self.offer_done = self.offer_done, None
        if done is not None:
            done(status, body, now)

    def after_offer(self, then: Callable[[float], None], now: float) -> None:
        """Call `then(now)` once no offer of ours is under way on this leg."""
        done = self.offer_done
        if done is None:
            then(now)
            return

        def both(status: int, body: bytes, later: float) -> None:
            done(status, body, later)
            then(later)

        self.offer_done = both

    def presentation(self) -> Presentation:
        """How this party is shown to a third one."""
        return self.shown or of_party(self.account, self.usage.remote_uri)

    def ringing(self, status: int, early_media: bool, reliable: bool, now: float) -> None:
        """A provisional crossed this leg: the first of its status is a fact."""
        if self.seen_statuses is None:
            self.seen_statuses = set()
        elif status in self.seen_statuses:
            return
        self.seen_statuses.add(status)
        self._changed(now)
        journal = self.call.journal
        journal.write(
            LegRinging(
                leg_id=self.id,
                status=status,
                early_media=early_media,
                reliable=reliable,
                elapsed_ms=journal.elapsed_ms(now),
            )
        )

    def answered(self, now: float) -> None:
        """The 2xx of this leg's INVITE was sent or received."""
        self.state = LegState.ANSWERED
        self.answered_at = now
        self._changed(now)
        journal = self.call.journal
        journal.write(LegAnswered(leg_id=self.id, elapsed_ms=journal.elapsed_ms(now)))

    def note_direction(self, wanted: str, now: float) -> None:
        """The party's last accepted offer wants this media direction: hold or resume."""
        held = wanted in ("sendonly", "inactive")
        if held == self.held:
            return
        self.held = held
        self._changed(now)
        journal = self.call.journal
        elapsed_ms = journal.elapsed_ms(now)
        if held:
            journal.write(LegHeld(leg_id=self.id, direction=wanted, elapsed_ms=elapsed_ms))
        else:
            journal.write(LegResumed(leg_id=self.id, elapsed_ms=elapsed_ms))

    def ended(self, end: End, now: float) -> None:
        """The leg is over: writes its last event, once.

        The outcome of an offer under way is owed after that (:meth:`offer_ended`), when everybody
        knows why it comes to nothing.
        """
        if self.state is LegState.ENDED:
            return
        self.note_end(end, now)
        self.state = LegState.ENDED
        if self.account:
            legs = self.call.node.account_legs
            mine = legs.get(self.account)
            if mine is not None and mine.pop(self.id, None) is not None and not mine:
                del legs[self.account]
            self._changed(now)
        # What the engine still reports of this dialog concerns nobody; and nothing here may
        # keep a finished call in memory.
        self.usage.user = None
        self.refer_outcome = None
        for transaction in self.crossings:
            # RFC 3261 §15.1.2: what waits in a dialog that ends is still answered.
            if not transaction.answered:
                self.call.node.engine.respond(transaction, 487, now=now)
        self.crossings.clear()

    def note_end(self, end: End, now: float) -> None:
        """The last event of this leg in its call; an answered leg keeps its 200."""
        answered = self.state is LegState.ANSWERED
        journal = self.call.journal
        journal.write(
            LegEnded(
                leg_id=self.id,
                status=200 if answered else end.status,
                cause=end.cause.value,
                q850=end.q850,
                ended_by=end.by.value,
                reason=end.reason,
                elapsed_ms=journal.elapsed_ms(now),
                talk_ms=int((now - self.answered_at) * 1000 + 0.5) if answered else 0,
            )
        )

    def hang_up(self, end: End, now: float, reason: str = "") -> None:
        """End the leg from our side in the way its state allows (BYE, CANCEL or a refusal).

        `reason` is the value of the Reason field; made from `end` when empty.
        """
        if self.state is LegState.ENDED:
            return
        usage = self.usage
        headers: tuple[tuple[str, str], ...] = (("Reason", reason or cause.reason_field(end)),)
        if any(name == "Reason" for name, _ in self.refusal_fields):
            headers = ()
        answered = self.state is LegState.ANSWERED
        self.ended(end, now)
        if answered:
            usage.bye(headers, now=now)
        elif self.role is Role.CALLER:
            status = end.status if end.status >= 300 else 480
            usage.reject(status, self.phrase or None, (*headers, *self.refusal_fields), now=now)
        else:
            usage.cancel(headers, now=now)
        self.offer_ended(481, b"", now)

    @property
    def side(self) -> EndedBy:
        """Who ends the call when this party hangs up."""
        return EndedBy.CALLER if self.role is Role.CALLER else EndedBy.CALLEE


CANCELLED_ELSEWHERE = End(
    487, EndCause.NORMAL, cause.Q850_NORMAL, EndedBy.SERVER, "answered elsewhere"
)
