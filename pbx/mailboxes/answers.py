"""Messages as programs see them: structure, fields and bodies as values (CG/PL reference §9.11)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mail.flags import FlagSet, parse_flags
from mail.mailbox import Span
from mail.reading import MailPart
from pbx.kernel.errors import DomainError
from pbx.script.errors import ScriptError
from pbx.script.limits import MAX_STRING_BYTES, Limits, Meter
from pbx.script.values import Data, Dictionary, Timestamp, Value, string_of, text_of
from pbx.script.xml_text import XmlError, parse_document

ADDRESS_FIELDS: Final = frozenset(
    ("from", "to", "cc", "bcc", "sender", "reply-to", "return-path", "resent-from", "resent-to",
     "resent-cc", "resent-sender", "disposition-notification-to", "errors-to")
)  # fmt: skip
DATE_FIELDS: Final = frozenset(("date", "resent-date"))
PLAIN_FORM: Final = "e-"
"""``E-From``: the addresses of ``From`` without names."""
MAX_SET: Final = 100_000
"""Elements of a set of messages: as many as a mailbox has messages."""


def structure(part: MailPart) -> Dictionary:
    """The MIME structure of a part and of those within."""
    made = Dictionary()
    made.set(b"estimatedSize", part.encoded_bytes if not part.children else _size(part))
    made.set(b"Content-Type", string_of(part.maintype))
    made.set(b"Content-Subtype", string_of(part.subtype))
    made.set(b"MIMEPartID", string_of(part.part_id))
    if part.filename:
        made.set(b"filename", string_of(part.filename))
    if part.disposition:
        made.set(b"Content-Disposition", string_of(part.disposition))
    for key, table in (
        (b"ContentTypeParams", part.parameters),
        (b"DispositionParams", part.disposition_parameters),
    ):
        if table:
            made.set(key, Dictionary({string_of(k): string_of(v) for k, v in table.items()}))
    for name in part.field_names():
        lower = name.lower()
        if lower.startswith("content-") and lower not in ("content-type", "content-disposition"):
            made.set(string_of(name), string_of(part.field(name)))
    if part.children:
        made.set(b"MIMEParts", [structure(child) for child in part.children])
    return made


def _size(part: MailPart) -> int:
    return sum(one.encoded_bytes for one in part.walk())


def chosen_part(message: MailPart, part: Value) -> MailPart:
    """The part that a program names: by its structure, its id, null for the message itself.

    Raises :class:`DomainError`.
    """
    if part is None:
        return message
    wanted = part.get(b"MIMEPartID") if isinstance(part, Dictionary) else part
    if isinstance(wanted, int):
        wanted = b"%d" % wanted
    if not isinstance(wanted, bytes):
        raise DomainError("a part is named by its structure or its MIMEPartID")
    found = message.find(text_of(wanted))
    if found is None:
        raise DomainError("the message has no such part")
    return found


def field_values(part: MailPart, name: str) -> list[Value] | None:
    """The values of one field; None where there is none."""
    lower = name.lower()
    if lower.startswith(PLAIN_FORM) and lower[2:] in ADDRESS_FIELDS:
        plain: list[Value] = [string_of(one.address) for one in part.addresses(name[2:])]
        return plain or None
    texts = part.fields(name)
    if not texts:
        return None
    if lower in ADDRESS_FIELDS:
        found: list[Value] = []
        for one in part.addresses(name):
            entry = Dictionary({b"": string_of(one.address)})
            if one.name:
                entry.set(b"realName", string_of(one.name))
            found.append(entry)
        return found
    if lower in DATE_FIELDS:
        seconds = part.date_s(name)
        return [string_of(texts[0]) if seconds is None else Timestamp(seconds)]
    return [string_of(text) for text in texts]


def all_fields(part: MailPart) -> Dictionary:
    """All fields of a part."""
    made = Dictionary()
    for name in part.field_names():
        made.set(string_of(name), field_values(part, name))
    return made


def body_value(message: MailPart, part: Value) -> Value:
    """The body of a part: text as a string, XML as XML, else a datablock. Raises
    :class:`DomainError`."""
    chosen = chosen_part(message, part)
    if chosen.children:
        chosen = chosen.first("text") or next(one for one in chosen.walk() if not one.children)
    octets = chosen.payload()
    if len(octets) > MAX_STRING_BYTES:
        raise DomainError(f"the part is larger than {MAX_STRING_BYTES >> 20} MB")
    if chosen.maintype != "text":
        return Data(octets)
    text = string_of(chosen.text())
    if chosen.subtype == "xml":
        try:
            return parse_document(Meter(Limits()), text)
        except (ScriptError, XmlError) as error:
            raise DomainError(f"the XML of the part cannot be read: {error}") from error
    return text


# Sets of messages and flags.


def spans(value: Value) -> list[Span]:
    """A set of messages: a number, or an array of numbers and of pairs (first, last).

    Raises :class:`DomainError`.
    """
    items = value if isinstance(value, list) else [value]
    if len(items) > MAX_SET:
        raise DomainError(f"a set of messages has at most {MAX_SET} elements")
    found: list[Span] = []
    for item in items:
        if isinstance(item, int):
            found.append((item, item))
        elif (
            isinstance(item, list)
            and len(item) == 2
            and isinstance(item[0], int)
            and isinstance(item[1], int)
        ):
            found.append((item[0], item[1]))
        else:
            raise DomainError("a set of messages is a number, or an array of numbers and ranges")
    return found


def chosen(uids: Sequence[int], value: Value) -> list[int]:
    """The UIDs that a set of indexes into a view means."""
    return [
        uid
        for index, uid in enumerate(uids)
        if any(first <= index <= last for first, last in spans(value))
    ]


def flags_of(text: str | None) -> FlagSet:
    """Flags as programs write them."""
    return parse_flags(text or "")
