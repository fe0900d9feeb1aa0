"""SUBSCRIBE outside calls (RFC 6665): who watches what, and when they are told.

Fed by the node with SUBSCRIBE and with what the engine reports of subscriptions, by legs and by
whoever serves a package (:meth:`Subscriptions.changed`); feeds NOTIFYs through the engine's
notifier usages. Only accounts subscribe, never trusted sources as such.

Subscriptions are soft state: they are not in the log, and after a restart phones make them anew
(``docs/adr/0009``). A resource that changes costs nothing while nobody watches it.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from pbx.calls.event_packages import (
    DialogPackage,
    MessageCountsPort,
    MessageSummaryPackage,
    Package,
)
from pbx.calls.timers import Timer
from sip.dialog.subscribe import NotifierUsage
from sip.errors import RemoteProtocolError
from sip.headers import parse_event
from sip.uri import SipUri
from sip.validation import check_accept

if TYPE_CHECKING:
    from pbx.calls.node import SignalNode
    from sip.events import SubscriptionEnded, SubscriptionRefreshed
    from sip.flow import Flow
    from sip.message import Request
    from sip.transaction.server import ServerTransaction

DIALOG: Final = "dialog"
MESSAGE_SUMMARY: Final = "message-summary"
#: Shorter ones are answered 423: refreshes would cost more than what they tell.
MIN_EXPIRES_S: Final = 60
#: Between two NOTIFYs of one subscription (RFC 4235 §3.10 asks for no more than one a second).
INTERVAL_S: Final = 1.0
#: Changes of one moment (answered, joined, the others cancelled) go into one NOTIFY.
_GATHER_S: Final = 0.02


class Subscription:
    """One subscriber's view of one resource; `usage.user` points back here."""

    __slots__ = (
        "entity", "free_at", "full_due", "package", "resource", "subscriber", "timer", "told",
        "usage", "version",
    )  # fmt: skip

    def __init__(self, package: Package, subscriber: str, resource: str, entity: str) -> None:
        self.package = package
        self.subscriber = subscriber
        self.resource = resource
        """Account, ``name@domain``."""
        self.entity = entity
        """The URI that was subscribed to: phones compare it by character."""
        self.usage: NotifierUsage
        self.version = 0
        """Of the next document."""
        self.told: object = {}
        """What the package last told; its business."""
        self.full_due = False
        self.free_at = 0.0
        self.timer: Timer | None = None


class Subscriptions:
    """See the module; one per node."""

    def __init__(self, node: SignalNode, messages: MessageCountsPort) -> None:
        self._node = node
        packages: tuple[Package, ...] = (DialogPackage(node), MessageSummaryPackage(messages))
        self._packages = {package.name: package for package in packages}
        self.allow_events = ", ".join((*self._packages, "refer"))
        """Value of Allow-Events."""
        self._watched: dict[str, dict[str, dict[Subscription, None]]] = {
            name: {} for name in self._packages
        }
        self.dialog_watched = self._watched[DIALOG]
        """Accounts whose dialogs somebody watches: legs look here before anything else."""
        self._per_subscriber: Counter[str] = Counter()

    def __len__(self) -> int:
        return self._per_subscriber.total()

    def statistics(self) -> dict[str, int]:
        """Table sizes."""
        return {"subscriptions": len(self)}

    # Requests.

    def request(
        self, transaction: ServerTransaction, request: Request, flow: Flow, now: float
    ) -> None:
        """SUBSCRIBE outside a dialog."""
        engine = self._node.engine
        try:
            package = self._packages.get(parse_event(request.first("Event") or "").package)
        except RemoteProtocolError:
            package = None
        if package is None:
            headers = (("Allow-Events", self.allow_events),)
            engine.respond(transaction, 489, None, headers, now=now)
            return
        subscriber = self._node.authenticator.subscriber(transaction, request, flow, now)
        if not subscriber:
            return
        subscription, status = self._made(package, subscriber, request)
        expires_s = package.default_s
        refused: tuple[tuple[str, str], ...] = ()
        if subscription is not None:
            try:
                asked_s = request.expires
            except RemoteProtocolError:
                asked_s = None
            expires_s = expires_s if asked_s is None else asked_s
            if 0 < expires_s < MIN_EXPIRES_S:
                status, refused = 423, (("Min-Expires", str(MIN_EXPIRES_S)),)
            elif check_accept(request, (package.content_type,)) is not None:
                status = 406
        if status == 503:
            refused = (("Retry-After", self._node.retry_after()),)
        if status or subscription is None:
            engine.respond(transaction, status, None, refused, now=now)
            return
        self._accept(subscription, transaction, expires_s, now)

    def _made(
        self, package: Package, subscriber: str, request: Request
    ) -> tuple[Subscription | None, int]:
        """A subscription that is not counted yet, or the status of its refusal."""
        node = self._node
        uri = request.request_uri
        domain = node.directory.local_domain(uri.host) if isinstance(uri, SipUri) else ""
        if not domain or not isinstance(uri, SipUri):
            return None, 404
        # Phones ask for their own messages at the bare domain, too.
        resource = subscriber
        if uri.user:
            account = node.directory.account(uri.user_text, domain)
            name = uri.user_text.lower() if account is None else account.name
            resource = f"{name}@{domain}"
        if not package.admits(subscriber, resource):
            return None, 403
        if node.directory.by_address(resource) is None:
            return None, 404
        if node.stopping or node.draining or len(self) >= node.config.subscriptions:
            return None, 503
        if self._per_subscriber[subscriber] >= node.config.subscriptions_per_account:
            return None, 403
        return Subscription(package, subscriber, resource, str(uri)), 0

    def _accept(
        self,
        subscription: Subscription,
        transaction: ServerTransaction,
        expires_s: int,
        now: float,
    ) -> None:
        engine = self._node.engine
        longest_s = self._node.config.subscribe_max_s
        try:
            usage = engine.accept_subscription(
                transaction, min(expires_s, longest_s), now=now, longest_s=longest_s
            )
        except RemoteProtocolError as error:
            engine.respond(transaction, error.status_hint, error.reason, now=now)
            return
        subscription.usage = usage
        usage.user = subscription
        if not expires_s:
            # RFC 6665 §4.4.3: a fetch; its one NOTIFY is the last.
            body = subscription.package.body(subscription, full=True)
            content_type = subscription.package.content_type
            usage.terminate("timeout", body or b"", content_type, now=now)
            return
        watched = self._watched[subscription.package.name]
        watched.setdefault(subscription.resource, {})[subscription] = None
        self._per_subscriber[subscription.subscriber] += 1
        subscription.full_due = True
        self._tell(subscription, now)

    def refreshed(self, event: SubscriptionRefreshed, now: float) -> None:
        """The subscriber is there still, and gets everything again."""
        subscription = event.usage.user
        if isinstance(subscription, Subscription):
            subscription.full_due = True
            self._tell(subscription, now)

    def ended(self, event: SubscriptionEnded, now: float) -> None:
        """Unsubscribed, expired, unreachable, or ended by us."""
        subscription = event.usage.user
        if not isinstance(subscription, Subscription):
            return
        event.usage.user = None
        if subscription.timer is not None:
            subscription.timer.cancel()
        watched = self._watched[subscription.package.name]
        among = watched.get(subscription.resource)
        if among is None or subscription not in among:
            return  # a fetch
        del among[subscription]
        if not among:
            del watched[subscription.resource]
        self._per_subscriber[subscription.subscriber] -= 1
        if not self._per_subscriber[subscription.subscriber]:
            del self._per_subscriber[subscription.subscriber]

    # News.

    def changed(self, package: str, account: str, now: float) -> None:
        """Something that `package` tells of `account` changed (or may have)."""
        for subscription in self._watched[package].get(account, ()):
            if subscription.timer is None:
                due = max(now + _GATHER_S, subscription.free_at)
                self._arm(subscription, due)

    def _arm(self, subscription: Subscription, due: float) -> None:
        def fire(now: float) -> None:
            subscription.timer = None
            self._tell(subscription, now)

        subscription.timer = self._node.timers.call_at(due, fire)

    def _tell(self, subscription: Subscription, now: float) -> None:
        usage = subscription.usage
        if usage.ended:
            return
        if not usage.idle:
            # Documents build on each other, so none may be replaced while it waits.
            if subscription.timer is None:
                self._arm(subscription, now + INTERVAL_S)
            return
        body = subscription.package.body(subscription, full=subscription.full_due)
        if body is None:
            return
        subscription.full_due = False
        subscription.version += 1
        subscription.free_at = now + INTERVAL_S
        usage.notify(body, subscription.package.content_type, now=now)

    # The end.

    def account_deleted(self, account: str, now: float) -> None:
        """Nobody watches it any more, and it watches nobody."""
        self._end(
            [s for s in self._all() if account in (s.subscriber, s.resource)], "noresource", now
        )

    def stop(self, now: float) -> None:
        """The server stops: phones shall subscribe anew, if they can, and later if not."""
        self._end(self._all(), "deactivated", now)

    def _all(self) -> list[Subscription]:
        return [s for among in self._watched.values() for each in among.values() for s in each]

    def _end(self, ending: list[Subscription], reason: str, now: float) -> None:
        for subscription in ending:
            subscription.usage.terminate(reason, now=now)
