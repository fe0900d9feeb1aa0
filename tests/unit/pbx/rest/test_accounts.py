"""Accounts, groups and forwarders over HTTP."""

from __future__ import annotations

from pbx.history.changes import changes
from tests.support.rest_lab import MAIN, OTHER, RestLab, problem

ANN = f"/accounts/ann@{MAIN}"


def test_an_account_is_made_in_one_piece(lab: RestLab) -> None:
    body = {
        "name": "Eve",
        "password": "Pa$$w0rd",
        "real_name": "Eve E.",
        "aliases": ["101"],
        "telnums": ["+4930123456"],
        "settings": {"CallsLimit": 2},
    }
    with lab.client() as api:
        made = api.send("POST", f"/domains/{MAIN}/accounts", body)
        assert made.status_code == 201, made.text
        assert made.headers["location"] == f"/api/v1/accounts/eve@{MAIN}"
        assert made.json() == {
            "address": f"eve@{MAIN}",
            "name": "eve",
            "domain": MAIN,
            "real_name": "Eve E.",
            "aliases": ["101"],
            "telnums": ["+4930123456"],
            "rights": [],
            "has_password": True,
            "settings": {"CallsLimit": 2, "RealName": "Eve E."},
        }
        assert api.get(f"/accounts/101@{MAIN}").json() == made.json()
        assert problem(api.send("POST", f"/domains/{MAIN}/accounts", body)) == (409, "taken")
    assert lab.service.verify_password(f"eve@{MAIN}", "Pa$$w0rd")


def test_nothing_of_an_account_is_made_if_one_part_is_refused(lab: RestLab) -> None:
    with lab.client() as api:
        body = {"name": "eve", "aliases": ["e1", "bob"]}
        assert problem(api.send("POST", f"/domains/{MAIN}/accounts", body))[0] in (409, 422)
        assert problem(api.get(f"/accounts/eve@{MAIN}")) == (404, "not-found")


def test_a_patch_of_several_parts_is_one_change_or_none(lab: RestLab) -> None:
    with lab.client() as api:
        before = api.get(ANN)
        body = {"aliases": ["100"], "real_name": "Ann", "settings": {"CallsLimit": "many"}}
        assert problem(api.change("PATCH", ANN, body)) == (422, "refused")
        after = api.get(ANN)
        assert (after.json(), after.headers["etag"]) == (before.json(), before.headers["etag"])
        body["settings"] = {"CallsLimit": 4}
        changed = api.change("PATCH", ANN, body).json()
        assert (changed["aliases"], changed["real_name"]) == (["100"], "Ann")
        assert changed["settings"]["CallsLimit"] == 4
        cleared = api.change("PATCH", ANN, {"aliases": None, "real_name": None, "settings": None})
        assert cleared.json()["settings"] == {}
        assert cleared.json()["aliases"] == []


def test_passwords_are_set_and_never_read(lab: RestLab) -> None:
    with lab.client() as api:
        etag = api.etag(ANN)
        answer = api.send("PUT", f"{ANN}/password", {"password": "second one"}, If_Match=etag)
        assert (answer.status_code, answer.content) == (204, b"")
        assert answer.headers["etag"] != etag
        assert problem(api.get(f"{ANN}/password")) == (405, "method-not-allowed")
        for path in (ANN, f"{ANN}/settings", f"{ANN}/effective-settings"):
            assert "second one" not in api.get(path).text
        refused = api.change("PATCH", f"{ANN}/settings", {"Password": "third"})
        assert problem(refused) == (422, "refused")
    assert lab.service.verify_password(f"ann@{MAIN}", "second one")


def test_parts_have_resources(lab: RestLab) -> None:
    with lab.client() as api:
        assert api.change("PUT", f"{ANN}/aliases", {"aliases": ["100"]}).json() == {
            "aliases": ["100"]
        }
        assert api.change("PUT", f"{ANN}/telnums", {"telnums": ["+495"]}).json() == {
            "telnums": ["+495"]
        }
        rights = {"rights": ["Domain", "CanCreateAccounts"]}
        assert api.change("PUT", f"{ANN}/rights", rights).json() == rights
        taken = api.change("PUT", f"/accounts/bob@{MAIN}/telnums", {"telnums": ["495"]})
        assert problem(taken) == (422, "refused")
        put = api.change("PUT", f"{ANN}/settings", {"RealName": "A"})
        assert put.json() == {"RealName": "A"}


def test_an_account_is_deleted_with_its_key(lab: RestLab) -> None:
    erased: list[str] = []
    lab.service.erase = erased.append
    with lab.client() as api:
        stale = api.etag(ANN)
        api.change("PUT", f"{ANN}/aliases", {"aliases": ["100"]})
        assert problem(api.send("DELETE", ANN, If_Match=stale)) == (412, "changed-meanwhile")
        assert erased == []
        assert api.change("DELETE", ANN).status_code == 204
        assert erased == [f"account/ann@{MAIN}"]
        assert problem(api.get(ANN)) == (404, "not-found")


def test_accounts_are_listed_in_pages(lab: RestLab) -> None:
    with lab.client() as api:
        names: list[str] = []
        cursor = ""
        while True:
            page = api.get(f"/domains/{MAIN}/accounts?limit=2&cursor={cursor}").json()
            names += [row["name"] for row in page["items"]]
            cursor = page["next"]
            if cursor is None:
                break
        assert names == ["ann", "bob", "pbx", "postmaster"]


def test_groups(lab: RestLab) -> None:
    with lab.client() as api:
        body = {"name": "all", "members": ["ann", "bob"], "options": ["Expand"]}
        made = api.send("POST", f"/domains/{MAIN}/groups", body)
        assert made.status_code == 201
        assert made.json()["options"] == ["Expand"]
        path = f"/groups/all@{MAIN}"
        assert api.change("PATCH", path, {"real_name": "Everybody"}).json() == {
            **made.json(),
            "real_name": "Everybody",
        }
        put = api.change("PUT", path, {"members": ["bob"]}).json()
        assert (put["members"], put["real_name"], put["options"]) == (["bob"], "", [])
        listed = api.get(f"/domains/{MAIN}/groups").json()["items"]
        assert [row["name"] for row in listed] == ["all", "sales"]
        assert api.change("DELETE", path).status_code == 204
        assert problem(api.get(path)) == (404, "not-found")


def test_forwarders(lab: RestLab) -> None:
    with lab.client() as api:
        made = api.send("POST", f"/domains/{MAIN}/forwarders", {"name": "f", "target": "ann"})
        assert made.status_code == 201
        path = f"/forwarders/f@{MAIN}"
        put = api.change("PUT", path, {"target": "bob"})
        assert put.json() == {**made.json(), "target": "bob"}
        taken = api.send("POST", f"/domains/{MAIN}/forwarders", {"name": "ann", "target": "bob"})
        assert problem(taken) == (409, "taken")
        bad = api.change("PUT", path, {"target": "a b c <"})
        assert problem(bad)[0] == 422
        listed = api.get(f"/domains/{MAIN}/forwarders").json()["items"]
        assert [row["name"] for row in listed] == ["f", "info"]
        assert api.change("DELETE", path).status_code == 204


def test_who_changed_it_from_where_and_why_is_kept(lab: RestLab) -> None:
    with lab.client() as api:
        api.change("PATCH", ANN, {"real_name": "A"}, X_Reason="ticket 4711")
        api.change("PUT", f"/groups/sales@{MAIN}", {"members": []})
    token = lab.admin.split("_")[1]
    told = [(c.record.actor, c.record.causation) for c in changes(lab.log)][-2:]
    assert told == [
        (f"token:{token}", "api:testclient ticket 4711"),
        (f"token:{token}", "api:testclient"),
    ]
    assert OTHER not in str(told)


def test_registrations_with_providers(lab: RestLab) -> None:
    path = f"{ANN}/trunks"
    record = {"domain": "sip.provider.example", "authName": "4930", "period": "5m"}
    with lab.client() as api:
        put = api.change("PUT", path, {"one": {**record, "password": "provider-secret"}})
        assert put.json() == {"one": record}
        kept = api.change("PATCH", path, {"one": {"period": "10m"}, "two": record})
        assert kept.json() == {"one": {**record, "period": "10m"}, "two": record}
        held = lab.service.world.account_configuration(f"ann@{MAIN}").section("records")["RSIP"]
        assert isinstance(held, dict)
        assert held["one"] == {**record, "period": "10m", "password": "provider-secret"}
        wrong = api.change("PATCH", path, {"two": {"domain": None}})
        assert problem(wrong) == (422, "refused")
        assert "record two: domain names the registrar" in wrong.json()["detail"]
        assert api.change("PATCH", path, {"one": None}).json() == {"two": record}
        states = api.get(f"{ANN}/trunk-states")
        assert (set(states.json()), "etag" in states.headers) == ({"two"}, False)
        assert "provider-secret" not in api.get(f"{ANN}/effective-settings").text
