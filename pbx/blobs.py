"""Files named by the SHA-256 of what is in them, in ``blobs/`` of the data directory.

Whoever appends an event that names a blob stores the blob first. The same content is stored once; a
blob never changes.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from pathlib import Path
from typing import Protocol

from pbx.kernel.errors import PbxError


class BlobError(PbxError):
    """A blob cannot be stored, or is not there; the text says why."""


class BlobStore(Protocol):
    """Contents by their hash."""

    def put(self, content: bytes) -> str:
        """Store; durable on return. Returns the SHA-256 in hexadecimal. Raises
        :class:`BlobError`."""
        ...

    def get(self, sha256: str) -> bytes:
        """The content. Raises :class:`BlobError` if it is missing or altered."""
        ...

    def discard(self, sha256: str) -> int:
        """Delete a content that no event needs any more. Returns the bytes set free, 0 if it was
        not there. Raises :class:`BlobError`."""
        ...


class FileBlobs:
    """Blobs in a folder, ``ab/abcdef…``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, content: bytes) -> str:
        name = hashlib.sha256(content).hexdigest()
        path = self._path(name)
        if path.exists():
            return name
        draft = path.with_name(f"{name}.{secrets.token_hex(4)}.new")
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with draft.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
            _sync_folder(path.parent)
        except OSError as error:
            with contextlib.suppress(OSError):  # the folder itself may be what is wrong
                draft.unlink(missing_ok=True)
            raise BlobError(f"cannot store a file: {error.strerror or error}") from error
        return name

    def get(self, sha256: str) -> bytes:
        try:
            content = self._path(sha256).read_bytes()
        except OSError as error:
            raise BlobError(f"the file {sha256} cannot be read: {error.strerror}") from error
        if hashlib.sha256(content).hexdigest() != sha256:
            raise BlobError(f"the file {sha256} was altered")
        return content

    def discard(self, sha256: str) -> int:
        path = self._path(sha256)
        try:
            size = path.stat().st_size
            path.unlink()
        except FileNotFoundError:
            return 0
        except OSError as error:
            raise BlobError(f"the file {sha256} cannot be deleted: {error.strerror}") from error
        return size

    def _path(self, name: str) -> Path:
        return self._folder / name[:2] / name


class MemoryBlobs:
    """Blobs in a dictionary, for tests and the simulator."""

    def __init__(self) -> None:
        self._contents: dict[str, bytes] = {}

    def put(self, content: bytes) -> str:
        name = hashlib.sha256(content).hexdigest()
        self._contents[name] = content
        return name

    def get(self, sha256: str) -> bytes:
        try:
            return self._contents[sha256]
        except KeyError:
            raise BlobError(f"the file {sha256} cannot be read") from None

    def discard(self, sha256: str) -> int:
        return len(self._contents.pop(sha256, b""))


def _sync_folder(folder: Path) -> None:
    """The name of a file survives a power cut only with its folder."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
