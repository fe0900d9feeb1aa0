"""Calls through gateways: which one, with which credentials, as whom."""

from __future__ import annotations

from typing import Any

import pytest

from pbx.domain.accounts import AccountTelnumsSet
from pbx.domain.calls import CallDecided, CallRouted
from pbx.domain.server import RouterTableSet
from pbx.domain.setting_events import (
    AccountSettingsChanged,
    DomainSettingsChanged,
    ServerSettingsChanged,
)
from pbx.kernel.events import Event
from sip import digest
from tests.unit.pbx.calls.lab import Lab
from tests.unit.pbx.calls.phone import DOMAIN

#: The source's table for two gateways, a neighbour office and a provider.
TABLE = """
Signal:<7(10d)@*>=gatewaycaller{+7*,gwru}#pbx
Signal:<1(10d)@*>=gatewaycaller{+1*,gwus}#pbx
<000(3d)@*>          = *@telnum
<8(10d)@*>           = 8*@telnum
Signal:telnum        = pstn                    ; unknown telnum -> PSTN
Signal:<*@pstn>      = gatewaycaller{*}#pbx    ; start 'gatewaycaller' app
<9(10d)@*>           = +7*@10.1.1.1            ; straight to the gateway
<112@*>              = gatewaycaller{112}#pbx
"""
TWO = {
    "PSTNGatewayDomain": {"gwru": "10.1.1.1", "gwus": "sipprov.net"},
    "PSTNGatewayAuthName": {"gwru": "ru-*domain*", "gwus": "us"},
    "PSTNFromName": {"gwru": "$", "gwus": "*"},
}
CHALLENGE = 'Proxy-Authenticate: Digest realm="voip1.un", nonce="n1", qop="auth"'


def lab_with(table: str = TABLE, phones: str = "alice pbx") -> Lab:
    lab = Lab(phones)
    lab.node.configured("server", RouterTableSet(text=table))
    lab.add("gw", bind=False, host="10.1.1.1")
    for host in ("10.1.1.1", "sipprov.net", "voip1.un", "server.corp.un"):
        lab.outside[host] = "gw"
    return lab


def settings(lab: Lab, values: dict[str, Any], stream: str = "account/alice", **more: Any) -> None:
    kinds: dict[str, type[Any]] = {
        "account": AccountSettingsChanged,
        "domain": DomainSettingsChanged,
        "server": ServerSettingsChanged,
    }
    kind = stream.partition("/")[0]
    section = "settings" if kind == "account" else "account-defaults"
    stream += f"@{DOMAIN}" if kind == "account" else ""
    change: Event = kinds[kind](section=section, values=values, **more)
    lab.node.configured(stream, change)


PASSWORD = {"secrets": '{"PSTNGatewayPassword":{"gwru":"ruPassword","gwus":"usPassword"}}'}


def test_the_gateways_of_the_source() -> None:
    """7(123)456-78-90 goes to gwru as +71234567890, with its user and password."""
    lab = lab_with()
    settings(lab, TWO, **PASSWORD)
    lab.play("""
        alice > INVITE sip:7(123)456-78-90@example.org a1
        gw < INVITE a1 | Request-URI: sip:+71234567890@10.1.1.1
        | From: <sip:alice@10.1.1.1>;tag= | To: <sip:+71234567890@10.1.1.1>
        gw > 407 | Proxy-Authenticate: Digest realm="gw", nonce="n1", qop="auth"
        gw < ACK
        gw < INVITE a1 | CSeq: 2 INVITE | Proxy-Authorization: Digest username="ru-example.org"
    """)
    request = lab.dialogs["gw"].received[-1]
    found = digest.credentials_for(request, "gw", "Proxy-Authorization")
    assert found is not None
    secret = digest.ha1("MD5", "ru-example.org", "gw", "ruPassword")
    assert digest.verify(found, "INVITE", secret)
    lab.play("""
        gw > 183 g1
        alice < 183 g1
        gw > 200 g1
        gw < ACK | Proxy-Authorization: Digest
        alice < 200 g1
        alice > ACK
        alice > reINVITE a2
        gw < reINVITE a2
        gw > 407 | Proxy-Authenticate: Digest realm="gw", nonce="n2", qop="auth"
        gw < ACK
        gw < reINVITE a2 | Proxy-Authorization: Digest username="ru-example.org"
        gw > 200 g2
        gw < ACK
        alice < 200 g2
        alice > ACK
        alice > BYE
        alice < 200
        gw < BYE
        gw > 407 | Proxy-Authenticate: Digest realm="gw", nonce="n3", qop="auth"
        gw < BYE | Proxy-Authorization: Digest username="ru-example.org"
        gw > 200
    """)
    lab.end()
    [routed] = lab.log.of(CallRouted)
    assert routed.outcome == "application", "what the Router said, whoever does the work"
    assert routed.contacts == 1
    assert routed.steps[-1] == (
        "gateway: gatewaycaller{+71234567890,gwru}#pbx@example.org (gateway gwru (10.1.1.1) of "
        "alice@example.org, as ru-example.org, caller alice@10.1.1.1)"
    )


def test_a_party_behind_the_gateway_gets_no_digest() -> None:
    """It challenges our BYE as a server, in the realm of the gateway, which is a proxy."""
    lab = lab_with()
    settings(lab, TWO, **PASSWORD)
    lab.play(f"""
        alice > INVITE sip:71234567890@example.org a1
        gw < INVITE a1
        gw > 407 | {CHALLENGE}
        gw < ACK
        gw < INVITE a1
        gw > 200 g1
        gw < ACK
        alice < 200 g1
        alice > ACK
        alice > BYE
        alice < 200
        gw < BYE
        gw > 401 | WWW-Authenticate: Digest realm="voip1.un", nonce="evil", qop="auth"
    """)
    lab.end()


def test_a_wrong_password_ends_the_call_at_once() -> None:
    lab = lab_with()
    settings(lab, TWO, **PASSWORD)
    lab.play(f"""
        alice > INVITE sip:71234567890@example.org a1
        gw < INVITE a1
        gw > 407 | {CHALLENGE}
        gw < ACK
        gw < INVITE a1
        gw > 407 | Proxy-Authenticate: Digest realm="voip1.un", nonce="n2", qop="auth"
        gw < ACK
        alice < 500
    """)
    lab.end()
    [decided] = lab.log.of(CallDecided)
    assert decided.outcome == "sip:+71234567890@10.1.1.1: 407"
    assert decided.reason == "it does not accept the user name or the password we have for it"


def test_the_second_gateway_is_told_the_telephone_number() -> None:
    lab = lab_with()
    settings(lab, {**TWO, "PSTNAreaCode": "7(495)", "PSTNNumberFormat": {"gwus": "digits"}})
    lab.directory.apply(
        f"account/alice@{DOMAIN}", AccountTelnumsSet(telnums=("8 (495) 123-45-67",))
    )
    lab.play("""
        alice > INVITE sip:12025550123@example.org a1
        gw < INVITE a1 | Request-URI: sip:+12025550123@sipprov.net
        | From: <sip:74951234567@sipprov.net>
        gw > 486
        gw < ACK
        alice < 486
    """)
    lab.end()


@pytest.mark.parametrize("stream", ["account/alice", f"domain/{DOMAIN}", "server"])
def test_the_neighbour_office_of_the_source(stream: str) -> None:
    """000402 calls 402 there, as the literal caller ID; settings of any level."""
    lab = lab_with()
    values = {"PSTNGatewayDomain": "server.corp.un", "PSTNFromName": "00X401"}
    settings(lab, values, stream)
    lab.play("""
        alice > INVITE sip:000402@example.org a1
        gw < INVITE a1 | Request-URI: sip:402@server.corp.un | From: <sip:00X401@server.corp.un>
        gw > 404
        gw < ACK
        alice < 404
    """)
    lab.end()


def test_the_provider_of_the_source_by_way_of_a_next_hop() -> None:
    lab = lab_with()
    settings(
        lab,
        {
            "PSTNGatewayDomain": "voip1.un",
            "PSTNGatewayVia": "10.1.1.1:5080",
            "PSTNGatewayAuthName": "00000X",
        },
        secrets='{"PSTNGatewayPassword":"spasswordX"}',
    )
    lab.play(f"""
        alice > INVITE sip:89161234567@example.org a1
        gw < INVITE a1 | Request-URI: sip:89161234567@voip1.un | Route: <sip:10.1.1.1:5080;lr>
        gw > 407 | {CHALLENGE}
        gw < ACK
        gw < INVITE a1 | Proxy-Authorization: Digest username="00000X", realm="voip1.un"
        gw > 200 g1
        gw < ACK
        alice < 200 g1
        alice > ACK
        gw > BYE
        gw < 200
        alice < BYE
        alice > 200
    """)
    lab.end()


def test_an_address_at_the_gateway_is_called_with_its_credentials() -> None:
    """A Router record that leads straight there; another host gets nothing."""
    lab = lab_with()
    settings(lab, TWO, **PASSWORD)
    lab.play(f"""
        alice > INVITE sip:91234567890@example.org a1
        gw < INVITE a1 | Request-URI: sip:+71234567890@10.1.1.1 | From: <sip:alice@10.1.1.1>
        gw > 407 | {CHALLENGE}
        gw < ACK
        gw < INVITE a1 | Proxy-Authorization: Digest username="ru-example.org"
        gw > 486
        gw < ACK
        alice < 486
        alice.2 > INVITE sip:x@voip1.un a1
        gw.2 < INVITE a1 | From: <sip:alice@example.org>
        gw.2 > 407 | {CHALLENGE}
        gw.2 < ACK
        alice.2 < 500
    """)
    lab.end()


def test_whoever_has_no_gateway_is_refused_and_told_why() -> None:
    lab = lab_with()
    lab.play("""
        alice > INVITE sip:71234567890@example.org a1
        alice < 403
    """)
    [routed] = lab.log.of(CallRouted)
    assert routed.reason == ("no gateway gwru configured for alice@example.org (PSTNGatewayDomain)")
    lab.end()


def test_strangers_do_not_call_through_gateways() -> None:
    """Not even with the credentials of the account that the application belongs to."""
    lab = Lab("alice pbx", outside_calls=True)
    lab.node.configured("server", RouterTableSet(text=TABLE))
    settings(lab, TWO, "account/pbx", **PASSWORD)
    lab.add("eve", "", bind=False)
    lab.play("""
        eve > INVITE sip:71234567890@example.org a1
        eve < 403
    """)
    lab.end()


def test_calls_for_help_go_by_the_account_of_the_application_if_need_be() -> None:
    """No gateway of her own, no limit that counts, no program that has to run."""
    lab = lab_with()
    lab.limit("alice", 0)
    settings(lab, {"PSTNGatewayDomain": "10.1.1.1"}, "account/pbx")
    lab.node.router.programs = lambda: True
    lab.play("""
        alice > INVITE sip:112@example.org a1
        gw < INVITE a1 | Request-URI: sip:112@10.1.1.1 | From: <sip:pbx@10.1.1.1>
        gw > 200 g1
        gw < ACK
        alice < 200 g1
        alice > ACK
        alice > BYE
        alice < 200
        gw < BYE
        gw > 200
    """)
    lab.end()


def test_a_strangers_call_for_help_goes_through_no_gateway() -> None:
    """Who may call accounts of ours without a name could set the police on us."""
    lab = Lab("alice pbx", outside_calls=True)
    lab.node.configured("server", RouterTableSet(text=TABLE))
    settings(lab, {"PSTNGatewayDomain": "10.1.1.1"}, "account/pbx")
    lab.add("eve", "", bind=False)
    lab.play("""
        eve > INVITE sip:112@example.org a1
        eve < 403
    """)
    lab.end()


def test_an_account_that_forwards_to_a_number_pays_for_it() -> None:
    """Telephony reference §5.6: its gateway, its name; the way is told."""
    lab = lab_with(phones="alice bob pbx")
    settings(lab, {"PSTNGatewayDomain": "10.1.1.1", "PSTNFromName": "555"}, "account/bob")
    rule = ("100005", "away", (), (("Redirect To", "000402"),))
    lab.rules("bob", rule)
    lab.play("""
        alice > INVITE bob a1
        gw < INVITE a1 | Request-URI: sip:402@10.1.1.1 | From: <sip:555@10.1.1.1>
        | Diversion: <sip:bob@example.org>;reason=unconditional
        gw > 486
        gw < ACK
        alice < 486
    """)
    lab.end()


def test_anonymous_callers_stay_anonymous() -> None:
    lab = lab_with()
    settings(lab, TWO, **PASSWORD)
    lab.play("""
        alice > INVITE sip:71234567890@example.org a1 | Privacy: id
        gw < INVITE a1 | From: "Anonymous" <sip:anonymous@anonymous.invalid>
        gw > 486
        gw < ACK
        alice < 486
    """)
    lab.end()
