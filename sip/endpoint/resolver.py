"""Name resolution for the endpoint: RFC 3263 over real DNS, with cache and memory of failures.

Fed by ``endpoint`` (the engine's Resolve output); asks ``locate`` what to look up and dnspython
to look it up. What needs no DNS, or is cached, is answered without a task.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import dns.asyncresolver
import dns.exception
import dns.rdatatype
import dns.resolver

from sip.endpoint.locate import (
    ERROR_TTL_S,
    FAILED_S,
    MAX_TTL_S,
    NEGATIVE_TTL_S,
    Answer,
    AnswerCache,
    FailedTargets,
    Naptr,
    Question,
    Random,
    Reach,
    Record,
    Srv,
    locate,
    run,
)
from sip.endpoint.udp import address_family
from sip.flow import Target

LOOKUP_S = 3.0
"""For one question with all retries: three of them still end before a caller hangs up."""
HOSTS_FILE = Path("/etc/hosts")

Lookup = Callable[[Question], Awaitable[Answer]]
"""Asks DNS one question; never raises for what DNS may answer."""


class Resolver:
    """Locates servers; one per endpoint. Not thread-safe."""

    def __init__(self, rng: Random, lookup: Lookup | None = None) -> None:
        self._rng = rng
        self._lookup = lookup if lookup is not None else DnsLookup()
        self._cache = AnswerCache()
        self._failed = FailedTargets()
        self._asking: dict[Question, asyncio.Future[Answer]] = {}

    def locate_nowait(
        self, uri_text: str, hint: str, reach: Reach, now: float
    ) -> list[Target] | None:
        """Targets when nothing has to be asked (numeric host, cached answers), else None."""
        targets = run(
            locate(uri_text, hint, reach, self._rng),
            lambda question: self._cache.get(question, now),
        )
        return None if targets is None else self._failed.order(targets, now)

    async def locate(
        self, uri_text: str, hint: str, reach: Reach, monotonic: Callable[[], float]
    ) -> list[Target]:
        """Targets, best first; empty when there are none. Raises nothing but cancellation."""
        steps = locate(uri_text, hint, reach, self._rng)
        try:
            questions = next(steps)
            while True:
                answers = await asyncio.gather(*(self._ask(q, monotonic) for q in questions))
                questions = steps.send(answers)
        except StopIteration as stop:
            targets: list[Target] = stop.value
        return self._failed.order(targets, monotonic())

    def target_failed(self, target: Target, now: float, for_s: float = FAILED_S) -> None:
        """Try `target` last for a while: it refused, timed out or answered 503 (Retry-After)."""
        self._failed.add(target, now, for_s)

    async def _ask(self, question: Question, monotonic: Callable[[], float]) -> Answer:
        known = self._cache.get(question, monotonic())
        if known is not None:
            return known
        asking = self._asking.get(question)
        if asking is None:
            # A future of its own, so that one impatient caller does not cancel the others' look-up.
            asking = asyncio.ensure_future(self._ask_dns(question, monotonic))
            self._asking[question] = asking
        return await asyncio.shield(asking)

    async def _ask_dns(self, question: Question, monotonic: Callable[[], float]) -> Answer:
        try:
            answer = await self._lookup(question)
            self._cache.put(question, answer, monotonic())
            return answer
        finally:
            del self._asking[question]

    async def aclose(self) -> None:
        """Stop what is still being asked."""
        asking = list(self._asking.values())
        for future in asking:
            future.cancel()
        await asyncio.gather(*asking, return_exceptions=True)


class DnsLookup:
    """dnspython as a :data:`Lookup`; the hosts file is heard first, as everywhere on the system."""

    def __init__(
        self,
        resolver: dns.asyncresolver.Resolver | None = None,
        hosts_file: Path = HOSTS_FILE,
        lookup_s: float = LOOKUP_S,
    ) -> None:
        self._resolver = resolver
        self._lookup_s = lookup_s
        self._hosts = read_hosts(hosts_file)

    async def __call__(self, question: Question) -> Answer:
        if question.kind in ("A", "AAAA"):
            hosts = self._hosts.get(question)
            if hosts is not None:
                return Answer(hosts, MAX_TTL_S)
        try:
            if self._resolver is None:
                self._resolver = dns.asyncresolver.Resolver()
            answer = await self._resolver.resolve(
                question.name + ".",
                question.kind,
                raise_on_no_answer=False,
                lifetime=self._lookup_s,
                search=False,
            )
        except dns.resolver.NXDOMAIN:
            return Answer((), NEGATIVE_TTL_S)
        except (dns.exception.DNSException, OSError, ValueError):
            # No server, no answer in time, SERVFAIL, or a name that is none.
            return Answer((), ERROR_TTL_S)
        return _answer(answer)


def _answer(answer: dns.resolver.Answer) -> Answer:
    records: list[Record] = []
    for rdata in answer.rrset or ():
        match rdata.rdtype:
            case dns.rdatatype.A | dns.rdatatype.AAAA:
                records.append(rdata.address)
            case dns.rdatatype.SRV:
                records.append(
                    Srv(rdata.priority, rdata.weight, rdata.port, rdata.target.to_text())
                )
            case dns.rdatatype.NAPTR:
                records.append(
                    Naptr(
                        rdata.order,
                        rdata.preference,
                        rdata.flags.decode("ascii", "replace"),
                        rdata.service.decode("ascii", "replace"),
                        rdata.replacement.to_text(),
                        rdata.regexp.decode("ascii", "replace"),
                    )
                )
    return Answer(tuple(records), answer.chaining_result.minimum_ttl)


def read_hosts(path: Path) -> dict[Question, tuple[Record, ...]]:
    """Addresses by name from a hosts file (hosts(5)); a missing file is an empty one."""
    found: dict[Question, tuple[Record, ...]] = {}
    try:
        text = path.read_text("utf-8", "replace")
    except OSError:
        return found
    for line in text.splitlines():
        address, *names = line.partition("#")[0].split() or [""]
        family = address_family(address)
        if family is None:
            continue
        for name in names:
            question = Question(name.lower(), "AAAA" if ":" in address else "A")
            found[question] = (*found.get(question, ()), address)
    return found
