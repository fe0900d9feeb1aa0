"""Commands over HTTP: one command a request, for whatever server mounts it at ``/CLI/``.

CLI reference §1.2. The caller gives what it found in the request, and sends back status, headers
and body; it need not know more of commands, nor this module of HTTP servers::

    reply = http_command(service, HttpRequest(method, query, body, content_type, authorization,
                                              peer, secure))

Blocking, like all that waits for the log: an asyncio server calls it on a thread.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl

from pbx.admin.credentials import Plain
from pbx.admin.jobs import Client, Command, Data, Done, Login, Refused
from pbx.admin.service import AdminService
from pbx.data import write_pretty
from pbx.objects.forms import address_in
from pbx.objects.server_keys import SERVER_TABLES

MAX_BODY_BYTES: Final = 16 * 1024 * 1024
"""As long as a line of the protocol on its own port may be, by default."""
TEXT: Final = "text/plain; charset=utf-8"
_PARAMETER: Final = "command"


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """What of a request matters."""

    method: str
    query: bytes = b""
    body: bytes = b""
    content_type: str = ""
    authorization: str = ""
    peer: str = "127.0.0.1"
    """Numeric address of the client."""
    secure: bool = False

    def __repr__(self) -> str:
        return f"HttpRequest({self.method!r}, peer={self.peer!r}, …)"


@dataclass(frozen=True, slots=True)
class HttpReply:
    """What to send back."""

    status: int
    body: str = ""
    headers: tuple[tuple[str, str], ...] = field(default=(("Content-Type", TEXT),))
    delay_s: float = 0.0
    """Keep the answer back for so long: guessing is made slow."""


def http_command(service: AdminService, request: HttpRequest) -> HttpReply:
    """Carry out the command of a request: 200 with the result, 550 with ``code text``, 401, 403."""
    client = Client(request.peer, "HTTP", request.secure)
    if service.refuses(request.peer) or not _is_allowed(service, request.peer):
        return HttpReply(403, "commands are not taken from this address\n")
    if request.method not in ("GET", "POST"):
        return HttpReply(405, "write GET or POST\n", (("Allow", "GET, POST"),))
    if len(request.body) > MAX_BODY_BYTES:
        return HttpReply(413, f"a command has up to {MAX_BODY_BYTES} bytes\n")
    login = _login_of(request.authorization)
    if login is None:
        return _unauthorized()
    try:
        outcome = service.perform(client, login)
        if isinstance(outcome, Refused):
            return _unauthorized(outcome.delay_s)
        line = _command_of(request)
        if line is None:
            return HttpReply(400, "give one parameter named command\n")
        outcome = service.perform(client, Command(line))
    finally:
        service.closed(client)
    match outcome:
        case Done():
            return HttpReply(200)
        case Data(value):
            return HttpReply(200, write_pretty(value) + "\n")
        case Refused(code, text, _):
            return HttpReply(550, f"{code} {text}\n")


def _unauthorized(delay_s: float = 0.0) -> HttpReply:
    """The same for an unknown name, a wrong password and a lock: what it is stays untold."""
    headers = (
        ("WWW-Authenticate", 'Basic realm="Ringlog", charset="UTF-8"'),
        ("Content-Type", TEXT),
    )
    return HttpReply(401, "515 incorrect password or account name\n", headers, delay_s)


def _is_allowed(service: AdminService, peer: str) -> bool:
    """The setting ``CLI`` of HTTPU: disabled, everybody, or the clients of the server and of any
    domain."""
    module = service.world.server.section("module.HTTPU")
    choice = module.get("CLI", SERVER_TABLES["module.HTTPU"]["CLI"].default)
    if choice == "everybody":
        return True
    if choice != "clients":
        return False
    if _is_own(peer) or service.in_list("CLIENT", peer):
        return True
    lists = service.world.client_lists()
    return any(isinstance(items, list) and address_in(items, peer) for items in lists)


def _is_own(peer: str) -> bool:
    return peer in ("127.0.0.1", "::1")


def _login_of(authorization: str) -> Login | None:
    """Basic authentication (RFC 7617)."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, colon, password = (
            base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
        )
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return None
    return Login(name, Plain(password)) if colon and name else None


def _command_of(request: HttpRequest) -> str | None:
    """The one command of the query, or of a form in the body."""
    raw = request.query
    if request.method == "POST" and request.body:
        if request.content_type.partition(";")[0].strip().lower() not in (
            "", "application/x-www-form-urlencoded",
        ):  # fmt: skip
            return None
        raw = request.body
    try:
        fields = parse_qsl(raw.decode("utf-8"), keep_blank_values=True, max_num_fields=20)
    except (UnicodeDecodeError, ValueError):
        return None
    commands = [value for name, value in fields if name.lower() == _PARAMETER]
    if len(commands) != 1 or not commands[0].strip():
        return None
    return " ".join(commands[0].splitlines()).strip()
