"""Small constructors of what tests need often: a network with phones, plans, calls.

Used by the phones' own tests and by :mod:`tests.simulation`.
"""

from __future__ import annotations

from random import Random

from tests.support.clock import Scheduler
from tests.support.fake_phone import FakePhone, Surroundings
from tests.support.network import PERFECT, Address, FakeNetwork, Faults
from tests.support.scenario import CalleeScript, CallerScript, Plan


class PhoneLab:
    """Phones that call each other directly over one fake network: no server at all."""

    def __init__(self, seed: int = 1, faults: Faults = PERFECT) -> None:
        self.rng = Random(seed)
        self.scheduler = Scheduler()
        self.clock = self.scheduler.clock
        self.network = FakeNetwork(self.scheduler, self.rng, faults)
        self.plans: dict[str, Plan] = {}
        self.surroundings = Surroundings(
            network=self.network,
            rng=self.rng,
            find_plan=lambda label, _user: self.plans.get(label),
            in_order=faults.reorder == 0,
        )
        self.phones: dict[str, FakePhone] = {}

    def phone(self, name: str, *, server: Address | None = None) -> FakePhone:
        """A powered phone; its outbound proxy is wherever the other phone is."""
        host = f"10.1.0.{len(self.phones) + 1}"
        phone = FakePhone(
            self.surroundings,
            name,
            host,
            user=name,
            domain="sim.test",
            password=f"secret-{name}",
            server=server or ("10.0.0.1", 5060),
        )
        self.phones[name] = self.surroundings.phones[name] = phone
        phone.power_on()
        return phone

    def call(
        self,
        caller: FakePhone,
        callee: FakePhone,
        caller_script: CallerScript | None = None,
        callee_script: CalleeScript | None = None,
    ) -> Plan:
        """Plan one call between two phones and start it now."""
        plan = Plan(
            number=len(self.plans) + 1,
            scenario="direct",
            caller=caller.name,
            callee=callee.user,
            caller_script=caller_script or CallerScript(),
            callee_scripts={callee.name: callee_script or CalleeScript()},
            started_at=self.clock.now,
        )
        self.plans[plan.label] = plan
        caller.server, callee.server = callee.address, caller.address
        caller.invite(plan, callee.contact.strip("<>"), plan.caller_script)
        return plan

    def run(self, seconds: float) -> None:
        self.scheduler.run_until(self.clock.now + seconds)
