"""The stock level is what the package has."""

from __future__ import annotations

from pathlib import Path

import pytest

from pbx.environments import StockFiles
from pbx.environments.check import check_file, errors_of


def test_programs_and_prompts_of_both_languages_are_there() -> None:
    stock = StockFiles()
    assert "russian" in stock.languages
    base, russian = stock.of_language(""), stock.of_language("russian")
    assert {"pbx.sppr", "voicemail.sppr", "callerleg.sppi", "welcome.wav"} <= set(base)
    assert "welcome.wav" in russian
    assert "prompts.toml" not in base
    content = stock.read("pbx.sppr")
    assert content is not None
    assert len(content) == base["pbx.sppr"].size_bytes
    assert stock.read("russian/welcome.wav") != stock.read("welcome.wav")
    assert stock.read("nosuch.sppr") is None
    assert stock.read("../__init__.py") is None


def test_stock_files_pass_their_own_check() -> None:
    stock = StockFiles()
    for name in stock.of_language(""):
        data = stock.read(name)
        assert data is not None
        assert not errors_of(check_file(name, data)), name


def test_folders_that_are_missing_are_empty(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "X.wav").write_bytes(b"1")
    (tmp_path / "a" / "__pycache__").mkdir()
    (tmp_path / "a" / "__pycache__" / "y.wav").write_bytes(b"1")
    stock = StockFiles([tmp_path / "a", tmp_path / "missing"])
    assert list(stock.of_language("")) == ["x.wav"]
    assert stock.languages == frozenset()


@pytest.mark.parametrize("name", ["a.SPPR", "a.txt", "a"])
def test_only_what_is_named_so_is_checked(name: str) -> None:
    """Names reach the check in stored form: lower case."""
    assert check_file(name, b"entry {") == ()
