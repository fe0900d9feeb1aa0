"""The stored directory: bounds, what a look-up costs the source, secrets, what a record forgets.

That it answers as the one in memory: ``tests/property/test_stored_directory.py``.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pbx.calls.directory import Account, SecretPending
from pbx.calls.rulebook import Rulebook
from pbx.calls.stored_directory import Bounded, StoredDirectory, StoredRulebook
from pbx.configdb import ConfigDb
from pbx.domain.accounts import (
    AccountAliasesSet,
    AccountCreated,
    AccountDeleted,
    AccountPasswordSet,
    DomainCreated,
)
from pbx.domain.rules import DatasetEntryAdded
from pbx.eventlog import ANY_VERSION, MemoryLog, Meta
from pbx.kernel.events import Event

AL = "account/al@x.un"
Opened = Callable[[Event | None], None]


class Node:
    """A log, its configuration database and a directory that is told of each event."""

    def __init__(self, *, cached: int = 10, remote: bool = False) -> None:
        self.log = MemoryLog()
        self.database = ConfigDb(None, lambda: self.log.codec)
        self.asked: list[tuple[str, str, bytes, Opened]] = []
        self.directory = StoredDirectory(
            self.database.reader(),
            self.log.codec.decode,
            ask_password=(lambda *question: self.asked.append(question)) if remote else None,
            cached=cached,
        )
        self.rulebook = StoredRulebook(self.directory)
        self.happen("domain/x.un", DomainCreated(name="x.un"))
        password = AccountPasswordSet(realm="x.un", ha1_md5="md5", ha1_sha256="sha")
        self.happen(AL, AccountCreated(name="al", domain="x.un"), password)

    def happen(self, stream: str, *events: Event) -> None:
        before = self.log.head()
        self.log.append(stream, ANY_VERSION, list(events), Meta())
        self.database.advance(self.log)
        for record in self.log.read(before):
            self.directory.take(record)
            self.rulebook.take(record)

    def found(self, name: str) -> Account:
        account = self.directory.account(name, "x.un")
        assert account is not None
        return account


def test_what_was_looked_up_is_not_asked_for_again() -> None:
    node = Node()
    node.directory.local_domain("x.un")
    first = node.found("al")
    before = node.directory.misses
    for _ in range(5):
        assert node.found("AL") is first
        assert node.directory.local_domain("X.un") == "x.un"
        assert node.directory.by_address("al@x.un") is first
    assert node.directory.misses == before
    node.directory.find("nobody", "x.un")
    node.directory.find("nobody", "x.un")
    assert node.directory.misses == before + 1


def test_the_cache_has_a_bound_and_keeps_what_is_used() -> None:
    node = Node(cached=4)
    al = node.found("al")
    for number in range(50):
        assert node.directory.find(f"u{number}", "x.un") is None
        assert node.found("al") is al
    assert node.directory.statistics()["names"] == 4
    for number in range(20_000):
        node.directory.local_domain(f"h{number}.example")
        node.directory.telnum(f"+{number}")
    assert len(node.directory._hosts) == 2
    assert len(node.directory._numbers) == 1


def test_the_least_recently_used_goes() -> None:
    cache: Bounded[int] = Bounded(2)
    cache.keep("a", 1)
    cache.keep("b", 2)
    cache.use("a")
    cache.keep("c", 3)
    assert list(cache) == ["a", "c"]


def test_secrets_are_opened_when_they_are_asked_for() -> None:
    node = Node()
    account = node.found("al")
    assert account.ha1_md5 == ""
    assert account.secret("al", "MD5") == "md5"
    assert account.secret("al@x.un", "SHA-256") == "sha"
    assert account.secret("else", "MD5") == ""


def test_secrets_whose_keys_are_elsewhere_come_later() -> None:
    node = Node(remote=True)
    account = node.found("al")
    node.directory.prepare("al", "x.un")
    for _ in range(3):
        with pytest.raises(SecretPending):
            account.secret("al", "MD5")
    ((stream, type_name, data, done),) = node.asked
    done(None)  # the database is away
    with pytest.raises(SecretPending):
        account.secret("al", "MD5")
    assert len(node.asked) == 2
    node.asked[1][3](node.log.codec.decode(stream, type_name, data))
    assert account.secret("al", "MD5") == "md5"
    node.directory.prepare("al", "x.un")
    assert len(node.asked) == 2


def test_names_of_nobody_are_delayed_once_where_secrets_come_later() -> None:
    assert not Node().directory.delays("zoe@x.un")
    node = Node(remote=True)
    node.directory.prepare("zoe", "x.un")
    assert [node.directory.delays("zoe@x.un") for _ in range(3)] == [True, False, False]


def test_a_change_is_seen_and_what_leads_to_it() -> None:
    node = Node()
    assert node.directory.find("401", "x.un") is None
    node.happen(AL, AccountAliasesSet(aliases=("401",)))
    assert node.found("401").address == "al@x.un"
    node.happen(AL, AccountAliasesSet(aliases=("402",)))
    assert node.directory.find("401", "x.un") is None
    assert node.found("402").address == "al@x.un"
    node.happen(AL, AccountDeleted(name="al", domain="x.un"))
    assert node.directory.find("402", "x.un") is None
    node.happen("account/402@x.un", AccountCreated(name="402", domain="x.un"))
    assert node.found("402").address == "402@x.un"


def test_an_address_that_was_remembered_is_known_before_the_log_has_it() -> None:
    node = Node()
    node.rulebook.apply(AL, DatasetEntryAdded(dataset="d", address="zoe@far.example"))
    assert list(node.rulebook.dataset("al@x.un", "d")) == ["zoe@far.example"]
    assert node.rulebook.may_remember("al@x.un", "d", "bo@far.example") == ""


def test_an_event_is_not_folded_in_memory_but_forgotten_and_looked_up() -> None:
    node = Node()
    assert node.found("al").aliases == ()
    changed = AccountAliasesSet(aliases=("401",))
    node.directory.apply(AL, changed)
    assert node.found("al").aliases == (), "the file does not have it yet"
    node.log.append(AL, ANY_VERSION, [changed], Meta())
    node.database.advance(node.log)
    node.directory.apply(AL, changed)
    assert node.found("al").aliases == ("401",)
    assert isinstance(node.rulebook, Rulebook)


def test_whoever_was_not_told_forgets_everything() -> None:
    node = Node()
    assert node.found("al").aliases == ()
    node.log.append(AL, ANY_VERSION, [AccountAliasesSet(aliases=("401",))], Meta())
    node.database.advance(node.log)
    assert node.found("al").aliases == ()
    node.directory.forget_all()
    assert node.found("al").aliases == ("401",)
