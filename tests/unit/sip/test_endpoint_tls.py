"""Certificates: identity rules of RFC 5922, reload, the first self-signed pair."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography import x509

from sip.endpoint.tls import (
    TlsContexts,
    TlsFileError,
    TlsSettings,
    ensure_self_signed,
    sip_identities,
    verify_sip_domain,
)


def certificate(*alternatives: tuple[str, str]) -> dict[str, object]:
    return {
        "subject": ((("commonName", "common.example"),),),
        "subjectAltName": alternatives,
    }


@pytest.mark.parametrize(
    ("alternatives", "identities"),
    [
        ((("URI", "sip:example.com"), ("DNS", "host.example.com")), ["example.com"]),
        ((("URI", "SIP:Example.COM:5061;a=b"),), ["example.com"]),
        ((("URI", "sip:[2001:DB8::1]"),), ["2001:db8::1"]),
        ((("URI", "sip:alice@example.com"), ("DNS", "Example.net")), ["example.net"]),
        ((("URI", "sips:example.com"), ("URI", "https://example.com")), []),
        ((("DNS", "a.example.com"), ("DNS", "b.example.com")), ["a.example.com", "b.example.com"]),
        ((("IP Address", "192.0.2.1"),), []),
        ((), []),
    ],
)
def test_identities_of_a_certificate(
    alternatives: tuple[tuple[str, str], ...], identities: list[str]
) -> None:
    """RFC 5922 §7.1: SIP URIs without a user; DNS names only without them; never the CN."""
    assert sip_identities(certificate(*alternatives)) == identities


@pytest.mark.parametrize(
    ("alternative", "domain", "verdict"),
    [
        (("DNS", "example.com"), "EXAMPLE.com", True),
        (("DNS", "example.com"), "example.com.", True),
        (("DNS", "*.example.com"), "sip.example.com", False),
        (("DNS", "*.example.com"), "*.example.com", False),
        (("DNS", "example.com"), "sip.example.com", False),
        (("DNS", "sip.example.com"), "example.com", False),
        (("URI", "sip:example.com"), "example.com", True),
        (("IP Address", "192.0.2.1"), "192.0.2.1", False),
        (("DNS", "common.other"), "common.example", False),
        (("DNS", ""), "", False),
    ],
)
def test_a_certificate_stands_for_whole_names_only(
    alternative: tuple[str, str], domain: str, verdict: bool
) -> None:
    """RFC 5922 §7.2: no wildcard, no parent domain, no address, no common name."""
    assert verify_sip_domain(certificate(alternative), domain) is verdict


@pytest.mark.parametrize("missing", [None, {}, {"subject": ((("commonName", "a.example"),),)}])
def test_no_certificate_stands_for_nothing(missing: dict[str, object] | None) -> None:
    assert not verify_sip_domain(missing, "a.example")


def test_the_first_pair_is_made_once(tmp_path: Path) -> None:
    directory = tmp_path / "data" / "tls"
    first = ensure_self_signed(directory, ["test.example", "192.0.2.1"])
    made = [path.read_bytes() for path in first]
    assert ensure_self_signed(directory, ["other.example"]) == first
    assert [path.read_bytes() for path in first] == made
    assert stat.S_IMODE(first[1].stat().st_mode) == 0o600
    assert sorted(path.name for path in directory.iterdir()) == [
        "self-signed.crt",
        "self-signed.key",
    ]
    parsed = x509.load_pem_x509_certificate(made[0])
    names = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["test.example"]
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["sip:test.example"]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["192.0.2.1"]


def test_half_a_pair_is_made_anew(tmp_path: Path) -> None:
    """A crash between the two files leaves a key alone; both are replaced together."""
    certificate_path, key_path = ensure_self_signed(tmp_path, ["test.example"])
    old_key = key_path.read_bytes()
    certificate_path.unlink()
    ensure_self_signed(tmp_path, ["test.example"])
    assert key_path.read_bytes() != old_key
    TlsContexts(TlsSettings(certificate_path, key_path))


def test_a_certificate_needs_a_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one name"):
        ensure_self_signed(tmp_path, [])


def test_a_failed_reload_leaves_everything_in_force(tmp_path: Path) -> None:
    certificate_path, key_path = ensure_self_signed(tmp_path, ["test.example"])
    contexts = TlsContexts(TlsSettings(certificate_path, key_path))
    before = (contexts.server, contexts.client_verified, contexts.client_unverified)
    good = certificate_path.read_bytes()
    certificate_path.write_bytes(b"not a certificate")
    with pytest.raises(TlsFileError, match=r"self-signed\.crt"):
        contexts.reload()
    assert (contexts.server, contexts.client_verified, contexts.client_unverified) == before
    certificate_path.write_bytes(good)
    contexts.reload()
    assert contexts.server is not before[0]


def test_who_has_to_prove_its_domain(tmp_path: Path) -> None:
    pair = ensure_self_signed(tmp_path, ["test.example"])
    some = TlsContexts(TlsSettings(*pair, unverified=frozenset({"lab.example"})))
    assert some.must_verify("peer.example")
    assert not some.must_verify("LAB.example")
    assert some.client("peer.example") is some.client_verified
    assert some.client("lab.example") is some.client_unverified
    assert not TlsContexts(TlsSettings(*pair, verify=False)).must_verify("peer.example")
