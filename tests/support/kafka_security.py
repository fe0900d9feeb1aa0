"""What a broker needs to speak TLS and to know users: certificates of an authority of our own, the
listeners' settings, and the records of users that its storage is formatted with.

Passwords and keys are made for one run and lie in its folder.
"""

from __future__ import annotations

import datetime
import ipaddress
import secrets
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

USER: Final = "ringlog"
PROTOCOLS: Final = ("SSL", "SASL_SSL", "SASL_PLAINTEXT")
"""Of the listeners beside the open one that brokers use among themselves."""


class Security:
    """Files in `folder`; `ports` are those of :data:`PROTOCOLS`."""

    def __init__(self, folder: Path, ports: list[int]) -> None:
        folder.mkdir(parents=True)
        self.ports = dict(zip(PROTOCOLS, ports, strict=True))
        self.password = secrets.token_urlsafe(18)
        self.password_file = folder / "password"
        self.password_file.write_text(f"{self.password}\n", encoding="utf-8")
        self.ca, self.foreign_ca = folder / "ca.pem", folder / "foreign-ca.pem"
        self.certificate, self.key = folder / "client.pem", folder / "client.key"
        self._store, self._trust = folder / "broker.pem", self.ca
        authority, its_key = _authority("Tests")
        stranger, _ = _authority("Somebody else")
        self.ca.write_bytes(_pem(authority))
        self.foreign_ca.write_bytes(_pem(stranger))
        broker, broker_key = _issued("broker", authority, its_key)
        client, client_key = _issued("client", authority, its_key)
        self._store.write_bytes(_private(broker_key) + _pem(broker) + _pem(authority))
        self.certificate.write_bytes(_pem(client))
        self.key.write_bytes(_private(client_key))

    def address(self, protocol: str) -> str:
        """``HOST:PORT`` of a listener."""
        return f"127.0.0.1:{self.ports[protocol]}"

    def listeners(self) -> str:
        """As ``listeners`` and ``advertised.listeners`` name them."""
        return ",".join(f"{name}://127.0.0.1:{port}" for name, port in self.ports.items())

    def properties(self) -> dict[str, object]:
        """Settings of the broker besides its listeners."""
        login = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        found: dict[str, object] = {
            "inter.broker.listener.name": "PLAINTEXT",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": self._store,
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": self._trust,
            # Who comes over the listener SSL proves himself by a certificate.
            "listener.name.ssl.ssl.client.auth": "required",
            "sasl.enabled.mechanisms": "SCRAM-SHA-256,SCRAM-SHA-512",
        }
        for name in ("sasl_ssl", "sasl_plaintext"):
            for mechanism in ("scram-sha-256", "scram-sha-512"):
                found[f"listener.name.{name}.{mechanism}.sasl.jaas.config"] = login
        return found

    def format_options(self) -> list[str]:
        """Options of the storage tool: the one user, by both mechanisms."""
        return [
            part
            for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512")
            for part in ("--add-scram", f"{mechanism}=[name={USER},password={self.password}]")
        ]


def _authority(name: str) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = _builder(subject, subject, key).add_extension(
        x509.BasicConstraints(ca=True, path_length=0), critical=True
    )
    return builder.sign(key, hashes.SHA256()), key


def _issued(
    name: str, authority: x509.Certificate, its_key: ec.EllipticCurvePrivateKey
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    builder = _builder(subject, authority.subject, key).add_extension(names, critical=False)
    return builder.sign(its_key, hashes.SHA256()), key


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=2))
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
