"""Digest authentication, both sides (RFC 3261 §22, RFC 7616, RFC 8760).

Server side: whoever owns accounts takes the credentials of a request (``credentials_for``),
looks up HA1, calls ``verify`` and only then ``NonceBook.check``; when anything is not OK it
answers with ``build_challenges``. Client side: ``select_challenge`` and ``authorize``.

Everything is arithmetic on arguments: secrets, client nonces and time come from outside.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
from collections.abc import Callable, Iterable
from enum import Enum
from typing import Final

from sip.errors import MalformedHeader
from sip.headers.auth import Challenge, Credentials, parse_authorization, parse_challenge
from sip.message import Message, Request, Response
from sip.uri import SipUri, parse_uri

__all__ = [
    "ALGORITHMS",
    "Challenge",
    "Credentials",
    "NonceBook",
    "NonceVerdict",
    "authorize",
    "build_challenges",
    "credentials_for",
    "ha1",
    "parse_authorization",
    "parse_challenge",
    "response_hash",
    "select_challenge",
    "uri_matches",
    "verify",
]


def _sha512_256(data: bytes) -> hashlib._Hash:
    return hashlib.new("sha512_256", data)


_HASHES: Final[dict[str, Callable[[bytes], hashlib._Hash]]] = {
    "SHA-256": hashlib.sha256,
    "SHA-512-256": _sha512_256,
    "MD5": hashlib.md5,
}

ALGORITHMS: Final = ("SHA-256", "MD5")
"""Offered in this order: the client takes the topmost it knows (RFC 8760 §2.3)."""


def _hex(algorithm: str, text: str) -> str:
    return _HASHES[algorithm](text.encode("utf-8", "surrogateescape")).hexdigest()


def ha1(algorithm: str, user: str, realm: str, password: str) -> str:
    """H(user:realm:password): what is stored for an account, one per algorithm and realm."""
    return _hex(algorithm, f"{user}:{realm}:{password}")


def response_hash(
    algorithm: str,
    ha1: str,
    method: str,
    uri: str,
    nonce: str,
    *,
    nc: str = "",
    cnonce: str = "",
    qop: str = "",
) -> str:
    """The response of RFC 7616 §3.4.1; without ``qop`` that of RFC 2069."""
    ha2 = _hex(algorithm, f"{method}:{uri}")
    if qop:
        return _hex(algorithm, f"{ha1}:{nonce}:{nc}:{cnonce}:{qop}:{ha2}")
    return _hex(algorithm, f"{ha1}:{nonce}:{ha2}")


# --- server side ---------------------------------------------------------------------------------


def build_challenges(
    realm: str,
    nonce: str,
    algorithms: Iterable[str] = ALGORITHMS,
    *,
    stale: bool = False,
    proxy: bool = False,
) -> tuple[tuple[str, str], ...]:
    """The headers of a 401 (or, with ``proxy``, of a 407): one per algorithm, strongest first."""
    name = "Proxy-Authenticate" if proxy else "WWW-Authenticate"
    params = {"realm": realm, "nonce": nonce, "qop": "auth"}
    if stale:
        params["stale"] = "true"
    return tuple(
        (name, str(Challenge("Digest", {**params, "algorithm": algorithm})))
        for algorithm in algorithms
    )


def credentials_for(
    request: Message, realm: str, header: str = "Authorization"
) -> Credentials | None:
    """The usable digest credentials for ``realm``, or ``None`` to challenge.

    Other schemes, other realms and what cannot be read are passed over: credentials for somebody
    else travel in the same request (RFC 3261 §22.3, RFC 4475 §3.3.7).
    """
    for value in request.all(header):
        try:
            credentials = parse_authorization(value, header)
        except MalformedHeader:
            continue
        if credentials.is_digest and credentials.realm == realm:
            return credentials
    return None


def verify(credentials: Credentials, method: str, ha1: str) -> bool:
    """Whether the response proves knowledge of ``ha1``, compared in constant time.

    ``ha1`` must belong to ``credentials.algorithm``. Only qop=auth passes: without a nonce count
    nothing tells a replay. For an unknown user call it all the same with an ``ha1`` of nobody,
    so that the answer takes as long.
    """
    if credentials.algorithm not in _HASHES or credentials.qop != "auth":
        return False
    expected = response_hash(
        credentials.algorithm,
        ha1,
        method,
        credentials.uri,
        credentials.nonce,
        nc=credentials.nc_text,
        cnonce=credentials.cnonce,
        qop=credentials.params["qop"],
    )
    given = credentials.response.encode("utf-8", "surrogateescape")
    return hmac.compare_digest(expected.encode("ascii"), given) and bool(credentials.cnonce)


def uri_matches(credentials: Credentials, request: Request) -> bool:
    """Whether the ``uri`` parameter names what is requested: same user and host.

    RFC 3261 §22.4 (5) demands equality, but phones put port and parameters into one of them
    only, and proxies rewrite them.
    """
    try:
        claimed = parse_uri(credentials.uri)
        requested = request.request_uri
    except MalformedHeader:
        return False
    if isinstance(claimed, SipUri) and isinstance(requested, SipUri):
        return claimed.host == requested.host and claimed.user_text == requested.user_text
    return str(claimed) == str(requested)


class NonceVerdict(Enum):
    """What a nonce is worth. Anything but OK: challenge again."""

    OK = "ok"
    STALE = "stale"
    """Ours but too old, or forgotten under load: challenge with ``stale=true``."""
    REPLAY = "replay"
    """This nonce count was seen. ``stale=true`` too: phones that never count recover so."""
    UNKNOWN = "unknown"
    """Not ours, for another realm or another network: challenge without ``stale``."""


# Requests with one nonce overtake each other over UDP, but never by this many.
_WINDOW: Final = 64
_STAMP_BYTES: Final = 6  # milliseconds of the monotonic clock
_SERIAL_BYTES: Final = 4
_MAC_BYTES: Final = 14  # 112 bits: no guessing within the life of a nonce


class NonceBook:
    """Issues nonces and refuses to take one nonce count twice (RFC 7616 §3.4, §5.4).

    A nonce is base64(time, serial, a MAC over both with realm and network of the client), so one
    that was never used costs no memory: a flood of unauthenticated requests fills nothing. Used
    ones are kept until they expire, at most ``max_entries``; if one must go early, everything
    issued before it is from then on stale, so forgetting never opens a replay.

    ``secret`` is 16 to 64 random bytes, new for each process: counts are not kept over a
    restart. Call ``check`` after ``verify`` succeeded, so that only holders of a password can
    fill the book.
    """

    __slots__ = ("_floor_ms", "_life_ms", "_max_entries", "_secret", "_serial", "_used")

    def __init__(self, secret: bytes, life_s: float = 300.0, max_entries: int = 20_000) -> None:
        self._secret = secret
        self._life_ms = int(life_s * 1000)
        self._max_entries = max_entries
        self._serial = 0
        self._used: dict[str, tuple[int, int, int]] = {}
        """Nonce to (issued ms, highest count, bitmap of counts below it), in order of first use."""
        self._floor_ms = -1
        """Nonces issued up to here are stale unless they are still in the book."""

    def __len__(self) -> int:
        return len(self._used)

    def issue(self, realm: str, peer_ip: str, now: float) -> str:
        """A fresh nonce for a client of this network."""
        self._serial = (self._serial + 1) & 0xFFFF_FFFF
        stamp = int(now * 1000).to_bytes(_STAMP_BYTES, "big")
        head = stamp + self._serial.to_bytes(_SERIAL_BYTES, "big")
        return base64.b64encode(head + self._mac(head, realm, peer_ip)).decode("ascii")

    def check(self, nonce: str, realm: str, peer_ip: str, nc: int, now: float) -> NonceVerdict:
        """Judge a nonce and take its count. Each (nonce, count) gives OK at most once."""
        issued_ms = self._issued(nonce, realm, peer_ip)
        if issued_ms is None or nc <= 0:
            return NonceVerdict.UNKNOWN
        now_ms = int(now * 1000)
        if not 0 <= now_ms - issued_ms <= self._life_ms:
            self._used.pop(nonce, None)
            return NonceVerdict.STALE
        entry = self._used.get(nonce)
        if entry is None:
            if issued_ms <= self._floor_ms:
                return NonceVerdict.STALE
            self._make_room(now_ms)
            self._used[nonce] = (issued_ms, nc, 1)
            return NonceVerdict.OK
        _, highest, seen = entry
        if nc > highest:
            step = nc - highest
            seen = (seen << step | 1) & ((1 << _WINDOW) - 1) if step < _WINDOW else 1
            self._used[nonce] = (issued_ms, nc, seen)
            return NonceVerdict.OK
        age = highest - nc
        if age >= _WINDOW or seen >> age & 1:
            return NonceVerdict.REPLAY
        self._used[nonce] = (issued_ms, highest, seen | 1 << age)
        return NonceVerdict.OK

    def _mac(self, head: bytes, realm: str, peer_ip: str) -> bytes:
        text = head + realm.encode("utf-8", "surrogateescape") + b"\x00" + _network(peer_ip)
        # Keyed BLAKE2b (RFC 7693 §2.9) is a MAC by itself; an HMAC through OpenSSL costs 40 µs.
        return hashlib.blake2b(text, digest_size=_MAC_BYTES, key=self._secret).digest()

    def _issued(self, nonce: str, realm: str, peer_ip: str) -> int | None:
        """When we issued this nonce, in ms, or ``None`` if we did not."""
        try:
            raw = base64.b64decode(nonce.encode("ascii"), validate=True)
        except (UnicodeEncodeError, binascii.Error):
            return None
        head, mac = raw[: _STAMP_BYTES + _SERIAL_BYTES], raw[_STAMP_BYTES + _SERIAL_BYTES :]
        if len(mac) != _MAC_BYTES or not hmac.compare_digest(mac, self._mac(head, realm, peer_ip)):
            return None
        return int.from_bytes(head[:_STAMP_BYTES], "big")

    def _make_room(self, now_ms: int) -> None:
        """Drop what expired at the front; if the book is full, also what has not."""
        while self._used:
            nonce, (issued_ms, _, _) = next(iter(self._used.items()))
            expired = now_ms - issued_ms > self._life_ms
            if not expired and len(self._used) < self._max_entries:
                return
            del self._used[nonce]
            if not expired:
                self._floor_ms = max(self._floor_ms, issued_ms)


def _network(peer_ip: str) -> bytes:
    """The network a client may move in between challenge and credentials: /24 or /48.

    Carrier NAT hands out neighbouring addresses; a thief elsewhere is kept out.
    """
    if ":" in peer_ip:
        try:
            return ipaddress.IPv6Address(peer_ip).packed[:6]
        except ValueError:
            return peer_ip.encode("utf-8", "surrogateescape")
    return peer_ip.rpartition(".")[0].encode("utf-8", "surrogateescape")


# --- client side ---------------------------------------------------------------------------------


def select_challenge(response: Response) -> tuple[str, Challenge] | None:
    """The challenge of a 401 or 407 to answer, with the name of the header to answer in.

    The topmost whose algorithm and qop we know (RFC 8760 §2.4); ``None`` if there is none.
    """
    proxy = response.status == 407
    name = "Proxy-Authenticate" if proxy else "WWW-Authenticate"
    for value in response.all(name):
        try:
            challenge = parse_challenge(value, name)
        except MalformedHeader:
            continue
        known = challenge.is_digest and challenge.algorithm in _HASHES and challenge.nonce
        if known and (not challenge.qop or "auth" in challenge.qop):
            return ("Proxy-Authorization" if proxy else "Authorization"), challenge
    return None


def authorize(
    challenge: Challenge,
    method: str,
    uri: str,
    username: str,
    password: str,
    *,
    cnonce: str,
    nc: int = 1,
) -> str:
    """The value of Authorization that answers ``challenge``.

    ``nc`` counts the requests sent with this nonce, from 1. ``uri`` is the Request-URI as sent.
    """
    algorithm = challenge.algorithm
    secret = ha1(algorithm, username, challenge.realm, password)
    params = {
        "username": username,
        "realm": challenge.realm,
        "nonce": challenge.nonce,
        "uri": uri,
        "response": "",
    }
    if "algorithm" in challenge.params:
        params["algorithm"] = challenge.params["algorithm"]
    if challenge.qop:
        params["cnonce"] = cnonce
        params["qop"] = "auth"
        params["nc"] = f"{nc:08x}"
    if challenge.opaque:
        params["opaque"] = challenge.opaque
    params["response"] = response_hash(
        algorithm,
        secret,
        method,
        uri,
        challenge.nonce,
        nc=params.get("nc", ""),
        cnonce=cnonce,
        qop=params.get("qop", ""),
    )
    return str(Credentials("Digest", params))
