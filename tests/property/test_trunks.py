"""Records and settings of trunks: whatever is in them, they give a value or a reason."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pbx.data import Value
from pbx.router.e164 import numbering_plan
from pbx.trunks import gateways
from pbx.trunks.arrivals import arrival
from pbx.trunks.records import MAX_PERIOD_S, MIN_PERIOD_S, RecordKey, read_record
from sip.errors import SipError
from sip.headers import parse_name_addr
from sip.message import Request
from sip.uri import SipUri, parse_uri

KEY = RecordKey("pbx@corp1.un", "voip1")
TEXT = st.text(st.characters(codec="utf-8"), max_size=30) | st.sampled_from(
    [
        "voip1.un",
        "x@y\r\nz: 1",
        "*",
        "$",
        "10.0.0.1:5070",
        "x;transport=tcp",
        "[::1]",
        "<sip:a>",
        "a@b",
        "%",
        "5m",
        "{a=b;}",
    ]
)
VALUES: st.SearchStrategy[Value] = st.recursive(
    TEXT | st.integers(-(10**12), 10**12),
    lambda inner: st.dictionaries(TEXT, inner, max_size=3) | st.lists(inner, max_size=3),
    max_leaves=5,
)
RECORDS = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(
        ("domain", "fromName", "authName", "password", "period", "targetName", "via"), VALUES
    ),
)
SETTINGS = st.fixed_dictionaries(
    {"PSTNGatewayDomain": VALUES},
    optional=dict.fromkeys(
        (
            "PSTNGatewayVia", "PSTNGatewayAuthName", "PSTNGatewayPassword", "PSTNFromName",
            "PSTNNumberFormat",
        ),
        VALUES,
    ),
)  # fmt: skip


@given(RECORDS)
def test_a_record_can_be_sent_or_is_refused(values: dict[str, Value]) -> None:
    try:
        record = read_record(KEY, values)
    except ValueError:
        return
    for text in (record.registrar, record.address):
        assert isinstance(parse_uri(text), SipUri)
        assert text.isprintable()
    for route in record.route:
        parse_name_addr(route)
    assert MIN_PERIOD_S <= record.period_s <= MAX_PERIOD_S
    assert "@" in record.target


@given(SETTINGS, TEXT, st.text("0123456789+*#abc", min_size=1, max_size=20))
def test_a_gateway_can_be_called_or_is_none(
    settings: dict[str, Value], name: str, number: str
) -> None:
    caller = gateways.Caller("ann@corp1.un", 'An "n"\r\n', "+74951234567")
    assert all(found.domain for found in gateways.all_gateways(settings, "corp1.un"))
    found = gateways.gateway(settings, name, "corp1.un")
    if found is None:
        return
    contact, note = gateways.contact(number, found, caller, numbering_plan("7(495)"))
    assert note
    if contact is not None:
        assert isinstance(parse_uri(contact.uri), SipUri)
        assert contact.shown is not None
        assert "\r" not in contact.shown.from_
        assert "\n" not in contact.shown.from_


@given(TEXT, TEXT)
def test_any_caller_of_a_provider_arrives(user: str, display: str) -> None:
    """What the From field holds decides nothing and breaks nothing."""
    record = read_record(KEY, {"domain": "voip1.un", "targetName": "ann"})
    headers = (("From", f'"{display}" <sip:{user}@voip1.un>;tag=1'), ("To", "<sip:x@voip1.un>"))
    try:
        request = Request("INVITE", "sip:token@192.0.2.1", headers)
        request.from_.uri  # noqa: B018 - the engine has looked at it before
        found = arrival(request, record, numbering_plan("7(495)"), "198.51.100.1")
    except SipError:
        return
    assert found.request.uri == "sip:ann@corp1.un"
    assert found.request.from_.tag == "1"
    assert found.account == KEY.account
