"""An external authentication helper, as a site would write one (``tests/interop/test_helper.py``).

    python fake_helper.py LOG

Writes every request to LOG and answers by the name that is asked about:

    helpdesk…   ROUTED bob              slow…   never
    out…        ROUTED out@far.example  die     ends at once
    erin        PLAIN kept-elsewhere    long    a line without an end
    others      ERROR unknown account

Two requests about ``late`` are answered in the other order. The password of a log-in (VRFY) is
right if it is ``kept-elsewhere``. About the name ``fresh`` it gives commands, where and as whom
LOG.cli says, and answers OK.
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

ANSWERS = {"helpdesk": "ROUTED bob", "out": "ROUTED out@far.example"}


def give_commands(*commands: str) -> None:
    """On the command protocol of the server, which waits for us meanwhile."""
    host, port, name, password = Path(f"{sys.argv[1]}.cli").read_text().split()
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        replies = connection.makefile("rb")
        lines = (f"USER {name}", f"PASS {password}", *commands, "QUIT")
        connection.sendall("".join(f"{line}\r\n" for line in lines).encode())
        sys.stdout.write(f"* {b' | '.join(replies.read().splitlines()).decode()}\n")


def main() -> int:
    log = open(sys.argv[1], "a", encoding="utf-8")  # noqa: SIM115 - as long as we live
    kept: list[str] = []

    def say(line: str) -> None:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    say(f"* started with {len(os.environ)} variables")
    log.write(" ".join(sorted(os.environ)) + "\n")
    for line in sys.stdin:
        number, command, *words = line.split()
        log.write(line)
        log.flush()
        name = words[0].partition("@")[0] if words else ""
        if command == "INTF":
            say(f"{number} INTF 3")
        elif command == "QUIT":
            say(f"{number} OK")
            return 0
        elif name == "die":
            return 1
        elif name == "long":
            say("x" * 10_000)
        elif name.startswith("slow"):
            continue
        elif name == "late":
            kept.append(number)
            if len(kept) == 2:
                say(f"{kept[1]} ERROR second")
                say(f"{kept[0]} ERROR first")
        elif command == "VRFY":
            say(f"{number} OK" if words[2] == "kept-elsewhere" else f"{number} ERROR wrong")
        elif name == "fresh":
            give_commands(f"CREATEACCOUNT {words[0]} {{UseExtPassword = YES;}}")
            say(f"{number} OK")
        elif command == "READPLAIN":
            say(f"{number} PLAIN kept-elsewhere" if name == "erin" else f"{number} ERROR")
        else:
            told = next((ANSWERS[key] for key in ANSWERS if name.startswith(key)), "")
            say(f"{number} {told or 'ERROR unknown account'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
