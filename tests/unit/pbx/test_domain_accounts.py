"""``pbx.domain.accounts``: names, decisions and folds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx.domain.accounts import (
    NO_ACCOUNT,
    NO_DOMAIN,
    AccountCreated,
    AccountDeleted,
    AccountLimitsSet,
    AccountPasswordSet,
    AccountState,
    DomainCreated,
    DomainDeleted,
    DomainState,
    Secrets,
    account_address,
    account_name,
    account_stream,
    decide_create_account,
    decide_create_domain,
    decide_delete_account,
    decide_delete_domain,
    decide_set_limits,
    decide_set_password,
    domain_name,
    domain_stream,
    evolve_account,
    evolve_domain,
)
from pbx.domain.nodes import NodeStopped
from pbx.kernel.errors import DomainError
from pbx.kernel.events import Event

SECRETS = Secrets("example.com", "md5", "sha")
ALICE = AccountState("alice", "example.com")


def folded(events: list[Event], state: AccountState = NO_ACCOUNT) -> AccountState:
    """`state` after `events`."""
    for happened in events:
        state = evolve_account(state, happened)
    return state


# Names.


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("example.com", "example.com"),
        (" Example.COM. ", "example.com"),
        ("localhost", "localhost"),
        ("1und1.de", "1und1.de"),
        ("192.0.2.1", "192.0.2.1"),
        ("[2001:DB8::1]", "2001:db8::1"),
        ("a" * 63 + ".example", "a" * 63 + ".example"),
    ],
)
def test_domain_names(text: str, name: str) -> None:
    assert domain_name(text) == name


@pytest.mark.parametrize(
    "text",
    ["", ".", "a..b", "-a.com", "a-.com", "x_y.com", "a b", "example.com:5060", "192.0.2",
     "192.0.2.256", "a" * 64 + ".com", ".".join(["abcdefg"] * 32), "пример.рф", "sip:example.com"],
)  # fmt: skip
def test_what_is_no_domain_name(text: str) -> None:
    with pytest.raises(DomainError, match="is no domain name"):
        domain_name(text)


@pytest.mark.parametrize(
    ("text", "name"),
    [("1001", "1001"), (" Alice ", "alice"), ("a.b-c_d", "a.b-c_d"), ("x" * 128, "x" * 128)],
)
def test_account_names(text: str, name: str) -> None:
    assert account_name(text) == name


@pytest.mark.parametrize("text", ["", ".a", "a.", "a..b", "a b", "a@b", "+7495", "x" * 129, "я"])
def test_what_is_no_account_name(text: str) -> None:
    with pytest.raises(DomainError, match="is no account name"):
        account_name(text)


def test_an_address_may_be_written_as_a_sip_uri() -> None:
    assert account_address("sip:Alice@Example.com") == ("alice", "example.com")


@pytest.mark.parametrize("text", ["alice", "", "@example.com", "alice@", "a@b@example.com"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(DomainError):
        account_address(text)


@given(st.text())
def test_stored_names_are_stable(text: str) -> None:
    """Reading a stored name again gives the same name: streams are found by it."""
    for read in (domain_name, account_name):
        try:
            name = read(text)
        except DomainError:
            continue
        assert read(name) == name


def test_streams() -> None:
    assert domain_stream("example.com") == "domain/example.com"
    assert account_stream("alice", "example.com") == "account/alice@example.com"


# Domains.


def test_a_domain_is_created_once_and_may_be_created_again_after_its_end() -> None:
    (created,) = decide_create_domain(NO_DOMAIN, "a.example", ["b.example", "a.example"])
    assert created == DomainCreated(name="a.example", aliases=("b.example",))
    state = evolve_domain(NO_DOMAIN, created)
    assert state == DomainState("a.example", ("b.example",))
    with pytest.raises(DomainError, match=r"a\.example exists already"):
        decide_create_domain(state, "a.example", [])
    (deleted,) = decide_delete_domain(state, "a.example", {"account": 0})
    assert deleted == DomainDeleted(name="a.example")
    assert not evolve_domain(state, deleted).exists


@pytest.mark.parametrize(("accounts", "words"), [(1, "1 account:"), (2, "2 accounts:")])
def test_a_domain_with_accounts_stays(accounts: int, words: str) -> None:
    with pytest.raises(DomainError, match=words):
        decide_delete_domain(DomainState("a.example"), "a.example", {"account": accounts})


def test_a_domain_that_is_not_there_cannot_be_deleted() -> None:
    with pytest.raises(DomainError, match=r"no domain a\.example; see: pbx domain list"):
        decide_delete_domain(NO_DOMAIN, "a.example", {})


def test_folds_ignore_what_they_do_not_know() -> None:
    """A newer version may write more kinds of events into a stream."""
    other = NodeStopped()
    assert evolve_domain(DomainState("a.example"), other) == DomainState("a.example")
    assert evolve_account(ALICE, other) == ALICE


# Accounts.


def test_an_account_and_its_password_come_in_one_append() -> None:
    events = decide_create_account(NO_ACCOUNT, "alice", "example.com", "Alice", SECRETS)
    assert events == [
        AccountCreated(name="alice", domain="example.com", display_name="Alice"),
        AccountPasswordSet(realm="example.com", ha1_md5="md5", ha1_sha256="sha"),
    ]
    assert folded(events) == AccountState("alice", "example.com", "Alice", has_password=True)


def test_an_account_may_be_created_without_a_password() -> None:
    state = folded(decide_create_account(NO_ACCOUNT, "alice", "example.com", "", None))
    assert state.exists
    assert not state.has_password


def test_an_account_is_created_once() -> None:
    with pytest.raises(DomainError, match=r"pbx account passwd alice@example\.com"):
        decide_create_account(ALICE, "alice", "example.com", "", None)


def test_a_new_password_replaces_the_old() -> None:
    (event,) = decide_set_password(ALICE, ALICE.address, SECRETS)
    assert isinstance(event, AccountPasswordSet)
    assert evolve_account(ALICE, event).has_password


def test_limits_change_one_by_one() -> None:
    (event,) = decide_set_limits(ALICE, ALICE.address, 2, None)
    assert event == AccountLimitsSet(calls_limit=2, max_contacts=10)
    state = evolve_account(ALICE, event)
    (event,) = decide_set_limits(state, ALICE.address, None, 3)
    assert evolve_account(state, event) == AccountState(
        "alice", "example.com", calls_limit=2, max_contacts=3
    )


def test_limits_that_change_nothing_are_no_event() -> None:
    assert decide_set_limits(ALICE, ALICE.address, -1, 10) == []
    assert decide_set_limits(ALICE, ALICE.address, None, None) == []


@pytest.mark.parametrize(("calls", "contacts"), [(-2, None), (None, -1)])
def test_limits_that_mean_nothing_are_refused(calls: int | None, contacts: int | None) -> None:
    with pytest.raises(DomainError, match="a limit of"):
        decide_set_limits(ALICE, ALICE.address, calls, contacts)


def test_nothing_of_a_deleted_account_is_left_in_the_next_of_its_name() -> None:
    (deleted,) = decide_delete_account(ALICE, ALICE.address)
    assert deleted == AccountDeleted(name="alice", domain="example.com")
    again = decide_create_account(evolve_account(ALICE, deleted), "alice", "example.com", "", None)
    assert folded([AccountLimitsSet(calls_limit=1), deleted, *again]) == ALICE


@pytest.mark.parametrize(
    "decide",
    [
        lambda state: decide_set_password(state, "alice@example.com", SECRETS),
        lambda state: decide_set_limits(state, "alice@example.com", 1, 1),
        lambda state: decide_delete_account(state, "alice@example.com"),
    ],
)
def test_an_account_that_is_not_there_is_named(decide) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(DomainError, match=r"no account alice@example\.com; see: "):
        decide(NO_ACCOUNT)


def test_secrets_do_not_show_in_logs() -> None:
    assert repr(SECRETS) == "Secrets('example.com', …)"
