"""Checkpoint cosigning: how the offline proof of finality comes about.

After a block is final and durable, this validator cosigns the checkpoint of that tree and sends the
line to all others; whoever holds a quorum of lines for one tree has a checkpoint that proves it.
Each validator cosigns every tip it delivers. Two validators may deliver different tips while blocks
flow, but the last tip is delivered by all, so the newest checkpoint always gets its quorum.

What is durable before a line leaves: the block and the time of the line (`state`), in the block's
own batch. Time never goes backwards, whatever the clock does.
"""

from dataclasses import dataclass

from ledger.blocks import quorum_of
from ledger.errors import LedgerError
from ledger.genesis import Genesis, cosigner_keys, log_policy
from ledger.keys import SecretKey
from ledger.tlog.checkpoint import (
    Checkpoint,
    cosign,
    sign_checkpoint,
    verify_cosignature,
)
from ledger.tlog.note import (
    COSIGNATURE_ED25519,
    ED25519,
    Signature,
    SignedNote,
    SigningKey,
)
from node.errors import InvalidMessage

STATE_META = b"cosign/time_s"
CHECKPOINT_META = b"cosign/checkpoint"
FUTURE_LINES_MAX = 64
LINE_BYTES_MAX = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One validator's cosignature of one tree, as sent between nodes: `size u64 | line`."""

    size: int
    line: bytes

    def encode(self) -> bytes:
        """Bytes on the wire."""
        return self.size.to_bytes(8, "big") + self.line

    @staticmethod
    def decode(data: bytes) -> "Line":
        """Line of wire bytes. Raises `InvalidMessage`."""
        if not 8 < len(data) <= LINE_BYTES_MAX:
            raise InvalidMessage("a cosignature line has a size and a text")
        return Line(size=int.from_bytes(data[:8], "big"), line=data[8:])


class Cosigner:
    """Makes this validator's lines and collects the others'. No I/O: the driver stores and sends.

    `checkpoint` is the newest note with a quorum, `checkpoint_size` its tree size (0: none yet).
    """

    def __init__(
        self,
        *,
        genesis: Genesis,
        member: str,
        cosigning_key: SecretKey,
        log_key: SecretKey,
        time_s: int = 0,
        checkpoint: bytes | None = None,
    ) -> None:
        members = [validator.member for validator in genesis.validators]
        self._keys = dict(zip(members, cosigner_keys(genesis), strict=True))
        self._me = member
        self._origin = genesis.origin
        self._quorum = quorum_of(len(self._keys))
        name = self._keys[member].name
        self._key = SigningKey(name=name, kind=COSIGNATURE_ED25519, seed=cosigning_key.seed)
        self._log_key = SigningKey(name=genesis.origin, kind=ED25519, seed=log_key.seed)
        self._policy = log_policy(genesis)
        self._time_s = time_s
        self._trees: dict[int, Checkpoint] = {}
        self._lines: dict[int, dict[str, Signature]] = {}
        self._future: dict[str, dict[int, Signature]] = {member: {} for member in self._keys}
        self._own: Line | None = None
        self.checkpoint: bytes | None = None
        self.checkpoint_size = 0
        if checkpoint is not None:
            self._install(SignedNote.parse(checkpoint))

    def prepare(self, wall_s: int) -> dict[bytes, bytes]:
        """Fix the time of the next line; the returned meta values go into the block's batch."""
        self._time_s = max(self._time_s, wall_s)
        return {STATE_META: self._time_s.to_bytes(8, "big")}

    def sign(self, size: int, root: bytes) -> Line:
        """This validator's line for the durable tip; `prepare` and the write came before."""
        checkpoint = Checkpoint(origin=self._origin, size=size, root=root)
        signature = cosign(checkpoint, self._key, self._time_s)
        self._trees[size] = checkpoint
        self._own = Line(size=size, line=signature.format())
        lines = self._lines.setdefault(size, {})
        lines[self._me] = signature
        for sender, waiting in self._future.items():
            early = waiting.pop(size, None)
            if early is not None:
                try:
                    self._count(sender, size, early)
                except InvalidMessage:
                    # It could not be judged when it came. Its sender's fault must not stop us:
                    # the line counts for nothing.
                    continue
        self._assemble(size)
        self._forget()
        return self._own

    @property
    def own_line(self) -> Line | None:
        """The newest own line, to be sent again to a peer that reconnects."""
        return self._own

    def receive(self, sender: str, line: Line) -> None:
        """Count a peer's line. Raises `InvalidMessage` when it is malformed or badly signed."""
        try:
            signature = Signature.parse(line.line.removesuffix(b"\n"))
        except LedgerError as error:
            raise InvalidMessage(str(error)) from None
        if line.size <= self.checkpoint_size:
            return
        if line.size in self._trees:
            self._count(sender, line.size, signature)
            self._assemble(line.size)
            return
        waiting = self._future.get(sender)
        if waiting is None:
            raise InvalidMessage(f"{sender} is no validator")
        waiting[line.size] = signature
        if len(waiting) > FUTURE_LINES_MAX:
            del waiting[min(waiting)]

    def adopt(self, note_bytes: bytes, size: int, root: bytes) -> None:
        """Take a peer's quorum checkpoint of a tree that this node has computed itself.

        Raises `LedgerError` when the note is not a quorum checkpoint of exactly that tree.
        """
        checkpoint = self.verify(note_bytes)
        if (checkpoint.size, checkpoint.root) != (size, root):
            raise InvalidMessage("the checkpoint is of another tree")
        if size > self.checkpoint_size:
            self._install(SignedNote.parse(note_bytes))

    def verify(self, note_bytes: bytes) -> Checkpoint:
        """Checkpoint of a note that a quorum cosigned. Raises `LedgerError`."""
        return self._policy.verify(SignedNote.parse(note_bytes))

    def _count(self, sender: str, size: int, signature: Signature) -> None:
        lines = self._lines.setdefault(size, {})
        if sender in lines:
            return
        try:
            verify_cosignature(signature, self._keys[sender], self._trees[size])
        except LedgerError as error:
            raise InvalidMessage(f"cosignature of tree {size}: {error}") from None
        lines[sender] = signature

    def _assemble(self, size: int) -> None:
        lines = self._lines.get(size, {})
        if size <= self.checkpoint_size or len(lines) < self._quorum:
            return
        note = sign_checkpoint(self._trees[size], self._log_key)
        added = tuple(lines[member] for member in self._keys if member in lines)
        self._install(SignedNote(text=note.text, signatures=(*note.signatures, *added)))

    def _install(self, note: SignedNote) -> None:
        self.checkpoint = note.format()
        self.checkpoint_size = Checkpoint.parse(note.text).size
        self._forget()

    def _forget(self) -> None:
        """Drop trees that a newer quorum covers; keep at most `FUTURE_LINES_MAX` open ones."""
        for size in sorted(self._trees):
            is_old = size < self.checkpoint_size
            if is_old or len(self._trees) > FUTURE_LINES_MAX:
                del self._trees[size]
                self._lines.pop(size, None)
        for waiting in self._future.values():
            for size in [size for size in waiting if size <= self.checkpoint_size]:
                del waiting[size]
