"""An external program and ENUM: the real process, real DNS packets, a server with phones."""

from __future__ import annotations

import asyncio
import base64
import socket
import sys
import threading
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import dns.asyncresolver
import dns.message
import dns.rcode
import dns.rrset
import pytest

from pbx.calls.consult import Answer, Kind, Question, Reply
from pbx.eventlog import open_log
from pbx.helper.program import HelperProgram
from pbx.settings_changes import SettingsChanges, Target
from pbx.signal.consult import Consultants
from sip.endpoint.resolver import DnsLookup
from tests.interop.conftest import SETTINGS, PhoneOf, with_accounts
from tests.support.cli_client import CliClient
from tests.support.server_process import DOMAIN, ROOT, ServerProcess

FAKE = ROOT / "tests" / "support" / "fake_helper.py"


@asynccontextmanager
async def consulting(
    folder: Path, *, timeout_s: float = 5.0, restart_s: float = 0.1
) -> AsyncIterator[tuple[HelperProgram, Callable[..., Awaitable[Answer]], list[int]]]:
    """A running program, a way to ask it, and how often call control was woken."""
    acted: list[int] = []
    command = (sys.executable, str(FAKE), str(folder / "asked"))
    program = HelperProgram(
        command, folder, timeout_s=timeout_s, restart_s=restart_s, monotonic=time.monotonic
    )
    consultants = Consultants(program, (), time.monotonic, lambda: acted.append(1))
    program.start()

    async def ask(name: str, kind: Kind = Kind.NAME) -> Answer:
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        question = Question(kind, f"{name}@{DOMAIN}")
        consultants.ask(question, lambda found, now: answer.set_result(found))
        return await asyncio.wait_for(answer, 20)

    try:
        await until(lambda: program.running)
        yield program, ask, acted
    finally:
        await consultants.aclose()


async def until(condition: Callable[[], bool], patience_s: float = 10.0) -> None:
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


def asked(folder: Path) -> list[str]:
    return [line.partition(" ")[2] for line in (folder / "asked").read_text().splitlines()]


def test_questions_and_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In any order; at the end the program is told to end, and what it may know is little."""
    monkeypatch.setenv("RINGLOG_PRIVACY__KEYS", "secret")

    async def run() -> None:
        async with consulting(tmp_path) as (program, ask, acted):
            assert await ask("helpdesk") == Answer(Reply.ROUTED, "bob")
            assert await ask("nobody") == Answer(Reply.UNKNOWN, "unknown account")
            assert await ask("erin", Kind.PASSWORD) == Answer(Reply.PASSWORD, "kept-elsewhere")
            first, second = await asyncio.gather(ask("late"), ask("late"))
            assert (first.text, second.text) == ("first", "second")
            assert (await ask("a b")).reply is Reply.SILENT
            assert len(acted) == 6 and program.starts == 1

    asyncio.run(run())
    text = (tmp_path / "asked").read_text()
    assert "RINGLOG" not in text and "PATH" in text
    told = asked(tmp_path)
    assert told[1:3] == ["INTF 1", f"NEW helpdesk@{DOMAIN}"] and told[-1] == "QUIT"
    assert not any("a b" in line for line in told)


@pytest.mark.parametrize(("name", "patience_s"), [("die", 5.0), ("long", 5.0), ("slow", 0.4)])
def test_a_program_that_fails_is_started_again(
    tmp_path: Path, name: str, patience_s: float
) -> None:
    """What waits for it has its answer; meanwhile everything is answered at once."""

    async def run() -> None:
        async with consulting(tmp_path, timeout_s=patience_s, restart_s=0.5) as (program, ask, _):
            began = time.monotonic()
            answers = await asyncio.gather(ask(name), ask("slow-too"))
            assert [answer.reply for answer in answers] == [Reply.SILENT, Reply.SILENT]
            assert time.monotonic() - began < 3.0
            began = time.monotonic()
            assert (await ask("helpdesk")).reply is Reply.SILENT
            assert time.monotonic() - began < 0.3
            await until(lambda: program.starts == 2 and program.running)
            assert (await ask("helpdesk")).reply is Reply.ROUTED

    asyncio.run(run())


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    async def run() -> None:
        program = HelperProgram(
            (str(tmp_path / "none"),),
            tmp_path,
            timeout_s=1,
            restart_s=0.1,
            monotonic=time.monotonic,
        )
        consultants = Consultants(program, (), time.monotonic, lambda: None)
        program.start()
        await asyncio.sleep(0.3)
        got: list[Answer] = []
        consultants.ask(Question(Kind.NAME, "a@b"), lambda answer, now: got.append(answer))
        await until(lambda: bool(got))
        assert got == [Answer(Reply.SILENT)]
        await consultants.aclose()

    asyncio.run(run())


# ENUM.


class Zone(threading.Thread):
    """A name server with NAPTR records; what it does not know has no such name."""

    def __init__(self, records: dict[str, list[str]]) -> None:
        super().__init__(daemon=True)
        self._records = records
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.silent = False
        self.asked: list[str] = []

    def run(self) -> None:
        while True:
            try:
                data, source = self._socket.recvfrom(4096)
            except OSError:
                return
            query = dns.message.from_wire(data)
            (question,) = query.question
            name = question.name.to_text().rstrip(".")
            self.asked.append(name)
            if self.silent:
                continue
            response = dns.message.make_response(query)
            if name in self._records:
                texts = self._records[name]
                response.answer.append(
                    dns.rrset.from_text(question.name, 60, "IN", "NAPTR", *texts)
                )
            else:
                response.set_rcode(dns.rcode.NXDOMAIN)
            self._socket.sendto(response.to_wire(), source)

    def close(self) -> None:
        self._socket.close()


@contextmanager
def zone(records: dict[str, list[str]]) -> Iterator[Zone]:
    made = Zone(records)
    made.start()
    try:
        yield made
    finally:
        made.close()


def test_numbers_in_dns(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first zone that knows the number says where it is; silence is told apart from no."""
    monkeypatch.setattr("pbx.signal.consult.ENUM_S", 1.0)
    records = {
        "6.5.4.3.2.1.0.3.9.4.second.example": [
            r'20 10 "u" "E2U+sip" "!^.*$!sip:later@x.example!" .',
            r'10 10 "u" "E2U+sip" "!^\\+49(.*)$!sip:\\1@berlin.example;user=phone!" .',
        ],
        "1.second.example": [r'10 10 "u" "E2U+mailto" "!^.*$!mailto:a@x.example!" .'],
    }

    async def run(server: Zone) -> None:
        resolver = dns.asyncresolver.Resolver(configure=False)
        resolver.nameservers, resolver.port = ["127.0.0.1"], server.port
        resolver.cache = None
        lookup = DnsLookup(resolver, lookup_s=5.0)
        zones = ("first.example", "second.example")
        consultants = Consultants(None, zones, time.monotonic, lambda: None, lookup)
        assert consultants.asks(Kind.NUMBER) and not consultants.asks(Kind.NAME)

        async def ask(number: str) -> Answer:
            answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
            question = Question(Kind.NUMBER, number)
            consultants.ask(question, lambda found, now: answer.set_result(found))
            return await asyncio.wait_for(answer, 10)

        wanted = Answer(Reply.ROUTED, "30123456@berlin.example")
        assert await ask("+4930123456") == wanted and await ask("4930123456") == wanted
        assert server.asked[:2] == [
            "6.5.4.3.2.1.0.3.9.4.first.example", "6.5.4.3.2.1.0.3.9.4.second.example",
        ]  # fmt: skip
        assert await ask("1") == Answer(Reply.UNKNOWN)
        assert await ask("+77") == Answer(Reply.UNKNOWN)
        assert await ask("no-number") == Answer(Reply.UNKNOWN)
        server.silent = True
        assert await ask("+78") == Answer(Reply.SILENT)
        await consultants.aclose()

    with zone(records) as server:
        asyncio.run(run(server))


# A server.


@pytest.fixture(scope="module")
def helped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with the program; the domain asks about names, erin's password is the program's."""
    folder = tmp_path_factory.mktemp("helped")
    command = ", ".join(f'"{word}"' for word in (sys.executable, FAKE, folder / "asked"))
    settings = f"{SETTINGS}[helper]\nprogram = [{command}]\ntimeout_s = 1.5\nrestart_s = 0.5\n"
    with ServerProcess(
        folder, settings=settings, commands=True, options=("--admin", "127.0.0.1:0")
    ) as made:
        with_accounts(made)
        made.create_account("erin")
        log = open_log(made.data)
        changes = SettingsChanges(log, actor="test")
        changes.update(Target("domain", DOMAIN), "settings", {"ExternalOnUnknown": "YES"})
        changes.update(Target("account", f"erin@{DOMAIN}"), "settings", {"UseExtPassword": "YES"})
        log.close()
        made.run("account", "list")
        time.sleep(0.5)  # a running server follows the log within some 50 ms
        yield made


def test_a_call_to_a_name_that_the_program_knows(helped: ServerProcess, phone_of: PhoneOf) -> None:
    alice = phone_of(helped, "alice")
    bob = phone_of(helped, "bob")
    mark = bob.mark
    call = alice.call(f"sip:helpdesk@{DOMAIN}")
    at_bob = bob.ringing(after=mark)
    bob.answer(at_bob)
    alice.confirmed(call)
    alice.hangup(call)
    bob.ended(at_bob)
    assert f"NEW helpdesk@{DOMAIN}" in asked(helped.data)
    told = helped.run("log", "--type", "call.routed.v1", "--json")
    assert "says the external program" in told


def test_a_program_that_hangs_holds_up_nobody_else(
    helped: ServerProcess, phone_of: PhoneOf
) -> None:
    """One name that is not answered: that call waits and is refused, others go on at once."""
    alice = phone_of(helped, "alice")
    bob = phone_of(helped, "bob")
    waiting = alice.call(f"sip:slow@{DOMAIN}")
    mark = bob.mark
    began = time.monotonic()
    call = alice.call(f"sip:bob@{DOMAIN}")
    at_bob = bob.ringing(after=mark)
    assert time.monotonic() - began < 1.0
    bob.answer(at_bob)
    alice.confirmed(call)
    assert alice.ended(waiting)["status"] == 480
    alice.hangup(call)
    bob.ended(at_bob)


def test_a_password_that_the_program_has(helped: ServerProcess, phone_of: PhoneOf) -> None:
    deadline = time.monotonic() + 10
    while True:  # the program may be starting again
        try:
            phone_of(helped, "erin", password="kept-elsewhere")
            break
        except AssertionError:
            assert time.monotonic() < deadline
            time.sleep(6)
    assert f"READPLAIN erin@{DOMAIN}" in asked(helped.data)


def test_a_login_of_a_name_that_the_program_makes(helped: ServerProcess) -> None:
    """It gives commands to the server that waits for it; then the password is asked about."""
    host, port = helped.addresses["cli"]
    helped.run("account", "passwd", f"postmaster@{DOMAIN}", "--password", "secret")
    helped.run("account", "rights", f"postmaster@{DOMAIN}", "Master")
    (helped.data / "asked.cli").write_text(f"{host} {port} postmaster@{DOMAIN} secret")
    with CliClient(host, port) as client:
        assert client.login(f"fresh@{DOMAIN}", "wrong").code == 515
    with CliClient(host, port) as client:
        assert client.login(f"fresh@{DOMAIN}", "kept-elsewhere").code == 200
    told = asked(helped.data)
    assert told.count(f"NEW fresh@{DOMAIN}") == 1
    assert f"VRFY (PWD) fresh@{DOMAIN} kept-elsewhere [127.0.0.1]" in told


def test_a_login_over_http(helped: ServerProcess) -> None:
    """The role of the API has a program of its own."""
    basic = base64.b64encode(f"erin@{DOMAIN}:kept-elsewhere".encode()).decode()
    request = urllib.request.Request(
        f"http://{helped.admin()}/CLI/?command=GETACCOUNTSETTINGS%20*",
        headers={"Authorization": f"Basic {basic}"},
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        assert "UseExtPassword =  YES;" in answer.read().decode()
    assert f"VRFY (HTTP) erin@{DOMAIN} kept-elsewhere [127.0.0.1]" in asked(helped.data)
