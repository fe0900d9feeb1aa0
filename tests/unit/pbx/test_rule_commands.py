"""Commands on rules: what is stored, what is refused, and how an administrator sees it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pbx.cli.main import main
from pbx.commands import Administration
from pbx.domain.rules import (
    DatasetEntryAdded,
    RulesChanged,
    RulesState,
    decide_add_entry,
    evolve_rules,
    restored,
    stored,
)
from pbx.eventlog import Codec, MemoryLog, memory_keys
from pbx.kernel.errors import DomainError
from pbx.rule_commands import RuleAdministration, owner_stream
from pbx.rules import Allowed, RuleError, Simple, parse_rules

AWAY = ["99005", "away", [["From", "is not", "*@a.example"]], [["Redirect To", "1002"]]]
BUSY = ["305", "busy", [], [["Reject with", "486"], ["Stop Processing"]], "why not"]
URL = ["100005", "url", [], [["SendURL", "http://b.example/"]]]


@pytest.fixture
def log() -> MemoryLog:
    log = MemoryLog(codec=Codec(memory_keys()))
    administrate = Administration(log, actor="test")
    administrate.create_domain("a.example")
    administrate.create_account("1001@a.example", "a-long-password")
    return log


@pytest.fixture
def administrate(log: MemoryLog) -> RuleAdministration:
    return RuleAdministration(log, actor="cli:tester")


def test_owners() -> None:
    """The server, a domain or an account, by its name."""
    assert owner_stream("server") == "server"
    assert owner_stream("A.Example") == "domain/a.example"
    assert owner_stream("1001@A.example") == "account/1001@a.example"
    with pytest.raises(DomainError):
        owner_stream("a b")


@pytest.mark.parametrize("owner", ["server", "a.example", "1001@a.example"])
def test_a_set_is_stored_whole(
    log: MemoryLog, administrate: RuleAdministration, owner: str
) -> None:
    """One event each change, none if nothing changes; the stored form comes back."""
    administrate.set_rules(owner, [BUSY, AWAY])
    before = log.head()
    administrate.set_rules(owner, [AWAY, BUSY])
    assert log.head() == before
    state = administrate.state(owner)
    assert [rule.name for rule in state.rules] == ["away", "busy"]
    record = log.at(before)
    assert record is not None
    assert record.stream == owner_stream(owner)
    assert record.actor == "cli:tester"
    assert isinstance(record.event, RulesChanged)
    assert restored(record.event.rules) == (state.rules, [])
    administrate.set_rules(owner, [])
    assert administrate.state(owner).rules == ()


def test_half_a_set_changes_nothing(log: MemoryLog, administrate: RuleAdministration) -> None:
    before = log.head()
    with pytest.raises(RuleError, match='rule 2 "bad": condition 1'):
        administrate.set_rules("server", [AWAY, ["305", "bad", [["X", "is", ""]], [["Sing"]]]])
    with pytest.raises(DomainError, match=r"there is no account 1009@a\.example"):
        administrate.set_rules("1009@a.example", [AWAY])
    with pytest.raises(DomainError, match=r"there is no domain b\.example"):
        administrate.state("b.example")
    assert log.head() == before


def test_one_rule(administrate: RuleAdministration) -> None:
    administrate.set_rules("a.example", [AWAY])
    administrate.update_rule("a.example", BUSY)
    rules = administrate.update_rule("a.example", ["100009", "busy"])
    assert [(rule.name, rule.number) for rule in rules] == [("busy", 100009), ("away", 99005)]
    assert [rule.name for rule in administrate.delete_rule("a.example", "busy")] == ["away"]
    administrate.delete_rule("a.example", "busy")


def test_rights_of_users(log: MemoryLog) -> None:
    """A user's set is held to the account's setting; what an administrator stored may stay."""
    RuleAdministration(log, actor="cli").set_rules("1001@a.example", [URL])
    user = RuleAdministration(log, actor="1001@a.example", allowed=Allowed.ALL_BUT_EXEC)
    user.set_rules("1001@a.example", [URL, BUSY])
    with pytest.raises(RuleError, match="SignalRulesAllowed does not include it"):
        user.set_rules("1001@a.example", [[*URL[:1], "mine", *URL[2:]]])


def test_deleted_accounts_leave_nothing(log: MemoryLog, administrate: RuleAdministration) -> None:
    administrate.set_rules("1001@a.example", [AWAY])
    accounts = Administration(log, actor="cli")
    accounts.delete_account("1001@a.example")
    accounts.create_account("1001@a.example", "a-long-password")
    assert administrate.state("1001@a.example").rules == ()


def test_domain_limit(administrate: RuleAdministration) -> None:
    assert administrate.set_domain_limit("a.example", 5) == 5
    assert administrate.set_domain_limit("a.example", -1) == -1
    with pytest.raises(DomainError, match="give 0 or more"):
        administrate.set_domain_limit("a.example", -2)
    with pytest.raises(DomainError, match="there is no domain"):
        administrate.set_domain_limit("b.example", 5)


def test_datasets(administrate: RuleAdministration) -> None:
    account = "1001@a.example"
    administrate.add_entry(account, "#Friends", "Eve@B.example", "Eve")
    administrate.add_entry(account, "Friends", "eve@b.example")
    assert administrate.state(account).datasets == {"Friends": {"eve@b.example": "Eve"}}
    administrate.remove_entry(account, "Friends", "eve@b.example")
    assert administrate.state(account).datasets == {}
    with pytest.raises(DomainError, match="is not in the dataset"):
        administrate.remove_entry(account, "Friends", "eve@b.example")
    with pytest.raises(DomainError, match="is no dataset"):
        administrate.add_entry(account, "", "eve@b.example")
    with pytest.raises(DomainError, match="is no address"):
        administrate.add_entry(account, "Friends", " ")


def test_datasets_are_bounded() -> None:
    state = RulesState(exists=True)
    for number in range(1000):
        event = DatasetEntryAdded(dataset="d", address=f"{number}@a")
        state = evolve_rules(state, event) if number % 250 == 0 else state
    full = {f"{number}@a": "" for number in range(1000)}
    state = RulesState(exists=True, datasets={"d": full})
    with pytest.raises(DomainError, match="has 1000 addresses"):
        decide_add_entry(state, "account/x@a", "d", "one@more")
    state = RulesState(exists=True, datasets={f"d{number}": {"x": ""} for number in range(20)})
    with pytest.raises(DomainError, match="has 20 datasets"):
        decide_add_entry(state, "account/x@a", "new", "one@more")


def test_call_control(administrate: RuleAdministration) -> None:
    """Simplified rules stand beside the others of the account."""
    account = "1001@a.example"
    administrate.set_rules(account, [BUSY])
    wanted = Simple(forward_always="1002", voicemail_after_s=10)
    assert administrate.control(account, lambda before: wanted) == wanted
    names = [rule.name for rule in administrate.state(account).rules]
    assert names == ["#ForwardAlways", "#VoicemailAfter", "busy"]
    administrate.control(account, lambda before: Simple())
    assert [rule.name for rule in administrate.state(account).rules] == ["busy"]


def test_rules_of_a_newer_version() -> None:
    """What cannot be read is left out and counted, not the end of the server."""
    rows = stored(parse_rules([AWAY]))
    strange = ("100005", "new", (("Mood", "is", "good"),), (("Dance",),), "")
    rules, errors = restored((*rows, strange))
    assert [rule.name for rule in rules] == ["away"]
    assert len(errors) == 1


# Command line.


class Pbx:
    """Runs commands on one data directory."""

    def __init__(self, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.data = data
        self._capsys = capsys

    def __call__(self, *words: str, code: int = 0) -> str:
        found = main([*words, "--data", str(self.data)])
        captured = self._capsys.readouterr()
        assert found == code, captured.err
        return captured.err if code else captured.out

    def file(self, data: object) -> str:
        path = self.data.parent / "rules.json"
        path.write_text(json.dumps(data), encoding="utf-8")
        return str(path)


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Pbx:
    run = Pbx(tmp_path / "data", capsys)
    run("domain", "create", "a.example")
    run("account", "create", "1001@a.example")
    return run


def test_rules_by_command(run: Pbx) -> None:
    assert run("rules", "set", "1001@a.example", run.file([AWAY, BUSY])) == (
        "1001@a.example has 2 rules\n"
    )
    assert json.loads(run("rules", "show", "1001@a.example", "--json")) == [AWAY, BUSY]
    table = run("rules", "show", "1001@a.example").splitlines()
    assert table[0].split() == ["WHEN", "PRIORITY", "NAME", "IF", "THEN"]
    assert table[1].split(None, 4)[:3] == ["after", "10", "s"]
    assert "From is not *@a.example" in table[1]
    assert "always" in table[2]
    assert run("rules", "update", "1001@a.example", run.file(["100010", "busy"])) == (
        "1001@a.example has 2 rules\n"
    )
    assert run("rules", "delete", "1001@a.example", "busy") == "1001@a.example has 1 rule\n"
    assert json.loads(run("rules", "show", "--json")) == []


def test_files_in_the_data_format(run: Pbx) -> None:
    """Sets of the re-implemented product can be used as they are."""
    path = run.file([])
    text = (
        '(("99005", away, ((From, "is not", "*@a.example")), (("Redirect To", "1002"))),\n'
        ' (305, busy, (), (("Reject with", "486 Later"), ("Stop Processing"))))'
    )
    Path(path).write_text(text, encoding="utf-8")
    run("rules", "set", "1001@a.example", path)
    stored_rules = json.loads(run("rules", "show", "1001@a.example", "--json"))
    assert stored_rules == [
        ["99005", "away", [["From", "is not", "*@a.example"]], [["Redirect To", "1002"]]],
        ["305", "busy", [], [["Reject with", "486 Later"], ["Stop Processing"]]],
    ]
    Path(path).write_text("((1,\n x y))", encoding="utf-8")
    assert "rules.json: line 2, column 4" in run("rules", "set", "server", path, code=1)
    Path(path).write_text("(" * 100_000, encoding="utf-8")
    assert "rules.json: brackets nested deeper" in run("rules", "set", "server", path, code=1)


def test_bad_files(run: Pbx, capsys: pytest.CaptureFixture[str]) -> None:
    path = run.file([])
    Path(path).write_text('[["100010",\n "x" "y"]]', encoding="utf-8")
    assert "rules.json, line 2, column 6" in run("rules", "set", "server", path, code=1)
    assert "cannot be read" in run("rules", "set", "server", "/nowhere.json", code=1)
    Path(path).write_bytes(b"\xff\xfe")
    assert "cannot be read" in run("rules", "set", "server", path, code=1)
    Path(path).write_text("[" * 100_000, encoding="utf-8")
    assert "arrays within arrays" in run("rules", "set", "server", path, code=1)
    bad = run.file([["1", "x", [], [["Sing"]]], ["305", "y", [], []]])
    assert main(["rules", "check", bad]) == 1
    told = capsys.readouterr().out
    assert 'rule 1 "x"' in told
    assert 'rule 2 "y": it has no action' in told
    assert main(["rules", "check", run.file([AWAY]), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"errors": []}


def test_trying_a_call_out(run: Pbx) -> None:
    """The trace names each condition with what it saw; other rules can be tried before storing."""
    assert run("rules", "test", "1001@a.example") == "no rules: the devices ring\n"
    run("rules", "set", "1001@a.example", run.file([AWAY, BUSY]))
    told = run("rules", "test", "1001@a.example", "--from", "eve@b.example")
    assert told.splitlines() == [
        "after 10 s:",
        '  account 1001@a.example "away" applied: From is not *@a.example: yes (eve@b.example)',
        "  → Redirect To 1002",
        "busy:",
        '  account 1001@a.example "busy" applied: no conditions',
        "  → Reject with 486",
    ]
    server = run.file(
        [["100010", "night", [["Time Of Day", "in", "22:00-06:00"]], [["Discard Rules"]]]]
    )
    words = ("rules", "test", "1001@a.example", "--rules", "server", server, "--json")
    found = json.loads(run(*words, "--at", "2026-06-01T23:30"))
    assert found == [
        {
            "stage": "at once",
            "rules": [
                {
                    "level": "server",
                    "owner": "",
                    "name": "night",
                    "applied": True,
                    "conditions": [
                        {
                            "condition": "Time Of Day",
                            "operator": "in",
                            "parameter": "22:00-06:00",
                            "seen": "23:30:00",
                            "holds": True,
                        }
                    ],
                }
            ],
            "actions": [],
        }
    ]
    assert len(json.loads(run(*words, "--at", "2026-06-01T12:00"))) == 3
    assert "is no time" in run(*words, "--at", "noon", code=1)


def test_control_by_command(run: Pbx) -> None:
    account = "1001@a.example"
    assert run("account", "control", account).splitlines()[1] == "  the devices ring"
    told = run(
        "account", "control", account, "--forward-busy", "1002", "--voicemail-after", "10",
        "--voicemail-error", "--block", "anonymous", "--block", "1003", "--ring-also", "mobile",
        "--ring-also-after", "5",
    )  # fmt: skip
    assert told.splitlines() == [
        f"account {account}",
        "  blocked callers: anonymous, 1003@a.example",
        "  also rings after 5 s: mobile",
        "  on busy: to 1002",
        "  voice mail: after 10 s, on errors",
    ]
    found = json.loads(
        run(
            "account", "control", account, "--forward-busy", "off", "--voicemail-after", "off",
            "--no-voicemail-error", "--unblock", "anonymous", "--json",
        )
    )  # fmt: skip
    assert found["forward_busy"] is None
    assert found["voicemail_after_s"] is None
    assert found["blocked"] == ["1003@a.example"]
    assert "is no number of seconds" in run(
        "account", "control", account, "--forward-after", "soon", code=1
    )


def test_datasets_and_domain_limits_by_command(run: Pbx) -> None:
    account = "1001@a.example"
    run("account", "dataset", account, "Friends", "--add", "eve@b.example", "--add", "x@b.example")
    table = run("account", "dataset", account, "--remove", "x@b.example", code=1)
    assert "which dataset?" in table
    told = run("account", "dataset", account, "Friends", "--remove", "x@b.example")
    assert [line.split() for line in told.splitlines()[1:]] == [["Friends", "eve@b.example", "-"]]
    found = json.loads(run("account", "dataset", account, "--json"))
    assert found == {"Friends": {"eve@b.example": ""}}
    assert run("domain", "limits", "a.example") == "domain a.example: calls unlimited\n"
    assert run("domain", "limits", "a.example", "--calls", "3") == "domain a.example: calls 3\n"
    assert json.loads(run("domain", "limits", "a.example", "--json"))["calls_limit"] == 3
