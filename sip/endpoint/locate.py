"""Locating a server, RFC 3263: which targets, in which order. Pure: DNS is asked by the caller.

:func:`locate` is a generator. It yields tuples of :class:`Question` and is sent the list of their
:class:`Answer` values; it returns the ordered targets. ``resolver`` drives it over real DNS, tests
over a table. :class:`AnswerCache` and :class:`FailedTargets` are the memory around it.

How far a URI goes (RFC 3263 §4.1, §4.2)::

    numeric host              no DNS at all
    port given                A, AAAA
    transport given           SRV of that transport, else A, AAAA
    neither                   NAPTR -> SRV of the preferred service; else SRV of every transport
                              we have; else A, AAAA with the default transport
"""

from __future__ import annotations

import socket
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, Protocol

from sip.endpoint.udp import address_family
from sip.errors import MalformedHeader
from sip.flow import Target
from sip.uri import SipUri, parse_uri

Kind = Literal["A", "AAAA", "SRV", "NAPTR"]

MAX_TARGETS: Final = 16
"""Tried for one request: with Timer B at 32 s nobody waits for more."""
MAX_RECORDS: Final = 32
"""Looked at in one answer; a longer one is somebody's joke."""
FAILED_S: Final = 30.0
"""How long a target that did not answer is tried last (unless it sent Retry-After)."""
FAILED_MAX_S: Final = 3600.0
"""Upper bound for the Retry-After of a server: it may not talk itself out of use for ever."""
MIN_TTL_S: Final = 1.0
MAX_TTL_S: Final = 3600.0
"""An answer is asked for again after an hour even if its TTL would allow more."""
NEGATIVE_TTL_S: Final = 60.0
"""Upper bound for "no such name" and "no such record"."""
ERROR_TTL_S: Final = 5.0
"""A server that did not answer is left alone so long; calls fail over at once meanwhile."""
CACHED_ANSWERS: Final = 10_000
FAILED_TARGETS: Final = 1_000

_SRV_NAMES: Final = {"tls": "_sips._tcp.", "tcp": "_sip._tcp.", "udp": "_sip._udp."}
_NAPTR_SERVICES: Final = {"sips+d2t": "tls", "sip+d2t": "tcp", "sip+d2u": "udp"}
_DEFAULT_PORTS: Final = {"udp": 5060, "tcp": 5060, "tls": 5061}


class Random(Protocol):
    def random(self) -> float: ...


class Question(NamedTuple):
    name: str
    kind: Kind


class Srv(NamedTuple):
    """RFC 2782."""

    priority: int
    weight: int
    port: int
    host: str


class Naptr(NamedTuple):
    """RFC 3403; `replacement` is a name for the "s" records that SIP uses, `regexp` makes a URI for
    the "u" records of ENUM."""

    order: int
    preference: int
    flags: str
    service: str
    replacement: str
    regexp: str = ""


Record = str | Srv | Naptr


@dataclass(frozen=True, slots=True)
class Answer:
    """Records of one question (hosts as text for A and AAAA); none is an answer too."""

    records: tuple[Record, ...]
    ttl_s: float


@dataclass(frozen=True, slots=True)
class Reach:
    """What this node can send over: (transport, address family) of each listener."""

    pairs: frozenset[tuple[str, int]]
    prefer_ipv6: bool = False

    def families(self, transport: str) -> tuple[int, ...]:
        order = (socket.AF_INET, socket.AF_INET6)
        if self.prefer_ipv6:
            order = (socket.AF_INET6, socket.AF_INET)
        return tuple(family for family in order if (transport, family) in self.pairs)

    def transports(self) -> list[str]:
        """Usable transports, the order in which SRV is tried when nobody states a preference."""
        return [name for name in _SRV_NAMES if self.families(name)]


Steps = Generator[tuple[Question, ...], Sequence[Answer], list[Target]]


class _Hop(NamedTuple):
    """A server before its addresses are known."""

    transport: str
    host: str
    port: int


def locate(uri_text: str, hint: str, reach: Reach, rng: Random) -> Steps:
    """Targets for a URI, best first; an empty list when it cannot be reached from here.

    `hint` is a transport that the sender insists on (a request too big for UDP); "" otherwise.
    """
    try:
        uri = parse_uri(uri_text)
    except MalformedHeader:
        return []
    if not isinstance(uri, SipUri):
        return []
    transport = _wanted_transport(uri, hint)
    if transport is None:
        return []
    domain = uri.host
    host = (uri.params.get("maddr") or domain).strip("[]").lower()
    hops: Iterable[_Hop]
    default = "tls" if uri.scheme == "sips" else "udp"
    if address_family(host) is not None or uri.port is not None:
        chosen = transport or default
        hops = [_Hop(chosen, host, uri.port or _DEFAULT_PORTS[chosen])]
    else:
        hops = yield from _by_service(host, transport, uri.scheme == "sips", reach, rng)
    return (yield from _addresses(hops, domain, reach))


def _wanted_transport(uri: SipUri, hint: str) -> str | None:
    """The transport asked for, "" when it is ours to choose, None when we do not have it."""
    asked = (hint or uri.params.get("transport") or "").lower()
    if uri.scheme == "sips":
        # RFC 3261 §26.2.2: sips with transport=tcp is TLS over TCP, and never UDP.
        return "tls" if asked in ("", "tcp", "tls") else None
    if asked and asked not in _DEFAULT_PORTS:
        return None
    return asked


def _by_service(
    host: str, transport: str, secure: bool, reach: Reach, rng: Random
) -> Generator[tuple[Question, ...], Sequence[Answer], list[_Hop]]:
    """NAPTR and SRV, or the bare host when the domain publishes neither."""
    explicit = bool(transport) and not secure
    if not explicit:
        (answer,) = yield (Question(host, "NAPTR"),)
        for service_transport, name in _services(host, answer, secure, reach):
            (srv,) = yield (Question(name, "SRV"),)
            if srv.records:
                return _hops(service_transport, srv, rng)
    wanted = [transport] if transport else reach.transports()
    questions = tuple(Question(_SRV_NAMES[name] + host, "SRV") for name in wanted)
    answers: Sequence[Answer] = ()
    if questions:
        answers = yield questions
    if any(srv.records for srv in answers):
        hops: list[_Hop] = []
        for name, srv in zip(wanted, answers, strict=True):
            hops += _hops(name, srv, rng)
        return hops
    chosen = transport or "udp"
    return [_Hop(chosen, host, _DEFAULT_PORTS[chosen])]


def _services(host: str, answer: Answer, secure: bool, reach: Reach) -> list[tuple[str, str]]:
    """(transport, SRV name) of the NAPTR records that we can follow, most preferred first."""
    usable = []
    for record in answer.records[:MAX_RECORDS]:
        if not isinstance(record, Naptr) or record.flags.lower() != "s":
            continue
        transport = _NAPTR_SERVICES.get(record.service.lower())
        name = record.replacement.rstrip(".").lower()
        if transport is None or not name or not reach.families(transport):
            continue
        if secure and transport != "tls":
            continue
        # RFC 3263 §4.1: the certificate proves the domain, so the name must stay inside it.
        if transport == "tls" and name != host and not name.endswith("." + host):
            continue
        usable.append((record.order, record.preference, transport, name))
    usable.sort(key=lambda row: row[:2])
    return [(transport, name) for _, _, transport, name in usable]


def _hops(transport: str, answer: Answer, rng: Random) -> list[_Hop]:
    records = [record for record in answer.records[:MAX_RECORDS] if isinstance(record, Srv)]
    # RFC 2782: a single "." says that the service is decidedly not available here.
    return [
        _Hop(transport, srv.host.rstrip(".").lower(), srv.port)
        for srv in order_srv(records, rng)
        if srv.host.rstrip(".")
    ]


def order_srv(records: Sequence[Srv], rng: Random) -> list[Srv]:
    """Order of attempts, RFC 2782: by priority; inside a priority at random by weight.

    Weight 0 comes first into the draw, which leaves it a small chance beside other weights.
    """
    ordered: list[Srv] = []
    for priority in sorted({srv.priority for srv in records}):
        group = [srv for srv in records if srv.priority == priority]
        group.sort(key=lambda srv: srv.weight != 0)
        total = sum(srv.weight for srv in group)
        while group:
            draw = int(rng.random() * (total + 1))
            index, running = 0, group[0].weight
            while running < draw:
                index += 1
                running += group[index].weight
            chosen = group.pop(index)
            total -= chosen.weight
            ordered.append(chosen)
    return ordered


def _addresses(hops: Iterable[_Hop], domain: str, reach: Reach) -> Steps:
    """Replace the host of each hop by its addresses, keeping the order of the hops."""
    questions: dict[Question, None] = {}
    kept = [hop for hop in hops if reach.families(hop.transport)][:MAX_TARGETS]
    for hop in kept:
        if address_family(hop.host) is None:
            for family in reach.families(hop.transport):
                questions[Question(hop.host, _kind(family))] = None
    known: dict[Question, Answer] = {}
    if questions:
        answers = yield tuple(questions)
        known = dict(zip(questions, answers, strict=True))
    targets: dict[Target, None] = {}
    for hop in kept:
        tls_name = domain if hop.transport == "tls" else ""
        for family in reach.families(hop.transport):
            for host in _hosts(hop.host, family, known):
                targets[Target(hop.transport, host, hop.port, None, tls_name)] = None
    return list(targets)[:MAX_TARGETS]


def _kind(family: int) -> Kind:
    return "AAAA" if family == socket.AF_INET6 else "A"


def _hosts(host: str, family: int, known: dict[Question, Answer]) -> list[str]:
    numeric = address_family(host)
    if numeric is not None:
        return [host] if numeric == family else []
    answer = known[Question(host, _kind(family))]
    return [record for record in answer.records[:MAX_RECORDS] if isinstance(record, str)]


class AnswerCache:
    """Answers by question until their TTL; the longest unused one makes room."""

    __slots__ = ("_entries", "_size")

    def __init__(self, size: int = CACHED_ANSWERS) -> None:
        self._entries: OrderedDict[Question, tuple[float, Answer]] = OrderedDict()
        self._size = size

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, question: Question, now: float) -> Answer | None:
        entry = self._entries.get(question)
        if entry is None:
            return None
        if entry[0] <= now:
            del self._entries[question]
            return None
        self._entries.move_to_end(question)
        return entry[1]

    def put(self, question: Question, answer: Answer, now: float) -> None:
        longest = MAX_TTL_S if answer.records else NEGATIVE_TTL_S
        self._entries[question] = (now + min(max(answer.ttl_s, MIN_TTL_S), longest), answer)
        self._entries.move_to_end(question)
        if len(self._entries) > self._size:
            self._entries.popitem(last=False)


class FailedTargets:
    """Targets that did not work a moment ago: still tried, but last (RFC 3263 §4.3)."""

    __slots__ = ("_size", "_until")

    def __init__(self, size: int = FAILED_TARGETS) -> None:
        self._until: OrderedDict[tuple[str, str, int], float] = OrderedDict()
        self._size = size

    def __len__(self) -> int:
        return len(self._until)

    def add(self, target: Target, now: float, for_s: float = FAILED_S) -> None:
        key = target[:3]
        self._until[key] = now + for_s
        self._until.move_to_end(key)
        if len(self._until) > self._size:
            self._until.popitem(last=False)

    def order(self, targets: list[Target], now: float) -> list[Target]:
        """`targets` with the failed ones behind the others, otherwise as they were."""
        if not self._until:
            return targets
        return sorted(targets, key=lambda target: self._is_failed(target, now))

    def _is_failed(self, target: Target, now: float) -> bool:
        until = self._until.get(target[:3])
        if until is None:
            return False
        if until > now:
            return True
        del self._until[target[:3]]
        return False


def run(steps: Steps, answer: Callable[[Question], Answer | None]) -> list[Target] | None:
    """Drive `steps` without waiting; None as soon as an answer is not at hand."""
    try:
        questions = next(steps)
        while True:
            answers = []
            for question in questions:
                known = answer(question)
                if known is None:
                    return None
                answers.append(known)
            questions = steps.send(answers)
    except StopIteration as stop:
        targets: list[Target] = stop.value
        return targets
