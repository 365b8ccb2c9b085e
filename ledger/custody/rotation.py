r"""Rotation: a key names its successor, and the successor accepts.

The statement is the canonical encoding (`ledger.codec`) of `Rotation`. Both keys sign it, each
under a domain of its own, so that neither signature can stand for the other:

    old_signature = sign(old key, "tallystick/rotation/old/v1\0" || statement)
    new_signature = sign(new key, "tallystick/rotation/new/v1\0" || statement)

The first says that the holder of the old key wants the change, the second that somebody holds the
new key. It holds on one network for one member, and changes nothing by itself: who may sign is on
the ledger, and an action of governance can carry the statement there.

In a file it is JSON with these fields, in this order, indented by two:

    {
      "format": "tallystick-rotation-v1",
      "network": "5a..5a",            hash of the genesis, 64 hex digits
      "member": "cn-3301-tax",
      "old_key": "ed25519:03..b8",
      "new_key": "ed25519:29..95",
      "old_signature": "01..",        130 hex digits, as in `ledger.keys`
      "new_signature": "01.."
    }
"""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from ledger.codec import Codec, Value
from ledger.errors import InvalidEncoding, InvalidKey, InvalidRotation, InvalidSignature
from ledger.keys import Signer, format_public_key, parse_public_key, verify_signature
from ledger.scalars import Hash32, Identifier, PublicKeyBytes, SignatureBytes

FORMAT: Final = "tallystick-rotation-v1"
ROTATION_BYTES_MAX = 4_096
_OLD_DOMAIN = b"tallystick/rotation/old/v1\0"
_NEW_DOMAIN = b"tallystick/rotation/new/v1\0"


class Rotation(Value, frozen=True, kw_only=True):
    """What both keys sign: on this network, for this member, the new key follows the old."""

    version: Literal[1]
    network: Hash32
    member: Identifier
    old_key: PublicKeyBytes
    new_key: PublicKeyBytes


class SignedRotation(Value, frozen=True, kw_only=True):
    """The statement with its two signatures."""

    rotation: Rotation
    old_signature: SignatureBytes
    new_signature: SignatureBytes


class _File(Value, frozen=True, kw_only=True):
    """The JSON form."""

    format: Literal["tallystick-rotation-v1"]
    network: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    member: Identifier
    old_key: Annotated[str, Meta(max_length=80)]
    new_key: Annotated[str, Meta(max_length=80)]
    old_signature: Annotated[str, Meta(pattern=r"^[0-9a-f]{130}\Z")]
    new_signature: Annotated[str, Meta(pattern=r"^[0-9a-f]{130}\Z")]


_STATEMENTS = Codec(Rotation, size_bytes_max=1_024)
ROTATIONS = Codec(SignedRotation, size_bytes_max=ROTATION_BYTES_MAX)


def sign_rotation(old: Signer, new: Signer, *, network: bytes, member: str) -> SignedRotation:
    """The signed statement. Raises `InvalidRotation` where there is none to sign."""
    rotation = Rotation(
        version=1, network=network, member=member, old_key=old.public, new_key=new.public
    )
    statement = _encode(rotation)
    return SignedRotation(
        rotation=rotation,
        old_signature=old.sign(_OLD_DOMAIN, statement),
        new_signature=new.sign(_NEW_DOMAIN, statement),
    )


def verify_rotation(signed: SignedRotation) -> None:
    """Both keys signed, and they differ. Raises `InvalidRotation`."""
    statement = _encode(signed.rotation)
    try:
        verify_signature(signed.rotation.old_key, _OLD_DOMAIN, statement, signed.old_signature)
        verify_signature(signed.rotation.new_key, _NEW_DOMAIN, statement, signed.new_signature)
    except (InvalidKey, InvalidSignature) as error:
        raise InvalidRotation(str(error)) from None


def encode_rotation_json(signed: SignedRotation) -> bytes:
    """Content of a rotation file."""
    rotation = signed.rotation
    file = _File(
        format=FORMAT,
        network=rotation.network.hex(),
        member=rotation.member,
        old_key=format_public_key(rotation.old_key),
        new_key=format_public_key(rotation.new_key),
        old_signature=signed.old_signature.hex(),
        new_signature=signed.new_signature.hex(),
    )
    return msgspec.json.format(msgspec.json.encode(file), indent=2) + b"\n"


def decode_rotation_json(data: bytes) -> SignedRotation:
    """The statement in a file, both signatures checked. Raises `InvalidRotation`."""
    if len(data) > ROTATION_BYTES_MAX:
        raise InvalidRotation(f"more than {ROTATION_BYTES_MAX} bytes")
    try:
        file = msgspec.json.decode(data, type=_File)
        old_key, new_key = parse_public_key(file.old_key), parse_public_key(file.new_key)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, InvalidKey) as error:
        raise InvalidRotation(str(error)) from None
    signed = SignedRotation(
        rotation=Rotation(
            version=1,
            network=bytes.fromhex(file.network),
            member=file.member,
            old_key=old_key,
            new_key=new_key,
        ),
        old_signature=bytes.fromhex(file.old_signature),
        new_signature=bytes.fromhex(file.new_signature),
    )
    verify_rotation(signed)
    if encode_rotation_json(signed) != data:
        raise InvalidRotation("not in the layout of a rotation file")
    return signed


def _encode(rotation: Rotation) -> bytes:
    if rotation.old_key == rotation.new_key:
        raise InvalidRotation("a key cannot follow itself")
    try:
        statement = _STATEMENTS.encode(rotation)
        # Decoding checks what a constructor does not: the member's name, lengths.
        _STATEMENTS.decode(statement)
    except InvalidEncoding as error:
        raise InvalidRotation(str(error)) from None
    return statement
