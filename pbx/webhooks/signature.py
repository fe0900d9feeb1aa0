"""Secrets and signatures of Standard Webhooks, symmetric scheme ``v1`` (HMAC-SHA256)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from pbx.kernel.errors import DomainError

PREFIX: Final = "whsec_"
KEY_BYTES: Final = 32
KEY_MIN_BYTES: Final = 24
KEY_MAX_BYTES: Final = 64
TOLERANCE_S: Final = 300
"""How old a signed message may be for a receiver, against replays by an eavesdropper."""


def generate_secret(random: Callable[[int], bytes]) -> str:
    """A new secret."""
    return PREFIX + base64.b64encode(random(KEY_BYTES)).decode("ascii")


def key_of(secret: str) -> bytes:
    """The key a secret stands for. Raises :class:`DomainError` if it is none."""
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(PREFIX) or not KEY_MIN_BYTES <= len(key) <= KEY_MAX_BYTES:
        raise DomainError(
            f"a webhook's secret is {PREFIX} and {KEY_MIN_BYTES} to {KEY_MAX_BYTES} bytes in "
            "base64; have one made: --generate"
        )
    return key


def message_id(webhook_id: str, names: Iterable[str]) -> str:
    """The id of a message that carries the events `names`: the same at each attempt and replay,
    so that receivers can tell what they have seen."""
    text = "\n".join((webhook_id, *names))
    return "msg_" + hashlib.sha256(text.encode()).hexdigest()[:32]


def signed_headers(key: bytes, identifier: str, time_s: int, body: bytes) -> dict[str, str]:
    """The three headers of a message."""
    return {
        "webhook-id": identifier,
        "webhook-timestamp": str(time_s),
        "webhook-signature": f"v1,{_signature(key, identifier, str(time_s), body)}",
    }


def verify(key: bytes, headers: Mapping[str, str], body: bytes, now_s: int) -> bool:
    """What a receiver does: whether the message is ours, and not an old one sent again."""
    identifier = headers.get("webhook-id", "")
    time_s = headers.get("webhook-timestamp", "")
    if not time_s.isdigit() or abs(now_s - int(time_s)) > TOLERANCE_S:
        return False
    expected = f"v1,{_signature(key, identifier, time_s, body)}".encode()
    return any(
        hmac.compare_digest(expected, shown.encode())
        for shown in headers.get("webhook-signature", "").split()
    )


def _signature(key: bytes, identifier: str, time_s: str, body: bytes) -> str:
    content = b"%s.%s.%s" % (identifier.encode(), time_s.encode(), body)
    return base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode("ascii")
