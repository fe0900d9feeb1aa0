"""The file of the configuration database: its life, its troubles, who brings it level."""

from __future__ import annotations

import os
import sqlite3
import threading
from pathlib import Path

import pytest

from pbx.configdb import FILE, ConfigDb, ConfigUnavailable, Noted, StoredInventory, open_config
from pbx.configdb import store as store_module
from pbx.configdb.fold import Fold
from pbx.domain.accounts import (
    AccountAliasesSet,
    AccountCreated,
    AccountDeleted,
    AccountPasswordSet,
    DomainCreated,
    DomainDeleted,
)
from pbx.domain.calls import LegDigit
from pbx.domain.environments import EnvironmentCreated, EnvironmentFileStored
from pbx.domain.meetings import MeetingSet
from pbx.domain.rules import DatasetEntryAdded
from pbx.domain.setting_events import (
    AccountSettingsChanged,
    DomainSettingsChanged,
    ServerSettingsChanged,
)
from pbx.eventlog import ANY_VERSION, Codec, EmbeddedLog, MemoryLog, Meta, Record, open_log
from pbx.kernel.events import Event

SECRET = "0123456789abcdef" * 2


def append(log: EmbeddedLog | MemoryLog, stream: str, *events: Event) -> int:
    return log.append(stream, ANY_VERSION, list(events), Meta())


def made(log: EmbeddedLog | MemoryLog, name: str = "al") -> None:
    append(log, f"account/{name}@x.un", AccountCreated(name=name, domain="x.un"))


@pytest.fixture
def log(tmp_path: Path) -> EmbeddedLog:
    log = open_log(tmp_path)
    append(log, "domain/x.un", DomainCreated(name="x.un", aliases=("y.un",)))
    made(log)
    return log


def names(database: ConfigDb, log: EmbeddedLog | MemoryLog) -> list[str]:
    inventory = StoredInventory(database).refresh(log)
    found = [account.name for account in inventory.accounts.values()]
    inventory.close()
    return found


def test_it_is_made_of_the_log_and_only_its_owner_reads_it(
    log: EmbeddedLog, tmp_path: Path
) -> None:
    database = open_config(tmp_path)
    assert names(database, log) == ["al"]
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
    assert database.advance(log) == log.head()


def test_a_start_folds_only_what_is_behind(
    log: EmbeddedLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_config(tmp_path).advance(log)
    made(log, "bo")
    folded: list[str] = []
    apply = Fold.apply

    def counted(self: Fold, record: Record) -> None:
        folded.append(record.stream)
        apply(self, record)

    monkeypatch.setattr(Fold, "apply", counted)
    assert names(open_config(tmp_path), log) == ["al", "bo"]
    assert folded == ["account/bo@x.un"]


def test_nothing_of_a_batch_that_was_not_finished_is_there(
    log: EmbeddedLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "BATCH", 2)
    for number in range(5):
        made(log, f"u{number}")
    apply = Fold.apply

    def dies(self: Fold, record: Record) -> None:
        if record.stream.startswith("account/u2"):
            raise KeyboardInterrupt
        apply(self, record)

    database = open_config(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(Fold, "apply", dies)
        with pytest.raises(KeyboardInterrupt):
            database.advance(log)
    again = open_config(tmp_path)
    reader = again.reader()
    before = [account.name for account in reader.accounts()]
    assert before == ["al", "u0", "u1"]
    assert reader.counts().accounts == reader.accounts_in("x.un") == 3
    assert names(again, log) == ["al", "u0", "u1", "u2", "u3", "u4"]
    assert reader.counts().accounts == reader.accounts_in("x.un") == 6


def test_two_that_bring_it_level_at_once(
    log: EmbeddedLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "BATCH", 3)
    for number in range(40):
        made(log, f"u{number}")
        append(log, f"account/u{number}@x.un", AccountAliasesSet(aliases=(f"4{number}",)))
    databases = [open_config(tmp_path) for _ in range(3)]
    threads = [threading.Thread(target=d.advance, args=(log,)) for d in databases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for database in databases:
        assert len(names(database, log)) == 41
        assert database.reader().counts().accounts == 41
        assert database.reader().alias("439", "x.un") == "u39"


def test_the_file_of_another_log_is_made_anew(log: EmbeddedLog, tmp_path: Path) -> None:
    open_config(tmp_path).advance(log)
    other = MemoryLog()
    append(other, "domain/z.un", DomainCreated(name="z.un"))
    append(other, "account/zed@z.un", AccountCreated(name="zed", domain="z.un"))
    database = open_config(tmp_path)
    assert names(database, other) == ["zed"]
    assert database.reader().counts()[:2] == (1, 1)
    assert database.reader().domain_of("y.un") == ""


def test_the_file_of_a_longer_log_is_made_anew(log: EmbeddedLog, tmp_path: Path) -> None:
    open_config(tmp_path).advance(log)
    assert names(open_config(tmp_path), MemoryLog()) == []


@pytest.mark.parametrize("content", [b"not a database at all", b"SQLite format 3\0" + b"\7" * 4096])
def test_a_broken_file_is_made_anew(log: EmbeddedLog, tmp_path: Path, content: bytes) -> None:
    open_config(tmp_path).close()
    for file in tmp_path.glob(f"{FILE}-*"):
        file.unlink()
    (tmp_path / FILE).write_bytes(content)
    assert names(open_config(tmp_path), log) == ["al"]


def test_another_format_is_made_anew(log: EmbeddedLog, tmp_path: Path) -> None:
    open_config(tmp_path).advance(log)
    with sqlite3.connect(tmp_path / FILE) as database:
        database.execute("PRAGMA user_version = 4711")
        database.execute("DELETE FROM objects")
    assert names(open_config(tmp_path), log) == ["al"]


def test_where_it_cannot_be_made_it_says_so(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    with pytest.raises(ConfigUnavailable, match="configuration database"):
        open_config(tmp_path)


def test_calls_behind_the_configuration_are_not_looked_through_again(
    log: EmbeddedLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "_SEEN_EVERY", 10)
    clock = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    database = open_config(tmp_path)
    database.advance(log)
    configured = database.level.position
    for _ in range(40):
        append(log, "call/1", LegDigit(leg_id="a"))
    database.advance(log)
    assert database.level.seen == configured, "they may be lost in a power cut"
    noted = log.head()
    clock[0] += 10
    append(log, "call/1", LegDigit(leg_id="a"))
    database.advance(log)
    assert database.level == (configured, database.level.time_ns, noted)


def test_facts_that_a_power_cut_took_do_not_hide_what_comes_in_their_place(tmp_path: Path) -> None:
    log = MemoryLog()
    append(log, "domain/x.un", DomainCreated(name="x.un"))
    database = ConfigDb(tmp_path / FILE, lambda: log.codec)
    database.advance(log)
    with sqlite3.connect(tmp_path / FILE) as file:
        file.execute("UPDATE level SET seen = 500")  # as of facts that are gone
    made(log)
    assert names(ConfigDb(tmp_path / FILE, lambda: log.codec), log) == ["al"]


def test_secrets_stay_sealed_and_go_with_the_account(log: EmbeddedLog, tmp_path: Path) -> None:
    password = AccountPasswordSet(realm="x.un", ha1_md5=SECRET, ha1_sha256=SECRET * 2)
    append(log, "account/al@x.un", password)
    append(log, "account/al@x.un", DatasetEntryAdded(dataset="Friends", address="zoe@far.example"))
    database = open_config(tmp_path)
    database.advance(log)
    content = b"".join(file.read_bytes() for file in tmp_path.glob(f"{FILE}*"))
    assert SECRET.encode() not in content
    assert b"zoe@far.example" in content
    append(log, "account/al@x.un", AccountDeleted(name="al", domain="x.un"))
    database.advance(log)
    database.close()
    assert b"zoe@far.example" not in (tmp_path / FILE).read_bytes()


def test_what_is_personal_is_opened_whoever_brings_it_level(tmp_path: Path) -> None:
    log = open_log(tmp_path, seal_personal=True)
    append(log, "domain/x.un", DomainCreated(name="x.un"))
    append(log, "account/al@x.un", AccountCreated(name="al", domain="x.un", display_name="Al"))
    keyless = open_log(tmp_path, unseal=False)
    database = open_config(tmp_path)
    assert StoredInventory(database).refresh(keyless).accounts["al@x.un"].display_name == "Al"


def test_a_reader_in_memory_shares_the_connection() -> None:
    log = MemoryLog()
    append(log, "domain/x.un", DomainCreated(name="x.un"))
    database = ConfigDb(None, Codec)
    database.advance(log)
    reader = database.reader()
    reader.close()
    assert reader.domain_of("x.un") == "x.un"
    database.close()
    with pytest.raises(ConfigUnavailable):
        reader.domain_of("x.un")


def test_it_cannot_be_written_where_nobody_may(log: EmbeddedLog, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root writes everywhere")
    open_config(tmp_path).close()
    (tmp_path / FILE).chmod(0o400)
    with pytest.raises(ConfigUnavailable):
        open_config(tmp_path).advance(log)


def test_where_the_settings_of_trunks_are() -> None:
    """They are kept in memory, of those that have some: a start reads these streams alone."""
    log = MemoryLog()
    database = ConfigDb(None, lambda: log.codec)
    reader = database.reader()
    append(log, "domain/x.un", DomainCreated(name="x.un"))
    for name in ("al", "bo", "cy", "di"):
        made(log, name)
    append(log, "account/al@x.un", AccountSettingsChanged(section="records", values={"RSIP": {}}))
    append(log, "account/bo@x.un", AccountSettingsChanged(values={"CallsLimit": "3"}))
    append(log, "account/cy@x.un", AccountSettingsChanged(secrets='{"PSTNGatewayPassword":"x"}'))
    append(log, "account/di@x.un", AccountSettingsChanged(values={"PSTNGatewayVia": "a"}))
    append(log, "domain/x.un", DomainSettingsChanged(values={"ServiceClasses": {}}))
    append(log, "server", ServerSettingsChanged(values={"PSTNAreaCode": "495"}))
    database.advance(log)
    assert reader.noted(Noted.TRUNKS) == [
        "account/al@x.un", "account/cy@x.un", "account/di@x.un", "domain/x.un", "server",
    ]  # fmt: skip
    append(log, "account/di@x.un", AccountDeleted(name="di", domain="x.un"))
    database.advance(log)
    assert "account/di@x.un" not in reader.noted(Noted.TRUNKS)


def test_it_knows_where_meetings_and_files_of_environments_are() -> None:
    """The signal role keeps those in memory, and reads nothing else at its start."""
    log = MemoryLog()
    database = ConfigDb(None, lambda: log.codec)
    reader = database.reader()
    file = EnvironmentFileStored(name="main.sppr", sha256="0" * 64, size_bytes=1, modified_ns=1)
    for name in ("x.un", "y.un", "z.un"):
        append(log, f"domain/{name}", DomainCreated(name=name))
    for name in ("al", "bo", "cy"):
        made(log, name)
    append(log, "account/bo@x.un", MeetingSet(key="4711"), MeetingSet(key="4712"))
    append(log, "account/cy@x.un", MeetingSet(key="1"))
    append(log, "account/nobody@x.un", MeetingSet(key="1"))
    append(log, "domain/x.un", EnvironmentCreated())
    append(log, "domain/y.un", file)
    append(log, "domain/z.un", file)
    append(log, "server", file)
    database.advance(log)
    assert reader.noted(Noted.MEETINGS) == ["account/bo@x.un", "account/cy@x.un"]
    assert reader.noted(Noted.FILES) == ["domain/y.un", "domain/z.un", "server"]
    append(log, "account/cy@x.un", AccountDeleted(name="cy", domain="x.un"))
    append(log, "domain/z.un", DomainDeleted(name="z.un"))
    database.advance(log)
    assert reader.noted(Noted.MEETINGS) == ["account/bo@x.un"]
    assert reader.noted(Noted.FILES) == ["domain/y.un", "server"]
    assert reader.noted(Noted.TRUNKS) == []
