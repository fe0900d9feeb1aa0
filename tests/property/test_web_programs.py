"""Parameters of web programs: whatever a form holds arrives as it was, and nothing breaks them."""

from __future__ import annotations

from urllib.parse import urlencode

from hypothesis import given
from hypothesis import strategies as st

from pbx.script.limits import Limits, Meter
from pbx.webprograms.exchange import Asked, Response
from pbx.webprograms.files import program_in

NAMES = st.text(min_size=1, max_size=20).filter(lambda name: name != "FormCharset")
VALUES = st.text(max_size=50).map(lambda text: text.replace("\r\n", "\n"))


@given(st.lists(st.tuples(NAMES, VALUES), max_size=20), st.booleans())
def test_forms_arrive_as_they_were_sent(pairs: list[tuple[str, str]], in_body: bool) -> None:
    form = urlencode(pairs)
    kind = {"content-type": "application/x-www-form-urlencoded"}
    asked = Asked("POST", "/", "" if in_body else form, kind, form.encode() if in_body else b"")
    for name in {name for name, _ in pairs}:
        values = [value for one, value in pairs if one == name]
        found = [asked.parameter(name, number) for number in range(len(values))]
        assert found == [value.encode() for value in values]
        assert asked.parameter(name, len(values)) is None


@given(
    st.sampled_from(
        [
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "text/xml",
            "a",
            "",
        ]
    ),
    st.text(max_size=80),
    st.binary(max_size=200)
    | st.binary(max_size=100).map(
        lambda data: (
            b'--x\r\nContent-Disposition: form-data; name="f"\r\n\r\n' + data + b"\r\n--x--"
        )
    ),
    st.text(max_size=30),
)
def test_nothing_breaks_a_request(kind: str, query: str, body: bytes, host: str) -> None:
    asked = Asked("POST", "/", query, {"content-type": kind, "host": host}, body)
    for name in ("f", "FormCharset", ""):
        assert isinstance(asked.parameter(name), bytes | None)
        asked.field(name or "Host")
        asked.field("Port")
    asked.data(Meter(Limits()))


@given(st.text(max_size=40), st.text(max_size=40))
def test_no_field_breaks_a_response(name: str, value: str) -> None:
    response = Response()
    response.add_field(name, value.encode("utf-8", "surrogateescape"))
    response.set_code(value.encode("utf-8", "surrogateescape"))
    for field, text in response.fields:
        assert field.isascii()
        assert not set(field + text) & set("\r\n\0")
    assert 200 <= response.code <= 999


@given(st.text(max_size=60))
def test_no_path_leaves_the_environment(path: str) -> None:
    name = program_in(path)
    assert "/" not in name
    assert not name.startswith(".")
