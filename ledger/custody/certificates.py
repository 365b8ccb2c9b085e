"""TLS certificates that stand on the ledger: X.509, P-256, issued by their own key.

    Certificate ::= SEQUENCE { to be signed, ecdsa-with-SHA256, BIT STRING signature }
    to be signed ::= SEQUENCE { [0] 2, INTEGER serial, ecdsa-with-SHA256, Name issuer,
                                SEQUENCE validity, Name subject, public key, [3] extensions }

RFC 5280 section 4.1, and of it only what self-issued certificates of browsers' kind are: version 3,
a serial number above zero of at most 20 bytes, issuer and subject the same bytes, a P-256 key as an
uncompressed point (RFC 5480), extensions, and a signature by that very key. Lengths are those of
DER. What stands inside names, validity and extensions is not read: no rule depends on it, and
whoever connects has a TLS library that judges it. So every version of every library agrees on what
may stand on the ledger.
"""

import hashlib
from typing import Final

from cryptography.exceptions import InvalidSignature as SignatureMismatch
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from ledger.errors import InvalidCertificate

CERTIFICATE_BYTES_MAX: Final = 4_096

_INTEGER, _BIT_STRING, _SEQUENCE, _EXTENSIONS = 0x02, 0x03, 0x30, 0xA3
_VERSION_3 = bytes.fromhex("a003020102")
_ECDSA_SHA256 = bytes.fromhex("300a06082a8648ce3d040302")
# The key info of P-256 up to the coordinates: id-ecPublicKey, prime256v1, an uncompressed point.
_P256 = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d03010703420004")
_COORDINATES_BYTES = 64
_SERIAL_BYTES_MAX = 20
_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def verify_certificate(certificate: bytes) -> None:
    """Check that the bytes are one self-issued P-256 certificate. Raises `InvalidCertificate`."""
    if len(certificate) > CERTIFICATE_BYTES_MAX:
        raise InvalidCertificate(f"longer than {CERTIFICATE_BYTES_MAX:,} bytes")
    outer, rest = _take(certificate, _SEQUENCE)
    _expect_end(rest)
    signed, rest = _take(outer, _SEQUENCE, whole=True)
    signature, rest = _take(_take_exactly(rest, _ECDSA_SHA256, "ecdsa-with-SHA256"), _BIT_STRING)
    _expect_end(rest)
    point = _point_of(_take(signed, _SEQUENCE)[0])
    if not _is_signed(signed, _signature_of(signature), point):
        raise InvalidCertificate("its own key has not signed it")


def hash_certificate(certificate: bytes) -> bytes:
    """SHA-256 of the certificate: the fingerprint that TLS tools show."""
    return hashlib.sha256(certificate).digest()


def _point_of(signed: bytes) -> bytes:
    """The public key's point in what is to be signed."""
    serial, rest = _take(_take_exactly(signed, _VERSION_3, "version 3"), _INTEGER)
    if not 0 < _unsigned(serial) < 1 << 8 * _SERIAL_BYTES_MAX:
        raise InvalidCertificate("a serial number is above zero and has at most 20 bytes")
    issuer, rest = _take(_take_exactly(rest, _ECDSA_SHA256, "ecdsa-with-SHA256"), _SEQUENCE)
    _validity, rest = _take(rest, _SEQUENCE)
    subject, rest = _take(rest, _SEQUENCE)
    if issuer != subject:
        raise InvalidCertificate("somebody else issued it: issuer and subject differ")
    rest = _take_exactly(rest, _P256, "a P-256 public key")
    _extensions, end = _take(rest[_COORDINATES_BYTES:], _EXTENSIONS)
    _expect_end(end)
    return b"\x04" + rest[:_COORDINATES_BYTES]


def _signature_of(bits: bytes) -> tuple[int, int]:
    """The two numbers of an ECDSA signature (RFC 3279 section 2.2.3)."""
    numbers, rest = _take(_take_exactly(bits, b"\0", "whole bytes of signature"), _SEQUENCE)
    _expect_end(rest)
    first, rest = _take(numbers, _INTEGER)
    second, rest = _take(rest, _INTEGER)
    _expect_end(rest)
    return _unsigned(first), _unsigned(second)


def _is_signed(signed: bytes, numbers: tuple[int, int], point: bytes) -> bool:
    if not all(0 < number < _P256_ORDER for number in numbers):
        return False
    try:
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
        key.verify(encode_dss_signature(*numbers), signed, ec.ECDSA(hashes.SHA256()))
    except (ValueError, SignatureMismatch):
        return False
    return True


def _unsigned(content: bytes) -> int:
    """A DER integer that is not negative, in its shortest form."""
    if not content or content[0] >= 0x80 or (content[0] == 0 and content[1:2] < b"\x80"):
        raise InvalidCertificate("a number is negative or not in its shortest form")
    return int.from_bytes(content, "big")


def _take(data: bytes, tag: int, *, whole: bool = False) -> tuple[bytes, bytes]:
    """Content of the DER value at the start (`whole`: with its head), and what follows it."""
    if len(data) < 2 or data[0] != tag:
        raise InvalidCertificate(f"no value of type {tag:#04x} where one has to be")
    length, head = data[1], 2
    if length >= 0x80:
        head += length & 0x7F
        length = int.from_bytes(data[2:head], "big")
        # One or two bytes, and only where the shorter form would not do.
        if head not in (3, 4) or length < (0x80 if head == 3 else 0x100):
            raise InvalidCertificate("a length is not in its shortest form, or too long")
    end = head + length
    if len(data) < end:
        raise InvalidCertificate("it is cut off")
    return data[0 if whole else head : end], data[end:]


def _take_exactly(data: bytes, expected: bytes, name: str) -> bytes:
    """What follows the bytes that must stand at the start."""
    if not data.startswith(expected):
        raise InvalidCertificate(f"not {name}")
    return data[len(expected) :]


def _expect_end(rest: bytes) -> None:
    if rest:
        raise InvalidCertificate("more bytes follow where it ends")
