"""A request as a web program reads it, and the response as it sets it (CG/PL reference §12).

Sans-I/O: :mod:`pbx.webprograms.routes` makes an :class:`Asked` of what arrived and sends what a
:class:`Response` has become.
"""

from __future__ import annotations

import email.parser
import email.policy
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final
from urllib.parse import parse_qsl

from pbx.script.limits import Meter
from pbx.script.textform import object_to_text
from pbx.script.values import Data, Value, Xml, string_of, text_of
from pbx.script.xml_text import XmlError, parse_document, write_xml

MAX_PARAMETERS: Final = 200
"""Fields of a form; what has more is no form somebody fills in."""
MAX_FIELDS: Final = 50
MAX_FIELD_BYTES: Final = 4096
MAX_DATA_BYTES: Final = 4 * 1024 * 1024
"""Of a response: pages, not downloads."""

_SHOWN: Final = ("authorization", "referer", "destination", "cookie", "user-agent")
_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,80}\Z")
_NOT_SET: Final = frozenset(
    {
        "connection", "content-length", "content-security-policy", "content-type", "date",
        "keep-alive", "server", "service-worker-allowed", "strict-transport-security", "trailer",
        "transfer-encoding", "upgrade", "x-content-type-options",
    }
)  # fmt: skip
"""Fields that belong to the server: they frame the message, or keep a page in its place."""


class Asked:
    """One request."""

    def __init__(
        self,
        method: str,
        path: str,
        query: str = "",
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        *,
        remote: str = "127.0.0.1",
        local: str = "127.0.0.1",
        local_port: int = 80,
        secure: bool = False,
    ) -> None:
        """`path` and `query` as they were sent; names of `headers` in lower case."""
        self.method = method
        self.path = path
        self.query = query
        self.headers = dict(headers or {})
        self.body = body
        self.remote = remote
        self.local = local
        self.secure = secure
        self.local_port = local_port

    @property
    def resource(self) -> str:
        """Path and parameters."""
        return f"{self.path}?{self.query}" if self.query else self.path

    @property
    def media_type(self) -> tuple[str, str]:
        """Type and subtype of the body, in lower case; empty if it has none."""
        kind, _, subtype = self.headers.get("content-type", "").partition(";")[0].partition("/")
        return kind.strip().lower(), subtype.strip().lower()

    @cached_property
    def _parameters(self) -> dict[str, list[bytes]]:
        """Raw values by name, those of the URL first."""
        pairs = _urlencoded(self.query.encode("latin-1", "replace"))
        if self.media_type == ("application", "x-www-form-urlencoded"):
            pairs += _urlencoded(self.body)
        elif self.media_type == ("multipart", "form-data"):
            pairs += _multipart(self.headers["content-type"], self.body)
        found: dict[str, list[bytes]] = {}
        for name, value in pairs[:MAX_PARAMETERS]:
            found.setdefault(name, []).append(value)
        return found

    def binary(self, name: str, index: int | None = None) -> bytes | None:
        """A parameter as it came, or None."""
        values = self._parameters.get(name, [])
        at = 0 if index is None else index
        return values[at] if 0 <= at < len(values) else None

    def parameter(self, name: str, index: int | None = None) -> bytes | None:
        """A parameter as UTF-8 with line ends of this machine, or None."""
        raw = self.binary(name, index)
        if raw is None:
            return None
        charset = (self.binary("FormCharset") or b"utf-8").decode("ascii", "replace")
        try:
            text = raw.decode(charset, "replace")
        except (LookupError, ValueError):
            text = raw.decode("utf-8", "replace")
        return text.replace("\r\n", "\n").encode()

    def field(self, name: str) -> Value:
        """``GetHTTPField``: a string, a number for ``Port``, or None."""
        folded = name.lower()
        host, port = _host_of(self.headers.get("host", ""))
        match folded:
            case "":
                return string_of(self.path)
            case "schema":
                return b"https" if self.secure else b"http"
            case "host":
                return string_of(host) if host else None
            case "port":
                return port or (443 if self.secure else 80)
        value = self.headers.get(folded) if folded in _SHOWN else None
        return None if value is None else string_of(value)

    def data(self, m: Meter) -> Value:
        """``GetHTTPData``: XML, a string or a datablock by the type of the body; None without."""
        if not self.body:
            return None
        kind, subtype = self.media_type
        if subtype == "xml" or subtype.endswith("+xml"):
            try:
                return parse_document(m, self.body)
            except XmlError:
                return None
        return m.sized(self.body) if kind == "text" else m.sized_data(self.body)


def _urlencoded(text: bytes) -> list[tuple[str, bytes]]:
    try:
        # Latin-1 keeps every byte: the charset is that of another parameter.
        pairs = parse_qsl(
            text.decode("latin-1"),
            keep_blank_values=True,
            encoding="latin-1",
            max_num_fields=MAX_PARAMETERS,
        )
    except ValueError:
        return []
    return [
        (name.encode("latin-1").decode("utf-8", "replace"), value.encode("latin-1"))
        for name, value in pairs
    ]


def _multipart(content_type: str, body: bytes) -> list[tuple[str, bytes]]:
    head = f"Content-Type: {content_type}\r\n\r\n".encode("latin-1", "replace")
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body)
    found: list[tuple[str, bytes]] = []
    if not message.is_multipart():
        return found
    for part in list(message.walk())[1 : MAX_PARAMETERS + 1]:
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(content, bytes):
            found.append((name, content))
    return found


def _host_of(text: str) -> tuple[str, int]:
    """Name and port of a Host field; 0 if it names none."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or len(port) > 5:
        return text, 0
    return host, int(port)


@dataclass(slots=True)
class Response:
    """What the program has set so far."""

    code: int = 200
    text: str = ""
    """Of a code that was given with one."""
    data: bytes | None = None
    media_type: str = ""
    fields: list[tuple[str, str]] = field(default_factory=list)
    _default_type: str = "text/html"

    def set_data(self, m: Meter, value: Value) -> None:
        """``SetHTTPResponseData``. Raises ``ProgramException`` for what cannot be written."""
        if isinstance(value, bytes):
            self.data, self._default_type = value, "text/html"
        elif isinstance(value, Data):
            self.data, self._default_type = value.octets, "application/octet-stream"
        elif isinstance(value, Xml):
            self.data, self._default_type = write_xml(m, value), "text/xml"
        elif value is None:
            self.data = None
        else:
            self.data, self._default_type = object_to_text(m, value), "text/plain"

    def set_type(self, kind: str, subtype: str) -> str:
        """``SetHTTPResponseType``; what is wrong with it, or nothing."""
        if not _TOKEN.match(kind) or not _TOKEN.match(subtype):
            return f"{kind}/{subtype} is no media type"
        self.media_type = f"{kind}/{subtype}".lower()
        return ""

    def set_code(self, value: Value) -> None:
        """``SetHTTPResponseCode``: a number, or ``NNN-text``; another string is a 500."""
        self.text = ""
        if isinstance(value, bytes):
            code, _, self.text = text_of(value).partition("-")
            if not (len(code) == 3 and code.isascii() and code.isdigit()):
                self.text, code = text_of(value), "500"
            value = int(code)
        self.code = value if isinstance(value, int) and 200 <= value <= 999 else 500

    def add_field(self, name: str, value: Value) -> str:
        """``AddHTTPResponseField``; what is wrong with it, or nothing."""
        text = text_of(value) if isinstance(value, bytes) else str(value)
        if not isinstance(value, bytes | int):
            return f"the field {name} needs a string or a number"
        if not _TOKEN.match(name) or len(text) > MAX_FIELD_BYTES or not text.isprintable():
            return f"the field {name[:80]} cannot be written"
        if name.lower() in _NOT_SET:
            return f"the field {name} is the server's"
        if len(self.fields) >= MAX_FIELDS:
            return f"a response has at most {MAX_FIELDS} fields of a program"
        self.fields.append((name, text))
        return ""

    @property
    def body(self) -> bytes:
        """What is sent; the text of a code stands in for data that was not set."""
        return self.text.encode("utf-8", "replace") if self.data is None else self.data

    @property
    def content_type(self) -> str:
        """With the charset: all strings of programs are UTF-8."""
        named = self.media_type or self._default_type
        if self.data is None and not self.media_type:
            named = "text/plain" if self.text else "text/html"
        return f"{named}; charset=utf-8" if named.startswith("text/") else named
