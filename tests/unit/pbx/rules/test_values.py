"""Rules and their stored form: every rule of the reference, and every mistake it names."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from pbx.rules import (
    Allowed,
    Level,
    RuleError,
    Simple,
    check_rights,
    check_rules,
    parse_allowed,
    parse_rule,
    parse_rules,
    rules_to_data,
    simple_rules,
    stages,
    updated,
    without,
)

CC_IN = [
    "100010",
    "ccIn_your.domain.name",
    [["Method", "is", "INVITE"], ["RequestURI", "is not", "*;fromCC=true"]],
    [["Redirect to", "ccincoming#pbx"], ["Stop Processing"]],
]
CC_OUT = [
    "100010",
    "ccOut_your.domain.name",
    [
        ["Method", "is", "INVITE"],
        ["Submit Address", "is not", "LOCAL [0.0.0.0]*"],
        ["From", "is", "*@your.domain.name"],
    ],
    [["Redirect To", "ccincoming#pbx@your.domain.name"], ["Stop Processing"]],
]
TRANSFER = [
    "100005",
    "b2bua-transfer",
    [
        ["Method", "IS", "INVITE"],
        ["CallType", "IS", "AV"],
        ["Submit Address", "IS NOT", "LOCAL [0.0.0.0]*"],
        ["RequestURI", "IS", "sip:*@domain.name"],
    ],
    [["Redirect To", "b2bua-transfer#pbx@domain.name"], ["Discard Rules"]],
]


@pytest.mark.parametrize("row", [CC_IN, CC_OUT, TRANSFER])
def test_rules_of_the_reference(row: list[Any]) -> None:
    """They are read, and come back as they were written, spelling included (§3.1, §3.6)."""
    assert rules_to_data(parse_rules([row])) == [row]


@pytest.mark.parametrize(
    ("number", "name", "priority", "value"),
    [
        (100010, "at once", 10, 0),
        (99005, "after 10 s", 5, 10),
        (509, "no answer", 9, 995),
        (305, "busy", 5, 997),
        (101, "error", 1, 999),
        (40000, "after 600 s", 0, 600),
    ],
)
def test_priority_numbers(number: int, name: str, priority: int, value: int) -> None:
    """Telephony reference §24, and the stage values of the other interface (§3.1)."""
    code, found = stages.split_number(number)
    assert (stages.name_of(code), found) == (name, priority)
    assert stages.stage_of_code(code) == value
    assert stages.code_of_stage(value) == code


@pytest.mark.parametrize("number", [5, 7, 1005, 100011, 39905, -1, 100, 99, 10**9])
def test_no_priority_numbers(number: int) -> None:
    if number == 100:
        assert stages.split_number(number) == (stages.FAILURE, stages.INACTIVE)
        return
    with pytest.raises(RuleError, match="expected stage"):
        stages.split_number(number)


def test_sets_are_sorted_by_number() -> None:
    """Earlier stages first, higher priorities first within one; equals as they came."""
    stop = [["Stop Processing"]]
    rows = [["305", "a", [], stop], ["99005", "b", [], stop], ["100010", "c", [], stop]]
    rows += [["100005", "d", [], stop], ["100005", "e", [], stop]]
    assert [rule.name for rule in parse_rules(rows)] == ["c", "d", "e", "b", "a"]


def _row(
    number: Any = "100005",
    name: Any = "r",
    conditions: Any = (),
    actions: Any = (("Stop Processing",),),
    *rest: Any,
) -> list[Any]:
    return [number, name, conditions, actions, *rest]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("rules", "the rules are an array"),
        ([5], "rule 1: a rule is an array, not 5"),
        ([["100005", "r"]], "it has 2 elements: expected"),
        ([_row("often")], "the priority number is 'often'"),
        ([_row(name="")], "1 to 128 printable"),
        ([_row(name=["x"])], "expected a string"),
        ([_row(conditions="x")], "the conditions of a rule are an array"),
        ([_row(conditions=[["Weather", "is", "x"]])], 'condition 1: "Weather" is no condition'),
        ([_row(conditions=[["From", "like", "x"]])], '"like" is no operator of From'),
        ([_row(conditions=[["From", "greater than", "x"]])], "one of is, is not, in, not in"),
        ([_row(conditions=[["From", "is"]])], "it has 2 elements: expected (name, operator"),
        ([_row(conditions=[["RegClients", "is", "two"]])], '"two" is no number'),
        ([_row(conditions=[["Time Of Day", "in", "9-13"]])], '"9" is no time of day'),
        ([_row(conditions=[["Current Day", "in", "Mon,Tux"]])], '"Tux" is no day'),
        ([_row(conditions=[["Current Date", "is", "31 Feb 2026"]])], "is no date"),
        ([_row(conditions=[["Current Date", "greater than", "1 May"]])], "has no year"),
        ([_row(conditions=[["Preference", "is", "x"]])], "expected name:picture"),
        ([_row(conditions=[["From", "in", "# "]])], "expected the name of a dataset"),
        ([_row(actions=[])], "it has no action"),
        ([_row(actions=[["Sing"]])], 'action 1: "Sing" is no action: expected one of Redirect To'),
        ([_row(actions=[["Redirect To"]])], "Redirect To needs a parameter"),
        ([_row(actions=[["Redirect To", "a@b@c"]])], "is no address: expected a name"),
        ([_row(actions=[["Redirect To", " , "]])], "no address is given"),
        ([_row(actions=[["Stop Processing", "now"]])], "takes no parameter"),
        (
            [_row(actions=[["Stop Processing"], ["Reject with"]])],
            "Stop Processing must be the last",
        ),
        ([_row(actions=[["Reject with", "200 Fine"]])], "expected a status from 400 to 699"),
        ([_row(actions=[["SendURL", "ftp://x"]])], "expected http://"),
        ([_row(actions=[["SendIM", "bob"]])], "one address in the first line"),
        ([_row(), _row()], 'rule 2 "r": rule 1 has the same name'),
        ([_row("100005", "r", [], [["Write To Log", "x" * 5000]])], "at most 4096"),
        ([_row(name=f"r{n}") for n in range(201)], "at most 200"),
    ],
)
def test_mistakes_are_named(data: Any, words: str) -> None:
    """The rule, the place in it and what is expected; nothing of the set is taken."""
    with pytest.raises(RuleError) as caught:
        parse_rules(data)
    assert words in str(caught.value)
    copy = pickle.loads(pickle.dumps(caught.value))
    assert str(copy) == str(caught.value)


def test_check_tells_every_rule() -> None:
    """A check names the mistake of each rule at once."""
    rows = [_row("x", "a"), _row(name="b"), _row(name="c", actions=[]), _row(name="b")]
    assert [(e.number, e.name) for e in check_rules(rows)] == [(1, "a"), (3, "c"), (4, "b")]
    assert check_rules([_row()]) == []
    assert "array" in str(check_rules({})[0])


def test_update_of_one_rule() -> None:
    """Fewer than four elements change a priority; a whole rule replaces the one of its name."""
    rules = parse_rules([_row(name="a"), _row(name="b")])
    rules = updated(rules, ["305", "a"])
    assert [(rule.name, rule.number) for rule in rules] == [("b", 100005), ("a", 305)]
    with pytest.raises(RuleError, match='there is no rule "c"'):
        updated(rules, ["305", "c"])
    rules = updated(rules, _row("100009", "a", [], [["Reject with", "486"]]))
    assert [(rule.name, rule.number) for rule in rules] == [("a", 100009), ("b", 100005)]
    assert [rule.name for rule in without(without(rules, "b"), "none")] == ["a"]


def test_names_without_case_and_spaces() -> None:
    """Both spellings of real data mean the same; the placeholder of actions is no parameter."""
    one = parse_rule(_row(actions=[["Redirect To", "bob"], ["Stop Processing"]]))
    other = parse_rule(_row(actions=[["redirectto", "bob"], ["stop processing", "---"]]))
    assert one == other


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("486", (486, "")),
        ("486 Out to lunch", (486, "Out to lunch")),
        ("Not you", (603, "Not you")),
        ("", (603, "")),
    ],
)
def test_rejections(text: str, expected: tuple[int, str]) -> None:
    """A bare text is the phrase of a 603 (§3.5)."""
    (action,) = parse_rule(_row(actions=[["Reject with", text]])).actions
    assert action.rejection == expected


def test_rights() -> None:
    """What users may store, what only administrators may, and what stays as it is."""
    url = parse_rules([_row(actions=[["SendURL", "http://a.com/"]])])
    shown = parse_rules([_row(actions=[["Show Caller As", "x"]])])
    away = parse_rules([_row(actions=[["Redirect To", "bob"]])])
    filters = parse_rules([_row(actions=[["Reject with"]])])
    check_rights(shown, Level.SERVER)
    check_rights(shown, Level.DOMAIN)
    check_rights(url, Level.ACCOUNT)
    check_rights(url, Level.ACCOUNT, Allowed.ANY)
    check_rights(away, Level.ACCOUNT, Allowed.ALL_BUT_EXEC)
    check_rights(filters, Level.ACCOUNT, Allowed.FILTER_ONLY)
    check_rights(url, Level.ACCOUNT, Allowed.NO, before=url)
    for rules, allowed in (
        (shown, None), (shown, Allowed.ANY), (url, Allowed.ALL_BUT_EXEC),
        (away, Allowed.FILTER_ONLY), (filters, Allowed.NO),
    ):  # fmt: skip
        with pytest.raises(RuleError, match="is not allowed here"):
            check_rights(rules, Level.ACCOUNT, allowed)
    assert parse_allowed("all but exec") is Allowed.ALL_BUT_EXEC
    with pytest.raises(RuleError, match="expected one of No, Filter Only"):
        parse_allowed("Some")


def test_simplified_rules() -> None:
    """Telephony reference §3.7, control by control."""
    simple = Simple(
        forward_always="carol",
        forward_busy="dave",
        forward_error="erin",
        forward_no_answer="frank",
        forward_after_s=20,
        ring_also="mobile",
        ring_also_after_s=5,
        voicemail_after_s=10,
        voicemail_busy=True,
        voicemail_error=True,
        do_not_disturb=True,
        self_calls=True,
        blocked=("anonymous", "401", "*@spam.org"),
    )
    rules = simple_rules(simple, "bob@a.com")
    told = {
        rule.name: (stages.name_of(rule.stage), "; ".join(a.text for a in rule.actions))
        for rule in rules
    }
    assert told == {
        "#Blocked": ("at once", "Reject with 603; Stop Processing"),
        "#SelfCall": ("at once", "Redirect To #service; Stop Processing"),
        "#DoNotDisturb": ("at once", "Reject with 486"),
        "#ForwardAlways": ("at once", "Redirect To carol; Stop Processing"),
        "#RingAlso": ("after 5 s", "Fork to mobile"),
        "#VoicemailAfter": ("after 10 s", "Redirect To #voicemail"),
        "#ForwardNoAnswer": ("after 20 s", "Redirect To frank"),
        "#VoicemailBusy": ("busy", "Redirect To #voicemail"),
        "#ForwardBusy": ("busy", "Redirect To dave"),
        "#VoicemailError": ("error", "Redirect To #voicemail"),
        "#ForwardError": ("error", "Redirect To erin"),
    }
    assert all(rule.conditions[0].parameter == "INVITE" for rule in rules)
    assert rules[0].conditions[1].parameter == "anonymous@*,401@a.com,*@spam.org"


@pytest.mark.parametrize(
    "simple",
    [
        Simple(forward_always="a b@c"),
        Simple(voicemail_after_s=0),
        Simple(voicemail_after_s=601),
        Simple(ring_also="x", ring_also_after_s=-1),
        Simple(blocked=("",)),
        Simple(blocked=("a,b",)),
    ],
)
def test_simplified_mistakes(simple: Simple) -> None:
    with pytest.raises(RuleError):
        simple_rules(simple, "bob@a.com")
