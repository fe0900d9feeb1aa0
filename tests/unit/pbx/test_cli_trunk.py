"""``pbx trunk list|status|register-now``: what is configured and what the nodes wrote."""

from __future__ import annotations

import io
import json
import time
from typing import Any

import pytest

from pbx.cli.main import main
from pbx.domain import trunks as domain
from pbx.domain.configuration import ACCOUNT_DEFAULTS, RECORDS, SETTINGS, Configuration
from pbx.eventlog import ANY_VERSION, Meta, open_log
from pbx.kernel.events import Event
from pbx.settings_changes import THE_SERVER, SettingsChanges, Target, read
from tests.support.commands import Pbx

OWNER = "ann@a.dom"
STREAM = f"trunk/{OWNER}"
HOUR_NS = 3_600_000_000_000


@pytest.fixture
def pbx(run: Pbx) -> Pbx:
    """A server with Ann, who has a right record, a wrong one and one that is switched off."""
    run("domain", "create", "a.dom")
    run("account", "create", OWNER, "--password", "correct horse")
    log = open_log(run.data)
    SettingsChanges(log, actor="test").update(
        Target("account", OWNER),
        RECORDS,
        {
            "RSIP": {
                "voip1": {
                    "domain": "voip1.un", "fromName": "00000X", "password": "spasswordX",
                    "period": "5m",
                },
                "bad": {"domain": "a b"},
                "off": {"domain": "voip1.un", "period": "1000000000s"},
            }
        },
    )  # fmt: skip
    log.close()
    return run


def wrote(pbx: Pbx, *events: Event) -> None:
    """What a node wrote about the records."""
    log = open_log(pbx.data, node="pbx-1")
    log.append(STREAM, ANY_VERSION, list(events), Meta(actor="node:pbx-1"))
    log.close()


def registered(**change: Any) -> domain.TrunkRegistered:
    now_ns = time.time_ns()
    values: dict[str, Any] = {
        "record": "voip1", "registrar": "sip:voip1.un", "address": "sip:00000X@voip1.un",
        "contact": "sip:t1@192.0.2.1:5060", "token": "t1", "sip_call_id": "c", "cseq": 2,
        "expires_ns": now_ns + HOUR_NS, "next_ns": now_ns + HOUR_NS // 2,
        "sources": ("198.51.100.1",),
    }  # fmt: skip
    return domain.TrunkRegistered(**{**values, **change})


def failed(reason: str) -> domain.TrunkFailed:
    return domain.TrunkFailed(
        record="voip1", registrar="sip:voip1.un", kind="unreachable", status=408, reason=reason,
        attempt=3, next_ns=time.time_ns() + 120_000_000_000,
    )  # fmt: skip


def status(pbx: Pbx, record: str = "voip1") -> dict[str, Any]:
    shown = pbx.json("trunk", "status", OWNER, record)
    assert isinstance(shown, dict)
    return shown


def test_the_list_has_every_record(pbx: Pbx) -> None:
    wrote(pbx, registered())
    listed = pbx.json("trunk", "list")
    assert isinstance(listed, list)
    rows = {row["record"]: row for row in listed}
    assert {name: row["state"] for name, row in rows.items()} == {
        "voip1": "registered",
        "bad": "wrong",
        "off": "off",
    }
    assert rows["voip1"]["address"] == "sip:00000X@voip1.un"
    assert rows["voip1"]["node"] == "pbx-1"
    assert rows["bad"]["reason"].startswith("domain: a b is no host")
    table = pbx("trunk", "list").splitlines()
    assert table[0].split()[:2] == ["ACCOUNT", "RECORD"]
    assert len(table) == 4
    assert pbx.json("trunk", "list", "postmaster@a.dom") == []


def test_the_status_of_one(pbx: Pbx) -> None:
    wrote(pbx, failed("voip1.un does not answer"))
    text = pbx("trunk", "status", OWNER, "voip1")
    assert text.startswith("ann@a.dom voip1: failed\n  why: voip1.un does not answer\n")
    assert "  failures in a row: 3\n" in text
    assert "(in 1:59)" in text or "(in 2:00)" in text
    wrote(pbx, registered())
    text = pbx("trunk", "status", OWNER, "voip1")
    assert "  contact: sip:t1@192.0.2.1:5060\n" in text
    assert "  calls come from: 198.51.100.1\n" in text
    assert "why" not in text
    wrote(pbx, domain.TrunkRemoved(record="voip1", reason="stopped"))
    shown = status(pbx)
    assert (shown["state"], shown["reason"], shown["contact"]) == ("removed", "stopped", "")


def test_a_registration_of_long_ago_has_lapsed(pbx: Pbx) -> None:
    """Its node died and nobody wrote an end."""
    wrote(pbx, registered(expires_ns=time.time_ns() - HOUR_NS))
    assert status(pbx)["state"] == "lapsed"


def test_nothing_is_secret_in_what_is_shown(pbx: Pbx) -> None:
    wrote(pbx, registered())
    for command in (("list",), ("status", OWNER, "voip1")):
        assert "spasswordX" not in pbx("trunk", *command)
        assert "spasswordX" not in json.dumps(pbx.json("trunk", *command))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("status", OWNER), "ann@a.dom has several records, name one: bad, off, voip1"),
        (("status", OWNER, "x"), "ann@a.dom has no record x, but bad, off, voip1"),
        (("status", "postmaster@a.dom"), "has no records; they are set with pbx trunk set"),
        (("register-now", OWNER, "bad"), "the record bad cannot be registered: domain: a b"),
        (("register-now", OWNER, "off"), "the record off is switched off by its period"),
    ],
)
def test_what_cannot_be_done_is_said(
    pbx: Pbx, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], message: str
) -> None:
    assert main(["trunk", *words, "--data", str(pbx.data)]) == 1
    assert message in capsys.readouterr().err


def test_without_a_server_there_is_no_outcome(pbx: Pbx, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["trunk", "register-now", OWNER, "voip1", "--wait", "0", "--data", str(pbx.data)]
    assert main(words) == 0
    assert "no outcome yet; is the server running?" in capsys.readouterr().out


def configured(pbx: Pbx, target: Target) -> Configuration:
    log = open_log(pbx.data)
    found = read(log, target)[0]
    log.close()
    return found


def test_records_are_made_changed_and_deleted(
    pbx: Pbx, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One option at a time; other records and passwords stay."""
    pbx("trunk", "set", OWNER, "new", "--host", "sip.example.net", "--user", "u", "--every", "10m")
    assert status(pbx, "new")["period_s"] == 600
    monkeypatch.setattr("sys.stdin", io.StringIO("geheim\n"))
    pbx("trunk", "set", OWNER, "new", "--target", "bob@a.dom", "--password-stdin")
    records = configured(pbx, Target("account", OWNER)).section(RECORDS)["RSIP"]
    assert isinstance(records, dict)
    assert records["new"] == {
        "domain": "sip.example.net",
        "fromName": "u",
        "period": "10m",
        "targetName": "bob@a.dom",
        "password": "geheim",
    }
    voip1 = records["voip1"]
    assert isinstance(voip1, dict)
    assert voip1["password"] == "spasswordX"
    pbx("trunk", "set", OWNER, "new", "--target", "")
    assert status(pbx, "new")["target"] == OWNER
    assert main(["trunk", "set", OWNER, "new", "--every", "soon", "--data", str(pbx.data)]) == 1
    assert "record new: period: 'soon' is no time: write 5m" in capsys.readouterr().err
    assert main(["trunk", "set", OWNER, "new", "--data", str(pbx.data)]) == 1
    assert "nothing to set" in capsys.readouterr().err
    pbx("trunk", "delete", OWNER, "new")
    assert main(["trunk", "delete", OWNER, "new", "--data", str(pbx.data)]) == 1
    assert "ann@a.dom has no record new" in capsys.readouterr().err
    for record in ("voip1", "bad", "off"):
        pbx("trunk", "delete", OWNER, record)
    assert pbx.json("trunk", "list") == []


def test_gateways_of_every_level(pbx: Pbx, capsys: pytest.CaptureFixture[str]) -> None:
    for owner, target, section in (
        ("server", THE_SERVER, ACCOUNT_DEFAULTS),
        ("a.dom", Target("domain", "a.dom"), ACCOUNT_DEFAULTS),
        (OWNER, Target("account", OWNER), SETTINGS),
    ):
        pbx("trunk", "gateway", owner, "--host", "voip1.un", "--login", "x", "--password", "p")
        found = configured(pbx, target).section(section)
        assert found["PSTNGatewayDomain"] == "voip1.un"
        assert found["PSTNGatewayPassword"] == "p"
    words = ["trunk", "gateway", OWNER, "--name", "gwru", "--data", str(pbx.data)]
    assert main([*words, "--host", "10.1.1.1"]) == 1
    assert "there is one value for all gateways already (voip1.un)" in capsys.readouterr().err
    pbx("trunk", "gateway", OWNER, "--host", "", "--login", "", "--password", "")
    for name, host in (("gwru", "10.1.1.1"), ("gwus", "sipprov.net")):
        pbx("trunk", "gateway", OWNER, "--name", name, "--host", host, "--caller", "$")
    settings = configured(pbx, Target("account", OWNER)).section(SETTINGS)
    assert settings["PSTNGatewayDomain"] == {"gwru": "10.1.1.1", "gwus": "sipprov.net"}
    pbx("trunk", "gateway", OWNER, "--name", "gwru", "--host", "", "--caller", "")
    settings = configured(pbx, Target("account", OWNER)).section(SETTINGS)
    assert settings["PSTNGatewayDomain"] == {"gwus": "sipprov.net"}
    assert main(["trunk", "gateway", "a.dom", "--area", "x", "--data", str(pbx.data)]) == 1
    assert "is no area code" in capsys.readouterr().err
    assert main(["trunk", "gateway", "no.dom", "--host", "x.un", "--data", str(pbx.data)]) == 1
    assert "there is no domain no.dom" in capsys.readouterr().err
