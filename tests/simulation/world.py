"""One simulated world: server, media service, log, network, phones, and what happens to them.

Driven by ``tests.simulation.__main__`` and by the tests; everything is drawn from one seed, so
the same :class:`Options` give the same history to the byte (``World.network.digest``).
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import md5, sha256
from random import Random

from mail.compose import Part, compose
from media import wav
from pbx.domain.accounts import (
    AccountAliasesSet,
    AccountCreated,
    AccountPasswordSet,
    DomainCreated,
)
from pbx.domain.objects import GroupCreated, GroupDeleted, GroupSet
from pbx.domain.rules import RulesChanged, stored
from pbx.domain.setting_events import AccountRightsSet
from pbx.eventlog import ANY_VERSION, MemoryLog, Meta
from pbx.kernel.events import Event
from pbx.mailboxes.store import MailStore
from pbx.rules import parse_rules
from tests.simulation import programs, scenarios
from tests.simulation.mail import MailMachine
from tests.simulation.media import MediaHost
from tests.simulation.provider import Providers
from tests.simulation.readmodel import LiveReadModel
from tests.simulation.scenarios import Account, Cast, Scenario
from tests.simulation.server import ServerHost
from tests.support.clock import Scheduler
from tests.support.fake_phone import FakePhone, PhoneCall, Surroundings
from tests.support.network import AWFUL, PERFECT, ROUGH, FakeNetwork, Faults
from tests.support.scenario import Plan

DOMAIN = "sim.test"
#: Calls start when every phone has had time to register.
FIRST_CALL_S = 15.0
#: An account rests so long after its call before it takes part in another one.
LINGER_S = 4.0
#: The network changes its mood so often.
WEATHER_S = 45.0
#: The projector looks at the log so often.
PROJECT_S = 20.0
#: After the last call everything must have ended by itself within this time.
PATIENCE_S = 1500.0
#: RFC 3261: 64*T1 for the last transactions, twice (a BYE after an ACK that never came).
SETTLE_S = 80.0

WEATHER: tuple[Faults, ...] = (
    PERFECT,
    ROUGH,
    ROUGH,
    Faults(loss=0.01, duplicate=0.01, reorder=0.01, corrupt=0.004),
    AWFUL,
    Faults(delay_s=0.15, jitter_s=0.05, loss=0.01),
)


@dataclass(frozen=True, slots=True)
class Options:
    """What a run consists of."""

    seed: int
    calls: int = 500
    rate: float = 6.0
    """New calls per second of virtual time."""
    names: tuple[str, ...] = ()
    """Scenarios to draw from; empty: all."""
    faults: bool = True
    """Bad weather, partitions, crashes of the server, a full disk now and then."""
    media: bool = True
    singles: int = 320
    """Accounts with one phone."""
    triples: int = 24
    """Accounts with three phones."""
    providers: int = 0
    """Providers that the server registers with all the time."""
    plant: str = ""
    """A bug of :mod:`.planted` that is in the product; only for the command."""
    trace: int = 0
    """Number of the plan whose messages are kept for its ladder; 0: none."""

    @property
    def command(self) -> str:
        """The command that repeats this run."""
        parts = ["python -m tests.simulation", f"--seed {self.seed}", f"--calls {self.calls}"]
        default = Options(self.seed)
        if self.rate != default.rate:
            parts.append(f"--rate {self.rate:g}")
        parts += [f"--scenario {name}" for name in self.names]
        if not self.faults:
            parts.append("--no-faults")
        if not self.media:
            parts.append("--no-media")
        if self.providers:
            parts.append(f"--providers {self.providers}")
        if self.plant:
            parts.append(f"--plant {self.plant}")
        return " ".join(parts)


class World:
    """See the module. Build, :meth:`run`, then let :mod:`.invariants` judge."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.scheduler = Scheduler()
        self.clock = self.scheduler.clock
        self.network = FakeNetwork(self.scheduler, self.stream("network"))
        self.log = MemoryLog(node="sim", clock=self.clock)
        answered = any(name.startswith("program-") for name in options.names)
        self.mail = MailMachine(self.stream("mail")) if answered else None
        """Only where programs answer."""
        self.media = None
        if options.media:
            self.media = MediaHost(
                self.scheduler,
                self.network,
                self.stream("media"),
                recordings=None if self.mail is None else self.mail.recordings,
            )
        self.server = ServerHost(
            self.scheduler,
            self.network,
            self.log,
            self.stream("server"),
            media=self.media,
            mail=self.mail,
        )
        self.surroundings = Surroundings(
            network=self.network,
            rng=self.stream("phones"),
            find_plan=self.find_plan,
            call_over=self._call_over,
            registered=self._registered,
            in_order=not options.faults,
        )
        self.read_model = LiveReadModel(self.log, self.clock)
        self.plans: list[Plan] = []
        self.active: dict[int, Plan] = {}
        self.phones = self.surroundings.phones
        self.by_account: dict[str, list[FakePhone]] = {}
        self.acknowledged: dict[str, float] = {}
        """Phone name -> until when the registrar promised its binding."""
        self.problems: list[str] = []
        """What went wrong on the way (invariants checked at restarts)."""
        self.full_disks: list[tuple[float, float]] = []
        self._labels: dict[str, Plan] = {}
        self._account_plan: dict[str, Plan] = {}
        self._idle: dict[int, list[Account]] = {1: [], 3: []}
        self._rng = self.stream("calls")
        self._fate = self.stream("fate")
        self._cut: set[str] = set()
        """Phones without network."""
        self._started = 0
        self._populate()
        if self.mail is not None:
            self.mail.watched = tuple(f"{user}@{DOMAIN}" for user in self.by_account)
            bodies = self.mail.bodies
            self._open_queue()
            self._clerk = MailStore(self.log, bodies, self.clock, actor="clerk")
        self.providers = self._provide()

    def stream(self, name: str) -> Random:
        """An independent generator: adding draws in one place leaves the others alone."""
        return Random(f"{self.options.seed}/{name}")

    # -- population --------------------------------------------------------------------------

    def _populate(self) -> None:
        self.log.append(f"domain/{DOMAIN}", 0, [DomainCreated(name=DOMAIN)], Meta(actor="sim"))
        rng = self.stream("population")
        number = 0
        for kind, count in ((1, self.options.singles), (3, self.options.triples)):
            for _ in range(count):
                user = f"u{number:03d}"
                number += 1
                password = f"secret-{user}"
                self._create_account(user, password)
                names = tuple(f"{user}{letter}" for letter in "abc"[:kind])
                for index, name in enumerate(names):
                    self._add_phone(name, user, password, number, index, rng)
                self._idle[kind].append(Account(user, names))

    def _open_queue(self) -> None:
        """An account whose calls all wait in one queue, and the group that takes them."""
        self._create_account(programs.QUEUE, "nobody's")
        address = f"passivequeue{{{programs.AGENTS}}}#{programs.QUEUE}@{DOMAIN}"
        rules = [[100005, "queue", [], [["Redirect To", address]]]]
        agents = tuple(user for user in self.by_account if programs.is_agent(user))
        for stream, event in (
            (f"account/{programs.QUEUE}", AccountRightsSet(rights=("Domain",))),
            (f"account/{programs.QUEUE}", RulesChanged(rules=stored(parse_rules(rules)))),
            (f"group/{programs.AGENTS}", GroupCreated(name=programs.AGENTS, domain=DOMAIN)),
            (f"group/{programs.AGENTS}", GroupSet(members=agents)),
        ):
            self._configure(stream, event)

    def _provide(self) -> Providers:
        accounts = [f"u{number:03d}@{DOMAIN}" for number in range(self.options.providers)]
        providers = Providers(self.network, self.server.address, accounts)
        for stream, event in providers.records():
            self.log.append(stream, ANY_VERSION, [event], Meta(actor="sim"))
        return providers

    def _create_account(self, user: str, password: str) -> None:
        secret = f"{user}:{DOMAIN}:{password}".encode()
        self.log.append(
            f"account/{user}@{DOMAIN}",
            0,
            [
                AccountCreated(name=user, domain=DOMAIN),
                AccountPasswordSet(
                    realm=DOMAIN,
                    ha1_md5=md5(secret).hexdigest(),
                    ha1_sha256=sha256(secret).hexdigest(),
                ),
            ],
            Meta(actor="sim"),
        )

    def _add_phone(
        self, name: str, user: str, password: str, number: int, index: int, rng: Random
    ) -> None:
        phone = FakePhone(
            self.surroundings,
            name,
            f"10.{1 + index}.{number // 250}.{number % 250 + 1}",
            user=user,
            domain=DOMAIN,
            password=password,
            server=self.server.address,
            algorithm=rng.choice(("MD5", "SHA-256")),
            transport="tcp" if rng.random() < 0.1 else "udp",
            expires_s=rng.choice((300, 600, 1200)),
        )
        self.phones[name] = phone
        self.by_account.setdefault(user, []).append(phone)
        phone.power_on()
        self.scheduler.at(rng.uniform(0.1, FIRST_CALL_S - 4.0), phone.register)

    # -- life --------------------------------------------------------------------------------

    def run(self) -> None:
        """From power-on to complete silence."""
        # Young objects are looked at seldom, old ones hardly ever: dialogs of phones are cycles,
        # so without any collection 10,000 calls would take 600 MB.
        thresholds = gc.get_threshold()
        gc.collect()
        gc.freeze()
        gc.set_threshold(100_000, 20, 100)
        try:
            self._run()
        finally:
            gc.set_threshold(*thresholds)
            gc.unfreeze()

    def _run(self) -> None:
        options = self.options
        self.server.start()
        self.scheduler.at(FIRST_CALL_S, self._next_call)
        self.scheduler.after(PROJECT_S, self._project)
        if options.faults:
            self._plan_faults(FIRST_CALL_S + options.calls / options.rate)
        limit = FIRST_CALL_S + 4 * options.calls / options.rate + PATIENCE_S
        while self._started < options.calls or self.active:
            self.scheduler.run_until(self.clock.now + 5.0)
            if self.clock.now > limit:
                self.problems.append(
                    f"after {limit:.0f} s {len(self.active)} calls have not ended: "
                    f"{[plan.number for plan in self.active.values()][:10]}"
                )
                break
        self._calm()
        self.scheduler.run_until(self.clock.now + SETTLE_S)
        if self.server.process is None:
            self.scheduler.run_until(self.clock.now + 10.0)
        process = self.server.process
        trunks = None if process is None else process.trunks
        self.problems += self.providers.breaches(trunks)
        if process is not None and trunks is not None:
            trunks.stop(self.clock.now)
            process.pump()
        # What a registrar promised must hold to the end, and end when asked.
        self.check_bindings("at the end")
        for phone in self.phones.values():
            phone.power_on()
            self.scheduler.after(self._fate.uniform(0.0, 5.0), phone.register, 0)
        self.scheduler.run_until(self.clock.now + SETTLE_S)

    def _project(self) -> None:
        self.read_model.catch_up()
        self.scheduler.after(self._fate.uniform(0.1, 2.0) * PROJECT_S, self._project)

    def _calm(self) -> None:
        """Good weather from now on."""
        self.network.faults = PERFECT

    # -- calls -------------------------------------------------------------------------------

    def _next_call(self) -> None:
        if self._started >= self.options.calls:
            return
        self.scheduler.after(self._rng.expovariate(self.options.rate), self._next_call)
        scenario = scenarios.draw(self._rng, self.options.names)
        cast = self._cast(scenario)
        if cast is None:
            return  # everybody is busy: the next tick tries again
        self._started += 1
        plan = scenarios.write(scenario, self._rng, self._started, cast, DOMAIN)
        plan.started_at = self.clock.now
        self.plans.append(plan)
        self.active[plan.number] = plan
        self._labels[plan.label] = plan
        for user in plan.accounts:
            self._account_plan[user] = plan
        for user in plan.accounts:
            for phone in self.by_account[user]:
                if phone.name in self._cut:
                    plan.excused = f"{phone.name} was cut off"
        if plan.number == self.options.trace:
            self.network.trace = []
        self._prepare(plan)
        self.phones[plan.caller].invite(plan, f"sip:{plan.callee}@{DOMAIN}", plan.caller_script)

    def _cast(self, scenario: Scenario) -> Cast | None:
        need = [1, scenario.callee_phones] + [1] * scenario.third
        if any(len(self._idle[kind]) < need.count(kind) for kind in set(need)):
            return None
        return Cast(*(self._take(kind) for kind in need))

    def _take(self, kind: int) -> Account:
        idle = self._idle[kind]
        index = self._rng.randrange(len(idle))
        idle[index], idle[-1] = idle[-1], idle[index]
        return idle.pop()

    def _prepare(self, plan: Plan) -> None:
        """Names, groups and rules that the plan wants."""
        for user, alias in plan.aliases.items():
            self._configure(f"account/{user}", AccountAliasesSet(aliases=(alias,)))
        for name, members in plan.groups.items():
            self._configure(f"group/{name}", GroupCreated(name=name, domain=DOMAIN))
            self._configure(f"group/{name}", GroupSet(members=members))
        for user, rules in plan.rules.items():
            self._configure(f"account/{user}", RulesChanged(rules=stored(parse_rules(rules))))
        for user, count in plan.mail.items():
            for number in range(count):
                self._store_message(f"{user}@{DOMAIN}", f"{plan.number}/{number}")

    def _store_message(self, account: str, token: str) -> None:
        """What ``pbx mailbox store`` does: another process over the same log."""
        assert self.mail is not None  # the scenario is one of programs
        audio = Part(wav.header(8000, 8000) + bytes(8000), "audio", "wav")
        fields = [("From", f"clerk@{DOMAIN}"), ("To", account), ("Subject", token)]
        message = self._clerk.prepare(compose(fields, audio, "b0undary"))
        number = self._clerk.box(account, "INBOX").number
        self._clerk.store(account, number, message, token=token, source="CLI")
        self.mail.told[account].add(token)

    def _clear_up(self, plan: Plan) -> None:
        for user in plan.rules:
            self._configure(f"account/{user}", RulesChanged())
        for name in plan.groups:
            self._configure(f"group/{name}", GroupDeleted(name=name, domain=DOMAIN))
        for user in plan.aliases:
            self._configure(f"account/{user}", AccountAliasesSet())

    def _configure(self, stream: str, event: Event) -> None:
        """What an administrator's command does, and the server that follows the log."""
        position = self.log.append(f"{stream}@{DOMAIN}", ANY_VERSION, [event], Meta(actor="sim"))
        if self.server.process is not None:
            record = self.log.at(position)
            assert record is not None
            self.server.process.configured(record)

    def find_plan(self, label: str, user: str) -> Plan | None:
        """The plan an INVITE for `user` belongs to."""
        plan = self._labels.get(label)
        if plan is not None and user in plan.accounts:
            return plan
        return self._account_plan.get(user)

    def _call_over(self, call: PhoneCall) -> None:
        plan = call.plan
        if plan.number in self.active and _all_over(plan):
            self.scheduler.after(LINGER_S, self._release, plan)

    def _release(self, plan: Plan) -> None:
        if plan.number not in self.active or not _all_over(plan):
            return
        waiting = False
        for user in plan.accounts:
            for phone in self.by_account[user]:
                if not phone.powered:
                    phone.power_on()
                    phone.register()
                waiting = waiting or phone.registered_until <= self.clock.now
        if waiting:
            self.scheduler.after(1.0, self._release, plan)
            return
        del self.active[plan.number]
        self._clear_up(plan)
        for user in plan.accounts:
            names = tuple(phone.name for phone in self.by_account[user])
            self._idle[len(names)].append(Account(user, names))

    # -- registrations -----------------------------------------------------------------------

    def _registered(self, phone: FakePhone, granted_s: float) -> None:
        if granted_s:
            self.acknowledged[phone.name] = self.clock.now + granted_s
        else:
            self.acknowledged.pop(phone.name, None)

    def check_bindings(self, when: str) -> None:
        """Everything a 200 promised is known to the server (also after a crash)."""
        process = self.server.process
        if process is None:
            return
        for name, until in self.acknowledged.items():
            phone = self.phones[name]
            # The 200 needed its time on the way, and so did the clock of the phone.
            if until - self.clock.now < 2.0:
                continue
            known = process.node.locations.contacts(f"{phone.user}@{DOMAIN}")
            if not any(contact.uri == phone.contact.strip("<>") for contact in known):
                self.problems.append(f"{when}: the binding of {name} was acknowledged, but is lost")

    # -- fate --------------------------------------------------------------------------------

    def _plan_faults(self, until: float) -> None:
        fate, at = self._fate, self.scheduler.at
        moment = FIRST_CALL_S
        while moment < until:
            at(moment, self._change_weather, fate.choice(WEATHER))
            moment += fate.uniform(0.5, 1.5) * WEATHER_S
        span = (FIRST_CALL_S + 5.0, until)
        # Programs are to meet a crash at as many of their instructions as possible.
        if self.mail is not None:
            self.mail.crash = lambda: self._crash(fate.uniform(0.1, 5.0))
            self.mail.crashes_left = 1 + self.options.calls // 100
        crashes = 1 + self.options.calls // (2500 if self.mail is None else 150)
        for _ in range(crashes):
            at(fate.uniform(*span), self._crash, fate.uniform(0.1, 5.0))
        for _ in range(1 + self.options.calls // 2500):
            at(fate.uniform(*span), self._fill_disk, fate.uniform(0.5, 4.0))
        names = list(self.phones)
        for _ in range(self.options.calls // 100):
            at(fate.uniform(*span), self._cut_off, fate.choice(names), fate.uniform(1.0, 25.0))

    def _change_weather(self, faults: Faults) -> None:
        self.network.faults = faults

    def _crash(self, down_s: float) -> None:
        if self.server.process is None:
            return
        for plan in self.active.values():
            plan.excused = plan.excused or "the server crashed"
        self.server.crash(down_s)
        self.scheduler.after(down_s + 0.001, self.check_bindings, "after a crash")

    def _fill_disk(self, seconds: float) -> None:
        process = self.server.process
        if process is None:
            return
        process.log.fail("disk full")
        now = self.clock.now
        self.full_disks.append((now, now + seconds))
        self.scheduler.after(seconds, process.log.heal)

    def _cut_off(self, name: str, seconds: float) -> None:
        """A phone loses its network for a while."""
        phone = self.phones[name]
        plan = self._account_plan.get(phone.user)
        if plan is not None and plan.number in self.active:
            plan.excused = plan.excused or f"{name} was cut off"
        self._cut.add(name)
        self.network.partition(phone.host, self.server.address[0])
        self.scheduler.after(seconds, self._reconnect, phone)

    def _reconnect(self, phone: FakePhone) -> None:
        self._cut.discard(phone.name)
        self.network.heal(phone.host, self.server.address[0])
        plan = self._account_plan.get(phone.user)
        if plan is not None and plan.number in self.active:
            plan.excused = plan.excused or f"{phone.name} was cut off"

    # -- for the judge -----------------------------------------------------------------------

    def close(self) -> None:
        """Remove temporary files."""
        self.read_model.close()

    def plan_of_call_id(self) -> dict[str, Plan]:
        """Every Call-ID that a phone saw, and its plan."""
        return {call.call_id: plan for plan in self.plans for call in plan.calls}


def _all_over(plan: Plan) -> bool:
    return all(call.state == "ended" for call in plan.calls)


def simulate(options: Options, prepare: Callable[[World], None] | None = None) -> World:
    """Build a world and run it to its end."""
    world = World(options)
    if prepare is not None:
        prepare(world)
    world.run()
    return world
