"""Messages as files: RFC 5322, the recording in one, a whole mailbox as mbox."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from mail.compose import Part, compose
from mail.reading import MailPart, read_message

_FROM_LINE: Final = re.compile(rb"^(?=>*From )", re.M)


def audio_of(message: MailPart) -> tuple[str, bytes] | None:
    """File name and bytes of the first audio part; None where there is none."""
    part = message.first("audio")
    if part is None:
        return None
    return part.filename or f"message.{part.subtype}", part.payload()


def mbox(messages: Iterable[tuple[str, int, bytes]]) -> bytes:
    """Messages as (sender, time received in ns, text) in one file of the form mboxrd: lines that
    begin with ``From``, after any number of ``>``, get one more."""
    parts = []
    for sender, received_ns, raw in messages:
        when = datetime.fromtimestamp(received_ns // 1_000_000_000, UTC)
        address = sender.rpartition("<")[2].rstrip(">").replace(" ", "") or "MAILER-DAEMON"
        head = f"From {address} {when:%a %b %e %H:%M:%S %Y}\n".encode()
        text = raw.replace(b"\r\n", b"\n").rstrip(b"\n")
        parts.append(head + _FROM_LINE.sub(b">", text) + b"\n\n")
    return b"".join(parts)


def voice_mail(audio: bytes, sender: str, to: str, when: datetime, token: str) -> bytes:
    """A recording as the message that voicemail would have made of it."""
    fields = [
        ("From", sender),
        ("To", to),
        ("Date", f"{when:%a, %d %b %Y %H:%M:%S +0000}"),
        ("Message-ID", f"<{token}@{to.rpartition('@')[2]}>"),
        ("Subject", f"Voice Message from {sender.partition('@')[0]}"),
        ("Content-Class", "voice"),
    ]
    text = Part(f"Received: {when:%Y-%m-%d %H:%M:%S} UTC\r\nFrom: {sender}\r\n")
    recording = Part(audio, "audio", "wav", filename="voicemail.wav")
    return compose(fields, Part((text, recording), "multipart", "mixed"), token)


def shown(raw: bytes) -> tuple[list[tuple[str, str]], str, list[MailPart]]:
    """Fields, text and attachments of a message, for people."""
    message = read_message(raw)
    fields = [
        (name, value) for name in ("Date", "From", "To", "Cc", "Subject")
        for value in message.fields(name)
    ]  # fmt: skip
    text = message.first("plain")
    others = [part for part in message.walk() if not part.children and part is not text]
    return fields, "" if text is None else text.text(), others
