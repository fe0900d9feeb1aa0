"""Building messages: header fields and a tree of parts to bytes (RFC 5322, RFC 2045).

The bytes are made by the standard library's ``email`` package under its SMTP policy. Randomness is
an argument: boundaries are made of a token that the caller draws.
"""

from __future__ import annotations

import email
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import MIMEPart
from email.policy import SMTP
from typing import Any, Final

from mail.errors import MessageError

MAX_MESSAGE_BYTES: Final = 50 << 20
"""A recording of an hour at 8 kHz in G.711, in base64; what other servers take is less."""
MAX_PARTS: Final = 200
"""Parts a program may put together; people attach some ten."""
MAX_LEVELS: Final = 10
MAX_FIELD_CHARS: Final = 8000
"""Of one header field: some two hundred addresses. Other servers refuse longer ones."""
MAX_FIELDS: Final = 200

POLICY: Final = SMTP.clone(refold_source="none", cte_type="8bit")
_FAILURES: Final = (
    ArithmeticError, AssertionError, AttributeError, LookupError, RecursionError, TypeError,
    ValueError, email.errors.MessageError,
)  # fmt: skip
"""What ``email`` raises, depending on the version, for fields it cannot write."""
_OF_THE_BODY: Final = frozenset(
    ("content-type", "content-transfer-encoding", "content-disposition")
)
_VERSION: Final = (("MIME-Version", "1.0"),)


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a message to be built.

    `content` is text (sent as UTF-8), bytes, other parts (a multipart of the subtype), or with the
    type ``message`` the bytes of a whole message.
    """

    content: str | bytes | tuple[Part, ...]
    maintype: str = "text"
    subtype: str = "plain"
    filename: str = ""
    disposition: str = ""
    """``attachment`` or ``inline``; empty for none."""


def compose(fields: Sequence[tuple[str, str]], body: Part, token: str) -> bytes:
    """A message with these header fields in order; `token` makes its boundaries unlike its text.

    Control characters in the fields become blanks: nobody adds a field through the value of
    another. Raises :class:`MessageError`.
    """
    if len(fields) > MAX_FIELDS:
        raise MessageError(f"a message has at most {MAX_FIELDS} header fields")
    try:
        body_bytes = _Builder(token).part(body, 0).as_bytes()
    except _FAILURES as error:
        raise MessageError(f"the message cannot be written: {error}") from error
    for name, _ in fields:
        if name.lower() in _OF_THE_BODY or not _is_field_name(name):
            raise MessageError(f"{name[:40]!r} cannot be set as a header field")
    version = () if any(n.lower() == "mime-version" for n, _ in fields) else _VERSION
    raw = prepended((*fields, *version), body_bytes)
    if len(raw) > MAX_MESSAGE_BYTES:
        raise MessageError(f"the message is larger than {MAX_MESSAGE_BYTES >> 20} MB")
    return raw


def prepended(fields: Sequence[tuple[str, str]], raw: bytes) -> bytes:
    """A message with more fields on top, for what servers add on the way. Raises
    :class:`MessageError`."""
    try:
        top = MIMEPart(policy=POLICY)
        for name, value in fields:
            top[name] = _field(name, value)
        return top.as_bytes().removesuffix(b"\r\n") + raw
    except _FAILURES as error:
        raise MessageError(f"the message cannot be written: {error}") from error


def _is_field_name(name: str) -> bool:
    """RFC 5322 §2.2: printable ASCII without a colon."""
    return 0 < len(name) <= 70 and all("!" <= symbol <= "~" and symbol != ":" for symbol in name)


def _field(name: str, value: str) -> str:
    if len(value) > MAX_FIELD_CHARS:
        raise MessageError(f"the header field {name} has more than {MAX_FIELD_CHARS} characters")
    return _clean(value)


def _clean(text: str) -> str:
    text = text.encode("utf-8", "replace").decode()
    return "".join(symbol if symbol.isprintable() else " " for symbol in text).strip()


class _Builder:
    """One message; counts its parts."""

    def __init__(self, token: str) -> None:
        self._token = token
        self._parts = 0

    def part(self, part: Part, level: int) -> MIMEPart:
        self._parts += 1
        if self._parts > MAX_PARTS or level > MAX_LEVELS:
            raise MessageError(
                f"a message has at most {MAX_PARTS} parts, at most {MAX_LEVELS} levels deep"
            )
        made = MIMEPart(policy=POLICY)
        content = part.content
        maintype, subtype = _token(part.maintype), _token(part.subtype)
        if isinstance(content, tuple):
            boundary = f"=_{self._token}_{self._parts}"
            made["Content-Type"] = f'multipart/{subtype}; boundary="{boundary}"'
            for one in content:
                made.attach(self.part(one, level + 1))
            return made
        more: dict[str, Any] = {}
        if part.filename:
            more["filename"] = _clean(part.filename)[:255]
        if part.disposition or part.filename:
            more["disposition"] = _token(part.disposition or "attachment")
        if maintype == "message" and isinstance(content, bytes):
            self._message(made, content, subtype, more)
        elif isinstance(content, str):
            text = content.encode("utf-8", "replace").decode()
            if maintype == "text":
                made.set_content(text, subtype=subtype, charset="utf-8", **more)
            else:
                made.set_content(text.encode(), maintype=maintype, subtype=subtype, **more)
        elif maintype == "text":
            # As bytes it may be no text at all; base64 keeps every octet.
            made.set_content(content, maintype="application", subtype="octet-stream", **more)
            made.replace_header("Content-Type", f"text/{subtype}")
        else:
            made.set_content(content, maintype=maintype, subtype=subtype, **more)
        return made

    def _message(self, made: MIMEPart, content: bytes, subtype: str, more: dict[str, Any]) -> None:
        """Unchanged: RFC 2046 §5.2.1 forbids to encode it."""
        inner = email.message_from_bytes(content, policy=POLICY)
        made["Content-Type"] = f"message/{subtype}"
        if "disposition" in more:
            made["Content-Disposition"] = more["disposition"]
            if "filename" in more:
                made.set_param("filename", more["filename"], "Content-Disposition")
        made.set_payload([inner])


def _token(text: str) -> str:
    """RFC 2045 §5.1; what is none would end up in another field."""
    name = text.strip().lower()
    if not 0 < len(name) <= 70 or not name.isascii() or any(s in '()<>@,;:\\"/[]?= ' for s in name):
        raise MessageError(f"{text[:40]!r} is no type of a part")
    if not name.isprintable():
        raise MessageError("a type of a part has printable characters")
    return name
