"""A party that the media service hosts for a program: one NG call with its one leg.

Fed by :class:`~pbx.voice.line.Line`; feeds the NG client. The commands are those of
``docs/ng-extensions.md``; replies come later, on the same thread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from media.ng import messages
from media.ng.client import NgReply
from media.ng.figures import LegMedia, leg_media
from pbx.calls.ports import MediaParty

TAG: Final = "party"
"""The one party of each session."""

NOBODY: Final = MediaParty("", "", "")
"""Who answers is not known yet."""
Described = Callable[[bytes, str, float], None]
"""(description, error, now): the outcome of an offer or answer; the error as ``NNN-text``."""


class HostingPort(Protocol):
    """The media service, as far as it hosts parties."""

    @property
    def hosts(self) -> bool:
        """Whether it can."""
        ...

    def host(
        self,
        session: str,
        message: dict[str, Any],
        now: float,
        done: Callable[[NgReply, float], None],
    ) -> None:
        """One request; those of a session are carried out in order."""
        ...


def _ignore(_reply: NgReply, _now: float) -> None:
    return None


def error_of(reply: NgReply) -> str:
    """A refusal as programs and callers see it; empty if there is none."""
    if not reply.error:
        return ""
    if reply.is_capacity:
        return f"503-{reply.error}"
    return f"488-{reply.error}"[:120]


class Session:
    """See the module. Released exactly once."""

    __slots__ = ("conference", "id", "open", "_media")

    def __init__(self, media: HostingPort, session_id: str) -> None:
        self._media = media
        self.id = session_id
        self.open = False
        """The service has been asked for it, so it may hold ports."""
        self.conference = ""
        """The conference that its party is in."""

    def serve(self, offer: bytes, party: MediaParty, now: float, done: Described) -> None:
        """Answer the party's offer. Its tag is that of its leg: the ``o=`` line that its telephone
        sees goes on when the leg gets another peer."""
        self.open = True
        message = messages.serve(
            self.id, TAG, offer, received_from=party.source, origin_key=party.tag
        )
        self._ask(message, now, done)

    def create(
        self, now: float, done: Described, *, party: MediaParty = NOBODY, held: bool = False
    ) -> None:
        """Make an offer; `party` is who gets it, if that is known."""
        self.open = True
        self._ask(messages.create(self.id, TAG, origin_key=party.tag, held=held), now, done)

    def accept(
        self, answer: bytes, party: MediaParty, now: float, done: Described, *, early: bool = False
    ) -> None:
        """Take the party's answer; `early`: it still rings, and another may answer in the end."""
        message = messages.create_answer(
            self.id,
            TAG,
            answer,
            received_from=party.source,
            origin_key=party.tag,
            provisional=early,
        )
        self._ask(message, now, done)

    def command(
        self,
        name: str,
        now: float,
        done: Callable[[NgReply, float], None] = _ignore,
        /,
        **keys: Any,
    ) -> None:
        """A command about sound; key words with `_` for the hyphens of NG."""
        message: dict[str, Any] = {"command": name, "call-id": self.id, "from-tag": TAG}
        message.update({key.replace("_", "-"): value for key, value in keys.items()})
        self._media.host(self.id, message, now, done)

    def enter(self, conference: str, now: float) -> None:
        """Be in this conference and no other; empty: in none."""
        if conference == self.conference:
            return
        if self.conference:
            self.command("conference", now, action="leave")
        self.conference = conference
        if conference:
            self.command("conference", now, action="join", conference=conference)

    def forgotten(self) -> None:
        """The service was started anew and knows nothing of it."""
        self.open = False
        self.conference = ""

    def release(self, now: float, done: Callable[[LegMedia | None, float], None]) -> None:
        """Free its ports; `done` gets the figures of its party."""
        if not self.open:
            done(None, now)
            return
        self.open = False
        self.conference = ""

        def deleted(reply: NgReply, later: float) -> None:
            tags = reply.data.get("tags")
            known = isinstance(tags, Mapping) and TAG in tags
            done(leg_media(reply.data, TAG) if known else None, later)

        self._media.host(self.id, messages.delete(self.id, TAG), now, deleted)

    def _ask(self, message: dict[str, Any], now: float, done: Described) -> None:
        def replied(reply: NgReply, later: float) -> None:
            done(reply.sdp, error_of(reply), later)

        self._media.host(self.id, message, now, replied)
