"""Calls and programs: message by message, with the media service's part beside."""

from __future__ import annotations

from tests.support.voice_lab import PBX, VoiceLab

HELLO = """
entry main {
  if(AcceptCall() != null) { stop; }
  PlayFile("welcome");
  var digit = ReadInput(5);
  SysLog("digit " + (digit || "none"));
}
"""


def test_a_caller_hears_a_program_presses_a_key_and_is_hung_up_on() -> None:
    lab = VoiceLab("alice", {"hello": HELLO})
    lab.play("""
        alice > INVITE hello a1
        alice < 200 m1
        alice > ACK
        +0.5
    """)
    assert lab.asked_media() == ["serve a1", "play s1"]
    lab.press("7")
    lab.play("""
        alice < BYE | cause=16
        alice > 200
    """)
    assert lab.watch.log == ["digit 7"]
    assert lab.asked_media() == ["stop", "delete"]
    assert lab.watch.endings == [("hello", "return")]
    lab.end()


def test_a_sound_ends_by_itself_and_a_wait_too() -> None:
    lab = VoiceLab("alice", {"hello": HELLO})
    lab.play("""
        alice > INVITE hello a1
        alice < 200 m1
        alice > ACK
        +0.9
        +5.2
        alice < BYE
        alice > 200
    """)
    assert lab.watch.log == ["digit none"]
    assert lab.asked_media() == ["serve a1", "play s1", "delete"]
    lab.end()


def test_the_caller_hangs_up_while_it_listens() -> None:
    lab = VoiceLab("alice", {"hello": HELLO})
    lab.play("""
        alice > INVITE hello a1
        alice < 200 m1
        alice > ACK
        alice > BYE
        alice < 200
    """)
    assert lab.watch.endings == [("hello", "return")]
    lab.end()


def test_a_caller_without_a_common_codec_is_refused() -> None:
    lab = VoiceLab("alice", {"hello": HELLO})
    lab.hosting.refuse = "no audio in common; the party has G729"
    lab.play("""
        alice > INVITE hello a1
        alice < 488
        alice > ACK
    """)
    assert lab.watch.endings == [("hello", "stop")]
    lab.end()


def test_a_program_that_breaks_down_ends_its_call_with_a_reason() -> None:
    lab = VoiceLab("alice", {"broken": 'entry main { void(AcceptCall()); "x".y = 1; }'})
    lab.play("""
        alice > INVITE broken a1
        alice < 200 m1
        alice > ACK
        alice < BYE | application failed
        alice > 200
    """)
    assert lab.watch.endings == [("broken", "exception")]
    assert "broken.sppr" in str(lab.watch.failures[0])
    lab.end()


def test_an_unanswered_call_of_a_program_that_breaks_down_gets_500() -> None:
    lab = VoiceLab("alice", {"broken": 'entry main { "x".y = 1; }'})
    lab.play("""
        alice > INVITE broken a1
        alice < 500 | application failed
        alice > ACK
    """)
    lab.end()


def test_a_program_that_is_not_there() -> None:
    lab = VoiceLab("alice")
    lab.route(f"Signal:<nothing@*> = nothing#{PBX}")
    lab.play("""
        alice > INVITE nothing a1
        alice < 404
        alice > ACK
    """)
    lab.end()


TO_BOB = """
entry Leg forward;
entry main {
  var leg = spawn Leg(null);
  var error = StartBridge(leg);
  if(error != null) { RejectCall(error); stop; }
  loop
    var input = ReadInput(3600);
  exitif input == null || IsDisconnectEvent(input) || IsBreakBridgeEvent(input);
    SysLog("heard " + (IsString(input) ? input : ObjectToString(input)));
    if(IsString(input)) { void(SendEvent(leg, "digit", input)); }
  end loop;
  void(SendEvent(leg, "stop"));
}
entry Leg {
  var offer = ReadInput(10), input;
  void(SignalOption("bridgeBreak", "disconnect"));
  if(StartBridgedCall(EmailToSIPURI("bob"), offer) != null) { RejectBridge(offer, "500-no"); stop; }
  loop
    input = ReadInput(3600);
  exitif !(IsCallProvisionEvent(input) || IsString(input));
  end loop;
  if(IsBreakBridgeEvent(input)) { stop; }
  if(input.parameter != null) { RejectBridge(offer, input.parameter); stop; }
  loop
    input = ReadInput(3600);
  exitif !IsDictionary(input) || IsDisconnectEvent(input) || IsBreakBridgeEvent(input);
  exitif input.what == "stop";
    if(input.what == "digit") { void(SendDTMF(input.parameter)); }
  end loop;
}
"""


def test_a_bridged_call_is_answered_when_the_other_side_answers() -> None:
    lab = VoiceLab("alice bob", {"through": TO_BOB})
    lab.play("""
        alice > INVITE through a1
        bob < INVITE m1
        bob > 180
        alice < 180
        bob > 200 b1
        bob < ACK
        alice < 200 m2
        alice > ACK
    """)
    assert lab.asked_media() == [
        "create", "create answer b1", "serve a1", "conference join", "conference join",
    ]  # fmt: skip
    assert len(set(lab.hosting.hosted.values())) == 1
    # RTP digits go through; those of INFO are the program's.
    lab.press("5", session=1)
    assert lab.asked_media() == ["dtmf 5"]
    assert lab.watch.log == []
    lab.play("""
        alice > INFO text:Signal=3 | Content-Type: application/dtmf-relay
        alice < 200 INFO
        bob < INFO | application/dtmf-relay
        bob > 200
    """)
    assert lab.watch.log == ["heard 3"]
    lab.play("""
        alice > BYE
        alice < 200
        bob < BYE
        bob > 200
    """)
    lab.end()


def test_a_busy_extension_refuses_the_caller() -> None:
    lab = VoiceLab("alice bob", {"through": TO_BOB})
    lab.play("""
        alice > INVITE through a1
        bob < INVITE m1
        bob > 486
        bob < ACK
        alice < 486
        alice > ACK
    """)
    lab.end()


def test_the_caller_gives_up_while_the_extension_rings() -> None:
    lab = VoiceLab("alice bob", {"through": TO_BOB})
    lab.play("""
        alice > INVITE through a1
        bob < INVITE m1
        bob > 180
        alice < 180
        alice > CANCEL
        alice < 200 CANCEL
        alice < 487 INVITE
        alice > ACK
        bob < CANCEL
        bob > 200 CANCEL
        bob > 487 INVITE
        bob < ACK
    """)
    lab.end()


def test_early_media_of_the_extension_is_heard() -> None:
    lab = VoiceLab("alice bob", {"through": TO_BOB})
    lab.play("""
        alice > INVITE through a1
        bob < INVITE m1
        bob > 183 b1
        alice < 183 m2
        bob > 200 b1
        bob < ACK
        alice < 200 m2
        alice > ACK
        bob > BYE
        bob < 200
        alice < BYE
        alice > 200
    """)
    lab.end()
