"""Limits by settings, and addresses that administrators refuse, on the call path."""

from __future__ import annotations

import pytest

from pbx.calls.config import CallConfig
from pbx.calls.directory import Directory
from pbx.calls.guard import Guard
from pbx.domain.accounts import AccountCreated, AccountDeleted, AccountLimitsSet, DomainCreated
from pbx.domain.blacklist import AddressBlacklisted, AddressReleased
from pbx.domain.setting_events import (
    AccountSettingsChanged,
    DomainSettingsChanged,
    ServerSettingsChanged,
)

AL = "account/al@x.un"


@pytest.fixture
def directory() -> Directory:
    directory = Directory()
    directory.apply("domain/x.un", DomainCreated(name="x.un"))
    directory.apply(AL, AccountCreated(name="al", domain="x.un"))
    return directory


def limits(directory: Directory) -> tuple[int, int]:
    account = directory.by_address("al@x.un")
    assert account is not None
    return account.calls_limit, account.max_contacts


def test_each_level_comes_before_the_next(directory: Directory) -> None:
    assert limits(directory) == (-1, -1)
    defaults = "account-defaults"
    directory.apply("server", ServerSettingsChanged(
        section=defaults,
        values={"CallsLimit": "9", "ServiceClasses": {"gold": {"CallsLimit": "5"}}},
    ))  # fmt: skip
    assert limits(directory) == (9, -1)
    domain = DomainSettingsChanged(section=defaults, values={"CallsLimit": 7})
    directory.apply("domain/x.un", domain)
    assert limits(directory) == (7, -1)
    directory.apply(AL, AccountSettingsChanged(values={"ServiceClass": "gold"}))
    assert limits(directory) == (5, -1)
    directory.apply(AL, AccountLimitsSet(calls_limit=2, max_contacts=3))
    assert limits(directory) == (2, 3)
    directory.apply(AL, AccountSettingsChanged(removed=("CallsLimit", "ServiceClass")))
    assert limits(directory) == (7, 3)
    directory.apply("domain/x.un", DomainSettingsChanged(section=defaults, removed=("CallsLimit",)))
    assert limits(directory) == (9, 3)


def test_other_sections_do_not_count_and_a_new_account_begins_anew(directory: Directory) -> None:
    directory.apply(AL, AccountSettingsChanged(section="prefs", values={"CallsLimit": "1"}))
    directory.apply("domain/x.un", DomainSettingsChanged(values={"CallsLimit": "1"}))
    assert limits(directory) == (-1, -1)
    directory.apply(AL, AccountSettingsChanged(values={"CallsLimit": "1"}))
    directory.apply(AL, AccountDeleted(name="al", domain="x.un"))
    directory.apply(AL, AccountCreated(name="al", domain="x.un"))
    assert limits(directory) == (-1, -1)


def test_the_real_name_is_shown(directory: Directory) -> None:
    account = directory.by_address("al@x.un")
    assert account is not None
    directory.apply(AL, AccountSettingsChanged(values={"RealName": "Al Gore"}))
    assert account.display_name == "Al Gore"
    directory.apply(AL, AccountSettingsChanged(values={"CallsLimit": "1"}))
    assert account.display_name == "Al Gore"
    directory.apply(AL, AccountSettingsChanged(removed=("RealName",)))
    assert account.display_name == ""


def test_a_blacklisted_source_gets_no_answer_until_its_time_is_over() -> None:
    guard = Guard(CallConfig(node="n"))
    second = 1_000_000_000
    guard.apply(AddressBlacklisted(address="10.0.0.1", until_ns=60 * second), 0, 0, 5.0)
    guard.apply(AddressBlacklisted(address="10.0.0.2"), 0, 0, 5.0)
    guard.apply(AddressBlacklisted(address="10.0.0.3", until_ns=second), 0, 2 * second, 5.0)
    assert not guard.admits("10.0.0.1", None, 64.0)
    assert guard.admits("10.0.0.1", None, 65.0)
    assert guard.admits("10.0.0.3", None, 5.0)
    assert not guard.admits("10.0.0.2", None, 1e6)
    guard.apply(AddressReleased(address="10.0.0.2"), 0, 0, 1e6)
    assert guard.admits("10.0.0.2", None, 1e6)


def test_a_release_forgives_wrong_logins() -> None:
    config = CallConfig(node="n")
    guard = Guard(config)
    for _ in range(config.failed_logins):
        guard.failed("10.0.0.1", 0.0)
    assert guard.locked("10.0.0.1", 1.0)
    guard.apply(AddressReleased(address="10.0.0.1"), 0, 0, 1.0)
    assert not guard.locked("10.0.0.1", 1.0)
