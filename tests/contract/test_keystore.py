"""Where sealing keys live: the same rules in memory, in a file and in PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from pbx.eventlog import open_key_store, open_keys, use_keys
from pbx.eventlog.keystore import FileStore, Key, KeyStore, MemoryStore
from pbx.eventlog.sealing import Keys
from pbx.kernel.errors import LogUnavailable

Again = Callable[[], KeyStore]

STORES = [
    "memory",
    "file",
    pytest.param("postgresql", marks=pytest.mark.needs("initdb", "psycopg")),
]


@pytest.fixture(params=STORES)
def again(request: pytest.FixtureRequest, tmp_path: Path) -> Again:
    """Opens the store, each time as another process would (in memory it is the same one)."""
    if request.param == "memory":
        store = MemoryStore()
        return lambda: store
    if request.param == "file":
        return lambda: FileStore(tmp_path / "keys.sqlite3")
    from pbx.eventlog.keystore_postgres import PostgresStore

    url = request.getfixturevalue("postgres").new_database()
    return lambda: PostgresStore(url.replace("+psycopg", ""))


def test_a_key_is_made_once_and_everybody_reads_it(again: Again) -> None:
    first, second = again(), again()
    assert first.get("account/a") is None
    key = first.get_or_create("account/a")
    assert len(key.secret) == 32
    assert second.get("account/a") == second.get_or_create("account/a") == key
    assert second.by_id(key.id) == key
    assert second.by_id("0" * 16) is None
    assert first.get_or_create("account/b").id != key.id
    assert second.subjects() == ["account/a", "account/b"]


def test_keys_of_many_at_once(again: Again) -> None:
    first, second = again(), again()
    held = first.get_or_create("account/a")
    first.erase("account/c")
    many = [f"account/{number}" for number in range(1200)]
    made = second.create_all(["account/a", "account/b", "account/c", *many])
    assert made["account/a"] == held, "who has a key keeps it"
    assert first.get("account/b") == made["account/b"]
    assert len({key.id for key in made.values()}) == len(made) == 1203
    assert second.create_all(many) == {name: made[name] for name in many}
    assert first.create_all([]) == {}


def test_who_comes_at_once_gets_the_same_key(again: Again) -> None:
    stores = [again() for _ in range(4)]
    found: list[Key] = []
    threads = [
        threading.Thread(target=lambda s=store: found.append(s.get_or_create("account/a")))
        for store in stores
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(found)) == 1


def test_what_is_erased_is_gone_for_everybody_and_may_begin_anew(again: Again) -> None:
    first, second = again(), again()
    key = first.get_or_create("account/a")
    assert not first.erased("account/a")
    assert second.erase("account/a")
    assert not second.erase("account/a")
    assert first.get("account/a") is None
    assert first.by_id(key.id) is None
    assert first.erased("account/a")
    assert first.subjects() == []
    newer = first.get_or_create("account/a")
    assert newer != key
    assert second.get("account/a") == newer


def test_a_key_is_taken_over_unless_there_is_one_or_it_was_erased(again: Again) -> None:
    store = again()
    key, other = Key("11" * 8, bytes(32)), Key("22" * 8, bytes(range(32)))
    store.put("account/a", key)
    store.put("account/a", other)
    assert store.get("account/a") == key
    store.erase("account/a")
    store.put("account/a", key)
    if not isinstance(store, MemoryStore):
        assert store.get("account/a") is None


class TestPersonal:
    """Personal values over each store."""

    def test_the_account_that_is_named_decides(self, again: Again) -> None:
        keys, store = Keys(again()), again()
        store.get_or_create("account/al@example.org")
        sealed = keys.seal_personal("call/1", "t", "f", '"Al" <sip:AL@example.org;x=1>')
        stranger = keys.seal_personal("call/1", "t", "f", "sip:+7495@provider.net")
        own = keys.seal_personal("binding/al@example.org", "t", "f", "sip:al@192.0.2.7:5060")
        assert sealed.startswith("p1.")
        assert "al@" not in sealed.lower()
        other = Keys(again())
        assert other.unseal_personal("t", "f", sealed) == '"Al" <sip:AL@example.org;x=1>'
        other.erase("account/al@example.org")
        assert other.unseal_personal("t", "f", sealed) == "[erased]"
        assert other.unseal_personal("t", "f", own) == "[erased]"
        assert other.unseal_personal("t", "f", stranger) == "sip:+7495@provider.net"

    def test_what_another_process_did_is_seen_once_it_is_told(self, again: Again) -> None:
        keys, store = Keys(again()), again()
        before = keys.seal_personal("call/1", "t", "f", "sip:al@example.org")
        store.get_or_create("account/al@example.org")
        keys.forget("account/al@example.org")
        after = keys.seal_personal("call/1", "t", "f", "sip:al@example.org")
        store.erase("account/al@example.org")
        keys.forget("account/al@example.org")
        assert keys.unseal_personal("t", "f", before) == "sip:al@example.org"  # the server's key
        assert keys.unseal_personal("t", "f", after) == "[erased]"

    @pytest.mark.parametrize("text", ["p1.", "p1.x", "p1.00.AA==", "p1.zz.!!", "sip:p1.x@y"])
    def test_text_of_the_wire_that_looks_sealed_is_no_error(self, again: Again, text: str) -> None:
        found = Keys(again()).unseal_personal("t", "f", text)
        assert found in (text, "[erased]")

    def test_a_value_opens_only_where_it_was_sealed(self, again: Again) -> None:
        keys = Keys(again())
        sealed = keys.seal_personal("call/1", "t", "f", "sip:al@example.org")
        assert keys.unseal_personal("t", "other", sealed) == sealed


@pytest.mark.needs("initdb", "psycopg")
def test_a_database_that_goes_away_is_an_error_and_comes_back(
    postgres: object, tmp_path: Path
) -> None:
    """The connection is made anew; a URL that leads nowhere is said without its password."""
    url = postgres.new_database().replace("+psycopg", "")  # type: ignore[attr-defined]
    use_keys(tmp_path, url)
    assert (tmp_path / "keys.url").stat().st_mode & 0o777 == 0o600
    store = open_key_store(tmp_path)
    key = store.get_or_create("account/a")
    store._connection.close()  # type: ignore[attr-defined]
    assert store.get("account/a") == key
    use_keys(tmp_path, "postgresql://me:secret-word@127.0.0.1:1/none?connect_timeout=1")
    with pytest.raises(LogUnavailable, match="PostgreSQL") as caught:
        open_keys(tmp_path).seal("account/a", "t", "f", "x")
    assert "secret-word" not in str(caught.value)
    use_keys(tmp_path, "")
    assert isinstance(open_key_store(tmp_path), FileStore)
