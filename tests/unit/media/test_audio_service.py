"""media.server.audio, hosting and terms: the requests of call control, over a relay in memory."""

from __future__ import annotations

import base64
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from media import wav
from media.codecs.g711 import ALAW_TO_PCM, PCM_TO_ALAW
from media.ng.messages import Message
from media.rtp import RtpPacket
from media.sdp.description import parse
from media.server.audio import AudioConfig, AudioService
from tests.support.audio_lab import sine
from tests.support.media_lab import ALICE, MediaLab, rtp, sdp


class HostingLab(MediaLab):
    """A media lab whose service hosts parties."""

    def __init__(self, folder: Path, **config: Any) -> None:
        super().__init__(
            make_audio=lambda relay, exchange, rng: AudioService(
                AudioConfig(
                    sound_roots=(folder / "prompts",),
                    recording_root=folder / "recordings",
                    codecs=(("G722", 8000), ("PCMA", 8000), ("PCMU", 8000)),
                ),
                relay,
                exchange,
                rng,
            ),
            **config,
        )
        self.handle(command="hello", node="n", epoch="1")

    @property
    def audio(self) -> AudioService:
        assert self.service.audio is not None
        return self.service.audio

    def serve(self, text: str = "", call_id: str = "c", tag: str = "a", **more: Any) -> Message:
        return self.handle(
            "n",
            command="serve",
            call_id=call_id,
            from_tag=tag,
            sdp=text or sdp(formats="8 101"),
            received_from=["IP4", ALICE],
            **more,
        )

    def ask(self, command: str, call_id: str = "c", **more: Any) -> Message:
        reply = self.handle("n", command=command, call_id=call_id, **more)
        assert reply["result"] == "ok", reply
        return reply

    def error(self, command: str, **more: Any) -> str:
        reply = self.handle("n", command=command, **more)
        assert reply["result"] == "error"
        return str(reply["error-reason"])

    def tick(self, count: int = 1) -> None:
        for _ in range(count):
            self.relay.now += 0.02
            self.service.tick(self.relay.now)

    def told(self, kind: str) -> list[Message]:
        return [event for event in self.events() if event["event"] == kind]

    def heard(self, port: int) -> list[RtpPacket]:
        """What left from one of our ports."""
        return [RtpPacket.parse(one.data) for one in self.relay.sent if one.source[1] == port]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[HostingLab]:
    (tmp_path / "prompts" / "russian").mkdir(parents=True)
    (tmp_path / "prompts" / "welcome.wav").write_bytes(wav.build(sine(400, 0.5), 8000))
    (tmp_path / "prompts" / "russian" / "hd.wav").write_bytes(
        wav.build(sine(400, 0.5, 16_000), 16_000)
    )
    (tmp_path / "secret.wav").write_bytes(wav.build(sine(400, 0.5), 8000))
    made = HostingLab(tmp_path)
    yield made
    if made.service.audio is not None:
        made.service.audio.shutdown()


def port_of(reply: Message, line: int = 0) -> int:
    return parse(reply["sdp"]).medias[line].port


# -- offers and answers ------------------------------------------------------------------------


def test_an_offer_is_answered_with_one_codec_and_events(lab: HostingLab) -> None:
    reply = lab.serve(sdp(formats="0 8 18 101", more="m=video 4002 RTP/AVP 96\r\n"))
    audio, video = parse(reply["sdp"]).medias
    assert audio.formats == ["8", "101"]
    assert audio.direction == "sendrecv"
    assert video.port == 0


def test_our_order_of_codecs_decides(lab: HostingLab) -> None:
    reply = lab.serve(sdp(formats="0 8 9 101"))
    assert parse(reply["sdp"]).medias[0].formats == ["9", "101"]


@pytest.mark.parametrize(
    ("offered", "answered"),
    [("sendonly", "recvonly"), ("recvonly", "sendonly"), ("inactive", "inactive")],
)
def test_directions_are_mirrored(lab: HostingLab, offered: str, answered: str) -> None:
    reply = lab.serve(sdp(formats="8", direction=offered))
    assert parse(reply["sdp"]).medias[0].direction == answered


def test_hold_of_ours_is_sendonly(lab: HostingLab) -> None:
    assert parse(lab.serve(flags=["hold"])["sdp"]).medias[0].direction == "sendonly"


def test_no_codec_in_common_opens_nothing(lab: HostingLab) -> None:
    reason = lab.error("serve", call_id="c", from_tag="a", sdp=sdp(formats="18"))
    assert "G729" in reason
    assert lab.relay.open_ports == 0
    assert lab.service.call_count == 0


def test_encrypted_media_is_refused_by_name(lab: HostingLab) -> None:
    text = sdp(formats="8", proto="RTP/SAVP")
    assert "RTP/SAVP" in lab.error("serve", call_id="c", from_tag="a", sdp=text)


def test_a_new_offer_keeps_port_and_origin(lab: HostingLab) -> None:
    first = lab.serve()
    again = lab.serve(sdp(formats="8 101", version=2))
    assert again["sdp"] == first["sdp"]
    wide = lab.serve(sdp(formats="9 101", version=3))
    assert port_of(wide) == port_of(first)
    one, two = (parse(reply["sdp"]).origin.split() for reply in (first, wide))
    assert (two[1], int(two[2])) == (one[1], int(one[2]) + 1)
    assert lab.audio.graph.legs["c", "a"].bank.rate_hz == 16_000


def test_another_sampling_rate_ends_what_plays_and_says_so(lab: HostingLab) -> None:
    lab.serve()
    lab.ask("play", file="welcome")
    lab.ask("record", file="x.wav")
    lab.serve(sdp(formats="9 101", version=2))
    lab.tick()
    leg = lab.audio.graph.legs["c", "a"]
    assert not leg.playlist.playing
    assert leg.recorder is None
    assert [event["reason"] for event in lab.told("play-finished")] == ["codec"]
    assert lab.ask("play", file="welcome")["duration"] == 500


def test_an_offer_of_ours_and_its_answer(lab: HostingLab) -> None:
    reply = lab.handle("n", command="create", call_id="c", from_tag="a")
    offer = parse(reply["sdp"]).medias[0]
    assert offer.formats == ["9", "8", "0", "101"]
    lab.ask("create answer", from_tag="a", sdp=sdp(formats="0 101"))
    lab.tick(2)
    assert {packet.payload_type for packet in lab.heard(offer.port)} == {0}


def test_an_answer_without_an_offer_is_refused(lab: HostingLab) -> None:
    lab.serve()
    reason = lab.error("create answer", call_id="c", from_tag="a", sdp=sdp(formats="0"))
    assert reason == "No offer of ours to answer"


def test_a_relayed_call_cannot_be_hosted(lab: HostingLab) -> None:
    lab.call("relayed")
    text = sdp(formats="8")
    assert lab.error("serve", call_id="relayed", from_tag="x", sdp=text)


def test_delete_frees_everything_and_tells_figures(lab: HostingLab) -> None:
    port = port_of(lab.serve())
    for number in range(5):
        lab.send(rtp(number), (ALICE, 11_780), port)
    lab.tick()
    reply = lab.ask("delete", from_tag="a")
    stats = reply["tags"]["a"]["medias"][0]["streams"][0]["stats"]
    assert (stats["packets"], stats["packets out"]) == (5, 1)
    assert lab.relay.open_ports == 0
    assert lab.audio.graph.legs == {}
    assert not lab.audio.active


def test_a_silent_party_times_out(lab: HostingLab) -> None:
    lab.serve()
    lab.pass_time(61.0)
    assert [event["call-id"] for event in lab.told("media-timeout")] == ["c"]
    assert lab.audio.graph.legs == {}


def test_a_restarted_signalling_process_leaves_no_legs(lab: HostingLab) -> None:
    lab.serve()
    assert lab.handle(command="hello", node="n", epoch="2")["deleted"] == 1
    assert lab.audio.graph.legs == {}


def test_a_stranger_is_not_heard(lab: HostingLab) -> None:
    port = port_of(lab.serve())
    lab.ask("echo")
    for number in range(20):
        tone = PCM_TO_ALAW[sine(1000, 0.02).view(np.uint16)].tobytes()
        packet = RtpPacket(8, number, number * 160, 9, tone).to_bytes()
        lab.send(packet, ("203.0.113.99", 11_780), port)
        lab.tick()
    assert all(set(packet.payload) == {0xD5} for packet in lab.heard(port))


# -- sound -------------------------------------------------------------------------------------


def test_a_prompt_is_played_and_told(lab: HostingLab) -> None:
    port = port_of(lab.serve())
    assert lab.ask("play", file="welcome", name="hi")["duration"] == 500
    lab.tick(25)
    pcm = np.concatenate(
        [ALAW_TO_PCM[np.frombuffer(packet.payload, "u1")] for packet in lab.heard(port)]
    )
    expected = sine(400, 0.5)
    assert np.abs(pcm.astype(int) - expected).max() < 300
    assert [(event["name"], event["reason"]) for event in lab.told("play-finished")] == [
        ("hi", "end")
    ]


def test_a_wideband_prompt_suits_a_narrow_leg(lab: HostingLab) -> None:
    lab.serve()
    assert lab.ask("play", file="russian/hd.wav")["duration"] == 500


def test_a_prompt_in_the_message_itself(lab: HostingLab) -> None:
    lab.serve()
    blob = base64.b64encode(wav.build(sine(400, 0.1), 8000)).decode()
    assert lab.ask("play", blob64=blob)["duration"] == 100


@pytest.mark.parametrize(
    "name", ["../secret", "../secret.wav", "/etc/passwd", "nothing", "", "a\0b", "x" * 5000]
)
def test_names_lead_nowhere_else(lab: HostingLab, name: str) -> None:
    lab.serve()
    assert lab.error("play", call_id="c", file=name)
    assert not lab.audio.graph.legs["c", "a"].playlist.playing


def test_a_link_that_leads_out_is_refused(lab: HostingLab, tmp_path: Path) -> None:
    (tmp_path / "prompts" / "link.wav").symlink_to(tmp_path / "secret.wav")
    lab.serve()
    assert "no such" in lab.error("play", call_id="c", file="link")


@pytest.mark.parametrize(
    ("name", "milliseconds"), [("busy", -1), ("beep", 300), ("440+480/2000,0/4000!", 6000)]
)
def test_tones(lab: HostingLab, name: str, milliseconds: int) -> None:
    lab.serve()
    assert lab.ask("play", tone=name, country="us")["duration"] == milliseconds


@pytest.mark.parametrize("tone", ["nonsense", "5/100", "440+", "440/-5", "1/2/3"])
def test_bad_tones_are_named(lab: HostingLab, tone: str) -> None:
    lab.serve()
    assert tone in lab.error("play", call_id="c", tone=tone)


def test_stop_tells_the_position(lab: HostingLab) -> None:
    lab.serve()
    lab.ask("play", file="welcome")
    lab.tick(10)
    assert lab.ask("position") == {"result": "ok", "position": 200, "playing": 1}
    assert lab.ask("stop")["position"] == 200
    lab.tick()
    assert [event["reason"] for event in lab.told("play-finished")] == ["stop"]


def test_a_recording_is_told_when_it_is_on_the_disk(lab: HostingLab, tmp_path: Path) -> None:
    port = port_of(lab.serve())
    lab.ask("record", file="mail/one.wav", name="message")
    said = sine(700, 2.0)
    for number in range(100):
        frame = said[number * 160 : (number + 1) * 160]
        payload = PCM_TO_ALAW[frame.view(np.uint16)].tobytes()
        packet = RtpPacket(8, number, number * 160, 9, payload).to_bytes()
        lab.send(packet, (ALICE, 11_780), port)
        lab.tick()
        if number == 50:
            lab.ask("record", action="mask")
    lab.ask("stop", what="record")
    told: list[Message] = []
    deadline = time.monotonic() + 10
    while not told and time.monotonic() < deadline:
        told = lab.told("recording-finished")
    (event,) = told
    assert (event["name"], event["reason"], event["duration"]) == ("message", "stop", 2000)
    recorded = wav.parse((tmp_path / "recordings" / "mail" / "one.wav").read_bytes())
    assert len(recorded.pcm) == 16_000
    assert np.abs(recorded.pcm[1600:8000]).max() > 7000
    assert not recorded.pcm[8200:].any()


@pytest.mark.parametrize("file", ["", "../x.wav", "/tmp/x.wav", "x.txt"])
def test_recordings_stay_in_their_place(lab: HostingLab, file: str) -> None:
    lab.serve()
    assert lab.error("record", call_id="c", file=file)


def test_a_digit_by_info_ends_prompt_and_recording(lab: HostingLab) -> None:
    lab.serve()
    lab.ask("play", file="welcome")
    lab.ask("record", file="x.wav")
    lab.tick(2)
    assert lab.ask("digit", digit="5")["counted"] == 1
    lab.tick()
    events = lab.events()
    assert [event["digit"] for event in events if event["event"] == "digit"] == ["5"]
    assert [event["reason"] for event in events if event["event"] == "play-finished"] == ["digit"]
    assert lab.audio.graph.legs["c", "a"].recorder is None


def test_digits_to_a_party_without_events_are_sound(lab: HostingLab) -> None:
    lab.serve(sdp(formats="8"))
    assert lab.ask("dtmf", digits="1#")["carrier"] == "inband"
    assert lab.error("dtmf", call_id="c", digits="x")
    lab.serve(call_id="d")
    assert lab.ask("dtmf", call_id="d", digits="1#")["carrier"] == "rtp"


def test_conference_requests(lab: HostingLab) -> None:
    for call_id in ("c", "d"):
        lab.serve(call_id=call_id)
        lab.ask("conference", call_id=call_id, action="join", conference="room")
    lab.ask("conference", action="mute")
    lab.ask("conference", call_id="d", action="set", hears=["normal", "muted"])
    members = lab.handle(command="conference", action="list", conference="room")["members"]
    assert [(one["call-id"], one["speaks"], one["hears"]) for one in members] == [
        ("c", "muted", ["normal"]),
        ("d", "normal", ["muted", "normal"]),
    ]
    assert lab.handle(command="play", conference="room", file="welcome")["result"] == "ok"
    lab.tick(26)
    assert [event["conference"] for event in lab.told("play-finished")] == ["room"]
    assert lab.error("conference", call_id="c", action="set", speaks="loudly")
    lab.ask("conference", action="leave")
    lab.ask("delete", call_id="d")
    assert lab.audio.graph.mixer.conferences == {}
    assert lab.error("play", conference="room", file="welcome") == "Unknown conference"


def test_requests_about_nobody(lab: HostingLab) -> None:
    for command in ("play", "stop", "record", "dtmf", "digit", "conference", "echo", "position"):
        assert lab.error(command, call_id="nobody") == "Unknown call-id"
    lab.serve()
    for command in ("play", "stop", "record", "dtmf", "digit", "conference", "echo", "position"):
        assert lab.error(command, call_id="nobody") == "Unknown call-id"


def test_an_overloaded_path_takes_no_more(lab: HostingLab) -> None:
    lab.serve()
    lab.audio.pacer.overloaded = True
    assert lab.error("serve", call_id="d", from_tag="a", sdp=sdp(formats="8")) == "Too many calls"
    assert lab.serve()["result"] == "ok"


def test_a_service_that_only_relays_says_so() -> None:
    lab = MediaLab()
    reply = lab.handle(command="serve", call_id="c", from_tag="a", sdp=sdp())
    assert reply["error-reason"] == "This service only relays"


def test_a_relay_never_loads_numpy() -> None:
    """The audio path is loaded when the first party is hosted."""
    program = (
        "import sys, media.server.run, media.server.service, pbx.media_role;"
        "assert 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
