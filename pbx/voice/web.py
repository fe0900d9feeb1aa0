"""HTTP and DNS for programs: what they ask, and one blocking call of it, for a thread.

Bounded in size and time. Addresses that are not on the Internet are refused unless settings allow
them, each redirect anew: users write programs, and a server behind the firewall is what such
requests are after.
"""

from __future__ import annotations

import base64
import http.client
import ipaddress
import socket
import ssl
from typing import Final, NamedTuple
from urllib.parse import urlencode, urlsplit

from pbx.script.values import Data, Dictionary, Value, string_of, text_of
from pbx.voice.errors import VoiceError

MAX_TIMEOUT_S: Final = 30
MAX_BODY_BYTES: Final = 1 << 20
"""Of an answer; what is longer is an error."""
_SENT: Final = ("Cookie", "User-Agent", "Accept", "If-Modified-Since")
_TOLD: Final = ("Date", "Last-Modified", "Location", "Set-Cookie")
_METHODS: Final = frozenset(("GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS"))


class WebProblem(VoiceError):
    """The text is what the program gets."""


class WebRequest(NamedTuple):
    """One HTTP request."""

    url: str
    method: str
    headers: dict[str, str]
    body: bytes
    timeout_s: int


def _text(parameters: Dictionary, key: str) -> str:
    value = parameters.get(key.encode())
    if value is None:
        return ""
    if isinstance(value, int):
        return str(value)
    if not isinstance(value, bytes):
        raise WebProblem(f"400-{key} is not a string")
    found = text_of(value)
    if any(char in found for char in "\r\n\0"):
        raise WebProblem(f"400-{key} holds a line break")
    return found


def web_request(url: str, parameters: Value) -> WebRequest:
    """What ``HTTPCall`` means. Raises :class:`WebProblem`."""
    given = parameters if isinstance(parameters, Dictionary) else Dictionary()
    query = given.get(b"urlParams")
    if isinstance(query, Dictionary):
        url += ("&" if "?" in url else "?") + urlencode(_pairs(query))
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or not url.isprintable():
        raise WebProblem("400-the URL begins with http:// or https://")
    headers = {"User-Agent": "Ringlog"}
    for key in _SENT:
        if value := _text(given, key):
            headers[key] = value
    extra = given.get(b"supplFields")
    if isinstance(extra, Dictionary):
        headers.update({name: _text(extra, name) for name, _ in _pairs(extra)})
    body, kind = _body(given)
    name, password = _text(given, "authName"), _text(given, "authPassword")
    if name:
        token = base64.b64encode(f"{name}:{password}".encode()).decode("ascii")
        headers["Authorization"] = f"Basic {token}"
    if kind:
        headers["Content-Type"] = kind
    method = (_text(given, "method") or ("POST" if body else "GET")).upper()
    if method not in _METHODS:
        raise WebProblem(f"400-{method} is no method of HTTP")
    timeout = given.get(b"timeout")
    limit_s = timeout if isinstance(timeout, int) and timeout > 0 else MAX_TIMEOUT_S
    return WebRequest(url, method, headers, body, min(limit_s, MAX_TIMEOUT_S))


def _pairs(table: Dictionary) -> list[tuple[str, str]]:
    return [
        (text_of(key), text_of(value) if isinstance(value, bytes) else str(value or ""))
        for key, value in table.items()
    ]


def _body(given: Dictionary) -> tuple[bytes, str]:
    """The body and its type."""
    value = given.get(b"body")
    if isinstance(value, Dictionary):
        return urlencode(_pairs(value)).encode(), "application/x-www-form-urlencoded"
    if isinstance(value, Data):
        body, default = value.octets, "application/octet-stream"
    elif isinstance(value, bytes):
        body, default = value, "text/plain"
    else:
        return b"", ""
    kind, subtype = _text(given, "Content-Type"), _text(given, "Content-Subtype")
    charset = _text(given, "charset")
    named = f"{kind}/{subtype}" if kind and subtype else default
    return body, f"{named}; charset={charset}" if charset else named


class WebCaller:
    """Carries requests out, on the thread that calls."""

    def __init__(self, reach: str) -> None:
        """`reach`: ``off``, ``public`` or ``any``."""
        self._reach = reach

    def call(self, request: WebRequest) -> Dictionary:
        """The answer of the server. Raises :class:`WebProblem`."""
        if self._reach == "off":
            raise WebProblem("403-fetching URLs is switched off (limits.rule_urls)")
        parts = urlsplit(request.url)
        host = parts.hostname or ""
        secure = parts.scheme == "https"
        try:
            port = parts.port or (443 if secure else 80)
            address = self._resolve(host, port)
            raw = socket.create_connection((address, port), timeout=request.timeout_s)
            try:
                if secure:
                    context = ssl.create_default_context()
                    raw = context.wrap_socket(raw, server_hostname=host)
                connection = http.client.HTTPConnection(host, port, timeout=request.timeout_s)
                connection.sock = raw
                target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
                connection.request(request.method, target, request.body or None, request.headers)
                response = connection.getresponse()
                body = response.read(MAX_BODY_BYTES + 1)
            finally:
                raw.close()
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise WebProblem(f"500-{host} cannot be asked: {error}") from None
        if len(body) > MAX_BODY_BYTES:
            raise WebProblem(f"500-the answer is longer than {MAX_BODY_BYTES} bytes")
        return _answer(response, body)

    def _resolve(self, host: str, port: int) -> str:
        for *_, sockaddr in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            address = str(sockaddr[0])
            if self._reach == "any" or ipaddress.ip_address(address.partition("%")[0]).is_global:
                return address
        raise WebProblem(f"403-{host} is not on the Internet (limits.rule_urls)")

    def look_up(self, record: str, name: str) -> Value:
        """Addresses of a name, or the name of an address. Raises :class:`WebProblem`."""
        try:
            if record in ("a", "aaaa"):
                family = socket.AF_INET if record == "a" else socket.AF_INET6
                found = socket.getaddrinfo(name, None, family, socket.SOCK_STREAM)
                return [string_of(one) for one in dict.fromkeys(str(f[4][0]) for f in found)]
            if record == "ptr":
                return [string_of(socket.gethostbyaddr(name.strip("[]"))[0])]
        except OSError as error:
            raise WebProblem(f"404-{name}: {error.strerror or error}") from None
        raise WebProblem(f"501-records of type {record} are not looked up by this server")


def _answer(response: http.client.HTTPResponse, body: bytes) -> Dictionary:
    found = Dictionary()
    found.set(b"responseCode", response.status)
    found.set(b"responseText", string_of(response.reason))
    kind, _, subtype = (response.getheader("Content-Type") or "").partition(";")[0].partition("/")
    subtype = subtype.strip()
    text = kind.strip() == "text" or subtype in ("json", "xml") or subtype.endswith("+json")
    found.set(b"body", body if text else Data(body))
    if kind:
        found.set(b"Content-Type", string_of(kind.strip()))
        found.set(b"Content-Subtype", string_of(subtype))
    for name in _TOLD:
        value = response.getheader(name)
        if value is not None:
            found.set(name.encode(), string_of(value))
    return found
