r"""Epochs: which validators judge what, provable offline from genesis (CONSENSUS 3).

An epoch ends with its SEAL BLOCK: the header's `next_validators` is the hash of the whole next list
(`hash_validator_list`), empty in every other block. The block after it opens the next epoch, whose
views begin at 1. A tree of N entries is judged by the validators of the epoch of its last block,
so the tree that ends with a seal block is still judged by the epoch that it ends.

An `EpochProof` leads from the validators of one epoch to those of the next; the numbers are those
in the code of `verify_epoch_proof`:

1. order        The proof is of the epoch whose validators are known.
2. header       It is a seal header of this network and epoch, under these validators.
3. list         The next list has the hash in the header, is legal, and is sorted by member.
4. checkpoint   A quorum of the ended epoch cosigned the tree that ends with exactly this block.
5. inclusion    The header is the entry of that tree at the place where the block begins.

In a copy of a log proof n, which ends epoch n, is the file `epochs/<n>`.
"""

from bisect import bisect_left
from collections.abc import Iterable
from typing import Annotated, Literal

from msgspec import Meta

from ledger.blocks import HEADERS, Header
from ledger.codec import Codec, Value
from ledger.errors import InvalidProof
from ledger.genesis import Genesis, hash_genesis
from ledger.quorum.lists import (
    cosigner_keys_of,
    find_list_faults,
    hash_consensus_keys,
    hash_validator_list,
    policy_of_list,
)
from ledger.registry import EpochRecord, PendingChange, Validator
from ledger.scalars import Hash32, Uint
from ledger.tlog.merkle import HashReader, hash_leaf, prove_inclusion, verify_inclusion
from ledger.tlog.note import SignedNote, VerifierKey
from ledger.tlog.policy import Policy
from ledger.tlog.receipt import PROOF_HASHES_MAX

__all__ = [
    "EPOCH_PROOFS",
    "EpochChain",
    "EpochProof",
    "EpochRecord",
    "PendingChange",
    "cosigner_keys_of",
    "epoch_path",
    "hash_consensus_keys",
    "hash_validator_list",
    "make_epoch_proof",
    "policy_of",
    "verify_epoch_proof",
]

EPOCH_PROOF_BYTES_MAX = 262_144


class EpochProof(Value, frozen=True, kw_only=True):
    """Proof of the validators of the epoch after `epoch`, which has ended.

    `header` is the seal header, entry `index` of the tree; `path` its inclusion proof, leaf first;
    `checkpoint` the signed note of the tree that ends with the seal block.
    """

    version: Literal[1]
    epoch: Uint
    validators: tuple[Validator, ...]
    header: Annotated[bytes, Meta(max_length=2_048)]
    index: Uint
    path: Annotated[tuple[Hash32, ...], Meta(max_length=PROOF_HASHES_MAX)]
    checkpoint: Annotated[bytes, Meta(max_length=65_536)]


EPOCH_PROOFS = Codec(EpochProof, size_bytes_max=EPOCH_PROOF_BYTES_MAX)


def epoch_path(epoch: int) -> str:
    """Name of the file, in a copy of a log, of the proof that ends `epoch`."""
    return f"epochs/{epoch}"


def policy_of(genesis: Genesis, validators: tuple[Validator, ...]) -> Policy:
    """The tlog-policy under which a checkpoint cosigned by these validators is believed."""
    return policy_of_list(genesis.origin, genesis.log_key, validators)


def tree_size_after(header: Header) -> int:
    """Number of entries of the log that ends with this header's block."""
    return header.tree_size + 1 + header.record_count


def make_epoch_proof(
    reader: HashReader, header_bytes: bytes, validators: tuple[Validator, ...], checkpoint: bytes
) -> EpochProof:
    """Proof out of a log (`reader`) for a seal block, the next list and the seal tree's note.

    The note is not judged here: whoever reads the proof does. Raises `InvalidProof` if the log ends
    before the block does.
    """
    header = HEADERS.decode(header_bytes)
    return EpochProof(
        version=1,
        epoch=header.epoch,
        validators=validators,
        header=header_bytes,
        index=header.tree_size,
        path=prove_inclusion(reader, header.tree_size, tree_size_after(header)),
        checkpoint=checkpoint,
    )


def verify_epoch_proof(
    proof: EpochProof, genesis: Genesis, epoch: int, validators: tuple[Validator, ...]
) -> None:
    """Check the proof that ends `epoch`, whose validators are given.

    Raises `InvalidEncoding`, `InvalidCheckpoint`, `InvalidSignature` or `InvalidProof`.
    """
    if proof.epoch != epoch:  # 1
        raise InvalidProof(f"a proof of epoch {proof.epoch}, not of {epoch}")
    header = HEADERS.decode(proof.header)  # 2
    for name, found, expected in (
        ("network", header.network, hash_genesis(genesis)),
        ("epoch", header.epoch, epoch),
        ("validators_hash", header.validators_hash, hash_consensus_keys(validators)),
        ("next_validators", header.next_validators, hash_validator_list(proof.validators)),  # 3
        ("tree_size", header.tree_size, proof.index),
    ):
        if found != expected:
            raise InvalidProof(f"the seal header of epoch {epoch} has another {name}")
    for fault in find_list_faults(proof.validators):  # 3
        raise InvalidProof(f"the validators of epoch {epoch + 1}: {fault}")
    members = [validator.member for validator in proof.validators]
    if members != sorted(members):
        raise InvalidProof(f"the validators of epoch {epoch + 1} are not sorted by member")
    checkpoint = policy_of(genesis, validators).verify(SignedNote.parse(proof.checkpoint))  # 4
    if checkpoint.size != tree_size_after(header):
        raise InvalidProof(
            f"a checkpoint of {checkpoint.size} entries, but epoch {epoch} ends with"
            f" {tree_size_after(header)}"
        )
    leaf = hash_leaf(proof.header)  # 5
    verify_inclusion(leaf, proof.index, checkpoint.size, proof.path, checkpoint.root)


class EpochChain:
    """The epochs known from genesis and verified proofs. Grows with `add`, never changes else."""

    def __init__(self, genesis: Genesis, proofs: Iterable[EpochProof] = ()) -> None:
        """Chain of the proofs, in order. Raises as `verify_epoch_proof` does."""
        self.genesis = genesis
        self.proofs: list[EpochProof] = []
        self._lists: list[tuple[Validator, ...]] = [genesis.validators]
        self._policies: list[Policy] = [policy_of(genesis, genesis.validators)]
        self._ends: list[int] = []  # sizes of the trees that end with a seal block
        for proof in proofs:
            self.add(proof)

    @property
    def epoch(self) -> int:
        """The last epoch whose validators are known."""
        return len(self._ends)

    def add(self, proof: EpochProof) -> None:
        """Verify the proof that ends the last known epoch and take it. Raises and leaves all."""
        verify_epoch_proof(proof, self.genesis, self.epoch, self._lists[-1])
        end = tree_size_after(HEADERS.decode(proof.header))
        if self._ends and end <= self._ends[-1]:
            raise InvalidProof(f"epoch {proof.epoch} ends at {end}, before it began")
        policy = policy_of(self.genesis, proof.validators)
        self.proofs.append(proof)
        self._policies.append(policy)
        self._lists.append(proof.validators)
        self._ends.append(end)

    def validators_of(self, epoch: int) -> tuple[Validator, ...]:
        """Validators of a known epoch, in the order that votes count. Raises `InvalidProof`."""
        if not 0 <= epoch <= self.epoch:
            raise InvalidProof(f"the validators of epoch {epoch} are not known to this chain")
        return self._lists[epoch]

    def end_of(self, epoch: int) -> int | None:
        """Size of the tree that ends with the seal block of `epoch`; None: not known to end."""
        return self._ends[epoch] if 0 <= epoch < self.epoch else None

    def epoch_of(self, tree_size: int) -> int:
        """Epoch of the last block of a tree of so many entries, as far as epochs are known."""
        return bisect_left(self._ends, tree_size)

    def policy_for(self, tree_size: int) -> Policy:
        """The policy that judges a checkpoint of a tree of so many entries."""
        return self._policies[self.epoch_of(tree_size)]

    def cosigner_keys_for(self, tree_size: int) -> tuple[VerifierKey, ...]:
        """Cosigning keys, in list order, of the validators who judge such a tree."""
        return cosigner_keys_of(self.genesis.origin, self._lists[self.epoch_of(tree_size)])
