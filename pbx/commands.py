"""Commands: load a stream, decide, append; again if somebody else was faster.

Called by the command line (and later by the web and the CLI service), beside a running server or
without one: all writers go through the log, whose key (stream, version) is the only lock. The
decisions are in ``pbx.domain``; here is what they need from outside: the log, digest secrets,
and the rules that span streams.

A rule that spans streams (an account needs its domain) cannot be atomic, since an append is to
one stream. It is checked right before the append; who loses such a race owns an account in a
domain that is gone, which no reader lets log in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, NamedTuple, TypeVar

from pbx.domain import accounts
from pbx.domain.accounts import AccountState, DomainState, Secrets
from pbx.eventlog import Conflict, EventLog, Meta, Position
from pbx.kernel.errors import DomainError, LogUnavailable
from pbx.kernel.events import Event
from sip.digest import ha1

S = TypeVar("S")

MAX_TRIES: Final = 20
"""Each lost race means that another writer succeeded; twenty in a row do not happen by chance."""
MAX_PASSWORD: Final = 256
"""Characters; more than any phone has room for."""
WEAK_PASSWORD: Final = 8
"""Shorter ones are taken, since old phones and scripts have them, and warned about."""


class Aggregate(NamedTuple, Generic[S]):
    """How the state of a kind of stream is made of its events."""

    initial: S
    evolve: Callable[[S, Event], S]


DOMAIN: Final = Aggregate(accounts.NO_DOMAIN, accounts.evolve_domain)
ACCOUNT: Final = Aggregate(accounts.NO_ACCOUNT, accounts.evolve_account)


def load(log: EventLog, aggregate: Aggregate[S], stream: str) -> S:
    """The state of a stream now."""
    state = aggregate.initial
    for record in log.read_stream(stream):
        state = aggregate.evolve(state, record.event)
    return state


def execute(
    log: EventLog,
    aggregate: Aggregate[S],
    stream: str,
    decide: Callable[[S], Sequence[Event]],
    meta: Meta,
) -> Position | None:
    """Append what `decide` makes of the stream's state; None if it decided on nothing.

    `decide` is called again with the newer state if another writer appended in between, so it
    must be a pure function. Raises what it raises, or ``LogUnavailable``.
    """
    state, version = aggregate.initial, 0
    for _ in range(MAX_TRIES):
        for record in log.read_stream(stream, after_version=version):
            state, version = aggregate.evolve(state, record.event), record.version
        events = decide(state)
        if not events:
            return None
        try:
            return log.append(stream, version, events, meta)
        except Conflict:
            continue
    raise LogUnavailable(f"{stream} changes faster than it can be decided on; try again later")


def digest_secrets(name: str, domain: str, password: str) -> Secrets:
    """What is kept of a password. Raises :class:`DomainError` if it cannot be one."""
    if not 1 <= len(password) <= MAX_PASSWORD:
        raise DomainError(f"a password has 1 to {MAX_PASSWORD} characters, not {len(password)}")
    if not password.isprintable():
        raise DomainError("a password has printable characters only: phones cannot send others")
    return Secrets(
        realm=domain,
        ha1_md5=ha1("MD5", name, domain, password),
        ha1_sha256=ha1("SHA-256", name, domain, password),
    )


@dataclass(slots=True)
class Inventory:
    """All domains and accounts that exist, folded from the log's configuration."""

    domains: dict[str, DomainState] = field(default_factory=dict)
    accounts: dict[str, AccountState] = field(default_factory=dict)

    def accounts_of(self, domain: str) -> list[AccountState]:
        """Accounts of one domain, by name."""
        return [account for account in self.accounts.values() if account.domain == domain]


def inventory(log: EventLog) -> Inventory:
    """Read the configuration of the log: exact as of now, server running or not."""
    found = Inventory()
    for record in log.read(category=accounts.CONFIG):
        kind, _, name = record.stream.partition("/")
        if kind == "domain":
            domain = accounts.evolve_domain(
                found.domains.get(name, accounts.NO_DOMAIN), record.event
            )
            _keep(found.domains, name, domain, domain.exists)
        elif kind == "account":
            account = accounts.evolve_account(
                found.accounts.get(name, accounts.NO_ACCOUNT), record.event
            )
            _keep(found.accounts, name, account, account.exists)
    return found


def _keep(table: dict[str, S], name: str, state: S, exists: bool) -> None:
    if exists:
        table[name] = state
    else:
        table.pop(name, None)


class Administration:
    """The commands on domains and accounts, for one actor.

    Every method raises :class:`DomainError` with words for the administrator, or
    ``LogUnavailable``; when it returns, what it did is durable.
    """

    def __init__(
        self, log: EventLog, *, actor: str, erase: Callable[[str], object] = lambda subject: None
    ) -> None:
        self._log = log
        self._actor = actor
        self._erase = erase
        """Destroys the sealing key of a subject (a stream)."""

    def create_domain(self, name: str, aliases: Sequence[str] = ()) -> str:
        """Returns the name as it is stored."""
        name = accounts.domain_name(name)
        names = [accounts.domain_name(alias) for alias in aliases]
        for other in inventory(self._log).domains.values():
            taken = {other.name, *other.aliases}.intersection((name, *names))
            if taken and other.name != name:
                raise DomainError(f"{min(taken)} is a name of the domain {other.name} already")
        execute(
            self._log,
            DOMAIN,
            accounts.domain_stream(name),
            lambda state: accounts.decide_create_domain(state, name, names),
            self._meta(name),
        )
        return name

    def delete_domain(self, name: str) -> str:
        """Refused while the domain has accounts."""
        name = accounts.domain_name(name)
        count = len(inventory(self._log).accounts_of(name))
        execute(
            self._log,
            DOMAIN,
            accounts.domain_stream(name),
            lambda state: accounts.decide_delete_domain(state, name, count),
            self._meta(name),
        )
        return name

    def create_account(
        self, address: str, password: str | None = None, display_name: str = ""
    ) -> AccountState:
        """Without a password the account exists and nobody can log in to it."""
        name, domain = accounts.account_address(address)
        if not load(self._log, DOMAIN, accounts.domain_stream(domain)).exists:
            raise DomainError(f"there is no domain {domain}; make it: pbx domain create {domain}")
        secrets = None if password is None else digest_secrets(name, domain, password)
        return self._on_account(
            name,
            domain,
            lambda state: accounts.decide_create_account(
                state, name, domain, display_name, secrets
            ),
        )

    def set_password(self, address: str, password: str) -> AccountState:
        """Phones must log in anew; calls in progress go on."""
        name, domain = accounts.account_address(address)
        secrets = digest_secrets(name, domain, password)
        return self._on_account(
            name,
            domain,
            lambda state: accounts.decide_set_password(state, f"{name}@{domain}", secrets),
        )

    def set_limits(
        self, address: str, calls_limit: int | None = None, max_contacts: int | None = None
    ) -> AccountState:
        """None leaves a limit as it is."""
        name, domain = accounts.account_address(address)
        return self._on_account(
            name,
            domain,
            lambda state: accounts.decide_set_limits(
                state, f"{name}@{domain}", calls_limit, max_contacts
            ),
        )

    def delete_account(self, address: str) -> str:
        """Also destroys the key that opens the account's sealed fields, in all copies."""
        name, domain = accounts.account_address(address)
        address = f"{name}@{domain}"
        self._on_account(name, domain, lambda state: accounts.decide_delete_account(state, address))
        self._erase(accounts.account_stream(name, domain))
        return address

    def _on_account(
        self, name: str, domain: str, decide: Callable[[AccountState], Sequence[Event]]
    ) -> AccountState:
        stream = accounts.account_stream(name, domain)
        execute(self._log, ACCOUNT, stream, decide, self._meta(domain))
        return load(self._log, ACCOUNT, stream)

    def _meta(self, tenant: str) -> Meta:
        return Meta(actor=self._actor, tenant=tenant)
