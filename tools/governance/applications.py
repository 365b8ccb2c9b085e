"""Applications of agencies and keys of officers: made where the keys are, checked where they go.

    HOME/keys/ROLE.key    one key for each role, the administrator's twice: some votes ask for two
    HOME/application.json the signed application, an action `member.admit` in JSON

Making an application again keeps the keys that are there, so that an agency that was declined
corrects what was wrong and hands in the next one.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ledger.codec import Value
from ledger.custody.certificates import verify_certificate
from ledger.custody.encryption import (
    format_fingerprint,
    hash_encryption_key,
    parse_encryption_key,
)
from ledger.custody.rotation import FORMAT, decode_rotation_json
from ledger.errors import InvalidCertificate, InvalidKey, InvalidRotation, InvalidSignature
from ledger.governance.actions import (
    AddOfficer,
    AdmitMember,
    Application,
    OfficerKey,
    prove_key,
    sign_application,
    verify_application,
    verify_key,
)
from ledger.governance.keys import RotateOfficer
from ledger.keys import Signer, format_public_key
from ledger.registry import MemberKind, Role
from tools.custody.making import KeyMaker
from tools.exits import InvalidInput
from tools.founding import read_file

T = TypeVar("T")

FILE_BYTES_MAX = 65_536
ROTATION_MARK = FORMAT.encode()
APPLICATION = "application.json"
SECOND_ADMIN = "admin-2"
_WORKING: tuple[Role, ...] = ("approver", "provider", "requester")
_ROLES: dict[str, tuple[Role, ...]] = {"auditor": ("auditor",), "supervisor": ("supervisor",)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Applicant:
    """Who applies, as the ledger will know it."""

    id: str
    name_zh: str
    name_en: str
    region: str
    kind: MemberKind
    contact: str


def key_roles(kind: str) -> dict[str, Role]:
    """Name of each key file of an agency of this kind, and its role."""
    roles = {str(role): role for role in _ROLES.get(kind, _WORKING)}
    return {**roles, "admin": "admin", SECOND_ADMIN: "admin"}


def make_keys(home: Path, kind: str, maker: KeyMaker) -> dict[str, Signer]:
    """Keys of an agency by the name of their file: those that are there, and new ones.

    Keys of administrators that are on tokens have no file.
    """
    names = list(key_roles(kind))
    on_tokens = dict(zip(("admin", SECOND_ADMIN), maker.open_tokens(2), strict=False))
    folder = home / "keys"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    files = {name: folder / f"{name}.key" for name in names if name not in on_tokens}
    keys = maker.open_or_make(files)
    return {name: on_tokens.get(name) or keys[name] for name in names}


def make_application(applicant: Applicant, keys: dict[str, Signer], network: bytes) -> AdmitMember:
    """The application, signed by the first administrator. Raises `InvalidInput`."""
    roles = key_roles(applicant.kind)
    officers = [
        OfficerKey(
            key=key.public,
            roles=(roles[name],),
            possession=prove_key(key, network, applicant.id),
        )
        for name, key in keys.items()
    ]
    application = Application(
        id=applicant.id,
        name_zh=applicant.name_zh,
        name_en=applicant.name_en,
        region=applicant.region,
        kind=applicant.kind,
        contact=applicant.contact,
        keys=tuple(sorted(officers, key=lambda officer: officer.key)),
    )
    try:
        # The constructor takes anything: lengths and patterns are checked by strict reading.
        builtins = msgspec.to_builtins(application, builtin_types=(bytes,))
        application = msgspec.convert(builtins, Application)
    except msgspec.ValidationError as error:
        raise InvalidInput("applicant-invalid", str(error)) from None
    return sign_application(keys["admin"], network, application)


def encode_action(action: AdmitMember | AddOfficer) -> bytes:
    """The action as a JSON file."""
    return msgspec.json.format(msgspec.json.encode(action)) + b"\n"


def read_admission(path: Path, network: bytes) -> AdmitMember:
    """A signed application, every signature checked. Raises `InvalidInput`."""
    try:
        action = _read(path, AdmitMember)
    except msgspec.DecodeError as error:
        raise InvalidInput("admission-invalid", f"{path}: {error}") from None
    try:
        verify_application(network, action)
    except (InvalidKey, InvalidSignature) as error:
        raise InvalidInput("application-tampered", f"{path}: {error}") from None
    admins = [each.key for each in action.application.keys if "admin" in each.roles]
    if action.signer not in admins:
        raise InvalidInput("application-tampered", f"{path}: {action.application.id}")
    return action


def make_officer(key: Signer, *, network: bytes, member: str, roles: list[Role]) -> AddOfficer:
    """What the holder of a new officer's key hands to the administrators."""
    officer = OfficerKey(
        key=key.public,
        roles=tuple(sorted(frozenset(roles))),
        possession=prove_key(key, network, member),
    )
    return AddOfficer(member=member, officer=officer)


def read_officer(path: Path, network: bytes) -> AddOfficer:
    """The file of a new officer, its proof checked. Raises `InvalidInput`."""
    try:
        action = _read(path, AddOfficer)
    except msgspec.DecodeError as error:
        raise InvalidInput("officer-file-invalid", f"{path}: {error}") from None
    try:
        verify_key(network, action.member, action.officer)
    except (InvalidKey, InvalidSignature) as error:
        raise InvalidInput("officer-tampered", f"{path}: {error}") from None
    return action


def read_successor(
    path: Path, network: bytes, old: bytes | None
) -> tuple[AddOfficer | RotateOfficer, bytes]:
    """The next key of an officer, and the one that it replaces. Raises `InvalidInput`.

    The file is the statement that `tally keys rotate` made, which names the old key, or that of
    `tally member key`, beside which somebody has to name it.
    """
    data = read_file(path, size_bytes_max=FILE_BYTES_MAX)
    if ROTATION_MARK not in data:
        if old is None:
            raise InvalidInput("old-key-missing", str(path))
        return read_officer(path, network), old
    try:
        signed = decode_rotation_json(data)
    except InvalidRotation as error:
        raise InvalidInput("statement-tampered", f"{path}: {error}") from None
    if signed.rotation.network != network:
        raise InvalidInput("statement-tampered", f"{path}: {signed.rotation.network.hex()}")
    if old not in (None, signed.rotation.old_key):
        raise InvalidInput("old-key-mismatch", format_public_key(signed.rotation.old_key))
    return RotateOfficer(statement=signed), signed.rotation.old_key


class _PublicFile(Value, frozen=True, kw_only=True):
    """What `tally keys export-public` writes."""

    format: Literal["tallystick-public-key-v1"]
    public_key: str
    fingerprint: str


def read_encryption_key(path: Path) -> bytes:
    """The encryption key in a public file. Raises `InvalidInput`."""
    try:
        file = _read(path, _PublicFile)
        key = parse_encryption_key(file.public_key)
    except (msgspec.DecodeError, InvalidKey) as error:
        raise InvalidInput("encryption-file-invalid", f"{path}: {error}") from None
    if file.fingerprint != format_fingerprint(hash_encryption_key(key)):
        raise InvalidInput("encryption-file-invalid", f"{path}: {file.fingerprint[:16]}")
    return key


def read_certificates(path: Path) -> list[bytes]:
    """The certificates (DER) in a PEM file. Raises `InvalidInput`."""
    try:
        found = x509.load_pem_x509_certificates(read_file(path, size_bytes_max=FILE_BYTES_MAX))
        certificates = [each.public_bytes(Encoding.DER) for each in found]
        for certificate in certificates:
            verify_certificate(certificate)
    except (ValueError, InvalidCertificate) as error:
        raise InvalidInput("certificate-file-invalid", f"{path}: {error}") from None
    return certificates


def _read(path: Path, type_: type[T]) -> T:
    try:
        return msgspec.json.decode(read_file(path, size_bytes_max=FILE_BYTES_MAX), type=type_)
    except (UnicodeDecodeError, RecursionError) as error:
        raise msgspec.DecodeError(str(error)) from None
