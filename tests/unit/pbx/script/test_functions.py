"""Functions whose rules need more than one line of a program: ciphers, charsets, BER, regex."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from pbx.script.builtins.asn1 import Asn1Error, decode, encode
from pbx.script.builtins.data import decrypt, digest, encrypt, sign, totp_code
from pbx.script.builtins.registry import Environment
from pbx.script.catalogue import table_of
from pbx.script.limits import Limits, Meter
from pbx.script.offline.files import silence_wav, wav_milliseconds
from pbx.script.posix_regex import BadExpression, translate
from pbx.script.runtime.surroundings import address_of
from pbx.script.values import Data, Dictionary, Value
from pbx.script.xml_text import XmlError, parse_document


@pytest.fixture
def m() -> Meter:
    return Meter(Limits())


@pytest.mark.parametrize(
    ("name", "key", "block"), [("AES", 16, 16), ("DES3", 24, 8), ("RC4", 16, 0)]
)
def test_ciphers_turn_back(m: Meter, name: str, key: int, block: int) -> None:
    """The last block is the initialization vector; what was encrypted decrypts."""
    secret, start = bytes(range(key)), bytes(block)
    plain = b"0123456789abcdef"
    made = encrypt(m, name.encode(), Data(secret), Data(plain + start))
    assert isinstance(made, Data)
    assert made.octets != plain
    assert decrypt(m, name.encode(), Data(secret), Data(made.octets + start)) == Data(plain)


def test_aes_against_nist(m: Meter) -> None:
    """SP 800-38A F.2.1, first block."""
    key = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
    iv = bytes.fromhex("000102030405060708090a0b0c0d0e0f")
    plain = bytes.fromhex("6bc1bee22e409f96e93d7e117393172a")
    assert encrypt(m, b"aes", Data(key), Data(plain + iv)) == Data(
        bytes.fromhex("7649abac8119b246cee98e9b12e9197d")
    )


@pytest.mark.parametrize(
    ("name", "key", "data"),
    [(b"X", b"k", b"d" * 32), (b"AES", b"short", b"d" * 32), (b"AES", b"k" * 16, b"d" * 17)],
)
def test_bad_ciphers_give_null(m: Meter, name: bytes, key: bytes, data: bytes) -> None:
    """Unknown names, keys of a wrong length, data that is no row of blocks."""
    assert encrypt(m, name, key, data) is None


def test_digests(m: Meter) -> None:
    """RFC 1321 and RFC 4231 test vectors."""
    assert digest(m, b"md5", b"abc") == Data(bytes.fromhex("900150983cd24fb0d6963f7d28e17f72"))
    mac = digest(m, b"SHA256", b"what do ya want for nothing?", b"Jefe")
    assert isinstance(mac, Data)
    assert mac.octets.hex().startswith("5bdcc146bf60754e6a042426089575c7")


def test_signature(m: Meter) -> None:
    """An RSA signature that the public key verifies; a bad key gives null."""
    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    made = sign(m, pem, b"SHA256", b"text")
    assert isinstance(made, Data)
    key.public_key().verify(made.octets, b"text", padding.PKCS1v15(), hashes.SHA256())
    assert sign(m, b"no key", b"SHA256", b"text") is None


def test_totp() -> None:
    """RFC 6238 appendix B, time 59, cut to six digits."""
    assert totp_code("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", 59) == "287082"
    assert totp_code("", 59) is None


def test_ber_turns_back(m: Meter) -> None:
    """What can be written reads as it was."""
    other = Dictionary({b"tag": 3, b"class": b"context", b"value": Data(b"x")})
    values: list[Value] = [1, -129, 2**63 - 1, -(2**63), b"text", Data(b"\0" * 300), None,
                           [1, [b""]],
                           b"oid:1.2.840.113549", other]  # fmt: skip
    again = decode(m, encode(m, values))
    assert again[:-1] == values[:-1]
    last = again[-1]
    assert isinstance(last, Dictionary)
    assert last.map == other.map


@pytest.mark.parametrize("octets", ["02", "0205", "1f01", "3002", "30840000", "0281"])
def test_bad_ber(m: Meter, octets: str) -> None:
    """Truncated values are errors."""
    with pytest.raises(Asn1Error):
        decode(m, bytes.fromhex(octets))


@pytest.mark.parametrize(
    ("picture", "python"),
    [
        (b"^a.b$", rb"(?:^)a.b(?:\Z)"),
        (b"[[:digit:]]+", rb"[0-9]+"),
        (b"[]a]", rb"[\]a]"),
        (b"a{2,3}", rb"a{2,3}"),
        (b"\\d", b"d"),
    ],
)
def test_posix_expressions(picture: bytes, python: bytes) -> None:
    """The dialects differ in classes, brackets and escapes."""
    assert translate(picture) == python


@pytest.mark.parametrize("picture", [b"(a", b"a)", b"[a", b"*a", b"\\", b"[[:no:]]", b"(a+)*"])
def test_bad_expressions(picture: bytes) -> None:
    """They are refused."""
    with pytest.raises(BadExpression):
        translate(picture)


@pytest.mark.parametrize(
    "text",
    [
        b"<a>", b"<a></b>", b"<a b=1/>", b"<a b='1' b='2'/>", b"&", b"<a>&x;</a>", b"<a/><b/>",
        b"<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>", b"<a>&#0;</a>", b"", b"<a><![CDATA[</a>",
        b"<a>" * 200,
    ],
)  # fmt: skip
def test_bad_xml(m: Meter, text: bytes) -> None:
    """Not well-formed, or with declarations that are not read."""
    with pytest.raises(XmlError):
        parse_document(m, text)


@pytest.mark.parametrize(
    ("uri", "address"),
    [
        ("sip:u@d", "u@d"),
        ("<sips:u;x=1@d:5061;transport=tcp?h=1>", "u@d"),
        ('"N" <sip:u@[::1]:5060>', "u@[::1]"),
        ("tel:+1", None),
        ("sip:d", None),
        ("", None),
    ],
)
def test_addresses(uri: str, address: str | None) -> None:
    """RFC 3261 §19.1, as far as an address can be seen in it."""
    assert address_of(uri) == address


def test_wav_length() -> None:
    """What is written is measured; garbage is nothing."""
    assert wav_milliseconds(silence_wav(1234)) == 1234
    assert wav_milliseconds(b"RIFF") == 0
    assert wav_milliseconds(b"RIFF\0\0\0\0WAVEdata\xff\xff\xff\xff") == 0


def test_the_catalogue_has_the_documented_names() -> None:
    """A sample of every table of the reference, in each environment."""
    real_time = table_of(Environment.REAL_TIME)
    for name in (
        "vars", "funccall", "findregex", "datebymonthday", "convert", "cryencrypt", "sortstrings",
        "setcasesensitive", "xmlbody", "jsontoobject", "impersonate", "readroster", "mailboxcopy",
        "processcalendar", "readsitefile", "datasetset", "httpcall", "executecli", "readinput",
        "enqueue", "findmeeting", "acceptcall", "pendingrequestdata", "startbridgedcall",
        "mutemixer", "transfercall", "signaloption", "wavlastsilence", "iscallcompletedevent",
    ):  # fmt: skip
        assert name in real_time, name
    web = table_of(Environment.WEB)
    assert "gethttpparameter" in web
    assert "acceptcall" not in web
    assert "gethttpparameter" not in real_time
    assert web["remoteipaddress"] is not real_time["remoteipaddress"]
