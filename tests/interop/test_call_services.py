"""Call services with phones that show every byte: forks to three, classes of service, transfers.

The list of acceptance scenarios in ``docs/testing.md`` names what else proves them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from pbx.data import Value
from pbx.eventlog import open_log
from pbx.settings_changes import SettingsChanges, Target
from tests.interop.conftest import SETTINGS, with_accounts
from tests.interop.peers.raw_phone import RawPhone, connect, end
from tests.support.fake_phone.wire import Heard
from tests.support.server_process import DOMAIN, ServerProcess


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Alice may call inside only; Bob all kinds of numbers but premium ones."""
    with ServerProcess(tmp_path_factory.mktemp("office"), settings=SETTINGS) as made:
        with_accounts(made)
        log = open_log(made.data)
        changes = SettingsChanges(log, actor="test")
        allowed: dict[str, Value] = {"CallOutAllowed": ["internal"], "CallOutFlow": ["50", "1h"]}
        changes.update(Target("account", f"alice@{DOMAIN}"), "settings", allowed)
        log.close()
        # A command that changes something returns when the server has followed the log so far.
        made.run("alias", "add", "1001", f"alice@{DOMAIN}")
        yield made


def phones(stack: ExitStack, server: ServerProcess, *names: str) -> list[RawPhone]:
    """Registered phones; a name that comes twice has two."""
    made = [stack.enter_context(RawPhone(server, name)) for name in names]
    for phone in made:
        assert phone.register().status == 200
        stack.callback(phone.register, 0)
    return made


def invited(phone: RawPhone) -> Heard:
    return phone.receive(lambda heard: heard.method == "INVITE")


def test_three_phones_ring_and_one_answers(office: ServerProcess) -> None:
    """§26.3: the others are cancelled, and need not show a missed call."""
    with ExitStack() as stack:
        alice, *bobs = phones(stack, office, "alice", "bob", "bob", "bob")
        call_id, tag = alice.invite("bob")
        invites = [invited(phone) for phone in bobs]
        for phone, invite in zip(bobs, invites, strict=True):
            phone.respond(invite, 180, tag="r")
        taker = bobs[1]
        taker.respond(invites[1], 200, tag="r", body=taker.offer())
        taker.receive(lambda heard: heard.method == "ACK")
        dialog = alice.answered(call_id, tag, f"sip:bob@{DOMAIN}")
        for phone, invite in ((bobs[0], invites[0]), (bobs[2], invites[2])):
            cancel = phone.receive(lambda heard: heard.method == "CANCEL")
            assert "SIP;cause=200" in cancel.get("reason")
            phone.respond(cancel, 200)
            phone.respond(invite, 487, tag="r")
            phone.receive(lambda heard: heard.method == "ACK")
        end(alice, dialog, taker)
    office.await_no_calls()


def test_two_phones_answer_at_once(office: ServerProcess) -> None:
    """§26.3: one has the call, the other is acknowledged and hung up."""
    with ExitStack() as stack:
        alice, one, other = phones(stack, office, "alice", "bob", "bob")
        call_id, tag = alice.invite("bob")
        invites = [invited(phone) for phone in (one, other)]
        for phone, invite in zip((one, other), invites, strict=True):
            phone.respond(invite, 200, tag="r", body=phone.offer())
        dialog = alice.answered(call_id, tag, f"sip:bob@{DOMAIN}")
        for phone in (one, other):
            phone.receive(lambda heard: heard.method == "ACK")
        # The first answer that the server read has won; the sockets do not tell which that was.
        lost = None
        for phone in (one, other):
            try:
                bye = phone.receive(lambda heard: heard.method == "BYE", 1.0)
            except TimeoutError:
                continue
            phone.respond(bye, 200)
            assert lost is None
            lost = phone
        assert lost is not None
        end(alice, dialog, one if lost is other else other)
    office.await_no_calls()


def refused(phone: RawPhone, to: str) -> int:
    call_id, _ = phone.invite(to)
    answer = phone.final(call_id)
    phone.acknowledge(answer, to)
    return answer.status


def test_what_a_class_does_not_have_is_refused_with_the_reason(office: ServerProcess) -> None:
    """403, and ``pbx explain`` says why; numbers for help are not refused so."""
    with ExitStack() as stack:
        alice, bob = phones(stack, office, "alice", "bob")
        assert refused(alice, "+4930123456") == 403
        (ended,) = office.run("log", "--type", "call.ended.v1", "--json").splitlines()[-1:]
        call = ended.partition('"call/')[2][:36]
        assert "may not call international destinations" in office.run("explain", call)
        assert refused(bob, "+19001234567") == 403
        assert refused(alice, "112") == 404  # nobody has it here; no class stood in the way
        ours, _ = connect(alice, bob)
        end(alice, ours, bob)
    office.await_no_calls()


def test_a_transfer_has_no_more_rights_than_who_transfers(office: ServerProcess) -> None:
    """REFER to a number that the transferor's class does not have: told, and the call goes on."""
    with ExitStack() as stack:
        bob, alice = phones(stack, office, "bob", "alice")
        ours, theirs = connect(bob, alice)
        refer_to = f"Refer-To: <sip:+4930123456@{DOMAIN}>\r\n"
        alice.send(alice.inside(theirs, "REFER", extra=refer_to))
        assert alice.receive(lambda heard: heard.cseq_method == "REFER").status == 202
        told: list[bytes] = []
        deadline = time.monotonic() + 10
        while not told or b"403" not in told[-1]:
            assert time.monotonic() < deadline, told
            notify = alice.receive(lambda heard: heard.method == "NOTIFY")
            alice.respond(notify, 200)
            told.append(notify.body)
        end(bob, ours, alice)
    office.await_no_calls()
