"""The media port over NG: order of requests within a session."""

from __future__ import annotations

from media.ng.messages import decode, encode
from pbx.calls.media import NgMedia
from pbx.calls.ports import MediaParty, MediaReply

A = MediaParty("a", "192.0.2.1", "")
B = MediaParty("b", "192.0.2.2", "")


class Service:
    """Keeps what was sent and answers it on demand."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.media = NgMedia("ng", "x", self.sent.append)
        self.done: list[str] = []

    def commands(self) -> list[str]:
        return [str(decode(datagram).data["command"]) for datagram in self.sent]

    def reply_to(self, index: int, now: float) -> None:
        cookie = decode(self.sent[index]).cookie
        self.media.receive(encode(cookie, {"result": "ok", "sdp": "v=0\r\n"}), now)

    def offer(self, session: str) -> None:
        def done(reply: MediaReply, now: float) -> None:
            self.done.append(f"offer {session} {reply.error}".strip())

        self.media.offer(session, A, None, b"v=0\r\n", 0.0, done)

    def delete(self, session: str) -> None:
        self.media.delete(session, "a", 0.0, lambda _, now: self.done.append(f"delete {session}"))


def test_a_delete_waits_for_the_offer_that_may_have_been_lost() -> None:
    """Else the repeated offer would make a session that nobody deletes."""
    service = Service()
    service.offer("one")
    service.delete("one")
    service.offer("two")
    assert service.commands() == ["offer", "offer"]  # of both sessions; the delete waits
    service.media.handle_timers(0.5)
    assert service.commands() == ["offer"] * 4
    service.reply_to(0, 0.6)
    assert service.commands()[4:] == ["delete"]
    service.reply_to(4, 0.7)
    assert service.done == ["offer one", "delete one"]
    service.reply_to(1, 0.8)
    assert service.media.next_timer() is None


def test_a_service_that_is_gone_fails_the_requests_one_after_another() -> None:
    service = Service()
    service.offer("one")
    service.delete("one")
    for tick in range(1, 20):
        service.media.handle_timers(tick * 0.5)
    assert service.done == ["offer one no reply from the media engine", "delete one"]
    assert service.media.next_timer() is None
