"""Session descriptions (RFC 8866): text to values and back, tolerant in, strict out.

Fed by ``media.server`` with the text of an offer or answer; feeds ``negotiator``. Every line is
kept, in order, also those nobody here knows; only what a relay needs is looked at, in one pass.

Tolerated: LF or CR alone, blank lines, a missing ``s=`` or ``t=``, trailing blanks. Printed: CRLF
and the lines that RFC 8866 §5 demands.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from media.errors import SdpError

#: A browser's offer with audio, video and data has 8 KB; four times that is generous.
MAX_CHARS: Final = 32_768
MAX_LINES: Final = 1000
#: Each m-line costs up to four sockets.
MAX_MEDIAS: Final = 16
MAX_FORMATS: Final = 128
MAX_PORT: Final = 65_535

SENDRECV: Final = "sendrecv"
SENDONLY: Final = "sendonly"
RECVONLY: Final = "recvonly"
INACTIVE: Final = "inactive"
DIRECTIONS: Final = frozenset((SENDRECV, SENDONLY, RECVONLY, INACTIVE))

ICE_ATTRIBUTES: Final = (
    "a=candidate:",
    "a=end-of-candidates",
    "a=ice-",
    "a=remote-candidates:",
)
"""RFC 8839; ``ice-`` covers ufrag, pwd, lite, options, pacing and mismatch."""

# Lines that must come before ``t=``, by RFC 8866 §5.
_BEFORE_TIME: Final = frozenset("vosiuepcb")
# Static payload types (RFC 3551 §6) that telephones use without an rtpmap.
STATIC_CODECS: Final[dict[int, tuple[str, int]]] = {
    0: ("PCMU", 8000),
    3: ("GSM", 8000),
    4: ("G723", 8000),
    8: ("PCMA", 8000),
    9: ("G722", 8000),
    10: ("L16", 44100),
    11: ("L16", 44100),
    12: ("QCELP", 8000),
    13: ("CN", 8000),
    15: ("G728", 8000),
    18: ("G729", 8000),
    26: ("JPEG", 90000),
    31: ("H261", 90000),
    32: ("MPV", 90000),
    34: ("H263", 90000),
}


class Connection(NamedTuple):
    """The address of a ``c=`` line."""

    family: str
    """``IP4`` or ``IP6``."""
    host: str

    @property
    def is_zero(self) -> bool:
        """The old way to put on hold: 0.0.0.0 (RFC 3264 §8.4) or ``::``."""
        return self.host in ("0.0.0.0", "::", "::0", "0:0:0:0:0:0:0:0")


class Codec(NamedTuple):
    """An ``rtpmap``: encoding name in the spelling of the sender, clock rate in Hz."""

    name: str
    clock_rate: int

    @property
    def key(self) -> tuple[str, int]:
        """Encoding names are compared without case (RFC 8866 §6.6)."""
        return self.name.upper(), self.clock_rate


class MediaDescription:
    """One ``m=`` section. ``connection`` and ``direction`` include the session's defaults."""

    __slots__ = (
        "connection",
        "direction",
        "formats",
        "kind",
        "lines",
        "port",
        "port_count",
        "proto",
        "rtcp_host",
        "rtcp_mux",
        "rtcp_port",
    )

    def __init__(
        self, kind: str, port: int, port_count: int, proto: str, formats: list[str]
    ) -> None:
        self.kind = kind
        self.port = port
        self.port_count = port_count
        self.proto = proto
        self.formats = formats
        self.lines: list[str] = []
        """The section without its ``m=`` line."""
        self.connection: Connection | None = None
        self.direction = ""
        self.rtcp_port = 0
        """From ``a=rtcp`` (RFC 3605); 0 = absent."""
        self.rtcp_host = ""
        self.rtcp_mux = False

    @property
    def is_rejected(self) -> bool:
        """Port zero (RFC 3264 §5.1, §6); a bundle-only section (RFC 8843) is refused as well."""
        return self.port == 0

    @property
    def is_datagram(self) -> bool:
        """Whether it runs over UDP, so that a relay of datagrams can carry it."""
        return not self.proto.upper().startswith("TCP")

    @property
    def is_rtp(self) -> bool:
        """RTP with readable headers: plain and SRTP with SDES."""
        return self.proto in _RTP_PROTOS

    @property
    def is_rtp_family(self) -> bool:
        """RTP in any wrapping: its RTCP has a port or shares it."""
        return "RTP/" in self.proto

    @property
    def is_secure(self) -> bool:
        """SRTP, keyed by SDES or DTLS."""
        return "SAVP" in self.proto

    @property
    def wrapping(self) -> tuple[bool, bool, bool]:
        """What an answer cannot change; AVP or AVPF it may, telephones mix them up."""
        return self.is_rtp_family, self.is_secure, "TLS" in self.proto

    def codecs(self) -> dict[int, Codec]:
        """Payload types of the ``m=`` line with what they stand for, in order of preference."""
        maps: dict[str, Codec] = {}
        for line in self.lines:
            if line.startswith("a=rtpmap:"):
                payload_type, _, encoding = line[9:].partition(" ")
                name, _, rate = encoding.strip().partition("/")
                rate = rate.partition("/")[0]
                maps[payload_type] = Codec(name, int(rate) if _is_number(rate) else 0)
        found: dict[int, Codec] = {}
        for text in self.formats:
            if not _is_number(text) or (number := int(text)) > 127:
                continue
            codec = maps.get(text)
            found[number] = codec or Codec(*STATIC_CODECS.get(number, (text, 0)))
        return found

    def head(self, ports: int | str, proto: str = "") -> str:
        """The ``m=`` line with another port."""
        return f"m={self.kind} {ports} {proto or self.proto} {' '.join(self.formats)}"


class Description:
    """A whole description: session lines up to the first ``m=``, then the sections."""

    __slots__ = ("connection", "direction", "lines", "medias", "origin")

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.origin = ""
        """The ``o=`` line without ``o=``."""
        self.connection: Connection | None = None
        self.direction = ""
        self.medias: list[MediaDescription] = []

    def to_text(self) -> str:
        """Print it as it was, made strict."""
        lines = strict_session_lines(self.lines)
        for media in self.medias:
            count = f"/{media.port_count}" if media.port_count > 1 else ""
            lines.append(media.head(f"{media.port}{count}"))
            lines += media.lines
        lines.append("")
        return "\r\n".join(lines)


_RTP_PROTOS: Final = frozenset(("RTP/AVP", "RTP/AVPF", "RTP/SAVP", "RTP/SAVPF"))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10


def parse(text: str) -> Description:
    """Return the description. Raises :class:`SdpError`."""
    if len(text) > MAX_CHARS:
        raise SdpError("SDP is too long")
    if "\n" in text:
        lines = text.split("\n")
    else:
        lines = text.split("\r")
    if len(lines) > MAX_LINES:
        raise SdpError("SDP has too many lines")
    description = Description()
    media: MediaDescription | None = None
    keep = description.lines
    for line in lines:
        line = line.rstrip()
        kind = line[:2]
        if kind == "a=":
            _attribute(line, description, media)
        elif kind == "c=":
            connection = _connection(line)
            if media is None:
                description.connection = connection
            elif media.connection is None:  # the first of several (RFC 8866 §5.7) is used
                media.connection = connection
        elif kind == "m=":
            if len(description.medias) == MAX_MEDIAS:
                raise SdpError("SDP has too many media lines")
            media = _media(line)
            description.medias.append(media)
            keep = media.lines
            continue
        elif kind == "o=":
            description.origin = line[2:]
        elif not line:
            continue
        elif kind[1:] != "=" or not kind[0].isalpha():
            raise SdpError("a line of the SDP is not <type>=<value>")
        keep.append(line)
    _finish(description)
    return description


def _finish(description: Description) -> None:
    """Check what must be there and hand the session's defaults down."""
    if not description.lines or not description.lines[0].startswith("v="):
        raise SdpError("SDP does not start with v=")
    if description.origin.count(" ") < 5:
        raise SdpError("SDP has no proper o= line")
    for media in description.medias:
        media.connection = media.connection or description.connection
        media.direction = media.direction or description.direction or SENDRECV
        if media.connection is None and media.port:
            raise SdpError("SDP has no c= line")


def _attribute(line: str, description: Description, media: MediaDescription | None) -> None:
    name, _, value = line[2:].partition(":")
    if name in DIRECTIONS:
        if media is None:
            description.direction = name
        else:
            media.direction = name
    elif media is None:
        return
    elif name == "rtcp":
        port, _, address = value.partition(" ")
        if _is_number(port) and int(port) <= MAX_PORT:
            media.rtcp_port = int(port)
            media.rtcp_host = address.rpartition(" ")[2]
    elif name == "rtcp-mux" or name == "rtcp-mux-only":
        media.rtcp_mux = True


def _connection(line: str) -> Connection:
    parts = line[2:].split()
    if len(parts) < 3 or parts[0].upper() != "IN" or parts[1].upper() not in ("IP4", "IP6"):
        raise SdpError("unusable c= line")
    return Connection(parts[1].upper(), parts[2].partition("/")[0].lower())


def _media(line: str) -> MediaDescription:
    parts = line[2:].split()
    if len(parts) < 4:
        raise SdpError("incomplete m= line")
    kind, ports, proto, *formats = parts
    port, _, count = ports.partition("/")
    if not _is_number(port) or int(port) > MAX_PORT or (count and not _is_number(count)):
        raise SdpError("bad port in an m= line")
    if len(formats) > MAX_FORMATS:
        raise SdpError("too many formats in an m= line")
    return MediaDescription(kind, int(port), int(count) if count else 1, proto, formats)


def strict_session_lines(lines: list[str]) -> list[str]:
    """A copy with the ``s=`` and ``t=`` lines that RFC 8866 §5 demands put in where missing."""
    kinds = [line[0] for line in lines]
    if "s" in kinds and "t" in kinds:
        return lines.copy()
    fixed = lines.copy()
    if "s" not in kinds:
        fixed.insert(kinds.index("o") + 1, "s=-")
    if "t" not in kinds:
        at = 0
        while at < len(fixed) and fixed[at][0] in _BEFORE_TIME:
            at += 1
        fixed.insert(at, "t=0 0")
    return fixed
