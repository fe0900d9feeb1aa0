"""What topics should be, what is said of those that are not, and how clients are set up."""

from __future__ import annotations

import json
import ssl
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from pbx.cli.main import main
from pbx.eventlog import EmbeddedLog, LogUnavailable
from pbx.eventlog.kafka.categories import is_shared
from pbx.eventlog.kafka.connect import in_clear, options
from pbx.eventlog.kafka.replica import join
from pbx.eventlog.kafka.topics import differences, plans
from pbx.settings import KafkaSettings
from tests.support.fake_kafka import FakeKafka, FakeLogRole
from tests.support.kafka_security import Security


def test_configuration_has_one_partition_and_is_kept_for_ever() -> None:
    settings = KafkaSettings(prefix="x.", calls_days=30, messages_days=7)
    found = {plan.name: plan for plan in plans(settings, brokers=3)}
    assert set(found) == {
        f"x.pbx.{name}"
        for name in (
            "applications",
            "config",
            "calls",
            "files",
            "messages",
            "bindings",
            "nodes",
            "other",
            "cdrs",
        )
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
    security = Security(tmp_path / "security", [1, 2, 3])
    settings = KafkaSettings(
        security="SASL_SSL",
        ca_file=str(security.ca),
        certificate=str(security.certificate),
        key_file=str(security.key),
        sasl_user="ringlog",
        sasl_password_file=str(security.password_file),
    )
    secure = options(["k:9092"], settings, "n")
    context = secure["ssl_context"]
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert len(context.get_ca_certs()) == 1, "these authorities and no others"
    assert secure["sasl_mechanism"] == "SCRAM-SHA-512"
    assert secure["sasl_plain_username"] == "ringlog"
    assert secure["sasl_plain_password"] == security.password
    assert "sasl_mechanism" not in options(["k:9092"], replace(settings, security="SSL"), "n")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"security": "SASL_SSL"}, "needs kafka.sasl_user"),
        ({"security": "SASL_SSL", "sasl_user": "u"}, "sasl_password_file is not set"),
        (
            {"security": "SSL", "ca_file": "/none.pem"},
            r"kafka.ca_file \(/none.pem\) cannot be used",
        ),
        ({"security": "SSL", "ca_file": __file__}, "kafka.ca_file"),
        ({"security": "SSL", "certificate": "/none.pem"}, "kafka.certificate or kafka.key_file"),
        ({"security": "SSL", "key_file": "/none.pem"}, "without kafka.certificate"),
    ],
)
def test_security_that_cannot_work_is_said(changed: dict[str, str], said: str) -> None:
    with pytest.raises(LogUnavailable, match=said):
        options(["k:9092"], KafkaSettings(**changed), "n")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("servers", "security", "mechanism", "said"),
    [
        (["127.0.0.1:9092", "localhost:9093", "[::1]:9094"], "PLAINTEXT", "PLAIN", ""),
        (["k1:9092", "k2:9092"], "SASL_SSL", "PLAIN", ""),
        (["k1:9092"], "SSL", "PLAIN", ""),
        (["127.0.0.1:9092", "k1:9092"], "PLAINTEXT", "PLAIN", "broker k1:9092 is not encrypted"),
        (["10.0.0.1:9092"], "SASL_PLAINTEXT", "SCRAM-SHA-512", "encrypted: calls"),
        (["10.0.0.1:9092"], "SASL_PLAINTEXT", "PLAIN", "the password of ann"),
    ],
)
def test_what_others_could_read_is_said(
    servers: list[str], security: str, mechanism: str, said: str
) -> None:
    settings = KafkaSettings(security=security, sasl_mechanism=mechanism, sasl_user="ann")
    warning = in_clear(servers, settings)
    assert said in warning
    assert bool(said) == bool(warning)


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
