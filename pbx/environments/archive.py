"""A ``.tar`` stored into an environment stores its members: language packs come so.

Only plain files are taken, as ``name`` or ``language/name``; everything else in an archive (links,
devices, paths that lead elsewhere, folders in folders) refuses the whole of it.
"""

from __future__ import annotations

import io
import tarfile
from typing import Final

from pbx.domain.environments import MAX_FILE_BYTES, file_name
from pbx.kernel.errors import DomainError

SUFFIX: Final = ".tar"
MAX_MEMBERS: Final = 2000
"""Twice the prompts of a language; one append must not be larger than a record of Kafka may be."""
MAX_ARCHIVE_BYTES: Final = 200 * 1024 * 1024
_TAR: Final = "r:"  # no compression: a small bomb stays small


def members_of(name: str, data: bytes) -> dict[str, bytes]:
    """Files by the names they are stored under; `name` is that of the archive, and a language in
    front of it is that of all members. Raises :class:`DomainError`."""
    language = name.rpartition("/")[0]
    found: dict[str, bytes] = {}
    total = 0
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode=_TAR) as archive:
            for member in archive:
                if member.isdir():
                    continue
                stored = _stored_name(member, language)
                if member.size > MAX_FILE_BYTES:
                    raise DomainError(f"{stored} is larger than {MAX_FILE_BYTES} bytes")
                if len(found) >= MAX_MEMBERS:
                    raise DomainError(f"an archive has at most {MAX_MEMBERS} files: send several")
                total += member.size  # of a sparse member: what it grows to
                if total > MAX_ARCHIVE_BYTES:
                    raise DomainError(f"an archive holds at most {MAX_ARCHIVE_BYTES >> 20} MB")
                content = archive.extractfile(member)
                assert content is not None
                found[stored] = content.read()
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise DomainError(f"{name} is no tar archive: {error}") from None
    if not found:
        raise DomainError(f"{name} has no files in it")
    return found


def _stored_name(member: tarfile.TarInfo, language: str) -> str:
    if not member.isfile():
        raise DomainError(f"{member.name!r} in the archive is no plain file")
    name = member.name.removeprefix("./")
    return file_name(f"{language}/{name}" if language else name)
