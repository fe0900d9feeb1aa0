"""A nonce book of any size under any order of use gives each count at most once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sip.digest import NonceBook, NonceVerdict

USE = st.tuples(st.integers(0, 7), st.integers(1, 200), st.floats(0, 5))


@given(st.lists(USE, max_size=60), st.integers(1, 4))
def test_no_count_passes_twice(uses: list[tuple[int, int, float]], max_entries: int) -> None:
    book = NonceBook(b"k" * 32, life_s=60, max_entries=max_entries)
    now = 0.0
    nonces: dict[int, str] = {}
    accepted: set[tuple[str, int]] = set()
    for which, count, elapsed in uses:
        now += elapsed
        nonce = nonces.setdefault(which, book.issue("r", "192.0.2.1", now))
        verdict = book.check(nonce, "r", "192.0.2.1", count, now)
        assert verdict is not NonceVerdict.UNKNOWN
        if verdict is NonceVerdict.OK:
            assert (nonce, count) not in accepted
            accepted.add((nonce, count))
        assert len(book) <= max_entries


@given(st.permutations(range(1, 60)))
def test_any_order_within_the_window_passes(order: list[int]) -> None:
    book = NonceBook(b"k" * 32)
    nonce = book.issue("r", "192.0.2.1", 0.0)
    assert all(
        book.check(nonce, "r", "192.0.2.1", count, 0.0) is NonceVerdict.OK for count in order
    )
