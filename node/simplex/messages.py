r"""Bytes of votes, certificates and messages. Integers are big-endian and of fixed width.

Votes and their signed bytes are those of `ledger.quorum.votes`. Signed bytes of a status:

    "tallystick/status/v1\0" | network id 32 | epoch u64 | view u64 | final view u64
        | final height u64 | time_ms u64

On the wire a message is `type u8 | epoch u64 | content`; the epoch of everything inside is equal:

    vote        (1)  kind u8 | epoch u64 | view u64 | body | signer u16 | signature 64
    certificate (2)  kind u8 | epoch u64 | view u64 | body | n u8 | bitmap ceil(n/8) | signatures
    proposal    (3)  vote | header (u16 length) | refs (u16 count, 32 each) | certificates
    frontier    (4)  certificates (u16 count) | votes (u16 count)
    status      (5)  view u64 | final view u64 | final height u64 | time u64 | signer u16 | sig 64

Bit i of the bitmap is bit `i % 8`, counted from the lowest, of byte `i // 8`. One value has one
encoding: unused bits are zero, nothing follows, signatures stand in index order. Worked example, a
nullify of epoch 1, view 2 by validator 3 with the signature 64 times ee:

    01 0000000000000001  02 0000000000000001 0000000000000002 0003 ee..ee
"""

import struct

from ledger.errors import InvalidEncoding
from ledger.quorum.votes import (
    encode_subject,
    encode_vote,
    read_subject,
    signed_vote,
    size_subject,
)
from node.simplex.errors import InvalidMessage
from node.simplex.types import (
    HASH_BYTES,
    SIGNATURE_BYTES,
    VALIDATORS_MAX,
    VALIDATORS_MIN,
    Certificate,
    Frontier,
    Message,
    Proposal,
    Status,
    Subject,
    Vote,
)

__all__ = ["encode_vote", "signed_vote"]

STATUS_DOMAIN = b"tallystick/status/v1\0"

HEADER_BYTES_MAX = 4_096
REFS_MAX = 16_384
JUSTIFICATION_MAX = 1_024  # certificates
JUSTIFICATION_BYTES_MAX = 65_536
FRONTIER_BYTES_MAX = 65_536
MESSAGE_BYTES_MAX = HEADER_BYTES_MAX + REFS_MAX * HASH_BYTES + JUSTIFICATION_BYTES_MAX + 1_024

_VOTE, _CERTIFICATE, _PROPOSAL, _FRONTIER, _STATUS = 1, 2, 3, 4, 5


def signed_status(network_id: bytes, status: Status) -> bytes:
    """The exact bytes a status signs."""
    fields = (status.epoch, status.view, status.final_view, status.final_height, status.time_ms)
    return STATUS_DOMAIN + network_id + struct.pack(">5Q", *fields)


def encode_certificate(certificate: Certificate) -> bytes:
    """Certificate bytes without a message frame."""
    bits = sum(1 << signer for signer in certificate.signers)
    bitmap = bits.to_bytes((certificate.committee + 7) // 8, "little")
    head = encode_subject(certificate.subject) + bytes([certificate.committee]) + bitmap
    return head + b"".join(certificate.signatures)


def size_certificate(certificate: Certificate) -> int:
    """Number of bytes of `encode_certificate`."""
    subject_bytes = size_subject(certificate.subject)
    bitmap = (certificate.committee + 7) // 8
    return subject_bytes + 1 + bitmap + SIGNATURE_BYTES * len(certificate.signers)


def encode_message(message: Message) -> bytes:
    """The wire bytes of a message."""
    match message:
        case Vote():
            return _frame(_VOTE, message.subject.epoch, encode_vote(message))
        case Certificate():
            return _frame(_CERTIFICATE, message.subject.epoch, encode_certificate(message))
        case Proposal():
            return _frame(_PROPOSAL, message.vote.subject.epoch, _encode_proposal(message))
        case Frontier():
            certificates = _encode_certificates(message.certificates)
            votes = len(message.votes).to_bytes(2, "big")
            votes += b"".join(encode_vote(vote) for vote in message.votes)
            return _frame(_FRONTIER, message.epoch, certificates + votes)
        case Status():
            numbers = (message.view, message.final_view, message.final_height, message.time_ms)
            content = struct.pack(">4QH", *numbers, message.signer) + message.signature
            return _frame(_STATUS, message.epoch, content)


def decode_epoch(data: bytes) -> int:
    """The epoch a message claims, read before anything else. Raises `InvalidMessage`."""
    if len(data) < 9:
        raise InvalidMessage("a message has at least 9 bytes")
    return int.from_bytes(data[1:9], "big")


def is_frontier(data: bytes) -> bool:
    """Whether the bytes of a message claim to be a frontier."""
    return data[:1] == bytes([_FRONTIER])


def decode_message(data: bytes) -> Message:
    """The message whose wire bytes are `data`. Raises `InvalidMessage`."""
    if len(data) > MESSAGE_BYTES_MAX:
        raise InvalidMessage(f"{len(data)} bytes, at most {MESSAGE_BYTES_MAX} are allowed")
    epoch = decode_epoch(data)
    reader = Reader(data, start=9, epoch=epoch)
    message: Message
    match data[0]:
        case 1:
            message = reader.vote()
        case 2:
            message = reader.certificate()
        case 3:
            message = _decode_proposal(reader)
        case 4:
            if len(data) > FRONTIER_BYTES_MAX:
                raise InvalidMessage("a frontier exceeds its maximum size")
            certificates = reader.certificates()
            votes = tuple(reader.vote() for _ in range(reader.number(2)))
            message = Frontier(epoch=epoch, certificates=certificates, votes=votes)
        case 5:
            message = _decode_status(reader, epoch)
        case unknown:
            raise InvalidMessage(f"message type {unknown} is unknown")
    reader.finish()
    return message


class Reader:
    """Strict reader of a byte string; every overrun is `InvalidMessage`."""

    __slots__ = ("_at", "_data", "_epoch")

    def __init__(self, data: bytes, *, start: int = 0, epoch: int | None = None) -> None:
        self._data = data
        self._at = start
        self._epoch = epoch

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        end = self._at + count
        if end > len(self._data):
            raise InvalidMessage("a message ends too early")
        taken = self._data[self._at : end]
        self._at = end
        return taken

    def number(self, size_bytes: int) -> int:
        """The next unsigned integer of that width."""
        return int.from_bytes(self.take(size_bytes), "big")

    def finish(self) -> None:
        """Nothing may follow."""
        if self._at != len(self._data):
            raise InvalidMessage("bytes follow the end of a message")

    def subject(self) -> Subject:
        """The next `kind | epoch | view | body`."""
        try:
            subject, self._at = read_subject(self._data, self._at)
        except InvalidEncoding as error:
            raise InvalidMessage(str(error)) from None
        if self._epoch is not None and subject.epoch != self._epoch:
            raise InvalidMessage("a message mixes epochs")
        return subject

    def vote(self) -> Vote:
        """The next vote."""
        subject = self.subject()
        signer = self.number(2)
        return Vote(subject=subject, signer=signer, signature=self.take(SIGNATURE_BYTES))

    def certificate(self) -> Certificate:
        """The next certificate."""
        subject = self.subject()
        committee = self.number(1)
        if not VALIDATORS_MIN <= committee <= VALIDATORS_MAX:
            raise InvalidMessage("a certificate names an impossible number of validators")
        bits = int.from_bytes(self.take((committee + 7) // 8), "little")
        if bits >> committee:
            raise InvalidMessage("a certificate names a validator that does not exist")
        signers = tuple(index for index in range(committee) if bits >> index & 1)
        signatures = tuple(self.take(SIGNATURE_BYTES) for _ in signers)
        return Certificate(
            subject=subject, committee=committee, signers=signers, signatures=signatures
        )

    def certificates(self) -> tuple[Certificate, ...]:
        """A counted list of certificates."""
        count = self.number(2)
        if count > JUSTIFICATION_MAX:
            raise InvalidMessage("too many certificates in one message")
        return tuple(self.certificate() for _ in range(count))


def _frame(kind: int, epoch: int, content: bytes) -> bytes:
    return bytes([kind]) + epoch.to_bytes(8, "big") + content


def _encode_certificates(certificates: tuple[Certificate, ...]) -> bytes:
    count = len(certificates).to_bytes(2, "big")
    return count + b"".join(encode_certificate(each) for each in certificates)


def _encode_proposal(proposal: Proposal) -> bytes:
    header = len(proposal.header).to_bytes(2, "big") + proposal.header
    refs = len(proposal.refs).to_bytes(2, "big") + b"".join(proposal.refs)
    justification = _encode_certificates(proposal.justification)
    return encode_vote(proposal.vote) + header + refs + justification


def _decode_proposal(reader: Reader) -> Proposal:
    vote = reader.vote()
    header_bytes = reader.number(2)
    if header_bytes > HEADER_BYTES_MAX:
        raise InvalidMessage("a header exceeds its maximum size")
    header = reader.take(header_bytes)
    count = reader.number(2)
    if count > REFS_MAX:
        raise InvalidMessage("a proposal names too many events")
    refs = tuple(reader.take(HASH_BYTES) for _ in range(count))
    return Proposal(header=header, refs=refs, justification=reader.certificates(), vote=vote)


def _decode_status(reader: Reader, epoch: int) -> Status:
    view, final_view, final_height, time_ms = (reader.number(8) for _ in range(4))
    return Status(
        epoch=epoch,
        view=view,
        final_view=final_view,
        final_height=final_height,
        time_ms=time_ms,
        signer=reader.number(2),
        signature=reader.take(SIGNATURE_BYTES),
    )
