"""Which file a task sees (PBX applications reference §2)."""

from __future__ import annotations

import pytest

from pbx.script.builtins.registry import Environment
from pbx.script.environment import ApplicationFiles, Level, ProgramStore, TaskModules, safe_name
from pbx.script.errors import CompileError, ModuleMissing

Place = tuple[Level, str | None, str]


class Files:
    """Files in a dictionary; the domain level is that of ``example.org``."""

    def __init__(self, *places: Place) -> None:
        self.content = {
            place: f"{place[0].value}/{place[1]}/{place[2]}".encode() for place in places
        }

    def read(self, level: Level, domain: str, language: str | None, name: str) -> bytes | None:
        if level is Level.DOMAIN and domain != "example.org":
            return None
        return self.content.get((level, language, name))


EVERYWHERE: list[Place] = [
    (level, language, "a.wav") for language in ("russian", None) for level in Level
]


def test_search_order() -> None:
    """Language directories of all levels first, then the levels themselves."""
    files = Files(*EVERYWHERE)
    order = []
    environment = ApplicationFiles(files, "example.org")
    while (found := environment.find("A.wav", "russian")) is not None:
        order.append(found.path)
        del files.content[(found.level, found.language, found.name)]
    assert order == [
        "domain/russian/a.wav", "server/russian/a.wav", "stock/russian/a.wav",
        "domain/a.wav", "server/a.wav", "stock/a.wav",
    ]  # fmt: skip


def test_other_domains_and_languages_see_their_own() -> None:
    """No language means the root; another domain has another environment."""
    files = Files(*EVERYWHERE)
    found = ApplicationFiles(files, "other.test").find("a.wav", None)
    assert found is not None
    assert found.path == "server/a.wav"
    found = ApplicationFiles(files, "example.org").find("a.wav", "french")
    assert found is not None
    assert found.path == "domain/a.wav"


def test_media_without_its_end() -> None:
    """``.wav`` is tried first."""
    environment = ApplicationFiles(
        Files((Level.STOCK, None, "a.wav"), (Level.STOCK, None, "b.mp3")), "x"
    )
    found = environment.find_media("A", None)
    assert found is not None
    assert found.name == "a.wav"
    assert environment.find_media("b", "russian") is not None
    assert environment.find_media("c", None) is None


@pytest.mark.parametrize(
    "name", ["", "../a", "a/b", "a\\b", ".hidden", "a\0b", "x" * 200, "con:", "a\n", "  "]
)
def test_names_that_could_reach_elsewhere(name: str) -> None:
    """They name nothing."""
    assert safe_name(name) is None
    assert ApplicationFiles(Files(*EVERYWHERE), "example.org").find(name, "../..") is None


def test_programs_are_compiled_once_and_replaced_by_content() -> None:
    """A stored file takes effect for tasks to come; a running task keeps what it loaded."""
    files = Files()
    place = (Level.DOMAIN, None, "m.sppi")
    files.content[place] = b"function f() { return 1; }"
    environment = ApplicationFiles(files, "example.org")
    store = ProgramStore()
    modules = TaskModules(store, environment, Environment.REAL_TIME, None)
    first = modules.module("m")
    files.content[place] = b"function f() { return 2; }"
    assert modules.module("m") is first
    later = TaskModules(store, environment, Environment.REAL_TIME, None).module("m")
    assert later is not first
    files.content[place] = b"function f() {"
    for _ in range(2):
        with pytest.raises(CompileError):
            TaskModules(store, environment, Environment.REAL_TIME, None).module("m")
    with pytest.raises(ModuleMissing, match=r"no program x\.sppr"):
        store.program(environment, "x", None)
