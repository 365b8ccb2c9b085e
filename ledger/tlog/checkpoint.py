r"""Checkpoints of a log (c2sp.org/tlog-checkpoint) and cosignatures (c2sp.org/tlog-cosignature).

Format. A checkpoint is a signed note whose text has exactly three lines:

    ORIGIN              name of the log, which is also the name of its key
    SIZE                number of leaves, decimal without leading zeros
    ROOT                base64 of the 32-byte root of the tree of that size

The specification allows further lines; nobody audits those, so here they are refused, and the
text is a function of the three values. The log signs the text (key type 0x01). A validator signs,
at the Unix time T in seconds,

    0x04, Ed25519       "cosignature/v1\n" "time T\n" text
    0x06, ML-DSA-44     "subtree/v1\n\0" len(NAME) NAME T:8 len(ORIGIN) ORIGIN 0:8 SIZE:8 ROOT

with lengths of one byte and 8-byte big-endian numbers; NAME is the name of the cosigning key. Both
signatures are written behind their T as 8 bytes, big-endian.

Worked example, checked by a test:

>>> key = SigningKey(name="v1.example", kind=0x04, seed=bytes(32))
>>> tree = Checkpoint(origin="log.example", size=0, root=EMPTY_ROOT)
>>> tree.format()
b'log.example\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n'
>>> line = cosign(tree, key, 1_767_225_600)
>>> line.raw.hex()[:32]
'000000006955b9007c5c6b5c3203f14b'
>>> verify_cosignature(line, key.verifier, tree)
1767225600
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ledger.errors import InvalidCheckpoint, InvalidEncoding, InvalidKey, InvalidSignature
from ledger.tlog.merkle import EMPTY_ROOT, HASH_BYTES, SIZE_MAX, Hash
from ledger.tlog.note import (
    COSIGNATURE_ED25519,
    COSIGNATURE_MLDSA44,
    ED25519,
    NoteSigner,
    Signature,
    SignedNote,
    SigningKey,
    VerifierKey,
    decode_base64,
    encode_base64,
    sign_note,
    verify_message,
    verify_name,
    verify_note,
)

TIME_S_MAX = 2**63 - 1

_TIME_BYTES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A tree head of the log `origin`."""

    origin: str
    size: int
    root: Hash

    def __post_init__(self) -> None:
        verify_name(self.origin)
        if not 0 <= self.size <= SIZE_MAX:
            raise InvalidEncoding(f"a tree size is 0 to {SIZE_MAX}")
        if len(self.root) != HASH_BYTES:
            raise InvalidEncoding(f"a root has {HASH_BYTES} bytes")
        if self.size == 0 and self.root != EMPTY_ROOT:
            raise InvalidCheckpoint("the root of size 0 is not that of the empty tree")

    def format(self) -> bytes:
        """The three lines: the text of the note."""
        return f"{self.origin}\n{self.size}\n{encode_base64(self.root)}\n".encode()

    @staticmethod
    def parse(text: bytes) -> "Checkpoint":
        """The checkpoint with the text `text`; `InvalidEncoding` or `InvalidCheckpoint`."""
        try:
            lines = text.decode().split("\n")
        except UnicodeDecodeError as error:
            raise InvalidEncoding("a checkpoint is UTF-8") from error
        if len(lines) != 4 or lines[3]:
            raise InvalidEncoding("a checkpoint has the three lines origin, size and root")
        return Checkpoint(
            origin=lines[0], size=decode_decimal(lines[1]), root=decode_base64(lines[2])
        )


def decode_decimal(text: str) -> int:
    """A number of at most 19 ASCII digits without leading zeros, or `InvalidEncoding`."""
    if not (1 <= len(text) <= 19 and text.isascii() and text.isdigit()):
        raise InvalidEncoding("not a decimal number")
    if text[0] == "0" and text != "0":
        raise InvalidEncoding("a decimal number has no leading zero")
    return int(text)


def sign_checkpoint(checkpoint: Checkpoint, log_key: SigningKey) -> SignedNote:
    """The checkpoint as a note with the signature of its log."""
    if log_key.name != checkpoint.origin:
        raise InvalidKey(f"{log_key.name} is not the key of the log {checkpoint.origin}")
    return sign_note(checkpoint.format(), log_key)


def verify_checkpoint(note: SignedNote, log_key: VerifierKey) -> Checkpoint:
    """The checkpoint in `note`, if the log signed it.

    Raises `InvalidEncoding`, `InvalidCheckpoint` or `InvalidSignature`.
    """
    checkpoint = Checkpoint.parse(note.text)
    if log_key.name != checkpoint.origin:
        raise InvalidCheckpoint(f"a checkpoint of {checkpoint.origin}, not {log_key.name}")
    verify_note(note, log_key)
    return checkpoint


def cosign(checkpoint: Checkpoint, key: NoteSigner, time_s: int) -> Signature:
    """The line by which `key`, of type 0x04, cosigns `checkpoint` at the Unix time `time_s`."""
    if key.kind != COSIGNATURE_ED25519:
        raise InvalidKey("a log key does not cosign")
    if not 0 <= time_s <= TIME_S_MAX:
        raise InvalidEncoding(f"a time is 0 to {TIME_S_MAX} seconds")
    signature = key.sign(_cosigned_message(checkpoint, key.verifier, time_s))
    raw = time_s.to_bytes(_TIME_BYTES, "big") + signature
    return Signature(name=key.name, key_hash=key.verifier.key_hash, raw=raw)


def verify_cosignature(line: Signature, key: VerifierKey, checkpoint: Checkpoint) -> int:
    """The Unix time in seconds at which `key` (type 0x04 or 0x06) cosigned `checkpoint`.

    Raises `InvalidSignature`.
    """
    if key.kind == ED25519:
        raise InvalidKey("a log key does not cosign")
    if (line.name, line.key_hash) != (key.name, key.key_hash):
        raise InvalidSignature(f"not a cosignature of {key.name}")
    if len(line.raw) <= _TIME_BYTES:
        raise InvalidSignature(f"the cosignature of {key.name} has only {len(line.raw)} bytes")
    time_s = int.from_bytes(line.raw[:_TIME_BYTES], "big")
    message = _cosigned_message(checkpoint, key, time_s)
    verify_message(key, message, line.raw[_TIME_BYTES:])
    return time_s


def verify_cosignatures(note: SignedNote, keys: Sequence[VerifierKey]) -> dict[VerifierKey, int]:
    """The keys that cosigned the checkpoint in `note`, in the order of `keys`, with their time.

    A missing line is no error. A line of one of the keys that does not verify is one
    (`InvalidSignature`): whoever hands out the note could have left it away.
    """
    checkpoint = Checkpoint.parse(note.text)
    times_s: dict[VerifierKey, int] = {}
    for key in keys:
        line = note.find_signature(key)
        if line is not None:
            times_s[key] = verify_cosignature(line, key, checkpoint)
    return times_s


def verify_quorum(note: SignedNote, keys: Sequence[VerifierKey], quorum: int) -> None:
    """Check that at least `quorum` of `keys` cosigned the checkpoint in `note`.

    A public key counts once, whatever its names. Raises `InvalidCheckpoint` if they are too few,
    `InvalidSignature` if a line of one of the keys does not verify.
    """
    cosigners = {key.raw for key in verify_cosignatures(note, keys)}
    if len(cosigners) < quorum:
        raise InvalidCheckpoint(f"{len(cosigners)} cosignatures, {quorum} are needed")


def _cosigned_message(checkpoint: Checkpoint, key: VerifierKey, time_s: int) -> bytes:
    if key.kind == COSIGNATURE_MLDSA44:
        name, origin = key.name.encode(), checkpoint.origin.encode()
        return b"".join(
            (
                b"subtree/v1\n\x00",
                bytes((len(name),)),
                name,
                time_s.to_bytes(8, "big"),
                bytes((len(origin),)),
                origin,
                bytes(8),
                checkpoint.size.to_bytes(8, "big"),
                checkpoint.root,
            )
        )
    return f"cosignature/v1\ntime {time_s}\n".encode() + checkpoint.format()
