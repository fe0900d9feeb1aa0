"""What call control needs of the rest, as protocols: log, media, applications, trunks, randomness.

The signal role gives the real ones (``pbx.signal``), the simulator its own; both run the same
call control. Everything here is called from one thread and never blocks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from datetime import tzinfo
from typing import TYPE_CHECKING, NamedTuple, Protocol

from media.ng.figures import LegMedia
from pbx.eventlog import Meta, Record
from pbx.kernel.events import Event
from pbx.rules.facts import Value
from pbx.rules.vocabulary import Subject

if TYPE_CHECKING:
    from pbx.calls.call import Call
    from pbx.calls.dial import Contact
    from pbx.calls.leg import Leg
    from pbx.calls.program import ProgramUsage
    from sip.events import ResponseReceived
    from sip.flow import Flow
    from sip.message import Request
    from sip.request import Authorizer


class LogPort(Protocol):
    """The write side of the event log as call control sees it."""

    @property
    def healthy(self) -> bool:
        """False while appends fail (disk full, database locked): new work is refused."""
        ...

    def observe(self, stream: str, version: int, event: Event, meta: Meta) -> None:
        """Queue a fact; never blocks, never fails."""
        ...

    def decide(
        self,
        stream: str,
        expected_version: int,
        events: Sequence[Event],
        meta: Meta,
        done: Callable[[int | Exception], None],
        *,
        alone: bool = False,
    ) -> None:
        """Append; `done` gets the position once durable, or the error.

        In a cluster that is ``ClusterAway`` while the nodes cannot agree; `alone` then has this
        node decide by itself, and the others learn it as a fact.
        """
        ...


class Rng(Protocol):
    """Randomness (``random.Random`` in tests, ``random.SystemRandom`` in the server)."""

    def getrandbits(self, k: int, /) -> int: ...

    def random(self) -> float: ...


class MediaParty(NamedTuple):
    """One side of a media session as the media service must know it."""

    tag: str
    source: str
    """Host its signalling comes from: where its media is expected from behind a NAT."""
    local: str
    """Our address toward this party, empty if the listener is not bound to one address."""


class MediaReply(NamedTuple):
    """Outcome of an offer or answer."""

    sdp: bytes
    error: str = ""
    full: bool = False
    """The service has no room or is away: the call is refused for that, not for its description."""


class MediaPort(Protocol):
    """Rewrites session descriptions and relays what they describe.

    A *session* is one bridge. Replies come later, in order, on the same thread; a service that
    does not answer gives a reply with an error.
    """

    name: str

    @property
    def available(self) -> bool:
        """False while the media service does not answer: new calls are refused."""
        ...

    def offer(
        self,
        session: str,
        offerer: MediaParty,
        answerer: MediaParty | None,
        sdp: bytes,
        now: float,
        done: Callable[[MediaReply, float], None],
    ) -> None: ...

    def answer(
        self,
        session: str,
        offerer: MediaParty,
        answerer: MediaParty,
        sdp: bytes,
        now: float,
        done: Callable[[MediaReply, float], None],
        *,
        early: bool = False,
    ) -> None:
        """`early`: the answerer still rings, its media may be silent."""
        ...

    def delete(
        self,
        session: str,
        offerer_tag: str,
        now: float,
        done: Callable[[Mapping[str, LegMedia], float], None],
    ) -> None: ...


class Application(NamedTuple):
    """A program to run for a call: ``name{parameters}#account``."""

    name: str
    parameters: tuple[str, ...] | None
    """None: none were given."""
    account: str
    """``name@domain`` on whose behalf it runs: its settings, rights and files."""
    called: str
    """The account that was called, if one was; its rules or a Router record led here."""
    redirector: str
    """The account whose rules led here; empty: the server's, or none."""
    request_uri: str
    """What was dialled, with its URI parameters."""
    task: str = ""
    """The named task that was called, ``name@domain``."""

    @property
    def text(self) -> str:
        """The address form."""
        given = "" if self.parameters is None else f"{{{','.join(self.parameters)}}}"
        return f"{self.name}{given}#{self.account}"


class ApplicationBranch(Protocol):
    """What an application may do with the call it was given. Each method may be called once more
    after the call is gone; nothing happens then.

    An application that talks to the caller enters the call with a leg (:meth:`enter`), may let it
    ring (:meth:`progress`) and answers (:meth:`answer`). One that only decides uses ``failed`` and
    ``taken``.
    """

    def source(self) -> tuple[Leg, bytes]:
        """Who calls, and what that party offers, not yet rewritten; empty: a late offer."""
        ...

    @property
    def account(self) -> str:
        """Who proved to make this call, or to transfer it; empty: a stranger."""
        ...

    def enter(self, usage: ProgramUsage, now: float) -> Leg:
        """Make the application's leg; it ends with the branch."""
        ...

    def progress(
        self,
        status: int,
        body: bytes,
        now: float,
        *,
        reason: str = "",
        reliable: bool = False,
        headers: Sequence[tuple[str, str]] = (),
    ) -> None:
        """A provisional response to the caller; `body` answers its offer."""
        ...

    def answer(self, body: bytes, now: float) -> bool:
        """Answer the caller with the application's own description, as :meth:`taken`."""
        ...

    def fork(self, uris: Sequence[str], account: str, now: float) -> str:
        """Try these addresses too, in the name of `account`; empty, or why that is impossible."""
        ...

    def redirect(self, uris: Sequence[str], account: str, now: float) -> None:
        """Try these addresses in place of the application."""
        ...

    def failed(self, status: int, reason: str, now: float) -> None:
        """The application refuses: the rules of this status go on, else the caller gets it."""
        ...

    def taken(self, now: float) -> bool:
        """The application answers the caller itself, from now on alone: whatever else rings is
        cancelled and rules have nothing to say any more. False: somebody else was faster."""
        ...


class ApplicationPort(Protocol):
    """Runs applications: where a rule or the Router sends a call to ``app#account``."""

    def start(
        self, application: Application, call: Call, branch: ApplicationBranch, now: float
    ) -> str:
        """Start it as one branch of `call`; empty, or why that is impossible (answered with 480).

        The outcome comes through `branch`, never before this returns.
        """
        ...

    def cancel(self, branch: ApplicationBranch, now: float) -> None:
        """The branch is over: somebody else answered, the caller gave up, a rule redirected."""
        ...

    def media_timed_out(self, session: str, now: float) -> None:
        """Nothing was heard for long of a session that is no bridge of a call."""
        ...

    def media_restarted(self, now: float) -> None:
        """The media service has lost everything; the legs are joined anew after this."""
        ...


class AccountFacts(Protocol):
    """What rules may ask of an account beyond its devices and calls: settings, calendar."""

    def value(self, account: str, subject: Subject) -> Value:
        """Of ``Preference``, ``FreeBusy`` and ``Presence``; None: nothing is known."""
        ...

    def zone(self, account: str) -> tzinfo:
        """The time zone in which conditions on time are meant."""
        ...


class EffectsPort(Protocol):
    """What rules do beyond SIP, bounded and in its own time."""

    def fetch(self, url: str, now: float) -> str:
        """GET an URL and forget the answer; empty if it is under way, else why not."""
        ...

    def push(self, account: str, text: str, now: float) -> str:
        """Wake the mobile devices of an account; empty if it is under way, else why not."""
        ...


class RequestOwner(ABC):
    """Who sent a request outside any dialog, as its ``user``, and wants the responses."""

    @abstractmethod
    def responded(self, event: ResponseReceived, now: float) -> None:
        """A response, provisional ones too, or why there will be none."""


class Arrival(NamedTuple):
    """A call that a provider sends to a contact that we registered with it."""

    request: Request
    """Addressed to the target of the registration, the caller's number as it is written here."""
    account: str
    """Whose registration it is: the call counts as one of this account."""
    reason: str
    """By which registration it came, for the log."""
    login: Authorizer | None = None
    """Answers challenges to our requests inside the call."""


class ThroughGateway(NamedTuple):
    """How an address is called through a gateway, or why it is not."""

    contact: Contact | None
    note: str
    """Which gateway and why it; without a contact what is missing."""


class TrunkPort(Protocol):
    """Other telephone systems: providers we register with, gateways we call through."""

    def configured(self, stream: str, event: Event) -> None:
        """Fold one event of the configuration."""
        ...

    def apply(self, record: Record) -> None:
        """Fold one event of a stream ``trunk/…`` or ``node/…``."""
        ...

    def start(self, now: float) -> None:
        """The configuration is complete: register."""
        ...

    def stop(self, now: float) -> None:
        """Take registrations back; nothing waits for the answers."""
        ...

    def arrival(self, request: Request, flow: Flow) -> Arrival | None:
        """What an INVITE is if a provider sent it to a contact of ours; None: something else."""
        ...

    def through(self, contact: Contact, account: str) -> ThroughGateway:
        """`contact`, an address elsewhere, as `account` may call it: with its credentials if the
        address is at a gateway of the account, else as it is and without a note."""
        ...

    def gateway_call(self, number: str, gateway: str, account: str) -> ThroughGateway:
        """`number` through the account's gateway of that name; '' is its first."""
        ...

    def statistics(self) -> dict[str, int]:
        """Table sizes."""
        ...


class NoTrunks:
    """A server without other telephone systems."""

    def configured(self, stream: str, event: Event) -> None: ...

    def apply(self, record: Record) -> None: ...

    def start(self, now: float) -> None: ...

    def stop(self, now: float) -> None: ...

    def arrival(self, request: Request, flow: Flow) -> Arrival | None:
        return None

    def through(self, contact: Contact, account: str) -> ThroughGateway:
        return ThroughGateway(contact, "")

    def gateway_call(self, number: str, gateway: str, account: str) -> ThroughGateway:
        return ThroughGateway(None, "this server knows no gateways")

    def statistics(self) -> dict[str, int]:
        return {}
