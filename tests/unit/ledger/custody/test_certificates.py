"""Certificates on the ledger: what is taken, and that every other byte is found."""

import datetime as dt
import re

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from ledger.custody.certificates import (
    CERTIFICATE_BYTES_MAX,
    hash_certificate,
    verify_certificate,
)
from ledger.errors import InvalidCertificate
from tests.certificates import certificate_of, der_of, p256_of
from tools.founding import make_certificate

GOOD = der_of()


def is_good(certificate: bytes) -> bool:
    try:
        verify_certificate(certificate)
    except InvalidCertificate:
        return False
    return True


@pytest.mark.parametrize("host", ["localhost", "node-1.example.org", "::1", "192.0.2.1"])
def test_certificates_that_we_make_are_taken(host: str) -> None:
    now = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    for _ in range(20):
        _key, pem = make_certificate("cn-3302-tax", now, host=host)
        verify_certificate(x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER))


def test_its_hash_is_the_fingerprint_that_other_tools_show() -> None:
    assert hash_certificate(GOOD) == certificate_of().fingerprint(hashes.SHA256())


@pytest.mark.parametrize(
    ("certificate", "reason"),
    [
        (certificate_of(issuer="somebody"), "issuer and subject differ"),
        (certificate_of(signer=p256_of("another")), "its own key has not signed it"),
        (certificate_of(key=ec.generate_private_key(ec.SECP384R1())), "not a P-256 public key"),
        (certificate_of(digest=hashes.SHA384()), "not ecdsa-with-SHA256"),
        (certificate_of(has_extensions=False), "no value of type 0xa3"),
    ],
)
def test_other_certificates_are_refused(certificate: x509.Certificate, reason: str) -> None:
    with pytest.raises(InvalidCertificate, match=re.escape(reason)):
        verify_certificate(certificate.public_bytes(Encoding.DER))


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        (b"", "no value of type 0x30"),
        (GOOD + b"\0", "more bytes follow"),
        (GOOD[:-1], "it is cut off"),
        (b"\x30\x80" + GOOD[4:], "a length is not in its shortest form"),
        (b"\x30\x83\0" + GOOD[2:], "a length is not in its shortest form"),
        (b"\x30\x82\0\x05" + GOOD[4:9], "a length is not in its shortest form"),
        (b"\x30" * (CERTIFICATE_BYTES_MAX + 1), "longer than 4,096 bytes"),
    ],
)
def test_other_bytes_are_refused(changed: bytes, reason: str) -> None:
    with pytest.raises(InvalidCertificate, match=re.escape(reason)):
        verify_certificate(changed)


def test_every_flipped_bit_is_found() -> None:
    for place in range(len(GOOD) * 8):
        changed = bytearray(GOOD)
        changed[place // 8] ^= 1 << place % 8
        assert not is_good(bytes(changed)), place


@given(st.binary(max_size=200), st.integers(0, len(GOOD)), st.integers(0, 60))
def test_whatever_stands_there_ends_in_a_verdict(put: bytes, start: int, length: int) -> None:
    changed = GOOD[:start] + put + GOOD[start + length :]
    assert is_good(changed) == (changed == GOOD)


@given(st.text(min_size=1, max_size=20))
def test_what_the_other_reader_reads_is_taken(label: str) -> None:
    verify_certificate(der_of(label))
