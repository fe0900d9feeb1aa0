"""RFC 4475: every torture message, the verdict we give, and what must have been understood."""

from __future__ import annotations

import random

import pytest

from sip.errors import MalformedHeader, ParseError
from sip.grammar import unquote
from sip.headers import parse_authorization
from sip.message import Request, Response
from sip.parser import StreamFramer, parse_message, validate_request, validate_response
from sip.uri import OpaqueUri, unescape
from sip.validation import (
    check_accept,
    check_content,
    check_max_forwards,
    check_method,
    check_required,
    check_scheme,
)
from tests.data.rfc4475 import MESSAGES

ACCEPT, DISCARD = 200, 0

# name: (section, verdict)
CASES: dict[str, tuple[str, int]] = {
    # 3.1.1 valid
    "wsinv": ("3.1.1.1", ACCEPT),
    "intmeth": ("3.1.1.2", ACCEPT),
    "esc01": ("3.1.1.3", ACCEPT),
    "escnull": ("3.1.1.4", ACCEPT),
    "esc02": ("3.1.1.5", ACCEPT),
    "lwsdisp": ("3.1.1.6", ACCEPT),
    "longreq": ("3.1.1.7", ACCEPT),
    "dblreq": ("3.1.1.8", ACCEPT),
    "semiuri": ("3.1.1.9", ACCEPT),
    "transports": ("3.1.1.10", ACCEPT),
    "mpart01": ("3.1.1.11", ACCEPT),
    "unreason": ("3.1.1.12", ACCEPT),
    "noreason": ("3.1.1.13", ACCEPT),
    # 3.1.2 invalid
    "badinv01": ("3.1.2.1", 400),
    "clerr": ("3.1.2.2", 400),
    "ncl": ("3.1.2.3", 400),
    "scalar02": ("3.1.2.4", 400),
    "scalarlg": ("3.1.2.5", DISCARD),
    "quotbal": ("3.1.2.6", 400),
    "ltgtruri": ("3.1.2.7", 400),
    "lwsruri": ("3.1.2.8", 400),
    "lwsstart": ("3.1.2.9", 400),
    "trws": ("3.1.2.10", 400),
    "escruri": ("3.1.2.11", 400),
    "baddate": ("3.1.2.12", ACCEPT),  # nothing of ours reads Date
    "regbadct": ("3.1.2.13", 400),
    "badaspec": ("3.1.2.14", 400),
    "baddn": ("3.1.2.15", 400),  # for its missing empty line; the name itself is tolerated
    "badvers": ("3.1.2.16", 505),
    "mismatch01": ("3.1.2.17", 400),
    "mismatch02": ("3.1.2.18", 400),
    "bigcode": ("3.1.2.19", DISCARD),
    # 3.2, 3.3, 3.4: well-formed for the parser, or an error of the application
    "badbranch": ("3.2.1", ACCEPT),
    "insuf": ("3.3.1", 400),
    "unkscm": ("3.3.2", ACCEPT),
    "novelsc": ("3.3.3", ACCEPT),
    "unksm2": ("3.3.4", ACCEPT),
    "bext01": ("3.3.5", ACCEPT),
    "invut": ("3.3.6", ACCEPT),
    "regaut01": ("3.3.7", ACCEPT),
    "multi01": ("3.3.8", 400),
    "mcl01": ("3.3.9", 400),
    "bcast": ("3.3.10", DISCARD),
    "zeromf": ("3.3.11", ACCEPT),
    "cparam01": ("3.3.12", ACCEPT),
    "cparam02": ("3.3.13", ACCEPT),
    "regescrt": ("3.3.14", ACCEPT),
    "sdp01": ("3.3.15", ACCEPT),
    "inv2543": ("3.4.1", ACCEPT),
}


def load(name: str) -> bytes:
    return MESSAGES[name].data


def request(name: str) -> Request:
    message = parse_message(load(name))
    assert isinstance(message, Request)
    return message


def response(name: str) -> Response:
    message = parse_message(load(name))
    assert isinstance(message, Response)
    return message


def verdict(data: bytes) -> int:
    """What a server does with a datagram: accept, discard, or answer with a status."""
    try:
        message = parse_message(data)
    except ParseError as error:
        return DISCARD if error.discard else error.status_hint
    if isinstance(message, Response):
        return ACCEPT if validate_response(message) else DISCARD
    rejection = validate_request(message)
    return ACCEPT if rejection is None else rejection.status


def test_every_message_has_a_verdict() -> None:
    assert len(MESSAGES) == 49
    assert set(MESSAGES) == set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_verdict(name: str) -> None:
    section, expected = CASES[name]
    assert verdict(load(name)) == expected, section


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case[1] == ACCEPT])
def test_accepted_message_survives_serialisation(name: str) -> None:
    """What we forward means the same to the next hop: same fields, same body, stable bytes."""
    message = parse_message(load(name))
    again = parse_message(message.to_bytes())
    assert again.headers == message.headers
    assert again.body == message.body
    assert again.to_bytes() == message.to_bytes()


@pytest.mark.parametrize("name", CASES)
def test_stream_cut_anywhere_gives_the_same(name: str) -> None:
    """A TCP segment may end at any byte: framing must not depend on where."""
    data = load(name)

    def run(chunks: list[bytes]) -> tuple[list[object], bool, int]:
        framer = StreamFramer()
        results: list[object] = []
        for chunk in chunks:
            for item in framer.feed(chunk):
                same = (item.reason, item.partial) if isinstance(item, ParseError) else item
                results.append(same)
        return results, framer.broken, framer.pending

    whole = run([data])
    for cut in range(1, len(data)):
        assert run([data[:cut], data[cut:]]) == whole
    assert run([data[i : i + 1] for i in range(len(data))]) == whole
    rng = random.Random(4475)
    for _ in range(20):
        cuts = sorted(rng.sample(range(1, len(data)), 5))
        pieces = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
        assert run(pieces) == whole


# --- what must have been understood ---------------------------------------------------------------


def test_wsinv_is_read_through_its_white_space() -> None:
    message = request("wsinv")
    assert message.to.tag == "1918181833n"
    assert message.from_.display == 'J Rosenberg \\"'
    assert message.from_.tag == "98asjd8"
    assert message.max_forwards == 68
    assert message.cseq == (9, "INVITE")
    assert [via.transport for via in message.vias] == ["UDP", "TCP", "UDP"]
    assert [via.branch for via in message.vias] == ["390skdjuw", "z9hG4bK9ikj8", "z9hG4bK30239"]
    assert not message.via.is_rfc3261
    assert message.first("Subject") == ""
    assert message.first("newfangledheader") == "newfangled value continued newfangled value"
    assert message.first("UnknownHeaderWithUnusualValue") == ";;,,;;,;"
    assert message.contacts[0].display == 'Quoted string ""'
    assert message.contacts[0].params == {"newparam": "newvalue", "secondparam": None, "q": "0.33"}
    assert message.routes[0].sip_uri.params["unknown-no-value"] is None
    assert len(message.body) == 150


def test_intmeth_keeps_every_character() -> None:
    message = request("intmeth")
    assert message.method == "!interesting-Method0123456789_*+`.%indeed'~"
    uri = message.sip_request_uri
    assert uri.user == "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"
    assert uri.password == "&it+has=1,weird!*pas$wo~d_too.(doesn't-it)"
    assert message.to.display == "BEL:\x07 NUL:\x00 DEL:\x7f"
    assert message.from_.display == "token1~` token2'+_ token3*%!.-"
    assert unquote(message.from_.params["fromparam''~+*_!.-%"] or "") == "работающий"
    assert message.call_id == "intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{"
    assert message.first("extensionHeader-!.%*+_`'~") == "\ufeff大停電"
    rejection = check_method(message, ("INVITE", "ACK"))
    assert rejection is not None
    assert rejection.status == 501
    assert rejection.headers == (("Allow", "INVITE, ACK"),)


def test_esc01_user_is_not_the_inner_uri() -> None:
    uri = request("esc01").sip_request_uri
    assert (uri.user, uri.user_text) == ("sips%3Auser%40example.com", "sips:user@example.com")
    assert uri.host == "example.net"
    contact = request("esc01").contacts[0].sip_uri
    assert contact.user_text == "caller"


def test_escnull_keeps_the_zero_byte_escaped() -> None:
    message = request("escnull")
    assert [c.sip_uri.user for c in message.contacts] == ["%00", "%00%00"]
    assert message.from_.sip_uri.user_text == "null-\x00-null"
    assert b"%00%00" in message.to_bytes()


def test_esc02_percent_is_no_escape_in_a_method() -> None:
    message = request("esc02")
    assert message.method == "RE%47IST%45R"
    rejection = check_method(message, ("REGISTER",))
    assert rejection is not None
    assert rejection.status == 501
    assert unescape(message.method) == "REGISTER"  # what a careless reader would see


def test_lwsdisp_needs_no_space_before_the_bracket() -> None:
    assert request("lwsdisp").from_.display == "caller"


def test_longreq_is_read_to_its_end() -> None:
    message = request("longreq")
    assert len(message.all("Via")) == len(message.vias) == 34
    assert len(message.call_id) > 100
    assert len(message.from_.tag) > 80
    assert len(message.to.sip_uri.params) + len(message.to.params) > 0
    assert len(message.body) == 150


def test_dblreq_ignores_what_follows_the_body() -> None:
    message = request("dblreq")
    assert message.method == "REGISTER"
    assert message.body == b""
    framer = StreamFramer()
    methods = [item.method for item in framer.feed(load("dblreq")) if isinstance(item, Request)]
    assert methods == ["REGISTER", "INVITE"]


def test_semiuri_parameter_belongs_to_the_user() -> None:
    uri = request("semiuri").sip_request_uri
    assert uri.user_text == "user;par=u@example.net"
    assert uri.params == {}


def test_transports_unknown_ones_are_read() -> None:
    names = [via.transport_name for via in request("transports").vias]
    assert names == ["udp", "sctp", "tls", "unknown", "tcp"]


def test_mpart01_binary_body_is_untouched() -> None:
    message = request("mpart01")
    assert message.content_type == "multipart/mixed"
    assert load("mpart01").endswith(message.body)
    assert b"\x00" in message.body or any(byte > 127 for byte in message.body)


def test_reasons_in_utf_8_and_absent() -> None:
    assert response("unreason").reason == "= 2**3 * 5**2 но сто девяносто девять - простое"
    assert (response("noreason").status, response("noreason").reason) == (100, "")


def test_clerr_waits_on_a_stream() -> None:
    framer = StreamFramer()
    assert framer.feed(load("clerr")) == []
    assert framer.pending == len(load("clerr"))


def test_scalar02_is_still_answerable() -> None:
    with pytest.raises(MalformedHeader):
        _ = request("scalar02").cseq


def test_baddn_with_its_empty_line_is_tolerated() -> None:
    message = parse_message(load("baddn") + b"\r\n")
    assert isinstance(message, Request)
    assert validate_request(message) is None
    assert message.from_.display == "Bell, Alexander"


def test_badbranch_cookie_alone_matches_nothing() -> None:
    assert not request("badbranch").via.is_rfc3261


@pytest.mark.parametrize("name", ["unkscm", "novelsc"])
def test_foreign_request_uri_is_416(name: str) -> None:
    rejection = check_scheme(request(name))
    assert rejection is not None
    assert rejection.status == 416


def test_unksm2_schemes_of_to_and_from_do_no_harm() -> None:
    message = request("unksm2")
    assert isinstance(message.to.uri, OpaqueUri)
    assert check_scheme(message) is None


def test_bext01_lists_what_is_unsupported() -> None:
    message = request("bext01")
    rejection = check_required(message, ("timer",))
    assert rejection is not None
    assert rejection.status == 420
    listed = rejection.headers[0]
    assert listed == (
        "Unsupported",
        "nothingSupportsThis, nothingSupportsThisEither",
    )
    assert check_required(message, ("timer",), "Proxy-Require") is not None


def test_invut_body_type_is_415() -> None:
    rejection = check_content(request("invut"), ("application/sdp",))
    assert rejection is not None
    assert (rejection.status, rejection.headers) == (415, (("Accept", "application/sdp"),))


def test_regaut01_unknown_scheme_is_no_error() -> None:
    value = request("regaut01").first("Authorization")
    assert value is not None
    assert not parse_authorization(value).is_digest


def test_zeromf_goes_no_further() -> None:
    rejection = check_max_forwards(request("zeromf"))
    assert rejection is not None
    assert rejection.status == 483


def test_cparam01_and_02_place_the_parameter() -> None:
    outside = request("cparam01").contacts[0]
    assert (outside.params, outside.sip_uri.params) == ({"unknownparam": None}, {})
    inside = request("cparam02").contacts[0]
    assert (inside.params, inside.sip_uri.params) == ({}, {"unknownparam": None})


def test_regescrt_keeps_the_uri_headers() -> None:
    contact = request("regescrt").contacts[0]
    assert contact.sip_uri.header_items() == [("Route", "<sip:sip.example.com>")]


def test_sdp01_cannot_be_answered_acceptably() -> None:
    rejection = check_accept(request("sdp01"), ("application/sdp",))
    assert rejection is not None
    assert rejection.status == 406


def test_inv2543_needs_neither_branch_nor_tag() -> None:
    message = request("inv2543")
    assert message.via.branch == ""
    assert message.from_.tag == ""
    assert message.max_forwards is None
