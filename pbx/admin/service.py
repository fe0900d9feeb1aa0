"""Carries out what connections ask for: logins, commands, changes of the own password.

One instance in a process, one job at a time (:meth:`AdminService.perform` takes a lock), on
whatever thread the shell uses: jobs wait for the disk. Time and randomness come from the clock and
the generator it is given.
"""

from __future__ import annotations

import ipaddress
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final, TypeAlias, TypeVar

from pbx.admin import credentials
from pbx.admin.credentials import NOBODY, Plain, Stored
from pbx.admin.dispatch import Context, Note, dispatch
from pbx.admin.errors import GENERAL, NO_RIGHTS, WRONG_LOGIN, CliError
from pbx.admin.external import (
    ASKING,
    ROUNDS,
    AskProgram,
    Elsewhere,
    Kept,
    Unknown,
    Verdict,
    ask_name,
    ask_password,
)
from pbx.admin.guard import GuardLimits, LoginGuard
from pbx.admin.jobs import Client, Command, Data, Done, Job, Login, NewPassword, Outcome, Refused
from pbx.admin.rights import Authority, authority
from pbx.admin.sessions import SessionTable
from pbx.admin.statistics import Statistics
from pbx.admin.world import World
from pbx.blobs import BlobStore, MemoryBlobs
from pbx.commands import Aggregate, execute
from pbx.configdb import ConfigDb
from pbx.data import DataError
from pbx.domain import blacklist
from pbx.domain import configuration as conf
from pbx.domain.blacklist import AddressReleased, Blacklist
from pbx.domain.configuration import Configuration
from pbx.domain.logins import (
    FAILURE_EVERY_S,
    SUCCESS_EVERY_S,
    LoginFailed,
    LoginSucceeded,
    login_stream,
    logins_of,
)
from pbx.domain.nodes import SourceBlocked
from pbx.domain.storage import StorageLimits
from pbx.environments import FileStorage
from pbx.environments.quota import limits_from
from pbx.eventlog import ANY_VERSION, EventLog, Meta
from pbx.kernel.clock import Clock
from pbx.kernel.errors import DomainError, PbxError
from pbx.kernel.events import Event
from pbx.objects.forms import FlowLimit, address_in, read_ip_list
from pbx.voice.control import NoTasks, TaskControl

log = logging.getLogger("pbx.admin")

ACCOUNT_FACTOR: Final = 2.0
"""An account takes this many times the wrong logins of an address: a stranger should not be able to
lock somebody else out with a handful of tries."""
BLACKLIST: Final = Aggregate(blacklist.EMPTY, blacklist.evolve_blacklist)
MAX_NOTE_CHARS: Final = 1000
"""Of what a reply without data says; clients read lines of bounded length."""
CHECKED_CHARS: Final = 255
"""Longer names are those of no account."""


@dataclass(frozen=True, slots=True)
class AdminConfig:
    """What the service is told by settings."""

    version: str = "0"
    data: Path = Path()
    clustered: bool = False
    """Other nodes share the log."""
    guard: GuardLimits = field(default_factory=GuardLimits)


CountCalls: TypeAlias = Callable[[str, str, int], int]
T = TypeVar("T")


class AdminService:
    """See the module."""

    def __init__(
        self,
        event_log: EventLog,
        config: AdminConfig,
        clock: Clock,
        rng: Random,
        *,
        erase: Callable[[str], object] = lambda subject: None,
        shut_down: Callable[[], None] = lambda: None,
        blobs: BlobStore | None = None,
        count_calls: CountCalls | None = None,
        tasks: TaskControl | None = None,
        database: ConfigDb | None = None,
        program: AskProgram | None = None,
    ) -> None:
        """`program` is asked about unknown names and about passwords that it keeps."""
        self.log = event_log
        self.config = config
        self.clock = clock
        self.rng = rng
        self.erase = erase
        """Destroys the sealing key of a stream."""
        self.shut_down = shut_down
        """Asks the supervisor to stop the server."""
        self.blobs: BlobStore = MemoryBlobs() if blobs is None else blobs
        self._storage = FileStorage(event_log, self.blobs, clock.wall_ns, self._storage_limits)
        self.tasks: TaskControl = NoTasks() if tasks is None else tasks
        """Applications that run on this server."""
        self._count_calls = count_calls
        self.world = World(event_log, database)
        self.guard = LoginGuard(config.guard)
        self.sessions = SessionTable()
        self.statistics = Statistics(event_log, clock)
        self.started_ns = clock.wall_ns()
        self._lock = threading.Lock()
        self._program = program
        self._asking = threading.BoundedSemaphore(ASKING)

    def waits(self, job: Job) -> bool:
        """Whether a job may wait for the external program: commands must not wait behind it."""
        return self._program is not None and isinstance(job, Login)

    def perform(self, client: Client, job: Job) -> Outcome:
        """Carry out a job; every trouble becomes a reply."""
        elsewhere = None
        if self._program is not None and isinstance(job, Login):
            elsewhere = self._ask_elsewhere(self._program, client, job)
        with self._lock:
            try:
                self.world.catch_up()
                return self._perform(client, job, elsewhere)
            except CliError as error:
                return Refused(error.code, str(error))
            except DataError as error:
                return Refused(GENERAL, f"incorrect data format: {error}")
            except (DomainError, PbxError) as error:
                return Refused(GENERAL, str(error))
            except Exception:
                # A defect costs its command, not the connection and not the service.
                log.exception("a command of %s failed", client.account or client.address)
                return Refused(GENERAL, "internal error, see the log of the server")

    def within(
        self,
        client: Client,
        authorize: Callable[[], Authority],
        work: Callable[[Context], T],
        *,
        log: EventLog | None = None,
        erase: Callable[[str], object] | None = None,
    ) -> T:
        """Do `work` as one command, in the name of whom `authorize` gives, as of the newest event.

        For who gives commands by their parameters (:func:`~pbx.admin.dispatch.carry_out`). What is
        raised within is the caller's to answer.
        """
        with self._lock:
            self.world.catch_up()
            return work(Context(self, client, authorize(), log=log, erase=erase))

    def refuses(self, address: str) -> bool:
        """Whether connections from an address are closed unheard."""
        with self._lock:
            self.world.catch_up()
            if self.exempt(address):
                return False
            return (
                self.world.blacklist.holds(address, self.clock.wall_ns())
                or self.in_list("DENIED", address)
                or self.in_list("BLACKLISTED", address)
            )

    def greeting_name(self) -> str:
        """The main domain, for the greeting."""
        with self._lock:
            self.world.catch_up()
            return self.world.main_domain

    def closed(self, client: Client) -> None:
        """A connection is gone."""
        with self._lock:
            client.gone = True
            self.sessions.close(client)

    def in_list(self, word: str, address: str) -> bool:
        """Whether one of the server's address lists names an address."""
        text = self.world.server.section("ips").get(word, "")
        return _listed(text, address)

    def exempt(self, address: str) -> bool:
        """White holes are never locked."""
        return self.in_list("WHITEHOLE", address)

    def count_calls(self, what: str, whose: str, since_ns: int) -> int:
        """Calls of an account, or of a domain (``@domain``), from a moment on: ``CallsSent`` or
        ``CallsReceived``. Raises :class:`DomainError` where no read model is at hand."""
        if self._count_calls is None:
            raise DomainError("call records are not at hand")
        return self._count_calls(what, whose, since_ns)

    def storage_over(self, event_log: EventLog) -> FileStorage:
        """The file storage of accounts over the own log, or over one that stands for it."""
        if event_log is self.log:
            return self._storage
        return FileStorage(event_log, self.blobs, self.clock.wall_ns, self._storage_limits)

    def _storage_limits(self, account: str) -> StorageLimits:
        configuration = self.world.account_configuration(account)
        domain = account.rpartition("@")[2]
        return limits_from(lambda key: self.world.account_setting(key, domain, configuration))

    def blacklisted(self, now_ns: int) -> dict[str, int]:
        """Addresses refused now and until when, what nodes locked by themselves included."""
        found = self._locked_by_nodes(now_ns)
        found.update(self.world.blacklist.live(now_ns))
        return found

    def _locked_by_nodes(self, now_ns: int) -> dict[str, int]:
        """A lock is short, so only the newest part of the log is looked at."""
        start = self.log.position_at(now_ns - int(self.config.guard.lock_s * 1e9))
        found: dict[str, int] = {}
        types = ("source.blocked.v1", "address.released.v1")
        for record in self.log.read(start, types=types):
            match record.event:
                case SourceBlocked(source=source, seconds=seconds) if "@" not in source:
                    found[source] = record.time_ns + seconds * 1_000_000_000
                case AddressReleased(address=address):
                    found.pop(address, None)
        return {address: until for address, until in found.items() if until > now_ns}

    def change_blacklist(self, decide: Callable[[Blacklist], Sequence[Event]], meta: Meta) -> None:
        """Append what `decide` makes of the list of refused addresses."""
        execute(self.log, BLACKLIST, blacklist.STREAM, decide, meta)

    # ------------------------------------------------------------------------------------ jobs

    def _perform(self, client: Client, job: Job, elsewhere: Elsewhere | None) -> Outcome:
        match job:
            case Login():
                return self._login(client, job, elsewhere)
            case Command(line):
                return self._command(client, line)
            case NewPassword(password):
                context = self._context(client)
                context.change_own_password(password)
                return Done()

    def _command(self, client: Client, line: str) -> Outcome:
        self.statistics.count("pwdInputCommands")
        result = dispatch(self._context(client), line)
        if result is None:
            return Done()
        if isinstance(result, Note):
            return Done(" ".join(result.text.split())[:MAX_NOTE_CHARS])
        return Data(result.value)

    def _context(self, client: Client) -> Context:
        return Context(self, client, self.authority(client.account))

    def authority(self, address: str) -> Authority:
        """The rights of an account as of now. Raises :class:`CliError` if it is gone."""
        name, _, domain = address.partition("@")
        if not self.world.account_exists(name, domain):
            raise CliError(NO_RIGHTS)
        rights = self.world.account_configuration(address).rights
        return authority(name, domain, rights, self.world.main_domain)

    # ---------------------------------------------------------------------------------- logins

    def _ask_elsewhere(self, program: AskProgram, client: Client, login: Login) -> Elsewhere | None:
        """What the external program says about a log-in; None if it is not its business."""
        name = login.name
        if not self._asking.acquire(blocking=False):
            log.warning("%d log-ins wait for the external program already", ASKING)
            return Elsewhere(name, verdict=Verdict.SILENT)
        try:
            for _ in range(ROUNDS):
                with self._lock:
                    question = self._question(client, name, login)
                if question is None:
                    break
                if isinstance(question, Kept):
                    address = question.address
                    verdict = ask_password(
                        program, address, login.proof, client.protocol, client.address
                    )
                    return Elsewhere(name, address, verdict)
                verdict, routed = ask_name(program, question.address)
                if verdict is not Verdict.PROVED:
                    return Elsewhere(name, verdict=verdict)
                name = routed or name
        except PbxError as error:
            log.warning("the external program was not asked: %s", error)
        finally:
            self._asking.release()
        return Elsewhere(name) if name != login.name else None

    def _question(self, client: Client, text: str, login: Login) -> Unknown | Kept | None:
        """What the external program has to be asked before a log-in is judged."""
        self.world.catch_up()
        name, domain = self._names(text)
        address = f"{name}@{domain}"
        now = self.clock.monotonic()
        if not domain or len(address) > CHECKED_CHARS or self._locked(client, address, now):
            return None
        if self.world.account_exists(name, domain):
            configuration = self.world.account_configuration(address)

            def setting(key: str) -> object:
                return self.world.account_setting(key, domain, configuration)

            if setting("UseExtPassword") is not True:
                return None
            stored = self._stored(address)
            own = bool(stored.realm) and credentials.proves(stored, login.proof)
            return None if own and setting("UseAppPassword") is not False else Kept(address)
        wanted = self.world.domain_setting("ExternalOnUnknown", self.world.domains[domain])
        if wanted is True and self.world.directory.find(name, domain) is None:
            return Unknown(address)
        return None

    def _locked(self, client: Client, address: str, now: float) -> bool:
        source = f"ip:{client.address}"
        if not self.exempt(client.address) and self.guard.locked_s(source, now):
            return True
        return bool(self.guard.locked_s(address, now))

    def _login(self, client: Client, login: Login, elsewhere: Elsewhere | None) -> Outcome:
        if client.gone:  # it did not wait for the external program
            return Refused(WRONG_LOGIN, CliError(WRONG_LOGIN).args[0])
        now = self.clock.monotonic()
        source = f"ip:{client.address}"
        exempt = self.exempt(client.address)
        name, domain = self._names(login.name if elsewhere is None else elsewhere.name)
        address = f"{name}@{domain}"[:CHECKED_CHARS]
        wait_s = 0.0 if exempt else self.guard.locked_s(source, now)
        if wait_s or self.guard.locked_s(address, now):
            # The proof is not even looked at; how long it takes tells nothing.
            return Refused(WRONG_LOGIN, self._locked_text(wait_s), self.guard.delay_s(source, now))
        known = self.world.account_exists(name, domain)
        stored = self._stored(address) if known else NOBODY
        proved = credentials.proves(stored if stored.realm else NOBODY, login.proof)
        configuration = self.world.account_configuration(address) if known else Configuration()
        external = False
        if known and elsewhere is not None and elsewhere.proves(address):
            external = bool(self.world.account_setting("UseExtPassword", domain, configuration))
        if elsewhere is not None and elsewhere.verdict is Verdict.SILENT and not proved:
            log.info("a login as %s waits for the external program to answer", address)
            return Refused(WRONG_LOGIN, self._locked_text(0.0), self.guard.delay_s(source, now))
        reason = "" if proved or external else "wrong"
        if not reason:
            reason = self._why_not(
                name, domain, configuration, client, login, by_app_password=not external
            )
        if reason:
            return self._refused(client, address, domain, configuration, reason, now)
        self.guard.succeeded(address)
        client.account = address
        self.sessions.open(client, self.clock.wall_ns(), self.rng)
        self._note_login(client, address, domain)
        self.statistics.count("pwdInputLogins")
        if self.world.account_setting("LogLogin", domain, configuration):
            log.info("%s logged in from %s", address, client.address)
        return Done("login OK")

    def _refused(
        self,
        client: Client,
        address: str,
        domain: str,
        configuration: Configuration,
        reason: str,
        now: float,
    ) -> Refused:
        self.statistics.count("failedAUTHs")
        log.info("a login as %s from %s was refused: %s", address, client.address, reason)
        if domain and address.partition("@")[0] in self.world.domains[domain].accounts:
            self._note_failure(client, address, domain)
        source = f"ip:{client.address}"
        if not self.exempt(client.address) and self.guard.failed(source, now):
            log.warning("%s is locked: too many wrong logins", client.address)
        flow = self.world.account_setting("FailedLoginFlow", domain, configuration)
        limits = self.config.guard
        if isinstance(flow, FlowLimit) and flow.events > 0:
            limits = GuardLimits(flow.events * ACCOUNT_FACTOR, flow.period_s, limits.lock_s)
        if self.guard.failed(address, now, limits):
            log.warning("%s is locked: too many wrong logins", address)
        return Refused(WRONG_LOGIN, CliError(WRONG_LOGIN).args[0], self.guard.delay_s(source, now))

    def _note_login(self, client: Client, address: str, domain: str) -> None:
        """For the account's info; thinned out, see :mod:`pbx.domain.logins`."""
        last = logins_of(self.log.read_stream(login_stream(address))).last
        age_s = SUCCESS_EVERY_S if last is None else self._age_s(last.time_ns)
        if last is None or last.address != client.address or age_s >= SUCCESS_EVERY_S:
            event = LoginSucceeded(address=client.address, protocol=client.protocol)
            meta = Meta(actor=address, tenant=domain)
            self.log.append(login_stream(address), ANY_VERSION, [event], meta)

    def _note_failure(self, client: Client, address: str, domain: str) -> None:
        last = logins_of(self.log.read_stream(login_stream(address))).failed
        if last is None or self._age_s(last.time_ns) >= FAILURE_EVERY_S:
            event = LoginFailed(address=client.address, protocol=client.protocol)
            meta = Meta(actor=client.address, tenant=domain)
            self.log.append(login_stream(address), ANY_VERSION, [event], meta)

    def _age_s(self, time_ns: int) -> float:
        return (self.clock.wall_ns() - time_ns) / 1e9

    def _why_not(
        self,
        name: str,
        domain: str,
        configuration: Configuration,
        client: Client,
        login: Login,
        *,
        by_app_password: bool,
    ) -> str:
        """Why an account that proved itself may not come in all the same; empty if it may."""
        entry = self.world.domains[domain]

        def setting(key: str) -> object:
            return self.world.account_setting(key, domain, configuration)

        if by_app_password and setting("UseAppPassword") is False:
            return "the password is not enabled"
        services = setting("AccessModes"), self.world.domain_setting("DomainAccessModes", entry)
        if any(isinstance(enabled, frozenset) and "PWD" not in enabled for enabled in services):
            return "the service PWD is not enabled"
        if "Suspended" in entry.configuration.section(conf.RECORDS):
            return "the domain is suspended"
        permitted = setting("LoginAddresses")
        if isinstance(permitted, list) and permitted and not address_in(permitted, client.address):
            return "not from this address"
        clear = isinstance(login.proof, Plain) and not client.secure
        if clear and setting("RequireAPOP") and not _is_loopback(client.address):
            return "a secure method is required"
        return ""

    def _names(self, text: str) -> tuple[str, str]:
        """Account and domain that a login name means; the domain is empty if it is not ours."""
        name, at, domain = text.strip().lower().replace("%", "@").partition("@")
        if at:
            entry = self.world.domain(domain)
            domain = "" if entry is None else entry.name
        else:
            domain = self.world.main_domain
        account = self.world.inventory.account_of(name, domain)
        return (account.partition("@")[0] or name), domain

    def _stored(self, address: str) -> Stored:
        stream = f"account/{address}"
        return credentials.stored_of(record.event for record in self.log.read_stream(stream))

    def verify_password(self, address: str, password: str) -> bool:
        """Whether the password is that of an existing account."""
        stored = self._stored(address)
        return bool(stored.realm) and credentials.proves(stored, Plain(password))

    def recoverable_password(self, address: str) -> str:
        """The text of the password; empty where only digests are kept."""
        return self._stored(address).text

    @staticmethod
    def _locked_text(wait_s: float) -> str:
        text: str = CliError(WRONG_LOGIN).args[0]
        return f"{text}; too many wrong logins, wait {wait_s:.0f} s" if wait_s else text


def _listed(text: object, address: str) -> bool:
    if not isinstance(text, str) or not text:
        return False
    try:
        return address_in(read_ip_list(text), address)
    except ValueError:
        return False


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback
