"""Commands on names: aliases, numbers, groups, forwarders, the Main Domain, what a server has."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from pbx.commands import Administration, digest_secrets
from pbx.domain.accounts import AccountPasswordSet
from pbx.domain.setting_events import DomainSettingsChanged
from pbx.eventlog import Codec, MemoryLog, memory_keys
from pbx.inventory import inventory
from pbx.kernel.errors import DomainError
from pbx.router import DEFAULT_TABLE, AddressError, Kind, ObjectKind, TableError, Unknown


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog(codec=Codec(memory_keys()))


@pytest.fixture
def administrate(log: MemoryLog) -> Administration:
    """Two domains, the first with an alias, and Ann and Bob."""
    made = Administration(log, actor="cli:tester")
    made.create_domain("a.dom", ["alias.dom"])
    made.create_domain("b.dom")
    made.create_account("ann@a.dom")
    made.create_account("bob@alias.dom")
    return made


def test_what_a_server_begins_with(log: MemoryLog) -> None:
    """Once: what was deleted or emptied does not come back (Router reference §9)."""
    administrate = Administration(log, actor="server")
    was = administrate.installed
    administrate.install()
    assert (was, administrate.installed) == (False, True)
    assert inventory(log).server.table() == DEFAULT_TABLE
    assert inventory(log).accounts == {}
    administrate.create_domain("a.dom")
    administrate.create_domain("b.dom")
    found = inventory(log)
    assert list(found.accounts) == ["postmaster@a.dom", "pbx@a.dom"]
    assert found.accounts["pbx@a.dom"].aliases == ("200", "conference")
    assert not found.accounts["postmaster@a.dom"].has_password
    administrate.delete_account("pbx@a.dom")
    administrate.set_router_table("")
    before = log.head()
    administrate.install()
    assert log.head() == before


def test_names_that_somebody_has_are_left_to_them(log: MemoryLog) -> None:
    """A server of an earlier version, where 200 is a person."""
    administrate = Administration(log, actor="server")
    administrate.create_domain("a.dom")
    administrate.delete_account("pbx@a.dom")
    administrate.create_account("200@a.dom")
    administrate.create_domain("b.dom")
    administrate.create_account("conference@b.dom")
    administrate.create_forwarder("postmaster@b.dom", "200@a.dom")
    assert administrate.set_main_domain("b.dom") == "b.dom"
    found = inventory(log)
    assert found.main_domain == "b.dom"
    assert found.accounts["pbx@b.dom"].aliases == ("200",)
    assert "postmaster@b.dom" not in found.accounts


def test_the_main_domain_stays_while_there_are_others(administrate: Administration) -> None:
    administrate.delete_account("ann@a.dom")
    administrate.delete_account("bob@a.dom")
    with pytest.raises(DomainError, match=r"a\.dom is the Main Domain: choose another first"):
        administrate.delete_domain("a.dom")
    administrate.set_main_domain("b.dom")
    assert administrate.delete_domain("a.dom") == "a.dom"
    assert administrate.inventory.main_domain == "b.dom"
    assert all(account.domain == "b.dom" for account in administrate.inventory.accounts.values())


def test_a_domain_with_objects_stays(administrate: Administration) -> None:
    administrate.create_forwarder("x@b.dom", "y")
    administrate.create_group("g@b.dom")
    administrate.create_group("h@b.dom")
    with pytest.raises(DomainError, match=r"still has 2 groups, 1 forwarder: .*pbx group list"):
        administrate.delete_domain("b.dom")
    for address in ("g@b.dom", "h@b.dom"):
        administrate.delete_object(ObjectKind.GROUP, address)
    administrate.delete_object(ObjectKind.FORWARDER, "x@b.dom")
    assert administrate.delete_domain("b.dom") == "b.dom"


def test_aliases(administrate: Administration, log: MemoryLog) -> None:
    assert administrate.add_alias("401", "ann@a.dom").aliases == ("401",)
    assert administrate.add_alias("401", "ann@alias.dom").aliases == ("401",)
    assert administrate.add_alias("Desk", "ann@a.dom").aliases == ("401", "desk")
    assert inventory(log).account_of("desk", "a.dom") == "ann@a.dom"
    assert administrate.remove_alias("401@alias.dom").aliases == ("desk",)
    assert administrate.add_alias("401", "bob@a.dom").aliases == ("401",)
    assert administrate.set_aliases("ann@a.dom", ["ann", "a1"]).aliases == ("a1",)
    for alias in ("401@a.dom", "x@a.dom", "ann@a.dom"):
        if alias == "401@a.dom":
            administrate.delete_account("bob@a.dom")
        with pytest.raises(DomainError, match="there is no alias"):
            administrate.remove_alias(alias)


Command = Callable[[Administration, str], object]


@pytest.mark.parametrize(
    "command",
    [
        lambda a, name: a.create_account(f"{name}@a.dom"),
        lambda a, name: a.add_alias(name, "bob@a.dom"),
        lambda a, name: a.set_aliases("bob@a.dom", [name]),
        lambda a, name: a.create_group(f"{name}@alias.dom"),
        lambda a, name: a.create_forwarder(f"{name}@a.dom", "bob"),
        lambda a, name: a.create_list(f"{name}@a.dom", "bob"),
        lambda a, name: a.create_task(f"{name}@a.dom", "bob", "app"),
    ],
)
@pytest.mark.parametrize("name", ["ann", "401", "sales", "desk", "news", "queue"])
def test_a_name_belongs_to_one_object(
    administrate: Administration, command: Command, name: str
) -> None:
    """Over all kinds (Objects and settings reference §1); in another domain it is free."""
    administrate.add_alias("401", "ann@a.dom")
    administrate.create_group("sales@a.dom")
    administrate.create_forwarder("desk@a.dom", "ann")
    administrate.create_list("news@a.dom", "ann@a.dom")
    administrate.create_task("queue@a.dom", "ann", "acd")
    with pytest.raises(DomainError, match=r"is taken|exists already"):
        command(administrate, name)
    assert administrate.create_group(f"{name}@b.dom").exists


def test_special_names_are_nobody_s(administrate: Administration) -> None:
    for name in ("null", "error", "spamtrap", "blackhole"):
        with pytest.raises(DomainError, match="special address of the Router"):
            administrate.create_account(f"{name}@a.dom")
    for domain in ("telnum", "pstn", "error"):
        with pytest.raises(DomainError, match="special domain of the Router"):
            administrate.create_domain(domain)


def test_numbers_belong_to_one_account(administrate: Administration, log: MemoryLog) -> None:
    """With or without the plus they are the same number."""
    ann = administrate.add_telnum("+7 (495) 123-45-67", "ann@a.dom")
    assert ann.telnums == ("+74951234567",)
    assert administrate.add_telnum("74951234567", "ann@a.dom").telnums == ("+74951234567",)
    with pytest.raises(DomainError, match=r"belongs to the account ann@a\.dom"):
        administrate.add_telnum("74951234567", "bob@a.dom")
    with pytest.raises(DomainError, match="no telephone number"):
        administrate.set_telnums("bob@a.dom", ["12a"])
    assert administrate.remove_telnum("7495-123-4567").telnums == ()
    with pytest.raises(DomainError, match="no account has the number"):
        administrate.remove_telnum("+74951234567")
    assert administrate.set_telnums("bob@a.dom", ["402", "+402"]).telnums == ("402",)
    assert inventory(log).telnum_holder("+402") == "bob@a.dom"


def test_members_come_and_go(administrate: Administration) -> None:
    administrate.create_group("sales@a.dom", ["ann"], "Sales")
    assert administrate.add_members("sales@a.dom", ["bob", "ann"]).members == ("ann", "bob")
    assert administrate.remove_members("sales@a.dom", ["Ann"]).members == ("bob",)
    with pytest.raises(DomainError, match="ann is no member of the group"):
        administrate.remove_members("sales@a.dom", ["ann", "bob"])
    changed = administrate.set_group("sales@a.dom", real_name="", options=["Expand"])
    assert (changed.members, changed.options) == (("bob",), ("Expand",))
    with pytest.raises(DomainError, match="there is no group"):
        administrate.add_members("x@a.dom", ["ann"])


def test_owners(administrate: Administration) -> None:
    """Lists and tasks belong to accounts of their domain, which cannot go before them."""
    administrate.create_list("news@a.dom", "ann")
    administrate.create_task("queue@a.dom", "ann@alias.dom", "acd")
    with pytest.raises(DomainError, match=r"owns the mailing list news@a\.dom"):
        administrate.delete_account("ann@a.dom")
    administrate.set_list("news@a.dom", "bob", {"Reply": "to list"})
    administrate.set_task("queue@a.dom", owner="bob")
    administrate.delete_account("ann@a.dom")
    for owner in ("ann", "nobody@a.dom"):
        with pytest.raises(DomainError, match="there is no account"):
            administrate.create_list("other@a.dom", owner)
    with pytest.raises(DomainError, match="is not of the domain"):
        administrate.create_list("other@b.dom", "bob@a.dom")


def test_a_password_is_for_the_aliases_too(administrate: Administration, log: MemoryLog) -> None:
    """The user name is part of a digest (RFC 7616 §3.4.2); neither reaches the log in clear."""
    administrate.add_alias("401", "ann@a.dom")
    administrate.set_password("ann@a.dom", "correct horse")
    (*_, last) = log.read_stream("account/ann@a.dom")
    assert isinstance(last.event, AccountPasswordSet)
    secrets = digest_secrets("401", "a.dom", "correct horse")
    assert json.loads(last.event.alias_ha1) == {"401": [secrets.ha1_md5, secrets.ha1_sha256]}
    assert secrets.ha1_md5.encode() not in last.data


def test_forwarders(administrate: Administration) -> None:
    assert administrate.create_forwarder("301@a.dom", "sayhello#pbx").target == "sayhello#pbx"
    assert administrate.set_forwarder("301@alias.dom", "bob").target == "bob"
    with pytest.raises(AddressError):
        administrate.create_forwarder("302@a.dom", "no address")


def test_a_wrong_table_changes_nothing(administrate: Administration, log: MemoryLog) -> None:
    table = administrate.set_router_table("<a> = b ; why\n")
    assert len(table.records) == 1
    before = log.head()
    with pytest.raises(TableError, match="line 2, column 1: expected"):
        administrate.set_router_table("<a> = b\nBad:<c> = d\n")
    assert log.head() == before
    assert inventory(log).server.table() == "<a> = b ; why\n"


def test_aliases_of_domains(administrate: Administration) -> None:
    changed = administrate.set_domain_aliases("alias.dom", ["c.dom", "a.dom"])
    assert (changed.name, changed.aliases) == ("a.dom", ("c.dom",))
    with pytest.raises(DomainError, match=r"b\.dom is a name of the domain b\.dom already"):
        administrate.set_domain_aliases("a.dom", ["b.dom"])
    with pytest.raises(DomainError, match=r"there is no domain alias\.dom"):
        administrate.set_domain_aliases("alias.dom", [])


def test_unknown_names(administrate: Administration, log: MemoryLog) -> None:
    values = administrate.set_unknown("a.dom", Kind.SIGNAL, Unknown.REROUTE, "pbx")
    assert values == {"SignalToUnknown": "Rerouted to", "SignalRerouteAddress": "pbx"}
    (*_, last) = log.read_stream("domain/a.dom")
    assert last.event == DomainSettingsChanged(values=dict(values))
    with pytest.raises(DomainError, match="give the address they go to"):
        administrate.set_unknown("a.dom", Kind.MAIL, Unknown.REROUTE)
    with pytest.raises(AddressError):
        administrate.set_unknown("a.dom", Kind.MAIL, Unknown.REROUTE, "*@")
    with pytest.raises(DomainError, match="there is no domain"):
        administrate.set_unknown("x.dom", Kind.MAIL, Unknown.REJECT)


def test_two_administrators_add_to_one_account(log: MemoryLog) -> None:
    """Neither loses what the other added in between."""
    first, second = (Administration(log, actor=name) for name in ("cli:a", "cli:b"))
    first.create_domain("a.dom")
    first.create_account("ann@a.dom")
    assert second.inventory.accounts
    first.add_alias("401", "ann@a.dom")
    assert second.add_alias("402", "ann@a.dom").aliases == ("401", "402")


def test_an_inventory_is_brought_up_to_date(log: MemoryLog) -> None:
    administrate = Administration(log, actor="cli:a")
    found = inventory(log)
    administrate.create_domain("a.dom")
    administrate.add_telnum("1", "pbx@a.dom")
    assert found.refresh(log).telnum_holder("1") == "pbx@a.dom"
    administrate.delete_account("pbx@a.dom")
    found.refresh(log)
    assert (found.telnum_holder("1"), found.account_of("200", "a.dom")) == ("", "")
    assert found.position == log.head()
