"""A mail store over a log in memory, with two accounts, and messages to put into it."""

from __future__ import annotations

import random

from mail.compose import Part, compose
from pbx.blobs import MemoryBlobs
from pbx.commands import Administration
from pbx.eventlog import Codec, Keys, MemoryLog, memory_keys
from pbx.mailboxes.bodies import Bodies
from pbx.mailboxes.store import MailStore, Stored
from tests.support.clock import VirtualClock

DOMAIN = "example.org"
ANN, BOB = f"ann@{DOMAIN}", f"bob@{DOMAIN}"
WAV = b"RIFF\x00\x00\x00\x00WAVE" + bytes(range(256)) * 4
"""Not a sound; nobody listens."""


def voice_message(
    sender: str = BOB, *, subject: str = "Voice Message", urgent: bool = False
) -> bytes:
    """As voicemail makes them."""
    fields = [("From", sender), ("To", ANN), ("Subject", subject), ("Content-Class", "voice")]
    if urgent:
        fields.append(("X-Priority", "1"))
    audio = Part(WAV, "audio", "wav", filename="voicemail.wav")
    return compose(fields, Part((Part("12 s"), audio), "multipart", "mixed"), "b0undary")


def text_message(subject: str = "hello", text: str = "How are you?\n") -> bytes:
    """An ordinary letter."""
    return compose([("From", BOB), ("To", ANN), ("Subject", subject)], Part(text), "b0undary")


class MailLab:
    """See the module; `sealed` as ``privacy.seal_calls``."""

    def __init__(
        self, *, sealed: bool = False, seed: int = 1, log: MemoryLog | None = None
    ) -> None:
        self.clock = VirtualClock()
        self.rng = random.Random(seed)
        self.keys: Keys = memory_keys(self.rng.randbytes)
        self.log = log or MemoryLog(
            codec=Codec(self.keys, seal_personal=sealed), clock=self.clock, node="n1"
        )
        self.blobs = MemoryBlobs()
        self.administrate = Administration(self.log, actor="test", erase=self.keys.erase)
        self.administrate.create_domain(DOMAIN)
        for account in (ANN, BOB):
            self.administrate.create_account(account, "a password of theirs")
        self.store = self.another_store()

    def another_store(self) -> MailStore:
        """Of another process over the same log."""
        return MailStore(self.log, Bodies(self.blobs, self.rng.randbytes), self.clock, actor="test")

    def put(self, raw: bytes, account: str = ANN, name: str = "INBOX", token: str = "") -> Stored:
        """Store a message."""
        box = self.store.box(account, name)
        return self.store.store(
            account,
            box.number,
            self.store.prepare(raw),
            token=token or f"t{self.rng.getrandbits(64):x}",
            source="PBX",
        )
