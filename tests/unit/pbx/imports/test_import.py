"""Import of accounts: what a file may hold, what is refused and why, what an account gets."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from pbx.commands import Administration
from pbx.configdb import ConfigDb, StoredInventory
from pbx.domain import configuration as conf
from pbx.eventlog import EventLog, MemoryLog, Position
from pbx.eventlog.record import Decision
from pbx.imports import AccountImport, LineProblem, Outcome, Report, lines_of
from pbx.imports import accounts as module
from pbx.imports.reader import MAX_LINE_BYTES
from pbx.kernel.errors import DomainError, LogUnavailable
from pbx.settings_changes import SettingsChanges, Target, read
from sip.digest import ha1
from tests.support.clock import VirtualClock

X = "x.un"


class Lab:
    """A server with two domains, and what an import told."""

    def __init__(self) -> None:
        self.log = MemoryLog()
        self.database = ConfigDb(None, lambda: self.log.codec)
        self.inventory = StoredInventory(self.database)
        self.administration = Administration(
            self.log, actor="lab", inventory=StoredInventory(self.database)
        )
        self.changes = SettingsChanges(self.log, actor="lab")
        self.administration.create_domain(X, ["alias.un"])
        self.administration.create_domain("y.un")
        self.told: dict[int, tuple[Outcome, str]] = {}

    def run(self, text: str | bytes, domain: str = X, *, dry_run: bool = False) -> Report:
        self.told = {}
        work = AccountImport(
            self.log,
            self.inventory,
            VirtualClock(1e9),
            actor="cli:root",
            domain=domain,
            dry_run=dry_run,
            tell=lambda number, outcome, reason: self.told.update({number: (outcome, reason)}),
        )
        raw = text.encode() if isinstance(text, str) else text
        return work.run(lines_of(io.BytesIO(raw)))

    def refused(self) -> dict[int, str]:
        return {
            number: reason
            for number, (outcome, reason) in self.told.items()
            if outcome is Outcome.REFUSED
        }

    def section(self, address: str, section: str = conf.SETTINGS) -> dict[str, object]:
        return dict(read(self.log, Target("account", address))[0].section(section))


@pytest.fixture
def lab() -> Lab:
    return Lab()


def test_the_file_of_the_reference(lab: Lab) -> None:
    report = lab.run(
        "Name\tRealName\tPassword\ttelephoneNumber\n"
        "user3\tСидор Сидорович Сидоров\tpassword3\t403\n"
        "user4\tВасилий Муркович Кошкин\tpassword4\t404\n"
    )
    assert report == Report(2, 0, 0, lab.log.head())
    state = lab.inventory.accounts[f"user3@{X}"]
    assert (state.display_name, state.has_password) == ("Сидор Сидорович Сидоров", True)
    assert lab.section(f"user4@{X}")["telephoneNumber"] == "404"
    events = {record.type: record.event for record in lab.log.read_stream(f"account/user3@{X}")}
    secret = events["account.password-set.v1"]
    assert secret.ha1_md5 == ha1("MD5", "user3", X, "password3")  # type: ignore[attr-defined]
    assert {record.actor for record in lab.log.read_stream(f"account/user3@{X}")} == {"cli:root"}


def test_columns_in_any_case_and_order_and_line_ends_of_windows(lab: Lab) -> None:
    text = "\ufeffPASSWORD\tname\trealNAME\tcallslimit\r\nsecret-99\tAl\t\t3\r\n"
    assert lab.run(text).created == 1
    state = lab.inventory.accounts[f"al@{X}"]
    assert (state.display_name, state.calls_limit) == ("", 3)
    assert lab.section(f"al@{X}") == {"CallsLimit": "3"}


def test_aliases_numbers_and_the_type(lab: Lab) -> None:
    text = (
        "Name\tPassword\tAliases\tTelnums\tType\nal\tsecret-99\t401, desk\t+491,492\tTextMailbox\n"
    )
    assert lab.run(text).created == 1
    state = lab.inventory.accounts[f"al@{X}"]
    assert (state.aliases, state.telnums) == (("401", "desk"), ("+491", "492"))
    assert lab.section(f"al@{X}", conf.RECORDS) == {"AccountType": "TextMailbox"}
    (password,) = lab.log.read(types=["account.password-set.v1"])
    of_aliases = json.loads(password.event.alias_ha1)  # type: ignore[attr-defined]
    assert of_aliases["401"][0] == ha1("MD5", "401", X, "secret-99"), "phones log in by an alias"


def test_values_with_brackets_are_data_where_the_key_wants_them(lab: Lab) -> None:
    text = "Name\tRealName\tAccessModes\tNote\nal\t(A) Smith\t(3,Mail,PWD)\t(1,2)\n"
    assert lab.run(text).created == 1, lab.told
    assert lab.inventory.accounts[f"al@{X}"].display_name == "(A) Smith"
    section = lab.section(f"al@{X}")
    assert (section["AccessModes"], section["Note"]) == (["3", "Mail", "PWD"], "(1,2)")


def test_a_bad_line_costs_itself_alone(lab: Lab) -> None:
    lab.administration.create_account(f"old@{X}")
    lab.administration.set_telnums(f"old@{X}", ["+495"])
    lab.administration.create_group(f"sales@{X}")
    report = lab.run(
        b"Name\tPassword\tAliases\tTelnums\tCallsLimit\n"
        b"a b\tsecret-99\n"  # 2: no name
        b"al\tsecret-99\t\t\tmany\n"  # 3: a value of the wrong form
        b"\xff\tsecret-99\n"  # 4: no UTF-8
        b"al\tsecret-99\t401\n"  # 5: good
        b"AL\tsecret-99\n"  # 6: is there since line 5
        b"bo\tsecret-99\t401\n"  # 7: the alias of line 5
        b"cy\tsecret-99\tsales\n"  # 8: a group
        b"di\tsecret-99\t\t+495\n"  # 9: a number of somebody
        b"error\tsecret-99\n"  # 10: a special name
        b"ed\tsecret-99\t\t+496,x\n"  # 11: no number
        b"el\ta\tb\tc\td\te\tf\n"  # 12: too many fields
        b"\tsecret-99\n"  # 13: no name at all
        b"old\tsecret-99\n"  # 14: exists
        b"em@z.un\tsecret-99\n"  # 15: no such domain
        b"em@y.un\tsecret-99\n"  # 16: another domain
        b"sales\tsecret-99\n"  # 17: the group
        b"en\tsecret-99\t\t+497\n"  # 18: good
        b"eo\tsecret-99\t\t497\n"  # 19: the number of line 18
        b"ep\t\x00\n"  # 20
        b"eq@alias.un\tsecret-99\tep\n"  # 21: good
        b"cut"  # 22: not ended
    )
    assert report[:3] == (3, 2, 16)
    accounts = {state.name for state in lab.inventory.accounts.values() if state.domain == X}
    assert accounts - {"pbx", "postmaster"} == {"old", "al", "en", "eq"}
    expected = {
        2: "no account name", 3: "CallsLimit: expected", 4: "not UTF-8: byte 1",
        7: "another line", 8: "the group sales", 9: f"belongs to old@{X}", 10: "special address",
        11: "no telephone number", 12: "7 fields, and the first line names 5", 13: "Name is empty",
        15: "there is no domain z.un", 16: f"not of the domain {X}", 17: "the group sales",
        19: "another line", 20: "control characters", 22: "no line end",
    }  # fmt: skip
    refused = lab.refused()
    assert set(refused) == set(expected)
    for number, words in expected.items():
        assert words in refused[number], (number, refused[number])
    assert lab.told[6] == lab.told[14] == (Outcome.EXISTS, "")


def test_names_with_domains(lab: Lab) -> None:
    report = lab.run("Name\nal@x.un\nal@y.un\nal\nbo@alias.un\n", domain="")
    assert report[:3] == (3, 0, 1)
    assert "no domain" in lab.refused()[4]
    assert "bo@x.un" in lab.inventory.accounts


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (b"", "empty"),
        (b"RealName\tPassword\n", "no column is called Name"),
        (b"Name\tname\n", "another column is already"),
        (b"Name\t\tPassword\n", "column 2 has no name"),
        (b"Name\tUnixPassword\n", "cannot be compared"),
        (b"Name", "no line end"),
        (b"Name\t\xff\n", "not UTF-8"),
        (b"Name" + b"\tx" * 600 + b"\n", "601 columns"),
        (b"Name\t" + b"x" * MAX_LINE_BYTES + b"\nal\n", "longer than"),
    ],
)
def test_a_header_that_cannot_be_used(lab: Lab, header: bytes, words: str) -> None:
    with pytest.raises(LineProblem, match=words):
        lab.run(header)


def test_a_domain_that_is_none(lab: Lab) -> None:
    with pytest.raises(DomainError, match=r"no domain z\.un"):
        lab.run("Name\nal\n", domain="z.un")


def test_an_endless_line_is_passed_over(lab: Lab) -> None:
    endless = b"x" * (5 * MAX_LINE_BYTES)
    report = lab.run(b"Name\n" + endless + b"\nal\n" + endless)
    assert report[:3] == (1, 0, 2)
    assert "longer than" in lab.refused()[2]


def test_the_template_and_the_defaults_of_the_domain(lab: Lab) -> None:
    target = Target("domain", X)
    lab.changes.update(target, "template", {"CallsLimit": "5", "RealName": "New"})
    lab.changes.update(target, "account-defaults", {"PasswordEncryption": "clear"})
    assert lab.run("Name\tPassword\tCallsLimit\nal\tsecret-99\t\nbo\tsecret-99\t7\n").created == 2
    assert lab.inventory.accounts[f"al@{X}"].display_name == "New"
    assert lab.section(f"al@{X}")["CallsLimit"] == "5"
    assert lab.section(f"bo@{X}")["CallsLimit"] == "7"
    (password, _) = lab.log.read(types=["account.password-set.v1"])
    assert password.event.text == "secret-99"  # type: ignore[attr-defined]


def test_a_domain_that_is_full(lab: Lab) -> None:
    held = len(lab.inventory.accounts)  # postmaster and pbx
    lab.changes.update(Target("domain", X), conf.SETTINGS, {"AccountsLimit": str(held + 2)})
    report = lab.run("Name\nal\nbo\ncy\n")
    assert report[:3] == (2, 0, 1)
    assert "license limit" in lab.refused()[4]


def test_given_again_it_makes_what_is_missing(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """An import that was interrupted between two commits."""
    monkeypatch.setattr(module, "BATCH", 3)
    text = "Name\tPassword\n" + "".join(f"u{n}\tsecret-99\n" for n in range(8))
    commit = lab.log.commit
    commits = []

    def full_disk(batch):  # type: ignore[no-untyped-def]
        commits.append(len(batch))
        if len(commits) == 2:
            raise LogUnavailable("the disk is full")
        return commit(batch)

    with monkeypatch.context() as patched:
        patched.setattr(lab.log, "commit", full_disk)
        with pytest.raises(LogUnavailable):
            lab.run(text)
    assert len(list(lab.log.read(types=["account.password-set.v1"]))) == 3
    report = lab.run(text)
    assert report[:3] == (5, 3, 0)
    assert lab.run(text)[:3] == (0, 8, 0)


def test_an_account_that_was_deleted_can_come_back(lab: Lab) -> None:
    lab.run("Name\tPassword\nal\tsecret-99\n")
    lab.administration.delete_account(f"al@{X}")
    assert lab.run("Name\tRealName\nal\tAnother Al\n").created == 1
    assert lab.inventory.accounts[f"al@{X}"].display_name == "Another Al"


def test_whoever_is_made_by_somebody_else_meanwhile_stays(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = lab.log.commit

    def late(batch):  # type: ignore[no-untyped-def]
        monkeypatch.undo()
        lab.administration.create_account(f"al@{X}", None, "The first")
        return commit(batch)

    monkeypatch.setattr(lab.log, "commit", late)
    report = lab.run("Name\tRealName\nal\tThe second\nbo\tBo\n")
    assert report[:3] == (1, 1, 0)
    assert lab.inventory.accounts[f"al@{X}"].display_name == "The first"


def test_a_dry_run_writes_nothing_and_tells_the_same(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH", 2)
    text = "Name\tAliases\tTelnums\nal\t401\t+49\nbo\t402\nal\ncy\t401\ndi\t\t49\ned\n"
    head = lab.log.head()
    dry = lab.run(text, dry_run=True)
    told = lab.told
    assert lab.log.head() == head
    assert lab.run(text)[:3] == dry[:3] == (3, 1, 2)
    assert {n: o for n, (o, _) in lab.told.items()} == {n: o for n, (o, _) in told.items()}


class Asked:
    """A log whose decisions are made elsewhere, all that are asked for at once, in any order."""

    def __init__(self, log: MemoryLog, count: int) -> None:
        self._log = log
        self._count = count
        self._waiting: list[tuple[Decision, Callable[[Position | Exception], None]]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    def asks(self, decision: Decision) -> bool:
        return True

    def submit(self, decision: Decision, done: Callable[[Position | Exception], None]) -> None:
        self._waiting.append((decision, done))
        if len(self._waiting) == self._count:
            for asked, answer in reversed(self._waiting):
                (verdict,) = self._log.commit([asked])
                answer(verdict)
            self._waiting.clear()


def test_in_a_cluster_a_batch_is_asked_for_at_once(lab: Lab) -> None:
    lab.administration.create_account(f"del@{X}")
    lab.administration.delete_account(f"del@{X}")
    asked = cast(EventLog, Asked(lab.log, 3))
    work = AccountImport(asked, lab.inventory, VirtualClock(1e9), actor="a", domain=X)
    report = work.run(lines_of(io.BytesIO(b"Name\nal\ndel\nbo\n")))
    assert report[:3] == (3, 0, 0)
    assert {f"{name}@{X}" for name in ("al", "bo", "del")} <= set(lab.inventory.accounts)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from pbx.cli.main import main

    data = str(tmp_path / "data")
    assert main(["domain", "create", X, "--data", data]) == 0
    file, rest = tmp_path / "accounts.txt", tmp_path / "rest.txt"
    file.write_text("Name\tPassword\nal\tsecret-99\nb b\tsecret-99\n")
    capsys.readouterr()
    arguments = ["account", "import", str(file), "--domain", X, "--data", data]
    assert main([*arguments, "--dry-run"]) == 1
    shown = capsys.readouterr()
    assert "1 accounts would be created" in shown.out
    assert "line 3: 'b b' is no account name" in shown.err
    assert main([*arguments, "--refused", str(rest)]) == 1
    assert rest.read_text() == "Name\tPassword\nb b\tsecret-99\n"
    assert rest.stat().st_mode & 0o777 == 0o600
    assert main([*arguments, "--json"]) == 1
    shown = capsys.readouterr()
    assert json.loads(shown.out[shown.out.index("{") :])["exists"] == 1
    assert main(["account", "import", str(tmp_path / "no"), "--data", data]) == 1
    assert "cannot read" in capsys.readouterr().err
    file.write_text("Nam\nal\n")
    assert main(arguments) == 1
    assert "line 1: no column is called Name" in capsys.readouterr().err
