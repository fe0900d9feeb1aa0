"""A leg whose party is a program: what call control needs of it in place of a SIP dialog.

A call to or from a program is an ordinary call of two legs; behind one of them stands no telephone
but a :class:`ProgramUsage`. Hold, transfer, pickup, limits, rules and call records then work as
between telephones. Its methods are those of :class:`sip.dialog.invite.InviteUsage` that legs use,
seen from call control: ``offer`` means that the program is offered something. What it answers
reaches call control later, by the functions at the end of this module, never before the method
returns.

Sessions with a program need no relay of ours: it hosts the media itself, so that
:class:`~pbx.calls.bridge.Bridge` hands descriptions through.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from pbx.calls.cause import Q850_NORMAL, Q850_TEMPORARY_FAILURE, End, EndCause
from pbx.calls.leg import LegState
from sip.flow import Flow

if TYPE_CHECKING:
    from pbx.calls.leg import Leg
    from pbx.calls.presentation import Presentation
    from sip.core import ExtraHeaders
    from sip.request import Authorizer

#: What calls of programs came over, as rules and call records show it.
LOCAL_FLOW: Final = Flow("local", ("0.0.0.0", 0), ("0.0.0.0", 0))


class OutgoingOptions(NamedTuple):
    """What a program asks of the INVITEs of its call, beyond the fields that go on as they are."""

    call_id: str = ""
    """Of the first INVITE; others of a fork get an ending of their own."""
    to: str = ""
    """To value in place of the Request-URI."""
    credentials: Authorizer | None = None
    """Answers the challenges of the other side."""
    reliable: bool = True
    """Whether reliable provisional responses are announced."""
    session_expires_s: int | None = None
    """Session timer; 0: none is asked for, None: as always."""
    route: tuple[str, ...] = ()
    """Route that comes before any other."""
    asserted: str | None = None
    """P-Asserted-Identity for everybody called; empty: none at all, None: as always."""
    relay: bool = True
    """Whether the call may leave this server."""
    billing_id: str = ""
    """For the records of the legs that are made."""
    fields: tuple[tuple[str, str], ...] = ()
    """Header fields for whoever is called, beside those that any call passes on."""


class ProgramUsage(ABC):
    """See the module. `user` is the leg."""

    dialog: None = None
    flow: Flow | None = None

    def __init__(self, role: Literal["uac", "uas"], call_id: str, tags: tuple[str, str]) -> None:
        """`role` is that of call control: ``uas`` where the program calls."""
        self.role: Final = role
        self.user: object = None
        self.call_id = call_id
        self.local_tag, self.remote_tag = tags
        self.local_uri = ""
        self.remote_uri = ""
        self.local_body = b""
        self.remote_body = b""
        self.ended = False
        self.shown: Presentation | None = None
        """How the program wants to be shown to those it calls."""
        self.options = OutgoingOptions()
        self.counted_elsewhere = False
        """The account has a call already that this one is a part of: it counts once."""

    # The initial INVITE of a program: what it hears of it.

    @abstractmethod
    def provisional(
        self,
        status: int,
        body: bytes = b"",
        headers: ExtraHeaders = (),
        reliable: bool | None = None,
        *,
        now: float,
        reason: str | None = None,
    ) -> None:
        """It rings."""

    @abstractmethod
    def accept(self, body: bytes = b"", headers: ExtraHeaders = (), *, now: float) -> None:
        """Somebody answered; `body` answers the program's offer."""

    @abstractmethod
    def reject(
        self,
        status: int,
        reason: str | None = None,
        headers: ExtraHeaders = (),
        *,
        now: float,
    ) -> None:
        """Nobody did."""

    # The program was called.

    @abstractmethod
    def cancel(self, headers: ExtraHeaders = (), *, now: float) -> None:
        """The caller gave up, or somebody else was faster."""

    @abstractmethod
    def ack(self, body: bytes, *, now: float) -> None:
        """The caller's answer to an offer in the program's answer; empty: none came."""

    # Answered legs.

    @abstractmethod
    def bye(self, headers: ExtraHeaders = (), *, now: float) -> None:
        """The other party, or the server, ended it."""

    @abstractmethod
    def offer(self, body: bytes, *, now: float) -> None:
        """The peer offers; :func:`offer_answered` or :func:`offer_refused` comes later."""

    @abstractmethod
    def answer(self, body: bytes, *, now: float) -> None:
        """The peer's answer to an offer of the program."""

    @abstractmethod
    def reject_offer(self, status: int, *, now: float) -> None:
        """The peer refuses the program's offer."""

    @abstractmethod
    def received(
        self, method: str, content_type: str, body: bytes, now: float
    ) -> tuple[int, tuple[tuple[str, str], ...]]:
        """INFO or MESSAGE of the peer; the status and fields of the answer."""

    @abstractmethod
    def refer_account(self, referrer: str) -> str | None:
        """In whose name a REFER of the peer `referrer` is carried out; None: it is refused."""

    @abstractmethod
    def notify_refer(
        self, status: int, reason: str | None = None, final: bool = False, *, now: float
    ) -> None:
        """How a transfer goes that the program asked the server for."""

    def respond(self, *args: object, **options: object) -> None:
        """Nothing comes from a program that SIP would answer."""
        raise AssertionError("a program sends no requests")

    def request(self, *args: object, **options: object) -> None:
        """What goes to a program comes by :meth:`received`."""
        raise AssertionError("a program takes no requests")

    def answer_with_offer(self, body: bytes, *, now: float) -> None:
        """Programs never ask for an offer."""
        raise AssertionError("a program asked for no offer")


# What a program does in its calls; each takes the leg it is the party of.


def offers(leg: Leg, body: bytes, now: float) -> None:
    """The program offers `body` to its peer, as a re-INVITE would."""
    leg.call.on_offer(leg, body, "INVITE", now)


def offer_answered(leg: Leg, body: bytes, now: float) -> None:
    """The outcome of ``offer``: the program's answer."""
    leg.offer_ended(200, body, now)


def offer_refused(leg: Leg, status: int, now: float) -> None:
    """The outcome of ``offer``: it cannot be."""
    leg.offer_ended(status, b"", now)


def hangs_up(leg: Leg, reason: str, now: float, *, failed: bool = False) -> None:
    """The program ends its call, whatever the state; `reason` is the value of a Reason field.

    `failed`: it broke down.
    """
    if not leg.alive:
        return
    call = leg.call
    if leg.state is LegState.INVITED:
        call.cancelled(reason, now)
        return
    kind, q850 = (
        (EndCause.ERROR, Q850_TEMPORARY_FAILURE) if failed else (EndCause.NORMAL, Q850_NORMAL)
    )
    why = "application failed" if failed else "hung up"
    call.party_left(leg, End(200, kind, q850, leg.side, why), reason, now)
