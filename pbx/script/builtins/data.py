"""Datablocks, encodings and cryptography (CG/PL reference §9.5).

Ciphers come from ``cryptography``; DNS formats of ``Convert`` are host requests.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import hashlib
import hmac
from typing import Final

from cryptography.exceptions import InvalidKey, UnsupportedAlgorithm
from cryptography.hazmat.decrepit.ciphers.algorithms import ARC4, TripleDES
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from pbx.script.builtins.registry import metered, pure
from pbx.script.errors import ProgramException
from pbx.script.limits import Meter
from pbx.script.operators import describe
from pbx.script.values import Data, Value, text_of

_DIGESTS: Final = {
    "MD5": "md5",
    "SHA1": "sha1",
    "SHA": "sha1",
    "SHA224": "sha224",
    "SHA256": "sha256",
    "SHA384": "sha384",
    "SHA512": "sha512",
}
_SIGNATURES: Final[dict[str, type[hashes.HashAlgorithm]]] = {
    "MD5": hashes.MD5,
    "SHA1": hashes.SHA1,
    "SHA224": hashes.SHA224,
    "SHA256": hashes.SHA256,
    "SHA384": hashes.SHA384,
    "SHA512": hashes.SHA512,
}
MAX_RSA_BITS: Final = 4096
"""A signature with a longer key takes longer than a call may wait."""
_WORK_PER_BYTE_SHIFT: Final = 6


def _octets(value: Value) -> bytes | None:
    if isinstance(value, Data):
        return value.octets
    return value if isinstance(value, bytes) else None


@pure("EmptyData")
def empty_data() -> Value:
    """A datablock without octets."""
    return Data(b"")


def _need_octets(value: Value, function: str) -> bytes:
    octets = _octets(value)
    if octets is None:
        raise ProgramException(f"{function} needs a string or datablock, not {describe(value)}")
    return octets


def _need_string(value: Value, function: str) -> bytes:
    if not isinstance(value, bytes):
        raise ProgramException(f"{function} needs a string, not {describe(value)}")
    return value


def _padded(text: bytes, multiple: int) -> bytes:
    compact = b"".join(text.split()).rstrip(b"=")
    return compact + b"=" * (-len(compact) % multiple)


def _decode64(text: bytes) -> bytes:
    try:
        return base64.b64decode(_padded(text, 4))
    except binascii.Error:
        return b""


def _encode64url(octets: bytes) -> bytes:
    return base64.urlsafe_b64encode(octets).rstrip(b"=")


def _decode64url(text: bytes) -> bytes:
    try:
        return base64.urlsafe_b64decode(_padded(text, 4))
    except binascii.Error:
        return b""


def _decode32(text: bytes) -> bytes:
    try:
        return base64.b32decode(_padded(text, 8), casefold=True)
    except binascii.Error:
        return b""


@metered("Base64Encode")
def base64_encode(m: Meter, value: Value) -> Value:
    return m.sized(base64.b64encode(_need_octets(value, "Base64Encode")))


@metered("Base64Decode")
def base64_decode(m: Meter, value: Value) -> Value:
    return m.sized_data(_decode64(_need_string(value, "Base64Decode")))


@metered("Base32Encode")
def base32_encode(m: Meter, value: Value) -> Value:
    return m.sized(base64.b32encode(_need_octets(value, "Base32Encode")))


@metered("Base32Decode")
def base32_decode(m: Meter, value: Value) -> Value:
    return m.sized_data(_decode32(_need_string(value, "Base32Decode")))


@metered("Base64UrlEncode")
def base64_url_encode(m: Meter, value: Value) -> Value:
    octets = _need_octets(value, "Base64UrlEncode")
    return m.sized(base64.urlsafe_b64encode(octets).rstrip(b"="))


@metered("Base64UrlDecode")
def base64_url_decode(m: Meter, value: Value) -> Value:
    return m.sized_data(_decode64url(_need_string(value, "Base64UrlDecode")))


def convert(m: Meter, value: Value, format_: Value) -> Value:
    """``Convert`` for everything that needs no network and no secret of the server."""
    if not isinstance(format_, bytes):
        return None
    name = text_of(format_)
    if name in ("hex", "HEX"):
        return _hex(m, value, upper=name == "HEX")
    lowered = name.lower()
    if lowered in ("base64", "base32", "base64url"):
        return _base(m, value, lowered)
    if lowered.startswith("ucs-2"):
        return _ucs2(m, value, lowered.removeprefix("ucs-2"))
    if lowered == "utfcode":
        return _code_point(value)
    if lowered == "words":
        if not isinstance(value, bytes):
            return None
        words: list[Value] = list(value.split())
        for one in words:
            m.keep(one)
        return words
    return _charset(m, value, lowered)


def _hex(m: Meter, value: Value, *, upper: bool) -> Value:
    if isinstance(value, Data):
        text = value.octets.hex()
        return m.sized((text.upper() if upper else text).encode())
    if isinstance(value, bytes):
        try:
            return m.sized_data(bytes.fromhex(value.decode("ascii")))
        except ValueError:
            return None
    return None


def _base(m: Meter, value: Value, name: str) -> Value:
    if isinstance(value, Data):
        encode = {
            "base64": base64.b64encode,
            "base32": base64.b32encode,
            "base64url": _encode64url,
        }[name]
        return m.sized(encode(value.octets))
    if isinstance(value, bytes):
        decode = {"base64": _decode64, "base32": _decode32, "base64url": _decode64url}[name]
        return m.sized_data(decode(value))
    return None


def _ucs2(m: Meter, value: Value, options: str) -> Value:
    mark = options.startswith("+")
    order = options.removeprefix("+") or "be"
    if order not in ("be", "le"):
        return None
    codec = f"utf-16-{order}"
    if isinstance(value, bytes):
        octets = value.decode("utf-8", "replace").encode(codec)
        bom = codecs.BOM_UTF16_BE if order == "be" else codecs.BOM_UTF16_LE
        return m.sized_data((bom if mark else b"") + octets)
    if isinstance(value, Data):
        octets = value.octets
        if octets.startswith(codecs.BOM_UTF16_BE):
            octets, codec = octets[2:], "utf-16-be"
        elif octets.startswith(codecs.BOM_UTF16_LE):
            octets, codec = octets[2:], "utf-16-le"
        return m.sized(octets.decode(codec, "replace").encode("utf-8", "replace"))
    return None


def _code_point(value: Value) -> Value:
    if isinstance(value, bytes):
        text = value[:8].decode("utf-8", "replace")
        return ord(text[0]) if text else None
    if isinstance(value, int):
        if not 0 < value <= 0x10FFFF or 0xD800 <= value <= 0xDFFF:
            return None
        return chr(value).encode("utf-8")
    return None


#: Python knows codecs that are no charsets (compression, escapes): these are not offered.
_NOT_CHARSETS: Final = frozenset(("idna", "punycode", "unicode_escape", "raw_unicode_escape"))


def _charset(m: Meter, value: Value, name: str) -> Value:
    if not name.isascii() or len(name) > 40 or not name.replace("-", "").replace("_", "").isalnum():
        return None
    try:
        info = codecs.lookup(name)
    except (LookupError, ValueError):
        return None
    if info.name in _NOT_CHARSETS or not info._is_text_encoding:
        return None
    try:
        if isinstance(value, bytes):
            return m.sized_data(value.decode("utf-8", "replace").encode(info.name, "replace"))
        if isinstance(value, Data):
            return m.sized(value.octets.decode(info.name, "replace").encode("utf-8", "replace"))
    except (UnicodeError, ValueError, AssertionError):
        return None
    return None


# Cryptography.


def _algorithm(value: Value) -> str:
    return text_of(value).upper().replace("-", "") if isinstance(value, bytes) else ""


@metered("CryDigest")
def digest(m: Meter, algorithm: Value, data: Value, key: Value = None) -> Value:
    """A digest, or with a key an HMAC; null for an unknown algorithm."""
    name = _DIGESTS.get(_algorithm(algorithm))
    octets = _octets(data)
    if name is None or octets is None:
        return None
    m.charge(10 + (len(octets) >> _WORK_PER_BYTE_SHIFT))
    if key is None:
        return Data(hashlib.new(name, octets, usedforsecurity=False).digest())
    secret = _octets(key)
    return None if secret is None else Data(hmac.digest(secret, octets, name))


def _cipher(name: str, key: bytes, start: bytes) -> Cipher[modes.CBC] | Cipher[None] | None:
    try:
        if name == "RC4":
            return Cipher(ARC4(key), mode=None)
        if name == "DES3":
            return Cipher(TripleDES(key), modes.CBC(start))
        if name == "AES":
            return Cipher(algorithms.AES(key), modes.CBC(start))
    except (ValueError, UnsupportedAlgorithm):
        return None
    return None


_BLOCKS: Final = {"RC4": 0, "DES3": 8, "AES": 16}


def _crypt(m: Meter, algorithm: Value, key: Value, data: Value, *, encrypt: bool) -> Value:
    """For block ciphers the last block of the data is the initialization vector."""
    name = _algorithm(algorithm)
    secret, octets = _octets(key), _octets(data)
    if name not in _BLOCKS or secret is None or octets is None:
        return None
    block = _BLOCKS[name]
    if block and (len(octets) < block or len(octets) % block):
        return None
    m.charge(20 + (len(octets) >> _WORK_PER_BYTE_SHIFT))
    body, start = (octets[:-block], octets[-block:]) if block else (octets, b"")
    cipher = _cipher(name, secret, start)
    if cipher is None:
        return None
    try:
        context = cipher.encryptor() if encrypt else cipher.decryptor()
        return m.sized_data(context.update(body) + context.finalize())
    except (ValueError, UnsupportedAlgorithm):
        return None


@metered("CryEncrypt")
def encrypt(m: Meter, algorithm: Value, key: Value, data: Value) -> Value:
    return _crypt(m, algorithm, key, data, encrypt=True)


@metered("CryDecrypt")
def decrypt(m: Meter, algorithm: Value, key: Value, data: Value) -> Value:
    return _crypt(m, algorithm, key, data, encrypt=False)


@metered("CrySign")
def sign(m: Meter, key: Value, algorithm: Value, data: Value) -> Value:
    """An RSA signature (PKCS #1 v1.5) with a PEM key; null for a bad key or algorithm."""
    kind = _SIGNATURES.get(_algorithm(algorithm))
    pem, octets = _octets(key), _octets(data)
    if kind is None or pem is None or octets is None:
        return None
    m.charge(2000)
    try:
        private = serialization.load_pem_private_key(pem, password=None)
        if not isinstance(private, rsa.RSAPrivateKey) or private.key_size > MAX_RSA_BITS:
            return None
        return Data(private.sign(octets, padding.PKCS1v15(), kind()))
    except (ValueError, TypeError, InvalidKey, UnsupportedAlgorithm):
        return None


def totp_code(secret: str, now_s: int) -> str | None:
    """The one-time code of a base32 secret at a moment (RFC 6238: SHA-1, 30 s, six digits)."""
    key = _decode32(secret.encode("ascii", "replace"))
    if not key:
        return None
    mac = hmac.digest(key, (now_s // 30).to_bytes(8, "big"), "sha1")
    at = mac[-1] & 15
    return f"{(int.from_bytes(mac[at : at + 4], 'big') & 0x7FFFFFFF) % 1_000_000:06}"
