"""Packages: opened as packed; tampered, cut off and foreign ones each with their code."""

import io
import zipfile
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID

from node.crs import package as packages
from node.crs.errors import InvalidPackage
from node.crs.package import Parties, fingerprint, pack, public_key, unpack
from node.crs.signing import open_message, sign_message
from tests.unit.node.crs import messages as m

PARTIES = Parties(
    sender="DE", receiver="CN", communication="CRS", year="2024", file_id="f1",
    created="2026-01-02T03:04:05Z",
)  # fmt: skip
MESSAGE = m.message().encode()


@cache
def key_of(name: str) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65_537, 2_048)


@cache
def certificate_of(name: str) -> x509.Certificate:
    key, subject = key_of(name), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    return certify(key, subject)


def certify(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, subject: x509.Name
) -> x509.Certificate:
    start = datetime(2024, 1, 1, tzinfo=UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=36_500))
        .sign(key, hashes.SHA256())
    )


def packed(message: bytes = MESSAGE) -> bytes:
    return pack(message, PARTIES, key_of("CN").public_key())


def files_of(package: bytes) -> dict[str, tuple[bytes, bytes]]:
    with zipfile.ZipFile(io.BytesIO(package)) as archive:
        return {info.filename: (archive.read(info), info.comment) for info in archive.infolist()}


def rebuilt(**changed: bytes | None) -> bytes:
    """The package with other files; `mark` is the comment of the key, None leaves a file out."""
    files = files_of(packed())
    for ending, data in changed.items():
        name = next(
            name for name in files if name.endswith(ending.replace("Metadata", "Metadata.xml"))
        )
        if data is None:
            del files[name]
        else:
            files[name] = (data, b"")
    return packages._zip(files)


def refusal(package: bytes, name: str = "CN") -> tuple[str, int, str]:
    with pytest.raises(InvalidPackage) as caught:
        unpack(package, key_of(name))
    return caught.value.code, caught.value.status, caught.value.detail


def test_what_is_packed_is_unpacked() -> None:
    message, metadata = unpack(packed(), key_of("CN"))
    assert message == MESSAGE
    assert metadata["CTSReceiverCountryCd"] == "CN"
    assert metadata["TaxYear"] == "2024"


def test_the_files_are_named_as_the_field_names_them() -> None:
    files = files_of(packed())
    assert set(files) == {"DE_Metadata.xml", "CN_Key", "DE_Payload"}
    assert len(files["CN_Key"][0]) == 256
    assert len(files["DE_Payload"][0]) % 16 == 0
    secret = key_of("CN").decrypt(files["CN_Key"][0], padding.PKCS1v15())
    assert len(secret) == 48


def test_a_wrong_key_names_both_fingerprints() -> None:
    code, status, detail = refusal(packed(), "other")
    mine, other = fingerprint(key_of("CN").public_key()), fingerprint(key_of("other").public_key())
    assert (code, status, detail) == ("package-key-other", 50002, f"{mine}, {other}")


def test_without_a_mark_a_wrong_key_names_the_one_that_was_used() -> None:
    unmarked = packages._zip({name: (data, b"") for name, (data, _) in files_of(packed()).items()})
    assert unpack(unmarked, key_of("CN"))[0] == MESSAGE
    # What comes out is random: another length, no padding, or, once in 256 times, no archive.
    code, status, detail = refusal(unmarked, "other")
    if code != "package-archive":
        assert (code, status) in {
            ("package-key-wrong", 50002), ("package-key-size", 50013),
            ("package-decryption", 50002),
        }  # fmt: skip
        assert detail.endswith(fingerprint(key_of("other").public_key()))


@pytest.mark.parametrize("size", [32, 16, 49])
def test_a_key_without_its_vector_is_told(size: int) -> None:
    wrapped = key_of("CN").public_key().encrypt(bytes(size), padding.PKCS1v15())
    code, status, detail = refusal(rebuilt(_Key=wrapped))
    assert (code, status) == ("package-key-size", 50013)
    assert detail == f"{size}, {fingerprint(key_of('CN').public_key())}"


def test_a_key_file_of_another_length_is_told() -> None:
    assert refusal(rebuilt(_Key=b"short"))[:2] == ("package-key-wrong", 50002)


def test_a_payload_that_was_cut_off_or_changed_is_told() -> None:
    package = packed()
    payload = next(data for name, (data, _) in files_of(package).items() if "Payload" in name)
    files = files_of(package)

    def with_payload(data: bytes) -> bytes:
        return packages._zip({**files, "DE_Payload": (data, b"")})

    assert refusal(with_payload(payload[:-7]))[:2] == ("package-decryption", 50002)
    assert refusal(with_payload(b""))[1] in (50002, 50003)
    for at in (0, 20, len(payload) // 2, len(payload) - 20):
        changed = bytearray(payload)
        changed[at] ^= 1
        assert refusal(with_payload(bytes(changed)))[1] in (50002, 50003)


def test_every_truncation_of_a_package_is_refused() -> None:
    package = packed()
    for size in range(0, len(package), 97):
        code, status, _ = refusal(package[:size])
        assert (code, status) == ("package-archive", 50003)


@pytest.mark.parametrize("missing", ["_Key", "_Payload", "_Metadata"])
def test_a_package_has_its_three_files(missing: str) -> None:
    code, status, _ = refusal(rebuilt(**{missing: None}))
    assert (code, status) == ("package-entries", 50003)


def test_metadata_are_read_with_the_same_care() -> None:
    code, status, _ = refusal(rebuilt(_Metadata=b"<!DOCTYPE a><a/>"))
    assert (code, status) == ("package-metadata", 50005)


def test_an_archive_that_grows_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    package = packed(b"<a>" + bytes(1 << 20) + b"</a>")
    monkeypatch.setattr(packages, "PAYLOAD_BYTES_MAX", 1 << 16)
    assert refusal(package)[:2] == ("package-large", 50003)
    with pytest.raises(InvalidPackage, match="package-large"):
        packed(bytes(1 << 17))


def test_a_message_is_signed_and_opened() -> None:
    signed = sign_message(MESSAGE, key_of("DE"), certificate_of("DE"))
    opened = open_message(signed, certificate_of("DE"))
    assert b"<MessageRefId>DE2024CN0001</MessageRefId>" in opened
    message, _ = unpack(packed(signed), key_of("CN"))
    assert message == signed


def test_what_was_signed_is_what_is_read(tmp_path: Path) -> None:
    opened = open_message(
        sign_message(MESSAGE, key_of("DE"), certificate_of("DE")), certificate_of("DE")
    )
    assert m.check(tmp_path / "m.xml", opened).findings == ()


def signature_refusal(signed: bytes, name: str = "DE") -> tuple[str, int, str]:
    with pytest.raises(InvalidPackage) as caught:
        open_message(signed, certificate_of(name))
    return caught.value.code, caught.value.status, caught.value.detail


def test_a_signature_by_another_names_both_keys() -> None:
    signed = sign_message(MESSAGE, key_of("FR"), certificate_of("FR"))
    expected, used = (fingerprint(key_of(name).public_key()) for name in ("DE", "FR"))
    assert signature_refusal(signed) == ("package-signer-other", 50004, f"{expected}, {used}")


@pytest.mark.parametrize(
    ("old", "new"),
    [(b"12.50", b"99.50"), (b"<AccountBalance>", b"<AccountBalance><!-- x -->9")],
)
def test_a_changed_message_is_refused(old: bytes, new: bytes) -> None:
    signed = sign_message(MESSAGE, key_of("DE"), certificate_of("DE"))
    assert old in signed
    code, status, _ = signature_refusal(signed.replace(old, new))
    assert (code, status) == ("package-signature", 50004)


def test_a_second_object_beside_the_signed_one_is_not_read() -> None:
    signed = sign_message(MESSAGE, key_of("DE"), certificate_of("DE"))
    evil = b'<ds:Object Id="evil"><a>evil</a></ds:Object></ds:Signature>'
    opened = open_message(signed.replace(b"</ds:Signature>", evil), certificate_of("DE"))
    assert opened == open_message(signed, certificate_of("DE"))


def test_a_message_without_a_signature_is_told() -> None:
    assert signature_refusal(MESSAGE) == ("package-unsigned", 50004, "Message")


@pytest.mark.parametrize(
    ("data", "code", "status"),
    [(b"<!DOCTYPE a><a/>", "package-payload", 50005), (b"<a>", "package-payload", 50005)],
)
def test_a_payload_that_is_no_safe_xml(data: bytes, code: str, status: int) -> None:
    assert signature_refusal(data)[:2] == (code, status)


def test_a_certificate_is_that_of_the_key() -> None:
    with pytest.raises(InvalidPackage, match="package-signer-other"):
        sign_message(MESSAGE, key_of("DE"), certificate_of("FR"))


def test_only_rsa_keys_of_some_length_are_used() -> None:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
    for key in (ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65_537, 1_024)):
        with pytest.raises(InvalidPackage, match="package-certificate"):
            public_key(certify(key, subject))
