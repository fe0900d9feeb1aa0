"""Two nodes decide on the same accounts at the same time: of each version one wins, and all readers
agree.

``make race`` runs ten thousand; ``RACES=500`` says how many.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.cluster_node import RoleNode, contents, new_topics

RACES = int(os.environ.get("RACES", "400"))
ACCOUNTS = [f"account/{name}@example.org" for name in ("al", "bea", "cy", "di")]

pytestmark = pytest.mark.needs("kafka-broker")


def test_of_two_nodes_exactly_one_wins_each_version(
    kafka_servers: list[str], tmp_path: Path
) -> None:
    settings = new_topics(kafka_servers)
    each = max(1, RACES // len(ACCOUNTS))
    with ExitStack() as stack:
        nodes = [
            stack.enter_context(RoleNode(tmp_path / name, kafka_servers, settings, name))
            for name in ("n1", "n2")
        ]
        start = time.monotonic()
        rivals = [
            subprocess.Popen(
                [
                    sys.executable, "-m", "tests.support.cluster_worker", "race",
                    str(node.data.path), node.name, str(each), *ACCOUNTS,
                ],
                stdout=subprocess.PIPE,
            )
            for node in nodes
        ]  # fmt: skip
        results = [json.loads(rival.communicate(timeout=1200)[0]) for rival in rivals]
        took_s = time.monotonic() - start
        assert all(rival.returncode == 0 for rival in rivals)
        for node in nodes:
            node.await_shipped()
        reader = stack.enter_context(RoleNode(tmp_path / "n3", kafka_servers, settings, "n3"))
        reader.await_shipped()
        read = [contents(node.data.path) for node in (*nodes, reader)]

    lost = sum(count for result in results for count in result["lost"].values())
    races = each * len(ACCOUNTS)
    sys.stdout.write(
        f"\n{races} races in {took_s:.1f} s, {races / took_s:.0f}/s, {lost} attempts lost\n"
    )
    for account in ACCOUNTS:
        won = [result["won"][account] for result in results]
        assert sorted(won[0] + won[1]) == list(range(each))
        assert all(won), "one of them never won: there was no race"
        by_node = {name: [v + 1 for v in w] for name, w in zip(("n1", "n2"), won, strict=True)}
        for replica in read:
            rows = [row for row in replica["pbx.config/0"] if row[1] == account]
            assert [row[2] for row in rows] == list(range(1, each + 1))
            assert {n: [r[2] for r in rows if r[5] == n] for n in by_node} == by_node
    assert read[0] == read[1] == read[2]
