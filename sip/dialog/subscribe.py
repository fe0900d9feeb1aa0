"""Subscriptions (RFC 6665): the notifier and the subscriber usage, each in a dialog of its own.

Fed by the engine (SUBSCRIBE and NOTIFY of the dialog), the user (`notify`, `unsubscribe`) and the
heap (expiry, refresh); feeds SubscriptionRefreshed, SubscriptionNotified, SubscriptionEnded. Bodies
are opaque; packages (message-summary, dialog, presence, reg) are the user's business. The implicit
subscription of a REFER outside a dialog is a notifier too (RFC 3515 §2.4.4).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from sip.core import Core, ExtraHeaders, lines_of
from sip.dialog.dialog import Dialog
from sip.errors import MalformedHeader
from sip.events import SubscriptionEnded, SubscriptionNotified, SubscriptionRefreshed
from sip.headers import parse_event, parse_subscription_state
from sip.message import REASONS, Request, Response
from sip.request import ClientRequest
from sip.transaction.match import tag_of

if TYPE_CHECKING:
    from sip.events import FailureCause
    from sip.flow import Flow, Target
    from sip.timers import Timer
    from sip.transaction.server import ServerTransaction

# A subscriber refreshes this share of the interval early, so that one lost SUBSCRIBE is survived.
_REFRESH_AT: Final = 0.9
# Without a word from the notifier after our SUBSCRIBE: timer N of RFC 6665 §4.1.2.
_NOTIFY_WAIT_T1: Final = 64


class Notification(NamedTuple):
    body: bytes
    content_type: str
    state: str  # value of Subscription-State, "" while active: the time left is filled in


class NotifierUsage:
    """We notify. `user` is the transaction user's slot."""

    __slots__ = (
        "_last",
        "_next",
        "_running",
        "_timer",
        "_until",
        "core",
        "dialog",
        "ended",
        "event",
        "longest_s",
        "pending",
        "request",
        "user",
    )

    def __init__(
        self, core: Core, dialog: Dialog, request: Request, event: str, expires_s: int, now: float
    ) -> None:
        self.core = core
        self.dialog = dialog
        self.request = request
        """The SUBSCRIBE (or REFER) that opened it."""
        self.event = event
        self.user: object = None
        self.ended = False
        self.longest_s: int | None = None
        """A refresh that asks for more gets this."""
        self.pending = False
        """Not authorised yet: NOTIFYs say so until the user clears it."""
        self._last = Notification(b"", "", "")
        self._next: Notification | None = None
        self._running: ClientRequest | None = None
        self._timer: Timer | None = None
        self._until = now
        dialog.owner = self
        dialog.register()
        core.usages += 1
        self._set_expiry(expires_s, now)

    def _set_expiry(self, expires_s: int, now: float) -> None:
        self.core.timers.cancel(self._timer)
        self._until = now + expires_s
        self._timer = self.core.timers.arm(self._until, self._expired)

    # -- the user

    def notify(self, body: bytes = b"", content_type: str = "", *, now: float) -> None:
        """Send the state. While a NOTIFY is unanswered only the newest state waits."""
        self._queue(Notification(body, content_type, ""), now)

    @property
    def idle(self) -> bool:
        """Whether the last NOTIFY was answered."""
        return self._running is None

    def terminate(
        self,
        reason: str = "noresource",
        body: bytes | None = None,
        content_type: str = "",
        *,
        now: float,
    ) -> None:
        """End it from our side with a last NOTIFY; SubscriptionEnded follows.

        The NOTIFY carries `body`, or the last one again.
        """
        if body is not None:
            self._last = Notification(body, content_type, "")
        self._end(reason, now)

    def notify_refer(
        self, status: int, reason: str | None = None, final: bool = False, *, now: float
    ) -> None:
        """The progress of a REFER (RFC 3515 §2.4.5); `final` ends the subscription."""
        phrase = REASONS.get(status, "") if reason is None else reason
        body = f"SIP/2.0 {status} {phrase}\r\n".encode("utf-8", "surrogateescape")
        self._last = Notification(body, "message/sipfrag;version=2.0", "")
        if final:
            self._end("noresource", now)
        else:
            self._queue(self._last, now)

    # -- sending

    def _queue(self, notification: Notification, now: float) -> None:
        if self.ended:
            return
        self._last = notification
        if self._running is not None:
            self._next = notification
        else:
            self._send(notification, now)

    def _send(self, notification: Notification, now: float) -> None:
        state = notification.state
        if not state:
            word = "pending" if self.pending else "active"
            state = f"{word};expires={max(int(self._until - now), 0)}"
        extra = f"Event: {self.event}\r\nSubscription-State: {state}\r\n{self.core.user_agent_line}"
        if notification.body and notification.content_type:
            extra += f"Content-Type: {notification.content_type}\r\n"
        client = self.dialog.new_request(self, "NOTIFY", extra, notification.body, contact=True)
        self._running = client
        client.start(self.dialog.hop(), now)

    def _end(self, reason: str, now: float, status: int = 0) -> None:
        if self.ended:
            return
        self.ended = True
        self.core.timers.cancel(self._timer)
        self._timer = None
        self.core.events.append(SubscriptionEnded(self, reason, status))
        if status:
            self._close()  # the peer does not want to hear any more
            return
        word = "timeout" if reason == "unsubscribed" else reason
        last = Notification(self._last.body, self._last.content_type, f"terminated;reason={word}")
        if self._running is not None:
            self._next = last
        else:
            self._send(last, now)

    def _close(self) -> None:
        self._next = None
        if self.dialog.registered:
            self.dialog.unregister()
            self.core.usages -= 1

    def _expired(self, now: float) -> None:
        self._timer = None
        self._end("timeout", now)

    # -- what comes in

    def on_response(self, client: ClientRequest, response: Response, now: float) -> None:
        if response.status < 200:
            return
        self._running = None
        if client.flow is not None:
            self.dialog.heard_from(client.flow)
        if response.status >= 300:
            self._refused(response.status, now)
            return
        waiting, self._next = self._next, None
        if waiting is not None:
            self._send(waiting, now)
        elif self.ended:
            self._close()

    def on_failure(self, client: ClientRequest, cause: FailureCause, now: float) -> None:
        self._running = None
        self._refused(408 if cause == "timeout" else 503, now)

    def _refused(self, status: int, now: float) -> None:
        """RFC 6665 §4.2.2: a NOTIFY that fails ends the subscription."""
        if self.ended:
            self._close()
        else:
            self._end("rejected", now, status)

    def on_request(
        self, dialog: Dialog, transaction: ServerTransaction, request: Request, now: float
    ) -> None:
        """A SUBSCRIBE refreshes or, with Expires 0, ends (§4.2.1)."""
        server_line = self.core.server_line
        if request.method != "SUBSCRIBE" or self.ended:
            transaction.respond(481, None, server_line, now=now)
            return
        try:
            same = parse_event(request.first("Event") or "") == parse_event(self.event)
            expires_s = request.expires
        except MalformedHeader as error:
            transaction.respond(error.status_hint, error.reason, server_line, now=now)
            return
        if not same:
            # Another subscription in the same dialog is legal and not served (RFC 6665 §4.5.2).
            transaction.respond(489, None, server_line, now=now)
            return
        dialog.refresh_target(request)
        left_s = max(int(self._until - now), 0)
        expires_s = left_s if expires_s is None else expires_s
        if self.longest_s is not None:
            expires_s = min(expires_s, self.longest_s)
        flow = transaction.flow
        contact = dialog.contact + self.core.side(flow.transport, flow.local).contact_at
        transaction.respond(200, None, f"{contact}Expires: {expires_s}\r\n{server_line}", now=now)
        if expires_s == 0:
            self._end("unsubscribed", now)
        else:
            self._set_expiry(expires_s, now)
            self.core.events.append(SubscriptionRefreshed(self, request, expires_s))

    def on_ack(self, dialog: Dialog, request: Request, now: float) -> None:
        """No INVITE here, so nothing to acknowledge."""


class SubscriberUsage:
    """We subscribe. `user` is the transaction user's slot."""

    __slots__ = (
        "_extra",
        "_running",
        "_timer",
        "_to",
        "call_id",
        "client",
        "contact",
        "core",
        "dialog",
        "ended",
        "event",
        "expires_s",
        "local_tag",
        "user",
    )

    def __init__(
        self,
        core: Core,
        call_id: str,
        local_tag: str,
        contact: str,
        event: str,
        expires_s: int,
        extra: str,
    ) -> None:
        self.core = core
        self.call_id = call_id
        self.local_tag = local_tag
        self.contact = contact
        self.event = event
        self.expires_s = expires_s
        self.user: object = None
        self.ended = False
        self.dialog: Dialog | None = None
        self.client: ClientRequest | None = None
        self._extra = extra
        self._to: Flow | Target | None = None
        self._running = False
        self._timer: Timer | None = None
        core.usages += 1
        core.subscribers[(call_id, local_tag)] = self

    def start(self, client: ClientRequest, to: Flow | Target | None, now: float) -> None:
        """Send the SUBSCRIBE that the engine put together."""
        self.client = client
        self._to = to
        self._running = True
        client.start(to, now)

    def unsubscribe(self, *, now: float) -> None:
        """SUBSCRIBE with Expires 0; SubscriptionEnded follows the last NOTIFY, or silence."""
        if not self.ended:
            self.expires_s = 0
            self._subscribe_again(now)

    # -- responses

    def on_response(self, client: ClientRequest, response: Response, now: float) -> None:
        if response.status < 200:
            return
        self._running = False
        if self.ended:
            return
        if response.status >= 300:
            self._end("rejected", response.status)
            return
        if self.dialog is None:
            self._open(
                Dialog.of_response(self.core, self, client, response, self.local_tag, self.contact)
            )
        elif tag_of(response.first("To") or "") == self.dialog.remote_tag:
            self.dialog.refresh_target(response)
        try:
            granted_s = response.expires
        except MalformedHeader:
            granted_s = None
        # §4.1.2.1: the answer may shorten the interval, never lengthen it.
        interval_s = self.expires_s if granted_s is None else min(granted_s, self.expires_s)
        self._schedule(interval_s, now)

    def on_failure(self, client: ClientRequest, cause: FailureCause, now: float) -> None:
        self._running = False
        self._end(cause, 408 if cause == "timeout" else 503)

    def _open(self, dialog: Dialog) -> None:
        self.dialog = dialog
        dialog.pinned = self._to if self._to is not None and self._to[0] != "udp" else None
        dialog.register()

    def _schedule(self, interval_s: int, now: float) -> None:
        """Refresh in time; after Expires 0 wait for the last NOTIFY (timer N)."""
        core = self.core
        core.timers.cancel(self._timer)
        if self.expires_s == 0 or interval_s == 0:
            delay_s = _NOTIFY_WAIT_T1 * core.values.t1_s
            self._timer = core.timers.arm(now + delay_s, self._notify_missing)
        else:
            self._timer = core.timers.arm(now + interval_s * _REFRESH_AT, self._subscribe_again)

    def _notify_missing(self, now: float) -> None:
        self._timer = None
        self._end("timeout" if self.expires_s else "unsubscribed", 0)

    def _subscribe_again(self, now: float) -> None:
        self.core.timers.cancel(self._timer)
        self._timer = None
        dialog = self.dialog
        if dialog is None:
            if not self._running:
                self._end("timeout", 408)
            return
        extra = f"{self._extra}Expires: {self.expires_s}\r\n"
        client = dialog.new_request(self, "SUBSCRIBE", extra, contact=True)
        if self.client is not None:
            client.credentials = self.client.credentials
        self._running = True
        client.start(dialog.hop(), now)

    # -- NOTIFY

    def opens_dialog(self, request: Request, flow: Flow) -> Dialog:
        """The dialog of a NOTIFY that came before the 200 (§4.1.2.4). Raises MalformedHeader."""
        dialog = Dialog.of_request(self.core, self, request, flow, self.local_tag, self.contact)
        client = self.client
        assert client is not None  # start() was called
        # Our tag is in To already, and our CSeq space goes on.
        dialog.from_line = f"From: {request.first('To')}\r\n"
        dialog.local_cseq = client.cseq
        dialog.remote_cseq = None
        self._open(dialog)
        return dialog

    def on_request(
        self, dialog: Dialog, transaction: ServerTransaction, request: Request, now: float
    ) -> None:
        server_line = self.core.server_line
        if request.method != "NOTIFY" or self.ended:
            transaction.respond(481, None, server_line, now=now)
            return
        try:
            if parse_event(request.first("Event") or "") != parse_event(self.event):
                transaction.respond(489, None, server_line, now=now)
                return
            state = parse_subscription_state(request.first("Subscription-State") or "")
        except MalformedHeader as error:
            transaction.respond(error.status_hint, error.reason, server_line, now=now)
            return
        dialog.refresh_target(request)
        transaction.respond(200, None, server_line, now=now)
        self.core.events.append(SubscriptionNotified(self, request, state.state, request.body))
        if state.state == "terminated":
            unsubscribed = self.expires_s == 0
            self._end("unsubscribed" if unsubscribed else state.reason or "terminated", 0)
        elif state.expires_s is not None and self.expires_s and not self._running:
            self._schedule(min(state.expires_s, self.expires_s), now)

    def on_ack(self, dialog: Dialog, request: Request, now: float) -> None:
        """No INVITE here, so nothing to acknowledge."""

    def _end(self, reason: str, status: int) -> None:
        if self.ended:
            return
        self.ended = True
        core = self.core
        core.timers.cancel(self._timer)
        self._timer = None
        core.usages -= 1
        core.subscribers.pop((self.call_id, self.local_tag), None)
        if self.dialog is not None:
            self.dialog.unregister()
        core.events.append(SubscriptionEnded(self, reason, status))


def subscribe_lines(event: str, headers: ExtraHeaders, core: Core) -> str:
    """Lines of every SUBSCRIBE of a subscription; Expires is added to them."""
    return f"Event: {event}\r\n{lines_of(headers)}{core.user_agent_line}"
