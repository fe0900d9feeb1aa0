"""A first call without softphones: two scripted phones talk through a running `pbx serve --demo`.

    make run                                              # in one terminal
    .venv/bin/python examples/first_call.py --data var    # in another

Both phones live in this process, on pjsua2 (`make setup` installs it). 1001 calls 1002, each sends
a tone of its own, and each measures whether it hears the other's.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pjsua2 as pj

PATIENCE_S = 10.0
TALK_S = 2.0
TONES_HZ = (440, 620)
TOLERANCE_HZ = 5


class Phone(pj.Account):  # type: ignore[misc]
    """One account; answers whoever calls, plays its tone and records what it hears."""

    def __init__(self, address: str, password: str, server: str, tone_hz: int, heard: Path) -> None:
        super().__init__()
        self.call: Any = None
        self.registered = False
        self.tone_hz = tone_hz
        self.heard = heard
        name = address.partition("@")[0]
        config = pj.AccountConfig()
        config.idUri = f"sip:{address}"
        config.regConfig.registrarUri = f"sip:{server}"
        config.sipConfig.authCreds.append(pj.AuthCredInfo("digest", "*", name, 0, password))
        config.sipConfig.proxies.append(f"sip:{server};lr")
        self.create(config)

    def onRegState(self, prm: Any) -> None:  # noqa: N802
        self.registered = prm.code == 200
        print(f"{self.getInfo().uri}: registration answered {prm.code} {prm.reason}")

    def onIncomingCall(self, prm: Any) -> None:  # noqa: N802
        self.call = Call(self, prm.callId)
        accept = pj.CallOpParam()
        accept.statusCode = 200
        self.call.answer(accept)

    def dial(self, address: str) -> None:
        """Start a call."""
        self.call = Call(self)
        self.call.makeCall(f"sip:{address}", pj.CallOpParam(True))


class Call(pj.Call):  # type: ignore[misc]
    """One side of the call."""

    def __init__(self, phone: Phone, call_id: int = pj.PJSUA_INVALID_ID) -> None:
        super().__init__(phone, call_id)
        self.phone = phone
        self.state = ""
        self.tone = pj.ToneGenerator()
        self.tone.createToneGenerator()
        self.recorder = pj.AudioMediaRecorder()
        self.recorder.createRecorder(str(phone.heard))

    def close(self) -> None:
        """Finish the recording."""
        del self.tone, self.recorder

    def onCallState(self, prm: Any) -> None:  # noqa: N802
        self.state = self.getInfo().stateText
        print(f"{self.phone.getInfo().uri}: {self.state}")

    def onCallMediaState(self, prm: Any) -> None:  # noqa: N802
        audio = self.getAudioMedia(-1)
        description = pj.ToneDesc()
        description.freq1 = self.phone.tone_hz
        description.on_msec = 10_000
        self.tone.play(pj.ToneDescVector([description]), True)
        self.tone.startTransmit(audio)
        audio.startTransmit(self.recorder)


def until(endpoint: Any, what: str, condition: Callable[[], bool]) -> None:
    """Let the phones work until `condition` holds."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > end:
            print(f"waited {PATIENCE_S:g} s in vain for {what}", flush=True)
            os._exit(1)  # pjsua2 cannot be taken down in the middle of a call
        endpoint.libHandleEvents(20)


def is_written(recording: Path) -> bool:
    """Whether the sound clock has let go of a closed recorder: the header's length comes last."""
    return recording.read_bytes()[4:8] > bytes(4)


def loudest_hz(recording: Path) -> float:
    """The strongest frequency of a recording, 0 if it is silent."""
    with wave.open(str(recording), "rb") as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), dtype=np.int16)
        rate_hz = file.getframerate()
    if len(samples) == 0 or not samples.any():
        return 0.0
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * rate_hz / len(samples))


def make_call(accounts: dict[str, str], server: str, folder: Path) -> bool:
    """The whole story; True if both phones heard each other."""
    endpoint = pj.Endpoint()
    endpoint.libCreate()
    config = pj.EpConfig()
    config.uaConfig.threadCnt = 0
    config.logConfig.level = config.logConfig.consoleLevel = 0
    endpoint.libInit(config)
    endpoint.audDevManager().setNullDev()
    endpoint.transportCreate(pj.PJSIP_TRANSPORT_UDP, pj.TransportConfig())
    endpoint.libStart()
    phones = [
        Phone(address, password, server, tone_hz, folder / f"{tone_hz}.wav")
        for (address, password), tone_hz in zip(accounts.items(), TONES_HZ, strict=True)
    ]
    until(endpoint, "both registrations", lambda: all(phone.registered for phone in phones))
    phones[0].dial(list(accounts)[1])
    until(
        endpoint,
        "the call to be answered",
        lambda: all(phone.call and phone.call.state == "CONFIRMED" for phone in phones),
    )
    end = time.monotonic() + TALK_S
    until(endpoint, "the talk to end", lambda: time.monotonic() > end)
    phones[0].call.hangup(pj.CallOpParam())
    until(
        endpoint,
        "the call to end",
        lambda: all(phone.call.state == "DISCONNECTED" for phone in phones),
    )
    for phone in phones:
        phone.call.close()
        phone.call = None  # pjsua2 wants calls gone before accounts
    until(endpoint, "the recordings", lambda: all(is_written(phone.heard) for phone in phones))
    good = True
    for phone, expected_hz in zip(phones, reversed(TONES_HZ), strict=True):
        heard_hz = loudest_hz(phone.heard)
        print(f"{phone.getInfo().uri}: sent {phone.tone_hz} Hz, heard {heard_hz:.0f} Hz")
        good = good and abs(heard_hz - expected_hz) < TOLERANCE_HZ
        phone.shutdown()
    endpoint.libDestroy()
    return good


def main() -> int:
    """Read the demo's accounts and make the call."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, default=Path("var"), help="data directory (var)")
    parser.add_argument("--server", default="127.0.0.1:5060", metavar="HOST:PORT")
    arguments = parser.parse_args()
    file = arguments.data / "demo-accounts.json"
    if not file.is_file():
        sys.exit(f"there is no {file}: start the server with `make run` first")
    with tempfile.TemporaryDirectory() as folder:
        good = make_call(json.loads(file.read_text()), arguments.server, Path(folder))
    print("both heard each other" if good else "NOT as it should be")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
