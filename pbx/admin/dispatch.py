"""From a command line to its handler: the words, the row of the table, the rights, the call.

:class:`Context` is what a handler works with: who asks, what exists, and how to change it. A
handler is ``handler(context, arguments)`` and returns :class:`Result` or None.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from pbx.admin.errors import GENERAL, NO_ACCOUNT, NO_DOMAIN, NO_RIGHTS, UNKNOWN_COMMAND, CliError
from pbx.admin.rights import Authority, Needs, Realm
from pbx.admin.syntax import Arguments, Syntax
from pbx.commands import Administration, digest_secrets
from pbx.data import Limits, Value, words_of
from pbx.domain import accounts
from pbx.domain import configuration as conf
from pbx.domain.accounts import Secrets
from pbx.domain.configuration import Configuration
from pbx.eventlog import EventLog
from pbx.kernel.errors import DomainError
from pbx.kernel.events import Event
from pbx.objects.keys import Table
from pbx.settings_changes import ChangedMeanwhile, SettingsChanges, Target, read

if TYPE_CHECKING:
    from pbx.admin.jobs import Client
    from pbx.admin.service import AdminService
    from pbx.admin.world import DomainEntry, World
    from pbx.environments import FileStorage

MYSELF: Final = "*"
"""As an account's name: who gives the command."""
_COMMAND_DEPTH: Final = 40


class Result(NamedTuple):
    """What a command has to say; null is an answer, too."""

    value: Value


class Note(NamedTuple):
    """Done, and there is something to know: one line of text instead of OK."""

    text: str


class Context:
    """One command in the name of somebody."""

    def __init__(
        self,
        service: AdminService,
        client: Client,
        authority: Authority,
        *,
        log: EventLog | None = None,
        erase: Callable[[str], object] | None = None,
    ) -> None:
        """`log` stands for the service's own, for who collects or guards what is appended; `erase`
        for its way to destroy a key, for who does that later."""
        self.service = service
        self.client = client
        self.authority = authority
        self.log = service.log if log is None else log
        self.origin = f"{client.protocol.lower()}:{client.address}"
        """Where the command came from, for the log."""
        self.actor = authority.actor
        """As the log names who asks."""
        self.changes = SettingsChanges(self.log, actor=self.actor, origin=self.origin)
        self.administration = Administration(
            self.log,
            actor=self.actor,
            erase=service.erase if erase is None else erase,
            inventory=service.world.inventory,
        )

    @property
    def storage(self) -> FileStorage:
        """The file storage of accounts, over this command's log."""
        return self.service.storage_over(self.log)

    @property
    def world(self) -> World:
        return self.service.world

    # --------------------------------------------------------------------------------- objects

    def object_names(self, text: Value) -> tuple[str, str]:
        """Name and domain of an object that is named as in the command; it need not exist.

        Without a domain it is one of the administrator's own.
        """
        assert isinstance(text, str)
        if text == MYSELF:
            return self.authority.name, self.authority.domain
        name, at, domain = text.strip().rpartition("@")
        if not at:
            name, domain = domain, self.authority.domain
        entry = self.world.domain(domain)
        if entry is None:
            raise CliError(NO_DOMAIN)
        return name.lower(), entry.name

    def account(self, arguments: Arguments, key: str = "accountName") -> str:
        """``name@domain`` of the account that a parameter names; it exists."""
        address = self.world.inventory.account_of(*self.object_names(arguments[key]))
        if not address:
            raise CliError(NO_ACCOUNT)
        return address

    def domain(self, arguments: Arguments, key: str = "domainName") -> DomainEntry:
        """The domain that a parameter names; the administrator's own if it is left out."""
        return self._domain(arguments.get(key))

    def _domain(self, name: Value) -> DomainEntry:
        if name is None or name == MYSELF:
            name = self.authority.domain
        entry = self.world.domain(name) if isinstance(name, str) else None
        if entry is None:
            raise CliError(NO_DOMAIN)
        return entry

    # -------------------------------------------------------------------------------- settings

    def section(self, target: Target, section: str) -> dict[str, Value]:
        """A dictionary as it is shown; a later SET of this client refers to this version."""
        configuration, version = read(self.log, target)
        self.client.saw(target.stream, section, version)
        return configuration.section(section)

    def configuration(self, target: Target) -> Configuration:
        """All dictionaries of an object."""
        return read(self.log, target)[0]

    def update(
        self, target: Target, section: str, values: Value, extra: Sequence[Event] = ()
    ) -> None:
        """Merge into a dictionary; refused once if somebody else changed one of these keys after
        this client read it. `extra` are events of the object that go with it."""
        assert isinstance(values, dict)
        key = target.stream, section
        version = self.client.seen.get(key)
        try:
            self.changes.update(target, section, values, extra, read_version=version)
        except ChangedMeanwhile:
            self.client.seen.pop(key, None)
            raise

    def replace(self, target: Target, section: str, values: Value) -> None:
        """Replace a dictionary; refused once if somebody else changed what this client read."""
        assert isinstance(values, dict)
        version = self.client.seen.pop((target.stream, section), None)
        self.changes.replace(target, section, values, read_version=version)
        if version is not None:
            self._wrote(target, section)

    def _wrote(self, target: Target, section: str) -> None:
        """What this client wrote, it knows."""
        self.client.saw(target.stream, section, read(self.log, target)[1])

    def permitted(self, values: Value, table: Table) -> dict[str, Value]:
        """What of new settings this administrator may change: the rest is silently left out."""
        assert isinstance(values, dict)
        if self.authority.all_domains:
            return values
        return {
            key: value
            for key, value in values.items()
            if self.authority.has_code(table[key].code if key in table else key)
        }

    # ------------------------------------------------------------------------------- passwords

    def secrets(
        self, name: str, domain: str, password: str, configuration: Configuration
    ) -> Secrets:
        """What is to be kept of a new password, by the account's effective settings."""
        account = self.world.inventory.accounts.get(f"{name}@{domain}", accounts.NO_ACCOUNT)
        secrets = digest_secrets(name, domain, password, account.aliases)
        if self.world.account_setting("PasswordEncryption", domain, configuration) == "clear":
            return replace(secrets, text=password)
        return secrets

    def change_own_password(self, password: str) -> None:
        """The owner's own change, where the account may do that."""
        name, domain = self.authority.name, self.authority.domain
        configuration = self.world.account_configuration(self.authority.address)
        if not self.world.account_setting("PWDAllowed", domain, configuration):
            raise CliError(NO_RIGHTS)
        secrets = self.secrets(name, domain, password, configuration)
        self.set_password(self.authority.address, secrets)

    def set_password(self, address: str, secrets: Secrets) -> None:
        """Replace the password of an account."""
        state = self.world.account_state(address)
        self.changes.append(
            Target("account", address),
            lambda _: accounts.decide_set_password(state, address, secrets),
        )


Handler: TypeAlias = Callable[[Context, Arguments], Result | Note | None]


class Row(NamedTuple):
    """One command."""

    name: str
    syntax: Syntax
    needs: Needs
    handler: Handler
    shows: str = ""
    """What the result is, in words; empty for none."""
    about: str = ""
    """The parameter that names the object whose domain counts for the rights."""


def dispatch(context: Context, line: str) -> Result | Note | None:
    """Carry out a command line. Raises :class:`CliError` and others of its kin."""
    from pbx.admin import table

    words = words_of(line, Limits(depth=_COMMAND_DEPTH))
    if not words or not words[0].bare or not isinstance(words[0].value, str):
        raise CliError(UNKNOWN_COMMAND)
    name = words[0].value.upper()
    name = table.OLD_NAMES.get(name, name)
    row = table.COMMANDS.get(name)
    if row is None:
        reason = table.UNSUPPORTED.get(name)
        if reason is None:
            raise CliError(UNKNOWN_COMMAND)
        raise CliError(GENERAL, f"not supported: {reason}")
    # Whoever has no right at all learns nothing, not even the syntax.
    if row.needs.realm is not Realm.EVERYBODY and not row.needs.owner:
        if not context.authority.is_administrator:
            raise CliError(NO_RIGHTS)
    arguments = row.syntax.match(name, words[1:])
    _require(context, row, arguments)
    return row.handler(context, arguments)


def carry_out(context: Context, name: str, arguments: Arguments) -> Value:
    """A command by its name and its parameters, for who has them without a line of text.

    `arguments` are of the kinds that the syntax of the command says. Raises as :func:`dispatch`.
    """
    from pbx.admin import table

    row = table.COMMANDS[name]
    _require(context, row, arguments)
    result = row.handler(context, arguments)
    return result.value if isinstance(result, Result) else None


def require(context: Context, name: str, arguments: Arguments) -> None:
    """Raises :class:`CliError` unless whoever asks may give the command `name` about that."""
    from pbx.admin import table

    _require(context, table.COMMANDS[name], arguments)


def _require(context: Context, row: Row, arguments: Arguments) -> None:
    """Raises unless whoever asks may do what the row is."""
    needs, authority = row.needs, context.authority
    match needs.realm:
        case Realm.EVERYBODY:
            return
        case Realm.ADMINISTRATOR:
            if not authority.is_administrator:
                raise CliError(NO_RIGHTS)
        case Realm.SERVER:
            if not authority.has_server(*needs.rights):
                raise CliError(NO_RIGHTS)
        case Realm.DOMAIN:
            if not authority.all_domains:
                _require_domain(context, row, arguments)


def _require_domain(context: Context, row: Row, arguments: Arguments) -> None:
    authority, needs = context.authority, row.needs
    named = arguments.get(row.about)
    try:
        if row.about in ("domainName",):
            name, domain = "", context._domain(named).name
        else:
            name, domain = context.object_names(named)
    except CliError:
        raise CliError(NO_RIGHTS) from None  # what there is elsewhere is no business of theirs
    if needs.owner and f"{name}@{domain}" == authority.address:
        return
    if not authority.administers(domain, context.world.admin_domain_of(domain)):
        raise CliError(NO_RIGHTS)
    if needs.rights and not authority.has_code(*needs.rights):
        raise CliError(NO_RIGHTS)


def text(arguments: Arguments, key: str) -> str:
    """A parameter that is a string."""
    value = arguments[key]
    assert isinstance(value, str)
    return value


def number(arguments: Arguments, key: str) -> int:
    """A parameter that is a number."""
    value = arguments[key]
    assert isinstance(value, int)
    return value


def require_texts(value: Value, what: str) -> list[str]:
    """An array of strings. Raises :class:`DomainError`."""
    if not isinstance(value, list):
        raise DomainError(f"incorrect data format: {what} is an array")
    found = [item for item in value if isinstance(item, str)]
    if len(found) != len(value):
        raise DomainError(f"incorrect data format: {what} is an array of strings")
    return found


def time_stamp(time_ns: int) -> datetime:
    """A moment of the log as commands show it: whole seconds of UTC."""
    return datetime.fromtimestamp(time_ns // 1_000_000_000, UTC)


__all__ = [
    "Context", "Handler", "Note", "Result", "Row", "carry_out", "conf", "dispatch", "number",
    "require", "require_texts", "text", "time_stamp",
]  # fmt: skip
