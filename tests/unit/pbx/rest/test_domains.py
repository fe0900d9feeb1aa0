"""Domains over HTTP."""

from __future__ import annotations

from tests.support.rest_lab import MAIN, OTHER, RestLab, problem


def test_a_domain_from_its_making_to_its_end(lab: RestLab) -> None:
    with lab.client() as api:
        made = api.send(
            "POST",
            "/domains",
            {"name": "New.Example", "aliases": ["alias.example"], "settings": {"AccountsLimit": 5}},
        )
        assert made.status_code == 201
        assert made.headers["location"] == "/api/v1/domains/new.example"
        shown = {"name": "new.example", "aliases": ["alias.example"]}
        assert made.json() == {**shown, "settings": {"AccountsLimit": 5}}
        found = api.get("/domains/alias.example")  # an alias leads to it
        assert (found.json(), found.headers["etag"]) == (made.json(), made.headers["etag"])
        changed = api.change(
            "PATCH", "/domains/new.example", {"aliases": None, "settings": {"AccountsLimit": None}}
        )
        assert changed.json() == {"name": "new.example", "aliases": [], "settings": {}}
        assert changed.headers["etag"] != made.headers["etag"]
        assert api.change("DELETE", "/domains/new.example").status_code == 204
        assert problem(api.get("/domains/new.example")) == (404, "not-found")


def test_the_list_comes_in_pages(lab: RestLab) -> None:
    with lab.client() as api:
        first = api.get("/domains?limit=1").json()
        assert [row["name"] for row in first["items"]] == [MAIN]
        assert first["items"][0]["main"] is True
        second = api.get(f"/domains?limit=1&cursor={first['next']}").json()
        assert [row["name"] for row in second["items"]] == [OTHER]
        assert second["next"] is None
        filtered = api.get("/domains?filter=oth").json()
        assert [row["name"] for row in filtered["items"]] == [OTHER]
        other = api.get(f"/domains/{MAIN}/accounts?limit=1").json()["next"]
        assert problem(api.get(f"/domains?cursor={other}")) == (400, "bad-cursor")


def test_a_domain_with_contents_is_deleted_by_force_only(lab: RestLab) -> None:
    with lab.client() as api:
        assert problem(api.change("DELETE", f"/domains/{OTHER}")) == (422, "refused")
        etag = api.etag(f"/domains/{OTHER}")
        gone = api.send("DELETE", f"/domains/{OTHER}?force=true", If_Match=etag)
        assert gone.status_code == 204
        assert problem(api.get(f"/accounts/carl@{OTHER}")) == (404, "not-found")


def test_names_that_are_taken(lab: RestLab) -> None:
    with lab.client() as api:
        assert problem(api.send("POST", "/domains", {"name": OTHER})) == (409, "taken")
        answer = api.send("POST", "/domains", {"name": "x.example", "aliases": [OTHER]})
        assert problem(answer) == (422, "refused")
        assert problem(api.get("/domains/x.example")) == (404, "not-found")  # nothing is half made
        assert problem(api.send("POST", "/domains", {"name": "no domain"})) == (422, "refused")


def test_settings_are_merged_replaced_and_checked(lab: RestLab) -> None:
    path = f"/domains/{OTHER}/settings"
    with lab.client() as api:
        put = api.change("PUT", path, {"AccountsLimit": 7, "Any": {"a": ["1", 2], "b": "x"}})
        assert put.json() == {"AccountsLimit": 7, "Any": {"a": ["1", 2], "b": "x"}}
        patched = api.change("PATCH", path, {"Any": {"b": None, "c": "y"}, "AccountsLimit": None})
        assert patched.json() == {"Any": {"a": ["1", 2], "c": "y"}}
        wrong = api.change("PATCH", path, {"AccountsLimit": "many", "Other": "1"})
        assert problem(wrong) == (422, "refused")
        assert "AccountsLimit: expected" in wrong.json()["detail"]
        assert api.get(path).json() == patched.json()
        effective = api.get(f"/domains/{OTHER}/effective-settings")
        assert effective.json()["Any"] == {"a": ["1", 2], "c": "y"}
        assert "etag" not in effective.headers


def test_secrets_are_written_and_never_shown(lab: RestLab) -> None:
    path = f"/domains/{OTHER}/settings"
    with lab.client() as api:
        put = api.change("PUT", path, {"PrivateSecureKey": {"$data": "AQID"}, "Shown": "1"})
        assert put.json() == {"Shown": "1"}
        # What a PUT cannot have seen it does not take away; a null in a PATCH does.
        assert api.change("PUT", path, {}).json() == {}
        held = lab.service.world.domains[OTHER].configuration.section("settings")
        assert held == {"PrivateSecureKey": b"\1\2\3"}
        api.change("PATCH", path, {"PrivateSecureKey": None})
        lab.service.world.catch_up()
        assert lab.service.world.domains[OTHER].configuration.section("settings") == {}


def test_account_defaults_have_a_resource_of_their_own(lab: RestLab) -> None:
    path = f"/domains/{OTHER}/account-defaults"
    with lab.client() as api:
        assert api.change("PUT", path, {"CallsLimit": 3}).json() == {"CallsLimit": 3}
        effective = api.get(f"/accounts/carl@{OTHER}/effective-settings").json()
        assert effective["CallsLimit"] == 3


def test_aliases_are_replaced_whole(lab: RestLab) -> None:
    path = f"/domains/{OTHER}/aliases"
    with lab.client() as api:
        put = api.change("PUT", path, {"aliases": ["b.example", "a.example"]})
        assert put.json() == {"aliases": ["b.example", "a.example"]}
        assert problem(api.change("PUT", path, {"aliases": [MAIN]})) == (422, "refused")
        assert api.get(path).json() == put.json()


def test_a_domain_is_made_whole_and_the_first_one_with_what_a_server_has() -> None:
    from pbx.commands import Administration
    from pbx.eventlog import MemoryLog

    lab = RestLab(log=MemoryLog(node="lab"))
    with lab.client() as api:
        wrong = {"name": "one.example", "settings": {"K" * 255: "1", "AccountsLimit": "x"}}
        assert problem(api.send("POST", "/domains", wrong)) == (422, "refused")
        assert api.get("/domains").json()["items"] == []
        made = api.send("POST", "/domains", {"name": "one.example", "settings": {"A": "1"}})
        assert (made.status_code, made.json()["settings"]) == (201, {"A": "1"})
        names = [row["name"] for row in api.get("/domains/one.example/accounts").json()["items"]]
        assert names == ["pbx", "postmaster"]
        assert Administration(lab.log, actor="").installed
    lab.close()
