r"""Receipts: proof that an entry is in the log (c2sp.org/tlog-proof).

Format. Lines, each ended by a newline:

    c2sp.org/tlog-proof@v1
    extra BASE64            optional: data for the application, proven by nothing
    index N                 index of the entry, decimal without leading zeros
    BASE64                  one line for each 32-byte hash of the inclusion proof, leaf first
                            an empty line
    ...                     the signed checkpoint, to the end

Only the canonical spelling is read, so `parse(data).format() == data`.

Worked example, checked by a test (a log with the one entry `hello`):

>>> from ledger.tlog.checkpoint import Checkpoint, sign_checkpoint
>>> from ledger.tlog.note import SigningKey
>>> from ledger.tlog.policy import Log
>>> log = SigningKey(name="log.example", kind=0x01, seed=bytes(32))
>>> tree = Checkpoint(origin="log.example", size=1, root=hash_leaf(b"hello"))
>>> receipt = Receipt(index=0, proof=(), note=sign_checkpoint(tree, log))
>>> receipt.format()[:66]
b'c2sp.org/tlog-proof@v1\nindex 0\n\nlog.example\n1\niipcm3aIJ95alVLDigRM'
>>> policy = Policy(logs=(Log(key=log.verifier),), witnesses=(), groups=(), quorum="none")
>>> verify_receipt(Receipt.parse(receipt.format()), b"hello", policy)
"""

from dataclasses import dataclass

from ledger.errors import InvalidEncoding
from ledger.tlog.checkpoint import decode_decimal
from ledger.tlog.merkle import HASH_BYTES, SIZE_MAX, Hash, hash_leaf, verify_inclusion
from ledger.tlog.note import NOTE_BYTES_MAX, SignedNote, decode_base64, encode_base64
from ledger.tlog.policy import Policy

EXTRA_BYTES_MAX = 65_535
PROOF_HASHES_MAX = 63
RECEIPT_BYTES_MAX = NOTE_BYTES_MAX + 2 * EXTRA_BYTES_MAX

_FIRST_LINE = "c2sp.org/tlog-proof@v1"
_EXTRA = "extra "
_INDEX = "index "


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """Entry `index` is under the checkpoint in `note`; `extra` is not authenticated."""

    index: int
    proof: tuple[Hash, ...]
    note: SignedNote
    extra: bytes | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.index < SIZE_MAX:
            raise InvalidEncoding(f"an index is 0 to {SIZE_MAX - 1}")
        if len(self.proof) > PROOF_HASHES_MAX:
            raise InvalidEncoding(f"a proof has at most {PROOF_HASHES_MAX} hashes")
        if any(len(item) != HASH_BYTES for item in self.proof):
            raise InvalidEncoding(f"a hash has {HASH_BYTES} bytes")
        if self.extra is not None and not 1 <= len(self.extra) <= EXTRA_BYTES_MAX:
            raise InvalidEncoding(f"extra data has 1 to {EXTRA_BYTES_MAX} bytes")

    def format(self) -> bytes:
        """Bytes of the receipt."""
        lines = [_FIRST_LINE]
        if self.extra is not None:
            lines.append(_EXTRA + encode_base64(self.extra))
        lines.append(f"{_INDEX}{self.index}")
        lines.extend(encode_base64(item) for item in self.proof)
        head = "".join(line + "\n" for line in lines)
        return head.encode() + b"\n" + self.note.format()

    @staticmethod
    def parse(data: bytes) -> "Receipt":
        """The receipt whose bytes are `data`, or `InvalidEncoding`."""
        if len(data) > RECEIPT_BYTES_MAX:
            raise InvalidEncoding(f"a receipt has at most {RECEIPT_BYTES_MAX} bytes")
        head, separator, note = data.partition(b"\n\n")
        if not separator or not head.isascii():
            raise InvalidEncoding("a receipt is a proof, an empty line and a checkpoint")
        first, *lines = head.decode("ascii").split("\n")
        if first != _FIRST_LINE:
            raise InvalidEncoding(f"the first line is not {_FIRST_LINE}")
        extra: bytes | None = None
        if lines and lines[0].startswith(_EXTRA):
            extra = decode_base64(lines.pop(0).removeprefix(_EXTRA))
        if not lines or not lines[0].startswith(_INDEX):
            raise InvalidEncoding("a receipt names the index of its entry")
        index = decode_decimal(lines.pop(0).removeprefix(_INDEX))
        if len(lines) > PROOF_HASHES_MAX:
            raise InvalidEncoding(f"a proof has at most {PROOF_HASHES_MAX} hashes")
        return Receipt(
            index=index,
            proof=tuple(decode_base64(line) for line in lines),
            note=SignedNote.parse(note),
            extra=extra,
        )


def verify_receipt(receipt: Receipt, entry: bytes, policy: Policy) -> None:
    """Check that `entry` is in the log.

    1. The checkpoint meets the policy: signed by a log, cosigned by the quorum.
    2. The entry is the leaf `receipt.index` of the tree of that checkpoint.

    Raises `InvalidEncoding`, `InvalidCheckpoint`, `InvalidSignature` or `InvalidProof`.
    """
    checkpoint = policy.verify(receipt.note)  # 1
    verify_inclusion(  # 2
        hash_leaf(entry), receipt.index, checkpoint.size, receipt.proof, checkpoint.root
    )
