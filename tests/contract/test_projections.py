"""Each projection, on either database: what its rows say about a history."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from sqlalchemy import Table, select

from pbx.calls import recovery
from pbx.domain import accounts as a
from pbx.domain import bindings as b
from pbx.domain import calls as c
from pbx.eventlog import ANY_VERSION, MemoryLog, Meta
from pbx.kernel.events import Event
from pbx.readmodel import Projector, SqliteDatabase, all_projections, queries
from pbx.readmodel.database import Database
from pbx.readmodel.tables import accounts, bindings, calls, cdr_legs, cdrs, domains, legs
from tests.support.clock import VirtualClock

START_NS = 1_893_456_000_000_000_000
"""2030-01-01T00:00:00Z"""
MS = 1_000_000
CALL = "01b8dac5-a66e-783e-95eb-04282584a43f"


class Bench:
    """A log in memory and a read model in a file."""

    def __init__(self, database: Database) -> None:
        self.log = MemoryLog(node="n1")
        self.database = database

    def write(self, stream: str, *events: Event, time_ns: int = START_NS, tenant: str = "") -> None:
        self.log.append(
            stream, ANY_VERSION, events, Meta(time_ns=time_ns, tenant=tenant, actor="test")
        )

    def rows(self, table: Table) -> list[Mapping[str, Any]]:
        """The rows by primary key, after projecting all there is."""
        Projector(
            self.log, self.database, all_projections(self.log), clock=VirtualClock()
        ).catch_up(self.log.head())
        with self.database.read() as connection:
            found = connection.execute(select(table).order_by(*table.primary_key.columns))
            return [dict(row) for row in found.mappings()]

    def row(self, table: Table) -> Mapping[str, Any]:
        """The only row."""
        (row,) = self.rows(table)
        return row


@pytest.fixture
def bench(database: Database) -> Bench:
    return Bench(database)


def started(**changes: Any) -> c.CallStarted:
    fields: dict[str, Any] = {
        "leg_id": "a1",
        "sip_call_id": "sip-a",
        "from_uri": "sip:alice@example.org",
        "to_uri": "sip:bob@example.org",
        "request_uri": "sip:200@example.org",
        "source": "192.0.2.1:5060",
        "transport": "udp",
        "account": "alice@example.org",
        "asserted_identity": "sip:alice@example.org",
    }
    return c.CallStarted(**fields | changes)


def created(leg_id: str, elapsed_ms: int, **changes: Any) -> c.LegCreated:
    fields: dict[str, Any] = {
        "leg_id": leg_id,
        "parent_leg_id": "a1",
        "role": "B",
        "sip_call_id": f"sip-{leg_id}",
        "target_uri": f"sip:bob@192.0.2.2;leg={leg_id}",
        "account": "bob@example.org",
        "elapsed_ms": elapsed_ms,
    }
    return c.LegCreated(**fields | changes)


def ended(leg_id: str, elapsed_ms: int, status: int = 200, talk_ms: int = 0) -> c.LegEnded:
    return c.LegEnded(
        leg_id=leg_id,
        status=status,
        cause="normal" if status == 200 else "busy",
        q850=16 if status == 200 else 17,
        ended_by="callee",
        elapsed_ms=elapsed_ms,
        talk_ms=talk_ms,
    )


def over(elapsed_ms: int, **changes: Any) -> c.CallEnded:
    fields: dict[str, Any] = {
        "status": 200,
        "cause": "normal",
        "q850": 16,
        "ended_by": "callee",
        "elapsed_ms": elapsed_ms,
    }
    return c.CallEnded(**fields | changes)


ANSWERED = (
    started(),
    c.MediaAllocated(bridge="m1", elapsed_ms=2),
    created("b1", 3),
    created("b2", 3, redirector="hunt@example.org"),
    c.LegRinging(leg_id="b2", status=180, elapsed_ms=100),
    c.LegRinging(leg_id="a1", status=180, elapsed_ms=101),
    c.LegRinging(leg_id="b2", status=183, elapsed_ms=150),
    ended("b1", 200, 486),
    c.LegAnswered(leg_id="b2", elapsed_ms=4_000),
    c.LegAnswered(leg_id="a1", elapsed_ms=4_001),
    c.CallAnswered(leg_id="a1", peer_leg_id="b2", elapsed_ms=4_001),
)
FIGURES = c.MediaStats(
    leg_id="b2",
    bridge="m1",
    codec="PCMA",
    packets_in=990,
    packets_out=1000,
    packets_lost=10,
    jitter_ms=2.5,
    mos=4.3,
)
ENDED = (ended("b2", 64_000, talk_ms=60_000), ended("a1", 64_002, talk_ms=60_001))


class TestSettings:
    def test_domains_come_and_go(self, bench: Bench) -> None:
        bench.write("domain/x", a.DomainCreated(name="x", aliases=("y", "z")))
        bench.write("domain/x", a.DomainAliasesSet(aliases=("z", "q")))
        bench.write("domain/w", a.DomainCreated(name="w"), a.DomainDeleted(name="w"))
        assert bench.row(domains) == {"name": "x", "aliases": "z q", "created_ns": START_NS}

    def test_an_account_row_tells_everything_but_the_secret(self, bench: Bench) -> None:
        stream = "account/al@x"
        bench.write(stream, a.AccountCreated(name="al", domain="x", display_name="Al"))
        row = bench.row(accounts)
        assert (row["account"], row["has_password"], row["calls_limit"]) == ("al@x", False, -1)
        bench.write(
            stream,
            a.AccountPasswordSet(realm="x", ha1_md5="secret-md5", ha1_sha256="secret-sha"),
            a.AccountLimitsSet(calls_limit=2, max_contacts=3),
            time_ns=START_NS + 5,
        )
        row = bench.row(accounts)
        assert row == {
            "account": "al@x",
            "name": "al",
            "domain": "x",
            "display_name": "Al",
            "calls_limit": 2,
            "max_contacts": 3,
            "has_password": True,
            "password_set_ns": START_NS + 5,
            "created_ns": START_NS,
        }
        if isinstance(bench.database, SqliteDatabase):
            assert b"secret" not in bench.database.path.read_bytes()

    def test_a_deleted_account_may_come_again(self, bench: Bench) -> None:
        account = a.AccountCreated(name="al", domain="x")
        bench.write("account/al@x", account, a.AccountDeleted(name="al", domain="x"))
        assert bench.rows(accounts) == []
        bench.write("account/al@x", account)
        assert len(bench.rows(accounts)) == 1


class TestBindings:
    def binding(self, contact_id: str, **changes: Any) -> b.BindingAdded:
        fields: dict[str, Any] = {
            "contact_id": contact_id,
            "contact": f"sip:{contact_id}@192.0.2.7",
            "expires_ns": START_NS + 60_000 * MS,
            "sip_call_id": "r1",
            "cseq": 1,
            "path": ("<sip:p1;lr>", "<sip:p2;lr>"),
            "methods": ("INVITE", "BYE"),
            "since_ns": START_NS,
        }
        return b.BindingAdded(**fields | changes)

    def test_added_refreshed_removed(self, bench: Bench) -> None:
        bench.write("binding/al@x", self.binding("c1"), self.binding("c2", q=0.5))
        bench.write(
            "binding/al@x",
            b.BindingRefreshed(
                contact_id="c1",
                expires_ns=START_NS + 99_000 * MS,
                sip_call_id="r1",
                cseq=2,
                remote="192.0.2.7:999",
                nat=True,
            ),
            b.BindingRemoved(contact_id="c2", contact="", reason="unregistered"),
            time_ns=START_NS + 7,
        )
        row = bench.row(bindings)
        assert (row["contact_id"], row["cseq"], row["nat"]) == ("c1", 2, True)
        assert (row["since_ns"], row["refreshed_ns"]) == (START_NS, START_NS + 7)
        assert (row["path"], row["methods"]) == ("<sip:p1;lr>\n<sip:p2;lr>", "INVITE BYE")

    def test_listings_leave_out_what_has_lapsed(self, bench: Bench) -> None:
        bench.write("binding/al@x", self.binding("c1"), self.binding("c2", q=0.5))
        bench.write("binding/bo@x", self.binding("c1", expires_ns=START_NS))
        assert len(bench.rows(bindings)) == 3
        with bench.database.read() as connection:
            live = queries.live_bindings(connection, START_NS + 1)
            assert [(row["account"], row["contact_id"]) for row in live] == [
                ("al@x", "c1"),
                ("al@x", "c2"),
            ]
            assert queries.live_bindings(connection, START_NS + 1, "bo@x") == []


class TestCalls:
    def test_a_call_is_visible_from_its_first_event(self, bench: Bench) -> None:
        bench.write(f"call/{CALL}", *ANSWERED[:3], tenant="example.org")
        call = bench.row(calls)
        assert (call["call_id"], call["state"], call["end_ns"]) == (CALL, "trying", 0)
        assert (call["tenant"], call["node"]) == ("example.org", "n1")
        assert [(leg["leg_id"], leg["state"]) for leg in bench.rows(legs)] == [
            ("a1", "trying"),
            ("b1", "trying"),
        ]

    def test_states_follow_the_events_over_several_batches(self, bench: Bench) -> None:
        """Each step is projected by a projector of its own, as after a restart."""
        seen = []
        hold = c.LegHeld(leg_id="a1", direction="sendonly", elapsed_ms=9_000)
        resume = c.LegResumed(leg_id="a1", elapsed_ms=9_500)
        for event in (*ANSWERED, hold, resume, *ENDED, over(64_002)):
            bench.write(f"call/{CALL}", event)
            seen.append((bench.row(calls)["state"], bench.rows(legs)[0]["state"]))
        assert seen == [
            *[("trying", "trying")] * 4,
            ("ringing", "trying"),
            *[("ringing", "ringing")] * 4,
            ("ringing", "answered"),
            ("answered", "answered"),
            ("answered", "held"),
            ("answered", "answered"),
            ("answered", "answered"),
            ("answered", "ended"),
            ("ended", "ended"),
        ]

    def test_times_are_monotonic_distances_from_the_start(self, bench: Bench) -> None:
        """The wall clock steps back an hour in mid-call: no duration changes."""
        bench.write(f"call/{CALL}", *ANSWERED)
        late = START_NS - 3_600_000 * MS
        bench.write(f"call/{CALL}", *ENDED, over(64_002, talk_ms=60_001), time_ns=late)
        call = bench.row(calls)
        assert call["answer_ns"] == START_NS + 4_001 * MS
        assert call["end_ns"] == START_NS + 64_002 * MS
        assert call["talk_ms"] == 60_001

    def test_figures_of_several_bridges_are_added_and_weighed(self, bench: Bench) -> None:
        more = c.MediaStats(
            leg_id="b2",
            bridge="m2",
            packets_in=10,
            packets_out=5,
            packets_lost=1,
            jitter_ms=12.5,
            mos=2.3,
        )
        silent = c.MediaStats(leg_id="b2", bridge="m3")
        bench.write(f"call/{CALL}", *ANSWERED, FIGURES, more, silent)
        leg = bench.rows(legs)[2]
        assert (leg["codec"], leg["packets_in"], leg["packets_lost"]) == ("PCMA", 1000, 11)
        assert leg["jitter_ms"] == pytest.approx(2.6)
        assert leg["mos"] == pytest.approx(4.28)

    def test_a_leg_that_changes_its_call_is_told_on_both_sides(self, bench: Bench) -> None:
        bench.write(f"call/{CALL}", *ANSWERED, c.LegMoved(leg_id="b2", from_call=CALL, to_call="o"))
        bench.write(
            "call/o",
            started(leg_id="o1"),
            created("b2", 10, role="X", parent_leg_id="o1"),
            c.LegAnswered(leg_id="b2", elapsed_ms=10),
            c.LegMoved(leg_id="b2", from_call=CALL, to_call="o"),
            c.CallBridged(leg_id="o1", peer_leg_id="b2", bridge="m9", elapsed_ms=12),
        )
        by_key = {(leg["call_id"], leg["leg_id"]): leg for leg in bench.rows(legs)}
        assert by_key[CALL, "b2"]["state"] == "moved"
        assert by_key[CALL, "b2"]["moved_to"] == "o"
        arrived = by_key["o", "b2"]
        assert (arrived["state"], arrived["moved_from"], arrived["peer_leg_id"]) == (
            "answered",
            CALL,
            "o1",
        )

    def test_live_calls_are_listed_with_their_legs(self, bench: Bench) -> None:
        bench.write(f"call/{CALL}", *ANSWERED)
        bench.write("call/done", started(leg_id="d1"), over(5))
        bench.rows(calls)
        with bench.database.read() as connection:
            live = queries.live_calls(connection)
            assert [row["call_id"] for row in live] == [CALL]
            found = queries.legs_of(connection, [CALL, "done"])
            assert [leg["leg_id"] for leg in found[CALL]] == ["a1", "b1", "b2"]
            assert queries.calls_named(connection, CALL[:9]) == [CALL]
            assert queries.calls_named(connection, "sip-b2") == [CALL]
            assert queries.calls_named(connection, "nobody") == []


class TestCallRecords:
    def test_there_is_no_record_before_the_end(self, bench: Bench) -> None:
        bench.write(f"call/{CALL}", *ANSWERED, *ENDED)
        assert bench.rows(cdrs) == bench.rows(cdr_legs) == []

    def test_an_answered_call(self, bench: Bench) -> None:
        bench.write(f"call/{CALL}", *ANSWERED, *ENDED, FIGURES, over(64_002, talk_ms=60_001))
        call = bench.row(cdrs)
        assert call["answered_by"] == "sip:bob@192.0.2.2;leg=b2"
        assert call["start_ns"] == START_NS
        assert call["provision_ns"] == START_NS + 100 * MS
        assert call["answer_ns"] == START_NS + 4_001 * MS
        assert call["end_ns"] == START_NS + 64_002 * MS
        assert (call["talk_ms"], call["status"], call["legs"]) == (60_001, 200, 3)
        caller, busy, callee = bench.rows(cdr_legs)
        assert (caller["role"], caller["parent_leg_id"]) == ("A", "")
        assert caller["target_uri"] == "sip:bob@192.0.2.2;leg=b2"
        assert (busy["status"], busy["cause"], busy["answer_ns"], busy["talk_ms"]) == (
            486,
            "busy",
            0,
            0,
        )
        assert callee["provision_ns"] == START_NS + 100 * MS, "the first provisional counts"
        assert (callee["talk_ms"], callee["redirector"]) == (60_000, "hunt@example.org")
        assert (callee["proxied"], callee["codec"], callee["packets_in"]) == (True, "PCMA", 990)
        assert {leg["day"] for leg in (caller, busy, callee)} == {"2030-01-01"}

    def test_a_leg_belongs_to_the_day_of_its_end(self, bench: Bench) -> None:
        before = START_NS - 1_000 * MS
        bench.write(f"call/{CALL}", *ANSWERED, *ENDED, over(64_002), time_ns=before)
        assert [leg["day"] for leg in bench.rows(cdr_legs)] == [
            "2030-01-01",
            "2029-12-31",
            "2030-01-01",
        ]

    def test_a_call_found_open_ends_when_its_node_was_last_alive(self, bench: Bench) -> None:
        died = START_NS + 30_000 * MS
        end = over(0, recovered=True, ended_ns=died, cause="error", ended_by="server", status=200)
        bench.write(f"call/{CALL}", *ANSWERED)
        bench.write(f"call/{CALL}", end, time_ns=START_NS + 500_000 * MS)
        call = bench.row(cdrs)
        assert (call["end_ns"], call["recovered"], call["talk_ms"]) == (died, True, 25_999)
        caller, busy, callee = bench.rows(cdr_legs)
        assert (caller["end_ns"], caller["talk_ms"], caller["status"]) == (died, 25_999, 200)
        assert (callee["end_ns"], callee["talk_ms"], callee["ended_by"]) == (
            died,
            26_000,
            "server",
        )
        assert busy["end_ns"] == START_NS + 200 * MS, "its end was seen"

    def test_the_recovery_of_call_control_gives_right_records(self, bench: Bench) -> None:
        """It closes legs and call with events of its own, long after the node died."""
        stream = f"call/{CALL}"
        bench.write(stream, *ANSWERED)
        died = START_NS + 30_000 * MS
        closing = recovery.closing_events(list(bench.log.read_stream(stream)), died)
        bench.write(stream, *closing, time_ns=START_NS + 500_000 * MS)
        assert bench.row(cdrs)["end_ns"] == died
        assert [(leg["end_ns"], leg["cause"]) for leg in bench.rows(cdr_legs)] == [
            (died, "error"),
            (START_NS + 200 * MS, "busy"),
            (died, "error"),
        ]

    def test_an_unanswered_leg_left_open_takes_the_status_of_the_call(self, bench: Bench) -> None:
        bench.write(f"call/{CALL}", started(), created("b1", 3), over(900, status=487))
        caller, callee = bench.rows(cdr_legs)
        assert (caller["status"], callee["status"]) == (487, 487)
        assert callee["end_ns"] == START_NS + 900 * MS

    def test_nothing_after_the_end_changes_a_record(self, bench: Bench) -> None:
        bench.write(f"call/{CALL}", *ANSWERED, *ENDED, over(64_002))
        before = bench.rows(cdr_legs)
        bench.write(f"call/{CALL}", FIGURES, over(70_000, status=500))
        assert bench.rows(cdr_legs) == before
        assert bench.row(cdrs)["status"] == 200

    def test_records_are_found_by_time_account_and_number(self, bench: Bench) -> None:
        for number in range(4):
            bench.write(
                f"call/{number}",
                started(leg_id=f"{number}a", account=f"{number}@x"),
                created(f"{number}b", 1, account="bob@x" if number % 2 else ""),
                over(number * 1000),
            )
        bench.rows(cdrs)
        with bench.database.read() as connection:

            def found(**arguments: Any) -> list[str]:
                return [r["call_id"] for r in queries.call_records(connection, **arguments)]

            second = START_NS + 1000 * MS
            assert found() == ["0", "1", "2", "3"]
            assert found(since_ns=second, until_ns=second + 1) == ["1"]
            assert found(limit=2) == ["2", "3"]
            assert found(account="2@x") == ["2"]
            assert found(account="bob@x") == ["1", "3"]
