"""Whom a lagging node asks, and that one liar neither stalls nor misleads it."""

from node.engine.fetch import (
    ANSWER_TIMEOUT_MS,
    DISTRUST_MS,
    GAP_AT_ONCE,
    GAP_PATIENCE_MS,
    ORPHANS_MAX,
    Catchup,
    Orphan,
    Orphans,
    take_turn,
)
from node.simplex.types import Block
from tests.builders import hash32

PEERS = ("p1", "p2", "p3")
FAR = 2**62


def catchup(height: int = 10, **heights: int) -> Catchup:
    made = Catchup(height=height, members=PEERS, faulty_max=1)
    for peer, claimed in heights.items():
        made.note_peer(peer, claimed)
    return made


def block(label: str, parent: str, height: int) -> Orphan:
    return Orphan(
        block=Block(
            hash=hash32(label), header=b"", refs=(), epoch=0, view=height, parent_view=height - 1,
            height=height, parent_hash=hash32(parent), time_ms=0, proposer=0,
        ),
        events=(),
    )  # fmt: skip


def test_nobody_is_asked_without_a_gap() -> None:
    made = catchup(p1=10, p2=9)
    assert made.choose(0, PEERS) is None
    assert made.wake_ms() is None
    assert not made.is_behind


def test_a_wide_gap_is_asked_for_at_once_and_a_small_one_with_patience() -> None:
    assert catchup(p1=10 + GAP_AT_ONCE).choose(0, PEERS) == "p1"
    made = catchup(p1=11)
    made.note_progress(10, 1_000)
    assert made.choose(1_000 + GAP_PATIENCE_MS - 1, PEERS) is None
    assert made.wake_ms() == 1_000 + GAP_PATIENCE_MS
    assert made.choose(1_000 + GAP_PATIENCE_MS, PEERS) == "p1"


def test_only_connected_peers_are_asked_one_at_a_time() -> None:
    made = catchup(p1=100, p2=90)
    assert made.choose(0, PEERS[1:]) == "p2"
    assert made.choose(1, PEERS) is None
    assert made.wake_ms() == ANSWER_TIMEOUT_MS


def test_the_claim_of_one_peer_does_not_make_a_node_behind() -> None:
    made = catchup(p1=FAR, p2=11, p3=10)
    assert not made.is_behind
    made.note_peer("p2", 10 + GAP_AT_ONCE)
    assert made.is_behind


def test_a_refused_answer_makes_the_next_peer_the_one_to_ask() -> None:
    made = catchup(p1=FAR, p2=50, p3=40)
    assert made.choose(0, PEERS) == "p1"
    made.refused("p1", 0)
    made.note_peer("p1", FAR)
    assert made.choose(0, PEERS) == "p2"
    made.answered("p2")
    assert made.choose(0, PEERS) == "p2"


def test_a_peer_that_gives_nothing_waits_until_the_others_were_asked() -> None:
    made = catchup(p1=FAR, p2=50)
    assert made.choose(0, PEERS) == "p1"
    made.gave_nothing("p1", FAR)
    made.note_peer("p1", FAR)
    assert made.choose(0, PEERS) == "p2"
    made.gave_nothing("p2", 50)
    assert made.choose(GAP_PATIENCE_MS, PEERS) == "p1"


def test_a_silent_peer_is_left_for_another() -> None:
    made = catchup(p1=FAR, p2=50)
    assert made.choose(0, PEERS) == "p1"
    assert made.choose(ANSWER_TIMEOUT_MS - 1, PEERS) is None
    made.note_peer("p1", FAR)
    assert made.choose(ANSWER_TIMEOUT_MS, PEERS) == "p2"


def test_a_new_link_forgets_what_was_asked_on_the_one_before() -> None:
    made = catchup(p1=FAR, p2=50)
    assert made.choose(0, PEERS) == "p1"
    made.relinked("p2")
    assert made.choose(1, PEERS) is None
    made.relinked("p1")
    assert made.choose(1, PEERS) == "p1"
    assert made.take_answer("p1")
    made.relinked("p1")
    assert made.choose(2, PEERS) is None, "the answer is here and is being executed"


def test_only_an_awaited_answer_is_taken_and_only_once() -> None:
    made = catchup(p1=50, p2=50)
    assert not made.take_answer("p1")
    assert made.choose(0, PEERS) == "p1"
    assert not made.take_answer("p2")
    assert made.take_answer("p1")
    assert not made.take_answer("p1")
    made.answered("p1")
    assert made.choose(0, PEERS) == "p1"
    assert made.take_answer("p1")


def test_distrusted_peers_keep_nobody_awake() -> None:
    made = catchup(p1=FAR)
    made.choose(0, PEERS)
    made.refused("p1", 0)
    made.note_peer("p1", FAR)
    assert made.choose(0, PEERS) is None
    assert made.wake_ms() is None


def test_orphans_come_back_with_their_parent_and_are_bounded() -> None:
    orphans = Orphans()
    first, second = block("b", "a", 2), block("c", "a", 2)
    orphans.add(first)
    orphans.add(second)
    assert orphans.take_children(hash32("x")) == []
    assert orphans.take_children(hash32("a")) == [first, second]
    assert orphans.get(hash32("b")) is None
    for number in range(ORPHANS_MAX + 1):
        orphans.add(block(str(number), "z", 3 + number))
    assert len(orphans.take_children(hash32("z"))) == ORPHANS_MAX


def test_orphans_below_the_final_height_go() -> None:
    orphans = Orphans()
    orphans.add(block("low", "a", 5))
    orphans.add(block("high", "a", 6))
    orphans.forget_below(5)
    assert orphans.take_children(hash32("a")) == [block("high", "a", 6)]


def test_distrust_ends_after_a_time() -> None:
    """A peer whose disk was repaired is of use again, without a restart of this node."""
    made = catchup(p1=FAR)
    made.choose(0, PEERS)
    made.refused("p1", 1_000)
    made.note_peer("p1", FAR)
    assert made.choose(1_000 + DISTRUST_MS - 1, PEERS) is None
    assert made.choose(1_000 + DISTRUST_MS, PEERS) == "p1"


def test_another_epoch_forgets_what_others_than_its_validators_claimed() -> None:
    made = catchup(p1=FAR, p2=11, p3=10)
    made.enter(("p2", "p3", "p4"), 1)
    assert made.heights == {"p2": 11, "p3": 10}
    made.note_peer("p1", FAR)
    made.note_peer("p4", 10 + GAP_AT_ONCE)
    assert made.choose(0, (*PEERS, "p4")) == "p4"


def test_a_block_is_asked_of_others_in_each_attempt() -> None:
    """The first two of seven were silent: whoever asked for a parent asked them alone, for ever."""
    peers = [f"p{number}" for number in range(6)]
    assert take_turn(peers, 0) == ["p0", "p1"]
    assert take_turn(peers, 1) == ["p2", "p3", "p4", "p5"]
    assert len(take_turn(peers, 2)) == len(frozenset(take_turn(peers, 2))) == 6
    for count in range(1, 30):
        some = [f"p{number}" for number in range(count)]
        asked = [peer for attempt in range(6) for peer in take_turn(some, attempt)]
        assert frozenset(asked) == frozenset(some)
    assert take_turn([], 3) == []


def test_peers_that_have_nothing_are_not_asked_in_a_loop() -> None:
    """Blocks that no quorum has cosigned are in no range; asking again at once gives no other."""
    made = catchup(p1=12, p2=12)
    first = made.choose(1_000, PEERS)
    assert first == "p1"
    made.gave_nothing("p1", 12)
    assert made.choose(1_010, PEERS) == "p2"
    made.gave_nothing("p2", 12)
    assert made.choose(1_020, PEERS) is None
    assert made.choose(1_010 + GAP_PATIENCE_MS, PEERS) == "p1"
