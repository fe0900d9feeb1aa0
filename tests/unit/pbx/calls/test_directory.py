"""Accounts and domains, folded from events and asked on the call path."""

from __future__ import annotations

import pytest

from pbx.calls.directory import Directory
from pbx.domain.accounts import (
    AccountCreated,
    AccountDeleted,
    AccountLimitsSet,
    AccountPasswordSet,
    DomainCreated,
    DomainDeleted,
)
from pbx.domain.nodes import NodeStopped

ALICE = "account/alice@example.org"


@pytest.fixture
def directory() -> Directory:
    """Two domains, the first with an alias, and Alice."""
    made = Directory()
    created = DomainCreated(name="Example.org", aliases=("Example.com",))
    made.apply("domain/example.org", created)
    made.apply("domain/example.net", DomainCreated(name="example.net"))
    made.apply(ALICE, AccountCreated(name="Alice", domain="Example.org", display_name="Alice A"))
    return made


def test_names_mean_domains(directory: Directory) -> None:
    """Aliases and our own addresses; case does not matter."""
    directory.set_own_hosts(frozenset({"192.0.2.1"}))
    assert directory.main_domain == "example.org"
    assert directory.local_domain("EXAMPLE.com") == "example.org"
    assert directory.local_domain("example.net") == "example.net"
    assert directory.local_domain("192.0.2.1") == "example.org"
    assert directory.local_domain("192.0.2.2") == ""
    assert directory.statistics() == {"domains": 2, "accounts": 1, "names": 1}


@pytest.mark.parametrize(
    ("username", "found"),
    [
        ("alice", True),
        ("ALICE", True),
        ("alice@example.org", True),
        ("alice%example.com", True),
        ("alice@example.net", False),
        ("alice@elsewhere", False),
        ("bob", False),
        ("", False),
    ],
)
def test_login_names(directory: Directory, username: str, found: bool) -> None:
    """With or without a domain, which must be the one of the realm."""
    account = directory.by_login(username, "example.org")
    assert (account is not None) is found


def test_life_of_an_account(directory: Directory) -> None:
    """Secrets and limits come later; events of accounts that are gone change nothing."""
    account = directory.account("ALICE", "example.org")
    assert account is not None
    assert account.address == "alice@example.org"
    assert account.ha1_md5 == ""
    password = AccountPasswordSet(realm="example.org", ha1_md5="m", ha1_sha256="s")
    directory.apply(ALICE, password)
    directory.apply(ALICE, AccountLimitsSet(calls_limit=2, max_contacts=3))
    assert (account.ha1_md5, account.ha1_sha256) == ("m", "s")
    assert (account.calls_limit, account.max_contacts) == (2, 3)
    directory.apply(ALICE, AccountDeleted(name="alice", domain="example.org"))
    assert directory.by_address("alice@example.org") is None
    directory.apply(ALICE, password)
    directory.apply(ALICE, AccountLimitsSet(calls_limit=2, max_contacts=3))
    assert directory.statistics()["accounts"] == 0


def test_deleted_domain(directory: Directory) -> None:
    """Its aliases go with it; the next one becomes the main domain."""
    directory.apply("domain/example.org", DomainDeleted(name="example.org"))
    assert directory.local_domain("example.com") == ""
    assert directory.main_domain == "example.net"
    directory.apply("node/x", NodeStopped())
    directory.apply("domain/example.net", DomainDeleted(name="example.net"))
    assert directory.main_domain == ""
