"""RFC 3261 §10.3, RFC 3327 and RFC 5626 §6 as one pure function."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sip.flow import Flow
from sip.message import Request
from sip.registrar import (
    Binding,
    RegisterResult,
    RegistrarConfig,
    evaluate,
    expire,
    has_instance,
    public_gruu,
)
from sip.uri import SipUri, parse_uri

NS = 1_000_000_000
NOW = 1_780_000_000 * NS
UDP = Flow("udp", ("203.0.113.10", 5060), ("198.51.100.7", 41234))
WSS = Flow("wss", ("203.0.113.10", 443), ("198.51.100.7", 41234), 17)
UUID = '+sip.instance="<urn:uuid:00000000-0000-1000-8000-000A95A0E128>"'
PUBLIC = "<sip:401@198.51.100.7:5060>"


def register(
    *contacts: str,
    cseq: int = 1,
    call_id: str = "reg1",
    expires: int | str | None = None,
    extra: tuple[tuple[str, str], ...] = (),
) -> Request:
    headers = [
        ("Via", "SIP/2.0/UDP 192.168.0.5:5060;branch=z9hG4bKa1;rport"),
        ("From", "<sip:401@corp1.un>;tag=f1"),
        ("To", "<sip:401@corp1.un>"),
        ("Call-ID", call_id),
        ("CSeq", f"{cseq} REGISTER"),
        *[("Contact", contact) for contact in contacts],
        *extra,
    ]
    if expires is not None:
        headers.append(("Expires", str(expires)))
    return Request("REGISTER", "sip:corp1.un", tuple(headers))


def apply(
    request: Request,
    bindings: tuple[Binding, ...] = (),
    *,
    now_ns: int = NOW,
    flow: Flow = UDP,
    config: RegistrarConfig | None = None,
) -> RegisterResult:
    return evaluate(request, flow, bindings, now_ns, config or RegistrarConfig())


def bound(*contacts: str, **options: object) -> tuple[Binding, ...]:
    result = apply(register(*contacts, **options))  # type: ignore[arg-type]
    assert result.status == 200
    return result.bindings


def listed(result: RegisterResult) -> list[str]:
    return [value for name, value in result.headers if name == "Contact"]


def header(result: RegisterResult, name: str) -> str | None:
    return next((value for header, value in result.headers if header == name), None)


def unchanged(result: RegisterResult) -> bool:
    return not result.added and not result.refreshed and not result.removed


# --- adding, refreshing, removing ----------------------------------------------------------------


def test_first_registration() -> None:
    result = apply(
        register(
            '"Ivan" <sip:401@198.51.100.7:5060;ob>;q=0.7;expires=600;audio',
            extra=(("User-Agent", "Phone 1"), ("Allow", "INVITE, ACK, BYE")),
        )
    )
    assert (result.status, result.reason) == (200, "OK")
    (binding,) = result.added
    assert result.bindings == (binding,)
    assert not result.refreshed
    assert not result.removed
    assert binding == Binding(
        contact_id=binding.contact_id,
        contact="sip:401@198.51.100.7:5060;ob",
        expires_ns=NOW + 600 * NS,
        sip_call_id="reg1",
        cseq=1,
        q=0.7,
        user_agent="Phone 1",
        transport="udp",
        local="203.0.113.10:5060",
        remote="198.51.100.7:41234",
        contact_params=";audio",
        methods=("ACK", "BYE", "INVITE"),
        since_ns=NOW,
    )
    assert len(binding.contact_id) == 16
    assert binding.flow == UDP
    assert str(binding.uri) == binding.contact
    assert listed(result) == ["<sip:401@198.51.100.7:5060;ob>;audio;q=0.7;expires=600"]
    assert header(result, "Supported") == "path, outbound, gruu"
    assert header(result, "Date") == "Thu, 28 May 2026 20:26:40 GMT"


def test_fetch_changes_nothing() -> None:
    """§10.2.3: no Contact is a query."""
    bindings = bound(PUBLIC)
    result = apply(register(cseq=2), bindings, now_ns=NOW + NS // 2)
    assert result.bindings == bindings
    assert unchanged(result)
    assert listed(result) == [f"{PUBLIC};expires=3600"]  # a half second counts as a whole one


def test_refresh() -> None:
    bindings = bound(PUBLIC)
    later = NOW + 100 * NS
    result = apply(register(PUBLIC, cseq=2), bindings, now_ns=later)
    (binding,) = result.refreshed
    assert not result.added
    assert not result.removed
    assert (binding.cseq, binding.expires_ns) == (2, later + 3600 * NS)
    assert (binding.since_ns, binding.contact_id) == (NOW, bindings[0].contact_id)


def test_refresh_of_an_equivalent_uri_shows_the_new_text() -> None:
    """§19.1.4 finds the binding; what is listed is what the phone wrote last."""
    bindings = bound("<sip:401@h.example>")
    result = apply(register("<sip:%34%30%31@H.example;x=y>", cseq=2), bindings)
    assert [b.contact for b in result.bindings] == ["sip:%34%30%31@H.example;x=y"]
    assert [(r.binding, r.reason) for r in result.removed] == [(bindings[0], "replaced")]
    assert result.added == result.bindings
    assert result.added[0].since_ns == NOW


def test_two_contacts_keep_their_order() -> None:
    bindings = bound("<sip:a@198.51.100.7>, <sip:b@198.51.100.7>;q=0.5", "<sip:c@198.51.100.7>")
    assert [b.uri.user for b in bindings if hasattr(b.uri, "user")] == ["a", "b", "c"]
    result = apply(register("<sip:b@198.51.100.7>;q=0.25", cseq=2), bindings)
    assert [b.q for b in result.bindings] == [1.0, 0.25, 1.0]
    assert listed(result)[1] == "<sip:b@198.51.100.7>;q=0.25;expires=3600"


def test_remove_one() -> None:
    bindings = bound("<sip:a@198.51.100.7>", "<sip:b@198.51.100.7>")
    result = apply(register("<sip:a@198.51.100.7>;expires=0", cseq=2), bindings)
    assert [(r.binding, r.reason) for r in result.removed] == [(bindings[0], "unregistered")]
    assert result.bindings == bindings[1:]
    nothing = apply(register("<sip:x@198.51.100.7>", cseq=3, expires=0), bindings)
    assert (nothing.status, nothing.bindings) == (200, bindings)


def test_wildcard() -> None:
    bindings = bound("<sip:a@198.51.100.7>", "<sip:b@198.51.100.7>")
    result = apply(register("*", cseq=2, expires=0), bindings)
    assert (result.status, result.bindings) == (200, ())
    assert [r.reason for r in result.removed] == ["unregistered"] * 2
    assert listed(result) == []


@pytest.mark.parametrize(
    ("contacts", "expires"),
    [(("*",), None), (("*",), 60), (("*", PUBLIC), 0), (("*",), "x"), ((f"*, {PUBLIC}",), 0)],
)
def test_wildcard_needs_expires_0_and_solitude(
    contacts: tuple[str, ...], expires: int | str | None
) -> None:
    bindings = bound(PUBLIC)
    result = apply(register(*contacts, cseq=2, expires=expires), bindings)
    assert (result.status, result.bindings) == (400, bindings)


def test_same_contact_twice_in_one_request() -> None:
    result = apply(register(f"{PUBLIC};expires=100", f"{PUBLIC};expires=200"))
    (binding,) = result.added
    assert binding.expires_ns == NOW + 200 * NS
    changed = apply(register(f"{PUBLIC};q=0.1", f"{PUBLIC};q=0.2"))
    assert [b.q for b in changed.added] == [0.2]
    assert changed.removed == ()
    gone = apply(register(PUBLIC, f"{PUBLIC};expires=0"))
    assert (gone.added, gone.removed, gone.bindings) == ((), (), ())


def test_refreshed_then_removed_in_one_request() -> None:
    bindings = bound(PUBLIC)
    result = apply(register(PUBLIC, f"{PUBLIC};expires=0", cseq=2), bindings)
    assert result.refreshed == ()
    assert [(r.binding, r.reason) for r in result.removed] == [(bindings[0], "unregistered")]


# --- order ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("cseq", [4, 5])
def test_stale_cseq_fails_as_a_whole(cseq: int) -> None:
    """§10.3 step 7: nothing is changed if one binding refuses."""
    bindings = bound("<sip:a@198.51.100.7>", cseq=5)
    result = apply(register("<sip:new@198.51.100.7>", "<sip:a@198.51.100.7>", cseq=cseq), bindings)
    assert (result.status, result.bindings) == (500, bindings)
    assert unchanged(result)
    wildcard = apply(register("*", cseq=cseq, expires=0), bindings)
    assert (wildcard.status, wildcard.bindings) == (500, bindings)


def test_another_call_id_may_start_over() -> None:
    """A phone that rebooted counts from one again."""
    bindings = bound(PUBLIC, cseq=500)
    result = apply(register(PUBLIC, cseq=1, call_id="reg2"), bindings)
    assert [b.sip_call_id for b in result.refreshed] == ["reg2"]


# --- lifetimes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("contact", "expires", "lifetime_s"),
    [
        (PUBLIC, None, 3600),
        (PUBLIC, 300, 300),
        (f"{PUBLIC};expires=200", 300, 200),
        (f"{PUBLIC};expires=soon", 300, 3600),
        (f"{PUBLIC};expires=99999999999999", None, 86_400),
        (f"{PUBLIC};expires=60", None, 60),
    ],
)
def test_lifetime(contact: str, expires: int | None, lifetime_s: int) -> None:
    """§10.2.1.1: parameter, then header, then default; longer is cut in silence."""
    (binding,) = apply(register(contact, expires=expires)).bindings
    assert binding.expires_ns == NOW + lifetime_s * NS


def test_too_brief_is_423() -> None:
    result = apply(register(f"{PUBLIC};expires=59"))
    assert (result.status, result.reason) == (423, "Interval Too Brief")
    assert result.headers == (("Min-Expires", "60"),)
    hours = RegistrarConfig(min_expires_s=7200)
    assert apply(register(f"{PUBLIC};expires=3600"), config=hours).status == 200
    assert apply(register(f"{PUBLIC};expires=3599"), config=hours).status == 423


def test_expired_bindings_are_gone() -> None:
    bindings = bound("<sip:a@198.51.100.7>;expires=60", "<sip:b@198.51.100.7>")
    result = apply(register(cseq=2), bindings, now_ns=NOW + 60 * NS)
    assert result.bindings == bindings[1:]
    assert [(r.binding, r.reason) for r in result.removed] == [(bindings[0], "expired")]
    assert expire(bindings, NOW) == (bindings, ())


def test_too_many_contacts() -> None:
    config = RegistrarConfig(max_contacts=2)
    three = [f"<sip:{name}@198.51.100.7>" for name in "abc"]
    bindings = apply(register(*three[:2]), config=config).bindings
    refused = apply(register(three[2], cseq=2), bindings, config=config)
    assert (refused.status, refused.reason, refused.bindings) == (
        403,
        "Too many contacts",
        bindings,
    )
    swapped = apply(register(f"{three[0]};expires=0", three[2], cseq=2), bindings, config=config)
    assert (swapped.status, len(swapped.bindings)) == (200, 2)
    # Lowering the bound later does not lock out phones that are registered.
    one = RegistrarConfig(max_contacts=1)
    assert apply(register(three[0], cseq=2), bindings, config=one).status == 200


@pytest.mark.parametrize(
    "contact",
    [
        "<sip:a@>",
        f"{PUBLIC};q=2",
        f"{PUBLIC};q=0.1234",
        '"open <sip:a@b>',
        f"{PUBLIC};reg-id=0;{UUID}",
        f"{PUBLIC};reg-id=x;{UUID}",
        f"{PUBLIC};reg-id=2147483648;{UUID}",
    ],
)
def test_bad_contact(contact: str) -> None:
    result = apply(register(contact, extra=(("Supported", "outbound"),)))
    assert (result.status, result.bindings) == (400, ())


def test_contact_that_cannot_be_called() -> None:
    assert apply(register("<mailto:a@b>")).status == 416


# --- NAT, Path, outbound -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("contact", "source", "nat"),
    [
        ("<sip:401@192.168.0.5:5060>", "198.51.100.7", True),
        ("<sip:401@192.168.0.5:5060>", "10.0.0.9", True),
        ("<sip:401@192.168.0.5:5060>", "192.168.0.5", False),
        ("<sip:401@198.51.100.9>", "198.51.100.7", False),
        ("<sip:401@[fd00::1]>", "2001:db8::7", True),
        ("<sip:401@phone.example>", "198.51.100.7", False),
        ("<sip:401@df7jal23ls0d.invalid;transport=ws>", "198.51.100.7", False),
    ],
)
def test_nat(contact: str, source: str, nat: bool) -> None:
    flow = UDP._replace(remote=(source, 41234))
    (binding,) = apply(register(contact), flow=flow).bindings
    assert binding.nat is nat
    assert binding.flow.remote == (source, 41234)
    assert f"<{binding.contact}>" == contact  # never rewritten: phones compare it


def test_nat_shortens_udp_only() -> None:
    private = "<sip:401@192.168.0.5:5060>"
    (udp,) = apply(register(private)).bindings
    assert udp.expires_ns == NOW + 120 * NS
    tcp = Flow("tcp", ("203.0.113.10", 5060), ("198.51.100.7", 41234), 3)
    (kept,) = apply(register(private), flow=tcp).bindings
    assert (kept.expires_ns, kept.flow_id, kept.flow) == (NOW + 3600 * NS, 3, tcp)
    (uncut,) = apply(register(private), config=RegistrarConfig(nat_expires_s=0)).bindings
    assert uncut.expires_ns == NOW + 3600 * NS


def test_path_is_stored_and_echoed() -> None:
    """RFC 3327 §5.3; the source is the proxy then, not the client."""
    extra = (("Path", "<sip:p1;lr>, <sip:p2;lr>"), ("Path", "<sip:p3;lr>"))
    result = apply(register("<sip:401@192.168.0.5>", extra=extra))
    (binding,) = result.bindings
    assert binding.path == ("<sip:p1;lr>", "<sip:p2;lr>", "<sip:p3;lr>")
    assert not binding.nat
    assert [value for name, value in result.headers if name == "Path"] == list(binding.path)


def test_service_route() -> None:
    config = RegistrarConfig(service_route=("<sip:edge;lr>",), outbound=False)
    result = apply(register(PUBLIC), config=config)
    assert header(result, "Service-Route") == "<sip:edge;lr>"
    assert header(result, "Supported") == "path, gruu"


OUTBOUND = (("Supported", "path, outbound"),)


def test_outbound_replaces_by_instance_and_reg_id() -> None:
    """RFC 5626 §6: a client that moved takes its binding along."""
    first = apply(register(f"<sip:401@10.0.0.1>;reg-id=1;{UUID}", extra=OUTBOUND), flow=WSS)
    assert header(first, "Require") == "outbound"
    assert header(first, "Flow-Timer") == "60"
    (old,) = first.bindings
    assert (old.reg_id, old.instance) == (
        1,
        "<urn:uuid:00000000-0000-1000-8000-000A95A0E128>",
    )
    assert listed(first) == [f"<sip:401@10.0.0.1>;reg-id=1;{UUID};expires=3600"]
    moved = apply(
        register(f"<sip:401@10.9.9.9>;reg-id=1;{UUID}", call_id="new", extra=OUTBOUND),
        first.bindings,
        flow=WSS._replace(id=18),
    )
    (new,) = moved.bindings
    assert new.contact_id == old.contact_id
    assert [(r.binding, r.reason) for r in moved.removed] == [(old, "replaced")]
    assert new.flow_id == 18
    second_flow = apply(
        register(f"<sip:401@10.9.9.9>;reg-id=2;{UUID}", call_id="n2", extra=OUTBOUND),
        moved.bindings,
    )
    assert [b.reg_id for b in second_flow.bindings] == [1, 2]
    assert len({b.contact_id for b in second_flow.bindings}) == 2


def test_same_flow_refreshed() -> None:
    contact = f"<sip:401@10.0.0.1>;reg-id=1;{UUID}"
    first = apply(register(contact, extra=OUTBOUND), flow=WSS)
    again = apply(
        register(contact, cseq=2, extra=OUTBOUND), first.bindings, flow=WSS._replace(id=99)
    )
    assert [b.flow_id for b in again.refreshed] == [99]


def test_outbound_takes_over_a_plain_binding() -> None:
    plain = bound(PUBLIC)
    result = apply(register(f"{PUBLIC};reg-id=1;{UUID}", cseq=2, extra=OUTBOUND), plain)
    assert [b.reg_id for b in result.bindings] == [1]
    assert [r.reason for r in result.removed] == ["replaced"]


@pytest.mark.parametrize(
    ("contact", "extra"),
    [
        (f"{PUBLIC};reg-id=1;{UUID}", ()),
        (f"{PUBLIC};reg-id=1", OUTBOUND),
        (f"{PUBLIC};{UUID}", OUTBOUND),
    ],
)
def test_outbound_needs_everything(contact: str, extra: tuple[tuple[str, str], ...]) -> None:
    """Without the option tag, the instance or the reg-id it is an ordinary registration."""
    result = apply(register(contact, extra=extra))
    assert result.bindings[0].reg_id == 0
    assert header(result, "Require") is None
    assert header(result, "Flow-Timer") is None


def test_outbound_switched_off() -> None:
    config = RegistrarConfig(outbound=False)
    result = apply(register(f"{PUBLIC};reg-id=1;{UUID}", extra=OUTBOUND), config=config)
    assert result.bindings[0].reg_id == 0
    silent = RegistrarConfig(flow_timer_s=0)
    result = apply(register(f"{PUBLIC};reg-id=1;{UUID}", extra=OUTBOUND), config=silent)
    assert header(result, "Require") == "outbound"
    assert header(result, "Flow-Timer") is None


def test_outbound_allows_one_contact() -> None:
    contacts = (f"{PUBLIC};reg-id=1;{UUID}", "<sip:b@198.51.100.7>")
    assert apply(register(*contacts, extra=OUTBOUND)).status == 400
    removal = (f"{PUBLIC};reg-id=1;{UUID}", "<sip:b@198.51.100.7>;expires=0")
    assert apply(register(*removal, extra=OUTBOUND)).status == 200


@pytest.mark.parametrize(
    ("path", "status"),
    [(None, 439), ("<sip:edge;lr>", 439), ("<sip:p;lr>, <sip:edge;lr;ob>", 200)],
)
def test_first_hop_must_support_outbound(path: str | None, status: int) -> None:
    """RFC 5626 §6: behind a proxy that did not promise to keep the flow."""
    extra = (*OUTBOUND, ("Via", "SIP/2.0/TCP 10.0.0.1;branch=z9hG4bKz"))
    paths = () if path is None else (("Path", path),)
    request = register(f"{PUBLIC};reg-id=1;{UUID}", extra=(*extra, *paths))
    assert apply(request).status == status


# --- values --------------------------------------------------------------------------------------


def test_methods_parameter_wins_over_allow() -> None:
    contact = f'{PUBLIC};methods="INVITE, MESSAGE"'
    (binding,) = bound(contact, extra=(("Allow", "BYE"),))
    assert binding.methods == ("INVITE", "MESSAGE")


def test_uri_headers_are_kept() -> None:
    """RFC 4475 §3.3.14."""
    text = "sip:user@example.com?Route=%3Csip:sip.example.com%3E"
    (binding,) = bound(f"<{text}>")
    assert binding.contact == text


def test_what_is_stored_is_readable() -> None:
    """Bytes that are no UTF-8 must not stop the log."""
    (binding,) = bound(
        f'{PUBLIC};x="\udcfc"', extra=(("User-Agent", "T\udce9l"), ("Path", "<sip:p>;x=\udcff"))
    )
    assert (binding.user_agent, binding.contact_params) == ("Tél", ';x="ü"')
    assert binding.path == ("<sip:p>;x=ÿ",)


def test_long_user_agent_is_cut() -> None:
    (binding,) = bound(PUBLIC, extra=(("User-Agent", "x" * 5000),))
    assert len(binding.user_agent) == 200


def test_ipv6_flow_round_trip() -> None:
    flow = Flow("tls", ("2001:db8::1", 5061), ("2001:db8::2", 50000), 4)
    (binding,) = apply(register(PUBLIC), flow=flow).bindings
    assert binding.remote == "[2001:db8::2]:50000"
    assert binding.flow == flow
    assert replace(binding, remote="", local="", flow_id=0).flow.remote == ("", 0)


def test_contact_id_is_deterministic() -> None:
    assert bound(PUBLIC)[0].contact_id == bound(PUBLIC)[0].contact_id
    assert bound(PUBLIC)[0].contact_id != bound("<sip:402@198.51.100.7>")[0].contact_id


# --- GRUU, RFC 5627 ------------------------------------------------------------------------------

GRUU = (("Supported", "path, gruu"),)


def test_public_gruu_for_who_supports_it() -> None:
    """One for each binding with an instance; the client's own idea of it is not kept."""
    contact = f'{PUBLIC};{UUID};pub-gruu="sip:boss@corp1.un;gr=x";temp-gruu="sip:t@corp1.un;gr"'
    result = apply(register(contact, extra=GRUU), bound("<sip:401@198.51.100.9>", call_id="other"))
    plain, made = listed(result)
    assert "gruu" not in plain
    gruu = "sip:401@corp1.un;gr=urn:uuid:00000000-0000-1000-8000-000A95A0E128"
    assert made.endswith(f';pub-gruu="{gruu}"')
    assert made.count("gruu=") == 1
    assert "gruu" in (header(result, "Supported") or "")
    assert "gruu" not in listed(apply(register(f"{PUBLIC};{UUID}")))[0]


def test_gruu_names_its_instance_and_no_other() -> None:
    odd = '+sip.instance="<urn:x-y:a;b=c d>"'
    (binding,) = bound(f"{PUBLIC};{odd}")
    uri = parse_uri(public_gruu(parse_uri("sip:401@corp1.un"), binding.instance))  # type: ignore[arg-type]
    assert isinstance(uri, SipUri)
    gr = uri.params["gr"] or ""
    assert gr == "urn:x-y:a%3Bb%3Dc%20d"
    assert has_instance(binding, gr)
    assert has_instance(binding, gr.upper().replace("%3B", "%3b"))
    assert not has_instance(binding, "urn:x-y:a")
    assert not has_instance(bound(PUBLIC)[0], "")
