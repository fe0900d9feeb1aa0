"""Phones that do anything at any moment: call control raises nothing and leaves nothing.

Where the ladders tell stories that happen, here seeds draw stories that nobody would write. The
media service is as moody as the phones. At the end everybody hangs up, and every table is empty,
every call has ended once, every session of the media service is deleted.
"""

from __future__ import annotations

from random import Random

import pytest

from sip.message import Request, Response
from tests.unit.pbx.calls.lab import Lab, ScriptedMedia
from tests.unit.pbx.calls.phone import Dialog, Message, sdp

SEEDS = 60
STEPS = 300
_NAMES = ("alice", "bob", "carol", "dan")
_DIRECTIONS = ("", "", ":sendonly", ":inactive", ":recvonly")


class Monkey:
    """One play."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)
        self.media = ScriptedMedia()
        self.lab = Lab(" ".join(_NAMES), media=self.media, no_answer_s=40.0)
        self.lab.add("desk", "bob", q=0.5)
        self.serial = 0
        self.up: dict[str, Dialog] = {}
        """Dialogs with an answered INVITE and no BYE yet."""
        self.ringing: list[tuple[Dialog, Request]] = []
        """INVITEs that wait for their answer."""
        self.calling: dict[str, Dialog] = {}
        """Own INVITEs without final answer."""
        self.offered: dict[str, bool] = {}
        """Whether the last INVITE of a dialog carried an offer."""

    # -- steps

    def play(self) -> None:
        """Chaos, then order."""
        acts = (
            (self.call, 4), (self.listen, 30), (self.answer, 9), (self.change, 4), (self.refer, 4),
            (self.replace, 1), (self.hang_up, 1), (self.cancel, 1), (self.mood, 4), (self.wait, 3),
        )  # fmt: skip
        choices = [act for act, weight in acts for _ in range(weight)]
        for _ in range(STEPS):
            self.rng.choice(choices)()
        self.clean_up()

    def word(self) -> str:
        self.serial += 1
        return f"m{self.serial}{self.rng.choice(_DIRECTIONS)}"

    def body(self, dialog: Dialog) -> bytes:
        return sdp(self.word(), dialog.phone.host)

    def call(self) -> None:
        if len(self.up) < 6 and len(self.calling) < 3:
            self.start(self.rng.choice(_NAMES))

    def start(self, target: str, words: str = "") -> None:
        caller = self.rng.choice(_NAMES)
        self.serial += 1
        name = f"{caller}.{self.serial}"
        body = "-" if self.rng.random() < 0.15 else self.word()
        extra = self.rng.choice(
            ("", "", "", " | Require: 100rel", " | Privacy: id", " | Expires: 9")
        )
        self.lab.play(f"{name} > INVITE {target} {body}{words}{extra}")
        self.offered[name] = body != "-"
        self.calling[name] = self.lab.dialogs[name]

    def listen(self) -> None:
        """Take the oldest message of some dialog."""
        waiting = [dialog for dialog in self.lab.dialogs.values() if dialog.inbox]
        fresh = [phone for phone in self.lab.phones.values() if phone.fresh]
        if fresh and (not waiting or self.rng.random() < 0.5):
            phone = self.rng.choice(fresh)
            request = phone.fresh.pop(0)
            self.serial += 1
            dialog = self.lab._new_dialog(phone, f"{phone.name}.{self.serial}", request.call_id)
            self.take(dialog, request)
        elif waiting:
            dialog = self.rng.choice(waiting)
            self.take(dialog, dialog.inbox.pop(0))

    def take(self, dialog: Dialog, message: Message) -> None:
        dialog.phone.learn(dialog, message)
        if isinstance(message, Response):
            self.responded(dialog, message)
        elif message.method == "INVITE":
            self.ringing.append((dialog, message))
        elif message.method == "CANCEL":
            dialog.phone.respond(dialog, message, 200)
            for entry in [entry for entry in self.ringing if entry[0] is dialog]:
                if not entry[1].to.tag:
                    self.ringing.remove(entry)
                    dialog.phone.respond(dialog, entry[1], 487)
        elif message.method == "BYE":
            self.up.pop(dialog.name, None)
            dialog.phone.respond(dialog, message, 200)
        elif message.method != "ACK":
            body = self.body(dialog) if message.method == "UPDATE" and message.body else b""
            status = 200 if self.rng.random() < 0.9 else 481
            dialog.phone.respond(dialog, message, status, "", body if status == 200 else b"")

    def responded(self, dialog: Dialog, response: Response) -> None:
        if response.status < 200:
            if response.has("RSeq") and self.rng.random() < 0.9:
                self.lab.play(f"{dialog.name} > PRACK")
            return
        if response.cseq.method != "INVITE":
            return
        self.calling.pop(dialog.name, None)
        if response.status < 300:
            self.up[dialog.name] = dialog
            late = not self.offered.get(dialog.name, True) or self.rng.random() < 0.05
            dialog.phone.acknowledge(dialog, "", self.body(dialog) if late else b"")

    def answer(self) -> None:
        """Say something to an INVITE."""
        if not self.ringing:
            return
        dialog, request = self.rng.choice(self.ringing)
        initial = not request.to.tag
        status = self.rng.choice((180, 183, *[200] * 9, 486, 302, 603, 500, 404, 481, 491))
        if not initial and status not in (481, 491, 486):
            status = 200
        lines = ""
        if status == 302:
            lines = f"Contact: <sip:{self.rng.choice(_NAMES)}@example.org>\r\n"
        elif status in (180, 183) and self.rng.random() < 0.3:
            lines = f"Require: 100rel\r\nRSeq: {self.rng.randrange(1, 4)}\r\n"
        with_body = status in (183, 200) and self.rng.random() < 0.97
        body = self.body(dialog) if with_body else b""
        if status >= 200:
            self.ringing.remove((dialog, request))
        if status == 200:
            self.up[dialog.name] = dialog
        dialog.phone.respond(dialog, request, status, lines, body)

    def change(self) -> None:
        """A request in a conversation."""
        dialog = self.talking()
        if dialog is None:
            return
        method = self.rng.choice(
            ("reINVITE", "reINVITE", "reINVITE -", "UPDATE", "INFO", "MESSAGE")
        )
        word = "text:x" if method in ("INFO", "MESSAGE") else self.word()
        self.lab.play(f"{dialog.name} > {method if '-' in method else f'{method} {word}'}")
        if "INVITE" in method:
            self.offered[dialog.name] = "-" not in method

    def talking(self) -> Dialog | None:
        return self.rng.choice(list(self.up.values())) if self.up else None

    def refer(self) -> None:
        dialog = self.talking()
        if dialog is None:
            return
        target = self.rng.choice((*_NAMES, "nobody"))
        others = [other.name for other in self.up.values() if other.phone is dialog.phone]
        others += [other.name for other in self.calling.values() if other.phone is dialog.phone]
        words = f" replaces={self.rng.choice(others)}" if others and self.rng.random() < 0.6 else ""
        extra = " | Refer-Sub: false" if self.rng.random() < 0.1 else ""
        self.lab.play(f"{dialog.name} > REFER {target}{words}{extra}")

    def replace(self) -> None:
        dialog = self.talking()
        if dialog is not None:
            self.start("bob", f" replaces={dialog.name}")

    def hang_up(self) -> None:
        dialog = self.talking()
        if dialog is not None:
            del self.up[dialog.name]
            self.lab.play(f"{dialog.name} > BYE")

    def cancel(self) -> None:
        if self.calling:
            self.lab.play(f"{self.rng.choice(list(self.calling))} > CANCEL")

    def mood(self) -> None:
        """The media service thinks, answers in another order, or refuses."""
        draw = self.rng.random()
        if self.media.waiting and draw < 0.6:
            # In order within a session, as the port promises; sessions overtake each other.
            self.lab.play("media go")
        elif draw < 0.75:
            self.lab.play("media hold")
        elif draw < 0.9:
            self.lab.play("media go all")
        elif draw < 0.95:
            self.lab.play("media fail moody")
        elif self.lab.node.bridges:
            session = self.rng.choice(list(self.lab.node.bridges))
            self.lab.node.on_media_timeout(session, self.lab.now)
            self.lab.pump()
        else:
            self.lab.node.on_media_restarted(self.lab.now)
            self.lab.pump()

    def wait(self) -> None:
        self.lab.advance(self.rng.choice((0.0, 0.01, 0.3, 2.0, 6.0)))

    # -- the end

    def clean_up(self) -> None:
        """Everybody is polite and goes home."""
        self.media.failure = ""
        for _ in range(30):
            self.lab.play("media go all")
            while any(d.inbox for d in self.lab.dialogs.values()) or any(
                phone.fresh for phone in self.lab.phones.values()
            ):
                self.listen()
            for dialog, request in self.ringing:
                status = 200 if request.to.tag else 480
                body = self.body(dialog) if status == 200 else b""
                dialog.phone.respond(dialog, request, status, "", body)
            self.ringing.clear()
            for name in list(self.up):
                del self.up[name]
                self.lab.play(f"{name} > BYE")
            self.lab.advance(1.0 if self.lab.node.calls else 40.0)
        self.lab.advance(200.0)
        for dialog in self.lab.dialogs.values():
            dialog.inbox.clear()
        for phone in self.lab.phones.values():
            phone.fresh.clear()
        self.lab.end()


@pytest.mark.parametrize("seed", range(SEEDS))
def test_anything_goes(seed: int) -> None:
    """A failing seed repeats itself."""
    Monkey(seed).play()
