"""The command protocol over real connections: every transcript, every command, nc and telnet."""

from __future__ import annotations

import base64
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from pbx.admin.table import COMMANDS, OLD_NAMES, UNSUPPORTED
from tests.support.cli_client import CliClient, Reply, Special
from tests.support.cli_transcript import FILES, check, play, steps_of
from tests.support.server_process import ServerProcess

DOMAIN: Final = "corpx.un"
PASSWORD: Final = "Pa$$w0rd"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server with the domain and the postmaster of the source document."""
    with ServerProcess(tmp_path / "data", commands=True) as running:
        running.command("domain", "create", DOMAIN)
        running.command("account", "create", f"postmaster@{DOMAIN}", "--password", PASSWORD)
        running.command("account", "rights", f"postmaster@{DOMAIN}", "Master")
        yield running


def connected(server: ServerProcess, *, eol: str = "\r\n", login: bool = True) -> CliClient:
    client = CliClient(*server.addresses["cli"], eol=eol)
    if login:
        assert client.login("postmaster", PASSWORD).code == 200
    return client


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_transcripts_over_tcp(path: Path, server: ServerProcess) -> None:
    with connected(server, eol="\n" if path.stem == "levels" else "\r\n", login=False) as client:
        play(path, client)


class Pipelined:
    """Has sent everything already; takes the replies one by one."""

    def __init__(self, client: CliClient) -> None:
        self._client = client

    def command(self, line: str) -> Reply:
        return self._client.reply()


def test_a_whole_session_in_one_write(server: ServerProcess) -> None:
    path = next(path for path in FILES if path.stem == "first_lab")
    with connected(server, login=False) as client:
        client.send("".join(f"{step.said}\n" for step in steps_of(path)).encode())
        play(path, Pipelined(client))
        assert client.at_end()


@pytest.mark.needs("nc", "telnet")
@pytest.mark.parametrize("program", ["nc", "telnet"])
def test_with_the_programs_of_the_source(program: str, server: ServerProcess) -> None:
    """Both wait for the end of the connection: the session ends with QUIT."""
    host, port = server.addresses["cli"]
    path = next(path for path in FILES if path.stem == "accounts")
    steps = steps_of(path)
    process = subprocess.Popen(
        [program, host, str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    assert process.stdin is not None
    assert process.stdout is not None
    # telnet gives up as soon as its input ends, so every line waits for its answer.
    while not process.stdout.readline().startswith("200 "):
        pass  # telnet's own words come first
    for step in steps:
        process.stdin.write(f"{step.said}\n")
        process.stdin.flush()
        first = process.stdout.readline().rstrip("\r\n")
        code, _, text = first.partition(" ")
        if text == "data follow":
            assert process.stdout.readline().strip()
            while process.stdout.peek() if hasattr(process.stdout, "peek") else False:
                break
            check_code(step.reply, first)
            drain_object(process, step.data)
        else:
            check(step, Reply(int(code), text))
    process.stdin.close()
    assert process.wait(timeout=20) in (0, 1)
    process.stdout.close()
