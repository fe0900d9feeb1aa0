"""Work for a node of a cluster in a process of its own, to be raced or killed.

``python -m tests.support.cluster_worker race DIR NODE RACES ACCOUNT…`` appends to each account at
its current version until it has RACES events, and prints which versions it won.

``python -m tests.support.cluster_worker calls DIR NODE CALLS`` commits the ten facts of each of
so many calls as fast as the disk takes them, a hundred calls going on at once, and prints how many
it had acknowledged in all.

``python -m tests.support.cluster_worker facts DIR NODE STREAMS`` commits facts without end, each
the next of one of its streams, and prints how many are acknowledged.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from pbx.domain.calls import LegDigit
from pbx.eventlog import Conflict, Meta, open_log
from pbx.eventlog.record import Row

BATCH = 5
PAUSE_S = 0.002
EVENTS = 10
"""Of a call, as a plain one has."""
TOGETHER = 100


def race(data: Path, node: str, races: int, accounts: Sequence[str]) -> None:
    """Rivals in other processes do the same."""
    log = open_log(data, node=node, unseal=False)
    won: dict[str, list[int]] = {account: [] for account in accounts}
    lost: dict[str, int] = dict.fromkeys(accounts, 0)

    def one(account: str) -> None:
        version = 0
        while version < races:
            try:
                log.append(account, version, [LegDigit(leg_id=node)], Meta())
                won[account].append(version)
                version += 1
            except Conflict as conflict:
                lost[account] += 1
                version = conflict.current_version

    threads = [threading.Thread(target=one, args=(account,)) for account in accounts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    sys.stdout.write(json.dumps({"won": won, "lost": lost}))


def facts(data: Path, node: str, streams: int) -> None:
    """Stands for the signal role: what it commits must reach Kafka once, in order."""
    log = open_log(data, node=node, unseal=False)
    names = [f"call/{node}-{number}" for number in range(streams)]
    counts = dict.fromkeys(names, 0)
    for name in names:
        counts[name] = max((record.version for record in log.read_stream(name)), default=0)
    done = 0
    while True:
        batch: list[Row] = []
        for _ in range(BATCH):
            name = names[done % streams]
            counts[name] += 1
            batch.append(_digit(name, counts[name], node, time.time_ns()))
            done += 1
        log.commit(batch)
        sys.stdout.write(json.dumps(counts) + "\n")
        sys.stdout.flush()
        time.sleep(PAUSE_S)


def calls(data: Path, node: str, count: int) -> None:
    """Stands for the signal role during hours: event n of call c has ``leg_id`` ``c#n``."""
    log = open_log(data, node=node, unseal=False)
    done = 0
    for first in range(0, count, TOGETHER):
        names = [f"call/{node}-h{number}" for number in range(first, min(count, first + TOGETHER))]
        for version in range(1, EVENTS + 1):
            log.commit([_digit(name, version, node, time.time_ns()) for name in names])
            done += len(names)
    log.sync()
    log.close()
    sys.stdout.write(f"{done}\n")


def _digit(name: str, version: int, node: str, time_ns: int) -> Row:
    data = json.dumps({"leg_id": f"{name}#{version}"}).encode()
    return (name, version, "leg.digit.v1", time_ns, node, "", "", "", "", data)


if __name__ == "__main__":
    what, folder, name = sys.argv[1:4]
    if what == "race":
        race(Path(folder), name, int(sys.argv[4]), sys.argv[5:])
    elif what == "calls":
        calls(Path(folder), name, int(sys.argv[4]))
    else:
        facts(Path(folder), name, int(sys.argv[4]))
