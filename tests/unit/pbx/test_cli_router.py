"""``pbx router|route|alias|telnum|group|forwarder|list|task`` and what ``domain`` learned."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from pbx.cli.main import main
from pbx.eventlog import open_log
from pbx.router import DEFAULT_TABLE
from pbx.settings_changes import SettingsChanges, Target
from tests.support.commands import Pbx


@pytest.fixture
def pbx(run: Pbx) -> Pbx:
    """A server with two domains and Ann, who is 401."""
    run("domain", "create", "a.dom", "--alias", "mail.a.dom")
    run("domain", "create", "b.dom")
    run("account", "create", "ann@a.dom", "--password", "correct horse")
    run("alias", "add", "401", "ann@a.dom")
    return run


def refused(capsys: pytest.CaptureFixture[str], run: Pbx, *words: str) -> str:
    """The output of a command that fails."""
    assert main([*words, "--data", str(run.data)]) == 1
    captured = capsys.readouterr()
    return captured.err or captured.out


def test_the_table_comes_back_as_it_was_typed(pbx: Pbx, tmp_path: Path) -> None:
    assert pbx("router", "show") == DEFAULT_TABLE
    text = "<a> = b ; why\r\n\r\n;<c> = d\r\n"
    file = tmp_path / "table"
    file.write_bytes(text.encode())
    assert pbx("router", "set", str(file)) == "the Router table has 1 record\n"
    shown = pbx.json("router", "show")
    assert shown == {
        "text": text,
        "records": [{"line": 1, "text": "<a> = b", "kind": "all", "relay": "NoRelay"}],
    }
    assert pbx("router", "show", "--cluster") == ""
    assert pbx.json("router", "set", str(file), "--cluster") == {"records": 1}


def test_a_wrong_table_is_refused(
    pbx: Pbx, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "table"
    file.write_text("<a> = b\nSignl:<c> = d\n<(3x)@*> = e\n")
    assert main(["router", "check", str(file)]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "pbx: the Router table is refused:",
        (
            "line 2, column 1: expected one of the prefixes NoRelay, Relay, RelayAll, Mail, "
            "Signal, Access, not 'Signl:'"
        ),
        "line 3, column 2: expected a digit class such as (3d) or (7-20d), or \\(, not '(3x)'",
    ]
    assert "line 2, column 1" in refused(capsys, pbx, "router", "set", str(file))
    assert pbx("router", "show") == DEFAULT_TABLE
    assert "cannot read" in refused(capsys, pbx, "router", "set", str(tmp_path / "nothing"))
    file.write_bytes(b"\xff")
    assert "is not UTF-8: byte 0" in refused(capsys, pbx, "router", "set", str(file))


def test_a_table_from_standard_input(
    pbx: Pbx, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"<a> = b\n<c> = d")))
    assert main(["router", "check", "-"]) == 0
    assert capsys.readouterr().out == "- is right: 2 records\n"


def test_the_trace_of_a_decision(pbx: Pbx, capsys: pytest.CaptureFixture[str]) -> None:
    assert pbx("route", "+4930123456@a.dom").splitlines() == [
        "  1  server table, line 3: <+(7-20d)@*> = +*@telnum -> +4930123456@telnum",
        "  2  server table, line 4: Signal:telnum = pstn -> +4930123456@pstn",
        (
            "  3  server table, line 5: Signal:<*@pstn> = gatewaycaller{*}#pbx"
            " -> gatewaycaller{+4930123456}#pbx"
        ),
        "  4  result: gatewaycaller{+4930123456}#pbx@a.dom (application)",
        "application: LOCAL pbx@a.dom gatewaycaller{+4930123456}#pbx@a.dom",
    ]
    assert pbx("route", "401@mail.a.dom", "--as", "mail").splitlines() == [
        "  1  domain name: 401@a.dom",
        "  2  alias: ann@a.dom (401 is an alias)",
        "  3  result: ann@a.dom (account)",
        "account: LOCAL ann@a.dom ann@a.dom",
    ]
    assert refused(capsys, pbx, "route", "nobody@a.dom", "--as", "access").splitlines() == [
        "  1  result: nobody@a.dom (unknown)",
        "refused with 404: no account nobody@a.dom",
    ]
    assert "LOCAL ann@a.dom service{12}#ann@a.dom" in pbx("route", "*12", "--by", "ann@a.dom")
    assert pbx("route", "x@far.dom:5070").endswith("foreign: SIP far.dom:5070 x@far.dom:5070\n")


def test_a_decision_of_the_past(pbx: Pbx, capsys: pytest.CaptureFixture[str]) -> None:
    """``--at`` folds the configuration as it was."""
    assert "this server has no domain yet" in refused(
        capsys, pbx, "route", "401", "--at", "2020-01-01"
    )
    assert "account" in pbx("route", "401", "--at", "2999-01-01")


def test_a_decision_for_programs(pbx: Pbx) -> None:
    pbx("group", "create", "sales@a.dom", "401", "x@far.dom", "--name", "Sales")
    found = pbx.json("route", "sales@a.dom")
    assert isinstance(found, dict)
    assert found["outcome"] == "group"
    assert found["members"] == [
        {"address": "ann@a.dom", "outcome": "account"},
        {"address": "x@far.dom", "outcome": "foreign"},
    ]
    assert "     member ann@a.dom: account\n" in pbx("route", "sales@a.dom")


def test_what_a_caller_may_not_call(pbx: Pbx, capsys: pytest.CaptureFixture[str]) -> None:
    """By its class of service; whoever is not named, and calls for help, have none."""
    number = "+19001234567@far.example"
    assert refused(capsys, pbx, "route", number, "--by", "ann@a.dom").endswith(
        "refused with 403: ann@a.dom may not call premium destinations (CallOutAllowed): "
        "+19001234567 fits +1900*\n"
    )
    assert pbx("route", number).splitlines()[-1].startswith("foreign: SIP far.example")
    log = open_log(pbx.data)
    changes = SettingsChanges(log, actor="test")
    changes.update(Target("account", "ann@a.dom"), "settings", {"CallOutAllowed": "None"})
    log.close()
    pbx("account", "create", "bob@a.dom", "--password", "correct horse")
    assert "internal" in refused(capsys, pbx, "route", "bob@a.dom", "--by", "ann@a.dom")
    assert "account" in pbx("route", "401@a.dom", "--by", "ann@a.dom")
    assert "404" in refused(capsys, pbx, "route", "112@a.dom", "--by", "ann@a.dom")


def test_aliases_and_numbers(pbx: Pbx) -> None:
    assert pbx("alias", "list").splitlines() == [
        "ALIAS             ACCOUNT",
        "200@a.dom         pbx@a.dom",
        "401@a.dom         ann@a.dom",
        "conference@a.dom  pbx@a.dom",
    ]
    assert pbx("alias", "remove", "401@a.dom") == "account ann@a.dom is also nothing else\n"
    assert pbx.json("alias", "add", "402", "ann@a.dom") == {
        "account": "ann@a.dom",
        "aliases": ["402"],
    }
    assert pbx("telnum", "add", "+49 30 123456", "ann@a.dom") == (
        "account ann@a.dom has +4930123456\n"
    )
    assert pbx.json("telnum", "list") == [{"telnum": "+4930123456", "account": "ann@a.dom"}]
    assert pbx("telnum", "list").splitlines()[1] == "+4930123456  ann@a.dom"
    assert pbx.json("telnum", "remove", "4930123456") == {"account": "ann@a.dom", "telnums": []}
    assert pbx.json("alias", "list")


def test_groups(pbx: Pbx) -> None:
    assert pbx("group", "create", "sales@a.dom", "ann") == "group sales@a.dom created\n"
    assert pbx("group", "add", "sales@a.dom", "401") == "group sales@a.dom has 2 members\n"
    assert pbx("group", "remove", "sales@a.dom", "401") == "group sales@a.dom has 1 member\n"
    changed = pbx("group", "set", "sales@a.dom", "--option", "expand", "--name", "Sales")
    assert changed == "group sales@a.dom options Expand\n"
    assert pbx("group", "list", "mail.a.dom").splitlines() == [
        "GROUP        NAME   MEMBERS  OPTIONS",
        "sales@a.dom  Sales  ann      Expand",
    ]
    assert pbx("group", "set", "sales@a.dom", "--no-options").endswith("options none\n")
    assert pbx.json("group", "list", "b.dom") == []
    assert pbx("group", "delete", "sales@a.dom") == "group sales@a.dom deleted\n"


def test_forwarders_lists_and_tasks(pbx: Pbx, capsys: pytest.CaptureFixture[str]) -> None:
    assert pbx("forwarder", "create", "301@a.dom", "sayhello#pbx") == (
        "forwarder 301@a.dom stands for sayhello#pbx\n"
    )
    assert pbx.json("forwarder", "set", "301@a.dom", "ann") == {
        "forwarder": "301@a.dom",
        "target": "ann",
    }
    assert pbx("list", "create", "news@a.dom", "--owner", "ann").endswith("belongs to ann\n")
    assert pbx("list", "set", "news@a.dom", "--owner", "pbx").endswith("belongs to pbx\n")
    assert pbx("task", "create", "q@a.dom", "--owner", "ann", "--program", "acd", "--name", "Q")
    assert pbx("task", "set", "q@a.dom", "--program", "acd2").endswith("runs acd2 for ann\n")
    assert pbx.json("task", "list") == [
        {"task": "q@a.dom", "owner": "ann", "program": "acd2", "name": "Q"}
    ]
    assert pbx.json("list", "list") == [{"list": "news@a.dom", "owner": "pbx", "settings": {}}]
    assert "owns the named task q@a.dom" in refused(capsys, pbx, "account", "delete", "ann@a.dom")
    assert "there is no domain" in refused(capsys, pbx, "task", "list", "nowhere.dom")
    pbx("task", "set", "q@a.dom", "--owner", "pbx")
    pbx("account", "delete", "ann@a.dom")
    pbx("domain", "delete", "b.dom")
    assert "still has 1 forwarder, 1 list, 1 task" in refused(
        capsys, pbx, "domain", "delete", "a.dom"
    )
    assert pbx.json("list", "delete", "news@a.dom") == {"list": "news@a.dom"}


def test_domains(pbx: Pbx) -> None:
    assert (
        pbx("domain", "alias", "a.dom", "x.dom", "y.dom") == "domain a.dom is also x.dom, y.dom\n"
    )
    assert pbx.json("domain", "alias", "a.dom") == {"domain": "a.dom", "aliases": []}
    assert pbx("domain", "main") == "the Main Domain is a.dom\n"
    assert pbx.json("domain", "main", "b.dom") == {"main_domain": "b.dom"}
    assert pbx("domain", "unknown", "b.dom", "rerouted", "pbx").splitlines() == [
        "SignalToUnknown = Rerouted to",
        "SignalRerouteAddress = pbx",
    ]
    assert pbx.json("domain", "unknown", "b.dom", "bounced", "--as", "mail") == {
        "MailToUnknown": "Accepted and Bounced"
    }
    assert "account: LOCAL pbx@b.dom" in pbx("route", "nobody@b.dom")


def test_the_main_domain_of_nothing(run: Pbx) -> None:
    run.data.mkdir(exist_ok=True)
    assert run("domain", "main") == "there is no domain yet\n"
