"""The stock prompts: every text is spoken in both languages, and every file can be played."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pytest

import pbx
from media import wav
from pbx.media_role import PROMPTS

STOCK = Path(pbx.__file__).parent / "script" / "stock"
TEXTS = tomllib.loads((STOCK / "prompts.toml").read_text(encoding="utf-8"))["prompts"]


@pytest.mark.parametrize("folder", ["", "russian"])
def test_every_text_is_a_file_that_can_be_heard(folder: str) -> None:
    """Made by scripts/make-prompts; run it after a change of the texts."""
    for name in TEXTS:
        recording = wav.parse((PROMPTS / folder / f"{name}.wav").read_bytes())
        assert recording.rate_hz == 8000
        assert 0.1 < len(recording.pcm) / 8000 < 20, name
        level = np.sqrt((recording.pcm.astype(float) ** 2).mean())
        assert 1000 < level < 5000, name


def test_silence_is_silent_and_music_goes_round() -> None:
    blank = wav.parse((PROMPTS / "blank.wav").read_bytes()).pcm
    assert len(blank) >= 800
    assert np.abs(blank).max() <= 8
    music = wav.parse((PROMPTS / "holdmusic.wav").read_bytes()).pcm
    assert len(music) >= 80_000
    assert abs(int(music[-1]) - int(music[0])) < 400
