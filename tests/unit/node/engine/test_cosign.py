"""Cosigning: a quorum makes a checkpoint, time never goes back, garbage counts for nothing."""

import random

import pytest

from ledger.errors import LedgerError
from ledger.genesis import log_policy
from ledger.tlog.note import SignedNote
from node.engine.cosign import FUTURE_LINES_MAX, STATE_META, Cosigner, Line
from node.errors import InvalidMessage
from tests.builders import hash32
from tests.unit.node.world import GENESIS, VALIDATORS, cosigner_of

ROOT = hash32("root")
NOW_S = 1_800_000_000


def signed(me: int, size: int = 7, root: bytes = ROOT, now_s: int = NOW_S) -> tuple[Cosigner, Line]:
    made = cosigner_of(me)
    made.prepare(now_s)
    return made, made.sign(size, root)


def line_of(me: int, size: int = 7, root: bytes = ROOT, now_s: int = NOW_S) -> Line:
    return signed(me, size, root, now_s)[1]


def test_a_line_goes_over_the_wire() -> None:
    line = line_of(1)
    assert Line.decode(line.encode()) == line
    for data in (b"", bytes(8), bytes(513)):
        with pytest.raises(InvalidMessage):
            Line.decode(data)


def test_three_of_four_make_a_checkpoint_that_the_policy_accepts() -> None:
    mine, _ = signed(0)
    mine.receive(VALIDATORS[1], line_of(1))
    mine.receive(VALIDATORS[1], line_of(1, now_s=NOW_S + 1))
    assert (mine.checkpoint, mine.checkpoint_size) == (None, 0)
    mine.receive(VALIDATORS[3], line_of(3))
    assert mine.checkpoint_size == 7
    assert mine.checkpoint is not None
    checkpoint = log_policy(GENESIS).verify(SignedNote.parse(mine.checkpoint))
    assert (checkpoint.size, checkpoint.root) == (7, ROOT)


def test_lines_that_come_before_the_own_tree_count_later() -> None:
    mine = cosigner_of(0)
    for peer in (1, 2):
        mine.receive(VALIDATORS[peer], line_of(peer))
    assert mine.checkpoint is None
    mine.prepare(NOW_S)
    mine.sign(7, ROOT)
    assert mine.checkpoint_size == 7


def test_a_line_over_another_tree_does_not_count() -> None:
    mine, _ = signed(0)
    with pytest.raises(InvalidMessage):
        mine.receive(VALIDATORS[1], line_of(1, root=hash32("other")))
    mine.receive(VALIDATORS[2], line_of(2))
    assert mine.checkpoint is None
    mine.receive(VALIDATORS[1], line_of(1))
    assert mine.checkpoint_size == 7


def test_a_bad_line_that_came_early_does_not_stop_the_own_signature() -> None:
    mine = cosigner_of(0)
    mine.receive(VALIDATORS[1], line_of(1, root=hash32("other")))
    mine.receive(VALIDATORS[2], line_of(2))
    mine.receive(VALIDATORS[3], line_of(3))
    mine.prepare(NOW_S)
    mine.sign(7, ROOT)
    assert mine.checkpoint_size == 7


def test_a_line_of_another_validator_does_not_count_for_the_sender() -> None:
    mine, _ = signed(0)
    for sender in (1, 2, 3):
        with pytest.raises(InvalidMessage):
            mine.receive(VALIDATORS[sender], line_of(0))
    assert mine.checkpoint is None


def test_garbage_changes_nothing() -> None:
    mine, _ = signed(0)
    good = line_of(1).line
    chance = random.Random(5)
    for _ in range(300):
        broken = bytearray(good)
        broken[chance.randrange(len(good))] ^= 1 << chance.randrange(8)
        try:
            mine.receive(
                VALIDATORS[1],
                Line(size=7, line=bytes(broken[: chance.randrange(1, len(good) + 1)])),
            )
        except InvalidMessage:
            continue
    mine.receive(VALIDATORS[2], line_of(2))
    assert mine.checkpoint is None
    mine.receive(VALIDATORS[1], line_of(1))
    assert mine.checkpoint_size == 7


def test_lines_of_a_liar_are_bounded_and_do_not_push_out_others() -> None:
    mine = cosigner_of(0)
    for peer in (2, 3):
        mine.receive(VALIDATORS[peer], line_of(peer))
    early = line_of(1)
    for size in range(1_000, 1_000 + 3 * FUTURE_LINES_MAX):
        mine.receive(VALIDATORS[1], Line(size=size, line=early.line))
    assert len(mine._future[VALIDATORS[1]]) == FUTURE_LINES_MAX
    mine.prepare(NOW_S)
    mine.sign(7, ROOT)
    assert mine.checkpoint_size == 7


def test_open_trees_are_bounded() -> None:
    mine = cosigner_of(0)
    mine.prepare(NOW_S)
    for size in range(1, 3 * FUTURE_LINES_MAX):
        mine.sign(size, hash32(str(size)))
    assert len(mine._trees) <= FUTURE_LINES_MAX


def test_time_never_goes_back_not_even_over_a_restart() -> None:
    mine = cosigner_of(0)
    meta = mine.prepare(NOW_S)
    first = mine.sign(7, ROOT)
    assert mine.prepare(NOW_S - 3_600) == meta
    second = mine.sign(7, ROOT)
    assert second == first
    again = cosigner_of(0, time_s=int.from_bytes(meta[STATE_META], "big"))
    again.prepare(5)
    assert again.sign(7, ROOT) == first


def test_a_restart_keeps_the_checkpoint_and_collects_the_next() -> None:
    mine, _ = signed(0)
    for peer in (1, 2):
        mine.receive(VALIDATORS[peer], line_of(peer))
    again = cosigner_of(0, time_s=NOW_S, checkpoint=mine.checkpoint)
    assert (again.checkpoint, again.checkpoint_size) == (mine.checkpoint, 7)
    again.sign(9, hash32("next"))
    for peer in (2, 3):
        again.receive(VALIDATORS[peer], line_of(peer, 9, hash32("next")))
    assert again.checkpoint_size == 9


def test_an_older_tree_does_not_replace_a_newer_checkpoint() -> None:
    mine, _ = signed(0)
    mine.sign(9, hash32("next"))
    for peer in (1, 2):
        mine.receive(VALIDATORS[peer], line_of(peer, 9, hash32("next")))
    for peer in (1, 2, 3):
        mine.receive(VALIDATORS[peer], line_of(peer))
    assert mine.checkpoint_size == 9


def test_only_the_checkpoint_of_the_own_tree_is_adopted() -> None:
    other, _ = signed(1)
    for peer in (2, 3):
        other.receive(VALIDATORS[peer], line_of(peer))
    note = other.checkpoint
    assert note is not None
    mine = cosigner_of(0)
    for size, root in ((8, ROOT), (7, hash32("other"))):
        with pytest.raises(InvalidMessage):
            mine.adopt(note, size, root)
    lines = note.split(b"\n")
    with pytest.raises(LedgerError):
        mine.adopt(b"\n".join([*lines[:-2], b""]), 7, ROOT)  # one cosignature less
    assert mine.checkpoint is None
    mine.adopt(note, 7, ROOT)
    assert mine.checkpoint == note
