"""Who may come in, and how guessing ends."""

from __future__ import annotations

import pytest

from pbx.admin.credentials import Plain
from pbx.admin.guard import GuardLimits, LoginGuard
from pbx.admin.jobs import Login, Refused
from tests.support.admin_lab import DOMAIN, PASSWORD, AdminLab

WRONG = "515 incorrect password or account name"


def guess(lab: AdminLab, name: str, address: str) -> str:
    peer = lab.open(address)
    return peer.say(f"USER {name}", "PASS wrong")[-1]


def login(lab: AdminLab, address: str, name: str = "postmaster", password: str = PASSWORD) -> str:
    return lab.open(address).say(f"USER {name}", f"PASS {password}")[-1]


def test_unknown_names_are_refused_as_wrong_passwords_are() -> None:
    lab = AdminLab()
    names = ("postmaster", "nobody", "postmaster@elsewhere.example", "x" * 4000, "@", "%")
    assert {guess(lab, name, f"10.0.0.{n}") for n, name in enumerate(names)} == {WRONG}


def test_answers_to_wrong_logins_get_slower_by_address() -> None:
    lab = AdminLab()
    client = lab.open("10.0.0.1").client
    delays = []
    for _ in range(6):
        outcome = lab.service.perform(client, Login("postmaster", Plain("wrong")))
        assert isinstance(outcome, Refused)
        delays.append(outcome.delay_s)
    assert delays == sorted(delays)
    assert delays[0] == 0.25
    assert delays[-1] == 8.0


def test_an_address_is_locked_and_opens_again() -> None:
    lab = AdminLab()
    client = lab.open("10.0.0.1").client
    for _ in range(10):
        lab.service.perform(client, Login("nobody", Plain("wrong")))
    assert "too many wrong logins, wait" in login(lab, "10.0.0.1")
    assert login(lab, "10.0.0.2") == "200 login OK"
    lab.clock.now += 300
    assert login(lab, "10.0.0.1") == "200 login OK"


def test_an_account_is_locked_for_everybody_and_opens_again() -> None:
    lab = AdminLab()
    for n in range(20):
        lab.service.perform(lab.open(f"10.0.1.{n}").client, Login("postmaster", Plain("wrong")))
    assert login(lab, "10.0.2.1") == WRONG
    lab.clock.now += 300
    assert login(lab, "10.0.2.1") == "200 login OK"


def test_the_count_decays() -> None:
    lab = AdminLab()
    for _ in range(40):
        guess(lab, "nobody", "10.0.0.1")
        lab.clock.now += 60
    assert login(lab, "10.0.0.1") == "200 login OK"


def test_the_account_says_how_many_are_too_many() -> None:
    lab = AdminLab()
    lab.login().say("UPDATEACCOUNTSETTINGS * {FailedLoginFlow=(1,1m);}")
    for n in range(2):
        guess(lab, "postmaster", f"10.0.1.{n}")
    assert login(lab, "10.0.2.1") == WRONG


def test_white_holes_are_never_locked() -> None:
    lab = AdminLab()
    lab.login().say('SETWHITEHOLEIPS "10.0.0.0/24"')
    for _ in range(30):
        guess(lab, "nobody", "10.0.0.1")
    assert login(lab, "10.0.0.1") == "200 login OK"


@pytest.mark.parametrize(
    "setting",
    ["AccessModes = None", "AccessModes = (27, Mail, SIP)", "UseAppPassword = NO",
     'LoginAddresses = "10.0.0.0/24"', "RequireAPOP = YES"],
)  # fmt: skip
def test_settings_that_keep_an_account_out(setting: str) -> None:
    lab = AdminLab()
    lab.administration.create_account(f"user1@{DOMAIN}", "user password")
    assert lab.login().say(f"UPDATEACCOUNTSETTINGS user1 {{{setting};}}") == ["200 OK"]
    assert login(lab, "192.0.2.1", "user1", "user password") == WRONG


def test_a_domain_without_the_service_and_a_suspended_one() -> None:
    lab = AdminLab()
    master = lab.login()
    master.say("CREATEDOMAIN other.un", 'CREATEACCOUNT a@other.un {Password="user password";}')
    assert login(lab, "10.0.0.1", "a@other.un", "user password") == "200 login OK"
    master.say("UPDATEDOMAINSETTINGS other.un {DomainAccessModes=(27,SIP);}")
    assert login(lab, "10.0.0.1", "a@other.un", "user password") == WRONG
    master.say("UPDATEDOMAINSETTINGS other.un {DomainAccessModes=default;}")
    assert login(lab, "10.0.0.1", "a@other.un", "user password") == "200 login OK"
    assert master.say("SUSPENDDOMAIN other.un") == ["200 OK"]
    assert login(lab, "10.0.0.1", "a@other.un", "user password") == WRONG
    assert master.say("RESUMEDOMAIN other.un") == ["200 OK"]
    assert login(lab, "10.0.0.1", "a@other.un", "user password") == "200 login OK"


def test_a_recoverable_password_is_sealed_and_others_are_not_kept() -> None:
    lab = AdminLab()
    master = lab.login()
    master.say('CREATEACCOUNT plain {Password="recoverable one"; PasswordEncryption=clear;}')
    master.say('CREATEACCOUNT digest {Password="unrecoverable one";}')
    assert master.say("GETACCOUNTPLAINPASSWORD plain") == ['201 "recoverable one"']
    assert master.say("GETACCOUNTPLAINPASSWORD digest") == [
        "501 the password is kept as digests only"
    ]
    stored = b"".join(record.data for record in lab.log.read())
    assert b"recoverable one" not in stored


def test_logins_are_seen_in_the_info() -> None:
    lab = AdminLab()
    guess(lab, "postmaster", "10.9.9.9")
    lab.login()
    lab.clock.now += 3601
    (reply,) = lab.login().say("GETACCOUNTINFO * (LastAddress, PrevLoginAddress, "
                               "LastFailedLoginAddress)")  # fmt: skip
    assert reply == (
        "201 {LastAddress=#I[127.0.0.1];LastFailedLoginAddress=#I[10.9.9.9];"
        "PrevLoginAddress=#I[127.0.0.1];}"
    )
    logins = [r for r in lab.log.read() if r.type.startswith("login.")]
    lab.login()
    assert [r for r in lab.log.read() if r.type.startswith("login.")] == logins


def test_the_guard_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pbx.admin.guard.MAX_ENTRIES", 10)
    guard = LoginGuard(GuardLimits(failures=2))
    for n in range(100):
        guard.failed(f"ip:{n}", float(n))
    assert guard.statistics() == {"guard_entries": 10}
    assert guard.locked(100.0) == {}
    guard.failed("ip:99", 100.0)
    assert guard.locked(100.0) == {"ip:99": 300.0}
