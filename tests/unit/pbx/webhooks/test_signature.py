"""``pbx.webhooks.signature``: what Standard Webhooks asks of headers and secrets."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx.kernel.errors import DomainError
from pbx.webhooks.signature import generate_secret, key_of, message_id, signed_headers, verify

KEY = bytes(range(32))


def test_the_signature_is_that_of_the_specification() -> None:
    """HMAC-SHA256 over `id.timestamp.body`, in base64, after the scheme's name."""
    headers = signed_headers(KEY, "msg_1", 1_700_000_000, b'{"a":1}')
    expected = hmac.new(KEY, b'msg_1.1700000000.{"a":1}', hashlib.sha256).digest()
    assert headers == {
        "webhook-id": "msg_1",
        "webhook-timestamp": "1700000000",
        "webhook-signature": "v1," + base64.b64encode(expected).decode(),
    }


@given(st.binary(max_size=50), st.integers(0, 2**33), st.integers(-300, 300))
def test_what_was_signed_is_accepted_while_it_is_fresh(body: bytes, at: int, late: int) -> None:
    headers = signed_headers(KEY, "msg_1", at, body)
    assert verify(KEY, headers, body, at + late)
    assert not verify(KEY, headers, body, at + 301)
    assert not verify(KEY, headers, body + b" ", at)
    assert not verify(bytes(32), headers, body, at)
    assert not verify(KEY, {**headers, "webhook-id": "msg_2"}, body, at)


def test_one_good_signature_of_several_is_enough() -> None:
    headers = signed_headers(KEY, "msg_1", 5, b"x")
    headers["webhook-signature"] = "v1,AAAA v2,BBBB " + headers["webhook-signature"]
    assert verify(KEY, headers, b"x", 5)


@pytest.mark.parametrize("headers", [{}, {"webhook-timestamp": "now"}, {"webhook-timestamp": "-5"}])
def test_headers_that_are_none_are_not_accepted(headers: dict[str, str]) -> None:
    assert not verify(KEY, headers, b"", 5)


def test_a_generated_secret_opens() -> None:
    assert key_of(generate_secret(bytes)) == bytes(32)


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "whsec_",
        "secret",
        base64.b64encode(KEY).decode(),
        "whsec_???",
        "whsec_AAAA",
        "whsec_" + base64.b64encode(bytes(65)).decode(),
    ],
)
def test_a_secret_that_is_none(secret: str) -> None:
    with pytest.raises(DomainError, match="--generate"):
        key_of(secret)


def test_an_id_is_the_same_at_each_attempt_and_of_each_webhook_its_own() -> None:
    assert message_id("a", ["call/1@1"]) == message_id("a", iter(["call/1@1"]))
    ids = {
        message_id("a", ["call/1@1"]),
        message_id("b", ["call/1@1"]),
        message_id("a", ["call/1@2"]),
        message_id("a", ["call/1@1", "call/1@2"]),
    }
    assert len(ids) == 4
    assert all(identifier.startswith("msg_") and "." not in identifier for identifier in ids)


def test_the_receiver_in_the_documentation_tells_ours_from_others() -> None:
    text = (Path(__file__).parents[4] / "docs" / "feeds.md").read_text(encoding="utf-8")
    [program] = [block for block in text.split("```python")[1:] if "def is_genuine" in block]
    names: dict[str, Any] = {}
    exec(program.partition("```")[0].replace("c2VjcmV0…", base64.b64encode(KEY).decode()), names)
    now = int(time.time())
    good = signed_headers(KEY, "msg_1", now, b"{}")
    assert names["is_genuine"](good, b"{}")
    assert not names["is_genuine"](good, b"[]")
    assert not names["is_genuine"](signed_headers(bytes(32), "msg_1", now, b"{}"), b"{}")
    assert not names["is_genuine"](signed_headers(KEY, "msg_1", now - 400, b"{}"), b"{}")
