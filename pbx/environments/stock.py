"""The stock level: programs, modules and prompts that come with the server, read-only.

The folders of the package are listed once, at the start: they change with the software only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from pbx import script
from pbx.domain.environments import StoredFile, folded

SOURCES: Final = (".toml", ".py")
"""What lies in the folders and is no file of an environment: the texts prompts are made from."""


def stock_folders() -> list[Path]:
    """Where the shipped programs and prompts are."""
    package = Path(script.__file__).resolve().parent
    return [package / "stock", package.parent / "prompts"]


class StockFiles:
    """Files of folders by name; folders in them are languages."""

    def __init__(self, folders: Sequence[Path] | None = None) -> None:
        self._paths: dict[str, Path] = {}
        self.languages: frozenset[str] = frozenset()
        for folder in stock_folders() if folders is None else folders:
            self._list(folder)

    def _list(self, folder: Path) -> None:
        if not folder.is_dir():
            return
        for path in sorted(folder.iterdir()):
            if path.is_dir() and not path.name.startswith(("_", ".")):
                language = folded(path.name)
                found = {f"{language}/{name}": one for name, one in _files(path).items()}
                if found:
                    self.languages |= {language}
                    self._paths.update(found)
        self._paths.update(_files(folder))

    def path(self, name: str) -> Path | None:
        """Where a file is; its name may have a language in front."""
        return self._paths.get(name)

    def read(self, name: str) -> bytes | None:
        """Content of a file, or None."""
        path = self._paths.get(name)
        return None if path is None else path.read_bytes()

    def of_language(self, language: str) -> Mapping[str, StoredFile]:
        """Files of a language (``""``: the base) by their names in it; they have no hash."""
        found: dict[str, StoredFile] = {}
        for name, path in self._paths.items():
            where, _, rest = name.rpartition("/")
            if where == language:
                status = path.stat()
                found[rest] = StoredFile("", status.st_size, status.st_mtime_ns)
        return found


def _files(folder: Path) -> dict[str, Path]:
    return {
        folded(path.name): path
        for path in sorted(folder.iterdir())
        if path.suffix.lower() not in SOURCES and path.is_file()
    }
