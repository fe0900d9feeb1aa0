"""Access tokens of programs: events, state, decisions (pure; no I/O, no clock).

Stream ``token/<id>``, category ``pbx.config``, *decided*. The token itself is shown once and
stored nowhere; the log has the SHA-256 of its secret part, sealed. (256 random bits cannot be
guessed, so a slow hash would cost every request and protect nothing.)
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Annotated, Final

from pbx.kernel.errors import DomainError
from pbx.kernel.events import SEALED, Durability, Event, event

CONFIG: Final = "pbx.config"

SCOPES: Final = {
    "events:read": "read the event feeds",
    "cdrs:read": "read call detail records",
    "calls:read": "see the calls that are up and the phones that are registered",
    "calls:control": "end calls, and see them",
    "config:read": "read domains, accounts, rules, the Router",
    "config:write": "change them, and read them",
    "admin": "everything, administration included",
}
"""What a token may be good for."""

GRANTS: Final = {"config:write": ("config:read",), "calls:control": ("calls:read",)}
"""Scopes that a scope includes; ``admin`` includes all."""

MAX_NAME: Final = 128
"""Characters in the name an administrator gives a token."""


@event("token.created.v1", category=CONFIG, durability=Durability.DECIDED)
class TokenCreated(Event):
    """A program may use the API from now on."""

    token_id: str
    name: str
    scopes: tuple[str, ...]
    secret_sha256: Annotated[str, SEALED]
    domain: str = ""
    """The only domain it may see; empty: all of them."""
    expires_ns: int = 0
    """UTC; 0: never."""
    account: str = ""
    """``name@domain`` whose rights as a domain administrator it has, as they are at each request;
    empty: its scopes alone say what it may."""


@event("token.revoked.v1", category=CONFIG, durability=Durability.DECIDED)
class TokenRevoked(Event):
    """The token opens nothing any more."""

    token_id: str


@dataclass(frozen=True, slots=True)
class TokenState:
    """A token as of its last event."""

    token_id: str = ""
    """Empty while the token does not exist."""
    name: str = ""
    scopes: tuple[str, ...] = ()
    secret_sha256: str = ""
    domain: str = ""
    expires_ns: int = 0
    revoked: bool = False
    account: str = ""

    @property
    def exists(self) -> bool:
        return bool(self.token_id)

    def usable(self, now_ns: int) -> bool:
        """Whether it opens anything at `now_ns` (wall time)."""
        return self.exists and not self.revoked and not 0 < self.expires_ns <= now_ns

    def __repr__(self) -> str:
        return f"TokenState({self.token_id!r}, {self.name!r}, …)"


NO_TOKEN: Final = TokenState()


def token_stream(token_id: str) -> str:
    """Where the events of a token are."""
    return f"token/{token_id}"


def evolve_token(state: TokenState, happened: Event) -> TokenState:
    """Fold one event of a token's stream."""
    match happened:
        case TokenCreated():
            return TokenState(
                token_id=happened.token_id,
                name=happened.name,
                scopes=happened.scopes,
                secret_sha256=happened.secret_sha256,
                domain=happened.domain,
                expires_ns=happened.expires_ns,
                account=happened.account,
            )
        case TokenRevoked():
            return replace(state, revoked=True)
        case _:
            return state


def decide_create_token(
    state: TokenState,
    token_id: str,
    name: str,
    scopes: Collection[str],
    secret_sha256: str,
    *,
    domain: str,
    expires_ns: int,
    now_ns: int,
    account: str = "",
) -> list[Event]:
    """Make a token. That its domain and account exist is the caller's to check."""
    if state.exists:
        raise DomainError(f"the token {token_id} exists already; try again")
    if not 0 < len(name) <= MAX_NAME or not name.isprintable():
        raise DomainError(
            f"a token's name has 1 to {MAX_NAME} printable characters: say what uses it"
        )
    wrong = sorted(set(scopes) - SCOPES.keys())
    if wrong or not scopes:
        what = f"{wrong[0]!r} is no scope" if wrong else "a token needs a scope"
        raise DomainError(f"{what}: choose from {', '.join(SCOPES)}")
    if domain and "admin" in scopes:
        raise DomainError("a token for one domain cannot have the scope admin, which is for all")
    if account and account.rpartition("@")[2] != domain:
        raise DomainError(f"{account} is not of the domain {domain}: a token is for one domain")
    if domain and not account and "config:write" in scopes:
        raise DomainError(
            "a token that changes one domain needs the rights of an administrator of it: "
            "--account NAME@DOMAIN"
        )
    if expires_ns and expires_ns <= now_ns:
        raise DomainError("a token that has expired already is of no use: name a later time")
    return [
        TokenCreated(
            token_id=token_id,
            name=name,
            scopes=tuple(sorted(set(scopes))),
            secret_sha256=secret_sha256,
            domain=domain,
            expires_ns=expires_ns,
            account=account,
        )
    ]


def decide_revoke_token(state: TokenState, token_id: str) -> list[Event]:
    """Close a token; nothing if it is closed."""
    if not state.exists:
        raise DomainError(f"there is no token {token_id}; see: pbx token list")
    return [] if state.revoked else [TokenRevoked(token_id=token_id)]
