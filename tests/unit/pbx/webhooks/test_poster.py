"""``pbx.webhooks.poster``: one attempt, against receivers on this machine that behave badly."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from pbx.webhooks.poster import MAX_ANSWER_BYTES, Poster
from pbx.webhooks.progress import Outcome

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter, bytes], Awaitable[None]]
OK = b"HTTP/1.1 204 No Content\r\n\r\n"


async def request_of(reader: asyncio.StreamReader) -> bytes:
    """Head and body of the next request; empty at the end."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return b""
    length = next(
        int(line.split(b":")[1])
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"content-length")
    )
    return head + await reader.readexactly(length)


async def posted(
    answers: list[bytes],
    *,
    timeout_s: float = 10.0,
    allow_private: bool = True,
    host: str = "127.0.0.1",
    times: int = 1,
) -> tuple[list[Outcome], list[bytes], int]:
    """Post to a receiver that gives `answers`; outcomes, requests, number of connections."""
    requests: list[bytes] = []
    connections = 0
    left = iter(answers)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while request := await request_of(reader):
            requests.append(request)
            answer = next(left, None)
            if answer is None:
                await reader.read()  # until the client gives up
                break
            writer.write(answer)
            await writer.drain()
            if b"onnection: close" in answer or not answer:
                break
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    poster = Poster(timeout_s=timeout_s, allow_private=allow_private)
    url = f"http://{host}:{port}/in?x=1"
    outcomes = [await poster.post(url, {"webhook-id": "msg_1"}, b"{}") for _ in range(times)]
    await poster.close()
    server.close()
    await asyncio.sleep(0)
    return outcomes, requests, connections


def test_a_post_has_headers_and_body() -> None:
    outcomes, [request], _ = asyncio.run(posted([OK]))
    assert outcomes == [Outcome()]
    head, _, body = request.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /in?x=1 HTTP/1.1\r\n")
    assert b"Content-Type: application/json" in head
    assert b"webhook-id: msg_1" in head
    assert b"User-Agent: Ringlog/" in head
    assert body == b"{}"


def test_a_connection_is_kept() -> None:
    outcomes, requests, connections = asyncio.run(posted([OK] * 3, times=3))
    assert (outcomes, len(requests), connections) == ([Outcome()] * 3, 3, 1)


def test_a_connection_that_was_closed_is_made_anew() -> None:
    closing = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    outcomes, _, connections = asyncio.run(posted([closing, OK], times=2))
    assert (outcomes, connections) == ([Outcome(), Outcome()], 2)


def test_an_answer_that_never_ends_is_not_read_to_its_end() -> None:
    endless = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n" + b"x" * MAX_ANSWER_BYTES * 2
    outcomes, _, connections = asyncio.run(posted([endless, OK], times=2))
    assert (outcomes, connections) == ([Outcome(), Outcome()], 2)


def test_a_redirect_is_a_failure() -> None:
    moved = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
    [outcome], requests, _ = asyncio.run(posted([moved]))
    assert "302" in outcome.error
    assert len(requests) == 1


@pytest.mark.parametrize("answer", [b"", b"hello\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Len"])
def test_nonsense_is_a_failure_with_words(answer: bytes) -> None:
    [outcome], _, _ = asyncio.run(posted([answer] if answer else [b""], timeout_s=0.2))
    assert outcome.error


def test_silence_is_a_failure() -> None:
    [outcome], _, _ = asyncio.run(posted([], timeout_s=0.05))
    assert outcome.error == "no answer within 0.05 s"


def test_an_address_that_is_not_allowed_is_never_connected_to() -> None:
    [outcome], requests, connections = asyncio.run(posted([OK], allow_private=False))
    assert (requests, connections) == ([], 0)
    assert "127.0.0.1, which is not on the public Internet" in outcome.error


def test_a_name_is_judged_by_what_it_leads_to() -> None:
    """The name of the machine itself; its URL has no address that could be refused earlier."""
    [outcome], _, connections = asyncio.run(posted([OK], allow_private=False, host="localhost"))
    assert connections == 0
    assert "not on the public Internet" in outcome.error


def test_a_name_nobody_knows_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> Outcome:
        async def unknown(*_: object, **__: object) -> list[object]:
            raise OSError(-2, "Name or service not known")

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown)
        poster = Poster(timeout_s=1, allow_private=False)
        outcome = await poster.post("https://none.example/", {}, b"")
        await poster.close()
        return outcome

    assert "cannot resolve none.example" in asyncio.run(scenario()).error


def test_a_name_with_a_good_and_a_bad_address_is_reached_at_the_good_one_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the resolver says first must not count."""
    tried: list[str] = []

    async def scenario() -> Outcome:
        async def two(*_: object, **__: object) -> list[object]:
            return [(2, 1, 6, "", ("10.0.0.1", 80)), (2, 1, 6, "", ("93.184.215.14", 80))]

        async def connect(self: object, host: str, *_: object, **__: object) -> object:
            import httpcore2

            tried.append(host)
            raise httpcore2.ConnectError("refused")

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", two)
        monkeypatch.setattr("httpcore2.AnyIOBackend.connect_tcp", connect)
        poster = Poster(timeout_s=1, allow_private=False)
        outcome = await poster.post("http://two.example/", {}, b"")
        await poster.close()
        return outcome

    assert asyncio.run(scenario()).error == "refused"
    assert tried == ["93.184.215.14"]
