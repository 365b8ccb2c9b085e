"""Answers to catching-up peers: what a quorum checkpoint covers, in bounded pieces, with proof."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.merkle import CompactRange, verify_consistency
from ledger.tlog.note import SignedNote
from node.engine import ranges
from node.engine.cosign import Cosigner
from node.engine.proofs import Archive
from node.engine.ranges import build_range
from node.peers.wire import Range
from tests.builders import request
from tests.unit.node.world import GENESIS, Ledger, cosigned, cosigner_of, ledger


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Ledger]:
    with ledger(tmp_path) as made:
        yield made


def build(of: Ledger, cosigner: Cosigner, from_height: int) -> Range:
    archive = Archive(genesis=GENESIS, log=of.log, cosigner=cosigner)
    return build_range(of.log, cosigner, archive, from_height)


def fill(of: Ledger, blocks: int) -> None:
    for number in range(blocks):
        of.finalize(request(label=f"{of.log.tip.height} {number}"))


def test_nothing_without_a_checkpoint_but_the_own_height(here: Ledger) -> None:
    fill(here, 2)
    answer = build(here, cosigner_of(0), 1)
    assert (answer.final_height, answer.blocks, answer.checkpoint) == (2, (), b"")


def test_blocks_under_the_checkpoint_with_their_proof(here: Ledger) -> None:
    fill(here, 3)
    cosigner = cosigned(here)
    fill(here, 2)  # not covered
    answer = build(here, cosigner, 2)
    assert (answer.from_height, answer.final_height, len(answer.blocks)) == (2, 5, 2)
    checkpoint = Checkpoint.parse(SignedNote.parse(answer.checkpoint).text)
    assert checkpoint.size == here.log.header_index(4)
    assert answer.consistency == ()


@pytest.mark.parametrize("start", [0, 1, 4])
def test_long_answers_are_cut_and_proven(
    here: Ledger, start: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(here, 6)
    cosigner = cosigned(here)
    monkeypatch.setattr(ranges, "RANGE_BYTES_MAX", 2_500)
    answer = build(here, cosigner, start)
    first = max(start, 1)
    assert 1 <= len(answer.blocks) < 7 - first
    end = here.log.header_index(first + len(answer.blocks))
    before = CompactRange().extend([here.log.read_hash(0, index) for index in range(end)])
    checkpoint = Checkpoint.parse(SignedNote.parse(answer.checkpoint).text)
    verify_consistency(end, before.root(), checkpoint.size, checkpoint.root, answer.consistency)


def test_one_block_is_sent_however_large(here: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(here, 2)
    monkeypatch.setattr(ranges, "RANGE_BYTES_MAX", 1)
    assert len(build(here, cosigned(here), 1).blocks) == 1


def test_many_small_blocks_are_cut_too(here: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(here, 5)
    monkeypatch.setattr(ranges, "RANGE_BLOCKS_MAX", 2)
    answer = build(here, cosigned(here), 2)
    assert len(answer.blocks) == 2


def test_heights_beyond_the_log_give_nothing(here: Ledger) -> None:
    fill(here, 1)
    assert build(here, cosigned(here), 2**62).blocks == ()
