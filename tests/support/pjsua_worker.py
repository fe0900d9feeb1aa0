"""The process behind :class:`tests.support.phones.PjsuaPhone`: one pjsua2 phone, driven by lines.

Reads commands as JSON lines from stdin, writes replies and events as JSON lines to stdout; PJSIP's
own log goes to stderr. It lives in a process of its own because a failed assertion in PJSIP ends
the process, and because PJSIP can be started only once in each.

Everything happens in one thread: PJSIP has no worker threads (`threadCnt` 0) and its callbacks run
inside `libHandleEvents`, between two looks at stdin. Only its sound clock has a thread, in C.
"""

from __future__ import annotations

import json
import os
import select
import sys
import time
from pathlib import Path
from typing import Any

import pjsua2 as pj

from tests.support.tones import RATE_HZ, is_complete, write_tone

POLL_MS = 10
STATES = {
    pj.PJSIP_INV_STATE_CALLING: "calling",
    pj.PJSIP_INV_STATE_INCOMING: "incoming",
    pj.PJSIP_INV_STATE_EARLY: "early",
    pj.PJSIP_INV_STATE_CONNECTING: "connecting",
    pj.PJSIP_INV_STATE_CONFIRMED: "confirmed",
    pj.PJSIP_INV_STATE_DISCONNECTED: "disconnected",
}
MEDIA = {
    pj.PJSUA_CALL_MEDIA_NONE: "none",
    pj.PJSUA_CALL_MEDIA_ACTIVE: "active",
    pj.PJSUA_CALL_MEDIA_LOCAL_HOLD: "local-hold",
    pj.PJSUA_CALL_MEDIA_REMOTE_HOLD: "remote-hold",
    pj.PJSUA_CALL_MEDIA_ERROR: "error",
}


def emit(**message: Any) -> None:
    message["at_s"] = time.time()
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


class PhoneCall(pj.Call):  # type: ignore[misc]
    """A call; its events go to stdout with the phone's number for it."""

    def __init__(self, phone: Phone, pj_id: int = pj.PJSUA_INVALID_ID) -> None:
        super().__init__(phone.account, pj_id)
        self.phone = phone
        self.number = phone.adopt(self)

    def onCallState(self, prm: Any) -> None:  # noqa: N802
        info = self.getInfo()
        emit(
            event="call",
            call=self.number,
            state=STATES.get(info.state, "none"),
            status=info.lastStatusCode,
            reason=info.lastReason,
        )
        if info.state == pj.PJSIP_INV_STATE_DISCONNECTED:
            self.phone.finished.append(self.number)

    def onCallMediaState(self, prm: Any) -> None:  # noqa: N802
        state = "none"
        info = self.getInfo()  # Kept: its media list is a view of it.
        for index, media in enumerate(info.media):
            if media.type == pj.PJMEDIA_TYPE_AUDIO:
                state = MEDIA.get(media.status, "none")
                if media.status in (
                    pj.PJSUA_CALL_MEDIA_ACTIVE,
                    pj.PJSUA_CALL_MEDIA_REMOTE_HOLD,
                ):
                    self.phone.connect_audio(self.getAudioMedia(index))
        emit(event="media", call=self.number, state=state)

    def onCallTransferRequest(self, prm: Any) -> None:  # noqa: N802
        successor = PhoneCall(self.phone)
        prm.newCall = successor
        emit(event="refer", call=self.number, successor=successor.number, to=prm.dstUri)

    def onCallTransferStatus(self, prm: Any) -> None:  # noqa: N802
        emit(
            event="transfer",
            call=self.number,
            status=prm.statusCode,
            reason=prm.reason,
            final=bool(prm.finalNotify),
        )

    def onCallReplaceRequest(self, prm: Any) -> None:  # noqa: N802
        successor = PhoneCall(self.phone)
        prm.newCall = successor
        emit(event="replace", call=self.number, successor=successor.number)

    def onDtmfDigit(self, prm: Any) -> None:  # noqa: N802
        emit(event="dtmf", call=self.number, digit=prm.digit)


class PhoneAccount(pj.Account):  # type: ignore[misc]
    """The one account of the phone."""

    def __init__(self, phone: Phone) -> None:
        super().__init__()
        self.phone = phone

    def onRegState(self, prm: Any) -> None:  # noqa: N802
        emit(
            event="registration",
            status=prm.code,
            reason=prm.reason,
            expires_s=prm.expiration,
            active=bool(self.getInfo().regIsActive),
        )

    def onMwiInfo(self, prm: Any) -> None:  # noqa: N802
        emit(event="mwi", state=prm.state, message=prm.rdata.wholeMsg)

    def onIncomingCall(self, prm: Any) -> None:  # noqa: N802
        call = PhoneCall(self.phone, prm.callId)
        info = call.getInfo()
        emit(
            event="incoming",
            call=call.number,
            from_=info.remoteUri,
            to=info.localUri,
            sip_call_id=info.callIdString,
            message=prm.rdata.wholeMsg,
        )
        if self.phone.auto_answer:
            call.answer(status(self.phone.auto_answer))


def status(code: int) -> Any:
    param = pj.CallOpParam()
    param.statusCode = code
    return param


class Phone:
    """Commands are the methods named `do_…`; each may return a JSON value."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.directory = Path(options["directory"])
        self.auto_answer = 0
        self.calls: dict[int, PhoneCall] = {}
        self.finished: list[int] = []
        self.player: Any = None
        self.recorder: Any = None
        self.recording = Path()
        self.running = True
        self.endpoint = pj.Endpoint()
        self.endpoint.libCreate()
        config = pj.EpConfig()
        config.uaConfig.threadCnt = 0
        config.uaConfig.mainThreadOnly = True
        config.uaConfig.maxCalls = 32
        config.uaConfig.userAgent = options.get("user_agent", "pjsua2 phone")
        config.medConfig.ecTailLen = 0
        # Silence is sent too, so that "hears nothing" is measured on packets and not on gaps.
        config.medConfig.noVad = True
        config.medConfig.clockRate = RATE_HZ
        config.logConfig.level = 4
        config.logConfig.consoleLevel = 0
        config.logConfig.filename = str(self.directory / "pjsip.log")
        self.endpoint.libInit(config)
        kind = {
            "udp": pj.PJSIP_TRANSPORT_UDP,
            "tcp": pj.PJSIP_TRANSPORT_TCP,
            "tls": pj.PJSIP_TRANSPORT_TLS,
        }[options["transport"]]
        transport = pj.TransportConfig()
        transport.boundAddress = options["host"]
        transport.publicAddress = options["host"]
        transport_id = self.endpoint.transportCreate(kind, transport)
        self.endpoint.libStart()
        # "127.0.0.1:41234"; a TCP or TLS transport is a listener with a port too.
        self.local = self.endpoint.transportGetInfo(transport_id).localName
        self.endpoint.audDevManager().setNullDev()
        for codec in self.endpoint.codecEnum2():
            wanted = codec.codecId.split("/")[0] in options["codecs"]
            self.endpoint.codecSetPriority(codec.codecId, 200 if wanted else 0)
        silence = self.directory / "silence.wav"
        write_tone(silence, 0.0, amplitude=0)
        self.silence: Any = pj.AudioMediaPlayer()
        self.silence.createPlayer(str(silence))
        self.account = self._account(options, transport_id)

    def _account(self, options: dict[str, Any], transport_id: int) -> PhoneAccount:
        config = pj.AccountConfig()
        config.idUri = options["uri"]
        config.sipConfig.transportId = transport_id
        if options.get("registrar"):
            config.regConfig.registrarUri = options["registrar"]
            config.regConfig.registerOnAdd = False
            config.regConfig.timeoutSec = options.get("expires_s", 300)
            config.regConfig.retryIntervalSec = 0
        if options.get("proxy"):
            config.sipConfig.proxies.append(options["proxy"])
        if options.get("password"):
            config.sipConfig.authCreds.append(
                pj.AuthCredInfo("digest", "*", options["user"], 0, options["password"])
            )
        # A phone that has no NAT to guess about keeps to what it said.
        config.natConfig.contactRewriteUse = 0
        config.natConfig.viaRewriteUse = 0
        config.natConfig.sdpNatRewriteUse = 0
        config.natConfig.udpKaIntervalSec = 0
        config.mediaConfig.transportConfig.boundAddress = options["host"]
        config.mediaConfig.transportConfig.publicAddress = options["host"]
        config.mwiConfig.enabled = bool(options.get("mwi"))
        if options.get("reliable"):
            config.callConfig.prackUse = pj.PJSUA_100REL_MANDATORY
        if options.get("session_expires_s"):
            config.callConfig.timerUse = pj.PJSUA_SIP_TIMER_ALWAYS
            config.callConfig.timerMinSESec = 90
            config.callConfig.timerSessExpiresSec = options["session_expires_s"]
        account = PhoneAccount(self)
        account.create(config)
        return account

    # ---- audio

    def adopt(self, call: PhoneCall) -> int:
        number = len(self.calls) + 1
        while number in self.calls:
            number += 1
        self.calls[number] = call
        return number

    def connect_audio(self, media: Any) -> None:
        """What plays goes into every call; what is recorded is what every call sends."""
        if self.player is not None:
            self.player.startTransmit(media)
        if self.recorder is not None:
            media.startTransmit(self.recorder)

    def _audio(self) -> list[Any]:
        found = []
        for call in self.calls.values():
            if not call.isActive():
                continue
            info = call.getInfo()
            for index, media in enumerate(info.media):
                if media.type == pj.PJMEDIA_TYPE_AUDIO and media.status in (
                    pj.PJSUA_CALL_MEDIA_ACTIVE,
                    pj.PJSUA_CALL_MEDIA_REMOTE_HOLD,
                ):
                    found.append(call.getAudioMedia(index))
        return found

    # ---- commands

    def do_register(self) -> None:
        self.account.setRegistration(True)

    def do_unregister(self) -> None:
        self.account.setRegistration(False)

    def do_auto_answer(self, code: int) -> None:
        self.auto_answer = code

    def do_call(self, uri: str, headers: dict[str, str] | None = None) -> int:
        call = PhoneCall(self)
        param = pj.CallOpParam(True)
        for name, value in (headers or {}).items():
            header = pj.SipHeader()
            header.hName, header.hValue = name, value
            param.txOption.headers.append(header)
        call.makeCall(uri, param)
        return call.number

    def do_answer(self, call: int, code: int = 200) -> None:
        self.calls[call].answer(status(code))

    def do_hangup(self, call: int, code: int = 0) -> None:
        self.calls[call].hangup(status(code))

    def do_hold(self, call: int) -> None:
        self.calls[call].setHold(pj.CallOpParam())

    def do_resume(self, call: int) -> None:
        param = pj.CallOpParam(True)
        param.opt.flag = pj.PJSUA_CALL_UNHOLD
        self.calls[call].reinvite(param)

    def do_update(self, call: int) -> None:
        self.calls[call].update(pj.CallOpParam(True))

    def do_transfer(self, call: int, uri: str) -> None:
        self.calls[call].xfer(uri, pj.CallOpParam())

    def do_attended(self, call: int, other: int) -> None:
        self.calls[call].xferReplaces(self.calls[other], pj.CallOpParam())

    def do_dtmf(self, call: int, digits: str, method: str = "rtp") -> None:
        if method == "rtp":
            self.calls[call].dialDtmf(digits)
            return
        param = pj.CallSendDtmfParam()
        param.method = pj.PJSUA_DTMF_METHOD_SIP_INFO
        param.digits = digits
        self.calls[call].sendDtmf(param)

    def do_play(self, path: str) -> None:
        """Play a file once into every call, beside the tone."""
        self.clip = pj.AudioMediaPlayer()
        self.clip.createPlayer(path, pj.PJMEDIA_FILE_NO_LOOP)
        for media in self._audio():
            self.clip.startTransmit(media)

    def do_tone(self, frequency_hz: float) -> None:
        path = self.directory / f"tone-{frequency_hz:.0f}.wav"
        write_tone(path, frequency_hz)
        self.player = pj.AudioMediaPlayer()
        self.player.createPlayer(str(path))
        for media in self._audio():
            self.player.startTransmit(media)

    def do_record(self, path: str) -> None:
        self.recorder = pj.AudioMediaRecorder()
        self.recorder.createRecorder(path)
        # While no call sends anything (on hold) the recording must still have its length.
        self.silence.startTransmit(self.recorder)
        self.recording = Path(path)
        for media in self._audio():
            media.startTransmit(self.recorder)

    def do_stop_recording(self) -> None:
        # The file is completed when the sound clock lets go of the destroyed recorder.
        self.recorder = None
        for _ in range(200):
            self.endpoint.libHandleEvents(POLL_MS)
            if is_complete(self.recording):
                return
        raise TypeError(f"{self.recording} was never completed")

    def do_statistics(self, call: int) -> dict[str, Any]:
        stat = self.calls[call].getStreamStat(0).rtcp
        return {
            "sent_packets": stat.txStat.pkt,
            "received_packets": stat.rxStat.pkt,
            "lost_packets": stat.rxStat.loss,
        }

    def do_quit(self) -> None:
        self.running = False

    # ---- life

    def run(self) -> None:
        buffered = b""
        emit(event="ready", local=self.local)
        while self.running:
            self.endpoint.libHandleEvents(POLL_MS)
            for number in self.finished:
                self.calls.pop(number, None)
            self.finished.clear()
            while self.running and select.select([sys.stdin], [], [], 0)[0]:
                chunk = os.read(sys.stdin.fileno(), 65_536)
                if not chunk:
                    self.running = False
                buffered += chunk
                *lines, buffered = buffered.split(b"\n")
                for line in lines:
                    self._command(json.loads(line))
        self.player = self.recorder = self.silence = None
        self.endpoint.hangupAllCalls()
        self.endpoint.libHandleEvents(POLL_MS)
        self.calls.clear()  # A call that is destroyed after the library fails an assertion.
        self.endpoint.libDestroy()

    def _command(self, message: dict[str, Any]) -> None:
        number, name = message.pop("id"), message.pop("op")
        try:
            result = getattr(self, f"do_{name}")(**message)
        except pj.Error as error:
            emit(reply=number, error=error.info())
        except (KeyError, TypeError) as error:
            emit(reply=number, error=repr(error))
        else:
            emit(reply=number, result=result)


def main() -> None:
    Phone(json.loads(sys.argv[1])).run()


if __name__ == "__main__":
    main()
