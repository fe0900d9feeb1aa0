"""Access tokens: making, revoking, checking. ``pbx token`` and the web role stand on this.

A token is ``ringlog_<id>_<secret>``: the id finds it (and may be shown in logs), the secret proves
it. The prefix lets scanners of source code find one that was committed by mistake.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from pbx.commands import ACCOUNT, DOMAIN, Aggregate, execute, load
from pbx.domain import accounts, tokens
from pbx.domain.tokens import GRANTS, NO_TOKEN, TokenState
from pbx.eventlog import EventLog, Meta
from pbx.eventlog.feed import FeedLog
from pbx.eventlog.folded import Folded
from pbx.kernel.errors import DomainError

PREFIX: Final = "ringlog"
ID_BYTES: Final = 8
"""64 bits: two of a million tokens never share an id."""
SECRET_BYTES: Final = 32

_FORM: Final = re.compile(r"ringlog_([0-9a-f]{16})_([0-9a-f]{64})", re.ASCII)

_NO_HASH: Final = "-" * 64
"""What no hash is equal to, as long as one."""

TOKEN: Final = Aggregate(NO_TOKEN, tokens.evolve_token)

RandomBytes = Callable[[int], bytes]


class ReadableLog(EventLog, FeedLog, Protocol):
    """A log that can be appended to and read as a feed."""


class Issued(NamedTuple):
    """A new token and, this once, its text."""

    state: TokenState
    text: str


def create_token(
    log: EventLog,
    *,
    actor: str,
    name: str,
    scopes: Sequence[str],
    domain: str = "",
    account: str = "",
    expires_ns: int = 0,
    now_ns: int,
    random: RandomBytes,
) -> Issued:
    """Make a token; with `account` it is for that account's domain and has that account's rights.

    Raises :class:`DomainError` or ``LogUnavailable``.
    """
    if account:
        name, of_domain = accounts.account_address(account)
        if not load(log, ACCOUNT, accounts.account_stream(name, of_domain)).exists:
            raise DomainError(f"there is no account {name}@{of_domain}; see: pbx account list")
        account, domain = f"{name}@{of_domain}", domain or of_domain
    if domain:
        domain = accounts.domain_name(domain)
        if not load(log, DOMAIN, accounts.domain_stream(domain)).exists:
            raise DomainError(f"there is no domain {domain}; see: pbx domain list")
    token_id, secret = random(ID_BYTES).hex(), random(SECRET_BYTES).hex()
    stream = tokens.token_stream(token_id)
    execute(
        log,
        TOKEN,
        stream,
        lambda state: tokens.decide_create_token(
            state,
            token_id,
            name.strip(),
            scopes,
            digest(secret),
            domain=domain,
            expires_ns=expires_ns,
            now_ns=now_ns,
            account=account,
        ),
        Meta(actor=actor, tenant=domain),
    )
    return Issued(load(log, TOKEN, stream), f"{PREFIX}_{token_id}_{secret}")


def revoke_token(
    log: EventLog, token_id: str, *, actor: str, erase: Callable[[str], object]
) -> TokenState:
    """Close a token, and destroy the key its hash is sealed with. Raises as above."""
    state = load(log, TOKEN, tokens.token_stream(token_id))
    execute(
        log,
        TOKEN,
        tokens.token_stream(token_id),
        lambda state: tokens.decide_revoke_token(state, token_id),
        Meta(actor=actor, tenant=state.domain),
    )
    erase(tokens.token_stream(token_id))
    return state


def digest(secret: str) -> str:
    """What is kept of a secret."""
    return hashlib.sha256(secret.encode("ascii")).hexdigest()


@dataclass(frozen=True, slots=True)
class Principal:
    """Who a request comes from, and what it may."""

    token_id: str
    name: str
    scopes: frozenset[str]
    domain: str = ""
    """The only domain it may see; empty: all."""
    account: str = ""
    """Whose rights it has in that domain; empty: nobody's."""

    @property
    def actor(self) -> str:
        """As the log names it."""
        return f"token:{self.token_id}"

    def may(self, scope: str) -> bool:
        """Whether `scope` is granted; ``admin`` grants all, those of ``GRANTS`` some."""
        if scope in self.scopes or "admin" in self.scopes:
            return True
        return any(scope in GRANTS.get(held, ()) for held in self.scopes)


class TokenDirectory:
    """All tokens of a log, as of its newest event. Not for several threads at once."""

    def __init__(self, log: FeedLog) -> None:
        self._tokens = Folded(log, "token", NO_TOKEN, tokens.evolve_token)

    def all(self) -> list[TokenState]:
        """Every token there ever was, by age."""
        return list(self._tokens.refresh().values())

    def any_usable(self, now_ns: int) -> bool:
        """Whether anybody could log in."""
        return any(state.usable(now_ns) for state in self.all())

    def check(self, text: str, now_ns: int) -> Principal | None:
        """Who shows `text`; None for nobody. Takes the same time for a known and unknown id."""
        match = _FORM.fullmatch(text)
        state = self._tokens.refresh().get(match[1], NO_TOKEN) if match else NO_TOKEN
        shown = digest(match[2] if match else "")
        if not hmac.compare_digest(shown, state.secret_sha256 or _NO_HASH):
            return None
        return _principal(state) if state.usable(now_ns) else None

    def still(self, principal: Principal, now_ns: int) -> bool:
        """Whether a token that was good before is so now."""
        return self._tokens.refresh().get(principal.token_id, NO_TOKEN).usable(now_ns)


def _principal(state: TokenState) -> Principal:
    return Principal(
        state.token_id, state.name, frozenset(state.scopes), state.domain, state.account
    )
