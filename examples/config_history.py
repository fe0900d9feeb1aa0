"""A wrong change of the Router and of rules: found before it is made; what was made is taken back.

    .venv/bin/python examples/config_history.py

Starts a server on a data directory of its own, makes a call between two phones (plain SIP over
UDP, in this file), and prints a session of `pbx` commands with their real output. The README
shows it.
"""

from __future__ import annotations

import os
import re
import secrets
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from sip.digest import authorize, select_challenge
from sip.message import HeaderList, Request, Response, response_for
from sip.parser import parse_message

DOMAIN = "office.example"
PASSWORD = "correct horse battery"
PATIENCE_S = 20.0
RING_S = 0.3
TALK_S = 0.5
SDP = (
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    "m=audio {} RTP/AVP 8\r\n"
)
LISTENING = re.compile(r"listening 127\.0\.0\.1:(\d+)/udp")


class Phone:
    """One account at one UDP socket; answers whoever calls."""

    def __init__(self, name: str, server_port: int) -> None:
        self.name = name
        self.server = ("127.0.0.1", server_port)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.settimeout(PATIENCE_S)
        self.port = self.socket.getsockname()[1]
        self.contact = f"<sip:{name}@127.0.0.1:{self.port}>"
        self.call_id = secrets.token_hex(8)
        self.tag = secrets.token_hex(4)
        self.cseq = 0

    def request(
        self, method: str, uri: str, to: str, *more: tuple[str, str], sdp: bool = False
    ) -> Request:
        """A new request; ACK keeps the number of its INVITE."""
        self.cseq += method != "ACK"
        branch = f"z9hG4bK{secrets.token_hex(6)}"
        headers: HeaderList = (
            ("Via", f"SIP/2.0/UDP 127.0.0.1:{self.port};branch={branch};rport"),
            ("Max-Forwards", "70"),
            ("From", f"<sip:{self.name}@{DOMAIN}>;tag={self.tag}"),
            ("To", to),
            ("Call-ID", self.call_id),
            ("CSeq", f"{self.cseq} {method}"),
            ("Contact", self.contact),
            *((("Content-Type", "application/sdp"),) if sdp else ()),
            *more,
        )
        return Request(method, uri, headers, SDP.format(self.port + 2).encode() if sdp else b"")

    def send(self, message: Request | Response) -> None:
        self.socket.sendto(message.to_bytes(), self.server)

    def receive(self) -> Request | Response:
        return parse_message(self.socket.recvfrom(65_536)[0])

    def final(self) -> Response:
        """The next response that is no provisional one."""
        while True:
            message = self.receive()
            if isinstance(message, Response) and message.status >= 200:
                return message

    def asked(self, method: str, uri: str, to: str, *, sdp: bool = False) -> Response:
        """Send a request, and once more with the password if the server asks for it."""
        first = self.request(method, uri, to, sdp=sdp)
        self.send(first)
        response = self.final()
        found = select_challenge(response)
        if found is None:
            return response
        if method == "INVITE":
            via, *_ = first.headers
            ack = self.request("ACK", uri, response.first("To") or to)
            self.send(Request("ACK", uri, (via, *ack.headers[1:])))
        header, challenge = found
        answer = authorize(challenge, method, uri, self.name, PASSWORD, cnonce=secrets.token_hex(8))
        self.send(self.request(method, uri, to, (header, answer), sdp=sdp))
        return self.final()

    def register(self) -> None:
        response = self.asked("REGISTER", f"sip:{DOMAIN}", f"<sip:{self.name}@{DOMAIN}>")
        if response.status != 200:
            sys.exit(f"{self.name}: registration answered {response.status} {response.reason}")

    def call(self, dialled: str) -> None:
        """Dial, talk, hang up."""
        self.call_id = secrets.token_hex(8)
        uri = f"sip:{dialled}@{DOMAIN}"
        answer = self.asked("INVITE", uri, f"<{uri}>", sdp=True)
        if answer.status != 200:
            sys.exit(f"{self.name}: the call was answered {answer.status} {answer.reason}")
        to = answer.first("To") or ""
        target = str(answer.contacts[0].uri)
        self.send(self.request("ACK", target, to))
        time.sleep(TALK_S)
        self.send(self.request("BYE", target, to))
        self.final()

    def answer_one(self) -> None:
        """Ring, pick up, stay until the other side hangs up."""
        tag = secrets.token_hex(4)
        while True:
            message = self.receive()
            if not isinstance(message, Request) or message.method == "ACK":
                continue
            if message.method == "INVITE":
                self.send(response_for(message, 180, to_tag=tag))
                time.sleep(RING_S)
                more = (("Contact", self.contact), ("Content-Type", "application/sdp"))
                body = SDP.format(self.port + 2).encode()
                self.send(response_for(message, 200, to_tag=tag, headers=more, body=body))
                continue
            self.send(response_for(message, 200, to_tag=tag))
            if message.method == "BYE":
                return


class Session:
    """Commands over one data directory."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("RINGLOG_")},
            "RINGLOG_SERVER__DATA": str(data),
            "RINGLOG_MEDIA__NG": "off",
        }

    def run(self, line: str) -> str:
        """Output of ``pbx …``."""
        words = [sys.executable, "-m", "pbx", *shlex.split(line)[1:]]
        done = subprocess.run(
            words, env=self.environment, cwd=self.data, capture_output=True, text=True, check=False
        )
        if done.stderr:
            sys.exit(f"{line}: {done.stderr}")
        return done.stdout

    def show(self, line: str) -> str:
        """Print a command as it would be typed, and its output."""
        output = self.run(line)
        print(f"$ {line}\n{output}", flush=True)
        return output

    @contextmanager
    def serving(self) -> Iterator[int]:
        """A running server; gives its UDP port."""
        command = [sys.executable, "-m", "pbx", "serve", "--sip", "127.0.0.1:0/udp"]
        with subprocess.Popen(
            command, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            text=True,
        ) as server:  # fmt: skip
            port = 0
            for line in server.stdout or ():
                found = LISTENING.match(line)
                port = int(found[1]) if found else port
                if line.strip() == "ready":
                    break
            else:
                sys.exit("the server did not start")
            try:
                yield port
            finally:
                server.send_signal(signal.SIGTERM)
                server.communicate(timeout=PATIENCE_S)


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def story(session: Session) -> None:
    """See the module."""
    session.run(f"pbx domain create {DOMAIN}")
    for name in ("ann", "bob", "carol"):
        session.run(f"pbx account create {name}@{DOMAIN} --password '{PASSWORD}'")
    session.run(f"pbx alias add 401 ann@{DOMAIN}")
    table = session.data / "new-table.txt"
    table.write_text("Signal:<311@*> = echotest#pbx@localhost  ; testing\n")
    session.run("pbx router set new-table.txt")
    with session.serving() as port:
        ann, bob = Phone("ann", port), Phone("bob", port)
        ann.register()
        bob.register()
        callee = threading.Thread(target=ann.answer_one)
        callee.start()
        bob.call("401")
        callee.join(PATIENCE_S)
        deadline = time.monotonic() + PATIENCE_S
        while "call.ended" not in session.run("pbx log --type call.ended"):
            if time.monotonic() > deadline:
                sys.exit("the call did not end")
            time.sleep(0.1)
        ann.socket.close()
        bob.socket.close()
    noon = now()
    table.write_text(
        "Signal:<311@*> = echotest#pbx@localhost  ; testing\n"
        "Signal:<4(2d)@*> = voicemail#4*@*  ; 4nn: to voice mail\n"
    )
    print("# What would the new table have meant for last week's calls?")
    session.show("pbx whatif --router new-table.txt --calls 7d")
    rules = session.data / "new-rules.json"
    rules.write_text(
        '[["100005", "boss", [["From", "is", "bo*@*"]], [["Redirect To", "carol"]]],\n'
        ' ["98005", "late", [["RegClients", "greater than", "1"]], [["Fork to", "carol"]]]]\n'
    )
    print("# And these rules of Ann's, which were meant for calls of her boss?")
    session.show(f"pbx whatif --rules new-rules.json --level account ann@{DOMAIN} --calls 7d")
    print("# Somebody sets the table without asking. What changed, and what did 401 mean before?")
    session.run("pbx router set new-table.txt")
    session.show(f"pbx config diff router --from {noon}")
    session.show(f"pbx route 401@{DOMAIN} --at {noon}")
    session.show(f"pbx route 401@{DOMAIN}")
    print("# Who was that? Take it back.")
    log = session.show(f"pbx config log router --since {noon}")
    session.show(f"pbx config revert {log.split()[0]} --yes")
    session.show("pbx config blame router")
    print("# And how did the call go?")
    call = session.run("pbx log --type call.ended").split("call/")[1][:36]
    session.show(f"pbx explain {call}")


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        story(Session(Path(folder)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
