"""Messages, names, flags and mailboxes, for any input."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mail.compose import Part, compose
from mail.errors import FlagError, MailboxNameError, MessageError
from mail.flags import NAMES, flags_text, parse_flags
from mail.mailbox import Mailbox, Message, parse_spans, span_uids, spans_of, spans_text
from mail.names import mailbox_name, matches
from mail.reading import decoded, read_message

TEXT = st.text(max_size=200)
FIELD = st.sampled_from(["From", "To", "Cc", "Subject", "Reply-To", "Date", "Message-ID", "X-Any"])
LEAVES = st.one_of(
    TEXT.map(Part),
    st.binary(max_size=300).map(lambda octets: Part(octets, "audio", "wav", filename="ä b.wav")),
    st.binary(max_size=100).map(lambda octets: Part(octets, "application", "octet-stream")),
)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, min_size=1, max_size=4).map(
        lambda parts: Part(tuple(parts), "multipart", "mixed")
    ),
    max_leaves=12,
)


def leaves(part: Part) -> list[Part]:
    if isinstance(part.content, tuple):
        return [leaf for one in part.content for leaf in leaves(one)]
    return [part]


@given(st.lists(st.tuples(FIELD, TEXT), max_size=6), TREES)
def test_what_is_built_is_read_back(fields: list[tuple[str, str]], body: Part) -> None:
    try:
        raw = compose(fields, body, "0f1e2d3c4b5a6978")
    except MessageError:
        assert fields  # only a field can be at fault
        return
    message = read_message(raw)
    found = [part for part in message.walk() if not part.children]
    wanted = leaves(body)
    assert [part.content_type for part in found] == [
        f"{one.maintype}/{one.subtype}" for one in wanted
    ]
    for part, one in zip(found, wanted, strict=True):
        if isinstance(one.content, bytes):
            assert part.payload() == one.content
        elif isinstance(one.content, str):
            well_formed = one.content.encode("utf-8", "replace").decode()
            assert part.text().split() == well_formed.split()
    allowed = {name.lower() for name, _ in fields} | {"mime-version"}
    assert {
        n.lower() for n in message.field_names() if not n.lower().startswith("content-")
    } <= allowed, "a value became a field"


@given(st.binary(max_size=2000))
def test_anything_is_read(raw: bytes) -> None:
    message = read_message(raw)
    for part in message.walk():
        part.payload().decode("latin-1")
        part.text().encode()
        for name in part.field_names():
            for value in part.fields(name):
                value.encode()
            part.addresses(name)
            part.date_s(name)


@given(TEXT)
def test_decoding_gives_text_that_can_be_stored(text: str) -> None:
    decoded(text).encode()


@given(st.text(max_size=40))
def test_a_stored_name_is_stored_as_it_is(text: str) -> None:
    try:
        name = mailbox_name(text)
    except MailboxNameError:
        return
    assert mailbox_name(name) == name
    assert matches(name, name)
    assert matches(name, "*")


def naive(name: str, pattern: str) -> bool:
    if not pattern:
        return not name
    if pattern[0] in "*%":
        return naive(name, pattern[1:]) or bool(
            name and not (pattern[0] == "%" and name[0] == "/") and naive(name[1:], pattern)
        )
    return bool(name) and name[0] == pattern[0] and naive(name[1:], pattern[1:])


@given(st.text("ab/", max_size=7), st.text("ab/*%", max_size=7))
def test_patterns_are_those_of_the_definition(name: str, pattern: str) -> None:
    assert matches(name, pattern) is naive(name, pattern)


@given(st.text(max_size=60))
def test_flags_are_flags_or_refused(text: str) -> None:
    try:
        found = parse_flags(text)
    except FlagError:
        return
    assert parse_flags(flags_text(found.has)).has == found.has


@given(st.sets(st.sampled_from(NAMES)), st.sets(st.sampled_from(NAMES)))
def test_a_filter_says_what_its_names_say(flags: set[str], wanted: set[str]) -> None:
    text = ",".join(sorted(wanted))
    assert parse_flags(text).fits(frozenset(flags)) is (wanted <= flags)
    text = ",".join(f"Un{name}" for name in sorted(wanted))
    assert parse_flags(text).fits(frozenset(flags)) is (not wanted & flags)


@given(st.sets(st.integers(1, 60)))
def test_ranges_are_the_set(uids: set[int]) -> None:
    assert [uid for first, last in spans_of(uids) for uid in range(first, last + 1)] == sorted(uids)
    if uids:
        assert list(span_uids(spans_text(uids))) == sorted(uids)
        assert parse_spans(spans_text(uids)) == spans_of(uids)


@given(
    st.lists(
        st.tuples(st.sampled_from("srfx"), st.integers(1, 12), st.sets(st.sampled_from(NAMES))),
        max_size=40,
    ),
    st.lists(st.tuples(st.integers(1, 12), st.integers(1, 12)), max_size=4),
)
def test_a_mailbox_is_what_a_list_would_be(
    steps: list[tuple[str, int, set[str]]], spans: list[tuple[int, int]]
) -> None:
    box: Mailbox[None] = Mailbox()
    model: dict[int, set[str]] = {}
    given_out: list[int] = []
    for modseq, (what, uid, flags) in enumerate(steps, 1):
        if what == "s":
            new = box.next_uid()
            assert new > max(given_out, default=0)
            given_out.append(new)
            box.stored(Message(new, modseq, frozenset(flags), 7, 0, new, None))
            model[new] = flags
        elif what == "r":
            box.removed([uid], modseq)
            model.pop(uid, None)
        elif what == "f":
            box.flagged([uid], frozenset(flags), modseq)
            if uid in model:
                model[uid] = flags
    assert {uid: set(m.flags) for uid, m in box.messages.items()} == model
    assert list(box.messages) == sorted(model)
    assert box.size_bytes == 7 * len(model)
    assert box.deleted() == [uid for uid in sorted(model) if "Deleted" in model[uid]]
    wanted = [u for u in sorted(model) if any(first <= u <= last for first, last in spans)]
    assert box.within(spans) == wanted
