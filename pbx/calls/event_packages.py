"""What subscribers are told (RFC 6665 event packages): lamps and waiting messages.

Fed by :mod:`pbx.calls.subscriptions` with a subscription whose resource may have changed; gives the
body of the next NOTIFY. ``dialog`` (RFC 4235) tells the calls of an account, so that a neighbour's
phone lights a lamp and can pick a ringing call up; ``message-summary`` (RFC 3842) tells the account
itself of messages that wait.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol
from xml.sax.saxutils import escape, quoteattr

from pbx.calls.leg import Leg, LegState
from sip.errors import RemoteProtocolError
from sip.headers import parse_name_addr

if TYPE_CHECKING:
    from pbx.calls.node import SignalNode
    from pbx.calls.subscriptions import Subscription

#: Dialogs told of one account; a document of so many has some 15 kB.
_MAX_DIALOGS: Final = 32
#: What XML 1.0 §2.2 does not allow, and the escapes of bytes that were no UTF-8.
_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Package(Protocol):
    """One event package."""

    name: str
    content_type: str
    default_s: int
    """Life of a subscription that asks for none."""

    def admits(self, subscriber: str, resource: str) -> bool:
        """Whether account `subscriber` may watch account `resource`."""
        ...

    def body(self, subscription: Subscription, *, full: bool) -> bytes | None:
        """The next document, or None when there is nothing new (never with `full`)."""
        ...


def same_domain(one: str, other: str) -> bool:
    """Whether two ``name@domain`` are neighbours."""
    return one.rpartition("@")[2] == other.rpartition("@")[2]


class DialogView(NamedTuple):
    """One dialog of an account as its watchers see it."""

    state: str
    direction: str
    call_id: str
    local_tag: str
    remote_tag: str
    remote_display: str
    remote_uri: str
    held: bool


class DialogPackage:
    """``dialog``: full state first and on each refresh, between them what changed."""

    name = "dialog"
    content_type = "application/dialog-info+xml"
    default_s = 3600

    def __init__(self, node: SignalNode) -> None:
        self._node = node

    def admits(self, subscriber: str, resource: str) -> bool:
        return same_domain(subscriber, resource)

    def body(self, subscription: Subscription, *, full: bool) -> bytes | None:
        views = self._views(subscription.resource)
        told = subscription.told
        assert isinstance(told, dict)
        shown = views if full else {k: view for k, view in views.items() if told.get(k) != view}
        ended = {k: view._replace(state="terminated") for k, view in told.items() if k not in views}
        if not (full or shown or ended):
            return None
        subscription.told = views
        state = "full" if full else "partial"
        return document(
            subscription.entity, subscription.version, state, {**shown, **({} if full else ended)}
        )

    def _views(self, account: str) -> dict[str, DialogView]:
        views = {}
        for leg in list(self._node.account_legs.get(account, {}).values())[:_MAX_DIALOGS]:
            view = _view(leg)
            if view is not None:
                views[leg.id] = view
        return views


def _view(leg: Leg) -> DialogView | None:
    """None while its phone was called and has not rung yet: there is no dialog then."""
    usage = leg.usage
    initiator = usage.role == "uas"
    if leg.state is LegState.ANSWERED:
        state = "confirmed"
    elif leg.seen_statuses:
        state = "early"
    elif initiator:
        state = "trying"
    else:
        return None
    display = ""
    uri = usage.local_uri
    if usage.dialog is not None:
        # Our side of the dialog is the other party, as this phone was told of it.
        try:
            display = parse_name_addr(usage.dialog.from_line[6:-2], "From").display
        except RemoteProtocolError:
            pass
    return DialogView(
        state,
        "initiator" if initiator else "recipient",
        usage.call_id,
        usage.remote_tag,
        usage.local_tag,
        display,
        uri,
        leg.held,
    )


def document(entity: str, version: int, state: str, dialogs: dict[str, DialogView]) -> bytes:
    """A dialog-info document (RFC 4235 §4.1); `dialogs` by their id.

    Targets are addresses of record: who picks a call up, or calls back, is routed by us.
    """
    root = (
        '<dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info" '
        f'version="{version}" state="{state}" entity={_attribute(entity)}>'
    )
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', root]
    for dialog_id, view in dialogs.items():
        tags = "".join(
            [
                f" {name}={_attribute(tag)}"
                for name, tag in (("local-tag", view.local_tag), ("remote-tag", view.remote_tag))
                if tag
            ]
        )
        rendering = '<param pname="+sip.rendering" pvalue="no"/>' if view.held else ""
        display = f" display={_attribute(view.remote_display)}" if view.remote_display else ""
        target = _attribute(entity)
        remote = _attribute(view.remote_uri)
        lines.append(
            f"<dialog id={_attribute(dialog_id)} call-id={_attribute(view.call_id)}{tags} "
            f'direction="{view.direction}">\n'
            f"<state>{view.state}</state>\n"
            f"<local><identity>{_text(entity)}</identity>"
            f"<target uri={target}>{rendering}</target></local>\n"
            f"<remote><identity{display}>{_text(view.remote_uri)}</identity>"
            f"<target uri={remote}/></remote>\n"
            "</dialog>"
        )
    lines.append("</dialog-info>")
    return ("\n".join(lines) + "\n").encode()


def _attribute(text: str) -> str:
    return quoteattr(_NOT_XML.sub("", text))


def _text(text: str) -> str:
    return escape(_NOT_XML.sub("", text))


class MessageCounts(NamedTuple):
    """Voice messages of an account."""

    new: int = 0
    old: int = 0
    urgent_new: int = 0
    urgent_old: int = 0


class MessageCountsPort(Protocol):
    """Who knows how many messages wait; it calls ``subscriptions.changed`` when that changes."""

    def counts(self, account: str) -> MessageCounts:
        """Of account ``name@domain``; at once."""
        ...


class NoMessages:
    """A server without voice mail."""

    def counts(self, account: str) -> MessageCounts:
        return MessageCounts()


class MessageSummaryPackage:
    """``message-summary``, told to the account itself and nobody else."""

    name = "message-summary"
    content_type = "application/simple-message-summary"
    default_s = 3600

    def __init__(self, messages: MessageCountsPort) -> None:
        self.messages = messages

    def admits(self, subscriber: str, resource: str) -> bool:
        return subscriber == resource

    def body(self, subscription: Subscription, *, full: bool) -> bytes | None:
        counts = self.messages.counts(subscription.resource)
        if not full and counts == subscription.told:
            return None
        subscription.told = counts
        waiting = "yes" if counts.new or counts.urgent_new else "no"
        return (
            f"Messages-Waiting: {waiting}\r\n"
            f"Message-Account: sip:{subscription.resource}\r\n"
            f"Voice-Message: {counts.new}/{counts.old} "
            f"({counts.urgent_new}/{counts.urgent_old})\r\n"
        ).encode()
