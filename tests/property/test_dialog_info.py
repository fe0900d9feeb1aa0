"""Dialog documents: whatever names and addresses peers choose, subscribers get XML."""

from __future__ import annotations

from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from pbx.calls.event_packages import DialogView, document

# What a peer may put into a header: any character, and bytes that are no UTF-8.
TEXT = st.one_of(
    st.text(max_size=30),
    st.binary(max_size=30).map(lambda raw: raw.decode("utf-8", "surrogateescape")),
)
VIEWS = st.builds(
    DialogView,
    state=st.sampled_from(["trying", "early", "confirmed", "terminated"]),
    direction=st.sampled_from(["initiator", "recipient"]),
    call_id=TEXT,
    local_tag=TEXT,
    remote_tag=TEXT,
    remote_display=TEXT,
    remote_uri=TEXT,
    held=st.booleans(),
)


@given(TEXT, st.integers(0, 2**31), st.dictionaries(TEXT, VIEWS, max_size=3))
def test_document_is_well_formed(entity: str, version: int, dialogs: dict[str, DialogView]) -> None:
    made = document(entity, version, "partial", dialogs)
    root = ElementTree.fromstring(made)
    found = list(root)
    assert len(found) == len(dialogs)
    namespace = "{urn:ietf:params:xml:ns:dialog-info}"
    states = [element.findtext(f"{namespace}state") for element in found]
    assert states == [view.state for view in dialogs.values()]


@given(st.from_regex(r"[ -~]{1,30}", fullmatch=True))
def test_plain_text_comes_through(text: str) -> None:
    view = DialogView("early", "recipient", text, "", text, text, text, False)
    root = ElementTree.fromstring(document(text, 0, "full", {text: view}))
    assert root.attrib["entity"] == text
    [dialog] = root
    assert dialog.attrib["call-id"] == dialog.attrib["remote-tag"] == text
    assert "local-tag" not in dialog.attrib
    identity = dialog[2][0]
    assert (identity.text, identity.attrib["display"]) == (text, text)
