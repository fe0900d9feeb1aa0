"""What single commands do beside the printed sessions."""

from __future__ import annotations

import pytest

from pbx.domain.bindings import BindingAdded, BindingRemoved
from pbx.domain.meetings import MeetingRemoved, MeetingSet
from pbx.domain.nodes import SourceBlocked
from pbx.domain.trunks import TrunkFailed, TrunkRegistered, TrunkRemoved
from pbx.eventlog import ANY_VERSION, Meta
from tests.support.admin_lab import MASTER, AdminLab, Peer


@pytest.fixture
def lab() -> AdminLab:
    return AdminLab()


@pytest.fixture
def master(lab: AdminLab) -> Peer:
    return lab.login()


def test_an_account_is_made_whole_or_not_at_all(lab: AdminLab, master: Peer) -> None:
    head = lab.log.head()
    for line in (
        "CREATEACCOUNT a {CallsLimit=many;}", 'CREATEACCOUNT a {Password="";}',
        "CREATEACCOUNT a {Password=(x);}", "CREATEACCOUNT .a", 'CREATEACCOUNT "a b"',
        "CREATEACCOUNT a@nowhere.un",
    ):  # fmt: skip
        assert master.say(line)[0][:3] in ("501", "512"), line
    assert lab.log.head() == head
    assert master.say('CREATEACCOUNT a {Password=abcdefgh;CallsLimit=2;RealName="A";}') == [
        "200 OK"
    ]
    types = [record.type for record in lab.log.read(head)]
    assert types == ["account.created.v1", "account.password-set.v1",
                     "account.settings-changed.v1"]  # fmt: skip
    assert {r.actor for r in lab.log.read(head)} == {"postmaster@corpx.un"}
    assert {r.causation for r in lab.log.read(head)} == {"pwd:127.0.0.1"}


def test_a_domain_with_a_wrong_setting_is_not_made(master: Peer) -> None:
    (reply,) = master.say("CREATEDOMAIN new.un {AccountsLimit=many;}")
    assert reply.startswith("501 AccountsLimit")
    assert "new.un" not in master.say("LISTDOMAINS")[0]


def test_the_limit_of_a_domain(master: Peer) -> None:
    assert master.say("CREATEDOMAIN small.un {AccountsLimit=1;}") == ["200 OK"]
    assert master.say("CREATEACCOUNT a@small.un") == ["200 OK"]
    assert master.say("CREATEACCOUNT b@small.un")[0].startswith("501 license limit reached")


def test_accounts_in_use_stay(lab: AdminLab, master: Peer) -> None:
    master.say("CREATEACCOUNT a {Password=abcdefgh;}")
    user = lab.login("a", "abcdefgh")
    assert master.say("DELETEACCOUNT a") == ["555 account is in use"]
    assert master.say("KILLACCOUNTSESSIONS a", "DELETEACCOUNT a") == ["200 OK", "200 OK"]
    assert user.say("NOOP") == ["501 session closed by an administrator"]


def test_a_renamed_account_keeps_everything(master: Peer) -> None:
    master.say(
        'CREATEACCOUNT a {Password="the password";PasswordEncryption=clear;CallsLimit=2;}',
        "SETACCOUNTRIGHTS a (Domain)",
        "SETACCOUNTPREFS a {Language=russian;}",
        "SETACCOUNTRSIPS a {p={domain=x.un;password=secretX;};}",
    )
    assert master.say("RENAMEACCOUNT a INTO b") == ["200 OK"]
    assert master.say("GETACCOUNTSETTINGS b", "GETACCOUNTRIGHTS b", "GETACCOUNTPREFS b") == [
        "201 {CallsLimit=2;PasswordEncryption=clear;}", "201 (Domain)",
        "201 {Language=russian;}",
    ]  # fmt: skip
    assert master.say("GETACCOUNTRSIPS b") == ["201 {p={domain=x.un;password=secretX;};}"]
    assert master.say('VERIFYACCOUNTPASSWORD b PASSWORD "the password"') == ["200 OK"]
    assert master.say("GETACCOUNTSETTINGS a") == ["513 unknown user account"]


def test_a_password_that_would_be_lost_keeps_the_name(master: Peer) -> None:
    master.say('CREATEACCOUNT a {Password="the password";}')
    assert master.say("RENAMEACCOUNT a INTO b")[0].startswith("501 the password is kept as digests")
    assert master.say('VERIFYACCOUNTPASSWORD a PASSWORD "the password"') == ["200 OK"]


def test_listing_in_pages(master: Peer) -> None:
    master.say("CREATEDOMAIN many.un", *(f"CREATEACCOUNT a{n}@many.un" for n in range(5)))
    cookie, seen = "", []
    for _ in range(3):
        (reply,) = master.say(f'LISTDOMAINOBJECTS many.un 2 ACCOUNTS COOKIE "{cookie}"')
        names = reply[reply.index("{") + 1 : reply.index("}")]
        seen += [item.partition("=")[0] for item in names.split(";") if item]
        cookie = reply.rstrip(")").rpartition(",")[2].strip('"')
    assert seen == ["a0", "a1", "a2", "a3", "a4"]
    assert cookie == ""


def test_registered_phones_are_in_the_info(lab: AdminLab, master: Peer) -> None:
    stream = f"binding/{MASTER}@corpx.un"
    expires = lab.clock.wall_ns() + 60 * 10**9
    added = BindingAdded(
        contact_id="1", contact="sip:a@10.0.0.1", expires_ns=expires, sip_call_id="c", cseq=1
    )
    lab.log.append(stream, 0, [added], Meta())
    assert master.say("GETACCOUNTINFO * KEY SIPContacts") == ['201 ("sip:a@10.0.0.1")']
    assert master.say("GETACCOUNTINFO * (SIPContacts, Nothing)") == [
        '201 {SIPContacts=("sip:a@10.0.0.1");}'
    ]
    removed = BindingRemoved(contact_id="1", contact="sip:a@10.0.0.1", reason="expired")
    lab.log.append(stream, 1, [removed], Meta())
    assert master.say("GETACCOUNTINFO * KEY SIPContacts") == ['201 ""']


def test_meetings_are_in_the_info(lab: AdminLab, master: Peer) -> None:
    """PBX applications reference §6.1: ``GETACCOUNTINFO pbx KEY Meetings``."""
    events = [
        MeetingSet(key="123456", parameter='{open=YES;owner="a@b";}', meeting_set="conference"),
        MeetingSet(key="654321", parameter='"123456"', meeting_set="conferenceleader"),
        MeetingSet(key="handle", parameter="#T(broken", meeting_set="conference"),
    ]
    lab.log.append(f"account/{MASTER}@corpx.un", ANY_VERSION, events, Meta())
    (reply,) = master.say("GETACCOUNTINFO * KEY Meetings")
    assert "123456={parameter={open=YES;owner=a@b;};};" in reply
    assert 'handle={parameter="#T(broken";};' in reply
    assert reply.endswith("conferenceleader={654321={parameter=123456;};};}")
    gone = [MeetingRemoved(key=event.key, meeting_set=event.meeting_set) for event in events]
    lab.log.append(f"account/{MASTER}@corpx.un", ANY_VERSION, gone, Meta())
    assert master.say("GETACCOUNTINFO * KEY Meetings") == ['201 ""']


def test_addresses_that_a_node_locked_are_seen_and_released(lab: AdminLab, master: Peer) -> None:
    blocked = SourceBlocked(source="10.0.0.1", reason="failed log-ins", seconds=300)
    lab.log.append("node/lab", ANY_VERSION, [blocked], Meta())
    assert master.say("GETTEMPBLACKLISTEDIPS") == ["201 10.0.0.1-300"]
    assert master.say("TEMPBLACKLISTIP 10.0.0.1 DELETE", "GETTEMPBLACKLISTEDIPS") == [
        "200 OK", '201 ""',
    ]  # fmt: skip


def test_what_cannot_be_blacklisted(master: Peer) -> None:
    master.say('SETWHITEHOLEIPS "10.0.0.0/24"')
    for address in ("10.0.0.1", "127.0.0.1", "example.com", "10.0.0.0/24"):
        assert master.say(f"TEMPBLACKLISTIP {address} TIMEOUT 60")[0].startswith("501 "), address
    assert master.say('SETTEMPBLACKLISTEDIPS "10.9.0.1-60,nonsense"')[0].startswith("501 ")
    assert master.say("GETTEMPBLACKLISTEDIPS") == ['201 ""']


def test_statistics_walk_and_limits(lab: AdminLab, master: Peer) -> None:
    custom = "1.3.6.1.4.1.5678.2.1.1000"
    assert master.say(f"SETSTATELEMENT {custom}.7 SET #5", f"SETSTATELEMENT {custom}.7 INC -2",
                      f"GETSTATELEMENT {custom}.7") == ["200 OK", "200 OK", "201 #3"]  # fmt: skip
    assert master.say('GETNEXTSTATNAME ""') == [f"201 {custom}.7"]
    element, seen = f"{custom}.7", 0
    while (reply := master.say(f"GETNEXTSTATNAME {element}")[0]).startswith("201 "):
        element, seen = reply.removeprefix("201 "), seen + 1
        assert master.say(f"GETSTATELEMENT {element}")[0].startswith("201 #")
    assert seen == 9
    assert reply == "501 unknown statistics element"
    assert master.say("SETSTATELEMENT failedAUTHs SET 0") == ["501 the element is read-only"]
    again = AdminLab()
    again.service.statistics._log = lab.log
    assert again.service.statistics.get(f"{custom}.7") == 3


def test_alerts_of_one_second_have_stamps_of_their_own(master: Peer) -> None:
    assert master.say("POSTSERVERALERT one", "POSTSERVERALERT two") == ["200 OK", "200 OK"]
    (reply,) = master.say("GETSERVERALERTS")
    assert reply.count("=") == 2
    stamp = reply.removeprefix('201 {"').partition('"')[0]
    assert master.say(f'REMOVESERVERALERT "{stamp}"') == ["200 OK"]
    assert master.say("GETSERVERALERTS")[0].count("=") == 1


def test_files_of_applications(master: Peer) -> None:
    store = "STOREDOMAINPBXFILE corpX.un FILE"
    assert master.say(f"{store} hello.sppr DATA [AQ==]")[0].startswith("501 there is no such")
    assert master.say("CREATEDOMAINPBX corpX.un") == ["200 OK"]
    assert master.say(f"{store} Hello.sppr DATA [AQ==]")[0].startswith(
        "200 stored, but it does not compile: hello.sppr:1:1: "
    )
    assert master.say(f"{store} german/hello.sppr DATA [AQ==]")[0].startswith("501 there is no")
    assert master.say("READDOMAINPBXFILE corpX.un FILE hello.SPPR") == ["201 [AQ==]"]
    for name in ("../x", "a/b/c", "/x", '""', "x/"):
        assert master.say(f"{store} {name} DATA [AQ==]")[0].startswith("501 unknown file"), name
    assert master.say(f"{store} hello.sppr DELETE", f"{store} hello.sppr DELETE") == [
        "200 OK", "501 unknown file",
    ]  # fmt: skip


def test_shutdown_is_asked_for(lab: AdminLab, master: Peer) -> None:
    assert master.say("SHUTDOWN") == ["200 OK"]
    assert lab.stopped == 1


def test_a_defect_costs_its_command(
    lab: AdminLab, master: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(lab.service.statistics, "get", broken)
    assert master.say("GETSTATELEMENT accounts", "NOOP") == [
        "501 internal error, see the log of the server", "200 OK",
    ]  # fmt: skip


def test_a_conflict_is_told_once(lab: AdminLab, master: Peer) -> None:
    master.say("CREATEACCOUNT a", "CREATEACCOUNT helper {Password=abcdefgh;}",
               "SETACCOUNTRIGHTS helper (UserAccounts)")  # fmt: skip
    helper = lab.login("helper", "abcdefgh")
    assert helper.say("GETACCOUNTSETTINGS a") == ["201 {}"]
    master.say("UPDATEACCOUNTSETTINGS a {RealName=Jo;}")
    (told,) = helper.say("SETACCOUNTSETTINGS a {CallsLimit=3;}")
    assert told.startswith("501 postmaster@corpx.un changed RealName at ")
    assert master.say("GETACCOUNTSETTINGS a") == ["201 {RealName=Jo;}"]
    assert helper.say("SETACCOUNTSETTINGS a {CallsLimit=3;}") == ["200 OK"]
    assert master.say("GETACCOUNTSETTINGS a") == ["201 {CallsLimit=3;}"]


def test_a_merge_meets_what_somebody_else_changed_of_it(lab: AdminLab, master: Peer) -> None:
    master.say("CREATEACCOUNT a", "CREATEACCOUNT helper {Password=abcdefgh;}",
               "SETACCOUNTRIGHTS helper (UserAccounts)")  # fmt: skip
    helper = lab.login("helper", "abcdefgh")
    helper.say("GETACCOUNTSETTINGS a")
    master.say("UPDATEACCOUNTSETTINGS a {CallsLimit=2;}")
    # Another key is in nobody's way, and what it read does not become newer by that.
    assert helper.say("UPDATEACCOUNTSETTINGS a {RealName=Jo;}") == ["200 OK"]
    (told,) = helper.say("UPDATEACCOUNTSETTINGS a {CallsLimit=3; RealName=Jim;}")
    assert told.startswith("501 postmaster@corpx.un changed CallsLimit at ")
    assert master.say("GETACCOUNTSETTINGS a") == ["201 {CallsLimit=2;RealName=Jo;}"]
    assert helper.say("UPDATEACCOUNTSETTINGS a {CallsLimit=3;}") == ["200 OK"]
    # Who has read nothing is asked nothing.
    assert lab.login().say("UPDATEACCOUNTSETTINGS a {CallsLimit=4;}") == ["200 OK"]


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        ("{p={};}", "record p: domain names the registrar"),
        ('{p={domain="a b";};}', "record p: domain: a b is no host"),
        ("{p={domain=x.un;period=soon;};}", "record p: period: 'soon' is no time"),
        ("{p={domain=x.un;};q={domain=x.un;via=(a);};}", "record q: via is a string in one line"),
    ],
)
def test_a_registration_that_cannot_be_made_is_refused(
    lab: AdminLab, master: Peer, record: str, problem: str
) -> None:
    master.say("CREATEACCOUNT a")
    head = lab.log.head()
    (reply,) = master.say(f"SETACCOUNTRSIPS a {record}")
    assert reply.startswith(f"501 {problem}")
    assert lab.log.head() == head


def test_how_registrations_are(lab: AdminLab, master: Peer) -> None:
    """Telephony reference §9: by record name, for records that are there."""
    master.say("CREATEACCOUNT a", "SETACCOUNTRSIPS a {p={domain=x.un;};q={domain=y.un;};}")
    assert master.say("GETACCOUNTINFO a KEY RSIP") == ["201 {p={state=new;};q={state=new;};}"]
    later = lab.clock.wall_ns() + 60_000_000_000
    registered = TrunkRegistered(
        record="p", registrar="sip:x.un", address="sip:a@x.un", contact="sip:t@192.0.2.1",
        token="t", sip_call_id="c", cseq=1, expires_ns=later, next_ns=later,
    )  # fmt: skip
    failed = TrunkFailed(
        record="q", registrar="sip:y.un", kind="unreachable", status=408,
        reason="y.un does not answer", attempt=1, next_ns=later,
    )  # fmt: skip
    gone = TrunkRemoved(record="r", reason="removed")
    stream = "trunk/a@corpx.un"
    lab.log.append(stream, ANY_VERSION, [registered, failed, gone], Meta(actor="node:lab"))
    (reply,) = master.say("GETACCOUNTINFO a KEY RSIP")
    assert reply.startswith('201 {p={contact="sip:t@192.0.2.1";expires=#T01-01-2030_00:17:40;')
    assert 'q={lastError="y.un does not answer";nextTime=' in reply
    assert ";r={" not in reply
    master.say("SETACCOUNTRSIPS a {}")
    assert master.say("GETACCOUNTINFO a KEY RSIP") == ['201 ""']
