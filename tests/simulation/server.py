"""The signalling server inside the simulation: engine, call control, log and media client.

A :class:`ServerHost` is the machine: it owns what survives a crash (the log, the address) and
starts, kills and restarts the process (:class:`ServerProcess`), which is the same composition as
the signal role's, with the fake network in place of sockets and one scheduler in place of the
event loop.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

from pbx.calls.config import CallConfig
from pbx.calls.media import NgMedia, NoMedia
from pbx.calls.node import SignalNode
from pbx.calls.stored_directory import StoredDirectory, StoredRulebook
from pbx.configdb import ConfigDb, Noted
from pbx.eventlog import MemoryLog, Record
from pbx.script.environment import Level
from pbx.script.offline.files import OfflineFiles, wav_milliseconds
from pbx.script.offline.run import stock_directory
from pbx.script.runtime.node import TaskNode
from pbx.script.runtime.task import Task
from pbx.signal.restore import restore
from pbx.trunks.trunks import Trunks
from pbx.voice.compose import Voice, compose
from pbx.voice.observer import EventObserver
from sip.core import CloseFlow, EngineConfig, Resolve, Transmit
from sip.engine import SipEngine
from sip.flow import Flow, Target
from tests.simulation import programs
from tests.simulation.mail import Kept, MailMachine, ProcessMail
from tests.simulation.media import MediaHost
from tests.support.clock import Scheduler, Timer
from tests.support.network import Address, FakeNetwork, Stream
from tests.support.sim_log import SimulatedLogWriter

NEVER = float("inf")

#: Short enough that every call of some minutes lives through several refreshes (RFC 4028).
SESSION_EXPIRES_S = 120
#: Calls ring so long in the simulation.
NO_ANSWER_S = 30.0
#: Names the server keeps in memory.
CACHED = 8


class NamedSounds:
    """Every sound is a second of the stock silence: what is said matters to nobody here."""

    def name_of(self, data: bytes) -> str:
        return "blank"


class KeptRecordings:
    """Those of the media service; what a program should be given is noted for the judge."""

    def __init__(self, process: ServerProcess, machine: MailMachine) -> None:
        self._process = process
        self._machine = machine
        self._tasks: dict[str, Task] = {}

    def file_of(self, name: str) -> str:
        if self._process.voice is not None:
            self._tasks[name] = self._process.voice.host.recordings_by_name[name].task
        return self._machine.recordings.file_of(name)

    def take(self, name: str) -> bytes | None:
        data = self._machine.recordings.take(name)
        task = self._tasks.pop(name, None)
        if data is not None and task is not None:
            self._machine.kept.append(
                Kept(
                    task.task_id,
                    task.program_name,
                    task.account or "",
                    wav_milliseconds(data),
                    self._process.now,
                )
            )
        return data


class ServerProcess:
    """One life of the server, from start to crash or stop."""

    def __init__(self, host: ServerHost, rng: Random) -> None:
        self._host = host
        self._network = host.network
        self._scheduler = host.scheduler
        self._clock = host.scheduler.clock
        self._flows: dict[Flow, Stream] = {}
        self._armed = NEVER
        self._timer: Timer | None = None
        self._pumping = False
        self.alive = True
        self.engine = SipEngine(
            EngineConfig(session_expires_s=SESSION_EXPIRES_S, keepalive_s=120.0), rng
        )
        self.engine.add_listener("udp", host.address)
        self.engine.add_listener("tcp", host.address)
        self.log = SimulatedLogWriter(
            host.log, self._clock, self._scheduler.at, decide_s=host.decide_s
        )
        self.ng: NgMedia | None = None
        media: NgMedia | NoMedia = NoMedia()
        if host.media is not None:
            self.ng = media = NgMedia(
                "ng",
                f"{rng.getrandbits(32):x}",
                self._send_ng,
                node="sim",
                epoch=f"{rng.getrandbits(32):x}",
                on_timeout=self._media_timeout,
                on_sound=self._on_sound,
            )
        # A cache too small for the accounts of a run: what is forgotten is looked up again.
        self._position = host.config.advance(host.log)
        directory = StoredDirectory(host.config.reader(), host.log.codec.decode, cached=CACHED)
        self.mail: ProcessMail | None = None
        if host.programs and self.ng is not None:
            self.mail = ProcessMail(
                host.mail,
                host.scheduler,
                host.log,
                healthy=lambda: self.log.healthy,
                acted=self.pump,
            )
        self.node = SignalNode(
            self.engine,
            media,
            self.log,
            self._clock,
            rng,
            CallConfig(
                node="sim",
                no_answer_s=NO_ANSWER_S,
                register_expires_s=600,
                digest_algorithms=("SHA-256", "MD5"),
                requests_per_s=1e6,
                requests_burst=1_000_000,
            ),
            directory=directory,
            rulebook=StoredRulebook(directory),
            nonce_secret=host.nonce_secret,
            messages=self.mail,
        )
        self.trunks = Trunks(self.node)
        self.node.use_trunks(self.trunks)
        self.voice: Voice | None = None
        if self.mail is not None and self.ng is not None:
            observer = EventObserver(self.log, self._clock)
            self.voice = compose(
                self.node,
                self.ng,
                host.log.read_stream,
                entropy=rng,
                sounds=NamedSounds(),
                recordings=KeptRecordings(self, host.mail),
                files=OfflineFiles({Level.STOCK: stock_directory()}, extra=programs.FILES),
                observer=observer,
                providers=[self.mail.provide(directory, self._tasks, self._wake_tasks)],
                story=lambda call: observer.of_call(call.journal),
            )

    @property
    def now(self) -> float:
        return self._clock.now

    def _tasks(self) -> TaskNode:
        assert self.voice is not None  # only its tasks ask
        return self.voice.host.tasks

    def _wake_tasks(self) -> None:
        if self.voice is not None and self.alive:
            self.voice.host.wake(self._clock.now)

    def configured(self, record: Record) -> None:
        """An administrator changed something: what the signal role does that follows the log."""
        self._host.config.advance(self._host.log)
        self.node.apply(record)
        if self.voice is not None:
            self.voice.apply(record)

    def start(self) -> None:
        """Fold the log, end the calls of the life before, open for business."""
        now = self._clock.now
        with contextlib.closing(self._host.config.reader()) as reader:
            noted = {what: reader.noted(what) for what in Noted}
        restore(
            self._host.log,
            Path(),
            self.node,
            configured=self._position,
            trunk_streams=noted[Noted.TRUNKS],
        )
        if self.voice is not None:
            self.voice.load(self._host.log, noted[Noted.MEETINGS])
        if self.mail is not None:
            self.mail.start()
        self.node.start("simulated", 1, ("udp:sim",), now)
        if self.ng is not None:
            self.ng.start(now)
        self._network.attach(self._host.address, self._datagram, corruptible=True)
        self._network.listen(self._host.address, self)
        self._pump()

    def kill(self) -> None:
        """kill -9: nothing is sent, what was not durable is gone."""
        self.alive = False
        self.log.crash()
        if self.mail is not None:
            self.mail.kill()
        self._network.detach(self._host.address)
        self._network.unlisten(self._host.address)
        self._scheduler.cancel(self._timer)
        for stream in self._flows.values():
            stream.close()
        self._flows.clear()

    def stop(self) -> bool:
        """Orderly end; True when the node said at once that nothing is left."""
        stopped: list[bool] = []
        self.node.stop(self._clock.now, lambda: stopped.append(True))
        self._pump()
        self.log.flush()
        return bool(stopped)

    # -- in ----------------------------------------------------------------------------------

    def _datagram(self, data: bytes, source: Address, destination: Address) -> None:
        self.engine.receive_datagram(data, Flow("udp", destination, source), self._clock.now)
        self._pump()

    def stream_opened(self, stream: Stream) -> None:
        flow = Flow("tcp", stream.local, stream.remote, stream.id)
        self._flows[flow] = stream
        self.engine.flow_opened(flow, self._clock.now)
        self._pump()

    def stream_data(self, stream: Stream, data: bytes) -> None:
        flow = Flow("tcp", stream.local, stream.remote, stream.id)
        if flow in self._flows:
            self.engine.receive_stream(flow, data, self._clock.now)
            self._pump()

    def stream_closed(self, stream: Stream) -> None:
        flow = Flow("tcp", stream.local, stream.remote, stream.id)
        if self._flows.pop(flow, None) is not None:
            self.engine.flow_closed(flow, self._clock.now)
            self._pump()

    def receive_ng(self, datagram: bytes) -> None:
        """A reply or event of the media service."""
        if self.alive and self.ng is not None:
            self.ng.receive(datagram, self._clock.now)
            self._pump()

    def _on_sound(self, event: Mapping[str, Any], now: float) -> None:
        if self.voice is not None:
            self.voice.host.on_sound(event, now)

    def _media_timeout(self, session: str, now: float) -> None:
        self.node.on_media_timeout(session, now)

    def _fire(self) -> None:
        self._armed = NEVER
        self._timer = None
        now = self._clock.now
        self.engine.handle_timers(now)
        self.node.handle_timers(now)
        if self.ng is not None:
            self.ng.handle_timers(now)
        self._pump()

    # -- out ---------------------------------------------------------------------------------

    def pump(self) -> None:
        """After completions of the log, which may have made the engine speak."""
        if self.alive:
            self._pump()

    def _pump(self) -> None:
        if self._pumping:
            return
        self._pumping = True
        engine, now = self.engine, self._clock.now
        while True:
            events = engine.events()
            if events:
                self.node.on_events(events, now)
            outputs = engine.outputs()
            for output in outputs:
                if type(output) is Transmit:
                    self._transmit(output)
                elif type(output) is Resolve:
                    self._resolve(output)
                elif type(output) is CloseFlow:
                    stream = self._flows.pop(output.flow, None)
                    if stream is not None:
                        stream.close()
            if not events and not outputs:
                break
        self._pumping = False
        self._arm()

    def _transmit(self, output: Transmit) -> None:
        to = output.to
        if to.transport == "udp":
            assert isinstance(to, Flow)
            self._network.send(output.data, to.local, to.remote)
            return
        stream = None
        if isinstance(to, Flow):
            stream = self._flows.get(to)
        elif to.flow is not None:
            stream = self._flows.get(to.flow)
        if stream is None or not stream.open:
            # Phones behind streams take no connections: the binding died with its flow.
            self.engine.transport_failed(to, output.token, self._clock.now)
        else:
            stream.send(output.data)

    def _resolve(self, query: Resolve) -> None:
        """Numeric hosts only: there is no DNS in the simulation."""
        rest = query.uri.partition(":")[2].partition(";")[0].rpartition("@")[2]
        host, _, port = rest.partition(":")
        transport = "tcp" if "transport=tcp" in query.uri else "udp"
        targets: list[Target] = []
        if host.replace(".", "").isdigit():
            targets = [Target(transport, host, int(port) if port else 5060)]
        self.engine.resolved(query.query, targets, self._clock.now)

    def _send_ng(self, datagram: bytes) -> None:
        media = self._host.media
        if media is not None and self.alive:
            media.request(datagram)

    def _arm(self) -> None:
        due = NEVER
        candidates = [self.engine.next_timer(), self.node.next_timer()]
        if self.ng is not None:
            candidates.append(self.ng.next_timer())
        for candidate in candidates:
            if candidate is not None and candidate < due:
                due = candidate
        # An armed timer that fires too early does no harm and costs less than moving it.
        if due < self._armed:
            self._scheduler.cancel(self._timer)
            self._armed = max(due, self._clock.now)
            self._timer = self._scheduler.at(self._armed, self._fire)


class ServerHost:
    """The machine: what outlives the process."""

    def __init__(
        self,
        scheduler: Scheduler,
        network: FakeNetwork,
        log: MemoryLog,
        rng: Random,
        *,
        media: MediaHost | None,
        address: Address = ("10.0.0.1", 5060),
        decide_s: float = 0.002,
        mail: MailMachine | None = None,
    ) -> None:
        """`mail`: applications are run, and have mailboxes; `media` must host parties then."""
        self.programs = mail is not None
        self.mail = mail if mail is not None else MailMachine(Random(0))
        self.scheduler = scheduler
        self.network = network
        self.log = log
        self.media = media
        self.address = address
        self.decide_s = decide_s
        self.config = ConfigDb(None, lambda: log.codec)
        """The file with the configuration: it is as far as the last life brought it."""
        self.nonce_secret = rng.getrandbits(256).to_bytes(32, "big")
        self._rng = rng
        self.process: ServerProcess | None = None
        self.crashes: list[tuple[float, float]] = []
        """(killed, started again)."""
        if media is not None:
            media.client = self._from_media

    def start(self) -> ServerProcess:
        self.network.note_disturbance(self.address[0])
        self.process = ServerProcess(self, Random(self._rng.getrandbits(64)))
        self.process.start()
        return self.process

    def crash(self, down_s: float) -> None:
        """Kill the process now; the supervisor starts it again after `down_s`."""
        if self.process is None:
            return
        self.process.kill()
        self.process = None
        self.network.note_disturbance(self.address[0])
        now = self.scheduler.clock.now
        self.crashes.append((now, now + down_s))
        self.scheduler.after(down_s, self.start)

    def was_down(self, since: float, until: float) -> bool:
        """Did a crash fall into this time (or was it still down)?"""
        return any(killed <= until and started >= since for killed, started in self.crashes)

    def _from_media(self, datagram: bytes) -> None:
        if self.process is not None:
            self.process.receive_ng(datagram)
