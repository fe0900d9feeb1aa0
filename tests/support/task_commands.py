"""Commands on running applications as a dialogue: said in memory and over real connections."""

from __future__ import annotations

from typing import Final

from tests.support.cli_client import Reply
from tests.support.cli_transcript import Speaker, check, steps_of_text
from tests.support.program_lab import ProgramLab

PROGRAM: Final = """
entry main {
  SetApplicationStatus(Vars().startParameter);
  while(true) {
    var event = ReadInput(1000);
    if(IsDictionary(event)) {
      SetApplicationStatus(event.what + ":" + ObjectToString(event.parameter));
    }
  }
}
entry silent { void(ReadInput(1000)); }
"""
BROKEN: Final = "entry main {\n  PlayFile(\n}\n"

TRANSCRIPT: Final = """
C: USER postmaster
S: 300 please send the PASS
C: PASS Pa$$w0rd
S: 200 login OK
C: STARTPBXTASK nobody PROGRAM x
S: 513 unknown user account
C: STARTPBXTASK pbx PROGRAM nosuch
S: 501 application nosuch not found
C: STARTPBXTASK pbx PROGRAM x ENTRY nothing
S: 501 * has no entry nothing
C: STARTPBXTASK pbx PROGRAM broken
S: 501 application broken does not compile: *broken.sppr:3:1: error: *
C: STARTPBXTASK pbx PROGRAM x.sppr PARAM("401","8916XXXXXXX")
S: 200 data follow
= TASK
C: READNODESTATUS TASK
S: 200 data follow
D: ("401","8916XXXXXXX")
C: SENDTASKEVENT TASK EVENT hello PARAM {a = 1;}
S: 200 OK
C: READNODESTATUS TASK
S: 200 data follow
D: "hello:{a=1;}"
C: SENDTASKEVENT TASK EVENT disconnect
S: 501 the name belongs to an event of the system
C: SENDTASKEVENT TASK
S: 501 parameter missing: EVENT*
C: READNODESTATUS T0123@elsewhere
S: 501 the task runs on the node elsewhere: give the command there, this is lab
C: STARTPBXTASK pbx PROGRAM x ENTRY silent
S: 200 data follow
= SILENT
C: READNODESTATUS SILENT
S: 200 data follow
D: #NULL#
C: KILLNODE TASK
S: 200 OK
C: KILLNODE TASK
S: 501 unknown task
C: KILLNODE SILENT
S: 200 OK
"""


def lab() -> ProgramLab:
    """A node that has the programs of the dialogue."""
    found = ProgramLab(PROGRAM, files={"broken.sppr": BROKEN.encode()})
    found.control._acted = found.pump
    return found


def play(speaker: Speaker) -> None:
    """The dialogue; ``= NAME`` keeps the value of the last reply for the lines behind it."""
    names: dict[str, str] = {}
    reply = Reply(0, "")
    text = ""
    for line in TRANSCRIPT.strip().splitlines():
        if line.startswith("= "):
            reply = _said(text, names, speaker)
            names[line[2:]] = str(reply.value)
            text = ""
        elif line.startswith("C: ") and text:
            _said(text, names, speaker)
            text = f"{line}\n"
        else:
            text += f"{line}\n"
    _said(text, names, speaker)


def _said(text: str, names: dict[str, str], speaker: Speaker) -> Reply:
    for name, value in names.items():
        text = text.replace(f" {name}", f" {value}")
    (step,) = steps_of_text(text)
    reply = speaker.command(step.said)
    check(step, reply)
    return reply
