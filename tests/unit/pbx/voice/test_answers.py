"""What programs ask about accounts, the server and other tasks, by the rights of their account."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from pbx.calls.consult import Answer, Done, Kind, Question, Reply
from pbx.domain import objects
from pbx.domain.accounts import AccountCreated, AccountDeleted, AccountTelnumsSet, DomainCreated
from pbx.domain.setting_events import AccountSettingsChanged
from pbx.eventlog import ANY_VERSION, MemoryLog, Meta
from pbx.voice.compose import compose
from tests.support.clock import VirtualClock
from tests.support.voice_lab import PBX, Recordings, Sounds, VoiceLab
from tests.unit.pbx.calls.phone import DOMAIN

ALICE = f"alice@{DOMAIN}"


def ask(expression: str, prepare: Any = None, account: str = PBX) -> str:
    """The text form of what an expression gives in a task of an account."""
    lab = VoiceLab("alice bob", {"ask": f"entry main {{ SysLog(ObjectToString({expression})); }}"})
    lab.streams[f"account/{ALICE}"] = []
    lab.configured(ALICE)
    if prepare is not None:
        prepare(lab)
    lab.host.start_task(account, "ask")
    lab.advance(0.05)
    assert lab.watch.failures == []
    (line,) = lab.watch.log
    lab.end()
    return line


def with_rights(*codes: str) -> Any:
    return lambda lab: lab.rights(PBX, *codes)


def test_acting_as_somebody_else_needs_the_right() -> None:
    assert ask(f'Impersonate("{ALICE}")') == '"the account may not do that"'
    assert ask(f'Impersonate("{ALICE}") || MyEmail()', with_rights("CanImpersonate")) == ALICE
    assert ask('Impersonate("alice") || MyEmail()', with_rights("CanImpersonate")) == ALICE
    assert ask('Impersonate("x@elsewhere.org")') == '"the address is not local"'
    assert ask('Impersonate("alice") || MyEmail()', None, ALICE) == ALICE


def language(lab: VoiceLab) -> None:
    lab.preferences(ALICE, Language="russian", AccessPIN="4711")
    lab.rights(PBX, "CanImpersonate")


def test_language_and_preferences_follow_the_account() -> None:
    assert ask('Impersonate("alice") || GetLanguage()', language) == "russian"
    assert ask('GetAccountPreferences("AccessPIN")', language, ALICE) in ("4711", '"4711"')
    assert ask('GetAccountPreferences("~alice/AccessPIN")', language) == "#null#"
    assert ask('GetAccountPreferences("ReceptDirDigits")') in ("3", '"3"')


def gateway(lab: VoiceLab) -> None:
    values = {"PSTNGatewayDomain": "gw.example"}
    lab.configured(ALICE, AccountSettingsChanged(section="settings", values=values))


def test_settings_of_others_need_an_administrator() -> None:
    def administrator(lab: VoiceLab) -> None:
        gateway(lab)
        lab.rights(PBX, "Domain")

    asked = f'GetAccountSettings("PSTNGatewayDomain", "{ALICE}")'
    assert ask(asked, gateway) == "#null#"
    assert ask(asked, administrator) == "gw.example"
    assert ask('GetAccountSettings("PSTNGatewayDomain")', gateway, ALICE) == "gw.example"


def names(lab: VoiceLab) -> None:
    lab.rights(PBX, "Domain")
    lab.directory.apply(f"group/sales@{DOMAIN}", objects.GroupCreated(name="sales", domain=DOMAIN))
    lab.directory.apply(f"group/sales@{DOMAIN}", objects.GroupSet(members=("alice", "bob")))
    lab.directory.apply(f"account/{ALICE}", AccountTelnumsSet(telnums=("+7495",)))


def test_groups_and_numbers() -> None:
    assert ask('ReadGroupMembers("sales")', names) == "(alice,bob)"
    assert ask('ReadGroupMembers("nobody")', names) == "#null#"
    assert ask('ReadGroupMembers("sales")') == "#null#"
    assert ask('ReadTelnums("alice")', names) in ('("+7495")', "(+7495)")


def test_addresses() -> None:
    assert ask(f'RouteLocalURI("sip:alice@{DOMAIN}")') == ALICE
    assert ask('RouteLocalURI("sip:x@elsewhere.org")') == "#null#"
    assert "LOCAL" in ask(f'RouteAddress("{ALICE}", "signal")')
    assert "elsewhere.org" in ask('RouteAddress("x@elsewhere.org", "signal")')
    assert ask('RouteAddress("x", "smoke")') == '"the type is mail, signal or access"'


class Telephones:
    """An ENUM that knows one number."""

    def __init__(self, lab: VoiceLab) -> None:
        self.lab = lab
        self.asked: list[Question] = []

    def asks(self, kind: Kind) -> bool:
        return kind is Kind.NUMBER

    def ask(self, question: Question, done: Done) -> None:
        self.asked.append(question)
        known = question.text == "+7495"
        answer = Answer(Reply.ROUTED, ALICE) if known else Answer(Reply.UNKNOWN)
        self.lab.node.timers.call_at(self.lab.now + 0.01, lambda now: done(answer, now))


def enum(lab: VoiceLab) -> None:
    lab.node.consult.port = Telephones(lab)


def test_numbers_are_looked_up_in_enum() -> None:
    asked = 'RouteENUM("E2U+SIP", "{}", "e164.arpa")'
    assert ask(asked.format("+7495"), enum) == f"({ALICE})"
    assert ask(asked.format("+1"), enum) == '"no entry for the number"'
    assert ask(asked.format("+7495")) == '"ENUM is not set up on this server"'


def test_a_program_calls_a_number_that_enum_knows() -> None:
    program = """
    entry main {
      SysLog("started " + (StartCall("sip:+7495@telnum") || "well"));
      var input;
      loop input = ReadInput(60); exitif IsCallCompletedEvent(input); end loop;
      SysLog("completed " + (input.parameter || "well"));
    }
    """
    lab = VoiceLab("alice", {"out": program})
    enum(lab)
    lab.host.start_task(PBX, "out")
    lab.play("""
        +0.1
        alice < INVITE m1
        alice > 486
        alice < ACK
    """)
    assert lab.watch.log == ["started well", "completed 486-Busy Here"]
    lab.end()


def test_preferences_are_stored_with_the_log() -> None:
    """What a program changes goes the way of an administrator's command."""
    log = MemoryLog(node="lab", clock=VirtualClock(1000.0))
    meta = Meta(actor="test")
    log.append(f"domain/{DOMAIN}", 0, [DomainCreated(name=DOMAIN)], meta)
    log.append(f"account/{PBX}", 0, [AccountCreated(name="pbx", domain=DOMAIN)], meta)
    program = """
    entry main {
      SysLog("stored " + (SetAccountPreferences("russian", "Language") || "well"));
      SysLog(GetAccountPreferences("Language"));
      SysLog("stored " + (SetAccountPreferences(null, "Language") || "well"));
      SysLog("refused " + SetAccountPreferences("x", "~alice/Language"));
    }
    """
    lab = VoiceLab("alice", {"prefs": program})
    voice = compose(
        lab.node,
        lab.hosting,
        log.read_stream,
        entropy=Random(1),
        sounds=Sounds({}),
        recordings=Recordings(),
        event_log=log,
        files=lab.files,
        observer=lab.watch,
    )
    voice.host.start_task(PBX, "prefs")
    lab.advance(0.1)
    assert lab.watch.log == [
        "stored well", "russian", "stored well", "refused the account may not do that",
    ]  # fmt: skip
    kinds = [record.type for record in log.read_stream(f"account/{PBX}")]
    assert kinds == ["account.created.v1", *["account.settings-changed.v1"] * 2]


def test_the_server() -> None:
    assert ask('SystemInfo("mainDomainName")') == DOMAIN
    assert ask('SystemInfo("nonsense")') == "#null#"
    assert ask('Statistics("calls", "inc", 3) + Statistics("calls", null, null)') == "#6"
    assert "not available" in ask("ReadRoster()")


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("STARTPBXTASK pbx PROGRAM ask2", "#null#"),
        ('STARTPBXTASK pbx PROGRAM ask2 PARAM("a","b")', "#null#"),
        ("STARTPBXTASK nobody PROGRAM ask2", '"nobody is no account"'),
        ("STARTPBXTASK pbx PROGRAM missing", '"404-application missing not found"'),
        ("DELETEACCOUNT alice", None),
    ],
)
def test_commands(command: str, answer: str | None) -> None:
    quoted = command.replace('"', '\\"')
    lab = VoiceLab(
        "alice",
        {
            "ask": f'entry main {{ SysLog(ObjectToString(ExecuteCLI("{quoted}"))); }}',
            "ask2": "entry main { SysLog(ObjectToString(Vars().startParameter)); }",
        },
    )
    lab.host.start_task(PBX, "ask")
    lab.advance(0.05)
    if answer is None:
        assert "other commands" in lab.watch.log[0]
    else:
        assert answer in lab.watch.log
    if "PARAM" in command:
        assert "(a,b)" in lab.watch.log
    lab.end()


def test_events_status_and_the_end_of_tasks_from_outside() -> None:
    program = """
    entry main {
      SetApplicationStatus("waiting");
      var event = ReadInput(100);
      SysLog(event.what + " " + event.parameter);
      void(ReadInput(100));
    }
    """
    lab = VoiceLab("alice", {"wait": program})
    task = lab.host.start_task(PBX, "wait")
    lab.advance(0.05)
    assert lab.host.status(task) == b"waiting"
    assert lab.host.send_event(task, "hello", b"you") is None
    assert lab.host.send_event(task, "1x") is not None
    assert lab.host.send_event("nobody", "hello") is not None
    lab.advance(0.05)
    assert lab.watch.log == ["hello you"]
    assert lab.host.kill(task)
    assert not lab.host.kill(task)
    assert lab.host.status(task) is None
    assert lab.watch.endings == [("wait", "killed")]
    lab.end()


MEETINGS = """entry main {
  void(CreateMeeting("Conf", "4711", "open"));
  void(CreateMeeting("Conf", "0815", "closed"));
  void(CreateMeeting("Conf", "9"));
  void(RemoveMeeting("Conf", "0815"));
}"""
FIND = """entry main {
  SysLog(ObjectToString(FindMeeting("Conf", "4711")));
  SysLog(ObjectToString(FindMeeting("Conf", "0815")));
}"""


def test_meetings_survive_a_restart() -> None:
    lab = VoiceLab("alice", {"make": MEETINGS})
    lab.host.start_task(PBX, "make")
    lab.advance(0.05)
    assert lab.watch.failures == []
    kept = MemoryLog(node="before")
    for stream, _, event, meta in lab.log.events:
        if stream == f"account/{PBX}":
            kept.append(stream, ANY_VERSION, [event], meta)
    types = [record.type for record in kept.read()]
    assert types == ["meeting.set.v1", "meeting.set.v1", "meeting.set.v1", "meeting.removed.v1"]
    lab.end()

    again = VoiceLab("alice", {"find": FIND})
    again.voice.load(kept, [f"account/{PBX}"])
    again.host.start_task(PBX, "find")
    again.advance(0.05)
    assert again.watch.log == ["{parameter=open;}", "#null#"]
    gone = AccountDeleted(name="pbx", domain=DOMAIN)
    kept.append(f"account/{PBX}", ANY_VERSION, [gone], Meta(actor="admin"))
    *_, deleted = kept.read()
    again.voice.apply(deleted)
    again.host.start_task(PBX, "find")
    again.advance(0.05)
    assert again.watch.log[2:] == ["#null#", "#null#"]
    again.end()
