"""What every ``FilePort`` promises: levels, languages, names; on directories and on the log."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pbx.blobs import FileBlobs, MemoryBlobs
from pbx.commands import Administration
from pbx.domain.environments import NO_ENVIRONMENT, SERVER_ENVIRONMENT, evolve_environment
from pbx.environments import EnvironmentCommands, EnvironmentFiles, StockFiles
from pbx.eventlog import MemoryLog, Meta
from pbx.script.environment import ApplicationFiles, FilePort, Level
from pbx.script.offline.files import OfflineFiles
from pbx.settings_changes import THE_SERVER, Target

DOMAIN = "example.org"
STREAMS = ("server", f"domain/{DOMAIN}")
Files = dict[tuple[Level, str], bytes]
Make = Callable[[Files], FilePort]


def on_directories(folder: Path, files: Files) -> FilePort:
    directories = {level: folder / level.value for level in Level}
    for (level, name), data in files.items():
        path = directories[level] / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return OfflineFiles(directories, imagine=False)


class OnLog:
    """A server's files, in its log and its blobs."""

    def __init__(self, folder: Path, stock: Files, *, cache_bytes: int = 1 << 20) -> None:
        for (_, name), data in stock.items():
            path = folder / "stock" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        self.log = MemoryLog()
        Administration(self.log, actor="test").create_domain(DOMAIN)
        self.blobs = FileBlobs(folder / "blobs")
        self.commands = EnvironmentCommands(
            self.log, self.blobs, lambda: 1, lambda tenant: Meta(tenant=tenant)
        )
        self.files = EnvironmentFiles(
            self.blobs, StockFiles([folder / "stock"]), cache_bytes=cache_bytes
        )
        self.position = self.log.head()
        self.files.load(self.log, STREAMS)

    def store(self, level: Level, name: str, data: bytes) -> None:
        self.commands.store(_target(level), name, data, create=True)
        self.follow()

    def follow(self) -> None:
        for record in self.log.read(self.position):
            self.files.apply(record)
            self.position = record.position


def _target(level: Level) -> Target:
    return THE_SERVER if level is Level.SERVER else Target("domain", DOMAIN)


def on_log(folder: Path, files: Files) -> FilePort:
    lab = OnLog(folder, {key: data for key, data in files.items() if key[0] is Level.STOCK})
    for (level, name), data in files.items():
        if level is not Level.STOCK:
            lab.store(level, name, data)
    return lab.files


@pytest.fixture(params=[on_directories, on_log], ids=["directories", "log"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    return lambda files: request.param(tmp_path, files)


def test_each_level_has_its_own_files(make: Make) -> None:
    port = make({(level, "a.txt"): level.value.encode() for level in Level})
    for level in Level:
        assert port.read(level, DOMAIN, None, "a.txt") == level.value.encode()
        assert port.read(level, DOMAIN, None, "b.txt") is None
        assert port.read(level, DOMAIN, "russian", "a.txt") is None


def test_a_domain_hides_the_server_which_hides_the_stock(make: Make) -> None:
    files = {(level, "a.txt"): level.value.encode() for level in Level}
    files |= {(level, "b.txt"): level.value.encode() for level in (Level.SERVER, Level.STOCK)}
    files |= {(Level.STOCK, "c.txt"): b"stock"}
    own = ApplicationFiles(make(files), DOMAIN)
    for name, level in (("A.TXT", Level.DOMAIN), ("b.txt", Level.SERVER), ("C.txt", Level.STOCK)):
        found = own.find(name, None)
        assert found is not None
        assert (found.level, found.data) == (level, level.value.encode())


def test_a_stock_prompt_in_the_language_beats_a_domain_prompt_in_another(make: Make) -> None:
    port = make(
        {
            (Level.STOCK, "russian/welcome.txt"): b"stock ru",
            (Level.DOMAIN, "welcome.txt"): b"own en",
        }
    )
    files = ApplicationFiles(port, DOMAIN)
    found = files.find("welcome.txt", "Russian")
    assert found is not None
    assert found.path == "stock/russian/welcome.txt"
    assert (files.find("welcome.txt", None) or found).data == b"own en"
    assert (files.find("welcome.txt", "german") or found).data == b"own en"


def test_names_that_lead_elsewhere_find_nothing(make: Make, tmp_path: Path) -> None:
    port = make({(Level.SERVER, "a.txt"): b"1"})
    (tmp_path / "secret.txt").write_bytes(b"secret")
    files = ApplicationFiles(port, DOMAIN)
    for name in ("../secret.txt", "..", ".", "", "/etc/passwd", "a\0.txt", "russian/../a.txt"):
        assert files.find(name, None) is None
        found = files.find("a.txt", name)  # a language that is none
        assert found is not None
        assert found.path == "server/a.txt"


# What the log adds: it changes while programs run.


@pytest.fixture
def lab(tmp_path: Path) -> OnLog:
    return OnLog(tmp_path, {(Level.STOCK, "welcome.txt"): b"stock"})


def seen(lab: OnLog, name: str = "welcome.txt", language: str | None = None) -> bytes | None:
    found = ApplicationFiles(lab.files, DOMAIN).find(name, language)
    return None if found is None else found.data


def test_what_is_stored_is_used_at_once_and_what_is_deleted_no_more(lab: OnLog) -> None:
    assert seen(lab) == b"stock"
    lab.store(Level.SERVER, "welcome.txt", b"server")
    lab.store(Level.DOMAIN, "welcome.txt", b"one")
    assert seen(lab) == b"one"
    lab.store(Level.DOMAIN, "Welcome.txt", b"two")
    assert seen(lab) == b"two"
    lab.commands.remove(_target(Level.DOMAIN), "welcome.txt")
    lab.follow()
    assert seen(lab) == b"server"
    lab.commands.remove(THE_SERVER, "welcome.txt")
    lab.follow()
    assert seen(lab) == b"stock"
    lab.store(Level.DOMAIN, "russian/welcome.txt", b"ru")
    assert seen(lab, language="russian") == b"ru"
    lab.commands.delete(_target(Level.DOMAIN), "russian")
    lab.follow()
    assert seen(lab, language="russian") == b"stock"


def test_a_domain_that_is_deleted_takes_its_files_along(lab: OnLog) -> None:
    lab.store(Level.DOMAIN, "welcome.txt", b"one")
    administration = Administration(lab.log, actor="test")
    administration.delete_domain(DOMAIN)
    lab.follow()
    assert seen(lab) == b"stock"
    administration.create_domain(DOMAIN)
    lab.follow()
    assert seen(lab) == b"stock"


def test_the_index_is_that_of_the_commands(lab: OnLog) -> None:
    """Live, loaded anew, and as the aggregate folds it: the same files."""
    for number in range(20):
        lab.store(Level.DOMAIN, f"french/{number % 7}.txt", bytes([number]))
        lab.store(Level.SERVER, f"{number % 5}.txt", bytes([number]))
    lab.commands.remove(THE_SERVER, "3.txt")
    lab.follow()
    again = EnvironmentFiles(lab.blobs, StockFiles([]))
    again.load(lab.log, STREAMS)
    assert again._index == lab.files._index
    for stream, state in (("server", SERVER_ENVIRONMENT), (f"domain/{DOMAIN}", NO_ENVIRONMENT)):
        for record in lab.log.read_stream(stream):
            state = evolve_environment(state, record.event)
        assert lab.files._index[stream] == {n: f.sha256 for n, f in state.files.items()}


def test_the_cache_is_bounded_and_a_lost_content_is_none(tmp_path: Path) -> None:
    lab = OnLog(tmp_path, {}, cache_bytes=100)
    for number in range(5):
        lab.store(Level.SERVER, f"{number}.txt", bytes([number]) * 40)
        assert seen(lab, f"{number}.txt") == bytes([number]) * 40
    assert lab.files.statistics() == {"files": 5, "cached": 2, "cached_bytes": 80}
    lab.store(Level.SERVER, "big.txt", b"x" * 101)
    assert seen(lab, "big.txt") == b"x" * 101
    assert lab.files.statistics()["cached_bytes"] == 80
    lost = EnvironmentFiles(MemoryBlobs(), StockFiles([]))
    lost.load(lab.log, STREAMS)
    assert lost.read(Level.SERVER, DOMAIN, None, "0.txt") is None
