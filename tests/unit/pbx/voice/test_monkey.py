"""Phones that do anything at any moment, against programs: nothing is raised, nothing is left.

The monkey of call control calls programs as well: attendant, mixer, recorder, queue, the printed
B2BUA, programs that redirect, fork, transfer, call programs, or break down. At the end no task,
line or media session is left, and every call has ended once.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.voice_lab import PBX, VoiceLab
from tests.unit.pbx.calls.phone import DOMAIN
from tests.unit.pbx.calls.test_monkey import _NAMES, Monkey
from tests.unit.pbx.voice.test_calls import HELLO, TO_BOB

SEEDS = 40
PRINTED = Path(__file__).parents[3] / "data" / "script"
ROOM = """
entry main {
  void(AcceptCall());
  var found = FindMeeting("room", "1");
  if(found != null && IsTask(found.id)) {
    if(StartBridge(found.id) != null) { stop; }
    loop
      var input = ReadInput(900);
    exitif input == null || IsBreakBridgeEvent(input) || IsDisconnectEvent(input);
    end loop;
    stop;
  }
  void(CreateMeeting("room", "1")); void(ActivateMeeting("room", "1"));
  loop
    var input = ReadInput(900);
    if(IsStartBridgeEvent(input)) { void(AttachMixer(input)); PlayTone(800, 100); }
    if(input == "6") { MuteMixer(MixerAttached()[0], true); }
    if(input == "7") { void(DetachMixer(null)); }
  exitif input == null || IsDisconnectEvent(input);
  end loop;
}
"""
PROGRAMS = {
    "hello": HELLO,
    "through": TO_BOB.replace("3600", "900"),
    "room": ROOM,
    "record": "entry main { void(AcceptCall()); var r = Record(9); Play(r); void(ReadInput(20)); }",
    "away": 'entry main { ForkCall("bob"); void(ReadInput(2)); RedirectCall("carol"); }',
    "early": 'entry main { void(ProvisionCall(true)); PlayFile("welcome"); void(AcceptCall()); }',
    "give": 'entry main { void(AcceptCall()); void(ReadInput(1)); void(TransferCall("dan")); }',
    "nest": """
      entry Leg forward;
      entry main { void(AcceptCall()); var leg = spawn Leg(null); void(ReadInput(1));
                   void(StartBridge(leg)); PlayFile("welcome"); void(ReadInput(30)); }
      entry Leg { void(StartCall(EmailToSIPURI("record"))); var n = 0;
        loop var input = ReadInput(60); n += 1;
          exitif input == null || n > 9;
          if(IsStartBridgeEvent(input)) { void(AcceptBridge(input)); }
          if(IsDisconnectEvent(input) || IsBreakBridgeEvent(input)) { stop; }
        end loop; }
    """,
    "hold": "entry main { void(AcceptCall()); SetLocalHold(true); void(ReadInput(3)); "
    "SetLocalHold(null); void(ReadInput(30)); }",
    "broken": 'entry main { void(AcceptCall()); void(ReadInput(2)); "x".y = 1; }',
    "endless": "entry main { void(AcceptCall()); loop null; end loop; }",
    "b2bua-transfer": (PRINTED / "b2bua-transfer.sppr").read_text(),
    "join": """
      entry Leg forward;
      entry main { void(AcceptCall()); var leg = spawn Leg(null); void(ReadInput(3));
                   void(StartTransfer(leg)); void(ReadInput(30)); }
      entry Leg { void(StartCall(EmailToSIPURI("dan"))); var n = 0;
        loop var input = ReadInput(60); n += 1;
          exitif input == null || n > 9 || IsDisconnectEvent(input);
          if(IsStartTransferEvent(input)) { void(AcceptTransfer(input)); }
        end loop; }
    """,
}


class ProgramMonkey(Monkey):
    """One play."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        lab = VoiceLab(" ".join(_NAMES), PROGRAMS, no_answer_s=40.0)
        self.lab = lab
        self.voice = lab
        self.media = lab.hosting
        restarted = lab.node.on_media_restarted

        def forget_first(now: float) -> None:
            lab.hosting.hosted.clear()
            restarted(now)

        lab.node.on_media_restarted = forget_first  # type: ignore[method-assign]
        lab.add("desk", "bob", q=0.5)
        lab.rights(PBX, "Domain", "CanImpersonate")
        names = [*PROGRAMS, "echotest", "voicemail"]
        lab.route(
            f"Signal:<200@*> = pbx#{PBX}",
            f"Signal:<wait@*> = passivequeue{{sales}}#{PBX}",
            f"Signal:<202@*> = bob@{DOMAIN}",
            *[f"Signal:<{name}@*> = {name}#{PBX}" for name in names],
        )
        self.targets = [*_NAMES, *PROGRAMS, *PROGRAMS, "200", "200", "wait", "voicemail"]

    def start(self, target: str, words: str = "") -> None:
        if not words:
            target = self.rng.choice(self.targets)
        super().start(target, words)

    def refer(self) -> None:
        dialog = self.talking()
        if dialog is not None and self.rng.random() < 0.3:
            self.lab.play(f"{dialog.name} > REFER {self.rng.choice(list(PROGRAMS))}")
            return
        super().refer()

    def wait(self) -> None:
        if self.voice.hosting.hosted and self.rng.random() < 0.6:
            session = self.rng.randrange(len(self.voice.hosting.hosted))
            digit = self.rng.choice("0123#*202")
            self.voice.press(digit, self.rng.choice(("rtp", "info", "inband")), session=session)
            return
        super().wait()

    def mood(self) -> None:
        draw = self.rng.random()
        if draw < 0.05:
            self.voice.hosting.refuse = "Too many calls"
        elif draw < 0.08 and self.voice.hosting.hosted:
            session = self.rng.choice(list(self.voice.hosting.hosted))
            del self.voice.hosting.hosted[session]
            self.lab.node.on_media_timeout(session, self.lab.now)
            self.lab.pump()
        elif draw < 0.1:
            self.lab.node.on_media_restarted(self.lab.now)
            self.lab.pump()
        else:
            super().mood()

    def clean_up(self) -> None:
        self.voice.hosting.refuse = ""
        end, self.lab.end = self.lab.end, lambda expected="": None  # type: ignore[method-assign]
        super().clean_up()
        self.lab.advance(4000.0)
        for dialog in self.lab.dialogs.values():
            dialog.inbox.clear()
        for phone in self.lab.phones.values():
            phone.fresh.clear()
        end()


@pytest.mark.parametrize("seed", range(SEEDS))
def test_anything_goes(seed: int) -> None:
    """A failing seed repeats itself."""
    ProgramMonkey(seed).play()
