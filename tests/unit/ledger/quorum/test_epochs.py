"""Epoch proofs: each lie is refused, and a checkpoint is judged by the epoch of its last block."""

from typing import Any

import msgspec
import pytest

from ledger.blocks import HEADERS
from ledger.errors import InvalidCheckpoint, InvalidProof, LedgerError
from ledger.quorum.epochs import (
    EPOCH_PROOFS,
    EpochChain,
    EpochProof,
    epoch_path,
    make_epoch_proof,
    policy_of,
    verify_epoch_proof,
)
from ledger.quorum.lists import (
    cosigner_keys_of,
    find_list_faults,
    hash_consensus_keys,
    hash_validator_list,
)
from ledger.tlog.merkle import hash_leaf, root_of
from ledger.tlog.note import SignedNote
from tests.unit.ledger.builders import (
    MEMBERS,
    ORIGIN,
    ChainBuilder,
    LeafReader,
    make_chain,
    make_checkpoint,
    make_genesis,
    make_validator,
)

GENESIS = make_genesis()
FIVE = (*MEMBERS, "center")
OTHERS = ("a", "b", "c", "d")


def sealed(*members: str) -> ChainBuilder:
    """A log whose third block, entries 3 and 4, is a seal block; one block follows."""
    chain = make_chain([1, 0])
    chain.seal(*(members or FIVE))
    chain.add()
    return chain


def lying(chain: ChainBuilder, **lies: Any) -> EpochProof:
    return msgspec.structs.replace(chain.proofs[0], **lies)


def refuse(proof: EpochProof, kind: type[LedgerError] = InvalidProof) -> str:
    with pytest.raises(kind) as caught:
        verify_epoch_proof(proof, GENESIS, 0, GENESIS.validators)
    chain = EpochChain(GENESIS)
    with pytest.raises(kind):
        chain.add(proof)
    assert (chain.epoch, chain.proofs, chain.end_of(0)) == (0, [], None)
    return str(caught.value)


def test_a_true_proof_leads_to_the_next_list() -> None:
    chain = sealed()
    (proof,) = chain.proofs
    verify_epoch_proof(proof, GENESIS, 0, GENESIS.validators)
    assert EPOCH_PROOFS.decode(EPOCH_PROOFS.encode(proof)) == proof
    assert (proof.epoch, proof.index, epoch_path(proof.epoch)) == (0, 3, "epochs/0")
    assert [validator.member for validator in proof.validators] == sorted(FIVE)
    epochs = EpochChain(GENESIS, [proof])
    assert epochs.epoch == 1
    assert epochs.validators_of(0) == GENESIS.validators
    assert epochs.validators_of(1) == proof.validators
    assert (epochs.end_of(0), epochs.end_of(1)) == (4, None)
    for unknown in (-1, 2):
        with pytest.raises(InvalidProof):
            epochs.validators_of(unknown)


def test_every_lie_in_a_proof_is_refused() -> None:
    chain = sealed()
    header = HEADERS.decode(chain.proofs[0].header)
    assert "epoch 1" in refuse(lying(chain, epoch=1))
    for name, value in (
        ("network", bytes(32)),
        ("epoch", 1),
        ("validators_hash", bytes(32)),
        ("next_validators", bytes(32)),
        ("next_validators", b""),
        ("tree_size", 2),
    ):
        changed = HEADERS.encode(msgspec.structs.replace(header, **{name: value}))
        assert name in refuse(lying(chain, header=changed))
    assert "tree_size" in refuse(lying(chain, index=2))
    # All of these are in the header's bytes, so only the inclusion proof can tell.
    changed = HEADERS.encode(msgspec.structs.replace(header, view=77))
    assert "not under the root" in refuse(lying(chain, header=changed))
    path = chain.proofs[0].path
    assert "not under the root" in refuse(lying(chain, path=(bytes(32), *path[1:])))
    assert "hashes in the proof" in refuse(lying(chain, path=path[1:]))
    one, two, *rest = chain.proofs[0].validators
    assert "next_validators" in refuse(lying(chain, validators=(two, one, *rest)))
    refuse(lying(chain, header=chain.proofs[0].header[:-1]), LedgerError)
    refuse(lying(chain, checkpoint=b"junk"), LedgerError)


@pytest.mark.parametrize(
    ("following", "said"),
    [
        (("a", "b", "c"), "from 4 to 30"),
        (tuple(f"m{at:02}" for at in range(31)), "from 4 to 30"),
        (("a", "b", "c", "d"), None),
        (tuple(f"m{at:02}" for at in range(30)), None),
    ],
)
def test_only_legal_lists_follow(following: tuple[str, ...], said: str | None) -> None:
    """A quorum cosigned the header: what it names must still be a list that can exist."""
    chain = sealed(*following)
    if said is None:
        verify_epoch_proof(chain.proofs[0], GENESIS, 0, GENESIS.validators)
    else:
        assert said in refuse(chain.proofs[0])


def test_lists_that_are_not_sorted_or_not_distinct_are_refused() -> None:
    true = [make_validator(member) for member in OTHERS]
    for broken, said in (
        (true[::-1], "not sorted"),
        ([*true, true[3]], "one member stands twice"),
        ([*true[:3], make_validator("d", consensus_key=true[0].consensus_key)], "consensus_key"),
        ([*true[:3], make_validator("d", cosigning_key=true[0].cosigning_key)], "cosigning_key"),
        ([*true[:3], make_validator("d", tls_certificate=b"x", consensus_key=b"\x02" + bytes(32))],
         "unknown key algorithm"),
    ):  # fmt: skip
        chain = make_chain([1])
        following = tuple(broken)
        chain.add(next_validators=hash_validator_list(following))
        assert said in refuse(chain.enter(following))


def test_the_checkpoint_is_of_exactly_the_seal_tree_and_by_the_ended_epoch() -> None:
    chain = sealed(*OTHERS)
    end, seal_header = 4, chain.proofs[0].header
    cut = LeafReader(chain.entries[:end])
    for cosigners, is_enough in (
        (MEMBERS, True),
        (MEMBERS[:3], True),
        (MEMBERS[:2], False),
        ((*MEMBERS[:2], *OTHERS), False),
        (OTHERS, False),
    ):
        note = make_checkpoint(end, _root(chain, end), cosigners=cosigners)
        proof = make_epoch_proof(cut, seal_header, chain.validators, note)
        if is_enough:
            verify_epoch_proof(proof, GENESIS, 0, GENESIS.validators)
        else:
            refuse(proof, InvalidCheckpoint)
    longer = make_checkpoint(5, _root(chain, 5))
    refused = refuse(lying(chain, checkpoint=longer))
    assert "a checkpoint of 5 entries, but epoch 0 ends with 4" in refused


def _root(chain: ChainBuilder, size: int) -> bytes:
    return root_of([hash_leaf(entry) for entry in chain.entries[:size]])


def test_epochs_follow_each_other() -> None:
    chain = make_chain([1])
    chain.seal(*FIVE)
    chain.add([])
    chain.seal(*OTHERS)
    chain.seal(*MEMBERS)  # an epoch of one block
    chain.add()
    first, second, third = chain.proofs
    epochs = EpochChain(GENESIS, chain.proofs)
    assert (epochs.epoch, [epochs.end_of(at) for at in range(4)]) == (3, [3, 5, 6, None])
    for proofs in ([second], [first, first], [first, third], [first, second, second]):
        with pytest.raises(InvalidProof):
            EpochChain(GENESIS, proofs)
    # A quorum of epoch 1 proves its end in a log that is shorter than epoch 0 was.
    rival = ChainBuilder(GENESIS)
    rival.epoch, rival.validators = 1, first.validators
    rival.seal(*OTHERS)
    with pytest.raises(InvalidProof, match="before it began"):
        EpochChain(GENESIS, [first, rival.proofs[0]])
    other = make_genesis(name="Another")
    with pytest.raises(InvalidProof, match="network"):
        EpochChain(other, [first])


def test_a_tree_is_judged_by_the_epoch_of_its_last_block() -> None:
    chain = make_chain([1])
    chain.seal(*OTHERS)  # the tree of 3 entries
    chain.add()
    chain.seal(*FIVE)  # the tree of 5 entries
    epochs = EpochChain(GENESIS, chain.proofs)
    judges = [epochs.epoch_of(size) for size in range(8)]
    assert judges == [0, 0, 0, 0, 1, 1, 2, 2]
    note = {
        members: SignedNote.parse(make_checkpoint(4, bytes(32), cosigners=members))
        for members in (MEMBERS, OTHERS)
    }
    assert epochs.policy_for(4).verify(note[OTHERS]).size == 4
    with pytest.raises(InvalidCheckpoint):
        epochs.policy_for(4).verify(note[MEMBERS])
    assert epochs.policy_for(3).verify(note[MEMBERS]).size == 4
    names = [key.name for key in epochs.cosigner_keys_for(6)]
    assert names == [f"{ORIGIN}/{member}" for member in sorted(FIVE)]


def test_policies_need_the_quorum_of_their_list() -> None:
    """Five validators: four, which is not 2f + 1 (CONSENSUS 1.0)."""
    five = tuple(make_validator(member) for member in sorted(FIVE))
    policy = policy_of(GENESIS, five)
    assert policy.groups[0].threshold == 4
    assert policy.format() == policy_of(make_genesis(validators=five), five).format()
    assert cosigner_keys_of(ORIGIN, five)[1].name == f"{ORIGIN}/east"


def test_hashes_of_lists_cover_every_key() -> None:
    five = tuple(make_validator(member) for member in sorted(FIVE))
    assert list(find_list_faults(five)) == []
    for field in ("cosigning_key", "consensus_key", "tls_certificate", "member"):
        value = getattr(make_validator("z"), field)
        other = (*five[:4], make_validator(five[4].member, **{field: value}))
        assert hash_validator_list(other) != hash_validator_list(five)
        is_consensus = field == "consensus_key"
        assert (hash_consensus_keys(other) != hash_consensus_keys(five)) is is_consensus
    assert hash_validator_list(five[::-1]) != hash_validator_list(five)


def test_oversized_proofs_are_refused_before_parsing() -> None:
    data = EPOCH_PROOFS.encode(sealed().proofs[0])
    with pytest.raises(LedgerError):
        EPOCH_PROOFS.decode(data + bytes(EPOCH_PROOFS.size_bytes_max))
    with pytest.raises(LedgerError):
        EPOCH_PROOFS.decode(data + b"\0")
