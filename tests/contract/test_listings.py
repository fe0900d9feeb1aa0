"""Listings in pages, on both databases: together they are the whole, and filters hold."""

from __future__ import annotations

import pytest

from pbx.domain.bindings import BindingAdded
from pbx.eventlog import MemoryLog, Meta
from pbx.readmodel import Database, catch_up, queries
from tests.support.call_histories import EPOCH_NS, history, write_history

CALLS = 25


@pytest.fixture
def filled(database: Database) -> Database:
    """Calls that are up, calls that ended, phones."""
    log = MemoryLog(node="n1")
    steps = history(3, CALLS)
    tenants = {step.stream: ("a.example", "b.example")[hash_of(step.stream)] for step in steps}
    write_history(log, steps, tenants=tenants)
    for number in range(5):
        binding = BindingAdded(
            contact_id=f"c{number}",
            contact=f"sip:x@192.0.2.{number}",
            expires_ns=EPOCH_NS + number,
            sip_call_id="x",
            cseq=1,
        )
        address = f"{'_%'[number % 2]}x{number // 2}@a.example"
        log.append(f"binding/{address}", -1, [binding], Meta(tenant="a.example"))
    catch_up(log, database)
    return database


def hash_of(text: str) -> int:
    """0 or 1, the same in every process."""
    return sum(text.encode()) % 2


@pytest.mark.parametrize("limit", [1, 4, CALLS])
def test_pages_are_the_whole(filled: Database, limit: int) -> None:
    with filled.read() as connection:
        whole = [row["call_id"] for row in queries.live_calls(connection)]
        found: list[str] = []
        after: tuple[int, str] | None = None
        while rows := queries.live_calls(connection, after=after, limit=limit):
            assert len(rows) <= limit
            found += [row["call_id"] for row in rows]
            after = rows[-1]["start_ns"], rows[-1]["call_id"]
        assert found == whole
        assert whole

        records = [row["call_id"] for row in queries.call_records(connection)]
        ended: list[str] = []
        after = None
        while rows := queries.call_records_page(connection, after=after, limit=limit):
            ended += [row["call_id"] for row in rows]
            after = rows[-1]["end_ns"], rows[-1]["call_id"]
        assert sorted(ended) == sorted(records)
        assert len(found) + len(ended) == CALLS

        phones: list[str] = []
        place: tuple[str, str] | None = None
        while rows := queries.bindings_page(connection, 0, after=place, limit=limit):
            phones += [row["contact_id"] for row in rows]
            place = rows[-1]["account"], rows[-1]["contact_id"]
        assert sorted(phones) == ["c0", "c1", "c2", "c3", "c4"]


def test_filters(filled: Database) -> None:
    with filled.read() as connection:
        for tenant in ("a.example", "b.example"):
            rows = queries.call_records_page(connection, tenant=tenant)
            assert {row["tenant"] for row in rows} == {tenant}
            live = queries.live_calls(connection, tenant=tenant)
            assert {row["tenant"] for row in live} <= {tenant}
        assert queries.call_records_page(connection, tenant="example") == []
        account = next(row["account"] for row in queries.call_records(connection) if row["account"])
        page = queries.call_records_page(connection, account=account)
        whole = queries.call_records(connection, account=account)
        assert {row["call_id"] for row in page} == {row["call_id"] for row in whole}
        assert queries.bindings_page(connection, EPOCH_NS + 2, domain="a.example") != []
        assert queries.bindings_page(connection, EPOCH_NS + 9, domain="a.example") == []
        assert queries.bindings_page(connection, 0, domain="%.example") == []
        call_id = queries.live_calls(connection)[0]["call_id"]
        assert queries.live_call(connection, call_id) is not None
        assert queries.live_call(connection, call_id[:-1]) is None
