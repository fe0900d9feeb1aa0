"""Signal Rules with real phones: what an administrator sets holds for the next call."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.interop.conftest import SETTINGS, PhoneOf, with_accounts
from tests.support.phones import PjsuaPhone, assert_talking
from tests.support.server_process import DOMAIN, ServerProcess

ALICE_HZ, BOB_HZ, CAROL_HZ = 440, 1000, 1300


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server whose rules may fetch URLs of this machine."""
    settings = SETTINGS + '[limits]\nrule_urls = "any"\n'
    with ServerProcess(tmp_path_factory.mktemp("rules"), settings=settings) as made:
        yield with_accounts(made)


def set_rules(server: ServerProcess, directory: Path, owner: str, *rules: Any) -> None:
    """``pbx rules set``, as an administrator does; back when the server has applied it."""
    file = directory / "rules.json"
    file.write_text(json.dumps(rules), encoding="utf-8")
    server.run("rules", "set", owner, str(file))


def last_call(server: ServerProcess) -> list[dict[str, Any]]:
    """The events of the newest call."""
    lines = server.run("log", "--type", "call.started.v1", "--json").splitlines()
    stream = json.loads(lines[-1])["stream"]
    told = server.run("log", "--stream", stream, "--json").splitlines()
    return [json.loads(line) for line in told]


def evaluated(events: list[dict[str, Any]]) -> list[tuple[str, tuple[str, ...]]]:
    return [
        (event["data"]["stage"], tuple(event["data"].get("actions", ())))
        for event in events
        if event["type"] == "rules.evaluated.v1"
    ]


def refused(caller: PjsuaPhone, target: str) -> int:
    """The final status of a call that nobody takes."""
    call = caller.call(f"sip:{target}@{DOMAIN}")
    return int(caller.ended(call)["status"])


def test_after_two_seconds_another_phone_rings_too(
    server: ServerProcess, phone_of: PhoneOf, tmp_path: Path
) -> None:
    """Telephony reference §26.4: the second phone takes the call, the first stops ringing."""
    alice = phone_of(server, "alice", ALICE_HZ)
    bob = phone_of(server, "bob", BOB_HZ)
    carol = phone_of(server, "carol", CAROL_HZ)
    account = f"bob@{DOMAIN}"
    set_rules(server, tmp_path, account, ["99805", "also", [], [["Fork to", "carol"]]])
    bob_mark, carol_mark = bob.mark, carol.mark
    call = alice.call(f"sip:bob@{DOMAIN}")
    at_bob = bob.ringing(after=bob_mark)
    at_carol = carol.ringing(after=carol_mark)
    carol.answer(at_carol)
    alice.confirmed(call)
    carol.confirmed(at_carol)
    bob.ended(at_bob)
    assert_talking(alice, ALICE_HZ, carol, CAROL_HZ)
    alice.hangup(call)
    carol.ended(at_carol)
    server.await_no_calls()
    events = last_call(server)
    assert evaluated(events) == [("after 2 s", ("Fork to carol",))]
    created = [event["data"] for event in events if event["type"] == "leg.created.v1"]
    assert created[1]["redirector"] == account
    assert created[1]["elapsed_ms"] >= 2000
    set_rules(server, tmp_path, account)


def test_without_devices_nobody_waits(
    server: ServerProcess, phone_of: PhoneOf, tmp_path: Path
) -> None:
    """Telephony reference §26.4: no device is there, so the stage after 60 s comes at once."""
    alice = phone_of(server, "alice", ALICE_HZ)
    carol = phone_of(server, "carol", CAROL_HZ)
    set_rules(server, tmp_path, f"dave@{DOMAIN}", ["94005", "x", [], [["Redirect To", "carol"]]])
    mark = carol.mark
    call = alice.call(f"sip:dave@{DOMAIN}")
    incoming = carol.ringing(after=mark)
    carol.answer(incoming)
    alice.confirmed(call)
    alice.hangup(call)
    carol.ended(incoming)
    server.await_no_calls()
    set_rules(server, tmp_path, f"dave@{DOMAIN}")


@pytest.mark.parametrize(("status", "stage"), [(486, "busy"), (603, "busy"), (500, "error")])
def test_failure_stages(
    server: ServerProcess, phone_of: PhoneOf, tmp_path: Path, status: int, stage: str
) -> None:
    """Telephony reference §26.5: what the phone answers decides where the call goes."""
    alice = phone_of(server, "alice", ALICE_HZ)
    bob = phone_of(server, "bob", BOB_HZ)
    carol = phone_of(server, "carol", CAROL_HZ)
    set_rules(
        server,
        tmp_path,
        f"bob@{DOMAIN}",
        ["305", "busy", [], [["Redirect To", "carol"]]],
        ["105", "error", [], [["Redirect To", "carol"]]],
    )
    bob_mark, carol_mark = bob.mark, carol.mark
    call = alice.call(f"sip:bob@{DOMAIN}")
    bob.hangup(bob.ringing(after=bob_mark), status)
    incoming = carol.ringing(after=carol_mark)
    carol.answer(incoming)
    alice.confirmed(call)
    carol.confirmed(incoming)
    assert_talking(alice, ALICE_HZ, carol, CAROL_HZ)
    alice.hangup(call)
    carol.ended(incoming)
    server.await_no_calls()
    assert evaluated(last_call(server)) == [(stage, ("Redirect To carol",))]
    set_rules(server, tmp_path, f"bob@{DOMAIN}")


def test_levels_in_their_order(server: ServerProcess, phone_of: PhoneOf, tmp_path: Path) -> None:
    """Telephony reference §26.6, proven by the log of a call that the last rule refuses."""
    alice = phone_of(server, "alice")
    bob = phone_of(server, "bob")
    account = f"bob@{DOMAIN}"
    for owner, high, low in (("server", "s6", "s5"), (DOMAIN, "d6", "d5")):
        set_rules(
            server,
            tmp_path,
            owner,
            ["99906", high, [], [["Write To Log", "x"]]],
            ["99905", low, [], [["Reject with", "486"] if low == "s5" else ["Write To Log", "x"]]],
        )
    set_rules(server, tmp_path, account, ["99901", "a1", [], [["Write To Log", "x"]]])
    mark = bob.mark
    call = alice.call(f"sip:bob@{DOMAIN}")
    ringing = bob.ringing(after=mark)
    assert alice.ended(call)["status"] == 486
    bob.ended(ringing)
    server.await_no_calls()
    (event,) = [e for e in last_call(server) if e["type"] == "rules.evaluated.v1"]
    assert event["data"]["applied"] == ["s6", "d6", "a1", "d5", "s5"]
    for owner in ("server", DOMAIN, account):
        set_rules(server, tmp_path, owner)


def test_blocked_by_name_and_told_by_url(
    server: ServerProcess, phone_of: PhoneOf, tmp_path: Path
) -> None:
    """A rule refuses a caller; another one tells a web server, the caller's name encoded."""
    asked: list[str] = []
    seen = threading.Event()

    class Web(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(204)
            self.end_headers()
            seen.set()

        def log_message(self, *args: object) -> None:
            """Quiet."""

    with http.server.HTTPServer(("127.0.0.1", 0), Web) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        alice = phone_of(server, "alice")
        set_rules(
            server,
            tmp_path,
            f"bob@{DOMAIN}",
            ["100009", "tell", [], [["SendURL", f"http://127.0.0.1:{web.server_port}/c?f=^F"]]],
            ["100005", "no", [["From", "is", "alice@*"]], [["Reject with", "603 Not you"]]],
        )
        assert refused(alice, "bob") == 603
        assert seen.wait(10)
        web.shutdown()
    assert asked == [f"/c?f=alice%40{DOMAIN}"]
    server.await_no_calls()
    set_rules(server, tmp_path, f"bob@{DOMAIN}")


def test_contact_centre_rules_name_a_program_that_is_not_there(
    server: ServerProcess, phone_of: PhoneOf, tmp_path: Path
) -> None:
    """Telephony reference §26.7 as far as rules go: the rule of the reference takes the call, the
    program is not stored here, and the log says so."""
    alice = phone_of(server, "alice")
    phone_of(server, "bob")
    set_rules(
        server,
        tmp_path,
        DOMAIN,
        [
            "100010",
            f"ccIn_{DOMAIN}",
            [["Method", "is", "INVITE"], ["RequestURI", "is not", "*;fromCC=true"]],
            [["Redirect to", "ccincoming#pbx"], ["Stop Processing"]],
        ],
    )
    assert refused(alice, "bob") == 404
    server.await_no_calls()
    reasons = [
        event["data"]["reason"]
        for event in last_call(server)
        if event["type"] == "call.decided.v1" and event["data"]["step"] == "application"
    ]
    assert reasons == ["started", "404 application ccincoming not found"]
    set_rules(server, tmp_path, DOMAIN)
