"""``docker-compose.yml`` is sound, and the cluster it starts is the one that is tested."""

from __future__ import annotations

import itertools
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from pbx.settings import Settings, kafka_servers
from pbx.settings_source import load_settings
from tests.support import kafka_broker
from tests.support.cluster import NAMES, node_environment

ROOT = Path(__file__).parents[3]
VARIABLES = {"RINGLOG_CLUSTER_SECRET": "a secret of these nodes", "POSTGRES_PASSWORD": "pw"}
#: Of the compose specification, as far as the file uses it.
TOP = {"services", "volumes", "configs"}
SERVICE = {
    "build", "image", "command", "restart", "network_mode", "depends_on", "stop_grace_period",
    "healthcheck", "environment", "volumes", "ports", "configs",
}  # fmt: skip
CONDITIONS = {"service_healthy", "service_completed_successfully", "service_started"}

Tree = dict[str, Any]


@pytest.fixture(scope="module")
def compose() -> Tree:
    """The file with its variables filled in."""
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    used = set(re.findall(r"\$\{(\w+)", text))
    assert used == set(VARIABLES), "nothing secret has a default"
    text = re.sub(r"\$\{(\w+):\?[^}]*\}", lambda match: VARIABLES[match[1]], text)
    tree: Tree = yaml.safe_load(text)
    return tree


@pytest.fixture(scope="module")
def settings(compose: Tree) -> dict[str, Settings]:
    """What each node makes of its environment."""
    return {
        name: load_settings(None, compose["services"][name]["environment"], {}) for name in NAMES
    }


def test_it_uses_what_compose_knows(compose: Tree) -> None:
    assert {key for key in compose if not key.startswith("x-")} == TOP
    services = compose["services"]
    assert set(services) == {*NAMES, "topics", "kafka", "postgres"}
    for name, service in services.items():
        assert set(service) <= SERVICE, name
        assert all(isinstance(value, str) for value in service["environment"].values()), name
        for needed, how in service.get("depends_on", {}).items():
            assert needed in services
            assert how["condition"] in CONDITIONS
            if how["condition"] == "service_healthy":
                assert "healthcheck" in services[needed]
        for volume in service.get("volumes", ()):
            assert volume.partition(":")[0] in compose["volumes"]
        for config in service.get("configs", ()):
            assert config["source"] in compose["configs"]


FAULTS = {
    "interval: 10s": "interval: tens",
    "restart: unless-stopped": "restrt: unless-stopped",
    "condition: service_healthy": "condition: service_happy",
    '"127.0.0.1:9092:9092"': '"127.0.0.1:x:9092"',
    "image: apache/kafka:4.1.0": "image: Apache Kafka",
}


@pytest.mark.needs("compose_spec")
@pytest.mark.parametrize("fault", ["", *FAULTS])
def test_the_specification_takes_it_and_no_typing_error(fault: str) -> None:
    """An implementation of the compose specification reads it as ``docker compose`` would."""
    import compose_spec

    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    assert fault in text
    text = text.replace(fault, FAULTS.get(fault, fault), 1)
    text = re.sub(r"\$\{(\w+):\?[^}]*\}", lambda match: VARIABLES[match[1]], text)
    merged = yaml.safe_dump(yaml.safe_load(text))  # `<<` is YAML's, not compose's

    def judged() -> list[str]:
        read = compose_spec.PyCompose.from_yaml(merged)
        read.validate()
        return sorted(read.service_names())

    if fault:
        with pytest.raises(ValueError):
            judged()
    else:
        assert judged() == sorted([*NAMES, "topics", "kafka", "postgres"])


def test_nothing_waits_for_itself(compose: Tree) -> None:
    order: list[str] = []
    waiting = {
        name: set(service.get("depends_on", ())) for name, service in compose["services"].items()
    }
    while waiting:
        ready = [name for name, needs in waiting.items() if needs <= set(order)]
        assert ready, f"these wait for each other: {sorted(waiting)}"
        order += ready
        for name in ready:
            del waiting[name]
    assert order.index("topics") < order.index("pbx-1")


def test_the_tested_versions_are_those_of_the_images(compose: Tree) -> None:
    """No image floats: what the tests ran against is what is started."""
    assert compose["services"]["kafka"]["image"] == f"apache/kafka:{kafka_broker.VERSION}"
    for name, service in compose["services"].items():
        image = service["image"]
        assert ":" in image or "build" in service, name
        assert not image.endswith(":latest")


def test_compose_itself_takes_it() -> None:
    docker = shutil.which("docker")
    probe = [docker or "docker", "compose", "version"]
    if docker is None or subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip("no docker compose here; the other tests say what can be said without it")
    done = subprocess.run(
        [docker, "compose", "--file", str(ROOT / "docker-compose.yml"), "config", "--quiet"],
        env={**os.environ, **VARIABLES}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_the_nodes_have_the_settings_that_are_tested(
    compose: Tree, settings: dict[str, Settings]
) -> None:
    for name in NAMES:
        has = compose["services"][name]["environment"]
        node = settings[name]
        tested = node_environment(
            name,
            kafka=kafka_servers(node.eventlog.engine),
            readmodel=has["RINGLOG_READMODEL__URL"],
            keys=has["RINGLOG_PRIVACY__KEYS"],
            link=node.cluster.link,
            secret=VARIABLES["RINGLOG_CLUSTER_SECRET"],
        )
        assert tested.items() <= has.items()
        # Beside these: what three nodes on one machine must not have in common.
        others = {key for key in set(has) - set(tested) if key.startswith("RINGLOG_")}
        assert others == {
            "RINGLOG_SERVER__DATA", "RINGLOG_SIP__LISTEN", "RINGLOG_MEDIA__PORT_MIN",
            "RINGLOG_MEDIA__PORT_MAX", "RINGLOG_MEDIA__NG", "RINGLOG_CLI__LISTEN",
            "RINGLOG_WEB__ADMIN_LISTEN",
        }  # fmt: skip
    assert settings[NAMES[0]].readmodel.url != settings[NAMES[0]].privacy.keys


def test_the_nodes_do_not_meet_on_one_machine(compose: Tree, settings: dict[str, Settings]) -> None:
    ports = [listener for node in settings.values() for listener in node.sip.listen]
    assert len({(place.transport, place.port) for place in ports}) == 6
    assert len({node.cli.listen for node in settings.values()}) == 3
    assert len({node.web.admin_listen for node in settings.values()}) == 3
    media = sorted((node.media.port_min, node.media.port_max) for node in settings.values())
    assert all(low[1] < high[0] for low, high in itertools.pairwise(media))
    assert all(
        node.media.engine == "local" and node.media.ng == "off" for node in settings.values()
    )
    assert len({node.cluster.link for node in settings.values()}) == 3
    folders = [compose["services"][name]["volumes"] for name in NAMES]
    assert len({str(folder) for folder in folders}) == 3
    # Links, Kafka and PostgreSQL are for this machine alone.
    assert all(node.cluster.link.startswith("127.0.0.1:") for node in settings.values())
    for name in ("kafka", "postgres"):
        assert all(port.startswith("127.0.0.1:") for port in compose["services"][name]["ports"])


def test_what_runs_for_long_is_looked_after(compose: Tree, settings: dict[str, Settings]) -> None:
    for name, service in compose["services"].items():
        if name == "topics":
            continue
        check = service["healthcheck"]
        assert check["test"][0] == "CMD"
        assert service["restart"] == "unless-stopped"
    for name, node in settings.items():
        service = compose["services"][name]
        assert service["healthcheck"]["test"][1:4] == ["pbx", "log", "status"]
        assert float(service["stop_grace_period"].rstrip("s")) > node.server.stop_s
    assert compose["services"]["topics"]["command"] == ["log", "init"]


def test_the_image_has_what_a_cluster_needs() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    (line,) = [line for line in text.splitlines() if "pip install" in line]
    assert "/src[kafka,postgresql]" in shlex.split(line.partition("&&")[2])
