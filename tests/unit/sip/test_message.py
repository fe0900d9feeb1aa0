"""Requests and responses: raw and typed access, building, serialising."""

from __future__ import annotations

import pytest

from sip.errors import LocalProtocolError, MalformedHeader
from sip.headers import CSeq
from sip.message import REASONS, HeaderList, Message, Request, Response, response_for
from sip.parser import parse_message
from sip.uri import OpaqueUri

BASE: HeaderList = (
    ("Via", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1"),
    ("Via", "SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK2, SIP/2.0/TCP 192.0.2.3;branch=z9hG4bK3"),
    ("Max-Forwards", "70"),
    ("From", '"A" <sip:a@example.com>;tag=f'),
    ("To", "<sip:b@example.com>"),
    ("Call-ID", "c1"),
    ("CSeq", "7 INVITE"),
    ("Record-Route", "<sip:p1;lr>, <sip:p2;lr>"),
    ("Timestamp", "5"),
    ("X-own", "1"),
)


def invite(*extra: tuple[str, str], body: bytes = b"") -> Request:
    return Request("INVITE", "sip:b@example.com", BASE + extra, body)


def test_raw_access() -> None:
    message = invite(("Supported", "timer, 100rel"), ("Supported", ""), ("Supported", "path"))
    assert message.first("Via") == BASE[0][1]
    assert message.first("Contact") is None
    assert message.has("To")
    assert not message.has("Contact")
    assert message.all("Via") == [BASE[0][1], BASE[1][1]]
    assert message.values("Supported") == ["timer", "100rel", "path"]
    assert message.option_tags("Supported") == {"timer", "100rel", "path"}
    assert message.repeats
    assert not Request("BYE", "sip:a", (("To", "x"),)).repeats


def test_extension_names_are_found_in_any_spelling() -> None:
    message = invite()
    assert message.first("X-Own") == "1"
    assert message.all("x-OWN") == ["1"]
    assert message.first("X-Other") is None
    assert message.all("X-Other") == []


def test_typed_access_is_computed_once() -> None:
    message = invite(
        ("Contact", "<sip:a@192.0.2.1>, <sip:a2@192.0.2.1>"),
        ("Route", "<sip:r1;lr>"),
        ("Path", "<sip:p;lr>"),
        ("Expires", "60"),
        ("Content-Type", "Application/SDP ;charset=x"),
        ("Allow", "INVITE, ack"),
    )
    assert message.via is message.via
    assert message.via.branch == "z9hG4bK1"
    assert [via.host for via in message.vias] == ["192.0.2.1", "192.0.2.2", "192.0.2.3"]
    assert message.cseq == CSeq(7, "INVITE")
    assert message.call_id == "c1"
    assert message.from_.tag == "f"
    assert message.to.tag == ""
    assert message.max_forwards == 70
    assert message.expires == 60
    assert message.content_type == "application/sdp"
    assert [c.uri_text for c in message.contacts] == ["sip:a@192.0.2.1", "sip:a2@192.0.2.1"]
    assert [r.uri_text for r in message.routes] == ["sip:r1;lr"]
    assert [r.uri_text for r in message.record_routes] == ["sip:p1;lr", "sip:p2;lr"]
    assert [r.uri_text for r in message.paths] == ["sip:p;lr"]
    assert message.option_tags("Allow") == {"INVITE", "ack"}
    assert message.sip_request_uri.user == "b"


def test_optional_fields_absent() -> None:
    message = Request("OPTIONS", "tel:5", ())
    assert message.max_forwards is None
    assert message.expires is None
    assert message.content_type == ""
    assert message.contacts == []
    assert message.routes == []
    assert not message.contact_is_star
    assert isinstance(message.request_uri, OpaqueUri)
    with pytest.raises(MalformedHeader) as caught:
        _ = message.sip_request_uri
    assert caught.value.status_hint == 416


@pytest.mark.parametrize("field", ["via", "cseq", "call_id", "from_", "to"])
def test_mandatory_fields_missing(field: str) -> None:
    message = Request("OPTIONS", "sip:a", ())
    for _ in range(2):  # a failure is not remembered as a value
        with pytest.raises(MalformedHeader, match="missing"):
            getattr(message, field)


def test_one_bad_header_does_not_lose_the_others() -> None:
    message = invite(("Contact", '"open <sip:a@b>'), ("Expires", "soon"))
    for field in ("contacts", "expires"):
        with pytest.raises(MalformedHeader):
            getattr(message, field)
    assert message.cseq.number == 7


def test_wildcard_contact() -> None:
    star = Request("REGISTER", "sip:x", (("Contact", "*"),))
    assert star.contact_is_star
    assert star.contacts == []
    both = Request("REGISTER", "sip:x", (("Contact", "*"), ("Contact", "<sip:a@b>")))
    with pytest.raises(MalformedHeader):
        _ = both.contact_is_star


def test_lists_are_bounded_over_all_lines() -> None:
    many = Request("INVITE", "sip:x", (("Route", ", ".join(["<sip:r;lr>"] * 60)),) * 3)
    with pytest.raises(MalformedHeader, match="too many"):
        _ = many.routes
    hops = Request("INVITE", "sip:x", (("Via", ", ".join(["SIP/2.0/UDP h"] * 40)),) * 2)
    with pytest.raises(MalformedHeader, match="too many hops"):
        _ = hops.vias
    assert hops.via.host == "h"


def test_wire_form() -> None:
    message = Request("BYE", "sip:a@b", (("To", "<sip:é@b>"), ("X", "")), b"\xff\x00")
    assert message.to_bytes() == (
        b"BYE sip:a@b SIP/2.0\r\nTo: <sip:\xc3\xa9@b>\r\nX: \r\nContent-Length: 2\r\n\r\n\xff\x00"
    )
    assert message.to_bytes() is message.to_bytes()
    assert Response(200, "OK", ()).to_bytes() == b"SIP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize("value", ["a\r\nX: y", "a\nX: y", "a\rX: y", "x\r\n\r\n", "\r\n folded"])
def test_injection_is_stopped_in_one_place(value: str) -> None:
    """Whoever put the line break there, it does not reach the wire."""
    with pytest.raises(LocalProtocolError):
        invite(("Subject", value)).to_bytes()
    with pytest.raises(LocalProtocolError):
        Response(200, value, ()).to_bytes()


def test_content_length_is_ours_alone() -> None:
    with pytest.raises(LocalProtocolError, match="Content-Length"):
        invite(("Content-Length", "5")).to_bytes()


def test_copies_leave_the_original_alone() -> None:
    message = invite(body=b"x")
    wire = message.to_bytes()
    other = message.copy(method="ACK", uri="sip:c", headers=(("To", "t"),), body=b"")
    assert (other.method, other.uri, other.headers, other.body) == (
        "ACK",
        "sip:c",
        (("To", "t"),),
        b"",
    )
    assert message.copy() == message
    assert message.to_bytes() is wire
    response = Response(200, "OK", BASE, b"y")
    assert response.copy() == response
    changed = response.copy(status=404, reason="No", headers=(), body=b"")
    assert (changed.status, changed.reason, changed.headers, changed.body) == (404, "No", (), b"")


def test_equality_is_that_of_the_wire() -> None:
    assert invite() == parse_message(invite().to_bytes())
    assert hash(invite()) == hash(invite())
    assert invite() != Response(200, "OK", BASE)
    assert invite() != "INVITE"
    assert repr(invite()) == "Request(INVITE sip:b@example.com)"
    assert repr(Response(200, "OK", ())) == "Response(200 OK)"


def test_lazy_fields_document_themselves() -> None:
    assert "topmost" in (Message.via.__doc__ or "")


# --- responses -----------------------------------------------------------------------------------


def names(response: Response) -> list[str]:
    return [name for name, _ in response.headers]


def test_response_copies_what_the_rfc_says() -> None:
    """RFC 3261 §8.2.6.2."""
    response = response_for(invite(), 486, to_tag="t1", headers=[("Retry-After", "5")], body=b"why")
    assert (response.status, response.reason, response.body) == (486, "Busy Here", b"why")
    assert names(response) == ["Via", "Via", "From", "To", "Call-ID", "CSeq", "Retry-After"]
    assert response.to.tag == "t1"
    assert response.all("Via") == invite().all("Via")


def test_dialog_responses_carry_the_route() -> None:
    assert "Record-Route" in names(response_for(invite(), 180, to_tag="t"))
    assert "Record-Route" in names(response_for(invite(), 200, to_tag="t"))
    assert "Record-Route" not in names(response_for(invite(), 404))
    assert "Record-Route" not in names(response_for(invite().copy(method="OPTIONS"), 200))


def test_trying_echoes_the_timestamp_and_has_no_tag() -> None:
    response = response_for(invite(), 100)
    assert response.first("Timestamp") == "5"
    assert response.to.tag == ""
    assert "Timestamp" not in names(response_for(invite(), 180))


def test_existing_tag_stays() -> None:
    request = Request("BYE", "sip:a", (("To", "<sip:b>;tag=mine"), ("Call-ID", "x")))
    assert response_for(request, 200, to_tag="other").to.tag == "mine"


def test_response_to_garbage_can_be_built() -> None:
    request = Request("BYE", "sip:a", (("To", '"open <sip:b>'),))
    assert response_for(request, 400, "Bad To", to_tag="t").first("To") == '"open <sip:b>'
    assert response_for(Request("BYE", "sip:a", ()), 400, to_tag="t").headers == ()
    assert response_for(request, 299).reason == ""


def test_reasons_are_complete_for_what_we_send() -> None:
    for status in (100, 180, 200, 401, 407, 420, 423, 439, 481, 491, 500, 505, 513, 603):
        assert REASONS[status]
