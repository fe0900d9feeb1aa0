"""Names and sizes of files: whatever is asked for, nothing leaves its place."""

from __future__ import annotations

import contextlib
from pathlib import PurePosixPath

from hypothesis import given
from hypothesis import strategies as s

from pbx.domain import environments as env
from pbx.domain import storage as st
from pbx.environments.archive import members_of
from pbx.environments.rights import Right, granted
from pbx.kernel.errors import DomainError
from pbx.script.environment import safe_name

NASTY = s.text(
    alphabet=s.sampled_from([*'ab.~/\\:*?"<>| \0\n\t', "e", "\u0301", "\u202e", "\u0130"]),
    max_size=30,
)
NAMES = NASTY | s.text(max_size=40)


@given(NAMES)
def test_a_file_name_is_one_component_and_its_own_stored_form(text: str) -> None:
    try:
        name = env.file_name(text)
    except DomainError:
        return
    parts = name.split("/")
    assert 1 <= len(parts) <= 2
    assert all(part not in ("", ".", "..") and len(part) <= 128 for part in parts)
    assert not PurePosixPath(name).is_absolute()
    assert env.file_name(name) == name


@given(NAMES)
def test_what_can_be_stored_can_be_asked_for(text: str) -> None:
    """The name that programs use leads to the name that administrators stored."""
    try:
        stored = env.file_name(text)
    except DomainError:
        return
    if "/" not in stored:
        assert safe_name(text.strip()) == stored


@given(NAMES)
def test_a_path_never_climbs(text: str) -> None:
    try:
        path = st.path_name(text)
    except DomainError:
        return
    parts = path.split("/") if path else []
    assert len(parts) <= st.MAX_DEPTH
    assert all(part and not part.startswith((".", "~")) and part.isprintable() for part in parts)
    assert st.path_name(path) == path


@given(s.binary(max_size=2000))
def test_no_archive_breaks_out(data: bytes) -> None:
    with contextlib.suppress(DomainError):
        members = members_of("pack.tar", data)
        assert all(env.file_name(name) == name for name in members)


@given(NAMES, s.text(max_size=200))
def test_private_files_are_granted_to_nobody(path: str, attribute: str) -> None:
    acl = '<ACL><subKey key="anyone">lriwx</subKey></ACL>' + attribute
    entry = st.StoredEntry(0, 0, None, (acl,))
    state = st.StorageState(1, {path: entry, "private": entry, f"private/{path}": entry})
    for right in Right:
        assert not granted(state, f"private/{path}", "a@x", "b@y", right)


OPERATIONS = s.lists(
    s.tuples(
        s.sampled_from(["write", "append", "delete", "rename", "mkdir"]),
        s.sampled_from(["a", "b", "d/a", "d/b", "d/e/a", "d", "d/e", "private/a", "private"]),
        s.sampled_from(["a", "b", "d/c", "f/a", "d", "private/b"]),
        s.integers(0, 40),
    ),
    max_size=40,
)


@given(OPERATIONS)
def test_storage_stays_whole_and_within_its_limits(
    operations: list[tuple[str, str, str, int]],
) -> None:
    """Against a plain dictionary of sizes: what is refused changes nothing, the rest agrees."""
    limits = st.StorageLimits(total_bytes=100, files=4, file_bytes=60)
    state = st.evolve_storage(st.NO_STORAGE, st.StorageOpened(account_version=1))
    model: dict[str, int] = {}
    for number, (what, name, other, size) in enumerate(operations):
        part = st.Part(f"{number}", size)
        try:
            match what:
                case "write":
                    events = st.decide_write(state, name, part, number, limits)
                    model[name] = size
                case "append":
                    events = st.decide_append(state, name, part, number, limits)
                    model[name] = model.get(name, 0) + size
                case "delete":
                    events = st.decide_delete_entry(state, name)
                    model.pop(name, None)
                case "rename":
                    events = st.decide_rename_entry(state, name, other, number)
                    model = {
                        other + path.removeprefix(name)
                        if path == name or path.startswith(f"{name}/")
                        else path: kept
                        for path, kept in model.items()
                    }
                case _:
                    events = st.decide_make_directory(state, name, number)
        except DomainError:
            continue
        for event in events:
            state = st.evolve_storage(state, event)
        sizes = {p: e.size_bytes for p, e in state.entries.items() if not e.is_directory}
        assert sizes == model
        assert state.total_bytes <= 100
        assert state.files <= 4
        for path in state.entries:
            assert state.has_directory(path.rpartition("/")[0]), path
