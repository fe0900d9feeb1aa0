"""INFO and MESSAGE inside a program's call, as programs see and make them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pbx.script.values import Data, Dictionary, Value, string_of, text_of

if TYPE_CHECKING:
    from pbx.calls.leg import Leg

_DIGITS: Final = frozenset("0123456789*#ABCD")
MAX_INFO_BYTES: Final = 16_384
"""Of a body that a program sends or gets."""


def digit_of(content_type: str, body: bytes) -> str | None:
    """The digit of an INFO; None: it carries none, empty: it is unreadable.

    ``application/dtmf-relay`` has lines ``Signal=5`` and ``Duration=160``; ``application/dtmf`` the
    digit alone. Flash (``!`` or 16) is no digit for programs.
    """
    kind = content_type.partition(";")[0].strip().lower()
    text = body.decode("latin-1")
    if kind == "application/dtmf":
        symbol = text.strip().upper()
    elif kind == "application/dtmf-relay":
        symbol = ""
        for line in text.splitlines():
            name, _, value = line.partition("=")
            if name.strip().lower() == "signal":
                symbol = value.strip().upper()
    else:
        return None
    symbol = {"10": "*", "11": "#", "12": "A", "13": "B", "14": "C", "15": "D"}.get(symbol, symbol)
    return symbol if symbol in _DIGITS else ""


def dtmf_relay(digit: str, milliseconds: int = 160) -> bytes:
    """The body of an INFO that carries a digit."""
    return f"Signal={digit}\r\nDuration={milliseconds}\r\n".encode("ascii")


def info_parameters(content_type: str, body: bytes) -> Dictionary:
    """``Content-Type``, ``Content-Subtype``, and the body under the empty key."""
    kind, _, subtype = content_type.partition(";")[0].strip().partition("/")
    found = Dictionary()
    if kind:
        found.set(b"Content-Type", string_of(kind))
    if subtype:
        found.set(b"Content-Subtype", string_of(subtype))
    found.set(b"", _content(content_type, body))
    return found


def _content(content_type: str, body: bytes) -> Value:
    text = content_type.lower().startswith(("text/", "application/dtmf")) or not content_type
    cut = body[:MAX_INFO_BYTES]
    return cut if text else Data(cut)


def text_message(content_type: str, body: bytes, peer: Leg | None) -> Dictionary:
    """The parameter of an instant message event."""
    found = Dictionary()
    found.set(b"", _content(content_type, body))
    if peer is not None:
        found.set(b"From", string_of(peer.usage.remote_uri))
        if peer.account:
            found.set(b"authName", string_of(peer.account))
    return found


def info_of(parameters: Dictionary) -> tuple[str, bytes] | str:
    """Content type and body of an INFO that a program sends, or an error."""
    content = parameters.get(b"")
    if isinstance(content, Data):
        body = content.octets
    elif isinstance(content, bytes):
        body = content
    elif content is None:
        body = b""
    else:
        return "the body is a string or a datablock"
    if len(body) > MAX_INFO_BYTES:
        return f"the body is longer than {MAX_INFO_BYTES} bytes"
    words = []
    for key in (b"Content-Type", b"Content-Subtype"):
        value = parameters.get(key)
        word = text_of(value) if isinstance(value, bytes) else ""
        if word and not all(letter.isalnum() or letter in "-.+_" for letter in word):
            return "the content type is no type"
        words.append(word)
    if not body:
        return "", b""
    return f"{words[0] or 'text'}/{words[1] or 'plain'}", body
