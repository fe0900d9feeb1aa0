"""Log-ins that an external program decides on: what it is asked, what its answers mean."""

from __future__ import annotations

import base64
import hashlib
import hmac
import threading

import pytest

from pbx.admin.credentials import Plain
from pbx.admin.external import ASKING
from pbx.admin.guard import GuardLimits
from pbx.admin.jobs import Done, Login, Refused
from pbx.settings_changes import Target
from tests.support.admin_lab import DOMAIN, STAMP, AdminLab

HERE = DOMAIN.lower()
WRONG = "515 incorrect password or account name"
FAILURE = ("FAILURE", "it does not know that")


class Program:
    """Answers by command and name; the lab makes the account that ``new`` asks for."""

    def __init__(self) -> None:
        self.lab: AdminLab | None = None
        self.asked: list[str] = []
        self.answers: dict[str, tuple[str, str]] = {}

    def ask(self, command: str, words: tuple[str, ...]) -> tuple[str, str]:
        self.asked.append(" ".join((command, *words)))
        if command == "NEW" and self.lab is not None and words[0].startswith("new@"):
            self.lab.administration.create_account(f"new@{HERE}")
            external(self.lab, "new")
        return self.answers.get(command, FAILURE)


def external(lab: AdminLab, name: str, **more: str) -> None:
    values = {"UseExtPassword": "YES", **more}
    lab.changes.update(Target("account", f"{name}@{HERE}"), "settings", dict(values))


@pytest.fixture
def program() -> Program:
    return Program()


@pytest.fixture
def lab(program: Program) -> AdminLab:
    made = AdminLab(program=program)
    made.administration.create_account(f"erin@{HERE}")
    made.administration.set_password(f"erin@{HERE}", "own")
    external(made, "erin")
    program.lab = made
    return made


def login(lab: AdminLab, password: str, name: str = "erin", address: str = "10.0.0.1") -> str:
    return lab.open(address).say(f"USER {name}", f"PASS {password}")[-1]


def test_one_password_of_several_is_enough(lab: AdminLab, program: Program) -> None:
    program.answers["VRFY"] = ("OK", "")
    assert login(lab, "own") == "200 login OK" and program.asked == []
    assert login(lab, "elsewhere") == "200 login OK"
    assert program.asked == [f"VRFY (PWD) erin@{HERE} elsewhere [10.0.0.1]"]
    program.answers["VRFY"] = ("ERROR", "wrong password")
    assert login(lab, "elsewhere") == WRONG


def test_only_accounts_that_say_so_are_asked_about(lab: AdminLab, program: Program) -> None:
    program.answers = {"VRFY": ("OK", ""), "NEW": ("OK", "")}
    for name in ("postmaster", "nobody", "x@elsewhere.example", "@"):
        assert login(lab, "elsewhere", name) == WRONG
    assert program.asked == []


def test_the_own_password_may_be_switched_off(lab: AdminLab, program: Program) -> None:
    external(lab, "erin", UseAppPassword="NO")
    program.answers["VRFY"] = ("ERROR", "")
    assert login(lab, "own") == WRONG
    program.answers["VRFY"] = ("OK", "")
    assert login(lab, "elsewhere") == "200 login OK"


def test_what_keeps_an_account_out_does_so_here_too(lab: AdminLab, program: Program) -> None:
    program.answers["VRFY"] = ("OK", "")
    external(lab, "erin", AccessModes="None")
    assert login(lab, "elsewhere") == WRONG


def test_a_program_that_only_tells_passwords(lab: AdminLab, program: Program) -> None:
    """Also for passwords that are no word of a line, and for those methods that need the text."""
    program.answers["READPLAIN"] = ("PLAIN", "kept elsewhere")
    assert login(lab, "kept elsewhere") == "200 login OK"
    assert login(lab, "other") == WRONG
    assert program.asked == [
        f"READPLAIN erin@{HERE}", f"VRFY (PWD) erin@{HERE} other [10.0.0.1]",
        f"READPLAIN erin@{HERE}",
    ]  # fmt: skip
    digest = hashlib.md5(f"{STAMP}kept elsewhere".encode()).hexdigest()
    assert lab.open().say(f"APOP erin {digest}")[-1] == "200 login OK"


def test_secure_methods_are_the_programs_to_judge(lab: AdminLab, program: Program) -> None:
    program.answers = {"READPLAIN": ("ERROR", ""), "SASL(CRAM-MD5)": ("OK", "")}
    mac = hmac.new(b"secret", STAMP.encode(), hashlib.md5).hexdigest()
    response = base64.b64encode(f"erin {mac}".encode()).decode()
    assert lab.open("10.0.0.9").say("AUTH CRAM-MD5", response)[-1] == "200 login OK"
    assert program.asked[-1] == f"SASL(CRAM-MD5) (PWD) erin@{HERE} {mac} {STAMP} [10.0.0.9]"
    junk = base64.b64encode(b"erin no-digest").decode()
    program.asked.clear()
    assert lab.open("10.0.0.9").say("AUTH CRAM-MD5", junk)[-1] == WRONG
    assert program.asked == []


def test_a_new_name_is_made_and_comes_in(lab: AdminLab, program: Program) -> None:
    lab.changes.update(Target("domain", HERE), "settings", {"ExternalOnUnknown": "YES"})
    program.answers = {"NEW": ("OK", ""), "VRFY": ("OK", "")}
    assert login(lab, "secret", "new") == "200 login OK"
    assert program.asked == [f"NEW new@{HERE}", f"VRFY (PWD) new@{HERE} secret [10.0.0.1]"]


def test_a_name_that_is_another_accounts(lab: AdminLab, program: Program) -> None:
    lab.changes.update(Target("domain", HERE), "settings", {"ExternalOnUnknown": "YES"})
    program.answers = {"NEW": ("ROUTED", f"erin@{HERE}"), "VRFY": ("ERROR", "")}
    peer = lab.open()
    assert peer.say("USER e.rin", "PASS own")[-1] == "200 login OK"
    assert peer.client.account == f"erin@{HERE}"
    program.answers["NEW"] = ("ERROR", "unknown")
    assert login(lab, "own", "e.rin") == WRONG
    program.answers["NEW"] = ("ROUTED", "x@elsewhere.example")
    assert login(lab, "own", "e.rin") == WRONG
    program.answers["NEW"] = ("ROUTED", "again")  # which leads to itself
    program.asked.clear()
    assert login(lab, "own", "e.rin") == WRONG
    assert len(program.asked) == 3


def test_names_of_groups_are_known(lab: AdminLab, program: Program) -> None:
    lab.changes.update(Target("domain", HERE), "settings", {"ExternalOnUnknown": "YES"})
    lab.administration.create_group(f"sales@{HERE}", ("erin",))
    assert login(lab, "own", "sales") == WRONG
    assert program.asked == []


def test_silence_locks_nobody_and_a_lock_asks_nobody() -> None:
    program = Program()
    lab = AdminLab(program=program, limits=GuardLimits(3, 60.0, 300.0))
    lab.administration.create_account(f"erin@{HERE}")
    external(lab, "erin")
    for _ in range(10):
        assert login(lab, "secret") == WRONG
    program.answers["VRFY"] = ("OK", "")
    assert login(lab, "secret") == "200 login OK"
    program.answers["VRFY"] = ("ERROR", "")
    for _ in range(3):
        login(lab, "secret")
    program.asked.clear()
    assert "too many wrong logins" in login(lab, "secret")
    assert program.asked == []


class Held(Program):
    """Answers when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.let = threading.Event()
        self.waiting = threading.Semaphore(0)

    def ask(self, command: str, words: tuple[str, ...]) -> tuple[str, str]:
        self.waiting.release()
        assert self.let.wait(20)
        return "OK", ""


def test_commands_go_on_while_log_ins_wait_and_those_are_bounded() -> None:
    program = Held()
    lab = AdminLab(program=program)
    lab.administration.create_account(f"erin@{HERE}")
    external(lab, "erin")
    clients = [lab.open(f"10.0.1.{n}").client for n in range(ASKING)]
    outcomes = []
    threads = [
        threading.Thread(
            target=lambda client=client: outcomes.append(
                lab.service.perform(client, Login("erin", Plain("secret")))
            )
        )
        for client in clients
    ]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert program.waiting.acquire(timeout=20)
    assert lab.login().say("NOOP") == ["200 OK"]
    more = lab.service.perform(lab.open().client, Login("erin", Plain("secret")))
    assert isinstance(more, Refused)
    lab.service.closed(clients[0])  # it has hung up meanwhile
    program.let.set()
    for thread in threads:
        thread.join(20)
    assert sum(isinstance(outcome, Done) for outcome in outcomes) == ASKING - 1
    assert clients[0].account == "" and clients[1].account == f"erin@{HERE}"
    assert len(lab.service.sessions.of_account(f"erin@{HERE}")) == ASKING - 1
