"""Files for offline runs: directories on disk, files in memory, prompts that are imagined."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Final

from pbx.script.environment import MEDIA_SUFFIXES, Level
from pbx.script.source import MAX_SOURCE_BYTES

SAMPLE_RATE_HZ: Final = 8000
_WAV: Final = struct.Struct("<4sI4s4sIHHIIHH4sI")
NOMINAL_MS: Final = 1000
"""Length of a prompt that exists only as a name."""
MAX_MEDIA_BYTES: Final = 16 << 20


def silence_wav(milliseconds: int) -> bytes:
    """A WAV file (mono, 16 bit, 8000 Hz) of silence."""
    size = SAMPLE_RATE_HZ * 2 * milliseconds // 1000
    header = _WAV.pack(
        b"RIFF", 36 + size, b"WAVE", b"fmt ", 16, 1, 1,
        SAMPLE_RATE_HZ, SAMPLE_RATE_HZ * 2, 2, 16, b"data", size,
    )  # fmt: skip
    return header + bytes(size)


def wav_milliseconds(data: bytes) -> int:
    """Length of a WAV file; 0 for anything else."""
    if len(data) < 12 or data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        return 0
    at = 12
    bytes_per_second = 0
    while at + 8 <= len(data):
        name = data[at : at + 4]
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        if name == b"fmt " and at + 24 <= len(data):
            bytes_per_second = int.from_bytes(data[at + 16 : at + 20], "little")
        elif name == b"data" and bytes_per_second:
            present = min(size, len(data) - at - 8)
            return present * 1000 // bytes_per_second
        at += 8 + size + size % 2
    return 0


class OfflineFiles:
    """A :class:`~pbx.script.environment.FilePort` over one directory for each level."""

    def __init__(
        self,
        directories: dict[Level, Path] | None = None,
        *,
        extra: dict[str, bytes] | None = None,
        imagine: bool = True,
    ) -> None:
        """`extra` files (``name`` or ``language/name``) hide those on disk.

        With `imagine`, every media file exists: as a second of silence.
        """
        self._directories = directories or {}
        self._extra = {name.lower(): data for name, data in (extra or {}).items()}
        self._imagine = imagine
        self._listings: dict[Path, dict[str, Path]] = {}
        self.imagined: set[str] = set()
        """Names of media files that were asked for and do not exist."""

    def read(self, level: Level, domain: str, language: str | None, name: str) -> bytes | None:
        """See the port."""
        if level is Level.DOMAIN:
            path = f"{language}/{name}" if language else name
            if path in self._extra:
                return self._extra[path]
        directory = self._directories.get(level)
        if directory is not None:
            found = self._find(directory / language if language else directory, name)
            if found is not None:
                return found
        if (
            self._imagine
            and level is Level.STOCK
            and language is None
            and name.endswith(MEDIA_SUFFIXES[0])
        ):
            self.imagined.add(name)
            return silence_wav(NOMINAL_MS)
        return None

    def _find(self, directory: Path, name: str) -> bytes | None:
        listing = self._listings.get(directory)
        if listing is None:
            try:
                listing = {one.name.lower(): one for one in directory.iterdir() if one.is_file()}
            except OSError:
                listing = {}
            self._listings[directory] = listing
        path = listing.get(name)
        limit = MAX_MEDIA_BYTES if name.endswith(MEDIA_SUFFIXES) else MAX_SOURCE_BYTES + 1
        if path is None or path.stat().st_size > limit:
            return None
        return path.read_bytes()
