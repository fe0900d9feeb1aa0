"""``pbx config log|show|diff|blame|revert``, on a real log."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pbx.cli.main import main
from pbx.commands import digest_secrets
from pbx.domain import accounts
from pbx.domain.environments import EnvironmentCreated
from pbx.domain.rules import RulesChanged, StoredRule
from pbx.eventlog import Meta, UnknownEvent, open_log
from pbx.router import DEFAULT_TABLE
from pbx.settings_changes import SettingsChanges, Target
from tests.support.commands import Pbx


@pytest.fixture
def pbx(run: Pbx) -> Pbx:
    """Ann, who is 401."""
    run("domain", "create", "a.dom")
    run("account", "create", "ann@a.dom", "--password", "correct horse")
    run("alias", "add", "401", "ann@a.dom")
    return run


def last(pbx: Pbx, *words: str) -> Any:
    """The last change."""
    listed = pbx.json("config", "log", *words)
    assert isinstance(listed, list)
    return listed[-1]


def table(pbx: Pbx, tmp_path: Path, text: str) -> int:
    """Set the Router table; returns the position."""
    file = tmp_path / "table"
    file.write_text(text)
    pbx("router", "set", str(file))
    position: int = last(pbx, "router")["position"]
    return position


def test_log(pbx: Pbx) -> None:
    change = last(pbx, "ann@a.dom")
    assert change["stream"] == "account/ann@a.dom"
    assert change["type"] == "account.aliases-set.v1"
    assert change["actor"].startswith("cli:")
    assert change["changes"] == [{"key": "aliases", "old": None, "new": ["401"]}]
    lines = pbx("config", "log", "ann@a.dom").splitlines()
    assert [line.strip() for line in lines[1::2]] == [
        "created",
        "password: - -> ***",
        "aliases: - -> 401",
    ]
    assert lines[0].endswith("account ann@a.dom")
    assert pbx("config", "log", "--actor", "nobody") == ""
    assert pbx("config", "log", "--until", "2001-01-01") == ""
    everything = pbx.json("config", "log", "--since", "1h")
    assert everything == pbx.json("config", "log")
    assert {change["stream"] for change in everything} >= {"server", "domain/a.dom"}


def test_who_asked_from_where(pbx: Pbx) -> None:
    log = open_log(pbx.data)
    changes = SettingsChanges(log, actor="boss@a.dom", origin="cli:192.0.2.9")
    changes.update(Target("server"), "module.PSTN", {"PSTNGatewayPassword": "open sesame"})
    changes.update(Target("domain", "a.dom"), "settings", {"CallToUnknown": "Rerouted to"})
    log.close()
    shown = pbx("config", "log", "--actor", "boss")
    assert (
        "boss@a.dom from cli:192.0.2.9  server\n          secrets of module.PSTN: - -> ***" in shown
    )
    assert 'settings.CallToUnknown: - -> "Rerouted to"' in shown
    assert "sesame" not in shown + pbx("config", "show", "server") + pbx(
        "config", "blame", "server"
    )


def test_show_then_and_now(pbx: Pbx, capsys: pytest.CaptureFixture[str]) -> None:
    created = last(pbx, "domain/a.dom")["time"]
    before = datetime.now(UTC).isoformat()
    pbx("group", "create", "sales@a.dom", "401", "ann")
    assert pbx.json("config", "show", "sales@a.dom") == {"exists": True, "members": ["401", "ann"]}
    assert "members: 401, ann" in pbx("config", "show", "group/sales@a.dom")
    assert main(["config", "show", "sales@a.dom", "--at", before, "--data", str(pbx.data)]) == 1
    assert "did not exist then" in capsys.readouterr().err
    pbx("group", "delete", "sales@a.dom")
    assert "nothing named x.dom" in pbx.refused("config", "show", "x.dom")
    assert pbx("config", "show", "a.dom", "--at", created) == "exists: yes\n"
    assert pbx("config", "show", "router") == DEFAULT_TABLE
    assert "Router" not in pbx("config", "show", "server")


def test_differences_of_the_router(
    pbx: Pbx, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = datetime.now(UTC).isoformat()
    table(pbx, tmp_path, DEFAULT_TABLE + "<911> = ann\n")
    assert main(["config", "diff", "router", "--from", before, "--data", str(pbx.data)]) == 1
    number = DEFAULT_TABLE.count("\n") + 1
    assert capsys.readouterr().out == f"server Router table:\n  +{number}: <911> = ann\n"
    assert pbx("config", "diff", "router", "--from", "0s") == ""


def test_blame_by_line(pbx: Pbx, tmp_path: Path) -> None:
    first = table(pbx, tmp_path, "<1> = ann\n<2> = ann\n")
    second = table(pbx, tmp_path, "<1> = ann\n<3> = ann\n<2> = ann\n")
    blamed = pbx.json("config", "blame", "router")
    assert isinstance(blamed, list)
    assert [(row["line"], row["text"], row["position"]) for row in blamed] == [
        (1, "<1> = ann", first),
        (2, "<3> = ann", second),
        (3, "<2> = ann", first),
    ]
    assert "  2  <3> = ann" in pbx("config", "blame", "router")
    keys = pbx.json("config", "blame", "ann@a.dom")
    assert isinstance(keys, list)
    assert [row["key"] for row in keys] == ["exists", "aliases", "password"]


def test_revert_of_a_change(pbx: Pbx) -> None:
    position = str(last(pbx)["position"])
    assert pbx("config", "revert", position) == (
        "account ann@a.dom would change (do it with --yes):\n  aliases: 401 -> -\n"
    )
    assert "401" in pbx("alias", "list")
    assert "changed, position" in pbx("config", "revert", position, "--yes")
    assert "401" not in pbx("alias", "list")
    change = last(pbx)
    assert change["origin"] == position
    assert f"(revert by {position})" in pbx("config", "log")
    assert "nothing to do" in pbx("config", "revert", position, "--yes")
    # The revert is a change like any other.
    pbx("config", "revert", str(change["position"]), "--yes")
    assert "401" in pbx("alias", "list")


def test_later_changes_stand_in_the_way(pbx: Pbx) -> None:
    position = last(pbx)["position"]
    pbx("alias", "add", "402", "ann@a.dom")
    later = last(pbx)["position"]
    error = pbx.refused("config", "revert", str(position), "--yes")
    assert "aliases changed by cli:" in error
    assert f"at position {later}" in error and "--force" in error
    pbx("config", "revert", str(position), "--yes", "--force")
    assert "402" not in pbx("alias", "list")


def test_table_changes_are_merged_by_line(pbx: Pbx, tmp_path: Path) -> None:
    table(pbx, tmp_path, "<1> = ann\n<2> = ann\n<3> = ann\n<4> = ann\n")
    wrong = table(pbx, tmp_path, "<1> = nobody\n<2> = ann\n<3> = ann\n<4> = ann\n")
    table(pbx, tmp_path, "<1> = nobody\n<2> = ann\n<3> = ann\n<4> = ann\n<5> = ann\n")
    pbx("config", "revert", str(wrong), "--yes")
    assert pbx("router", "show") == "<1> = ann\n<2> = ann\n<3> = ann\n<4> = ann\n<5> = ann\n"
    table(pbx, tmp_path, "<1> = pbx\n")
    error = pbx.refused("config", "revert", str(wrong))
    assert "server Router table lines 1 changed by" in error


def test_back_to_a_time(pbx: Pbx) -> None:
    then = datetime.now(UTC).isoformat()
    pbx("alias", "add", "402", "ann@a.dom")
    pbx("account", "limits", "ann@a.dom", "--calls", "3")
    pbx("account", "passwd", "ann@a.dom", "--password", "another horse")
    shown = pbx("config", "revert", "ann@a.dom", "--to", then, "--yes")
    assert "aliases: 401, 402 -> 401" in shown and "password: *** -> ***" in shown
    log = open_log(pbx.data)
    written = [record.event for record in log.read_stream("account/ann@a.dom")]
    log.close()
    secrets = digest_secrets("ann", "a.dom", "correct horse")
    restored = [event for event in written if isinstance(event, accounts.AccountPasswordSet)][-1]
    assert restored.ha1_md5 == secrets.ha1_md5
    assert pbx.json("config", "show", "ann@a.dom") == {
        "exists": True,
        "aliases": ["401"],
        "password": "***",
    }
    assert "nothing to do" in pbx("config", "revert", "ann@a.dom", "--to", then, "--yes")


def test_what_a_revert_does_not_do(pbx: Pbx) -> None:
    created = pbx.json("config", "log", "ann@a.dom")
    assert isinstance(created, list)
    assert "pbx account delete ann@a.dom" in pbx.refused(
        "config", "revert", str(created[0]["position"]), "--yes"
    )
    assert "is no position" in pbx.refused("config", "revert", "ann@a.dom")
    assert "nothing is at position 9999" in pbx.refused("config", "revert", "9999")


def test_names_that_somebody_else_has_now(pbx: Pbx) -> None:
    given = last(pbx)["position"]
    pbx("alias", "remove", "401@a.dom")
    removed = last(pbx)["position"]
    pbx("account", "create", "401@a.dom", "--password", "correct horse")
    assert "belongs to the account 401@a.dom now" in pbx.refused(
        "config", "revert", str(removed), "--yes"
    )
    assert "nothing to do" in pbx("config", "revert", str(given))


def test_a_deleted_account_comes_back_without_its_password(pbx: Pbx) -> None:
    pbx("account", "delete", "ann@a.dom")
    position = last(pbx)["position"]
    shown = pbx("config", "revert", str(position), "--yes")
    assert "aliases: - -> 401" in shown and "not kept any more" in shown
    assert pbx.json("config", "show", "ann@a.dom") == {"exists": True, "aliases": ["401"]}


def test_a_group_comes_back_whole(pbx: Pbx) -> None:
    pbx("group", "create", "sales@a.dom", "401")
    pbx("group", "delete", "sales@a.dom")
    position = last(pbx)["position"]
    pbx("config", "revert", str(position), "--yes")
    assert pbx.json("config", "show", "sales@a.dom") == {"exists": True, "members": ["401"]}
    pbx("group", "delete", "sales@a.dom")
    pbx("account", "create", "sales@a.dom", "--password", "correct horse")
    assert "is the account sales@a.dom now" in pbx.refused("config", "revert", str(position + 3))


def test_an_event_of_a_newer_version_is_told(pbx: Pbx) -> None:
    log = open_log(pbx.data)
    event = UnknownEvent(type="plan.changed.v1", data=b'{"rows":[["1","night"],["2","day"]]}')
    log.append("domain/a.dom", 1, [event], Meta(actor="x"))
    log.append("domain/a.dom", 2, [EnvironmentCreated()], Meta(actor="x"))
    log.close()
    assert "plan: " in pbx("config", "show", "a.dom")
    assert '+1: ["1", "night"]' in pbx("config", "log", "a.dom")
    position = last(pbx, "a.dom")["position"] - 1
    assert "is no setting" in pbx.refused("config", "revert", str(position))


def test_events_that_state_what_holds_are_reverted_without_being_known(pbx: Pbx) -> None:
    """Signal Rules: this package knows nothing of them."""

    def rule(name: str) -> StoredRule:
        return "5", name, (("Time Of Day", "in", "22:00-06:00"),), (("Reject", "480"),), ""

    log = open_log(pbx.data)
    log.append("domain/a.dom", 1, [RulesChanged(rules=(rule("night"),))], Meta(actor="x"))
    log.append("domain/a.dom", 2, [RulesChanged(rules=(rule("night"), rule("day")))], Meta())
    log.close()
    listed = pbx.json("config", "log", "a.dom")
    assert isinstance(listed, list)
    first, second = (change["position"] for change in listed[1:])
    shown = pbx("config", "revert", str(second), "--yes")
    assert '-2: ["5", "day", ' in shown and "night" not in shown
    pbx("config", "revert", str(first), "--yes")
    assert pbx.json("config", "show", "a.dom") == {"exists": True}
