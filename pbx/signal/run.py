"""The signal role: composes engine, endpoint, call control, log and media link, and runs them.

Start: bring the configuration database level, fold bindings, close calls that an earlier run left
open, open the listeners, report ``ready`` once the media service answers. Stop (SIGTERM): refuse
new work, end calls, write what is queued, close.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
from collections.abc import Callable, Coroutine, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final
from zoneinfo import ZoneInfo

from pbx.addresses import own_hosts
from pbx.calls.media import NgMedia, NoMedia
from pbx.calls.node import SignalNode
from pbx.calls.peers import PeerTable
from pbx.calls.ports import MediaPort
from pbx.calls.services import PlainFacts
from pbx.calls.stored_directory import StoredDirectory, StoredRulebook
from pbx.calls.subscriptions import MESSAGE_SUMMARY
from pbx.configdb import ConfigDb, ConfigUnavailable, Noted, open_config
from pbx.eventlog import EmbeddedLog, LogUnavailable, LogWriter, Position, Record, open_log
from pbx.helper.program import HelperProgram
from pbx.kernel.clock import SystemClock
from pbx.kernel.entropy import SystemEntropy
from pbx.roles import Fatal, RoleContext
from pbx.script.runtime.node import TaskNode
from pbx.settings import Listener, host_port, parse_host_port
from pbx.signal.consult import Consultants
from pbx.signal.effects import Effects
from pbx.signal.followers import ConfigFollower, NodeFollower
from pbx.signal.from_settings import call_config, endpoint_limits, engine_config, tls_contexts
from pbx.signal.mail import SignalMail
from pbx.signal.media_link import MediaLink, open_udp, open_unix
from pbx.signal.peers import Peers
from pbx.signal.programs import ProgramParts
from pbx.signal.restore import restore
from pbx.signal.secrets import RemoteSecrets
from pbx.trunks.trunks import Trunks
from pbx.voice.compose import Voice, compose
from pbx.voice.control import task_ids
from sip.endpoint import Resolver, SipEndpoint
from sip.engine import SipEngine
from sip.events import Event

log = logging.getLogger("pbx.signal")

#: How long to wait for the media service before saying ready without it: calls then get 503
#: until it is back, registrations work.
_MEDIA_WAIT_S: Final = 5.0
_BYE_PATIENCE_S: Final = 4.0
_STEP_S: Final = 0.02
_BESIDE: Final = 8
"""Threads for what programs wait for: HTTP, DNS, changes of settings."""


def run(context: RoleContext) -> int:
    """Be the signal role until SIGTERM."""
    with asyncio.Runner() as runner:
        return runner.run(_Signal(context).main())


def deliver(node: SignalNode, events: Iterable[Event], now: float) -> None:
    """Hand events to call control one by one.

    A defect that one message reaches costs its call or request, not what came behind it.
    """
    for event in events:
        try:
            node.on_events([event], now)
        except Exception:
            log.exception("%s could not be handled", type(event).__name__)
            try:
                node.abandon(event, now)
            except Exception:
                log.exception("nor could its call be ended")


class _Signal:
    """Everything of one run."""

    def __init__(self, context: RoleContext) -> None:
        self._context = context
        self._settings = context.settings
        self._clock = SystemClock()
        self._rng = SystemEntropy()
        self._link: MediaLink | None = None
        self._peers: Peers | None = None
        self._voice: Voice | None = None
        self._parts: ProgramParts | None = None
        self._beside = ThreadPoolExecutor(_BESIDE, "programs")
        self._secrets: RemoteSecrets | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0

    async def main(self) -> int:
        """Start, run, stop."""
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        event_log = self._open_log()
        try:
            eventlog = self._settings.eventlog
            writer = self._writer = LogWriter(
                event_log,
                notify=self._notify(loop),
                # The rest of the promised time is for the commit itself.
                group_s=0.8 * eventlog.commit_ms / 1000,
                bound=eventlog.backlog,
            )
            config = self._open_config()
            position = config.advance(event_log)
            if event_log.codec.keys_are_remote:
                self._secrets = RemoteSecrets(event_log.codec, loop)
            directory = StoredDirectory(
                config.reader(),
                event_log.codec.decode,
                ask_password=None if self._secrets is None else self._secrets.ask,
                cached=self._settings.limits.cached_names,
            )
            peers = PeerTable()
            self.engine = SipEngine(engine_config(self._settings, peers), self._rng)
            mail = SignalMail(event_log, self._context.data.path, self._clock, self._notify(loop))
            self.node = SignalNode(
                self.engine,
                self._media(),
                writer,
                self._clock,
                self._rng,
                call_config(self._settings),
                directory=directory,
                rulebook=StoredRulebook(directory),
                peers=peers,
                messages=mail,
            )
            mail.waiting.changed = self._messages_changed
            self.node.read_stream = event_log.read_stream
            clustered = self._settings.cluster.link != "off"
            self.trunks = Trunks(self.node, clustered=clustered)
            self.node.use_trunks(self.trunks)
            with contextlib.closing(config.reader()) as reader:
                noted = {what: reader.noted(what) for what in Noted}
            restore(
                event_log,
                self._context.data.path,
                self.node,
                clustered=clustered,
                configured=position,
                trunk_streams=noted[Noted.TRUNKS],
            )
            self.endpoint = self._endpoint()
            effects = self.node.services.effects = Effects(self._settings.limits.rule_urls)
            zone = ZoneInfo(self._settings.server.time_zone)
            self.node.services.account_facts = PlainFacts(zone)
            self._compose_voice(event_log, mail, noted)
            consultants = self.node.consult.port = self._consultants()
            writer.start()
            mail.worker.start()
            try:
                listeners = self._listen()
                directory.set_own_hosts(own_hosts(self._settings))
                await self._media_ready()
                self.node.start(
                    _version(),
                    os.getpid(),
                    listeners,
                    self._clock.monotonic(),
                    link=await self._link_up(),
                    advertised=self._settings.server.advertised,
                )
                loop.add_signal_handler(signal.SIGHUP, self.endpoint.reload_tls)
                _settle_collector()
                if self._parts is not None and self._voice is not None:
                    host = self._voice.host
                    await self._parts.serve(
                        self._settings.server.node, lambda: host.wake(self.node.now())
                    )
                self._context.ready()
                async with asyncio.TaskGroup() as tasks:
                    followers = [
                        tasks.create_task(followed)
                        for followed in self._followed(event_log, config, mail, position)
                    ]
                    await stop.wait()
                    await self._stop()
                    for follower in followers:
                        follower.cancel()
            finally:
                if self._parts is not None:
                    await self._parts.aclose()
                if self._peers is not None:
                    await self._peers.aclose()
                await effects.aclose()
                await consultants.aclose()
                await self.endpoint.aclose()
                if self._link is not None:
                    self._link.close()
                self._beside.shutdown(wait=False, cancel_futures=True)
                mail.worker.stop()
                if self._secrets is not None:
                    self._secrets.close()
                writer.stop()
        finally:
            event_log.close()
        return 0

    # Parts.

    def _consultants(self) -> Consultants:
        """Whom call control asks; the external program is started, if there is one."""
        helper = self._settings.helper
        monotonic = self._clock.monotonic
        program = None
        if helper.program:
            program = HelperProgram(
                helper.program,
                self._context.data.path,
                timeout_s=helper.timeout_s,
                restart_s=helper.restart_s,
                monotonic=monotonic,
            )
            program.start()
        return Consultants(program, self._settings.sip.enum_zones, monotonic, self._acted)

    def _open_log(self) -> EmbeddedLog:
        try:
            return open_log(
                self._context.data.path,
                node=self._settings.server.node,
                seal_personal=self._settings.privacy.seal_calls,
            )
        except LogUnavailable as error:
            raise Fatal(str(error)) from error

    def _open_config(self) -> ConfigDb:
        try:
            return open_config(self._context.data.path)
        except ConfigUnavailable as error:
            raise Fatal(str(error)) from error

    def _notify(self, loop: asyncio.AbstractEventLoop) -> Callable[[Callable[[], None]], object]:
        """Completions of the log run on the loop and what they cause goes out at once."""

        def completed(function: Callable[[], None]) -> None:
            function()
            self._acted()

        return lambda function: loop.call_soon_threadsafe(completed, function)

    def _media(self) -> MediaPort:
        settings = self._settings
        engine = settings.media.engine
        if engine == "off":
            return NoMedia()
        data = self._context.data
        epoch = f"{self._clock.wall_ns():x}"

        def make(send: Callable[[bytes], None]) -> NgMedia:
            return NgMedia(
                engine,
                f"{self._rng.getrandbits(40):x}_",
                send,
                node=settings.server.node if engine == "local" else "",
                epoch=epoch,
                on_timeout=lambda session, now: self.node.on_media_timeout(session, now),
                on_restarted=lambda now: self.node.on_media_restarted(now),
                on_sound=self._on_sound,
            )

        if engine == "local":
            own = data.run / "signal.sock"
            link = MediaLink(
                open_unix(own, data.media_socket), make, self._clock.monotonic, self._acted, own
            )
        else:
            host, port = parse_host_port(engine.removeprefix("ng:"))
            link = MediaLink(open_udp(host, port), make, self._clock.monotonic, self._acted)
        self._link = link
        return link.media

    def _compose_voice(
        self, event_log: EmbeddedLog, mail: SignalMail, noted: Mapping[Noted, Iterable[str]]
    ) -> None:
        """Programs for calls, where the media service can play and record."""
        media = self.node.media
        if not isinstance(media, NgMedia):
            return
        data = self._context.data
        parts = self._parts = ProgramParts(
            event_log,
            self._writer,
            self.node.directory,
            self._clock,
            data,
            self._offload,
            menu_choices=self._settings.privacy.menu_choices,
            file_streams=noted[Noted.FILES],
        )
        self._voice = compose(
            self.node,
            media,
            event_log.read_stream,
            entropy=self._rng,
            sounds=data.sounds,
            recordings=data.recordings,
            event_log=event_log,
            offload=self._offload,
            reach=self._settings.limits.rule_urls,
            version=_version(),
            files=parts.files,
            observer=parts.observer,
            providers=[
                mail.provider(self.node.directory, self._tasks, self._wake_tasks),
                *parts.providers,
            ],
            story=parts.story,
            new_id=task_ids(self._settings.server.node, self._rng.getrandbits),
        )
        self._voice.load(event_log, noted[Noted.MEETINGS])
        parts.bind(self._voice.host.tasks, self._voice.book.of)

    def _tasks(self) -> TaskNode:
        assert self._voice is not None  # only its tasks ask
        return self._voice.host.tasks

    def _wake_tasks(self) -> None:
        if self._voice is not None:
            self._voice.host.wake(self.node.now())

    def _offload(self, work: Callable[[], Any], done: Callable[[Any], None]) -> None:
        """What programs wait for, beside the loop; more than the threads take waits its turn."""
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(self._beside, work)

        def finished(future: asyncio.Future[Any]) -> None:
            if future.cancelled():
                return
            error = future.exception()
            done(future.result() if error is None else error)
            self._wake_tasks()  # the one that asked has its turn
            self._acted()

        future.add_done_callback(finished)

    def _on_sound(self, event: Mapping[str, Any], now: float) -> None:
        if self._voice is not None:
            self._voice.host.on_sound(event, now)

    def _endpoint(self) -> SipEndpoint:
        settings = self._settings
        tls = None
        if any(listener.transport == "tls" for listener in settings.sip.listen):
            tls = tls_contexts(settings, self._context.data.path)
        return SipEndpoint(
            self.engine,
            self._on_events,
            Resolver(self._rng),
            monotonic=self._clock.monotonic,
            limits=endpoint_limits(settings),
            tls=tls,
        )

    def _listen(self) -> tuple[str, ...]:
        opened = []
        adders = {
            "udp": self.endpoint.add_udp,
            "tcp": self.endpoint.add_tcp,
            "tls": self.endpoint.add_tls,
        }
        for wanted in self._settings.sip.listen:
            try:
                host, port = adders[wanted.transport](wanted.host, wanted.port)
            except OSError as error:
                raise Fatal(
                    f"cannot listen on {wanted}: {error.strerror or error}; stop what uses it or "
                    "name another with --sip HOST:PORT/transport"
                ) from error
            listener = Listener(wanted.transport, host, port)
            self._context.listening(listener)
            opened.append(str(listener))
        return tuple(opened)

    async def _media_ready(self) -> None:
        link = self._link
        if link is None:
            return
        link.start()
        for _ in range(int(_MEDIA_WAIT_S / _STEP_S)):
            if link.media.answered:
                return
            await asyncio.sleep(_STEP_S)
        log.warning("the media service does not answer yet: calls get 503 until it does")

    # Running.

    def _on_events(self, events: list[Event], now: float) -> None:
        deliver(self.node, events, now)
        self._rearm()

    def _acted(self) -> None:
        """The loop had call control act outside an engine event: send what it left."""
        self.endpoint.flush_now()
        self._rearm()

    def _rearm(self) -> None:
        due = self.node.next_timer()
        if due is None:
            return
        timer = self._timer
        if timer is not None:
            if self._timer_at <= due:
                return
            timer.cancel()
        self._timer_at = due
        delay_s = max(0.0, due - self._clock.monotonic())
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._fire)

    def _fire(self) -> None:
        self._timer = None
        try:
            self.node.handle_timers(self._clock.monotonic())
        finally:
            self._acted()  # arms the timer again, whatever a callback did

    def _followed(
        self, event_log: EmbeddedLog, config: ConfigDb, mail: SignalMail, position: Position
    ) -> list[Coroutine[Any, Any, None]]:
        """What goes on beside calls, from a position of the log on."""
        consumers: list[Callable[[Record], None]] = []
        if self._voice is not None:
            consumers.append(self._voice.apply)
        if self._parts is not None:
            consumers.append(self._parts.apply)
        configuration = ConfigFollower(
            event_log,
            config,
            self.node,
            self._context.data.applied,
            self._clock.monotonic,
            consumers=consumers,
            acted=self._acted,
        )
        nodes = NodeFollower(event_log, self.node, acted=self._acted)
        followed = [
            configuration.run(position),
            nodes.run(position, "pbx.nodes"),
            mail.follow(position, self._acted),
        ]
        if self._peers is not None:
            followed.append(nodes.run(position, "pbx.bindings"))
        return followed

    def _messages_changed(self, account: str) -> None:
        self.node.subscriptions.changed(MESSAGE_SUMMARY, account, self._clock.monotonic())

    async def _link_up(self) -> str:
        """Take connections of other nodes; gives the address they find us at."""
        cluster = self._settings.cluster
        if cluster.link == "off":
            return ""
        if not cluster.secret:
            raise Fatal(
                "cluster.link is set and cluster.secret is not: give all nodes the same secret of "
                "16 characters or more, for example in RINGLOG_CLUSTER__SECRET"
            )
        self._peers = Peers(
            self._settings.server.node, cluster.secret.encode(), self.node.peers, self.endpoint
        )
        try:
            host, port = await self._peers.listen(*parse_host_port(cluster.link))
        except OSError as error:
            raise Fatal(f"cluster.link {cluster.link}: {error.strerror or error}") from error
        self.endpoint.peers = self._peers
        self.trunks.lost_nodes = self._peers.unreachable
        return host_port(host, port)

    async def _stop(self) -> None:
        """End every call; bounded by the supervisor's patience."""
        stopped = asyncio.Event()
        self.node.stop(self._clock.monotonic(), stopped.set)
        self._acted()
        patience_s = self._settings.server.stop_s * 0.8
        try:
            async with asyncio.timeout(patience_s):
                await stopped.wait()
        except TimeoutError:
            log.warning("some calls could not be ended in time")
        # A dialog lives on until its BYE is answered, a registration with a provider until that
        # has let us go: give both their first retransmissions.
        for _ in range(int(min(patience_s, _BYE_PATIENCE_S) / _STEP_S)):
            leaving = self.trunks.statistics()["trunks_leaving"]
            if not leaving and not self.engine.statistics()["dialogs"]:
                break
            await asyncio.sleep(_STEP_S)


def _settle_collector() -> None:
    """Calls leave no reference cycles, so the cyclic collector finds nothing to do: it may look
    seldom, and never again at what was loaded at start. At the default thresholds it costs a
    fifth of a busy role's CPU.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def _version() -> str:
    try:
        return version("ringlog")
    except PackageNotFoundError:
        return "0"
