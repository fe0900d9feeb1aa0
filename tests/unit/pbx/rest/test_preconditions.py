"""ETags: two administrators, one object."""

from __future__ import annotations

import pytest

from pbx.admin.jobs import Client as JobClient
from pbx.admin.jobs import Command, Done, Refused
from pbx.eventlog import Conflict
from pbx.rest.changes import Change, Precondition, Resource, read_precondition
from pbx.web.problems import Problem
from tests.support.rest_lab import MAIN, RestLab, problem

ANN = f"/accounts/ann@{MAIN}"


def test_the_second_of_two_administrators_is_told_who_was_first(lab: RestLab) -> None:
    other = lab.token("config:write")
    with lab.client() as first, lab.client(other) as second:
        etag = first.etag(ANN)
        assert second.etag(ANN) == etag
        done = second.send("PATCH", ANN, {"aliases": ["9100"]}, If_Match=etag)
        assert done.status_code == 200
        late = first.send("PATCH", ANN, {"aliases": ["9200"]}, If_Match=etag)
        assert problem(late) == (412, "changed-meanwhile")
        assert late.json()["changed_by"] == f"token:{other.split('_')[1]}"
        assert late.json()["etag"] == late.headers["etag"] == done.headers["etag"]
        assert f"token:{other.split('_')[1]}" in late.json()["detail"]
        assert first.get(ANN).json()["aliases"] == ["9100"]
        again = first.send("PATCH", ANN, {"aliases": ["9200"]}, If_Match=late.headers["etag"])
        assert again.json()["aliases"] == ["9200"]


def test_changes_of_the_command_line_count_as_well(lab: RestLab) -> None:
    with lab.client() as api:
        etag = api.etag(ANN)
        lab.administration.set_aliases(f"ann@{MAIN}", ["9100"])
        late = api.send("DELETE", ANN, If_Match=etag)
        assert (problem(late), late.json()["changed_by"]) == ((412, "changed-meanwhile"), "lab")


def test_a_command_is_told_what_the_api_changed(lab: RestLab) -> None:
    """Both ways: the session read first, the API changed, the session merges the same key."""
    lab.changes.set_rights(f"ann@{MAIN}", ["Master"])
    session = JobClient("10.0.0.1", account=f"ann@{MAIN}")
    perform = lab.service.perform
    perform(session, Command(f"GETACCOUNTSETTINGS ann@{MAIN}"))
    token = lab.token("config:write")
    with lab.client(token) as api:
        done = api.send("PATCH", ANN, {"settings": {"CallsLimit": "3"}}, If_Match=api.etag(ANN))
        assert done.status_code == 200
        merge = Command(f"UPDATEACCOUNTSETTINGS ann@{MAIN} {{CallsLimit = 7;}}")
        told = perform(session, merge)
        assert isinstance(told, Refused)
        assert told.text.startswith(f"token:{token.split('_')[1]} changed CallsLimit at ")
        assert api.get(ANN).json()["settings"] == {"CallsLimit": "3"}
        assert perform(session, merge) == Done()
        assert api.get(ANN).json()["settings"] == {"CallsLimit": "7"}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PATCH", ANN, {}),
        ("PUT", f"{ANN}/aliases", {"aliases": []}),
        ("PUT", f"{ANN}/password", {"password": "x" * 8}),
        ("DELETE", ANN, None),
        ("PUT", "/router", {"text": ""}),
        ("PUT", "/rules", {"rules": []}),
        ("DELETE", f"/groups/sales@{MAIN}", None),
        ("PUT", f"/forwarders/info@{MAIN}", {"target": "bob"}),
    ],
)
def test_a_change_without_a_version_is_refused(
    lab: RestLab, method: str, path: str, body: object
) -> None:
    with lab.client() as api:
        before = len(list(lab.log.read()))
        assert problem(api.send(method, path, body)) == (428, "if-match-needed")
        stale = api.send(method, path, body, If_Match='"99999"')
        assert problem(stale) == (412, "changed-meanwhile")
        weak = api.send(method, path, body, If_Match=f"W/{api.etag(_readable(path))}")
        assert problem(weak) == (412, "changed-meanwhile")
        assert len(list(lab.log.read())) == before


def _readable(path: str) -> str:
    return path.removesuffix("/password")


def test_a_star_changes_whatever_is_there_and_nothing_that_is_not(lab: RestLab) -> None:
    with lab.client() as api:
        assert api.send("PATCH", ANN, {"aliases": ["1"]}, If_Match="*").status_code == 200
        gone = api.send("PATCH", f"/accounts/nobody@{MAIN}", {}, If_Match="*")
        assert problem(gone) == (404, "not-found")


def test_what_did_not_change_is_not_sent_again(lab: RestLab) -> None:
    with lab.client() as api:
        etag = api.etag(ANN)
        for known in (etag, f"W/{etag}", "*", f'"1", {etag}'):
            answer = api.get(ANN, If_None_Match=known)
            assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", etag)
        assert api.get(ANN, If_None_Match='"99999"').status_code == 200


def test_rules_settings_and_router_table_are_in_nobodys_way(lab: RestLab) -> None:
    """They share a stream; each has an ETag of its own."""
    with lab.client() as api:
        router, rules, settings = api.etag("/router"), api.etag("/rules"), api.etag(ANN)
        control = api.etag(f"{ANN}/call-control")
        api.send("PUT", "/rules", {"rules": []}, If_Match=rules)
        assert api.etag("/router") == router
        api.change("PUT", f"{ANN}/call-control", {"do_not_disturb": True})
        changed = api.send("PUT", "/router", {"text": "; empty\n"}, If_Match=router)
        assert changed.status_code == 200
        assert api.etag(f"{ANN}/call-control") != control
        assert api.etag(ANN) != settings  # an account's own ETag is that of all its parts


def test_what_rules_remember_is_no_change(lab: RestLab) -> None:
    from pbx.rule_commands import RuleAdministration

    with lab.client() as api:
        etag = api.etag(ANN)
        callers = RuleAdministration(lab.log, actor="node:lab")
        callers.add_entry(f"ann@{MAIN}", "Callers", "x@example.org")
        assert api.send("PATCH", ANN, {"aliases": ["1"]}, If_Match=etag).status_code == 200


def test_somebody_who_comes_between_look_and_leap(lab: RestLab) -> None:
    """The append itself is on the condition; what is no part of the resource has it done again."""
    stream = f"account/ann@{MAIN}"
    for types, expected in (((), Problem), (("rules.changed",), Conflict)):
        known = Precondition(any=True) if types else None
        version = max(record.version for record in lab.log.read_stream(stream))
        change = Change(
            lab.log,
            Resource(stream, types),
            origin="api:x",
            precondition=known or Precondition(versions=frozenset({version})),
        )
        lab.administration.set_aliases(f"ann@{MAIN}", [f"a{version}"])
        _stage(change)
        with pytest.raises(expected):
            change.write()


def _stage(change: Change) -> None:
    from pbx.commands import Administration

    Administration(change, actor="x").set_telnums(f"ann@{MAIN}", ["+491"])


def test_a_change_lost_to_an_unrelated_one_is_done_again(lab: RestLab) -> None:
    path = f"{ANN}/call-control"
    races = 3
    original = lab.log.append

    def racing(stream, expected, events, meta):  # type: ignore[no-untyped-def]
        nonlocal races
        if stream == f"account/ann@{MAIN}" and races and meta.actor.startswith("token:"):
            races -= 1
            lab.log.append = original  # type: ignore[method-assign]
            lab.administration.set_telnums(f"ann@{MAIN}", [f"+49{races + 1}"])
            lab.log.append = racing  # type: ignore[method-assign]
        return original(stream, expected, events, meta)

    with lab.client() as api:
        etag = api.etag(path)
        lab.log.append = racing  # type: ignore[method-assign]
        done = api.send("PUT", path, {"do_not_disturb": True}, If_Match=etag)
        assert (done.status_code, races) == (200, 0)
        assert api.get(ANN).json()["telnums"] == ["+491"]


@pytest.mark.parametrize(
    ("text", "versions"),
    [
        ('"1"', {1}),
        (' "1" , "22"', {1, 22}),
        ('W/"1"', set()),
        ('"x", "", ", "1', set()),
        ('"99999999999999999999"', set()),
        ("1", set()),
    ],
)
def test_entity_tags(text: str, versions: set[int]) -> None:
    assert read_precondition(text).versions == versions
