"""``pbx mailbox``: over a data directory, as an administrator uses it."""

from __future__ import annotations

import mailbox as standard_mailbox
from pathlib import Path
from typing import Any

import pytest

from mail.reading import read_message
from pbx.cli.main import main
from pbx.eventlog import open_log
from pbx.readmodel import catch_up, open_read_model
from tests.support.commands import Pbx
from tests.support.mail_lab import text_message

ANN = "ann@a.dom"


@pytest.fixture
def pbx(run: Pbx) -> Pbx:
    """A server with Ann, who is 401."""
    run("domain", "create", "a.dom")
    run("account", "create", ANN, "--password", "correct horse")
    run("alias", "add", "401", ANN)
    return run


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    path = tmp_path / "sound.wav"
    path.write_bytes(b"RIFF" + bytes(2000))
    return path


def rows(pbx: Pbx, *words: str) -> Any:
    """What a command prints with ``--json``."""
    return pbx.json(*words)


def refused(capsys: pytest.CaptureFixture[str], pbx: Pbx, *words: str) -> str:
    """What a command that fails says."""
    capsys.readouterr()
    assert main(["mailbox", *words, "--data", str(pbx.data)]) == 1
    return capsys.readouterr().err


def test_a_recording_is_stored_listed_marked_and_exported(
    pbx: Pbx, sound: Path, tmp_path: Path
) -> None:
    assert pbx("mailbox", "list", ANN) == "MAILBOX  MESSAGES  UNREAD  VOICE  SIZE  CLASS\n"
    told = pbx("mailbox", "store", "401@a.dom", str(sound), "--from", "bob@b.dom")
    assert told == f"message 1 in INBOX of {ANN}\n"
    (box,) = rows(pbx, "mailbox", "list", ANN)
    assert (box["name"], box["messages"], box["unseen"], box["voice"]) == ("INBOX", 1, 1, 1)
    assert pbx("mailbox", "mark", ANN, "inbox", "1", "--seen") == ""
    (message,) = rows(pbx, "mailbox", "show", ANN, "INBOX")
    assert message["flags"] == "Seen,Media"
    assert message["sender"] == "bob@b.dom"
    assert message["content_class"] == "voice"
    pbx("mailbox", "mark", ANN, "INBOX", "1", "--unseen")
    pbx("mailbox", "mark", ANN, "INBOX", "1", "--flags", "Flagged,$Todo")
    assert "Flagged,Media,$Todo" in pbx("mailbox", "show", ANN, "INBOX")

    heard, whole, box_file = tmp_path / "h.wav", tmp_path / "m.eml", tmp_path / "b.mbox"
    pbx("mailbox", "export", ANN, "INBOX", "1", "--audio", str(heard))
    assert heard.read_bytes() == sound.read_bytes()
    pbx("mailbox", "export", ANN, "INBOX", "1", str(whole))
    assert read_message(whole.read_bytes()).field("Content-Class") == "voice"
    written = rows(pbx, "mailbox", "export", ANN, "INBOX", "--all", str(box_file))
    assert written["messages"] == 1
    box_read = standard_mailbox.mbox(box_file)
    assert len(box_read) == 1
    box_read.close()


def test_a_message_is_shown_and_commands_no_terminal(pbx: Pbx, tmp_path: Path) -> None:
    letter = tmp_path / "letter.eml"
    letter.write_bytes(text_message("a\x1b[31mb", "hello\x07 there\n"))
    pbx("mailbox", "store", ANN, str(letter), "--mailbox", "INBOX")
    shown = pbx("mailbox", "show", ANN, "INBOX", "1")
    assert "hello\ufffd there" in shown
    assert "\x1b" not in shown
    as_json = rows(pbx, "mailbox", "show", ANN, "INBOX", "1")
    assert as_json["text"].startswith("hello")
    assert as_json["parts"] == []


def test_messages_and_mailboxes_are_removed(pbx: Pbx, sound: Path) -> None:
    for _ in range(3):
        pbx("mailbox", "store", ANN, str(sound))
    assert rows(pbx, "mailbox", "delete", ANN, "INBOX", "1", "3")["uids"] == [1, 3]
    assert [m["uid"] for m in rows(pbx, "mailbox", "show", ANN, "INBOX")] == [2]
    assert rows(pbx, "mailbox", "clean")["files"] == 0, "not so soon"
    assert rows(pbx, "mailbox", "clean", "--before", "0s")["files"] == 2
    assert pbx("mailbox", "clean", "--before", "0s") == "0 files deleted, 0 B free\n"
    assert rows(pbx, "mailbox", "show", ANN, "INBOX", "2")["uid"] == 2


def test_the_tables_are_what_the_command_shows(pbx: Pbx, sound: Path) -> None:
    for _ in range(2):
        pbx("mailbox", "store", ANN, str(sound))
    pbx("mailbox", "mark", ANN, "INBOX", "2", "--seen")
    log = open_log(pbx.data, unseal=False)
    database = open_read_model(pbx.data)
    catch_up(log, database)
    with database.read() as connection:
        rows = connection.exec_driver_sql("SELECT uid, flags FROM messages ORDER BY uid").all()
    assert [tuple(row) for row in rows] == [(1, "Media"), (2, "Seen,Media")]
    database.close()
    log.close()
    assert "equal to the live tables" in pbx("replay", "mailboxes")


def test_what_is_refused_and_why(
    pbx: Pbx, sound: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pbx("mailbox", "store", ANN, str(sound))
    letter = tmp_path / "letter.eml"
    letter.write_bytes(text_message())
    pbx("mailbox", "store", ANN, str(letter))
    there = str(sound)
    for words, reason in (
        (("list", "bob@a.dom"), "there is no account bob@a.dom; see: pbx account list"),
        (("show", ANN, "Work"), f"{ANN} has no mailbox Work; see: pbx mailbox list {ANN}"),
        (("show", ANN, "a//b"), "is no name of a mailbox"),
        (("show", ANN, "INBOX", "9"), "there is no message 9 in the mailbox"),
        (("export", ANN, "INBOX", "1"), "say what to write"),
        (("export", ANN, "INBOX", "1", "--all", "x.mbox"), "say what to write"),
        (("export", ANN, "INBOX", "1", there), "is there already: name another file"),
        (("export", ANN, "INBOX", "2", "--audio", "x.wav"), "has no recording in it"),
        (("export", ANN, "INBOX", "1", "/no/such/folder/x"), "cannot be written"),
        (("store", ANN, "/no/such/file"), "cannot be read"),
        (("store", ANN, there, "--mailbox", "Work"), "there is no such mailbox"),
        (("mark", ANN, "INBOX", "1", "--flags", "Read"), "is no flag"),
        (("mark", ANN, "INBOX", "7", "--seen"), "there is no message 7"),
        (("delete", ANN, "INBOX"), "name the messages to remove"),
        (("delete", ANN, "INBOX", "--yes"), "INBOX cannot be deleted"),
        (("delete", ANN, "Work", "--yes"), "there is no such mailbox"),
    ):
        assert reason in refused(capsys, pbx, *words), words
    assert len(rows(pbx, "mailbox", "show", ANN, "INBOX")) == 2


def test_an_erased_account_leaves_no_mail(pbx: Pbx, sound: Path) -> None:
    pbx("mailbox", "store", ANN, str(sound))
    pbx("erase", ANN, "--yes")
    pbx("account", "create", ANN, "--password", "another horse")
    assert rows(pbx, "mailbox", "list", ANN) == []
    log = pbx("log", "--stream", f"mailbox/{ANN}/1", "--json")
    assert "[sealed]" in log
