"""Programs of the reference and stock programs over scripted telephones."""

from __future__ import annotations

from pathlib import Path

from pbx.domain.objects import TaskCreated
from tests.support.voice_lab import PBX, VoiceLab
from tests.unit.pbx.calls.phone import DOMAIN

PRINTED = Path(__file__).parents[3] / "data" / "script"


def printed(name: str) -> str:
    return (PRINTED / f"{name}.sppr").read_text()


def test_sayhello_answers_speaks_and_hangs_up() -> None:
    lab = VoiceLab("alice", {"sayhello": printed("sayhello")})
    lab.play("""
        alice > INVITE sayhello a1
        alice < 200 m1
        alice > ACK
        +1.7
        alice < BYE
        alice > 200
    """)
    assert lab.asked_media() == ["serve a1", "play s1", "play s1", "delete"]
    lab.end()


def test_sayhello_cb_calls_back() -> None:
    lab = VoiceLab("alice", {"sayhello_cb": printed("sayhello_cb")})
    lab.host.start_task(PBX, "sayhello_cb", parameter=[b"alice"])
    lab.play(f"""
        +0
        alice < INVITE m1 | From: <sip:{PBX}>
        alice > 180
        alice > 200 a1
        alice < ACK
        +4.2
        alice < BYE
        alice > 200
    """)
    assert [command for command in lab.asked_media() if command != "stop"] == [
        "create", "create answer a1", *["play s1"] * 4, "delete",
    ]  # fmt: skip
    lab.end()


def b2bua() -> VoiceLab:
    return VoiceLab("alice bob carol", {"b2bua-transfer": printed("b2bua-transfer")})


TALKING = """
    alice > INVITE bob a1
    bob < INVITE m1
    bob > 180
    alice < 180
    bob > 200 b1
    bob < ACK
    alice < 200 m2
    alice > ACK
"""


def to_bob(lab: VoiceLab) -> None:
    """As the rule of the reference: what alice dials is bob, the program stands between."""
    lab.rights(PBX, "CanImpersonate")
    lab.route(f"Signal:<b2bua-transfer@*> = b2bua-transfer#{PBX}")
    rule = [
        100005, "b2b", [["Submit Address", "is not", "LOCAL [0.0.0.0]*"]],
        [["Redirect To", f"b2bua-transfer#{PBX}"], ["Stop Processing"]],
    ]  # fmt: skip
    lab.rules("server", rule)


def test_b2bua_transfer_joins_and_ends() -> None:
    lab = b2bua()
    to_bob(lab)
    lab.play(TALKING)
    lab.play("""
        bob > BYE
        bob < 200
        alice < BYE
        alice > 200
    """)
    assert {name for name, _ in lab.watch.endings} == {"b2bua-transfer"}
    assert {reason for _, reason in lab.watch.endings} == {"stop"}
    lab.end()


def notify(lab: VoiceLab, name: str, status: str) -> None:
    """A telephone tells how it gets on with a REFER."""
    dialog = lab.dialogs[name]
    lines = (
        "Event: refer\r\nSubscription-State: terminated;reason=noresource\r\n"
        "Content-Type: message/sipfrag\r\n"
    )
    body = f"SIP/2.0 {status}\r\n".encode()
    dialog.phone.request(dialog, "NOTIFY", dialog.target, lines, body)
    lab.play(f"{name} < 200 NOTIFY")


def dial_transfer(lab: VoiceLab) -> None:
    to_bob(lab)
    lab.play(TALKING.replace("bob > 200 b1", "bob > 200 b1 | Allow: INVITE, ACK, BYE, REFER"))
    for digit in "#5678":
        lab.play(f"""
            alice > INFO text:Signal={digit} | Content-Type: application/dtmf-relay
            alice < 200 INFO
        """)
    lab.play(f"""
        bob < REFER | Refer-To: <sip:5678@{DOMAIN}> | Referred-By: <sip:alice@{DOMAIN}>
        bob > 202
    """)


def test_b2bua_transfer_sends_the_partner_elsewhere() -> None:
    lab = b2bua()
    dial_transfer(lab)
    notify(lab, "bob", "200 OK")
    lab.play("""
        bob < BYE
        bob > 200
        alice < BYE
        alice > 200
    """)
    assert all("B2BUA: " in line for line in lab.watch.log)
    lab.end()


def test_b2bua_transfer_refused_leaves_the_talk_as_it_was() -> None:
    lab = b2bua()
    dial_transfer(lab)
    notify(lab, "bob", "603 Decline")
    lab.play("""
        +1
        alice > BYE
        alice < 200
        bob < BYE
        bob > 200
    """)
    assert any("transfer failed: 603-Decline" in line for line in lab.watch.log)
    lab.end()


def test_a_telephone_without_refer_is_transferred_by_the_server() -> None:
    program = """
    entry main {
      void(AcceptCall());
      SysLog("transferred " + (TransferCall("bob") || "well"));
    }
    """
    lab = VoiceLab("alice bob", {"away": program})
    lab.play("""
        alice > INVITE away a1 | Allow: INVITE, ACK, BYE
        alice < 200 m1
        alice > ACK
        bob < INVITE (a1) | Referred-By
        bob > 200 b1
        bob < ACK
        alice < reINVITE (b1)
        alice > 200 a1
        alice < ACK
    """)
    assert lab.watch.log == ["transferred well"]
    lab.play("""
        bob > BYE
        bob < 200
        alice < BYE
        alice > 200
    """)
    lab.end()


def test_attendant_rings_an_extension_while_the_caller_hears_a_tone() -> None:
    lab = VoiceLab("alice bob")
    lab.route(f"Signal:<200@*> = pbx#{PBX}", f"Signal:<202@*> = bob@{DOMAIN}")
    lab.play("""
        alice > INVITE 200 a1
        alice < 200 m1
        alice > ACK
        +1.0
    """)
    lab.press("202")
    lab.play("""
        +1.2
        bob < INVITE m2
        bob > 180
        +2
        bob > 200 b1
        bob < ACK
        +2
    """)
    assert len(set(lab.hosting.hosted.values())) == 1
    assert "" not in lab.hosting.hosted.values()
    lab.play("""
        alice > BYE
        alice < 200
        bob < BYE
        bob > 200
    """)
    lab.end()


def test_recording_is_given_to_the_program() -> None:
    program = """
    entry main {
      void(AcceptCall());
      var recording = Record(10);
      SysLog(IsData(recording) ? "recorded " + GetPlayDuration(recording) : "nothing");
      Play(recording);
    }
    """
    lab = VoiceLab("alice", {"record": program})
    lab.play("""
        alice > INVITE record a1
        alice < 200 m1
        alice > ACK
        +3
    """)
    lab.press("#")
    lab.play("""
        +0.1
        +0.2
    """)
    assert lab.watch.log == ["recorded 2000"]
    lab.play("""
        alice < BYE
        alice > 200
    """)
    lab.end()


def test_a_recording_survives_its_caller() -> None:
    program = """
    entry main {
      void(AcceptCall());
      var recording = Record(10);
      SysLog(IsData(recording) ? "recorded" : "nothing");
    }
    """
    lab = VoiceLab("alice", {"record": program})
    lab.play("""
        alice > INVITE record a1
        alice < 200 m1
        alice > ACK
        +3
        alice > BYE
        alice < 200
    """)
    event = {"event": "recording-finished", "name": lab.hosting.recording, "reason": "hangup"}
    lab.host.on_sound(event, lab.now)
    lab.advance(0.01)
    assert lab.watch.log == ["recorded"]
    lab.end()


def test_voice_mail_of_an_extension_that_a_program_calls() -> None:
    """A program calls a program: their sound takes no network, and a telephone that is joined
    hears what is played from where it is."""
    outer = """
    entry Leg forward;
    entry main {
      void(AcceptCall());
      var leg = spawn Leg(null);
      void(ReadInput(1));
      void(StartBridge(leg));
      void(ReadInput(100));
      var digit = ReadInput(100);
      SysLog("outer " + (digit || "ended"));
    }
    entry Leg {
      void(StartCall(EmailToSIPURI("inner")));
      var input;
      loop input = ReadInput(100); exitif IsCallCompletedEvent(input); end loop;
      SysLog("completed " + (input.parameter || "well"));
      input = ReadInput(100);
      void(AcceptBridge(input));
      void(ReadInput(100));
    }
    """
    inner = """
    entry main {
      void(AcceptCall());
      PlayFile("welcome", 5000);
      var digit = ReadInput(100);
      SysLog("inner " + (IsString(digit) ? digit : "ended"));
      var recording = Record(3);
      SysLog(IsData(recording) ? "recorded" : "nothing");
    }
    """
    lab = VoiceLab("alice", {"outer": outer, "inner": inner})
    lab.play("""
        alice > INVITE outer a1
        alice < 200 m1
        alice > ACK
        +0.2
    """)
    assert lab.watch.log == ["completed well"]
    lab.play("+1.0")
    assert [one for one in lab.asked_media() if one.startswith("play")] == ["play s1"]
    lab.press("5")
    assert lab.watch.log[1:] == ["inner 5"]
    lab.play("+3.2")
    assert lab.watch.log[2:] == ["recorded"]
    lab.advance(1)
    lab.play("""
        alice > BYE
        alice < 200
    """)
    lab.advance(100)
    lab.end()


def test_refused_with_401_the_caller_is_challenged() -> None:
    lab = VoiceLab("alice", {"who": "entry main { RejectCall(401); }"})
    lab.play("""
        alice > INVITE who a1
        alice < 401 | WWW-Authenticate
        alice > ACK
    """)
    lab.end()


def test_a_mixer_joins_several_and_mutes_one() -> None:
    program = """
    entry main {
      void(AcceptCall());
      var found = FindMeeting("room", "1");
      if(found != null && IsTask(found.id)) {
        void(StartBridge(found.id));
        loop
          var input = ReadInput(3600);
        exitif IsBreakBridgeEvent(input) || IsDisconnectEvent(input);
        end loop;
        stop;
      }
      void(CreateMeeting("room", "1")); void(ActivateMeeting("room", "1"));
      loop
        var input = ReadInput(3600);
        if(IsStartBridgeEvent(input)) { void(AttachMixer(input)); PlayTone(800, 100); }
        if(input == "6") { MuteMixer(MixerAttached()[0], true); }
      exitif IsDisconnectEvent(input);
      end loop;
    }
    """
    lab = VoiceLab("alice bob carol", {"room": program})
    for number, name in enumerate(("alice", "bob", "carol"), 1):
        lab.play(f"""
            {name} > INVITE room a1
            {name} < 200 m{number}
            {name} > ACK
            +0.5
        """)
    assert len(set(lab.hosting.hosted.values())) == 1
    assert "" not in lab.hosting.hosted.values()
    lab.asked_media()
    lab.press("6")
    assert lab.asked_media() == ["conference set speaks=muted"]
    lab.play("""
        carol > BYE
        carol < 200
        alice > BYE
        alice < 200
        bob < BYE
        bob > 200
    """)
    lab.end()


def test_a_program_may_redirect_and_fork() -> None:
    program = 'entry main { ForkCall("bob"); void(ReadInput(2)); RedirectCall("carol"); }'
    lab = VoiceLab("alice bob carol", {"away": program})
    lab.play("""
        alice > INVITE away a1
        bob < INVITE (a1)
        bob > 180
        alice < 180
        +2.1
        carol < INVITE (a1)
        carol > 200 c1
        carol < ACK
        alice < 200 (c1)
        alice > ACK
        bob < CANCEL
        bob > 200 CANCEL
        bob > 487 INVITE
        bob < ACK
        alice > BYE
        alice < 200
        carol < BYE
        carol > 200
    """)
    lab.end()


def test_a_provisional_answer_with_media() -> None:
    program = """
    entry main {
      void(ProvisionCall(true));
      PlayFile("welcome");
      void(AcceptCall());
    }
    """
    lab = VoiceLab("alice", {"early": program})
    lab.play("""
        alice > INVITE early a1
        alice < 180 m1
        +1.1
        alice < 200 m1
        alice > ACK
        alice < BYE
        alice > 200
    """)
    lab.end()


def test_a_late_offer_is_answered_in_the_ack() -> None:
    program = 'entry main { SysLog("accepted " + (AcceptCall() || "well")); PlayFile("welcome"); }'
    lab = VoiceLab("alice", {"late": program})
    lab.play("""
        alice > INVITE late -
        alice < 200 m1
        alice > ACK a1
        +0.5
    """)
    assert lab.watch.log == ["accepted well"]
    assert lab.asked_media() == ["create", "create answer a1", "play s1"]
    lab.play("""
        alice > BYE
        alice < 200
    """)
    lab.end()


def test_a_caller_may_hold_the_program() -> None:
    program = "entry main { void(AcceptCall()); void(ReadInput(100)); }"
    lab = VoiceLab("alice", {"wait": program})
    lab.play("""
        alice > INVITE wait a1
        alice < 200 m1
        alice > ACK
        alice > reINVITE a2:sendonly
        alice < 200 m2
        alice > ACK
        alice > reINVITE a3
        alice < 200 m3
        alice > ACK
        alice > BYE
        alice < 200
    """)
    assert [one for one in lab.asked_media() if one != "delete"] == [
        "serve a1", "serve a2:sendonly", "serve a3",
    ]  # fmt: skip
    lab.end()


def test_media_are_restored_when_the_service_was_restarted() -> None:
    program = 'entry main { void(AcceptCall()); PlayFile("welcome", -1); void(ReadInput(100)); }'
    lab = VoiceLab("alice", {"wait": program})
    lab.play("""
        alice > INVITE wait a1
        alice < 200 m1
        alice > ACK
        +1
    """)
    lab.hosting.hosted.clear()
    lab.node.on_media_restarted(lab.now)
    lab.play("""
        alice < reINVITE m2
        alice > 200 a1
        alice < ACK
        alice > BYE
        alice < 200
    """)
    lab.end()


def test_a_call_without_any_sound_is_ended() -> None:
    program = "entry main { void(AcceptCall()); void(ReadInput(1000)); }"
    lab = VoiceLab("alice", {"wait": program})
    lab.play("""
        alice > INVITE wait a1
        alice < 200 m1
        alice > ACK
        +60
    """)
    lab.node.on_media_timeout(next(iter(lab.hosting.hosted)), lab.now)
    lab.hosting.hosted.clear()
    lab.play("""
        alice < BYE
        alice > 200
    """)
    lab.end()


def test_a_gateway_is_answered_with_the_programs_password() -> None:
    program = """
    entry main {
      void(AcceptCall());
      var call = NewDictionary();
      call.("") = "sip:8005@outside.example";
      call.authUsername = "00001"; call.authPassword = "spassword1";
      call.From = "sip:00001@outside.example"; call.fromName = "Office";
      call.customIdentity = ""; call.("Call-ID") = "abc.gwout1";
      var leg = spawn Leg(call);
      void(ReadInput(100));
    }
    entry Leg {
      void(StartCall(Vars().startParameter));
      var input;
      loop input = ReadInput(100); exitif IsCallCompletedEvent(input); end loop;
      SysLog("completed " + (input.parameter || "well"));
      void(ReadInput(100));
    }
    """
    lab = VoiceLab("alice", {"out": program})
    lab.add("gate", "", host="198.51.100.77")
    lab.outside["outside.example"] = "gate"
    lab.play("""
        alice > INVITE out a1
        alice < 200 m1
        alice > ACK
        gate < INVITE m2 | "Office" <sip:00001@outside.example> | !Authorization
        gate > 401 | WWW-Authenticate: Digest realm="gw", nonce="n1", algorithm=MD5, qop="auth"
        gate < ACK
        gate < INVITE m2 | username="00001" | Call-ID: abc.gwout1
        gate > 200 g1
        gate < ACK
    """)
    assert lab.watch.log == ["completed well"]
    lab.play("""
        alice > BYE
        alice < 200
        gate > BYE
        gate < 200
    """)
    lab.end()


PARK = """
entry main {
  void(AcceptCall());
  PlayFile("holdmusic", -1);
  var input = ReadInput(100);
}
"""


def test_a_call_is_transferred_to_a_program() -> None:
    """Call park: who is put there hears music, who put it there may hang up."""
    lab = VoiceLab("alice bob", {"park": PARK})
    lab.play("""
        alice > INVITE bob a1
        bob < INVITE (a1)
        bob > 200 b1
        bob < ACK
        alice < 200 (b1)
        alice > ACK
        bob > REFER park
        bob < 202
        bob < NOTIFY text:SIP/2.0 100 Trying
        bob > 200
        alice < reINVITE m1
        alice > 200 a1
        alice < ACK
        bob < NOTIFY text:SIP/2.0 200 OK
        bob > 200 NOTIFY
        bob > BYE
        bob < 200
        +3
    """)
    assert lab.asked_media()[:2] == ["serve a1", "play s1"]
    lab.play("""
        alice > BYE
        alice < 200
    """)
    lab.end()


def test_a_program_that_is_talked_to_is_transferred_by_its_caller() -> None:
    """The phone gives the program away; `refer` says in whose name."""
    lab = VoiceLab("alice bob", {"park": PARK})
    lab.play("""
        alice > INVITE park a1
        alice < 200 m1
        alice > ACK
        +1
        alice > REFER bob
        alice < 202
        alice < NOTIFY text:SIP/2.0 100 Trying
        alice > 200
        bob < INVITE m1
        bob > 200 b1
        bob < ACK
        alice < NOTIFY text:SIP/2.0 200 OK
        alice > 200 NOTIFY
        bob < reINVITE m2
        bob > 200 b1
        bob < ACK
        alice > BYE
        alice < 200
        +1
        bob > BYE
        bob < 200
    """)
    lab.end()


def test_t38_is_refused_and_the_talk_goes_on() -> None:
    lab = VoiceLab("alice", {"park": PARK})
    lab.play("""
        alice > INVITE park a1
        alice < 200 m1
        alice > ACK
        +1
    """)
    lab.hosting.refuse = "no audio in common; the party has image"
    lab.play("""
        alice > reINVITE a2
        alice < 488
        alice > ACK
        +1
        alice > BYE
        alice < 200
    """)
    lab.end()


def test_a_named_task_has_one_call_at_a_time() -> None:
    lab = VoiceLab("alice bob", {"park": PARK})
    lab.directory.apply(
        f"task/desk@{DOMAIN}",
        TaskCreated(name="desk", domain=DOMAIN, owner="pbx", program="park"),
    )
    lab.play("""
        alice > INVITE desk a1
        alice < 200 m1
        alice > ACK
        bob > INVITE desk b1
        bob < 486
        bob > ACK
        alice > BYE
        alice < 200
    """)
    lab.end()


def test_what_an_attendant_calls_for_its_caller_counts_once() -> None:
    """An account with one call at a time reaches an extension through a program."""
    program = """
    entry Leg forward;
    entry main { void(AcceptCall()); var leg = spawn Leg(null); void(ReadInput(60)); }
    entry Leg {
      void(Impersonate("alice"));
      SysLog("started " + (StartCall(EmailToSIPURI("bob")) || "well"));
      var input;
      loop input = ReadInput(60); exitif IsCallCompletedEvent(input); end loop;
      SysLog("completed " + (input.parameter || "well"));
    }
    """
    lab = VoiceLab("alice bob", {"out": program})
    lab.rights(PBX, "CanImpersonate")
    lab.limit("alice", 1)
    lab.play("""
        alice > INVITE out a1
        alice < 200 m1
        alice > ACK
        bob < INVITE m2
        bob > 200 b1
        bob < ACK
        bob < BYE
        bob > 200
        alice > BYE
        alice < 200
    """)
    assert lab.watch.log == ["started well", "completed well"]
    lab.end()
