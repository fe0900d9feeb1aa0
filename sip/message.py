"""Requests and responses: header order and text kept, fields parsed when first asked for.

Fed by ``sip.parser`` (from the wire) and by everyone who builds messages; feeds the whole stack.

A message is immutable by convention: whoever wants another one calls ``copy``. That makes it safe
to hand the same object to transactions, dialogs and the transaction user, and lets every derived
value (typed fields, wire bytes) be computed once.

``headers`` never holds Content-Length: it always is the length of the body, written last
(RFC 3261 §20.14). Text is decoded with ``surrogateescape``, so any byte survives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, Generic, TypeVar, overload

from sip.errors import LocalProtocolError, MalformedHeader
from sip.grammar import DEFAULT, LWS, parse_number, split_list
from sip.headers.address import NameAddr, parse_name_addr
from sip.headers.generic import CSeq, parse_cseq
from sip.headers.names import KNOWN
from sip.headers.via import Via, parse_via
from sip.uri import SipUri, Uri, parse_uri

HeaderList = tuple[tuple[str, str], ...]
"""(canonical name, unfolded and stripped value) in wire order."""

REASONS: Final[dict[int, str]] = {
    100: "Trying",
    180: "Ringing",
    181: "Call Is Being Forwarded",
    182: "Queued",
    183: "Session Progress",
    199: "Early Dialog Terminated",
    200: "OK",
    202: "Accepted",
    204: "No Notification",
    300: "Multiple Choices",
    301: "Moved Permanently",
    302: "Moved Temporarily",
    305: "Use Proxy",
    380: "Alternative Service",
    400: "Bad Request",
    401: "Unauthorized",
    402: "Payment Required",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    407: "Proxy Authentication Required",
    408: "Request Timeout",
    410: "Gone",
    412: "Conditional Request Failed",
    413: "Request Entity Too Large",
    414: "Request-URI Too Long",
    415: "Unsupported Media Type",
    416: "Unsupported URI Scheme",
    417: "Unknown Resource-Priority",
    420: "Bad Extension",
    421: "Extension Required",
    422: "Session Interval Too Small",
    423: "Interval Too Brief",
    428: "Use Identity Header",
    429: "Provide Referrer Identity",
    430: "Flow Failed",
    433: "Anonymity Disallowed",
    436: "Bad Identity Info",
    437: "Unsupported Credential",
    438: "Invalid Identity Header",
    439: "First Hop Lacks Outbound Support",
    440: "Max-Breadth Exceeded",
    469: "Bad Info Package",
    470: "Consent Needed",
    480: "Temporarily Unavailable",
    481: "Call/Transaction Does Not Exist",
    482: "Loop Detected",
    483: "Too Many Hops",
    484: "Address Incomplete",
    485: "Ambiguous",
    486: "Busy Here",
    487: "Request Terminated",
    488: "Not Acceptable Here",
    489: "Bad Event",
    491: "Request Pending",
    493: "Undecipherable",
    494: "Security Agreement Required",
    500: "Server Internal Error",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Server Time-out",
    505: "Version Not Supported",
    513: "Message Too Large",
    555: "Push Notification Service Not Supported",
    580: "Precondition Failure",
    600: "Busy Everywhere",
    603: "Decline",
    604: "Does Not Exist Anywhere",
    606: "Not Acceptable",
    607: "Unwanted",
    608: "Rejected",
}

T = TypeVar("T")
M = TypeVar("M", bound="Message")


class _lazy(Generic[T]):  # noqa: N801 - used as a decorator, like property
    """A field computed on first use and then an ordinary instance attribute.

    A non-data descriptor: once the value is in the instance dictionary the descriptor is not
    asked again. ``functools.cached_property`` takes a lock in Python 3.11. A computation that
    raises stores nothing and raises again next time.
    """

    def __init__(self, compute: Callable[[Any], T]) -> None:
        self.compute = compute
        self.__doc__ = compute.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, instance: None, owner: type) -> _lazy[T]: ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: object | None, owner: type) -> T | _lazy[T]:
        if instance is None:
            return self
        value = self.compute(instance)
        instance.__dict__[self.name] = value
        return value


class Message:
    """What requests and responses share.

    Typed fields raise MalformedHeader when the field is missing (where it is mandatory) or
    cannot be read; ``sip.parser.validate_request`` has checked the mandatory ones of any request
    that the engine goes on with.
    """

    # The derived values live in __dict__, which Python allocates only when the first is stored.
    __slots__ = ("__dict__", "body", "headers")

    headers: HeaderList
    body: bytes

    # --- raw access -------------------------------------------------------------------------

    @_lazy
    def _first(self) -> dict[str, str]:
        return dict(self.headers[::-1])

    @property
    def repeats(self) -> bool:
        """Whether any header field name stands on more than one line."""
        return len(self._first) != len(self.headers)

    def first(self, name: str) -> str | None:
        """The value of the first such header line; ``name`` in canonical spelling."""
        value = self._first.get(name)
        if value is None and name not in KNOWN:
            # An extension keeps the spelling of whoever sent it.
            lower = name.lower()
            return next((v for n, v in self.headers if n.lower() == lower), None)
        return value

    def has(self, name: str) -> bool:
        return self.first(name) is not None

    def all(self, name: str) -> list[str]:
        """The value of each such header line."""
        if name in KNOWN:
            first = self._first
            if len(first) == len(self.headers):  # nothing repeats: no scan
                value = first.get(name)
                return [] if value is None else [value]
            return [value for header, value in self.headers if header == name]
        lower = name.lower()
        return [value for header, value in self.headers if header.lower() == lower]

    def values(self, name: str) -> list[str]:
        """All elements of a list header, over all its lines. Raises MalformedHeader.

        Empty lines (``Supported:``) give nothing.
        """
        items: list[str] = []
        for value in self.all(name):
            if value:
                items += split_list(value, name)
                if len(items) > DEFAULT.headers:
                    raise MalformedHeader(name, "too many elements")
        return items

    # --- typed, on first use ----------------------------------------------------------------

    def _required(self, name: str) -> str:
        value = self._first.get(name)
        if not value:
            raise MalformedHeader(name, "missing")
        return value

    @_lazy
    def call_id(self) -> str:
        """Opaque and case-sensitive; printable ASCII (RFC 3261 §25.1 callid)."""
        value = self._required("Call-ID")
        if not (value.isascii() and value.isprintable()):
            raise MalformedHeader("Call-ID", "not printable")
        return value

    @_lazy
    def cseq(self) -> CSeq:
        return parse_cseq(self._required("CSeq"))

    @_lazy
    def via(self) -> Via:
        """The topmost hop."""
        value = self._required("Via")
        if "," in value:
            value = split_list(value, "Via")[0]
        return parse_via(value)

    @_lazy
    def vias(self) -> list[Via]:
        values = self.values("Via")
        if len(values) > DEFAULT.via:
            raise MalformedHeader("Via", "too many hops")
        return [parse_via(value) for value in values]

    @_lazy
    def from_(self) -> NameAddr:
        return parse_name_addr(self._required("From"), "From")

    @_lazy
    def to(self) -> NameAddr:
        return parse_name_addr(self._required("To"), "To")

    def addresses(self, name: str) -> list[NameAddr]:
        """The elements of any list of addresses. Raises MalformedHeader."""
        return [parse_name_addr(value, name) for value in self.values(name)]

    @_lazy
    def contacts(self) -> list[NameAddr]:
        """Empty for ``Contact: *``."""
        if self.contact_is_star:
            return []
        return self.addresses("Contact")

    @_lazy
    def contact_is_star(self) -> bool:
        """``Contact: *`` (RFC 3261 §10.2.2). Raises MalformedHeader if it is not alone."""
        values = self.all("Contact")
        if "*" not in values:
            return False
        if len(values) > 1:
            raise MalformedHeader("Contact", "the wildcard stands alone")
        return True

    @_lazy
    def routes(self) -> list[NameAddr]:
        return self.addresses("Route")

    @_lazy
    def record_routes(self) -> list[NameAddr]:
        return self.addresses("Record-Route")

    @_lazy
    def paths(self) -> list[NameAddr]:
        return self.addresses("Path")

    @_lazy
    def max_forwards(self) -> int | None:
        value = self._first.get("Max-Forwards")
        return None if value is None else parse_number(value, "Max-Forwards", 255)

    @_lazy
    def expires(self) -> int | None:
        value = self._first.get("Expires")
        return None if value is None else parse_number(value, "Expires")

    @_lazy
    def content_type(self) -> str:
        """``type/subtype`` in lower case without parameters; empty if there is none."""
        value = self._first.get("Content-Type")
        return "" if value is None else value.partition(";")[0].strip(LWS).lower()

    def option_tags(self, name: str) -> frozenset[str]:
        """Tokens of Supported, Require, Proxy-Require, Unsupported ... (lower case) or of Allow
        (as written: methods are case-sensitive)."""
        values = self.values(name)
        if name == "Allow":
            return frozenset(values)
        return frozenset([value.lower() for value in values])

    # --- wire -------------------------------------------------------------------------------

    def _start_line(self) -> str:
        raise NotImplementedError

    def to_bytes(self) -> bytes:
        """The message on the wire, computed once.

        Raises LocalProtocolError if a value would break the framing: this is the one place that
        guards against header injection, wherever the value came from.
        """
        return self._wire

    @_lazy
    def _wire(self) -> bytes:
        body = self.body
        lines = [self._start_line()]
        lines += [f"{name}: {value}" for name, value in self.headers]
        lines.append(f"Content-Length: {len(body)}\r\n\r\n")
        text = "\r\n".join(lines)
        if text.count("\n") != len(lines) + 1 or text.count("\r") != len(lines) + 1:
            raise LocalProtocolError("a header value holds a line break")
        if text.count("\nContent-Length:") != 1:
            raise LocalProtocolError("Content-Length is written by to_bytes alone")
        return text.encode("utf-8", "surrogateescape") + body

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Message) and self.to_bytes() == other.to_bytes()

    def __hash__(self) -> int:
        return hash(self.to_bytes())


class Request(Message):
    """``method uri SIP/2.0``."""

    __slots__ = ("method", "uri")

    def __init__(self, method: str, uri: str, headers: HeaderList, body: bytes = b"") -> None:
        self.method = method
        self.uri = uri
        """The Request-URI as text."""
        self.headers = headers
        self.body = body

    @_lazy
    def request_uri(self) -> Uri:
        return parse_uri(self.uri, header="Request-URI")

    @_lazy
    def sip_request_uri(self) -> SipUri:
        """The Request-URI; raises MalformedHeader with hint 416 for other schemes."""
        uri = self.request_uri
        if not isinstance(uri, SipUri):
            raise MalformedHeader("Request-URI", "not a SIP URI", status_hint=416)
        return uri

    def copy(
        self,
        *,
        method: str | None = None,
        uri: str | None = None,
        headers: HeaderList | None = None,
        body: bytes | None = None,
    ) -> Request:
        return Request(
            self.method if method is None else method,
            self.uri if uri is None else uri,
            self.headers if headers is None else headers,
            self.body if body is None else body,
        )

    def _start_line(self) -> str:
        return f"{self.method} {self.uri} SIP/2.0"

    def __repr__(self) -> str:
        return f"Request({self.method} {self.uri})"


class Response(Message):
    """``SIP/2.0 status reason``."""

    __slots__ = ("reason", "status")

    def __init__(self, status: int, reason: str, headers: HeaderList, body: bytes = b"") -> None:
        self.status = status
        self.reason = reason
        self.headers = headers
        self.body = body

    def copy(
        self,
        *,
        status: int | None = None,
        reason: str | None = None,
        headers: HeaderList | None = None,
        body: bytes | None = None,
    ) -> Response:
        return Response(
            self.status if status is None else status,
            self.reason if reason is None else reason,
            self.headers if headers is None else headers,
            self.body if body is None else body,
        )

    def _start_line(self) -> str:
        return f"SIP/2.0 {self.status} {self.reason}"

    def __repr__(self) -> str:
        return f"Response({self.status} {self.reason})"


_COPIED: Final = frozenset({"Via", "From", "To", "Call-ID", "CSeq"})
_COPIED_DIALOG: Final = _COPIED | {"Record-Route"}
_COPIED_TRYING: Final = _COPIED | {"Timestamp"}
# RFC 3261 §12.1.1 and RFC 6665 §4.4.1: the responses that may create a dialog carry the route.
_DIALOG_METHODS: Final = frozenset({"INVITE", "SUBSCRIBE", "REFER", "NOTIFY"})


def response_for(
    request: Request,
    status: int,
    reason: str | None = None,
    *,
    to_tag: str | None = None,
    headers: Iterable[tuple[str, str]] = (),
    body: bytes = b"",
) -> Response:
    """Build a response by RFC 3261 §8.2.6.

    Copies Via, From, To, Call-ID and CSeq as text and in order; Record-Route when the response
    may create a dialog; Timestamp into a 100. ``to_tag`` is added unless To has a tag already
    (a 100 gets none unless asked). ``headers`` follow. Never raises for a malformed request, so
    that a 400 can always be built from what was there.
    """
    if status == 100:
        copied = _COPIED_TRYING
    elif 100 < status < 300 and request.method in _DIALOG_METHODS:
        copied = _COPIED_DIALOG
    else:
        copied = _COPIED
    kept = [header for header in request.headers if header[0] in copied]
    if to_tag:
        for index, (name, value) in enumerate(kept):
            if name == "To":
                try:
                    tagged = bool(request.to.tag)
                except MalformedHeader:
                    tagged = True  # leave what cannot be read as it is
                if not tagged:
                    kept[index] = ("To", f"{value};tag={to_tag}")
                break
    kept += headers
    if reason is None:
        reason = REASONS.get(status, "")
    return Response(status, reason, tuple(kept), body)
