"""What topics should be, what is said of those that are not, and how clients are set up."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest

from pbx.cli.main import main
from pbx.eventlog import EmbeddedLog, LogUnavailable
from pbx.eventlog.kafka.categories import is_shared
from pbx.eventlog.kafka.replica import join
from pbx.settings import KafkaSettings

pytest.importorskip("kafka")

from pbx.eventlog.kafka.connect import options
from pbx.eventlog.kafka.topics import differences, plans
from tests.support.fake_kafka import FakeKafka, FakeLogRole


def test_configuration_has_one_partition_and_is_kept_for_ever() -> None:
    settings = KafkaSettings(prefix="x.", calls_days=30, messages_days=7)
    found = {plan.name: plan for plan in plans(settings, brokers=3)}
    assert set(found) == {
        f"x.pbx.{name}"
        for name in ("config", "calls", "messages", "bindings", "nodes", "other", "cdrs")
    }
    config, calls = found["x.pbx.config"], found["x.pbx.calls"]
    assert (config.partitions, config.configs["retention.ms"]) == (1, "-1")
    assert found["x.pbx.bindings"].configs["retention.ms"] == "-1"
    assert (calls.partitions, calls.replication) == (6, 3)
    assert calls.configs["retention.ms"] == str(30 * 86_400_000)
    assert found["x.pbx.messages"].configs["retention.ms"] == str(7 * 86_400_000)
    assert {plan.configs["cleanup.policy"] for plan in found.values()} == {"delete"}
    assert calls.configs["min.insync.replicas"] == "2"
    (alone, *_) = plans(KafkaSettings(), brokers=1)
    assert (alone.replication, alone.configs["min.insync.replicas"]) == (1, "1")


def test_differences_are_named_with_their_remedy() -> None:
    plan = plans(KafkaSettings(), brokers=3)[0]
    assert differences(plan, plan.partitions, 3, plan.configs) == []
    configs = {**plan.configs, "cleanup.policy": "compact"}
    partitions, copies, policy = differences(plan, 99, 1, configs)
    assert "kafka.partitions = 99" in partitions
    assert "kafka-reassign-partitions.sh" in copies
    assert "--add-config cleanup.policy=delete" in policy


def test_security_is_passed_on(tmp_path: Path) -> None:
    plain = options(["k:9092"], KafkaSettings(), "n")
    assert plain["security_protocol"] == "PLAINTEXT"
    assert not [name for name in plain if name.startswith(("ssl", "sasl"))]
    (tmp_path / "password").write_text("secret\n")
    settings = KafkaSettings(
        security="SASL_SSL",
        ca_file="ca.pem",
        sasl_user="ringlog",
        sasl_password_file=str(tmp_path / "password"),
    )
    secure = options(["k:9092"], settings, "n")
    assert secure["ssl_cafile"] == "ca.pem"
    assert secure["sasl_mechanism"] == "SCRAM-SHA-512"
    assert (secure["sasl_plain_username"], secure["sasl_plain_password"]) == ("ringlog", "secret")
    with pytest.raises(LogUnavailable, match="not set"):
        options(["k:9092"], KafkaSettings(security="SASL_SSL"), "n")


@pytest.mark.parametrize(
    ("stream", "shared"),
    [("call/1", False), ("node/n", False), ("server", True), ("account/a@b", True),
     ("binding/a@b", True), ("callback/1", True)],
)  # fmt: skip
def test_calls_and_nodes_are_decided_by_their_node(stream: str, shared: bool) -> None:
    assert is_shared(stream) is shared


def test_commands_say_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = str(tmp_path)
    assert main(["log", "init", "--data", data]) == 1
    assert 'eventlog.engine = "kafka:HOST:PORT"' in capsys.readouterr().err
    assert main(["log", "status", "--data", data]) == 1
    assert "the log is embedded" in capsys.readouterr().err
    with closing(EmbeddedLog(tmp_path / "log.sqlite3")):
        pass
    join(tmp_path / "log.sqlite3", "w")
    assert main(["log", "status", "--data", data]) == 1
    assert "start the server" in capsys.readouterr().out
    assert main(["domain", "create", "example.org", "--data", data]) == 1
    assert "start it (pbx serve)" in capsys.readouterr().err
    (tmp_path / "ringlog.toml").write_text('[eventlog]\nengine = "kafka:127.0.0.1:1"\n')
    assert main(["serve", "--demo", "--data", data]) == 1
    assert "pbx account" in capsys.readouterr().err


def test_status_shows_backlog_and_how_far_was_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    node = FakeLogRole(FakeKafka(), tmp_path, "a")
    node.log.commit([("call/1", 1, "x.y.v1", 1, "", "", "", "", "", b"{}")])
    node.close()
    main(["log", "status", "--json", "--data", str(tmp_path)])
    found = json.loads(capsys.readouterr().out)
    assert found["backlog_events"] == 1
    assert found["backlog_oldest_s"] > 0
    assert found["partitions"]["pbx.config/0"] == {"next_offset": 1, "first_offset": 0}
    main(["log", "status", "--data", str(tmp_path)])
    shown = capsys.readouterr().out
    assert "1 events wait for Kafka" in shown
    assert "pbx.calls" in shown
