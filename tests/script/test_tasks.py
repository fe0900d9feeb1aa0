"""Tasks with each other: spawning, events, bridges, mixers, transfers, Meetings, Queues."""

from __future__ import annotations

import pytest

from pbx.script.limits import Limits
from pbx.script.testing import Run, call, start

ALICE = {"uri": "sip:alice@example.org", "name": "Alice"}


def run(text: str, **scenario: object) -> Run:
    """Start a program text without a call."""
    return start("x", files={"x.sppr": text.encode()}, **scenario)  # type: ignore[arg-type]


def ring(text: str, does: str = "", **scenario: object) -> Run:
    """Call a program text."""
    caller = {**ALICE, "does": does}
    return call("x", files={"x.sppr": text.encode()}, caller=caller, **scenario)  # type: ignore[arg-type]


def test_events_keep_their_order_and_are_copies() -> None:
    """Between one sender and one receiver order is kept; parameters are copies."""
    text = """
entry Child {
  var d = NewDictionary(); d.n = 1;
  void(SendEvent(Vars().parent,"first",d)); d.n = 2;
  void(SendEvent(Vars().parent,"second",Vars().startParameter));
}
entry main {
  var child = spawn Child(5), e = ReadInput(10);
  SysLog(e.what + " " + e.parameter.n); SysLog(e.sender == child);
  e = ReadInput(10); SysLog(e.what + " " + e.parameter);
  SysLog(ReadInput(0)); SysLog(SendEvent(child,"late"));
}
"""
    assert run(text).log == ["first 1", "YES", "second 5", "#null#", "there is no such task"]


@pytest.mark.parametrize("name", ['"1x"', '""', "null", '"disconnect"', '"callCompleted"'])
def test_refused_event_names(name: str) -> None:
    """Names begin with a letter, and nobody can forge an event of the system."""
    log = run(f"entry main {{ SysLog(IsString(SendEvent(ThisTask(),{name}))); }}").log
    assert log == ["YES"]


def test_event_queue_and_parameters_are_bounded() -> None:
    """A thousand events wait, and none is larger than a mebibyte."""
    text = """
entry main {
  var n = 0, s = "0123456789";
  while(SendEvent(ThisTask(),"e") == null) { n += 1; }
  SysLog(n);
  for(n = 0; n < 17; n += 1) { s = s + s; }
  void(ReadInput(0)); SysLog(SendEvent(ThisTask(),"e",s));
}
"""
    assert run(text).log == ["#1000", "the parameter is larger than 1048576 bytes"]


def test_read_input_waits_and_times_out() -> None:
    """Null after the seconds, digits before events."""
    text = """
entry main {
  void(AcceptCall());
  var began = GMTTime(); SysLog(ReadInput(7)); SysLog(GMTTime() - began);
  void(SendEvent(ThisTask(),"e"));
  PlayTone(0,3000);
  var i = ReadInput(5); SysLog(i);
  SysLog(DTMF());
}
"""
    log = ring(text, "w8 !12 w9 h").log
    assert log == ["#null#", "#7", "{sender=#task:T1;what=e;}", ""]


def test_spawn_limits() -> None:
    """A task has at most fifty living children; the value is then an error string."""
    text = """
entry Child { void(ReadInput(60)); }
entry main {
  var n = 0;
  while(IsTask(spawn Child)) { n += 1; }
  SysLog(n); SysLog(spawn Child);
}
"""
    assert run(text).log == ["#50", "500-too many tasks were spawned"]


def test_a_child_knows_its_parent_and_outlives_it() -> None:
    """Children do not die with the parent."""
    text = """
entry Child { void(ReadInput(5)); SysLog("child " + SendEvent(Vars().parent,"x")); }
entry main { void(spawn Child()); SysLog("parent"); }
"""
    assert run(text).log == ["parent", "child there is no such task"]


def test_an_exception_ends_the_task_and_its_call() -> None:
    """The log has the place; a pending call is refused, a connected one hung up."""
    done = call(
        "x", files={"x.sppr": b"entry main {\n void(ToObject(5)); }"}, caller=ALICE, fails=True
    )
    assert done.rejected == "500 application finished"
    assert "domain/x.sppr:2:7 in entry main" in done.log[0]
    text = b"entry main { void(AcceptCall()); void(ToObject(5)); }"
    done = call("x", files={"x.sppr": text}, caller=ALICE, fails=True)
    assert done.texts("bye") == ["hangs up: BYE to caller"]


def test_missing_and_broken_programs() -> None:
    """404 and 500, as a caller gets them."""
    done = call("nosuch", caller=ALICE, fails=True)
    assert done.done.start_problem is not None
    assert done.done.start_problem.status == 404
    done = call("x", files={"x.sppr": b"entry main { foo(); }"}, caller=ALICE, fails=True)
    assert done.done.start_problem is not None
    assert done.done.start_problem.status == 500


def test_rejections() -> None:
    """Numbers, texts, dictionaries and null (§11.1)."""
    for code, expected in (
        ("486", "486"),
        ('"486-Busy Here"', "486 Busy Here"),
        ('"no"', "500 no"),
        ("null", "603 Declined"),
        ("200", "500"),
        ('ToObject("{responseCode=#480;responseText=Later;}")', "480 Later"),
    ):
        assert ring(f"entry main {{ RejectCall({code}); }}").rejected == expected


def test_early_media_and_modes() -> None:
    """ProvisionCall with media lets the caller hear before the answer."""
    text = """
entry main {
  SysLog(IsHalfConnected()); PlayFile("a");
  SysLog(ProvisionCall(true)); SysLog(IsHalfConnected()); SysLog(IsConnected());
  PlayFile("b"); SysLog(AcceptCall()); SysLog(IsConnected()); SysLog(AcceptCall());
}
"""
    done = ring(text)
    assert done.heard == ["b.wav"]
    assert done.log == [
        "#null#", "#null#", "YES", "#null#", "#null#", "YES",
        "500-no call is waiting for an answer",
    ]  # fmt: skip


def test_redirect_and_fork() -> None:
    """Targets may be one or several; after a redirect nothing is pending."""
    text = 'entry main { ForkCall("a@b"); RedirectCall(ToObject("(c@d,e@f)")); RejectCall(486); }'
    done = ring(text)
    assert done.texts("fork") == ["forks the call to a@b"]
    assert done.texts("redirect") == ["redirects the call to c@d, e@f"]
    assert done.rejected is None


def test_interruption_of_sounds() -> None:
    """A digit stops a sound; the position is known; without interruption it plays on."""
    text = """
entry main {
  void(AcceptCall());
  PlayFile("long",9000); SysLog(IsPlayCompleted()); SysLog(GetPlayPosition()); SysLog(ReadInput(0));
  void(SetInterruptOnDTMF(null));
  PlayFile("long",2000); SysLog(IsPlayCompleted()); SysLog(DTMF());
}
"""
    assert ring(text, "w2.5 !1 w1 !2 w9 h").log == ["#null#", "#500", "1", "YES", "2"]


def test_recording() -> None:
    """A recording ends with a digit, which stays in the buffer, and is suppressed by one."""
    text = """
entry main {
  void(AcceptCall());
  var r = Record(60); SysLog(IsData(r)); SysLog(GetPlayDuration(r));
  SysLog(Record(60)); SysLog(DTMF());
}
"""
    assert ring(text, "w4 !5 w9 h").log == ["YES", "#4000", "#null#", "5"]


MIXER = """
entry Leg {
  void(StartCall(Vars().startParameter));
  loop exitif IsCallCompletedEvent(ReadInput(60)); end loop;
  SysLog(StartBridge(Vars().parent)); SysLog(ReadInput(60).what); SysLog(IsConnected());
}
entry main {
  void(AcceptCall());
  void(spawn Leg("sip:402@example.org"));
  var e = ReadInput(60); SysLog(IsStartBridgeEvent(e)); SysLog(AttachMixer(e));
  SysLog(Length(MixerAttached())); SysLog(AttachMixer(e));
  MuteMixer(e.sender,true); MuteMixer(null,"special");
  %s
}
"""


def test_mixer_detach() -> None:
    """A leg that is let out gets BreakBridge and keeps its call."""
    done = ring(MIXER % "SysLog(DetachMixer(e.sender)); SysLog(MixerAttached());",
                destinations={"402": {}})  # fmt: skip
    assert sorted(done.log) == sorted([
        "YES", "#null#", "#1", "481-the other task does not offer its call any more",
        "#null#", "#null#", "#null#", "breakBridge", "YES",
    ])  # fmt: skip
    assert done.texts("mute") == [
        "mixer: 402@example.org: YES",
        "mixer: its own peer: special",
    ]


def test_mixer_ends_with_its_owner() -> None:
    """When the owner ends, all legs are let out."""
    done = ring(MIXER % "stop;", destinations={"402": {}})
    assert done.texts("detach") == ["lets 402@example.org out of its mixer"]
    assert "breakBridge" in done.log


def test_bridge_refused_and_accepted() -> None:
    """RejectBridge gives its text to the other side; AcceptBridge joins."""
    text = """
entry Other {
  void(StartCall("sip:402@example.org"));
  loop exitif IsCallCompletedEvent(ReadInput(60)); end loop;
  var e = ReadInput(60); RejectBridge(e,"486-not now");
  e = ReadInput(60); SysLog(AcceptBridge(e)); SysLog(IsBridged()); SysLog(ReadInput(60).what);
}
entry main {
  void(AcceptCall());
  var other = spawn Other(); void(ReadInput(5));
  SysLog(StartBridge(other)); SysLog(StartBridge(other)); void(ReadInput(1));
  SysLog(BreakBridge());
  SysLog(StartBridge(null)); SysLog(IsConnected());
}
"""
    done = ring(text, destinations={"402": {}})
    assert sorted(done.log) == sorted([
        "486-not now", "#null#", "#null#", "YES", "#null#", "breakBridge",
        "481-there is no such task", "YES",
    ])  # fmt: skip
    assert len(done.texts("part")) == 2


def test_offer_ends_with_the_other_task() -> None:
    """A task that dies does not leave the other waiting."""
    text = """
entry Other { void(ReadInput(60)); void(ReadInput(3)); }
entry main { var o = spawn Other(); SysLog(StartBridge(o)); SysLog(IsConnected());
  RejectCall(500); }
"""
    done = ring(text)
    assert done.log == ["500-the other task has ended", "#null#"]
    assert done.rejected == "500"


def test_meetings() -> None:
    """A task is found by a key; the key can be taken once, and a dead task is replaced."""
    text = """
entry Active {
  SysLog(ActivateMeeting("set","key","p")); void(SendEvent(Vars().parent,"up")); void(ReadInput(5));
}
entry main {
  SysLog(CreateMeeting("set","key")); SysLog(CreateMeeting("set","key"));
  var active = spawn Active(); void(ReadInput(9));
  var m = FindMeeting("set","key");
  SysLog(m.id == active); SysLog(m.parameter); SysLog(ActivateMeeting("set","key"));
  void(ReadInput(9));
  SysLog(ActivateMeeting("set","key")); SysLog(DeactivateMeeting("set","key"));
  SysLog(RemoveMeeting("set","key")); SysLog(FindMeeting("set","key"));
  SysLog(RemoveMeeting("set","key"));
}
"""
    assert run(text).log == [
        "#null#", "the meeting exists already", "#null#", "YES", "p",
        "the meeting is active already",
        "#null#", "#null#", "#null#", "#null#", "#null#",
    ]  # fmt: skip


def test_queues() -> None:
    """Priorities, positions, and leaving at the end of a task."""
    text = """
entry Waiter {
  void(Enqueue("q",Vars().startParameter,Vars().startParameter));
  void(SendEvent(Vars().parent,"in"));
  void(ReadInput(5));
}
procedure add(p) { void(spawn Waiter(p)); void(ReadInput(9)); }
entry Waiter2 { void(0); }
entry main {
  add("1.0"); add("2.0"); add("1.0"); add("x");
  SysLog(CheckQueue("q").length); SysLog(CheckQueue("q").position);
  SysLog(Enqueue("q","me","1.5").position); SysLog(ReadQueue("q").parameter);
  Dequeue("q"); SysLog(ReadQueue("q").parameter); void(ReadInput(9)); void(ReadInput(9));
  SysLog(ReadQueue("q")); SysLog(CheckQueue("q").length);
}
""".replace("entry Waiter2 { void(0); }\n", "")
    assert run(text).log == ["#3", "#null#", "#1", "2.0", "1.0", "#null#", "#0"]


def test_modules() -> None:
    """External sections are compiled at first use, also by a name in a string, and may spawn."""
    module = b"""
entry Own { void(SendEvent(Vars().parent,"hi")); }
function f(a) { var t = spawn Own(); return a + ReadInput(9).what; }
procedure p(a) { SysLog("p " + a); }
"""
    text = """
function m::f(a) external;
function g(a) external;
entry main {
  SysLog(m::f("x ")); SysLog("y ".m::f()); ProcCall("m::p","z"); SysLog(FuncCall("m::f","w "));
  SysLog(g(2));
}
"""
    files = {
        "m.sppi": module,
        "g.sppi": b"function G(x) { return x * 2; }",
        "x.sppr": text.encode(),
    }
    assert start("x", files=files).log == ["x hi", "y hi", "p z", "w hi", "#4"]


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (b"", "has no procedure or function f"),
        (b"procedure f(a) { }", "takes 1 arguments, not 0"),
        (b"function f( {", "does not compile"),
        (None, "there is no module m"),
    ],
)
def test_bad_modules(module: bytes | None, message: str) -> None:
    """A module that is missing or wrong ends the program, with the reason."""
    files = {"x.sppr": b"procedure m::f() external; entry main { m::f(); }"}
    if module is not None:
        files["m.sppi"] = module
    done = start("x", files=files, fails=True)
    assert message in done.log[0]


def test_language_time_zone_and_files() -> None:
    """Environment files follow the language; times follow the zone."""
    text = b"""
entry main {
  SysLog(GetLanguage()); SysLog(String(ReadEnvirFile("f.txt")));
  SetLanguage("russian"); SysLog(String(ReadEnvirFile("F.TXT"))); SysLog(ReadEnvirFile("../f.txt"));
  SetTimeZone("Europe/Moscow"); SysLog(LocalTime() - GMTTime()); SysLog(GetTimeZoneName());
  SetTimeZone("Nowhere"); SysLog(GetTimeZoneName());
  SysLog(ReadEnvirObject("o.objdata").k);
}
"""
    files = {"x.sppr": text, "f.txt": b"en", "russian/f.txt": b"ru", "o.objdata": b"{k=v;}"}
    assert start("x", files=files).log == [
        "#null#", "en", "ru", "#null#", "#10800", "Europe/Moscow", "#null#", "v",
    ]  # fmt: skip


def test_addresses() -> None:
    """URIs and addresses in the current domain (§9.10)."""
    text = """
entry main {
  SysLog(SIPURIToEmail("sip:user@dom;p=1")); SysLog(SIPURIToEmail("x"));
  SysLog(EmailToSIPURI("401"));
  SysLog(PhoneNumberToSIPURI("+7 (495) 123")); SysLog(MyEmail()); SysLog(MyDomain());
}
"""
    assert run(text).log == [
        "user@dom", "#null#", "sip:401@example.org", "sip:+7495123@example.org", "pbx@example.org",
        "example.org",
    ]  # fmt: skip


def test_randomness_comes_from_the_seed() -> None:
    """The same seed draws the same numbers."""
    text = (
        "entry main { SysLog(RandomNumber()); SysLog(Length(RandomData(9)));"
        " SysLog(RandomData(0)); }"
    )
    first, again, other = run(text).log, run(text).log, run(text, seed=2).log
    assert first == again
    assert first[0] != other[0]
    assert first[1:] == ["#9", "#null#"]


def test_a_task_that_only_polls_is_stopped() -> None:
    """Asking without waiting is an endless loop, too."""
    done = start(
        "x", files={"x.sppr": b"entry main { loop void(ReadInput(0)); end loop; }"},
        fails=True, limits=Limits(steps=20_000),
    )  # fmt: skip
    assert "endless loop" in done.log[0]
