"""What proves an account: passwords in clear and the secure methods, against what is stored.

Stored are the digest secrets of the password (RFC 7616 §3.4.2), and its text only where the
administrator keeps it recoverable. So clear-text methods and DIGEST-MD5 (RFC 2831, which computes
from the same HA1) always work; APOP (RFC 1939 §7) and CRAM-MD5 (RFC 2195) need the text.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from pbx.domain.accounts import AccountCreated, AccountDeleted, AccountPasswordSet
from pbx.kernel.events import Event
from sip.digest import ha1


@dataclass(frozen=True, slots=True)
class Stored:
    """Secrets of an account, as of its last event."""

    name: str = ""
    realm: str = ""
    ha1_md5: str = ""
    ha1_sha256: str = ""
    text: str = ""

    def __repr__(self) -> str:
        return f"Stored({self.name!r}, …)"


def stored_of(events: Iterable[Event]) -> Stored:
    """Fold the events of an account's stream."""
    stored = Stored()
    for happened in events:
        match happened:
            case AccountCreated():
                stored = Stored(happened.name)
            case AccountDeleted():
                stored = Stored()
            case AccountPasswordSet():
                stored = replace(
                    stored,
                    realm=happened.realm,
                    ha1_md5=happened.ha1_md5,
                    ha1_sha256=happened.ha1_sha256,
                    text=happened.text,
                )
    return stored


NOBODY: Final = Stored("nobody", "nowhere", "0" * 32, "0" * 64)
"""Compared with for unknown names: the answer takes as long."""


@dataclass(frozen=True, slots=True)
class Plain:
    """The password itself."""

    password: str

    def __repr__(self) -> str:
        return "Plain(…)"


@dataclass(frozen=True, slots=True)
class Apop:
    """MD5 of the greeting's time stamp and the password."""

    stamp: str
    digest: str


@dataclass(frozen=True, slots=True)
class CramMd5:
    """HMAC-MD5 of the challenge with the password as key."""

    challenge: str
    digest: str


@dataclass(frozen=True, slots=True)
class DigestMd5:
    """The fields of a digest-response (RFC 2831 §2.1.2)."""

    fields: tuple[tuple[str, str], ...]
    nonce: str
    """The one we gave."""

    def field(self, name: str) -> str:
        return dict(self.fields).get(name, "")


Proof: TypeAlias = Plain | Apop | CramMd5 | DigestMd5


def proves(stored: Stored, proof: Proof) -> bool:
    """Whether `proof` could only be made by who knows the password. In constant time."""
    match proof:
        case Plain(password):
            shown = ha1("SHA-256", stored.name, stored.realm, password)
            return hmac.compare_digest(shown, stored.ha1_sha256)
        case Apop(stamp, digest):
            expected = hashlib.md5(f"{stamp}{stored.text}".encode()).hexdigest()
            return _same(expected, digest) and bool(stored.text)
        case CramMd5(challenge, digest):
            key = stored.text.encode()
            expected = hmac.new(key, challenge.encode(), hashlib.md5).hexdigest()
            return _same(expected, digest) and bool(stored.text)
        case DigestMd5():
            expected = digest_response(stored, proof, "AUTHENTICATE:")
            return _same(expected, proof.field("response")) and _is_ours(proof)


def digest_response(stored: Stored, proof: DigestMd5, a2_prefix: str) -> str:
    """RFC 2831 §2.1.2.1; with `a2_prefix` ``:`` it is the server's own proof (§2.1.3)."""
    nonce, cnonce = proof.field("nonce"), proof.field("cnonce")
    a1 = bytes.fromhex(stored.ha1_md5 or "0" * 32) + f":{nonce}:{cnonce}".encode()
    a2 = f"{a2_prefix}{proof.field('digest-uri')}"
    parts = (
        hashlib.md5(a1).hexdigest(), nonce, proof.field("nc"), cnonce, proof.field("qop") or "auth",
        hashlib.md5(a2.encode()).hexdigest(),
    )  # fmt: skip
    return hashlib.md5(":".join(parts).encode()).hexdigest()


def _is_ours(proof: DigestMd5) -> bool:
    return proof.field("nonce") == proof.nonce and proof.field("nc") == "00000001"


def _same(expected: str, shown: str) -> bool:
    return hmac.compare_digest(expected.encode(), shown.lower().encode("utf-8", "replace"))


_FIELD: Final = re.compile(r'\s*([a-z-]+)=(?:"((?:[^"\\]|\\.)*)"|([^",\s]+))\s*(?:,|$)')


def digest_fields(text: str) -> tuple[tuple[str, str], ...]:
    """The fields of a digest-response. Raises ``ValueError``."""
    found: list[tuple[str, str]] = []
    at = 0
    while at < len(text):
        match = _FIELD.match(text, at)
        if match is None:
            raise ValueError("not a digest-response")
        value = re.sub(r"\\(.)", r"\1", match[2]) if match[2] is not None else match[3]
        found.append((match[1], value))
        at = match.end()
    if len({name for name, _ in found}) != len(found):
        raise ValueError("a field given twice")
    return tuple(found)
