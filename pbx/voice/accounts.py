"""Answers of programs' requests about accounts, addresses and settings (CG/PL reference §9.10).

Reading one's own account needs no right; others' need the rights of an administrator of their
domain, acting as somebody else ``CanImpersonate``. Where something cannot be read the answer is
null, where something is refused it is an error string.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

from pbx.calls.consult import Kind as Asked
from pbx.calls.consult import Question, Reply
from pbx.data import Value as Stored
from pbx.domain.configuration import PREFS
from pbx.kernel.errors import PbxError
from pbx.router import AddressError, Kind, Outcome, parse_address, route
from pbx.router.address import address_of as router_address
from pbx.script.requests import accounts
from pbx.script.requests.base import HostRequest
from pbx.script.runtime.ports import PENDING, Answer
from pbx.script.runtime.surroundings import address_of
from pbx.script.values import Dictionary, Timestamp, Value, string_of, text_of, yes
from pbx.settings_changes import SettingsChanges, Target
from pbx.voice.convert import from_script, to_script

if TYPE_CHECKING:
    from pbx.calls.node import SignalNode
    from pbx.eventlog import EventLog
    from pbx.script.runtime.node import TaskNode
    from pbx.script.runtime.task import Task
    from pbx.voice.configuration import ConfigurationBook
    from pbx.voice.services import Handler

NOT_LOCAL: Final = b"the address is not local"
NO_RIGHT: Final = b"the account may not do that"
WRONG: Final = b"wrong arguments"
_KINDS: Final = {"mail": Kind.MAIL, "signal": Kind.SIGNAL, "access": Kind.ACCESS}
_MASTERS: Final = frozenset(("Master", "UserAccounts"))


class Offload(Protocol):
    """Runs what may wait for the disk or the network beside the loop of calls."""

    def __call__(self, work: Callable[[], Any], done: Callable[[Any], None]) -> None:
        """`done` gets the value, or the exception, on the loop."""
        ...


class AccountServices:
    """The provider; see the module."""

    def __init__(
        self,
        node: SignalNode,
        book: ConfigurationBook,
        tasks: Callable[[], TaskNode],
        event_log: EventLog | None,
        offload: Offload,
        wake: Callable[[float], None],
    ) -> None:
        """`event_log` None: settings cannot be changed; `wake` has tasks go on."""
        self._node = node
        self._book = book
        self._tasks = tasks
        self._log = event_log
        self._offload = offload
        self._wake = wake

    def handlers(self) -> Mapping[type[HostRequest], Handler]:
        """See the port."""
        return {
            accounts.Impersonate: self._impersonate,
            accounts.RouteAddress: self._route_address,
            accounts.RouteLocalURI: self._route_local,
            accounts.RouteENUM: self._route_enum,
            accounts.GetAccountPreferences: self._get_preferences,
            accounts.GetPreference: self._get_preference,
            accounts.SetAccountPreferences: self._set_preferences,
            accounts.GetAccountSettings: self._get_settings,
            accounts.GetAccountInfo: self._get_info,
            accounts.ReadGroupMembers: self._group_members,
            accounts.ReadTelnums: self._telnums,
            accounts.ReadCallInfo: self._call_info,
            accounts.ApplicationSettings: self._application_settings,
        }

    # Who is who.

    def _local(self, address: str) -> str:
        """The account that an address of ours leads to, aliases and forwarders resolved."""
        try:
            found = route(parse_address(address), Kind.SIGNAL, self._node.directory)
        except AddressError:
            return ""
        return found.account if found.outcome is Outcome.ACCOUNT else ""

    def _named(self, task: Task, name: str) -> str:
        """The account that a bare name, or an address, means to a task."""
        text = name.strip()
        if text.startswith("~"):
            text = text[1:].partition("/")[0]
        if "@" not in text:
            domain = task.domain or self._node.directory.main_domain
            text = f"{text}@{domain}" if text else task.account or ""
        user, _, domain = text.lower().rpartition("@")
        directory = self._node.directory
        account = directory.account(user, directory.local_domain(domain))
        return account.address if account is not None else ""

    def _may(self, task: Task, other: str, right: str = "Domain") -> bool:
        """Whether the task's account may look at, or act as, another one."""
        own = task.account
        if own is None:
            return False
        if own == other:
            return True
        rights = self._book.rights(own)
        own_domain, other_domain = own.partition("@")[2], other.partition("@")[2]
        if own_domain == self._node.directory.main_domain and not _MASTERS.isdisjoint(rights):
            return True
        return right in rights and (own_domain == other_domain or "Domain" not in right)

    def _impersonate(self, task: Task, request: accounts.Impersonate) -> Answer:
        wanted = request.address
        if "@" not in wanted and task.domain:
            wanted = f"{wanted}@{task.domain}"
        account = self._local(wanted)
        if not account:
            task.account = None
            return NOT_LOCAL
        if not self._may(task, account, "CanImpersonate"):
            return NO_RIGHT
        task.account = account
        task.zone = self._book.zone_of(account)
        self._tasks().surroundings.select_language(task, self._book.language_of(account))
        return None

    # Addresses.

    def _route_local(self, task: Task, request: accounts.RouteLocalURI) -> Answer:
        address = address_of(request.uri)
        found = self._local(address) if address is not None else ""
        return string_of(found) if found else None

    def _route_enum(self, task: Task, request: accounts.RouteENUM) -> Answer:
        """As calls to numbers are looked up: the suffixes are those of the server's settings."""
        consult = self._node.consult
        number = "".join(char for char in request.number if char in "+0123456789")
        if not number.strip("+"):
            return b"no telephone number"
        if not consult.port.asks(Asked.NUMBER):
            return b"ENUM is not set up on this server"
        question = Question(Asked.NUMBER, number)

        def known(now: float) -> None:
            answer = consult.answer(question)
            found: Value = b"no entry for the number"
            if answer is not None and answer.reply is Reply.ROUTED:
                found = [string_of(answer.text)]
            self._tasks().answer(task, found)
            self._wake(now)

        if consult.answer(question) is None:
            self._node.timers.call_at(
                self._node.now(), lambda later: consult.resolve(question, known)
            )
        else:
            self._node.timers.call_at(self._node.now(), known)
        return PENDING

    def _route_address(self, task: Task, request: accounts.RouteAddress) -> Answer:
        kind = _KINDS.get(request.type.lower())
        if kind is None:
            return b"the type is mail, signal or access"
        user, at, domain = request.address.rpartition("@")
        try:
            address = router_address(user if at else domain, domain if at else task.domain or "")
            found = route(address, kind, self._node.directory, caller=task.account or "")
        except AddressError as error:
            return string_of(str(error))
        if found.outcome in (Outcome.UNKNOWN, Outcome.REFUSED):
            return string_of(found.reason or "unknown account")
        answer = Dictionary()
        local = found.outcome is not Outcome.FOREIGN
        answer.set(b"module", b"LOCAL" if local else string_of(found.module.value.upper()))
        answer.set(b"host", string_of(found.account.partition("@")[2] if local else found.host))
        answer.set(b"object", string_of(str(found.address).rpartition("@")[0]))
        answer.set(b"canRelay", yes(found.relay))
        return answer

    # Settings and preferences.

    def _get_preferences(self, task: Task, request: accounts.GetAccountPreferences) -> Answer:
        key = text_of(request.key) if isinstance(request.key, bytes) else ""
        owner = task.account or ""
        if key.startswith("~"):
            owner = self._named(task, key)
            key = key.partition("/")[2]
            if not owner or not self._may(task, owner):
                return None
        if not owner:
            return None
        return self._one_or_all(self._book.preferences(owner), key)

    def _one_or_all(self, table: dict[str, Stored], key: str) -> Value:
        return to_script(table.get(key)) if key else to_script(table)

    def _get_preference(self, task: Task, request: accounts.GetPreference) -> Answer:
        owner = task.account or ""
        if isinstance(request.account, bytes):
            owner = self._named(task, text_of(request.account))
        if not owner or not self._may(task, owner):
            return None
        return to_script(self._book.preferences(owner).get(request.key))

    def _get_settings(self, task: Task, request: accounts.GetAccountSettings) -> Answer:
        owner = task.account or ""
        if request.account is not None:
            owner = self._named(task, request.account)
        if not owner or not self._may(task, owner):
            return None
        key = text_of(request.key) if isinstance(request.key, bytes) else ""
        return self._one_or_all(self._book.settings(owner), key)

    def _set_preferences(self, task: Task, request: accounts.SetAccountPreferences) -> Answer:
        key = text_of(request.key) if isinstance(request.key, bytes) else ""
        owner = task.account or ""
        if key.startswith("~"):
            owner = self._named(task, key)
            key = key.partition("/")[2]
        if not owner or not self._may(task, owner):
            return NO_RIGHT
        log = self._log
        if log is None:
            return b"500-preferences cannot be changed here"
        try:
            given = from_script(request.value)
        except TypeError as error:
            return string_of(str(error))
        if key:
            values: dict[str, Stored] = {key: "default" if given is None else given}
        elif isinstance(given, dict):
            values = given
        else:
            return WRONG
        actor = task.account or ""

        def work() -> None:
            changes = SettingsChanges(log, actor=actor, origin=f"task:{task.task_id}")
            changes.update(Target("account", owner), PREFS, values)

        def done(outcome: object) -> None:
            self._book.changed(f"account/{owner}")
            error = None
            if isinstance(outcome, PbxError):
                error = string_of(str(outcome))
            elif isinstance(outcome, Exception):
                error = b"500-the preferences could not be stored"
            self._tasks().answer(task, error)
            self._wake(self._node.now())

        self._offload(work, done)
        return PENDING

    def _get_info(self, task: Task, request: accounts.GetAccountInfo) -> Answer:
        account = task.account
        if account is None:
            return None
        key = request.key
        if key == "Meetings":
            return self._meetings(account)
        if key == "SIPContacts":
            contacts = self._node.locations.contacts(account)
            return [string_of(contact.uri) for contact in contacts] or None
        return None

    def _meetings(self, account: str) -> Value:
        sets: dict[str, Dictionary] = {}
        for (name, key), meeting in self._tasks().rendezvous.meetings(account).items():
            entry = Dictionary()
            entry.set(b"parameter", self._tasks().copied(meeting.parameter))
            if meeting.task_id is not None:
                entry.set(b"id", string_of(meeting.task_id))
            sets.setdefault(name, Dictionary()).set(string_of(key), entry)
        found = Dictionary()
        for name, entries in sets.items():
            found.set(string_of(name), entries)
        return found

    def _application_settings(self, task: Task, request: accounts.ApplicationSettings) -> Answer:
        if task.account is None or not isinstance(request.name, bytes):
            return None
        held = self._book.preferences(task.account).get("Applications")
        table = held.get(text_of(request.name)) if isinstance(held, dict) else None
        if isinstance(table, dict) and isinstance(request.key, bytes):
            return to_script(table.get(text_of(request.key)))
        return to_script(table)

    # What exists.

    def _group_members(self, task: Task, request: accounts.ReadGroupMembers) -> Answer:
        name, at, domain = request.group.strip().lower().rpartition("@")
        if not at:
            name, domain = domain, task.domain or ""
        directory = self._node.directory
        domain = directory.local_domain(domain) or domain
        if not self._may(task, f"{name}@{domain}"):
            return None
        found = directory.find(name, domain)
        members = getattr(found, "members", None)
        return None if members is None else [string_of(member) for member in members]

    def _telnums(self, task: Task, request: accounts.ReadTelnums) -> Answer:
        owner = task.account or ""
        if request.account is not None:
            owner = self._named(task, request.account)
        if not owner or not self._may(task, owner):
            return None
        account = self._node.directory.by_address(owner)
        return None if account is None else [string_of(one) for one in account.telnums]

    def _call_info(self, task: Task, request: accounts.ReadCallInfo) -> Answer:
        owner = task.account or ""
        if request.account is not None:
            owner = self._named(task, request.account)
        if not owner or not self._may(task, owner):
            return None
        found = Dictionary()
        now_s = self._node.clock.wall_ns() // 1_000_000_000
        for leg in list(self._node.account_legs.get(owner, {}).values())[:100]:
            entry = Dictionary()
            if leg.answered_at:
                passed_s = int(self._node.now() - leg.answered_at)
                entry.set(b"connected", Timestamp(now_s - passed_s))
            call = Dictionary()
            call.set(b"", entry)
            found.set(string_of(leg.id), call)
        return found
