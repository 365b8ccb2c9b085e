"""Keys of members in the course of time: actions of governance, and what the state keeps.

    officer.rotate    the successor that an officer's key named (`ledger.custody.rotation`) signs
    officer.term      the last day on which an officer's key signs
    encryption.set    payloads for the member are sealed to this key from now on
    gateway.set       where the member's payloads are fetched, and how that place proves itself

A date is a day of UTC, and the day itself is included; the time that counts is that of the block.
Empty: there is none. An encryption key has the bytes of `ledger.custody.encryption`, and its hash
names it. The key before stays on the ledger with the height from which the next one took its place:
what was sealed to it until then, and is still on its way, is opened with it.

A gateway shows one of its certificates (`ledger.custody.certificates`): two of them are the one in
use and the next, so that it changes without a pause. It is not removed when its member leaves:
whoever connects asks for the member's status.
"""

from typing import Annotated

from msgspec import Meta

from ledger.codec import Codec, Value
from ledger.custody.certificates import CERTIFICATE_BYTES_MAX
from ledger.custody.encryption import ENCRYPTION_KEY_BYTES
from ledger.custody.rotation import SignedRotation
from ledger.scalars import Date, Identifier, PeerAddress, PublicKeyBytes, Uint

LastDay = Annotated[str, Meta(pattern=r"^([0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01]))?\Z")]
EncryptionKeyBytes = Annotated[
    bytes, Meta(min_length=ENCRYPTION_KEY_BYTES, max_length=ENCRYPTION_KEY_BYTES)
]

GatewayCertificates = Annotated[
    tuple[Annotated[bytes, Meta(min_length=1, max_length=CERTIFICATE_BYTES_MAX)], ...],
    Meta(min_length=1, max_length=2),
]


class RotateOfficer(Value, frozen=True, kw_only=True, tag_field="action", tag="officer.rotate"):
    """The new key of the statement signs with the roles of the old one, which is not revoked."""

    statement: SignedRotation


class SetTerm(Value, frozen=True, kw_only=True, tag_field="action", tag="officer.term"):
    """The member's officer signs up to this day, or without end."""

    member: Identifier
    key: PublicKeyBytes
    not_after: LastDay


class SetEncryptionKey(Value, frozen=True, kw_only=True, tag_field="action", tag="encryption.set"):
    """Payloads for the member are sealed to this key, up to a day or without end."""

    member: Identifier
    key: EncryptionKeyBytes
    not_after: LastDay


class SetGateway(Value, frozen=True, kw_only=True, tag_field="action", tag="gateway.set"):
    """The member's payload gateway is reached at `address`, and shows one of `certificates`."""

    member: Identifier
    address: PeerAddress
    certificates: GatewayCertificates


class Term(Value, frozen=True, kw_only=True):
    """State: until when an officer's key signs."""

    not_after: LastDay


class EncryptionKey(Value, frozen=True, kw_only=True):
    """State: a key in force from a height on, up to another where it was superseded (0: it is not).

    `previous` is the hash of the member's key before, empty for its first.
    """

    member: Identifier
    key: EncryptionKeyBytes
    not_after: LastDay
    from_height: Uint
    until_height: Uint
    previous: Annotated[bytes, Meta(max_length=32)]


class Gateway(Value, frozen=True, kw_only=True):
    """State: a member's payload gateway, as it was set at `height`."""

    member: Identifier
    address: PeerAddress
    certificates: GatewayCertificates
    height: Uint


def is_over(not_after: str, day: Date) -> bool:
    """Whether the last day is before `day`."""
    return bool(not_after) and day > not_after


TERMS = Codec(Term, size_bytes_max=64)
ENCRYPTION_KEYS = Codec(EncryptionKey, size_bytes_max=2_048)
GATEWAYS = Codec(Gateway, size_bytes_max=9_216)
