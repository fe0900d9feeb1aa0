"""Files of applications: stored, replaced, deleted, refused; archives; what is told of programs."""

from __future__ import annotations

import io
import tarfile

import numpy as np
import pytest

from media.wav import build
from pbx.blobs import BlobError, MemoryBlobs
from pbx.commands import Administration
from pbx.domain.environments import MAX_FILE_BYTES
from pbx.environments import EnvironmentCommands
from pbx.environments.check import in_one_line
from pbx.eventlog import MemoryLog, Meta
from pbx.kernel.errors import DomainError
from pbx.settings_changes import THE_SERVER, Target

OWN = Target("domain", "example.org")
PROGRAM = b"entry main { void(AcceptCall()); }"
BROKEN = b"entry main {\n  PlayFile(\n}\n"


class Lab:
    def __init__(self) -> None:
        self.log = MemoryLog()
        Administration(self.log, actor="test").create_domain("example.org")
        self.blobs = MemoryBlobs()
        self.time_ns = 5_000_000_000
        self.commands = EnvironmentCommands(
            self.log,
            self.blobs,
            lambda: self.time_ns,
            lambda tenant: Meta(actor="test", tenant=tenant),
        )


@pytest.fixture
def lab() -> Lab:
    return Lab()


def wav(seconds: float = 0.1) -> bytes:
    return build(np.zeros(int(8000 * seconds), dtype=np.int16), 8000)


def tar(**members: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name.replace("__", "/"))
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def test_a_stored_file_is_read_back_by_any_spelling_of_its_name(lab: Lab) -> None:
    done = lab.commands.store(THE_SERVER, "SayHello.SPPR", PROGRAM)
    assert done.names == ("sayhello.sppr",)
    assert done.findings == ()
    assert lab.commands.read(THE_SERVER, "sayHELLO.sppr") == PROGRAM
    # One event, with the content elsewhere; the same once more is none.
    (record,) = [r for r in lab.log.read() if r.type.startswith("environment.")]
    assert record.event.size_bytes == len(PROGRAM)  # type: ignore[attr-defined]
    head = lab.log.head()
    lab.commands.store(THE_SERVER, "sayhello.sppr", PROGRAM)
    assert lab.log.head() == head


def test_composed_and_decomposed_names_are_one(lab: Lab) -> None:
    lab.commands.store(THE_SERVER, "caf\u00e9.txt", b"1")
    lab.commands.store(THE_SERVER, "cafe\u0301.txt", b"2")
    files, _ = lab.commands.files(THE_SERVER)
    assert list(files) == ["caf\u00e9.txt"]
    assert lab.commands.read(THE_SERVER, "CAFE\u0301.txt") == b"2"


def test_languages_must_be_there_unless_they_are_to_be_made(lab: Lab) -> None:
    with pytest.raises(DomainError, match="create it first"):
        lab.commands.store(OWN, "russian/a.txt", b"1")
    lab.commands.store(OWN, "russian/a.txt", b"1", create=True)
    files, languages = lab.commands.files(OWN)
    assert (dict(files), languages) == ({}, ["russian"])
    files, languages = lab.commands.files(OWN, "Russian")
    assert (list(files), languages) == (["a.txt"], [])
    lab.commands.delete(OWN, "russian")
    assert lab.commands.state(OWN).files == {}
    with pytest.raises(DomainError, match="no such environment"):
        lab.commands.files(OWN, "russian")


def test_a_program_with_errors_is_stored_and_its_errors_are_told(lab: Lab) -> None:
    done = lab.commands.store(THE_SERVER, "broken.sppr", BROKEN)
    assert lab.commands.read(THE_SERVER, "broken.sppr") == BROKEN
    first = done.findings[0]
    assert (first.source, first.line) == ("broken.sppr", 3)
    assert in_one_line(done.findings).startswith("broken.sppr:3:1: ")
    assert "\n" not in in_one_line(done.findings)
    assert lab.commands.store(THE_SERVER, "mod.sppi", b"\xff\xfe").findings[0].line == 1
    assert not lab.commands.store(THE_SERVER, "notes.txt", BROKEN).findings


@pytest.mark.parametrize(
    "data", [b"", b"RIFF", b"not a sound", wav()[:20], b"RIFX" + wav()[4:], b"ID3\x03" * 20]
)
def test_a_sound_that_nobody_could_hear_is_refused(lab: Lab, data: bytes) -> None:
    head = lab.log.head()
    with pytest.raises(DomainError, match=r"PCM of 8, 16 or 24 bits or G\.711"):
        lab.commands.store(THE_SERVER, "welcome.wav", data)
    assert lab.log.head() == head
    lab.commands.store(THE_SERVER, "welcome.wav", wav())
    told = lab.commands.store(THE_SERVER, "welcome.mp3", b"ID3\x03").findings
    assert [one.severity.value for one in told] == ["warning"]


def test_what_is_refused_leaves_nothing_behind(lab: Lab) -> None:
    for name in ("../a", "/a", "a/b/c", "", "a/", ".hidden", "a\0b", "x" * 200, "a\nb", "~a/b"):
        with pytest.raises(DomainError):
            lab.commands.store(THE_SERVER, name, b"1")
    with pytest.raises(DomainError, match="are the most"):
        lab.commands.store(THE_SERVER, "a.bin", bytes(MAX_FILE_BYTES + 1))
    with pytest.raises(DomainError, match="unknown file"):
        lab.commands.read(THE_SERVER, "a.bin")
    with pytest.raises(DomainError, match="unknown file"):
        lab.commands.remove(THE_SERVER, "a.bin")
    assert not lab.blobs._contents


def test_an_archive_is_stored_as_its_members(lab: Lab) -> None:
    pack = tar(**{"Welcome.wav": wav(), "french__welcome.wav": wav(0.2), "menu.sppr": PROGRAM})
    done = lab.commands.store(OWN, "pack.tar", pack)
    assert sorted(done.names) == ["french/welcome.wav", "menu.sppr", "welcome.wav"]
    assert lab.commands.read(OWN, "french/welcome.wav") == wav(0.2)
    lab.commands.store(OWN, "german/pack.tar", tar(**{"a.txt": b"1"}))
    assert lab.commands.state(OWN).languages == {"french", "german"}


def test_an_archive_with_one_wrong_member_stores_nothing(lab: Lab) -> None:
    head = lab.log.head()
    link = io.BytesIO()
    with tarfile.open(fileobj=link, mode="w") as archive:
        info = tarfile.TarInfo("a.txt")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(info)
    for data in (
        tar(**{"a.txt": b"1", "..__b.txt": b"2"}),
        tar(**{"a.txt": b"1", "b.wav": b"no sound"}),
        tar(**{"a__b__c.txt": b"1"}),
        link.getvalue(),
        tar(),
        b"no archive at all",
    ):
        with pytest.raises(DomainError):
            lab.commands.store(THE_SERVER, "pack.tar", data)
    assert lab.log.head() == head


def test_a_content_that_is_gone_is_told(lab: Lab) -> None:
    lab.commands.store(THE_SERVER, "a.txt", b"1")
    lab.blobs._contents.clear()
    with pytest.raises(BlobError):
        lab.commands.read(THE_SERVER, "a.txt")
