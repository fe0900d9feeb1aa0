"""Semantic checks of well-formed messages, and the helpers of the transaction user."""

from __future__ import annotations

import pytest

from sip.message import HeaderList, Request, Response
from sip.validation import (
    Rejection,
    check_accept,
    check_content,
    check_max_forwards,
    check_method,
    check_required,
    check_scheme,
    validate_request,
    validate_response,
)

GOOD: dict[str, str] = {
    "Via": "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1",
    "From": "<sip:a@example.com>;tag=f",
    "To": "<sip:b@example.com>",
    "Call-ID": "c1",
    "CSeq": "7 INVITE",
    "Contact": "<sip:a@192.0.2.1>",
    "Max-Forwards": "70",
}


def make(method: str = "INVITE", uri: str = "sip:b@example.com", **changes: str) -> Request:
    fields = dict(GOOD)
    if method != "INVITE":
        fields["CSeq"] = f"7 {method}"
    fields.update({name.replace("_", "-"): value for name, value in changes.items()})
    headers: HeaderList = tuple((name, value) for name, value in fields.items() if value != "-")
    return Request(method, uri, headers)


def test_good() -> None:
    assert validate_request(make()) is None
    assert validate_request(make(Contact="-")) is None


@pytest.mark.parametrize(
    "change",
    [
        {"Via": "-"},
        {"Via": "nonsense"},
        {"From": "-"},
        {"From": "<sip:a@example.com>"},
        {"From": "< sip:a@example.com >;tag=f"},
        {"To": '"open <sip:b@example.com>'},
        {"Call-ID": ""},
        {"Call-ID": "\udcff"},
        {"Call-ID": "a\x00b"},
        {"From": "<sip:a@example.com>;tag=\udcff"},
        {"To": '<sip:b@example.com>;tag="\udcff"'},
        {"CSeq": "x INVITE"},
        {"CSeq": "7 BYE"},
        {"Contact": "<sip:a@>"},
        {"Contact": "sip:a@b?x=1"},
        {"Max-Forwards": "256"},
    ],
)
def test_refused_with_400(change: dict[str, str]) -> None:
    rejection = validate_request(make(**change))
    assert rejection is not None
    assert rejection.status == 400
    assert not rejection.discard


def test_too_many_hops() -> None:
    request = make()
    vias = (("Via", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1"),) * 71
    rejection = validate_request(request.copy(headers=request.headers[1:] + vias))
    assert rejection == Rejection(400, "Too many Via")


def test_request_uri() -> None:
    assert validate_request(make(uri="sip:b@example.com?Subject=x")) is not None
    assert validate_request(make(uri="<sip:b@example.com>")) is not None
    assert validate_request(make(uri="urn:service:sos")) is None
    long = validate_request(make(uri="sip:" + "b" * 5000))
    assert long is not None
    assert long.status == 414


@pytest.mark.parametrize("name", ["Call-ID", "CSeq", "From", "To", "Max-Forwards", "Expires"])
def test_single_headers_stand_once(name: str) -> None:
    """Two readers would take different ones: the classic way round a filter."""
    request = make(Expires="5")
    twice = request.copy(headers=(*request.headers, (name, request.first(name) or "")))
    rejection = validate_request(twice)
    assert rejection == Rejection(400, f"More than one {name}")


def test_list_headers_may_repeat() -> None:
    request = make(Supported="timer")
    assert validate_request(request.copy(headers=(*request.headers, ("Supported", "x")))) is None


def test_ack_is_never_answered() -> None:
    """RFC 3261 §17.1.1.3."""
    assert validate_request(make("ACK")) is None
    rejection = validate_request(make("ACK", CSeq="7 INVITE"))
    assert rejection is not None
    assert rejection.discard


def answer(*extra: tuple[str, str], **changes: str) -> Response:
    request = make(**changes)
    return Response(200, "OK", (*request.headers, *extra))


def test_responses() -> None:
    assert validate_response(answer())
    assert not validate_response(answer(CSeq="99999999999 INVITE"))
    assert not validate_response(answer(("Via", GOOD["Via"])))
    assert not validate_response(answer(Via=f"{GOOD['Via']}, {GOOD['Via']}"))
    assert not validate_response(answer(Via='SIP/2.0/UDP h;x="open, '))
    assert validate_response(answer(Via='SIP/2.0/UDP h;branch=z9hG4bK1;x="a,b"'))


# --- helpers -------------------------------------------------------------------------------------


def test_method() -> None:
    assert check_method(make("INVITE"), ("INVITE",)) is None
    known = check_method(make("PUBLISH"), ("INVITE", "BYE"))
    assert known == Rejection(405, "Method Not Allowed", (("Allow", "INVITE, BYE"),))
    unknown = check_method(make("FROB"), ("INVITE",))
    assert unknown is not None
    assert unknown.status == 501


def test_scheme() -> None:
    assert check_scheme(make()) is None
    assert check_scheme(make(uri="tel:+1"), ("sip", "tel")) is None
    foreign = check_scheme(make(uri="tel:+1"))
    broken = check_scheme(make(uri="nonsense"))
    assert (foreign and foreign.status, broken and broken.status) == (416, 400)


def test_max_forwards() -> None:
    assert check_max_forwards(make()) is None
    assert check_max_forwards(make(Max_Forwards="-")) is None
    assert check_max_forwards(make(Max_Forwards="0")) == Rejection(483, "Too Many Hops")


def test_required() -> None:
    request = make(Require="100rel, X-Odd, TIMER")
    assert check_required(make(), ()) is None
    assert check_required(request, ("100rel", "timer", "x-odd")) is None
    rejection = check_required(request, ("100rel",))
    assert rejection == Rejection(420, "Bad Extension", (("Unsupported", "X-Odd, TIMER"),))
    assert check_required(make("CANCEL", Require="x"), ()) is None
    broken = check_required(make(Require="a,,b"), ())
    assert broken is not None
    assert broken.status == 400


def test_content() -> None:
    types = ("application/sdp",)
    assert check_content(make(), types) is None
    sdp = make(Content_Type="application/SDP").copy(body=b"v=0")
    assert check_content(sdp, types) is None
    text = make(Content_Type="text/plain").copy(body=b"hi")
    assert check_content(text, types) == Rejection(
        415, "Unsupported Media Type", (("Accept", "application/sdp"),)
    )
    optional = make(Content_Type="text/plain", Content_Disposition="render; handling=optional")
    optional = optional.copy(body=b"hi")
    assert check_content(optional, types) is None
    packed = make(Content_Type="application/sdp", Content_Encoding="gzip").copy(body=b"v=0")
    assert check_content(packed, types) == Rejection(
        415, "Unsupported Media Type", (("Accept-Encoding", "identity"),)
    )


def test_accept() -> None:
    types = ("application/sdp",)
    assert check_accept(make(), types) is None
    for accepted in ("application/sdp;level=1", "text/plain, application/*", "*/*"):
        assert check_accept(make(Accept=accepted), types) is None
    for refused in ("text/plain", ""):
        assert check_accept(make(Accept=refused), types) == Rejection(406, "Not Acceptable")
    broken = check_accept(make(Accept="a,,b"), types)
    assert broken is not None
    assert broken.status == 400
