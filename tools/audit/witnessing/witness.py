"""A witness (c2sp.org/tlog-witness): cosigns checkpoints of logs that only ever grow.

    POST /add-checkpoint

    old SIZE            size of the checkpoint that this witness cosigned last; 0: none yet
    BASE64              consistency proof from there (RFC 6962 section 2.1.2), at most 63 lines
                        an empty line
    ...                 the checkpoint, a signed note

The answer is one line of a note, a `cosignature/v1` of the witness. What is refused, in this order:

    400     the request cannot be understood, or the old size is above the new one
    404     no log of this origin is known
    403     no key known for it has signed, or the quorum of its policy has not cosigned
    409     the old size is not that of the checkpoint cosigned last, or that one of the same size
            has another root; the body is the size that counts, of type text/x.tlog.size
    422     the consistency proof does not verify

What is cosigned is durable before it is answered, and time never goes back. Checkpoints have the
three lines that `ledger.tlog.checkpoint` reads: nobody audits further ones, so they are refused.
"""

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import msgspec

from ledger.codec import Value
from ledger.errors import InvalidEncoding, InvalidProof, InvalidSignature, LedgerError
from ledger.keys import Signer
from ledger.storage import write_file
from ledger.tlog.checkpoint import Checkpoint, cosign, decode_decimal
from ledger.tlog.merkle import EMPTY_ROOT, HASH_BYTES, Hash, verify_consistency
from ledger.tlog.note import (
    COSIGNATURE_ED25519,
    SignedNote,
    VerifierKey,
    decode_base64,
    verify_note,
)
from ledger.tlog.policy import Policy
from tools.exits import InvalidInput

REQUEST_BYTES_MAX = 65_536
PROOF_LINES_MAX = 63
TEXT = "text/plain"
SIZE_TEXT = "text/x.tlog.size"

# The checkpoint of a note that is believed. Raises `LedgerError`.
Judge = Callable[[SignedNote], Checkpoint]


class Cosigned(Value, frozen=True, kw_only=True):
    """The file about one log: the checkpoint cosigned last."""

    version: Literal[1]
    origin: str
    size: int
    root: str
    time_s: int
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Status, type and text of a response."""

    status: int
    text: str
    content_type: str = TEXT


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked."""

    old_size: int
    proof: tuple[Hash, ...]
    note: SignedNote
    checkpoint: Checkpoint

    @staticmethod
    def parse(body: bytes) -> "Request":
        """The request with these bytes. Raises `LedgerError`."""
        head, separator, note = body.partition(b"\n\n")
        try:
            first, *lines = head.decode("ascii").split("\n")
        except UnicodeDecodeError as error:
            raise InvalidEncoding("the lines before the checkpoint are ASCII") from error
        word, _, old = first.partition(" ")
        if word != "old" or not separator:
            raise InvalidEncoding("a request is `old SIZE`, a proof, an empty line, a checkpoint")
        if len(lines) > PROOF_LINES_MAX:
            raise InvalidEncoding(f"a proof has at most {PROOF_LINES_MAX} lines")
        proof = tuple(map(decode_base64, lines))
        if any(len(each) != HASH_BYTES for each in proof):
            raise InvalidEncoding(f"a hash has {HASH_BYTES} bytes")
        signed = SignedNote.parse(note)
        checkpoint = Checkpoint.parse(signed.text)
        old_size = decode_decimal(old)
        if old_size > checkpoint.size:
            raise InvalidEncoding(f"old size {old_size} above {checkpoint.size}")
        return Request(old_size=old_size, proof=proof, note=signed, checkpoint=checkpoint)


@dataclass(frozen=True, slots=True, kw_only=True)
class CosigningKey:
    """Any signer as the key of a witness; see `NoteSigner`."""

    name: str
    signer: Signer
    kind: int = COSIGNATURE_ED25519
    verifier: VerifierKey = field(init=False)

    def __post_init__(self) -> None:
        key = VerifierKey(name=self.name, kind=self.kind, raw=self.signer.public[1:])
        object.__setattr__(self, "verifier", key)

    def sign(self, message: bytes) -> bytes:
        """The 64-byte Ed25519 signature of `message`."""
        return self.signer.sign(b"", message)[1:]


class Witness:
    """One key, the logs that it may cosign, and what it cosigned last, a file each in `folder`."""

    def __init__(
        self,
        key: CosigningKey,
        judges: Mapping[str, Judge],
        folder: Path,
        clock_s: Callable[[], int],
    ) -> None:
        self._key = key
        self._judges = judges
        self._folder = folder
        self._clock_s = clock_s
        folder.mkdir(parents=True, exist_ok=True)
        self._last = {origin: self._read(origin) for origin in judges}
        self._turns = {origin: asyncio.Lock() for origin in judges}

    async def add_checkpoint(self, body: bytes) -> Answer:
        """Judge one request, and cosign."""
        try:
            request = Request.parse(body)
        except LedgerError as error:
            return Answer(status=400, text=f"{error}\n")
        origin = request.checkpoint.origin
        judge = self._judges.get(origin)
        if judge is None:
            return Answer(status=404, text=f"no log {origin} is known\n")
        try:
            judge(request.note)
        except LedgerError as error:
            return Answer(status=403, text=f"{error}\n")
        # Comparing and keeping are one step: no smaller checkpoint overtakes a larger one.
        async with self._turns[origin]:
            return await self._cosign(request)

    async def _cosign(self, request: Request) -> Answer:
        checkpoint = request.checkpoint
        last = self._last[checkpoint.origin]
        size = 0 if last is None else last.size
        root = EMPTY_ROOT if last is None else bytes.fromhex(last.root)
        if request.old_size != size or (checkpoint.size == size and checkpoint.root != root):
            return Answer(status=409, text=f"{size}\n", content_type=SIZE_TEXT)
        try:
            verify_consistency(size, root, checkpoint.size, checkpoint.root, request.proof)
        except InvalidProof as error:
            return Answer(status=422, text=f"{error}\n")
        time_s = max(self._clock_s(), 0 if last is None else last.time_s)
        line = cosign(checkpoint, self._key, time_s)
        cosigned = Cosigned(
            version=1,
            origin=checkpoint.origin,
            size=checkpoint.size,
            root=checkpoint.root.hex(),
            time_s=time_s,
            note=request.note.format().decode(),
        )
        data = msgspec.json.format(msgspec.json.encode(cosigned), indent=2)
        await asyncio.to_thread(write_file, self._path(checkpoint.origin), data)
        self._last[checkpoint.origin] = cosigned
        return Answer(status=200, text=line.format().decode())

    def _path(self, origin: str) -> Path:
        """An origin is no file name."""
        return self._folder / f"{hashlib.sha256(origin.encode()).hexdigest()[:32]}.json"

    def _read(self, origin: str) -> Cosigned | None:
        path = self._path(origin)
        try:
            cosigned = msgspec.json.decode(path.read_bytes(), type=Cosigned)
            Checkpoint(origin=origin, size=cosigned.size, root=bytes.fromhex(cosigned.root))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise InvalidInput("file-unreadable", f"{path}: {error.strerror}") from None
        except (msgspec.DecodeError, LedgerError, ValueError) as error:
            # Beginning anew would let a log be rewritten.
            raise InvalidInput("witness-state", f"{path}: {error}") from None
        if cosigned.origin != origin:
            raise InvalidInput("witness-state", f"{path}: {cosigned.origin}")
        return cosigned


def judge_by_keys(keys: tuple[VerifierKey, ...]) -> Judge:
    """A checkpoint counts if one of these keys, all of one log, signed it."""

    def judge(note: SignedNote) -> Checkpoint:
        for key in keys:
            with suppress(InvalidSignature):
                verify_note(note, key)
                return Checkpoint.parse(note.text)
        raise InvalidSignature("no known key of the log has signed")

    return judge


def judges_of(keys: tuple[VerifierKey, ...], policies: tuple[Policy, ...]) -> dict[str, Judge]:
    """Judges by the origin of the log: a policy wants its quorum too, keys alone do not."""
    judges: dict[str, Judge] = {}
    for name in {key.name: None for key in keys}:
        judges[name] = judge_by_keys(tuple(key for key in keys if key.name == name))
    for policy in policies:
        judges |= {log.key.name: policy.verify for log in policy.logs}
    return judges
