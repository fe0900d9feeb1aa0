"""A file system of a few megabytes that can be filled to the last byte. Mounting it needs root."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def small_file_system(place: Path, size_mb: int = 8) -> Iterator[bool]:
    """Mount one at `place`; False where that is not allowed."""
    place.mkdir()
    options = f"size={size_mb}m,mode=700"
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
    mounted = os.geteuid() == 0 and subprocess.run(command, check=False).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            # Lazily: a test that failed may have left files open, and its own words count.
            subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(place: Path) -> Path:
    """Take what is left; delete the file that is returned to give it back."""
    filler = place / "filler"
    for size in (65_536, 1):
        with filler.open("ab", buffering=0) as file:
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                continue
    return filler
