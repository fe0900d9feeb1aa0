"""media.wav, sources, recorder, telephone_event, dsp and pacer, each by itself."""

from __future__ import annotations

import io
import struct
import wave
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from media import wav
from media.dsp.level import SILENCE_DBOV, VoiceActivity, levels_dbov
from media.dsp.mix import KNEE, MAX_TALKERS, loudest, mix, soft_clip
from media.dsp.resample import RATES_HZ, Resampler, resample
from media.dsp.tones import COUNTRIES, Generator, named, parse, render
from media.errors import NgRequestError, RtpError, WavError
from media.recorder import MAX_PENDING_BYTES, Recorder, RecorderOptions
from media.server.files import RecordingWriter, SoundFiles
from media.server.pacer import TICK_S, WINDOW, Pacer
from media.sources import MAX_ITEMS, Clip, Item, Playlist, Sound
from media.telephone_event import Event, EventReceiver, EventSender
from tests.support.audio_lab import sine
from tests.support.tones import measure_pcm

FRAME = np.zeros(160, np.int16)


# -- WAV ---------------------------------------------------------------------------------------


def chunked(*chunks: tuple[bytes, bytes], sizes: dict[bytes, int] | None = None) -> bytes:
    body = b"".join(
        name
        + struct.pack("<I", (sizes or {}).get(name, len(data)))
        + data
        + b"\0" * (len(data) % 2)
        for name, data in chunks
    )
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WAVE" + body


def form(tag: int = 1, channels: int = 1, rate: int = 8000, bits: int = 16) -> bytes:
    block = channels * bits // 8
    return struct.pack("<HHIIHH", tag, channels, rate, rate * block, block, bits)


def test_wav_is_that_of_the_standard_library() -> None:
    pcm = sine(440, 0.1)
    with wave.open(io.BytesIO(wav.build(pcm, 8000))) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (8000, 1, 2)
        assert file.readframes(10_000) == pcm.tobytes()
    again = wav.parse(wav.build(pcm, 8000))
    assert again.rate_hz == 8000
    assert np.array_equal(again.pcm, pcm)


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 5000, 321])
def test_sizes_that_lie(size: int) -> None:
    """Streamed files say 0 or 0xFFFFFFFF; what is there is heard."""
    pcm = sine(440, 0.02)
    data = chunked(
        (b"fmt ", form()), (b"LIST", b"odd"), (b"data", pcm.tobytes()), sizes={b"data": size}
    )
    assert np.array_equal(wav.parse(data).pcm, pcm)


def test_formats() -> None:
    pcm = np.array([0, 1000, -1000], "<i2")
    stereo = np.repeat(pcm, 2)
    extensible = form(0xFFFE) + struct.pack("<HHIH", 22, 16, 4, 1) + bytes(14)
    for data, expected in (
        (chunked((b"fmt ", form(7, bits=8)), (b"data", b"\xff\xce\x4e")), [0, 988, -988]),
        (chunked((b"fmt ", form(6, bits=8)), (b"data", b"\xd5\xfa\x7a")), [8, 1008, -1008]),
        (chunked((b"fmt ", form(bits=8)), (b"data", b"\x80\xff\x00")), [0, 32_512, -32_768]),
        (chunked((b"fmt ", form(channels=2)), (b"data", stereo.tobytes())), [0, 1000, -1000]),
        (chunked((b"fmt ", form(bits=24)), (b"data", b"\0\x01\0\0\0\xff")), [1, -256]),
        (chunked((b"fmt ", extensible), (b"data", pcm.tobytes())), [0, 1000, -1000]),
    ):
        assert wav.parse(data).pcm.tolist() == expected


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"RIFF",
        b"ID3 some music",
        chunked((b"data", b"")),
        chunked((b"fmt ", form())),
        chunked((b"fmt ", b"short"), (b"data", b"")),
        chunked((b"fmt ", form(channels=0)), (b"data", b"")),
        chunked((b"fmt ", form(rate=11_025)), (b"data", b"")),
        chunked((b"fmt ", form(tag=85)), (b"data", b"")),
        b"RIFX" + chunked((b"fmt ", form()))[4:],
    ],
)
def test_what_cannot_be_heard_is_refused(data: bytes) -> None:
    with pytest.raises(WavError):
        wav.parse(data)


@given(st.binary(max_size=200), st.integers(0, 60), st.binary(max_size=4))
def test_mutated_files_raise_nothing_else(data: bytes, at: int, patch: bytes) -> None:
    good = bytearray(wav.build(sine(440, 0.01), 8000))
    good[at : at + len(patch)] = patch
    for one in (data, b"RIFF\0\0\0\0WAVE" + data, bytes(good)):
        try:
            pcm = wav.parse(one).pcm
        except WavError:
            continue
        assert pcm.dtype == np.int16


# -- files -------------------------------------------------------------------------------------


def test_files_are_kept_and_read_again_when_they_change(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wav.build(sine(440, 0.1), 8000))
    files = SoundFiles([tmp_path], max_cache_bytes=4000)
    first = files.load("a", 8000)
    assert files.load("a.wav", 8000) is first
    assert len(files.load("a", 16_000)) == 1600
    assert files.load("a", 8000) is not first  # made room
    path.write_bytes(wav.build(sine(440, 0.2), 8000))
    assert len(files.load("a", 8000)) == 1600
    path.write_bytes(b"nonsense")
    with pytest.raises(NgRequestError, match="not a WAV file"):
        files.load("a", 8000)


def test_a_recording_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "there.wav").write_bytes(b"old")
    writer = RecordingWriter()
    number = writer.open(tmp_path / "there.wav", 8000, 1)
    writer.append(number, b"\0\0")
    writer.shutdown()
    (written,) = writer.finished()
    assert written.error
    assert (tmp_path / "there.wav").read_bytes() == b"old"


# -- sources and recorder ----------------------------------------------------------------------


def test_a_clip_repeats_until_its_time() -> None:
    pcm = np.arange(100, dtype=np.int16)
    out = np.empty(250, np.int16)
    assert Clip(pcm, total=230).read(out) == 230
    assert out.tolist() == [*range(100), *range(100), *range(30), *[0] * 20]
    assert Clip(pcm, start=90).read(out) == 10
    assert Clip(pcm, total=0).read(out) == 250
    assert Clip(np.zeros(0, np.int16), total=0).read(out) == 0


def test_a_playlist_is_bounded_and_stops() -> None:
    playlist = Playlist()
    for number in range(MAX_ITEMS):
        playlist.add(Item(str(number), Clip(FRAME)))
    with pytest.raises(ValueError, match="queued"):
        playlist.add(Item("one too many", Clip(FRAME)))
    playlist.stop()
    assert len(playlist.finished()) == MAX_ITEMS
    assert not playlist.playing


def test_recorder_ends_by_silence_digit_and_time() -> None:
    for options, reason, samples in (
        (RecorderOptions("a", max_s=0.05), "max-duration", 400),
        (RecorderOptions("b", stop_after_silence_s=0.1), "silence", 800),
    ):
        recorder = Recorder(options, 8000)
        for _ in range(20):
            recorder.write(FRAME, FRAME, False)
        assert (recorder.reason, recorder.samples) == (reason, samples)
        assert len(recorder.take()) == 2 * samples
    recorder = Recorder(RecorderOptions("c"), 8000)
    reasons = []
    for masked in (True, False):  # the digits of a PIN do not end it
        recorder.masked = masked
        recorder.digit()
        reasons.append(recorder.reason)
    assert reasons == ["", "digit"]


def test_recorder_pauses_skips_silence_and_masks_both_sides() -> None:
    loud = np.full(160, 900, np.int16)
    recorder = Recorder(RecorderOptions("a", stereo=True, skip_silence_s=0.04), 8000)
    recorder.write(loud, loud, True)
    recorder.paused = True
    recorder.write(loud, loud, True)
    recorder.paused, recorder.masked = False, True
    recorder.write(loud, loud, True)
    recorder.masked = False
    for _ in range(10):
        recorder.write(loud, loud, False)
    both = np.frombuffer(recorder.take(), "<i2").reshape(-1, 2)
    assert len(both) == 4 * 160
    assert (both[:160] == 900).all()
    assert not both[160:320].any()


def test_a_slow_disk_loses_sound_and_counts_it() -> None:
    recorder = Recorder(RecorderOptions("a"), 8000)
    for _ in range(MAX_PENDING_BYTES // 320 + 10):
        recorder.write(FRAME, FRAME, True)
    assert recorder.lost_samples > 0
    assert len(recorder.take()) <= MAX_PENDING_BYTES + 320


# -- telephone-events --------------------------------------------------------------------------


@given(st.integers(0, 255), st.booleans(), st.integers(0, 63), st.integers(0, 65_535))
def test_events_survive(code: int, end: bool, volume: int, duration: int) -> None:
    event = Event(code, end, volume, duration)
    assert Event.parse(event.to_bytes()) == event
    assert len(event.digit) <= 1


def test_a_short_event_is_refused() -> None:
    with pytest.raises(RtpError):
        Event.parse(b"\x05\x0a\x00")


def test_long_presses_are_one_digit_in_segments() -> None:
    """RFC 4733 §2.5.1.3, at 48 kHz, where a segment is 1.4 s."""
    sender, receiver = EventSender(48_000), EventReceiver()
    sender.send("9", 3000)
    heard, stamp, starts = "", 1000, set()
    while sender.busy:
        for packet in sender.tick(stamp):
            starts.add(packet.rtp_timestamp)
            heard += receiver.receive(1, packet.rtp_timestamp, Event.parse(packet.payload))
        stamp += 960
    assert heard == "9"
    assert starts == {1000, 1000 + 65_535, 1000 + 2 * 65_535}


def test_a_late_packet_of_the_press_before_is_no_digit() -> None:
    receiver = EventReceiver()
    assert receiver.receive(1, 1000, Event(1, False, 10, 160)) == "1"
    assert receiver.receive(1, 3000, Event(2, False, 10, 160)) == "2"
    assert receiver.receive(1, 1000, Event(1, True, 10, 800)) == ""


@pytest.mark.parametrize(("digits", "milliseconds"), [("x", 100), ("1", 10), ("1" * 200, 100)])
def test_digits_that_cannot_be_sent(digits: str, milliseconds: int) -> None:
    sender = EventSender(8000)
    with pytest.raises(ValueError, match=r".+"):
        sender.send(digits, milliseconds)
    assert not sender.busy


# -- signal processing -------------------------------------------------------------------------


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=5), st.integers(0, 2**32 - 1), st.booleans()
)
def test_everybody_hears_the_sum_of_the_others(sizes: list[int], seed: int, muted: bool) -> None:
    rng = np.random.default_rng(seed)
    starts = np.cumsum([0, *sizes[:-1]])
    pcm = rng.integers(-3000, 3000, (sum(sizes), 8), np.int16)
    talks = rng.random(len(pcm)) < 0.5 if muted else np.ones(len(pcm), np.bool_)
    heard = mix(starts, pcm, talks)
    for start, size in zip(starts, sizes, strict=True):
        for one in range(start, start + size):
            others = [x for x in range(start, start + size) if x != one and talks[x]]
            assert np.array_equal(heard[one], pcm[others].astype(int).sum(axis=0))


def test_loud_mixes_bend_and_never_wrap() -> None:
    sums = np.array([[0, 29_999, 30_001, 60_000, 200_000, -200_000, -29_999]], np.int32)
    bent = soft_clip(sums)[0]
    assert bent[:2].tolist() == [0, 29_999]
    assert KNEE <= bent[2] < bent[3] < bent[4] <= 32_767
    assert bent[5] == -bent[4]


def test_the_loudest_are_mixed() -> None:
    level = np.arange(-30, -10, dtype=np.float32)
    chosen = loudest(np.array([0]), level, np.ones(20, np.bool_))
    assert np.nonzero(chosen)[0].tolist() == list(range(20 - MAX_TALKERS, 20))


@pytest.mark.parametrize("source", RATES_HZ)
@pytest.mark.parametrize("target", RATES_HZ)
def test_resampling_keeps_a_tone_and_its_place(source: int, target: int) -> None:
    pcm = sine(1000, 0.5, source, 10_000)
    out = resample(pcm, source, target)
    assert len(out) == target // 2
    tone = measure_pcm(out.astype(float) / 32_768, target, 0.5)
    assert tone.is_at(1000)
    assert tone.snr_db > 60
    middle = slice(target // 8, target // 4)
    assert np.abs(out[middle] - sine(1000, 0.5, target, 10_000)[middle].astype(int)).max() < 40


def test_downward_nothing_folds_back() -> None:
    for source in (16_000, 48_000):
        out = resample(sine(4600, 0.5, source, 10_000), source, 8000)
        assert np.abs(out[400:-400]).max() < 40


def test_frames_are_resampled_without_seams() -> None:
    pcm = sine(700, 0.4, 16_000)
    resampler = Resampler(16_000, 8000, 320)
    resampler.grow(1)
    row = np.zeros(1, np.int64)
    out = np.concatenate([resampler.process(row, frame[None])[0] for frame in pcm.reshape(-1, 320)])
    assert measure_pcm(out[200:].astype(float) / 32_768, 8000, 0.4).snr_db > 60


def test_levels() -> None:
    square = np.tile(np.array([32_767, -32_767], np.int16), 80)
    level = levels_dbov(np.stack([square, FRAME, sine(400, 0.02, amplitude=32_767)]))
    assert level[0] == pytest.approx(0.0, abs=0.01)
    assert level[1] == SILENCE_DBOV
    assert level[2] == pytest.approx(-3.01, abs=0.05)


def test_voice_over_noise_is_found_and_noise_is_not() -> None:
    activity = VoiceActivity()
    activity.grow(1)
    row = np.zeros(1, np.int64)
    talks = []
    for number in range(400):
        level = -20.0 if 250 <= number < 300 else -42.0 + number % 3
        talks.append(bool(activity.update(row, np.array([level], np.float32))[0]))
    assert not any(talks[150:250])
    assert all(talks[250:308])
    assert not any(talks[312:])


@pytest.mark.parametrize("country", COUNTRIES)
def test_every_country_has_its_tones(country: str) -> None:
    for name, tone in COUNTRIES[country].items():
        assert named(name, country) is tone
        out = np.zeros(8000, np.int16)
        assert Generator(tone, 8000).read(out) == 8000
        rendered = render(tone, 8000)
        if rendered is not None:
            loop = rendered.loop_from
            clip = Clip(rendered.pcm, 0, 0 if loop >= 0 else None, max(loop, 0))
            again = np.zeros(8000, np.int16)
            clip.read(again)
            assert np.array_equal(again, out)


def test_a_steady_tone_has_no_seam_where_it_goes_round() -> None:
    rendered = render(named("dial", "us"), 8000)
    assert rendered is not None
    out = np.empty(8000 * 5, np.int16)
    Clip(rendered.pcm, 0, 0, rendered.loop_from).read(out)
    whole = np.empty(8000 * 5, np.int16)
    Generator(named("dial", "us"), 8000).read(whole)
    assert np.abs(out.astype(int) - whole).max() <= 1


def test_a_cadence_as_text() -> None:
    tone = parse("440+480/200,0/300!")
    assert [segment.duration_s for segment in tone.segments] == [0.2, 0.3]
    assert not tone.repeats
    sound = Sound(Generator(tone, 8000))
    out = np.empty(8000, np.int16)
    assert sound.read(out) == 4000
    assert not out[1600:].any()


# -- time --------------------------------------------------------------------------------------


def test_the_pacer_never_drifts_and_skips_after_a_stall() -> None:
    pacer = Pacer()
    pacer.start(10.0)
    for number in range(50):
        assert pacer.due == pytest.approx(10.0 + number * TICK_S)
        pacer.begin(pacer.due + 0.004)
    assert pacer.percentile_s(99) == 0.005
    pacer.begin(12.0)
    assert pacer.skipped == 50
    assert pacer.due == pytest.approx(12.02)


def test_a_path_that_is_late_for_long_is_overloaded_until_it_recovers() -> None:
    pacer = Pacer()
    pacer.start(0.0)
    for _ in range(WINDOW):
        pacer.begin(pacer.due + 0.015)
    seen = [pacer.overloaded]
    for _ in range(WINDOW):
        pacer.begin(pacer.due)
    assert [*seen, pacer.overloaded] == [True, False]
    assert pacer.statistics()["late max us"] == 15_000
