"""Reading messages: bytes to a tree of parts, decoded fields, texts and attachments.

Nothing raises on what others wrote: RFC 5322 is broken in every way by somebody, and what cannot be
understood is shown as it is. A message that is built to exhaust the reader (nesting, thousands of
parts) is one part, of its whole body; it is kept and can be exported like any other.
"""

from __future__ import annotations

import email
import re
from collections.abc import Iterator
from dataclasses import dataclass
from email.header import decode_header
from email.message import Message
from email.parser import BytesHeaderParser
from email.policy import SMTP, compat32
from email.utils import getaddresses, parsedate_to_datetime
from typing import Any, Final, NamedTuple

MAX_PARTS: Final = 1000
MAX_LEVELS: Final = 30
_MAX_CONTAINERS: Final = 100
"""Fields that announce a multipart or a message within."""
_MAX_BOUNDARIES: Final = 20_000
"""Lines that begin with ``--``; each is compared with the boundary of every level."""
_MAX_HEADER_BYTES: Final = 256 * 1024
_CONTAINER: Final = re.compile(rb"^content-type:\s*(?:multipart|message)/", re.IGNORECASE | re.M)
_ENCODED: Final = re.compile(r"=\?[^?\s]{1,80}\?[bBqQ]\?")
_UNCHANGED: Final = SMTP.clone(refold_source="none")
_FAILURES: Final = (
    ArithmeticError, AssertionError, AttributeError, LookupError, RecursionError, TypeError,
    ValueError, email.errors.MessageError,
)  # fmt: skip
"""What ``email`` raises, depending on the version, for what is no mail."""


class Mailbox(NamedTuple):
    """One address of a field (RFC 5322 §3.4: mailbox)."""

    address: str
    """``local@domain``."""
    name: str = ""


@dataclass(frozen=True, slots=True)
class MailPart:
    """A part of a message; the root is the message itself."""

    part_id: str
    """``1``, ``2.1`` as IMAP counts (RFC 9051 §6.4.5); empty for a multipart that is the whole."""
    maintype: str
    subtype: str
    parameters: dict[str, str]
    disposition: str
    disposition_parameters: dict[str, str]
    filename: str
    children: tuple[MailPart, ...]
    source: Message
    encoded_bytes: int
    """Size of the body as it was sent."""

    @property
    def content_type(self) -> str:
        return f"{self.maintype}/{self.subtype}"

    def walk(self) -> Iterator[MailPart]:
        """The part and all within, in the order of the message."""
        yield self
        for child in self.children:
            yield from child.walk()

    def first(self, kind: str) -> MailPart | None:
        """The first part of a main type, of ``plain`` and other subtypes of text, or of the form
        ``audio/wav``."""
        wanted = kind.lower()
        for part in self.walk():
            names = [part.maintype, part.content_type]
            if part.maintype == "text":
                names.append(part.subtype)
            if wanted in names and not part.children:
                return part
        return None

    def find(self, part_id: str) -> MailPart | None:
        """The part of an id."""
        return next((part for part in self.walk() if part.part_id == part_id), None)

    # Content.

    def payload(self) -> bytes:
        """The body with its transfer encoding undone; of a message within its bytes."""
        if self.maintype == "message" and self.source.is_multipart():
            inner = self.source.get_payload(0)
            try:
                return inner.as_bytes(policy=_UNCHANGED) if isinstance(inner, Message) else b""
            except _FAILURES:
                return b""
        try:
            decoded = self.source.get_payload(decode=True)
        except _FAILURES:
            decoded = None
        return decoded if isinstance(decoded, bytes) else b""

    def text(self) -> str:
        """The body as text, in its charset or as near as it comes."""
        octets = self.payload()
        charset = self.parameters.get("charset", "utf-8") or "utf-8"
        try:
            return octets.decode(charset, "replace")
        except (LookupError, ValueError):
            return octets.decode("utf-8", "replace")

    # Fields.

    def field_names(self) -> list[str]:
        """Names as they were spelled first, each once."""
        names: dict[str, str] = {}
        for name, _ in self.source.raw_items():
            names.setdefault(str(name).lower(), str(name))
        return list(names.values())

    def fields(self, name: str) -> list[str]:
        """Values of a field, unfolded and decoded (RFC 2047)."""
        wanted = name.lower()
        return [
            decoded(str(value))
            for key, value in self.source.raw_items()
            if str(key).lower() == wanted
        ]

    def field(self, name: str) -> str:
        """The first value of a field, or an empty text."""
        return next(iter(self.fields(name)), "")

    def addresses(self, name: str) -> list[Mailbox]:
        """The addresses of all fields of a name."""
        wanted = name.lower()
        raw = [
            _unfolded(str(value))
            for key, value in self.source.raw_items()
            if str(key).lower() == wanted
        ]
        try:
            found = getaddresses(raw)
        except _FAILURES:
            return []
        return [Mailbox(_well_formed(a), decoded(n)) for n, a in found if a]

    def date_s(self, name: str = "Date") -> int | None:
        """A date field in seconds of UTC; None if there is none that can be read."""
        text = self.field(name)
        try:
            return int(parsedate_to_datetime(text).timestamp()) if text else None
        except (*_FAILURES, OverflowError, OSError):
            return None


def read_message(raw: bytes) -> MailPart:
    """The tree of a message. Never raises."""
    source = _parsed(raw)
    counter = [0]
    return _part(source, "", 0, counter)


def read_header(raw: bytes) -> MailPart:
    """The message with its header only: much cheaper where nobody asks for the rest."""
    head = raw[:_MAX_HEADER_BYTES]
    for end in (b"\r\n\r\n", b"\n\n"):
        at = head.find(end)
        if at >= 0:
            head = head[: at + len(end)]
    return _leaf(_header_only(head), "1")


def _parsed(raw: bytes) -> Message:
    if len(_CONTAINER.findall(raw)) <= _MAX_CONTAINERS and raw.count(b"\n--") <= _MAX_BOUNDARIES:
        try:
            return email.message_from_bytes(raw, policy=compat32)
        except _FAILURES:
            pass
    return _header_only(raw)


def _header_only(raw: bytes) -> Message:
    try:
        return BytesHeaderParser(policy=compat32).parsebytes(raw)
    except _FAILURES:
        made: Message = Message(policy=compat32)
        made.set_payload(raw.decode("ascii", "surrogateescape"))
        return made


def _part(source: Message, part_id: str, level: int, counter: list[int]) -> MailPart:
    counter[0] += 1
    children: list[MailPart] = []
    held = source.get_payload()
    if source.get_content_maintype() == "multipart" and isinstance(held, list):
        for number, child in enumerate(held, 1):
            if level >= MAX_LEVELS or counter[0] >= MAX_PARTS or not isinstance(child, Message):
                break
            child_id = f"{part_id}.{number}" if part_id else str(number)
            children.append(_part(child, child_id, level + 1, counter))
    if children:
        return _leaf(source, part_id, tuple(children))
    return _leaf(source, part_id or "1")


def _leaf(source: Message, part_id: str, children: tuple[MailPart, ...] = ()) -> MailPart:
    disposition, disposition_parameters = _parameters(source, "content-disposition")
    _, parameters = _parameters(source, "content-type")
    maintype, subtype = source.get_content_maintype(), source.get_content_subtype()
    if maintype == "multipart" and not children:
        maintype, subtype = "text", "plain"  # announced and not there: what there is is its text
    held = source.get_payload()
    name = disposition_parameters.get("filename") or parameters.get("name") or ""
    return MailPart(
        part_id, _well_formed(maintype), _well_formed(subtype), parameters, disposition,
        disposition_parameters, name, children, source,
        len(held) if isinstance(held, str) else 0,
    )  # fmt: skip


def _parameters(source: Message, field: str) -> tuple[str, dict[str, str]]:
    """Value and parameters of a field (RFC 2045 §5.1, RFC 2231)."""
    try:
        pairs = source.get_params(header=field, unquote=True) or []
    except _FAILURES:
        return "", {}
    found: dict[str, str] = {}
    value: Any  # text, or charset, language and octets (RFC 2231)
    for name, value in pairs[1:]:
        if isinstance(value, tuple):
            charset, _, coded = value
            try:
                value = coded.encode("latin-1", "replace").decode(charset or "ascii", "replace")
            except (LookupError, ValueError):
                value = coded
        found.setdefault(_well_formed(str(name)).lower(), decoded(str(value)))
    return (_well_formed(str(pairs[0][0])).lower() if pairs else ""), found


def decoded(text: str) -> str:
    """A field's value as people read it: unfolded, encoded words (RFC 2047) decoded."""
    text = _unfolded(text)
    if _ENCODED.search(text) is None:
        return _well_formed(text)
    try:
        words = [
            word.decode(charset or "ascii", "replace") if isinstance(word, bytes) else word
            for word, charset in decode_header(text)
        ]
    except (*_FAILURES, UnicodeError):
        return _well_formed(text)
    return _well_formed("".join(words))


def _unfolded(text: str) -> str:
    return re.sub(r"\r?\n(?=[ \t])", "", text).strip()


def _well_formed(text: str) -> str:
    """Octets that were no ASCII are UTF-8 mostly (RFC 6532), and replaced where they are not."""
    octets = text.encode("utf-8", "surrogateescape")
    return octets.decode("utf-8", "replace").replace("\0", "\ufffd")
