"""Certificates of gateways, the same bytes in every run; keyword arguments lie about one thing."""

import datetime as dt
import hashlib

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

SINCE = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def p256_of(label: str) -> ec.EllipticCurvePrivateKey:
    """A key of a label."""
    return ec.derive_private_key(
        int.from_bytes(hashlib.sha256(label.encode()).digest()), ec.SECP256R1()
    )


def name_of(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def certificate_of(
    label: str = "one",
    *,
    key: ec.EllipticCurvePrivateKey | None = None,
    signer: ec.EllipticCurvePrivateKey | None = None,
    issuer: str = "gateway",
    digest: hashes.SHA256 | hashes.SHA384 | None = None,
    has_extensions: bool = True,
    days: int = 365,
) -> x509.Certificate:
    """A self-issued P-256 certificate, as they are on the ledger unless an argument lies."""
    key = p256_of(label) if key is None else key
    builder = (
        x509.CertificateBuilder()
        .subject_name(name_of("gateway"))
        .issuer_name(name_of(issuer))
        .public_key(key.public_key())
        .serial_number(int.from_bytes(hashlib.sha256(label.encode()).digest()[:16]) | 1)
        .not_valid_before(SINCE)
        .not_valid_after(SINCE + dt.timedelta(days=days))
    )
    if has_extensions:
        builder = builder.add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
    return builder.sign(signer or key, digest or hashes.SHA256(), ecdsa_deterministic=True)


def der_of(label: str = "one") -> bytes:
    """The bytes of a good certificate."""
    return certificate_of(label).public_bytes(Encoding.DER)


def pem_of(label: str = "one") -> str:
    """The text of a good certificate."""
    return certificate_of(label).public_bytes(Encoding.PEM).decode()
