"""What mutants of messages must not do.

``python -m tests.fuzz.mail --seed 1 --runs 100000`` hunts long and prints the one that did.
"""

from __future__ import annotations

import sys
import time
from typing import Final

from mail.reading import MAX_LEVELS, MAX_PARTS, read_header, read_message
from tests.fuzz.hunt import hunt
from tests.support.mail_lab import text_message, voice_message

WORDS: Final = (
    b"Content-Type: multipart/mixed; boundary=", b"Content-Type: message/rfc822\r\n\r\n", b"--",
    b"=_b0undary_1", b"Content-Transfer-Encoding: base64", b"quoted-printable", b"x-uuencode",
    b"charset*0*=utf-8''%C3%A4", b"filename*1=", b"=?utf-8?b?4pyT?=", b"=?utf-8?q?=E2=9C?=",
    b"begin 644 x\n", b"From: ", b"undisclosed-recipients:;", b"<@a,@b:c@d>", b"(comment (nested",
    b"Date: Thu, 01 Jan 1970 00:00:00 +9999",
)  # fmt: skip
PATIENCE_S: Final = 2.0
"""For a mutant of some kilobytes; it takes a millisecond."""


def corpus() -> list[bytes]:
    """Messages of ours, and some of the ways others write them."""
    nested = (
        b"From: a@b (Comment)\nSubject: =?koi8-r?Q?=F0=D2?=\n =?utf-8?b?0LI=?=\n"
        b'Content-Type: multipart/alternative; boundary="o"\n\n--o\n\nplain\n--o\n'
        b"Content-Type: multipart/related; boundary=i\n\n--i\nContent-Type: text/html\n\n<p>\n--i\n"
        b"Content-Type: message/rfc822\n\nFrom: x@y\nSubject: in\n\nbody\n--i--\n--o--\nepilogue\n"
    )
    return [voice_message(), voice_message(urgent=True), text_message(), nested, b"", b"\n"]


def check(data: bytes) -> None:
    """Everything a reader may ask of a message is answered, soon, with text that can be stored."""
    began = time.monotonic()
    message = read_message(data)
    parts = list(message.walk())
    assert len(parts) <= MAX_PARTS + 1
    assert all(part.part_id.count(".") <= MAX_LEVELS for part in parts)
    for part in parts:
        part.payload().decode("latin-1")
        for text in (part.text(), part.filename, part.content_type, part.disposition):
            text.encode()
        for name in part.field_names():
            for value in part.fields(name):
                value.encode()
            for address in part.addresses(name):
                address.name.encode()
                address.address.encode()
            part.date_s(name)
    read_header(data).field("Subject").encode()
    assert time.monotonic() - began < PATIENCE_S


if __name__ == "__main__":
    sys.exit(hunt(corpus(), WORDS, check))
