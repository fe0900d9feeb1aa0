"""``pbx.commands``: load, decide, append, again on conflict; rules that span streams."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pytest

from pbx.commands import (
    ACCOUNT,
    DOMAIN,
    MAX_PASSWORD,
    MAX_TRIES,
    Administration,
    digest_secrets,
    execute,
    load,
)
from pbx.domain.accounts import (
    AccountPasswordSet,
    AccountState,
    DomainCreated,
    DomainState,
    decide_create_domain,
)
from pbx.domain.nodes import NodeStarted
from pbx.eventlog import ANY_VERSION, Codec, EventLog, MemoryLog, Meta, memory_keys
from pbx.inventory import inventory
from pbx.kernel.errors import DomainError, LogUnavailable
from pbx.kernel.events import Event


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog(codec=Codec(memory_keys()))


@pytest.fixture
def administrate(log: MemoryLog) -> Administration:
    return Administration(log, actor="cli:tester")


def create_a(state: DomainState) -> Sequence[Event]:
    """A decision like any other."""
    return decide_create_domain(state, "a.example", [])


# Execute.


def test_a_decision_is_appended_and_loaded_again(log: MemoryLog) -> None:
    position = execute(log, DOMAIN, "domain/a.example", create_a, Meta())
    assert position == log.head()
    assert load(log, DOMAIN, "domain/a.example") == DomainState("a.example")


def test_deciding_on_nothing_appends_nothing(log: MemoryLog) -> None:
    assert execute(log, DOMAIN, "domain/a.example", lambda state: [], Meta()) is None
    assert log.head() == 0


def test_whoever_loses_a_race_decides_again_on_the_newer_state(log: MemoryLog) -> None:
    """Two administrators create the same domain at once: the second is told that it exists."""
    seen: list[DomainState] = []

    def decide(state: DomainState) -> Sequence[Event]:
        seen.append(state)
        if len(seen) == 1:
            log.append("domain/a.example", 0, [DomainCreated(name="a.example")], Meta())
        return create_a(state)

    with pytest.raises(DomainError, match="exists already"):
        execute(log, DOMAIN, "domain/a.example", decide, Meta())
    assert seen == [DomainState(), DomainState("a.example")]
    assert len(list(log.read_stream("domain/a.example"))) == 1


def test_a_stream_that_never_holds_still_is_given_up(log: MemoryLog) -> None:
    tries = 0

    def decide(state: DomainState) -> Sequence[Event]:
        nonlocal tries
        tries += 1
        log.append("domain/a.example", ANY_VERSION, [DomainCreated(name="a.example")], Meta())
        return [DomainCreated(name="a.example")]

    with pytest.raises(LogUnavailable, match="changes faster"):
        execute(log, DOMAIN, "domain/a.example", decide, Meta())
    assert tries == MAX_TRIES


# Passwords.


def test_digest_secrets_are_those_of_rfc_7616() -> None:
    """RFC 7616 §3.4.2: H(user ":" realm ":" password)."""
    secrets = digest_secrets("alice", "example.com", "пароль 1")
    text = "alice:example.com:пароль 1".encode()
    assert secrets.realm == "example.com"
    assert secrets.ha1_md5 == hashlib.md5(text).hexdigest()
    assert secrets.ha1_sha256 == hashlib.sha256(text).hexdigest()


@pytest.mark.parametrize("password", ["", "x" * (MAX_PASSWORD + 1), "line\nbreak", "nul\0"])
def test_what_cannot_be_a_password(password: str) -> None:
    with pytest.raises(DomainError, match="a password has"):
        digest_secrets("alice", "example.com", password)


# Administration.


def test_an_account_needs_its_domain(administrate: Administration) -> None:
    with pytest.raises(DomainError, match=r"make it: pbx domain create a\.example"):
        administrate.create_account("alice@a.example", "correct horse")


def test_the_life_of_an_account(administrate: Administration, log: MemoryLog) -> None:
    administrate.create_domain("A.example")
    created = administrate.create_account("Alice@a.example", "correct horse", "Alice")
    assert created == AccountState("alice", "a.example", "Alice", has_password=True)
    assert administrate.set_limits("alice@a.example", calls_limit=3).calls_limit == 3
    administrate.set_password("alice@a.example", "battery staple")
    records = list(log.read_stream("account/alice@a.example"))
    (*_, last) = records
    assert isinstance(last.event, AccountPasswordSet)
    assert last.event.ha1_md5 == digest_secrets("alice", "a.example", "battery staple").ha1_md5
    assert {(record.actor, record.tenant) for record in records} == {("cli:tester", "a.example")}
    assert administrate.delete_account("alice@a.example") == "alice@a.example"
    assert not load(log, ACCOUNT, "account/alice@a.example").exists
    administrate.delete_domain("a.example")
    assert inventory(log).domains == {}


def test_deleting_an_account_erases_its_key(log: MemoryLog) -> None:
    erased: list[str] = []
    administrate = Administration(log, actor="cli:tester", erase=erased.append)
    administrate.create_domain("a.example")
    administrate.create_account("alice@a.example", "correct horse")
    administrate.delete_account("alice@a.example")
    assert erased == ["account/alice@a.example"]


def test_a_password_never_reaches_the_log(administrate: Administration, log: MemoryLog) -> None:
    administrate.create_domain("a.example")
    administrate.create_account("alice@a.example", "correct horse")
    stored = b"".join(record.data for record in log.read())
    secrets = digest_secrets("alice", "a.example", "correct horse")
    assert b"correct horse" not in stored
    assert secrets.ha1_md5.encode() not in stored
    assert secrets.ha1_sha256.encode() not in stored


@pytest.mark.parametrize(
    ("name", "aliases"),
    [("b.example", []), ("c.example", ["a.example"]), ("c.example", ["b.example"])],
)
def test_a_name_belongs_to_one_domain(
    administrate: Administration, name: str, aliases: list[str]
) -> None:
    administrate.create_domain("a.example", ["b.example"])
    with pytest.raises(DomainError, match=r"is a name of the domain a\.example already"):
        administrate.create_domain(name, aliases)


def test_a_domain_cannot_be_created_twice(administrate: Administration) -> None:
    administrate.create_domain("a.example")
    with pytest.raises(DomainError, match=r"the domain a\.example exists already"):
        administrate.create_domain("a.example")


def test_a_domain_with_accounts_cannot_be_deleted(administrate: Administration) -> None:
    administrate.create_domain("a.example")
    administrate.create_account("alice@a.example")
    with pytest.raises(DomainError, match="3 accounts: delete them"):
        administrate.delete_domain("a.example")


# Inventory.


def test_the_inventory_has_what_exists_in_order_of_creation(
    administrate: Administration, log: MemoryLog
) -> None:
    for name in ("b.example", "a.example"):
        administrate.create_domain(name)
    for address in ("bob@b.example", "alice@a.example", "ann@a.example"):
        administrate.create_account(address)
    administrate.delete_account("ann@a.example")
    found = inventory(log)
    assert list(found.domains) == ["b.example", "a.example"]
    assert [account.address for account in found.accounts_of("a.example")] == ["alice@a.example"]


def test_the_inventory_passes_over_what_it_does_not_know(log: MemoryLog) -> None:
    log.append("server", ANY_VERSION, [NodeStarted(version="1")], Meta())
    assert inventory(log).domains == {}


def test_a_memory_log_is_an_event_log(log: MemoryLog) -> None:
    accepted: EventLog = log
    assert accepted.head() == 0
