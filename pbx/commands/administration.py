"""Commands on the server, its domains, and the accounts and other objects in them.

One class: each method is a check of what spans streams, a decision and an append.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pbx.commands.execution import ACCOUNT, DOMAIN, OBJECT, SERVER, execute, load
from pbx.commands.passwords import digest_secrets
from pbx.domain import accounts, objects, server
from pbx.domain.accounts import AccountState, DomainState
from pbx.domain.objects import ObjectState
from pbx.domain.setting_events import AccountRightsSet, DomainSettingsChanged
from pbx.eventlog import EventLog, Meta
from pbx.inventory import Inventory, digits_of
from pbx.kernel.errors import DomainError
from pbx.kernel.events import Event
from pbx.mail_closing import close_mail_account
from pbx.router import (
    DEFAULT_TABLE,
    MAIN_ACCOUNTS,
    POSTMASTER,
    Kind,
    ObjectKind,
    Table,
    Unknown,
    parse_address,
    parse_table,
)


class Administration:
    """The commands on the server, its domains and what is in them, for one actor.

    Every method raises :class:`DomainError` (or an error of the Router: an address or a table that
    cannot be read) with words for the administrator, or ``LogUnavailable``; when it returns, what
    it did is durable. New objects may be given with an alias of their domain.

    ==================  ===================================================================
    Aggregate           Methods
    ==================  ===================================================================
    ``DOMAIN``          create_domain delete_domain set_domain_aliases set_unknown
    ``ACCOUNT``         create_account delete_account set_password set_limits set_aliases
                        add_alias remove_alias set_telnums add_telnum remove_telnum
    ``OBJECT``          create_group set_group add_members remove_members
                        create_forwarder set_forwarder create_list set_list
                        create_task set_task delete_object
    ``SERVER``          set_router_table set_main_domain install
    ==================  ===================================================================
    """

    def __init__(
        self,
        log: EventLog,
        *,
        actor: str,
        erase: Callable[[str], object] = lambda subject: None,
        inventory: Inventory | None = None,
    ) -> None:
        """`inventory` is one that is kept already, for who gives commands in many names."""
        self._log = log
        self._actor = actor
        self._erase = erase
        """Destroys the sealing key of a subject (a stream)."""
        self._inventory = Inventory() if inventory is None else inventory

    @property
    def inventory(self) -> Inventory:
        """All that exists now; kept, and brought up to date each time it is asked for."""
        return self._inventory.refresh(self._log)

    # The server.

    @property
    def installed(self) -> bool:
        """Whether :meth:`install` was carried through once; told without reading everything."""
        return server.SERVER_TABLE in load(self._log, SERVER, server.STREAM).tables

    def install(self) -> None:
        """What a new server begins with: the accounts of the Main Domain, and a Router table.

        Makes only what never was: a table that was emptied, or an account that was deleted, does
        not come back. Names of theirs that somebody has already are left to them. The table comes
        last: while there is none, an install that was interrupted is done again.
        """
        domain = self.inventory.main_domain
        if domain:
            for name, aliases in MAIN_ACCOUNTS.items():
                self._install_account(name, domain, aliases)
        execute(
            self._log,
            SERVER,
            server.STREAM,
            lambda state: server.decide_install_table(state, DEFAULT_TABLE),
            self._meta(""),
        )

    def _install_account(self, name: str, domain: str, aliases: Sequence[str]) -> None:
        stream = accounts.account_stream(name, domain)
        known = self.inventory
        if any(self._log.read_stream(stream)) or known.holder(name, domain):
            return
        free = [alias for alias in aliases if not known.holder(alias, domain)]

        def decide(state: AccountState) -> Sequence[Event]:
            if state.exists:
                return []
            created = accounts.decide_create_account(state, name, domain, "", None)
            made = accounts.evolve_account(state, created[0])
            if name == POSTMASTER:  # who cannot log in before somebody sets a password
                created.append(AccountRightsSet(rights=("Master",)))
            return created + accounts.decide_set_aliases(made, made.address, free)

        execute(self._log, ACCOUNT, stream, decide, self._meta(domain))

    def set_router_table(self, text: str, table: str = server.SERVER_TABLE) -> Table:
        """Replace a Router table, or refuse it as a whole, naming each line that is wrong."""
        execute(
            self._log,
            SERVER,
            server.STREAM,
            lambda state: server.decide_set_table(state, text, table),
            self._meta(""),
        )
        return parse_table(text, table)

    def set_main_domain(self, name: str) -> str:
        """Let addresses without a domain be of this one."""
        name = self._domain(name)
        execute(
            self._log,
            SERVER,
            server.STREAM,
            lambda state: server.decide_set_main_domain(state, name),
            self._meta(name),
        )
        self.install()
        return name

    # Domains.

    def create_domain(self, name: str, aliases: Sequence[str] = ()) -> str:
        """Returns the name as it is stored. The first one is the Main Domain (see `install`)."""
        name = accounts.new_domain_name(name)
        names = [accounts.new_domain_name(alias) for alias in aliases]
        self._require_free((name, *names), name)
        execute(
            self._log,
            DOMAIN,
            accounts.domain_stream(name),
            lambda state: accounts.decide_create_domain(state, name, names),
            self._meta(name),
        )
        if self.inventory.main_domain == name:
            self.install()
        return name

    def set_domain_aliases(self, name: str, aliases: Sequence[str]) -> DomainState:
        """Replace the other names of a domain."""
        name = self._domain(name)
        names = [accounts.new_domain_name(alias) for alias in aliases]
        self._require_free(names, name)
        return self._on_domain(
            name, lambda state: accounts.decide_set_domain_aliases(state, name, names)
        )

    def set_unknown(
        self, name: str, kind: Kind, action: Unknown, address: str = ""
    ) -> Mapping[str, str]:
        """Say what the domain does with names it does not know; returns its new settings."""
        name = self._domain(name)
        if action is Unknown.REROUTE:
            if not address:
                raise DomainError("to reroute unknown names give the address they go to")
            parse_address(address.replace("*", "x"))
        word = kind.value.capitalize()
        values = {f"{word}ToUnknown": action.value}
        if address:
            values[f"{word}RerouteAddress"] = address
        changed = DomainSettingsChanged(values=dict(values))
        self._on_domain(name, lambda state: [changed])
        return values

    def delete_domain(self, name: str) -> str:
        """Refused while the domain has accounts or other objects.

        Those that the server made by itself (`install`) go with it. The Main Domain can be given up
        only as the last one.
        """
        name = accounts.domain_name(name)
        known = self.inventory
        if name == known.main_domain and len(known.domains) > 1:
            raise DomainError(
                f"{name} is the Main Domain: choose another first, with pbx domain main NAME"
            )
        own = [f"{account}@{name}" for account in MAIN_ACCOUNTS]
        contents = dict(known.contents(name))
        if contents["account"] == sum(address in known.accounts for address in own):
            contents["account"] = 0
        else:
            own = []
        state = known.domains.get(name, accounts.NO_DOMAIN)
        accounts.decide_delete_domain(state, name, contents)
        for address in own:
            if address in known.accounts:
                self.delete_account(address)
        self._on_domain(name, lambda state: accounts.decide_delete_domain(state, name, {}))
        return name

    # Accounts.

    def create_account(
        self, address: str, password: str | None = None, display_name: str = ""
    ) -> AccountState:
        """Without a password the account exists and nobody can log in to it."""
        name, domain = self._new(address)
        secrets = None if password is None else digest_secrets(name, domain, password)
        # Who creates what exists is told so by the stream itself.
        if f"{name}@{domain}" not in self._inventory.accounts:
            self._require_name(name, domain)
        return self._on_account(
            name,
            domain,
            lambda state: accounts.decide_create_account(
                state, name, domain, display_name, secrets
            ),
        )

    def set_password(self, address: str, password: str) -> AccountState:
        """Phones must log in anew, by the name or by any alias; calls in progress go on."""
        name, domain = accounts.account_address(address)
        known = self.inventory.accounts.get(f"{name}@{domain}", accounts.NO_ACCOUNT)
        secrets = digest_secrets(name, domain, password, known.aliases)
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

    def set_aliases(self, address: str, aliases: Sequence[str]) -> AccountState:
        """Replace the other names of an account."""
        name, domain = accounts.account_address(address)
        address = f"{name}@{domain}"
        names = [accounts.new_name(alias) for alias in aliases]
        for alias in names:
            if alias != name:
                self._require_name(alias, domain, address)
        return self._on_account(
            name, domain, lambda state: accounts.decide_set_aliases(state, address, names)
        )

    def add_alias(self, alias: str, address: str) -> AccountState:
        """One more name for an account; nothing if it has it."""
        account = self._account(address)
        name = accounts.new_name(alias)
        if name != account.name:
            self._require_name(name, account.domain, account.address)
        return self._on_account(
            account.name,
            account.domain,
            lambda state: accounts.decide_set_aliases(
                state, account.address, (*state.aliases, name)
            ),
        )

    def remove_alias(self, alias: str) -> AccountState:
        """Take ``alias@domain`` away from whoever has it."""
        name, domain = self._address(alias)
        address = self._inventory.account_of(name, domain)
        if not address or address == f"{name}@{domain}":
            raise DomainError(f"there is no alias {name}@{domain}; see: pbx alias list")
        return self._on_account(
            address.partition("@")[0],
            domain,
            lambda state: accounts.decide_set_aliases(
                state, address, [other for other in state.aliases if other != name]
            ),
        )

    def set_telnums(self, address: str, telnums: Sequence[str]) -> AccountState:
        """Replace the telephone numbers of an account; a number belongs to one account."""
        name, domain = accounts.account_address(address)
        address = f"{name}@{domain}"
        numbers = self._free_telnums(telnums, address)
        return self._on_account(
            name, domain, lambda state: accounts.decide_set_telnums(state, address, numbers)
        )

    def add_telnum(self, number: str, address: str) -> AccountState:
        """One more telephone number for an account; nothing if it has it."""
        account = self._account(address)
        added = self._free_telnums([number], account.address)
        return self._on_account(
            account.name,
            account.domain,
            lambda state: accounts.decide_set_telnums(
                state, account.address, _one_each((*state.telnums, *added))
            ),
        )

    def remove_telnum(self, number: str) -> AccountState:
        """Take a number away from whoever has it."""
        number = accounts.telnum(number)
        address = self.inventory.telnum_holder(number)
        if not address:
            raise DomainError(f"no account has the number {number}; see: pbx telnum list")
        name, _, domain = address.partition("@")
        digits = digits_of(number)
        return self._on_account(
            name,
            domain,
            lambda state: accounts.decide_set_telnums(
                state, address, [other for other in state.telnums if digits_of(other) != digits]
            ),
        )

    def _free_telnums(self, telnums: Iterable[str], address: str) -> list[str]:
        numbers = _one_each(map(accounts.telnum, telnums))
        known = self.inventory
        for number in numbers:
            holder = known.telnum_holder(number)
            if holder not in ("", address):
                raise DomainError(f"the number {number} belongs to the account {holder}")
        return numbers

    def delete_account(self, address: str) -> str:
        """Its mailboxes go with it; destroys the key that opens its sealed fields, its mail too."""
        name, domain = accounts.account_address(address)
        address = f"{name}@{domain}"
        owned = next(self.inventory.owned_by(address), None)
        if owned is not None and owned.kind is not None:
            raise DomainError(
                f"{address} owns the {owned.kind.value} {owned.address}: delete that first, or "
                "give it to another account"
            )
        self._on_account(name, domain, lambda state: accounts.decide_delete_account(state, address))
        close_mail_account(self._log, address, self._meta(domain))
        self._erase(accounts.account_stream(name, domain))
        return address

    # Groups, forwarders, mailing lists and named tasks.

    def create_group(
        self,
        address: str,
        members: Sequence[str] = (),
        real_name: str = "",
        options: Iterable[str] = (),
    ) -> ObjectState:
        """Members are addresses; without a domain they are of the group's."""
        name, domain = self._new(address)
        return self._create(
            ObjectKind.GROUP,
            name,
            domain,
            lambda state: objects.decide_create_group(
                state, name, domain, members, real_name, tuple(options)
            ),
        )

    def set_group(
        self,
        address: str,
        members: Sequence[str] | None = None,
        real_name: str | None = None,
        options: Iterable[str] | None = None,
    ) -> ObjectState:
        """None leaves a part as it is."""
        on = None if options is None else tuple(options)
        return self._on_object(
            ObjectKind.GROUP,
            address,
            lambda state, known: objects.decide_set_group(state, known, members, real_name, on),
        )

    def add_members(self, address: str, members: Sequence[str]) -> ObjectState:
        """More members for a group; those it has already stay where they are."""
        return self._on_object(
            ObjectKind.GROUP,
            address,
            lambda state, known: objects.decide_set_group(state, known, (*state.members, *members)),
        )

    def remove_members(self, address: str, members: Sequence[str]) -> ObjectState:
        """Take members out of a group, as they are written in it."""
        gone = {member.strip().lower() for member in members}

        def decide(state: ObjectState, known: str) -> Sequence[Event]:
            kept = [member for member in state.members if member.lower() not in gone]
            if state.exists and len(state.members) - len(kept) < len(gone):
                missing = gone - {member.lower() for member in state.members}
                raise DomainError(f"{min(missing)} is no member of the group {known}")
            return objects.decide_set_group(state, known, kept)

        return self._on_object(ObjectKind.GROUP, address, decide)

    def create_forwarder(self, address: str, target: str) -> ObjectState:
        """`target` is any address of the Router; without a domain it is of the forwarder's."""
        name, domain = self._new(address)
        return self._create(
            ObjectKind.FORWARDER,
            name,
            domain,
            lambda state: objects.decide_create_forwarder(state, name, domain, target),
        )

    def set_forwarder(self, address: str, target: str) -> ObjectState:
        """Let it stand for another address."""
        return self._on_object(
            ObjectKind.FORWARDER,
            address,
            lambda state, known: objects.decide_set_forwarder(state, known, target),
        )

    def create_list(self, address: str, owner: str) -> ObjectState:
        """`owner` is an account of the same domain."""
        name, domain = self._new(address)
        owner = self._owner(owner, domain)
        return self._create(
            ObjectKind.LIST,
            name,
            domain,
            lambda state: objects.decide_create_list(state, name, domain, owner),
        )

    def set_list(
        self,
        address: str,
        owner: str | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> ObjectState:
        """None leaves a part as it is; `settings` replace all of them."""
        wanted = None if owner is None else self._owner(owner, self._address(address)[1])
        return self._on_object(
            ObjectKind.LIST,
            address,
            lambda state, known: objects.decide_set_list(state, known, wanted, settings),
        )

    def create_task(self, address: str, owner: str, program: str) -> ObjectState:
        """`program` is the name of a real-time application."""
        name, domain = self._new(address)
        owner = self._owner(owner, domain)
        return self._create(
            ObjectKind.TASK,
            name,
            domain,
            lambda state: objects.decide_create_task(state, name, domain, owner, program),
        )

    def set_task(
        self,
        address: str,
        owner: str | None = None,
        program: str | None = None,
        real_name: str | None = None,
    ) -> ObjectState:
        """None leaves a part as it is."""
        wanted = None if owner is None else self._owner(owner, self._address(address)[1])
        return self._on_object(
            ObjectKind.TASK,
            address,
            lambda state, known: objects.decide_set_task(state, known, wanted, program, real_name),
        )

    def delete_object(self, kind: ObjectKind, address: str) -> str:
        """Delete a group, forwarder, mailing list or named task."""
        name, domain = self._address(address)
        self._on_object(
            kind, address, lambda state, known: objects.decide_delete_object(state, kind, known)
        )
        return f"{name}@{domain}"

    def _create(
        self,
        kind: ObjectKind,
        name: str,
        domain: str,
        decide: Callable[[ObjectState], Sequence[Event]],
    ) -> ObjectState:
        self._require_name(name, domain)
        stream = objects.object_stream(kind, name, domain)
        execute(self._log, OBJECT, stream, decide, self._meta(domain))
        return load(self._log, OBJECT, stream)

    def _on_object(
        self,
        kind: ObjectKind,
        address: str,
        decide: Callable[[ObjectState, str], Sequence[Event]],
    ) -> ObjectState:
        name, domain = self._address(address)
        stream = objects.object_stream(kind, name, domain)
        known = f"{name}@{domain}"
        execute(self._log, OBJECT, stream, lambda state: decide(state, known), self._meta(domain))
        return load(self._log, OBJECT, stream)

    # Names.

    def _domain(self, name: str) -> str:
        """The domain that a name or alias means."""
        name = accounts.domain_name(name)
        found = self.inventory.domain_of(name)
        if not found:
            raise DomainError(f"there is no domain {name}; make it: pbx domain create {name}")
        return found

    def _address(self, address: str) -> tuple[str, str]:
        name, domain = accounts.account_address(address)
        return name, self._domain(domain)

    def _new(self, address: str) -> tuple[str, str]:
        """Name and domain of an object to be made."""
        name, domain = self._address(address)
        return accounts.new_name(name), domain

    def _account(self, address: str) -> AccountState:
        name, domain = self._address(address)
        found = self._inventory.accounts.get(f"{name}@{domain}")
        if found is None:
            raise DomainError(f"there is no account {name}@{domain}; see: pbx account list")
        return found

    def _owner(self, owner: str, domain: str) -> str:
        """Name of an account of `domain`, given with or without the domain."""
        address = self._account(owner if "@" in owner else f"{owner}@{domain}").address
        name, _, of_domain = address.partition("@")
        if of_domain != domain:
            raise DomainError(f"the owner {address} is not of the domain {domain}")
        return name

    def _require_name(self, name: str, domain: str, but: str = "") -> None:
        holder = self.inventory.holder(name, domain, but)
        if holder:
            raise DomainError(f"the name {name}@{domain} is taken: it is {holder}")

    def _require_free(self, names: Iterable[str], domain: str) -> None:
        """Names of a domain must not be those of another."""
        for name in names:
            holder = self.inventory.domain_of(name)
            if holder and holder != domain:
                raise DomainError(f"{name} is a name of the domain {holder} already")

    def _on_domain(
        self, name: str, decide: Callable[[DomainState], Sequence[Event]]
    ) -> DomainState:
        stream = accounts.domain_stream(name)
        execute(self._log, DOMAIN, stream, decide, self._meta(name))
        return load(self._log, DOMAIN, stream)

    def _on_account(
        self, name: str, domain: str, decide: Callable[[AccountState], Sequence[Event]]
    ) -> AccountState:
        stream = accounts.account_stream(name, domain)
        execute(self._log, ACCOUNT, stream, decide, self._meta(domain))
        return load(self._log, ACCOUNT, stream)

    def _meta(self, tenant: str) -> Meta:
        return Meta(actor=self._actor, tenant=tenant)


def _one_each(numbers: Iterable[str]) -> list[str]:
    """Each number once, as it was written first."""
    found: dict[str, str] = {}
    for number in numbers:
        found.setdefault(digits_of(number), number)
    return list(found.values())
