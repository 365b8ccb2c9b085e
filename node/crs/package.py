"""Packages of the Common Transmission System, as converter: a message in, a package out, and back.

A package is a zip archive with three files:

    <sender>_Payload       a zip archive with `<sender>_Payload.xml`, by AES-256-CBC with PKCS #7
    <receiver>_Key         the 32 bytes of the AES key and the 16 of the IV, by RSA (PKCS #1 v1.5)
    <sender>_Metadata.xml  who sends what to whom

The message in it is signed (`node.crs.signing`): CBC by itself does not notice every change. Which
key the key file is for, the format does not say; we put the fingerprint into the comment of that
entry, where other programs leave it alone, so a wrong key is told with both fingerprints.
"""

import hashlib
import io
import os
import zipfile
import zlib
from dataclasses import dataclass

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7
from cryptography.x509 import Certificate
from lxml import etree

from node.crs.errors import InvalidDocument, InvalidPackage
from node.crs.guard import Limits, check_pieces
from node.crs.message import local
from node.crs.schemas import make_parser

PAYLOAD_BYTES_MAX = 256 << 20
KEY_BITS_MIN = 2_048
_KEY_BYTES, _IV_BYTES = 32, 16
_SMALL_BYTES_MAX = 1 << 20
_METADATA = "urn:oecd:ctssenderfilemetadata"
_PREFIX = b"sha256:"
# The same bytes for the same content, whenever it is packed.
_TIME = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parties:
    """Country codes of both sides, the kind of communication (`CRS`) and the year."""

    sender: str
    receiver: str
    communication: str
    year: str
    file_id: str
    created: str


def fingerprint(key: rsa.RSAPublicKey) -> str:
    """SHA-256 of a public key (SubjectPublicKeyInfo), in hex."""
    encoding, form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    return hashlib.sha256(key.public_bytes(encoding, form)).hexdigest()


def public_key(certificate: Certificate) -> rsa.RSAPublicKey:
    """The RSA key of a certificate. Raises `InvalidPackage`."""
    key = certificate.public_key()
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size < KEY_BITS_MIN:
        raise InvalidPackage("package-certificate", f"RSA, {KEY_BITS_MIN}", 50002)
    return key


def pack(message: bytes, parties: Parties, receiver: rsa.RSAPublicKey) -> bytes:
    """The package of a message, which is signed already if it is to be. Raises `InvalidPackage`."""
    if len(message) > PAYLOAD_BYTES_MAX:
        raise InvalidPackage("package-large", str(PAYLOAD_BYTES_MAX), 50003)
    secret = os.urandom(_KEY_BYTES + _IV_BYTES)
    payload = _encrypt(_zip({f"{parties.sender}_Payload.xml": (message, b"")}), secret)
    wrapped = receiver.encrypt(secret, padding.PKCS1v15())
    mark = _PREFIX + fingerprint(receiver).encode()
    return _zip(
        {
            f"{parties.sender}_Metadata.xml": (_write_metadata(parties), b""),
            f"{parties.receiver}_Key": (wrapped, mark),
            f"{parties.sender}_Payload": (payload, b""),
        }
    )


def unpack(package: bytes, own: rsa.RSAPrivateKey) -> tuple[bytes, dict[str, str]]:
    """The message in a package, and its metadata by element. Raises `InvalidPackage`."""
    entries = _read_entries(package)
    secret = _unwrap(entries["_Key"], own)
    inner = _decrypt(entries["_Payload"][0], secret, fingerprint(own.public_key()))
    names = _unzip(inner, PAYLOAD_BYTES_MAX)
    if len(names) != 1:
        raise InvalidPackage("package-entries", str(len(names)), 50003)
    (message,) = names.values()
    return message[0], _read_metadata(entries["_Metadata.xml"][0])


def _unwrap(entry: tuple[bytes, bytes], own: rsa.RSAPrivateKey) -> bytes:
    wrapped, mark = entry
    mine = fingerprint(own.public_key())
    expected = mark.removeprefix(_PREFIX).decode("ascii", errors="replace")
    if mark.startswith(_PREFIX) and expected != mine:
        raise InvalidPackage("package-key-other", f"{expected}, {mine}", 50002)
    try:
        secret = own.decrypt(wrapped, padding.PKCS1v15())
    except ValueError:
        raise InvalidPackage("package-key-wrong", mine, 50002) from None
    # For a wrong key the library answers with random bytes, so that nobody can probe with it.
    if len(secret) != _KEY_BYTES + _IV_BYTES:
        raise InvalidPackage("package-key-size", f"{len(secret)}, {mine}", 50013)
    return secret


def _encrypt(data: bytes, secret: bytes) -> bytes:
    padder = PKCS7(algorithms.AES.block_size).padder()
    cipher = Cipher(algorithms.AES(secret[:_KEY_BYTES]), modes.CBC(secret[_KEY_BYTES:])).encryptor()
    return cipher.update(padder.update(data) + padder.finalize()) + cipher.finalize()


def _decrypt(data: bytes, secret: bytes, used: str) -> bytes:
    unpadder = PKCS7(algorithms.AES.block_size).unpadder()
    cipher = Cipher(algorithms.AES(secret[:_KEY_BYTES]), modes.CBC(secret[_KEY_BYTES:])).decryptor()
    try:
        padded = cipher.update(data) + cipher.finalize()
        return unpadder.update(padded) + unpadder.finalize()
    except ValueError:
        raise InvalidPackage("package-decryption", f"{len(data)}, {used}", 50002) from None


def _zip(files: dict[str, tuple[bytes, bytes]]) -> bytes:
    """An archive of files, each with its bytes and a comment."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, (data, comment) in files.items():
            info = zipfile.ZipInfo(name, _TIME)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.comment = comment
            archive.writestr(info, data)
    return out.getvalue()


def _unzip(data: bytes, bytes_max: int) -> dict[str, tuple[bytes, bytes]]:
    """Files of an archive by name, as `_zip` takes them; bounded, whatever sizes it claims."""
    found: dict[str, tuple[bytes, bytes]] = {}
    left = bytes_max
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for info in archive.infolist():
                with archive.open(info) as file:
                    read = file.read(left + 1)
                left -= len(read)
                if left < 0:
                    raise InvalidPackage("package-large", str(bytes_max), 50003)
                if info.filename in found or len(found) == 8:
                    raise InvalidPackage("package-entries", str(len(archive.infolist())), 50003)
                found[info.filename] = (read, info.comment)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise InvalidPackage("package-archive", type(error).__name__, 50003) from None
    return found


def _read_entries(package: bytes) -> dict[str, tuple[bytes, bytes]]:
    """The three files by the end of their names."""
    files = _unzip(package, PAYLOAD_BYTES_MAX + _SMALL_BYTES_MAX)
    entries = {}
    for ending in ("_Key", "_Payload", "_Metadata.xml"):
        named = [name for name in files if name.endswith(ending)]
        if len(named) != 1:
            raise InvalidPackage("package-entries", f"*{ending}: {len(named)}", 50003)
        entries[ending] = files[named[0]]
    return entries


def _write_metadata(parties: Parties) -> bytes:
    root = etree.Element(f"{{{_METADATA}}}CTSSenderFileMetadata", nsmap={None: _METADATA})
    for name, said in (
        ("CTSSenderCountryCd", parties.sender),
        ("CTSReceiverCountryCd", parties.receiver),
        ("CTSCommunicationTypeCd", parties.communication),
        ("SenderFileId", parties.file_id),
        ("FileFormatCd", "XML"),
        ("BinaryEncodingSchemeCd", "NONE"),
        ("FileCreateTs", parties.created),
        ("TaxYear", parties.year),
        ("FileRevisionInd", "false"),
    ):
        etree.SubElement(root, f"{{{_METADATA}}}{name}").text = said
    data: bytes = etree.tostring(root, encoding="UTF-8", xml_declaration=True)
    return data


def _read_metadata(data: bytes) -> dict[str, str]:
    try:
        check_pieces((data,), Limits(size_bytes_max=_SMALL_BYTES_MAX))
    except InvalidDocument as error:
        raise InvalidPackage("package-metadata", str(error), 50005) from None
    root = etree.fromstring(data, make_parser())
    return {local(child): (child.text or "").strip() for child in root}
