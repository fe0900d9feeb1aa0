"""The Router over HTTP."""

from __future__ import annotations

import time

from pbx.router import DEFAULT_TABLE
from tests.support.rest_lab import MAIN, RestLab, problem


def test_the_table_is_replaced_whole_or_not(lab: RestLab) -> None:
    with lab.client() as api:
        assert api.get("/router").json() == {"text": DEFAULT_TABLE}
        wrong = api.change("PUT", "/router", {"text": "<1> = ann\n<<2 = bob\n"})
        assert problem(wrong) == (422, "refused")
        assert "line 2" in wrong.json()["detail"]
        assert api.get("/router").json() == {"text": DEFAULT_TABLE}
        text = "<1> = ann\n"
        assert api.change("PUT", "/router", {"text": text}).json() == {"text": text}
        trace = api.send("POST", "/router/trace", {"address": f"1@{MAIN}"}).json()
        assert trace["account"] == f"ann@{MAIN}"
        assert any("<1> = ann" in step for step in trace["steps"])


def test_a_trace_of_a_group_and_of_the_past(lab: RestLab) -> None:
    before = time.time()
    with lab.client() as api:
        found = api.send("POST", "/router/trace", {"address": f"sales@{MAIN}"}).json()
        assert [member["address"] for member in found["members"]] == [f"ann@{MAIN}", f"bob@{MAIN}"]
        refused = api.send("POST", "/router/trace", {"address": f"none@{MAIN}"}).json()
        assert refused["status"] == 404
        lab.administration.create_account(f"none@{MAIN}")
        now = api.send("POST", "/router/trace", {"address": f"none@{MAIN}", "kind": "mail"}).json()
        assert now["account"] == f"none@{MAIN}"
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(before - 3600))
        past = api.send("POST", "/router/trace", {"address": f"none@{MAIN}", "at": at}).json()
        assert past["account"] == ""
        bad = api.send("POST", "/router/trace", {"address": "1", "at": "yesterday"})
        assert problem(bad) == (400, "bad-time")
        bad = api.send("POST", "/router/trace", {"address": "1", "by": "nobody"})
        assert problem(bad) == (422, "refused")


def test_what_a_caller_may_not_call_is_told(lab: RestLab) -> None:
    body = {"address": "+19001234567@far.example", "by": f"bob@{MAIN}"}
    with lab.client() as api:
        found = api.send("POST", "/router/trace", body).json()
        assert found["status"] == 403
        assert "may not call premium destinations" in found["reason"]
        stranger = api.send("POST", "/router/trace", {**body, "by": ""}).json()
        assert stranger["outcome"] == "foreign"
        assert stranger["status"] == 0
