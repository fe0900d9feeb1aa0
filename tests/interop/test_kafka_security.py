"""A real broker that wants TLS, certificates and passwords (SCRAM): nodes work over it, and what is
wrong is said so that it can be mended."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from pbx.domain.accounts import DomainCreated
from pbx.eventlog import Meta, open_log
from pbx.settings import KafkaSettings
from tests.interop.peers.processes import await_condition
from tests.support.cluster_node import RoleNode, contents, new_topics
from tests.support.kafka_broker import KafkaCluster
from tests.support.kafka_security import USER, Security

pytestmark = pytest.mark.needs("kafka-broker")

KEYS = (
    "security", "ca_file", "certificate", "key_file", "sasl_mechanism", "sasl_user",
    "sasl_password_file",
)  # fmt: skip


@pytest.fixture(scope="module")
def security() -> Iterator[Security]:
    with KafkaCluster(secure=True) as cluster:
        assert cluster.security is not None
        yield cluster.security


def settings_for(
    security: Security, protocol: str, mechanism: str = "SCRAM-SHA-512"
) -> KafkaSettings:
    """What an administrator writes for a listener."""
    settings = KafkaSettings(partitions=1, decide_s=10.0, security=protocol)
    if protocol != "SASL_PLAINTEXT":
        settings = replace(settings, ca_file=str(security.ca))
    if protocol == "SSL":
        return replace(settings, certificate=str(security.certificate), key_file=str(security.key))
    return replace(
        settings,
        sasl_mechanism=mechanism,
        sasl_user=USER,
        sasl_password_file=str(security.password_file),
    )


@pytest.mark.parametrize(
    ("protocol", "mechanism"),
    [
        ("SSL", ""),
        ("SASL_SSL", "SCRAM-SHA-512"),
        ("SASL_SSL", "SCRAM-SHA-256"),
        ("SASL_PLAINTEXT", "SCRAM-SHA-512"),
    ],
)
def test_nodes_work_over_it(
    protocol: str, mechanism: str, security: Security, tmp_path: Path
) -> None:
    """Topics are made, decisions and facts of one node are the other's."""
    servers = [security.address(protocol)]
    settings = new_topics(servers, settings_for(security, protocol, mechanism or "PLAIN"))
    with (
        RoleNode(tmp_path / "n1", servers, settings, "n1") as node,
        RoleNode(tmp_path / "n2", servers, settings, "n2") as other,
    ):
        with closing(open_log(node.data.path, node="n1")) as log:
            log.append("domain/d", 0, [DomainCreated(name="d")], Meta())
            log.commit([("call/1", 1, "leg.digit.v1", 1, "n1", "", "", "", "", b'{"leg_id":"x"}')])
        node.await_shipped()
        await_condition(
            lambda: contents(node.data.path) == contents(other.data.path), "equal copies", 20.0
        )
        found = [row[1] for rows in contents(other.data.path).values() for row in rows]
        assert {"domain/d", "call/1"} <= set(found)
        assert security.password not in node.said() + other.said()


@pytest.mark.parametrize(
    ("protocol", "wrong", "said"),
    [
        ("SASL_SSL", "password", "does not let ringlog in: see kafka.sasl_user"),
        ("SASL_PLAINTEXT", "password", "does not let ringlog in: see kafka.sasl_user"),
        ("SASL_SSL", "ca", "is not accepted: self-signed certificate in certificate chain"),
        ("SSL", "certificate", "does it want a certificate of ours (kafka.certificate)"),
        ("SSL", "protocol", "does not answer as a broker: is kafka.security right?"),
    ],
)
def test_what_is_wrong_is_said(
    protocol: str, wrong: str, said: str, security: Security, tmp_path: Path
) -> None:
    """By ``pbx log init`` at once, and by a node for as long as it lasts."""
    settings = settings_for(security, protocol)
    if wrong == "password":
        (tmp_path / "password").write_text("guess\n")
        settings = replace(settings, sasl_password_file=str(tmp_path / "password"))
    elif wrong == "ca":
        settings = replace(settings, ca_file=str(security.foreign_ca))
    elif wrong == "certificate":
        settings = replace(settings, certificate="", key_file="")
    else:
        settings = replace(settings, security="PLAINTEXT")
    servers = [security.address(protocol)]
    node = RoleNode(tmp_path / "n1", servers, settings, "n1")
    command = [sys.executable, "-m", "pbx", "log", "init", "--data", str(node.data.path)]
    environment = {**os.environ, "RINGLOG_EVENTLOG__ENGINE": f"kafka:{servers[0]}"}
    for name in KEYS:
        environment[f"RINGLOG_KAFKA__{name.upper()}"] = str(getattr(settings, name))
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    node.start()
    try:
        await_condition(lambda: said in trouble_of(node), "the role says it", 20.0)
        assert "guess" not in node.said()
    finally:
        node.kill()


def trouble_of(node: RoleNode) -> str:
    status = node.status()
    if status is None:
        return ""
    assert not status["reachable"]
    return str(status["trouble"])
