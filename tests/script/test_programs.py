"""The documented example programs, byte for byte, with the behaviour that is stated for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pbx.script.builtins.registry import Environment
from pbx.script.errors import Severity
from pbx.script.machine import Failed, Finished, Machine, Outcome
from pbx.script.program import check_program, compile_program
from pbx.script.requests.communications import ExecuteCLI
from pbx.script.requests.web import (
    GetHTTPParameter,
    SetHTTPResponseCode,
    SetHTTPResponseData,
    SetHTTPResponseType,
)
from pbx.script.source import Source
from pbx.script.testing import Run, call, start

DATA = Path(__file__).parent.parent / "data" / "script"
HELLO = DATA / "sayhello.sppr"
CALLBACK = DATA / "sayhello_cb.sppr"
TRANSFER = DATA / "b2bua-transfer.sppr"
WEB = DATA / "webcallback.wcgp"
ALICE = {
    "uri": "sip:401@example.org",
    "name": "Alice",
    "dialled": "sip:402@example.org",
    "request": {"Call-ID": "abc@phone", "Max-Forwards": 70},
}


@pytest.mark.parametrize("path", [HELLO, CALLBACK, TRANSFER, WEB], ids=lambda path: path.name)
def test_the_programs_have_no_findings(path: Path) -> None:
    """They compile, and nothing in them looks doubtful."""
    source = Source.from_bytes(path.name, path.read_bytes())
    assert check_program(source, Environment.of_file(path.name)) == ()


# sayhello.


def test_hello_answers_plays_and_hangs_up() -> None:
    """§15: 200 OK, half a second of silence, the prompt, BYE."""
    run = call(HELLO)
    assert run.heard == ["blank.wav", "welcome.wav"]
    assert [(one.what, one.time_s) for one in run.transcript.entries if one.who == "T1"] == [
        ("start", 0.0),
        ("answer", 0.0),
        ("play", 0.0),
        ("play", 0.5),
        ("bye", 1.5),
        ("end", 1.5),
    ]


def test_hello_speaks_the_language_of_its_account() -> None:
    """The prompt is looked for in the language directory first."""
    from pbx.script.offline.files import silence_wav

    files = {"russian/welcome.wav": silence_wav(3000), "welcome.wav": silence_wav(100)}
    run = call(HELLO, language="russian", files=files)
    assert run.texts("play")[1] == "plays welcome.wav for 3 s"
    run = call(HELLO, files=files)
    assert run.texts("play")[1] == "plays welcome.wav for 0.1 s"


def test_hello_a_digit_suppresses_what_follows() -> None:
    """§15: the digit stays in the buffer, Welcome is suppressed, BYE follows."""
    run = call(HELLO, digits="!5")
    assert run.heard == ["blank.wav"]
    assert run.texts("bye") == ["hangs up: BYE to caller"]


def test_hello_the_caller_hangs_up() -> None:
    """§15: the Disconnect event suppresses the rest; no BYE is sent."""
    run = call(HELLO, digits="w0.2 h")
    assert run.heard == ["blank.wav"]
    assert run.texts("bye") == []


def test_hello_without_a_common_codec() -> None:
    """§15: 488, and the error is logged."""
    run = call(HELLO, caller={"codecs": False})
    assert run.rejected == "488 Not Acceptable Here"
    assert run.log == ["Failed to accept the call: 488-Not Acceptable Here"]


# sayhello_cb.


def test_callback_success() -> None:
    """§16: call, wait for the final event, four sounds, BYE."""
    run = start(CALLBACK, parameter=["401"], destinations={"401": {"answers_after_s": 25}})
    assert run.log == ["Will call to 401"]
    assert run.calls == ["calls sip:401@example.org"]
    assert run.heard == ["blank.wav", "welcome.wav", "blank.wav", "goodbye.wav"]
    assert run.texts("bye") == ["hangs up: BYE to 401@example.org"]


@pytest.mark.parametrize("destinations", [{"401": {"status": 486}}, {}])
def test_callback_failure_plays_nothing(destinations: dict[str, Any]) -> None:
    """§16: busy or unknown: the event has a parameter, the mode is disconnected."""
    run = start(CALLBACK, parameter=["401"], destinations=destinations)
    assert run.heard == []
    assert run.endings == {"T1": "return"}


def test_callback_with_a_string_takes_its_first_letter() -> None:
    """§16: PARAM 401 without parentheses calls ``4``."""
    run = start(CALLBACK, parameter="401")
    assert run.calls == ["calls sip:4@example.org"]


def test_callback_rings_no_longer_than_the_server_lets_it() -> None:
    """§16: 180 s without Expires."""
    run = start(CALLBACK, parameter=["401"], destinations={"401": {"answers_after_s": 500}})
    assert run.texts("response") == ["answers: 408 Request Timeout"]


# b2bua-transfer.


def _transfer(does: str = "w5 h", callee: dict[str, Any] | None = None, **more: Any) -> Run:
    return call(
        TRANSFER,
        caller={**ALICE, "does": does, **more},
        destinations={"402@example.org": callee or {}},
        accounts={"401@example.org": {}},
    )


def test_b2bua_call_and_hang_up() -> None:
    """§18.4.1: both legs up, one BYE each, the Call-ID suffixed, every log line prefixed."""
    run = _transfer()
    assert run.texts("bridge") == ["joins caller and 402@example.org"]
    assert run.texts("hang up") == ["hangs up"]
    assert run.texts("bye") == ["hangs up: BYE to 402@example.org"]
    assert run.texts("play") == []
    assert "abc@phone.b2b" in run.log[0]
    assert "Max-Forwards=#69" in run.log[0]
    assert all(line.startswith("B2BUA: ") for line in run.log)
    assert run.texts("provision") == ["passes 180 Ringing on"]
    assert run.endings == {"T1": "stop", "T2": "stop"}


def test_b2bua_the_callee_hangs_up() -> None:
    """The other way round."""
    run = _transfer("w60", {"does": "w5 h"})
    assert run.texts("bye") == ["hangs up: BYE to caller"]


def test_b2bua_busy_and_unknown() -> None:
    """§18.4.2: the caller gets the code of the callee."""
    assert _transfer(callee={"status": 486}).rejected == "486 Busy Here"
    run = call(TRANSFER, caller=ALICE, accounts={"401@example.org": {}})
    assert run.rejected == "404 Not Found"


def test_b2bua_the_caller_gives_up() -> None:
    """§18.4.2: CANCEL on the other leg; the refusal finds nothing pending and does nothing."""
    run = _transfer("w1 h", {"answers_after_s": 20})
    assert run.texts("cancel") == ["cancels its call"]
    assert run.rejected is None
    assert "B2BUA: call failed: 487-Request Terminated" in run.log


@pytest.mark.parametrize("who", ["caller", "callee"])
def test_b2bua_transfer(who: str) -> None:
    """§18.4.3: REFER to the partner of who dialled, then BYE to both."""
    dials = "w5 #5678 w30"
    run = _transfer(dials) if who == "caller" else _transfer("w60", {"does": dials})
    referred = "402@example.org" if who == "caller" else "caller"
    assert run.texts("refer") == [f"REFER {referred} to 5678@example.org"]
    assert sorted(run.texts("bye")) == [
        "hangs up: BYE to 402@example.org",
        "hangs up: BYE to caller",
    ]


def test_b2bua_refused_transfer() -> None:
    """§18.4.3: after a refusal the talk goes on."""
    run = _transfer("w5 #5678 w20 h", {"refer": 603})
    assert "B2BUA: transfer failed: 603-Declined" in run.log
    assert run.texts("bye") == ["hangs up: BYE to 402@example.org"]
    assert run.texts("hang up") == ["hangs up"]


def test_b2bua_incomplete_numbers() -> None:
    """§18.4.4: a pause or a star cancels, and another attempt works."""
    run = _transfer("w5 #12 w6 #1* w1 #5678 w9 h")
    assert run.texts("refer") == ["REFER 402@example.org to 5678@example.org"]


def test_b2bua_digits_and_info_are_passed_on() -> None:
    """§18.4.5: other digits reach the other side."""
    run = _transfer("w5 12 w1 h")
    assert run.texts("dtmf") == [
        "sends the digit 1 to 402@example.org",
        "sends the digit 2 to 402@example.org",
    ]


def test_b2bua_a_letter_is_taken_as_the_target() -> None:
    """§18.3, limits to know: ``##`` asks for a transfer to ``#@dom``."""
    run = _transfer("w5 ## w5 h", {"refer": 404})
    assert run.texts("refer") == ["REFER 402@example.org to #@example.org"]
    assert run.texts("hang up") == ["hangs up"]


# webcallback: its host functions come later, its requests are these.


def _web(text: bytes, phone: bytes | None) -> list[Outcome]:
    program = compile_program(Source.from_bytes("webcallback.wcgp", text), Environment.WEB)
    machine = Machine(program, "sysEntry")
    outcome = machine.run()
    asked: list[Outcome] = []
    while not isinstance(outcome, Finished | Failed):
        asked.append(outcome)
        outcome = machine.resume(phone if isinstance(outcome, GetHTTPParameter) else None)
    assert isinstance(outcome, Finished)
    return asked


def test_web_callback_shows_its_form() -> None:
    """§17: without a number, a form."""
    asked = _web(WEB.read_bytes(), None)
    assert asked[:3] == [
        SetHTTPResponseType("text", "html"),
        SetHTTPResponseCode(200),
        GetHTTPParameter("phone"),
    ]
    assert isinstance(asked[3], SetHTTPResponseData)
    assert isinstance(asked[3].data, bytes)
    assert b"Enter phone number" in asked[3].data


def test_web_callback_with_lost_backslashes() -> None:
    """§17: as printed, five literals run together."""
    asked = _web(WEB.read_bytes(), b"79001234567")
    assert asked[3] == ExecuteCLI(
        "STARTPBXTASK pbx PROGRAM rendezvous PARAM( + phone + , + operatorphone + )"
    )


def test_web_callback_as_meant() -> None:
    """§17: with its backslashes restored."""
    text = WEB.read_bytes().replace(
        b'PARAM("" + phone + "","" + operatorphone + "")"',
        b'PARAM(\\"" + phone + "\\",\\"" + operatorphone + "\\")"',
    )
    asked = _web(text, b"79001234567")
    assert asked[3] == ExecuteCLI('STARTPBXTASK pbx PROGRAM rendezvous PARAM("79001234567","401")')
    assert isinstance(asked[4], SetHTTPResponseData)
    assert asked[4].data == b"<h1>Waiting call on phone 79001234567</h1>"


def test_unknown_web_functions_in_a_call() -> None:
    """A web program's functions do not exist in real-time programs; it is said where they do."""
    source = Source("x.sppr", "entry main { void(GetHTTPQuery()); }")
    (finding,) = check_program(source, Environment.REAL_TIME)
    assert finding.severity is Severity.ERROR
    assert finding.message == "GetHTTPQuery exists in web programs only"
