"""Checkpoint cosigning: how the offline proof of finality comes about.

After a block is final and durable, this validator cosigns the checkpoint of that tree and sends the
line to all others; whoever holds a quorum of lines for one tree has a checkpoint that proves it.
Each validator cosigns every tip it delivers. Two validators may deliver different tips while blocks
flow, but the last tip is delivered by all, so the newest checkpoint always gets its quorum.

A tree is judged by the epoch of its last block. The tree that ends with a seal block keeps waiting
for its quorum when newer trees have theirs: its checkpoint proves the next validators
(`node.engine.proofs`), so its lines are kept, and sent again, until then.

What is durable before a line leaves: the block and the time of the line (`state`), in the block's
own batch. Time never goes backwards, whatever the clock does.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ledger.blocks import quorum_of
from ledger.errors import LedgerError
from ledger.genesis import Genesis
from ledger.keys import RawSigner, SecretKey
from ledger.quorum.epochs import cosigner_keys_of, policy_of
from ledger.registry import Validator
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
    VerifierKey,
)
from ledger.tlog.policy import Policy
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Committee:
    """Who cosigns the trees of an epoch: keys by member, in list order."""

    keys: Mapping[str, VerifierKey]
    quorum: int
    policy: Policy

    @staticmethod
    def of(genesis: Genesis, validators: tuple[Validator, ...]) -> "Committee":
        """The committee that a list of validators makes."""
        members = [validator.member for validator in validators]
        keys = cosigner_keys_of(genesis.origin, validators)
        return Committee(
            keys=dict(zip(members, keys, strict=True)),
            quorum=quorum_of(len(keys)),
            policy=policy_of(genesis, validators),
        )

    def verify(self, note_bytes: bytes) -> Checkpoint:
        """Checkpoint of a note that a quorum of it cosigned. Raises `LedgerError`."""
        return self.policy.verify(SignedNote.parse(note_bytes))


@dataclass(slots=True, kw_only=True)
class _Tree:
    """A tree of our own whose lines are collected; `note` is set when a quorum has cosigned."""

    checkpoint: Checkpoint
    committee: Committee
    lines: dict[str, Signature] = field(default_factory=dict)
    own: Line | None = None
    note: bytes | None = None


class HeldKey:
    """The key of cosignatures wherever it is kept, under the name of its validator."""

    kind = COSIGNATURE_ED25519

    def __init__(self, name: str, signer: RawSigner) -> None:
        self.name = name
        self.verifier = VerifierKey(name=name, kind=self.kind, raw=signer.public[1:])
        self.sign = signer.sign_raw


class Cosigner:
    """Makes this validator's lines and collects the others'. No I/O: the driver stores and sends.

    `checkpoint` is the newest note with a quorum, `checkpoint_size` its tree size (0: none yet). A
    node that is not in the committee makes no lines and collects the others' all the same.
    """

    def __init__(
        self,
        *,
        genesis: Genesis,
        member: str,
        cosigning_key: RawSigner,
        log_key: SecretKey,
        committee: Committee,
        time_s: int = 0,
        checkpoint: bytes | None = None,
    ) -> None:
        self._committee = committee
        self._member = member
        self._origin = genesis.origin
        self._key = HeldKey(f"{genesis.origin}/{member}", cosigning_key)
        self._log_key = SigningKey(name=genesis.origin, kind=ED25519, seed=log_key.seed)
        self._time_s = time_s
        self._trees: dict[int, _Tree] = {}
        self._seals: dict[int, _Tree] = {}
        self._future: dict[str, dict[int, Signature]] = {}
        self._own: Line | None = None
        self.checkpoint: bytes | None = None
        self.checkpoint_size = 0
        if checkpoint is not None:
            self._install(checkpoint)

    def prepare(self, wall_s: int) -> dict[bytes, bytes]:
        """Fix the time of the next line; the returned meta values go into the block's batch."""
        self._time_s = max(self._time_s, wall_s)
        return {STATE_META: encode_time(self._time_s)}

    def sign(self, size: int, root: bytes) -> Line | None:
        """This validator's line for the durable tip; `prepare` and the write came before."""
        tree = self._make_tree(size, root, self._committee, self._time_s)
        self._trees[size] = tree
        self._own = tree.own
        self._take_early(size, tree)
        self._assemble(size, tree)
        self._forget()
        return tree.own

    def enter(self, committee: Committee) -> None:
        """An epoch has begun: trees from now on are judged by this committee."""
        self._committee = committee

    def seal(self, size: int, root: bytes, committee: Committee, time_s: int) -> None:
        """Collect lines for the tree that ends with a seal block until it has its quorum.

        `committee` is that of the ended epoch, `time_s` the time of our line when the block became
        final: the line is the same whenever it is made.
        """
        tree = self._trees.get(size) or self._make_tree(size, root, committee, time_s)
        self._seals[size] = tree
        self._take_early(size, tree)
        self._assemble(size, tree)

    def seal_note(self, size: int) -> bytes | None:
        """Quorum checkpoint of a seal tree that is waited for, or None yet."""
        return self._seals[size].note if size in self._seals else None

    def forget_seal(self, size: int) -> None:
        """The proof of this seal is stored."""
        self._seals.pop(size, None)

    @property
    def own_lines(self) -> tuple[Line, ...]:
        """Own lines to be sent again: of open seal trees, and the newest."""
        seals = [tree.own for tree in self._seals.values() if tree.note is None]
        return tuple(line for line in (*seals, self._own) if line is not None)

    @property
    def seal_lines(self) -> tuple[Line, ...]:
        """Own lines of seal trees that have no quorum yet."""
        waiting = (tree.own for tree in self._seals.values() if tree.note is None)
        return tuple(line for line in waiting if line is not None)

    def signers_of(self, size: int) -> tuple[str, ...]:
        """Members whose line of an own tree is here, in list order; none of a tree let go."""
        tree = self._trees.get(size) or self._seals.get(size)
        return (
            ()
            if tree is None
            else tuple(each for each in tree.committee.keys if each in tree.lines)
        )

    def receive(self, sender: str, line: Line) -> None:
        """Count a peer's line. Raises `InvalidMessage` when it is malformed or badly signed."""
        try:
            signature = Signature.parse(line.line.removesuffix(b"\n"))
        except LedgerError as error:
            raise InvalidMessage(str(error)) from None
        tree = self._seals.get(line.size) or self._trees.get(line.size)
        if tree is not None:
            _count(tree, sender, signature)
            self._assemble(line.size, tree)
            return
        if line.size <= self.checkpoint_size:
            return
        waiting = self._future.setdefault(sender, {})
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
            self._install(SignedNote.parse(note_bytes).format())

    def verify(self, note_bytes: bytes) -> Checkpoint:
        """Checkpoint of a note that a quorum of this epoch cosigned. Raises `LedgerError`."""
        return self._committee.verify(note_bytes)

    def _make_tree(self, size: int, root: bytes, committee: Committee, time_s: int) -> _Tree:
        tree = _Tree(
            checkpoint=Checkpoint(origin=self._origin, size=size, root=root), committee=committee
        )
        if committee.keys.get(self._member) == self._key.verifier:
            signature = cosign(tree.checkpoint, self._key, time_s)
            tree.lines[self._member] = signature
            tree.own = Line(size=size, line=signature.format())
        return tree

    def _take_early(self, size: int, tree: _Tree) -> None:
        for sender, waiting in self._future.items():
            early = waiting.pop(size, None)
            if early is not None:
                try:
                    _count(tree, sender, early)
                except InvalidMessage:
                    # It could not be judged when it came. Its sender's fault must not stop us:
                    # the line counts for nothing.
                    continue

    def _assemble(self, size: int, tree: _Tree) -> None:
        if tree.note is not None or len(tree.lines) < tree.committee.quorum:
            return
        note = sign_checkpoint(tree.checkpoint, self._log_key)
        added = tuple(tree.lines[member] for member in tree.committee.keys if member in tree.lines)
        tree.note = SignedNote(text=note.text, signatures=(*note.signatures, *added)).format()
        if size > self.checkpoint_size:
            self._install(tree.note)

    def _install(self, note_bytes: bytes) -> None:
        self.checkpoint = note_bytes
        self.checkpoint_size = Checkpoint.parse(SignedNote.parse(note_bytes).text).size
        self._forget()

    def _forget(self) -> None:
        """Drop trees that a newer quorum covers; keep at most `FUTURE_LINES_MAX` open ones."""
        for size in sorted(self._trees):
            if size < self.checkpoint_size or len(self._trees) > FUTURE_LINES_MAX:
                del self._trees[size]
        for waiting in self._future.values():
            for size in [size for size in waiting if size <= self.checkpoint_size]:
                del waiting[size]


def encode_time(time_s: int) -> bytes:
    """Meta value of a time."""
    return time_s.to_bytes(8, "big")


def _count(tree: _Tree, sender: str, signature: Signature) -> None:
    if sender in tree.lines:
        return
    key = tree.committee.keys.get(sender)
    if key is None:
        raise InvalidMessage(f"{sender} does not cosign tree {tree.checkpoint.size}")
    try:
        verify_cosignature(signature, key, tree.checkpoint)
    except LedgerError as error:
        raise InvalidMessage(f"cosignature of tree {tree.checkpoint.size}: {error}") from None
    tree.lines[sender] = signature
