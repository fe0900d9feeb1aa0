"""Which node of a cluster registers a record: one, and another when it dies or stops."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

import pytest

from pbx.domain.configuration import RECORDS
from pbx.domain.nodes import NodeDrainSet
from pbx.domain.setting_events import AccountSettingsChanged
from pbx.domain.trunks import NEW, TrunkClaimed, TrunkState
from pbx.eventlog import ANY_VERSION, Meta
from pbx.trunks.ownership import SILENT_S, claim_delay_s, is_orphan, ranked
from pbx.trunks.records import RecordKey
from tests.support.fake_phone.wire import session_description
from tests.support.fake_provider import FakeProvider
from tests.support.lone_node import DOMAIN, Cluster, LoneNode

OWNER = f"pbx@{DOMAIN}"
PLACES = {name: (f"192.0.2.{number}", 5060) for number, name in enumerate("abc", 1)}
PROVIDER = ("198.51.100.20", 5060)
NS = 1_000_000_000


class Lab:
    """Three nodes on one log, and a provider that all of them reach."""

    def __init__(self, records: int = 1) -> None:
        self.cluster = Cluster()
        self.nodes: dict[str, LoneNode] = {}
        for number, (name, place) in enumerate(PLACES.items(), 1):
            self.nodes[name] = LoneNode(
                names=("alice", "pbx"), name=name, local=place, cluster=self.cluster, seed=number
            )
        first = self.nodes["a"]
        self.provider = FakeProvider(first, PROVIDER)
        for node in self.nodes.values():
            self.provider.join(node)
            node.hosts["voip1.un"] = [PROVIDER]
            node.trunks.lost_nodes = self._lost
        self.cluster.settle()  # they know of each other
        values = {
            f"r{number}": {"domain": "voip1.un", "fromName": "00000X", "period": "5m"}
            for number in range(records)
        }
        secrets = ",".join(f'"{name}":{{"password":"spasswordX"}}' for name in values)
        event = AccountSettingsChanged(
            section=RECORDS, values={"RSIP": values}, secrets=f'{{"RSIP":{{{secrets}}}}}'
        )
        self.append(f"account/{OWNER}", event)

    def _lost(self, nodes: Iterable[str]) -> frozenset[str]:
        return frozenset(nodes) & self.cluster.down

    def append(self, stream: str, event: AccountSettingsChanged | NodeDrainSet) -> None:
        self.nodes["a"].events.append(stream, ANY_VERSION, [event], Meta(actor="test"))
        self.cluster.settle()

    def advance(self, seconds: float, step_s: float = 0.25) -> None:
        """Time passes for everybody that is up."""
        scheduler = self.cluster.scheduler
        end = scheduler.clock.now + seconds
        while scheduler.clock.now < end:
            moment = scheduler.clock.now + step_s
            scheduler.run_until(moment)
            for name, node in self.nodes.items():
                if name not in self.cluster.down:
                    node.engine.handle_timers(moment)
                    node.node.handle_timers(moment)
                    node.pump()
            self.cluster.settle()

    def owners(self) -> dict[str, str]:
        """Node by record, of those that register something."""
        found: dict[str, str] = {}
        for name, node in self.nodes.items():
            if name not in self.cluster.down:
                for line in node.trunks.lines():
                    record = line.record.key.name
                    assert record not in found, "two nodes register one record"
                    found[record] = name
        return found

    def kill(self, name: str) -> None:
        """No power any more: nothing is taken back, nobody is told."""
        self.cluster.down.add(name)
        self.nodes[name].servers.clear()


def test_each_record_is_registered_by_one_node_and_all_share_the_work() -> None:
    lab = Lab(records=30)
    lab.advance(10)
    owners = lab.owners()
    assert len(owners) == 30
    share = Counter(owners.values())
    assert set(share) == {"a", "b", "c"}
    assert min(share.values()) >= 4
    assert lab.provider.problems == []
    lab.advance(700)
    assert lab.owners() == owners, "nobody takes what is taken care of"


def test_another_node_goes_on_as_the_same_client_when_one_dies() -> None:
    """Within ten seconds, and the contact of the dead node is taken back."""
    lab = Lab()
    lab.advance(5)
    [dead] = lab.owners().values()
    [contact] = lab.provider.registered
    before = lab.provider.requests("REGISTER")[-1]
    lab.kill(dead)
    lab.advance(10)
    [heir] = lab.owners().values()
    assert heir != dead
    after = lab.provider.requests("REGISTER")[-1]
    assert after.call_id == before.call_id
    assert after.cseq > before.cseq
    [new] = lab.provider.registered
    assert new.partition("@")[0] == contact.partition("@")[0], "the same name in the contact"
    assert new.endswith(f"@{PLACES[heir][0]}:5060")
    assert lab.provider.problems == []


def test_a_node_that_stops_in_order_hands_over() -> None:
    lab = Lab()
    lab.advance(5)
    [old] = lab.owners().values()
    node = lab.nodes[old]
    node.node.stop(node.clock.now, lambda: None)
    node.pump()
    lab.cluster.settle()
    lab.advance(5)
    [new] = lab.owners().values()
    assert new != old
    assert len(lab.provider.registered) == 1


def test_a_draining_node_takes_over_nothing() -> None:
    lab = Lab()
    lab.advance(5)
    [dead] = lab.owners().values()
    others = [name for name in PLACES if name != dead]
    lab.append(f"node/{others[0]}", NodeDrainSet(on=True))
    lab.kill(dead)
    lab.advance(10)
    assert list(lab.owners().values()) == [others[1]]


def test_an_owner_that_reads_of_another_claim_stops() -> None:
    """Two nodes that did not see each other: the log decides when they do."""
    lab = Lab()
    lab.advance(5)
    [old] = lab.owners().values()
    other = next(name for name in PLACES if name != old)
    claimed = TrunkClaimed(record="r0", reason="after a partition")
    node = lab.nodes[other]
    node.events.append(f"trunk/{OWNER}", ANY_VERSION, [claimed], Meta(node=other))
    lab.cluster.settle()
    assert lab.owners() == {}
    lab.advance(10)
    assert list(lab.owners().values()) == [other]
    assert lab.provider.problems == []


def test_a_start_that_did_not_read_signs_of_life_still_takes_over() -> None:
    """It knows an older version of the stream than there is; the log tells the right one."""
    lab = Lab()
    lab.advance(5)
    [dead] = lab.owners().values()
    for name in PLACES:
        streams = lab.nodes[name].trunks._streams
        streams[OWNER] = replace(streams[OWNER], version=1)
    lab.kill(dead)
    lab.advance(12)
    [heir] = lab.owners().values()
    assert heir != dead


def test_any_node_takes_the_providers_calls() -> None:
    """The provider still has the contact of a dead node's run, which now another node answers."""
    lab = Lab()
    lab.advance(5)
    [owner] = lab.owners().values()
    other = next(name for name in PLACES if name != owner)
    [contact] = lab.provider.registered
    body = session_description("198.51.100.20", 4000, 1, 1, "sendrecv")
    lab.provider.heard.clear()
    lab.provider.invite(contact, body=body, node=lab.nodes[other])
    lab.advance(0.5)
    assert {heard.status for heard in lab.provider.heard if heard.status} == {480}


# -- the decision by itself

KEY = RecordKey(OWNER, "r0")
UP = frozenset({"a", "b", "c"})


def owned(node: str, seen_ns: int = 0) -> TrunkState:
    return TrunkState(node=node, claimed=True, seen_ns=seen_ns)


@pytest.mark.parametrize(
    ("state", "lost", "now_s", "orphan"),
    [
        (NEW, "", 0, True),
        (TrunkState(node="a"), "", 0, True),  # of a time without a cluster
        (owned("a"), "", SILENT_S, False),
        (owned("a"), "", SILENT_S + 1, True),
        (owned("a"), "a", 0, True),
        (owned("a"), "b", 0, False),
        (owned("d"), "", 0, True),
    ],
)
def test_orphans(state: TrunkState, lost: str, now_s: float, orphan: bool) -> None:
    assert is_orphan(state, UP, frozenset(lost), int(now_s * NS)) is orphan


def test_claims_do_not_collide() -> None:
    delays = {node: claim_delay_s(KEY, NEW, node, UP, frozenset()) for node in UP}
    assert sorted(delays.values()) == [0, 2, 4]
    assert min(delays, key=lambda node: delays[node]) == ranked(KEY, UP)[0]
    assert claim_delay_s(KEY, owned("c"), "c", UP, frozenset()) == 0, "what was its own"
    heirs = {node: claim_delay_s(KEY, owned("a"), node, UP, frozenset("a")) for node in "bc"}
    assert sorted(heirs.values()) == [0, 2]
