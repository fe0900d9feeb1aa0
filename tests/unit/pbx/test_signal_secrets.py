"""Secrets that are opened on a thread, for a loop that must not wait."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import cast

import pytest

from pbx.domain.accounts import AccountPasswordSet
from pbx.eventlog import Codec, LogUnavailable
from pbx.kernel.events import Event
from pbx.signal import secrets as module
from pbx.signal.secrets import RemoteSecrets

EVENT = AccountPasswordSet(realm="x.un", ha1_md5="a", ha1_sha256="b")


class SlowCodec:
    """A codec whose keys are far away."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.away = False
        self.reached = False
        self.threads: set[str] = set()

    def reach_keys(self) -> None:
        self.reached = True

    def decode(self, stream: str, type_name: str, data: bytes) -> Event:
        self.threads.add(threading.current_thread().name)
        assert self.go.wait(10)
        if self.away:
            raise LogUnavailable("sealing keys in PostgreSQL: no route")
        return EVENT


def test_the_loop_goes_on_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 2)
    codec = SlowCodec()

    async def asked() -> list[Event | None]:
        secrets = RemoteSecrets(cast(Codec, codec), asyncio.get_running_loop())
        answers: list[Event | None] = []
        one_here, all_here = asyncio.Event(), asyncio.Event()

        def done(event: Event | None) -> None:
            answers.append(event)
            one_here.set()
            if len(answers) == 3:
                all_here.set()

        for _ in range(3):
            secrets.ask("account/al@x.un", "t", b"", done)
        await one_here.wait()  # the third is more than may wait
        assert codec.reached, "before anything was asked"
        assert answers == [None]
        codec.go.set()
        await all_here.wait()
        secrets.close()
        return answers

    assert asyncio.run(asked()) == [None, EVENT, EVENT]
    assert threading.current_thread().name not in codec.threads


def test_while_the_keys_are_away_it_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    codec = SlowCodec()
    codec.go.set()

    async def asked() -> list[Event | None]:
        secrets = RemoteSecrets(cast(Codec, codec), asyncio.get_running_loop())
        answers: list[Event | None] = []
        came = asyncio.Event()

        def done(event: Event | None) -> None:
            answers.append(event)
            came.set()

        for codec.away in (True, True, False):
            came.clear()
            secrets.ask("s", "t", b"", done)
            await came.wait()
        secrets.close()
        return answers

    with caplog.at_level(logging.ERROR, "pbx.signal"):
        assert asyncio.run(asked()) == [None, None, EVENT]
    assert len(caplog.records) == 1
    assert "cannot log in" in caplog.text
