"""Trunks over real sockets: Kamailio as a provider that demands digest, and another Ringlog.

The examples of the source: a provider with user name ``00000X`` and domain ``voip1.un``, and a
neighbour office behind 000.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.interop.conftest import SETTINGS, PhoneOf
from tests.interop.peers.kamailio import KamailioProvider
from tests.interop.peers.processes import free_port
from tests.support.cli_client import CliClient
from tests.support.phones import PjsuaPhone, assert_talking
from tests.support.server_process import DOMAIN, ServerError, ServerProcess

ALICE_HZ, LINE_HZ = 440, 1000
PROVIDER = "voip1.un"
PASSWORD = "Pa$$w0rd"
#: Timers a fifth as long: a provider that is away is known to be in 6 s instead of 32.
QUICK = SETTINGS + "[sip]\nt1_s = 0.1\n"
TABLE = f"""
<000(3d)@*>          = *@telnum
<8(10d)@*>           = 8*@telnum
<+7(10d)@*>          = 8*@telnum
Signal:telnum        = pstn                    ; unknown telnum -> PSTN
Signal:<*@pstn>      = gatewaycaller{{*}}#pbx    ; start 'gatewaycaller' app
Signal:<9(3d)@*>     = *@{PROVIDER}            ; without an application
"""


class Office:
    """A Ringlog with accounts alice, bob and pbx, administrated by the command protocol."""

    def __init__(self, server: ServerProcess) -> None:
        self.server = server
        for name in ("alice", "bob"):
            server.create_account(name)
        server.run("account", "passwd", f"postmaster@{DOMAIN}", "--password", PASSWORD)
        # Where programs run, gatewaycaller reads the caller's settings in the name of pbx.
        self.command(f"SETACCOUNTRIGHTS pbx@{DOMAIN} (Domain,CanImpersonate)")

    def command(self, *lines: str) -> Any:
        """Commands of an administrator; the value of the last one."""
        with CliClient(*self.server.addresses["cli"]) as client:
            assert client.login("postmaster", PASSWORD).code == 200
            for line in lines:
                reply = client.command(line)
                assert reply.code in (200, 201), (line, reply)
        time.sleep(0.5)  # the server follows what others change within some 50 ms
        return reply.value

    def record(self, via: str, *, user: str = "00000X", password: str = "spasswordX") -> None:
        """The record of the source, on pbx; its calls go to alice."""
        self.command(
            f"SETACCOUNTRSIPS pbx {{voip1={{authName={user};domain={PROVIDER};fromName={user};"
            f'password={password};period=5m;targetName=alice;via="{via}";}};}}'
        )

    def gateway(
        self, domain: str, via: str, caller: str, *,
        user: str = "00000X", password: str = "spasswordX",
    ) -> None:  # fmt: skip
        """A gateway for everybody in the domain."""
        self.command(
            f"UPDATEACCOUNTDEFAULTS {DOMAIN} {{PSTNGatewayDomain={domain};"
            f'PSTNGatewayVia="{via}";PSTNGatewayAuthName={user};PSTNGatewayPassword={password};'
            f'PSTNFromName="{caller}";PSTNAreaCode="7(495)";}}'
        )

    def stories(self, calls: int) -> str:
        """What is told of all calls, once there are so many records."""
        cdrs = self.server.await_cdrs(calls)
        return "".join(self.server.run("log", "--call", cdr["call_id"]) for cdr in cdrs)

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(
            self.server.run("trunk", "status", f"pbx@{DOMAIN}", "voip1", "--json")
        )
        return found

    def await_state(self, state: str, timeout_s: float = 10.0) -> dict[str, Any]:
        return _await(self.status, lambda found: found["state"] == state, timeout_s)

    def register_now(self) -> str:
        try:
            return self.server.run("trunk", "register-now", f"pbx@{DOMAIN}", "--wait", "20")
        except ServerError as error:
            return str(error)


def _await(
    look: Callable[[], dict[str, Any]],
    condition: Callable[[dict[str, Any]], bool],
    timeout_s: float,
) -> dict[str, Any]:
    deadline = time.monotonic() + timeout_s
    while not condition(found := look()):
        assert time.monotonic() < deadline, found
        time.sleep(0.1)
    return found


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    with ServerProcess(tmp_path / "office", settings=QUICK, commands=True) as server:
        server.create_domain()
        table = tmp_path / "table.txt"
        table.write_text(TABLE)
        server.run("router", "set", str(table))
        yield Office(server)


@pytest.fixture
def line(tmp_path: Path) -> Iterator[PjsuaPhone]:
    """A telephone of the public network, behind the provider."""
    with PjsuaPhone(tmp_path / "line", "sip:+79161234567@voip1.un") as phone:
        phone.tone(LINE_HZ)
        yield phone


@pytest.fixture
def provider(tmp_path: Path, line: PjsuaPhone) -> Iterator[KamailioProvider]:
    port = int(line.local.rpartition(":")[2])
    with KamailioProvider(tmp_path / "provider", line_port=port) as running:
        yield running


def answered(caller: PjsuaPhone, uri: str, callee: PjsuaPhone) -> tuple[int, int]:
    """A confirmed call."""
    mark = callee.mark
    call = caller.call(uri)
    incoming = callee.ringing(after=mark)
    callee.answer(incoming)
    caller.confirmed(call)
    return call, incoming


@pytest.mark.needs("kamailio", "pjsua2")
def test_the_provider_of_the_source(
    office: Office, provider: KamailioProvider, line: PjsuaPhone, phone_of: PhoneOf
) -> None:
    """Registers, is called with audio both ways, calls out with digest, re-INVITE and BYE too."""
    alice = phone_of(office.server, "alice", ALICE_HZ)
    office.gateway(PROVIDER, provider.address, "00000X")
    office.record(provider.address)
    found = office.await_state("registered")
    assert found["address"] == "sip:00000X@voip1.un"
    assert found["sources"] == ["127.0.0.1"]
    shown = office.command(f"GETACCOUNTINFO pbx@{DOMAIN} KEY RSIP")
    assert shown["voip1"]["state"] == "registered"

    # In: the provider looks the customer's contact up.
    call, incoming = answered(line, f"sip:00000X@{provider.address}", alice)
    assert_talking(line, LINE_HZ, alice, ALICE_HZ)
    line.hangup(call)
    assert alice.ended(incoming)["status"] == 200
    [cdr] = office.server.await_cdrs(1)
    told = office.server.run("explain", cdr["call_id"])
    assert f"record voip1 of pbx@{DOMAIN}: registered as 00000X@voip1.un" in told

    # Out: every request of ours is challenged.
    call, incoming = answered(alice, f"sip:8(916)123-45-67@{DOMAIN}", line)
    assert_talking(alice, ALICE_HZ, line, LINE_HZ)
    alice.hold(call)
    alice.resume(call)
    assert_talking(alice, ALICE_HZ, line, LINE_HZ)
    alice.hangup(call)
    assert line.ended(incoming)["status"] == 200, "the BYE was let through"
    told = office.stories(2)
    assert "gateway voip1.un of alice@test.example, as 00000X, caller 00000X@voip1.un" in told

    # Stopping in order takes the registration back.
    office.server.stop()
    events = office.server.events("--stream", f"trunk/pbx@{DOMAIN}")
    assert [event["type"] for event in events] == ["trunk.registered.v1", "trunk.removed.v1"]


@pytest.mark.needs("kamailio", "pjsua2")
def test_a_router_record_straight_to_the_provider(
    office: Office, provider: KamailioProvider, line: PjsuaPhone, phone_of: PhoneOf
) -> None:
    alice = phone_of(office.server, "alice", ALICE_HZ)
    office.gateway(PROVIDER, provider.address, "00000X")
    call, incoming = answered(alice, f"sip:9123@{DOMAIN}", line)
    assert_talking(alice, ALICE_HZ, line, LINE_HZ)
    line.hangup(incoming)
    assert alice.ended(call)["status"] == 200


@pytest.mark.needs("kamailio", "pjsua2")
def test_the_provider_restarts(
    office: Office, provider: KamailioProvider, line: PjsuaPhone, phone_of: PhoneOf
) -> None:
    """It is away: known, and tried again later; it comes back and has forgotten everybody."""
    alice = phone_of(office.server, "alice", ALICE_HZ)
    office.record(provider.address)
    office.await_state("registered")
    provider.stop()
    assert "voip1.un does not answer" in office.register_now()
    found = office.status()
    assert (found["state"], found["kind"], found["attempt"]) == ("failed", "unreachable", 1)
    wait_s = (found["next_ns"] - time.time_ns()) / 1e9
    assert 15 < wait_s <= 60, "half a minute to a minute"
    provider.start()
    assert "registered" in office.register_now()
    call, incoming = answered(line, f"sip:00000X@{provider.address}", alice)
    alice.hangup(incoming)
    assert line.ended(call)["status"] == 200


@pytest.mark.needs("kamailio", "pjsua2")
def test_a_wrong_password(office: Office, provider: KamailioProvider, phone_of: PhoneOf) -> None:
    """Said clearly, for the registration and for a call."""
    alice = phone_of(office.server, "alice")
    office.record(provider.address, password="geheim")
    found = office.await_state("failed")
    assert found["kind"] == "password"
    assert "the authentication name or the password is wrong" in found["reason"]
    told = office.server.run("trunk", "list")
    assert "the authentication name or the password is wrong" in told
    office.gateway(PROVIDER, provider.address, "00000X", password="geheim")
    call = alice.call(f"sip:89161234567@{DOMAIN}")
    assert alice.ended(call)["status"] in (407, 500)
    told = office.stories(1)
    assert "it does not accept the user name or the password we have for it" in told
    assert "geheim" not in json.dumps(office.server.events())
    assert "geheim" not in office.server.log()


@pytest.mark.needs("kamailio", "pjsua2")
def test_too_brief(office: Office, tmp_path: Path) -> None:
    """423: asked again for as long as the provider wants."""
    with KamailioProvider(tmp_path / "slow", line_port=free_port(), min_expires_s=900) as provider:
        office.record(provider.address)
        found = office.await_state("registered")
        assert found["expires_ns"] - time.time_ns() > 800e9


@pytest.mark.needs("pjsua2")
def test_another_ringlog_is_the_provider(office: Office, tmp_path: Path, phone_of: PhoneOf) -> None:
    """The same with a Ringlog, by SHA-256, as the provider."""
    algorithms = QUICK + 'digest_algorithms = ["SHA-256", "MD5"]\n'
    with ServerProcess(tmp_path / "other", settings=algorithms) as other:
        other.create_domain(PROVIDER)
        for name in ("7001", "zoe"):
            other.run("account", "create", f"{name}@{PROVIDER}", "--password", "spasswordX")
        alice = phone_of(office.server, "alice", ALICE_HZ)
        office.gateway(PROVIDER, other.address(), "7001", user="7001")
        office.record(other.address(), user="7001")
        office.await_state("registered")
        with PjsuaPhone(
            tmp_path / "zoe",
            f"sip:zoe@{PROVIDER}",
            user="zoe",
            password="spasswordX",
            registrar=f"sip:{PROVIDER}",
            proxy=other.uri(),
        ) as zoe:
            zoe.tone(LINE_HZ)
            assert zoe.register()["status"] == 200
            call, incoming = answered(zoe, f"sip:7001@{PROVIDER}", alice)
            assert_talking(zoe, LINE_HZ, alice, ALICE_HZ)
            alice.hangup(incoming)
            assert zoe.ended(call)["status"] == 200
            call, incoming = answered(alice, f"sip:zoe@{PROVIDER}", zoe)
            assert_talking(alice, ALICE_HZ, zoe, LINE_HZ)
            alice.hold(call)
            alice.resume(call)
            alice.hangup(call)
            assert zoe.ended(incoming)["status"] == 200


@pytest.mark.needs("pjsua2")
def test_the_neighbour_office_of_the_source(
    office: Office, tmp_path: Path, phone_of: PhoneOf
) -> None:
    """000402 rings 402 over there, from 00X401; the other office trusts ours by its address."""
    trusting = SETTINGS + '[sip]\nclient_ips = ["127.0.0.0/8"]\n'
    with ServerProcess(tmp_path / "neighbour", settings=trusting) as neighbour:
        neighbour.create_domain("server.corp.un")
        neighbour.run("account", "create", "user2@server.corp.un", "--password", "secret")
        neighbour.run("alias", "add", "402", "user2@server.corp.un")
        office.gateway("server.corp.un", neighbour.address(), "00X401")
        alice = phone_of(office.server, "alice", ALICE_HZ)
        with PjsuaPhone(
            tmp_path / "user2",
            "sip:user2@server.corp.un",
            user="user2",
            password="secret",
            registrar="sip:server.corp.un",
            proxy=neighbour.uri(),
        ) as user2:
            user2.tone(LINE_HZ)
            assert user2.register()["status"] == 200
            call, incoming = answered(alice, f"sip:000402@{DOMAIN}", user2)
            assert_talking(alice, ALICE_HZ, user2, LINE_HZ)
            assert "00X401@server.corp.un" in json.dumps(user2.events)
            user2.hangup(incoming)
            assert alice.ended(call)["status"] == 200
