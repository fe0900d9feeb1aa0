"""The parts around a call: digits of INFO, parameters of calls, silence, files, HTTP requests."""

from __future__ import annotations

import wave
from io import BytesIO
from pathlib import Path

import pytest

from pbx.script.conversion import from_python, to_python
from pbx.script.environment import Level
from pbx.script.offline.files import silence_wav
from pbx.script.values import Data, Dictionary
from pbx.voice.errors import BadParameters
from pbx.voice.files import DiskRecordings, DiskSounds, StockFiles
from pbx.voice.messages import digit_of, dtmf_relay, info_of, info_parameters
from pbx.voice.outgoing import outgoing, uri_of
from pbx.voice.port import reason_field
from pbx.voice.silence import trailing_silence_ms
from pbx.voice.web import WebCaller, WebProblem, web_request
from sip.message import Response


def dictionary(**values: object) -> Dictionary:
    made = from_python({key.rstrip("_").replace("__", "-"): one for key, one in values.items()})
    assert isinstance(made, Dictionary)
    return made


@pytest.mark.parametrize(
    ("kind", "body", "digit"),
    [
        ("application/dtmf-relay", b"Signal=5\r\nDuration=160\r\n", "5"),
        ("application/dtmf-relay; charset=x", b"Duration=160\nsignal = # \n", "#"),
        ("Application/DTMF-Relay", b"Signal=10\r\n", "*"),
        ("application/dtmf", b"d\r\n", "D"),
        ("application/dtmf-relay", b"Signal=16\r\n", ""),
        ("application/dtmf-relay", b"nothing", ""),
        ("text/plain", b"Signal=5", None),
        ("", b"", None),
    ],
)
def test_digits_of_info(kind: str, body: bytes, digit: str | None) -> None:
    assert digit_of(kind, body) == digit


def test_a_digit_that_is_sent_is_understood() -> None:
    for digit in "0123456789*#ABCD":
        assert digit_of("application/dtmf-relay", dtmf_relay(digit)) == digit


def test_other_info_is_a_dictionary_both_ways() -> None:
    found = info_parameters("application/json; x=y", b"{}")
    assert found.get(b"Content-Type") == b"application"
    assert found.get(b"Content-Subtype") == b"json"
    assert found.get(b"") == Data(b"{}")
    assert info_of(found) == ("application/json", b"{}")
    assert info_of(dictionary(Content__Type="a\r\nb")) == "the content type is no type"
    assert isinstance(info_of(from_python({"": "x" * 20_000})), str)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("402", "sip:402@dom"),
        ("al@x.org", "sip:al@x.org"),
        ("sip:al@x.org;a=b", "sip:al@x.org;a=b"),
        ('"Al" <sip:al@x.org>', "sip:al@x.org"),
        ("tel:+49", "tel:+49"),
    ],
)
def test_what_programs_call(given: str, expected: str) -> None:
    assert uri_of(given, "dom") == expected


def test_a_plain_call_is_from_the_account() -> None:
    made = outgoing(dictionary(**{"": "402"}), "al@dom", "Al", "dom", "id@voice", "t")
    assert made.request.uri == "sip:402@dom"
    assert made.request.from_.display == "Al"
    assert made.request.from_.uri_text == "sip:al@dom"
    assert made.shown.asserted == "sip:al@dom"
    assert made.request.call_id == "id@voice"
    assert made.options.call_id == ""
    assert made.request.max_forwards == 70


def test_the_parameters_of_a_gateway() -> None:
    values = from_python(
        {
            "": "sip:8005@gw.example", "From": "sip:1@gw.example", "fromName": "Office",
            "Call-ID": "abc.gwout7", "Max-Forwards": 12, "Expires": 30, "customIdentity": "",
            "authUsername": "u", "authPassword": "p", "Via": "proxy.example", "Subject": "Hi",
            "No100rel": True, "Session-Expires": 0, "P-Billing-Id": "al>8005", "Relay": "NO",
            "Replaces": {"Call-ID": "c", "fromTag": "f", "toTag": "t", "early-only": True},
        }
    )  # fmt: skip
    assert isinstance(values, Dictionary)
    made = outgoing(values, "al@dom", "Al", "dom", "id@voice", "t")
    options = made.options
    assert made.request.max_forwards == 12
    assert made.request.first("Expires") == "30"
    assert made.request.first("Subject") == "Hi"
    assert (options.call_id, options.asserted, options.reliable) == ("abc.gwout7", "", False)
    assert (options.session_expires_s, options.relay) == (0, False)
    assert options.route == ("<sip:proxy.example;lr>",)
    assert options.fields == (("Replaces", "c;to-tag=t;from-tag=f;early-only"),)
    assert options.billing_id == "al>8005"
    assert "p" not in repr(options.credentials).replace("Credentials", "")


@pytest.mark.parametrize(
    ("parameters", "status"),
    [
        ({"": "sip:a@b", "Subject": "x\r\nEvil: y"}, 400),
        ({"": "sip:a@b", "Max-Forwards": 0}, 483),
        ({"": "sip:@b"}, 484),
        ({"": "sip:a@b", "Call-ID": "a b"}, 400),
        ({"": "sip:a@b", "From": "sip:[x"}, 400),
        ({"": "sip:a@b", "Subject": "x" * 5000}, 400),
    ],
)
def test_parameters_that_make_no_call(parameters: dict[str, object], status: int) -> None:
    values = from_python(parameters)
    assert isinstance(values, Dictionary)
    with pytest.raises(BadParameters) as caught:
        outgoing(values, "al@dom", "", "dom", "id@voice", "t")
    assert caught.value.status == status


def test_a_call_that_shall_not_tell_who_calls() -> None:
    values = from_python({"": "sip:b@dom", "Privacy": ["id"]})
    assert isinstance(values, Dictionary)
    made = outgoing(values, "al@dom", "Al", "dom", "id@voice", "t")
    assert "anonymous" in made.shown.from_
    assert made.shown.asserted == ""


def test_credentials_count_their_requests() -> None:
    challenge = 'Digest realm="gw", nonce="n1", algorithm=MD5, qop="auth"'
    response = Response(401, "Unauthorized", (("WWW-Authenticate", challenge),))
    values = from_python({"": "sip:b@gw", "authUsername": "u", "authPassword": "p"})
    assert isinstance(values, Dictionary)
    known = outgoing(values, "al@dom", "Al", "dom", "id@voice", "t").options.credentials
    assert known is not None
    counts = []
    for _ in range(2):
        ((name, value),) = known.authorize(response, "INVITE", "sip:x", b"", "c")
        assert name == "Authorization"
        counts.append(value.partition("nc=")[2][:8])
    assert counts == ["00000001", "00000002"]
    assert known.authorize(Response(401, "No", ()), "INVITE", "sip:x", b"", "c") == []
    thief = Response(401, "No", (("WWW-Authenticate", challenge.replace("gw", "thief")),))
    assert known.authorize(thief, "BYE", "sip:x", b"", "c") == [], "nobody else is answered"


def test_reasons() -> None:
    assert reason_field(None) == ""
    assert reason_field((486, "Busy")) == 'SIP;cause=486;text="Busy"'
    assert reason_field((1016, 'a"b\r\n')) == 'Q.850;cause=16;text="ab"'


def spoken(samples: list[int]) -> bytes:
    made = BytesIO()
    with wave.open(made, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(b"".join(one.to_bytes(2, "little", signed=True) for one in samples))
    return made.getvalue()


def test_silence_at_the_end_of_a_recording() -> None:
    assert trailing_silence_ms(spoken([9000] * 800 + [10] * 1600)) == 200
    assert trailing_silence_ms(spoken([9000] * 800 + [500] * 1600), 600) == 200
    assert trailing_silence_ms(spoken([9000] * 800 + [10] * 1600), None, 300) == 0
    assert trailing_silence_ms(silence_wav(500)) == 500
    assert trailing_silence_ms(b"no wave") == 0


def test_files_of_the_server_and_of_its_administrator(tmp_path: Path) -> None:
    own = tmp_path / "programs"
    (own / "russian").mkdir(parents=True)
    (own / "hello.sppr").write_text("entry main {}")
    (own / "russian" / "hello.sppr").write_text("entry main { stop; }")
    files = StockFiles(own)
    assert files.read(Level.SERVER, "d", None, "hello.sppr") == b"entry main {}"
    assert files.read(Level.SERVER, "d", "russian", "hello.sppr") == b"entry main { stop; }"
    assert files.read(Level.DOMAIN, "d", None, "hello.sppr") is None
    assert files.read(Level.STOCK, "d", None, "hello.sppr") is None
    stock = files.read(Level.STOCK, "d", None, "echotest.sppr")
    assert stock is not None
    assert files.read(Level.STOCK, "d", None, "echotest.sppr") is stock
    assert files.read(Level.STOCK, "d", "russian", "welcome.wav") is not None


def test_sounds_are_written_once_under_their_digest(tmp_path: Path) -> None:
    sounds = DiskSounds(tmp_path)
    first = sounds.name_of(silence_wav(100))
    assert sounds.name_of(silence_wav(100)) == first
    assert (tmp_path / first).read_bytes() == silence_wav(100)
    assert sounds.name_of(silence_wav(200)) != first
    assert len(list(tmp_path.glob("programs/*.wav"))) == 2


def test_recordings_are_read_once_and_left_overs_are_removed(tmp_path: Path) -> None:
    (tmp_path / "programs").mkdir()
    (tmp_path / "programs" / "old.wav").write_bytes(b"x")
    recordings = DiskRecordings(tmp_path)
    assert list(tmp_path.glob("programs/*")) == []
    (tmp_path / recordings.file_of("r1")).write_bytes(b"sound")
    assert recordings.take("r1") == b"sound"
    assert recordings.take("r1") is None
    assert recordings.take("../r1") is None


def test_an_http_request_of_a_program() -> None:
    made = web_request(
        "http://x.org/a",
        from_python(
            {
                "body": {"a": "1", "b": "x y"}, "urlParams": {"q": "ä"}, "timeout": 99,
                "authName": "u", "authPassword": "p", "supplFields": {"X-A": "1"},
            }
        ),
    )  # fmt: skip
    assert made.url == "http://x.org/a?q=%C3%A4"
    assert (made.method, made.body, made.timeout_s) == ("POST", b"a=1&b=x+y", 30)
    assert made.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert made.headers["Authorization"] == "Basic dTpw"
    assert made.headers["X-A"] == "1"
    plain = web_request("https://x.org", None)
    assert (plain.method, plain.body) == ("GET", b"")


@pytest.mark.parametrize(
    ("url", "parameters"),
    [
        ("ftp://x.org", None),
        ("http://", None),
        ("http://x.org", {"method": "BREW"}),
        ("http://x.org", {"Cookie": "a\r\nb"}),
        ("http://x.org\r\n/", None),
    ],
)
def test_http_requests_that_cannot_be(url: str, parameters: object) -> None:
    with pytest.raises(WebProblem, match=r"^400-"):
        web_request(url, from_python(parameters))


def test_programs_reach_no_addresses_that_are_not_on_the_internet() -> None:
    request = web_request("http://127.0.0.1:9/", None)
    with pytest.raises(WebProblem, match="not on the Internet"):
        WebCaller("public").call(request)
    with pytest.raises(WebProblem, match="switched off"):
        WebCaller("off").call(request)
    assert to_python(WebCaller("any").look_up("a", "127.0.0.1")) == ["127.0.0.1"]
    with pytest.raises(WebProblem, match=r"^501-"):
        WebCaller("any").look_up("mx", "x")
