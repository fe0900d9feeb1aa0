"""The notation in which RFC 4475 §2.1 prints messages that do not fit on a page.

======================  ====================================================================
``<allOneLine>``        the lines up to ``</allOneLine>`` are one line: breaks are taken out
``<repeat count=N>``    the text up to ``</repeat>``, N times
``<hex>``               pairs of hexadecimal digits up to ``</hex>`` are bytes
======================  ====================================================================

Lines end in CRLF; all other text is UTF-8.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

_ONE_LINE: Final = re.compile(r"<allOneLine>\n(.*?)\n</allOneLine>", re.DOTALL)
_REPEAT: Final = re.compile(r"<repeat count=(\d+)>(.*?)</repeat>")
_HEX: Final = re.compile(rb"<hex>([0-9A-Fa-f]*)</hex>")


class Torture(NamedTuple):
    """One message of RFC 4475."""

    name: str
    section: str
    tests: str
    """What it tests, in one line."""
    head: str
    """Start line and headers; begins with a line break, which is not part of it."""
    body: str = ""
    ends: bool = True
    """Whether the empty line after the headers is there."""

    @property
    def data(self) -> bytes:
        """The message as it goes over the wire."""
        head = self.head.removeprefix("\n")
        return render(f"{head}\n{self.body}" if self.ends else head)


def render(text: str) -> bytes:
    """Bytes of a text in the notation above."""
    text = _ONE_LINE.sub(lambda found: found[1].replace("\n", ""), text)
    text = _REPEAT.sub(lambda found: found[2] * int(found[1]), text)
    data = text.replace("\n", "\r\n").encode()
    return _HEX.sub(lambda found: bytes.fromhex(found[1].decode()), data)


def sdp(host: str, *, time: str = "0 0") -> str:
    """The session description that most of the messages carry."""
    return (
        f"v=0\no=mhandley 29739 7272939 IN IP4 {host}\ns=-\nc=IN IP4 {host}\nt={time}\n"
        "m=audio 49217 RTP/AVP 0 12\nm=video 3227 RTP/AVP 31\na=rtpmap:31 LPC\n"
    )
