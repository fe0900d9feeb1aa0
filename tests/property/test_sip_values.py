"""Round trips and bounds of the SIP values, over generated and over mangled input."""

from __future__ import annotations

import string

from hypothesis import given
from hypothesis import strategies as st

from sip.errors import MalformedHeader, ParseError
from sip.grammar import format_params, parse_params, quote, readable, split_list, unquote
from sip.headers import NameAddr, Via, parse_name_addr, parse_via
from sip.message import Request, Response, response_for
from sip.parser import StreamFramer, parse_message, validate_request, validate_response
from sip.uri import SipUri, parse_uri, unescape

TOKEN = st.text(string.ascii_letters + string.digits + "-.!%*_+`'~", min_size=1, max_size=12)
# Anything a peer may put into a value: any character but line breaks, bytes that are no UTF-8.
ANY_TEXT = st.binary(max_size=40).map(
    lambda raw: raw.replace(b"\r", b"").replace(b"\n", b"").decode("utf-8", "surrogateescape")
)
USER = st.text(
    string.ascii_letters + string.digits + "-_.!~*'()&=+$,;?/%#", min_size=1, max_size=12
)
HOST = st.one_of(
    st.text(string.ascii_letters + string.digits + "-.", min_size=1, max_size=20),
    st.ip_addresses().map(str),
)
PORT = st.one_of(st.none(), st.integers(1, 65_535))
PARAM_VALUE = st.one_of(st.none(), TOKEN, ANY_TEXT.map(quote))
PARAMS = st.dictionaries(TOKEN.map(str.lower), PARAM_VALUE, max_size=4)
URI_PARAMS = st.dictionaries(
    st.text(string.ascii_lowercase, min_size=1, max_size=6), st.one_of(st.none(), TOKEN), max_size=4
)


@st.composite
def sip_uris(draw: st.DrawFn) -> SipUri:
    return SipUri(
        draw(st.sampled_from(["sip", "sips"])),
        draw(st.one_of(st.none(), USER)),
        None,
        draw(HOST),
        draw(PORT),
        draw(URI_PARAMS),
        draw(st.sampled_from(["", "a=b", "Subject=x%20y&Replaces=1%3B2"])),
    )


HEADER = st.tuples(
    st.one_of(
        st.sampled_from(["Subject", "Via", "To", "From", "Contact", "Call-ID", "CSeq", "X-Odd"]),
        TOKEN.filter(lambda name: name.lower() not in ("l", "content-length")),
    ),
    ANY_TEXT.map(lambda text: text.strip(" \t")),
)
BODY = st.binary(max_size=80)


@st.composite
def messages(draw: st.DrawFn) -> Request | Response:
    headers = tuple(draw(st.lists(HEADER, max_size=8)))
    body = draw(BODY)
    if draw(st.booleans()):
        uri = draw(sip_uris())
        return Request(draw(TOKEN), str(uri), headers, body)
    return Response(draw(st.integers(100, 699)), draw(ANY_TEXT), headers, body)


# --- round trips ---------------------------------------------------------------------------------


@given(sip_uris())
def test_uri_round_trip(uri: SipUri) -> None:
    again = parse_uri(str(uri))
    assert isinstance(again, SipUri)
    assert (again.user, again.host, again.port, again.params, again.headers) == (
        uri.user,
        uri.host,
        uri.port,
        uri.params,
        uri.headers,
    )
    assert again.equivalent(uri)
    assert uri.equivalent(again)


@given(sip_uris(), sip_uris())
def test_equivalence_is_symmetric(left: SipUri, right: SipUri) -> None:
    assert left.equivalent(right) == right.equivalent(left)


@given(ANY_TEXT)
def test_quote_round_trip(text: str) -> None:
    assert unquote(quote(text)) == text


@given(ANY_TEXT)
def test_unescape_is_total(text: str) -> None:
    assert unescape(text).encode("utf-8", "surrogateescape") is not None


@given(ANY_TEXT)
def test_readable_can_be_stored(text: str) -> None:
    shown = readable(text)
    assert shown.encode("utf-8").decode("utf-8") == shown
    assert readable(shown) == shown


@given(PARAMS)
def test_params_round_trip(params: dict[str, str | None]) -> None:
    assert parse_params(format_params(params), "X") == params


@given(sip_uris(), ANY_TEXT, PARAMS)
def test_name_addr_round_trip(uri: SipUri, display: str, params: dict[str, str | None]) -> None:
    value = NameAddr(str(uri), display, params)
    again = parse_name_addr(str(value))
    assert (again.uri_text, again.params) == (str(uri), params)
    assert again.display == readable(display)


@given(TOKEN, HOST, PORT, PARAMS)
def test_via_round_trip(
    transport: str, host: str, port: int | None, params: dict[str, str | None]
) -> None:
    value = Via(transport, host, port, params)
    again = parse_via(str(value))
    assert (again.transport, again.host, again.port, again.params) == (
        transport,
        value.host,
        port,
        params,
    )


@given(
    st.lists(st.one_of(TOKEN, ANY_TEXT.map(quote), sip_uris().map(lambda u: f"<{u}>")), min_size=1)
)
def test_list_round_trip(items: list[str]) -> None:
    assert split_list(", ".join(items), "X", len(items)) == items


@given(messages())
def test_message_round_trip(message: Request | Response) -> None:
    """What we write is read back as it was, byte for byte when written again."""
    again = parse_message(message.to_bytes())
    assert again.body == message.body
    assert [value for _, value in again.headers] == [value for _, value in message.headers]
    assert parse_message(again.to_bytes()) == again


# --- total functions -----------------------------------------------------------------------------


@given(messages())
def test_checks_and_answers_never_raise(message: Request | Response) -> None:
    if isinstance(message, Response):
        assert validate_response(message) in (True, False)
        return
    rejection = validate_request(message)
    assert rejection is None or rejection.status in (0, 400, 414)
    answer = response_for(message, 400, to_tag="t")
    assert parse_message(answer.to_bytes()) == answer


@given(st.binary(max_size=300))
def test_noise_is_refused_with_a_parse_error(data: bytes) -> None:
    for candidate in (data, b"INVITE sip:a SIP/2.0\r\n" + data, b"SIP/2.0 200 OK\r\n" + data):
        status = 200
        try:
            message = parse_message(candidate)
        except ParseError as error:
            status = error.status_hint
        assert status in (200, 400, 414, 505, 513)
        if status == 200:
            assert parse_message(message.to_bytes()) == message


@given(ANY_TEXT)
def test_values_raise_nothing_but_malformed_header(text: str) -> None:
    for parse in (parse_uri, parse_name_addr, parse_via):
        try:
            written = str(parse(text))
        except MalformedHeader:
            continue
        assert written == text


# --- framing -------------------------------------------------------------------------------------


@given(st.lists(messages(), max_size=4), st.data())
def test_framing_does_not_depend_on_segments(
    sent: list[Request | Response], data: st.DataObject
) -> None:
    stream = b"".join(message.to_bytes() for message in sent)
    expected = [parse_message(message.to_bytes()) for message in sent]
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=6)))
    framer = StreamFramer()
    received: list[object] = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        received += framer.feed(stream[start:end])
    assert received == expected
    assert not framer.broken
    assert framer.pending == 0
