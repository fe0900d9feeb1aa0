"""Accounts, mailboxes and files of a scenario: the ``Services`` of offline runs.

What a scenario cannot hold (directories, calendars, other servers) is answered with an error string
and noted in the transcript, so that a program takes its error branch.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from pbx.script.conversion import from_python, to_python
from pbx.script.limits import Limits, Meter
from pbx.script.offline.files import silence_wav
from pbx.script.offline.scenario import AccountState, Message, Scenario
from pbx.script.requests import accounts, ambient, communications, mailboxes, storage
from pbx.script.requests.base import HostRequest
from pbx.script.runtime.ports import Answer, StartProblem
from pbx.script.runtime.surroundings import address_of
from pbx.script.runtime.task import Task
from pbx.script.textform import text_to_object
from pbx.script.values import Data, Dictionary, Handle, Timestamp, Value, string_of, text_of

if TYPE_CHECKING:
    from pbx.script.runtime.node import TaskNode

NOT_OFFLINE: Final = b"500-not available offline"
_START_TASK: Final = re.compile(
    r"STARTPBXTASK\s+(\S+)\s+PROGRAM\s+([^\s(]+)(?:\s+ENTRY\s+([^\s(]+))?(?:\s+PARAM\s*(.*))?\Z",
    re.IGNORECASE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Mail:
    """A message that a program has sent."""

    headers: dict[str, Any]
    content: Any


@dataclass(slots=True)
class OfflineServices:
    """See the module."""

    scenario: Scenario
    tell: Callable[[str, str, str], None]
    label: Callable[[Task], str]
    mail: list[Mail] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    """Texts given to ``ExecuteCLI``."""
    cdrs: list[str] = field(default_factory=list)
    _handles: dict[int, str] = field(default_factory=dict)
    node: TaskNode = field(init=False)

    def language_of(self, account: str | None) -> str | None:
        """See the port."""
        preferred = self.state(account).preferences.get("Language")
        return preferred or self.scenario.language

    def zone_of(self, account: str | None) -> str | None:
        """See the port."""
        zone = self.state(account).preferences.get("TimeZone")
        return zone if isinstance(zone, str) else None

    def state(self, account: str | None) -> AccountState:
        """What the scenario says of an account; made empty when it says nothing."""
        return self.scenario.accounts.setdefault(account or "", AccountState())

    def _address(self, task: Task, name: str) -> str:
        return name if "@" in name or task.domain is None else f"{name}@{task.domain}"

    def _known(self, address: str) -> bool:
        return address in self.scenario.accounts

    def perform(self, task: Task, request: HostRequest) -> Answer:
        """See the port."""
        match request:
            case accounts.Impersonate(address):
                return self._impersonate(task, address)
            case accounts.RouteLocalURI(uri):
                found = address_of(uri)
                return string_of(found) if found is not None and self._known(found) else None
            case accounts.GetAccountPreferences(key):
                return self._one_or_all(self.state(task.account).preferences, key)
            case accounts.GetPreference(key):
                return from_python(self.state(task.account).preferences.get(key))
            case accounts.SetAccountPreferences(value, key):
                return self._set_preference(task, value, key)
            case accounts.GetAccountSettings(key, account):
                owner = task.account if account is None else self._address(task, account)
                if not self._known(owner or ""):
                    return None
                return self._one_or_all(self.state(owner).settings, key)
            case accounts.ReadGroupMembers(group):
                members = self.scenario.groups.get(group.partition("@")[0])
                return None if members is None else from_python(members)
            case accounts.ReadTelnums(account):
                owner = task.account if account is None else self._address(task, account)
                return from_python(self.state(owner).telnums)
            case accounts.ReadCallInfo():
                return Dictionary()
            case ambient.SystemInfo(what):
                return self._system_info(task, what)
            case communications.SubmitEMail(headers, content):
                return self._send(task, headers, content)
            case communications.SendEMail(sender, subject, to, headers, content):
                merged = headers if isinstance(headers, Dictionary) else Dictionary()
                for name, one in (("From", sender), ("Subject", subject)):
                    if one is not None:
                        merged.set(string_of(name), string_of(one))
                if to is not None:
                    merged.set(b"To", to)
                return self._send(task, merged, content)
            case communications.ExecuteCLI(command):
                return self._command(task, command)
            case communications.StartPBXTask(account, program, parameter):
                return self._start(task, account, program, "main", parameter)
            case communications.StoreCDR(text):
                self.cdrs.append(text)
                self.tell(self.label(task), "cdr", f"writes the CDR line APP {text}")
                return None
            case _:
                return self._stored(task, request)

    def _stored(self, task: Task, request: HostRequest) -> Answer:
        files = self.state(task.account).files
        match request:
            case storage.ReadStorageFile(file):
                name = self._file_name(file)
                return Data(files[name]) if name in files else None
            case storage.WriteStorageFile(file, data):
                name = self._file_name(file)
                if name is None or not isinstance(data, Data | bytes):
                    return b"wrong arguments"
                files[name] = data.octets if isinstance(data, Data) else data
                self.tell(self.label(task), "store", f"stores the file {name}")
                return None
            case storage.DeleteStorageFile(name):
                if files.pop(name, None) is None:
                    return b"there is no such file"
                self.tell(self.label(task), "store", f"deletes the file {name}")
                return None
            case storage.ListStorageFiles():
                return from_python(
                    {name: {"STFileSize": len(data)} for name, data in files.items()}
                )
            case mailboxes.OpenMailbox(name):
                return self._open(task, name)
            case _:
                return self._mailbox(task, request)

    # Accounts.

    def _impersonate(self, task: Task, address: str) -> Answer:
        wanted = self._address(task, address)
        if not self._known(wanted):
            task.account = None
            self.tell(self.label(task), "impersonate", f"{wanted} is not local: no account")
            return b"the address is not local"
        task.account = wanted
        task.zone = self.zone_of(wanted)
        self.node.surroundings.select_language(task, self.language_of(wanted))
        self.tell(self.label(task), "impersonate", f"acts as {wanted}")
        return None

    def _one_or_all(self, table: dict[str, Any], key: Value) -> Answer:
        if isinstance(key, bytes) and key:
            return from_python(table.get(text_of(key)))
        return from_python(table)

    def _set_preference(self, task: Task, value: Value, key: Value) -> Answer:
        if not isinstance(key, bytes) or not key:
            return b"wrong arguments"
        preferences = self.state(task.account).preferences
        if value is None:
            preferences.pop(text_of(key), None)
        else:
            preferences[text_of(key)] = to_python(value)
        return None

    def _system_info(self, task: Task, what: str) -> Answer:
        facts: dict[str, Value] = {
            "serverVersion": b"offline",
            "serverOS": b"offline",
            "serverCPU": b"offline",
            "mainDomainName": string_of(self.scenario.account.partition("@")[2]),
            "startTime": Timestamp(self.scenario.start_time_s),
            "serverInstance": b"offline",
        }
        return facts.get(what)

    # Sending.

    def _send(self, task: Task, headers: Value, content: Value) -> Answer:
        table = to_python(headers) if isinstance(headers, Dictionary) else {}
        self.mail.append(Mail(table, to_python(content)))
        subject = table.get("Subject", "")
        self.tell(self.label(task), "mail", f"sends mail to {table.get('To')}: {subject}")
        return None

    def _command(self, task: Task, command: str) -> Answer:
        self.commands.append(command)
        self.tell(self.label(task), "command", f"runs the command {command}")
        task.machine.variables.set(b"executeCLIResult", None)
        match = _START_TASK.match(command.strip())
        if match is None:
            return NOT_OFFLINE
        account, program, entry, parameter = match.groups()
        value: Value = None
        if parameter is not None:
            value = text_to_object(Meter(Limits()), string_of(parameter.strip()))
            if value is None:
                return b"the parameter cannot be read"
        answer = self._start(task, account, program, entry or "main", value)
        if not isinstance(answer, bytes) or not answer.startswith(b"T"):
            return answer
        task.machine.variables.set(b"executeCLIResult", answer)
        return None

    def _start(
        self, task: Task, account: str, program: str, entry: str, parameter: Value
    ) -> Answer:
        domain = self.scenario.account.partition("@")[2]
        owner = account if "@" in account else f"{account}@{domain}"
        try:
            started = self.node.start(program, account=owner, entry=entry, parameter=parameter)
        except StartProblem as problem:
            return string_of(f"{problem.status}-{problem}")
        return string_of(started.task_id)

    # Mailboxes.

    def _file_name(self, file: Value) -> str | None:
        if isinstance(file, Dictionary):
            file = file.get(b"fileName")
        return text_of(file) if isinstance(file, bytes) else None

    def _open(self, task: Task, name: str) -> Answer:
        owner = task.account or ""
        if name.startswith("~"):
            owner, _, name = name[1:].partition("/")
            owner = self._address(task, owner)
        if name.upper() != "INBOX" or not self._known(owner):
            return b"there is no such mailbox"
        number = len(self._handles) + 1
        self._handles[number] = owner
        return Handle("mailbox", number, len(self.state(owner).messages))

    def _messages(self, handle: Handle) -> list[Message]:
        return self.state(self._handles.get(handle.number)).messages

    def _message(self, handle: Handle, uid: int) -> Message | None:
        messages = self._messages(handle)
        return messages[uid - 1] if 1 <= uid <= len(messages) else None

    def _mailbox(self, task: Task, request: HostRequest) -> Answer:
        match request:
            case mailboxes.MailboxUIDs(handle, flags):
                wanted = [one.strip() for one in (flags or "").split(",") if one.strip()]
                return [
                    number + 1
                    for number, message in enumerate(self._messages(handle))
                    if all(self._has(message, flag) for flag in wanted)
                ]
            case mailboxes.MailboxFlagsByUID(handle, uid):
                message = self._message(handle, uid)
                if message is None:
                    return None
                found = [name for name in ("Seen", "Deleted") if self._has(message, name)]
                return string_of(",".join(found))
            case mailboxes.MailboxInternalTimeByUID(handle, uid):
                there = self._message(handle, uid) is not None
                return Timestamp(self.scenario.start_time_s - 3600) if there else None
            case mailboxes.MailboxSetFlags(handle, messages, flags):
                return self._set_flags(handle, messages, flags)
            case mailboxes.MailboxExpunge(handle):
                kept = [one for one in self._messages(handle) if not one.deleted]
                self._messages(handle)[:] = kept
                handle.messages = len(kept)
                self.tell(self.label(task), "expunge", f"keeps {len(kept)} messages")
                return None
            case mailboxes.MailboxAudioByUID(handle, uid):
                message = self._message(handle, uid)
                return None if message is None else Data(silence_wav(int(message.seconds * 1000)))
            case mailboxes.MailboxForwardByUID(_, uid, addresses) | mailboxes.MailboxRedirectByUID(
                _, uid, addresses
            ):
                self.mail.append(Mail({"To": addresses, "Subject": f"message {uid}"}, None))
                self.tell(self.label(task), "mail", f"forwards message {uid} to {addresses}")
                return None
            case mailboxes.OpenMessage(handle, uid):
                message = self._message(handle, uid)
                return None if message is None else Handle("message", handle.number * 10_000 + uid)
            case mailboxes.MessageHeader(handle, _, name):
                message = self._message(
                    Handle("mailbox", handle.number // 10_000), handle.number % 10_000
                )
                if message is None:
                    return None
                fields = {"E-From": [message.sender], "Subject": [message.subject]}
                return from_python(fields.get(name) if name is not None else fields)
            case _:
                self.tell(
                    self.label(task), "unknown", f"{request.function} is not available offline"
                )
                return NOT_OFFLINE

    def _has(self, message: Message, flag: str) -> bool:
        name = flag.lower()
        negative = name.startswith("un") and name != "un"
        value = {"seen": message.seen, "deleted": message.deleted}.get(
            name.removeprefix("un"), False
        )
        return value != negative

    def _set_flags(self, handle: Handle, messages: Value, flags: Value) -> Answer:
        uids = messages if isinstance(messages, list) else [messages]
        words = text_of(flags).split(",") if isinstance(flags, bytes) else []
        for uid in uids:
            message = self._message(handle, uid) if isinstance(uid, int) else None
            if message is None:
                continue
            for word in words:
                name = word.strip().lower()
                value = not name.startswith("un")
                if name.removeprefix("un") in ("seen", "read"):
                    message.seen = value
                elif name.removeprefix("un") == "deleted":
                    message.deleted = value
        return None
