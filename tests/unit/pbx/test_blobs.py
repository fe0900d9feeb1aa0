"""Files named by their hash."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from pbx.blobs import BlobError, BlobStore, FileBlobs, MemoryBlobs


@pytest.fixture(params=["files", "memory"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    return FileBlobs(tmp_path / "blobs") if request.param == "files" else MemoryBlobs()


def test_what_is_put_can_be_had_by_its_hash(blobs: BlobStore) -> None:
    for content in (b"", b"one", b"\0" * 100_000):
        name = blobs.put(content)
        assert name == hashlib.sha256(content).hexdigest()
        assert blobs.put(content) == name
        assert blobs.get(name) == content


def test_what_is_not_there_is_said(blobs: BlobStore) -> None:
    with pytest.raises(BlobError, match="cannot be read"):
        blobs.get("0" * 64)


def test_what_was_altered_is_not_given(tmp_path: Path) -> None:
    blobs = FileBlobs(tmp_path)
    name = blobs.put(b"content")
    (tmp_path / name[:2] / name).write_bytes(b"other")
    with pytest.raises(BlobError, match="altered"):
        blobs.get(name)


def test_a_place_that_takes_nothing_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "blobs").write_bytes(b"a file where a folder should be")
    with pytest.raises(BlobError, match="cannot store"):
        FileBlobs(tmp_path / "blobs").put(b"x")
