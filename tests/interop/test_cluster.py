"""Three nodes on one Kafka and one PostgreSQL: what one knows all know, a phone of one is a phone
of all, a node that dies takes nothing along but its own calls."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pbx.datadir import DataDirectory
from pbx.eventlog.kafka.client import ask_status
from tests.interop.conftest import TRUSTING, PhoneOf, with_accounts
from tests.interop.peers.processes import await_condition
from tests.interop.peers.raw_phone import RawDialog, RawPhone, a_call_works, connect, end, talk
from tests.interop.peers.sipp import Sipp, register
from tests.support.cluster import Cluster
from tests.support.kafka_broker import killed
from tests.support.phones import assert_talking
from tests.support.server_process import DOMAIN, ROOT, ServerError, ServerProcess
from tests.support.webhook_receiver import Receiver

pytestmark = pytest.mark.needs("kafka-broker", "initdb", "psycopg", "sipp", "pjsua2")

KNOWN_S = 1.0
"""What one node decided the others know within this."""
LISTED_S = 10.0
"""The same in a table, and the start of a command that lists it on a busy machine."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("cluster"), settings=TRUSTING) as made:
        with_accounts(made.nodes[0])
        assert len(made.nodes[2].events("--type", "router.table-set")) == 1, "one for all nodes"
        yield made
        made.stop()


def records(node: ServerProcess, known: set[str], count: int = 1) -> list[dict[str, Any]]:
    """The new records of calls that were answered, once there are `count` of them."""

    def new() -> list[dict[str, Any]]:
        rows = node.cdrs()
        return [row for row in rows if row["call_id"] not in known and row["answer_ns"]]

    await_condition(lambda: len(new()) >= count, f"{count} records", LISTED_S)
    return new()


def known(node: ServerProcess) -> set[str]:
    return {row["call_id"] for row in node.cdrs()}


def within(limit_s: float, condition: Callable[[], object]) -> None:
    """Ask again and again, without starting a program for it, until it is so."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < limit_s
        time.sleep(0.02)


def reach(caller: RawPhone, callee: RawPhone, deadline: float) -> tuple[RawDialog, RawDialog]:
    """Call until the caller's node knows where the callee is; both sides of the call."""
    while True:
        try:
            return connect(caller, callee)
        except AssertionError as refused:
            if "no registered device" not in str(refused) or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def test_an_account_logs_in_at_another_node_at_once(cluster: Cluster) -> None:
    """Its password is sealed with a key that the node takes from PostgreSQL."""
    first, second, third = cluster.nodes
    first.create_account("new1")
    with RawPhone(second, "new1") as phone, RawPhone(third, "alice") as caller:
        within(KNOWN_S, lambda: phone.register().status == 200)
        answered = time.monotonic()
        assert caller.register().status == 200
        # Where the phone is, a node that never heard of it knows in a second.
        ours, theirs = reach(caller, phone, answered + KNOWN_S)
        talk(caller, ours, phone, theirs)
        end(caller, ours, phone)
        assert caller.register(0).status == 200
        assert phone.register(0).status == 200


def test_a_phone_on_tcp_is_called_from_another_node(cluster: Cluster, phone_of: PhoneOf) -> None:
    """Its connection ends at node 2, the call is node 1's, and there is one record of it."""
    first, second, third = cluster.nodes
    before = known(third)
    alice = phone_of(first, "alice", 440)
    bob = phone_of(second, "bob", 660, transport="tcp")
    stream = f"binding/bob@{DOMAIN}"
    await_condition(lambda: first.events("--stream", stream), "bob at the other node", LISTED_S)
    call = alice.call(f"sip:bob@{DOMAIN}")
    incoming = bob.ringing()
    bob.answer(incoming)
    alice.confirmed(call)
    assert_talking(alice, 440, bob, 660)
    bob.hangup(incoming)
    alice.ended(call)
    assert "linked with node pbx-2" in first.log()
    (record,) = records(third, before)
    (ended,) = first.events("--stream", f"call/{record['call_id']}", "--type", "call.ended")
    assert ended["node"] == "pbx-1"
    # The other way: who has the flow calls somebody without one.
    back = bob.call(f"sip:alice@{DOMAIN}")
    alice.answer(alice.ringing())
    bob.confirmed(back)
    bob.hangup(back)
    bob.ended(back)
    assert len(records(first, before, 2)) == 2


def test_a_phone_behind_nat_is_called_from_another_node(cluster: Cluster) -> None:
    first, second, third = cluster.nodes
    before = known(third)
    with RawPhone(first, "alice") as caller, RawPhone(second, "bob") as phone:
        phone.address = ("192.168.7.7", 5060)  # what it believes; nobody answers there
        assert phone.register().status == 200
        ours, theirs = reach(caller, phone, time.monotonic() + KNOWN_S)
        talk(caller, ours, phone, theirs)
        end(caller, ours, phone)
        assert phone.register(0).status == 200
    assert len(records(third, before)) == 1


def test_a_node_that_is_killed(cluster: Cluster, tmp_path: Path) -> None:
    """Its phones are reachable from elsewhere; its calls get their record when it is back."""
    first, second, third = cluster.nodes
    before = known(first)
    with (
        RawPhone(first, "alice") as caller,
        RawPhone(third, "carol") as talker,
        Sipp(tmp_path, "uas_answer", calls=1) as uas,
    ):
        register(tmp_path, third.address(), "bob", uas.port)
        call_id, tag = talker.invite("bob")
        talker.answered(call_id, tag, f"sip:bob@{DOMAIN}")
        await_condition(lambda: len(first.calls()) == 1, "the call in the table", LISTED_S)
        third.kill()
        try:
            with RawPhone(second, "carol") as moved:
                assert moved.register().status == 200
                ours, theirs = reach(caller, moved, time.monotonic() + KNOWN_S)
                talk(caller, ours, moved, theirs)
                end(caller, ours, moved)
                assert moved.register(0).status == 200
            (record,) = records(first, before)
            assert record["from_uri"].startswith("sip:alice@")
            assert len(first.calls()) == 1, "nobody else ends the calls of a node"
        finally:
            third.start()
        rows = records(first, before, 2)
        assert len(rows) == 2
        first.await_no_calls()
        register(tmp_path, second.address(), "bob", uas.port, expires_s=0)
    a_call_works(third)


def has_noticed(node: ServerProcess) -> bool:
    """Whether the node knows that Kafka is away; what it sent before waits for an outcome."""
    status = ask_status(DataDirectory(node.data).log_socket)
    return status is not None and not status["reachable"]


def test_phones_come_back_while_kafka_is_away(cluster: Cluster) -> None:
    """Their node takes them alone and they talk; settings wait; the others learn it afterwards."""
    first, second, third = cluster.nodes
    with RawPhone(first, "alice") as caller, RawPhone(first, "dave") as phone:
        with killed(cluster.broker):
            for node in cluster.nodes:
                await_condition(partial(has_noticed, node), "what is noticed", 3 * LISTED_S)
            with pytest.raises(ServerError, match="nothing was changed"):
                second.create_account("late")
            # The first one waits until it is certain that nobody else decides.
            assert caller.register().status == 200
            assert phone.register().status == 200
            ours, theirs = connect(caller, phone)
            talk(caller, ours, phone, theirs)
            end(caller, ours, phone)
        with RawPhone(third, "bob") as elsewhere:
            within(60.0, lambda: elsewhere.register().status == 200)
            ours, theirs = reach(elsewhere, phone, time.monotonic() + 3 * LISTED_S)
            talk(elsewhere, ours, phone, theirs)
            end(elsewhere, ours, phone)
            assert elsewhere.register(0).status == 200
        for one in (caller, phone):
            assert one.register(0).status == 200
        second.create_account("late")
    for node in cluster.nodes:
        added = [
            event["version"]
            for event in node.events(
                "--stream", f"binding/dave@{DOMAIN}", "--type", "binding.added"
            )
        ]
        assert len(added) == 1, "once, everywhere"
    cluster.await_linked()


def test_a_webhook_is_delivered_by_one_node_and_taken_over_when_it_dies(cluster: Cluster) -> None:
    """Each event once and in order, but for the one that was on its way at the kill."""
    first, second, third = cluster.nodes
    wanted = ("--type", "domain.created", "--allow-http", "--allow-private", "--json")
    with Receiver() as receiver:
        added = json.loads(first.run("webhook", "add", receiver.url, "--generate", *wanted))

        def arrived() -> list[str]:
            return [event["data"]["name"] for event in receiver.events()]

        names = [f"hook{number}.example" for number in range(9)]
        for name in names[:3]:
            second.create_domain(name)
        await_condition(lambda: arrived() == names[:3], "deliveries", LISTED_S)
        (status,) = third.listing("webhook", "status")
        assert status["delivered"] == 3
        holder = cluster.nodes[cluster.names.index(status["node"])]
        other = first if holder is not first else second
        receiver.status = 503
        other.create_domain(names[3])
        await_condition(
            lambda: other.listing("webhook", "status")[0]["failures"], "a failure", LISTED_S
        )
        receiver.status = 204
        holder.kill()
        try:
            for name in names[4:6]:
                other.create_domain(name)
            # Whoever has it now goes by the pause that the dead one noted: some seconds.
            await_condition(lambda: arrived() == names[:6], "the others go on", 3 * LISTED_S)
            (status,) = other.listing("webhook", "status")
            assert status["node"] != cluster.names[cluster.nodes.index(holder)]
        finally:
            holder.start()
        for name in names[6:]:
            holder.create_domain(name)
        await_condition(lambda: arrived() == names, "all of them", 3 * LISTED_S)
        seen = [headers["webhook-id"] for headers, _ in receiver.messages]
        assert len(seen) - len(set(seen)) <= 1
        first.run("webhook", "remove", added["id"])
    cluster.await_linked()


def test_a_node_that_is_drained(cluster: Cluster) -> None:
    first, second, third = cluster.nodes
    with RawPhone(second, "alice") as caller, RawPhone(second, "bob") as callee:
        assert caller.register().status == 200
        assert callee.register().status == 200
        ours, theirs = connect(caller, callee)
        first.await_calls(1)
        draining = subprocess.Popen(
            [sys.executable, "-m", "pbx", "node", "drain", "pbx-2", "--wait", "30",
             "--data", str(first.data)],
            env=first.environment, cwd=ROOT, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        with RawPhone(second, "carol") as late, RawPhone(third, "carol") as elsewhere:
            within(LISTED_S, lambda: late.register().status == 503)
            call_id = late.next_id("call")
            late.send(late.request("INVITE", to="bob", call_id=call_id, body=late.offer()))
            assert late.final(call_id).status == 503
            assert elsewhere.register().status == 200
            assert elsewhere.register(0).status == 200
        talk(caller, ours, callee, theirs)
        assert draining.poll() is None, "it waits for the call"
        end(caller, ours, callee)
        said, _ = draining.communicate(timeout=30)
        assert draining.returncode == 0
        assert "it can be stopped" in said
    states = {row["node"]: row["state"] for row in third.listing("node", "list")}
    assert states == {"pbx-1": "up", "pbx-2": "draining", "pbx-3": "up"}
    second.stop()
    second.start()
    cluster.await_linked()
    a_call_works(second)
