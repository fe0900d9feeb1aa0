"""Webhooks: events, state, decisions (pure; no I/O, no clock).

Stream ``webhook/<id>``, category ``pbx.config``, *decided*. How far a webhook got is no event (it
would be one for each event) but a row beside the log, see ``pbx.webhooks.store``; what
administrators order, and that deliveries were given up, is here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Final

from pbx.kernel.errors import DomainError
from pbx.kernel.events import SEALED, Durability, Event, event

CONFIG: Final = "pbx.config"

MAX_BATCH: Final = 100
"""Events in one request: some 50 KB, which every receiver takes."""


@event("webhook.created.v1", category=CONFIG, durability=Durability.DECIDED)
class WebhookCreated(Event):
    """Events that fit are posted to a URL from now on."""

    webhook_id: str
    url: str
    secret: Annotated[str, SEALED]
    """``whsec_`` and the key in base64 (Standard Webhooks)."""
    after: str = ""
    """Position behind which deliveries begin."""
    categories: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    streams: tuple[str, ...] = ()
    domain: str = ""
    """Only this domain's events; empty: all of them."""
    batch: int = 1
    """Events in one request at most."""
    allow_private: bool = False
    """Addresses of private networks and of this machine are allowed."""
    allow_http: bool = False
    """The URL may do without TLS."""


@event("webhook.removed.v1", category=CONFIG, durability=Durability.DECIDED)
class WebhookRemoved(Event):
    """Nothing is posted any more; the position is forgotten."""

    webhook_id: str


@event("webhook.paused.v1", category=CONFIG, durability=Durability.DECIDED)
class WebhookPaused(Event):
    """Nothing is posted before it is resumed; the position is kept."""

    webhook_id: str
    reason: str
    after: str = ""
    """Position of the last event that was delivered."""


@event("webhook.resumed.v1", category=CONFIG, durability=Durability.DECIDED)
class WebhookResumed(Event):
    """Deliveries go on where they stopped."""

    webhook_id: str


@event("webhook.replayed.v1", category=CONFIG, durability=Durability.DECIDED)
class WebhookReplayed(Event):
    """Deliveries begin anew behind a position: again, or further on."""

    webhook_id: str
    after: str


@dataclass(frozen=True, slots=True)
class WebhookState:
    """A webhook as of its last event."""

    webhook_id: str = ""
    """Empty while the webhook does not exist."""
    url: str = ""
    secret: str = ""
    after: str = ""
    """Where deliveries begin: as created, or as of the last replay."""
    replays: int = 0
    """How often that was said anew."""
    categories: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    streams: tuple[str, ...] = ()
    domain: str = ""
    batch: int = 1
    allow_private: bool = False
    allow_http: bool = False
    paused: str = ""
    """Why nothing is delivered; empty: it is."""
    resumes: int = 0

    @property
    def exists(self) -> bool:
        return bool(self.webhook_id)

    def __repr__(self) -> str:
        return f"WebhookState({self.webhook_id!r}, {self.url!r}, …)"


NO_WEBHOOK: Final = WebhookState()


def webhook_stream(webhook_id: str) -> str:
    """Where the events of a webhook are."""
    return f"webhook/{webhook_id}"


def evolve_webhook(state: WebhookState, happened: Event) -> WebhookState:
    """Fold one event of a webhook's stream."""
    match happened:
        case WebhookCreated():
            return WebhookState(
                webhook_id=happened.webhook_id,
                url=happened.url,
                secret=happened.secret,
                after=happened.after,
                categories=happened.categories,
                types=happened.types,
                streams=happened.streams,
                domain=happened.domain,
                batch=happened.batch,
                allow_private=happened.allow_private,
                allow_http=happened.allow_http,
            )
        case WebhookRemoved():
            return NO_WEBHOOK
        case WebhookPaused():
            return replace(state, paused=happened.reason)
        case WebhookResumed():
            return replace(state, paused="", resumes=state.resumes + 1)
        case WebhookReplayed():
            return replace(state, after=happened.after, replays=state.replays + 1)
        case _:
            return state


def decide_create_webhook(state: WebhookState, wanted: WebhookCreated) -> list[Event]:
    """Make a webhook; form and reach of its URL were checked by the caller."""
    if state.exists:
        raise DomainError(f"the webhook {wanted.webhook_id} exists already; try again")
    if not 1 <= wanted.batch <= MAX_BATCH:
        raise DomainError(f"{wanted.batch} events in a request: give 1 to {MAX_BATCH}")
    return [wanted]


def decide_remove_webhook(state: WebhookState, webhook_id: str) -> list[Event]:
    """End a webhook."""
    _require(state, webhook_id)
    return [WebhookRemoved(webhook_id=webhook_id)]


def decide_pause_webhook(
    state: WebhookState, webhook_id: str, reason: str, after: str
) -> list[Event]:
    """Stop deliveries; nothing if they are stopped."""
    _require(state, webhook_id)
    if state.paused:
        return []
    return [WebhookPaused(webhook_id=webhook_id, reason=reason, after=after)]


def decide_resume_webhook(state: WebhookState, webhook_id: str) -> list[Event]:
    """Go on; what is waiting for its next attempt tries at once."""
    _require(state, webhook_id)
    return [WebhookResumed(webhook_id=webhook_id)]


def decide_replay_webhook(state: WebhookState, webhook_id: str, after: str) -> list[Event]:
    """Deliver anew behind `after`; what was paused goes on with it."""
    _require(state, webhook_id)
    events: list[Event] = [WebhookReplayed(webhook_id=webhook_id, after=after)]
    return [*events, *(decide_resume_webhook(state, webhook_id) if state.paused else ())]


def _require(state: WebhookState, webhook_id: str) -> None:
    if not state.exists:
        raise DomainError(f"there is no webhook {webhook_id}; see: pbx webhook list")
