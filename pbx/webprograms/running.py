"""One run of a web program, from a request to its response; blocks, on a thread of its own.

A run waits for nothing but the commands it gives: what a program asks of calls, mailboxes or
accounts is answered with an error string, as everywhere where nobody provides it.
"""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Callable
from random import Random
from typing import Any, Final, Protocol

from pbx.kernel.clock import Clock
from pbx.script.builtins.registry import Environment
from pbx.script.environment import ApplicationFiles, Level, ProgramStore, TaskModules
from pbx.script.errors import ProgramException
from pbx.script.limits import Limits, Meter
from pbx.script.machine import Failed, Finished, Machine, Paused
from pbx.script.program import CompiledProgram
from pbx.script.requests import accounts, ambient, communications, storage, web
from pbx.script.requests.base import HostRequest
from pbx.script.runtime.surroundings import address_of
from pbx.script.textform import object_to_text, text_to_object
from pbx.script.values import MAX_NUMBER, Data, IpAddress, Timestamp, Value, string_of, text_of
from pbx.webprograms.exchange import MAX_DATA_BYTES, Asked, Response

log = logging.getLogger("pbx.webprograms")

ENTRY: Final = "sysEntry"
RUN_S: Final = 10.0
"""Wall time of a run: a visitor has left by then."""
MAX_REQUESTS: Final = 2000
"""What a run may ask; a page asks some twenty times."""
LIMITS: Final = Limits(memory_bytes=16 << 20, output_bytes=64 << 10)
"""Pages are small, and strangers decide how many of them are made at once."""
MAX_RANDOM_BYTES: Final = 4096
MAX_FILE_BYTES: Final = 1 << 20
_NO_PAGES: Final = "pages (.wssp) are not rendered by this server: use SetHTTPResponseData"


class Commands(Protocol):
    """What the run may start; see :class:`pbx.webprograms.commands.TaskCommands`."""

    def execute(self, command: str, sent: list[bytes]) -> tuple[Value, Value]:
        """(output, error)."""
        ...

    def start(self, account: str, program: str, parameter: Value) -> tuple[Value, Value]:
        """(task id, error)."""
        ...


class RunFailed(Exception):
    """The program broke down or used up what it may; the text is for the log, not the visitor."""


class ServerFiles:
    """The server-wide environment alone: files of domains are not the server's, and no stock file
    is a web program."""

    def __init__(self, read: Callable[[str], bytes | None]) -> None:
        self._read = read

    def read(self, level: Level, domain: str, language: str | None, name: str) -> bytes | None:
        """See :class:`~pbx.script.environment.FilePort`."""
        if level is not Level.SERVER:
            return None
        return self._read(f"{language}/{name}" if language else name)


class Run:
    """Set up by the constructor, carried out by :meth:`run`."""

    def __init__(
        self,
        name: str,
        program: CompiledProgram,
        store: ProgramStore,
        files: ServerFiles,
        asked: Asked,
        commands: Commands,
        clock: Clock,
        entropy: Random,
        *,
        limits: Limits = LIMITS,
    ) -> None:
        """Raises ``ProgramException`` if the program has no ``sysEntry``."""
        self.response = Response()
        self._name = name
        self._asked = asked
        self._commands = commands
        self._clock = clock
        self._entropy = entropy
        self._files = ApplicationFiles(files, "")
        self._modules = TaskModules(store, self._files, Environment.WEB, None)
        self._machine = Machine(program, ENTRY, limits=limits, modules=self._modules)
        self._sent: list[bytes] = []
        """What the program has read of the request."""
        self._handlers: dict[type[HostRequest], Callable[[Any], Value]] = {
            web.GetHTTPParameter: lambda r: self._read(asked.parameter(r.name, r.index)),
            web.GetHTTPBinaryParameter: self._binary,
            web.GetHTTPField: lambda r: self._read(asked.field(r.name)),
            web.GetHTTPQuery: lambda _: self._read(string_of(asked.query) if asked.query else None),
            web.GetHTTPResource: lambda _: self._read(string_of(asked.resource)),
            web.GetHTTPMethod: lambda _: string_of(asked.method),
            web.GetHTTPType: lambda _: self._read(string_of(asked.media_type[0]) or None),
            web.GetHTTPSubtype: lambda _: self._read(string_of(asked.media_type[1]) or None),
            web.GetHTTPData: lambda _: self._read(asked.data(self._machine)),
            web.SetHTTPResponseData: self._set_data,
            web.SetHTTPResponseType: lambda r: self._set(self.response.set_type(r.type, r.subtype)),
            web.SetHTTPResponseCode: lambda r: self.response.set_code(r.code),
            web.AddHTTPResponseField: lambda r: self._set(self.response.add_field(r.name, r.value)),
            web.ProxiedIPAddress: lambda _: None,
            web.LocalIPAddress: lambda _: _address(asked.local),
            web.WebRemoteIPAddress: lambda _: _address(asked.remote),
            web.SendHTTPContinue: lambda _: None,
            web.ProcessWSSP: lambda _: self._refuse(_NO_PAGES),
            web.WSSPCompose: lambda _: self._refuse(_NO_PAGES),
            web.SessionData: lambda _: None,
            communications.ExecuteCLI: self._execute,
            communications.StartPBXTask: self._start,
            ambient.GMTTime: lambda _: self._now(),
            ambient.LocalTime: lambda _: self._now(),
            ambient.GMTToLocal: lambda r: r.time,
            ambient.LocalToGMT: lambda r: r.time,
            ambient.RandomNumber: lambda _: entropy.getrandbits(63) & MAX_NUMBER,
            ambient.RandomData: self._random,
            ambient.GetLanguage: self._language,
            ambient.SetLanguage: self._set_language,
            ambient.GetTimeZoneName: lambda _: None,
            ambient.SysLog: self._log,
            ambient.SysProfile: lambda _: None,
            storage.ReadEnvirFile: lambda r: self._file(r.name),
            storage.ReadEnvirObject: self._object,
            accounts.MyEmail: lambda _: None,
            accounts.MyDomain: lambda _: None,
            accounts.SIPURIToEmail: self._to_email,
        }

    def run(self) -> Response:
        """Carry the program out. Raises :class:`RunFailed`."""
        until = self._clock.monotonic() + RUN_S
        machine = self._machine
        outcome = machine.run()
        requests = 0
        while not isinstance(outcome, Finished):
            if isinstance(outcome, Failed):
                raise RunFailed(str(outcome))
            requests += not isinstance(outcome, Paused)
            if self._clock.monotonic() > until or requests > MAX_REQUESTS:
                machine.kill()
                raise RunFailed(f"ended: {RUN_S:.0f} s or {MAX_REQUESTS} requests are the limit")
            if isinstance(outcome, Paused):
                outcome = machine.run()
                continue
            try:
                value = self._perform(outcome)
            except ProgramException as problem:
                outcome = machine.fail(problem)
                continue
            outcome = machine.resume(value, waited=False)
        if len(self.response.body) > MAX_DATA_BYTES:
            raise RunFailed(f"a response has at most {MAX_DATA_BYTES} bytes")
        return self.response

    def _perform(self, request: HostRequest) -> Value:
        handler = self._handlers.get(type(request))
        if handler is None:
            self._warn(f"{request.function} is not available to web programs")
            return string_of(f"501-{request.function} is not available to web programs")
        return handler(request)

    def _warn(self, text: str) -> None:
        log.warning("%s: %s", self._name, " ".join(text.split())[:1000])

    def _refuse(self, text: str) -> Value:
        raise ProgramException(text)

    def _read(self, value: Value) -> Value:
        """Note what the visitor sent, then hand it out."""
        if isinstance(value, bytes):
            self._machine.sized(value)
            self._sent.append(value)
        return value

    def _binary(self, request: web.GetHTTPBinaryParameter) -> Value:
        raw = self._read(self._asked.binary(request.name, request.index))
        return self._machine.sized_data(raw) if isinstance(raw, bytes) else None

    def _set_data(self, request: web.SetHTTPResponseData) -> Value:
        self.response.set_data(self._machine, request.data)
        return None

    def _set(self, problem: str) -> Value:
        if problem:
            self._warn(problem)
        return None

    # Commands.

    def _execute(self, request: communications.ExecuteCLI) -> Value:
        output, error = self._commands.execute(request.command, self._sent)
        self._machine.variables.set(b"executeCLIResult", output)
        return self._told("ExecuteCLI", error)

    def _start(self, request: communications.StartPBXTask) -> Value:
        task_id, error = self._commands.start(request.account, request.program, request.parameter)
        return task_id if error is None else self._told("StartPBXTASK", error)

    def _told(self, what: str, error: Value) -> Value:
        # Published programs do not look at the error: whoever reads the log learns of it.
        if isinstance(error, bytes):
            self._warn(f"{what} was refused: {text_of(error)}")
        return error

    # Around the program.

    def _now(self) -> Timestamp:
        return Timestamp(self._clock.wall_ns() // 1_000_000_000)

    def _random(self, request: ambient.RandomData) -> Value:
        if not 1 <= request.size <= MAX_RANDOM_BYTES:
            return None
        return Data(self._entropy.randbytes(request.size))

    def _language(self, request: ambient.GetLanguage) -> Value:
        return None if self._modules.language is None else string_of(self._modules.language)

    def _set_language(self, request: ambient.SetLanguage) -> Value:
        self._modules.language = request.name or None
        return None

    def _log(self, request: ambient.SysLog) -> Value:
        value = request.value
        text = value if isinstance(value, bytes) else object_to_text(Meter(LIMITS), value)
        line = text[: LIMITS.log_line_bytes]
        self._machine.write(len(line))
        log.info("%s: %s", self._name, " ".join(text_of(line).split()))
        return None

    def _file(self, name: str) -> Value:
        found = self._files.find(name, self._modules.language)
        if found is None or len(found.data) > MAX_FILE_BYTES:
            return None
        return self._machine.sized_data(found.data)

    def _object(self, request: storage.ReadEnvirObject) -> Value:
        data = self._file(request.name)
        return text_to_object(Meter(LIMITS), data.octets) if isinstance(data, Data) else None

    def _to_email(self, request: accounts.SIPURIToEmail) -> Value:
        address = address_of(request.uri)
        return None if address is None else string_of(address)


def _address(text: str) -> Value:
    try:
        return IpAddress(ipaddress.ip_address(text.partition("%")[0]))
    except ValueError:
        return None
