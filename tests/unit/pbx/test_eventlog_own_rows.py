"""A reader that leaves out what its own process appended finds what the others did, and only that
is looked at."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from pbx.eventlog import EmbeddedLog, Subscription
from pbx.eventlog.own_rows import MAX_GAPS, OwnRows
from pbx.eventlog.record import ANY_VERSION, Decision, Row

STREAMS = ("call/1", "call/2", "account/a@x", "server", "node/n")
CATEGORY = "pbx.config"


def row(stream: str, version: int) -> Row:
    return (stream, version, "leg.digit.v1", 1, "", "", "", "", "", b'{"leg_id":"a"}')


batches = st.lists(
    st.tuples(
        st.booleans(),  # by the reader's process
        st.lists(
            st.tuples(
                st.sampled_from(STREAMS), st.sampled_from((ANY_VERSION, 1, 2, 3)), st.booleans()
            ),
            min_size=1,
            max_size=5,
        ),
        st.booleans(),  # a poll follows
    ),
    max_size=12,
)


@given(batches)
def test_followers_find_every_row_of_their_category_once(steps: list[tuple]) -> None:  # type: ignore[type-arg]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "log.sqlite3"
        ours, others = EmbeddedLog(path), EmbeddedLog(path)
        followers = {name: Subscription(ours, category=name) for name in (CATEGORY, "pbx.nodes")}
        found: dict[str, list[int]] = {name: [] for name in followers}

        def poll() -> None:
            for name, follower in followers.items():
                while records := follower.poll(limit=3):
                    found[name] += [record.position for record in records]

        for by_us, entries, polled in steps:
            # A version may be taken already: then a fact is renumbered or dropped and a decision
            # refused.
            (ours if by_us else others).commit(
                [
                    Decision(stream, version, [row(stream, 0)]) if decided else row(stream, version)
                    for stream, version, decided in entries
                ]
            )
            if polled:
                poll()
        poll()
        for name in followers:
            assert found[name] == [record.position for record in others.read(category=name)]
        ours.close()
        others.close()


def test_own_rows_of_other_streams_are_not_looked_through() -> None:
    own = OwnRows()
    own.appending(["call/1"], 20)
    own.appended(11, 20)
    assert own.elsewhere(10, 20, ["account"]) == []
    assert own.elsewhere(5, 25, ["account"]) == [(5, 10), (20, 25)]
    own.appending(["call/1", "call/2"], 40)
    own.appended(31, 40)
    assert own.elsewhere(12, 40, ["account"]) == [(20, 30)]
    assert own.elsewhere(25, 28, ["account"]) == [(25, 28)]
    assert own.elsewhere(12, 40, ["account", "call"]) == [(12, 40)]


def test_a_transaction_that_was_rolled_back_leaves_its_positions_to_others() -> None:
    own = OwnRows()
    own.appending(["call/1"], 10)
    own.appended(1, 10)
    own.appending(["call/1"], 12)  # and no more
    assert own.elsewhere(0, 15, ["account"]) == [(10, 15)]


def test_of_many_runs_the_older_ones_are_read_whole() -> None:
    own = OwnRows()
    for n in range(1, MAX_GAPS + 10):
        own.appending(["call/1"], 2 * n)
        own.appended(2 * n, 2 * n)
    runs = own.elsewhere(0, 1000, ["account"])
    assert len(runs) <= MAX_GAPS + 2
    covered = {p for start, end in runs for p in range(start + 1, end + 1)}
    assert covered >= set(range(1, 2 * MAX_GAPS, 2))
