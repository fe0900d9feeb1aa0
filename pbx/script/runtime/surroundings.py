"""What lies around a task: time, zone, language, randomness, log, its files, its own status."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pbx.script.builtins.data import totp_code
from pbx.script.limits import Limits, Meter
from pbx.script.requests import accounts, ambient, storage, tasks
from pbx.script.requests.base import HostRequest
from pbx.script.runtime.ports import PENDING, Answer
from pbx.script.runtime.task import Task, WaitKind
from pbx.script.textform import object_to_text, text_to_object
from pbx.script.values import MAX_NUMBER, Data, Timestamp, string_of, text_of

if TYPE_CHECKING:
    from pbx.script.runtime.node import TaskNode

MAX_RANDOM_BYTES: Final = 4096
MAX_FILE_BYTES: Final = 1 << 20
MAX_DELAY_MS: Final = 3_600_000
_PHONE: Final = frozenset("0123456789")
_CUT_MARK: Final = " …(cut)"


class Surroundings:
    """Part of the node; see the module."""

    def __init__(self, node: TaskNode) -> None:
        self._node = node

    def handlers(self) -> dict[type[HostRequest], Callable[[Task, Any], Answer]]:
        """What this part answers."""
        return {
            ambient.GMTTime: lambda _, __: self._now(),
            ambient.LocalTime: lambda task, _: self._shift(task, self._now(), 1),
            ambient.GMTToLocal: lambda task, asked: self._shift(task, asked.time, 1),
            ambient.LocalToGMT: lambda task, asked: self._shift(task, asked.time, -1),
            ambient.RandomNumber: lambda _, __: self._node.entropy.getrandbits(63) & MAX_NUMBER,
            ambient.RandomData: self._random_data,
            ambient.TOTPCode: self._totp,
            ambient.GetTimeZoneName: lambda task, _: (
                None if task.zone is None else string_of(task.zone)
            ),
            ambient.SetTimeZone: self._set_zone,
            ambient.GetLanguage: lambda task, _: (
                None if task.language is None else string_of(task.language)
            ),
            ambient.SetLanguage: self._set_language,
            ambient.SysLog: self._log,
            ambient.SysProfile: lambda _, __: None,
            ambient.SyncDelay: self._delay,
            storage.ReadEnvirFile: self._read_file,
            storage.ReadEnvirObject: self._read_object,
            accounts.MyEmail: lambda task, _: (
                None if task.account is None else string_of(task.account)
            ),
            accounts.MyDomain: lambda task, _: (
                None if task.domain is None else string_of(task.domain)
            ),
            accounts.SIPURIToEmail: self._uri_to_email,
            accounts.EmailToSIPURI: self._email_to_uri,
            accounts.PhoneNumberToSIPURI: self._number_to_uri,
            tasks.SetApplicationStatus: self._set_status,
            tasks.GetApplicationStatus: self._get_status,
            tasks.MyNamedTaskName: lambda task, _: (
                None if task.name is None else string_of(task.name)
            ),
        }

    # Time.

    def _now(self) -> Timestamp:
        return Timestamp(self._node.clock.wall_ns() // 1_000_000_000)

    def _shift(self, task: Task, time: Timestamp, sign: int) -> Timestamp:
        if task.zone is None or time.special:
            return time
        try:
            zone = ZoneInfo(task.zone)
            when = datetime.fromtimestamp(time.seconds, UTC)
            if sign < 0:
                local = when.replace(tzinfo=zone)
                offset = local.utcoffset()
            else:
                offset = when.astimezone(zone).utcoffset()
        except (ZoneInfoNotFoundError, ValueError, OverflowError, OSError):
            return time
        return time if offset is None else time.moved(sign * int(offset.total_seconds()))

    def _set_zone(self, task: Task, request: ambient.SetTimeZone) -> Answer:
        task.zone = None
        if isinstance(request.name, bytes):
            name = text_of(request.name)
            try:
                ZoneInfo(name)
            except (ZoneInfoNotFoundError, ValueError, OSError):
                return None
            task.zone = name
        return None

    def _delay(self, task: Task, request: ambient.SyncDelay) -> Answer:
        if request.milliseconds <= 0:
            return None
        seconds = min(request.milliseconds, MAX_DELAY_MS) / 1000
        self._node.suspend(task, WaitKind.DELAY, seconds=seconds)
        return PENDING

    # Randomness.

    def _random_data(self, _: Task, request: ambient.RandomData) -> Answer:
        if not 1 <= request.size <= MAX_RANDOM_BYTES:
            return None
        return Data(self._node.entropy.randbytes(request.size))

    def _totp(self, _: Task, request: ambient.TOTPCode) -> Answer:
        code = totp_code(request.secret, self._now().seconds)
        return None if code is None else code.encode()

    # Language and files.

    def _set_language(self, task: Task, request: ambient.SetLanguage) -> Answer:
        self.select_language(task, request.name or None)
        return None

    def select_language(self, task: Task, name: str | None) -> None:
        """Files and modules are looked up in this language from now on."""
        task.language = name
        task.modules.language = name

    def _file(self, task: Task, name: str) -> bytes | None:
        found = task.files.find(name, task.language)
        if found is None or len(found.data) > MAX_FILE_BYTES:
            return None
        return found.data

    def _read_file(self, task: Task, request: storage.ReadEnvirFile) -> Answer:
        data = self._file(task, request.name)
        return None if data is None else task.machine.sized_data(data)

    def _read_object(self, task: Task, request: storage.ReadEnvirObject) -> Answer:
        data = self._file(task, request.name)
        return None if data is None else text_to_object(Meter(Limits()), data)

    # Log and status.

    def _log(self, task: Task, request: ambient.SysLog) -> Answer:
        meter = Meter(Limits())
        value = request.value
        text = value if isinstance(value, bytes) else object_to_text(meter, value)
        limit = task.machine.limits.log_line_bytes
        line = text_of(text[:limit]) + (_CUT_MARK if len(text) > limit else "")
        task.machine.write(min(len(text), limit))
        self._node.observer.logged(task, line)
        return None

    def _set_status(self, task: Task, request: tasks.SetApplicationStatus) -> Answer:
        task.status = self._node.copied(request.status)
        return None

    def _get_status(self, _: Task, request: tasks.GetApplicationStatus) -> Answer:
        other = self._node.tasks.get(request.task.task_id)
        return None if other is None else self._node.copied(other.status)

    # Addresses.

    def _uri_to_email(self, _: Task, request: accounts.SIPURIToEmail) -> Answer:
        address = address_of(request.uri)
        return None if address is None else string_of(address)

    def _email_to_uri(self, task: Task, request: accounts.EmailToSIPURI) -> Answer:
        address = request.address.strip()
        user, at, domain = address.rpartition("@") if "@" in address else (address, "", "")
        domain = domain or task.domain or ""
        if not user or (at and not domain) or any(char in ' <>"\r\n' for char in address):
            return None
        return string_of(f"sip:{user}@{domain}" if domain else f"sip:{user}")

    def _number_to_uri(self, task: Task, request: accounts.PhoneNumberToSIPURI) -> Answer:
        digits = "".join(char for char in request.number if char in _PHONE)
        plus = "+" if request.number.lstrip().startswith("+") else ""
        if not digits or task.domain is None:
            return None
        return string_of(f"sip:{plus}{digits}@{task.domain}")


def address_of(uri: str) -> str | None:
    """``user@domain`` of a SIP or TEL URI (RFC 3261 §19.1), or None."""
    text = uri.strip()
    if "<" in text:
        text = text.partition("<")[2].partition(">")[0]
    scheme, colon, rest = text.partition(":")
    if not colon or scheme.lower() not in ("sip", "sips"):
        return None
    user, at, host = rest.partition("@")
    if not at:
        return None
    host = host.partition(";")[0].partition("?")[0]
    if host.startswith("["):
        host = host.partition("]")[0] + "]"
    else:
        host = host.partition(":")[0]
    user = user.partition(";")[0].partition(":")[0]
    return f"{user}@{host}" if user and host else None
