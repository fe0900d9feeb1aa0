"""Call ladders as text, played on two engines joined in memory.

Each line is one step; the left party is Alice (caller), the right one Bob. Nothing happens that
the ladder does not say: every message of a party is named in its order, every event is taken.

    alice call offer          an action of a party (see `_ACTIONS`); bodies are single words
    INVITE ->                 Alice's oldest message is this one and arrives
    <- 200 INVITE             Bob's likewise
    INVITE -x     x- ACK      it is lost
    INVITE -> | Require: 100rel | !RSeq
                              … and has such a header line, or has none of that name
    bob sees InviteReceived   the party's next event; `key=value` compares attributes
    wait 0.5                  time passes, timers fire, nothing is delivered
    quiet                     nothing is on the wire
    end                       no event is left; after lingering every table is empty

Lines starting with # are remarks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sip.core import EngineConfig
from sip.dialog.invite import InviteUsage
from sip.events import (
    DialogRequest,
    InviteReceived,
    ReferReceived,
    RequestReceived,
    SubscriptionNotified,
)
from tests.support.engine_pair import EnginePair, Packet, Side


class Ladder:
    """The state of one play."""

    def __init__(self, alice: EngineConfig | None, bob: EngineConfig | None, seed: int) -> None:
        self.pair = EnginePair(alice, bob, seed=seed)
        self.usages: dict[str, Any] = {}
        self.transactions: dict[str, Any] = {}

    def usage(self, side: Side) -> Any:
        return self.usages[side.name]

    def step(self, line: str) -> None:
        words = line.split()
        pair = self.pair
        if "->" in words or "-x" in words or words[0] in ("<-", "x-"):
            self._message(line)
        elif words[0] == "wait":
            pair.advance(float(words[1]), deliver=False)
        elif words[0] == "quiet":
            pair.collect()
            assert not pair.wire, [packet.line for packet in pair.wire]
        elif words[0] == "end":
            self._end()
        else:
            side = {"alice": pair.alice, "bob": pair.bob}[words[0]]
            if words[1] == "sees":
                self._event(side, words[2], words[3:])
            else:
                _ACTIONS[words[1]](self, side, words[2:])
                pair.collect()

    def _message(self, line: str) -> None:
        message, *checks = [piece.strip() for piece in line.split(" | ")]
        pair = self.pair
        pair.collect()
        lost = message.endswith("-x") or message.startswith("x-")
        rightward = message.endswith(("->", "-x"))
        sender = pair.alice if rightward else pair.bob
        waiting = [packet for packet in pair.wire if packet.sender is sender]
        assert waiting, f"{sender.name} sent nothing: {[p.line for p in pair.wire]}"
        packet = waiting[0]
        pair.wire.remove(packet)
        if rightward:
            shown = f"{packet.line} {'-x' if lost else '->'}"
        else:
            shown = f"{'x-' if lost else '<-'} {packet.line}"
        assert shown == message, f"{shown!r} is on the wire, the ladder says {message!r}"
        _check_headers(packet, checks)
        if not lost:
            pair.deliver(packet)

    def _event(self, side: Side, kind: str, checks: list[str]) -> None:
        assert side.events, f"{side.name} sees nothing, the ladder says {kind}"
        event: Any = side.events.pop(0)
        assert type(event).__name__ == kind, f"{side.name} sees {event}, the ladder says {kind}"
        for check in checks:
            name, _, expected = check.partition("=")
            value = getattr(event, name)
            shown = value.decode() if isinstance(value, bytes) else str(value)
            assert shown == expected, f"{name} is {shown!r}, the ladder says {expected!r}"
        if isinstance(event, InviteReceived | SubscriptionNotified):
            self.usages.setdefault(side.name, event.usage)
        if isinstance(event, RequestReceived | DialogRequest | ReferReceived):
            self.transactions[side.name] = event.transaction

    def _end(self) -> None:
        pair = self.pair
        pair.settle()
        for side in pair.sides:
            assert not side.events, f"{side.name} still sees {side.events}"
        pair.assert_empty()


def _check_headers(packet: Packet, checks: list[str]) -> None:
    lines = packet.data.decode("utf-8", "replace").split("\r\n\r\n")[0].split("\r\n")[1:]
    body = packet.data.partition(b"\r\n\r\n")[2].decode()
    for check in checks:
        if check.startswith("!"):
            assert not any(line.startswith(check[1:] + ":") for line in lines), (check, lines)
        elif check.startswith("body="):
            assert body == check[5:], f"the body is {body!r}, not {check[5:]!r}"
        else:
            assert any(check in line for line in lines), (check, lines)


def _options(words: list[str]) -> tuple[bytes, dict[str, Any]]:
    """The body word ("-" for none) and key=value options."""
    body = b""
    options: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if equals:
            options[name] = int(value) if value.isdigit() else value
        elif word != "-":
            body = word.encode()
    return body, options


def _call(ladder: Ladder, side: Side, words: list[str]) -> None:
    body, options = _options(words)
    ladder.usages[side.name] = ladder.pair.call(body, **options)


def _provisional(ladder: Ladder, side: Side, words: list[str]) -> None:
    reliable = True if "reliably" in words else None
    body, _ = _options([word for word in words[1:] if word != "reliably"])
    ladder.usage(side).provisional(int(words[0]), body, (), reliable, now=ladder.pair.now)


def _offer(ladder: Ladder, side: Side, words: list[str]) -> None:
    body, options = _options(words)
    ladder.usage(side).offer(body, options.get("method"), now=ladder.pair.now)


def _with_body(method: str) -> Callable[[Ladder, Side, list[str]], None]:
    def act(ladder: Ladder, side: Side, words: list[str]) -> None:
        body, _ = _options(words)
        getattr(ladder.usage(side), method)(body, now=ladder.pair.now)

    return act


def _with_status(method: str) -> Callable[[Ladder, Side, list[str]], None]:
    def act(ladder: Ladder, side: Side, words: list[str]) -> None:
        getattr(ladder.usage(side), method)(int(words[0]), now=ladder.pair.now)

    return act


def _plain(method: str) -> Callable[[Ladder, Side, list[str]], None]:
    def act(ladder: Ladder, side: Side, words: list[str]) -> None:
        getattr(ladder.usage(side), method)(now=ladder.pair.now)

    return act


def _request(ladder: Ladder, side: Side, words: list[str]) -> None:
    headers = []
    if words[0] == "REFER":
        headers.append(("Refer-To", words[1]))
    ladder.usage(side).request(words[0], headers, now=ladder.pair.now)


def _respond(ladder: Ladder, side: Side, words: list[str]) -> None:
    transaction = ladder.transactions[side.name]
    usage = ladder.usages.get(side.name)
    if isinstance(usage, InviteUsage):
        usage.respond(transaction, int(words[0]), now=ladder.pair.now)
    else:
        side.engine.respond(transaction, int(words[0]), now=ladder.pair.now)


def _notify_refer(ladder: Ladder, side: Side, words: list[str]) -> None:
    ladder.usage(side).notify_refer(int(words[0]), None, "final" in words, now=ladder.pair.now)


def _subscribe(ladder: Ladder, side: Side, words: list[str]) -> None:
    ladder.usages[side.name] = side.engine.subscribe(
        "sip:bob@192.0.2.201",
        words[0],
        to="<sip:bob@biloxi.example.com>",
        from_="<sip:alice@atlanta.example.com>",
        expires_s=int(words[1]),
        now=ladder.pair.now,
    )


def _accept_subscription(ladder: Ladder, side: Side, words: list[str]) -> None:
    ladder.usages[side.name] = side.engine.accept_subscription(
        ladder.transactions[side.name], int(words[0]), now=ladder.pair.now
    )


def _notify(ladder: Ladder, side: Side, words: list[str]) -> None:
    body, _ = _options(words)
    ladder.usage(side).notify(body, "text/plain", now=ladder.pair.now)


_ACTIONS: dict[str, Callable[[Ladder, Side, list[str]], None]] = {
    "call": _call,
    "provisional": _provisional,
    "accept": _with_body("accept"),
    "reject": _with_status("reject"),
    "cancel": _plain("cancel"),
    "ack": _with_body("ack"),
    "bye": _plain("bye"),
    "offer": _offer,
    "answer": _with_body("answer"),
    "answer_with_offer": _with_body("answer_with_offer"),
    "reject_offer": _with_status("reject_offer"),
    "request": _request,
    "respond": _respond,
    "notify_refer": _notify_refer,
    "subscribe": _subscribe,
    "unsubscribe": _plain("unsubscribe"),
    "accept_subscription": _accept_subscription,
    "notify": _notify,
    "terminate": _plain("terminate"),
}


def play(
    text: str,
    *,
    alice: EngineConfig | None = None,
    bob: EngineConfig | None = None,
    seed: int = 1,
) -> Ladder:
    """Play a ladder; a failing step is named with its line."""
    ladder = Ladder(alice, bob, seed)
    for number, raw in enumerate(text.strip().splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        try:
            ladder.step(line)
        except AssertionError as error:
            trace = "\n".join(f"  {at:8.3f} {who:5} {what}" for at, who, what in ladder.pair.trace)
            raise AssertionError(f"line {number}: {line}\n{error}\n{trace}") from error
    return ladder
