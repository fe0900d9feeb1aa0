"""The asyncio side of name resolution: cache, shared look-ups, dnspython, the hosts file."""

from __future__ import annotations

import asyncio
import random
import socket
from pathlib import Path
from typing import Any

import dns.asyncresolver
import dns.message
import dns.rcode
import dns.resolver
import dns.rrset
import pytest

from sip.endpoint.locate import Answer, Naptr, Question, Reach, Srv
from sip.endpoint.resolver import DnsLookup, Resolver, read_hosts
from sip.flow import Target
from tests.support.recording_engine import in_loop

REACH = Reach(frozenset({("udp", socket.AF_INET)}))
TARGET = Target("udp", "192.0.2.1", 5060)
NOWHERE = Path("/nonexistent")


class FakeDns:
    """A table; `hold` makes look-ups wait, `asked` counts them."""

    def __init__(self, table: dict[Question, Answer]) -> None:
        self.table = table
        self.asked: list[Question] = []
        self.started = asyncio.Event()
        self.release = asyncio.Event()
        self.release.set()

    async def __call__(self, question: Question) -> Answer:
        self.asked.append(question)
        self.started.set()
        await self.release.wait()
        return self.table.get(question, Answer((), 60.0))


def fake() -> FakeDns:
    return FakeDns({Question("example.com", "A"): Answer(("192.0.2.1",), 30.0)})


@in_loop
async def test_what_is_known_is_answered_at_once_until_its_ttl_ends() -> None:
    dns_table = fake()
    resolver = Resolver(random.Random(1), dns_table)
    uri = "sip:example.com:5060"
    assert resolver.locate_nowait(uri, "", REACH, 0.0) is None
    assert await resolver.locate(uri, "", REACH, lambda: 0.0) == [TARGET]
    assert resolver.locate_nowait(uri, "", REACH, 29.0) == [TARGET]
    assert resolver.locate_nowait(uri, "", REACH, 31.0) is None
    assert len(dns_table.asked) == 1


@in_loop
async def test_the_same_question_is_asked_once_by_many_callers() -> None:
    """And a caller that gives up does not take the answer from the others."""
    dns_table = fake()
    dns_table.release.clear()
    resolver = Resolver(random.Random(1), dns_table)
    calls = [
        asyncio.create_task(resolver.locate("sip:example.com:5060", "", REACH, lambda: 0.0))
        for _ in range(5)
    ]
    await dns_table.started.wait()
    calls[0].cancel()
    dns_table.release.set()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert results[1:] == [[TARGET]] * 4
    assert len(dns_table.asked) == 1


@in_loop
async def test_a_failed_target_is_tried_last() -> None:
    question = Question("example.com", "A")
    resolver = Resolver(
        random.Random(1), FakeDns({question: Answer(("192.0.2.1", "192.0.2.2"), 300.0)})
    )
    uri = "sip:example.com:5060"
    first, second = await resolver.locate(uri, "", REACH, lambda: 0.0)
    resolver.target_failed(first, 0.0)
    assert resolver.locate_nowait(uri, "", REACH, 29.0) == [second, first]
    assert resolver.locate_nowait(uri, "", REACH, 31.0) == [first, second]


@in_loop
async def test_closing_cancels_what_is_asked() -> None:
    dns_table = fake()
    dns_table.release.clear()
    resolver = Resolver(random.Random(1), dns_table)
    call = asyncio.create_task(resolver.locate("sip:example.com:5060", "", REACH, lambda: 0.0))
    await dns_table.started.wait()
    await resolver.aclose()
    with pytest.raises(asyncio.CancelledError):
        await call


class FakeNameServer(dns.asyncresolver.Resolver):
    """dnspython's resolver with the network cut off; answers come from zone text."""

    def __init__(self, zone: dict[str, dns.rrset.RRset | type[Exception]]) -> None:
        super().__init__(configure=False)
        self.zone = zone
        self.options: dict[str, Any] = {}

    async def resolve(self, qname: Any, rdtype: Any = "A", *args: Any, **options: Any) -> Any:
        self.options = options
        found = self.zone.get(f"{qname} {rdtype}")
        if isinstance(found, type):
            raise found
        query = dns.message.make_query(qname, rdtype)
        response = dns.message.make_response(query)
        if found is not None:
            answer = response.find_rrset(
                response.answer, found.name, found.rdclass, found.rdtype, create=True
            )
            for rdata in found:
                answer.add(rdata, found.ttl)
        assert isinstance(response, dns.message.QueryMessage)
        return dns.resolver.Answer(
            query.question[0].name, query.question[0].rdtype, query.question[0].rdclass, response
        )


def rrset(name: str, kind: str, *texts: str) -> dns.rrset.RRset:
    return dns.rrset.from_text(name, 77, "IN", kind, *texts)


@in_loop
async def test_dnspython_answers_become_our_records() -> None:
    server = FakeNameServer(
        {
            "example.com. A": rrset("example.com.", "A", "192.0.2.1"),
            "example.com. AAAA": rrset("example.com.", "AAAA", "2001:db8::1"),
            "_sip._udp.example.com. SRV": rrset(
                "_sip._udp.example.com.", "SRV", "10 20 5060 sip.example.com."
            ),
            "example.com. NAPTR": rrset(
                "example.com.", "NAPTR", '50 60 "s" "SIP+D2U" "" _sip._udp.example.com.'
            ),
        }
    )
    ask = DnsLookup(server, NOWHERE)
    assert await ask(Question("example.com", "A")) == Answer(("192.0.2.1",), 77)
    assert await ask(Question("example.com", "AAAA")) == Answer(("2001:db8::1",), 77)
    assert (await ask(Question("_sip._udp.example.com", "SRV"))).records == (
        Srv(10, 20, 5060, "sip.example.com."),
    )
    assert (await ask(Question("example.com", "NAPTR"))).records == (
        Naptr(50, 60, "s", "SIP+D2U", "_sip._udp.example.com."),
    )
    assert server.options["lifetime"] == 3.0


@in_loop
async def test_no_answer_no_name_and_no_server_are_empty_answers() -> None:
    server = FakeNameServer(
        {
            "gone.test. A": dns.resolver.NXDOMAIN,
            "slow.test. A": dns.resolver.LifetimeTimeout,
            "broken.test. A": ConnectionRefusedError,
        }
    )
    ask = DnsLookup(server, NOWHERE)
    assert await ask(Question("gone.test", "A")) == Answer((), 60.0)
    assert await ask(Question("slow.test", "A")) == Answer((), 5.0)
    assert await ask(Question("broken.test", "A")) == Answer((), 5.0)
    assert (await ask(Question("empty.test", "SRV"))).records == ()
    too_long = Question("x" * 64 + ".test", "A")
    assert (await DnsLookup(dns.asyncresolver.Resolver(configure=False), NOWHERE)(too_long)) == (
        Answer((), 5.0)
    )


@in_loop
async def test_the_hosts_file_is_heard_before_dns(tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text(
        "127.0.0.1 localhost Laptop # comment\n::1 localhost\n\nnonsense line\n10.0.0.1 laptop\n"
    )
    found = read_hosts(hosts)
    assert found == {
        Question("localhost", "A"): ("127.0.0.1",),
        Question("localhost", "AAAA"): ("::1",),
        Question("laptop", "A"): ("127.0.0.1", "10.0.0.1"),
    }
    server = FakeNameServer({})
    answer = await DnsLookup(server, hosts)(Question("localhost", "A"))
    assert answer.records == ("127.0.0.1",)
    assert server.options == {}
    assert read_hosts(tmp_path / "missing") == {}
