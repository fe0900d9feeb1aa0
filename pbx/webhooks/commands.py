"""What administrators order of webhooks. ``pbx webhook`` stands on this.

Every function raises :class:`DomainError` with words for the administrator, or a ``LogError``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from pbx.commands import DOMAIN, Aggregate, execute, load
from pbx.domain import accounts, webhooks
from pbx.domain.webhooks import NO_WEBHOOK, WebhookCreated, WebhookState
from pbx.eventlog import Meta
from pbx.eventlog.feed import BEGINNING, FeedFilter
from pbx.kernel.errors import DomainError
from pbx.kernel.events import Event
from pbx.tokens import ReadableLog
from pbx.webhooks.reach import checked_url
from pbx.webhooks.signature import key_of

ID_BYTES: Final = 8

WEBHOOK: Final = Aggregate(NO_WEBHOOK, webhooks.evolve_webhook)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A webhook to be made."""

    url: str
    secret: str
    after: str
    categories: Sequence[str] = ()
    types: Sequence[str] = ()
    streams: Sequence[str] = ()
    domain: str = ""
    batch: int = 1
    allow_private: bool = False
    allow_http: bool = False


def add_webhook(
    log: ReadableLog, wanted: Wanted, *, actor: str, random: Callable[[int], bytes]
) -> WebhookState:
    """Make a webhook."""
    url = checked_url(wanted.url, allow_http=wanted.allow_http, allow_private=wanted.allow_private)
    key_of(wanted.secret)
    FeedFilter(tuple(wanted.categories), tuple(wanted.types), tuple(wanted.streams))
    check_position(log, wanted.after)
    domain = accounts.domain_name(wanted.domain) if wanted.domain else ""
    if domain and not load(log, DOMAIN, accounts.domain_stream(domain)).exists:
        raise DomainError(f"there is no domain {domain}; see: pbx domain list")
    webhook_id = random(ID_BYTES).hex()
    created = WebhookCreated(
        webhook_id=webhook_id,
        url=url,
        secret=wanted.secret,
        after=wanted.after,
        categories=tuple(wanted.categories),
        types=tuple(wanted.types),
        streams=tuple(wanted.streams),
        domain=domain,
        batch=wanted.batch,
        allow_private=wanted.allow_private,
        allow_http=wanted.allow_http,
    )
    stream = webhooks.webhook_stream(webhook_id)
    execute(
        log,
        WEBHOOK,
        stream,
        lambda state: webhooks.decide_create_webhook(state, created),
        Meta(actor=actor, tenant=domain),
    )
    return load(log, WEBHOOK, stream)


def check_position(log: ReadableLog, after: str) -> None:
    """Raises ``BadPosition`` or ``PositionUnknown`` for a token deliveries cannot begin behind."""
    if after != BEGINNING:
        log.read_feed(after, limit=1)


def remove_webhook(
    log: ReadableLog, webhook_id: str, *, actor: str, erase: Callable[[str], object]
) -> None:
    """End a webhook and destroy the key its secret is sealed with."""
    _order(log, webhook_id, actor, webhooks.decide_remove_webhook)
    erase(webhooks.webhook_stream(webhook_id))


def pause_webhook(
    log: ReadableLog, webhook_id: str, reason: str, after: str = "", *, actor: str
) -> None:
    """Stop deliveries, keeping their place."""
    _order(
        log,
        webhook_id,
        actor,
        lambda state, name: webhooks.decide_pause_webhook(state, name, reason, after),
    )


def resume_webhook(log: ReadableLog, webhook_id: str, *, actor: str) -> None:
    """Go on, or try at once instead of later."""
    _order(log, webhook_id, actor, webhooks.decide_resume_webhook)


def replay_webhook(log: ReadableLog, webhook_id: str, after: str, *, actor: str) -> None:
    """Deliver anew behind `after`."""
    check_position(log, after)
    _order(
        log,
        webhook_id,
        actor,
        lambda state, name: webhooks.decide_replay_webhook(state, name, after),
    )


def _order(
    log: ReadableLog,
    webhook_id: str,
    actor: str,
    decide: Callable[[WebhookState, str], Sequence[Event]],
) -> None:
    stream = webhooks.webhook_stream(webhook_id)
    domain = load(log, WEBHOOK, stream).domain
    execute(
        log,
        WEBHOOK,
        stream,
        lambda state: decide(state, webhook_id),
        Meta(actor=actor, tenant=domain),
    )
