"""``pbx.datadir``: a private place with one owner at a time."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from pbx.datadir import FOLDERS, DataDirectory, DataDirectoryError, default_data_directory


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_directory_is_private(tmp_path: Path) -> None:
    data = DataDirectory(tmp_path / "a" / "b")
    data.prepare()
    assert mode(data.path) == 0o700
    assert {entry.name for entry in data.path.iterdir()} == set(FOLDERS)
    assert all(mode(data.path / name) == 0o700 for name in FOLDERS)


def test_an_open_directory_is_closed_to_others(tmp_path: Path) -> None:
    """The keys in it open every secret of the log."""
    (tmp_path / "data").mkdir(mode=0o755)
    DataDirectory(tmp_path / "data").prepare()
    assert mode(tmp_path / "data") == 0o700


def test_a_directory_that_cannot_be_closed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir(mode=0o755)

    def refuse(path: Path, mode: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "chmod", refuse)
    with pytest.raises(DataDirectoryError, match="run: chmod 700"):
        DataDirectory(tmp_path / "data").prepare()


def test_a_file_in_its_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(DataDirectoryError, match=r"Not a directory; name another with --data DIR"):
        DataDirectory(tmp_path / "data").prepare()


def test_preparing_twice_keeps_what_is_there(tmp_path: Path) -> None:
    data = DataDirectory(tmp_path)
    data.prepare()
    (data.path / "blobs" / "kept").write_text("x")
    data.prepare()
    assert (data.path / "blobs" / "kept").read_text() == "x"


def test_a_command_on_a_missing_directory_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataDirectoryError, match=r"pbx serve --data .*/none"):
        DataDirectory(tmp_path / "none").require()
    DataDirectory(tmp_path).require()


def test_a_directory_has_one_owner_who_is_named(tmp_path: Path) -> None:
    data = DataDirectory(tmp_path)
    data.prepare()
    with data.owned():
        other = DataDirectory(tmp_path).owned()
        with pytest.raises(DataDirectoryError, match=f"process {os.getpid()}\\) already runs"):
            other.__enter__()
    with data.owned():
        assert data.lock.read_text() == f"{os.getpid()}\n"


@pytest.mark.parametrize(
    ("environment", "root", "path"),
    [
        ({"HOME": "/home/a"}, True, "/var/lib/ringlog"),
        ({"HOME": "/home/a"}, False, "/home/a/.local/share/ringlog"),
        ({"HOME": "/home/a", "XDG_DATA_HOME": "/x"}, False, "/x/ringlog"),
    ],
)
def test_the_default_place(environment: dict[str, str], root: bool, path: str) -> None:
    assert default_data_directory(environment, root=root) == Path(path)
