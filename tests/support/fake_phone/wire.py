"""SIP and SDP text of the fake phones: read and written by plain string operations.

Deliberately independent of ``sip`` and ``media.sdp``: the phones judge what our stack sends, so
they must not share its mistakes. Only what our own server may send has to be understood.
"""

from __future__ import annotations

from hashlib import md5, sha256

#: RFC 3261 §7.3.3 and the registry: compact names a peer may use.
_COMPACT = {
    "v": "via",
    "f": "from",
    "t": "to",
    "i": "call-id",
    "m": "contact",
    "l": "content-length",
    "c": "content-type",
    "k": "supported",
    "r": "refer-to",
    "b": "referred-by",
    "o": "event",
    "s": "subject",
    "x": "session-expires",
}

REASONS = {
    100: "Trying",
    180: "Ringing",
    183: "Session Progress",
    200: "OK",
    202: "Accepted",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    480: "Temporarily Unavailable",
    481: "Call/Transaction Does Not Exist",
    486: "Busy Here",
    487: "Request Terminated",
    488: "Not Acceptable Here",
    491: "Request Pending",
    500: "Server Internal Error",
    503: "Service Unavailable",
    600: "Busy Everywhere",
    603: "Decline",
}


class NotSip(ValueError):
    """What arrived is no SIP message; the text says why."""


class Heard:
    """One received message, split but not interpreted."""

    __slots__ = (
        "body",
        "branch",
        "call_id",
        "cseq",
        "cseq_method",
        "from_tag",
        "headers",
        "method",
        "raw",
        "status",
        "to_tag",
        "uri",
    )

    def __init__(self, raw: bytes) -> None:
        head, separator, body = raw.partition(b"\r\n\r\n")
        if not separator:
            raise NotSip("no empty line")
        lines = head.decode("utf-8", "replace").split("\r\n")
        start = lines[0]
        self.raw = raw
        self.body = body
        self.method = ""
        self.uri = ""
        self.status = 0
        if start.startswith("SIP/2.0 "):
            self.status = int(start[8:11]) if start[8:11].isdigit() else 0
            if not 100 <= self.status <= 699:
                raise NotSip(f"status line {start!r}")
        else:
            words = start.split(" ")
            if len(words) != 3 or words[2] != "SIP/2.0":
                raise NotSip(f"start line {start!r}")
            self.method, self.uri = words[0], words[1]
        headers: dict[str, list[str]] = {}
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            if not colon:
                raise NotSip(f"header line {line!r}")
            name = name.strip().lower()
            name = _COMPACT.get(name, name)
            if name in headers:
                headers[name].append(value.strip())
            else:
                headers[name] = [value.strip()]
        self.headers = headers
        try:
            self.call_id = headers["call-id"][0]
            number, _, self.cseq_method = headers["cseq"][0].partition(" ")
            self.cseq = int(number)
            self.branch = parameter(headers["via"][0], "branch")
            self.from_tag = parameter(headers["from"][0], "tag")
            self.to_tag = parameter(headers["to"][0], "tag")
        except KeyError as missing:
            raise NotSip(f"no {missing.args[0]}") from None

    def get(self, name: str, default: str = "") -> str:
        """First value of a header, by lower-case name."""
        values = self.headers.get(name)
        return values[0] if values else default

    def lists(self, name: str, token: str) -> bool:
        """Is `token` among the comma-separated values of a header (any case)?"""
        token = token.lower()
        for line in self.headers.get(name, ()):
            for item in line.split(","):
                if item.strip().lower() == token:
                    return True
        return False


def parameter(value: str, name: str) -> str:
    """The value of ``;name=…`` after the address part of a header, or an empty string."""
    close = value.rfind(">")
    start = value.find(";" + name + "=", close if close > 0 else 0)
    if start < 0:
        return ""
    start += len(name) + 2
    end = value.find(";", start)
    return value[start:] if end < 0 else value[start:end]


def address_uri(value: str) -> str:
    """The URI of a name-addr or addr-spec header value."""
    start = value.find("<")
    if start >= 0:
        return value[start + 1 : value.find(">", start)]
    return value.partition(";")[0].strip()


def display_name(value: str) -> str:
    """The display name of a name-addr, unquoted; empty when there is none."""
    return value.partition("<")[0].strip().strip('"') if "<" in value else ""


def host_port(uri: str) -> tuple[str, int]:
    """Where a sip: URI with a numeric host leads to."""
    rest = uri.partition(":")[2].partition("?")[0].partition(";")[0]
    host = rest.rpartition("@")[2]
    if host.startswith("["):
        name, _, port = host[1:].partition("]")
        return name, int(port[1:]) if port[1:].isdigit() else 5060
    name, _, port = host.partition(":")
    return name, int(port) if port.isdigit() else 5060


def authorization(
    challenge: str, user: str, password: str, method: str, uri: str, count: int, cnonce: str
) -> str:
    """Answer one Digest challenge (RFC 7616 §3.4, RFC 8760) with qop=auth."""
    fields = challenge_fields(challenge)
    realm, nonce = fields.get("realm", ""), fields.get("nonce", "")
    algorithm = fields.get("algorithm", "MD5")
    digest = sha256 if algorithm.upper() == "SHA-256" else md5
    secret = digest(f"{user}:{realm}:{password}".encode()).hexdigest()
    request = digest(f"{method}:{uri}".encode()).hexdigest()
    text = (
        f'Digest username="{user}", realm="{realm}", nonce="{nonce}", uri="{uri}", '
        f"algorithm={algorithm}, "
    )
    if "qop" in fields:
        joined = f"{secret}:{nonce}:{count:08x}:{cnonce}:auth:{request}"
        text += f'qop=auth, nc={count:08x}, cnonce="{cnonce}", '
    else:
        joined = f"{secret}:{nonce}:{request}"
    if "opaque" in fields:
        text += f'opaque="{fields["opaque"]}", '
    return f'{text}response="{digest(joined.encode()).hexdigest()}"'


def challenge_fields(challenge: str) -> dict[str, str]:
    """``Digest a="b", c=d`` as a dictionary; quoted commas do not occur in our challenges."""
    fields: dict[str, str] = {}
    for item in challenge.partition(" ")[2].split(","):
        name, _, value = item.partition("=")
        fields[name.strip().lower()] = value.strip().strip('"')
    return fields


def session_description(
    host: str, port: int, session_id: int, version: int, direction: str
) -> bytes:
    """A plain audio description: PCMU, PCMA and telephone-event."""
    return (
        f"v=0\r\no=- {session_id} {version} IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n"
        f"m=audio {port} RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n"
        f"a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\na={direction}\r\n"
    ).encode()


class Description:
    """What a phone has to know of a received session description."""

    __slots__ = ("direction", "host", "media_lines", "origin", "port", "version")

    def __init__(self, body: bytes) -> None:
        self.origin = ""
        """The o= line without its version: must not change within a dialog (RFC 3264 §8)."""
        self.version = -1
        self.host = ""
        self.port = 0
        self.direction = "sendrecv"
        self.media_lines = 0
        for line in body.decode("utf-8", "replace").split("\r\n"):
            kind = line[:2]
            if kind == "o=":
                words = line[2:].split(" ")
                if len(words) != 6 or not words[2].isdigit():
                    raise NotSip(f"origin {line!r}")
                self.version = int(words[2])
                del words[2]
                self.origin = " ".join(words)
            elif kind == "c=":
                self.host = line.rsplit(" ", 1)[-1]
            elif kind == "m=":
                self.media_lines += 1
                if self.media_lines == 1:
                    port = line.split(" ")[1]
                    if not port.isdigit():
                        raise NotSip(f"media line {line!r}")
                    self.port = int(port)
            elif kind == "a=" and line[2:] in _ANSWERS:
                self.direction = line[2:]
        if self.version < 0 or not self.media_lines:
            raise NotSip("session description without origin or media")


#: What may be answered to an offered direction (RFC 3264 §6.1).
_ANSWERS = {
    "sendrecv": frozenset({"sendrecv", "sendonly", "recvonly", "inactive"}),
    "sendonly": frozenset({"recvonly", "inactive"}),
    "recvonly": frozenset({"sendonly", "inactive"}),
    "inactive": frozenset({"inactive"}),
}
#: The plain answer of a phone that wants everything it can get.
MIRROR = {
    "sendrecv": "sendrecv",
    "sendonly": "recvonly",
    "recvonly": "sendonly",
    "inactive": "inactive",
}


def direction_allowed(offered: str, answered: str) -> bool:
    return answered in _ANSWERS[offered]
