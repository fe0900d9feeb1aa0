"""Taking REFER and INVITE with Replaces: who may do it, and to whom it applies.

Rights: a transfer is made by a leg of ours, in the name of its account: the new leg is routed
as if that account had dialled (RFC 3892 identities are not believed). An INVITE with Replaces
needs an authenticated account or a trusted source, and takes the place of an answered leg only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbx.calls.call import Call, CallState
from pbx.calls.cause import End, EndCause, EndedBy
from pbx.calls.leg import Leg, LegState
from pbx.calls.takeover import Takeover
from pbx.calls.transfer import Transfer
from pbx.domain.calls import CallStarted
from sip.errors import RemoteProtocolError
from sip.uri import SipUri, parse_uri

if TYPE_CHECKING:
    from pbx.calls.node import SignalNode
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
    if target.params.get("method", "INVITE").upper() != "INVITE":  # type: ignore[union-attr]
        usage.respond(transaction, 603, now=now)
        return
    address = bare(target)
    if event.replaces is not None and _attended(leg, peer, event, address, now):
        return
    route = call.node.router.route(target, leg.account or call.account)
    call.decided(
        "transfer", f"blind to {address}", route.reason or "routed for the transferor", now
    )
    if not route.contacts:
        usage.respond(transaction, 202, now=now)
        usage.notify_refer(route.status, None, True, now=now)
        return
    usage.respond(transaction, 202, now=now)
    headers = [("Referred-By", usage.remote_uri)]
    if event.replaces is not None:
        headers.append(("Replaces", str(event.replaces)))
    Transfer(call, leg, peer, address).start_blind(route.contacts, tuple(headers), now)


def bare(uri: SipUri) -> str:
    """The address of a Refer-To without its embedded header fields and method."""
    return str(uri).partition("?")[0]


def _attended(leg: Leg, peer: Leg, event: ReferReceived, address: str, now: float) -> bool:
    """Try the Replaces of a Refer-To on our own dialogs. False: it names none of them."""
    replaces = event.replaces
    assert replaces is not None
    call = leg.call
    found = _leg_of(call.node, replaces)
    if found is None:
        return False
    usage = leg.usage
    other = found.call
    target = other.peer_of(found)
    if found is leg or other is call:
        usage.respond(event.transaction, 481, "That dialog is this call", now=now)
        return True
    if target is None:
        # Semi-attended: the other call still rings. It is dialled anew for the transferee; the
        # transferor's phone cancels its own attempt.
        return False
    if not _settled(other):
        usage.respond(event.transaction, 491, now=now)
        return True
    call.decided("transfer", f"attended with call {other.id}", "Replaces names our dialog", now)
    usage.respond(event.transaction, 202, now=now)
    Transfer(call, leg, peer, address).start_attended(other, found, target, now)
    return True


def _settled(call: Call) -> bool:
    return (
        call.state is CallState.ANSWERED
        and call.transfer is None
        and call.claimed_by is None
        and call.negotiating is None
    )


def _leg_of(node: SignalNode, replaces: Replaces) -> Leg | None:
    """The leg whose dialog a Replaces names; phones that swap the tags are understood."""
    usage = node.engine.find_dialog(
        replaces.call_id, replaces.to_tag, replaces.from_tag, either_order=True
    )
    leg = usage.user if usage is not None else None
    return leg if isinstance(leg, Leg) and leg.alive else None


def replacing_invite(
    call: Call, replaces: Replaces, request: Request, flow: Flow, now: float
) -> None:
    """An INVITE that takes the place of an answered leg (RFC 3891 §3)."""
    caller = call.caller
    caller.agreed_body = request.body
    call.journal.write(
        CallStarted(
            leg_id=caller.id,
            sip_call_id=request.call_id,
            from_uri=request.from_.uri_text,
            to_uri=request.to.uri_text,
            request_uri=request.uri,
            source=f"{flow.remote[0]}:{flow.remote[1]}",
            transport=flow.transport,
            account=call.account,
            user_agent=(request.first("User-Agent") or "")[:128],
        )
    )
    found = _leg_of(call.node, replaces)
    if found is None or found.state is not LegState.ANSWERED:
        _refuse(call, 481, "Replaces names no answered dialog", now)
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


def _refuse(call: Call, status: int, reason: str, now: float) -> None:
    call.decided("replaces", str(status), reason, now)
    call.finish(End(status, EndCause.REJECT, 41, EndedBy.SERVER, reason), now)
