"""Mail that programs send: their headers and content to a message and its recipients.

CG/PL reference §9.14 says what the values mean. Pure, but for what `source` reads; errors are
:class:`~pbx.kernel.errors.DomainError` or :class:`~mail.errors.MailError`, with words for the
program's author.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime, getaddresses
from typing import Final

from mail.compose import MAX_PARTS, Part, compose, prepended
from mail.reading import MailPart
from pbx.kernel.errors import DomainError
from pbx.router import Kind, Outcome, RoutingState, fan_out, qualified, route
from pbx.router.errors import AddressError
from pbx.script.limits import Limits, Meter
from pbx.script.textform import object_to_text
from pbx.script.values import Data, Dictionary, Handle, Timestamp, Value, Xml, text_of

MAX_RECIPIENTS: Final = 100
"""Of one message, as it is written; groups have more. Who sends to more has a list."""
REMOTE: Final = "mail to other servers is not available yet"
_RECIPIENTS: Final = ("To", "Cc", "Bcc")
_NO_FIELDS: Final = frozenset(
    ("bcc", "sourcetype", "sourceaddress", "protocol", "flags", "internaldate", "replacesuid",
     "replacemode", "report", "date", "message-id", "from")
)  # fmt: skip
"""Keys of the headers that are no fields, or are made apart."""
_NS_PER_S: Final = 1_000_000_000

Source = Callable[[Handle], bytes]
"""The text of a message that a program has opened."""
SourcePart = Callable[[Handle, str], MailPart | None]
"""A part of it by its id."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where parts of other messages come from."""

    whole: Source
    part: SourcePart


@dataclass(frozen=True, slots=True)
class Recipient:
    """Where a message goes: an account, and the mailbox in it."""

    account: str
    mailbox: str = "INBOX"


def message_of(
    headers: Mapping[str, Value],
    content: Value,
    *,
    sender: str,
    token: str,
    now_ns: int,
    sources: Sources,
) -> bytes:
    """The message as it is stored. `sender` is the current account, the default of ``From``."""
    domain = sender.rpartition("@")[2]
    author = _one_text(headers.get("From")) or sender
    when = headers.get("Date")
    seconds = when.seconds if isinstance(when, Timestamp) and not when.special else None
    moment = datetime.fromtimestamp(now_ns // _NS_PER_S if seconds is None else seconds, UTC)
    message_id = _one_text(headers.get("Message-ID")).strip("<>") or f"{token}@{domain}"
    fields = [
        ("Date", format_datetime(moment)),
        ("From", author),
        ("Message-ID", f"<{message_id}>"),
    ]
    for name, value in headers.items():
        lower = name.lower()
        if lower not in _NO_FIELDS and (lower == "content-class" or lower[:8] != "content-"):
            text = ", ".join(_texts(value))
            if text:
                fields.append((name, text))
    return compose(fields, part_of(content, sources), token)


def dated(fields: list[tuple[str, str]], body: Part, token: str, sender: str, now_ns: int) -> bytes:
    """A message of the server's own making, with its date and id."""
    moment = datetime.fromtimestamp(now_ns // _NS_PER_S, UTC)
    domain = sender.rpartition("@")[2]
    first = [("Date", format_datetime(moment)), ("Message-ID", f"<{token}@{domain}>")]
    return compose([*first, *fields], body, token)


def with_return_path(raw: bytes, address: str) -> bytes:
    """As it is stored at its recipients."""
    return prepended([("Return-Path", f"<{address}>")], raw)


def part_of(content: Value, sources: Sources, level: int = 0) -> Part:
    """The part that a program's value means."""
    if level > 10:
        raise DomainError("the content is nested too deeply")
    if isinstance(content, bytes):
        return Part(text_of(content))
    if isinstance(content, Data):
        return Part(content.octets, "application", "octet-stream")
    if isinstance(content, Xml):
        return Part(text_of(object_to_text(Meter(Limits()), content)), "text", "xml")
    if isinstance(content, list):
        return Part(_parts(content, sources, level), "multipart", "mixed")
    if isinstance(content, Dictionary):
        return _described(content, sources, level)
    if content is None:
        return Part("")
    raise DomainError("the content of a message is a string, a datablock, an array or a dictionary")


def _parts(content: list[Value], sources: Sources, level: int) -> tuple[Part, ...]:
    if not content or len(content) > MAX_PARTS:
        raise DomainError(f"a message has 1 to {MAX_PARTS} parts")
    return tuple(part_of(one, sources, level + 1) for one in content)


def _described(content: Dictionary, sources: Sources, level: int) -> Part:
    handle, part_id = content.get(b"source"), _one_text(content.get(b"MIMEPartID"))
    if isinstance(handle, Handle):
        if part_id == "message":
            return Part(sources.whole(handle), "message", "rfc822")
        found = sources.part(handle, part_id)
        if found is None:
            raise DomainError(f"the message has no part {part_id[:40]!r}")
        return copied_part(found)
    body = content.get(b"body")
    maintype = _one_text(content.get(b"Content-Type")).lower()
    subtype = _one_text(content.get(b"Content-Subtype")).lower()
    if "/" in maintype and not subtype:
        maintype, _, subtype = maintype.partition("/")
    more = {
        "filename": _one_text(content.get(b"filename")),
        "disposition": _one_text(content.get(b"Content-Disposition")),
    }
    if isinstance(body, list):
        return Part(_parts(body, sources, level), "multipart", subtype or "mixed", **more)
    plain = part_of(body, sources, level)
    if not maintype:
        maintype, subtype = plain.maintype, subtype or plain.subtype
    if not subtype:
        subtype = "plain" if maintype == "text" else "octet-stream"
    return Part(plain.content, maintype, subtype, **more)


def copied_part(part: MailPart) -> Part:
    """A part of another message, to be sent once more."""
    if part.children:
        return Part(tuple(copied_part(child) for child in part.children), "multipart", part.subtype)
    more = {"filename": part.filename, "disposition": part.disposition}
    if part.maintype == "text":
        return Part(part.text(), "text", part.subtype, **more)
    return Part(part.payload(), part.maintype, part.subtype, **more)


def forwarded(message: MailPart, sender: str, to: str) -> tuple[list[tuple[str, str]], Part]:
    """Fields and body of a message that sends another one on: what is in it stays what it is, so
    that a recording can be listened to like the first time."""
    author = message.field("From")
    intro = f"Forwarded message from {author}\r\nSubject: {message.field('Subject')}\r\n"
    leaves = [part for part in message.walk() if not part.children][: MAX_PARTS - 2]
    fields = [
        ("From", sender),
        ("To", to),
        ("Subject", f"Fwd: {message.field('Subject')}"),
    ]
    if message.field("Content-Class"):
        fields.append(("Content-Class", message.field("Content-Class")))
    parts = (Part(intro), *(copied_part(part) for part in leaves))
    return fields, Part(parts, "multipart", "mixed")


# Recipients.


def recipients_of(
    headers: Mapping[str, Value], routing: RoutingState, caller: str
) -> list[Recipient]:
    """The accounts that To, Cc and Bcc lead to, each once. Raises :class:`DomainError` if one of
    the addresses leads nowhere, or away from here: then nobody gets the message."""
    texts = [text for name in _RECIPIENTS for text in _texts(headers.get(name))]
    return routed(texts, routing, caller)


def routed(texts: list[str], routing: RoutingState, caller: str) -> list[Recipient]:
    """The same for addresses in texts such as ``a@b, Name <c@d>``."""
    addresses = [address for _, address in getaddresses(texts) if address]
    if not addresses:
        raise DomainError("the message has no recipient")
    if len(addresses) > MAX_RECIPIENTS:
        raise DomainError(f"a message has at most {MAX_RECIPIENTS} recipients")
    found: dict[Recipient, None] = {}
    for address in addresses:
        for recipient in _routed(address, routing, caller):
            found[recipient] = None
    return list(found)


def _routed(address: str, routing: RoutingState, caller: str) -> list[Recipient]:
    try:
        absolute = qualified(address, caller.rpartition("@")[2])
    except AddressError as error:
        raise DomainError(f"{address[:200]}: {error}") from error
    first = route(absolute, Kind.MAIL, routing, caller=caller)
    single = first.outcome is not Outcome.GROUP
    routes = [first] if single else list(fan_out(first, Kind.MAIL, routing, caller=caller))
    found = []
    for one in routes:
        match one.outcome:
            case Outcome.ACCOUNT:
                boxed = one.detail and str(one.address.local).startswith(f"{one.detail}#")
                found.append(Recipient(one.account, one.detail if boxed else "INBOX"))
            case Outcome.DISCARD | Outcome.SPAMTRAP:
                continue
            case Outcome.FOREIGN:
                raise DomainError(f"{one.address}: {REMOTE}")
            case _ if single:
                reason = one.reason or f"no mail goes to this {one.outcome.value}"
                raise DomainError(f"{address[:200]}: {reason}")
            case _:
                continue  # a member that is gone keeps the others from nothing
    return found


def texts_of(value: Value) -> list[str]:
    """A string, or an array of strings."""
    return _texts(value)


def _texts(value: Value) -> list[str]:
    if isinstance(value, bytes):
        return [text_of(value)] if value else []
    if isinstance(value, int):
        return [str(value)]
    if isinstance(value, list):
        return [text for one in value for text in _texts(one)]
    return []


def _one_text(value: Value) -> str:
    texts = _texts(value)
    return texts[0] if texts else ""
