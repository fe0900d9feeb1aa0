"""The fake phones and the fake network themselves: an oracle has to be right first.

Phones call each other directly, without any server, so what is found here is theirs.
"""

from __future__ import annotations

from random import Random

import pytest

from tests.support.builders import PhoneLab
from tests.support.clock import Scheduler, VirtualClock
from tests.support.fake_phone.wire import (
    Description,
    Heard,
    NotSip,
    authorization,
    direction_allowed,
    display_name,
    host_port,
)
from tests.support.network import AWFUL, PERFECT, ROUGH, Address, FakeNetwork, Faults, Stream
from tests.support.scenario import CalleeScript, CallerScript, Plan, Step

BYE_AFTER_3 = (Step(3.0, "bye"),)


def ends(plan: Plan) -> list[str]:
    return [call.end_reason for call in plan.calls]


def quiet(lab: PhoneLab) -> bool:
    """Nothing of any phone outlives its calls."""
    return not any(
        phone.live or phone.calls or phone.clients or phone.servers for phone in lab.phones.values()
    )


# -- clock and scheduler -----------------------------------------------------------------------


def test_scheduler_runs_in_time_order_and_equal_times_in_order_of_scheduling() -> None:
    scheduler = Scheduler()
    seen: list[str] = []
    scheduler.at(2.0, seen.append, "late")
    scheduler.at(1.0, seen.append, "first")
    scheduler.at(1.0, seen.append, "second")
    scheduler.run_until(5.0)
    assert seen == ["first", "second", "late"]
    assert scheduler.clock.now == 5.0


def test_cancelled_timers_do_not_fire_and_are_swept() -> None:
    scheduler = Scheduler()
    seen: list[int] = []
    timers = [scheduler.at(1.0 + i, seen.append, i) for i in range(20_000)]
    for timer in timers[1:]:
        scheduler.cancel(timer)
        scheduler.cancel(timer)  # twice is harmless
    assert len(scheduler) == 1
    assert scheduler.next_time() == 1.0
    scheduler.run_until(30_000.0)
    assert seen == [0]


def test_wall_clock_steps_do_not_move_monotonic_time() -> None:
    clock = VirtualClock(now=10.0)
    before = clock.wall_ns()
    clock.step_wall(-3600.0)
    assert clock.wall_ns() == before - 3600 * 10**9
    assert clock.monotonic() == 10.0


# -- network -----------------------------------------------------------------------------------


def record(faults: Faults, seed: int, count: int = 2000) -> tuple[list[bytes], FakeNetwork]:
    scheduler = Scheduler()
    network = FakeNetwork(scheduler, Random(seed), faults)
    got: list[bytes] = []

    def receive(data: bytes, source: Address, destination: Address) -> None:
        got.append(data)

    network.attach(("b", 1), receive, corruptible=True)
    for number in range(count):
        network.send(b"%d" % number, ("a", 1), ("b", 1))
        scheduler.run_until(scheduler.clock.now + 0.02)
    scheduler.run_until(scheduler.clock.now + 10)
    return got, network


def test_faults_are_drawn_from_the_seed_alone() -> None:
    first, one = record(AWFUL, 7)
    again, two = record(AWFUL, 7)
    other, _ = record(AWFUL, 8)
    assert first == again
    assert one.digest == two.digest
    assert first != other


def test_each_fault_happens_about_as_often_as_asked() -> None:
    got, network = record(
        Faults(loss=0.1, duplicate=0.1, reorder=0.1, corrupt=0.1, jitter_s=0.0), seed=3
    )
    counters = network.counters
    for fate in ("lost", "duplicated", "late", "corrupted"):
        assert 140 <= counters[fate] <= 260, fate
    assert len(got) == 2000 - counters["lost"] + counters["duplicated"]
    assert len(network.corrupted) == counters["corrupted"]


def test_perfect_network_keeps_order_when_the_jitter_is_below_the_distance() -> None:
    got, _ = record(PERFECT, seed=1, count=200)
    assert got == [b"%d" % number for number in range(200)]


def test_partition_and_missing_receiver_are_remembered_as_disturbance() -> None:
    lab = PhoneLab()
    network = lab.network
    network.partition("x", "y")
    network.send(b"1", ("x", 1), ("y", 1))
    assert network.was_disturbed("x", "y", since=0.0)
    assert not network.was_disturbed("x", "z", since=0.0)
    lab.run(10)
    assert not network.was_disturbed("x", "y", since=5.0)
    network.heal("x", "y")
    network.send(b"2", ("x", 1), ("y", 1))  # nobody listens there
    lab.run(1)
    assert network.was_disturbed("y", "q", since=5.0)


class StreamEnd:
    """Collects what one side of a stream hears."""

    def __init__(self) -> None:
        self.data = b""
        self.opened: list[Stream] = []
        self.closed = 0

    def stream_opened(self, stream: Stream) -> None:
        self.opened.append(stream)

    def stream_data(self, stream: Stream, data: bytes) -> None:
        self.data += data

    def stream_closed(self, stream: Stream) -> None:
        self.closed += 1


def test_streams_keep_order_whatever_the_faults_and_close_on_both_sides() -> None:
    scheduler = Scheduler()
    network = FakeNetwork(scheduler, Random(5), AWFUL)
    server, client = StreamEnd(), StreamEnd()
    network.listen(("s", 5060), server)
    stream = network.connect(("c", 1), ("s", 5060), client)
    scheduler.run_until(1.0)
    assert client.opened == [stream]
    sent = b"".join(b"<%d>" % number for number in range(300))
    for number in range(300):
        stream.send(b"<%d>" % number)
        scheduler.run_until(scheduler.clock.now + 0.003)
    server.opened[0].send(b"hello")
    scheduler.run_until(60.0)
    assert server.data == sent
    assert client.data == b"hello"
    stream.close()
    scheduler.run_until(120.0)
    assert server.closed == 1
    assert not server.opened[0].open


def test_a_refused_connection_is_told() -> None:
    scheduler = Scheduler()
    network = FakeNetwork(scheduler, Random(5))
    client = StreamEnd()
    network.connect(("c", 1), ("nobody", 5060), client)
    scheduler.run_until(1.0)
    assert client.closed == 1
    assert client.opened == []


# -- wire --------------------------------------------------------------------------------------


def test_digest_of_rfc_7616_section_3_9_1() -> None:
    """Both algorithms, with the RFC's own nonce and cnonce."""
    for algorithm, expected in (
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ):
        challenge = (
            'Digest realm="http-auth@example.org", qop="auth, auth-int", '
            f'algorithm={algorithm}, nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"'
        )
        text = authorization(
            challenge.replace(", auth-int", ""),
            "Mufasa",
            "Circle of Life",
            "GET",
            "/dir/index.html",
            1,
            "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
        )
        assert f'response="{expected}"' in text


def test_message_fields_and_compact_names() -> None:
    heard = Heard(
        b"INVITE sip:b@h SIP/2.0\r\nv: SIP/2.0/UDP h;branch=z9hG4bKx;rport\r\n"
        b'f: "A;tag=no" <sip:a@h;x=y>;tag=ft\r\nt: <sip:b@h>\r\ni: id@h\r\nCSeq: 7 INVITE\r\n'
        b"k: timer, 100rel\r\n\r\nbody"
    )
    assert (heard.branch, heard.from_tag, heard.to_tag) == ("z9hG4bKx", "ft", "")
    assert (heard.cseq, heard.cseq_method, heard.call_id) == (7, "INVITE", "id@h")
    assert heard.lists("supported", "100rel")
    assert heard.body == b"body"
    assert display_name(heard.get("from")) == "A;tag=no"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"INVITE\r\n\r\n",
        b"SIP/2.0 99 Odd\r\n\r\n",
        b"INVITE sip:b SIP/2.0\r\nno colon\r\n\r\n",
        b"INVITE sip:b SIP/2.0\r\nVia: x\r\n\r\n",
    ],
)
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(NotSip):
        Heard(data)


def test_addresses_of_uris() -> None:
    assert host_port("sip:a@10.0.0.1:5080;x=y") == ("10.0.0.1", 5080)
    assert host_port("sip:10.0.0.1?Replaces=a%3Bb") == ("10.0.0.1", 5060)
    assert host_port("sips:a@[2001:db8::1]:5061") == ("2001:db8::1", 5061)


def test_answered_directions_follow_rfc_3264() -> None:
    assert direction_allowed("sendonly", "recvonly")
    assert not direction_allowed("sendonly", "sendrecv")
    assert not direction_allowed("inactive", "recvonly")
    described = Description(
        b"v=0\r\no=- 1 2 IN IP4 h\r\ns=-\r\nc=IN IP4 9.9.9.9\r\nt=0 0\r\nm=audio 6 RTP/AVP 0\r\n"
        b"a=inactive\r\n"
    )
    assert (described.host, described.port, described.direction) == ("9.9.9.9", 6, "inactive")


# -- calls -------------------------------------------------------------------------------------


@pytest.mark.parametrize("faults", [PERFECT, ROUGH, AWFUL], ids=["perfect", "rough", "awful"])
def test_many_calls_with_hold_end_properly_over_any_network(faults: Faults) -> None:
    """Loss, duplication and reordering cost time but never a call."""
    lab = PhoneLab(seed=11, faults=faults)
    steps = (Step(0.5, "hold"), Step(5.0, "resume"), Step(5.0, "info"), Step(3.0, "bye"))
    plans = []
    for number in range(40):
        caller, callee = lab.phone(f"a{number}"), lab.phone(f"b{number}")
        plans.append(lab.call(caller, callee, CallerScript(steps=steps)))
        lab.run(0.5)
    lab.run(300)
    assert lab.surroundings.violations == []
    for plan in plans:
        assert ends(plan) == ["bye-sent", "bye-received"]
        caller_call, callee_call = plan.calls
        assert callee_call.answered_at <= caller_call.answered_at <= callee_call.confirmed_at
        assert callee_call.local_version >= 2  # it answered the hold with other text
    assert quiet(lab)


def test_audio_flows_both_ways_and_names_its_sender() -> None:
    lab = PhoneLab()
    one, two = lab.phone("one"), lab.phone("two")
    lab.call(
        one,
        two,
        CallerScript(steps=(Step(1, "talk"), Step(2, "bye"))),
        CalleeScript(steps=(Step(1, "talk"),)),
    )
    lab.run(100)
    assert ("one", 1) in two.rtp_heard
    assert ("two", 1) in one.rtp_heard
    assert lab.surroundings.violations == []


def test_cancel_while_ringing_and_cancel_before_the_first_provisional() -> None:
    lab = PhoneLab()
    for number, ring in enumerate((0.1, 4.0)):
        caller, callee = lab.phone(f"a{number}"), lab.phone(f"b{number}")
        plan = lab.call(
            caller,
            callee,
            CallerScript(cancel_after_s=2.0),
            CalleeScript(ring_after_s=ring, answer_after_s=60.0),
        )
        lab.run(120)
        assert ends(plan) == ["cancelled", "cancelled"]
        assert plan.calls[0].failure_status == 487
        assert plan.calls[0].cancel_sent_at == pytest.approx(max(2.0, ring) + 120 * number, abs=1.1)
    assert lab.surroundings.violations == []
    assert quiet(lab)


def test_cancel_that_crosses_the_answer_is_followed_by_ack_and_bye() -> None:
    """RFC 3261 §9.1: whichever wins, the call ends on both sides."""
    lab = PhoneLab(seed=2)
    crossed = 0
    for number in range(60):
        caller, callee = lab.phone(f"a{number}"), lab.phone(f"b{number}")
        plan = lab.call(
            caller,
            callee,
            CallerScript(cancel_after_s=1.0, steps=(Step(5.0, "bye"),)),
            CalleeScript(answer_after_s=0.975 + number * 0.001),
        )
        lab.run(60)
        assert all(call.state == "ended" for call in plan.calls)
        if plan.calls[0].cancel_sent_at and ends(plan) == ["bye-sent", "bye-received"]:
            crossed += 1
    assert crossed > 3
    assert lab.surroundings.violations == []


def test_refusals_carry_their_status() -> None:
    lab = PhoneLab(faults=ROUGH)
    for status in (404, 480, 486, 500, 603):
        plan = lab.call(
            lab.phone(f"a{status}"), lab.phone(f"b{status}"), None, CalleeScript(reject=status)
        )
        lab.run(80)
        assert [call.failure_status for call in plan.calls] == [status, status]
        assert ends(plan) == ["refused", "refused"]
    assert lab.surroundings.violations == []


def test_reliable_progress_is_acknowledged_before_the_answer() -> None:
    lab = PhoneLab(seed=4, faults=AWFUL)
    for number in range(20):
        plan = lab.call(
            lab.phone(f"a{number}"),
            lab.phone(f"b{number}"),
            CallerScript(reliable="required", steps=BYE_AFTER_3),
            CalleeScript(progress=183, reliable=True, answer_after_s=0.2),
        )
        lab.run(120)
        assert ends(plan) == ["bye-sent", "bye-received"]
        assert plan.calls[1].prack_done
    assert lab.surroundings.violations == []


def test_late_offer_puts_the_answer_into_the_ack() -> None:
    lab = PhoneLab()
    plan = lab.call(
        lab.phone("a"), lab.phone("b"), CallerScript(late_offer=True, steps=BYE_AFTER_3)
    )
    lab.run(60)
    assert plan.calls[1].remote_rtp == lab.phones["a"].rtp_address
    assert plan.calls[0].remote_rtp == lab.phones["b"].rtp_address
    assert lab.surroundings.violations == []


def test_glare_is_resolved_by_491_and_both_holds_get_through() -> None:
    """RFC 3261 §14.1."""
    lab = PhoneLab(seed=3)
    steps = (Step(1.0, "hold"),)
    plan = lab.call(
        lab.phone("a"),
        lab.phone("b"),
        CallerScript(steps=(*steps, Step(20.0, "bye"))),
        CalleeScript(steps=steps),
    )
    lab.run(100)
    assert all(call.holding for call in plan.calls)
    assert {call.local_direction for call in plan.calls} <= {"sendonly", "inactive"}
    assert lab.surroundings.violations == []


def test_a_missing_ack_is_repeated_and_a_missing_forever_ends_the_call() -> None:
    lab = PhoneLab()
    plan = lab.call(
        lab.phone("a"), lab.phone("b"), CallerScript(lost_acks=3, steps=(Step(10.0, "bye"),))
    )
    lab.run(100)
    assert plan.calls[1].confirmed_at > plan.calls[0].answered_at + 3.0
    assert lab.surroundings.violations == []
    never = lab.call(lab.phone("c"), lab.phone("d"), CallerScript(lost_acks=99))
    lab.run(120)
    assert ends(never) == ["bye-received", "bye-sent"]
    assert [violation.rule for violation in lab.surroundings.violations] == ["no-ack"]


def test_a_server_that_heard_nothing_for_64_t1_owes_no_ack(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It has given the INVITE up (Timer B), and CANCEL needs a provisional response first."""
    lab = PhoneLab()
    cut: set[str] = set()
    send = FakeNetwork.send

    def lose(network: FakeNetwork, data: bytes, source: Address, destination: Address) -> bool:
        return source[0] not in cut and send(network, data, source, destination)

    monkeypatch.setattr(FakeNetwork, "send", lose)
    script = CalleeScript(answer_after_s=60.0, reject=480)
    a, b, c, d = (lab.phone(name) for name in "abcd")
    cut.add(b.host)
    lab.call(a, b, callee_script=script)
    lab.run(33)
    cut.remove(b.host)
    lab.run(100)
    assert [(v.phone, v.rule) for v in lab.surroundings.violations] == [("a", "no-response")]
    lab.call(c, d, callee_script=script)
    lab.run(20)
    cut.add(c.host)  # it has heard that d rings
    lab.run(100)
    assert ("d", "no-ack") in [(v.phone, v.rule) for v in lab.surroundings.violations]


def test_session_timer_refreshes_a_live_call_and_ends_a_dead_one() -> None:
    """RFC 4028 §10: the side that does not refresh hangs up before the end of the interval."""
    lab = PhoneLab()
    plan = lab.call(
        lab.phone("a"),
        lab.phone("b"),
        CallerScript(session_expires_s=90, steps=(Step(200.0, "bye"),)),
    )
    lab.run(300)
    assert ends(plan) == ["bye-sent", "bye-received"]
    assert plan.calls[0].bye_sent_at - plan.calls[0].answered_at == pytest.approx(200.0)
    dead = lab.call(
        lab.phone("c"),
        lab.phone("d"),
        CallerScript(session_expires_s=90, steps=(Step(5.0, "vanish"),)),
    )
    lab.run(300)
    assert ends(dead) == ["vanished", "session-expired"]
    assert dead.calls[1].ended_at - dead.calls[1].answered_at < 90.0
    assert lab.surroundings.violations == []


def test_a_restarted_phone_knows_no_dialog_of_before() -> None:
    lab = PhoneLab()
    plan = lab.call(
        lab.phone("a"),
        lab.phone("b"),
        CallerScript(steps=(Step(10.0, "info"),)),
        CalleeScript(steps=(Step(2.0, "restart"),)),
    )
    lab.run(100)
    assert ends(plan) == ["dialog-unknown", "vanished"]
    assert plan.calls[0].suspect == "INFO got 481"


# -- the phones find what is wrong --------------------------------------------------------------


def sent_by_hand(text: str) -> list[str]:
    """Rules that one message breaks."""
    lab = PhoneLab()
    phone = lab.phone("p")
    lab.plans["x"] = Plan(1, "by hand", "q", "p", CallerScript(), {})
    data = text.replace("\n", "\r\n").encode()
    phone.receive(data, ("10.9.9.9", 5060), phone.address)
    return [violation.rule for violation in lab.surroundings.violations]


GOOD = """INVITE sip:p@10.1.0.1:5060 SIP/2.0
Via: SIP/2.0/UDP 10.9.9.9;branch=z9hG4bK123456
Max-Forwards: 69
From: "x" <sip:q@sim.test>;tag=1
To: <sip:p@sim.test>
Call-ID: 1
CSeq: 1 INVITE
Contact: <sip:q@10.9.9.9>
Allow: INVITE, ACK, BYE
Content-Length: 0

"""


def test_a_proper_invite_breaks_no_rule() -> None:
    assert sent_by_hand(GOOD) == []


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("z9hG4bK123456", "short", "branch-cookie"),
        ("CSeq: 1 INVITE", "CSeq: 1 BYE", "cseq-method"),
        ("Content-Length: 0", "Content-Length: 3", "content-length-wrong"),
        ("Content-Length: 0", "X: y", "content-length-missing"),
        ("Max-Forwards: 69\n", "", "max-forwards"),
        ("Contact: <sip:q@10.9.9.9>\n", "", "contact-count"),
        (";tag=1", "", "from-tag-missing"),
        ("To: <", "To: <sip:z@z>\nTo: <", "header-twice"),
        ("p@10.1.0.1", "p@10.1.0.77", "request-uri"),
        ("Max-Forwards: 69", "Record-Route: <sip:r;lr>\nMax-Forwards: 69", "record-route-leaked"),
        ("Max-Forwards: 69", "Authorization: Digest x\nMax-Forwards: 69", "credentials-leaked"),
        ("INVITE sip:p@10.1.0.1:5060 SIP/2.0", "INVITE sip:p SIP/3.0", "not-sip"),
        ('"x"', '"who"', "unknown-caller"),
        ("Allow: INVITE, ACK, BYE\n", "", "allow-missing"),
    ],
)
def test_each_broken_rule_is_named(old: str, new: str, rule: str) -> None:
    assert old in GOOD
    assert sent_by_hand(GOOD.replace(old, new, 1)) == [rule]


def test_description_changes_are_judged_by_origin_and_version() -> None:
    """RFC 3264 §8: other text needs a new version; the origin never changes."""
    lab = PhoneLab()
    plan = lab.call(lab.phone("a"), lab.phone("b"), CallerScript(steps=(Step(9.0, "bye"),)))
    lab.run(3)
    call = plan.calls[0]
    heard = Heard(GOOD.replace("\n", "\r\n").encode())
    body = call.remote_body
    call.take_description(heard, body, answer=True)
    assert lab.surroundings.violations == []
    call.take_description(heard, body.replace(b"sendrecv", b"inactive"), answer=True)
    call.take_description(heard, body.replace(b"o=- ", b"o=x "), answer=True)
    assert [violation.rule for violation in lab.surroundings.violations] == [
        "sdp-version",
        "sdp-origin",
    ]
