"""Feeds under any history, filter and way of reading: the same records, each once, in order."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlencode

from hypothesis import given, settings
from hypothesis import strategies as st

from pbx.domain.calls import LegDigit
from pbx.domain.nodes import NodeAlive
from pbx.eventlog import EmbeddedLog, MemoryLog, Meta, Record, embedded_reader
from pbx.eventlog.batches import read_batch
from pbx.eventlog.feed import BEGINNING, FeedFilter, check_filter, fits, stored_types
from pbx.kernel.errors import FeedError
from pbx.tokens import TokenDirectory, create_token
from pbx.web.feed_request import PARAMETERS
from tests.support.web_lab import WebLab

STREAMS = ("call/1", "call/2", "node/a", "server", "domain/x", "thing/y", "account/al@x")
TENANTS = ("", "a.example", "b.example")

appends = st.lists(
    st.tuples(st.sampled_from(STREAMS), st.sampled_from(TENANTS), st.booleans(), st.integers(1, 3)),
    max_size=25,
)
filters = st.builds(
    FeedFilter,
    categories=st.lists(
        st.sampled_from(("pbx.calls", "pbx.config", "pbx.nodes", "pbx.other")), max_size=2
    ).map(tuple),
    types=st.lists(
        st.sampled_from(("leg.*", "node.alive.v1", "node.alive", "*", "leg.digit.v?")), max_size=2
    ).map(tuple),
    streams=st.lists(
        st.sampled_from((*STREAMS, "call/*", "domain/*", "*", "?ode/a", "account/*@x")), max_size=2
    ).map(tuple),
    tenant=st.sampled_from((None, *TENANTS)),
)


@settings(max_examples=50)  # each makes a file
@given(appends, filters, st.lists(st.integers(1, 5), min_size=1, max_size=5), st.integers(1, 4))
def test_pages_of_any_size_give_what_fits(
    history: list[tuple[str, str, bool, int]],
    chosen: FeedFilter,
    sizes: list[int],
    window: int,
) -> None:
    """Memory and embedded log, read by pages and through small windows, agree with the filter."""
    with tempfile.TemporaryDirectory() as folder:
        memory = MemoryLog()
        embedded = EmbeddedLog(Path(folder) / "log.sqlite3")
        original = embedded_reader.WINDOW
        embedded_reader.WINDOW = window  # type: ignore[misc]
        try:
            for stream, tenant, digit, count in history:
                events = [LegDigit(leg_id="a") if digit else NodeAlive()] * count
                for log in (memory, embedded):
                    log.append(stream, -1, events, Meta(tenant=tenant))
            keep = fits(
                chosen.categories, stored_types(chosen.types), chosen.streams, chosen.tenant
            )
            expected = [name(record) for record in memory.read() if keep(record)]
            for log in (memory, embedded):
                assert paged(log, chosen, sizes) == expected
                whole = [name(r) for _, r in chosen.read(log, BEGINNING) if r is not None]
                assert whole == expected
        finally:
            embedded_reader.WINDOW = original  # type: ignore[misc]
            embedded.close()


def paged(log: MemoryLog | EmbeddedLog, chosen: FeedFilter, sizes: list[int]) -> list[str]:
    """Read by batches of changing size that each end for another reason."""
    found: list[str] = []
    after, turn, more = BEGINNING, 0, True
    while more:
        late = turn % 2 == 0
        clock = iter(range(1000)).__next__ if late else lambda: 0
        batch = read_batch(log, chosen, after, sizes[turn % len(sizes)], clock, max_s=1.0)
        found += [item.name for item in batch.events]
        after, more = batch.after, batch.more
        turn += 1
    return found


def name(record: Record) -> str:
    return f"{record.stream}@{record.version}"


def words_of(work: Callable[[], object]) -> str:
    """What a reader is told if `work` is refused."""
    try:
        work()
    except FeedError as error:
        return str(error) or "no words"
    return ""


@given(st.lists(st.text(max_size=20), max_size=3), st.lists(st.text(max_size=20), max_size=3))
def test_any_pattern_is_taken_or_refused_with_words(types: list[str], streams: list[str]) -> None:
    log = MemoryLog()
    log.append("call/1", 0, [LegDigit(leg_id="a")], Meta())
    refused = words_of(lambda: check_filter((), types, streams))
    if not refused:
        list(log.read_feed(types=types, streams=streams))


@given(st.text(max_size=100))
def test_any_position_is_taken_or_refused_with_words(token: str) -> None:
    log = MemoryLog()
    log.append("call/1", 0, [LegDigit(leg_id="a")], Meta())
    if not words_of(lambda: list(log.read_feed(token))):
        assert token in ("", *(f"{'0' * zeros}{n}" for n in (0, 1) for zeros in range(18)))


@given(st.data())
def test_only_the_very_token_opens(data: st.DataObject) -> None:
    log = MemoryLog()
    seed = iter(range(1, 100))
    issued = create_token(
        log,
        actor="t",
        name="t",
        scopes=["events:read"],
        now_ns=1,
        random=lambda count: bytes([next(seed)] * count),
    )
    directory = TokenDirectory(log)
    assert directory.check(issued.text, 1) is not None
    place = data.draw(st.integers(0, len(issued.text) - 1))
    other = data.draw(st.characters().filter(lambda sign: sign != issued.text[place]))
    assert directory.check(issued.text[:place] + other + issued.text[place + 1 :], 1) is None
    assert directory.check(data.draw(st.text()), 1) is None


queries = st.lists(
    st.tuples(
        st.one_of(st.sampled_from(PARAMETERS), st.text(max_size=8)),
        st.one_of(st.text(max_size=20), st.sampled_from(("leg.*", "pbx.calls", "1", "now", "*"))),
    ),
    max_size=4,
).map(lambda pairs: [pair for pair in pairs if pair[0] != "wait"])


def test_any_query_is_answered_or_refused_with_a_problem() -> None:
    lab = WebLab()
    lab.log.append("call/1", 0, [LegDigit(leg_id="a")], Meta())
    with lab.client() as client:

        @given(queries)
        def check(query: list[tuple[str, str]]) -> None:
            answer = client.get(f"/events?{urlencode(query)}")
            if answer.status_code == 200:
                assert answer.json().keys() == {"events", "next", "more"}
            else:
                assert answer.status_code in (400, 410)
                assert answer.json()["status"] == answer.status_code

        check()
    lab.close()
