"""Taking REFER and INVITE with Replaces: who may do it, and to whom it applies.

Rights: a transfer is made by a leg of ours, in the name of its account: the new leg is routed
as if that account had dialled (RFC 3892 identities are not believed), with its class of service
and its limits; a party without an account reaches what a stranger reaches, whoever its peer is. An
INVITE with Replaces needs an authenticated account or a trusted source to take the place of an
answered leg, and an account of the same domain to take that of a phone that rings (``pickup.py``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbx.calls import cause, pickup
from pbx.calls.call import Call, CallState
from pbx.calls.cause import End, EndCause, EndedBy
from pbx.calls.join import Rejoin
from pbx.calls.leg import Leg, LegState
from pbx.calls.program import ProgramUsage
from pbx.calls.setup import note_start
from pbx.calls.takeover import Takeover
from pbx.calls.transfer import Transfer
from pbx.domain.calls import CallTransferred
from sip.errors import RemoteProtocolError
from sip.uri import SipUri, parse_uri

if TYPE_CHECKING:
    from pbx.calls.node import SignalNode
    from sip.dialog.invite import InviteUsage
    from sip.events import ReferReceived
    from sip.flow import Flow
    from sip.headers import Replaces
    from sip.message import Request


def refer_received(leg: Leg, event: ReferReceived, now: float) -> None:
    """REFER inside the dialog of `leg`."""
    call = leg.call
    peer = call.peer_of(leg)
    usage = leg.usage
    transaction = event.transaction
    if peer is None or call.state is not CallState.ANSWERED:
        usage.respond(transaction, 481, now=now)
        return
    if call.transfer is not None or call.claimed_by is not None or call.negotiating is not None:
        usage.respond(transaction, 491, now=now)
        return
    try:
        target = parse_uri(event.refer_to.uri_text)
    except RemoteProtocolError:
        usage.respond(transaction, 400, "Bad Refer-To", now=now)
        return
    if not isinstance(target, SipUri):
        usage.respond(transaction, 416, now=now)
        return
    if (target.params.get("method") or "INVITE").upper() != "INVITE":
        usage.respond(transaction, 603, now=now)
        return
    replaces = event.replaces
    if replaces is not None and not str(replaces).isprintable():
        # It was escaped: what goes on to the target must not end its line.
        usage.respond(transaction, 400, "Bad Replaces", now=now)
        return
    found = _leg_of(call.node, replaces) if replaces is not None else None
    account = leg.account
    other = peer.usage
    if isinstance(other, ProgramUsage):
        name = other.refer_account(account)
        if name is None:
            usage.respond(transaction, 603, now=now)
            return
        account = name
    if found is None:
        headers = () if replaces is None else (("Replaces", str(replaces)),)
        _blind(leg, peer, event, target, headers, account, now)
    elif found is leg or found.call is call:
        usage.respond(transaction, 481, "That dialog is this call", now=now)
    elif found.dial is not None:
        _pick_up(leg, peer, event, target, found, now)
    elif found.call.peer_of(found) is None:
        # Semi-attended: the other call still rings. Its target is dialled anew for the
        # transferee; the transferor's phone cancels its own attempt.
        _blind(leg, peer, event, target, (), account, now)
    else:
        _attended(leg, peer, event, target, found, now)


def _accept(leg: Leg, event: ReferReceived, now: float) -> None:
    """202, which repeats that no subscription is wanted (RFC 4488 §4)."""
    wanted = (event.request.first("Refer-Sub") or "").strip().lower() != "false"
    headers = () if wanted else (("Refer-Sub", "false"),)
    leg.usage.respond(event.transaction, 202, None, headers, now=now)


def _blind(
    leg: Leg,
    peer: Leg,
    event: ReferReceived,
    target: SipUri,
    headers: tuple[tuple[str, str], ...],
    account: str,
    now: float,
) -> None:
    """Try the target with the rights and limits of `account`, the transferor's: never with its
    peer's, unless that is a program which lends them."""
    _accept(leg, event, now)
    blind_transfer(leg, peer, target, headers, account, now)


def blind_transfer(
    leg: Leg,
    peer: Leg,
    target: SipUri,
    headers: tuple[tuple[str, str], ...],
    account: str,
    now: float,
) -> None:
    """`leg` gives its peer away: under rules if there are any, as if `account` had dialled for the
    peer."""
    call = leg.call
    node = call.node
    address = bare(target)
    urgent = node.emergency.is_emergency(target)
    ruled = node.rulebook.present and not urgent
    route = node.router.route(target, account)
    whose = account or "a party without an account"
    call.decided("transfer", f"blind to {address}", f"for {whose}" if ruled else route.reason, now)
    transfer = Transfer(call, leg, peer, address)
    fields = headers
    if not any(name == "Referred-By" for name, _ in headers):
        fields = (("Referred-By", leg.presentation().from_), *headers)
    refusal = "" if urgent else node.limits.flows.refusal(account, now, outgoing=True)
    if refusal:
        call.decided("limit", "refused", refusal, now)
        transfer.refuse(403, now)
    elif ruled or route.runs:
        transfer.start_ruled(target, fields, account, now, plain=not ruled)
    else:
        call.routed(address, route, now, briefly=True)
        if not route.contacts:
            transfer.refuse(route.status, now)
        else:
            transfer.start_blind(route.contacts, fields, now, urgent=urgent)


def bare(uri: SipUri) -> str:
    """The address of a Refer-To without its embedded header fields and method."""
    params = {name: value for name, value in uri.params.items() if name != "method"}
    return str(uri.replace(params=params, headers=""))


def _attended(
    leg: Leg, peer: Leg, event: ReferReceived, target: SipUri, found: Leg, now: float
) -> None:
    """Join our peer with the peer of `found`, whose dialog the Replaces of the REFER names."""
    call, other = leg.call, found.call
    far = other.peer_of(found)
    if far is None or not _settled(other):
        leg.usage.respond(event.transaction, 491, now=now)
        return
    call.decided("transfer", f"attended with call {other.id}", "Replaces names our dialog", now)
    _accept(leg, event, now)
    Transfer(call, leg, peer, bare(target)).start_attended(other, found, far, now)


def _pick_up(
    leg: Leg, peer: Leg, event: ReferReceived, target: SipUri, found: Leg, now: float
) -> None:
    """Give our peer the call of a phone that rings, whose early dialog the REFER names."""
    call, usage = leg.call, leg.usage
    refusal = pickup.refusal(found, leg.account)
    if refusal is not None:
        status, reason = refusal
        call.decided("transfer", str(status), reason, now)
        usage.respond(event.transaction, status, now=now)
        return
    reason = "Replaces names a dialog that rings"
    call.decided("transfer", f"pickup of call {found.call.id}", reason, now)
    _accept(leg, event, now)
    other_id = found.call.id

    def done(status: int, reason: str, later: float) -> None:
        call.journal.write(
            CallTransferred(
                leg_id=leg.id,
                transferee_leg_id=peer.id,
                target_uri=bare(target),
                kind="attended",
                status=status,
                other_call=other_id,
                elapsed_ms=call.journal.elapsed_ms(later),
            )
        )
        usage.notify_refer(status, reason, True, now=later)
        if status >= 300 and leg.alive and peer.alive:
            # The picker may have taken the caller's description for that of its old peer.
            Rejoin(call).start(later)
        elif status >= 300:
            call.finish(cause.failure(status, EndedBy.SERVER, reason), later)

    pickup.Pickup(call, peer, found, done).start(now)


def _settled(call: Call) -> bool:
    return (
        call.state is CallState.ANSWERED
        and call.transfer is None
        and call.claimed_by is None
        and call.negotiating is None
    )


def _usage_of(node: SignalNode, replaces: Replaces) -> InviteUsage | None:
    """The dialog that a Replaces names; phones that swap the tags are understood."""
    return node.engine.find_dialog(
        replaces.call_id, replaces.to_tag, replaces.from_tag, either_order=True
    )


def _leg_of(node: SignalNode, replaces: Replaces) -> Leg | None:
    usage = _usage_of(node, replaces)
    leg = usage.user if usage is not None else None
    return leg if isinstance(leg, Leg) and leg.alive else None


def replacing_invite(
    call: Call, replaces: Replaces, request: Request, flow: Flow, now: float
) -> None:
    """An INVITE that takes the place of a leg (RFC 3891 §3)."""
    caller = call.caller
    caller.agreed_body = request.body
    note_start(call, request, flow, now)
    refusal = call.node.limits.take(call.account, call.counted)
    if refusal is not None:
        call.decided("limit", "refused", refusal, now)
        call.finish(End(403, EndCause.LIMIT, 21, EndedBy.SERVER, refusal), now)
        return
    usage = _usage_of(call.node, replaces)
    if usage is not None and usage.ended:
        _refuse(call, 603, "that dialog is over", now)
        return
    found = usage.user if usage is not None else None
    if not isinstance(found, Leg):
        _refuse(call, 481, "Replaces names no dialog", now)
        return
    if found.state is not LegState.ANSWERED:
        _early(call, found, request.body, now)
        return
    if replaces.early_only:
        _refuse(call, 486, "early-only, but the dialog is answered", now)
        return
    old = found.call
    remaining = old.peer_of(found)
    if remaining is None or not _settled(old) or not request.body:
        _refuse(call, 491 if request.body else 488, "that call cannot be taken over now", now)
        return
    call.decided("replaces", f"leg {found.id} of call {old.id}", "dialog is ours", now)
    Takeover(call, old, found, remaining).start(request.body, now)


def _early(call: Call, found: Leg, body: bytes, now: float) -> None:
    """The dialog is not answered: a pickup, if it is one that we began."""
    refusal = pickup.refusal(found, call.account)
    if refusal is None and not body:
        refusal = 488, "no session description"
    if refusal is not None:
        _refuse(call, *refusal, now)
        return
    call.decided("replaces", f"leg {found.id} of call {found.call.id}", "it rings", now)
    pickup.answer_invite(call, found, body, now)


def _refuse(call: Call, status: int, reason: str, now: float) -> None:
    call.decided("replaces", str(status), reason, now)
    call.finish(End(status, EndCause.REJECT, 41, EndedBy.SERVER, reason), now)
