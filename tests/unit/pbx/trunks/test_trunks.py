"""A node that registers with providers, under a virtual clock, against an independent registrar."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from random import Random

import pytest

from pbx.domain.accounts import AccountLimitsSet
from pbx.domain.bindings import BindingAdded
from pbx.domain.calls import CallDecided, CallStarted
from pbx.domain.configuration import RECORDS
from pbx.domain.setting_events import AccountSettingsChanged
from pbx.domain.trunks import TrunkFailed, TrunkRegisterAsked, TrunkRegistered, TrunkRemoved
from pbx.eventlog import ANY_VERSION, Meta
from pbx.kernel.events import Event
from tests.support.fake_phone.wire import session_description
from tests.support.fake_provider import FakeProvider
from tests.support.lone_node import DOMAIN, Cluster, LoneNode

AT = ("198.51.100.20", 5060)
SECOND = ("198.51.100.21", 5060)
PHONE = ("203.0.113.9", 5060)
OWNER = f"pbx@{DOMAIN}"
SDP = session_description("198.51.100.20", 4000, 1, 1, "sendrecv")
RECORD = {
    "authName": "00000X", "domain": "voip1.un", "fromName": "00000X", "period": "5m",
}  # fmt: skip
PASSWORD = '{"RSIP":{"voip1":{"password":"spasswordX"}}}'


class Lab:
    """One node with the accounts alice and pbx, and a provider that is reachable as voip1.un."""

    def __init__(self, **options: str) -> None:
        self.node = LoneNode(names=("alice", "pbx"))
        self.provider = FakeProvider(self.node, AT, **options)
        self.node.hosts["voip1.un"] = [AT]

    def configure(self, secrets: str = PASSWORD, **change: str) -> None:
        """Set the record ``voip1`` of the account pbx."""
        self.set_records({"voip1": {**RECORD, **change}}, secrets)

    def set_records(self, records: Mapping[str, Mapping[str, str]], secrets: str = "") -> None:
        event = (
            AccountSettingsChanged(section=RECORDS, values={"RSIP": records}, secrets=secrets)
            if records
            else AccountSettingsChanged(section=RECORDS, removed=("RSIP",))
        )
        self.append(f"account/{OWNER}", event)

    def append(self, stream: str, event: Event) -> None:
        self.node.events.append(stream, ANY_VERSION, [event], Meta(actor="test"))
        self.node.follow()
        self.node.pump()
        self.advance(0.1)

    def advance(self, seconds: float) -> None:
        """Time passes; what this node writes comes back to it, as in the server."""
        end = self.node.clock.now + seconds
        while self.node.clock.now < end:
            self.node.advance(min(1.0, end - self.node.clock.now))
            self.node.follow()
            self.node.pump()

    def of(self, kind: str) -> list[Event]:
        return [record.event for record in self.node.records(kind)]

    @property
    def failures(self) -> list[TrunkFailed]:
        return [event for event in self.of("trunk.failed.v1") if isinstance(event, TrunkFailed)]


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
def test_it_registers_refreshes_and_leaves(algorithm: str) -> None:
    lab = Lab(algorithm=algorithm)
    lab.configure()
    first, second = lab.provider.requests("REGISTER")
    assert first.uri == "sip:voip1.un"
    assert "authorization" not in first.headers
    assert first.get("to") == "<sip:00000X@voip1.un>"
    assert second.call_id == first.call_id
    assert second.from_tag == first.from_tag
    assert second.cseq == first.cseq + 1
    assert second.branch != first.branch
    [contact] = lab.provider.registered
    assert contact.startswith("sip:t")
    assert contact.endswith("@192.0.2.1:5060")
    [registered] = lab.of("trunk.registered.v1")
    assert isinstance(registered, TrunkRegistered)
    assert registered.contact == contact
    assert registered.sources == (AT[0],)
    assert registered.expires_ns - registered.next_ns >= 75_000_000_000

    for _ in range(12):  # an hour
        lab.advance(300)
        assert lab.provider.registered == [contact]
    refreshes = [heard for heard in lab.provider.requests("REGISTER") if heard.cseq > 2]
    assert {heard.call_id for heard in refreshes} == {first.call_id}
    assert 12 <= len(refreshes) // 2 <= 14, "every five minutes, each with one challenge"
    assert not lab.failures
    assert 3 <= len(lab.of("trunk.refreshed.v1")) <= 6, "a sign now and then, not every time"

    lab.node.node.stop(lab.node.clock.now, lambda: None)
    lab.node.pump()
    lab.advance(1)
    assert lab.provider.registered == []
    [removed] = lab.of("trunk.removed.v1")
    assert removed == TrunkRemoved(record="voip1", reason="stopped")
    assert lab.node.node.statistics()["trunks_leaving"] == 0
    assert lab.provider.problems == []


def test_the_password_is_in_no_event_and_no_representation() -> None:
    lab = Lab()
    lab.configure()
    lab.node.writer.flush()
    ours = [record for record in lab.node.events.read() if record.stream.startswith("trunk/")]
    assert ours
    assert all(b"spasswordX" not in record.data for record in ours)


def test_a_removed_record_is_unregistered_and_a_new_one_registered() -> None:
    lab = Lab()
    lab.configure()
    assert len(lab.provider.registered) == 1
    lab.set_records({})
    assert lab.provider.registered == []
    lab.configure()
    assert len(lab.provider.registered) == 1
    lab.configure(period="1000000000s")
    assert lab.provider.registered == [], "switched off"
    assert lab.provider.problems == []


def test_another_target_or_password_keeps_the_registration() -> None:
    lab = Lab()
    lab.configure()
    [contact] = lab.provider.registered
    lab.configure(targetName="alice", period="10m")
    assert lab.provider.registered == [contact]
    assert lab.of("trunk.removed.v1") == []
    lab.configure(fromName="other")
    assert len(lab.provider.registered) == 1, "another address there: the old one is given back"
    assert lab.provider.registered != [contact]


def test_a_wrong_password_is_told_and_not_tried_for_ever() -> None:
    lab = Lab(password="other")
    lab.configure()
    assert len(lab.provider.requests("REGISTER")) == 2, "one challenge, one answer"
    [failed] = lab.failures
    assert (failed.kind, failed.status, failed.attempt) == ("password", 401, 1)
    assert "the authentication name or the password is wrong" in failed.reason
    lab.advance(7200)
    assert len(lab.provider.requests("REGISTER")) <= 2 * 9
    lab.provider.password = "spasswordX"
    lab.append(f"trunk/{OWNER}", TrunkRegisterAsked(record="voip1"))
    assert len(lab.provider.registered) == 1
    assert len(lab.of("trunk.registered.v1")) == 1


def test_a_password_that_is_put_right_is_tried_at_once_and_told() -> None:
    lab = Lab(password="other")
    lab.configure()
    lab.provider.password = "right"
    lab.configure(secrets='{"RSIP":{"voip1":{"password":"right"}}}')
    assert len(lab.provider.registered) == 1
    assert len(lab.of("trunk.registered.v1")) == 1
    lab.configure(secrets='{"RSIP":{"voip1":{"password":"wrong"}}}')
    lab.configure(secrets='{"RSIP":{"voip1":{"password":"right"}}}')
    assert [failed.kind for failed in lab.failures] == ["password", "password"]
    assert len(lab.of("trunk.registered.v1")) == 2, "though the registrar knew us all the time"


def test_who_asks_for_a_registration_is_told_of_it() -> None:
    """Though it was registered before, and refreshes are not all written."""
    lab = Lab()
    lab.configure()
    lab.append(f"trunk/{OWNER}", TrunkRegisterAsked(record="voip1"))
    assert len(lab.of("trunk.refreshed.v1")) == 1


def test_no_password_where_one_is_wanted() -> None:
    lab = Lab()
    lab.configure(secrets="")
    assert "it wants a password and the record has none" in lab.failures[0].reason


def test_a_provider_that_is_down_is_tried_again_until_it_is_back() -> None:
    lab = Lab()
    lab.provider.silent = True
    lab.configure()
    lab.advance(33)
    [failed] = lab.failures
    assert (failed.kind, failed.status) == ("unreachable", 408)
    assert failed.reason == "voip1.un does not answer"
    lab.advance(1800)
    attempts = len(lab.failures)
    assert 6 <= attempts <= 12, "30 s at first, 5 minutes at most"
    lab.provider.silent = False
    lab.advance(301)
    assert len(lab.provider.registered) == 1
    assert lab.node.node.statistics()["trunks_registered"] == 1


def test_a_name_that_does_not_resolve() -> None:
    lab = Lab()
    lab.node.hosts.clear()
    lab.configure()
    assert lab.failures[0].reason == "voip1.un cannot be reached: no such name, or no connection"
    lab.node.hosts["voip1.un"] = [AT]
    lab.advance(61)
    assert len(lab.provider.registered) == 1


def test_a_second_server_of_the_provider_takes_over() -> None:
    """RFC 3263 §4.3: the next server at once when one says 503, or says nothing."""
    lab = Lab()
    other = FakeProvider(lab.node, SECOND)
    lab.node.hosts["voip1.un"] = [AT, SECOND]
    lab.provider.answers = [(503, "Retry-After: 60\r\n")]
    lab.configure()
    assert len(other.registered) == 1
    assert lab.provider.registered == []
    [registered] = lab.of("trunk.registered.v1")
    assert isinstance(registered, TrunkRegistered)
    assert registered.sources == (AT[0], SECOND[0]), "calls may come from either"


def test_too_brief_and_stale() -> None:
    lab = Lab()
    lab.provider.min_expires_s = 900
    lab.configure()
    [contact] = lab.provider.registered
    assert lab.provider.contacts[contact] - lab.node.clock.now > 890
    lab.provider.requests("REGISTER")
    lab.provider.stale_next = True
    lab.advance(301)
    assert lab.provider.registered == [contact]
    assert not lab.failures
    assert lab.provider.problems == []


@pytest.mark.parametrize(
    ("status", "lines", "words", "kind"),
    [
        (403, "", "voip1.un answered 403 Said", "refused"),
        (404, "", "voip1.un answered 404 Said", "refused"),
        (302, "Contact: <sip:thief.example>\r\n", "it has moved; put its new name", "refused"),
        (500, "", "voip1.un answered 500 Said", "unreachable"),
        (603, "", "voip1.un answered 603 Said", "refused"),
    ],
)
def test_refusals_are_told(status: int, lines: str, words: str, kind: str) -> None:
    lab = Lab()
    lab.provider.answers = [(status, lines)]
    lab.configure()
    [failed] = lab.failures
    assert words in failed.reason
    assert failed.kind == kind
    assert all("authorization" not in h.headers for h in lab.provider.requests("REGISTER"))


def test_retry_after_is_heeded() -> None:
    lab = Lab()
    lab.provider.answers = [(503, "Retry-After: 900\r\n")]
    lab.configure()
    lab.advance(890)
    assert lab.provider.registered == []
    lab.advance(20)
    assert len(lab.provider.registered) == 1


def test_a_registrar_that_keeps_nothing_is_a_failure() -> None:
    lab = Lab()
    lab.provider.max_expires_s = 0
    lab.configure()
    # The list of contacts is empty and no Expires says how long.
    lab.provider.answers = [(200, "Expires: 0\r\n")]
    lab.append(f"trunk/{OWNER}", TrunkRegisterAsked(record="voip1"))
    assert lab.failures[-1].reason == "the registrar accepted us and kept nothing"


def test_wrong_records_are_told_once_and_the_others_work() -> None:
    lab = Lab()
    records = {"voip1": RECORD, "bad": {"domain": "a b", "fromName": "x"}}
    lab.set_records(records, PASSWORD)
    assert len(lab.provider.registered) == 1
    lab.set_records({**records, "other": {}}, PASSWORD)
    told = {(failed.record, failed.kind): failed.reason for failed in lab.failures}
    assert told["bad", "configuration"] == (
        "domain: a b is no host: write HOST, or HOST:PORT;transport=tcp"
    )
    assert ("other", "configuration") in told
    assert len(lab.failures) == 2


def test_several_records_are_registered_one_after_the_other() -> None:
    lab = Lab()
    records = {f"r{number}": {**RECORD, "fromName": f"u{number}"} for number in range(20)}
    lab.set_records(records)
    assert len(lab.provider.requests("REGISTER")) == 6, "50 a second"
    lab.advance(1)
    assert lab.node.node.statistics()["trunks"] == 20


def test_the_same_client_after_a_restart() -> None:
    """Call-ID, contact and a growing CSeq; a crash in between."""
    lab = Lab()
    lab.configure()
    lab.advance(1000)
    lab.node.writer.flush()
    [contact] = lab.provider.registered
    before = lab.provider.requests("REGISTER")[-1]
    again = LoneNode.__new__(LoneNode)
    _restart(lab.node, again)
    lab.provider.join(again)
    again.hosts["voip1.un"] = [AT]
    again.advance(1)
    after = lab.provider.requests("REGISTER")[-1]
    assert after.call_id == before.call_id
    assert after.cseq > before.cseq
    assert lab.provider.registered == [contact]
    assert lab.provider.problems == []


def _restart(old: LoneNode, new: LoneNode) -> None:
    """A node over the log of another one, which is dead."""
    cluster = _Same(old)
    LoneNode.__init__(new, names=("alice", "pbx"), seed=9, cluster=cluster, name="lone")
    new.trunks._clustered = False


class _Same(Cluster):
    """A log that is there already; no links."""

    def __init__(self, old: LoneNode) -> None:
        super().__init__()
        self.scheduler = old.scheduler
        self._log = old.events


# -- calls from the provider


def _phone(lab: Lab, name: str, address: tuple[str, int] = PHONE) -> None:
    """Have `name` registered at an address, without the ceremony."""
    binding = BindingAdded(
        contact_id=name,
        contact=f"sip:{name}@{address[0]}:{address[1]}",
        expires_ns=lab.node.clock.wall_ns() + 86_400_000_000_000,
        sip_call_id="r",
        cseq=1,
        local="192.0.2.1:5060",
        remote=f"{address[0]}:{address[1]}",
    )
    location = lab.node.node.locations.location(f"{name}@{DOMAIN}")
    lab.node.node.locations.fold(f"binding/{name}@{DOMAIN}", location.version + 1, binding)


def test_a_call_from_the_provider_reaches_the_target() -> None:
    lab = Lab()
    lab.append(
        f"account/{OWNER}",
        AccountSettingsChanged(section="settings", values={"PSTNAreaCode": "7(495)"}),
    )
    lab.configure(targetName="alice")
    _phone(lab, "alice")
    [contact] = lab.provider.registered
    lab.provider.invite(contact, caller="89161234567", body=SDP)
    [invite] = [heard for heard in lab.node.told(PHONE) if heard.method == "INVITE"]
    assert invite.uri == f"sip:alice@{PHONE[0]}:{PHONE[1]}"
    shown = invite.get("from").partition(";")[0]
    assert shown == f'"Somebody" <sip:+79161234567@{DOMAIN}>'
    [decided] = [r.event for r in lab.node.records("call.decided.v1")]
    assert isinstance(decided, CallDecided)
    assert decided.step == "trunk"
    assert decided.outcome == OWNER
    assert "record voip1 of pbx@example.com: registered as 00000X@voip1.un" in decided.reason
    assert "+79161234567 (written 89161234567)" in decided.reason
    [started] = [r.event for r in lab.node.records("call.started.v1")]
    assert isinstance(started, CallStarted)
    assert started.account == ""
    assert started.request_uri == f"sip:alice@{DOMAIN}"
    assert lab.node.node.limits.active(OWNER) == 1, "it counts as a call of the record's account"


def test_the_provider_may_challenge_what_we_send_inside_its_call() -> None:
    """In the realm it asked in before; a caller that makes up another one gets nothing."""
    lab = Lab()
    lab.configure(targetName="alice")
    _phone(lab, "alice")
    [contact] = lab.provider.registered
    lab.provider.invite(contact, body=SDP)
    [invite] = [heard for heard in lab.node.told(PHONE) if heard.method == "INVITE"]
    lab.provider.address = PHONE  # the phone answers
    lab.node.datagram(lab.provider.response(invite, 200, body=SDP), PHONE)
    lab.provider.address = AT
    lab.advance(0.1)
    ok = next(heard for heard in lab.provider.heard if heard.status == 200)
    ack = (
        f"ACK {ok.get('contact').partition('<')[2].partition('>')[0]} SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP {AT[0]}:{AT[1]};branch=z9hG4bKack;rport\r\nMax-Forwards: 70\r\n"
        f"From: {ok.get('from')}\r\nTo: {ok.get('to')}\r\nCall-ID: {ok.call_id}\r\n"
        "CSeq: 1 ACK\r\nContent-Length: 0\r\n\r\n"
    )
    lab.provider.send(lab.node, ack.encode())
    lab.advance(0.1)
    [call] = lab.node.node.calls.values()
    lab.provider.answers = [
        (407, 'Proxy-Authenticate: Digest realm="thief", nonce="x", qop="auth"\r\n')
    ]
    call.caller.usage.request("INFO", (), b"", now=lab.node.clock.now)
    lab.node.pump()
    lab.advance(0.5)
    assert len(lab.provider.requests("INFO")) == 1, "no digest for a realm we never met"
    call.caller.usage.bye(now=lab.node.clock.now)
    lab.node.pump()
    lab.advance(0.5)
    byes = lab.provider.requests("BYE")
    assert ["proxy-authorization" in bye.headers for bye in byes] == [False, True]
    assert lab.provider.problems == []


def test_only_the_registrar_may_call_the_contact() -> None:
    lab = Lab()
    lab.configure(targetName="alice")
    _phone(lab, "alice")
    [contact] = lab.provider.registered
    lab.provider.invite(contact, body=SDP, source=("198.51.100.99", 5060))
    assert [heard.status for heard in lab.node.told(("198.51.100.99", 5060))] == [401]
    lab.provider.invite(contact.replace("sip:t", "sip:u"), body=SDP, branch="p2")
    lab.advance(0.1)
    assert [heard.status for heard in lab.provider.heard if heard.status] == [401]
    assert lab.node.told(PHONE) == []


def test_no_open_relay() -> None:
    """The provider chooses neither the target nor anything outside."""
    lab = Lab()
    lab.configure(targetName="somebody@elsewhere.example")
    [contact] = lab.provider.registered
    lab.provider.requests("REGISTER")
    lab.provider.invite(contact, body=SDP)
    lab.advance(0.1)
    assert [h.status for h in lab.provider.heard if h.status] == [403]


def test_the_accounts_limit_holds_for_calls_from_the_provider() -> None:
    lab = Lab()
    lab.append(f"account/{OWNER}", AccountLimitsSet(calls_limit=1, max_contacts=10))
    lab.configure(targetName="alice")
    _phone(lab, "alice")
    [contact] = lab.provider.registered
    lab.provider.invite(contact, body=SDP)
    lab.provider.heard.clear()
    lab.provider.invite(contact, body=SDP, branch="p2")
    lab.advance(0.1)
    assert [h.status for h in lab.provider.heard if h.status] == [486]


def test_calls_are_taken_before_the_first_registration_of_a_new_run() -> None:
    """The provider still has our contact when the server starts anew."""
    lab = Lab()
    lab.configure(targetName="alice")
    [contact] = lab.provider.registered
    lab.node.writer.flush()
    lab.provider.silent = True
    again = LoneNode.__new__(LoneNode)
    _restart(lab.node, again)
    lab.provider.join(again)
    again.hosts["voip1.un"] = [AT]
    again.advance(0.5)
    lab.provider.heard.clear()
    lab.provider.silent = False
    lab.provider.invite(contact, body=SDP, node=again)
    again.advance(0.1)
    assert [h.status for h in lab.provider.heard if h.status] == [480], "taken; no phone is there"


# -- losses


@pytest.mark.parametrize("seed", range(20))
def test_any_packet_may_get_lost(seed: int) -> None:
    """A fifth of all packets, in both directions, for two hours: never unregistered for long."""
    rng = Random(seed)
    lab = Lab()
    lab.provider.lose = lambda data: rng.random() < 0.2
    lab.configure()
    away = 0.0
    for _ in range(720):
        lab.advance(10)
        away = 0.0 if lab.provider.registered else away + 10
        assert away <= 180
    assert len(lab.provider.contacts) == 1
    # What is repeated is the same request; a new one has a new number.
    assert lab.provider.problems == []


def test_a_translated_address_is_kept_open() -> None:
    """The registrar sees us come from elsewhere: a NAT, which forgets us within half a minute."""
    lab = Lab()
    kept: list[float] = []
    serve = lab.node.servers[AT]

    def watch(data: bytes) -> None:
        if data == b"\r\n\r\n":
            kept.append(lab.node.clock.now)
        serve(data)

    lab.node.servers[AT] = watch
    lab.configure()
    lab.advance(100)
    assert kept == []
    original = lab.provider.response

    def translated(heard, status, lines="", body=b""):  # type: ignore[no-untyped-def]
        heard.headers["via"][0] = heard.headers["via"][0].replace(
            ";rport", ";received=203.0.113.200;rport=40001"
        )
        return original(heard, status, lines, body)

    lab.provider.response = translated  # type: ignore[method-assign]
    lab.advance(700)
    assert kept
    gaps = [late - early for early, late in pairwise(kept)]
    assert all(20 <= gap <= 25 for gap in gaps)
