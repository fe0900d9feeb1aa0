"""Call ladders as text, played by scripted phones on one signalling node in memory.

Every message in both directions is named by the ladder, and what the event log got is told by
:meth:`Lab.story`; at the end nothing may be left (:meth:`Lab.end`). One step a line:

    alice > INVITE bob a1           alice calls bob, offering the description "a1"
    bob < INVITE a1                 the oldest message of that dialog at bob's phone is this one
    bob > 180                       bob answers the last request that has no final answer
    alice < 180                     … and that reaches alice
    bob > 200 b1
    alice < 200 b1
    alice > ACK
    bob < ACK
    +2.5                            time passes, timers fire
    alice > BYE | Reason: Q.850;cause=16        with such a header line
    bob < BYE | Reason: Q.850;cause=16 | !Via2  has a header line with such a text, or none so named
    bob > 200
    alice < 200 BYE                 the method may be named

A word before ``>`` or ``<`` is a dialog: the name of a phone, or the name with a suffix for its
further ones (``alice.2``). The first INVITE of a dialog makes it; ``reINVITE`` is one inside it.
A line may go on in the next one, which then starts with ``|``.

Bodies are words (see :func:`sdp`), "-" none; ``text:…`` is a body of text. REFER and INVITE may
say ``replaces=alice.2``. ``media …`` lines rule the scripted media service (see
:class:`ScriptedMedia`); lines starting with # are remarks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import Any

from media.ng.figures import LegMedia
from pbx.calls.config import CallConfig
from pbx.calls.directory import Directory
from pbx.calls.media import NoMedia
from pbx.calls.node import SignalNode
from pbx.calls.ports import MediaParty, MediaPort, MediaReply
from pbx.domain import calls as domain
from pbx.domain.accounts import (
    AccountCreated,
    AccountLimitsSet,
    AccountPasswordSet,
    DomainCreated,
)
from pbx.domain.bindings import BindingAdded
from pbx.domain.rules import RulesChanged, stored
from pbx.eventlog import Meta
from pbx.kernel.errors import ClusterAway
from pbx.kernel.events import Event
from pbx.rules import parse_rules
from pbx.trunks.trunks import Trunks
from sip.core import EngineConfig, Output, Resolve, TargetFailed, Transmit
from sip.digest import ha1
from sip.engine import SipEngine
from sip.flow import Flow, Target
from sip.message import Request
from tests.support.clock import VirtualClock
from tests.unit.pbx.calls.phone import DOMAIN, SERVER, Dialog, Message, Phone, sdp, word_of

#: Longer than any timer that outlives a call: 64·T1 twice, and the subscription of a REFER.
LINGER_S = 200.0
START_S = 1000.0


class RecordingLog:
    """Keeps everything; decisions are answered at once, or when :meth:`decide_all` says so."""

    def __init__(self) -> None:
        self.healthy = True
        self.events: list[tuple[str, int, Event, Meta]] = []
        self.versions: dict[str, int] = {}
        self.slow = False
        self.refusal: Exception | None = None
        """What decisions end in while it is set."""
        self.waiting: list[Callable[[], None]] = []
        self.alone: list[bool] = []
        """Of each decision: whether this node made it by itself."""

    def observe(self, stream: str, version: int, event: Event, meta: Meta) -> None:
        if stream.startswith("call/"):
            assert version == self.versions.get(stream, 0) + 1, (stream, version)
            self.versions[stream] = version
        self.events.append((stream, version, event, meta))

    def decide(
        self,
        stream: str,
        expected_version: int,
        events: Sequence[Event],
        meta: Meta,
        done: Callable[[int | Exception], None],
        *,
        alone: bool = False,
    ) -> None:
        self.alone.append(alone)

        def run() -> None:
            if self.refusal is not None and not (alone and isinstance(self.refusal, ClusterAway)):
                done(self.refusal)
                return
            for number, event in enumerate(events, 1):
                self.events.append((stream, expected_version + number, event, meta))
            done(len(self.events))

        if self.slow:
            self.waiting.append(run)
        else:
            run()

    def decide_all(self) -> None:
        """What waits becomes durable, or fails."""
        waiting, self.waiting = self.waiting, []
        for run in waiting:
            run()

    def of(self, kind: type[Event]) -> list[Any]:
        """Events of one type, of all streams."""
        return [event for _, _, event, _ in self.events if isinstance(event, kind)]


class ScriptedMedia:
    """A media service that does what it is told: ``(x)`` is the description x seen through it.

    ``media hold`` lets replies wait; ``media go`` gives the oldest one (``media go 2`` the second),
    ``media go all`` all of them and no longer holds; ``media fail TEXT`` refuses the next request.
    """

    name = "scripted"

    def __init__(self) -> None:
        self.available = True
        self.now: Callable[[], float] = lambda: 0.0
        self.holding = False
        self.failure = ""
        self.waiting: list[Callable[[], object]] = []
        self.open: dict[str, list[str]] = {}
        """Tags by session; deleting removes it."""
        self.asked: list[str] = []
        """Requests as words, since :meth:`take` was called last."""

    def command(self, words: list[str]) -> None:
        match words:
            case ["hold"]:
                self.holding = True
            case ["go"]:
                self.waiting.pop(0)()
            case ["go", "all"]:
                self.holding = False
                while self.waiting:
                    self.waiting.pop(0)()
            case ["go", number]:
                self.waiting.pop(int(number) - 1)()
            case ["fail", *text]:
                self.failure = " ".join(text)
            case _:
                raise AssertionError(words)

    def _answer(self, sdp: bytes, done: Callable[[MediaReply, float], None]) -> None:
        failure, self.failure = self.failure, ""
        reply = MediaReply(b"", failure) if failure else MediaReply(_through(sdp))
        self._later(lambda: done(reply, self.now()))

    def _later(self, run: Callable[[], object]) -> None:
        if self.holding:
            self.waiting.append(run)
        else:
            run()

    def offer(
        self,
        session: str,
        offerer: MediaParty,
        answerer: MediaParty | None,
        sdp: bytes,
        now: float,
        done: Callable[[MediaReply, float], None],
    ) -> None:
        if session in self.open or not self.failure:
            self.open.setdefault(session, []).append(offerer.tag)
        self.asked.append(f"offer {session[-1]} {word_of(sdp)}")
        self._answer(sdp, done)

    def answer(
        self,
        session: str,
        offerer: MediaParty,
        answerer: MediaParty,
        sdp: bytes,
        now: float,
        done: Callable[[MediaReply, float], None],
        *,
        early: bool = False,
    ) -> None:
        assert session in self.open, "an answer to a session that is not there"
        self.open[session].append(answerer.tag)
        kind = "early answer" if early else "answer"
        self.asked.append(f"{kind} {session[-1]} {word_of(sdp)}")
        self._answer(sdp, done)

    def delete(
        self,
        session: str,
        offerer_tag: str,
        now: float,
        done: Callable[[Mapping[str, LegMedia], float], None],
    ) -> None:
        tags = self.open.pop(session, [])
        assert not tags or offerer_tag in tags
        self.asked.append(f"delete {session[-1]}")
        figures = {tag: LegMedia(packets_in=100, codec="PCMU") for tag in dict.fromkeys(tags)}
        self._later(lambda: done(figures, self.now()))


def _through(sdp: bytes) -> bytes:
    label = word_of(sdp).partition(":")[0]
    return sdp.replace(f"a=label:{label}\r".encode(), f"a=label:({label})\r".encode())


class Lab:
    """One node, its phones, virtual time."""

    def __init__(
        self,
        phones: str = "alice bob",
        *,
        media: MediaPort | None = None,
        engine: EngineConfig | None = None,
        **config: Any,
    ) -> None:
        """`phones` are names of accounts, each with one device; more come by :meth:`add`."""
        self.clock = VirtualClock(START_S)
        self.log = RecordingLog()
        self.media = media or NoMedia()
        if isinstance(self.media, ScriptedMedia):
            self.media.now = lambda: self.clock.now
        rng = Random(7)
        self.engine = SipEngine(
            replace(engine or EngineConfig(keepalive_s=0.0), strict_source=True), rng
        )
        self.engine.add_listener("udp", SERVER)
        self.directory = Directory()
        self.directory.apply(f"domain/{DOMAIN}", DomainCreated(name=DOMAIN))
        self.directory.set_own_hosts(frozenset({SERVER[0]}))
        settings = CallConfig(node="lab", requests_per_s=1e6, requests_burst=10**6)
        self.node = SignalNode(
            self.engine,
            self.media,
            self.log,
            self.clock,
            rng,
            replace(settings, **config),
            directory=self.directory,
            nonce_secret=b"\x07" * 32,
        )
        self.trunks = Trunks(self.node)
        self.node.use_trunks(self.trunks)
        self.phones: dict[str, Phone] = {}
        self.dialogs: dict[str, Dialog] = {}
        self.sent_uri: dict[str, str] = {}
        self.outside: dict[str, str] = {}
        """Which phone serves an outside host name (DNS)."""
        self.cut_off: set[str] = set()
        """Hosts that nothing can be sent to: their connections are gone."""
        self.lost: list[bytes] = []
        for name in phones.split():
            self.add(name, name)

    @property
    def now(self) -> float:
        return self.clock.now

    # -- who is there

    def add_domain(self, domain: str) -> None:
        """One more domain of ours."""
        self.directory.apply(f"domain/{domain}", DomainCreated(name=domain))

    def add(
        self,
        name: str,
        account: str = "",
        *,
        q: float = 1.0,
        host: str = "",
        bind: bool = True,
        domain: str = DOMAIN,
    ) -> Phone:
        """A device of `account` (made if need be; "" for a stranger)."""
        account = account or (name if domain != DOMAIN else "")
        host = host or f"203.0.113.{len(self.phones) + 11}"
        password = f"secret-{account}"
        phone = Phone(self, name, account or name, host, password)
        if not account:
            phone.address = f"<sip:{name}@outside.example>"
        self.phones[name] = phone
        if domain != DOMAIN:
            phone.address = f"<sip:{account}@{domain}>"
        if account and self.directory.account(account, domain) is None:
            stream = f"account/{account}@{domain}"
            for event in (
                AccountCreated(name=account, domain=domain),
                AccountPasswordSet(
                    realm=domain,
                    ha1_md5=ha1("MD5", account, domain, password),
                    ha1_sha256=ha1("SHA-256", account, domain, password),
                ),
            ):
                self.directory.apply(stream, event)
        if account and bind:
            self._bind(phone, f"{account}@{domain}", q)
        return phone

    def _bind(self, phone: Phone, address: str, q: float) -> None:
        location = self.node.locations.location(address)
        binding = BindingAdded(
            contact_id=phone.name,
            contact=f"sip:{phone.name}@{phone.host}:5060",
            expires_ns=self.clock.wall_ns() + 86_400_000_000_000,
            sip_call_id="r",
            cseq=1,
            q=q,
            local=f"{SERVER[0]}:{SERVER[1]}",
            remote=f"{phone.host}:5060",
        )
        version = location.version + 1
        self.node.locations.fold(f"binding/{address}", version, binding)

    def limit(self, account: str, calls: int) -> None:
        """Set how many calls an account may have."""
        self.directory.apply(
            f"account/{account}@{DOMAIN}", AccountLimitsSet(calls_limit=calls, max_contacts=10)
        )

    def rules(self, stream: str, *data: Any) -> None:
        """Set the rules of ``server``, ``domain/…`` or of an account by its name, stored form."""
        if stream != "server" and "/" not in stream:
            stream = f"account/{stream}@{DOMAIN}"
        self.node.configured(stream, RulesChanged(rules=stored(parse_rules(data))))

    # -- the wire and the clock

    def feed(self, data: bytes, flow: Flow) -> None:
        """A datagram of a phone arrives."""
        self.engine.receive_datagram(data, flow, self.clock.now)
        self.pump()

    def pump(self) -> None:
        """Until engine and call control want nothing more."""
        while True:
            events = self.engine.events()
            if events:
                self.node.on_events(events, self.clock.now)
            outputs = self.engine.outputs()
            if not events and not outputs:
                return
            for output in outputs:
                self._carry_out(output)

    def _carry_out(self, output: Output) -> None:
        if isinstance(output, Transmit):
            to = output.to
            host = to.remote[0] if isinstance(to, Flow) else to.host
            phone = next((p for p in self.phones.values() if p.host == host), None)
            if host in self.cut_off:
                self.engine.transport_failed(to, output.token, self.clock.now)
            elif phone is None:
                self.lost.append(output.data)
            else:
                phone.receive(output.data)
        elif isinstance(output, Resolve):
            host = output.uri.partition("@")[2] or output.uri.partition(":")[2]
            name = self.outside.get(host.partition(";")[0])
            targets = [Target("udp", self.phones[name].host, 5060)] if name else []
            self.engine.resolved(output.query, targets, self.clock.now)
        else:
            # Which server is tried last is the business of the shell's resolver.
            assert isinstance(output, TargetFailed), output

    def advance(self, seconds: float) -> None:
        """Let time pass, timer by timer."""
        end = self.clock.now + seconds
        while True:
            due = [self.engine.next_timer(), self.node.next_timer()]
            moment = min((time for time in due if time is not None), default=None)
            if moment is None or moment > end:
                break
            self.clock.now = max(moment, self.clock.now)
            self.engine.handle_timers(self.clock.now)
            self.node.handle_timers(self.clock.now)
            self.pump()
        self.clock.now = end

    # -- ladders

    def play(self, ladder: str) -> None:
        """Play a ladder; every line that does not fit raises, with the line."""
        lines = [line.strip() for line in ladder.splitlines()]
        for line in "\n".join(lines).replace("\n| ", " | ").splitlines():
            if not line or line.startswith("#"):
                continue
            try:
                self._step(line)
            except AssertionError as error:
                raise AssertionError(f"at {line!r}: {error}\n{self.waiting()}") from error

    def _step(self, line: str) -> None:
        step, *rest = [piece.strip() for piece in line.split(" | ")]
        words = step.split()
        if words[0].startswith("+"):
            self.advance(float(words[0]))
        elif words[0] == "media":
            assert isinstance(self.media, ScriptedMedia)
            self.media.command(words[1:])
            self.pump()
        elif words[1] == ">":
            lines = "".join([f"{header}\r\n" for header in rest])
            self._send(words[0], words[2:], lines)
        else:
            assert words[1] == "<", line
            self._expect(words[0], words[2:], rest)

    def _send(self, name: str, words: list[str], lines: str) -> None:
        what = words.pop(0)
        if what.isdigit():
            self._respond(self.dialogs[name], int(what), words, lines)
            return
        raw = "raw" in words
        replaces = next((word for word in words if word.startswith("replaces=")), "")
        words = [word for word in words if word != "raw" and not word.startswith("replaces=")]
        if what in ("INVITE", "MESSAGE", "OPTIONS", "SUBSCRIBE") and name not in self.dialogs:
            self._open(name, what, words, lines, raw, replaces)
            return
        dialog = self.dialogs[name]
        phone = dialog.phone
        method = "INVITE" if what == "reINVITE" else what
        body, lines = self._body(words, phone, lines)
        if method == "CANCEL":
            request = {"cseq": dialog.invite_cseq, "branch": dialog.sent["INVITE"]}
            tag, dialog.remote_tag = dialog.remote_tag, ""
            phone.request(dialog, method, self.sent_uri[dialog.call_id], lines, **request)  # type: ignore[arg-type]
            dialog.remote_tag = tag
            return
        if method == "ACK":
            phone.acknowledge(dialog, lines, body)
            return
        if method == "REFER":
            uri = self._uri(words[0])
            if replaces:
                uri += f"?Replaces={self._replaces(replaces, escaped=True)}"
            lines = f"Refer-To: <{uri}>\r\n" + lines
        if method == "PRACK":
            lines = f"RAck: {dialog.rseq} {dialog.invite_cseq} INVITE\r\n" + lines
        phone.request(dialog, method, dialog.target, lines, body)

    def _open(
        self, name: str, method: str, words: list[str], lines: str, raw: bool, replaces: str
    ) -> None:
        """The first request of a dialog, or one outside any."""
        phone = self.phones[name.partition(".")[0]]
        dialog = self._new_dialog(phone, name, f"c{len(self.dialogs)}-{name}")
        uri = self._uri(words.pop(0))
        dialog.local, dialog.remote = phone.address, f"<{uri}>"
        kept = []
        for line in lines.splitlines():
            if line.startswith("From: "):
                dialog.local = line[6:]
            else:
                kept.append(line + "\r\n")
        lines = "".join(kept)
        body, lines = self._body(words, phone, lines)
        if replaces:
            lines += f"Replaces: {self._replaces(replaces, escaped=False)}\r\n"
        phone.request(dialog, method, uri, lines, body, raw=raw, contact=method != "MESSAGE")

    def _new_dialog(self, phone: Phone, name: str, call_id: str) -> Dialog:
        dialog = Dialog(phone, name, call_id)
        self.dialogs[name] = phone.dialogs[call_id] = dialog
        return dialog

    def _uri(self, word: str) -> str:
        return word if ":" in word else f"sip:{word}@{DOMAIN}"

    def _replaces(self, word: str, *, escaped: bool) -> str:
        """The dialog as its phone sees it; ~ swaps the tags, ! asks for early dialogs only."""
        name = word.removeprefix("replaces=")
        dialog = self.dialogs[name.rstrip("~!")]
        to_tag, from_tag = dialog.remote_tag, dialog.local_tag
        if "~" in name:
            to_tag, from_tag = from_tag, to_tag
        text = f"{dialog.call_id};to-tag={to_tag};from-tag={from_tag}"
        if "!" in name:
            text += ";early-only"
        return text.replace(";", "%3B").replace("=", "%3D") if escaped else text

    def _body(self, words: list[str], phone: Phone, lines: str) -> tuple[bytes, str]:
        word = words[-1] if words else "-"
        if word.startswith("text:"):
            if "Content-Type:" not in lines:
                lines += "Content-Type: text/plain\r\n"
            return word[5:].encode(), lines
        if word == "-" or "@" in word or word in self.phones or word in _METHODS:
            return b"", lines
        return sdp(word, phone.host), lines

    def _respond(self, dialog: Dialog, status: int, words: list[str], lines: str) -> None:
        pending = dialog.received
        if words and words[0] in _METHODS:
            method = words.pop(0)
            pending = [request for request in pending if request.method == method]
        assert pending, f"{dialog.name} has nothing to answer"
        body, lines = self._body(words, dialog.phone, lines)
        dialog.phone.respond(dialog, pending[-1], status, lines, body)

    def _expect(self, name: str, words: list[str], checks: list[str]) -> None:
        what = words.pop(0)
        message, dialog = self._next(name, what)
        if isinstance(message, Request):
            shown = message.method
            if shown == "INVITE" and message.to.tag:
                shown = "reINVITE"
        else:
            shown = str(message.status)
            if words and words[0] in _METHODS:
                what, shown = f"{what} {words.pop(0)}", f"{shown} {message.cseq.method}"
        assert shown == what, f"{name} got {shown}:\n{message.to_bytes().decode()}"
        dialog.phone.learn(dialog, message)
        body = message.body
        if not words:
            assert not body or message.content_type != "application/sdp", f"body {word_of(body)}"
        elif words[0].startswith("text:"):
            assert body.decode().strip() == " ".join(words)[5:], body
        else:
            assert word_of(body) == words[0], f"the body is {word_of(body)}"
        _check(message, checks)

    def _next(self, name: str, what: str) -> tuple[Message, Dialog]:
        dialog = self.dialogs.get(name)
        if dialog is not None:
            assert dialog.inbox, f"{name} got nothing"
            return dialog.inbox.pop(0), dialog
        phone = self.phones[name.partition(".")[0]]
        assert phone.fresh, f"{name} got nothing new"
        request = phone.fresh.pop(0)
        return request, self._new_dialog(phone, name, request.call_id)

    def waiting(self) -> str:
        """What the phones got and the ladder has not named."""
        lines = []
        for phone in self.phones.values():
            lines += [f"  {phone.name} (new): {message.method}" for message in phone.fresh]
            for dialog in phone.dialogs.values():
                lines += [f"  {dialog.name}: {_line(message)}" for message in dialog.inbox]
        return "\n".join(lines)

    def quiet(self) -> None:
        """Nothing waits anywhere."""
        assert self.waiting() == ""

    # -- what the log says

    def story(self) -> list[str]:
        """The events of all calls in order, one line each."""
        teller = _Teller(self)
        lines = [teller.line(event) for stream, _, event, _ in self.log.events if "call/" in stream]
        return [part.strip() for line in lines for part in line.splitlines()]

    def tells(self, expected: str) -> None:
        """The story is exactly this."""
        wanted = [line.strip() for line in expected.splitlines() if line.strip()]
        story = self.story()
        assert story == wanted, "\n" + "\n".join(story)

    def end(self, expected: str = "") -> None:
        """Nothing is left in any table once everything has lingered; the story is `expected`."""
        self.quiet()
        self.advance(LINGER_S)
        self.quiet()
        engine, node = self.engine.statistics(), self.node.statistics()
        for name in (
            "client_transactions", "server_transactions", "merged", "dialogs", "usages", "timers",
            "queries",
        ):  # fmt: skip
            assert engine[name] == 0, (name, engine)
        for name in ("calls", "bridges", "counted_accounts", "account_legs", "subscriptions"):
            assert node[name] == 0, (name, node)
        # The one timer that stays is the registrar's, for the earliest expiry.
        assert node["call_timers"] == 0, node
        if isinstance(self.media, ScriptedMedia):
            assert not self.media.open, self.media.open
        self._check_streams()
        if expected:
            self.tells(expected)

    def _check_streams(self) -> None:
        """Each call begins once and ends once, each leg of it ends once, nothing comes after."""
        streams: dict[str, list[Event]] = {}
        for stream, _, event, _ in self.log.events:
            if stream.startswith("call/"):
                streams.setdefault(stream, []).append(event)
        for stream, events in streams.items():
            kinds = [type(event) for event in events]
            assert kinds[0] is domain.CallStarted, stream
            assert kinds[-1] is domain.CallEnded, stream
            assert kinds.count(domain.CallEnded) == 1, stream
            made = [
                e.leg_id for e in events if isinstance(e, domain.CallStarted | domain.LegCreated)
            ]
            ended = [e.leg_id for e in events if isinstance(e, domain.LegEnded)]
            assert sorted(made) == sorted(ended), stream


_METHODS = frozenset(
    {
        "INVITE",
        "SUBSCRIBE",
        "BYE",
        "CANCEL",
        "PRACK",
        "UPDATE",
        "REFER",
        "NOTIFY",
        "INFO",
        "MESSAGE",
        "OPTIONS",
    }
)


def _line(message: Message) -> str:
    if isinstance(message, Request):
        return f"{message.method} {word_of(message.body)}"
    return f"{message.status} {message.cseq.method}"


def _check(message: Message, checks: list[str]) -> None:
    lines = [f"{name}: {value}" for name, value in message.headers]
    if isinstance(message, Request):
        lines.append(f"Request-URI: {message.uri}")
    else:
        lines.append(f"Status: {message.status} {message.reason}")
    for check in checks:
        if check.startswith("!"):
            names = [line.partition(":")[0] for line in lines]
            assert check[1:] not in names, f"{check}\n" + "\n".join(lines)
        else:
            assert any(check in line for line in lines), f"{check}\n" + "\n".join(lines)


class _Teller:
    """Events as short lines; legs are called as their dialogs are at the phones."""

    def __init__(self, lab: Lab) -> None:
        self.names: dict[str, str] = {}
        self.dialogs = {
            dialog.call_id: dialog.name
            for phone in lab.phones.values()
            for dialog in phone.dialogs.values()
        }

    def leg(self, leg_id: str, sip_call_id: str = "") -> str:
        if sip_call_id:
            self.names[leg_id] = self.dialogs.get(sip_call_id, "nobody")
        return self.names[leg_id] if leg_id else "nobody"

    def line(self, event: Event) -> str:
        match event:
            case domain.CallStarted():
                leg = self.leg(event.leg_id, event.sip_call_id)
                return f"started {leg} to {event.request_uri.removesuffix('@' + DOMAIN)[4:]}"
            case domain.CallDecided():
                return f"decided {event.step}: {event.outcome}"
            case domain.CallRouted():
                what = f"{event.contacts} contacts" if event.contacts else str(event.status)
                return "\n".join((f"decided routing: {what}", *map("    {}".format, event.steps)))
            case domain.RulesEvaluated():
                whose = f" of {event.account.removesuffix('@' + DOMAIN)}" if event.account else ""
                return f"rules {event.stage}{whose}: {', '.join(event.applied) or '-'}"
            case domain.LegCreated():
                leg = self.leg(event.leg_id, event.sip_call_id)
                by = f" redirected by {event.redirector}" if event.redirector else ""
                return f"created {event.role} {leg}{by}{_at(event.elapsed_ms)}"
            case domain.LegRinging():
                early = " early" if event.early_media else ""
                reliable = " reliably" if event.reliable else ""
                return (
                    f"ringing {self.leg(event.leg_id)} {event.status}{early}{reliable}"
                    f"{_at(event.elapsed_ms)}"
                )
            case domain.LegAnswered():
                return f"answered {self.leg(event.leg_id)}{_at(event.elapsed_ms)}"
            case domain.LegHeld():
                return f"held by {self.leg(event.leg_id)} {event.direction}{_at(event.elapsed_ms)}"
            case domain.LegResumed():
                return f"resumed by {self.leg(event.leg_id)}{_at(event.elapsed_ms)}"
            case domain.LegRenegotiated():
                return (
                    f"renegotiated {self.leg(event.leg_id)} {event.status}{_at(event.elapsed_ms)}"
                )
            case domain.LegDigit():
                return f"digit of {self.leg(event.leg_id)}{_at(event.elapsed_ms)}"
            case domain.CallAnswered():
                legs = f"{self.leg(event.leg_id)} {self.leg(event.peer_leg_id)}"
                return f"talking {legs}{_at(event.elapsed_ms)}"
            case domain.CallBridged():
                legs = f"{self.leg(event.leg_id)} {self.leg(event.peer_leg_id)}"
                return f"bridged {legs}{_at(event.elapsed_ms)}"
            case domain.CallTransferred():
                return (
                    f"transferred {self.leg(event.transferee_leg_id)} by "
                    f"{self.leg(event.leg_id)} {event.kind} {event.status}{_at(event.elapsed_ms)}"
                )
            case domain.LegMoved():
                return f"moved {self.leg(event.leg_id)}{_at(event.elapsed_ms)}"
            case domain.MediaAllocated():
                return f"media {event.bridge[-1]}{_at(event.elapsed_ms)}"
            case domain.MediaStats():
                return f"figures {event.bridge[-1]} {self.leg(event.leg_id)} {event.packets_in}"
            case domain.MediaTimedOut():
                return f"media timeout {event.bridge[-1]}{_at(event.elapsed_ms)}"
            case domain.LegEnded():
                return f"ended {self.leg(event.leg_id)} {_end(event)}"
            case domain.CallEnded():
                return f"closed {_end(event)}"
        raise AssertionError(event)


def _at(elapsed_ms: int) -> str:
    return f" @{elapsed_ms}" if elapsed_ms else ""


def _end(event: domain.LegEnded | domain.CallEnded) -> str:
    talk = f" talk {event.talk_ms}" if event.talk_ms else ""
    return (
        f"{event.status} {event.cause}/{event.q850} by {event.ended_by}"
        f"{_at(event.elapsed_ms)}{talk}"
    )
