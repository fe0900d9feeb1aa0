"""What web programs see of a request and do to the response; which of them are served."""

from __future__ import annotations

import logging

import pytest
from starlette.testclient import TestClient

from pbx.settings_changes import Target
from tests.support.rest_lab import problem
from tests.support.web_program_lab import MAIN, WebProgramLab

ECHO = """
entry sysEntry is
  var shown = NewDictionary();
  shown.method = GetHTTPMethod();
  shown.query = GetHTTPQuery();
  shown.resource = GetHTTPResource();
  shown.url = GetHTTPField("");
  shown.host = GetHTTPField("Host");
  shown.port = GetHTTPField("Port");
  shown.schema = GetHTTPField("Schema");
  shown.agent = GetHTTPField("User-Agent");
  shown.other = GetHTTPField("X-Secret");
  shown.first = GetHTTPParameter("a");
  shown.second = GetHTTPParameter("a", 1);
  shown.third = GetHTTPParameter("a", 2);
  shown.type = GetHTTPType();
  shown.subtype = GetHTTPSubtype();
  shown.remote = RemoteIPAddress();
  shown.upload = GetHTTPBinaryParameter("file");
  shown.data = GetHTTPData();
  SetHTTPResponseData(shown);
end entry;
"""


def test_what_a_program_sees(lab: WebProgramLab, http: TestClient) -> None:
    lab.store("echo.wcgp", ECHO)
    answer = http.get("/sys/ECHO.wcgp/b/c?a=1&a=%D0%B6+x", headers={"X-Secret": "no"})
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.text == (
        "{agent=testclient;first=1;host=testserver;method=GET;port=#80;"
        'query="a=1&a=%D0%B6+x";remote=#I[192.0.2.1];'
        'resource="/sys/ECHO.wcgp/b/c?a=1&a=%D0%B6+x";schema=http;'
        'second="ж x";url="/sys/ECHO.wcgp/b/c";}'
    )


def test_forms_and_uploads(lab: WebProgramLab, http: TestClient) -> None:
    lab.store("echo.wcgp", ECHO)
    form = http.post(
        "/sys/echo.wcgp?a=url",
        content=b"FormCharset=koi8-r&a=%D6&a=x%0D%0Ay",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    ).text
    assert "first=url;" in form
    assert 'second="ж"' in form
    assert 'third="x\\ny"' in form, "line ends are those of this machine"
    sent = http.post("/sys/echo.wcgp", data={"a": "1"}, files={"file": ("n.bin", b"\x00\x01\xff")})
    assert "upload=[AAH/]" in sent.text
    assert "first=1;" in sent.text
    text = http.post("/sys/echo.wcgp", content=b"hi", headers={"Content-Type": "text/plain"}).text
    assert "data=hi;" in text
    broken = http.post(
        "/sys/echo.wcgp", content=b"<a", headers={"Content-Type": "application/soap+xml"}
    ).text
    assert "data" not in broken


def _program(*lines: str) -> str:
    return "entry sysEntry is\n" + "\n".join(lines) + "\nend entry;\n"


def test_the_response(lab: WebProgramLab, http: TestClient) -> None:
    lab.store(
        "page.wcgp",
        _program(
            'SetHTTPResponseCode("404-not here");',
            'SetHTTPResponseType("text", "plain");',
            'AddHTTPResponseField("X-Number", 5);',
            'AddHTTPResponseField("X-Bad", "a\\r\\nSet-Cookie: b");',
            'AddHTTPResponseField("Content-Security-Policy", "none");',
            'AddHTTPResponseField("Transfer-Encoding", "chunked");',
            'SetHTTPResponseData("ж");',
        ),
    )
    answer = http.get("/sys/page.wcgp")
    assert (answer.status_code, answer.text) == (404, "ж")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["x-number"] == "5"
    assert "x-bad" not in answer.headers
    assert "set-cookie" not in answer.headers
    assert answer.headers["content-security-policy"].startswith("sandbox")
    assert "transfer-encoding" not in answer.headers


@pytest.mark.parametrize(
    ("line", "status", "body", "kind"),
    [
        ("", 200, b"", "text/html; charset=utf-8"),
        ('SetHTTPResponseData(Base64Decode("AP8="));', 200, b"\0\xff", "application/octet-stream"),
        ('SetHTTPResponseData(NewXML("a"));', 200, b"<a/>", "text/xml; charset=utf-8"),
        ('SetHTTPResponseCode("on fire");', 500, b"on fire", "text/plain; charset=utf-8"),
        ("SetHTTPResponseCode(99);", 500, b"", "text/html; charset=utf-8"),
        ('SetHTTPResponseType("a b", "c");', 200, b"", "text/html; charset=utf-8"),
    ],
)
def test_kinds_of_responses(
    lab: WebProgramLab, http: TestClient, line: str, status: int, body: bytes, kind: str
) -> None:
    lab.store("page.wcgp", _program(line))
    answer = http.get("/sys/page.wcgp")
    assert (answer.status_code, answer.content) == (status, body)
    assert answer.headers["content-type"] == kind


def test_only_programs_of_the_server_are_served(lab: WebProgramLab, http: TestClient) -> None:
    """A domain's administrator stores files, too: those have no rights of the server."""
    lab.store("own.wcgp", _program('SetHTTPResponseData("x");'), Target("domain", MAIN))
    lab.store("logo.gif", b"GIF89a")
    lab.store("inside.wcgp", 'entry main is\n  SetHTTPResponseData("x");\nend entry;\n')
    lab.store("wrong.wcgp", "entry sysEntry is\n  PlayFile(\n")
    for path in ("own.wcgp", "logo.gif", "", "none.wcgp", ".wcgp", "a%2Fb.wcgp", "../sys/x.wcgp"):
        assert http.get(f"/sys/{path}").status_code in (401, 404), path
    assert problem(http.get("/sys/own.wcgp")) == (404, "no-program")
    assert problem(http.get("/sys/inside.wcgp")) == (500, "program-failed")
    assert problem(http.get("/sys/wrong.wcgp")) == (500, "program-failed")
    assert http.get("/v1/domains").status_code in (401, 404), "nothing else was opened"


def test_a_stored_program_is_used_at_once(lab: WebProgramLab, http: TestClient) -> None:
    lab.store("page.wcgp", _program('SetHTTPResponseData("one");'))
    assert http.get("/sys/page.wcgp").text == "one"
    lab.store("page.wcgp", _program('SetHTTPResponseData("two");'))
    assert http.get("/sys/page.wcgp").text == "two"


def test_modules_and_files_of_the_server(lab: WebProgramLab, http: TestClient) -> None:
    lab.store("words.wcgi", 'function words() is\n  return "from a module";\nend function;\n')
    lab.store("data.txt", "and a file")
    lab.store(
        "page.wcgp",
        "function words() external;\n"
        + _program('SetHTTPResponseData(words() + ", " + String(ReadEnvirFile("data.txt")));'),
    )
    assert http.get("/sys/page.wcgp").text == "from a module, and a file"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("loop null; end loop;", "an endless loop?"),
        ('loop void(GetHTTPParameter("a")); end loop;', "2000 requests are the limit"),
        ('ProcessWSSP("page", NewDictionary());', "are not rendered by this server"),
    ],
)
def test_a_program_that_breaks_down(
    lab: WebProgramLab,
    http: TestClient,
    caplog: pytest.LogCaptureFixture,
    line: str,
    told: str,
) -> None:
    lab.store("page.wcgp", _program(line))
    with caplog.at_level(logging.WARNING, "pbx.webprograms"):
        answer = http.get("/sys/page.wcgp")
    assert problem(answer) == (500, "program-failed")
    assert told in caplog.text
    assert "entry" not in answer.text, "a visitor learns nothing of the program"


def test_what_a_program_may_not_ask(
    lab: WebProgramLab, http: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    lab.store(
        "page.wcgp",
        _program(
            'var told = ExecuteCLI("SHUTDOWN");',
            'told += " | " + ExecuteCLI("STARTPBXTASK nobody PROGRAM x");',
            'told += " | " + ExecuteCLI("STARTPBXTASK pbx PROGRAM x PARAM (\\"1\\") KILLNODE y");',
            'told += " | " + StartPBXTASK("pbx", "x", "p");',
            'told += " | " + HTTPCall("http://127.0.0.1/", NewDictionary());',
            "SetHTTPResponseData(told);",
        ),
    )
    with caplog.at_level(logging.WARNING, "pbx.webprograms"):
        told = http.get("/sys/page.wcgp").text.split(" | ")
    assert (
        told[0] == "500-web programs may give STARTPBXTASK; other commands are for administrators"
    )
    assert told[1] == "unknown user account"
    assert told[2].startswith("unexpected parameter KILLNODE")
    assert told[3] == "T1@lab"
    assert told[4] == "501-HTTPCall is not available to web programs"
    assert lab.tasks.started == [(f"pbx@{MAIN}", "x", "p", "program:page.wcgp")]
