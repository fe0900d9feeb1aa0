"""What tasks ask of their calls: the :class:`~pbx.script.runtime.ports.CallPort` of the server.

Fed by the task node; drives :class:`~pbx.voice.line.Line` and :mod:`pbx.voice.wiring`. Questions
about the call that need nothing done are answered in :mod:`pbx.voice.inquiries`.

One module in spite of its length: a short method for each thing that a program can ask of a call,
all of them on the same line and its one pending answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from pbx.calls import refer
from pbx.calls.call import Call, CallState
from pbx.calls.leg import LegState
from pbx.calls.program import LOCAL_FLOW
from pbx.calls.transfer import Transfer
from pbx.script.limits import measure
from pbx.script.requests import realtime
from pbx.script.requests.base import HostRequest
from pbx.script.runtime.ports import PENDING, Answer, Pending, Sound
from pbx.script.values import Data, Dictionary, Value, string_of, text_of
from pbx.voice import messages
from pbx.voice.errors import BadParameters
from pbx.voice.inquiries import answer_inquiry
from pbx.voice.line import Line
from pbx.voice.outgoing import outgoing, uri_of
from pbx.voice.playing import Playing, Recording
from sip.dialog.invite import InviteUsage
from sip.errors import RemoteProtocolError
from sip.message import REASONS
from sip.uri import SipUri, parse_uri

if TYPE_CHECKING:
    from media.ng.client import NgReply
    from pbx.script.runtime.task import Task
    from pbx.voice.host import ApplicationHost
    from sip.events import DialogResponse

_GONE: Final = "487-Request Terminated"
_NO_CALL: Final = b"500-there is no call"
RECORD_GRACE_S: Final = 5.0
"""How long the media service may take to complete a recording."""
_HEARS: Final = {
    b"hearsNormal": ["normal"],
    b"hearsSpecial": ["normal", "special"],
    b"hearsMute": [],
}
_CHALLENGE: Final = 401


def reason_field(reason: tuple[int, str] | None) -> str:
    """A Reason field (RFC 3326): codes from 1000 on are Q.850 causes; empty without a reason."""
    if reason is None:
        return ""
    code, words = reason
    protocol, cause = ("SIP", code) if code < 1000 else ("Q.850", code - 1000)
    clean = "".join(char for char in words if char.isprintable() and char not in '"\\')[:120]
    return f'{protocol};cause={cause};text="{clean}"' if clean else f"{protocol};cause={cause}"


def _room_of(task: Task) -> str:
    return f"mixer-{task.task_id}"


class VoicePort:
    """See the module; one a host."""

    def __init__(self, host: ApplicationHost) -> None:
        self._host = host

    def _line(self, task: Task) -> Line | None:
        return self._host.lines.get(task.task_id)

    # Incoming calls.

    def accept(self, task: Task) -> None:
        host = self._host
        line = self._line(task)

        def done(error: str | None, now: float) -> None:
            host.tasks.accepted(task, error)
            host.wake(now)

        if line is None:
            done(_GONE, host.node.now())
        else:
            line.pick_up(host.node.now(), done)

    def provision(self, task: Task, parameters: Dictionary) -> None:
        host = self._host
        line = self._line(task)
        media = parameters.get(b"media") is not None
        code = parameters.get(b"responseCode")
        words = parameters.get(b"responseText")
        reason_code, reason_text = parameters.get(b"reasonCode"), parameters.get(b"reasonText")
        headers: tuple[tuple[str, str], ...] = ()
        if isinstance(reason_code, int):
            given = text_of(reason_text) if isinstance(reason_text, bytes) else ""
            headers = (("Reason", reason_field((reason_code, given))),)

        def done(error: str | None, now: float) -> None:
            host.tasks.provisioned(task, error, media=media)
            host.wake(now)

        if line is None:
            done(_GONE, host.node.now())
            return
        line.let_ring(
            code if isinstance(code, int) else 180,
            host.node.now(),
            done,
            media=media,
            reason=_phrase(text_of(words)) if isinstance(words, bytes) else "",
            reliable=parameters.get(b"reliably") is not None,
            headers=headers,
        )

    def reject(self, task: Task, code: int, text: str, reason: tuple[int, str] | None) -> None:
        host = self._host
        line = self._line(task)
        if line is None or line.branch is None:
            return
        now = host.node.now()
        branch, line.branch = line.branch, None
        source, _ = branch.source()
        phrase = _phrase(text)
        if task.failed:
            reason = (500, "application failed")
        fields: list[tuple[str, str]] = []
        if reason is not None:
            fields.append(("Reason", reason_field(reason)))
        if code == _CHALLENGE and line.invite is not None and source.usage.flow is not None:
            fields += host.node.authenticator.challenges(line.invite, source.usage.flow, now)
        source.refusal_fields = tuple(fields)
        source.phrase = phrase
        line.close(now)
        branch.failed(code, phrase or REASONS.get(code, "Rejected"), now)

    def redirect(self, task: Task, targets: list[str]) -> None:
        host = self._host
        line = self._line(task)
        if line is None or line.branch is None:
            return
        now = host.node.now()
        branch, line.branch = line.branch, None
        line.close(now)
        branch.redirect(self._uris(task, targets), task.account or "", now)

    def fork(self, task: Task, targets: list[str]) -> None:
        line = self._line(task)
        if line is not None and line.branch is not None:
            now = self._host.node.now()
            problem = line.branch.fork(self._uris(task, targets), task.account or "", now)
            if problem:
                self._host.tasks.observer.logged(task, f"ForkCall: {problem}")

    def _uris(self, task: Task, targets: list[str]) -> list[str]:
        domain = task.domain or self._host.node.directory.main_domain
        return [uri_of(target, domain) for target in targets]

    # Outgoing calls.

    def start_call(self, task: Task, parameters: Dictionary, media_of: Task | None) -> str | None:
        host = self._host
        node = host.node
        if node.overloaded():
            return "503-the server takes no new calls now"
        if not host.media.hosts:
            return "503-this media service cannot host the calls of programs"
        now = node.now()
        call_id, tag = host.new_call_id(), host.new_tag()
        try:
            wanted = outgoing(
                parameters,
                task.account,
                host.real_name(task.account),
                node.directory.main_domain,
                call_id,
                tag,
            )
        except BadParameters as problem:
            return f"{problem.status}-{problem}"
        before = self._line(task)
        if before is not None:
            before.close(now)
        line = Line(host, task, "uas", wanted.request.call_id, (host.new_tag(), tag))
        line.invite = wanted.request
        line.shown, line.options = wanted.shown, wanted.options
        line.local_uri = wanted.request.from_.uri_text
        line.remote_uri = line.dialled = wanted.request.uri
        line.flow = LOCAL_FLOW
        line.counted_elsewhere = host.counts_already(task, task.account or "")
        if media_of is not None:
            line.ingress = self._line(media_of)
        host.lines[task.task_id] = line

        def described(sdp: bytes, error: str, later: float) -> None:
            if line.closed:
                return
            if error:
                line.close(later)
                host.tasks.completed(task, error)
                host.wake(later)
                return
            line.local_body = sdp
            self._begin(line, later)

        if wanted.late:
            line.expect_late_offer()
            host.later(lambda later: described(b"", "", later), now)
        else:
            line.open_session().create(now, described)
        return None

    def _begin(self, line: Line, now: float) -> None:
        """The INVITE goes to call control, once what has to be asked about its address is known."""
        node = self._host.node
        assert line.invite is not None  # start_call made it
        uri = line.invite.request_uri
        question = None
        if node.consult.routes and not node.emergency.is_emergency(uri):
            question = node.router.unanswered(uri, line.task.account or "")
        if question is None:
            self._enter(line, now)
        else:
            node.consult.resolve(question, lambda later: self._enter(line, later))

    def _enter(self, line: Line, now: float) -> None:
        if line.closed or line.invite is None:
            return
        task = line.task
        node = self._host.node
        request = line.invite.copy(body=line.local_body)
        tenant = task.domain or node.directory.main_domain
        call = Call(node, line, task.account or "", tenant, now, program=True)
        line.leg = call.caller
        node.calls_total += 1
        call.begin(request, LOCAL_FLOW, now)

    def relay_provisional(self, ingress: Task, egress: Task, code: int, text: str) -> None:
        host = self._host
        waiting, calling = self._line(ingress), self._line(egress)
        if waiting is None or calling is None or waiting.branch is None:
            return
        reliably = egress.signal_options.get(b"bridgedProvisionRelay") == b"reliably"

        def done(error: str | None, now: float) -> None:
            if error is None and calling.early and waiting.early and waiting.joined is None:
                host.wiring.join(waiting, calling, now)

        waiting.let_ring(
            code, host.node.now(), done, media=calling.early, reason=_phrase(text),
            reliable=reliably,
        )  # fmt: skip

    def cancel(self, task: Task) -> None:
        line = self._line(task)
        if line is not None:
            line.end(self._host.node.now(), "")

    def hang_up(self, task: Task, reason: tuple[int, str] | None) -> None:
        line = self._line(task)
        if line is None:
            return
        if reason is None and task.failed:
            reason = (500, "application failed")
        line.end(self._host.node.now(), reason_field(reason), failed=task.failed)

    # Bridges and mixers.

    def join(self, task: Task, other: Task) -> None:
        host = self._host
        one, two = self._line(task), self._line(other)

        def done(error: str | None, now: float) -> None:
            host.tasks.joined(task, other, error)
            host.wake(now)

        if one is None or two is None:
            done(_GONE, host.node.now())
        else:
            host.join(one, two, host.node.now(), done)

    def part(self, task: Task) -> None:
        host = self._host
        line = self._line(task)
        now = host.node.now()
        if line is not None:
            host.wiring.leave(line, now)
        host.tasks.parted(task, None if line is not None else _GONE)
        host.wake(now)

    def attach(self, task: Task, leg: Task) -> None:
        host = self._host
        line, own = self._line(leg), self._line(task)
        room = _room_of(task)

        def done(error: str | None, now: float) -> None:
            if error is None and line is not None:
                if own is not None and own.room != room:
                    host.wiring.enter(own, room, now)
                host.wiring.enter(line, room, now)
                self._set_level(task, line, now)
            host.tasks.attached(task, leg, error)
            host.wake(now)

        if line is None:
            done(_GONE, host.node.now())
        else:
            line.pick_up(host.node.now(), done)

    def _set_level(self, task: Task, line: Line, now: float) -> None:
        level = task.media_options.get(b"inputSilenceLevel")
        if isinstance(level, int) and level and line.session is not None:
            line.session.command(
                "conference", now, action="set", silence=max(0, min(abs(level), 127))
            )

    def detach(self, task: Task, leg: Task) -> None:
        host = self._host
        now = host.node.now()
        line, own = self._line(leg), self._line(task)
        if line is not None:
            host.wiring.leave(line, now)
        if own is not None and not task.legs:
            host.wiring.leave(own, now)

    def mute(self, task: Task, leg: Task | None, flag: Value) -> None:
        line = self._line(leg if leg is not None else task)
        session = line.session if line is not None else None
        if session is None:
            return
        now = self._host.node.now()
        hears = _HEARS.get(flag) if isinstance(flag, bytes) else None
        if hears is not None:
            session.command("conference", now, action="set", hears=hears)
        elif flag is None:
            session.command("conference", now, action="set", speaks="normal")
        else:
            speaks = "special" if flag == b"special" else "muted"
            session.command("conference", now, action="set", speaks=speaks)

    # Sound.

    def play(self, task: Task, sound: Sound) -> None:
        host = self._host
        before = host.playing.get(task.task_id)
        now = host.node.now()
        if before is not None:
            before.stop(now)
        playing = Playing(host, task, sound, host.new_name())
        host.playing[task.task_id] = host.sounds_by_name[playing.name] = playing
        playing.start(now)

    def stop_playing(self, task: Task) -> int:
        playing = self._host.playing.get(task.task_id)
        return 0 if playing is None else playing.stop(self._host.node.now())

    def record(self, task: Task, seconds: int) -> None:
        host = self._host
        now = host.node.now()
        target = host.ears(task)
        session = target.session if isinstance(target, Line) else None
        recording = Recording(task, host.new_name(), session)
        host.recordings[task.task_id] = host.recordings_by_name[recording.name] = recording
        wait_s = seconds + (RECORD_GRACE_S if session is not None else 0.0)
        recording.timer = host.node.timers.call_at(
            now + wait_s, lambda later: self._recorded_late(recording, later)
        )
        if session is None:
            return
        keys: dict[str, object] = {
            "file": host.recorded.file_of(recording.name),
            "name": recording.name,
            "max_duration": seconds * 1000,
            "flags": ["no-interrupt"],
        }
        silence = task.media_options.get(b"recordSilence")
        if isinstance(silence, int) and silence > 0:
            keys["stop_after_silence"] = min(silence, 3600) * 1000
        skip = task.media_options.get(b"skipSilence")
        if isinstance(skip, int) and skip > 0:
            keys["skip_silence"] = skip

        def replied(reply: NgReply, later: float) -> None:
            if reply.error:
                host.tasks.observer.logged(task, f"recording is impossible: {reply.error}")
                self._recorded_late(recording, later)

        session.command("record", now, replied, **keys)

    def _recorded_late(self, recording: Recording, now: float) -> None:
        """The time is up and no file has come."""
        if self._host.recordings.get(recording.task.task_id) is recording:
            self._host.recorded_as(recording, None, now)

    def stop_recording(self, task: Task) -> Data | Literal[Pending.PENDING] | None:
        host = self._host
        recording = host.recordings.get(task.task_id)
        if recording is None:
            return None
        if recording.session is None:
            host.drop_recording(recording)
            return None
        if not recording.stopping:
            recording.stopping = True
            now = host.node.now()
            if recording.timer is not None:
                recording.timer.cancel()
            recording.timer = host.node.timers.call_at(
                now + RECORD_GRACE_S, lambda later: self._recorded_late(recording, later)
            )
            if recording.session.open:
                recording.session.command("stop", now, what="record")
        return PENDING

    # Transfers.

    def transfer(self, task: Task, destination: str) -> None:
        host = self._host
        now = host.node.now()
        line = self._line(task)
        domain = task.domain or host.node.directory.main_domain
        try:
            target = parse_uri(uri_of(destination, domain))
        except RemoteProtocolError:
            target = None
        leg = line.leg if line is not None else None
        peer = line.peer if line is not None else None
        error = None
        if leg is None or peer is None or not leg.alive or not peer.alive:
            error = "481-there is no call"
        elif not isinstance(target, SipUri):
            error = "400-no address"
        elif leg.call.transfer is not None or leg.call.negotiating is not None:
            error = "491-Request Pending"
        if error is not None or leg is None or peer is None or not isinstance(target, SipUri):
            self._transferred(task, error, now)
            return
        by = f"<sip:{task.account}>" if task.account else leg.presentation().from_
        usage = peer.usage
        if isinstance(usage, InviteUsage) and "REFER" in usage.remote_allow:
            self._refer(task, peer, usage, target, by, now)
            return
        # The peer could not do it itself: the server joins it with the target.
        headers = (("Referred-By", by),)
        refer.blind_transfer(leg, peer, target, headers, task.account or "", now)

    def _refer(
        self, task: Task, peer: object, usage: InviteUsage, target: SipUri, by: str, now: float
    ) -> None:
        leg = usage.user
        outcome: list[bool] = []

        def over(error: str | None, later: float) -> None:
            if not outcome:
                outcome.append(True)
                self._transferred(task, error, later)

        def notified(status: int, reason: str, final: bool, later: float) -> None:
            if final:
                over(None if status < 300 else f"{status}-{reason}", later)

        def answered(event: DialogResponse, later: float) -> None:
            response = event.response
            status = response.status if response is not None else 408
            if status >= 300:
                reason = response.reason if response is not None else REASONS[408]
                over(f"{status}-{reason}", later)

        assert leg is peer
        if hasattr(leg, "refer_outcome"):
            leg.refer_outcome = notified
        headers = (("Refer-To", f"<{target}>"), ("Referred-By", by))
        usage.request("REFER", headers, now=now, user=answered)

    def _transferred(self, task: Task, error: str | None, now: float) -> None:
        def told(later: float) -> None:
            self._host.tasks.transferred(task, error)
            self._host.wake(later)

        self._host.later(told, now)

    def transfer_to(self, task: Task, other: Task) -> None:
        host = self._host
        now = host.node.now()
        one, two = self._line(task), self._line(other)
        if one is None or two is None or one.leg is None or two.leg is None:
            self._transferred(task, "481-there is no call", now)
            return
        peer, target = one.peer, two.peer
        settled = all(
            leg.call.state is CallState.ANSWERED
            and leg.call.transfer is None
            and leg.call.claimed_by is None
            and leg.call.negotiating is None
            for leg in (one.leg, two.leg)
        )
        if peer is None or target is None or not settled or one.leg.call is two.leg.call:
            self._transferred(task, "491-Request Pending", now)
            return
        call = one.leg.call
        call.decided("transfer", f"with call {two.leg.call.id}", "two programs join them", now)
        transfer = Transfer(call, one.leg, peer, target.usage.remote_uri)
        transfer.start_attended(two.leg.call, two.leg, target, now)

    # Everything else.

    def perform(self, task: Task, request: HostRequest) -> Answer:
        line = self._line(task)
        match request:
            case realtime.SendDTMF(symbol):
                return self._send_digit(task, line, symbol)
            case realtime.SendCallInfo(parameters):
                return self._send_info(line, parameters)
            case realtime.SendDialogIM(content):
                return self._send_message(line, content)
            case realtime.SetLocalHold(flag):
                if line is not None and line.joined is None:
                    line.hold(flag is not None, self._host.node.now())
                return None
            case realtime.RecordSilence(value):
                key = b"recordSilence"
                before = task.media_options.get(key)
                if isinstance(value, int):
                    task.media_options.set(key, value)
                return before if isinstance(before, int) else 0
            case realtime.SetDTMFSendMode(mode):
                task.media_options.set(b"dtmfSendMode", mode)
                return None
            case realtime.MediaOption(name, value):
                if name == "inputSilenceLevel" and line is not None and isinstance(value, int):
                    self._set_level(task, line, self._host.node.now())
                return None
            case realtime.ReleaseMediaChannel():
                return None
            case _:
                return answer_inquiry(self._host, task, line, request)

    def _live(self, line: Line | None) -> InviteUsage | Line | None:
        """The other end of an answered call."""
        peer = line.peer if line is not None and line.up else None
        if peer is None or peer.state is not LegState.ANSWERED:
            return None
        usage = peer.usage
        return usage if isinstance(usage, InviteUsage | Line) else None

    def _send_digit(self, task: Task, line: Line | None, symbol: str) -> Answer:
        usage = self._live(line)
        if usage is None or line is None:
            return _NO_CALL
        digit = symbol.upper()
        if len(digit) != 1 or digit not in "0123456789*#ABCD":
            return b"400-a digit is 0-9, *, # or A-D"
        now = self._host.node.now()
        if isinstance(usage, Line):
            self._host.tasks.digit(usage.task, digit)
            self._host.wake(now)
            return None
        by_signal = task.media_options.get(b"dtmfSendMode") == b"signal"
        if line.joined is not None or by_signal or line.session is None:
            usage.request(
                "INFO", (), messages.dtmf_relay(digit), now=now,
                content_type="application/dtmf-relay",
            )  # fmt: skip
        else:
            line.session.command("dtmf", now, digits=digit)
        return None

    def _send_info(self, line: Line | None, parameters: Value) -> Answer:
        usage = self._live(line)
        if usage is None:
            return _NO_CALL
        if not isinstance(parameters, Dictionary):
            return b"400-INFO is described by a dictionary"
        made = messages.info_of(parameters)
        if isinstance(made, str):
            return string_of(f"400-{made}")
        content_type, body = made
        self._send_in_dialog(usage, "INFO", content_type, body)
        return None

    def _send_message(self, line: Line | None, content: Value) -> Answer:
        usage = self._live(line)
        if usage is None:
            return _NO_CALL
        body = content.get(b"") if isinstance(content, Dictionary) else content
        if not isinstance(body, bytes) or measure([body], 1 << 16) > 1 << 16:
            return b"400-a message is a string of 64 KB at most"
        self._send_in_dialog(usage, "MESSAGE", "text/plain", body)
        return None

    def _send_in_dialog(
        self, usage: InviteUsage | Line, method: str, content_type: str, body: bytes
    ) -> None:
        now = self._host.node.now()
        if isinstance(usage, Line):
            usage.received(method, content_type, body, now)
        else:
            usage.request(method, (), body, now=now, content_type=content_type)


def _phrase(text: str) -> str:
    """A reason phrase that fits into a status line."""
    return "".join(char for char in text if char.isprintable())[:120].strip()
