"""Random rule sets: the compiled rules decide as a naive reading does; stored forms go round."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from pbx.kernel.errors import DomainError
from pbx.rules import (
    Facts,
    Level,
    RuleError,
    Simple,
    check_rules,
    compile_rules,
    evaluate,
    merge,
    parse_rules,
    parse_targets,
    replaced,
    rules_to_data,
    simple_of,
    stages,
)
from pbx.rules import given as fixed
from pbx.rules.moments import date_test, parse_days, time_test
from pbx.rules.pictures import any_picture, folded, picture
from pbx.rules.vocabulary import Operator, Subject
from tests.support import naive_rules

ADDRESSES = ("bob@a.com", "BOB@A.com", "carol@b.org", "", "ann", "x*y")
PICTURES = ("*", "*@a.com", "bob@*", "b*b@*.c*m", "carol@b.org", "*.*.*", "", "BOB@a.COM")
MONTHS = naive_rules.MONTHS


def _texts(subject: Subject) -> st.SearchStrategy[tuple[Subject, Operator, str]]:
    plain = st.sampled_from(PICTURES)
    return st.one_of(
        st.tuples(st.just(subject), st.sampled_from([Operator.IS, Operator.IS_NOT]), plain),
        st.tuples(
            st.just(subject),
            st.sampled_from([Operator.IN, Operator.NOT_IN]),
            st.lists(plain, min_size=1, max_size=3).map(",".join),
        ),
    )


_CLOCK = st.builds(lambda h, m: f"{h:02}:{m:02}", st.integers(0, 23), st.integers(0, 59))
_DATE = st.builds(
    lambda d, m, y: f"{d:02} {MONTHS[m]} {y}",
    st.integers(1, 28),
    st.integers(0, 11),
    st.integers(2025, 2027),
)
_ORDER = st.sampled_from([Operator.GREATER, Operator.LESS])
_LISTED = st.sampled_from([Operator.IN, Operator.NOT_IN])
CONDITION = st.one_of(
    *(
        _texts(subject)
        for subject in (
            Subject.METHOD, Subject.FROM, Subject.TO, Subject.REQUEST_URI, Subject.REQUEST_FIELD,
            Subject.PRESENCE, Subject.AGENT_TYPE,
        )
    ),
    st.tuples(st.just(Subject.REG_CLIENTS), _ORDER, st.integers(0, 3).map(str)),
    st.tuples(st.just(Subject.REG_CLIENTS), st.just(Operator.IS), st.integers(0, 3).map(str)),
    st.tuples(
        st.just(Subject.TIME_OF_DAY),
        _LISTED,
        st.lists(st.tuples(_CLOCK, _CLOCK).map("-".join), min_size=1, max_size=2).map(",".join),
    ),
    st.tuples(st.just(Subject.TIME_OF_DAY), _ORDER, _CLOCK),
    st.tuples(st.just(Subject.CURRENT_DATE), _ORDER, _DATE),
    st.tuples(st.just(Subject.CURRENT_DATE), st.just(Operator.IS), _DATE),
    st.tuples(
        st.just(Subject.CURRENT_DAY),
        _LISTED,
        st.lists(st.sampled_from(["Mon", "Tue", "Sat", "Sun"]), min_size=1).map(",".join),
    ),
)  # fmt: skip
ACTION = st.sampled_from(
    [
        ["Redirect To", "carol@b.org"], ["Fork to", "#voicemail, 401"], ["Reject with", "486 Busy"],
        ["Write To Log", "seen"], ["Remember 'From' in", "Seen"],
    ]
)  # fmt: skip
ENDING = st.sampled_from([[], [], [["Stop Processing"]], [["Discard Rules"]]])
STAGE = st.sampled_from([stages.IMMEDIATE, 990, stages.BUSY])


@st.composite
def rule_sets(draw: st.DrawFn) -> list[list[Any]]:
    """A set in its stored form."""
    rows: list[list[Any]] = []
    for number in range(draw(st.integers(0, 5))):
        conditions = draw(st.lists(CONDITION, max_size=3))
        actions = draw(st.lists(ACTION, max_size=2)) + draw(ENDING)
        rows.append(
            [
                draw(STAGE) * 100 + draw(st.integers(0, 10)),
                f"r{number}",
                [[s.value, o.value, p] for s, o, p in conditions],
                actions or [["Stop Processing"]],
            ]
        )
    return rows


VALUES = st.fixed_dictionaries(
    {
        Subject.METHOD: st.sampled_from(["INVITE", "MESSAGE"]),
        Subject.FROM: st.sampled_from(ADDRESSES),
        Subject.TO: st.sampled_from(ADDRESSES),
        Subject.REQUEST_URI: st.sampled_from(["sip:bob@a.com;x=1", "sip:carol@b.org"]),
        Subject.REQUEST_FIELD: st.lists(st.sampled_from(ADDRESSES), max_size=3).map(tuple),
        Subject.AGENT_TYPE: st.sampled_from([None, "Phone"]),
        Subject.REG_CLIENTS: st.integers(0, 3),
        Subject.PRESENCE: st.sampled_from([None, "online"]),
    }
)
MOMENT = st.datetimes(datetime(2025, 1, 1), datetime(2027, 12, 31)).map(  # noqa: DTZ001
    lambda moment: moment.replace(microsecond=0, tzinfo=UTC)
)


@given(rule_sets(), rule_sets(), rule_sets(), VALUES, MOMENT, st.integers(-12, 12), st.booleans())
def test_compiled_decides_as_a_naive_reading(
    server: list[Any],
    domain: list[Any],
    account: list[Any],
    values: dict[Subject, Any],
    moment: datetime,
    hours: int,
    known: bool,
) -> None:
    """At every stage: the same rules apply, in the same order, with the same actions."""
    zone = timezone(timedelta(hours=hours))
    parsed = [parse_rules(rows) for rows in (server, domain, account)]
    merged = merge(
        compile_rules(Level.SERVER, "", parsed[0]),
        compile_rules(Level.DOMAIN, "a.com", parsed[1]),
        compile_rules(Level.ACCOUNT, "bob@a.com", parsed[2]),
    )
    for stage in (stages.IMMEDIATE, 990, stages.BUSY):
        facts = Facts(fixed(values), moment, zone=zone, has_account=known)
        verdict = evaluate(merged, facts, stage)
        ordered = naive_rules.order(parsed[0], parsed[1], parsed[2], stage)
        applied, actions, discarded = naive_rules.decide(
            ordered, values, moment.astimezone(zone), has_account=known
        )
        assert list(verdict.applied) == applied
        assert [decision.action.text for decision in verdict.actions] == actions
        assert verdict.discarded == discarded
        looked = [row.name for row in verdict.trace]
        assert looked == [rule.name for rule in ordered][: len(looked)]
        for row in verdict.trace:
            assert row.applied == all(tested.holds for tested in row.tested)


@given(rule_sets())
def test_stored_form_goes_round(rows: list[Any]) -> None:
    """What is written is read back as the same rules, and written the same way again."""
    rules = parse_rules(rows)
    data = rules_to_data(rules)
    assert parse_rules(data) == rules
    assert rules_to_data(parse_rules(data)) == data


JSON = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=12),
        st.sampled_from(
            ["100010", "From", "is", "in", "Redirect To", "Reject with", "Time Of Day", "9-", "-"]
        ),
    ),
    lambda inner: st.lists(inner, max_size=5),
    max_leaves=30,
)  # fmt: skip


@given(JSON)
@example([["100010", "x", [["From", "is", "*"]], [["Redirect To", "<<"]]]])
def test_anything_is_read_or_refused_in_words(data: Any) -> None:
    """No input breaks the parser: it gives rules, or an error that says what is wrong."""
    try:
        rules = parse_rules(data)
    except RuleError:
        assert all(str(error) for error in check_rules(data))
        assert check_rules(data)
        return
    assert check_rules(data) == []
    assert parse_rules(rules_to_data(rules)) == rules


@given(
    st.sampled_from(list(Subject)),
    st.sampled_from(list(Operator)),
    st.text(alphabet="0123456789:-, amMonJunpSFri*#/[]@.", max_size=24),
)
def test_any_parameter_is_tested_or_refused(
    subject: Subject, operator: Operator, parameter: str
) -> None:
    """A condition that is taken can be evaluated at any moment."""
    row = ["100005", "r", [[subject.value, operator.value, parameter]], [["Stop Processing"]]]
    try:
        rules = parse_rules([row])
    except RuleError:
        return
    facts = Facts(fixed({}), datetime(2026, 2, 28, 23, 59, 59, tzinfo=UTC))
    verdict = evaluate(merge(compile_rules(Level.SERVER, "", rules)), facts, stages.IMMEDIATE)
    assert verdict.trace[0].text


PIECES = st.text(alphabet="ab*.@", max_size=8)


@given(PIECES, st.text(alphabet="abAB.@", max_size=10))
def test_pictures_match_as_regular_expressions(pattern: str, text: str) -> None:
    """``*`` is any run; everything else is itself."""
    assert picture(pattern)(folded(text)) == naive_rules.like(pattern, text)


@given(st.lists(PIECES, min_size=1, max_size=4), st.text(alphabet="abAB.@", max_size=10))
def test_lists_match_when_one_does(patterns: list[str], text: str) -> None:
    """A list of pictures is the disjunction of them."""
    expected = any(naive_rules.like(pattern.strip(), text) for pattern in patterns)
    assert any_picture(",".join(patterns))(folded(text)) == expected


@given(st.text(alphabet='abc#{}<>@,;."/ 0123\n+%', max_size=40))
def test_any_text_is_addresses_or_refused(text: str) -> None:
    """Addresses that are taken are complete."""
    try:
        targets = parse_targets(text)
    except DomainError:
        return
    for target in targets:
        assert sum(map(bool, (target.uri, target.name, target.application))) == 1
        assert target.uri_at("a.com") or target.application


@given(st.text(alphabet="0123456789:-apm JunMofi", max_size=20))
def test_any_text_is_a_moment_or_refused(text: str) -> None:
    """Parsers of moments give a test that works at any time, or a :class:`RuleError`."""
    moment = datetime(2028, 2, 29, 23, 59, 59, tzinfo=UTC)
    for parse in (time_test, date_test):
        try:
            test = parse(text)
        except RuleError:
            continue
        assert test(moment) in (True, False)
    with suppress(RuleError):
        assert parse_days(text) <= frozenset(range(7))


SIMPLE = st.builds(
    Simple,
    forward_always=st.sampled_from([None, "carol", "+7916@b.org, dave"]),
    forward_busy=st.sampled_from([None, "carol"]),
    forward_error=st.sampled_from([None, "#service"]),
    forward_no_answer=st.sampled_from([None, "carol"]),
    ring_also=st.sampled_from([None, "mobile"]),
    voicemail_after_s=st.sampled_from([None, 1, 10, 600]),
    voicemail_busy=st.booleans(),
    voicemail_error=st.booleans(),
    do_not_disturb=st.booleans(),
    self_calls=st.booleans(),
    blocked=st.lists(st.sampled_from(["anonymous", "eve@a.com", "*@spam.org"]), unique=True).map(
        tuple
    ),
)


@given(rule_sets(), SIMPLE)
def test_call_control_goes_round(rows: list[Any], simple: Simple) -> None:
    """What users set is read back from the rules made of it; other rules stay."""
    rules = parse_rules(rows)
    changed = replaced(rules, simple, "bob@a.com")
    assert simple_of(changed) == simple
    assert [rule for rule in changed if not rule.name.startswith("#")] == list(rules)
    assert parse_rules(rules_to_data(changed)) == changed
    assert replaced(changed, Simple(), "bob@a.com") == rules
