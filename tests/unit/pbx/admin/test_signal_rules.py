"""Signal Rules by command: who may change which, conflicts, what a renamed account keeps."""

from __future__ import annotations

import pytest

from pbx.domain.rules import RulesChanged
from pbx.rule_commands import RuleAdministration
from tests.support.admin_lab import AdminLab, Peer

NO = "510 insufficient access rights"
BUSY = '((305,busy,(),(("Reject with",486))))'
AWAY = '(100005,away,(),(("Redirect To",bob)))'
URL = '(100005,url,(),((SendURL,"http://a.example/")))'


@pytest.fixture
def lab() -> AdminLab:
    """Two domains: admin@compx.un administers the second with the code for rules, user1 nothing."""
    lab = AdminLab()
    assert lab.login().say(
        "CREATEDOMAIN compX.un",
        'CREATEACCOUNT admin@compX.un {Password="admin password";}',
        'CREATEACCOUNT user1@compX.un {Password="user password";}',
        "SETACCOUNTRIGHTS admin@compX.un (Domain,SignalRulesAllowed)",
    ) == ["200 OK"] * 4  # fmt: skip
    return lab


def user(lab: AdminLab) -> Peer:
    return lab.login("user1@compX.un", "user password")


def test_an_administrator_of_the_domain(lab: AdminLab) -> None:
    admin = lab.login("admin@compX.un", "admin password")
    assert admin.say(
        f"SETDOMAINSIGNALRULES compX.un {BUSY}", f"SETACCOUNTSIGNALRULES user1 ({URL})",
        f"UPDATEACCOUNTSIGNALRULE user1 {AWAY}", "GETDOMAINSIGNALRULES compX.un",
    ) == ["200 OK"] * 3 + [f"201 {BUSY}"]  # fmt: skip
    for line in (
        "GETSERVERSIGNALRULES", f"SETSERVERSIGNALRULES {BUSY}", "GETDOMAINSIGNALRULES corpX.un",
        f"SETDOMAINSIGNALRULES corpX.un {BUSY}", f"SETACCOUNTSIGNALRULES pbx@corpX.un {BUSY}",
    ):  # fmt: skip
        assert admin.say(line) == [NO], line


def test_without_the_code_rules_are_read_only(lab: AdminLab) -> None:
    lab.login().say("SETACCOUNTRIGHTS admin@compX.un (Domain)")
    admin = lab.login("admin@compX.un", "admin password")
    assert (
        admin.say("GETACCOUNTSIGNALRULES user1", "GETDOMAINSIGNALRULES compX.un") == ["201 ()"] * 2
    )
    for line in (
        f"SETACCOUNTSIGNALRULES user1 {BUSY}", f"UPDATEACCOUNTSIGNALRULE user1 {AWAY}",
        "UPDATEACCOUNTSIGNALRULE user1 DELETE away", f"SETDOMAINSIGNALRULES compX.un {BUSY}",
    ):  # fmt: skip
        assert admin.say(line) == [NO], line


@pytest.mark.parametrize(
    ("allowed", "may"),
    [
        ("No", [False, False, False]),
        ("Filter Only", [True, False, False]),
        ("All But Exec", [True, True, False]),
        ("Any", [True, True, True]),
    ],
)
def test_owners_store_what_the_effective_setting_allows(
    lab: AdminLab, allowed: str, may: list[bool]
) -> None:
    """Set for a whole class at the domain's defaults, it counts for the account."""
    classes = f'{{c={{SignalRulesAllowed="{allowed}";}};}}'
    lab.login().say(
        f"UPDATEACCOUNTDEFAULTS compX.un {{ServiceClasses={classes};}}",
        "UPDATEACCOUNTSETTINGS user1@compX.un {ServiceClass=c;}",
    )
    owner = user(lab)
    for rules, expected in zip((BUSY, f"({AWAY})", f"({URL})"), may, strict=True):
        (reply,) = owner.say(f"SETACCOUNTSIGNALRULES * {rules}")
        assert (reply == "200 OK") is expected, (allowed, rules, reply)
    if allowed == "No":
        assert owner.say("UPDATEACCOUNTSIGNALRULE * DELETE x", "GETACCOUNTSIGNALRULES *") == [
            NO, "201 ()",
        ]  # fmt: skip
    elif not all(may):
        assert "SignalRulesAllowed does not include it" in reply


def test_what_an_administrator_stored_the_owner_keeps_and_may_not_extend(lab: AdminLab) -> None:
    lab.login().say(
        'UPDATEACCOUNTSETTINGS user1@compX.un {SignalRulesAllowed="Filter Only";}',
        f"SETACCOUNTSIGNALRULES user1@compX.un ({AWAY})",
    )
    owner = user(lab)
    assert owner.say(f"SETACCOUNTSIGNALRULES * ({AWAY},{BUSY[1:-1]})") == ["200 OK"]
    changed = AWAY.replace("bob", "'+1900'").replace("'", '"')
    assert owner.say(f"SETACCOUNTSIGNALRULES * ({changed})")[0].startswith("501 rule 1")
    assert (
        owner.say("GETACCOUNTSIGNALRULES admin@compX.un", "GETDOMAINSIGNALRULES compX.un")
        == [NO] * 2
    )


def test_two_administrators_at_once(lab: AdminLab) -> None:
    """Who replaces what somebody else changed since it was read is told so, once."""
    one, other = lab.login(), lab.login("admin@compX.un", "admin password")
    one.say(f"SETACCOUNTSIGNALRULES user1@compX.un {BUSY}", "GETACCOUNTSIGNALRULES user1@compX.un")
    other.say(f"SETACCOUNTSIGNALRULES user1@compX.un ({AWAY})")
    set_again = f"SETACCOUNTSIGNALRULES user1@compX.un ({URL})"
    (reply,) = one.say(set_again)
    assert reply.startswith("501 admin@compx.un changed away, busy at ")
    assert one.say(set_again, set_again) == ["200 OK"] * 2


def test_the_log_says_who_and_from_where(lab: AdminLab) -> None:
    user(lab).say(f"SETACCOUNTSIGNALRULES * {BUSY}")
    (record,) = [
        r
        for r in lab.log.read_stream("account/user1@compx.un")
        if isinstance(r.event, RulesChanged)
    ]
    assert (record.actor, record.causation) == ("user1@compx.un", "pwd:127.0.0.1")


def test_a_renamed_account_keeps_rules_and_datasets(lab: AdminLab) -> None:
    rules = RuleAdministration(lab.log, actor="lab")
    rules.add_entry("user1@compx.un", "Blocked", "spam@far.example", "Spam")
    master = lab.login()
    assert master.say(
        f"SETACCOUNTSIGNALRULES user1@compX.un {BUSY}",
        "UPDATEACCOUNTSETTINGS user1@compX.un {PasswordEncryption=clear;}",
        'SETACCOUNTPASSWORD user1@compX.un PASSWORD "user password"',
        "RENAMEACCOUNT user1@compX.un INTO user2@compX.un", "GETACCOUNTSIGNALRULES user2@compX.un",
    ) == ["200 OK"] * 4 + [f"201 {BUSY}"]  # fmt: skip
    state = rules.state("user2@compx.un")
    assert state.datasets == {"Blocked": {"spam@far.example": "Spam"}}
