"""An external authentication helper, as a site would write one (``tests/interop/test_helper.py``).

    python fake_helper.py LOG

Writes every request to LOG and answers by the name that is asked about:

    helpdesk…   ROUTED bob              slow…   never
    out…        ROUTED out@far.example  die     ends at once
    erin        PLAIN kept-elsewhere    long    a line without an end
    others      ERROR unknown account

Two requests about ``late`` are answered in the other order.
"""

from __future__ import annotations

import os
import sys

ANSWERS = {"helpdesk": "ROUTED bob", "out": "ROUTED out@far.example"}


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
        elif command == "READPLAIN":
            say(f"{number} PLAIN kept-elsewhere" if name == "erin" else f"{number} ERROR")
        else:
            told = next((ANSWERS[key] for key in ANSWERS if name.startswith(key)), "")
            say(f"{number} {told or 'ERROR unknown account'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
