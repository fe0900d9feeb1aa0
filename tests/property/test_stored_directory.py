"""What is looked up, cached and forgotten is what would be in memory.

Hypothesis draws a history of the configuration, races between commands included. After every event
the stored directory (with a cache of a few entries), its rulebook and the stored inventory must
answer as those that fold everything in memory, whoever brought the file level and wherever batches
were cut.
"""

from __future__ import annotations

import random
import tempfile
from pathlib import Path
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from pbx.calls.directory import Account, Directory
from pbx.calls.rulebook import Rulebook
from pbx.calls.stored_directory import StoredDirectory, StoredRulebook
from pbx.configdb import ConfigDb, StoredInventory
from pbx.domain import accounts, objects, rules
from pbx.domain.server import MainDomainSet, RouterTableSet
from pbx.domain.setting_events import (
    AccountRightsSet,
    AccountSettingsChanged,
    DomainSettingsChanged,
    ServerSettingsChanged,
)
from pbx.eventlog import MemoryLog, Meta
from pbx.inventory import Inventory
from pbx.kernel.events import Event
from pbx.router import Kind, Unknown, route
from pbx.rules import IMMEDIATE, parse_rules

DOMAINS = ("x.un", "y.un", "z.un")
DOMAIN_ALIASES = ("mail.x.un", "other.un")
NAMES = ("al", "bo", "cy", "di")
ALIASES = ("401", "402", "desk")
NUMBERS = ("+491", "492", "+493")
GROUPS = ("sales", "help")
RULE, QUIET = rules.stored(
    parse_rules(
        [["100005", "r", [], [["Write To Log", "a"]]], ["100003", "q", [], [["Write To Log", "b"]]]]
    )
)


class World:
    """Everything that exists as the generator of a history knows it."""

    def __init__(self, seed: int, *, racing: bool = False) -> None:
        self.rng = random.Random(seed)
        self.racing = racing
        """Names are taken that somebody has, as when two commands are given at the same moment."""
        self.held: dict[str, tuple[str, ...]] = {}
        """Aliases and numbers by what has them."""
        self.domains: set[str] = set()
        self.accounts: set[str] = set()
        self.objects: set[str] = set()

    def some(self, pool: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(self.rng.sample(pool, self.rng.randrange(len(pool) + 1)))

    def free(self, pool: tuple[str, ...], holder: str, among: str) -> tuple[str, ...]:
        """Some names that nobody else has among the holders whose names end so."""
        taken = {
            name
            for other, names in self.held.items()
            if other != holder and other.endswith(among)
            for name in names
        }
        found = tuple(name for name in self.some(pool) if self.racing or name not in taken)
        self.held[holder] = found
        return found

    def step(self) -> tuple[str, Event]:
        """The next event and its stream."""
        rng = self.rng
        kind = rng.randrange(12)
        domain = rng.choice(DOMAINS)
        if kind < 3:
            return self._domain(domain)
        if kind == 3:
            return "server", self._server()
        if kind < 6 and self.domains:
            return self._object(rng.choice(sorted(self.domains)))
        if self.domains:
            return self._account(rng.choice(sorted(self.domains)))
        return self._domain(domain)

    def _limits(self) -> dict[str, object]:
        keys = {
            "CallsLimit": self.rng.choice(["unlimited", "1", 7]),
            "MaxSignalContacts": "3",
            "ServiceClass": self.rng.choice(["gold", ""]),
            "RealName": "Anna",
            "CallOutFlow": ["5", "1m"],
            "CallerIdNumber": "4930",
            "Other": "x",
        }
        return {key: keys[key] for key in self.some(tuple(keys))}

    def _domain(self, name: str) -> tuple[str, Event]:
        rng, stream = self.rng, f"domain/{name}"
        if name not in self.domains:
            self.domains.add(name)
            aliases = self.free(DOMAIN_ALIASES, stream, "")
            return stream, accounts.DomainCreated(name=name, aliases=aliases)
        kind = rng.randrange(6)
        if kind == 0 and not any(a.endswith(name) for a in self.accounts | self.objects):
            self.domains.discard(name)
            self.held.pop(stream, None)
            return stream, accounts.DomainDeleted(name=name)
        if kind == 1:
            aliases = self.free(DOMAIN_ALIASES, stream, "")
            return stream, accounts.DomainAliasesSet(aliases=aliases)
        if kind == 2:
            return stream, DomainSettingsChanged(
                section="account-defaults",
                values={**self._limits(), "ServiceClasses": {"gold": {"CallsLimit": "9"}}},
                removed=self.some(("CallsLimit", "MaxSignalContacts")),
            )
        if kind == 3:
            return stream, rules.RulesChanged(rules=rng.choice([(), (RULE,), (QUIET, RULE)]))
        if kind == 4:
            return stream, rules.DomainLimitsSet(calls_limit=rng.choice([-1, 0, 5]))
        return stream, DomainSettingsChanged(
            values={
                "SignalToUnknown": rng.choice(["Discarded", "Rejected"]),
                **({"CallsLimit": rng.choice(["3", "unlimited"])} if rng.random() < 0.5 else {}),
            },
            removed=self.some(("SignalToUnknown", "MailToUnknown", "CallsLimit")),
        )

    def _server(self) -> Event:
        rng = self.rng
        return rng.choice(
            [
                RouterTableSet(text=rng.choice(["<9@*> = al", "; nothing"])),
                RouterTableSet(text="<8@*> = bo", table="cluster"),
                MainDomainSet(name=rng.choice(DOMAINS)),
                rules.RulesChanged(rules=rng.choice([(), (RULE,)])),
                ServerSettingsChanged(
                    section="domain-defaults",
                    values=rng.choice([{"MailToUnknown": "Discarded"}, {"CallsLimit": 8}]),
                    removed=self.some(("CallsLimit",)),
                ),
                ServerSettingsChanged(
                    section="account-defaults",
                    values=self._limits(),
                    removed=self.some(("CallsLimit",)),
                ),
                ServerSettingsChanged(section="module.SIP", values={"CallsLimit": "1"}),
            ]
        )

    def _object(self, domain: str) -> tuple[str, Event]:
        rng, name = self.rng, self.rng.choice(GROUPS)
        prefix = "group" if name == "sales" else rng.choice(["forwarder", "list", "task"])
        held = next((s for s in self.objects if s.endswith(f"/{name}@{domain}")), "")
        if not held:
            stream = f"{prefix}/{name}@{domain}"
            self.objects.add(stream)
            made: dict[str, Event] = {
                "group": objects.GroupCreated(name=name, domain=domain),
                "forwarder": objects.ForwarderCreated(name=name, domain=domain, target="al"),
                "list": objects.ListCreated(name=name, domain=domain, owner="al"),
                "task": objects.TaskCreated(name=name, domain=domain, owner="al", program="p"),
            }
            return stream, made[prefix]
        prefix = held.partition("/")[0]
        if rng.randrange(3) == 0:
            self.objects.discard(held)
            ends = {
                "group": objects.GroupDeleted, "forwarder": objects.ForwarderDeleted,
                "list": objects.ListDeleted, "task": objects.TaskDeleted,
            }  # fmt: skip
            return held, ends[prefix](name=name, domain=domain)
        changed: dict[str, Event] = {
            "group": objects.GroupSet(members=self.some(NAMES), options=("SignalDisabled",)),
            "forwarder": objects.ForwarderSet(target=rng.choice(NAMES)),
            "list": objects.ListSet(owner="bo", settings={"a": 1}),
            "task": objects.TaskSet(owner="bo", program="q"),
        }
        return held, changed[prefix]

    def _account(self, domain: str) -> tuple[str, Event]:
        rng, name = self.rng, self.rng.choice(NAMES)
        address = f"{name}@{domain}"
        stream = f"account/{address}"
        if address not in self.accounts:
            self.accounts.add(address)
            return stream, accounts.AccountCreated(name=name, domain=domain, display_name="Al")
        kind = rng.randrange(10)
        if kind == 0:
            self.accounts.discard(address)
            self.held.pop(address, None)
            self.held.pop(f"#{address}", None)
            return stream, accounts.AccountDeleted(name=name, domain=domain)
        if kind == 1:
            secret = f"{rng.getrandbits(128):032x}"
            return stream, accounts.AccountPasswordSet(
                realm=domain,
                ha1_md5=secret,
                ha1_sha256=secret * 2,
                alias_ha1=rng.choice(["", '{"401":["aa","bb"]}']),
            )
        if kind < 4:
            aliases = self.free(ALIASES, address, f"@{domain}")
            return stream, accounts.AccountAliasesSet(aliases=aliases)
        if kind == 4:
            numbers = self.free(NUMBERS, f"#{address}", "")
            return stream, accounts.AccountTelnumsSet(telnums=numbers)
        if kind == 5:
            return stream, accounts.AccountLimitsSet(
                calls_limit=rng.choice([-1, 0, 4]), max_contacts=rng.randrange(5)
            )
        if kind == 6:
            return stream, rules.RulesChanged(rules=rng.choice([(), (RULE,)]))
        if kind == 7:
            entry = rules.DatasetEntryAdded(dataset="d", address=f"{rng.choice('ab')}@c")
            gone = rules.DatasetEntryRemoved(dataset="d", address="a@c")
            return stream, rng.choice([entry, gone])
        if kind == 8:
            return stream, AccountRightsSet(rights=("Domain",))
        return stream, AccountSettingsChanged(
            section=rng.choice(["settings", "settings", "prefs"]),
            values=self._limits(),
            removed=self.some(("CallsLimit", "RealName", "ServiceClass")),
        )


class Sides(NamedTuple):
    """The same in memory and stored."""

    directory: Directory
    rulebook: Rulebook
    inventory: Inventory


def answers(sides: Sides, *, racing: bool = False) -> dict[str, object]:
    """All that can be asked; who has a name that two have, the inventory does not promise."""
    directory, rulebook, inventory = sides
    found: dict[str, object] = {"main": directory.main_domain, "rules": rulebook.present}
    for host in (*DOMAINS, *DOMAIN_ALIASES, "X.un", "192.0.2.1", "far.example", ""):
        found[f"host {host}"] = directory.local_domain(host)
    for domain in DOMAINS:
        found[f"limit {domain}"] = directory.calls_limit_of(domain)
        for kind in Kind:
            policy = directory.unknown(domain, kind)
            # Where an address leads that is rejected does not count.
            rejected = policy.action is Unknown.REJECT
            found[f"unknown {domain} {kind}"] = (
                (policy.action, policy.consult) if rejected else policy
            )
        for name in (*NAMES, *ALIASES, *GROUPS, "nobody"):
            address = f"{name}@{domain}"
            found[address] = _object(directory, name, domain)
            for key in ("CallsLimit", "CallOutFlow", "CallerIdNumber"):
                book = directory.settings
                found[f"{key} {address}"] = book.value(key, address), book.stated(key, address)
            merged = rulebook.of_account(address, with_server=True)
            found[f"rules {address}"] = [entry.label for entry in merged.at(IMMEDIATE)]
            found[f"data {address}"] = dict.fromkeys(rulebook.dataset(address, "d"))
            found[f"route {address}"] = route(address, Kind.SIGNAL, directory)[:4]
            if not racing:
                found[f"holder {address}"] = inventory.holder(name, domain)
                found[f"account of {address}"] = inventory.account_of(name, domain)
        found[f"contents {domain}"] = dict(inventory.contents(domain))
        found[f"accounts {domain}"] = sorted(map(repr, inventory.accounts_of(domain)))
        found[f"owned {domain}"] = sorted(map(repr, inventory.owned_by(f"bo@{domain}")))
    for number in NUMBERS:
        found[number] = directory.telnum(number)
        if not racing:
            found[f"holder {number}"] = inventory.telnum_holder(number)
    found["domains"] = dict(inventory.domains)
    found["accounts"] = dict(inventory.accounts), len(inventory.accounts)
    found["objects"] = dict(inventory.objects)
    found["server"] = inventory.server, inventory.main_domain
    found["sizes"] = list(inventory.domain_sizes())
    return found


def _object(directory: Directory, name: str, domain: str) -> object:
    found = directory.find(name, domain)
    if not isinstance(found, Account):
        return found
    return (
        found.address, found.display_name, found.aliases, found.telnums, found.calls_limit,
        found.max_contacts,
        [found.secret(login, kind) for login in (name, "401") for kind in ("MD5", "SHA-256")],
    )  # fmt: skip


@given(
    st.integers(0, 2**32), st.integers(1, 60), st.integers(1, 4), st.integers(1, 9), st.booleans()
)
@settings(max_examples=150, deadline=None)
def test_stored_is_as_in_memory(
    seed: int, count: int, every: int, cached: int, racing: bool
) -> None:
    world = World(seed, racing=racing)
    log = MemoryLog()
    database = ConfigDb(None, lambda: log.codec)
    reader = database.reader()
    stored = StoredDirectory(reader, log.codec.decode, cached=cached)
    book = StoredRulebook(stored)
    folded, folded_book = Directory(), Rulebook()
    for directory in (stored, folded):
        directory.set_own_hosts(frozenset({"192.0.2.1"}))
    memory = Sides(folded, folded_book, Inventory())
    file = Sides(stored, book, StoredInventory(database, reader))
    taken = 0
    for number in range(count):
        stream, event = world.step()
        version = len(list(log.read_stream(stream)))
        log.append(stream, version, [event], Meta())
        if number % every and number < count - 1:
            continue
        # As the signal role does it: several at once, level first, then told.
        database.advance(log)
        for record in log.read(taken):
            folded.apply(record.stream, record.event)
            folded_book.apply(record.stream, record.event)
            if record.position % 3:
                stored.take(record)
            else:  # the same, told as an event
                stored.apply(record.stream, record.event)
            book.take(record)
            taken = record.position
        memory.inventory.refresh(log)
        file.inventory.refresh(log)
        assert answers(file, racing=racing) == answers(memory, racing=racing)
        assert len(stored._cache) <= cached


@given(st.integers(0, 2**32), st.integers(1, 80), st.lists(st.integers(0, 80), max_size=4))
@settings(max_examples=40, deadline=None)
def test_whoever_folds_and_however_often_it_is_interrupted(
    seed: int, count: int, stops: list[int]
) -> None:
    """A file that was left behind, by a process that died between two batches, is caught up."""
    world = World(seed)
    log = MemoryLog()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "config.sqlite3")
        for number in range(count):
            stream, event = world.step()
            log.append(stream, len(list(log.read_stream(stream))), [event], Meta())
            if number in stops:
                database = ConfigDb(path, lambda: log.codec)
                database.advance(log)
                database.close()
        database = ConfigDb(path, lambda: log.codec)
        inventory = StoredInventory(database).refresh(log)
        directory = StoredDirectory(database.reader(), log.codec.decode)
        file = Sides(directory, StoredRulebook(directory), inventory)
        folded, book = Directory(), Rulebook()
        for record in log.read():
            folded.apply(record.stream, record.event)
            book.apply(record.stream, record.event)
        assert answers(file) == answers(Sides(folded, book, Inventory().refresh(log)))
