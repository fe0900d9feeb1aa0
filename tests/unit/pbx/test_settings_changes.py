"""Changes of settings: events, secrets, conflicts."""

from __future__ import annotations

import pytest

from pbx.commands import Administration
from pbx.data import Value
from pbx.domain import configuration as conf
from pbx.domain.setting_events import PREFS, SETTINGS
from pbx.eventlog import Codec, MemoryLog
from pbx.kernel.errors import DomainError
from pbx.objects.check import WrongValue
from pbx.settings_changes import (
    THE_SERVER,
    ChangedMeanwhile,
    SettingsChanges,
    Target,
    configurations,
    read,
)

AL = Target("account", "al@x.un")


@pytest.fixture
def log() -> MemoryLog:
    log = MemoryLog(node="n")
    administration = Administration(log, actor="test")
    administration.create_domain("x.un")
    administration.create_account("al@x.un", "secret of al", "Al")
    return log


def settings(log: MemoryLog, target: Target = AL, section: str = SETTINGS) -> dict[str, Value]:
    return read(log, target)[0].section(section)


def test_update_merges_and_default_takes_away(log: MemoryLog) -> None:
    changes = SettingsChanges(log, actor="me")
    changes.update(AL, SETTINGS, {"CallsLimit": "2", "A": "1"})
    changes.update(AL, SETTINGS, {"CallsLimit": "default", "B": ["x"]})
    assert settings(log) == {"RealName": "Al", "A": "1", "B": ["x"]}
    assert changes.update(AL, SETTINGS, {"A": "1", "CallsLimit": "default"}) is None


def test_replace_leaves_nothing_else(log: MemoryLog) -> None:
    SettingsChanges(log, actor="me").replace(AL, SETTINGS, {"A": "1"})
    assert settings(log) == {"A": "1"}
    assert settings(log, section=PREFS) == {}


def test_one_wrong_value_changes_nothing(log: MemoryLog) -> None:
    head = log.head()
    changes = SettingsChanges(log, actor="me")
    for change in (changes.update, changes.replace):
        with pytest.raises(WrongValue, match="MaxSignalContacts"):
            change(AL, SETTINGS, {"CallsLimit": "2", "MaxSignalContacts": "-5"})
    assert log.head() == head


def test_what_does_not_exist_has_no_settings(log: MemoryLog) -> None:
    changes = SettingsChanges(log, actor="me")
    with pytest.raises(DomainError, match=r"there is no account bo@x\.un"):
        changes.update(Target("account", "bo@x.un"), SETTINGS, {"A": "1"})
    Administration(log, actor="me").delete_account("al@x.un")
    with pytest.raises(DomainError, match="there is no account"):
        changes.update(AL, SETTINGS, {"A": "1"})
    assert settings(log) == {}


def test_secrets_are_sealed_at_any_depth(log: MemoryLog) -> None:
    records: Value = {"p": {"domain": "voip1.un", "password": "spasswordX"}}
    changes = SettingsChanges(log, actor="me")
    changes.update(AL, SETTINGS, {"RSIP": records, "PSTNGatewayPassword": {"gw": "hidden one"}})
    assert settings(log)["RSIP"] == records
    assert settings(log)["PSTNGatewayPassword"] == {"gw": "hidden one"}
    stored = b"".join(record.data for record in log.read())
    assert b"voip1.un" in stored
    assert b"spasswordX" not in stored
    assert b"hidden one" not in stored


def test_without_keys_the_rest_is_read(log: MemoryLog) -> None:
    changes = SettingsChanges(log, actor="me")
    changes.update(AL, SETTINGS, {"RSIP": {"p": {"domain": "voip1.un", "password": "x"}}})
    blind = Codec()
    state = conf.NO_CONFIGURATION
    for record in log.read_stream(AL.stream):
        event = blind.decode(record.stream, record.type, record.data)
        state = conf.evolve_configuration(state, event)
    assert state.section(SETTINGS)["RSIP"] == {"p": {"domain": "voip1.un"}}


def test_a_change_in_between_is_named(log: MemoryLog) -> None:
    one = SettingsChanges(log, actor="one", origin="pwd:10.0.0.1")
    two = SettingsChanges(log, actor="two", origin="pwd:10.0.0.2")
    version = read(log, AL)[1]
    two.update(AL, SETTINGS, {"CallsLimit": "2", "A": "1"})
    two.update(AL, PREFS, {"Language": "x"})
    with pytest.raises(ChangedMeanwhile, match=r"^two changed (CallsLimit, A|A, CallsLimit) at "):
        one.replace(AL, SETTINGS, {"B": "1"}, read_version=version)
    one.replace(AL, PREFS, {"Language": "y"}, read_version=read(log, AL)[1])
    one.replace(AL, SETTINGS, {"B": "1"})
    assert settings(log) == {"B": "1"}


def test_the_own_change_is_no_conflict(log: MemoryLog) -> None:
    changes = SettingsChanges(log, actor="one", origin="pwd:10.0.0.1")
    version = read(log, AL)[1]
    changes.update(AL, SETTINGS, {"A": "1"})
    changes.replace(AL, SETTINGS, {"B": "1"}, read_version=version)
    assert settings(log) == {"B": "1"}


def test_settings_are_bounded(log: MemoryLog) -> None:
    changes = SettingsChanges(log, actor="me")
    with pytest.raises(DomainError, match="1000 are the most"):
        changes.update(THE_SERVER, "network", {str(n): "x" for n in range(1001)})
    with pytest.raises(DomainError, match="255 are the most"):
        changes.update(THE_SERVER, "network", {"k" * 256: "x"})


def test_all_configurations(log: MemoryLog) -> None:
    changes = SettingsChanges(log, actor="me")
    changes.update(THE_SERVER, "network", {"A": "1"})
    changes.update(Target("domain", "x.un"), "template", {"CallsLimit": "2"})
    found = {stream: dict(state.sections) for stream, state in configurations(log)}
    assert found == {
        "account/al@x.un": {"settings": {"RealName": "Al"}},
        "domain/x.un": {"template": {"CallsLimit": "2"}},
        "server": {"network": {"A": "1"}},
    }
