"""TLS contexts, their reload without restart, and the identity rules of RFC 5922.

``stream`` asks :class:`TlsContexts` for the context of each new connection, so a reload touches
new connections only. :func:`verify_sip_domain` judges the certificate of a server we called;
:func:`ensure_self_signed` makes a first certificate where none is configured.
"""

from __future__ import annotations

import datetime
import os
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

SELF_SIGNED_DAYS = 3650
"""Ten years: phones pin it by hand, so renewing it would break them for no gain."""


class TlsFileError(OSError):
    """A certificate, key or authority file that will not do; `path` says which."""

    def __init__(self, path: Path, error: OSError) -> None:
        super().__init__(f"{path}: {error.strerror or error}")
        self.path = path


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """Where certificates come from and whom we trust. Files are PEM."""

    certificate: Path
    """Chain, leaf first."""
    key: Path
    domains: Mapping[str, tuple[Path, Path]] = field(default_factory=dict)
    """(certificate, key) by SIP domain: chosen by the name the client asks for (SNI)."""
    ca_file: Path | None = None
    """Trusted instead of the system's authorities for connections that we open."""
    verify: bool = True
    """False: servers that we call are not verified at all."""
    unverified: frozenset[str] = frozenset()
    """SIP domains or hosts that are not verified although `verify` is on."""


class TlsContexts:
    """The contexts in force, built from files; :meth:`reload` swaps all of them or none."""

    __slots__ = ("_settings", "client_unverified", "client_verified", "server")

    def __init__(self, settings: TlsSettings) -> None:
        """Raises :class:`TlsFileError` for a file that will not do."""
        self._settings = settings
        self.server: ssl.SSLContext
        self.client_verified: ssl.SSLContext
        self.client_unverified: ssl.SSLContext
        self.reload()

    def reload(self) -> None:
        """Read the files again. On an error it raises and the old contexts stay in force."""
        settings = self._settings
        server = _server_context(settings.certificate, settings.key)
        by_domain = {
            name.lower(): _server_context(certificate, key)
            for name, (certificate, key) in settings.domains.items()
        }
        if by_domain:

            def choose(
                tls: ssl.SSLSocket | ssl.SSLObject, name: str | None, _: ssl.SSLContext
            ) -> None:
                chosen = by_domain.get((name or "").lower())
                if chosen is not None:
                    tls.context = chosen

            server.sni_callback = choose
        verified = _client_context(settings, verify=True)
        unverified = _client_context(settings, verify=False)
        self.server, self.client_verified, self.client_unverified = server, verified, unverified

    def must_verify(self, name: str) -> bool:
        """Whether a server called for SIP domain `name` has to prove that it is this domain."""
        return self._settings.verify and name.lower() not in self._settings.unverified

    def client(self, name: str) -> ssl.SSLContext:
        """Context for a connection that we open to a server of SIP domain `name`."""
        return self.client_verified if self.must_verify(name) else self.client_unverified


def _server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _load_chain(context, certificate, key)
    return context


def _load_chain(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    try:
        context.load_cert_chain(certificate, key)
    except OSError as error:
        # OpenSSL does not say which of the two it is; what is missing we can tell.
        raise TlsFileError(certificate if key.exists() else key, error) from error


def _client_context(settings: TlsSettings, *, verify: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # The chain is OpenSSL's business; the name is ours, because RFC 5922 §7.1 differs from HTTPS.
    context.check_hostname = False
    if not verify:
        context.verify_mode = ssl.CERT_NONE
    elif settings.ca_file is not None:
        try:
            context.load_verify_locations(settings.ca_file)
        except OSError as error:
            raise TlsFileError(settings.ca_file, error) from error
    else:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    # Shown when the server asks for it (mutual TLS between servers, RFC 5922 §7.4).
    _load_chain(context, settings.certificate, settings.key)
    return context


def server_name(host: str) -> str | None:
    """What to send as SNI for `host`: names only, an address is not allowed (RFC 6066 §3)."""
    try:
        ip_address(host)
    except ValueError:
        return host or None
    return None


def sip_identities(certificate: Mapping[str, Any]) -> list[str]:
    """SIP domains, lower case, that a certificate (as ``getpeercert()`` shows it) stands for.

    RFC 5922 §7.1: subjectAltName URIs of scheme ``sip`` without a user part; DNS names if and
    only if there is no such URI. The common name is never looked at: certificates without
    subjectAltName, the one case where it may be, are no longer issued (RFC 9525 §2).
    """
    alternatives: Sequence[tuple[str, str]] = certificate.get("subjectAltName", ())
    uris = []
    for kind, value in alternatives:
        if kind == "URI" and value[:4].lower() == "sip:" and "@" not in value:
            uris.append(_host_of(value[4:]))
    if uris:
        return uris
    return [value.lower() for kind, value in alternatives if kind == "DNS"]


def _host_of(hostport: str) -> str:
    hostport = hostport.split(";", 1)[0].split("?", 1)[0].lower()
    if hostport.startswith("["):
        return hostport[1:].split("]", 1)[0]
    return hostport.split(":", 1)[0]


def verify_sip_domain(certificate: Mapping[str, Any] | None, domain: str) -> bool:
    """Whether the certificate stands for SIP domain `domain`: whole names, no wildcard (§7.2)."""
    domain = domain.lower().rstrip(".")
    if not certificate or not domain:
        return False
    return any(
        identity.rstrip(".") == domain
        for identity in sip_identities(certificate)
        if "*" not in identity
    )


def ensure_self_signed(directory: Path, names: Sequence[str]) -> tuple[Path, Path]:
    """(certificate, key) files in `directory`, made for `names` unless both are there already.

    Each name becomes a SIP URI and a DNS name (RFC 5922 §7.1), or an IP address. The key is
    readable by its owner only. The caller puts the two paths into :class:`TlsSettings`.
    """
    if not names:
        raise ValueError("a certificate needs at least one name")
    certificate_path = directory / "self-signed.crt"
    key_path = directory / "self-signed.key"
    if certificate_path.exists() and key_path.exists():
        return certificate_path, key_path
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _self_signed(key, names)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    # The certificate is written last: it is what says that the pair is complete.
    certificate_path.unlink(missing_ok=True)
    _write(key_path, pem, 0o600)
    _write(certificate_path, certificate.public_bytes(serialization.Encoding.PEM), 0o644)
    return certificate_path, key_path


def _self_signed(key: ec.EllipticCurvePrivateKey, names: Sequence[str]) -> x509.Certificate:
    alternatives: list[x509.GeneralName] = []
    for name in names:
        try:
            alternatives.append(x509.IPAddress(ip_address(name)))
        except ValueError:
            alternatives.append(x509.DNSName(name))
            alternatives.append(x509.UniformResourceIdentifier(f"sip:{name}"))
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
    today = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # Phones without a battery-backed clock are often a day behind.
        .not_valid_before(today - datetime.timedelta(days=1))
        .not_valid_after(today + datetime.timedelta(days=SELF_SIGNED_DAYS))
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage(
                [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
            ),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )


def _write(path: Path, data: bytes, mode: int) -> None:
    temporary = path.with_suffix(path.suffix + ".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    temporary.replace(path)
