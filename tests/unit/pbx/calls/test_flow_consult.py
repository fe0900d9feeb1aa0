"""Names and numbers that are asked elsewhere, and passwords that are kept there."""

from __future__ import annotations

from typing import Any

import pytest

from pbx.calls.consult import MAX_WAITING, Answer, Done, Kind, Question, Reply
from pbx.domain.accounts import AccountCreated
from pbx.domain.calls import CallRouted
from pbx.domain.nodes import AuthFailed
from pbx.domain.setting_events import AccountSettingsChanged, DomainSettingsChanged
from tests.unit.pbx.calls.phone import DOMAIN
from tests.unit.pbx.calls.test_flow_classes import Office

SILENT = Answer(Reply.SILENT)


class Asked:
    """The port; the test answers."""

    def __init__(self, *kinds: Kind) -> None:
        self.kinds = kinds
        self.waiting: list[tuple[Question, Done]] = []

    def asks(self, kind: Kind) -> bool:
        return kind in self.kinds

    def ask(self, question: Question, done: Done) -> None:
        self.waiting.append((question, done))


class Consulting(Office):
    """An office that asks about unknown names and numbers."""

    def __init__(self, phones: str = "alice bob", *kinds: Kind, **config: Any) -> None:
        super().__init__(phones, **config)
        self.asked = Asked(*(kinds or (Kind.NAME,)))
        self.node.consult.port = self.asked
        values = {"ExternalOnUnknown": "YES"}
        self.node.configured(f"domain/{DOMAIN}", DomainSettingsChanged(values=values))

    def answer(self, text: str, reply: Reply, said: str = "") -> None:
        """The one question that waits is this one; the answer."""
        (question, done), self.asked.waiting = self.asked.waiting[0], self.asked.waiting[1:]
        assert question.text == text
        done(Answer(reply, said), self.now)
        self.pump()

    def steps(self) -> tuple[str, ...]:
        routed: list[CallRouted] = self.log.of(CallRouted)
        return routed[-1].steps


def test_an_address_given_for_a_name() -> None:
    """The call rests meanwhile, others go on; the answer is kept for the next call."""
    office = Consulting("alice bob carol")
    office.play("""
        alice > INVITE helpdesk a1
        +0.3
    """)
    office.reaches("bob", "bob", who="carol")
    office.answer(f"helpdesk@{DOMAIN}", Reply.ROUTED, "bob")
    office.play("""
        bob < INVITE a1
        bob > 486
        bob < ACK
        alice < 486
        alice > ACK
    """)
    assert any("says the external program" in step for step in office.steps())
    office._calls += 10
    office.reaches("bob", "helpdesk", who="carol")
    assert office.asked.waiting == []
    office.advance(61)
    office.play("alice.90 > INVITE helpdesk a1")
    assert len(office.asked.waiting) == 1
    office.answer(f"helpdesk@{DOMAIN}", Reply.UNKNOWN)
    office.play("alice.90 < 404")
    office.end()


def test_an_account_that_is_made_on_the_way() -> None:
    """The program says OK before the log has told us of the account."""
    office = Consulting()
    office.play("alice > INVITE fresh a1")
    office.answer(f"fresh@{DOMAIN}", Reply.MADE)
    office.advance(0.2)
    office.node.configured(f"account/fresh@{DOMAIN}", AccountCreated(name="fresh", domain=DOMAIN))
    office.advance(0.1)
    office.play("""
        alice < 480
        alice > ACK
    """)
    assert office.log.of(CallRouted)[-1].outcome == "account"
    office.play("alice.2 > INVITE other a1")
    office.answer(f"other@{DOMAIN}", Reply.MADE)
    office.advance(3)
    office.play("""
        alice.2 < 404
        alice.2 > ACK
    """)
    office.end()


def test_no_answer_is_told_and_forgotten_soon() -> None:
    office = Consulting()
    office.play("alice > INVITE nobody a1")
    office.answer(f"nobody@{DOMAIN}", Reply.SILENT)
    office.play("""
        alice < 480
        alice > ACK
    """)
    assert office.log.of(CallRouted)[-1].reason == "who knows such names does not answer now"
    office._calls = 20
    office.refused("nobody", 480)
    assert office.asked.waiting == []
    office.advance(6)
    office.play("alice.90 > INVITE nobody a1")
    office.answer(f"nobody@{DOMAIN}", Reply.UNKNOWN)
    office.play("alice.90 < 404")
    office.end()


def test_the_same_name_is_asked_once_and_whoever_gives_up_is_gone() -> None:
    office = Consulting("alice bob carol")
    office.play("""
        alice > INVITE x a1
        carol > INVITE x c1
        +0.3
        alice > CANCEL
        alice < 200 CANCEL
        alice < 487 INVITE
    """)
    assert len(office.asked.waiting) == 1
    office.answer(f"x@{DOMAIN}", Reply.ROUTED, f"bob@{DOMAIN}")
    office.play("""
        bob < INVITE c1
        bob > 486
        bob < ACK
        carol < 486
        carol > ACK
    """)
    assert office.node.statistics()["consulting"] == 0
    office.end()


def test_too_many_that_wait_are_answered_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pbx.calls.consult.MAX_WAITING", 1)
    assert MAX_WAITING > 1
    office = Consulting()
    office.play("""
        alice > INVITE x a1
        alice.2 > INVITE y a1
        alice.2 < 404
        alice.2 > ACK
    """)
    office.answer(f"x@{DOMAIN}", Reply.UNKNOWN)
    office.play("alice < 404")
    office.end()


def test_who_does_not_ask() -> None:
    """Domains that did not say so; addresses that can be found; calls for help."""
    office = Consulting()
    office.add_domain("other.example")
    office.refused("sip:x@other.example", 404)
    office.reaches("bob", "bob")
    office.refused("112", 404)
    assert office.asked.waiting == []
    office.node.consult.port = Asked()
    office.refused("nobody", 404)
    office.end()


def test_what_the_program_says_is_the_administrators_word() -> None:
    """It may lead out, for strangers too; nonsense is as nothing; a circle ends."""
    office = Consulting("bob", outside_calls=True)
    office.add("out", host="203.0.113.66", bind=False)
    office.play("out > INVITE sales o1 raw")
    office.answer(f"sales@{DOMAIN}", Reply.ROUTED, "+4930123456@trunk.example")
    office.play("""
        gw < INVITE o1
        gw > 486
        gw < ACK
        out < 486
    """)
    for number, said in enumerate((f"sales{0}@{DOMAIN}", "a@@b", "x" * 5000)):
        office.play(f"out.{number} > INVITE sales{number} o1 raw")
        office.answer(f"sales{number}@{DOMAIN}", Reply.ROUTED, said)
        office.play(f"out.{number} < 404")
    office.end()


def test_the_server_stops_while_somebody_waits() -> None:
    office = Consulting()
    office.play("alice > INVITE x a1")
    office.node.stop(office.now, lambda: None)
    office.answer(f"x@{DOMAIN}", Reply.ROUTED, "bob")
    office.play("alice < 503")
    office.node.stopping = False
    office.end()


# ENUM.


def test_a_number_that_enum_knows() -> None:
    """Before the table's way to the gateway; the class of service of the caller counts."""
    office = Consulting("alice bob", Kind.NUMBER)
    office.outside["berlin.example"] = "gw"
    office.play("alice > INVITE sip:+4930123456@telnum a1")
    office.answer("+4930123456", Reply.ROUTED, "info@berlin.example")
    office.play("""
        gw < INVITE a1 | Request-URI: sip:info@berlin.example
        gw > 486
        gw < ACK
        alice < 486
        alice > ACK
    """)
    assert any("says ENUM" in step for step in office.steps())
    assert not any("pstn" in step for step in office.steps())
    office.settings("bob", CallOutAllowed=["internal"])
    assert "sip destinations" in office.refused("sip:+4930123456@telnum", who="bob")
    office.end()


@pytest.mark.parametrize("reply", [Reply.UNKNOWN, Reply.SILENT])
def test_a_number_that_enum_does_not_know_goes_on(reply: Reply) -> None:
    office = Consulting("alice bob", Kind.NUMBER)
    office.play("alice > INVITE sip:5551234@telnum a1")
    office.answer("5551234", reply)
    # To the program of the gateway, as the table says; nothing runs programs here.
    office.play("""
        alice < 404
        alice > ACK
    """)
    office.end()


# Passwords.


def password_office() -> Consulting:
    office = Consulting("alice bob", Kind.PASSWORD)
    office.node.configured(
        f"account/alice@{DOMAIN}", AccountSettingsChanged(values={"UseExtPassword": "YES"})
    )
    return office


def test_the_own_password_is_tried_first() -> None:
    office = password_office()
    office.reaches("bob", "bob")
    assert office.asked.waiting == []
    office.end()


def test_a_password_that_the_program_has() -> None:
    """The request rests; then the digest is right, and is so for a while without asking."""
    office = password_office()
    office.phones["alice"].password = "kept elsewhere"
    office.play("alice > INVITE bob a1")
    office.answer(f"alice@{DOMAIN}", Reply.PASSWORD, "kept elsewhere")
    office.play("""
        bob < INVITE a1
        bob > 486
        bob < ACK
        alice < 486
        alice > ACK
    """)
    office._calls = 20
    office.reaches("bob", "bob")
    assert office.asked.waiting == []
    # Any change of the account asks anew.
    office.settings("alice", RealName="Al")
    office.play("alice.90 > INVITE bob a1")
    office.answer(f"alice@{DOMAIN}", Reply.PASSWORD, "another")
    office.play("alice.90 < 401")
    office.end()


def test_a_program_that_is_silent_locks_nobody_out() -> None:
    office = password_office()
    office.phones["alice"].password = "kept elsewhere"
    office.play("alice > INVITE bob a1")
    office.answer(f"alice@{DOMAIN}", Reply.SILENT)
    office.play("alice < 401")
    assert office.log.of(AuthFailed) == []
    office.end()


def test_a_wrong_password_counts_as_wrong() -> None:
    office = password_office()
    office.phones["alice"].password = "guess"
    office.play("alice > INVITE bob a1")
    office.answer(f"alice@{DOMAIN}", Reply.PASSWORD, "kept elsewhere")
    office.play("alice < 401")
    assert [failed.account for failed in office.log.of(AuthFailed)] == [f"alice@{DOMAIN}"]
    office.end()


def test_accounts_that_do_not_use_it() -> None:
    office = password_office()
    office.phones["bob"].password = "guess"
    office.play("""
        bob > INVITE alice b1
        bob < 401
    """)
    assert office.asked.waiting == []
    office.end()
