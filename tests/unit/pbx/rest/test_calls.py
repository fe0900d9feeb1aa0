"""Calls, call records and registrations over HTTP, from the tables of a history."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pbx.domain.bindings import BindingAdded
from pbx.domain.nodes import CallEndAsked
from pbx.eventlog import Meta
from tests.support.call_histories import EPOCH_NS, history, write_history
from tests.support.rest_lab import MAIN, OTHER, Caller, RestLab, problem

CALLS = 40


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RestLab]:
    """Calls of three domains, some of them up, and four phones."""
    made = RestLab(tmp_path_factory.mktemp("calls"))
    steps = history(11, CALLS)
    tenants = {step.stream: random.Random(step.stream).choice((MAIN, OTHER, "")) for step in steps}
    write_history(made.log, steps, tenants=tenants)
    for number, (name, domain) in enumerate(
        (("ann", MAIN), ("ann", MAIN), ("bob", MAIN), ("carl", OTHER))
    ):
        binding = BindingAdded(
            contact_id=f"c{number}",
            contact=f"sip:{name}@192.0.2.{number}",
            expires_ns=EPOCH_NS * 2,
            sip_call_id="x",
            cseq=1,
        )
        address = f"{name}@{domain}"
        made.log.append(f"binding/{address}", -1, [binding], Meta(tenant=domain))
    yield made
    made.close()


def pages(api: Caller, path: str, limit: int) -> list[Any]:
    """All items of a listing."""
    found: list[Any] = []
    cursor = ""
    while True:
        sign = "&" if "?" in path else "?"
        answer = api.get(f"{path}{sign}limit={limit}&cursor={cursor}")
        assert answer.status_code == 200, answer.text
        page = answer.json()
        assert len(page["items"]) <= limit
        found += page["items"]
        cursor = page["next"]
        if cursor is None:
            return found


def test_calls_that_are_up_come_in_pages(lab: RestLab) -> None:
    with lab.client() as api:
        found = pages(api, "/calls", 2)
        assert found == api.get("/calls").json()["items"]
        assert 1 < len(found) < CALLS
        assert [call["started"] for call in found] == sorted(call["started"] for call in found)
        one = api.get(f"/calls/{found[0]['call_id']}")
        assert one.json() == found[0]
        assert one.json()["legs"][0]["role"] == "A"
        assert problem(api.get("/calls/none")) == (404, "not-found")


def test_records_are_filtered_and_come_in_pages(lab: RestLab) -> None:
    with lab.client() as api:
        found = pages(api, "/cdrs", 3)
        assert [(r["ended"], r["call_id"]) for r in found] == sorted(
            (r["ended"], r["call_id"]) for r in found
        )
        assert len(found) + len(api.get("/calls").json()["items"]) == CALLS
        middle = found[len(found) // 2]["ended"]
        since = pages(api, f"/cdrs?since={middle}", 100)
        until = pages(api, f"/cdrs?until={middle}", 100)
        assert until + since == found
        account = next(r["account"] for r in found if r["account"])
        ids = {r["call_id"] for r in pages(api, f"/cdrs?account={account}", 2)}
        assert {r["call_id"] for r in found if r["account"] == account} <= ids
        assert problem(api.get("/cdrs?since=yesterday")) == (400, "bad-time")
        assert problem(api.get("/cdrs?account=x")) == (422, "refused")
        assert {r["domain"] for r in pages(api, f"/cdrs?domain={OTHER}", 5)} == {OTHER}


def test_phones_are_listed(lab: RestLab) -> None:
    with lab.client() as api:
        found = pages(api, "/registrations", 1)
        assert [phone["account"] for phone in found] == [
            f"ann@{MAIN}", f"ann@{MAIN}", f"bob@{MAIN}", f"carl@{OTHER}",
        ]  # fmt: skip
        assert pages(api, f"/registrations?domain={OTHER}", 5) == found[3:]
        assert pages(api, f"/registrations?account=ann@{MAIN}", 5) == found[:2]


def test_a_token_of_a_domain_sees_that_domains(lab: RestLab) -> None:
    with lab.client() as api:
        everything = pages(api, "/calls", 100)
        records = pages(api, "/cdrs", 100)
    scopes = ("calls:control", "cdrs:read")
    with lab.client(lab.token(*scopes, domain=OTHER)) as api:
        assert pages(api, "/calls", 1) == [c for c in everything if c["domain"] == OTHER]
        assert pages(api, "/cdrs", 1) == [r for r in records if r["domain"] == OTHER]
        assert {p["account"] for p in pages(api, "/registrations", 9)} == {f"carl@{OTHER}"}
        strange = next(c["call_id"] for c in everything if c["domain"] != OTHER)
        assert problem(api.get(f"/calls/{strange}")) == (404, "not-found")
        assert problem(api.send("POST", f"/calls/{strange}/hangup", {})) == (404, "not-found")
        assert problem(api.get(f"/cdrs?domain={MAIN}")) == (403, "tenant")
        assert problem(api.get(f"/registrations?domain={MAIN}")) == (403, "tenant")


def test_scopes_of_calls(lab: RestLab) -> None:
    with lab.client(lab.token("calls:read")) as api:
        call_id = api.get("/calls").json()["items"][0]["call_id"]
        answer = api.send("POST", f"/calls/{call_id}/hangup", {})
        assert problem(answer) == (403, "scope-needed")
        assert problem(api.get("/cdrs")) == (403, "scope-needed")
    with lab.client(lab.token("cdrs:read")) as api:
        assert problem(api.get("/calls")) == (403, "scope-needed")


def test_the_node_of_a_call_is_asked_to_end_it(lab: RestLab) -> None:
    with lab.client(lab.token("calls:control")) as api:
        call = api.get("/calls").json()["items"][0]
        path = f"/calls/{call['call_id']}/hangup"
        answer = api.send("POST", path, {"reason": "spam"}, X_Reason="ticket 3")
        assert (answer.status_code, answer.json()["node"]) == (202, "n1")
        assert problem(api.send("POST", path, {"reason": "a\nb"})) == (422, "refused")
    [record] = lab.log.read(types=("node.call-end-asked.v1",))
    assert record.event == CallEndAsked(call_id=call["call_id"], reason="spam")
    assert (record.stream, record.causation) == ("node/n1", "api:testclient ticket 3")
    assert record.actor.startswith("token:")


def test_a_server_without_tables_says_so(tmp_path: Path) -> None:
    made = RestLab()
    with made.client() as api:
        assert problem(api.get("/calls")) == (503, "listing-unavailable")
        assert api.get("/domains").status_code == 200
    made.close()
