"""Imports accounts, many at a time.

Every account is one append, so it is whole or not there; some hundred appends are one commit. A
line that cannot be used is told with its number and costs nothing but itself. An account that
exists stays as it is, so an import that was interrupted is just given again.

Sans-I/O but for the log: lines come in as an iterable, problems go out through a function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from enum import Enum
from itertools import islice
from threading import Event as Flag
from typing import Final, NamedTuple

from pbx.commands import ACCOUNT, digest_secrets, execute
from pbx.data import Value
from pbx.domain import accounts
from pbx.domain import configuration as conf
from pbx.domain.accounts import NO_ACCOUNT, AccountState
from pbx.domain.setting_events import AccountSettingsChanged
from pbx.eventlog import Conflict, EventLog, Meta, Position
from pbx.eventlog.port import AsksOthers
from pbx.eventlog.record import Decision, make_rows
from pbx.imports.reader import Columns, Line, LineProblem, parse_columns, parse_line
from pbx.inventory import Inventory, digits_of
from pbx.kernel.clock import Clock
from pbx.kernel.errors import DomainError, LogUnavailable
from pbx.kernel.events import Event
from pbx.objects import effective
from pbx.objects.check import check, is_default
from pbx.objects.keys import is_secret
from pbx.settings_changes import THE_SERVER, Target, read

BATCH: Final = 500
"""Accounts of one commit: its sync to the disk costs as much as ten accounts, or one."""
MAX_DOMAINS: Final = 10_000
"""Domains whose defaults are remembered while the file goes through them."""
TYPES: Final = {
    name.lower(): name
    for name in (
        "MultiMailbox", "TextMailbox", "MailDirMailbox", "SlicedMailbox", "AGrade", "BGrade",
        "CGrade",
    )
}  # fmt: skip
_USUAL: Final = "MultiMailbox"

Lines = Iterable[tuple[int, bytes | LineProblem]]


class Outcome(Enum):
    """What became of a line."""

    CREATED = "created"
    EXISTS = "exists"
    REFUSED = "refused"


class Report(NamedTuple):
    """What became of the lines."""

    created: int = 0
    exists: int = 0
    """Accounts that were there already and stay as they are."""
    refused: int = 0
    position: Position = 0
    """Of the last account that was made; 0 if none was."""


class _Domain(NamedTuple):
    """What new accounts of a domain get."""

    name: str
    template: dict[str, Value]
    levels: tuple[dict[str, Value], dict[str, Value]]
    """Account defaults of the domain and of the server."""
    room: int
    """Accounts that it may have more; -1: any number."""


class _Wanted(NamedTuple):
    """A line that can become an account."""

    number: int
    stream: str
    domain: str
    events: list[Event]
    make: Callable[[AccountState], list[Event]]
    """Makes the events anew, for a stream that has some already."""


Tell = Callable[[int, Outcome, str], None]
"""Takes the number of a line, what became of it, and the reason if it was refused."""


class AccountImport:
    """One import. `domain` is that of names without one; empty: every name must have its own."""

    def __init__(
        self,
        log: EventLog,
        inventory: Inventory,
        clock: Clock,
        *,
        actor: str,
        domain: str = "",
        origin: str = "import",
        dry_run: bool = False,
        tell: Tell = lambda number, outcome, reason: None,
    ) -> None:
        self._log = log
        self._inventory = inventory
        self._clock = clock
        self._actor = actor
        self._origin = origin
        self._dry_run = dry_run
        self._tell = tell
        self._domains: dict[str, _Domain] = {}
        self._made: dict[str, int] = {}
        """Accounts of this import by domain."""
        self._would_be: set[str] = set()
        """Names and numbers that a dry run has given away: as many as the file has."""
        self._created = self._exists = self._refused = 0
        self._position = 0
        self._inventory.refresh(log)
        self._server = read(log, THE_SERVER)[0]
        self._default = self._domain(domain).name if domain else ""

    def run(self, lines: Lines) -> Report:
        """Import the lines, the first of which is the header.

        Raises :class:`LineProblem` if the header cannot be used, ``LogUnavailable`` if the log
        takes nothing: what was reported as created before is.
        """
        numbered = iter(lines)
        first = next(numbered, None)
        if first is None:
            raise LineProblem("the file is empty: its first line names the columns")
        if isinstance(first[1], LineProblem):
            raise first[1]
        columns = parse_columns(first[1])
        while batch := list(islice(numbered, BATCH)):
            self._batch(columns, batch)
        return Report(self._created, self._exists, self._refused, self._position)

    def _batch(self, columns: Columns, batch: Sequence[tuple[int, bytes | LineProblem]]) -> None:
        taken: set[str] = set()
        wanted: list[_Wanted] = []
        for number, raw in batch:
            try:
                if isinstance(raw, LineProblem):
                    raise raw
                found = self._wanted(number, parse_line(columns, raw), taken)
            except DomainError as error:
                self._note(number, Outcome.REFUSED, str(error))
                continue
            if found is None:
                self._note(number, Outcome.EXISTS)
            else:
                wanted.append(found)
        if self._dry_run:
            for one in wanted:
                self._note(one.number, Outcome.CREATED)
            # Later lines must know what these would have taken.
            self._would_be |= taken
            return
        self._create(wanted)
        self._inventory.refresh(self._log)

    # One line.

    def _wanted(self, number: int, line: Line, taken: set[str]) -> _Wanted | None:
        """What a line comes to; None if the account exists. Adds what it takes to `taken`."""
        name, domain = self._names(line.name)
        stream = accounts.account_stream(name, domain.name)
        address = f"{name}@{domain.name}"
        if address in taken or address in self._would_be:
            return None  # of an earlier line
        holder = self._inventory.holder(name, domain.name)
        if holder == f"the account {address}":
            return None
        if holder:
            raise DomainError(f"the name {address} is taken: it is {holder}")
        aliases = [accounts.new_name(alias) for alias in line.aliases]
        telnums = [accounts.telnum(number) for number in line.telnums]
        claims = {address, *(f"{alias}@{domain.name}" for alias in aliases)}
        for alias in aliases:
            claim = f"{alias}@{domain.name}"
            holder = self._inventory.holder(alias, domain.name) if alias != name else ""
            if holder or claim in taken or claim in self._would_be:
                raise DomainError(
                    f"the name {claim} is taken: it is {holder or 'of another line of the file'}"
                )
        for telnum in telnums:
            digits = digits_of(telnum)
            holder = self._inventory.telnum_holder(telnum)
            if holder or f"#{digits}" in taken or f"#{digits}" in self._would_be:
                raise DomainError(
                    f"the number {telnum} belongs to {holder or 'another line of the file'}"
                )
            claims.add(f"#{digits}")
        make = self._maker(name, domain, line, aliases, telnums)
        events = make(NO_ACCOUNT)  # whatever can be refused is, before anything is written
        made = self._made.get(domain.name, 0)
        if 0 <= domain.room <= made:
            raise DomainError(f"license limit reached: {domain.name} may have no more accounts")
        self._made[domain.name] = made + 1
        taken |= claims
        return _Wanted(number, stream, domain.name, events, make)

    def _names(self, text: str) -> tuple[str, _Domain]:
        name, at, domain = text.rpartition("@")
        if not at:
            if not self._default:
                raise DomainError(f"{text} has no domain: write name@domain, or give --domain")
            return accounts.new_name(text), self._domain(self._default)
        found = self._domain(domain)
        if self._default and found.name != self._default:
            raise DomainError(f"{text} is not of the domain {self._default}")
        return accounts.new_name(name), found

    def _domain(self, name: str) -> _Domain:
        name = accounts.domain_name(name)
        known = self._domains.get(name)
        if known is not None:
            return known
        own = self._inventory.domain_of(name)
        if not own:
            raise DomainError(f"there is no domain {name}; make it: pbx domain create {name}")
        configuration = read(self._log, Target("domain", own))[0]
        levels = (
            configuration.section(conf.ACCOUNT_DEFAULTS),
            self._server.section(conf.ACCOUNT_DEFAULTS),
        )
        template = effective.template_settings(configuration.section(conf.TEMPLATE), *levels)
        limit = effective.domain_setting(
            "AccountsLimit",
            configuration.section(conf.SETTINGS),
            self._server.section(conf.DOMAIN_DEFAULTS),
        )
        room = -1
        if isinstance(limit, int) and limit >= 0:
            held = self._inventory.contents(own)["account"] - self._made.get(own, 0)
            room = max(0, limit - held)
        if len(self._domains) >= MAX_DOMAINS:
            self._domains.clear()
        self._domains[name] = found = _Domain(own, template, levels, room)
        return found

    def _maker(
        self,
        name: str,
        domain: _Domain,
        line: Line,
        aliases: Sequence[str],
        telnums: Sequence[str],
    ) -> Callable[[AccountState], list[Event]]:
        settings = {**domain.template, **line.settings}
        password = line.password
        kept = settings.pop("Password", None)  # of the template
        if password is None and isinstance(kept, str):
            password = kept
        settings = {key: value for key, value in settings.items() if not is_default(value)}
        check("account", conf.SETTINGS, settings)
        shown = settings.pop("RealName", "")
        real_name = shown if isinstance(shown, str) else ""
        account_type = TYPES.get(line.account_type.lower(), "") if line.account_type else _USUAL
        if not account_type:
            raise DomainError(f"Type: expected one of {', '.join(TYPES.values())}")
        secrets = None
        if password is not None:
            secrets = digest_secrets(name, domain.name, password, aliases)
            form = effective.account_setting("PasswordEncryption", settings, *domain.levels)
            if form == "clear":
                secrets = replace(secrets, text=password)

        def make(state: AccountState) -> list[Event]:
            events = accounts.decide_create_account(state, name, domain.name, real_name, secrets)
            events += conf.decide_update(
                conf.NO_CONFIGURATION,
                AccountSettingsChanged,
                conf.SETTINGS,
                settings,
                (),
                is_secret,
            )
            if account_type != _USUAL:
                records: dict[str, Value] = {"AccountType": account_type}
                events += conf.decide_update(
                    conf.NO_CONFIGURATION,
                    AccountSettingsChanged,
                    conf.RECORDS,
                    records,
                    (),
                    is_secret,
                )
            made = AccountState(name, domain.name)
            events += accounts.decide_set_aliases(made, made.address, aliases)
            events += accounts.decide_set_telnums(made, made.address, telnums)
            return events

        return make

    # Appending.

    def _create(self, wanted: Sequence[_Wanted]) -> None:
        codec = self._log.codec
        codec.make_keys([one.stream for one in wanted])
        now_ns = self._clock.wall_ns()
        decisions = [
            Decision(
                one.stream,
                0,
                make_rows(
                    codec,
                    one.stream,
                    one.events,
                    self._meta(one.domain),
                    time_ns=now_ns,
                    node=self._log.node,
                ),
            )
            for one in wanted
        ]
        for one, verdict in zip(wanted, self._committed(decisions), strict=True):
            if isinstance(verdict, Conflict):
                self._create_again(one)
            else:
                self._position = max(self._position, verdict)
                self._note(one.number, Outcome.CREATED)

    def _committed(self, decisions: Sequence[Decision]) -> Sequence[Position | Conflict]:
        log = self._log
        if not isinstance(log, AsksOthers):
            return log.commit(decisions)
        # Each is decided by a broker, milliseconds away: all are asked for at once.
        answers: dict[int, Position | Exception] = {}
        done = Flag()

        def answered(number: int, answer: Position | Exception) -> None:
            answers[number] = answer
            if len(answers) == len(decisions):
                done.set()

        for number, decision in enumerate(decisions):
            log.submit(decision, lambda answer, number=number: answered(number, answer))  # type: ignore[misc]
        if decisions:
            done.wait()
        verdicts: list[Position | Conflict] = []
        for number in range(len(decisions)):
            answer = answers[number]
            if isinstance(answer, Exception) and not isinstance(answer, Conflict):
                raise answer
            verdicts.append(answer)
        return verdicts

    def _create_again(self, one: _Wanted) -> None:
        """The stream has events: of an account that was deleted, or that was made just now."""
        try:
            # The key that was made for it may be that of an account which was being erased.
            self._log.codec.forget_keys(one.stream)
            position = execute(self._log, ACCOUNT, one.stream, one.make, self._meta(one.domain))
        except LogUnavailable:
            raise
        except DomainError:
            self._note(one.number, Outcome.EXISTS)
        else:
            self._position = max(self._position, position or 0)
            self._note(one.number, Outcome.CREATED)

    def _meta(self, domain: str) -> Meta:
        return Meta(actor=self._actor, tenant=domain, causation=self._origin)

    def _note(self, number: int, outcome: Outcome, reason: str = "") -> None:
        self._created += outcome is Outcome.CREATED
        self._exists += outcome is Outcome.EXISTS
        self._refused += outcome is Outcome.REFUSED
        self._tell(number, outcome, reason)
