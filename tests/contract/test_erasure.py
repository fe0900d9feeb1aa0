"""Forgetting a person: log, tables and files, on either database, sealed from the start or not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from pbx.commands import Administration
from pbx.domain import calls as c
from pbx.domain.calls import named_account
from pbx.erasure import erase
from pbx.eventlog import ANY_VERSION, Codec, Keys, MemoryLog, Meta, memory_keys
from pbx.kernel.errors import DomainError
from pbx.readmodel import Database, catch_up, make_projector, open_read_model, queries
from pbx.readmodel.export import export
from pbx.readmodel.tables import accounts, calls, cdr_legs, cdrs, legs
from tests.support.call_histories import history, write_history

DOMAIN = "example.org"
SUBJECT, OTHER = f"user3@{DOMAIN}", f"user4@{DOMAIN}"
TABLES = (accounts, calls, legs, cdrs, cdr_legs)
META = Meta(actor="test")

Rows = dict[str, list[Mapping[str, Any]]]
NewPlace = Callable[[], tuple[Path, str]]


class Lab:
    """A log with calls of several accounts, some of them still up."""

    def __init__(self, *, sealed: bool, seed: int = 3, calls: int = 150) -> None:
        self.keys: Keys = memory_keys()
        self.log = MemoryLog(codec=Codec(self.keys, seal_personal=sealed))
        administrate = Administration(self.log, actor="test", erase=self.keys.erase)
        administrate.create_domain(DOMAIN)
        for name in ("bob", *(f"user{n}" for n in range(9))):
            administrate.create_account(f"{name}@{DOMAIN}", "a password of theirs", f"{name} Smith")
        write_history(self.log, history(seed, calls))

    def erase(self, database: Database, account: str = SUBJECT) -> int:
        with database.read() as connection:
            named = queries.calls_of(connection, account)
        ended = [
            call
            for call in named
            if any(isinstance(r.event, c.CallEnded) for r in self.log.read_stream(f"call/{call}"))
        ]
        assert ended
        done = erase(self.log, account, ended, actor="test", destroy=self.keys.erase)
        assert done.key_destroyed
        assert done.calls == len(ended)
        return done.in_clear


def rows_of(database: Database) -> Rows:
    with database.read() as connection:
        return {
            table.name: [
                {k: v for k, v in row.items() if k not in ("updated_ns", "partition")}
                for row in connection.execute(
                    select(table).order_by(*table.primary_key.columns)
                ).mappings()
            ]
            for table in TABLES
        }


def ended_only(rows: Rows) -> Rows:
    """Without calls that never ended: a person in one of those is not erased yet."""
    ended = {row["call_id"] for row in rows["cdrs"]}
    return {
        name: [row for row in found if row.get("call_id", next(iter(ended))) in ended]
        for name, found in rows.items()
    }


def tells(rows: Rows, ended: set[str]) -> list[str]:
    """Where ended calls still tell of the subject."""
    return [
        f"{table}.{name}"
        for table, found in rows.items()
        for row in found
        if row.get("call_id") in ended
        for name, value in row.items()
        if isinstance(value, str) and named_account(value) == SUBJECT
    ]


@pytest.mark.parametrize("sealed", [False, True], ids=["clear", "sealed"])
def test_nothing_tells_of_the_person_and_all_totals_stay(new_place: NewPlace, sealed: bool) -> None:
    lab = Lab(sealed=sealed)
    folder, url = new_place()
    database = open_read_model(folder, url)
    make_projector(lab.log, database).catch_up(lab.log.head())
    before = rows_of(database)
    assert any(row["account"] == SUBJECT for row in before["cdrs"])
    texts = "".join(path.read_text() for path in sorted((folder / "CDRs").glob("*.cdr")))
    assert SUBJECT in texts
    in_clear = lab.erase(database)
    assert (in_clear > 0) is not sealed
    make_projector(lab.log, database).catch_up(lab.log.head())

    after = rows_of(database)
    ended = {row["call_id"] for row in after["cdrs"]}
    assert tells(after, ended) == []
    assert SUBJECT not in {row["account"] for row in after["accounts"]}
    for table in ("cdrs", "cdr_legs", "calls", "legs"):
        assert len(after[table]) == len(before[table])
        for old, new in zip(before[table], after[table], strict=True):
            changed = {name for name in new if new[name] != old[name]}
            assert all(new[name] == "[erased]" for name in changed)
            if changed:
                assert changed <= {
                    "from_uri", "from_display", "asserted_identity", "account", "source",
                    "user_agent", "to_uri", "request_uri", "target_uri", "destination",
                    "redirector", "answered_by",
                }  # fmt: skip
    others = [row for row in after["cdrs"] if row["account"] == OTHER]
    assert others == [row for row in before["cdrs"] if row["account"] == OTHER]

    texts = "".join(path.read_text() for path in sorted((folder / "CDRs").glob("*.cdr")))
    assert SUBJECT not in texts
    assert "[erased]" in texts
    with database.read() as connection:
        export(connection, folder / "calls.csv")
    assert SUBJECT not in (folder / "calls.csv").read_text()
    if sealed:
        assert all(SUBJECT.encode() not in r.data for r in lab.log.read(category="pbx.calls"))

    # A read model that begins now is the same.
    fresh = open_read_model(*new_place())
    catch_up(lab.log, fresh)
    assert ended_only(rows_of(fresh)) == ended_only(after)
    fresh.close()
    database.close()


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000), st.booleans(), st.sampled_from([1, 7, 40, 2000]))
def test_however_it_is_cut_into_batches_the_rows_are_the_same(
    tmp_path_factory: pytest.TempPathFactory, seed: int, sealed: bool, batch: int
) -> None:
    """Two persons are erased one after the other, with calls after each."""
    lab = Lab(sealed=sealed, seed=seed, calls=40)
    live = open_read_model(tmp_path_factory.mktemp("live"))
    projector = make_projector(lab.log, live)
    projector._batch = batch
    for account in (SUBJECT, f"bob@{DOMAIN}"):
        projector.catch_up(lab.log.head())
        with live.read() as connection:
            ended = {
                row["call_id"] for row in connection.execute(select(cdrs.c.call_id)).mappings()
            }
            named = [call for call in queries.calls_of(connection, account) if call in ended]
        erase(lab.log, account, named, actor="test", destroy=lab.keys.erase)
        write_history(lab.log, history(seed + 1, 5))
    projector.catch_up(lab.log.head())
    whole = open_read_model(tmp_path_factory.mktemp("whole"))
    catch_up(lab.log, whole)
    assert ended_only(rows_of(whole)) == ended_only(rows_of(live))
    live.close()
    whole.close()


def test_a_call_that_is_up_is_not_torn(tmp_path: Path) -> None:
    lab = Lab(sealed=True)
    call = "01c0ffee-0000-7000-8000-000000000001"
    started = c.CallStarted(
        leg_id="x.1", sip_call_id="x", from_uri=f"sip:{SUBJECT}", to_uri="sip:bob@example.org",
        request_uri="sip:bob@example.org", source="192.0.2.1:5060", transport="udp",
    )  # fmt: skip
    lab.log.append(f"call/{call}", ANY_VERSION, [started], META)
    with pytest.raises(DomainError, match="wait for its end"):
        erase(lab.log, SUBJECT, [call], actor="test", destroy=lab.keys.erase)
    assert lab.keys.store.get(f"account/{SUBJECT}") is not None


def test_it_can_be_done_again(tmp_path: Path) -> None:
    """After a crash in the middle: nothing is written twice."""
    lab = Lab(sealed=True)
    database = open_read_model(tmp_path)
    catch_up(lab.log, database)
    with database.read() as connection:
        ended = set(connection.execute(select(cdrs.c.call_id)).scalars())
        named = [call for call in queries.calls_of(connection, SUBJECT) if call in ended]
    erase(lab.log, SUBJECT, named[:3], actor="test", destroy=lambda stream: False)
    erase(lab.log, SUBJECT, named, actor="test", destroy=lab.keys.erase)
    erased = [r.stream for r in lab.log.read(types=["call.erased.v1"])]
    assert sorted(erased) == sorted(f"call/{call}" for call in named)
    database.close()
