"""What administrators of domains may and may not do."""

from __future__ import annotations

import pytest

from tests.support.admin_lab import AdminLab, Peer

NO = "510 insufficient access rights"


@pytest.fixture
def lab() -> AdminLab:
    """Two domains: admin@compx.un administers the second, user1 nothing."""
    lab = AdminLab()
    assert (
        lab.login().say(
            "CREATEDOMAIN compX.un",
            'CREATEACCOUNT admin@compX.un {Password="admin password";}',
            'CREATEACCOUNT user1@compX.un {Password="user password";}',
            "CREATEACCOUNT user1",
            "SETACCOUNTRIGHTS admin@compX.un (Domain,BasicSettings,CanCreateAccounts,CallsLimit)",
        )
        == ["200 OK"] * 5
    )
    return lab


@pytest.fixture
def admin(lab: AdminLab) -> Peer:
    return lab.login("admin@compX.un", "admin password")


def test_the_own_domain_is_the_one_of_names_without(admin: Peer) -> None:
    assert admin.say("LISTACCOUNTS") == ["201 {admin=macnt;user1=macnt;}"]
    assert admin.say("CREATEACCOUNT user2", "DELETEACCOUNT user2") == ["200 OK", "200 OK"]


def test_other_domains_and_the_server_are_closed(admin: Peer) -> None:
    for line in (
        "LISTACCOUNTS corpX.un", "GETACCOUNTSETTINGS user1@corpX.un", "LISTDOMAINS",
        "CREATEACCOUNT x@corpX.un", "GETACCOUNTSETTINGS nobody@nowhere.example",
        "RENAMEACCOUNT user1 INTO user1@corpX.un", "GETMODULE SIP", "SHUTDOWN",
        "SETACCOUNTRIGHTS admin (Master)", "GETTEMPBLACKLISTEDIPS", "SETDOMAINSETTINGS compX.un {}",
        "SETACCOUNTSETTINGS user1 {}", "GETACCOUNTPLAINPASSWORD user1", "GETSESSION abc",
    ):  # fmt: skip
        assert admin.say(line) == [NO], line


def test_each_change_needs_its_code(admin: Peer, lab: AdminLab) -> None:
    assert admin.say("SETACCOUNTRSIPS user1 {}", "SETACCOUNTMAILRULES user1 ()",
                     "UPDATEACCOUNTPREFS user1 {Language=russian;}",
                     "CREATEDOMAINPBX compX.un") == [NO] * 4  # fmt: skip
    assert admin.say("CREATEACCOUNT x TextMailbox") == [NO]
    lab.login().say("SETACCOUNTRIGHTS admin@compX.un (BasicSettings, CanCreateAccounts)")
    assert admin.say("CREATEACCOUNT y") == [NO]


def test_update_changes_what_is_allowed_and_leaves_the_rest(admin: Peer) -> None:
    assert admin.say(
        "UPDATEACCOUNTSETTINGS user1 {RealName=Jo; CallsLimit=2; MaxWebSize=5G;}",
        "GETACCOUNTSETTINGS user1",
    ) == ["200 OK", "201 {CallsLimit=2;RealName=Jo;}"]


def test_an_account_sees_and_changes_itself(lab: AdminLab) -> None:
    user = lab.login("user1@compX.un", "user password")
    assert user.say("GETACCOUNTSETTINGS *", "GETACCOUNTSETTINGS user1@compX.un") == ["201 {}"] * 2
    assert user.say("UPDATEACCOUNTPREFS * {Language=russian;}", "GETACCOUNTPREFS *") == [
        "200 OK", "201 {Language=russian;}",
    ]  # fmt: skip
    assert user.say('SETACCOUNTPASSWORD * PASSWORD "a new password"') == ["200 OK"]
    for line in (
        "GETACCOUNTSETTINGS admin", "UPDATEACCOUNTSETTINGS * {CallsLimit=9;}", "LISTACCOUNTS",
        "GETACCOUNTRIGHTS *", "CREATEACCOUNT z", "KILLACCOUNTSESSIONS *", "GETVERSION x",
    ):  # fmt: skip
        assert user.say(line)[0][:3] in ("510", "501"), line
    assert user.say("UPDATEACCOUNTSETTINGS * {CallsLimit=9;}") == [NO]


def test_owners_change_records_where_a_setting_lets_them(lab: AdminLab) -> None:
    user = lab.login("user1@compX.un", "user password")
    assert user.say("SETACCOUNTRSIPS * {a={domain=x.un;};}") == [NO]
    lab.login().say("UPDATEACCOUNTSETTINGS user1@compX.un {RSIPAllowed=YES;RulesAllowed=No;}")
    assert user.say("SETACCOUNTRSIPS * {a={domain=x.un;};}") == ["200 OK"]
    assert user.say("SETACCOUNTMAILRULES * ()") == [NO]


def test_administrators_of_another_domain(lab: AdminLab, admin: Peer) -> None:
    master = lab.login()
    master.say("CREATEDOMAIN client.un", "CREATEACCOUNT a@client.un")
    assert admin.say("LISTACCOUNTS client.un") == [NO]
    assert master.say("UPDATEDOMAINSETTINGS client.un {AdminDomainName=compX.un;}") == ["200 OK"]
    assert admin.say("LISTACCOUNTS client.un", "LISTADMINDOMAINS") == [
        "201 {a=macnt;}", "201 (client.un)",
    ]  # fmt: skip


def test_server_rights_count_in_the_main_domain_only(lab: AdminLab) -> None:
    master = lab.login()
    assert master.say("SETACCOUNTRIGHTS user1@compX.un (Master)") == ["200 OK"]
    user = lab.login("user1@compX.un", "user password")
    assert user.say("LISTDOMAINS") == [NO]


def test_all_domains_does_not_make_masters(lab: AdminLab) -> None:
    master = lab.login()
    master.say('CREATEACCOUNT helper {Password="helper password";}',
               "SETACCOUNTRIGHTS helper (UserAccounts)")  # fmt: skip
    helper = lab.login("helper", "helper password")
    assert helper.say("LISTDOMAINS", "GETACCOUNTSETTINGS user1@compX.un") == [
        "201 (corpx.un,compx.un)", "201 {}",
    ]  # fmt: skip
    for line in ("SETACCOUNTRIGHTS helper (Master)", "SETACCOUNTRIGHTS user1 (Domain)",
                 "SETACCOUNTRIGHTS user1@compX.un (Master)", "LISTMODULES"):  # fmt: skip
        assert helper.say(line) == [NO], line
    assert helper.say("SETACCOUNTRIGHTS user1@compX.un (Domain)") == ["200 OK"]


def test_rights_that_are_taken_away_are_gone_at_once(lab: AdminLab, admin: Peer) -> None:
    lab.login().say("SETACCOUNTRIGHTS admin@compX.un ()")
    assert admin.say("LISTACCOUNTS") == [NO]
    lab.login().say("KILLACCOUNTSESSIONS admin@compX.un")
    assert admin.say("NOOP") == ["501 session closed by an administrator"]
