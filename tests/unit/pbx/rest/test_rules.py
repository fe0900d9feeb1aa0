"""Signal Rules and call control over HTTP."""

from __future__ import annotations

import pytest

from pbx.rule_commands import RuleAdministration
from tests.support.rest_lab import MAIN, OTHER, RestLab, problem

NIGHT = {
    "name": "Night",
    "stage": "arrival",
    "after_s": 0,
    "priority": 7,
    "conditions": [{"subject": "Time Of Day", "operator": "greater than", "value": "20:00"}],
    "actions": [
        {"action": "Redirect To", "value": "night"},
        {"action": "Stop Processing", "value": ""},
    ],
    "comment": "",
}
LATE = {**NIGHT, "name": "Late", "stage": "ringing", "after_s": 20, "priority": 3}
BUSY = {**NIGHT, "name": "Busy", "stage": "busy", "conditions": []}


@pytest.mark.parametrize(
    ("path", "owner"),
    [
        ("/rules", "server"),
        (f"/domains/{OTHER}/rules", OTHER),
        (f"/accounts/ann@{MAIN}/rules", f"ann@{MAIN}"),
    ],
)
def test_rules_of_all_levels_go_to_and_fro(lab: RestLab, path: str, owner: str) -> None:
    with lab.client() as api:
        assert api.get(path).json() == {"rules": []}
        put = api.change("PUT", path, {"rules": [BUSY, LATE, NIGHT]})
        assert put.json() == {"rules": [NIGHT, LATE, BUSY]}  # as they are looked at
        assert api.get(path).json() == put.json()
    rules = RuleAdministration(lab.log, actor="").state(owner).rules
    assert [rule.number for rule in rules] == [100_007, 98_003, 307]


def test_wrong_rules_change_nothing(lab: RestLab) -> None:
    path = f"/accounts/ann@{MAIN}/rules"
    with lab.client() as api:
        wrong = {**NIGHT, "name": "Wrong", "conditions": [{**NIGHT["conditions"][0], "value": "x"}]}  # type: ignore[index]
        refused = api.change("PUT", path, {"rules": [NIGHT, wrong]})
        assert problem(refused) == (422, "refused")
        assert 'rule 2 "Wrong": condition 1' in refused.json()["detail"]
        unknown = {**NIGHT, "actions": [{"action": "Explode"}]}
        assert problem(api.change("PUT", path, {"rules": [unknown]})) == (400, "invalid-body")
        late = {**NIGHT, "after_s": 3}
        assert problem(api.change("PUT", path, {"rules": [late]})) == (422, "refused")
        administrative = {**NIGHT, "actions": [{"action": "Show Caller As", "value": "x"}]}
        assert problem(api.change("PUT", path, {"rules": [administrative]})) == (422, "refused")
        assert api.get(path).json() == {"rules": []}


def test_call_control_is_rules_beside_others(lab: RestLab) -> None:
    path = f"/accounts/ann@{MAIN}"
    with lab.client() as api:
        api.change("PUT", f"{path}/rules", {"rules": [NIGHT]})
        control = api.change(
            "PUT", f"{path}/call-control", {"forward_busy": "bob", "blocked": ["anonymous"]}
        ).json()
        assert (control["forward_busy"], control["blocked"]) == ("bob", ["anonymous"])
        patched = api.change(
            "PATCH", f"{path}/call-control", {"forward_busy": None, "voicemail_after_s": 20}
        ).json()
        assert patched == {**control, "forward_busy": None, "voicemail_after_s": 20}
        names = [rule["name"] for rule in api.get(f"{path}/rules").json()["rules"]]
        assert "Night" in names
        assert "#VoicemailAfter" in names
        assert "#ForwardBusy" not in names
        wrong = api.change("PATCH", f"{path}/call-control", {"forward_always": "<<"})
        assert problem(wrong) == (422, "refused")
