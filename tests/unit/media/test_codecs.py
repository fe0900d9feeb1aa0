"""media.codecs: published vectors, round trips, states that do not mix."""

from __future__ import annotations

import ctypes
import ctypes.util

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.codecs import make, noise, offered, opus
from media.codecs.conceal import MAX_CONCEALED, blend, conceal, periods
from media.codecs.g711 import ALAW_TO_PCM, PCM_TO_ALAW, PCM_TO_ULAW, ULAW_TO_PCM
from tests.support.audio_lab import sine

ROW = np.zeros(1, dtype=np.int64)
FIXED = [key for key in offered() if key[0] != "OPUS"]


@pytest.mark.parametrize(
    ("linear", "ulaw", "alaw"),
    [
        (0, 0xFF, 0xD5),
        (100, 0xF2, 0xD3),
        (-100, 0x72, 0x53),
        (1000, 0xCE, 0xFA),
        (-1000, 0x4E, 0x7A),
        (8000, 0xA0, 0x8A),
        (-8000, 0x20, 0x0A),
        (32_767, 0x80, 0xAA),
        (-32_768, 0x00, 0x2A),
    ],
)
def test_g711_vectors(linear: int, ulaw: int, alaw: int) -> None:
    at = linear & 0xFFFF
    assert (int(PCM_TO_ULAW[at]), int(PCM_TO_ALAW[at])) == (ulaw, alaw)


def test_g711_codes_survive() -> None:
    """Every code is the code of its own sample; µ-law has two zeros."""
    codes = np.arange(256)
    assert np.array_equal(PCM_TO_ALAW[ALAW_TO_PCM.view(np.uint16)], codes)
    again = PCM_TO_ULAW[ULAW_TO_PCM.view(np.uint16)]
    assert list(codes[again != codes]) == [0x7F]


@pytest.mark.parametrize("key", FIXED)
def test_sizes(key: tuple[str, int]) -> None:
    codec = make(*key)
    codec.grow(3)
    payloads, sizes = codec.encode(np.arange(3), np.zeros((3, codec.rate_hz // 50), np.int16))
    size = int(sizes[0])
    assert size == {"PCMA": 160, "PCMU": 160, "G722": 160, "GSM": 33}.get(key[0], key[1] // 25)
    assert codec.samples(size, int(payloads[0, 0])) == codec.rate_hz // 50


@pytest.mark.parametrize("key", FIXED)
def test_streams_do_not_disturb_each_other(key: tuple[str, int]) -> None:
    """Rows computed together give what each gives alone."""
    codec, alone = make(*key), make(*key)
    codec.grow(4)
    alone.grow(1)
    rng = np.random.default_rng(1)
    said = rng.integers(-9000, 9000, (6, 4, codec.rate_hz // 50), dtype=np.int16)
    together = [codec.encode(np.arange(4), frame)[0] for frame in said]
    heard = [codec.decode(np.arange(4), payloads) for payloads in together]
    for number, frame in enumerate(said):
        payload, _ = alone.encode(ROW, frame[2:3])
        assert np.array_equal(payload, together[number][2:3])
        assert np.array_equal(alone.decode(ROW, payload), heard[number][2:3])


@pytest.mark.parametrize("key", [key for key in FIXED if key[0] in ("G722", "GSM")])
def test_a_reset_row_is_new(key: tuple[str, int]) -> None:
    codec = make(*key)
    codec.grow(2)
    frame = np.random.default_rng(1).integers(-9000, 9000, (1, codec.rate_hz // 50), np.int16)
    first, _ = codec.encode(ROW, frame)
    second, _ = codec.encode(ROW, frame)
    assert not np.array_equal(first, second)
    codec.reset(ROW)
    assert np.array_equal(codec.encode(ROW, frame)[0], first)


@pytest.mark.skipif(ctypes.util.find_library("gsm") is None, reason="libgsm is not installed")
def test_gsm_is_that_of_the_reference_library() -> None:
    """Bit for bit, both ways, on tones, noise and full scale."""
    library = ctypes.CDLL(ctypes.util.find_library("gsm"))
    library.gsm_create.restype = ctypes.c_void_p
    for function in (library.gsm_encode, library.gsm_decode):
        function.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p]
    encoder, decoder = library.gsm_create(), library.gsm_create()
    codec = make("GSM", 8000)
    codec.grow(1)
    rng = np.random.default_rng(5)
    said = [sine(317, 0.4), rng.integers(-32_768, 32_767, 3200, np.int16), sine(90, 0.4) * 4]
    for frame in np.concatenate(said).reshape(-1, 160):
        coded, heard = ctypes.create_string_buffer(33), ctypes.create_string_buffer(320)
        library.gsm_encode(encoder, frame.tobytes(), coded)
        library.gsm_decode(decoder, coded.raw, heard)
        payload, _ = codec.encode(ROW, frame[None])
        assert payload.tobytes() == coded.raw
        assert codec.decode(ROW, payload).tobytes() == heard.raw


def test_gsm_without_its_magic_number_is_silence() -> None:
    codec = make("GSM", 8000)
    codec.grow(1)
    assert not codec.decode(ROW, np.zeros((1, 33), np.uint8)).any()


@pytest.mark.parametrize("key", [key for key in FIXED if key[0] in ("G722", "GSM")])
@given(data=st.binary(min_size=33, max_size=33))
def test_decoders_take_any_bytes(key: tuple[str, int], data: bytes) -> None:
    codec = make(*key)
    codec.grow(1)
    payload = np.frombuffer(data, np.uint8)[None]
    for _ in range(5):
        pcm = codec.decode(ROW, payload)
    assert pcm.shape == (1, codec.samples(33, data[0]))


def test_sizes_that_do_not_fit_are_refused() -> None:
    from media.codecs import _codecs

    state = np.zeros((1, _codecs.G722_STATE), np.int32)
    with pytest.raises(ValueError, match="do not fit"):
        _codecs.g722_decode(np.array([1]), state, np.zeros(160, "u1"), np.zeros(320, "i2"))
    with pytest.raises(ValueError, match="do not fit"):
        _codecs.g722_decode(ROW, state, np.zeros(160, "u1"), np.zeros(319, "i2"))
    with pytest.raises(ValueError, match="range"):
        _codecs.gsm_reset(np.array([-1]), np.zeros((1, _codecs.GSM_STATE), np.int32))


@pytest.mark.needs("libopus.so.0")
class TestOpus:
    def test_loss_is_repaired_from_the_next_packet(self) -> None:
        """In-band FEC (RFC 6716 §2.1.7): nearer to the truth than concealment without it."""
        codec = opus.Opus(16_000)
        said = sine(300, 2.0, 16_000).reshape(-1, 320)
        packets = []
        for frame in said:
            payload, sizes = codec.encode(ROW, frame[None])
            packets.append(payload[:, : sizes[0]])
        for packet in packets[:60]:
            codec.decode(ROW, packet)
        repaired = codec.conceal(ROW, packets[61])
        assert repaired is not None
        assert np.sqrt((repaired.astype(float) ** 2).mean()) > 2000

    @given(st.binary(min_size=1, max_size=60))
    def test_any_bytes(self, data: bytes) -> None:
        codec = opus.Opus(16_000)
        samples = codec.samples(len(data), data[0])
        assert 0 <= samples <= 1920
        if samples:
            pcm = codec.decode(ROW, np.frombuffer(data, np.uint8)[None])
            assert pcm.shape == (1, samples)
        codec.reset(ROW)


class TestConcealment:
    def test_period_of_a_voice(self) -> None:
        history = np.stack([sine(100, 0.04), sine(250, 0.04)])
        assert periods(history, 8000).tolist() == [80, 32]

    @pytest.mark.parametrize("rate_hz", [8000, 16_000, 48_000])
    def test_continues_and_fades(self, rate_hz: int) -> None:
        whole = sine(200, 0.12, rate_hz)
        frame = rate_hz // 50
        history = whole[None, : 2 * frame]
        levels = []
        for lost in range(MAX_CONCEALED + 1):
            made = conceal(history, np.array([lost]), frame, rate_hz)
            if not lost:
                start = frame // 2
                error = made[0, :start].astype(float) - whole[2 * frame : 2 * frame + start]
                assert np.abs(error).max() < 900
            levels.append(float(np.abs(made).max()))
            history = np.concatenate([history, made], axis=1)[:, -2 * frame :]
        assert levels == sorted(levels, reverse=True)
        assert levels[-1] == 0

    def test_blends_back(self) -> None:
        history = sine(200, 0.04)[None]
        fresh = np.full((1, 160), 3000, np.int16)
        joined = blend(history, fresh, 8000)
        assert abs(int(joined[0, 0]) - int(history[0, -1])) < 2000
        assert (joined[0, 32:] == 3000).all()


class TestComfortNoise:
    def test_level(self) -> None:
        rng = np.random.default_rng(1)
        for payload in (b"\x28", b"\x28\xb0\x60"):
            made = noise.generate(*noise.shape_of(payload), 16_000, rng)
            assert np.sqrt((made.astype(float) ** 2).mean()) == pytest.approx(327.68, rel=0.05)
        assert not noise.generate(*noise.shape_of(b""), 160, rng).any()

    def test_payload(self) -> None:
        assert noise.payload_of(-54.4) == b"\x36"
        assert noise.shape_of(b"\x36")[0] == -54.0
        assert noise.shape_of(b"")[0] == noise.SILENT_DBOV

    @given(st.binary(max_size=40))
    def test_any_spectrum_is_stable(self, payload: bytes) -> None:
        level, response = noise.shape_of(payload)
        assert -127 <= level <= 0
        assert np.isfinite(response).all()
        assert (response.astype(float) ** 2).sum() == pytest.approx(1.0, rel=1e-3)
