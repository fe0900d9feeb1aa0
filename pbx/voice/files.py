"""Files of programs on this machine: stock programs and prompts, sounds to play, recordings.

Implements the file ports of :mod:`pbx.voice.host` and, for as long as environments hold nothing
more, :class:`~pbx.script.environment.FilePort` with what is shipped.
"""

from __future__ import annotations

import hashlib
import logging
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pbx.script.environment import MEDIA_SUFFIXES, Level
from pbx.script.source import MAX_SOURCE_BYTES

log = logging.getLogger("pbx.voice")

STOCK: Final = Path(__file__).parent.parent / "script" / "stock"
PROMPTS: Final = Path(__file__).parent.parent / "prompts"
MAX_MEDIA_BYTES: Final = 16 << 20
MAX_CACHED_BYTES: Final = 32 << 20
"""Stock files kept in memory: all that are shipped."""
MAX_SOUNDS: Final = 2000
"""Files written for the media service: prompts of all languages, and greetings."""
FOLDER: Final = "programs"
"""Below the folders of sounds and of recordings."""


class StockFiles:
    """What is shipped with the server, and the files of a folder of the administrator's."""

    def __init__(self, own: Path | None = None, directories: Sequence[Path] = ()) -> None:
        """`own` has the server-wide files, read anew each time; of `directories` (None: those that
        are shipped) the first that has a name wins. Languages are folders below."""
        self._own = own
        self._directories = tuple(directories) or (STOCK, PROMPTS)
        self._listings: dict[Path, dict[str, Path]] = {}
        self._contents: dict[Path, bytes] = {}
        self._size = 0

    def read(self, level: Level, domain: str, language: str | None, name: str) -> bytes | None:
        """See the port."""
        if level is Level.SERVER and self._own is not None:
            return _read(self._own / language / name if language else self._own / name)
        if level is not Level.STOCK:
            return None
        for directory in self._directories:
            path = self._listing(directory / language if language else directory).get(name)
            if path is not None:
                return self._content(path)
        return None

    def _listing(self, directory: Path) -> dict[str, Path]:
        known = self._listings.get(directory)
        if known is None:
            try:
                known = {one.name.lower(): one for one in directory.iterdir() if one.is_file()}
            except OSError:
                known = {}
            if len(self._listings) < 64:
                self._listings[directory] = known
        return known

    def _content(self, path: Path) -> bytes | None:
        known = self._contents.get(path)
        if known is not None:
            return known
        data = _read(path)
        if data is None:
            return None
        if self._size + len(data) <= MAX_CACHED_BYTES:
            self._size += len(data)
            self._contents[path] = data
        return data


def _read(path: Path) -> bytes | None:
    limit = MAX_MEDIA_BYTES if path.suffix.lower() in MEDIA_SUFFIXES else MAX_SOURCE_BYTES + 1
    try:
        return path.read_bytes() if path.stat().st_size <= limit else None
    except OSError:
        return None


class DiskSounds:
    """Sounds by their content, as files below the media service's sound folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / FOLDER
        self._known: OrderedDict[bytes, str] = OrderedDict()
        self._by_identity: OrderedDict[int, tuple[bytes, str]] = OrderedDict()

    def name_of(self, data: bytes) -> str:
        """Written when it is asked for first."""
        same = self._by_identity.get(id(data))
        if same is not None and same[0] is data:
            return same[1]
        digest = hashlib.sha256(data).digest()
        name = self._known.get(digest)
        if name is None:
            name = f"{FOLDER}/{digest.hex()[:40]}.wav"
            self._write(name, data)
            self._known[digest] = name
            while len(self._known) > MAX_SOUNDS:
                _, oldest = self._known.popitem(last=False)
                (self._folder.parent / oldest).unlink(missing_ok=True)
        else:
            self._known.move_to_end(digest)
        if len(data) < MAX_CACHED_BYTES // 64:
            # Prompts are the same objects again and again: no need to digest them each time.
            self._by_identity[id(data)] = (data, name)
            while len(self._by_identity) > 256:
                self._by_identity.popitem(last=False)
        return name

    def _write(self, name: str, data: bytes) -> None:
        path = self._folder.parent / name
        try:
            if path.is_file() and path.stat().st_size == len(data):
                return
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            part = path.with_suffix(".part")
            part.write_bytes(data)
            part.replace(path)
        except OSError as error:
            log.error("a sound cannot be written for the media service: %s", error)


class DiskRecordings:
    """Recordings below the media service's folder, each read once and removed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / FOLDER).mkdir(parents=True, exist_ok=True, mode=0o700)
        for left_over in (folder / FOLDER).glob("*.wav"):
            left_over.unlink(missing_ok=True)  # of a run that was killed

    def file_of(self, name: str) -> str:
        return f"{FOLDER}/{name}.wav"

    def take(self, name: str) -> bytes | None:
        if "/" in name or name.startswith("."):
            return None
        path = self._folder / self.file_of(name)
        try:
            if path.stat().st_size > MAX_MEDIA_BYTES:
                log.warning("a recording of %d bytes is too long for programs", path.stat().st_size)
                return None
            return path.read_bytes()
        except OSError:
            return None
        finally:
            path.unlink(missing_ok=True)
