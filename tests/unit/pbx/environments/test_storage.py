"""File storage of accounts: positions, directories, limits, parts, who owns it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pbx.blobs import MemoryBlobs
from pbx.commands import Administration
from pbx.domain import storage as st
from pbx.domain.configuration import Configuration
from pbx.domain.storage import NO_LIMITS, StorageLimits
from pbx.environments import FileStorage, Position, Right, granted, limits_in_log
from pbx.environments.rights import administers_files
from pbx.eventlog import MemoryLog, Meta
from pbx.kernel.errors import DomainError
from pbx.settings_changes import SettingsChanges, Target, read

ALICE, BOB = "alice@example.org", "bob@example.org"
META = Meta(actor="test")


class Lab:
    def __init__(self) -> None:
        self.log = MemoryLog()
        self.administration = Administration(self.log, actor="test")
        self.administration.create_domain("example.org")
        for address in (ALICE, BOB):
            self.administration.create_account(address)
        self.limits = NO_LIMITS
        self.blobs = MemoryBlobs()
        self.time_ns = 0
        self.storage = self.new()

    def new(self) -> FileStorage:
        return FileStorage(self.log, self.blobs, self.now, lambda account: self.limits)

    def now(self) -> int:
        self.time_ns += 1
        return self.time_ns

    def write(self, name: str, data: bytes, position: Position | int = Position.REPLACE) -> None:
        self.storage.write(ALICE, name, data, META, position)

    def read(self, name: str, offset: int = 0, size: int | None = None) -> bytes:
        return self.storage.read(ALICE, name, offset, size).data


@pytest.fixture
def lab() -> Lab:
    return Lab()


def test_positions_of_writing(lab: Lab) -> None:
    lab.write("a", b"0123456789")
    lab.write("a", b"XY", Position.BEGINNING)
    assert lab.read("a") == b"XY23456789"
    lab.write("a", b"--", 4)
    assert lab.read("a") == b"XY23--6789"
    lab.write("a", b"tail", 10)
    lab.write("a", b"!", Position.END)
    assert lab.read("a") == b"XY23--6789tail!"
    assert lab.read("a", 10) == b"tail!"
    assert lab.read("a", 2, 4) == b"23--"
    assert lab.read("a", 100) == b""
    lab.write("a", b"new", 0)
    assert lab.read("a") == b"new"
    lab.write("b", b"made", Position.END)
    lab.write("c", b"made", Position.NEW)
    for name, position in (("a", Position.NEW), ("a", 4), ("z", Position.BEGINNING), ("z", 1)):
        with pytest.raises(DomainError):
            lab.write(name, b"x", position)
    assert lab.storage.usage(ALICE) == (11, 3)


def test_appending_does_not_store_the_whole_again(lab: Lab) -> None:
    whole = b""
    for number in range(st.MAX_PARTS + 5):
        line = f"line {number}\n".encode()
        lab.write("private/logs/calls", line, Position.END)
        whole += line
    assert lab.read("private/logs/calls") == whole
    entry = lab.storage.state(ALICE).file("private/logs/calls")
    assert entry is not None
    # Made one part once, when it had become too many.
    assert len(entry.parts or ()) == 5
    assert lab.read("private/logs/calls", 5, 10) == whole[5:15]


def test_directories(lab: Lab) -> None:
    lab.write("a/b/c.txt", b"1")
    lab.storage.make_directory(ALICE, "a/empty/", META)
    assert list(lab.storage.listing(ALICE)) == ["a"]
    assert [
        (name, entry.is_directory) for name, entry in lab.storage.listing(ALICE, "/a/").items()
    ] == [("b", True), ("empty", True)]
    assert lab.storage.listing(ALICE, "private") == {}
    lab.storage.rename(ALICE, "a", "z/y", META)
    assert lab.read("z/y/b/c.txt") == b"1"
    changes: list[Callable[[], object]] = [
        lambda: lab.storage.make_directory(ALICE, "z", META),
        lambda: lab.storage.make_directory(ALICE, "z/y/b/c.txt", META),
        lambda: lab.write("z/y", b"1"),
        lambda: lab.write("z/y/b/c.txt/d", b"1"),
        lambda: lab.storage.delete(ALICE, "z/y", META),
        lambda: lab.storage.delete(ALICE, "z/y/empty", META, directory=False),
        lambda: lab.storage.delete(ALICE, "nowhere", META),
        lambda: lab.storage.rename(ALICE, "z", "z/inside", META),
        lambda: lab.storage.rename(ALICE, "z/y/b", "z/y/empty", META),
        lambda: lab.storage.rename(ALICE, "z/y/b", "private", META),
        lambda: lab.storage.listing(ALICE, "nowhere"),
    ]
    for change in changes:
        head = lab.log.head()
        with pytest.raises(DomainError):
            change()
        assert lab.log.head() == head
    lab.storage.delete(ALICE, "z/y/empty", META)
    lab.storage.delete(ALICE, "z/y/b/c.txt", META)
    lab.storage.delete(ALICE, "z/y/b", META, directory=True)


@pytest.mark.parametrize(
    "name",
    ["", "/", "..", "a/../b", "a//b", ".hidden", "~bob/a", "a\\b", "a\nb", "a:b", " a", "x" * 129,
     "/".join("a" * 17)],
)  # fmt: skip
def test_names_that_are_none(lab: Lab, name: str) -> None:
    with pytest.raises(DomainError):
        lab.write(name, b"1")


def test_limits_of_the_account(lab: Lab) -> None:
    lab.limits = StorageLimits(total_bytes=10, files=2, file_bytes=8)
    lab.write("a", b"12345678")
    for name, data, position in (
        ("b", b"123", Position.REPLACE),
        ("a", b"9", Position.END),
        ("a", b"123456789", Position.REPLACE),
    ):
        with pytest.raises(DomainError, match=r"full|most"):
            lab.write(name, data, position)
    lab.write("a", b"1")  # less is never refused
    lab.write("b", b"1")
    with pytest.raises(DomainError, match="2 files"):
        lab.write("c", b"")
    lab.limits = NO_LIMITS
    with pytest.raises(DomainError, match="at most"):
        lab.write("c", bytes(st.MAX_FILE_BYTES + 1))


def test_limits_are_settings_on_all_levels(lab: Lab) -> None:
    changes = SettingsChanges(lab.log, actor="test")
    limits = limits_in_log(lab.log)
    assert limits(ALICE) == StorageLimits(100 << 20, 1000, None)
    changes.update(Target("server"), "account-defaults", {"MaxWebSize": "5M"})
    changes.update(Target("domain", "example.org"), "account-defaults", {"MaxWebFiles": "7"})
    changes.update(Target("account", ALICE), "settings", {"MaxFileSize": "2K"})
    assert limits(ALICE) == StorageLimits(5 << 20, 7, 2048)
    assert limits(BOB) == StorageLimits(5 << 20, 7, None)
    changes.update(Target("account", BOB), "settings", {"MaxWebSize": "unlimited"})
    assert limits(BOB).total_bytes is None


def test_a_new_account_of_an_old_name_begins_empty(lab: Lab) -> None:
    lab.write("a", b"secret")
    lab.storage.subscribe(ALICE, ["~bob/x"], META)
    lab.administration.delete_account(ALICE)
    with pytest.raises(DomainError, match="unknown user account"):
        lab.read("a")
    lab.administration.create_account(ALICE)
    assert lab.storage.usage(ALICE) == (0, 0)
    with pytest.raises(DomainError, match="unknown file"):
        lab.read("a")
    lab.write("b", b"mine")
    assert list(lab.storage.listing(ALICE)) == ["b"]
    assert lab.storage.state(ALICE).subscribed == ()


def test_all_of_it_moves_with_a_renamed_account(lab: Lab) -> None:
    lab.write("a/b", b"1")
    lab.write("a/b", b"2", Position.END)
    lab.storage.set_attributes(ALICE, "a", ["<x>1</x>"], META)
    lab.storage.subscribe(ALICE, ["~bob/x"], META)
    lab.storage.move(ALICE, BOB, META)
    assert lab.storage.read(BOB, "a/b").data == b"12"
    assert lab.storage.attributes(BOB, "a") == ("<x>1</x>",)
    assert lab.storage.state(BOB).subscribed == ("~bob/x",)
    with pytest.raises(DomainError, match="already"):
        lab.storage.move(ALICE, BOB, META)


def test_another_process_sees_what_was_written_and_neither_is_lost(lab: Lab) -> None:
    other = lab.new()
    lab.write("a", b"1")
    other.write(ALICE, "a", b"2", META, Position.END)
    lab.write("a", b"3", Position.END)
    assert other.read(ALICE, "a").data == b"123"
    # Whoever writes into the middle of what somebody else has changed meanwhile reads it again.
    state = lab.storage.state
    raced: list[Callable[[], None]] = [lambda: other.write(ALICE, "a", b"456789", META)]

    def racing(account: str) -> st.StorageState:
        found = state(account)
        if raced:
            raced.pop()()
        return found

    lab.storage.state = racing  # type: ignore[method-assign]
    lab.write("a", b"-", 1)
    assert other.read(ALICE, "a").data == b"4-6789"


def test_rights_come_from_the_nearest_attribute(lab: Lab) -> None:
    acl = "<ACL><subKey key='bob@example.org'>lr</subKey><subKey key=\"anyone@\">l</subKey></ACL>"
    lab.write("shared/inner/a", b"1")
    lab.write("private/a", b"1")
    for name in ("shared", "private/a"):
        lab.storage.set_attributes(ALICE, name, ["<color>red</color>", acl], META)
    state = lab.storage.state(ALICE)

    def may(path: str, who: str, right: Right) -> bool:
        return granted(state, path, ALICE, who, right)

    assert may("shared/inner/a", BOB, Right.READ)
    assert may("shared/inner/new", BOB, Right.LIST)
    assert not may("shared/inner/a", BOB, Right.WRITE)
    assert not may("shared/inner/a", BOB, Right.DELETE)
    assert may("shared", "carol@example.org", Right.LIST)
    assert not may("shared", "carol@example.org", Right.READ)
    assert not may("shared", "bob@elsewhere.org", Right.LIST)
    assert not may("private/a", BOB, Right.READ)
    assert not may("", BOB, Right.LIST)
    lab.storage.set_attributes(ALICE, "shared/inner", ["<ACL></ACL>"], META)
    state = lab.storage.state(ALICE)
    assert not may("shared/inner/a", BOB, Right.READ)


@pytest.mark.parametrize(
    ("rights", "own", "other", "elsewhere"),
    [
        ((), False, False, False),
        (("Domain",), False, False, False),
        (("CanAccessWebSites",), False, False, False),
        (("Domain", "CanAccessWebSites"), True, True, False),
        (("Master",), True, True, True),
    ],
)
def test_administrators_of_files(
    lab: Lab, rights: tuple[str, ...], own: bool, other: bool, elsewhere: bool
) -> None:
    """Of the own domain, of one that names it, of a third; a Master of the main domain."""
    for domain in ("other.org", "third.org"):
        lab.administration.create_domain(domain)
    changes = SettingsChanges(lab.log, actor="test")
    changes.update(Target("domain", "other.org"), "settings", {"AdminDomainName": "Example.org"})
    changes.set_rights(ALICE, list(rights))

    def configuration_of(stream: str) -> Configuration:
        kind, _, name = stream.partition("/")
        return read(lab.log, Target(kind, name))[0]

    def may(owner: str, main_domain: str = "example.org") -> bool:
        return administers_files(ALICE, owner, configuration_of, main_domain)

    assert (may(BOB), may("x@other.org"), may("x@third.org")) == (own, other, elsewhere)
    if "Master" in rights:  # which counts in the main domain only
        assert not may("x@third.org", main_domain="third.org")
