"""Tokens × operations: whatever a token asks, it learns and changes nothing beyond its rights.

A model of what may be seen, in ten lines, is compared with the application: of another domain
nothing exists, a scope that is missing ends everything, and an answer never holds a text that only
the other domain has.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pbx.rest.operations import Operation
from pbx.rest.table import OPERATIONS
from tests.support.rest_lab import MAIN, OTHER, RestLab

SECRET = "nobody-of-the-other-domain-knows"
"""Stands in every object of the main domain."""
BODIES: dict[str, Any] = {
    "createDomain": {"name": "third.example"},
    "createAccount": {"name": "fresh"},
    "createGroup": {"name": "fresh"},
    "createForwarder": {"name": "fresh", "target": "carl"},
    "putForwarder": {"target": "carl"},
    "putRouterTable": {"text": ""},
    "traceAddress": {"address": f"ann@{MAIN}"},
    "putAccountPassword": {"password": "taken over"},
    "putAccountAliases": {"aliases": ["fresh"]},
    "putAccountTelnums": {"telnums": ["+4912"]},
    "putAccountRights": {"rights": ["Master"]},
    "putDomainAliases": {"aliases": ["fresh.example"]},
    "putServerRules": {"rules": []},
    "putDomainRules": {"rules": []},
    "putAccountRules": {"rules": []},
}
TOKENS: dict[str, dict[str, Any]] = {
    "reader": {"scopes": ("config:read",), "domain": OTHER},
    "clerk": {"scopes": ("config:write",), "account": f"clerk@{OTHER}"},
    "nobody": {"scopes": ("config:write",), "account": f"carl@{OTHER}"},
    "caller": {"scopes": ("calls:control", "cdrs:read"), "domain": OTHER},
    "events": {"scopes": ("events:read",)},
}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RestLab]:
    folder: Path = tmp_path_factory.mktemp("rights")
    made = RestLab(folder)
    from pbx.settings_changes import Target

    for target in (Target("domain", MAIN), Target("account", f"ann@{MAIN}")):
        made.changes.update(target, "settings", {"Note": SECRET})
    made.administration.set_group(f"sales@{MAIN}", real_name=SECRET)
    made.administration.set_forwarder(f"info@{MAIN}", f"{SECRET}@x.example")
    made.administration.set_router_table(f"<9> = {SECRET}@{MAIN}\n")
    yield made
    made.close()


def path_of(operation: Operation, domain: str, name: str) -> str:
    return operation.path.format(domain=domain, address=f"{name}@{domain}", call_id=name)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    operation=st.sampled_from(OPERATIONS),
    token=st.sampled_from(sorted(TOKENS)),
    domain=st.sampled_from([MAIN, OTHER, MAIN.upper(), "none.example", "*", ""]),
    name=st.sampled_from(["ann", "carl", "clerk", "sales", "info", "postmaster", "none", "*", "%"]),
    condition=st.sampled_from(["*", '"1"', None]),
)
def test_nothing_leaks_and_nothing_of_others_changes(
    lab: RestLab, operation: Operation, token: str, domain: str, name: str, condition: str | None
) -> None:
    text = _token(lab, token)
    scopes = TOKENS[token]["scopes"]
    before = lab.log.head()
    headers = {} if condition is None else {"If_Match": condition}
    body = BODIES.get(operation.name, {}) if operation.body is not None else None
    with lab.client(text) as api:
        answer = api.send(operation.method, path_of(operation, domain, name), body, **headers)
    assert answer.status_code < 500
    assert SECRET not in answer.text
    holds = (
        operation.scope in scopes
        or (
            operation.scope.endswith(":read") and operation.scope.replace("read", "write") in scopes
        )
        or (operation.scope == "calls:read" and "calls:control" in scopes)
    )
    if not holds:
        assert answer.status_code in (403, 404, 405)
    records = list(lab.log.read(before))
    if not holds or operation.method == "GET":
        assert records == []
    for record in records:
        assert record.tenant == OTHER, (operation.name, record)
        assert token == "clerk", (operation.name, record)
        assert record.actor.startswith("token:")
    in_main = domain.lower() == MAIN and "{" in operation.path and "call_id" not in operation.path
    if holds and in_main and answer.status_code not in (400, 415, 428):
        assert answer.status_code == 404, (operation.name, answer.text)


def test_who_may_see_everything_sees_it(lab: RestLab) -> None:
    """So that the test above looks for something."""
    with lab.client() as api:
        for path in (
            f"/domains/{MAIN}",
            f"/accounts/ann@{MAIN}",
            f"/groups/sales@{MAIN}",
            "/router",
        ):
            assert SECRET in api.get(path).text


_KEPT: dict[tuple[int, str], str] = {}


def _token(lab: RestLab, name: str) -> str:
    """One token of each kind: thousands would be a test of something else."""
    key = id(lab), name
    if key not in _KEPT:
        wanted = dict(TOKENS[name])
        _KEPT[key] = lab.token(*wanted.pop("scopes"), **wanted)
    return _KEPT[key]
