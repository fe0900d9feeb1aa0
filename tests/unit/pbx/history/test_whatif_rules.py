"""``pbx whatif --rules``: the calls that other Signal Rules would change, and those unknown."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pbx.cli.main import main
from pbx.domain import calls as c
from pbx.eventlog import ANY_VERSION, Meta, open_log
from pbx.kernel.events import Event
from pbx.router import DEFAULT_TABLE
from tests.contract.test_projections import started
from tests.support.commands import Pbx

HOUR = 3600 * 1_000_000_000
ANN = "ann@a.dom"
BOB = "bob@a.dom"


def rule(number: int, name: str, *actions: Sequence[str], when: Sequence[Any] = ()) -> list[Any]:
    return [str(number), name, [list(test) for test in when], [list(a) for a in actions]]


def rang(
    account: str, *, from_ms: int = 0, to_ms: int = 5000, status: int = 480, by: str = "server",
    reason: str = "", answered: bool = False, leg: str = "b1",
) -> list[Event]:  # fmt: skip
    """One phone of an account rings and ends."""
    events: list[Event] = [
        c.LegCreated(leg_id=leg, parent_leg_id="a1", role="B", sip_call_id="x",
                     target_uri=f"sip:{account}", account=account, elapsed_ms=from_ms),
    ]  # fmt: skip
    if answered:
        events += [
            c.LegAnswered(leg_id=leg, elapsed_ms=to_ms),
            c.CallAnswered(leg_id="a1", peer_leg_id=leg, elapsed_ms=to_ms),
        ]
    over_ms = to_ms + 60_000 if answered else to_ms
    events.append(
        c.LegEnded(leg_id=leg, status=200 if answered else status, cause="x", q850=0, ended_by=by,
                   reason=reason, elapsed_ms=over_ms),
    )  # fmt: skip
    return events


class Lab:
    """A server with Ann, Bob, Carol and calls of the past."""

    def __init__(self, pbx: Pbx, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.pbx = pbx
        self._folder = folder
        self._capsys = capsys
        self._calls = 0
        pbx("domain", "create", "a.dom")
        for name in ("ann", "bob", "carol"):
            pbx("account", "create", f"{name}@a.dom", "--password", "correct horse")
        pbx("alias", "add", "401", ANN)

    def call(
        self, *events: Event, uri: str = "sip:401@a.dom", target: str = ANN, caller: str = BOB,
        from_uri: str = f"sip:{BOB}", source: str = "192.0.2.1:5060",
        end: tuple[str, str] = ("x", "callee"), hours_ago: int = 1, **fields: Any,
    ) -> str:  # fmt: skip
        """A call of the past, as it was recorded."""
        self._calls += 1
        name = f"00000000-0000-7000-8000-{self._calls:012d}"
        log = open_log(self.pbx.data)
        log.append(
            f"call/{name}",
            ANY_VERSION,
            [
                started(request_uri=uri, to_uri=uri, account=caller, from_uri=from_uri,
                        source=source, **fields),
                c.CallRouted(address=uri, outcome="account", target=target, contacts=1),
                *events,
                c.CallEnded(status=200, cause=end[0], q850=16, ended_by=end[1], elapsed_ms=70_000),
            ],
            Meta(time_ns=time.time_ns() - hours_ago * HOUR),
        )  # fmt: skip
        log.close()
        return name

    def answered_after(self, seconds: int, **call: Any) -> str:
        return self.call(*rang(ANN, to_ms=seconds * 1000, answered=True), **call)

    def _file(self, name: str, data: Any) -> str:
        file = self._folder / name
        file.write_text(data if isinstance(data, str) else json.dumps(data))
        return str(file)

    def rules(self, owner: str, *rules: Any) -> None:
        self.pbx("rules", "set", owner, self._file("now", rules))

    def what_if(
        self, *rules: Any, level: Sequence[str] = ("account", ANN), table: str = ""
    ) -> tuple[int, Any]:
        words = ["whatif", "--rules", self._file("then", rules), "--level", *level, "--json"]
        if table:
            words += ["--router", self._file("table", table)]
        code = main([*words, "--data", str(self.pbx.data)])
        return code, json.loads(self._capsys.readouterr().out)

    def only(self, *rules: Any, **options: Any) -> Any:
        """The one difference."""
        code, found = self.what_if(*rules, **options)
        (difference,) = found["differences"]
        assert code == 1
        return difference

    def same(self, *rules: Any, **options: Any) -> None:
        code, found = self.what_if(*rules, **options)
        assert (code, found["differences"]) == (0, [])


@pytest.fixture
def lab(run: Pbx, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Lab:
    return Lab(run, tmp_path, capsys)


AWAY = rule(100005, "away", ("Redirect To", "carol"))


def test_a_wrong_change_is_found_before_it_is_made(
    lab: Lab, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A picture with a slip of the pen sends everybody to Carol."""
    call = lab.answered_after(5)
    lab.answered_after(5, from_uri="sip:boss@far.example", caller="")
    meant = rule(100005, "boss", ("Redirect To", "carol"), when=[("From", "is", "boss@*")])
    slip = rule(100005, "boss", ("Redirect To", "carol"), when=[("From", "is", "bo*@*")])
    code, found = lab.what_if(meant)
    assert (code, found["calls"], len(found["differences"])) == (1, 2, 1)
    assert found["differences"][0]["caller"] == ""
    code, found = lab.what_if(slip)
    assert [d["verdict"] for d in found["differences"]] == ["changed", "changed"]
    assert found["differences"][0]["call"] == call
    assert found["differences"][0]["old"] == [{"text": f"rings {ANN}", "rule": ""}]
    assert found["differences"][0]["new"] == [
        {"text": "rings carol@a.dom", "rule": f'account {ANN} "boss"'}
    ]
    assert main(["whatif", "--rules", str(tmp_path / "then"), "--level", "account", ANN,
                 "--data", str(lab.pbx.data)]) == 1  # fmt: skip
    text = capsys.readouterr().out
    assert f"  {BOB} dials sip:401@a.dom\n    now:  rings {ANN}\n" in text
    assert f'    then: rings carol@a.dom [account {ANN} "boss"]\n' in text
    assert text.endswith("2 calls replayed, 2 would go otherwise\n")
    assert json.loads(lab.pbx("rules", "show", ANN, "--json")) == []


def test_what_says_the_same_changes_nothing(lab: Lab) -> None:
    lab.answered_after(5)
    lab.rules(ANN, AWAY)
    lab.same(rule(100007, "another name", ("Redirect To", "carol@a.dom"), ("Stop Processing",)))
    lab.same(AWAY, rule(100001, "log", ("Write To Log", "hello")))
    assert lab.only(AWAY, rule(100001, "im", ("SendIM", "bob\nhello")))["verdict"] == "changed"


def test_a_stage_counts_if_it_rang_that_long(lab: Lab) -> None:
    short, long = lab.answered_after(5), lab.answered_after(15)
    after_ten = rule(99005, "mail", ("Redirect To", "#voicemail"))
    found = lab.only(after_ten)
    assert (found["call"], found["verdict"]) == (long, "changed")
    assert [step["text"] for step in found["new"]] == [
        f"rings {ANN}", f"after 10 s: starts voicemail#{ANN}",
    ]  # fmt: skip
    del short


@pytest.mark.parametrize(
    ("status", "by", "stage"),
    [
        (486, "callee", "busy"), (603, "callee", "busy"), (500, "callee", "error"),
        (480, "server", "no answer"),
    ],
)  # fmt: skip
def test_failure_stages_by_what_happened(lab: Lab, status: int, by: str, stage: str) -> None:
    lab.call(*rang(ANN, to_ms=3000, status=status, by=by))
    numbers = {"busy": 305, "error": 105, "no answer": 505}
    for name, number in numbers.items():
        changed = rule(number, name, ("Redirect To", "carol"))
        if name == stage:
            assert lab.only(changed)["new"][-1]["text"] == f"{stage}: rings carol@a.dom"
        else:
            lab.same(changed)


def test_failure_brings_the_timed_stages_at_once(lab: Lab) -> None:
    """First those for what happened, then the timed ones still to come (rules.md)."""
    lab.call(*rang(ANN, to_ms=3000, status=486, by="callee"))
    found = lab.only(
        rule(98005, "later", ("Fork to", "bob")), rule(305, "busy", ("Fork to", "carol")),
        rule(505, "never", ("Reject with", "603")),
    )  # fmt: skip
    assert [step["text"] for step in found["new"]] == [
        f"rings {ANN}", "busy: rings carol@a.dom", "after 20 s: rings bob@a.dom",
    ]  # fmt: skip


def test_nobody_registered_and_a_caller_who_gave_up(lab: Lab) -> None:
    lab.call(end=("error", "server"))
    lab.call(*rang(ANN, to_ms=30_000, status=487, by="caller"), end=("cancel", "caller"))
    found = lab.only(rule(505, "nobody", ("Redirect To", "carol")))
    assert found["new"][-1]["text"] == "no answer: rings carol@a.dom"
    assert found["call"].endswith("1")


def test_what_the_log_has_not_is_unknown(lab: Lab) -> None:
    """Both ways are gone: only if both differ the call surely changes."""
    lab.answered_after(5)
    devices = ("RegClients", "is", "0")
    some = rule(100005, "phones", ("Redirect To", "carol"), when=[devices])
    found = lab.only(some)
    assert found["verdict"] == "unknown"
    assert found["unknown"] == [f"whether RegClients is 0 of {ANN}"]
    both = rule(100004, "else", ("Redirect To", "bob"))
    assert lab.only(some, both)["verdict"] == "changed"
    lab.rules(ANN, some)
    lab.same(some, rule(100001, "log", ("Write To Log", "x")))
    field = rule(100005, "line", ("Reject with", "603"), when=[("ReqField", "is", "X-Line: gold*")])
    assert lab.only(field, level=("server",))["unknown"] == ["whether ReqField is X-Line: gold*"]


def test_conditions_that_decide_before_an_unknown_one(lab: Lab) -> None:
    lab.answered_after(5)
    lab.same(
        rule(100005, "x", ("Redirect To", "carol"),
             when=[("From", "is", "nobody@x.example"), ("Presence", "is", "busy")])
    )  # fmt: skip


def test_too_many_unknown_conditions(lab: Lab) -> None:
    lab.answered_after(5)
    rules = [
        rule(100005, f"r{n}", ("Fork to", f"{n}@b.dom"), when=[("RegClients", "is", str(n))])
        for n in range(8)
    ]
    found = lab.only(*rules)
    assert found["verdict"] == "unknown"
    assert "more conditions than can be tried" in found["unknown"]


def test_accounts_that_were_not_reached_that_day(lab: Lab) -> None:
    """Carol would be called now; how long she would ring nobody knows."""
    lab.answered_after(5)
    lab.rules(ANN, AWAY)
    late = rule(99005, "late", ("Redirect To", "#voicemail"))
    found = lab.only(late, level=("account", "carol@a.dom"))
    assert found["verdict"] == "unknown"
    later = "after 10 s, account carol@a.dom: always: Redirect To #voicemail"
    assert found["unknown"] == [f"{later}: what came after is not recorded"]


def test_ringing_that_a_rule_cut_short(lab: Lab) -> None:
    lab.rules(ANN, rule(99505, "mail", ("Redirect To", "#voicemail")))
    lab.call(*rang(ANN, to_ms=5000, status=487, reason="redirected by a rule"))
    found = lab.only(
        rule(99505, "mail", ("Redirect To", "#voicemail")),
        rule(98005, "later", ("Fork to", "carol")),
    )
    assert found["verdict"] == "unknown"


def test_levels_in_their_order_and_the_servers_go_first(lab: Lab) -> None:
    lab.answered_after(15)
    lab.rules("server", rule(99003, "server", ("Fork to", "bob")))
    lab.rules("a.dom", rule(99009, "domain", ("Reject with", "486")))
    found = lab.only(rule(100010, "all", ("Reject with", "603 Closed")), level=("server",))
    assert [step["text"] for step in found["old"]] == [
        f"rings {ANN}",
        "after 10 s: refused with 486",
    ]
    assert found["new"] == [{"text": "refused with 603 Closed", "rule": 'server "all"'}]
    found = lab.only(level=("domain", "a.dom"))
    assert [step["text"] for step in found["new"]] == [
        f"rings {ANN}",
        "after 10 s: rings bob@a.dom",
    ]


def test_loops_groups_and_numbers_outside(lab: Lab) -> None:
    lab.pbx("group", "create", "all@a.dom", "ann@a.dom", "carol@a.dom")
    lab.call(*rang(ANN, answered=True), uri="sip:all@a.dom", target="all@a.dom")
    lab.rules("carol@a.dom", rule(100005, "back", ("Redirect To", "ann")))
    found = lab.only(rule(100005, "to carol", ("Redirect To", "carol")))
    assert [step["text"] for step in found["new"]] == [
        f"refused with 482: {ANN} was called on this way already",
        "refused with 482: carol@a.dom was called on this way already",
    ]


def test_a_forward_that_the_class_of_service_bars(lab: Lab) -> None:
    lab.answered_after(5)
    found = lab.only(rule(100005, "out", ("Redirect To", "+19001234567")))
    assert found["new"][0]["text"].startswith(f"refused with 403 ({ANN} may not call premium")


def test_times_and_days_are_those_of_the_call(lab: Lab) -> None:
    call = lab.answered_after(5, hours_ago=26)
    lab.answered_after(5, hours_ago=50)
    day = time.strftime("%a", time.gmtime(time.time() - 26 * 3600))
    found = lab.only(rule(100005, "x", AWAY[3][0], when=[("Current Day", "in", day)]))
    assert found["call"] == call


def test_both_together(lab: Lab) -> None:
    """Another table sends 401 to Carol, whose new rules refuse."""
    lab.answered_after(5)
    table = "<401@*> = carol\n" + DEFAULT_TABLE
    found = lab.only(rule(100005, "no", ("Reject with", "603")),
                     level=("account", "carol@a.dom"), table=table)  # fmt: skip
    assert [step["text"] for step in found["new"]] == ["refused with 603"]
    lab.same(rule(100005, "no", ("Reject with", "603")), level=("account", "carol@a.dom"))


def test_emergency_calls_meet_no_rule(lab: Lab) -> None:
    lab.call(*rang(ANN, answered=True), uri="sip:112@a.dom")
    lab.same(rule(100010, "all", ("Reject with", "603")), level=("server",))


def test_addresses_that_cannot_be_read(lab: Lab) -> None:
    lab.call(uri="[erased]")
    code, found = lab.what_if(AWAY)
    assert (code, found["calls"], found["unreadable"]) == (0, 0, 1)


def test_what_cannot_be_asked(lab: Lab, tmp_path: Path) -> None:
    file = tmp_path / "rules"
    file.write_text(json.dumps([AWAY]))
    assert "nothing is changed" in lab.pbx.refused("whatif")
    for level, words in (
        (["account", "nobody@a.dom"], "there is no account nobody@a.dom"),
        (["domain", ANN], "expected server, domain NAME or account NAME@DOMAIN"),
        (["everybody"], "expected server, domain NAME"),
    ):
        refusal = lab.pbx.refused("whatif", "--rules", str(file), "--level", *level)
        assert words in refusal
    file.write_text('[["100005", "x", [], [["Sing"]]]]')
    assert '"Sing" is no action' in lab.pbx.refused("whatif", "--rules", str(file))
