"""Feeds of a real server: readers that leave and come back, readers that are slow, and intruders.

The first test is the promise of the feeds: under traffic, a consumer that was stopped and resumed
has the same list as one that stayed, over server-sent events (curl), WebSocket and pages.
"""

from __future__ import annotations

import json
import random
import socket
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest

from pbx.webhooks.signature import key_of, verify
from tests.interop.conftest import TRUSTING, with_accounts
from tests.interop.peers.processes import await_condition
from tests.interop.peers.sipp import Sipp, register
from tests.support.feed_readers import (
    TRAFFIC,
    CurlReader,
    Event,
    get,
    pages,
    read_websocket,
)
from tests.support.server_process import ServerProcess
from tests.support.webhook_receiver import Receiver

WEB = TRUSTING + "[web]\nheartbeat_s = 0.5\nstall_s = 2\nrequest_s = 1\n"
RECORDS = {"category": "pbx.cdrs"}
CALLS = 120


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ServerProcess, str, str]]:
    """A server with its API, where that is, and a token."""
    data = tmp_path_factory.mktemp("feeds")
    with ServerProcess(data, settings=WEB, options=("--admin", "127.0.0.1:0")) as made:
        with_accounts(made)
        yield made, made.admin(), made.run("token", "create", "reader").strip()


@contextmanager
def traffic(server: ServerProcess, directory: Path, calls: int = CALLS) -> Iterator[Sipp]:
    """Calls while the block runs; it ends when the last one has."""
    remote = server.address()
    with Sipp(directory, "uas_answer", calls=calls) as uas:
        register(directory, remote, "bob", uas.port)
        with Sipp(directory, "uac_plain", remote, calls=calls, rate=20, hold_ms=500) as uac:
            yield uac
            uac.wait()
            uas.wait()
        register(directory, remote, "bob", uas.port, expires_s=0)
    server.await_no_calls()


def positions(events: list[Event]) -> list[str]:
    """As `pbx log` numbers them: without the mark of their history."""
    return [event["position"].partition("-")[0] for event in events]


@pytest.mark.needs("sipp", "curl")
def test_a_reader_that_was_stopped_and_resumed_has_what_one_has_that_stayed(
    site: tuple[ServerProcess, str, str], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    server, admin, token = site
    rng = random.Random(4)
    broken: list[Event] = []
    over_socket: list[Event] = []
    failures: list[BaseException] = []
    finished = threading.Event()

    def come_and_go() -> None:
        """A WebSocket reader that leaves without a word after some events, again and again."""
        try:
            while not finished.is_set():
                after = over_socket[-1]["position"] if over_socket else ""
                over_socket.extend(read_websocket(admin, token, after, rng.randint(1, 300)))
        except BaseException as error:
            failures.append(error)
            raise

    stayed = CurlReader(admin, token, tmp_path / "stayed")
    request.addfinalizer(stayed.kill)
    request.addfinalizer(finished.set)
    reader = threading.Thread(target=come_and_go, daemon=True)
    reader.start()
    with traffic(server, tmp_path) as uac:
        for number in range(8):
            after = broken[-1]["position"] if broken else ""
            leaving = CurlReader(admin, token, tmp_path / f"left-{number}", after)
            time.sleep(rng.uniform(0.2, 0.8))
            leaving.kill()
            broken += leaving.events()
            time.sleep(rng.uniform(0.0, 0.5))  # away
        assert uac is not None
    expected = positions(
        [
            {"position": str(event["position"])}
            for event in server.events("--after", "0")
            if event["type"].startswith(("leg.", "call."))
        ]
    )
    assert len(expected) > CALLS * 8
    await_condition(
        lambda: len(stayed.events()) >= len(expected), "the reader that stayed is level"
    )
    await_condition(lambda: len(over_socket) >= len(expected), "the WebSocket is level")
    finished.set()
    reader.join(30)
    stayed.kill()
    last = CurlReader(admin, token, tmp_path / "last", broken[-1]["position"])
    request.addfinalizer(last.kill)
    missing = len(expected) - len(broken)
    await_condition(lambda: len(last.events()) >= missing, "the reader that left is level")
    last.kill()
    broken += last.events()
    assert not failures
    assert positions(stayed.events()) == expected
    assert positions(broken) == expected
    assert positions(over_socket) == expected
    assert positions(list(pages(admin, token, **TRAFFIC))) == expected
    assert broken == stayed.events() == over_socket


@pytest.mark.needs("sipp", "curl")
def test_call_records_are_the_same_for_who_was_away_and_who_stayed(
    site: tuple[ServerProcess, str, str], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """A minute of calls is missed, by their number: sixty; over each way to read."""
    server, admin, token = site
    (tail,) = [page["next"] for page in [get(f"http://{admin}/events?after=now", token)]]

    def reader(name: str, after: str) -> CurlReader:
        made = CurlReader(admin, token, tmp_path / name, after, RECORDS)
        request.addfinalizer(made.kill)
        return made

    before = {row["call_id"] for row in server.cdrs()}
    stayed, left = reader("stayed", tail), reader("left", tail)
    over_socket: list[Event] = []
    with traffic(server, tmp_path / "first", calls=30):
        await_condition(lambda: len(left.events()) >= 10, "records while calls go on")
        left.kill()
        over_socket += read_websocket(admin, token, tail, 7, RECORDS)
    broken = left.events()
    by_pages = list(pages(admin, token, tail, **RECORDS))
    with traffic(server, tmp_path / "away", calls=60):
        pass
    with traffic(server, tmp_path / "back", calls=20):
        last = reader("last", broken[-1]["position"])
        after = over_socket[-1]["position"]
        over_socket += read_websocket(admin, token, after, 30, RECORDS)
    made = {row["call_id"] for row in server.await_cdrs(len(before) + 110)} - before
    await_condition(lambda: len(stayed.events()) >= len(made), "the one that stayed is level")
    await_condition(
        lambda: len(broken) + len(last.events()) >= len(made), "the one that left is level"
    )
    for one in (stayed, last):
        one.kill()
    broken += last.events()
    while more := read_websocket(admin, token, over_socket[-1]["position"], 1000, RECORDS):
        over_socket += more
    by_pages += pages(admin, token, by_pages[-1]["position"], **RECORDS)
    assert stayed.events() == broken == over_socket == by_pages
    assert {event["type"] for event in broken} == {"cdr.recorded.v1"}
    told = [event["data"]["call_id"] for event in broken]
    assert sorted(told) == sorted(made), "every call once, as the tables have it"
    assert len(told) == 110


@pytest.mark.needs("sipp")
def test_a_reader_that_takes_nothing_is_dropped_and_costs_nobody(
    site: tuple[ServerProcess, str, str], tmp_path: Path
) -> None:
    """It asks for everything and reads nothing; calls, memory and other readers do not notice."""
    server, admin, token = site
    host, _, port = admin.partition(":")
    web = server.roles()["web"]
    before = web.memory_info().rss
    with ExitStack() as stack:
        lazy = []
        for _ in range(20):
            dead = socket.socket()
            stack.callback(dead.close)
            dead.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            dead.connect((host, int(port)))
            dead.sendall(
                f"GET /events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
                "Accept: text/event-stream\r\n\r\n".encode()
            )
            lazy.append(dead)
        with traffic(server, tmp_path, calls=40):
            assert len(list(pages(admin, token))) > 100
        await_condition(
            lambda: len(web.net_connections()) <= 3, "readers that take nothing are dropped"
        )
        assert web.memory_info().rss - before < 60_000_000


def test_slow_and_broken_requests_are_cut(site: tuple[ServerProcess, str, str]) -> None:
    _, admin, _ = site
    host, _, port = admin.partition(":")
    for sent in (b"", b"GET /events HTTP/1.1\r\nHost:", b"GET /events HTTP/1.1\r\nX: 1\r\n"):
        with socket.create_connection((host, int(port)), timeout=10) as slow:
            slow.sendall(sent)
            started = time.monotonic()
            assert _ended(slow)
            assert time.monotonic() - started < 5
    for sent in (b"\x00\x01\x02\r\n\r\n", b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000):
        with socket.create_connection((host, int(port)), timeout=10) as broken:
            broken.sendall(sent)
            answer = b""
            try:
                while chunk := broken.recv(4096):
                    answer += chunk
            except ConnectionResetError:
                pass
            assert answer.startswith(b"HTTP/1.1 400 ")
            assert b"urn:ringlog:problem:bad-request" in answer


def _ended(connection: socket.socket) -> bool:
    """Whether the server ends it without a word."""
    try:
        return connection.recv(100) == b""
    except ConnectionResetError:
        return True


def test_connections_beyond_the_bound_are_closed(tmp_path: Path) -> None:
    settings = TRUSTING + "[web]\nconnections_per_source = 5\n"
    with ServerProcess(tmp_path, settings=settings, options=("--admin", "127.0.0.1:0")) as server:
        host, _, port = server.admin().partition(":")
        with ExitStack() as stack:
            for _ in range(5):
                stack.enter_context(socket.create_connection((host, int(port)), timeout=5))
            extra = stack.enter_context(socket.create_connection((host, int(port)), timeout=5))
            assert _ended(extra)
        token = server.run("token", "create", "reader").strip()
        await_condition(lambda: _answers(server.admin(), token), "places are free again")


def _answers(admin: str, token: str) -> bool:
    try:
        return "events" in get(f"http://{admin}/events", token)
    except OSError:
        return False


def test_the_death_of_the_web_role_ends_no_call_and_readers_find_it_again(
    site: tuple[ServerProcess, str, str], tmp_path: Path
) -> None:
    server, admin, token = site
    before = list(pages(admin, token))
    server.roles()["web"].kill()
    await_condition(lambda: _answers(admin, token), "the API is back at its port")
    after = list(pages(admin, token, before[-1]["position"]))
    everything = [str(event["position"]) for event in server.events("--after", "0")]
    assert positions(before + after) == everything


def test_a_port_that_is_taken_is_told_and_no_call_minds(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        with ServerProcess(tmp_path, settings=TRUSTING, options=("--admin", place)) as server:
            await_condition(
                lambda: f"web: cannot listen on {place}: " in server.log(), "the log says why"
            )
            assert "--admin HOST:PORT" in server.log()
            assert server.calls() == []
            assert "signal" in server.roles()


def test_an_address_that_others_reach_waits_for_a_token(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, settings=TRUSTING, options=("--admin", "0.0.0.0:0")) as server:
        await_condition(
            lambda: "is not opened before there is a token" in server.log(), "it says so"
        )
        web = server.roles()["web"]
        assert [c for c in web.net_connections() if c.status == psutil.CONN_LISTEN] == []
        token = server.run("token", "create", "reader").strip()
        port = server.admin().rpartition(":")[2]
        assert "events" in get(f"http://127.0.0.1:{port}/events", token)
        with pytest.raises(urllib.error.HTTPError, match="401"):
            get(f"http://127.0.0.1:{port}/events", "wrong")


def test_tls_uses_the_certificate_of_the_server(tmp_path: Path) -> None:
    settings = TRUSTING + '[web]\nadmin_tls_listen = "127.0.0.1:0"\n'
    options = ("--admin", "127.0.0.1:0")
    with ServerProcess(tmp_path, settings=settings, options=options) as server:
        place = server.admin("https")
        token = server.run("token", "create", "reader").strip()
        context = ssl.create_default_context(cafile=str(tmp_path / "tls" / "self-signed.crt"))
        context.check_hostname = False  # it is made for the name of this machine
        request = urllib.request.Request(
            f"https://{place}/events", headers={"Authorization": f"Bearer {token}"}
        )
        with urllib.request.urlopen(request, context=context, timeout=10) as answer:
            assert json.load(answer)["events"]


# Webhooks.


@pytest.mark.needs("sipp")
def test_webhooks_lose_nothing_over_failures_and_kills(tmp_path: Path) -> None:
    """The receiver refuses for a while, and the delivering role is killed twice."""
    settings = TRUSTING + "[webhooks]\nretry_first_s = 0.2\nretry_longest_s = 0.5\n"
    options = ("--admin", "off")
    with Receiver() as receiver, ServerProcess(tmp_path, settings=settings, options=options) as s:
        with_accounts(s)
        wanted = ("--type", "leg.*", "--type", "call.*", "--allow-http", "--allow-private")
        added = json.loads(s.run("webhook", "add", receiver.url, "--generate", *wanted, "--json"))
        with traffic(s, tmp_path / "sipp", calls=60):
            await_condition(lambda: len(receiver.messages) > 50, "deliveries began")
            s.roles()["project"].kill()
            receiver.status = 503
            await_condition(
                lambda: s.listing("webhook", "status")[0]["failures"] > 0, "failures are shown"
            )
            receiver.status = 204
            s.roles()["project"].kill()
        expected = [
            str(event["position"])
            for event in s.events("--after", "0")
            if event["type"].startswith(("leg.", "call."))
        ]
        await_condition(
            lambda: len(positions(receiver.events())) >= len(expected), "all is delivered"
        )
        assert positions(receiver.events()) == expected
        seen = [headers["webhook-id"] for headers, _ in receiver.messages]
        assert len(set(seen)) == len(expected), "a repetition has the id of the first"
        assert len(seen) - len(expected) <= 2, "only what was on its way at a kill is repeated"
        key = key_of(added["secret"])
        assert all(verify(key, h, body, int(time.time())) for h, body in receiver.messages)
        [status] = s.listing("webhook", "status")
        assert (status["failures"], status["paused"]) == (0, "")
        assert status["delivered"] == len(expected)
        assert status["last_delivery"].startswith("20")

        receiver.messages.clear()
        s.run("webhook", "replay", added["id"], "--after", expected[-4])
        await_condition(lambda: len(receiver.messages) >= 3, "the last three come again")
        assert positions(receiver.events()) == expected[-3:]
        s.run("webhook", "remove", added["id"])
        assert s.listing("webhook", "list") == []


def test_tokens_and_webhooks_on_the_command_line(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path)  # not started: commands need none
    made = json.loads(server.run("token", "create", "billing", "--scope", "cdrs:read", "--json"))
    assert made["token"].startswith(f"ringlog_{made['id']}_")
    assert "billing" in server.run("token", "list")
    assert made["token"] not in server.run("token", "list") + server.run("log")
    server.run("token", "revoke", made["id"])
    assert server.listing("token", "list")[0]["state"] == "revoked"
    secret = tmp_path / "secret"
    secret.write_text("whsec_" + "A" * 44 + "\n")
    server.run("webhook", "add", "https://hooks.example/", "--secret-file", str(secret))
    [hook] = server.listing("webhook", "list")
    server.run("webhook", "pause", hook["id"])
    assert "paused: by cli:" in server.run("webhook", "status")
    server.run("webhook", "resume", hook["id"])
    assert server.listing("webhook", "list")[0]["paused"] == ""
    assert "A" * 44 not in server.run("log")
