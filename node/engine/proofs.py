"""Proofs of ended epochs: made here from the quorum checkpoint of a seal tree, or got from a peer.

Each is verified, stored as the log's meta value `epoch/<n>`, and kept for ever: with genesis they
tell an auditor, and a node that catches up, which validators judge which tree. What a proof is made
of is final already, so one that is lost between two instructions is made or asked for again.
"""

import structlog

from contracts.lookup import find_epoch
from ledger.blocks import HEADERS, Header, hash_header
from ledger.errors import CorruptStore
from ledger.genesis import Genesis
from ledger.log import Log
from ledger.quorum.epochs import (
    EPOCH_PROOFS,
    make_epoch_proof,
    tree_size_after,
    verify_epoch_proof,
)
from ledger.registry import Validator
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.merkle import CompactRange
from ledger.tlog.note import SignedNote
from node.engine.cosign import Committee, Cosigner
from node.errors import InvalidMessage

LOG = structlog.get_logger("proofs")


def proof_meta(epoch: int) -> bytes:
    """Meta name of the proof that ends an epoch."""
    return f"epoch/{epoch}".encode()


def seal_time_meta(epoch: int) -> bytes:
    """Meta name of the time of our line over the seal tree of an epoch."""
    return f"cosign/seal/{epoch}".encode()


class Archive:
    """The proofs of this node, and the seal trees whose quorum it still waits for."""

    def __init__(self, *, genesis: Genesis, log: Log, cosigner: Cosigner) -> None:
        self._genesis = genesis
        self._log = log
        self._cosigner = cosigner
        self._missing: list[int] = []
        self._known = 0  # epochs below this one have been looked at

    def proof(self, epoch: int) -> bytes | None:
        """Encoded `EpochProof` that ends an epoch, or None."""
        return self._log.get_meta(proof_meta(epoch))

    @property
    def missing(self) -> tuple[int, ...]:
        """Ended epochs without a proof."""
        return tuple(self._missing)

    def checkpoint_of(self, epoch: int) -> bytes | None:
        """Quorum checkpoint of the tree that ends an epoch, or None."""
        data = self.proof(epoch)
        return None if data is None else EPOCH_PROOFS.decode(data).checkpoint

    def open(self, current: int) -> None:
        """Collect what proves the epochs below `current`. Called at start and at each switch."""
        for epoch in range(self._known, current):
            if self.proof(epoch) is None:
                self._missing.append(epoch)
                header = self._seal_header(epoch)[1]
                size = tree_size_after(header)
                time_s = self._log.get_meta(seal_time_meta(epoch)) or b""
                self._cosigner.seal(
                    size,
                    _root_at(self._log, size),
                    Committee.of(self._genesis, self._validators(epoch)),
                    int.from_bytes(time_s, "big"),
                )
        self._known = current
        self.collect()

    def collect(self) -> None:
        """Make the proofs of seal trees that have got their quorum."""
        for epoch in tuple(self._missing):
            header_bytes, header = self._seal_header(epoch)
            size = tree_size_after(header)
            note = self._cosigner.seal_note(size)
            if note is None and self._cosigner.checkpoint_size == size:
                note = self._cosigner.checkpoint
            if note is not None:
                self._store(epoch, header_bytes, note)

    def take(self, data: bytes) -> None:
        """Keep a peer's proof of an ended epoch. Raises `LedgerError` or `InvalidMessage`."""
        proof = EPOCH_PROOFS.decode(data)
        if proof.epoch not in self._missing:
            return
        if hash_header(proof.header) != hash_header(self._seal_header(proof.epoch)[0]):
            raise InvalidMessage(f"the proof of epoch {proof.epoch} has another seal block")
        verify_epoch_proof(proof, self._genesis, proof.epoch, self._validators(proof.epoch))
        self._keep(proof.epoch, data)

    def _store(self, epoch: int, header_bytes: bytes, note: bytes) -> None:
        proof = make_epoch_proof(self._log, header_bytes, self._validators(epoch + 1), note)
        verify_epoch_proof(proof, self._genesis, epoch, self._validators(epoch))
        self._keep(epoch, EPOCH_PROOFS.encode(proof))

    def _keep(self, epoch: int, data: bytes) -> None:
        self._log.append((), {proof_meta(epoch): data})
        self._missing.remove(epoch)
        self._cosigner.forget_seal(tree_size_after(self._seal_header(epoch)[1]))
        LOG.info("epoch proven", epoch=epoch)

    def _seal_header(self, epoch: int) -> tuple[bytes, Header]:
        following = find_epoch(self._log, epoch + 1)
        if following is None:
            raise CorruptStore(f"the record of epoch {epoch + 1} is missing")
        index = self._log.header_index(following.first_height - 1)
        header_bytes = self._log.read_entry(index)
        return header_bytes, HEADERS.decode(header_bytes)

    def _validators(self, epoch: int) -> tuple[Validator, ...]:
        record = find_epoch(self._log, epoch)
        if record is None:
            raise CorruptStore(f"the record of epoch {epoch} is missing")
        return record.validators


class EpochWalk:
    """The way from the validators of one epoch, which are trusted, over proofs to later ones.

    `proofs` has the verified ones by meta name.
    """

    def __init__(self, genesis: Genesis, epoch: int, validators: tuple[Validator, ...]) -> None:
        self._genesis = genesis
        self._epoch = epoch
        self._validators = validators
        self._ends: list[tuple[int, Committee]] = []
        self.proofs: dict[bytes, bytes] = {}

    def add(self, data: bytes) -> None:
        """Verify the proof that ends the last known epoch, and go over it. Raises `LedgerError`."""
        proof = EPOCH_PROOFS.decode(data)
        verify_epoch_proof(proof, self._genesis, self._epoch, self._validators)
        end = tree_size_after(HEADERS.decode(proof.header))
        self._ends.append((end, Committee.of(self._genesis, self._validators)))
        self.proofs[proof_meta(self._epoch)] = data
        self._epoch, self._validators = self._epoch + 1, proof.validators

    def verify(self, note: bytes) -> Checkpoint:
        """Checkpoint under a quorum of the epoch that its tree ends in. Raises `LedgerError`."""
        size = Checkpoint.parse(SignedNote.parse(note).text).size
        last = Committee.of(self._genesis, self._validators)
        return next((each for end, each in self._ends if size <= end), last).verify(note)


def _root_at(log: Log, size: int) -> bytes:
    """Root of the tree of the first `size` entries."""
    hashes = tuple(
        log.read_hash(level, (size >> level) - 1)
        for level in reversed(range(size.bit_length()))
        if size >> level & 1
    )
    return CompactRange(size=size, hashes=hashes).root()
