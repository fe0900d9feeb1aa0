"""The commands that read: log, calls, cdr, registrations, replay."""

from __future__ import annotations

import argparse
import json
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pbx.cli import log as log_command
from pbx.cli.main import main
from pbx.cli.reading import parse_time, show_duration, show_time
from pbx.cli.story import Story
from pbx.domain import calls as c
from pbx.domain.accounts import AccountPasswordSet, DomainCreated
from pbx.domain.bindings import BindingAdded
from pbx.domain.cdrs import CdrRecorded, RecordedLeg, cdr_stream
from pbx.eventlog import (
    ANY_VERSION,
    EmbeddedLog,
    MemoryLog,
    Meta,
    Subscription,
    UnknownEvent,
    open_log,
)
from pbx.kernel.events import Event
from pbx.readmodel import PROJECTION_NAMES, open_read_model
from tests.contract.test_projections import ANSWERED, CALL, ENDED, FIGURES, START_NS, over, started
from tests.support.commands import Pbx

SECOND = 1_000_000_000


NOW_NS = START_NS + 3600 * SECOND


@pytest.fixture(autouse=True)
def fixed_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an hour past midnight."""
    monkeypatch.setattr(time, "time_ns", lambda: NOW_NS)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def log(data: Path) -> Iterator[EmbeddedLog]:
    opened = open_log(data, node="n1")
    yield opened
    opened.close()


@pytest.fixture
def pbx(data: Path, capsys: pytest.CaptureFixture[str]) -> Pbx:
    return Pbx(data, capsys)


def write(log: EmbeddedLog, stream: str, *events: Event, time_ns: int = START_NS) -> None:
    log.append(stream, ANY_VERSION, events, Meta(time_ns=time_ns, actor="cli:root"))


def objects(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


class TestLog:
    @pytest.fixture(autouse=True)
    def some_events(self, log: EmbeddedLog) -> None:
        write(log, "domain/x", DomainCreated(name="x", aliases=("y", "z")))
        secret = AccountPasswordSet(realm="x", ha1_md5="secret-md5", ha1_sha256="secret-sha")
        write(log, "account/al@x", secret, time_ns=START_NS + SECOND)
        for number in range(1, 4):
            digit = c.LegDigit(leg_id=f"a {number}")
            write(log, "call/d", digit, time_ns=START_NS + number * 600 * SECOND)

    def test_every_event_is_a_line(self, pbx: Pbx) -> None:
        first, second, *digits = pbx("log").splitlines()
        assert first.split() == [
            "1",
            "2030-01-01",
            "00:00:00.000",
            "domain/x",
            "domain.created.v1",
            "name=x",
            "aliases=y,z",
            "by",
            "cli:root",
        ]
        assert "realm=x ha1_md5=[sealed] ha1_sha256=[sealed]" in second
        assert 'leg_id="a 1"' in digits[0]

    def test_sealed_values_are_shown_in_no_form(self, pbx: Pbx) -> None:
        for arguments in (["log"], ["log", "--json"], ["log", "--stream", "account/al@x"]):
            shown = pbx(*arguments)
            assert "secret" not in shown
            assert "v1.A" not in shown, "not even encrypted"
            assert "[sealed]" in shown

    def test_json_is_one_object_a_line(self, pbx: Pbx) -> None:
        first = objects(pbx("log", "--json"))[0]
        assert first == {
            "position": 1,
            "stream": "domain/x",
            "version": 1,
            "type": "domain.created.v1",
            "time": "2030-01-01T00:00:00.000Z",
            "time_ns": START_NS,
            "node": "n1",
            "actor": "cli:root",
            "correlation": "",
            "causation": "",
            "tenant": "",
            "data": {"name": "x", "aliases": ["y", "z"]},
        }

    @pytest.mark.parametrize(
        ("arguments", "positions"),
        [
            (["--stream", "call/d"], [3, 4, 5]),
            (["--type", "leg.digit.v1"], [3, 4, 5]),
            (["--type", "leg.digit"], [3, 4, 5]),
            (["--type", "*.created.*"], [1]),
            (["--type", "leg"], []),
            (["--after", "3"], [4, 5]),
            (["--after", "1", "--limit", "2"], [2, 3]),
            (["--limit", "2"], [4, 5]),
            (["--limit", "1", "--type", "domain.*"], [1]),
            (["--limit", "2", "--type", "leg.[c-e]*"], [4, 5]),
            (["--limit", "1", "--until", "2030-01-01T00:10:00"], [2]),
            (["--limit", "9", "--type", "*.created", "--until", "2030-01-01T00:10:00"], [1]),
            (["--since", "2030-01-01T00:00:01Z"], [2, 3, 4, 5]),
            (["--since", "2030-01-01T01:10:00+01:00"], [3, 4, 5]),
            (["--until", "2030-01-01T00:10:00"], [1, 2]),
            (["--since", "2030-01-01T00:00:01", "--until", "2030-01-01T00:20:00.5"], [2, 3, 4]),
            (["--stream", "call/d", "--after", "3", "--limit", "1"], [4]),
        ],
    )
    def test_filters(self, pbx: Pbx, arguments: list[str], positions: list[int]) -> None:
        found = objects(pbx("log", "--json", *arguments))
        assert [record["position"] for record in found] == positions

    def test_what_cannot_be_decoded_is_shown_as_it_is(self, pbx: Pbx, log: EmbeddedLog) -> None:
        write(log, "call/e", UnknownEvent(type="call.ended.v1", data=b'{"status": "?"}'))
        write(log, "fax/e", UnknownEvent(type="fax.sent.v1", data=b'{"pages": 3}'))
        broken, unknown = objects(pbx("log", "--json", "--after", "5"))
        assert broken["data"]["undecodable"] == '{"status": "?"}'
        assert "call.ended.v1 in call/e" in broken["data"]["reason"]
        assert unknown["data"] == {"pages": 3}
        assert "pages=3" in pbx("log", "--limit", "1")

    @pytest.mark.parametrize(
        ("arguments", "positions"),
        [
            ([], [4, 5, 6]),
            (["--type", "domain.*"], [1, 6]),
            (["--after", "1", "--limit", "1"], [2, 3, 4, 5, 6]),
            (["--stream", "domain/n"], [6]),
        ],
    )
    def test_following_has_no_gap_between_old_and_new(
        self,
        data: Path,
        log: EmbeddedLog,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        arguments: list[str],
        positions: list[int],
    ) -> None:
        actions = iter([lambda: write(log, "domain/n", DomainCreated(name="new"))])
        real = Subscription.wait_records

        def wait(self: Subscription, timeout_s: float, limit: int = 1000) -> list[Any]:
            action = next(actions, None)
            if action is None:
                raise KeyboardInterrupt
            action()
            return real(self, timeout_s, limit)

        monkeypatch.setattr(Subscription, "wait_records", wait)
        monkeypatch.setattr(log_command, "FOLLOW_TAIL", 2)
        assert main(["log", "--follow", "--json", *arguments, "--data", str(data)]) == 130
        found = objects(capsys.readouterr().out)
        assert [record["position"] for record in found] == positions


class TestStory:
    def test_a_call_reads_as_a_story(self, pbx: Pbx, log: EmbeddedLog) -> None:
        routed = c.CallRouted(
            address="sip:200@example.org",
            outcome="account",
            target="bob@example.org",
            steps=("alias: bob@example.org (200 is an alias)", "result: bob@example.org (account)"),
            contacts=2,
            elapsed_ms=2,
        )
        write(
            log,
            f"call/{CALL}",
            ANSWERED[0],
            routed,
            *ANSWERED[1:],
            *ENDED,
            FIGURES,
            over(64_002, talk_ms=60_001),
        )
        told = pbx("log", "--call", CALL).splitlines()
        assert told[0] == f"call {CALL}, 2030-01-01 00:00:00.000 UTC"
        assert [line.strip() for line in told[1:]] == [
            (
                "+0.000  A →   sip:alice@example.org calls sip:200@example.org from"
                " 192.0.2.1:5060/udp (account alice@example.org, Call-ID sip-a)"
            ),
            (
                "+0.002        routing: sip:200@example.org is account bob@example.org"
                " (2 contacts to try)"
            ),
            "alias: bob@example.org (200 is an alias)",
            "result: bob@example.org (account)",
            "+0.002        media passes through the relay (session m1)",
            "+0.003  B1 ←  trying sip:bob@192.0.2.2;leg=b1 of bob@example.org (Call-ID sip-b1)",
            (
                "+0.003  B2 ←  trying sip:bob@192.0.2.2;leg=b2 of bob@example.org, redirected by"
                " hunt@example.org (Call-ID sip-b2)"
            ),
            "+0.100  B2 →  180 ringing",
            "+0.101  A ←   180 ringing",
            "+0.150  B2 →  183 session progress",
            "+0.200  B1 →  ends: busy (status 486, Q.850 17, by callee)",
            "+4.000  B2 →  200 answered",
            "+4.001  A ←   200 answered",
            "+4.001        A and B2 talk",
            "+64.000  B2 →  ends: hung up normally (status 200, Q.850 16, by callee), talked 1:00",
            "+64.002  A ←   ends: hung up normally (status 200, Q.850 16, by callee), talked 1:00",
            (
                "+0.000        media of B2: PCMA, 990 packets in, 1000 out, 10 lost,"
                " jitter 2.5 ms, MOS 4.30"
            ),
            (
                "+64.002        the call is over, talked 1:00: hung up normally"
                " (status 200, Q.850 16, by callee)"
            ),
        ]

    @pytest.mark.parametrize(
        ("event", "words"),
        [
            (
                c.CallRouted(address="sip:x@y", outcome="unknown", status=404, reason="no x"),
                "routing: sip:x@y is unknown (404, no x)",
            ),
            (c.LegHeld(leg_id="a", direction="inactive"), "A →   puts the other side on hold"),
            (c.LegResumed(leg_id="a"), "A →   takes the call back"),
            (c.LegRenegotiated(leg_id="a", method="UPDATE"), "UPDATE carried through"),
            (
                c.LegRenegotiated(leg_id="a", method="INVITE", status=488),
                "INVITE refused with 488",
            ),
            (
                c.CallTransferred(
                    leg_id="b",
                    transferee_leg_id="a",
                    target_uri="sip:c",
                    kind="attended",
                    status=200,
                    other_call="call/o",
                ),
                "?1 →  attended transfer of A to sip:c (call o) succeeded",
            ),
            (
                c.CallTransferred(
                    leg_id="b", transferee_leg_id="a", target_uri="sip:c", kind="blind", status=404
                ),
                "blind transfer of A to sip:c failed with 404",
            ),
            (c.CallBridged(leg_id="a", peer_leg_id="x", bridge="m2"), "A and ?1 talk (media"),
            (c.LegMoved(leg_id="a", from_call="o", to_call="p"), "A moves from call o to call p"),
            (c.LegDigit(leg_id="a"), "A →   a digit by info"),
            (c.MediaTimedOut(bridge="m1"), "no packet on any stream of media session m1"),
            (
                c.MediaStats(leg_id="a", bridge="m", packets_dropped=3),
                "media of A: codec unknown, 0 packets in, 0 out, 0 lost, 3 dropped",
            ),
            (
                c.LegRinging(leg_id="a", status=199, early_media=True, reliable=True),
                "A ←   199 progress (early media, reliably)",
            ),
            (
                c.LegEnded(leg_id="a", status=487, cause="cancel", q850=16, ended_by="caller"),
                "A →   ends: the caller gave up (status 487",
            ),
            (over(5, recovered=True, ended_ns=START_NS, reason="node died"), "found open when"),
            (UnknownEvent(type="call.praised.v1", data=b"{}"), "call.praised.v1"),
        ],
    )
    def test_every_event_has_its_words(self, event: Event, words: str) -> None:
        log = MemoryLog()
        log.append("call/x", 0, [started(leg_id="a", from_display="Al"), event], Meta())
        story = Story()
        first, second = (line for record in log.read() for line in story.tell(record)[-1:])
        assert '"Al" sip:alice@example.org calls' in first
        assert words in second

    def test_what_cannot_be_decoded_does_not_end_the_story(self) -> None:
        log = MemoryLog()
        log.append("call/x", 0, [UnknownEvent(type="call.ended.v1", data=b"{}")], Meta())
        (record,) = log.read()
        assert "call.ended.v1 in call/x" in Story().tell(record)[0]

    def test_a_call_is_found_by_sip_call_id_and_by_the_start_of_its_id(
        self, pbx: Pbx, log: EmbeddedLog
    ) -> None:
        write(log, f"call/{CALL}", *ANSWERED)
        write(log, f"call/{CALL[:-1]}0", started(sip_call_id="other"))
        for name in ("sip-b2", CALL, f"call/{CALL}"):
            assert pbx("log", "--call", name).startswith(f"call {CALL},")
        assert "several calls fit" in pbx("log", "--call", CALL[:8], status=1)
        assert "no call has the id" in pbx("log", "--call", "nobody", status=1)


class TestListings:
    def test_calls_that_are_up(self, pbx: Pbx, log: EmbeddedLog) -> None:
        write(log, f"call/{CALL}", *ANSWERED, time_ns=NOW_NS - 64_001_000_000)
        write(log, "call/o", started(leg_id="o1", source="192.0.2.9:5060"), over(10))
        heads, line = pbx("calls").splitlines()
        assert heads.split()[:4] == ["CALL", "STATE", "FROM", "TO"]
        assert line.split()[:4] == [
            CALL,
            "answered",
            "sip:alice@example.org",
            "sip:200@example.org",
        ]
        assert line.split()[-2:] == ["1:00", "2"]
        (call,) = json.loads(pbx("calls", "--json"))
        assert [leg["role"] for leg in call["legs"]] == ["A", "B", "B"]
        assert call["end"] is None

    def test_call_records(self, pbx: Pbx, log: EmbeddedLog) -> None:
        write(log, f"call/{CALL}", *ANSWERED, *ENDED, FIGURES, over(64_002, talk_ms=60_001))
        heads, line = pbx("cdr", "list").splitlines()
        assert heads.split()[-3:] == ["CAUSE", "ENDED", "BY"]
        assert line.split() == [
            "2030-01-01",
            "00:01:04.002",
            CALL,
            "sip:alice@example.org",
            "sip:200@example.org",
            "4.0s",
            "1:00",
            "200",
            "normal/16",
            "callee",
        ]
        assert len(pbx("cdr", "list", "--legs").splitlines()) == 4
        (call,) = json.loads(pbx("cdr", "list", "--json"))
        assert (call["end"], call["end_ns"]) == (
            "2030-01-01T00:01:04.002Z",
            START_NS + 64_002_000_000,
        )
        assert [leg["talk_ms"] for leg in call["legs"]] == [60_001, 0, 60_000]
        assert json.loads(pbx("cdr", "list", "--json", "--until", "2030-01-01")) == []

    def test_registrations(self, pbx: Pbx, log: EmbeddedLog) -> None:
        for account, q in (("al@x", 0.5), ("bo@x", 1.0)):
            write(
                log,
                f"binding/{account}",
                BindingAdded(
                    contact_id="c1",
                    contact="sip:c@192.0.2.7",
                    expires_ns=NOW_NS + 90 * SECOND,
                    sip_call_id="r",
                    cseq=1,
                    q=q,
                    remote="192.0.2.7:5062",
                    nat=True,
                ),
            )
        _, first, second = pbx("registrations").splitlines()
        assert first.split()[:4] == ["al@x", "sip:c@192.0.2.7", "0.5", "1:30"]
        assert second.split()[4:] == ["192.0.2.7:5062/udp", "yes", "-"]
        (only,) = json.loads(pbx("registrations", "bo@x", "--json"))
        assert (only["account"], only["expires_ns"]) == ("bo@x", NOW_NS + 90 * SECOND)

    def test_a_stopped_projection_is_said_and_the_rest_is_shown(
        self, data: Path, log: EmbeddedLog, capsys: pytest.CaptureFixture[str]
    ) -> None:
        write(log, "call/x", UnknownEvent(type="call.started.v1", data=b"{}"))
        assert main(["registrations", "--json", "--data", str(data)]) == 0
        captured = capsys.readouterr()
        assert json.loads(captured.out) == []
        assert "what follows may be old: projection calls stopped at position 1" in captured.err


class TestReplay:
    def test_all_is_rebuilt_and_equal(self, pbx: Pbx, log: EmbeddedLog) -> None:
        write(log, f"call/{CALL}", *ANSWERED, *ENDED, over(64_002))
        first, second = pbx("replay", "--all").splitlines()
        assert first.startswith(
            "domains, accounts, bindings, calls, cdrs, mailboxes, ivr: 14 events in "
        )
        assert "events/s), 8 rows" in first
        assert second == "equal to the live tables"
        outcome = json.loads(pbx("replay", "cdr", "--json"))
        assert (outcome["projections"], outcome["different"]) == (["cdrs"], 0)

    def test_differences_are_told_and_files_put_right(
        self, pbx: Pbx, log: EmbeddedLog, data: Path
    ) -> None:
        write(log, f"call/{CALL}", *ANSWERED, *ENDED, over(64_002))
        pbx("cdr", "list")
        path = data / "CDRs" / "2030-01-01.cdr"
        right = path.read_text()
        for number in range(30):
            write(log, f"call/{number}", started(leg_id=f"{number}"), over(1))
        pbx("calls")
        with sqlite3.connect(data / "readmodel.sqlite3") as database:
            database.execute("UPDATE cdrs SET status = 7, cause = 'odd'")
            database.execute("DELETE FROM cdr_legs WHERE role = 'A'")
            database.execute("UPDATE cdr_legs SET leg_id = 'zz' WHERE leg_id = 'b1'")
        database.close()
        told = pbx("replay", "cdrs").splitlines()
        assert told[1] == "64 rows differed and were replaced:"
        assert told[2] == "  cdrs 0: status 7 → 200, cause 'odd' → 'normal'"
        assert told[-1] == "  and 44 more"
        assert path.read_text().startswith(right)

    def test_missing_and_surplus_rows_are_named(
        self, pbx: Pbx, log: EmbeddedLog, data: Path
    ) -> None:
        write(log, "domain/x", DomainCreated(name="x"))
        pbx("calls")
        with sqlite3.connect(data / "readmodel.sqlite3") as database:
            database.execute("UPDATE domains SET name = 'y'")
        database.close()
        assert pbx("replay", "domains").splitlines()[1:] == [
            "2 rows differed and were replaced:",
            "  domains x: was missing",
            "  domains y: should not have been",
        ]

    def test_status_and_skip(self, pbx: Pbx, log: EmbeddedLog) -> None:
        write(log, "domain/x", UnknownEvent(type="domain.created.v1", data=b"{}"))
        pbx("calls")
        status = pbx("replay", "--status")
        assert "stopped at 1: DecodeError: domain.created.v1" in status
        assert "has not stopped at any event" in pbx("replay", "--skip", "calls", status=1)
        assert pbx("replay", "--skip", "domains") == "domains goes on behind position 1\n"
        assert pbx("replay", "--skip", "accounts") == "accounts goes on behind position 1\n"
        pbx("calls")
        rows = json.loads(pbx("replay", "--status", "--json"))
        assert {row["name"] for row in rows} == set(PROJECTION_NAMES)
        assert {(row["behind"], row["error"]) for row in rows} == {(0, "")}

    def test_unheard_projections_are_refused_by_name(self, pbx: Pbx, log: EmbeddedLog) -> None:
        assert "there are domains, accounts, bindings" in pbx("replay", "faxes", status=1)

    def test_a_rebuild_goes_as_far_as_the_live_projection_stands(
        self, pbx: Pbx, log: EmbeddedLog
    ) -> None:
        write(log, "domain/x", UnknownEvent(type="domain.created.v1", data=b"{}"))
        pbx("replay", "--skip", "domains", status=1)  # there are no rows before the first look
        assert "equal to the live tables" in pbx("replay", "domains"), "both stand before it"


class TestTimes:
    def test_distances_into_the_past(self) -> None:
        assert parse_time("2h") == NOW_NS - 7200 * SECOND
        assert parse_time("2030-01-01") == START_NS
        assert parse_time("2030-01-01T01:00:00.25+01:00") == START_NS + SECOND // 4
        with pytest.raises(argparse.ArgumentTypeError, match="yesterday is no time"):
            parse_time("yesterday")

    @pytest.mark.parametrize(
        ("milliseconds", "shown"),
        [(-5, "-"), (0, "-"), (1_250, "1.2s"), (725_000, "12:05"), (11_525_999, "3:12:05")],
    )
    def test_durations(self, milliseconds: int, shown: str) -> None:
        assert show_duration(milliseconds) == shown

    def test_no_time_is_a_dash(self) -> None:
        assert show_time(0) == "-"


def test_commands_work_beside_a_server_that_holds_the_lease(
    pbx: Pbx, log: EmbeddedLog, data: Path
) -> None:
    write(log, "domain/x", DomainCreated(name="x"))
    pbx("calls")
    server = open_read_model(data)
    assert server.lease.acquire()
    assert pbx("calls").startswith("CALL")
    server.close()


def test_schemas_are_written_where_one_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from pbx.cli.main import main

    folder = tmp_path / "deep" / "schemas"
    assert main(["log", "schema", "--out", str(folder)]) == 0
    assert capsys.readouterr().out == f"{len(list(folder.iterdir()))} documents in {folder}\n"
    assert main(["log", "schema"]) == 1
    assert "--out DIR" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert main(["log", "schema", "--out", str(tmp_path / "file")]) == 1
    assert "cannot write" in capsys.readouterr().err


def test_a_call_record_is_shown_with_its_legs(log: EmbeddedLog, pbx: Pbx) -> None:
    legs = (RecordedLeg(leg_id="a", role="A"), RecordedLeg(leg_id="b", role="B", ordinal=1))
    write(log, cdr_stream("c1"), CdrRecorded(call_id="c1", rules=1, talk_ms=60_000, legs=legs))
    (shown,) = objects(pbx("log", "--json", "--type", "cdr.*"))
    assert (shown["stream"], shown["data"]["talk_ms"]) == ("cdr/c1", 60_000)
    assert shown["data"]["legs"] == [
        {"leg_id": "a", "role": "A"},
        {"leg_id": "b", "role": "B", "ordinal": 1},
    ]
    assert "talk_ms=60000" in pbx("log", "--stream", "cdr/c1")
