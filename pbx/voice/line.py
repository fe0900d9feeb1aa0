"""A task's end of one call: a leg whose party is a program, and the media session behind it.

Call control sees a :class:`~pbx.calls.program.ProgramUsage`, the task's port
(:mod:`pbx.voice.port`) the methods in the second half. Where the other end of the call is a program
too (the voice mail of somebody whom an attendant calls) there is no session: the two lines are each
other's :attr:`Line.inner`, and :mod:`pbx.voice.wiring` finds who really listens.

One line a call: a task that calls again gets a new one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Literal

from pbx.calls import program
from pbx.calls.call import CallState
from pbx.calls.program import ProgramUsage
from pbx.domain.calls import MediaStats
from pbx.script.events import SystemEvent, make_event
from pbx.script.runtime.task import Mode
from pbx.voice import messages
from pbx.voice.session import NOBODY, Session
from sip.message import REASONS

if TYPE_CHECKING:
    from media.ng.figures import LegMedia
    from pbx.calls.leg import Leg
    from pbx.calls.ports import ApplicationBranch, MediaParty
    from pbx.script.runtime.task import Task
    from pbx.voice.host import ApplicationHost
    from sip.core import ExtraHeaders
    from sip.message import Request

Finished = Callable[[str | None, float], None]
"""(error as ``NNN-text`` or None, now)."""

#: Stands for a description between two programs, whose sound takes no network.
INNER: Final = b"v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=-\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n"
_GONE: Final = "487-Request Terminated"


class Line(ProgramUsage):
    """See the module."""

    def __init__(
        self,
        host: ApplicationHost,
        task: Task,
        role: Literal["uac", "uas"],
        call_id: str,
        tags: tuple[str, str],
    ) -> None:
        super().__init__(role, call_id, tags)
        self.host = host
        self.task = task
        self.leg: Leg | None = None
        self.branch: ApplicationBranch | None = None
        """While the call waits for the program's answer."""
        self.invite: Request | None = None
        """The INVITE that came, or that the program made."""
        self.session: Session | None = None
        self.inner: Line | None = None
        """The line of the program at the other end."""
        self.joined: Line | None = None
        """The line of another task whose peer hears this one's, and the reverse."""
        self.room = ""
        """The conference that the peer takes part in."""
        self.early = False
        """The peer hears us already, or we it, while it rings."""
        self.up = False
        """Answered."""
        self.closed = False
        self.redirector = ""
        self.caller_account = ""
        """Who called, if that was proved."""
        self.dialled = ""
        self.ingress: Line | None = None
        """Whose media the pending call is for."""
        self._late = False
        self._reported = False
        """The program knows how its call went."""
        self._waiting_ack: Finished | None = None

    # -- what is on the other side

    @property
    def peer(self) -> Leg | None:
        """The other leg of the call."""
        leg = self.leg
        if leg is None:
            return None
        peer = leg.call.peer_of(leg)
        if peer is None and self.branch is not None:
            return self.branch.source()[0]
        return peer

    def _party(self, leg: Leg | None) -> MediaParty:
        return leg.party() if leg is not None else NOBODY

    def open_session(self) -> Session:
        """The session, made when first needed."""
        if self.session is None:
            self.session = self.host.new_session(self)
        return self.session

    def expect_late_offer(self) -> None:
        """The call is made without a description: whoever answers offers one."""
        self._late = True

    # -- ProgramUsage: the program calls

    def provisional(
        self,
        status: int,
        body: bytes = b"",
        headers: ExtraHeaders = (),
        reliable: bool | None = None,
        *,
        now: float,
        reason: str | None = None,
    ) -> None:
        text = reason or REASONS.get(status, "")

        def told(_sdp: bytes, error: str, later: float) -> None:
            if self.closed:
                return
            self.early = self.early or (bool(body) and not error)
            self.host.tasks.provisional(self.task, status, text)
            self.host.wake(later)

        session = self.session
        if not body or self._late or session is None:
            self.host.later(lambda later: told(b"", "no media", later), now)
        elif body == INNER:
            self.host.later(lambda later: told(b"", "", later), now)
        else:
            session.accept(body, NOBODY, now, told, early=True)

    def accept(self, body: bytes = b"", headers: ExtraHeaders = (), *, now: float) -> None:
        self.remote_body = body
        if self.closed:
            return
        if body == INNER:
            self._drop_session(now)
            self.host.later(lambda later: self._accepted(b"", "", later), now)
        elif self._late:
            self.open_session().serve(body, self._party(self.peer), now, self._answered_late)
        else:
            self.open_session().accept(body, self._party(self.peer), now, self._accepted)

    def _answered_late(self, sdp: bytes, error: str, now: float) -> None:
        leg = self.leg
        if leg is None or self.closed:
            return
        self.local_body = leg.agreed_body = sdp
        if leg.call.setup is not None:
            leg.call.setup.confirmed(sdp, now)  # an empty one refuses
        self._accepted(sdp, error, now)

    def _accepted(self, _sdp: bytes, error: str, now: float) -> None:
        """The called party answered and its media are known."""
        if self.closed:
            return
        if error:
            self.end(now, "", failed=True)
            self.host.tasks.completed(self.task, error)
            self.host.wake(now)
            return
        self.up = True
        ingress, self.ingress = self.ingress, None
        if ingress is None:
            self._completed(None, now)
        else:
            self.host.join(self, ingress, now, self._completed)

    def _completed(self, error: str | None, now: float) -> None:
        if self.closed:
            return
        if error is not None:
            self.end(now, "")
        self._reported = True
        self.host.tasks.completed(self.task, error)
        self.host.wiring.changed(self, now)
        self.host.wake(now)

    def reject(
        self,
        status: int,
        reason: str | None = None,
        headers: ExtraHeaders = (),
        *,
        now: float,
    ) -> None:
        self.close(now)
        text = f"{status}-{reason or REASONS.get(status, 'Failed')}"

        def told(later: float) -> None:
            self.host.tasks.completed(self.task, text)
            self.host.wake(later)

        self.host.later(told, now)

    # -- ProgramUsage: the program was called

    def cancel(self, headers: ExtraHeaders = (), *, now: float) -> None:
        self._gone(now)

    def ack(self, body: bytes, *, now: float) -> None:
        done, self._waiting_ack = self._waiting_ack, None
        if done is None or self.session is None:
            return
        if not body:
            done("488-the caller gave no session description", now)
            return
        self.remote_body = body
        self.session.accept(
            body,
            self._party(self.peer),
            now,
            lambda _sdp, error, later: done(error or None, later),
        )

    # -- ProgramUsage: in the call

    def bye(self, headers: ExtraHeaders = (), *, now: float) -> None:
        self._gone(now)

    def _gone(self, now: float) -> None:
        """The other side is no longer there."""
        self.ended = True
        done, self._waiting_ack = self._waiting_ack, None
        self.close(now)

        def told(later: float) -> None:
            if done is not None:
                done(_GONE, later)
            if self.role == "uas" and not self._reported:
                # Who answered has hung up before its media were known.
                self.host.tasks.completed(self.task, _GONE)
            self.host.tasks.peer_gone(self.task)
            self.host.wake(later)

        self.host.later(told, now)

    def offer(self, body: bytes, *, now: float) -> None:
        leg = self.leg
        if leg is None:
            return  # it is being hung up, which ends the offer
        if body == INNER:
            self.host.later(lambda later: program.offer_refused(leg, 488, later), now)
            return
        if self.inner is not None:
            self.inner.inner = None
            self.inner = None

        def answered(sdp: bytes, error: str, later: float) -> None:
            if error or self.closed:
                program.offer_refused(leg, 488, later)
                return
            self.remote_body, self.local_body = body, sdp
            program.offer_answered(leg, sdp, later)
            self.host.wiring.changed(self, later)
            self.host.wake(later)

        self.open_session().serve(body, self._party(self.peer), now, answered)

    def answer(self, body: bytes, *, now: float) -> None:
        if self.session is not None:
            self.session.accept(body, self._party(self.peer), now, lambda *_: None)

    def reject_offer(self, status: int, *, now: float) -> None:
        """Our hold was refused: the peer goes on hearing us, which harms nobody."""

    def received(
        self, method: str, content_type: str, body: bytes, now: float
    ) -> tuple[int, tuple[tuple[str, str], ...]]:
        tasks = self.host.tasks
        if method == "MESSAGE":
            parameter = messages.text_message(content_type, body, self.peer)
            tasks.reading.deliver(
                self.task, make_event(SystemEvent.INSTANT_MESSAGE, None, parameter)
            )
        else:
            digit = messages.digit_of(content_type, body)
            if digit is None:
                tasks.info(self.task, messages.info_parameters(content_type, body))
            elif not digit:
                return 400, ()
            elif self.session is not None and self.session.open:
                # The service tells it as an event, unless the same press came as sound or RTP.
                self.session.command("digit", now, digit=digit)
            else:
                tasks.digit(self.task, digit)
        self.host.wake(now)
        return 200, ()

    def refer_account(self, referrer: str) -> str | None:
        mode = self.task.signal_options.get(b"refer")
        if mode == b"disabled":
            return None
        return referrer if mode == b"peer" else self.task.account or ""

    def notify_refer(
        self, status: int, reason: str | None = None, final: bool = False, *, now: float
    ) -> None:
        if not final:
            return
        error = None if status < 300 else f"{status}-{reason or REASONS.get(status, 'Failed')}"

        def told(later: float) -> None:
            self.host.tasks.transferred(self.task, error)
            self.host.wake(later)

        self.host.later(told, now)

    # -- what the task does

    def pick_up(self, now: float, done: Finished) -> None:
        """Answer the pending call."""
        branch = self.branch
        if branch is None or self.closed:
            done(None if self.up else _GONE, now)
            return
        if self.early:
            self._take(self.local_body, done, now)
            return
        self._describe(now, lambda error, later: self._described(error, done, later))

    def _described(self, error: str | None, done: Finished, now: float) -> None:
        if error is None:
            self._take(self.local_body, done, now)
            return
        branch, self.branch = self.branch, None
        if branch is not None:
            status, _, text = error.partition("-")
            self.close(now)
            branch.failed(int(status), text, now)
        done(error, now)

    def _take(self, body: bytes, done: Finished, now: float) -> None:
        branch, self.branch = self.branch, None
        if branch is None or self.closed:
            done(_GONE, now)
            return
        source, offer = branch.source()
        if not branch.answer(body, now):
            self.close(now)
            done(_GONE, now)
            return
        self.up = True
        if offer or source.program:
            done(None, now)
            self.host.wiring.changed(self, now)
        else:
            self._waiting_ack = done

    def _describe(self, now: float, done: Finished) -> None:
        """Have a description for the caller: an answer to its offer, or an offer."""
        assert self.branch is not None  # callers asked
        source, offer = self.branch.source()
        other = source.usage
        if isinstance(other, Line):
            self.inner, other.inner = other, self
            self.local_body = INNER
            done(None, now)
            return

        def described(sdp: bytes, error: str, later: float) -> None:
            if self.closed:
                done(_GONE, later)
                return
            self.local_body = sdp
            done(error or None, later)

        if offer:
            self.open_session().serve(offer, self._party(source), now, described)
        else:
            self.open_session().create(now, described, party=self._party(source))

    def let_ring(
        self,
        status: int,
        now: float,
        done: Finished,
        *,
        media: bool,
        reason: str = "",
        reliable: bool = False,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        """A provisional response to the caller."""

        def send(error: str | None, later: float) -> None:
            branch = self.branch
            if branch is None or self.closed:
                done(_GONE, later)
                return
            if error is None:
                body = self.local_body if media else b""
                self.early = self.early or media
                branch.progress(
                    status, body, later, reason=reason, reliable=reliable, headers=headers
                )
            done(error, later)
            self.host.wiring.changed(self, later)

        if self.branch is None:
            done(_GONE, now)
        elif media and not self.early:
            if not self.branch.source()[1] and not self.branch.source()[0].program:
                done("488-the caller sent no offer", now)
                return
            self._describe(now, send)
        else:
            send(None, now)

    def hold(self, held: bool, now: float) -> None:
        """Put the peer on hold, or take it back."""
        leg, session = self.leg, self.session
        if leg is None or session is None or not self.up:
            return

        def created(sdp: bytes, error: str, later: float) -> None:
            if not error and not self.closed:
                self.local_body = sdp
                program.offers(leg, sdp, later)

        session.create(now, created, party=self._party(self.peer), held=held)

    def end(self, now: float, reason: str, *, failed: bool = False) -> None:
        """Hang up, or give the call up."""
        leg = self.leg
        self.close(now)
        if leg is not None:
            program.hangs_up(leg, reason, now, failed=failed)

    def _drop_session(self, now: float) -> None:
        session, self.session = self.session, None
        if session is not None:
            self.host.forget_session(session)
            session.release(now, lambda _figures, _later: None)

    def close(self, now: float) -> None:
        """Let go of everything; call control is told by others. Again: nothing."""
        if self.closed:
            return
        self.closed = True
        self.host.line_closed(self, now)
        session, self.session = self.session, None
        # A leg and its line know each other; finished calls shall be no work for the collector.
        leg, self.leg = self.leg, None
        self.branch = self.ingress = None
        if session is None:
            return
        self.host.forget_session(session)
        if leg is None or leg.call.state is CallState.ENDED:
            session.release(now, lambda _figures, _later: None)
            return
        call = leg.call
        peer = call.peer_of(leg)
        owner = peer.id if peer is not None else leg.id
        call.releasing += 1

        def released(figures: LegMedia | None, later: float) -> None:
            if figures is not None:
                call.journal.write(
                    MediaStats(
                        leg_id=owner,
                        bridge=session.id,
                        codec=figures.codec,
                        packets_in=figures.packets_in,
                        packets_out=figures.packets_out,
                        bytes_in=figures.bytes_in,
                        bytes_out=figures.bytes_out,
                        packets_lost=figures.lost,
                        packets_dropped=figures.dropped,
                        jitter_ms=figures.jitter_ms,
                        mos=figures.mos,
                    )
                )
            call.bridge_released(later)

        session.release(now, released)

    @property
    def is_pending(self) -> bool:
        """Whether the program has still to answer."""
        return self.task.mode is not Mode.DISCONNECTED and self.branch is not None
