"""The contract of feeds: one class of tests, run on every log that consumers may read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from pbx.domain.accounts import AccountCreated, DomainCreated
from pbx.domain.calls import LegAnswered, LegDigit
from pbx.domain.nodes import NodeAlive
from pbx.eventlog import Codec, EmbeddedLog, EventLog, MemoryLog, Meta, embedded_reader, memory_keys
from pbx.eventlog.feed import BEGINNING, FeedFilter, FeedLog, stored_types
from pbx.kernel.errors import BadFilter, BadPosition, PositionUnknown
from tests.support.fake_kafka import FakeKafka, FakeLogRole


class Log(EventLog, FeedLog, Protocol):
    """Both ports."""


ONE_SEQUENCE = ["memory", "embedded", "embedded in small windows"]


@pytest.fixture(params=[*ONE_SEQUENCE, "cluster"])
def log(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Log]:
    opened: Log
    if request.param == "cluster":
        role = FakeLogRole(FakeKafka(), tmp_path, "n1")
        # The log role ships and reads as soon as something is there.
        monkeypatch.setattr(role.log, "append", then(role.log.append, role.ship, role.read))
        yield role.log
        role.close()
        return
    if request.param == "memory":
        opened = MemoryLog(node="n1")
    else:
        if "small" in request.param:
            monkeypatch.setattr(embedded_reader, "WINDOW", 3)
            monkeypatch.setattr(embedded_reader, "CHUNK", 2)
        opened = EmbeddedLog(tmp_path / "log.sqlite3", codec=Codec(memory_keys()), node="n1")
    yield opened
    opened.close()


def then(call: Callable[..., Any], *after: Callable[[], object]) -> Callable[..., Any]:
    """`call`, and what follows it."""

    def called(*values: Any) -> Any:
        result = call(*values)
        for step in after:
            step()
        return result

    return called


def fill(log: Log, calls: int = 4) -> None:
    """Twelve records for four calls: two domains, each with its account, and the node between."""
    for name in ("a.example", "b.example"):
        log.append(f"domain/{name}", 0, [DomainCreated(name=name)], Meta(tenant=name))
        account = AccountCreated(name="al", domain=name)
        log.append(f"account/al@{name}", 0, [account], Meta(tenant=name))
    for number in range(calls):
        events = [LegDigit(leg_id="a"), LegAnswered(leg_id="a")][: 1 + number % 2]
        tenant = "ab"[number % 2] + ".example"
        log.append(f"call/{number}", 0, events, Meta(tenant=tenant, correlation=str(number)))
        log.append(f"node/{number}", 0, [NodeAlive()], Meta())


def names(log: Log, after: str = BEGINNING, **filters: Any) -> list[str]:
    """Streams and versions of what a feed gives."""
    steps = log.read_feed(after, **filters)
    return [f"{record.stream}@{record.version}" for _, record in steps if record is not None]


class TestReading:
    def test_everything_comes_in_order(self, log: Log) -> None:
        fill(log)
        assert names(log) == [f"{record.stream}@{record.version}" for record in log.read()]

    def test_each_token_resumes_behind_its_record(self, log: Log) -> None:
        fill(log)
        steps = [(token, record) for token, record in log.read_feed() if record is not None]
        everything = names(log)
        for number, (token, _) in enumerate(steps, start=1):
            assert names(log, token) == everything[number:]

    def test_a_reader_that_stops_anywhere_misses_and_repeats_nothing(self, log: Log) -> None:
        fill(log, 10)
        for size in (1, 2, 3, 7):
            found: list[str] = []
            after = BEGINNING
            while True:
                page = list(log.read_feed(after, types=("leg.*",), limit=size))
                if not page or page[-1][0] == after:
                    break
                found += [f"{r.stream}@{r.version}" for _, r in page if r is not None]
                after = page[-1][0]
            assert found == names(log, types=("leg.*",))

    def test_a_limit_counts_records(self, log: Log) -> None:
        fill(log)
        assert names(log, limit=3) == names(log)[:3]
        assert names(log, streams=("account/*",), limit=1) == ["account/al@a.example@1"]

    def test_what_is_appended_later_comes_after_the_last_token(self, log: Log) -> None:
        fill(log)
        last = list(log.read_feed())[-1][0]
        log.append("call/new", 0, [LegDigit(leg_id="a")], Meta())
        assert names(log, last) == ["call/new@1"]

    def test_an_empty_log_gives_nothing(self, log: Log) -> None:
        assert names(log) == []
        assert names(log, log.feed_head()) == []

    def test_the_head_is_where_later_records_come_from(self, log: Log) -> None:
        fill(log)
        head = log.feed_head()
        assert log.feed_head() == head
        log.append("call/new", 0, [LegDigit(leg_id="a")], Meta())
        assert log.feed_head() != head
        assert names(log, head) == ["call/new@1"]

    def test_a_reader_whose_filter_fits_nothing_gets_on(self, log: Log) -> None:
        """Its last token lies behind all it looked through: it need not do so again."""
        fill(log, 20)
        token, record = list(log.read_feed(types=("no.such",)))[-1]
        assert record is None
        log.append("call/new", 0, [LegDigit(leg_id="a")], Meta())
        assert names(log, token) == ["call/new@1"]


class TestFilters:
    def test_by_category(self, log: Log) -> None:
        fill(log)
        assert names(log, categories=("pbx.config",)) == [
            "domain/a.example@1",
            "account/al@a.example@1",
            "domain/b.example@1",
            "account/al@b.example@1",
        ]
        both = names(log, categories=("pbx.config", "pbx.calls"))
        assert both == [name for name in names(log) if not name.startswith("node/")]
        assert names(log, categories=("pbx.other",)) == []

    def test_streams_of_unknown_kinds_are_other(self, log: Log) -> None:
        log.append("thing/x", 0, [NodeAlive()], Meta())
        log.append("server", 0, [NodeAlive()], Meta())
        assert names(log, categories=("pbx.other",)) == ["thing/x@1"]
        assert names(log, categories=("pbx.config",)) == ["server@1"]

    def test_by_type(self, log: Log) -> None:
        fill(log)
        assert names(log, types=("leg.digit.v1",)) == [f"call/{n}@1" for n in range(4)]
        assert names(log, types=("leg.*",)) == names(log, categories=("pbx.calls",))
        assert names(log, types=("leg.?igit.v?", "domain.*"))[0] == "domain/a.example@1"

    def test_by_stream(self, log: Log) -> None:
        fill(log)
        assert names(log, streams=("call/1",)) == ["call/1@1", "call/1@2"]
        assert names(log, streams=("call/*",)) == names(log, categories=("pbx.calls",))
        assert names(log, streams=("account/*@b.example", "call/0")) == [
            "account/al@b.example@1",
            "call/0@1",
        ]
        assert names(log, streams=("domain/*",)) == ["domain/a.example@1", "domain/b.example@1"]

    def test_a_tenant_sees_its_own(self, log: Log) -> None:
        fill(log)
        seen = [record for _, record in log.read_feed(tenant="a.example") if record is not None]
        assert {record.tenant for record in seen} == {"a.example"}
        assert len(seen) == 4
        assert names(log, tenant="a.example", streams=("call/*",)) == ["call/0@1", "call/2@1"]
        assert names(log, tenant="a.example", streams=("call/1",)) == []
        assert names(log, tenant="A.EXAMPLE") == []
        assert names(log, tenant="") == [f"node/{n}@1" for n in range(4)]

    def test_a_name_with_signs_of_patterns_for_other_systems_is_only_a_name(self, log: Log) -> None:
        fill(log)
        for stream in ("call/'--", "call/%", "call/_", 'call/"1"'):
            assert names(log, streams=(stream,)) == []


class TestRefusals:
    @pytest.mark.parametrize(
        "token", ["x", "-1", "1.5", " 1", "1\n", "0x1", "9" * 30, "１", "1-", "1-abc", "1-0123456G"]
    )
    def test_a_token_that_is_none(self, log: Log, token: str) -> None:
        with pytest.raises(BadPosition):
            log.read_feed(token)

    @pytest.mark.parametrize("log", ONE_SEQUENCE, indirect=True)
    def test_a_token_of_a_longer_log(self, log: Log) -> None:
        """It was restored from a backup: waiting there would skip what is written next."""
        fill(log)
        with pytest.raises(PositionUnknown, match="another log"):
            log.read_feed("1000")

    @pytest.mark.parametrize("log", ONE_SEQUENCE, indirect=True)
    def test_a_token_of_another_history(self, log: Log) -> None:
        """The log lost its end and has gone on with other records at the same positions."""
        fill(log)
        other = MemoryLog(node="n1")
        fill(other)
        for token in (other.feed_head(), list(other.read_feed(limit=3))[-1][0]):
            with pytest.raises(PositionUnknown, match="lost its end"):
                log.read_feed(token)

    @pytest.mark.parametrize("log", ONE_SEQUENCE, indirect=True)
    def test_a_bare_position_is_taken_from_people(self, log: Log) -> None:
        fill(log)
        assert names(log, "3") == names(log)[3:]
        assert names(log, "0") == names(log)

    @pytest.mark.parametrize(
        "filters",
        [
            {"categories": ("pbx.nothing",)},
            {"types": ("leg[12]",)},
            {"types": ("",)},
            {"streams": ("call/\x00",)},
            {"streams": ("a" * 301,)},
            {"types": ("a",) * 151},
        ],
    )
    def test_a_filter_that_cannot_fit(self, log: Log, filters: dict[str, Any]) -> None:
        with pytest.raises(BadFilter):
            log.read_feed(**filters)

    def test_a_filter_checks_itself(self) -> None:
        with pytest.raises(BadFilter, match=r"pbx\.calls"):
            FeedFilter(categories=("calls",))


def test_a_type_without_its_version_means_all_of_them() -> None:
    assert stored_types(("leg.answered", "call.*")) == ("leg.answered", "call.*", "leg.answered.v*")
