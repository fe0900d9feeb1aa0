"""Who may do what: scopes, domains, codes of domain administrators; nothing leaks."""

from __future__ import annotations

import pytest

from tests.support.rest_lab import MAIN, OTHER, RestLab, problem

CLERK = f"clerk@{OTHER}"
CARL = f"/accounts/carl@{OTHER}"


@pytest.fixture
def clerk(lab: RestLab) -> str:
    """A token with the rights of an administrator of the second domain."""
    return lab.token("config:write", account=CLERK)


def test_a_scope_that_is_missing_comes_before_everything(lab: RestLab) -> None:
    with lab.client(lab.token("events:read")) as api:
        for method, path in (("GET", "/domains"), ("DELETE", CARL), ("GET", "/accounts/no@where")):
            assert problem(api.send(method, path)) == (403, "scope-needed")
        assert "config:read" in api.get("/domains").json()["detail"]
    with lab.client(lab.token("config:read")) as api:
        assert api.get(CARL).status_code == 200
        assert problem(api.change("DELETE", CARL)) == (403, "scope-needed")
    with lab.client("") as api:
        assert api.get("/domains").status_code == 401


def test_what_is_of_another_domain_does_not_exist(lab: RestLab, clerk: str) -> None:
    """What is there and what is not get the same answer, whatever is tried."""
    with lab.client(clerk) as api:
        for known, unknown in (
            (f"/domains/{MAIN}", "/domains/none.example"),
            (f"/domains/{MAIN}/accounts", "/domains/none.example/accounts"),
            (f"/accounts/ann@{MAIN}", f"/accounts/none@{MAIN}"),
            (f"/accounts/ann@{MAIN}/rules", "/accounts/ann@none.example/rules"),
            (f"/groups/sales@{MAIN}", f"/groups/none@{MAIN}"),
            (f"/forwarders/info@{MAIN}", f"/forwarders/none@{OTHER}"),
        ):
            there, not_there = api.get(known), api.get(unknown)
            assert problem(there) == problem(not_there) == (404, "not-found")
            assert there.text.replace(known.split("/")[2], "") == not_there.text.replace(
                unknown.split("/")[2], ""
            )
        for method, path, body in (
            ("DELETE", f"/accounts/ann@{MAIN}", None),
            ("PATCH", f"/domains/{MAIN}", {}),
            ("PUT", f"/accounts/ann@{MAIN}/password", {"password": "taken over"}),
            ("PUT", f"/groups/sales@{MAIN}", {}),
            ("DELETE", f"/forwarders/info@{MAIN}", None),
        ):
            answer = api.send(method, path, body, If_Match="*")
            assert problem(answer) == (404, "not-found")
        made = api.send("POST", f"/domains/{MAIN}/accounts", {"name": "mallory"})
        assert problem(made) == (404, "not-found")
        assert [row["name"] for row in api.get("/domains").json()["items"]] == [OTHER]


def test_what_is_the_servers_is_forbidden(lab: RestLab, clerk: str) -> None:
    with lab.client(clerk) as api:
        assert problem(api.get("/router")) == (403, "right-needed")
        assert problem(api.get("/rules")) == (403, "right-needed")
        answer = api.send("PUT", "/router", {"text": ""}, If_Match="*")
        assert problem(answer) == (403, "right-needed")
        answer = api.send("POST", "/router/trace", {"address": "1"})
        assert problem(answer) == (403, "right-needed")
        assert problem(api.send("POST", "/domains", {"name": "x.example"})) == (403, "right-needed")
        assert problem(api.change("DELETE", f"/domains/{OTHER}")) == (403, "right-needed")


def test_a_domain_administrator_does_what_his_codes_say(lab: RestLab, clerk: str) -> None:
    with lab.client(clerk) as api:
        made = api.send("POST", f"/domains/{OTHER}/accounts", {"name": "new", "aliases": ["n"]})
        assert made.status_code == 201, made.text
        assert api.change("PATCH", CARL, {"real_name": "Carl"}).status_code == 200
        assert api.change("PUT", f"{CARL}/aliases", {"aliases": ["c"]}).status_code == 200
        etag = api.etag(CARL)
        password = api.send("PUT", f"{CARL}/password", {"password": "x" * 9}, If_Match=etag)
        assert password.status_code == 204
        refused = api.change("PATCH", CARL, {"real_name": "C", "settings": {"CallsLimit": 1}})
        assert problem(refused) == (403, "right-needed")
        assert refused.json()["keys"] == ["CallsLimit"]
        assert api.get(CARL).json()["real_name"] == "Carl"  # not the half of it
        for path, body in (
            (f"{CARL}/telnums", {"telnums": ["+491"]}),
            (f"{CARL}/rights", {"rights": ["Master"]}),
            (f"{CARL}/settings", {}),
            (f"{CARL}/rules", {"rules": []}),
            (f"{CARL}/call-control", {}),
            (f"/domains/{OTHER}/aliases", {"aliases": ["a.example"]}),
        ):
            assert problem(api.change("PUT", path, body)) == (403, "right-needed"), path
        group = api.send("POST", f"/domains/{OTHER}/groups", {"name": "g"})
        assert problem(group) == (403, "right-needed")
        telnum = {"name": "t", "telnums": ["+492"]}
        made = api.send("POST", f"/domains/{OTHER}/accounts", telnum)
        assert problem(made) == (403, "right-needed")
        assert problem(api.get(f"/accounts/t@{OTHER}")) == (404, "not-found")


def test_rights_are_those_of_the_moment(lab: RestLab, clerk: str) -> None:
    with lab.client(clerk) as api:
        lab.changes.set_rights(CLERK, ["Domain"])
        made = api.send("POST", f"/domains/{OTHER}/accounts", {"name": "new"})
        assert problem(made) == (403, "right-needed")
        lab.changes.set_rights(CLERK, [])
        assert problem(api.get(CARL)) == (404, "not-found")
        lab.administration.delete_account(CLERK)
        assert problem(api.get(CARL)) == (403, "account-gone")


def test_server_rights_of_an_account_do_not_come_with_its_token(lab: RestLab) -> None:
    lab.changes.set_rights(f"ann@{MAIN}", ["Master", "Domain"])
    with lab.client(lab.token("config:write", account=f"ann@{MAIN}")) as api:
        assert api.get(f"/domains/{MAIN}").status_code == 200
        assert problem(api.get(f"/domains/{OTHER}")) == (404, "not-found")
        assert problem(api.get("/router")) == (403, "right-needed")


def test_granting_rights_is_for_masters(lab: RestLab) -> None:
    with lab.client(lab.token("config:write")) as api:
        path = f"/accounts/ann@{MAIN}/rights"
        assert problem(api.change("PUT", path, {"rights": ["Master"]})) == (403, "right-needed")
        assert api.change(
            "PUT", f"/accounts/carl@{OTHER}/rights", {"rights": ["Domain"]}
        ).json() == {"rights": ["Domain"]}


def test_a_reader_of_one_domain_reads_that_domain(lab: RestLab) -> None:
    with lab.client(lab.token("config:read", domain=OTHER)) as api:
        assert api.get(CARL).status_code == 200
        assert api.get(f"/domains/{OTHER}/rules").json() == {"rules": []}
        assert problem(api.get(f"/accounts/ann@{MAIN}")) == (404, "not-found")
        assert problem(api.get("/rules")) == (403, "right-needed")
