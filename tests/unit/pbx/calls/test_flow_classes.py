"""Class of service on the call path: destinations, calls in a period, caller ID; emergencies."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest

from pbx.calls.account_limits import LimitBook
from pbx.calls.call_flows import CallFlows
from pbx.domain.calls import CallDecided, CallRouted
from pbx.domain.objects import ForwarderCreated
from pbx.domain.server import RouterTableSet
from pbx.domain.setting_events import (
    AccountSettingsChanged,
    DomainSettingsChanged,
    ServerSettingsChanged,
)
from pbx.router import DEFAULT_TABLE
from tests.unit.pbx.calls.lab import Lab
from tests.unit.pbx.calls.phone import DOMAIN
from tests.unit.pbx.calls.test_flow_rules import rule, to, with_engine

TRUNK = "<8(10d)@*> = 8*@trunk.example\n<+(7-20d)@*> = +*@trunk.example\n"
LOCAL_ONLY = ["internal", "local"]
RUSSIAN = {"national": ["+7*", "8(10d)"], "premium": ["+7809*", "8809*"]}
FOREIGN = "+4930123456"


class Office(Lab):
    """Phones of ours, and a gateway that the Router gives numbers with + and 8."""

    def __init__(
        self, phones: str = "alice bob", *, table: str = TRUNK + DEFAULT_TABLE, **config: Any
    ) -> None:
        super().__init__(phones, **config)
        self.add("gw", host="203.0.113.99", bind=False)
        self.outside["trunk.example"] = "gw"
        self.node.configured("server", RouterTableSet(text=table))
        self._calls = 0

    def settings(self, account: str, **values: Any) -> None:
        stream = f"account/{account}@{DOMAIN}"
        self.node.configured(stream, AccountSettingsChanged(values=values))

    def refused(self, dialled: str, status: int = 403, *, who: str = "alice") -> str:
        """A call that nobody gets; the reason that the log has for it."""
        self._calls += 1
        name = f"{who}.{self._calls}"
        self.play(f"{name} > INVITE {dialled} a1\n{name} < {status}\n{name} > ACK")
        events = [event for _, _, event, _ in self.log.events]
        told = [event for event in events if isinstance(event, CallRouted | CallDecided)]
        return told[-1].reason

    def reaches(self, phone: str, dialled: str, *fields: str, who: str = "alice") -> None:
        """A call that rings there, with such header fields."""
        self._calls += 1
        name, there = f"{who}.{self._calls}", f"{phone}.{self._calls}"
        shown = "".join(f" | {field}" for field in fields)
        self.play(f"""
            {name} > INVITE {dialled} a1
            {there} < INVITE a1{shown}
            {there} > 486
            {there} < ACK
            {name} < 486
            {name} > ACK
        """)


def test_premium_numbers_have_to_be_allowed() -> None:
    """The only kind that nobody may call unless somebody says so."""
    office = Office()
    assert office.refused("+19001234567") == (
        f"alice@{DOMAIN} may not call premium destinations (CallOutAllowed): "
        "+19001234567 fits +1900*"
    )
    office.reaches("gw", FOREIGN)
    office.settings("alice", CallOutAllowed="All")
    office.reaches("gw", "+19001234567")
    office.end()


def test_a_class_says_what_may_be_called() -> None:
    """Of the domain's defaults: local numbers only; one account has a class of its own."""
    office = Office()
    office.node.configured(
        f"domain/{DOMAIN}",
        DomainSettingsChanged(
            section="account-defaults",
            values={
                "CallOutAllowed": LOCAL_ONLY, "CallClasses": RUSSIAN,
                "ServiceClasses": {"boss": {"CallOutAllowed": [*LOCAL_ONLY, "national"]}},
            },
        ),
    )  # fmt: skip
    office.reaches("bob", "bob")
    assert "international" in office.refused(FOREIGN)
    assert "national" in office.refused("89161234567")
    office.settings("alice", ServiceClass="boss")
    office.reaches("gw", "89161234567")
    office.reaches("gw", "+79161234567")
    assert "premium" in office.refused("88091234567")
    assert "international" in office.refused("+44201234567")
    assert "national" in office.refused("89161234567", who="bob")
    office.end()


def test_the_server_level_and_a_phone_for_nothing_but_help() -> None:
    office = Office()
    office.add("help", "112")
    office.node.configured(
        "server",
        ServerSettingsChanged(section="account-defaults", values={"CallOutAllowed": "None"}),
    )
    assert "may not call internal destinations" in office.refused("bob")
    office.add("desk", "alice")
    office.play("""
        alice > INVITE alice a1
        alice.9 < INVITE a1
        desk < INVITE a1
        desk > 603
        desk < ACK
        alice.9 > 100
        alice.9 < CANCEL
        alice.9 > 200 CANCEL
        alice.9 > 487 INVITE
        alice.9 < ACK
        alice < 603
    """)
    office.reaches("help", "112")
    office.end()


def test_other_servers() -> None:
    """Dialled by the user: sip is needed, and what a number at the end of it costs; what the
    table sends to a trunk is a number and no more."""
    office = Office()
    office.settings("alice", CallOutAllowed=["internal", "sip"])
    office.reaches("gw", "sip:carol@trunk.example")
    assert "national" in office.refused("sip:89161234567@trunk.example")
    assert "premium" in office.refused("sip:0019001234567@trunk.example")
    office.settings("alice", CallOutAllowed=["internal", "national"])
    assert "sip" in office.refused("sip:carol@trunk.example")
    assert "sip" in office.refused("sip:89161234567@trunk.example")
    assert "sip" in office.refused(f"sip:89161234567%trunk.example@{DOMAIN}")
    office.reaches("gw", "89161234567")
    office.end()


def test_numbers_of_the_gateway_program() -> None:
    """The application is not even started; nor by whoever writes its address himself."""
    office = Office(table=DEFAULT_TABLE.replace(";<+", "<+"))
    office.add("pbx", "pbx", bind=False)
    engine = with_engine(office)
    office.settings("alice", CallOutAllowed=[*LOCAL_ONLY, "national"])
    for dialled in (
        FOREIGN, f"sip:%2B4930123456@{DOMAIN}", "sip:+4930123456@pstn", "tel:+49-30-123456",
        f"sip:gatewaycaller%7B+4930123456%7D%23pbx@{DOMAIN}",
    ):  # fmt: skip
        assert "international" in office.refused(dialled), dialled
    assert "no telephone number" in office.refused(f"sip:gatewaycaller%7Bx1%7D%23pbx@{DOMAIN}")
    assert engine.started == []
    office.play("alice > INVITE sip:5551234@pstn a1")
    assert [application.text for application in engine.started] == [
        f"gatewaycaller{{5551234}}#pbx@{DOMAIN}"
    ]


def test_what_an_administrator_opened_for_everybody() -> None:
    """A forwarder, a Relay: line: their destination is not the caller's choice."""
    office = Office(table="Relay:<77@*> = +4930123456@trunk.example\n" + TRUNK)
    office.settings("alice", CallOutAllowed=["internal"])
    forwarder = ForwarderCreated(name="berlin", domain=DOMAIN, target=FOREIGN)
    office.node.configured(f"forwarder/berlin@{DOMAIN}", forwarder)
    office.reaches("gw", "berlin")
    office.reaches("gw", "77")
    assert "international" in office.refused(FOREIGN)
    office.end()


def test_a_trusted_source_has_no_class() -> None:
    office = Office(client_ips=(ip_network("203.0.113.99"),))
    office.node.configured(
        "server",
        ServerSettingsChanged(section="account-defaults", values={"CallOutAllowed": "None"}),
    )
    office.reaches("alice", "alice", who="gw")
    office.end()


def test_forwarded_calls_are_the_forwarders() -> None:
    """By a rule and by the phone (302): what the caller may call does not matter."""
    office = Office("alice bob")
    office.settings("alice", CallOutAllowed="All")
    office.settings("bob", CallOutAllowed=["internal"])
    office.play("""
        alice > INVITE bob a1
        bob < INVITE a1
        bob > 302 | Contact: <sip:+4930123456@example.org>
        bob < ACK
        alice < 480
    """)
    office.rules("bob", rule(100005, "away", to(FOREIGN)))
    assert f"bob@{DOMAIN} may not call international" in office.refused("bob")
    office.settings("bob", CallOutAllowed=["internal", "international"])
    office.settings("alice", CallOutAllowed=["internal"])
    office.reaches("gw", "bob", f"Diversion: <sip:bob@{DOMAIN}>;reason=unconditional")
    office.end()


def test_a_rule_names_the_gateway_program_itself() -> None:
    office = Office()
    office.add("pbx", "pbx", bind=False)
    engine = with_engine(office)
    office.settings("bob", CallOutAllowed=["internal"])
    office.rules("bob", rule(100005, "away", to("gatewaycaller{+4930123456}#pbx")))
    assert f"bob@{DOMAIN} may not call international" in office.refused("bob")
    assert engine.started == []
    office.rules("bob")
    # What the administrator of the domain writes is the domain's.
    away = rule(100005, "away", to("gatewaycaller{+4930123456}#pbx"))
    office.rules(f"domain/{DOMAIN}", away)
    office.play("alice > INVITE bob a1")
    assert len(engine.started) == 1


def test_texts_have_the_same_limits() -> None:
    office = Office()
    office.settings("alice", CallOutAllowed=["internal"])
    office.play("""
        alice > MESSAGE +4930123456 text:hello
        alice < 403
    """)
    office.end()


# Calls in a period.


def test_calls_made_in_a_period() -> None:
    office = Office()
    office.settings("alice", CallOutFlow=["2", "1m"])
    office.reaches("bob", "bob")
    office.advance(30)
    office.reaches("bob", "bob")
    assert office.refused("bob") == (
        f"alice@{DOMAIN} made 2 calls in 60 s, its limit (CallOutFlow)"
    )
    office.reaches("alice", "alice", who="bob")
    office.advance(31)
    office.reaches("bob", "bob")
    assert "CallOutFlow" in office.refused("bob")
    office.end()


def test_calls_given_in_a_period() -> None:
    """The callee is busy then; without a limit of its own nothing is kept."""
    office = Office()
    office.settings("bob", CallInpFlow=["1", "10"])
    office.reaches("bob", "bob")
    assert "CallInpFlow" in office.refused("bob", 486)
    assert office.node.statistics()["call_windows"] == 1
    office.advance(10)
    office.reaches("bob", "bob")
    office.end()


def test_calls_sent_out_by_a_redirect_count_for_who_redirects() -> None:
    office = Office()
    office.settings("bob", CallOutFlow=["1", "1h"])
    office.rules("bob", rule(100005, "away", to(FOREIGN)))
    office.reaches("gw", "bob")
    assert f"bob@{DOMAIN} made 1 calls" in office.refused("bob")
    office.rules("bob")
    office.play("""
        alice > INVITE bob a1
        bob < INVITE a1
        bob > 302 | Contact: <sip:+4930123456@example.org>
        bob < ACK
        alice < 480
    """)
    office.end()


def test_windows_that_are_over_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pbx.calls.call_flows._SWEEP_AT", 10)
    book = LimitBook()
    values = {"CallOutFlow": ["5", "10"]}
    book.apply("server", ServerSettingsChanged(section="account-defaults", values=values))
    flows = CallFlows(book)
    for number in range(100):
        assert flows.refusal(f"{number}@{DOMAIN}", float(number), outgoing=True) == ""
        assert flows.statistics()["call_windows"] < 40


def test_no_calls_at_all() -> None:
    office = Office()
    office.settings("alice", CallOutFlow=["0", "60"])
    assert "made 0 calls" in office.refused("bob")
    office.end()


# Concurrent calls of a domain, as a setting.


def test_concurrent_calls_of_a_domain() -> None:
    """Its own setting, or that of all domains; -1 frees one of them."""
    office = Office("alice bob carol dave")
    server = ServerSettingsChanged(section="domain-defaults", values={"CallsLimit": "1"})
    office.node.configured("server", server)
    office.play("""
        alice > INVITE bob a1
        bob < INVITE a1
        bob > 180
        alice < 180
    """)
    reason = office.refused("dave", who="carol")
    assert reason == f"the domain {DOMAIN} has 1 calls, its limit"
    stream = f"domain/{DOMAIN}"
    office.node.configured(stream, DomainSettingsChanged(values={"CallsLimit": "unlimited"}))
    office.reaches("dave", "dave", who="carol")
    office.node.configured(stream, DomainSettingsChanged(removed=("CallsLimit",)))
    office.play("""
        bob > 486
        bob < ACK
        alice < 486
        alice > ACK
    """)
    office.end()


# Caller ID.


def test_a_number_of_the_account_is_shown_outside() -> None:
    """Never inside, where the account itself is shown."""
    office = Office()
    office.settings("alice", CallerIdNumber="+4930123400")
    office.reaches("gw", FOREIGN, f"From: <sip:+4930123400@{DOMAIN}>", "!P-Asserted-Identity")
    office.reaches("bob", "bob", f"From: <sip:alice@{DOMAIN}>")
    office.play("""
        alice > INVITE +4930123456 a1 | From: "Al" <sip:alice@example.org>
        gw < INVITE a1 | From: "Al" <sip:+4930123400@example.org>
        gw > 486
        gw < ACK
        alice < 486
    """)
    office.end()


def test_withheld_outside_only() -> None:
    office = Office()
    office.settings("alice", CallerIdWithheld="YES", CallerIdNumber="+4930123400")
    office.play("""
        alice > INVITE +4930123456 a1 | Subject: secret | Call-Info: <http://alice.example/>
        gw < INVITE a1 | From: "Anonymous" <sip:anonymous@anonymous.invalid> | !Subject | !Call-Info
        gw > 486
        gw < ACK
        alice < 486
    """)
    office.reaches("bob", "bob", f"From: <sip:alice@{DOMAIN}>")
    office.end()


def test_who_is_forwarded_stays_who_calls() -> None:
    office = Office()
    office.settings("bob", CallerIdNumber="+4930123400")
    office.rules("bob", rule(100005, "away", to(FOREIGN)))
    office.reaches("gw", "bob", f"From: <sip:alice@{DOMAIN}>")
    office.end()


# Emergencies.


@pytest.mark.parametrize("rules", [False, True])
@pytest.mark.parametrize("where", ["112", "tel:112"])
def test_nothing_blocks_a_call_for_help(where: str, rules: bool) -> None:
    """Class of service, calls at once and in a period, withheld caller ID, number plan, rules;
    and the answering point is not busy either."""
    office = Office(table="<112@*> = 112@trunk.example\n" + TRUNK + DEFAULT_TABLE)
    office.limit("alice", 0)
    office.settings(
        "alice", CallOutAllowed="None", CallOutFlow=["0", "60"], CallerIdWithheld="YES",
        CallClasses={"premium": ["1*"]},
    )  # fmt: skip
    office.node.configured(f"domain/{DOMAIN}", DomainSettingsChanged(values={"CallsLimit": "0"}))
    if rules:
        office.rules("server", rule(100010, "nothing", ("Reject with", "603")))
    office.reaches("gw", where, f"From: <sip:alice@{DOMAIN}>")
    assert "its limit (CallOutFlow)" in office.refused("111")
    office.end()


def test_help_inside_meets_no_limit_of_the_callee() -> None:
    """Also where an application stands beside the phones of the group."""
    office = Office()
    office.add("help", "112")
    office.limit("112", 0)
    office.settings("112", CallInpFlow=["0", "60"])
    office.reaches("help", "112")
    office.end()
