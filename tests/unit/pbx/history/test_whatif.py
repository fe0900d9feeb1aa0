"""``pbx whatif --router``: the calls that another table would route otherwise."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from pbx.cli.main import main
from pbx.domain import calls as c
from pbx.eventlog import ANY_VERSION, Meta, open_log
from pbx.router import DEFAULT_TABLE
from tests.contract.test_projections import started
from tests.support.commands import Pbx

HOUR = 3600 * 1_000_000_000


class Lab:
    """A server with Ann (401), Bob and calls of the past."""

    def __init__(self, pbx: Pbx, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.pbx = pbx
        self._folder = folder
        self._capsys = capsys
        self._calls = 0
        pbx("domain", "create", "a.dom")
        for name in ("ann", "bob"):
            pbx("account", "create", f"{name}@a.dom", "--password", "correct horse")
        pbx("alias", "add", "401", "ann@a.dom")

    def call(
        self, uri: str, outcome: str, target: str, *, caller: str = "bob@a.dom",
        hours_ago: int = 1, source: str = "192.0.2.1:5060", **routed: Any,
    ) -> str:  # fmt: skip
        """A call of the past, as it was recorded."""
        self._calls += 1
        name = f"00000000-0000-7000-8000-{self._calls:012d}"
        log = open_log(self.pbx.data)
        log.append(
            f"call/{name}",
            ANY_VERSION,
            [
                started(request_uri=uri, account=caller, source=source),
                c.CallRouted(address=uri, outcome=outcome, target=target, **routed),
                c.CallRouted(address="sip:redirected@a.dom", outcome="unknown", status=404),
            ],
            Meta(time_ns=time.time_ns() - hours_ago * HOUR),
        )
        log.close()
        return name

    def what_if(self, table: str, *words: str) -> tuple[int, Any]:
        file = self._folder / "table"
        file.write_text(table)
        code = main(
            ["whatif", "--router", str(file), "--json", "--data", str(self.pbx.data), *words]
        )
        return code, json.loads(self._capsys.readouterr().out)

    def told(self, table: str) -> str:
        file = self._folder / "table"
        file.write_text(table)
        main(["whatif", "--router", str(file), "--data", str(self.pbx.data)])
        return self._capsys.readouterr().out


@pytest.fixture
def lab(run: Pbx, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Lab:
    return Lab(run, tmp_path, capsys)


def test_a_wrong_change_is_found_before_it_is_made(lab: Lab) -> None:
    lab.call("sip:401@a.dom", "account", "ann@a.dom", contacts=1)
    wrong = "<4(2d)@*> = voicemail#*@*\n" + DEFAULT_TABLE
    code, found = lab.what_if(wrong)
    assert (code, found["calls"], found["drifted"]) == (1, 1, 0)
    (difference,) = found["differences"]
    assert difference["address"] == "sip:401@a.dom" and difference["caller"] == "bob@a.dom"
    assert (difference["old"]["outcome"], difference["old"]["target"]) == ("account", "ann@a.dom")
    assert difference["old"]["line"] == "" and difference["old"]["status"] == 0
    assert difference["new"]["line"] == "server table, line 1: <4(2d)@*> = voicemail#*@*"
    assert difference["new"]["outcome"] != "account"
    text = lab.told(wrong)
    assert (
        "bob@a.dom dials sip:401@a.dom\n    now:  account ann@a.dom; no line of the table" in text
    )
    assert "then: " in text and "server table, line 1" in text
    assert text.endswith("1 call replayed, 1 would take another way\n")
    assert lab.pbx("router", "show") == DEFAULT_TABLE


def test_a_change_that_changes_no_call(lab: Lab) -> None:
    lab.call("sip:401@a.dom", "account", "ann@a.dom", contacts=1)
    lab.call("sip:bob@a.dom", "account", "bob@a.dom", contacts=1)
    code, found = lab.what_if(DEFAULT_TABLE + "<999@*> = ann\n; a remark\n")
    assert (code, found["calls"], found["differences"]) == (0, 2, [])
    assert "2 calls replayed, none would" in lab.told(DEFAULT_TABLE)


def test_only_calls_of_the_time_count(lab: Lab) -> None:
    lab.call("sip:401@a.dom", "account", "ann@a.dom", hours_ago=30)
    assert lab.what_if("<401@*> = bob\n", "--calls", "1d")[1]["calls"] == 0
    assert lab.what_if("<401@*> = bob\n", "--calls", "2d")[0] == 1


def test_what_others_changed_is_not_the_tables_doing(lab: Lab) -> None:
    lab.call("sip:402@a.dom", "account", "ann@a.dom", contacts=1)
    code, found = lab.what_if(DEFAULT_TABLE)
    assert (code, found["drifted"], found["differences"]) == (0, 1, [])
    assert "1 was routed otherwise in their time" in lab.told(DEFAULT_TABLE)


def test_who_may_call_out(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same line frees a stranger's call by its mark; accounts and trusted sources had it."""
    for caller, source in (("", "198.51.100.1:5060"), ("bob@a.dom", "198.51.100.1:5060")):
        lab.call("sip:x@partner.example", "foreign", "x@partner.example", caller=caller,
                 source=source, status=403)  # fmt: skip
    table = DEFAULT_TABLE + "Relay:partner.example = partner.example\n"
    code, found = lab.what_if(table)
    (difference,) = found["differences"]
    assert (code, difference["caller"]) == (1, "")
    assert difference["old"]["status"] == 403 and difference["new"]["status"] == 0
    monkeypatch.setenv("RINGLOG_SIP__CLIENT_IPS", "198.51.100.0/24")
    assert lab.what_if(table)[0] == 0


def test_addresses_that_cannot_be_read(lab: Lab) -> None:
    lab.call("[erased]", "account", "[erased]")
    code, found = lab.what_if(DEFAULT_TABLE)
    assert (code, found["calls"], found["unreadable"]) == (0, 0, 1)
    assert "1 left out" in lab.told(DEFAULT_TABLE)


def test_a_table_with_errors(lab: Lab, tmp_path: Path) -> None:
    file = tmp_path / "wrong"
    file.write_text("<(3x)@*> = e\n")
    assert "line 1, column 2" in lab.pbx.refused("whatif", "--router", str(file))
