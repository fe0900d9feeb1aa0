"""Buffered randomness: every bit used once, in the range asked for."""

import os

import pytest

from pbx.kernel.entropy import SystemEntropy


def test_bytes_are_handed_out_once_and_fetched_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The buffer is a plain sequence of system blocks."""
    blocks: list[bytes] = []

    def fetch(count: int) -> bytes:
        blocks.append(bytes(range(256)) * (count // 256) + bytes(count % 256))
        return blocks[-1]

    monkeypatch.setattr(os, "urandom", fetch)
    source = SystemEntropy()
    assert source.getrandbits(16) == 0x0001
    assert source.getrandbits(12) == 0x020
    assert source.randbytes(3) == b"\x04\x05\x06"
    assert len(blocks) == 1
    assert len(source.randbytes(5000)) == 5000
    assert [len(block) for block in blocks] == [4096, 5000]


def test_values_stay_in_range() -> None:
    """Bits as asked, floats below one, and what the base class makes of them."""
    source = SystemEntropy()
    assert all(0 <= source.getrandbits(5) < 32 for _ in range(1000))
    assert all(0.0 <= source.random() < 1.0 for _ in range(1000))
    assert source.getrandbits(0) == 0
    assert {source.choice("ab") for _ in range(200)} == {"a", "b"}
    with pytest.raises(ValueError, match="non-negative"):
        source.getrandbits(-1)


def test_there_is_no_state() -> None:
    """Nothing to seed, save or restore."""
    source = SystemEntropy()
    source.seed(1)
    with pytest.raises(NotImplementedError):
        source.getstate()
    with pytest.raises(NotImplementedError):
        source.setstate(())
    assert os.urandom(8) != source.randbytes(8)
