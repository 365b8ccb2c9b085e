"""Verification of copies that span epochs: each fault of an epoch is named at its place."""

from typing import Any

import msgspec
import pytest

from ledger.blocks import HEADERS
from ledger.errors import Divergence
from ledger.quorum.epochs import EPOCH_PROOFS
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.note import SignedNote
from ledger.verify import verify_log
from tests.unit.ledger.builders import (
    MEMBERS,
    ORIGIN,
    ChainBuilder,
    make_chain,
    make_checkpoint,
    make_copy,
    make_event,
)

FIVE = ("center", *MEMBERS)
OTHERS = ("a", "b", "c", "d")


def spanning() -> ChainBuilder:
    """Three epochs: blocks at entries 0 and 3, seal at 4, 6, seal at 7, then 9 and 10."""
    chain = make_chain([2, 0])
    chain.seal(*FIVE, events=[make_event(50)])
    chain.add()
    chain.seal(*OTHERS, events=[make_event(51)])
    chain.add()
    chain.add([make_event(52)], proposer=3)
    return chain


def refused(files: dict[str, bytes], **options: Any) -> Divergence:
    with pytest.raises(Divergence) as caught:
        verify_log(files.get, **options)
    return caught.value


def place(divergence: Divergence) -> tuple[str, int]:
    return divergence.step_name, divergence.index


def test_a_copy_that_spans_epochs_is_valid() -> None:
    chain = spanning()
    verified = verify_log(chain.copy().get)
    assert (verified.epoch, verified.blocks, verified.events) == (2, 7, 5)
    assert verified.checkpoint.size == 12
    assert verified.cosigners == tuple(f"{ORIGIN}/{member}" for member in OTHERS)


@pytest.mark.parametrize("blocks", range(8))
def test_every_prefix_is_valid_under_the_epoch_of_its_last_block(blocks: int) -> None:
    """Also one that ends with a seal block, and whether newer proofs are there or not."""
    whole = spanning()
    ends = [block.header.tree_size + 1 + len(block.records) for block in whole.blocks]
    size = ends[blocks - 1] if blocks else 0
    chain = make_prefix(whole, size)
    judges = [MEMBERS, MEMBERS, MEMBERS, MEMBERS, FIVE, FIVE, OTHERS, OTHERS][blocks]
    epoch = [0, 0, 0, 0, 1, 1, 2, 2][blocks]
    files = chain | {"checkpoint": checkpoint_of(chain, judges)}
    verified = verify_log(files.get)
    assert (verified.epoch, verified.blocks) == (epoch, blocks)
    for proof in whole.proofs[epoch:]:
        del files[f"epochs/{proof.epoch}"]
    assert verify_log(files.get) == verified
    if judges != MEMBERS:
        files = chain | {"checkpoint": checkpoint_of(chain, MEMBERS[:3])}
        found = refused(files)
        assert place(found) == ("checkpoint", -1)
        assert f"epoch {epoch}" in found.expected


def make_prefix(whole: ChainBuilder, size: int) -> dict[str, bytes]:
    return make_copy(whole.entries[:size], whole.genesis) | proofs_of(whole)


def proofs_of(chain: ChainBuilder) -> dict[str, bytes]:
    return {f"epochs/{proof.epoch}": EPOCH_PROOFS.encode(proof) for proof in chain.proofs}


def checkpoint_of(files: dict[str, bytes], cosigners: tuple[str, ...]) -> bytes:
    tree = Checkpoint.parse(SignedNote.parse(files["checkpoint"]).text)
    return make_checkpoint(tree.size, tree.root, cosigners=cosigners)


def test_a_missing_proof_is_named_at_the_seal_block() -> None:
    """Enough members of the first list stay, so the checkpoint alone does not tell."""
    chain = make_chain([2, 0])
    chain.seal(*FIVE, events=[make_event(50)])
    chain.add()
    found = refused(chain.copy(**{"epochs/0": None}))
    assert place(found) == ("epochs", 4)
    assert "epochs/0" in found.expected
    # Without the second proof nobody else's cosignature counts.
    found = refused(spanning().copy(**{"epochs/1": None}))
    assert place(found) == ("checkpoint", -1)


def test_old_validators_cannot_cosign_a_newer_tree() -> None:
    chain = spanning()
    for cosigners in (MEMBERS, FIVE):
        found = refused(chain.copy(checkpoint=chain.checkpoint(cosigners)))
        assert place(found) == ("checkpoint", -1)
        assert "epoch 2" in found.expected


def test_new_validators_cannot_cosign_an_older_tree() -> None:
    chain = make_chain([1])
    chain.seal(*OTHERS)
    files = chain.copy(checkpoint=chain.checkpoint(OTHERS))
    assert place(refused(files)) == ("checkpoint", -1)
    assert verify_log(chain.copy(checkpoint=chain.checkpoint(MEMBERS)).get).epoch == 0


def test_a_wrong_list_in_a_proof_is_named() -> None:
    chain = spanning()
    first, second = chain.proofs
    for lies in (
        {"validators": second.validators},
        {"validators": first.validators[::-1]},
        {"index": first.index - 1},
        {"epoch": 1},
        {"checkpoint": second.checkpoint},
    ):
        lie = EPOCH_PROOFS.encode(msgspec.structs.replace(first, **lies))
        found = refused(chain.copy(**{"epochs/0": lie}))
        assert place(found) == ("epochs", -1)
        assert "epochs/0" in found.expected
    swapped = {"epochs/0": EPOCH_PROOFS.encode(second), "epochs/1": EPOCH_PROOFS.encode(first)}
    assert place(refused(chain.copy(**swapped))) == ("epochs", -1)
    assert place(refused(chain.copy(**{"epochs/1": b"\x80"}))) == ("epochs", -1)


def test_a_block_after_the_seal_in_the_same_epoch_is_named() -> None:
    for lie, said in (
        ({"epoch": 0}, "epoch 1"),
        ({"parent_view": 3, "view": 4}, "parent_view 0"),
        ({"validators_hash": None}, "validators_hash"),
        ({"proposer": 5}, "proposer below 5"),
    ):
        chain = make_chain([2, 0])
        old = HEADERS.decode(chain.blocks[-1].header_bytes).validators_hash
        chain.seal(*FIVE)
        chain.add(**{name: old if value is None else value for name, value in lie.items()})
        found = refused(chain.copy())
        assert place(found) == ("headers", 5)
        assert found.expected.startswith(said)


def test_the_first_view_of_an_epoch_may_be_any_above_zero() -> None:
    chain = make_chain([1])
    chain.seal(*FIVE)
    chain.add(view=7, proposer=4)
    assert verify_log(chain.copy().get).epoch == 1
    chain.add(view=7)
    assert place(refused(chain.copy())) == ("headers", 4)


def test_a_log_that_goes_on_where_a_proof_says_it_ends_is_named() -> None:
    """Two histories, each cosigned: the proof is of one, the entries are of the other."""
    proven, other = make_chain([2]), make_chain([2])
    proven.seal(*FIVE)
    for events in ([], [make_event(7)], []):
        other.add(events)
    files = other.copy() | proofs_of(proven)
    files["checkpoint"] = make_checkpoint(other.range.size, other.range.root(), cosigners=FIVE)
    found = refused(files)
    assert place(found) == ("epochs", 3)
    # A record stands where the proof has the seal block.
    other = make_chain([4, 1])
    files = other.copy() | proofs_of(proven)
    files["checkpoint"] = make_checkpoint(other.range.size, other.range.root(), cosigners=FIVE)
    assert place(refused(files)) == ("epochs", 3)


def test_another_seal_block_in_the_proven_place_is_named() -> None:
    """Even one with the same list."""
    proven, other = make_chain([2]), make_chain([2])
    proven.seal(*FIVE)
    other.seal(*FIVE, view=9)
    other.add()
    found = refused(other.copy() | proofs_of(proven))
    assert place(found) == ("epochs", 3)


def test_a_seal_block_before_the_proven_one_is_named() -> None:
    proven, other = make_chain([2, 1, 1]), make_chain([2])
    proven.seal(*FIVE)
    other.seal(*FIVE)
    other.add()
    files = other.copy() | proofs_of(proven)
    files["checkpoint"] = make_checkpoint(other.range.size, other.range.root(), cosigners=MEMBERS)
    found = refused(files)
    assert place(found) == ("epochs", 3)
    assert "entry 7" in found.expected
