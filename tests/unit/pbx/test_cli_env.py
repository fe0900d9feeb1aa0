"""``pbx env``: files of applications from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from media.wav import build
from pbx.cli.main import main
from tests.support.commands import Pbx

PROGRAM = "entry main {\n  void(AcceptCall());\n}\n"


@pytest.fixture
def pbx(run: Pbx) -> Pbx:
    run("domain", "create", "a.dom", "--alias", "mail.a.dom")
    return run


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "Hello.sppr").write_text(PROGRAM)
    (folder / "broken.sppr").write_text("entry main {\n  PlayFile(\n}\n")
    (folder / "welcome.wav").write_bytes(build(np.zeros(800, dtype=np.int16), 8000))
    (folder / "bad.wav").write_bytes(b"no sound")
    return folder


def shown(pbx: Pbx, *words: str) -> dict[str, Any]:
    """What a command prints for programs."""
    found = pbx.json(*words)
    assert isinstance(found, dict)
    return found


def failing(pbx: Pbx, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[str, str]:
    capsys.readouterr()
    assert main([*words, "--data", str(pbx.data)]) == 1
    captured = capsys.readouterr()
    return captured.out, captured.err


def test_put_list_get_delete(pbx: Pbx, files: Path) -> None:
    put = pbx("env", "put", str(files / "Hello.sppr"), str(files / "welcome.wav"))
    assert put == "hello.sppr stored\nwelcome.wav stored\n"
    assert pbx("env", "get", "HELLO.sppr") == PROGRAM
    listed = shown(pbx, "env", "list")
    assert [(one["file"], one["size_bytes"]) for one in listed["files"]] == [
        ("hello.sppr", len(PROGRAM)), ("welcome.wav", 1644),
    ]  # fmt: skip
    assert listed["languages"] == []
    out = files / "copy.wav"
    assert pbx("env", "get", "welcome.wav", "--out", str(out)).startswith("welcome.wav: 1644 bytes")
    assert out.read_bytes() == (files / "welcome.wav").read_bytes()
    assert "base64" in shown(pbx, "env", "get", "welcome.wav")
    assert pbx("env", "delete", "Hello.sppr") == "hello.sppr deleted\n"
    assert [one["file"] for one in shown(pbx, "env", "list")["files"]] == ["welcome.wav"]


def test_a_domain_and_its_languages(pbx: Pbx, files: Path) -> None:
    hello = str(files / "Hello.sppr")
    assert shown(pbx, "env", "list", "--domain", "a.dom") == {"files": [], "languages": []}
    pbx("env", "put", hello, "--domain", "mail.a.dom", "--language", "Russian", "--as", "x.sppr")
    assert shown(pbx, "env", "list", "--domain", "a.dom")["languages"] == ["russian"]
    table = pbx("env", "list", "--domain", "a.dom", "--language", "russian")
    assert table.splitlines()[1].startswith("x.sppr")
    assert pbx("env", "get", "x.sppr", "--domain", "a.dom", "--language", "russian") == PROGRAM
    assert shown(pbx, "env", "list") == {"files": [], "languages": []}
    assert pbx("env", "delete", "russian", "--all", "--domain", "a.dom") == "russian deleted\n"


def test_errors_are_printed_with_their_place_and_the_program_is_stored(
    pbx: Pbx, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, _ = failing(pbx, capsys, "env", "put", str(files / "broken.sppr"))
    assert out.splitlines()[0].startswith("broken.sppr:3:1: error: ")
    assert out.splitlines()[-1] == "broken.sppr stored"
    out, _ = failing(pbx, capsys, "env", "put", str(files / "broken.sppr"), "--json")
    told = json.loads(out)
    assert told["stored"] == ["broken.sppr"]
    assert (told["findings"][0]["line"], told["findings"][0]["severity"]) == (3, "error")


def test_what_is_refused_says_what_to_do(
    pbx: Pbx, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, told in (
        (("put", str(files / "bad.wav")), "WAV files are accepted: PCM of 8, 16 or 24 bits"),
        (("put", str(files / "nosuch")), "cannot read"),
        (("put", str(files / "Hello.sppr"), str(files / "welcome.wav"), "--as", "x"), "one file"),
        (("put", str(files / "Hello.sppr"), "--as", "../x"), "no file name"),
        (("put", str(files / "Hello.sppr"), "--domain", "b.dom"), "pbx domain list"),
        (("get", "nosuch"), "unknown file"),
        (("get", "nosuch", "--stock"), "pbx env list --stock"),
        (("get", "pbx.sppr", "--stock", "--out", str(files)), "cannot write"),
        (("delete", "nosuch"), "unknown file"),
        (("delete", "german", "--all"), "no language german"),
        (("list", "--stock", "--language", "german"), "no stock language german: russian"),
        (("diff-stock", "pbx.sppr"), "unknown file"),
    ):
        _, error = failing(pbx, capsys, "env", *words)
        assert error.startswith("pbx: "), words
        assert told in error, words


def test_the_stock_files_and_what_differs_from_them(pbx: Pbx, files: Path) -> None:
    stock = shown(pbx, "env", "list", "--stock")
    assert "echotest.sppr" in [one["file"] for one in stock["files"]]
    assert stock["languages"] == ["russian"]
    text = pbx("env", "get", "echotest.sppr", "--stock")
    mine = files / "echotest.sppr"
    mine.write_text(text)
    pbx("env", "put", str(mine))
    assert pbx("env", "diff-stock", "EchoTest.sppr") == "echotest.sppr is the stock file\n"
    mine.write_text(text + "// mine\n")
    pbx("env", "put", str(mine))
    lines = pbx("env", "diff-stock", "echotest.sppr").splitlines()
    assert lines[:2] == ["--- stock/echotest.sppr", "+++ echotest.sppr"]
    assert lines[-1] == "+// mine"
    pbx("env", "put", str(files / "welcome.wav"))
    told = shown(pbx, "env", "diff-stock", "welcome.wav")
    assert (told["same"], told["own_bytes"], told["diff"]) == (False, 1644, [])
    assert pbx("env", "diff-stock", "welcome.wav").startswith("welcome.wav has 1644 bytes, ")
