"""Accounts and domains, folded from events and asked on the call path."""

from __future__ import annotations

import pytest

from pbx.calls.directory import Directory
from pbx.domain.accounts import (
    AccountAliasesSet,
    AccountCreated,
    AccountDeleted,
    AccountLimitsSet,
    AccountPasswordSet,
    AccountTelnumsSet,
    DomainAliasesSet,
    DomainCreated,
    DomainDeleted,
)
from pbx.domain.nodes import NodeStopped
from pbx.domain.objects import (
    ForwarderCreated,
    ForwarderDeleted,
    ForwarderSet,
    GroupCreated,
    GroupDeleted,
    GroupSet,
    ListCreated,
    ListDeleted,
    TaskCreated,
    TaskDeleted,
    TaskSet,
)
from pbx.domain.server import MainDomainSet, RouterTableSet
from pbx.domain.setting_events import DomainSettingsChanged, ServerSettingsChanged
from pbx.kernel.events import Event
from pbx.router import (
    Forwarder,
    Group,
    Kind,
    MailingList,
    NamedTask,
    Unknown,
    UnknownPolicy,
)

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


def test_the_chosen_main_domain(directory: Directory) -> None:
    """Until it is deleted; then the first one there is."""
    directory.apply("server", MainDomainSet(name="example.net"))
    assert directory.main_domain == "example.net"
    directory.apply("domain/example.net", DomainDeleted(name="example.net"))
    assert directory.main_domain == "example.org"


def test_aliases_of_a_domain_are_replaced(directory: Directory) -> None:
    directory.apply("domain/example.org", DomainAliasesSet(aliases=("new.example",)))
    assert directory.local_domain("new.example") == "example.org"
    assert directory.local_domain("example.com") == ""
    assert directory.main_domain == "example.org"


def test_aliases_and_numbers_of_an_account(directory: Directory) -> None:
    directory.apply(ALICE, AccountAliasesSet(aliases=("401", "desk")))
    directory.apply(ALICE, AccountTelnumsSet(telnums=("+4930123",)))
    alice = directory.by_address("alice@example.org")
    assert alice is not None
    assert directory.account("DESK", "example.org") is alice
    assert directory.by_login("401@example.com", "example.org") is alice
    assert directory.telnum("4930123") == directory.telnum("+4930123") == alice.address
    directory.apply(ALICE, AccountAliasesSet(aliases=("402",)))
    directory.apply(ALICE, AccountTelnumsSet())
    assert directory.account("401", "example.org") is None
    assert directory.telnum("4930123") == ""
    assert directory.statistics() == {"domains": 2, "accounts": 1, "names": 2}
    directory.apply(ALICE, AccountDeleted(name="alice", domain="example.org"))
    assert directory.statistics() == {"domains": 2, "accounts": 0, "names": 0}


def test_a_name_that_two_commands_gave_at_once(directory: Directory) -> None:
    """Whoever has it by itself keeps it; nothing is lost when the alias goes."""
    bob = "account/bob@example.org"
    directory.apply(bob, AccountCreated(name="bob", domain="example.org"))
    directory.apply(ALICE, AccountAliasesSet(aliases=("bob",)))
    found = directory.find("bob", "example.org")
    assert found is directory.by_address("bob@example.org")
    directory.apply(ALICE, AccountAliasesSet())
    assert directory.find("bob", "example.org") is found


def test_other_objects(directory: Directory) -> None:
    changes: list[tuple[str, Event, object]] = [
        ("group", GroupCreated(name="x", domain="example.org"), Group("x")),
        ("group", GroupSet(members=("a",), options=("EmailDisabled",)),
         Group("x", ("a",), mail=False)),
        ("forwarder", ForwarderSet(target="z"), Group("x", ("a",), mail=False)),
        ("list", ListDeleted(name="x", domain="example.org"), Group("x", ("a",), mail=False)),
        ("group", GroupDeleted(name="x", domain="example.org"), None),
        ("forwarder", ForwarderCreated(name="x", domain="example.org", target="y"),
         Forwarder("x", "y")),
        ("forwarder", ForwarderSet(target="z"), Forwarder("x", "z")),
        ("forwarder", ForwarderDeleted(name="x", domain="example.org"), None),
        ("list", ListCreated(name="x", domain="example.org", owner="a"), MailingList("x")),
        ("list", ListDeleted(name="x", domain="example.org"), None),
        ("task", TaskCreated(name="x", domain="example.org", owner="a", program="p"),
         NamedTask("x", "a", "p")),
        ("task", TaskSet(owner="b", program="q"), NamedTask("x", "b", "q")),
        ("task", TaskDeleted(name="x", domain="example.org"), None),
    ]  # fmt: skip
    for kind, event, expected in changes:
        directory.apply(f"{kind}/x@example.org", event)
        assert directory.find("x", "example.org") == expected, event


def test_router_tables_are_compiled_once_a_change(directory: Directory) -> None:
    assert not directory.tables.records
    directory.apply("server", RouterTableSet(text="<c> = d", table="cluster"))
    directory.apply("server", RouterTableSet(text="<a> = b\nthis version does not know it"))
    assert [record.text for record in directory.tables.records] == ["<a> = b", "<c> = d"]
    assert directory.tables is directory.tables


def test_what_becomes_of_unknown_names(directory: Directory) -> None:
    """The domain's setting, else the server's for domains, else refusal (reference §5)."""
    assert directory.unknown("example.org", Kind.MAIL) == UnknownPolicy()
    values = {"MailToUnknown": "rerouted to", "ExternalOnUnknown": "YES", "Other": "x"}
    defaults = ServerSettingsChanged(section="domain-defaults", values=values)
    directory.apply("server", ServerSettingsChanged(section="module.SIP", values=values))
    assert directory.unknown("example.org", Kind.MAIL) == UnknownPolicy()
    directory.apply("server", defaults)
    rerouted = UnknownPolicy(Unknown.REROUTE, "spamtrap", consult=True)
    assert directory.unknown("example.org", Kind.MAIL) == rerouted
    own = DomainSettingsChanged(values={"MailToUnknown": "Discarded", "MailRerouteAddress": "x"})
    directory.apply("domain/example.org", own)
    discarded = UnknownPolicy(Unknown.DISCARD, "x", consult=True)
    assert directory.unknown("example.org", Kind.MAIL) == discarded
    assert directory.unknown("example.net", Kind.MAIL) == rerouted
    assert directory.unknown("example.org", Kind.SIGNAL).action is Unknown.REJECT
    directory.apply("domain/example.org", DomainDeleted(name="example.org"))
    assert directory.unknown("example.org", Kind.MAIL) == rerouted


def test_numbers_are_found_however_they_are_written(directory: Directory) -> None:
    """The area code of the server's account defaults places them; before it is set nothing is."""
    directory.apply(ALICE, AccountTelnumsSet(telnums=("8 (495) 123-45-67", "402")))
    assert directory.telnum("+74951234567") == ""
    place = ServerSettingsChanged(section="account-defaults", values={"PSTNAreaCode": "7(495)"})
    directory.apply("server", place)
    for written in ("+74951234567", "84951234567", "4951234567", "1234567", "81074951234567"):
        assert directory.telnum(written) == "alice@example.org", written
    assert directory.telnum("402") == "alice@example.org", "no number of the world: as it is"
    assert directory.telnum("+84951234567") == ""
    prefix = ServerSettingsChanged(
        section="account-defaults", values={"PSTNNationalPrefix": "9", "PSTNFromName": "$"}
    )
    directory.apply("server", prefix)
    assert directory.telnum("84951234567") == "", "it is written with a prefix of other places"
    directory.apply(ALICE, AccountTelnumsSet(telnums=("9 (495) 123-45-67",)))
    assert directory.telnum("94951234567") == "alice@example.org"
    directory.apply(ALICE, AccountTelnumsSet(telnums=()))
    assert directory.telnum("+74951234567") == ""
    directory.apply(ALICE, AccountTelnumsSet(telnums=("+74951234567",)))
    for values in ({"PSTNAreaCode": {"gwru": "7"}}, {"PSTNAreaCode": "nowhere"}):
        directory.apply("server", ServerSettingsChanged(section="account-defaults", values=values))
        assert directory.telnum("+74951234567") == "alice@example.org"
        assert directory.telnum("94951234567") == ""
    gone = ServerSettingsChanged(section="account-defaults", removed=("PSTNAreaCode",))
    directory.apply("server", gone)
    assert directory.telnum("84951234567") == ""
