"""``pbx`` as an administrator meets it: commands, output, errors that say what to do next."""

from __future__ import annotations

import io
import json
import os
import sys
import tomllib
from pathlib import Path

import pytest

import pbx.app
from pbx.cli import demo
from pbx.cli.common import actor, print_table
from pbx.cli.main import BROKEN_PIPE, INTERRUPTED, main
from pbx.commands import digest_secrets
from pbx.datadir import DataDirectory
from pbx.domain.accounts import AccountPasswordSet
from pbx.eventlog import open_log
from pbx.settings import Listener, Settings
from pbx.settings_source import load_settings
from tests.support.commands import Pbx


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in list(os.environ):
        if variable.startswith("RINGLOG_"):
            monkeypatch.delenv(variable)


# Domains, accounts.


def test_domains(run: Pbx) -> None:
    assert "next: pbx account create NAME@a.example" in run("domain", "create", "A.example")
    assert run.json("domain", "create", "b.example", "--alias", "c.example") == {
        "domain": "b.example"
    }
    assert run.json("domain", "list") == [
        {"domain": "a.example", "accounts": 2, "aliases": []},
        {"domain": "b.example", "accounts": 0, "aliases": ["c.example"]},
    ]
    assert run("domain", "list").splitlines() == [
        "DOMAIN     ACCOUNTS  ALIASES",
        "a.example  2         -",
        "b.example  0         c.example",
    ]
    assert run("domain", "delete", "b.example") == "domain b.example deleted\n"
    assert run.json("domain", "delete", "a.example") == {"domain": "a.example"}
    assert run.json("domain", "list") == []


def test_a_made_up_password_is_shown_once_and_works(run: Pbx) -> None:
    run("domain", "create", "a.example")
    output = run("account", "create", "1001@a.example", "--name", "Alice A.")
    assert output.startswith("account 1001@a.example created\npassword ")
    password = output.split()[4]
    assert len(password) == 16
    log = open_log(run.data)
    events = [record.event for record in log.read_stream("account/1001@a.example")]
    log.close()
    (stored,) = (event for event in events if isinstance(event, AccountPasswordSet))
    assert stored.ha1_sha256 == digest_secrets("1001", "a.example", password).ha1_sha256
    assert password not in run("account", "list")


def test_accounts(run: Pbx) -> None:
    run("domain", "create", "a.example")
    created = run.json("account", "create", "1001@a.example", "--password", "correct horse")
    assert created == {"account": "1001@a.example"}
    changed = run.json("account", "passwd", "1001@a.example")
    assert isinstance(changed, dict)
    assert set(changed) == {"account", "password"}
    assert "calls 2, contacts 10" in run("account", "limits", "1001@a.example", "--calls", "2")
    assert run.json("account", "limits", "1001@a.example", "--contacts", "3") == {
        "account": "1001@a.example",
        "name": "1001",
        "domain": "a.example",
        "display_name": "",
        "has_password": True,
        "calls_limit": 2,
        "max_contacts": 3,
        "aliases": [],
        "telnums": [],
    }
    assert run("account", "list", "A.example").splitlines() == [
        "ACCOUNT               NAME  PASSWORD  CALLS      CONTACTS  ALSO KNOWN AS",
        "1001@a.example        -     set       2          3         -",
        "pbx@a.example         -     none      unlimited  10        200 conference",
        "postmaster@a.example  -     none      unlimited  10        -",
    ]
    assert run("account", "delete", "1001@a.example") == "account 1001@a.example deleted\n"
    accounts = run.json("account", "list")
    assert isinstance(accounts, list)
    assert [row["account"] for row in accounts] == ["pbx@a.example", "postmaster@a.example"]
    run("account", "create", "1001@a.example")
    assert run.json("account", "delete", "1001@a.example") == {"account": "1001@a.example"}


def test_a_password_from_standard_input_loses_its_line_end(
    run: Pbx, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("domain", "create", "a.example")
    monkeypatch.setattr(sys, "stdin", io.StringIO("correct horse \r\nsecond line\n"))
    run("account", "create", "1001@a.example", "--password-stdin")
    log = open_log(run.data)
    *_, last = log.read_stream("account/1001@a.example")
    log.close()
    assert isinstance(last.event, AccountPasswordSet)
    assert last.event.ha1_md5 == digest_secrets("1001", "a.example", "correct horse ").ha1_md5


def test_no_password_on_standard_input(run: Pbx, monkeypatch: pytest.MonkeyPatch) -> None:
    run("domain", "create", "a.example")
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    reason = run.refused("account", "create", "1001@a.example", "--password-stdin")
    assert reason == "pbx: no password on standard input\n"


def test_a_weak_password_is_taken_with_a_warning(
    run: Pbx, capsys: pytest.CaptureFixture[str]
) -> None:
    run("domain", "create", "a.example")
    arguments = ["account", "create", "1001@a.example", "--password", "1234"]
    assert main([*arguments, "--data", str(run.data)]) == 0
    assert "weak password" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("account", "create", "1@b.example"), "make it: pbx domain create b.example"),
        (("account", "create", "1001"), "write it as name@domain"),
        (("account", "passwd", "1@a.example"), "there is no account 1@a.example; see: pbx acc"),
        (("account", "delete", "1@a.example"), "there is no account 1@a.example; see: pbx acc"),
        (("account", "list", "b.example"), "there is no domain b.example; see: pbx domain list"),
        (("domain", "create", "a.example"), "the domain a.example exists already"),
        (("domain", "delete", "b.example"), "there is no domain b.example; see: pbx domain list"),
    ],
)
def test_a_refusal_names_the_next_step(run: Pbx, words: tuple[str, ...], reason: str) -> None:
    run("domain", "create", "a.example")
    message = run.refused(*words)
    assert message.startswith("pbx: ")
    assert reason in message


def test_a_listing_of_no_server_says_how_to_start_one(run: Pbx) -> None:
    assert f"pbx serve --data {run.data}" in run.refused("domain", "list")


# Settings.


def test_settings_prints_a_file_that_sets_what_it_shows(run: Pbx) -> None:
    values = tomllib.loads(run("settings"))
    assert load_settings(overrides=values) == load_settings(
        overrides={"server": {"data": str(run.data)}}
    )
    assert run.json("settings") == values


def test_texts_in_the_printed_file_are_escaped(run: Pbx, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RINGLOG_SIP__TLS_KEY", 'a "b" \\ c\t\x7f')
    assert tomllib.loads(run("settings"))["sip"]["tls_key"] == 'a "b" \\ c\t\x7f'


def test_a_settings_file_in_the_data_directory_is_read(run: Pbx) -> None:
    run.data.mkdir()
    (run.data / "ringlog.toml").write_text('[server]\nnode = "n7"\n')
    values = run.json("settings")
    assert isinstance(values, dict)
    assert values["server"] == {
        "data": str(run.data),
        "node": "n7",
        "advertised": "",
        "time_zone": "UTC",
        "stop_s": 15.0,
    }


def test_a_named_settings_file_comes_in_its_place(run: Pbx, tmp_path: Path) -> None:
    run.data.mkdir()
    (run.data / "ringlog.toml").write_text("broken")
    other = tmp_path / "other.toml"
    other.write_text('[server]\nnode = "n8"\n')
    values = run.json("settings", "--config", str(other))
    assert isinstance(values, dict)
    assert values["server"]["node"] == "n8"


def test_wrong_settings_refuse_every_command(run: Pbx, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RINGLOG_SIP__T1", "1")
    assert "did you mean RINGLOG_SIP__T1_S?" in run.refused("domain", "list")


# Serve.


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """What ``serve`` was called with, in place of a server."""
    calls: list[Settings] = []

    def serve(data: DataDirectory, settings: Settings) -> int:
        calls.append(settings)
        return 7

    monkeypatch.setattr(pbx.app, "serve", serve)
    return calls


def test_serve_takes_listeners_from_the_command_line(
    tmp_path: Path, served: list[Settings]
) -> None:
    words = ["serve", "--data", str(tmp_path), "--sip", "127.0.0.1:0", "--sip", "[::1]:0/tls"]
    assert main(words) == 7
    assert served[0].sip.listen == (Listener("udp", "127.0.0.1", 0), Listener("tls", "::1", 0))
    assert served[0].server.data == str(tmp_path)


@pytest.mark.parametrize(("flags", "host"), [([], "0.0.0.0"), (["--dev"], "127.0.0.1")])
def test_dev_listens_on_this_machine_only(
    tmp_path: Path, served: list[Settings], flags: list[str], host: str
) -> None:
    main(["serve", "--data", str(tmp_path), *flags])
    assert {listener.host for listener in served[0].sip.listen} == {host}
    assert {listener.port for listener in served[0].sip.listen} == {5060}


@pytest.mark.parametrize(
    "words",
    [["serve", "--sip", "localhost:5060"], ["media", "--ng", "everywhere"], ["phone"], []],
)
def test_wrong_usage_is_status_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert "usage: pbx" in capsys.readouterr().err


def test_a_wrong_listener_is_told_the_form(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["serve", "--sip", "localhost:5060"])
    assert '\'localhost:5060\' is not "HOST:PORT/udp", "HOST:PORT/tcp"' in capsys.readouterr().err


# Demo.


def test_the_demo_makes_two_accounts_once(
    run: Pbx, served: list[Settings], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["serve", "--demo", "--sip", "127.0.0.1:5080", "--data", str(run.data)]
    assert main(words) == 7
    first = capsys.readouterr().out
    assert main(words) == 7
    assert capsys.readouterr().out == first
    passwords = json.loads((run.data / demo.FILE).read_bytes())
    assert list(passwords) == ["1001@localhost", "1002@localhost"]
    for address, password in passwords.items():
        assert f"account {address}   password {password}" in first
    assert "server 127.0.0.1:5080" in first
    assert (run.data / demo.FILE).stat().st_mode & 0o077 == 0


def test_the_demo_leaves_a_server_with_accounts_alone(
    run: Pbx, served: list[Settings], capsys: pytest.CaptureFixture[str]
) -> None:
    run("domain", "create", "localhost")
    run("account", "create", "7@localhost")
    main(["serve", "--demo", "--data", str(run.data)])
    assert capsys.readouterr().out == ""
    accounts = run.json("account", "list")
    assert isinstance(accounts, list)
    names = [row["account"] for row in accounts]
    assert names == ["7@localhost", "pbx@localhost", "postmaster@localhost"]


def test_the_demo_names_an_address_phones_can_type(
    run: Pbx, served: list[Settings], capsys: pytest.CaptureFixture[str]
) -> None:
    """Not ``0.0.0.0``: the address this machine has toward the network, or loopback."""
    main(["serve", "--demo", "--sip", "0.0.0.0:5060", "--data", str(run.data)])
    output = capsys.readouterr().out
    assert "server 0.0.0.0" not in output
    main(["serve", "--demo", "--sip", "[::]:5060", "--data", str(run.data)])
    assert "server ::\n" not in capsys.readouterr().out


# Rest.


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith("Ringlog 0.")


def test_ctrl_c_and_a_reader_that_went_away_are_no_tracebacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for error, code in ((KeyboardInterrupt, INTERRUPTED), (BrokenPipeError, BROKEN_PIPE)):

        def fail(*_: object, error: type[BaseException] = error) -> int:
            raise error

        monkeypatch.setattr(pbx.app, "serve", fail)
        stdout = os.dup(1)
        try:
            assert main(["serve", "--data", str(tmp_path)]) == code
        finally:
            os.dup2(stdout, 1)
            os.close(stdout)
    assert "Traceback" not in capfd.readouterr().err


def test_the_actor_has_a_name_even_without_a_user_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "ann")
    assert actor() == "cli:ann"

    def nobody() -> str:
        raise KeyError("uid not found")

    monkeypatch.setattr("getpass.getuser", nobody)
    assert actor() == f"cli:{os.getuid()}"


def test_a_table_without_rows_has_its_heads(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("A", "B"), [])
    assert capsys.readouterr().out == "A  B\n"
