"""History of the configuration: flat views lose nothing, and lead back to events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pbx.data import to_json
from pbx.domain import accounts, blacklist, objects, server
from pbx.domain import setting_events as settings
from pbx.eventlog import MemoryLog, Meta
from pbx.history.changes import EVERYTHING, Target, view_at
from pbx.history.errors import HistoryError
from pbx.history.lines import Conflict, attributed, hunks, lines_of, merged, patched
from pbx.history.restore import events_to
from pbx.history.revert import Reverts
from pbx.history.show import change_lines, json_of
from pbx.history.view import EXISTS, PASSWORD, Hidden, Key, apply, diff, evolve, fold, view_of
from pbx.kernel.events import Event
from pbx.router import parse_table

NAMES = st.lists(st.sampled_from(["401", "402", "ann", "bob"]), unique=True).map(tuple)
WORDS = st.sampled_from(["", "a", "b", "Ann Lee"])
VALUES = st.one_of(WORDS, st.booleans().map(str), st.lists(WORDS, max_size=2))
SECRETS = st.sampled_from(["", '{"GatewayPassword":"open sesame"}', '{"G":{"PSTNPassword":"x1"}}'])


def _changed(kind: type[settings.SettingsChanged]) -> st.SearchStrategy[Event]:
    return st.builds(
        lambda section, values, removed, secrets: kind(
            section=section,
            values={key: to_json(value) for key, value in values.items()},
            removed=tuple(key for key in removed if key not in values),
            secrets=secrets,
        ),
        st.sampled_from(["settings", "prefs", "module.SIP"]),
        st.dictionaries(st.sampled_from(["RealName", "CallsLimit", "Colour", "G"]), VALUES),
        st.lists(st.sampled_from(["RealName", "Colour", "GatewayPassword", "G"]), unique=True),
        SECRETS,
    )


ACCOUNT = st.one_of(
    st.builds(accounts.AccountCreated, name=st.just("ann"), domain=st.just("a.dom"),
              display_name=WORDS),
    st.builds(accounts.AccountDeleted, name=st.just("ann"), domain=st.just("a.dom")),
    st.builds(accounts.AccountPasswordSet, realm=st.just("a.dom"), ha1_md5=st.sampled_from("12"),
              ha1_sha256=st.just("x")),
    st.builds(accounts.AccountLimitsSet, calls_limit=st.integers(-1, 3)),
    st.builds(accounts.AccountAliasesSet, aliases=NAMES),
    st.builds(accounts.AccountTelnumsSet, telnums=NAMES),
    st.builds(settings.AccountRightsSet, rights=NAMES),
    _changed(settings.AccountSettingsChanged),
)  # fmt: skip
DOMAIN = st.one_of(
    st.builds(accounts.DomainCreated, name=st.just("a.dom"), aliases=NAMES),
    st.builds(accounts.DomainDeleted, name=st.just("a.dom")),
    st.builds(accounts.DomainAliasesSet, aliases=NAMES),
    _changed(settings.DomainSettingsChanged),
)
GROUP = st.one_of(
    st.builds(objects.GroupCreated, name=st.just("g"), domain=st.just("a.dom")),
    st.builds(objects.GroupDeleted, name=st.just("g"), domain=st.just("a.dom")),
    st.builds(objects.GroupSet, members=NAMES, real_name=WORDS, options=NAMES),
)
FORWARDER = st.one_of(
    st.builds(objects.ForwarderCreated, name=st.just("f"), domain=st.just("a.dom"),
              target=st.sampled_from("xyz")),
    st.builds(objects.ForwarderDeleted, name=st.just("f"), domain=st.just("a.dom")),
    st.builds(objects.ForwarderSet, target=st.sampled_from("xyz")),
)  # fmt: skip
LIST = st.one_of(
    st.builds(objects.ListCreated, name=st.just("l"), domain=st.just("a.dom"),
              owner=st.sampled_from("xyz")),
    st.builds(objects.ListDeleted, name=st.just("l"), domain=st.just("a.dom")),
    st.builds(objects.ListSet, owner=st.sampled_from("xyz"),
              settings=st.dictionaries(st.sampled_from("pq"), st.sampled_from("12"))),
)  # fmt: skip
TASK = st.one_of(
    st.builds(objects.TaskCreated, name=st.just("t"), domain=st.just("a.dom"),
              owner=st.sampled_from("xyz"), program=st.just("echotest")),
    st.builds(objects.TaskDeleted, name=st.just("t"), domain=st.just("a.dom")),
    st.builds(objects.TaskSet, owner=st.sampled_from("xyz"), program=st.just("queue"),
              real_name=WORDS),
)  # fmt: skip
TABLES = st.lists(st.sampled_from(["<a> = b\n", "<c> = d\n", "; x\n", "\n"]), max_size=6)
SERVER = st.one_of(
    st.builds(server.RouterTableSet, text=TABLES.map("".join),
              table=st.sampled_from(server.TABLES)),
    _changed(settings.ServerSettingsChanged),
)  # fmt: skip
BLACKLIST = st.one_of(
    st.builds(blacklist.AddressBlacklisted, address=st.sampled_from(["192.0.2.1", "192.0.2.2"]),
              until_ns=st.integers(0, 3)),
    st.builds(blacklist.AddressReleased, address=st.sampled_from(["192.0.2.1", "192.0.2.2"])),
)  # fmt: skip
STREAMS = {
    "account/ann@a.dom": ACCOUNT,
    "domain/a.dom": DOMAIN,
    "group/g@a.dom": GROUP,
    "forwarder/f@a.dom": FORWARDER,
    "list/l@a.dom": LIST,
    "task/t@a.dom": TASK,
    "server": SERVER,
    "server/blacklist": BLACKLIST,
}


def _possible(events: Sequence[Event]) -> list[Event]:
    """Those that a stream can have: an object is made once, and is there before it changes."""
    kept: list[Event] = []
    exists = False
    for happened in events:
        verb = type(happened).__name__
        if verb.endswith(("Created", "Deleted")):
            if exists == verb.endswith("Created"):
                continue
            exists = not exists
        elif not exists and not isinstance(
            happened,
            server.RouterTableSet
            | settings.ServerSettingsChanged
            | blacklist.AddressBlacklisted
            | blacklist.AddressReleased,
        ):
            continue
        kept.append(happened)
    return kept


@st.composite
def histories(draw: st.DrawFn) -> tuple[str, list[Event]]:
    stream = draw(st.sampled_from(sorted(STREAMS)))
    return stream, _possible(draw(st.lists(STREAMS[stream], max_size=12)))


@given(histories(), st.data())
def test_a_difference_leads_from_one_state_to_the_other(
    history: tuple[str, list[Event]], data: st.DataObject
) -> None:
    stream, events = history
    first, second = (data.draw(st.integers(0, len(events))) for _ in range(2))
    a, b = (view_of(fold(stream, events[:count])) for count in (first, second))
    assert apply(diff(a, b), a) == b
    assert diff(b, b) == []


@given(histories(), st.data())
def test_events_lead_to_any_earlier_state(
    history: tuple[str, list[Event]], data: st.DataObject
) -> None:
    stream, events = history
    state = fold(stream, events)
    then = view_of(fold(stream, events[: data.draw(st.integers(0, len(events)))]))
    held = view_of(state)
    try:
        back = events_to(stream, state, then)
    except HistoryError:
        # A password cannot be taken away from who has one; all else can.
        assert PASSWORD in held and PASSWORD not in then
        return
    for happened in back:
        state = evolve(state, happened)
    assert view_of(state) == then
    assert events_to(stream, state, then) == []


@given(histories())
def test_the_last_change_can_be_taken_back(history: tuple[str, list[Event]]) -> None:
    stream, events = history
    log = MemoryLog()
    if stream != "domain/a.dom":
        log.append("domain/a.dom", 0, [accounts.DomainCreated(name="a.dom")], Meta())
    for owner in "xyz":
        owned = [accounts.AccountCreated(name=owner, domain="a.dom")]
        log.append(f"account/{owner}@a.dom", 0, owned, Meta())
    if not events:
        return
    log.append(stream, 0, events[:-1], Meta())
    target = Target(stream, stream, EVERYTHING)
    before = view_at(log, target)
    last = log.append(stream, len(events) - 1, events[-1:], Meta())
    after = view_at(log, target)
    if before == after:
        return
    reverts = Reverts(log, actor="test")
    try:
        plan = reverts.of_change(last)
    except HistoryError:
        assert EXISTS not in before  # a revert deletes nothing
        return
    reverts.carry_out(plan)
    kept = {PASSWORD: after[PASSWORD]} if plan.notes and PASSWORD in after else {}
    assert view_at(log, target) == {**before, **kept}
    written = list(log.read_stream(stream))[-1]
    assert not plan.changes or written.causation == str(last)


@given(histories())
def test_no_secret_is_shown(history: tuple[str, list[Event]]) -> None:
    stream, events = history
    view = view_of(fold(stream, events))
    empty: dict[Key, Any] = {}
    shown = repr([json_of(*item) for item in view.items()])
    shown += repr([change_lines(change) for change in diff(empty, view)])
    assert "sesame" not in shown and "x1" not in shown
    assert not any(isinstance(json_of(key, value), Hidden) for key, value in view.items())


TEXT = st.lists(st.sampled_from(["a\n", "b\n", "c\n", "d\n"]), max_size=8).map("".join)


@given(TEXT, TEXT, TEXT)
def test_merging_lines(base: str, ours: str, theirs: str) -> None:
    assert patched(lines_of(base), hunks(lines_of(base), lines_of(ours))) == lines_of(ours)
    assert merged(base, base, theirs) == theirs
    assert merged(base, ours, base) == ours
    assert merged(base, ours, ours) == ours
    # What both sides did is there, or refused, whoever did it.
    assert _merged(base, theirs, ours) == _merged(base, ours, theirs)


def _merged(base: str, ours: str, theirs: str) -> str | None:
    try:
        return merged(base, ours, theirs)
    except Conflict as conflict:
        return None if conflict.lines else "a conflict nowhere"


@given(st.lists(TEXT, min_size=1, max_size=6))
def test_each_line_has_an_origin(versions: list[str]) -> None:
    lines: list[tuple[str, int]] = []
    for number, text in enumerate(versions):
        lines = attributed(lines, text, number)
        assert "".join(line for line, _ in lines) == text
    for line, number in lines:
        assert line in lines_of(versions[number])


def test_the_tables_above_are_tables() -> None:
    parse_table("<a> = b\n<c> = d\n; x\n\n")
