"""Building messages and reading them: what goes in comes out."""

from __future__ import annotations

import pytest

from mail import compose as building
from mail.compose import MAX_FIELD_CHARS, Part, compose, prepended
from mail.errors import MessageError
from mail.reading import MAX_PARTS, decoded, read_header, read_message

AUDIO = bytes(range(256)) * 10


def test_a_voice_message() -> None:
    audio = Part(AUDIO, "audio", "wav", filename="voicemail.wav")
    raw = compose(
        [("From", "Анна <ann@example.org>"), ("To", "bob@example.org"), ("Subject", "Голос")],
        Part((Part("12 s\r\n"), audio), "multipart", "mixed"),
        "t0ken",
    )
    assert raw.isascii()
    assert all(len(line) <= 998 for line in raw.split(b"\r\n"))
    assert raw.count(b"\n") == raw.count(b"\r\n")
    message = read_message(raw)
    assert message.content_type == "multipart/mixed"
    assert [part.part_id for part in message.walk()] == ["", "1", "2"]
    found = message.first("audio")
    assert found is not None
    assert (found.part_id, found.filename, found.payload()) == ("2", "voicemail.wav", AUDIO)
    assert found.disposition == "attachment"
    plain = message.first("plain")
    assert plain is not None
    assert plain.text().splitlines() == ["12 s"]
    assert message.addresses("From") == [("ann@example.org", "Анна")]
    assert message.field("subject") == "Голос"
    assert message.first("audio/ogg") is None
    assert message.find("2") is found
    assert message.find("7") is None


def test_a_single_part_is_number_one() -> None:
    message = read_message(compose([("Subject", "x")], Part("привет\n"), "t"))
    assert (message.part_id, message.text()) == ("1", "привет\r\n")


def test_bytes_that_claim_to_be_text_are_kept() -> None:
    octets = b"\xff\x00\r\n"
    message = read_message(compose([], Part(octets, "text", "x-log"), "t"))
    assert (message.content_type, message.payload()) == ("text/x-log", octets)


def test_a_message_in_a_message_is_as_it_was() -> None:
    inner = compose([("Subject", "inner")], Part("in\n"), "i")
    raw = compose(
        [("Subject", "outer")],
        Part(
            (Part("see"), Part(inner, "message", "rfc822", filename="m.eml")), "multipart", "mixed"
        ),
        "t",
    )
    part = read_message(raw).first("message")
    assert part is not None
    assert part.payload() == inner
    assert part.filename == "m.eml"


def test_nobody_adds_a_field_through_a_value() -> None:
    raw = compose([("Subject", "x\r\nBcc: all@example.org\0\u2028y")], Part("text"), "t")
    message = read_message(raw)
    assert message.field("Bcc") == ""
    assert message.field("Subject").startswith("x  Bcc: all@example.org")


@pytest.mark.parametrize(
    "fields",
    [
        [("Content-Type", "text/html")],
        [("Sub ject", "x")],
        [("Subject:", "x")],
        [("", "x")],
        [("Тема", "x")],
        [("Subject", "x" * (MAX_FIELD_CHARS + 1))],
        [("X", "y")] * 201,
    ],
)
def test_fields_that_cannot_be_written(fields: list[tuple[str, str]]) -> None:
    with pytest.raises(MessageError):
        compose(fields, Part("text"), "t")


@pytest.mark.parametrize("kind", ["", "a/b", "a b", "a;b", "ä", "a\x7f", "x" * 71])
def test_types_that_are_none(kind: str) -> None:
    with pytest.raises(MessageError):
        compose([], Part(b"x", kind, "y"), "t")


def test_bounds_of_what_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    deep = Part("x")
    for _ in range(12):
        deep = Part((deep,), "multipart", "mixed")
    with pytest.raises(MessageError, match="levels deep"):
        compose([], deep, "t")
    wide = Part(tuple(Part("x") for _ in range(300)), "multipart", "mixed")
    with pytest.raises(MessageError, match="at most"):
        compose([], wide, "t")
    monkeypatch.setattr(building, "MAX_MESSAGE_BYTES", 1000)
    with pytest.raises(MessageError, match="larger"):
        compose([], Part(bytes(2000), "audio", "wav"), "t")


def test_fields_on_top() -> None:
    raw = compose([("Subject", "x")], Part("text"), "t")
    more = prepended([("Return-Path", "<ann@example.org>")], raw)
    assert more.startswith(b"Return-Path: <ann@example.org>\r\n")
    assert more.endswith(raw)


def test_a_message_of_others() -> None:
    raw = (
        b"From: =?koi8-r?B?6dfBzg==?= <ivan@example.org>, second@example.org\n"
        b"Subject: =?utf-8?q?a=20?=\n =?utf-8?q?b?= and more\n"
        b"Date: Tue, 24 Nov 2026 13:52:03 +0300\n"
        b"X-Raw: \xc3\xa4\n"
        b"Content-Type: multipart/mixed; boundary=b\n\n"
        b"--b\nContent-Type: text/plain; charset=koi8-r\n\n\xe9\n"
        b"--b\nContent-Type: audio/x-wav; name*=utf-8''%D0%B0.wav\n"
        b"Content-Transfer-Encoding: base64\n\n"
        b"UklGRg==\n--b--\n"
    )
    message = read_message(raw)
    assert message.addresses("from") == [("ivan@example.org", "Иван"), ("second@example.org", "")]
    assert message.field("Subject") == "a b and more"
    assert message.date_s() == 1795517523
    assert message.field("X-Raw") == "ä"
    assert [part.content_type for part in message.children] == ["text/plain", "audio/x-wav"]
    assert message.children[0].text() == "И"
    assert message.children[1].filename == "а.wav"
    assert message.children[1].payload() == b"RIFF"
    assert message.field_names() == ["From", "Subject", "Date", "X-Raw", "Content-Type"]
    assert read_header(raw).field("Subject") == "a b and more"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\r\n\r\n",
        b"no header at all",
        b"Content-Type: multipart/mixed\r\n\r\nno boundary\r\n",
        b"Content-Type: multipart/mixed; boundary=x\r\n\r\nnever comes\r\n",
        b"Content-Type: ;;;\r\n\r\nx",
        b"Content-Type: text/plain; charset=nonsense\r\n\r\n\xff",
        b"Content-Transfer-Encoding: base64\r\n\r\n!!!",
        b"Content-Transfer-Encoding: x-uuencode\r\n\r\nbegin nothing",
        b"From: <<<>>>@@\r\nDate: yesterday\r\nSubject: =?x?b?????=\r\n\r\n",
        b"\0" * 100,
        b"A" * 100_000,
    ],
)
def test_what_is_no_mail_is_read_all_the_same(raw: bytes) -> None:
    message = read_message(raw)
    for part in message.walk():
        part.payload()
        part.text()
        for name in part.field_names():
            part.fields(name)
    message.addresses("From")
    assert message.date_s() is None


def test_a_message_built_to_exhaust_is_one_part() -> None:
    deep = b""
    for level in range(3000):
        deep += b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (level, level)
    message = read_message(deep)
    assert message.children == ()
    many = b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\nx\n" * 10_000
    assert sum(1 for _ in read_message(many).walk()) <= MAX_PARTS
    assert read_message(many + b"--b\n\nx\n" * 20_000).children == ()


def test_decoding() -> None:
    assert decoded("=?utf-8?b?0L8=?= =?utf-8?b?0YA=?=") == "пр"
    assert decoded("=?nonsense?b?AAA=?=") == "=?nonsense?b?AAA=?="
    assert "\0" not in decoded("a\0b")
