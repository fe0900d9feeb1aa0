"""What programs do with files of accounts, run as programs."""

from __future__ import annotations

from collections.abc import Callable

from pbx.domain.storage import StorageLimits
from pbx.environments import FileStorage
from pbx.eventlog import Meta
from pbx.script.requests.base import HostRequest
from pbx.script.runtime.ports import Answer
from pbx.script.runtime.task import Task
from pbx.script.values import Value
from pbx.voice.storage import Run, StorageProvider
from tests.support.program_lab import DOMAIN, ProgramLab

META = Meta(actor="test")
ALICE, BOB = f"alice@{DOMAIN}", f"bob@{DOMAIN}"


def at_once(work: Callable[[], Value], done: Callable[[Value | Exception], None]) -> None:
    """Carry it out here and now."""
    try:
        outcome: Value | Exception = work()
    except Exception as error:  # noqa: BLE001 - whoever asked gets it
        outcome = error
    done(outcome)


class Lab(ProgramLab):
    """Programs whose file storage is a real one."""

    def __init__(self, text: str, run: Run = at_once) -> None:
        super().__init__(text)
        self.lines: list[str] = []
        self.observer.logged = lambda task, text: self.lines.append(text)  # type: ignore[method-assign]
        limits = StorageLimits(total_bytes=2 << 20, files=10)
        self.storage = FileStorage(
            self.log, self.blobs, lambda: 7_000_000_000, lambda account: limits
        )
        self.administrators: set[str] = set()
        provider = StorageProvider(
            self.storage,
            run,
            self.node.answer,
            account_of=lambda name, domain: (
                f"{name}@{domain}" if name in ("alice", "bob") and domain == DOMAIN else ""
            ),
            administers=lambda who, owner: who in self.administrators,
        )
        self.node.services = _Services(self, provider)

    def told(self) -> list[str]:
        """What the program wrote into the log."""
        self.control.start("x", account=ALICE)
        self.pump()
        assert not self.node.tasks
        return self.lines


class _Services:
    """The provider before the services of the scenario."""

    def __init__(self, lab: Lab, provider: StorageProvider) -> None:
        self._others = lab.run.services
        self._handlers = provider.handlers()

    def perform(self, task: Task, request: HostRequest) -> Answer:
        handler = self._handlers.get(type(request))
        return self._others.perform(task, request) if handler is None else handler(task, request)

    def language_of(self, account: str | None) -> str | None:
        return self._others.language_of(account)

    def zone_of(self, account: str | None) -> str | None:
        return self._others.zone_of(account)


def test_a_program_writes_reads_and_lists_its_files() -> None:
    lab = Lab("""
entry main {
  SysLog(WriteStorageFile("greetings/a.txt","hello"));
  SysLog(AppendStorageFile("greetings/a.txt"," world"));
  SysLog(String(ReadStorageFile("greetings/a.txt")));
  var part = NewDictionary(); part.fileName = "greetings/a.txt"; part.position = 6; part.limit = 3;
  SysLog(String(ReadStorageFile(part)));
  part.position = "new"; SysLog(WriteStorageFile(part,"x"));
  part.position = 0; SysLog(WriteStorageFile(part,"HELLO again"));
  part.position = 5; SysLog(WriteStorageFile(part,"-"));
  SysLog(String(ReadStorageFile("greetings/a.txt")));
  SysLog(ListStorageFiles("greetings")); SysLog(ListStorageFiles(""));
  SysLog(RenameStorageFile("greetings/a.txt","greetings/b.txt"));
  SysLog(DeleteStorageFile("greetings/a.txt"));
  SysLog(DeleteStorageDirectory("greetings"));
  SysLog(DeleteStorageFile("greetings/b.txt")); SysLog(DeleteStorageDirectory("greetings"));
  SysLog(CreateStorageDirectory("new")); SysLog(RenameStorageDirectory("new","newer"));
  SysLog(ReadStorageFile("nowhere")); SysLog(ListStorageFiles("nowhere"));
}
""")
    moment = "#T01-01-1970_00:00:07"
    assert lab.told() == [
        "#null#", "#null#", "hello world", "wor", "the file exists already", "#null#", "#null#",
        "HELLO-again",
        f"{{a.txt={{MetaModified={moment};STCreated={moment};STFileSize=#11;STModified={moment};}};}}",
        f"{{greetings={{MetaModified={moment};STCreated={moment};STModified={moment};}};}}",
        "#null#", "unknown file", "the directory is not empty", "#null#", "#null#", "#null#",
        "#null#", "#null#", "#null#",
    ]  # fmt: skip
    actors = {record.actor for record in lab.log.read(types=("file.*",))}
    assert actors == {ALICE}


def test_files_of_others_need_a_right() -> None:
    text = """
entry main {
  SysLog(ReadStorageFile("~bob/shared/a.txt"));
  SysLog(ReadStorageFile("~bob@example.org/private/a.txt"));
  SysLog(WriteStorageFile("~bob/shared/a.txt","x"));
  SysLog(WriteStorageFile("~nobody/a.txt","x"));
  SysLog(WriteStorageFile("~bob@elsewhere.org/a.txt","x"));
  SysLog(RenameStorageFile("~bob/shared/a.txt","mine.txt"));
}
"""
    lab = Lab(text)
    for name in ("shared/a.txt", "private/a.txt"):
        lab.storage.write(BOB, name, b"secret", META)
    no = "insufficient access rights"
    unknown = "unknown user account"
    assert lab.told() == ["#null#", "#null#", no, unknown, unknown, no]
    lab.lines.clear()
    acl = f'<ACL><subKey key="{ALICE}">r</subKey></ACL>'
    lab.storage.set_attributes(BOB, "shared", [acl], META)
    assert lab.told()[:3] == ["[c2VjcmV0]", "#null#", no]
    lab.lines.clear()
    lab.administrators.add(ALICE)
    assert lab.told()[:3] == ["[c2VjcmV0]", "[c2VjcmV0]", "#null#"]
    assert lab.lines[-1] == "a file stays in the storage it is in"


def test_attributes() -> None:
    lab = Lab("""
entry main {
  void(WriteStorageFile("a","x"));
  SysLog(ReadStorageFileAttr("a",null));
  var list = NewArray(); list[0] = NewXML("color");
  SysLog(WriteStorageFileAttr("a",list));
  SysLog(ReadStorageFileAttr("a","color")); SysLog(ReadStorageFileAttr("a","size"));
  list[0] = "no XML"; SysLog(WriteStorageFileAttr("a",list));
  SysLog(ReadStorageFileAttr("nowhere",null));
}
""")
    assert lab.told() == [
        "()", "#null#", "(<color/>)", "()", "attributes are an array of XML objects",
        "unknown file",
    ]  # fmt: skip


def test_limits_and_large_files() -> None:
    lab = Lab("""
entry main {
  var s = "0123456789abcdef", n;
  for(n = 0; n < 16; n += 1) { s = s + s; }
  SysLog(WriteStorageFile("a",s)); SysLog(ReadStorageFile("a") != null);
  SysLog(AppendStorageFile("a","x")); SysLog(ReadStorageFile("a"));
  var part = NewDictionary(); part.fileName = "a"; part.position = 1048576;
  SysLog(String(ReadStorageFile(part)));
  SysLog(AppendStorageFile("a",s));
  SysLog(WriteStorageFile("../x","1")); SysLog(WriteStorageFile("b",5));
}
""")
    told = lab.told()
    assert told[:6] == [
        "#null#", "YES", "#null#", "#null#", "x",
        "the storage is full: it may hold 2097152 bytes",
    ]  # fmt: skip
    assert told[6].startswith("incorrect file name")
    assert told[7] == "expected the name of a file, and a datablock or a string"


def test_a_storage_with_too_much_to_do_refuses() -> None:
    lab = Lab('entry main { SysLog(WriteStorageFile("a","x")); SysLog(ReadStorageFile("a")); }',
              run=lambda work, done: False)  # fmt: skip
    assert lab.told() == ["503-the file storage has too much to do", "#null#"]
