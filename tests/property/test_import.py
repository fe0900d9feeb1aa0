"""Import files under Hypothesis: what is written comes back, anything else is refused in words."""

from __future__ import annotations

import io

from hypothesis import given, settings
from hypothesis import strategies as st

from pbx.imports import Line, LineProblem, lines_of, parse_columns, parse_line
from pbx.imports.reader import MAX_LINE_BYTES
from pbx.objects.account_keys import ACCOUNT_KEYS

FIELD = st.text(
    st.characters(exclude_characters="\t\n\r\0({", exclude_categories=["Cs"]), max_size=20
)
WORD = st.text("abcdefghij0123456789-", min_size=1, max_size=10)
KEYS = st.lists(
    st.sampled_from(sorted(set(ACCOUNT_KEYS) - {"Password"}))
    | st.sampled_from(["shoeSize", "x-y"]),
    unique_by=str.lower,
    max_size=5,
)


@given(KEYS, st.data())
def test_what_is_written_is_read(keys: list[str], data: st.DataObject) -> None:
    name, password = data.draw(WORD), data.draw(FIELD)
    aliases = data.draw(st.lists(WORD, max_size=4))
    fields = [data.draw(FIELD) for _ in keys]
    header = ["Name", "PASSWORD", "aliases", *(key.upper() for key in keys if key in ACCOUNT_KEYS)]
    header += [key for key in keys if key not in ACCOUNT_KEYS]
    fields = [f for k, f in zip(keys, fields, strict=True) if k in ACCOUNT_KEYS] + [
        f for k, f in zip(keys, fields, strict=True) if k not in ACCOUNT_KEYS
    ]
    spelled = [k for k in keys if k in ACCOUNT_KEYS] + [k for k in keys if k not in ACCOUNT_KEYS]
    columns = parse_columns("\t".join(header).encode())
    assert columns.keys == ("Name", "Password", "Aliases", *spelled)
    line = parse_line(columns, "\t".join([name, password, ",".join(aliases), *fields]).encode())
    settings_ = {key: field for key, field in zip(spelled, fields, strict=True) if field}
    assert line == Line(name, password or None, tuple(aliases), (), "", settings_)


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_any_bytes_are_a_line_or_refused(header: bytes, raw: bytes) -> None:
    for first in (header, b"Name\tPassword\tAliases\tTelnums\tType\tAccessModes\tCallsLimit"):
        try:
            columns = parse_columns(first)
        except LineProblem:
            continue
        try:
            line = parse_line(columns, raw)
        except LineProblem:
            continue
        assert line.name


@given(st.lists(st.binary(max_size=30) | st.just(b"x" * (MAX_LINE_BYTES + 3)), max_size=8))
@settings(deadline=None)
def test_lines_are_numbered_and_bounded(parts: list[bytes]) -> None:
    parts = [part.replace(b"\n", b"").replace(b"\r", b"") for part in parts]
    found = list(lines_of(io.BytesIO(b"".join(part + b"\r\n" for part in parts))))
    assert [number for number, _ in found] == list(range(1, len(parts) + 1))
    for part, (number, raw) in zip(parts, found, strict=True):
        expected = part.removeprefix(b"\xef\xbb\xbf") if number == 1 else part
        assert raw == expected if len(part) <= MAX_LINE_BYTES else isinstance(raw, LineProblem)
