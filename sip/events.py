"""What the engine tells its user, in the order it happened.

Fed by `sip/engine.py` and the usages under `sip/dialog`; drained with `SipEngine.events()` by
the transaction user (call control, registrar, a test). Every event is an inert value: reading
one never calls back into the engine, and the objects it names (`usage`, `transaction`,
`client`) have an opaque `user` slot for the reader's own state.

See Also: RFC 3261 §5 (the transaction user), RFC 3262, RFC 3264, RFC 3311, RFC 3515, RFC 6665.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from sip.dialog.invite import InviteUsage
    from sip.dialog.subscribe import NotifierUsage, SubscriberUsage
    from sip.flow import Flow
    from sip.headers import NameAddr, Replaces
    from sip.message import Request, Response
    from sip.request import ClientRequest
    from sip.transaction.server import ServerTransaction

FailureCause: TypeAlias = Literal["response", "timeout", "transport", "cancelled"]
EndedBy: TypeAlias = Literal["remote", "local", "timeout", "transport", "ack-timeout"]


@dataclass(slots=True, eq=False)
class RequestReceived:
    """A request outside any dialog that is no INVITE; answer it with `engine.respond()`.

    REGISTER, OPTIONS, MESSAGE, SUBSCRIBE, PUBLISH, INFO, NOTIFY. A SUBSCRIBE may be accepted with
    `engine.accept_subscription()` instead.
    """

    transaction: ServerTransaction
    request: Request
    flow: Flow


@dataclass(slots=True, eq=False)
class InviteReceived:
    """An initial INVITE. Use `provisional`, `accept` or `reject` of the usage.

    The engine itself sends 100 Trying after 200 ms unless something was answered before
    (RFC 3261 §17.2.1); `usage.provisional(100)` sends it at once.
    """

    usage: InviteUsage
    request: Request
    flow: Flow


@dataclass(slots=True, eq=False)
class InviteCancelled:
    """The caller gave up (CANCEL, or BYE on the early dialog); 200 and 487 are already sent.

    `reason_header` is the text of the Reason header (RFC 3326), "" when there was none.
    """

    usage: InviteUsage
    reason_header: str


@dataclass(slots=True, eq=False)
class InviteConfirmed:
    """The ACK of our 2xx arrived; `body` is the answer when the 2xx carried the offer."""

    usage: InviteUsage
    body: bytes


@dataclass(slots=True, eq=False)
class InviteProgress:
    """A provisional response other than 100. `remote_tag` names the early dialog ("" if none).

    `answer_needed`: a reliable response carried the offer; `usage.ack(answer)` sends the PRACK.
    """

    usage: InviteUsage
    response: Response
    remote_tag: str
    body: bytes
    reliable: bool
    answer_needed: bool = False


@dataclass(slots=True, eq=False)
class InviteAnswered:
    """The first 2xx arrived. ACK is sent by the engine unless `answer_needed`.

    With `answer_needed` the body is an offer and the user must call `usage.ack(answer)` soon.
    """

    usage: InviteUsage
    response: Response
    body: bytes
    answer_needed: bool


@dataclass(slots=True, eq=False)
class InviteFailed:
    """The INVITE ended without a session; the usage is gone.

    `status` is that of `response`, or 408 (timeout), 503 (transport), 487 (cancelled). On the
    UAS side it is sent only when reliable provisionals were never acknowledged (RFC 3262 §3) or
    the caller's flow failed.
    """

    usage: InviteUsage
    status: int
    response: Response | None
    cause: FailureCause


@dataclass(slots=True, eq=False)
class OfferReceived:
    """The peer offers: use `usage.answer(body)` or `usage.reject_offer(status)`.

    `method` is INVITE, UPDATE or PRACK. INVITE also when the offer came in the 2xx of our
    re-INVITE without SDP; the answer then leaves in the ACK.
    """

    usage: InviteUsage
    body: bytes
    method: str


@dataclass(slots=True, eq=False)
class OfferRequested:
    """A re-INVITE without SDP: use `usage.answer_with_offer(body)` or `usage.reject_offer()`."""

    usage: InviteUsage


@dataclass(slots=True, eq=False)
class AnswerReceived:
    """The answer to our offer (re-INVITE, UPDATE, or an offer we sent in a response)."""

    usage: InviteUsage
    body: bytes


@dataclass(slots=True, eq=False)
class OfferFailed:
    """Our re-INVITE or UPDATE failed; the session stays as it was (RFC 3261 §14.1).

    491 is retried by the engine and does not show here unless retrying failed too.
    """

    usage: InviteUsage
    status: int


@dataclass(slots=True, eq=False)
class ReferReceived:
    """REFER inside (`usage`) or outside (None) a dialog; answer with 202 or 4xx/6xx.

    Inside: `usage.respond(transaction, 202)` opens the implicit subscription and sends the first
    NOTIFY; then `usage.notify_refer()`. Outside: `engine.accept_refer(transaction)`.
    """

    usage: InviteUsage | None
    transaction: ServerTransaction
    request: Request
    refer_to: NameAddr
    replaces: Replaces | None


@dataclass(slots=True, eq=False)
class ReferProgress:
    """A NOTIFY of the REFER we sent: `status` from message/sipfrag (already answered 200)."""

    usage: InviteUsage
    status: int
    reason: str
    final: bool
    request: Request


@dataclass(slots=True, eq=False)
class DialogRequest:
    """INFO, MESSAGE, OPTIONS or an unknown method in the dialog; use `usage.respond()`."""

    usage: InviteUsage
    transaction: ServerTransaction
    request: Request


@dataclass(slots=True, eq=False)
class DialogResponse:
    """The final response to `usage.request()`; None when it timed out or could not be sent."""

    usage: InviteUsage
    client: ClientRequest
    response: Response | None
    cause: FailureCause


@dataclass(slots=True, eq=False)
class ResponseReceived:
    """A response to `engine.request()`: provisional ones too; None with the cause otherwise."""

    client: ClientRequest
    response: Response | None
    cause: FailureCause


@dataclass(slots=True, eq=False)
class UsageEnded:
    """The session is over; exactly once per usage that was answered, and last of its events.

    `request` is the BYE of the peer when `by` is "remote".
    """

    usage: InviteUsage
    by: EndedBy
    request: Request | None


@dataclass(slots=True, eq=False)
class SubscriptionRefreshed:
    """A SUBSCRIBE inside the dialog was answered 200; the user now owes `usage.notify()`."""

    usage: NotifierUsage
    request: Request
    expires_s: int


@dataclass(slots=True, eq=False)
class SubscriptionNotified:
    """A NOTIFY for our subscription (already answered 200). `state` as in Subscription-State."""

    usage: SubscriberUsage
    request: Request
    state: str
    body: bytes


@dataclass(slots=True, eq=False)
class SubscriptionEnded:
    """The subscription is over, on either side; exactly once and last.

    `reason`: unsubscribed, timeout, the reason parameter of the peer, or the failing status.
    """

    usage: NotifierUsage | SubscriberUsage
    reason: str
    status: int = 0


Event: TypeAlias = (
    RequestReceived
    | InviteReceived
    | InviteCancelled
    | InviteConfirmed
    | InviteProgress
    | InviteAnswered
    | InviteFailed
    | OfferReceived
    | OfferRequested
    | AnswerReceived
    | OfferFailed
    | ReferReceived
    | ReferProgress
    | DialogRequest
    | DialogResponse
    | ResponseReceived
    | UsageEnded
    | SubscriptionRefreshed
    | SubscriptionNotified
    | SubscriptionEnded
)
