"""Bytes to messages: datagrams and streams, limits, keep-alives (RFC 3261 §7, §18.3; RFC 5626).

Fed by the endpoint shells; feeds the engine. Parsing is structural: start line, header lines
with canonical names and unfolded values, body by Content-Length. A value is read only when a
typed field of the message is asked for, so one bad header never loses the others.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final

from sip.errors import MalformedHeader, ParseError
from sip.grammar import DEFAULT, LWS, TOKEN, Limits
from sip.headers.generic import METHODS
from sip.headers.names import CANONICAL, canonical_name
from sip.message import Request, Response
from sip.validation import Rejection, validate_request, validate_response

__all__ = [
    "DEFAULT",
    "KeepAlive",
    "Limits",
    "Rejection",
    "StreamFramer",
    "is_keep_alive",
    "parse_message",
    "validate_request",
    "validate_response",
]

_VERSION: Final = re.compile(r"SIP/[0-9]+\.[0-9]+", re.IGNORECASE)
_BREAKS: Final = b"\r\n"
_NEEDED: Final = ("Via", "Call-ID", "CSeq", "From", "To")


class KeepAlive(Enum):
    """RFC 5626 §3.5.1 on streams."""

    PING = "ping"
    """CRLFCRLF came in: answer one CRLF."""
    PONG = "pong"
    """CRLF came in: the answer to a ping of ours."""


def is_keep_alive(data: bytes) -> bool:
    """Whether a datagram only keeps a NAT binding open: empty, line breaks or zero bytes.

    STUN on the SIP port (RFC 5626 §3.5.2) starts with two zero bits and is not meant here.
    """
    return len(data) <= 4 and not data.strip(b"\r\n\x00")


def parse_message(data: bytes, limits: Limits = DEFAULT) -> Request | Response:
    """Parse one datagram or one WebSocket frame. Raises ParseError and nothing else.

    Bytes after the body are ignored (RFC 3261 §18.3). Keep-alives are not messages: see
    ``is_keep_alive``.
    """
    if len(data) > limits.datagram_bytes:
        raise ParseError("Message too large", status_hint=513)
    start = 0
    if data[:1] in (b"\r", b"\n"):
        start = len(data) - len(data.lstrip(_BREAKS))  # §7.5: line breaks before the start line
    head_end = data.find(b"\r\n\r\n", start)
    if head_end < 0:
        message, _ = _parse_head(data[start:].rstrip(_BREAKS), limits)
        raise _error("No end of headers", message)
    message, length = _parse_head(data[start:head_end], limits)
    body_start = head_end + 4
    available = len(data) - body_start
    if length is None:
        length = available
    elif length > available:
        raise _error("Content-Length beyond the datagram", message)
    if length:
        message.body = data[body_start : body_start + length]
    return message


def _error(reason: str, message: Request | Response | None, status: int = 400) -> ParseError:
    """A ParseError that carries the request if it can be answered."""
    partial = message if isinstance(message, Request) and _answerable(message) else None
    return ParseError(reason, status_hint=status, partial=partial)


def _answerable(request: Request) -> bool:
    """Whether a response could be built and routed (RFC 3261 §8.2.6, §18.2.2).

    What it would echo must itself be of reasonable size: no answer is owed to a flood.
    """
    if request.method == "ACK" or not all(request.has(name) for name in _NEEDED):
        return False
    echoed = [value for name, value in request.headers if name in _NEEDED]
    if len(echoed) > DEFAULT.via or max(map(len, echoed)) > DEFAULT.uri_bytes:
        return False
    try:
        request.via  # noqa: B018 - asked for so that it raises here
    except MalformedHeader:
        return False
    return True


def _parse_head(head: bytes, limits: Limits) -> tuple[Request | Response, int | None]:
    """Start line and headers; the second result is Content-Length or ``None``.

    Raises ParseError. The message comes back without its body.
    """
    if len(head) > limits.head_bytes:
        raise ParseError("Headers too large", status_hint=513)
    text = head.decode("utf-8", "surrogateescape")
    lines = text.split("\r\n")
    breaks = len(lines) - 1
    if text.count("\n") != breaks or text.count("\r") != breaks:
        # A bare CR or LF that we passed on could become a header of its own at the next hop.
        # The text is not safe to echo either.
        raise ParseError("Bare CR or LF in headers")
    if "\r\n " in text or "\r\n\t" in text:
        lines = _unfold(lines)
    start_line = lines[0]
    most = limits.headers + 2  # the start line and Content-Length are no part of the count
    excess = len(lines) > most
    if excess:
        del lines[most:]
    headers: list[tuple[str, str]] = []
    lengths: list[str] = []
    problem = ""
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        canonical = CANONICAL.get(name)
        if canonical is None:
            try:
                canonical = canonical_name(name)
            except MalformedHeader:
                problem = "Bad header field name"
                continue
        if not colon:
            problem = "Header field without a colon"
        elif canonical == "Content-Length":
            lengths.append(value.strip(LWS))
        else:
            headers.append((canonical, value.strip(LWS)))
    message = _start(start_line, tuple(headers), limits)
    if problem:
        raise _error(problem, message)
    if excess or len(headers) > limits.headers:
        raise _error("Too many headers", message, 513)
    if len(head) > limits.header_bytes and len(max(lines, key=len)) > limits.header_bytes:
        raise _error("Header too large", message, 513)
    if not lengths:
        return message, None
    # RFC 4475 §3.3.9: two different lengths are the classic way to smuggle a second message.
    digits = lengths[0]
    if len(lengths) > 1 or not (digits.isascii() and digits.isdigit()) or len(digits) > 10:
        raise _error("Bad Content-Length", message)
    return message, int(digits)


def _unfold(lines: list[str]) -> list[str]:
    """Join folded lines: a break and the white space around it are one space (§7.3.1).

    Line by line, because a pattern over the whole text would be quadratic in runs of spaces.
    """
    unfolded: list[str] = []
    pieces = [lines[0]]
    for line in lines[1:]:
        if line[:1] in (" ", "\t"):
            pieces.append(line)
        else:
            unfolded.append(_join(pieces))
            pieces = [line]
    unfolded.append(_join(pieces))
    return unfolded


def _join(pieces: list[str]) -> str:
    return pieces[0] if len(pieces) == 1 else " ".join([piece.strip(LWS) for piece in pieces])


def _start(line: str, headers: tuple[tuple[str, str], ...], limits: Limits) -> Request | Response:
    """The message for a start line (RFC 3261 §7.1, §7.2); raises ParseError."""
    first, space, rest = line.partition(" ")
    if first == "SIP/2.0" or (first[:4].upper() == "SIP/" and _VERSION.fullmatch(first)):
        code, _, reason = rest.partition(" ")
        if first.upper() != "SIP/2.0":
            raise ParseError("Version not supported", status_hint=505)
        if len(code) != 3 or not (code.isascii() and code.isdigit()) or not "1" <= code[0] <= "6":
            raise ParseError("Bad status code")
        return Response(int(code), reason, headers)
    uri, space, version = rest.partition(" ")
    if version == "SIP/2.0" and first in METHODS:
        request = Request(first, uri, headers)
    else:
        if TOKEN.fullmatch(first) is None or not space:
            raise ParseError("Bad start line")
        request = Request(first, uri, headers)
        if version.upper() != "SIP/2.0" or not uri:
            if _VERSION.fullmatch(version) is not None:
                raise _error("Version not supported", request, 505)
            raise _error("Bad start line", request)
    if len(uri) > limits.uri_bytes:
        raise _error("Request-URI too long", request, 414)
    return request


class StreamFramer:
    """Cuts a byte stream into messages (RFC 3261 §18.3): Content-Length is mandatory here.

    ``feed`` returns what became complete. A ParseError while ``broken`` is unset concerns one
    message whose end is known: answer it if it has a ``partial`` and go on. Once ``broken`` is
    set the framing is lost: answer the last error likewise, then close the connection. Pending
    bytes never exceed ``limits.stream_bytes`` plus one read; a shell that limits the time for a
    slow message looks at ``pending``.
    """

    __slots__ = (
        "_body_start",
        "_buffer",
        "_end",
        "_half_ping",
        "_limits",
        "_message",
        "_scanned",
        "broken",
    )

    def __init__(self, limits: Limits = DEFAULT) -> None:
        self._limits = limits
        self._buffer = bytearray()
        self._scanned = 0
        """No end of headers before this offset."""
        self._message: Request | Response | ParseError | None = None
        """What the head of the awaited body gave."""
        self._body_start = 0
        self._end = 0
        self._half_ping = False
        self.broken = False

    @property
    def pending(self) -> int:
        """Bytes of an incomplete message."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[Request | Response | KeepAlive | ParseError]:
        """Add bytes; returns messages and keep-alives in order. Ignores all after ``broken``."""
        results: list[Request | Response | KeepAlive | ParseError] = []
        if self.broken:
            return results
        self._buffer += data
        while self._buffer:
            if self._message is None and self._buffer[0] in _BREAKS:
                if not self._keep_alive(results):
                    break
                continue
            self._half_ping = False
            result = self._next()
            if result is None:
                break
            results.append(result)
        return results

    def _next(self) -> Request | Response | ParseError | None:
        buffer = self._buffer
        if self._message is None:
            head_end = buffer.find(b"\r\n\r\n", self._scanned)
            if head_end > self._limits.head_bytes or (
                head_end < 0 and len(buffer) > self._limits.head_bytes
            ):
                return self._break(ParseError("Headers too large", status_hint=513))
            if head_end < 0:
                self._scanned = max(0, len(buffer) - 3)
                return None
            error = self._begin(bytes(buffer[:head_end]))
            if error is not None:
                return error
        if len(buffer) < self._end:
            return None
        message = self._message
        assert message is not None  # _begin set it
        if not isinstance(message, ParseError):
            message.body = bytes(buffer[self._body_start : self._end])
        del buffer[: self._end]
        self._message = None
        self._scanned = 0
        return message

    def _begin(self, head: bytes) -> ParseError | None:
        """Take a complete head: set what ``_next`` waits for, or return an unrecoverable error."""
        message: Request | Response | None
        length: int | None
        try:
            message, length = _parse_head(head, self._limits)
            self._message = message
        except ParseError as error:
            message, length = error.partial, _declared_length(head)
            if length is None:
                return self._break(error)
            self._message = error
        start = len(head) + 4
        if length is None:
            return self._break(_error("Content-Length is missing", message))
        if start + length > self._limits.stream_bytes:
            return self._break(_error("Message too large", message, 513))
        self._body_start = start
        self._end = start + length
        return None

    def _keep_alive(self, results: list[Request | Response | KeepAlive | ParseError]) -> bool:
        """Take line breaks between messages; returns False when more bytes must come.

        Two CRLF are a ping and one is a pong. One CRLF may also be the first half of a ping: it
        is reported as a pong, which is harmless to who awaits none, and completed later.
        """
        buffer = self._buffer
        if buffer.startswith(b"\r\n\r\n") and not self._half_ping:
            del buffer[:4]
            results.append(KeepAlive.PING)
        elif buffer.startswith(b"\r\n"):
            del buffer[:2]
            results.append(KeepAlive.PING if self._half_ping else KeepAlive.PONG)
            self._half_ping = not self._half_ping
        elif buffer == b"\r":
            return False
        else:
            del buffer[:1]  # a stray CR or LF: §7.5 lets us skip it
        return True

    def _break(self, error: ParseError) -> ParseError:
        self.broken = True
        self._buffer.clear()
        return error


def _declared_length(head: bytes) -> int | None:
    """Content-Length of a head that did not parse, if its framing is beyond doubt."""
    text = head.decode("latin-1")
    lines = text.split("\r\n")
    if text.count("\n") != len(lines) - 1 or text.count("\r") != len(lines) - 1:
        return None
    found = None
    for line in lines[1:]:
        name, _, value = line.partition(":")
        if CANONICAL.get(name.rstrip(LWS).lower()) == "Content-Length":
            value = value.strip(LWS)
            if found is not None or not value.isascii() or not value.isdigit() or len(value) > 10:
                return None
            found = int(value)
    return found
