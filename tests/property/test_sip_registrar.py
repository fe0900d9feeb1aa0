"""The registrar against a simple model, and invariants over any sequence of requests."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sip.flow import Flow
from sip.message import Request
from sip.registrar import Binding, RegistrarConfig, evaluate

NS = 1_000_000_000
FLOW = Flow("tcp", ("203.0.113.10", 5060), ("198.51.100.7", 41234), 1)
CONFIG = RegistrarConfig(max_contacts=3)
UUID = '+sip.instance="<urn:uuid:1>"'

CONTACT = st.builds(
    lambda user, expires, q, reg: (
        f"<sip:{user}@198.51.100.7>"
        + ("" if expires is None else f";expires={expires}")
        + ("" if q is None else f";q={q}")
        + ("" if reg is None else f";reg-id={reg};{UUID}")
    ),
    st.sampled_from("abcd"),
    st.sampled_from([None, 0, 10, 60, 100, 5000]),
    st.sampled_from([None, "0.5", "7"]),
    st.sampled_from([None, None, 1, 2]),
)
STEP = st.tuples(
    st.one_of(st.just(["*"]), st.lists(CONTACT, max_size=3)),
    st.integers(1, 6),  # CSeq: may go back
    st.sampled_from(["one", "two"]),
    st.sampled_from([None, 0, 60, 3600]),
    st.booleans(),
    st.integers(0, 200),
)


@given(st.lists(STEP, max_size=12))
def test_any_sequence_keeps_the_invariants(
    steps: list[tuple[list[str], int, str, int | None, bool, int]],
) -> None:
    bindings: tuple[Binding, ...] = ()
    projected: dict[str, Binding] = {}
    now_ns = 1_700_000_000 * NS
    for contacts, cseq, call_id, expires, outbound, elapsed_s in steps:
        now_ns += elapsed_s * NS
        headers = [
            ("Via", "SIP/2.0/TCP 198.51.100.7;branch=z9hG4bK1"),
            ("Call-ID", call_id),
            ("CSeq", f"{cseq} REGISTER"),
            *[("Contact", contact) for contact in contacts],
        ]
        if expires is not None:
            headers.append(("Expires", str(expires)))
        if outbound:
            headers.append(("Supported", "outbound"))
        request = Request("REGISTER", "sip:corp1.un", tuple(headers))
        result = evaluate(request, FLOW, bindings, now_ns, CONFIG)

        if result.status != 200:
            assert result.status in (400, 403, 423, 500)
            assert result.bindings is bindings
            assert not (result.added or result.refreshed or result.removed)
            continue
        bindings = result.bindings
        ids = [binding.contact_id for binding in bindings]
        assert len(set(ids)) == len(ids) <= CONFIG.max_contacts
        assert all(binding.expires_ns > now_ns for binding in bindings)
        listed = [value for name, value in result.headers if name == "Contact"]
        assert listed == [binding.header_value(now_ns) for binding in bindings]

        # A projection that applies the events in order arrives at the same bindings.
        for removal in result.removed:
            assert projected.pop(removal.binding.contact_id) == removal.binding
        for binding in result.added:
            assert binding.contact_id not in projected
            projected[binding.contact_id] = binding
        for binding in result.refreshed:
            assert binding.contact_id in projected
            projected[binding.contact_id] = binding
        assert projected == {binding.contact_id: binding for binding in bindings}
