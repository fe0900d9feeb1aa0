"""One connection of the command protocol, sans-I/O.

Bytes and time come in, bytes and jobs go out. The shell feeds :meth:`Session.receive`, sends what
:meth:`Session.outputs` gives, carries jobs out elsewhere and brings their outcome back with
:meth:`Session.answer`; lines that come meanwhile wait, in order, so a client may send many commands
at once. While :attr:`Session.wants_input` is false the shell stops reading.

States::

    LOGIN     before a login: USER, PASS, APOP, AUTH; short lines, little time
    COMMANDS  after it: any command
    CLOSED    the shell sends what is left and closes

In LOGIN and COMMANDS a job may be out, a reply may be kept back (wrong logins are slow), and an
AUTH exchange may have taken the next line.

CLI reference §1.1, §2. APOP: RFC 1939 §7; SASL: RFC 4616, RFC 2195, RFC 2831.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

from pbx.admin import sasl
from pbx.admin.credentials import Apop, Plain
from pbx.admin.errors import GENERAL, UNKNOWN_COMMAND, CliError
from pbx.admin.jobs import Client, Command, Data, Done, Job, Login, NewPassword, Outcome, Refused
from pbx.data import Value, write, write_pretty

EOL: Final = b"\r\n"
LOGIN_LINE_BYTES: Final = 4096
"""Before a login: a name, a password, a SASL response."""
LOGIN_S: Final = 60.0
"""How long a connection may be without a login."""
IDLE_S: Final = 300.0
"""CLI reference §1.1: then the server closes, unless NOTIMEOUT was given."""
WAITING_LINES: Final = 100
"""Commands that may wait behind one that is carried out; then the shell stops reading."""
MAX_ERRORS: Final = 20
"""Wrong lines in a row before a login; whoever sends more is no client of ours."""
MAX_LOGINS: Final = 5
"""Wrong logins on one connection."""


class Send(NamedTuple):
    """Send these bytes."""

    data: bytes


class Run(NamedTuple):
    """Carry out a job and call :meth:`Session.answer` with its outcome."""

    job: Job


class Close(NamedTuple):
    """Send what was given, then close."""


Output: TypeAlias = Send | Run | Close


class State(enum.Enum):
    """See the module."""

    LOGIN = "login"
    COMMANDS = "commands"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class SessionConfig:
    """What a session is told."""

    greeting: str
    stamp: str
    """The time stamp of the greeting with its angle brackets; new for each connection."""
    realm: str
    line_bytes: int = 16 * 1024 * 1024
    """Longest line after a login: a prompt of ten megabytes as a data block."""


class Session:
    """See the module. Drain :meth:`outputs` and re-arm :meth:`next_timer` after every input."""

    def __init__(self, client: Client, config: SessionConfig, now: float) -> None:
        self.client = client
        self._config = config
        self._outputs: list[Output] = []
        self._state = State.LOGIN
        self._buffer = bytearray()
        self._scanned = 0
        self._skipping = False
        """Within a line that is too long."""
        self._lines: deque[bytes] = deque()
        self._job: Job | None = None
        self._held: bytes | None = None
        """A reply that is kept back until :attr:`_held_until`."""
        self._held_until = 0.0
        self._exchange: sasl.Exchange | None = None
        self._user = ""
        self._inline = False
        self._timeout = True
        self._opened = now
        self._active = now
        self._errors = 0
        self._failed_logins = 0
        self._eof = False
        self._send(f"200 {config.greeting} {config.stamp}")

    # ------------------------------------------------------------------------------- outputs

    def outputs(self) -> list[Output]:
        """What to do, in order; each is given once."""
        outputs, self._outputs = self._outputs, []
        return outputs

    def next_timer(self) -> float | None:
        """When :meth:`handle_timer` wants to be called."""
        if self._state is State.CLOSED:
            return None
        if self._held is not None:
            return self._held_until
        if self._state is State.LOGIN:
            return self._opened + LOGIN_S
        return self._active + IDLE_S if self._timeout and self._job is None else None

    @property
    def wants_input(self) -> bool:
        """Whether more may be read from the peer."""
        return len(self._lines) < WAITING_LINES and self._state is not State.CLOSED

    @property
    def closed(self) -> bool:
        return self._state is State.CLOSED

    # -------------------------------------------------------------------------------- inputs

    def receive(self, data: bytes, now: float) -> None:
        """Bytes from the peer."""
        if self._state is State.CLOSED:
            return
        self._active = now
        self._buffer += data
        self._split()
        self._proceed(now)

    def receive_eof(self, now: float) -> None:
        """The peer sends no more; what it sent is still carried out and answered."""
        self._eof = True
        if self._buffer and not self._skipping:
            self._lines.append(bytes(self._buffer))
        self._buffer.clear()
        self._proceed(now)

    def answer(self, outcome: Outcome, now: float) -> None:
        """The outcome of the job that was given out."""
        job, self._job = self._job, None
        self._active = now
        if self._state is State.CLOSED:
            return
        match outcome:
            case Done(text):
                self._done(job, text)
            case Data(value):
                self._send_data(value)
            case Refused(code, text, delay_s):
                reply = f"{code} {_one_line(text)}".encode() + EOL
                if isinstance(job, Login):
                    self._exchange = None
                    self._failed_logins += 1
                if delay_s > 0:
                    self._held, self._held_until = reply, now + delay_s
                    return
                self._outputs.append(Send(reply))
        self._after_reply()
        self._proceed(now)

    def handle_timer(self, now: float) -> None:
        """Do what has become due."""
        due = self.next_timer()
        if due is None or now < due:
            return
        if self._held is not None:
            self._outputs.append(Send(self._held))
            self._held = None
            self._after_reply()
            self._proceed(now)
            return
        self._send("501 inactivity time-out")
        self._close()

    def kill(self) -> None:
        """An administrator ended the session."""
        if self._state is not State.CLOSED:
            self._send("501 session closed by an administrator")
            self._close()

    # ------------------------------------------------------------------------------- framing

    def _limit(self) -> int:
        return self._config.line_bytes if self._state is State.COMMANDS else LOGIN_LINE_BYTES

    def _split(self) -> None:
        """Lines out of the buffer; they end with LF, CRLF, or CR before anything else."""
        buffer = self._buffer
        start = 0
        while True:
            end = buffer.find(b"\n", max(start, self._scanned))
            if end < 0:
                break
            line = bytes(buffer[start:end])
            start = end + 1
            if self._skipping:
                self._skipping = False
            else:
                self._lines.append(line)
        if start:
            del buffer[:start]
        self._scanned = len(buffer)
        if len(buffer) > self._limit():
            # The rest of the line is thrown away as it comes; nothing of it is kept.
            if not self._skipping:
                self._lines.append(_TOO_LONG)
            self._skipping = True
            buffer.clear()
            self._scanned = 0

    # ----------------------------------------------------------------------------- the lines

    def _proceed(self, now: float) -> None:
        """Take lines until one has a job, or none is left."""
        while self._state is not State.CLOSED and self._job is None and self._held is None:
            if self.client.killed:
                self.kill()
                return
            if not self._lines:
                if self._eof:
                    self._close()
                return
            self._line(self._lines.popleft())

    def _line(self, raw: bytes) -> None:
        if raw is _TOO_LONG or len(raw) > self._limit():
            self._refuse(GENERAL, f"the line is longer than {self._limit()} bytes")
            return
        try:
            line = raw.rstrip(b"\r").decode()
        except UnicodeDecodeError:
            self._refuse(GENERAL, "incorrect data format: a line is UTF-8 text")
            return
        if "\0" in line or "\r" in line:
            self._refuse(GENERAL, "incorrect data format: a line with control characters")
            return
        if self._exchange is not None:
            self._continue_exchange(line)
            return
        word, _, rest = line.lstrip(" \t").partition(" ")
        if not word:
            return  # an empty line is nobody's command
        handler = _SESSION_COMMANDS.get(word.upper())
        if handler is not None:
            handler(self, rest)
        elif self._state is State.LOGIN:
            self._refuse(UNKNOWN_COMMAND, "unknown command, or log in first: USER, then PASS")
        else:
            self._run(Command(line.strip(" \t")))

    def _run(self, job: Job) -> None:
        self._job = job
        self._outputs.append(Run(job))

    def _done(self, job: Job | None, text: str) -> None:
        if isinstance(job, Login):
            self._state = State.COMMANDS
            self._errors = self._failed_logins = 0
            self._exchange = None
        self._send(f"200 {text}")

    def _after_reply(self) -> None:
        if self._failed_logins >= MAX_LOGINS:
            self._close()

    def _refuse(self, code: int, text: str) -> None:
        self._send(f"{code} {_one_line(text)}")
        if self._state is State.LOGIN:
            self._errors += 1
            if self._errors >= MAX_ERRORS:
                self._close()

    def _send(self, line: str) -> None:
        self._outputs.append(Send(line.encode("utf-8", "replace") + EOL))

    def _send_data(self, value: Value) -> None:
        if self._inline:
            self._send(f"201 {write(value)}")
        else:
            self._send("200 data follow")
            self._send(write_pretty(value).replace("\n", "\r\n"))

    def _close(self) -> None:
        self._state = State.CLOSED
        self._lines.clear()
        self._buffer.clear()
        self._outputs.append(Close())

    # -------------------------------------------------------------------- session's own words

    def _user_command(self, rest: str) -> None:
        self._user = rest.strip().strip('"')
        if not self._user:
            self._refuse(GENERAL, "parameter missing: write USER name")
            return
        self._send("300 please send the PASS")

    def _pass_command(self, rest: str) -> None:
        if not self._user:
            self._refuse(GENERAL, "send USER first")
            return
        # The rest of the line as it is: blanks and quotes are part of a password.
        self._run(Login(self._user, Plain(rest)))

    def _apop_command(self, rest: str) -> None:
        name, _, digest = rest.strip().rpartition(" ")
        if not name:
            self._refuse(GENERAL, "parameter missing: write APOP name digest")
            return
        self._run(Login(name.strip().strip('"'), Apop(self._config.stamp, digest)))

    def _auth_command(self, rest: str) -> None:
        method, _, initial = rest.strip().partition(" ")
        try:
            self._exchange = sasl.begin(method.upper(), self._config.stamp, self._config.realm)
            self._step(self._exchange.start(initial.strip()))
        except CliError as error:
            self._exchange = None
            self._refuse(error.code, str(error))

    def _continue_exchange(self, line: str) -> None:
        exchange = self._exchange
        assert exchange is not None
        if line.strip() == "*":
            self._exchange = None
            self._refuse(GENERAL, "the login was cancelled")
            return
        try:
            self._step(exchange.respond(line.strip()))
        except CliError as error:
            self._exchange = None
            self._refuse(error.code, str(error))

    def _step(self, step: str | Login) -> None:
        if isinstance(step, Login):
            self._exchange = None
            self._run(step)
        else:
            self._send(f"300 {step}")

    def _newpass_command(self, rest: str) -> None:
        if self._logged_in():
            self._run(NewPassword(rest))

    def _inline_command(self, rest: str) -> None:
        self._inline = True
        self._send("200 OK")

    def _notimeout_command(self, rest: str) -> None:
        self._timeout = False
        self._send("200 OK")

    def _quit_command(self, rest: str) -> None:
        self._send("200 Ringlog PWD connection closed")
        self._close()

    def _logged_in(self) -> bool:
        if self._state is not State.COMMANDS:
            self._refuse(GENERAL, "log in first: USER, then PASS")
            return False
        return True


_TOO_LONG: Final = b"\0too long"
"""Stands for a line that was thrown away; compared by identity."""

_SESSION_COMMANDS: Final[dict[str, Callable[[Session, str], None]]] = {
    "USER": Session._user_command,
    "PASS": Session._pass_command,
    "APOP": Session._apop_command,
    "AUTH": Session._auth_command,
    "NEWPASS": Session._newpass_command,
    "INLINE": Session._inline_command,
    "NOTIMEOUT": Session._notimeout_command,
    "QUIT": Session._quit_command,
}


def _one_line(text: str) -> str:
    return " ".join(text.split())
