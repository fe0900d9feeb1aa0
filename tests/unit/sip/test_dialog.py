"""Dialogs: route sets, target refresh, the way of requests, order and source (RFC 3261 §12)."""

from __future__ import annotations

from random import Random

import pytest

from sip.core import Core, EngineConfig
from sip.dialog.addresses import private_host, uri_of
from sip.dialog.dialog import Dialog
from sip.errors import MalformedHeader
from sip.flow import Flow, Target
from sip.message import Request, Response
from sip.parser import StreamFramer
from sip.request import ClientRequest, RequestHandler
from sip.transaction.server import ServerTransaction

US = ("192.0.2.1", 5060)
PHONE = Flow("udp", US, ("198.51.100.7", 5060))


class Owner:
    """Only stands for somebody."""

    def on_request(
        self, dialog: Dialog, transaction: ServerTransaction, request: Request, now: float
    ) -> None: ...
    def on_ack(self, dialog: Dialog, request: Request, now: float) -> None: ...
    def on_response(self, client: ClientRequest, response: Response, now: float) -> None: ...
    def on_failure(self, client: ClientRequest, cause: str, now: float) -> None: ...


OWNER = Owner()
HANDLER: RequestHandler = OWNER


def core(**config: object) -> Core:
    made = Core(EngineConfig(**config), Random(1))  # type: ignore[arg-type]
    made.add_listener("udp", US)
    made.add_listener("tcp", US)
    return made


def invite(contact: str = "<sip:alice@198.51.100.7>", *routes: str) -> Request:
    headers = [
        ("Via", "SIP/2.0/UDP 203.0.113.5;branch=z9hG4bKx"),
        ("From", '"Alice" <sip:alice@example.com>;tag=a1'),
        ("To", "<sip:bob@example.com>"),
        ("Call-ID", "c1"),
        ("CSeq", "314 INVITE"),
        *[("Contact", contact) for _ in range(1 if contact else 0)],
        *[("Record-Route", route) for route in routes],
    ]
    return Request("INVITE", "sip:bob@192.0.2.1", tuple(headers))


def uas(
    contact: str = "<sip:alice@198.51.100.7>",
    *routes: str,
    flow: Flow = PHONE,
    core_: Core | None = None,
) -> Dialog:
    return Dialog.of_request(
        core_ or core(), OWNER, invite(contact, *routes), flow, "b1", "Contact: <sip:bob@"
    )


def uac(contact: str, *routes: str, flow: Flow = PHONE, core_: Core | None = None) -> Dialog:
    made = core_ or core()
    client = ClientRequest(
        made,
        HANDLER,
        "INVITE",
        "sip:bob@192.0.2.99",
        from_line="From: <sip:alice@example.com>;tag=a1\r\n",
        to_line="To: <sip:bob@example.com>\r\n",
        call_id_line="Call-ID: c1\r\n",
        cseq=1,
    )
    client.flow = flow
    headers = [
        ("To", "<sip:bob@example.com>;tag=b1"),
        ("Call-ID", "c1"),
        ("CSeq", "1 INVITE"),
        *[("Contact", contact) for _ in range(1 if contact else 0)],
        *[("Record-Route", route) for route in routes],
    ]
    response = Response(200, "OK", tuple(headers))
    return Dialog.of_response(made, OWNER, client, response, "a1", "Contact: <sip:alice@")


def request_text(dialog: Dialog) -> tuple[str, str]:
    client = dialog.new_request(HANDLER, "BYE", "")
    return client.uri, client.route_lines


def test_identity_of_the_answering_side() -> None:
    """§12.1.1: From and To change places, tags go with them; our numbering is our own."""
    dialog = uas()
    assert dialog.key == ("c1", "b1", "a1")
    assert dialog.from_line == "From: <sip:bob@example.com>;tag=b1\r\n"
    assert dialog.to_line == 'To: "Alice" <sip:alice@example.com>;tag=a1\r\n'
    assert (dialog.local_uri, dialog.remote_uri) == ("sip:bob@example.com", "sip:alice@example.com")
    assert dialog.remote_cseq == 314
    assert [dialog.next_cseq(), dialog.next_cseq()] == [1, 2]


def test_route_set_keeps_its_order_at_the_uas() -> None:
    """§12.1.1: as received; the Request-URI stays the remote target with loose routers."""
    dialog = uas("<sip:alice@10.0.0.1>", "<sip:p1.example;lr>", "<sip:p2.example;lr>")
    assert request_text(dialog) == (
        "sip:alice@10.0.0.1",
        "Route: <sip:p1.example;lr>\r\nRoute: <sip:p2.example;lr>\r\n",
    )


def test_route_set_is_reversed_at_the_uac() -> None:
    """§12.1.2, also when the proxies share a line."""
    dialog = uac("<sip:bob@10.0.0.2>", "<sip:p1.example;lr>, <sip:p2.example;lr>")
    assert request_text(dialog)[1] == "Route: <sip:p2.example;lr>\r\nRoute: <sip:p1.example;lr>\r\n"


def test_strict_router() -> None:
    """§12.2.1.1: the first router becomes the Request-URI, the remote target the last Route."""
    dialog = uas("<sip:alice@198.51.100.7>", "<sip:old.example?x=1>", "<sip:p2.example;lr>")
    assert request_text(dialog) == (
        "sip:old.example",
        "Route: <sip:p2.example;lr>\r\nRoute: <sip:alice@198.51.100.7>\r\n",
    )


def test_target_refresh_leaves_the_route_set() -> None:
    """§12.2: only the remote target changes."""
    dialog = uas("<sip:alice@198.51.100.7>", "<sip:p1.example;lr>")
    dialog.refresh_target(invite("<sip:alice@198.51.100.8:5070>", "<sip:evil.example;lr>"))
    assert request_text(dialog) == (
        "sip:alice@198.51.100.8:5070",
        "Route: <sip:p1.example;lr>\r\n",
    )
    dialog.refresh_target(invite(""))
    assert dialog.remote_target == "sip:alice@198.51.100.8:5070"


@pytest.mark.parametrize(
    ("contact", "target"),
    [
        ("sip:alice@h.example", "sip:alice@h.example"),
        ('"A <b>" <sip:alice@h.example;x=1>;expires=5', "sip:alice@h.example;x=1"),
        ("<sip:a b@h.example>", "sip:bob@192.0.2.99"),
        ("<sip:open@h.example", "sip:bob@192.0.2.99"),
        ('"open <sip:a@h.example>', "sip:bob@192.0.2.99"),
        ("", "sip:bob@192.0.2.99"),
    ],
)
def test_contact_forms(contact: str, target: str) -> None:
    """A 2xx whose Contact is missing or unreadable is still acknowledged: at the old target."""
    assert uac(contact).remote_target == target


def test_unreadable_record_route() -> None:
    """A request is refused; a 2xx is owed its ACK all the same."""
    with pytest.raises(MalformedHeader):
        uas("<sip:alice@198.51.100.7>", "<sip:open")
    assert uac("<sip:bob@10.0.0.2>", "<sip:open").route_set == []


def test_cseq_must_grow() -> None:
    """§12.2.2: lower or equal is out of order, gaps are fine."""
    dialog = uas()
    assert not dialog.accept_cseq(314)
    assert not dialog.accept_cseq(2)
    assert dialog.accept_cseq(320)
    assert dialog.remote_cseq == 320
    assert uac("<sip:bob@10.0.0.2>").accept_cseq(1)


@pytest.mark.parametrize(
    ("contact", "flow", "hop"),
    [
        # The Contact is where the request came from: same socket, the port it names.
        (
            "<sip:alice@198.51.100.7:5064>",
            PHONE,
            Flow("udp", US, ("198.51.100.7", 5064)),
        ),
        # Far-end NAT: the source wins over a private Contact (RFC 3581's spirit).
        ("<sip:alice@10.1.2.3:5060>", PHONE, PHONE),
        ("<sip:alice@abc.invalid>", PHONE, PHONE),
        # Somebody else who can be reached.
        ("<sip:carol@203.0.113.9>", PHONE, Flow("udp", US, ("203.0.113.9", 5060))),
        ("<sip:carol@203.0.113.9;transport=tcp>", PHONE, Target("tcp", "203.0.113.9", 5060)),
        # A name has to be resolved.
        ("<sip:carol@phones.example>", PHONE, None),
        # Nothing to go by.
        ("<tel:+1234>", PHONE, PHONE),
        ("<sip:carol@[bad>", PHONE, PHONE),
    ],
)
def test_way_over_udp(contact: str, flow: Flow, hop: object) -> None:
    assert uas(contact, flow=flow).hop() == hop


def test_way_through_a_proxy() -> None:
    """The first Route decides, not the remote target."""
    dialog = uas("<sip:alice@10.1.2.3>", "<sip:203.0.113.5;lr>")
    assert dialog.hop() == Flow("udp", US, ("203.0.113.5", 5060))


def test_way_over_a_stream() -> None:
    """RFC 5626 §4.3: the peer's own connection while it lives, else what its Contact says."""
    made = core()
    flow = Flow("tcp", US, ("198.51.100.7", 40000), 4)
    made.open_flow(flow, StreamFramer())
    dialog = uas("<sip:alice@203.0.113.9:5062;transport=tcp>", flow=flow, core_=made)
    assert dialog.hop() == flow
    made.close_flow(flow)
    assert dialog.hop() == Target("tcp", "203.0.113.9", 5062)
    again = Flow("tcp", US, ("198.51.100.7", 40001), 5)
    made.open_flow(again, StreamFramer())
    dialog.heard_from(again)
    assert dialog.hop() == again


def test_way_of_a_binding() -> None:
    """The flow the call was sent to also serves the dialog, and follows the phone."""
    dialog = uac("<sip:bob@203.0.113.9>")
    dialog.pinned = PHONE
    assert dialog.hop() == PHONE
    moved = PHONE._replace(remote=("198.51.100.7", 6000))
    dialog.heard_from(moved)
    assert dialog.hop() == moved


def test_sources_a_dialog_has_seen() -> None:
    """strict_source: flow, Contact, Via and Record-Route hosts; others are strangers."""
    made = core(strict_source=True)
    dialog = uas("<sip:alice@198.51.100.8>", "<sip:203.0.113.7;lr>", core_=made)
    for host in ("198.51.100.7", "198.51.100.8", "203.0.113.5", "203.0.113.7"):
        assert dialog.accepts_source(PHONE._replace(remote=(host, 1)))
    assert not dialog.accepts_source(PHONE._replace(remote=("192.0.2.66", 1)))
    dialog.refresh_target(invite("<sip:alice@192.0.2.66>"))
    assert dialog.accepts_source(PHONE._replace(remote=("192.0.2.66", 1)))
    caller = uac("<sip:bob@198.51.100.8>", core_=made)
    assert caller.sources == {"198.51.100.7", "198.51.100.8"}
    odd = uac("<tel:+1>, <sip:open", core_=made)
    assert odd.sources == {"198.51.100.7"}
    assert uas().accepts_source(PHONE._replace(remote=("192.0.2.66", 1)))


def test_table() -> None:
    made = core()
    dialog = uas(core_=made)
    dialog.unregister()
    assert made.dialogs == {}
    dialog.register()
    assert made.dialogs == {("c1", "b1", "a1"): dialog}
    dialog.unregister()
    dialog.unregister()
    assert made.dialogs == {}


@pytest.mark.parametrize(
    ("host", "private"),
    [
        ("10.0.0.1", True),
        ("172.16.0.1", True),
        ("172.32.0.1", False),
        ("192.168.1.1", True),
        ("100.64.0.1", True),
        ("100.128.0.1", False),
        ("169.254.1.1", True),
        ("127.0.0.1", True),
        ("8.8.8.8", False),
        ("10.example.com", False),
        ("172.example.com", False),
        ("fd00::1", True),
        ("fe80::1", True),
        ("::1", True),
        ("2001:db8::1", False),
        ("df7jal23ls0d.invalid", True),
        ("example.com", False),
    ],
)
def test_private_hosts(host: str, private: bool) -> None:
    assert private_host(host) is private


def test_uri_of_values() -> None:
    assert uri_of('"B" <sip:b@x;y=1>;tag=1') == "sip:b@x;y=1"
    assert uri_of("sip:b@x;tag=1") == "sip:b@x"
    assert uri_of("<sip:open") == "<sip:open"
