"""What an RTPproxy answers to the commands of a B2BUA, and nothing relayed.

Debian has no RTPproxy, and the benchmark counts the CPU of the signalling process only: what that
does for a media proxy (commands, SDP rewritten) needs the answers, not the packets. Commands by
RTPproxy's published protocol: ``COOKIE COMMAND …``, answered by ``COOKIE ANSWER``.

Run as ``python -m benchmarks.peers.rtpproxy_answers PORT``.
"""

from __future__ import annotations

import socket
import sys
from typing import Final

VERSION: Final = "20040107"
PORTS: Final = range(35_000, 36_000, 2)


class Answers:
    """Ports are given out in turn; a thousand calls at once are no matter here."""

    def __init__(self) -> None:
        self._given = 0

    def answer(self, command: str) -> str:
        """The answer to one command, without its cookie."""
        match command[:1].upper():
            case "V":
                return "1" if command[:2].upper() == "VF" else VERSION
            case "U" | "L":
                self._given += 1
                return f"{PORTS[self._given % len(PORTS)]} 127.0.0.1"
            case "I":
                return "sessions created: 0\nactive sessions: 0\nactive streams: 0"
            case _:
                return "0"


def main() -> None:
    """Answer until killed."""
    answers = Answers()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", int(sys.argv[1])))
        while True:
            data, peer = bound.recvfrom(65_536)
            cookie, _, command = data.decode("latin-1").strip().partition(" ")
            bound.sendto(f"{cookie} {answers.answer(command)}\n".encode("latin-1"), peer)


if __name__ == "__main__":
    main()
