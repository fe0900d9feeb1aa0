"""The API in this process: its application over a log, and clients with and without tokens."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count

from starlette.routing import BaseRoute
from starlette.testclient import TestClient

from pbx.commands import Administration
from pbx.eventlog import MemoryLog
from pbx.eventlog.watch import FeedWatch
from pbx.kernel.errors import DomainError
from pbx.settings import LimitSettings, WebSettings
from pbx.tokens import TokenDirectory, create_token, revoke_token
from pbx.web.app import make_app
from pbx.web.services import Services

SECOND = 1_000_000_000


def bare(token: str) -> str:
    """A token without the mark that tells histories apart: the number of its record."""
    return token.partition("-")[0]


class LabClock:
    """Time that stands still until a test moves it."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s

    def wall_ns(self) -> int:
        return int(self.now_s * SECOND)


class LabWatch(FeedWatch):
    """Waits without waiting: each time a reader is level, the next thing happens.

    With nothing left to happen, time passes instead (the clock jumps to the end of the wait). A
    test that wants the real thing leaves :attr:`script` None.
    """

    MOST_WAITS = 1000

    def __init__(self, log: MemoryLog, clock: LabClock) -> None:
        super().__init__(log, poll_s=0.001)
        self._lab_log = log
        self._clock = clock
        self._waits = 0
        self.script: deque[Callable[[], object]] | None = None

    async def wait_beyond(self, seen: str, timeout_s: float) -> bool:
        if self.script is None:
            return await super().wait_beyond(seen, timeout_s)
        self._waits += 1
        assert self._waits < self.MOST_WAITS, "this stream never ends"
        if self.script:
            self.script.popleft()()
        else:
            self._clock.now_s += timeout_s
        return self._lab_log.feed_head() != seen


class WebLab:
    """A log, its tokens, and the application; a context manager."""

    def __init__(
        self,
        log: MemoryLog | None = None,
        *,
        settings: WebSettings | None = None,
        limits: LimitSettings | None = None,
        routes: Sequence[BaseRoute] = (),
    ) -> None:
        self.log = log or MemoryLog()
        self.clock = LabClock()
        self.watch = LabWatch(self.log, self.clock)
        self._bytes = count(1)
        self._executor = ThreadPoolExecutor(2)
        self.services = Services(
            log=self.log,
            tokens=TokenDirectory(self.log),
            watch=self.watch,
            clock=self.clock,
            executor=self._executor,
            settings=settings or WebSettings(),
            limits=limits or LimitSettings(),
        )
        self.app = make_app(self.services, routes)

    def token(self, *scopes: str, domain: str = "", expires_ns: int = 0, name: str = "test") -> str:
        """The text of a new token, `events:read` unless scopes are named."""
        if domain:
            self.domain(domain)
        return create_token(
            self.log,
            actor="test",
            name=name,
            scopes=scopes or ("events:read",),
            domain=domain,
            expires_ns=expires_ns,
            now_ns=self.clock.wall_ns(),
            random=lambda length: next(self._bytes).to_bytes(length, "big"),
        ).text

    def when_level(self, *things: Callable[[], object]) -> None:
        """What happens, one each time that a reader has read all there is."""
        self.watch.script = deque(things)

    def domain(self, name: str) -> None:
        """Make sure that a domain exists."""
        try:
            Administration(self.log, actor="test").create_domain(name)
        except DomainError:
            pass  # it does

    def revoke(self, text: str) -> None:
        """Close a token."""
        revoke_token(self.log, text.split("_")[1], actor="test", erase=lambda subject: None)

    @contextmanager
    def client(self, token: str | None = None) -> Iterator[TestClient]:
        """A client that shows `token`; one of its own if None, none if empty."""
        text = self.token() if token is None else token
        headers = {"Authorization": f"Bearer {text}"} if text else {}
        with TestClient(self.app, headers=headers, raise_server_exceptions=False) as client:
            yield client

    def close(self) -> None:
        """Release the threads."""
        self._executor.shutdown()
