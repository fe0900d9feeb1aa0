"""Datagram parsing, stream framing, limits and keep-alives."""

from __future__ import annotations

import pytest

from sip.errors import ParseError
from sip.message import Request, Response
from sip.parser import KeepAlive, Limits, StreamFramer, is_keep_alive, parse_message

HEADERS = (
    b"Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n"
    b"From: <sip:a@example.com>;tag=f\r\n"
    b"To: <sip:b@example.com>\r\n"
    b"Call-ID: c1\r\n"
    b"CSeq: 7 MESSAGE\r\n"
)
START = b"MESSAGE sip:b@example.com SIP/2.0\r\n"


def build(body: bytes = b"hello", *, start: bytes = START, extra: bytes = b"") -> bytes:
    return start + HEADERS + extra + b"Content-Length: %d\r\n\r\n" % len(body) + body


def refusal(data: bytes, limits: Limits | None = None) -> ParseError:
    with pytest.raises(ParseError) as caught:
        parse_message(data, limits or Limits())
    return caught.value


# --- datagrams -----------------------------------------------------------------------------------


def test_request() -> None:
    message = parse_message(build(extra=b"s: x\r\nX-Odd:  y z \r\n"))
    assert isinstance(message, Request)
    assert (message.method, message.uri, message.body) == (
        "MESSAGE",
        "sip:b@example.com",
        b"hello",
    )
    assert message.headers[-2:] == (("Subject", "x"), ("X-Odd", "y z"))
    assert not message.has("Content-Length")


def test_response() -> None:
    message = parse_message(build(start=b"SIP/2.0 180 Ringing now\r\n"))
    assert isinstance(message, Response)
    assert (message.status, message.reason) == (180, "Ringing now")
    empty = parse_message(build(start=b"SIP/2.0 200\r\n"))
    assert isinstance(empty, Response)
    assert empty.reason == ""


def test_version_is_case_insensitive() -> None:
    assert isinstance(parse_message(build(start=b"BYE sip:a sip/2.0\r\n")), Request)
    assert isinstance(parse_message(build(start=b"Sip/2.0 200 OK\r\n")), Response)


def test_line_breaks_before_the_start_line() -> None:
    """RFC 3261 §7.5."""
    assert parse_message(b"\r\n\r\n" + build()).body == b"hello"


def test_folding_is_undone() -> None:
    message = parse_message(build(extra=b"Subject: a \r\n\t b\r\n   c\r\n"))
    assert message.first("Subject") == "a b c"


def test_content_length_rules_the_body() -> None:
    """RFC 3261 §18.3: less is cut, none means all, more is an error."""
    assert parse_message(build() + b"trailing").body == b"hello"
    assert parse_message(START + HEADERS + b"\r\nall of it").body == b"all of it"
    error = refusal(START + HEADERS + b"Content-Length: 6\r\n\r\nhello")
    assert error.partial is not None
    assert error.partial.call_id == "c1"


@pytest.mark.parametrize(
    "extra",
    [
        b"Content-Length: -1\r\n",
        b"Content-Length: 1x\r\n",
        b"Content-Length: \r\n",
        b"Content-Length: 99999999999\r\n",
        b"Content-Length: \xd9\xa3\r\n",
        b"l: 0\r\nContent-Length: 5\r\n",
    ],
)
def test_bad_content_length(extra: bytes) -> None:
    error = refusal(START + HEADERS + extra + b"\r\n")
    assert (error.status_hint, error.discard) == (400, False)


def test_bytes_that_are_not_utf_8_survive() -> None:
    data = build(extra=b"Subject: \xff\xfe\x00\r\n")
    assert b"Subject: \xff\xfe\x00\r\n" in parse_message(data).to_bytes()


@pytest.mark.parametrize(
    ("start", "status", "discard"),
    [
        (b"\r\n", 400, True),
        (b"nonsense\r\n", 400, True),
        (b"ME SSAGE sip:b SIP/2.0\r\n", 400, False),
        (b"M@ sip:b SIP/2.0\r\n", 400, True),
        (b"MESSAGE  sip:b SIP/2.0\r\n", 400, False),
        (b"MESSAGE sip:b SIP/2.0 \r\n", 400, False),
        (b"MESSAGE sip:b\r\n", 400, True),
        (b"MESSAGE sip:b HTTP/1.1\r\n", 400, False),
        (b"MESSAGE sip:b SIP/3.0\r\n", 505, False),
        (b"ACK sip:b SIP/3.0\r\n", 505, True),
        (b"SIP/3.0 200 OK\r\n", 505, True),
        (b"SIP/2.0 99 Low\r\n", 400, True),
        (b"SIP/2.0 700 High\r\n", 400, True),
        (b"SIP/2.0 4294967301 Wrap\r\n", 400, True),
        (b"SIP/2.0 2x0 OK\r\n", 400, True),
    ],
)
def test_bad_start_line(start: bytes, status: int, discard: bool) -> None:
    """Requests that can be answered are, responses never (RFC 3261 §18.1.2)."""
    data = start + HEADERS + b"Content-Length: 0\r\n\r\n"
    if start == b"\r\n":
        data = b"\r\n\r\n"
    error = refusal(data)
    assert (error.status_hint, error.discard) == (status, discard)


@pytest.mark.parametrize("line", [b"no colon\r\n", b"To\r\n", b"b@d: x\r\n", b": x\r\n"])
def test_bad_header_line(line: bytes) -> None:
    error = refusal(build(extra=line))
    assert (error.status_hint, error.discard) == (400, False)


@pytest.mark.parametrize("value", [b"a\nX: b", b"a\rX: b", b"a\r\r\n b"])
def test_bare_line_breaks_are_never_echoed(value: bytes) -> None:
    error = refusal(build(extra=b"Subject: " + value + b"\r\n"))
    assert error.discard
    assert refusal(build(start=b"BYE sip:a HTTP/1\r\n", extra=b"X: " + value + b"\r\n")).discard


def test_without_end_of_headers() -> None:
    error = refusal(START + HEADERS)
    assert not error.discard
    assert refusal(b"").discard
    assert refusal(b"\x00\x01binary").discard


@pytest.mark.parametrize("name", [b"Via", b"From", b"To", b"Call-ID", b"CSeq"])
def test_unanswerable_without(name: bytes) -> None:
    """An answer needs all five (RFC 3261 §8.2.6)."""
    lines = [line for line in HEADERS.split(b"\r\n") if not line.startswith(name)]
    assert refusal(START + b"\r\n".join(lines) + b"Content-Length: 9\r\n\r\n").discard


def test_unanswerable_without_a_readable_via() -> None:
    data = build(extra=b"no colon\r\n").replace(b"SIP/2.0/UDP", b"SIP/2.0")
    assert refusal(data).discard


@pytest.mark.parametrize(
    "extra", [b"Via: SIP/2.0/UDP h\r\n" * 80, b"To: <sip:" + b"x" * 5000 + b">\r\n"]
)
def test_no_answer_is_owed_to_a_flood(extra: bytes) -> None:
    assert refusal(build(extra=extra + b"no colon\r\n")).discard


def test_limits() -> None:
    assert refusal(build(b"x" * 70), Limits(datagram_bytes=200)).status_hint == 513
    assert refusal(build(), Limits(head_bytes=100)).status_hint == 513
    many = refusal(build(extra=b"X: y\r\n" * 20), Limits(headers=20))
    assert (many.status_hint, many.discard) == (513, False)
    long = refusal(build(extra=b"X: " + b"y" * 300 + b"\r\n"), Limits(header_bytes=200))
    assert (long.status_hint, long.discard) == (513, False)
    uri = refusal(build(), Limits(uri_bytes=10))
    assert (uri.status_hint, uri.discard) == (414, False)
    assert parse_message(build(), Limits(header_bytes=100)).body == b"hello"


def test_hostile_folding_is_linear() -> None:
    """Runs of spaces and thousands of folds: what made a regular expression quadratic."""
    spaces = build(extra=b"Subject: a\r\n b" + b" " * 60_000 + b"c\r\n")
    assert refusal(spaces).status_hint == 513
    folds = build(extra=b"Subject: a" + b"\r\n b" * 2000 + b"\r\n")
    assert parse_message(folds).first("Subject") == "a" + " b" * 2000
    flood = build(extra=b"X:\r\n" * 15_000)
    assert (refusal(flood).status_hint, refusal(flood).discard) == (513, False)


@pytest.mark.parametrize("data", [b"", b"\r\n", b"\r\n\r\n", b"\x00", b"\x00\x00\x00\x00"])
def test_keep_alive_datagrams(data: bytes) -> None:
    assert is_keep_alive(data)


@pytest.mark.parametrize("data", [b"\r\n\r\n\r\n", b"\x00\x01", b"BYE"])
def test_other_datagrams(data: bytes) -> None:
    assert not is_keep_alive(data)


# --- streams -------------------------------------------------------------------------------------


def test_messages_in_one_segment() -> None:
    framer = StreamFramer()
    results = framer.feed(build(b"one") + build(b"") + build(b"three")[:-2])
    assert [item.body for item in results if isinstance(item, Request)] == [b"one", b""]
    assert framer.pending > 0
    last = framer.feed(b"ee")
    assert isinstance(last[0], Request)
    assert last[0].body == b"three"
    assert framer.pending == 0


def test_keep_alives_between_messages() -> None:
    """RFC 5626 §3.5.1: double CRLF is a ping, a single one is a pong."""
    framer = StreamFramer()
    assert framer.feed(b"\r\n\r\n") == [KeepAlive.PING]
    assert framer.feed(b"\r\n") == [KeepAlive.PONG]
    assert framer.feed(build(b"")) == [parse_message(build(b""))]
    assert framer.feed(b"\r\n\r\n" + build(b"")) == [KeepAlive.PING, parse_message(build(b""))]
    assert framer.feed(b"\r\n" + build(b"")) == [KeepAlive.PONG, parse_message(build(b""))]


def test_ping_in_pieces() -> None:
    framer = StreamFramer()
    assert framer.feed(b"\r") == []
    assert framer.feed(b"\n") == [KeepAlive.PONG]
    assert framer.feed(b"\r") == []
    assert framer.feed(b"\n") == [KeepAlive.PING]
    assert framer.feed(b"\r\n\r\n") == [KeepAlive.PING]
    assert framer.feed(b"\n\n\rBYE") == []  # stray breaks are skipped (§7.5)
    assert framer.pending == 3


def test_missing_content_length_breaks_the_stream() -> None:
    framer = StreamFramer()
    (error,) = framer.feed(START + HEADERS + b"\r\nhello")
    assert isinstance(error, ParseError)
    assert error.partial is not None
    assert framer.broken
    assert framer.feed(build()) == []
    assert framer.pending == 0


def test_bad_message_of_known_length_is_skipped() -> None:
    """One bad message must not take down the calls of a whole trunk connection."""
    framer = StreamFramer()
    bad = build(b"body", extra=b"no colon\r\n")
    results = framer.feed(bad + build(b"good"))
    assert isinstance(results[0], ParseError)
    assert not results[0].discard
    assert isinstance(results[1], Request)
    assert results[1].body == b"good"
    assert not framer.broken


@pytest.mark.parametrize(
    "bad",
    [
        build(extra=b"l: 0\r\n"),
        build(extra=b"Subject: a\nb\r\n"),
        build(extra=b"Subject: a\rb\r\n"),
        START + HEADERS + b"no colon\r\n\r\n",
        START + HEADERS + b"no colon\r\nContent-Length: x\r\n\r\n",
    ],
)
def test_bad_message_of_doubtful_length_breaks(bad: bytes) -> None:
    framer = StreamFramer()
    results = framer.feed(bad + build())
    assert len(results) == 1
    assert isinstance(results[0], ParseError)
    assert framer.broken


def test_stream_limits() -> None:
    endless = StreamFramer(Limits(head_bytes=100))
    (error,) = endless.feed(b"MESSAGE " + b"x" * 100)
    assert isinstance(error, ParseError)
    assert (error.status_hint, endless.broken) == (513, True)

    long_head = StreamFramer(Limits(head_bytes=100))
    (error,) = long_head.feed(build())
    assert isinstance(error, ParseError)
    assert (error.status_hint, long_head.broken) == (513, True)

    big_body = StreamFramer(Limits(stream_bytes=300))
    (error,) = big_body.feed(START + HEADERS + b"Content-Length: 5000\r\n\r\n")
    assert isinstance(error, ParseError)
    assert (error.status_hint, error.discard, big_body.broken) == (513, False, True)


def test_slow_head_is_scanned_once() -> None:
    """Byte by byte the search for the end must not start over each time."""
    framer = StreamFramer()
    data = build(b"x")
    results = [item for byte in data for item in framer.feed(bytes([byte]))]
    assert results == [parse_message(data)]
