"""What strangers and their scanners learn about our accounts: nothing.

They have a server of their own, because it remembers who guessed: later tests are answered as a
source that is locked already, which must not tell more than one that is not.
"""

from __future__ import annotations

import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.conftest import SETTINGS, with_accounts
from tests.interop.peers.processes import tool
from tests.support.server_process import DOMAIN, ServerProcess

KNOWN, UNKNOWN = "alice", "nobody"

#: What differs between any two answers: tags, nonces, branches, Call-IDs and the name itself.
VOLATILE = [
    (re.compile(rb'nonce="[^"]+"'), b'nonce=""'),
    (re.compile(rb";tag=[^;\r]+"), b";tag="),
    (re.compile(rb"branch=[^;\r\n]+"), b"branch="),
    (re.compile(rb'response="[^"]+"'), b'response=""'),
    (re.compile(rb"(?m)^Call-ID: [^\r]+"), b"Call-ID: x"),
    (re.compile(rb"alice@|nobody@"), b"who@"),
]


@pytest.fixture(scope="module")
def scanned_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("server"), settings=SETTINGS) as made:
        yield with_accounts(made)


def ask(server: ServerProcess, method: str, user: str, credentials: str = "") -> bytes:
    """The first final answer to a request for or about `user`, without what is volatile."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(5.0)
        port = sock.getsockname()[1]
        uri = f"sip:{DOMAIN}" if method == "REGISTER" else f"sip:{user}@{DOMAIN}"
        caller = user if method == "REGISTER" else "stranger"
        lines = [
            f"{method} {uri} SIP/2.0",
            f"Via: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bK-{method}-{user};rport",
            f"From: <sip:{caller}@{DOMAIN}>;tag=1",
            f"To: <sip:{user}@{DOMAIN}>",
            f"Call-ID: {method}-{user}-{port}",
            f"CSeq: 1 {method}",
            f"Contact: <sip:{caller}@127.0.0.1:{port}>",
            "Max-Forwards: 70",
            "Event: presence",
        ]
        if credentials:
            lines.append(f"Authorization: {credentials}")
        lines += ["Content-Length: 0", "", ""]
        sock.sendto("\r\n".join(lines).encode(), server.addresses["udp"])
        while True:
            answer = sock.recv(65_535)
            if not answer.startswith(b"SIP/2.0 1"):
                break
    answer = answer.replace(str(port).encode(), b"PORT").replace(user.encode() + b";", b"who;")
    for pattern, replacement in VOLATILE:
        answer = pattern.sub(replacement, answer)
    return answer


@pytest.mark.parametrize(
    "method",
    ["REGISTER", "INVITE", "OPTIONS", "MESSAGE", "SUBSCRIBE", "PUBLISH", "INFO", "REFER", "BYE"],
)
def test_known_and_unknown_names_get_the_same_answer(
    scanned_server: ServerProcess, method: str
) -> None:
    assert ask(scanned_server, method, KNOWN) == ask(scanned_server, method, UNKNOWN)


def test_wrong_passwords_get_the_same_answer_for_both(scanned_server: ServerProcess) -> None:
    for user in (KNOWN, UNKNOWN):
        assert b"401 Unauthorized" in ask(scanned_server, "REGISTER", user)
    answers = [
        ask(
            scanned_server,
            "REGISTER",
            user,
            f'Digest username="{user}", realm="{DOMAIN}", nonce="guess", uri="sip:{DOMAIN}", '
            'response="0123456789abcdef0123456789abcdef", algorithm=MD5, qop=auth, nc=00000001, '
            'cnonce="x"',
        )
        for user in (KNOWN, UNKNOWN)
    ]
    assert answers[0] == answers[1]
    assert answers[0].startswith(b"SIP/2.0 401")


def test_a_challenge_is_no_amplifier(scanned_server: ServerProcess) -> None:
    """Not much larger than the request, whose source address may be forged."""
    assert len(ask(scanned_server, "REGISTER", KNOWN)) < 3 * 350


def run(directory: Path, *command: str, timeout_s: int = 60) -> str:
    done = subprocess.run(
        [tool(command[0]), *command[1:]],
        cwd=directory,
        env={"HOME": str(directory), "PATH": "/usr/bin:/bin"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=timeout_s,
        check=False,
    )
    return done.stdout.decode("utf-8", "replace")


@pytest.mark.parametrize("method", ["REGISTER", "INVITE", "OPTIONS"])
def test_svwar_finds_no_extension(
    scanned_server: ServerProcess, tmp_path: Path, method: str
) -> None:
    names = ["alice", "bob", "carol", "dave", "nobody", "1000", "2000"]
    (tmp_path / "names").write_text("\n".join(names) + "\n")
    host, port = scanned_server.addresses["udp"]
    told = run(
        tmp_path,
        "svwar",
        "--force",
        "--maximumtime",
        "5",
        "-m",
        method,
        "-d",
        "names",
        "-p",
        str(port),
        host,
    )
    table = [line for line in told.splitlines() if line.startswith("|")]
    found = {name for name in names if any(re.match(rf"\| {name}\b", line) for line in table)}
    assert found in (set(), set(names)), told


def test_svmap_sees_at_most_a_sip_server(scanned_server: ServerProcess, tmp_path: Path) -> None:
    host, port = scanned_server.addresses["udp"]
    told = run(tmp_path, "svmap", "-p", str(port), host)
    for name in (*("alice", "bob", "carol", "dave"), DOMAIN):
        assert name not in told


@pytest.mark.parametrize("options", [(), ("-M", "-B", "hello"), ("-U",), ("-I",)])
def test_sipsak_sees_no_difference(
    scanned_server: ServerProcess, tmp_path: Path, options: tuple[str, ...]
) -> None:
    told = []
    for name in (KNOWN, UNKNOWN):
        output = run(
            tmp_path,
            "sipsak",
            *options,
            "-vvv",
            "-s",
            f"sip:{name}@{scanned_server.address()}",
            "-D",
            "2",
        )
        masked = output.replace(name, "who")
        for pattern, replacement in VOLATILE:
            masked = pattern.sub(replacement, masked.encode()).decode()
        # Numbers and hexadecimal texts are new in every run of sipsak.
        told.append(re.sub(r"\b[0-9a-fA-F]*\d[0-9a-fA-F]*\b", "N", masked))
    assert told[0] == told[1]
