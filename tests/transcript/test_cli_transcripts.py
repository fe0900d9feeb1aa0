"""Every ``tests/transcript/cli/*.txt`` is played against a session in memory.

The same files are played over real connections in ``tests/interop/test_cli.py``.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.admin_lab import AdminLab, Peer
from tests.support.cli_client import Reply, read_object
from tests.support.cli_transcript import FILES, play


class InMemory:
    """Says lines to a session; its answers must come whole."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    def command(self, line: str) -> Reply:
        first, *rest = self._peer.say(line)
        code, _, text = first.partition(" ")
        if code == "201":
            assert not rest
            return Reply(201, text, read_object(text), has_value=True)
        if text == "data follow":
            return Reply(int(code), text, read_object("\n".join(rest)), has_value=True)
        assert not rest
        return Reply(int(code), text)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_transcript(path: Path) -> None:
    """What the reference prints comes out as it is printed."""
    play(path, InMemory(AdminLab().open()))
