"""SASL exchanges of the ``AUTH`` command: PLAIN, LOGIN, CRAM-MD5, DIGEST-MD5.

An exchange gives challenges (base64) and ends with a :class:`~pbx.admin.jobs.Login`. RFC 4616,
RFC 2195, RFC 2831; LOGIN as everybody does it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Final, Protocol

from pbx.admin.credentials import CramMd5, DigestMd5, Plain, digest_fields
from pbx.admin.errors import GENERAL, CliError
from pbx.admin.jobs import Login


class Exchange(Protocol):
    """One login of several lines. Both methods give a challenge or the login, or raise
    :class:`CliError`."""

    def start(self, initial: str) -> str | Login:
        """The method was named, perhaps with the first response."""
        ...

    def respond(self, line: str) -> str | Login:
        """The client answered a challenge."""
        ...


class _PlainExchange:
    """RFC 4616: authorization id, NUL, name, NUL, password."""

    def start(self, initial: str) -> str | Login:
        return self.respond(initial) if initial else ""

    def respond(self, line: str) -> str | Login:
        parts = _decoded(line).split("\0")
        if len(parts) != 3 or not parts[1]:
            raise CliError(GENERAL, "incorrect data format: PLAIN is id NUL name NUL password")
        if parts[0] and parts[0].lower() != parts[1].lower():
            raise CliError(GENERAL, "not supported: to act for somebody else")
        return Login(parts[1], Plain(parts[2]))


class _LoginExchange:
    """Name, then password."""

    def __init__(self) -> None:
        self._name = ""

    def start(self, initial: str) -> str | Login:
        return self.respond(initial) if initial else _encoded("Username:")

    def respond(self, line: str) -> str | Login:
        if self._name:
            return Login(self._name, Plain(_decoded(line)))
        self._name = _decoded(line)
        if not self._name:
            raise CliError(GENERAL, "parameter missing: a name")
        return _encoded("Password:")


class _CramExchange:
    """RFC 2195: the response is a name and the HMAC-MD5 of the challenge."""

    def __init__(self, stamp: str) -> None:
        self._stamp = stamp

    def start(self, initial: str) -> str | Login:
        if initial:
            raise CliError(GENERAL, "CRAM-MD5 has no initial response")
        return _encoded(self._stamp)

    def respond(self, line: str) -> str | Login:
        name, _, digest = _decoded(line).rpartition(" ")
        if not name:
            raise CliError(GENERAL, "incorrect data format: CRAM-MD5 is name and digest")
        return Login(name, CramMd5(self._stamp, digest))


class _DigestExchange:
    """RFC 2831 with ``qop=auth``. The server's proof is left out: the login's reply says it all."""

    def __init__(self, stamp: str, realm: str) -> None:
        self._nonce = hashlib.sha256(f"digest {stamp}".encode()).hexdigest()
        self._realm = realm

    def start(self, initial: str) -> str | Login:
        if initial:
            raise CliError(GENERAL, "DIGEST-MD5 has no initial response")
        return _encoded(
            f'realm="{self._realm}",nonce="{self._nonce}",qop="auth",charset=utf-8,'
            "algorithm=md5-sess"
        )

    def respond(self, line: str) -> str | Login:
        try:
            proof = DigestMd5(digest_fields(_decoded(line)), self._nonce)
        except ValueError:
            raise CliError(GENERAL, "incorrect data format: no digest-response") from None
        name = proof.field("username")
        if not name or proof.field("authzid"):
            raise CliError(GENERAL, "incorrect data format: a name, and nobody else's")
        return Login(f"{name}@{proof.field('realm') or self._realm}", proof)


METHODS: Final = ("PLAIN", "LOGIN", "CRAM-MD5", "DIGEST-MD5")


def begin(method: str, stamp: str, realm: str) -> Exchange:
    """An exchange of a method. Raises :class:`CliError` for one that is not served."""
    match method:
        case "PLAIN":
            return _PlainExchange()
        case "LOGIN":
            return _LoginExchange()
        case "CRAM-MD5":
            return _CramExchange(stamp)
        case "DIGEST-MD5":
            return _DigestExchange(stamp, realm)
    raise CliError(GENERAL, f"not supported: AUTH takes {', '.join(METHODS)}")


def _decoded(line: str) -> str:
    try:
        return base64.b64decode(line, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        raise CliError(GENERAL, "incorrect data format: base64 of UTF-8 is expected") from None


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode("ascii")
