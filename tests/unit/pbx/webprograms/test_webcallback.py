"""The web callback of the document (PBX applications reference §17), as printed and as meant."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

import pytest
from starlette.testclient import TestClient

from tests.support.rest_lab import problem
from tests.support.web_program_lab import MAIN, WebProgramLab

PRINTED: Final = (Path(__file__).parents[3] / "data" / "script" / "webcallback.wcgp").read_bytes()
MEANT: Final = PRINTED.replace(
    b'PARAM("" + phone + "","" + operatorphone + "")"',
    b'PARAM(\\"" + phone + "\\",\\"" + operatorphone + "\\")"',
)
URL: Final = "/sys/webcallback.wcgp"


def test_the_form_and_the_call(lab: WebProgramLab, http: TestClient) -> None:
    lab.store("webcallback.wcgp", MEANT)
    form = http.get(URL)
    assert form.status_code == 200
    assert form.headers["content-type"] == "text/html; charset=utf-8"
    assert form.text == (
        "<h1>Enter phone number</h1><form action=webcallback.wcgp><input name=phone>"
        "<input type=submit></form>"
    )
    assert not lab.tasks.started
    waiting = http.get(URL, params={"phone": "+7 (900) 123-45-67"})
    assert waiting.text == "<h1>Waiting call on phone +7 (900) 123-45-67</h1>"
    assert lab.tasks.started == [
        (
            f"pbx@{MAIN}",
            "rendezvous",
            '("+7 (900) 123-45-67",401)',
            "program:webcallback.wcgp",
        )
    ]


def test_the_text_as_printed_starts_nothing_and_the_log_says_why(
    lab: WebProgramLab, http: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    """Five literals run together: the command is none, and the program does not look."""
    lab.store("webcallback.wcgp", PRINTED)
    with caplog.at_level(logging.WARNING, "pbx.webprograms"):
        assert http.get(URL, params={"phone": "401"}).status_code == 200
    assert not lab.tasks.started
    assert "webcallback.wcgp: ExecuteCLI was refused: incorrect data format" in caplog.text


@pytest.mark.parametrize(
    "phone",
    ['402","+79990000000', "402\\", '402") SHUTDOWN', "402\nSHUTDOWN", "402\r\nKILLNODE x"],
)
def test_a_number_does_not_end_the_string_it_stands_in(
    lab: WebProgramLab, http: TestClient, caplog: pytest.LogCaptureFixture, phone: str
) -> None:
    lab.store("webcallback.wcgp", MEANT)
    with caplog.at_level(logging.WARNING, "pbx.webprograms"):
        http.get(URL, params={"phone": phone})
    assert not lab.tasks.started
    assert "holds a quote, a backslash or a control character" in caplog.text


def test_what_a_visitor_types_is_no_script(lab: WebProgramLab, http: TestClient) -> None:
    """The program does not escape it: the page is kept in a sandbox."""
    lab.store("webcallback.wcgp", MEANT)
    page = http.get(URL, params={"phone": "<script>alert(1)</script>"})
    policy = page.headers["content-security-policy"]
    assert policy.startswith("sandbox allow-forms")
    assert "allow-scripts" not in policy
    assert "allow-same-origin" not in policy
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["cache-control"] == "no-store"


OWN = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "navigate"}
LINKED = {
    "Sec-Fetch-Site": "cross-site",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-User": "?1",
}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        (OWN, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        (LINKED, 200),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"}, 403),
        ({**LINKED, "Sec-Fetch-User": "?0"}, 403),
        ({**LINKED, "Sec-Fetch-Dest": "iframe"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "http://testserver"}, 200),
    ],
)
def test_pages_of_others_start_no_calls(
    lab: WebProgramLab, http: TestClient, headers: dict[str, str], status: int
) -> None:
    lab.store("webcallback.wcgp", MEANT)
    answer = http.post(URL, data={"phone": "401"}, headers=headers)
    assert answer.status_code == status
    assert len(lab.tasks.started) == (1 if status == 200 else 0)


def test_one_address_starts_a_third_of_the_calls() -> None:
    lab = WebProgramLab(calls_a_minute=6)
    lab.store("webcallback.wcgp", MEANT)
    try:
        for address, started in (("192.0.2.1", 2), ("192.0.2.2", 4), ("192.0.2.3", 6)):
            with lab.client(address) as http:
                for _ in range(4):
                    assert http.get(URL, params={"phone": "401"}).status_code == 200
            assert len(lab.tasks.started) == started
        with lab.client("192.0.2.4") as http:
            http.get(URL, params={"phone": "401"})
            assert len(lab.tasks.started) == 6
            lab.clock.now_s += 61
            http.get(URL, params={"phone": "401"})
            assert len(lab.tasks.started) == 7
    finally:
        lab.close()


def test_requests_of_an_address_are_counted() -> None:
    lab = WebProgramLab(requests_a_minute=3)
    lab.store("webcallback.wcgp", MEANT)
    try:
        with lab.client() as http:
            assert [http.get(URL).status_code for _ in range(4)] == [200, 200, 200, 429]
            refused = http.get("/sys/nosuch.wcgp")
            assert problem(refused) == (429, "too-many-requests")
            assert int(refused.headers["retry-after"]) > 0
            lab.clock.now_s += 61
            assert http.get(URL).status_code == 200
        with lab.client("192.0.2.9") as http:
            assert http.get(URL).status_code == 200
    finally:
        lab.close()


def test_switched_off() -> None:
    lab = WebProgramLab(requests_a_minute=0)
    lab.store("webcallback.wcgp", MEANT)
    try:
        with lab.client() as http:
            assert problem(http.get(URL)) == (404, "no-program")
    finally:
        lab.close()
