"""The shipped applications, run offline as callers meet them."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from pbx.script.builtins.registry import Environment
from pbx.script.offline.run import stock_directory
from pbx.script.program import check_program
from pbx.script.source import Source
from pbx.script.testing import Run, call, start

STOCK = stock_directory()
FILES = sorted(path for path in STOCK.iterdir() if path.suffix in (".sppr", ".sppi"))
ALICE = {"uri": "sip:alice@example.org", "name": "Alice", "authenticated": "alice@example.org"}
OUTSIDE = {"uri": "sip:+7900@provider.test"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_findings(path: Path) -> None:
    """Every shipped file compiles without a warning."""
    source = Source.from_bytes(path.name, path.read_bytes())
    assert check_program(source, Environment.of_file(path.name)) == ()


def test_every_prompt_has_its_words_in_both_languages() -> None:
    """What a program plays is in the list of prompts; the list has no prompt that nobody plays."""
    listed = tomllib.loads((STOCK / "prompts.toml").read_text("utf-8"))["prompts"]
    spoken = {name for name, words in listed.items() if "en" in words}
    assert spoken == {name for name, words in listed.items() if "ru" in words}
    played = set()
    for path in FILES:
        played |= set(re.findall(r'PlayFile\("([a-z0-9-]+)"\s*[,)]', path.read_text("utf-8")))
    assert played - spoken - {"blank", "holdmusic"} == set()
    computed = {name for name in spoken if re.fullmatch(r"n[0-9]+[a-z]*|for[a-z]+", name)}
    choices = {"urgent", "noturgent"}
    assert spoken - played - computed - choices == set()


# The attendant.

PREFERENCES = {"ReceptMenu": ["techsupport", "conference", "operator"], "ReceptDirPrefix": "4"}


def _attendant(does: str, caller: dict[str, Any] | None = None, **more: Any) -> Run:
    party = {"dialled": "sip:200@example.org", **(caller or OUTSIDE), "does": does}
    scenario: dict[str, Any] = {
        "accounts": {"pbx@example.org": {"preferences": PREFERENCES}, "alice@example.org": {}},
        "destinations": {"techsupport": {"does": "w5 h"}, "402": {"does": "w5 h"}, "operator": {}},
        **more,
    }
    return call("pbx", caller=party, **scenario)


def test_attendant_menu_and_department() -> None:
    """The menu is spoken in order, a digit connects to the department as the caller."""
    run = _attendant("1 w30")
    assert run.heard[:9] == [
        "blank.wav", "welcome.wav", "fortechsupport.wav", "press.wav", "n1.wav",
        "forconference.wav", "press.wav", "n2.wav", "dialknownextension.wav",
    ]  # fmt: skip
    assert run.calls == ["calls sip:techsupport@example.org as sip:+7900@provider.test"]
    assert run.texts("bridge") == ["joins caller and techsupport@example.org"]


def test_attendant_extension() -> None:
    """The directory prefix and two more digits reach an extension."""
    assert _attendant("402 w30").calls == ["calls sip:402@example.org as sip:+7900@provider.test"]


def test_attendant_incomplete_and_wrong() -> None:
    """Incomplete numbers and unknown digits are told, the menu comes again."""
    run = _attendant("40 t 9 w5 h")
    assert run.heard.count("invalidentry.wav") == 2
    assert run.calls == []


def test_attendant_silence_leads_to_the_operator() -> None:
    """After three silent rounds."""
    run = _attendant("t t t w30 h")
    assert run.calls == ["calls sip:operator@example.org as sip:+7900@provider.test"]


def test_attendant_busy_department_returns_to_the_menu() -> None:
    """A failure is told, and another choice is possible."""
    run = _attendant(
        "1 402 w30", destinations={"techsupport": {"status": 486}, "402": {"does": "w5 h"}}
    )
    assert "failure.wav" in run.heard
    assert len(run.calls) == 2


def test_attendant_callers_of_the_domain_are_authenticated() -> None:
    """401 to an unauthenticated own caller, unless it is a gateway; others are let in."""
    local = {"uri": "sip:gate1@example.org"}
    assert _attendant("h", local).rejected == "401"
    assert _attendant("h", local, groups={"ExternalGateways": ["gate1"]}).rejected is None
    assert _attendant("h", ALICE).rejected is None


def test_attendant_languages() -> None:
    """The default language is offered first; the choice changes the prompts' directory."""
    accounts = {
        "pbx@example.org": {"preferences": {**PREFERENCES, "LanguageMenu": ["russian"]}},
    }
    run = _attendant("2 w1 h", accounts=accounts)
    assert run.heard[:7] == [
        "blank.wav", "selectlanguage.wav", "press.wav", "n1.wav",
        "selectlanguage.wav", "press.wav", "n2.wav",
    ]  # fmt: skip


def test_attendant_service_access() -> None:
    """Number and Access PIN open the mailbox menu."""
    accounts = {
        "pbx@example.org": {"preferences": PREFERENCES},
        "402@example.org": {"preferences": {"AccessPIN": "99"}},
    }
    run = _attendant("* 402# 11# 99# * h", accounts=accounts)
    assert "acts as 402@example.org" in run.texts("impersonate")
    assert run.heard.count("servicemenu.wav") == 1


def test_unknown_function_number() -> None:
    """Function numbers that nobody has are told."""
    run = call("pbx", caller={**OUTSIDE, "dialled": "sip:755@example.org"})
    assert run.heard == ["blank.wav", "invalidentry.wav", "goodbye.wav"]


# Conferences.


def test_conference_create_mail_and_join() -> None:
    """A user creates an open conference and starts it; the PIN goes by mail."""
    caller = {**ALICE, "dialled": "sip:760@example.org"}
    run = call("pbx", caller={**caller, "does": "1 1 h"}, accounts={"alice@example.org": {}})
    (mail,) = run.mail
    assert mail["To"] == "alice@example.org"
    pin = re.fullmatch(r"Conference (\d{6})", mail["Subject"])
    assert pin is not None
    # The same seed draws the same PIN.
    does = f"1 1 2 {pin.group(1)} w60 !** w1"
    run = call("pbx", caller={**caller, "does": does}, accounts={"alice@example.org": {}})
    assert "conferencestarted.wav" in run.heard
    assert run.heard[-1] == "goodbye.wav"


def test_conference_outsiders_are_asked_for_the_pin() -> None:
    """Three wrong PINs end the call."""
    run = call("conference", caller={**OUTSIDE, "does": "111111 222222 333333 w5"})
    assert run.heard.count("enterpin.wav") == 3
    assert run.heard[-1] == "goodbye.wav"


# Voicemail.

CALLEE = {"account": "402@example.org"}


def _voicemail(does: str, state: dict[str, Any] | None = None, **caller: Any) -> Run:
    accounts = {"402@example.org": state or {}}
    party = {**ALICE, **caller, "does": does}
    return call("voicemail", account="402@example.org", caller=party, accounts=accounts)


def test_voicemail_hang_up_sends() -> None:
    """A message of some seconds is sent when the caller hangs up."""
    run = _voicemail("w5 s4 h")
    assert run.heard == ["blank.wav", "leavemessage.wav", "recordaftertone.wav", "tone"]
    (mail,) = run.mail
    assert mail["From"] == "alice@example.org"
    assert mail["Subject"] == "Voice Message from Alice"
    assert mail["Content-Class"] == "voice"
    audio = run.done.services.mail[0].content[1]
    assert audio["filename"] == "voicemail.wav"
    assert len(audio["body"]) > 8000


def test_voicemail_too_short() -> None:
    """Less than a second is nothing."""
    assert _voicemail("w3.2 h").mail == []


def test_voicemail_menu() -> None:
    """A digit ends the recording; listen, make it urgent, send; or cancel."""
    run = _voicemail("w8 # 2 4 w9")
    assert run.heard[4:] == [
        "voicemailmenu.wav", "data", "voicemailmenu.wav", "urgent.wav", "messagesent.wav",
        "goodbye.wav",
    ]  # fmt: skip
    assert run.mail[0]["X-Priority"] == "1"
    assert _voicemail("w8 # * w9").mail == []


def test_voicemail_own_greeting() -> None:
    """The account's greeting replaces the standard one."""
    run = _voicemail("w1 h", {"files": {"mailprompt.wav": "RIFF"}})
    assert run.heard[1] == "data"


def test_voicemail_opens_the_owners_menu() -> None:
    """Two stars and the PIN."""
    run = _voicemail("w1 !* !* 99# *", {"preferences": {"AccessPIN": "99"}})
    assert "servicemenu.wav" in run.heard
    assert run.mail == []


# The owner's menu.


def _service(does: str, parameter: Any = None, **state: Any) -> Run:
    return call(
        "service",
        account="alice@example.org",
        parameter=parameter,
        caller={**ALICE, "does": does},
        accounts={"alice@example.org": state},
        destinations={"402": {"does": "w5 h"}, "bob@example.org": {"does": "w5 h"}},
    )


MESSAGES: list[dict[str, Any]] = [{"from": "bob@example.org", "seconds": 4}, {"seen": True}]


def test_service_inbox() -> None:
    """*51: new messages are counted, played, marked and deleted."""
    run = _service("1 7 * w5", ["51"], messages=[dict(one) for one in MESSAGES])
    assert run.heard[1:6] == [
        "youhave.wav", "n1.wav", "newmessages.wav", "inboxmenu.wav", "data"
    ]  # fmt: skip
    assert len(run.scenario.accounts["alice@example.org"].messages) == 1


def test_service_calls_the_sender_back() -> None:
    """4 in a message."""
    run = _service("1 4 w30 h", ["51"], messages=[dict(one) for one in MESSAGES])
    assert run.calls == ["calls sip:bob@example.org"]


def test_service_greeting() -> None:
    """*52: record and store."""
    run = _service("2 w7 # w5", ["52"])
    assert run.texts("store") == ["stores the file mailprompt.wav"]


def test_service_dial_out() -> None:
    """*77: a number, called as the owner."""
    assert _service("402# w30", ["77"]).calls == ["calls sip:402@example.org"]


def test_service_needs_its_owner() -> None:
    """401 without authentication, 403 for somebody else."""
    anonymous = {"uri": "sip:alice@example.org"}
    run = call("service", account="alice@example.org", caller=anonymous)
    assert run.rejected == "401"
    run = call("service", account="bob@example.org", caller=ALICE)
    assert run.rejected == "403 not your mailbox"


# Gateways.

GATEWAY = {
    "PSTNGatewayDomain": "gw.test",
    "PSTNFromName": "*",
    "PSTNGatewayAuthName": "000001",
    "PSTNGatewayPassword": "secret",
}


def _gateway(settings: dict[str, Any], parameter: Any = None, **caller: Any) -> Run:
    return call(
        "gatewaycaller",
        parameter=parameter or ["+71234567890"],
        caller={**ALICE, **caller, "does": "w10 h"},
        accounts={"alice@example.org": {"settings": settings, "telnums": ["+7495"]}},
        destinations={"+71234567890@gw.test": {}, "+71234567890@us.test": {}},
    )


def test_gateway_call() -> None:
    """The number at the gateway's domain, from the first telnum."""
    run = _gateway(GATEWAY)
    assert run.calls == ["calls (media of T1) sip:+71234567890@gw.test as sip:+7495@gw.test"]
    assert run.texts("bridge") == ["joins caller and +71234567890@gw.test"]


def test_gateway_by_key() -> None:
    """Settings by gateway, as an object or as text; the first key is the default."""
    several = {
        "PSTNGatewayDomain": "{ gwru = gw.test; gwus = us.test; }",
        "PSTNFromName": {"gwru": "100", "gwus": "200"},
    }
    assert _gateway(several, ["+71234567890", "gwus"]).calls[0].endswith("sip:200@us.test")
    assert _gateway(several).calls[0].endswith("sip:100@gw.test")


@pytest.mark.parametrize(
    ("settings", "caller", "status"),
    [
        (GATEWAY, {"authenticated": "nobody@example.org"}, "500 Failed to read settings"),
        ({}, {}, "403 no gateway configured"),
    ],
)
def test_gateway_refusals(settings: dict[str, Any], caller: dict[str, Any], status: str) -> None:
    """Reasons are told."""
    assert _gateway(settings, **caller).rejected == status


def test_gateway_needs_authentication_or_a_redirecting_account() -> None:
    """A call that a user's rule sent here is that user's."""
    unknown = {"uri": "sip:x@other.test"}
    assert call("gatewaycaller", parameter=["+7"], caller=unknown).rejected == "401"
    accounts = {"alice@example.org": {"settings": GATEWAY}}
    run = call(
        "gatewaycaller",
        parameter=["+7"],
        caller={**unknown, "redirector": "alice@example.org"},
        accounts=accounts,
    )
    assert run.rejected == "404 Not Found"


def test_incoming_gateway_call() -> None:
    """The number in the own domain, from the original caller; failures keep their code."""
    run = call(
        "gatewayincoming",
        parameter=["402"],
        caller={**OUTSIDE, "does": "w9 h"},
        destinations={"402": {}},
    )
    assert run.calls == ["calls (media of T1) sip:402@example.org as sip:+7900@provider.test"]
    run = call(
        "gatewayincoming", parameter=["402"], caller=OUTSIDE, destinations={"402": {"status": 486}}
    )
    assert run.rejected == "486 Busy Here"


# Small ones.


def test_echo() -> None:
    """What was said is played back, # ends."""
    run = call("echotest", digits="w4 s6 # w1")
    assert run.heard[:4] == ["blank.wav", "welcome.wav", "echotest.wav", "data"]
    assert run.heard[-1] == "goodbye.wav"


def test_rendezvous() -> None:
    """First the one, then the other, then both."""
    parties = {"401": {"does": "w60 h"}, "402": {}}
    run = start("rendezvous", parameter=["401", "402"], destinations=parties)
    assert run.calls == ["calls sip:401@example.org", "calls sip:402@example.org"]
    assert run.texts("bridge") == ["joins 401@example.org and 402@example.org"]


def test_rendezvous_failures() -> None:
    """The first fails: a log record; the second: the first hears it."""
    run = start("rendezvous", parameter=["401", "402"], destinations={"401": {"status": 486}})
    assert run.log == ["rendezvous: 401 is not available: 486-Busy Here"]
    run = start("rendezvous", parameter=["401", "402"], destinations={"401": {}})
    assert run.heard[-1] == "failure.wav"
    run = start("rendezvous", parameter="401")
    assert "two parties" in run.log[0]


def test_callback_after_refusal() -> None:
    """Refused, called back, dialled out with the PIN."""
    run = call(
        "callback",
        account="alice@example.org",
        caller={"uri": "sip:+7900@provider.test"},
        accounts={"alice@example.org": {"preferences": {"AccessPIN": "42"}}},
        destinations={
            "+7900@provider.test": {"does": "42# 402# w20 h"},
            "402": {"does": "w5 h"},
        },
    )
    assert run.rejected == "486 Busy Here"
    assert run.calls == ["calls sip:+7900@provider.test", "calls sip:402@example.org"]


def test_park() -> None:
    """A parked call hears music, and after five minutes goodbye."""
    run = call("park", caller=OUTSIDE)
    assert run.heard[0] == "parked.wav"
    assert run.heard[-1] == "goodbye.wav"
    assert 290 < run.transcript.entries[-1].time_s < 330


def test_pickup_of_nothing() -> None:
    """Nobody waits."""
    assert call("pickup", caller=ALICE).heard == ["nowaitingcalls.wav"]


def test_park_and_pickup_find_each_other() -> None:
    """The picking task is joined with the parked one."""
    starter = b"""
entry main {
  if(AcceptCall() != null) { stop; }
  void(StartPBXTASK("pbx", "caller2", null));
  parkHere("park", null, null);
}
""".replace(b"entry main", b"procedure parkHere(slot, silent, parker) external;\nentry main")
    picker = b"""
procedure pickUp(slot) external;
entry main {
  void(StartCall("sip:402@example.org"));
  loop
    var e = ReadInput(30);
  exitif IsCallCompletedEvent(e);
  end loop;
  pickUp("park");
}
"""
    run = call(
        "starter",
        caller=OUTSIDE,
        files={"starter.sppr": starter, "caller2.sppr": picker},
        destinations={"402": {"does": "w20 h"}},
    )
    assert run.texts("bridge") == ["joins 402@example.org and caller"]
    assert sorted(run.endings.values()) == ["return", "return"]


def test_queue() -> None:
    """A caller waits and hears the position; an agent must be authenticated."""
    run = call(
        "passivequeue", parameter=["agents", "q"], caller={**OUTSIDE, "does": "w40 #"},
        groups={"agents": ["alice"]},
    )  # fmt: skip
    assert run.heard[:5] == [
        "welcome.wav", "queueposition.wav", "n1.wav", "holdmusic.wav", "thankyouforwaiting.wav"
    ]  # fmt: skip
    agent: dict[str, Any] = {"groups": {"agents": ["alice"]}, "accounts": {"alice@example.org": {}}}
    unknown = {"uri": "sip:alice@example.org"}
    assert call("passivequeue", parameter=["agents"], caller=unknown, **agent).rejected == "401"
    run = call("passivequeue", parameter=["agents"], caller={**ALICE, "does": "* #"}, **agent)
    assert run.heard == [
        "n0.wav", "caller-pl.wav", "waitinginqueue.wav", "connectingnow.wav", "nowaitingcalls.wav",
        "n0.wav", "caller-pl.wav", "waitinginqueue.wav", "goodbye.wav",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("number", "language", "words"),
    [
        (0, None, ["n0"]),
        (21, None, ["n20", "n1"]),
        (342, None, ["n3", "n100", "n40", "n2"]),
        (12005, None, ["n12", "n1000", "n5"]),
        (342, "russian", ["n300", "n40", "n2"]),
        (2001, "russian", ["n2f", "n1000few", "n1"]),
        (11000, "russian", ["n11", "n1000many"]),
        (21000, "russian", ["n20", "n1f", "n1000"]),
    ],
)
def test_numbers(number: int, language: str | None, words: list[str]) -> None:
    """playNumber speaks both languages."""
    program = f"""
procedure playNumber(n) external;
entry main {{ void(AcceptCall()); playNumber({number}); }}
""".encode()
    more: dict[str, Any] = {"language": language} if language else {}
    run = call("say", files={"say.sppr": program}, caller=OUTSIDE, **more)
    assert run.heard == [f"{word}.wav" for word in words]
