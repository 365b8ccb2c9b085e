"""The chain: building, validating, committing, and what a commit does to what it did not take."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from contracts.engine import ENGINE_VERSION
from ledger.blocks import HEADERS, hash_header
from ledger.events import EVENT_SIZE_BYTES_MAX, Event, parse_event
from ledger.genesis import hash_genesis
from ledger.governance.actions import SetParameters
from ledger.log import Log
from ledger.quorum.lists import hash_consensus_keys, hash_validator_list
from ledger.state import exchange_key
from node.chain import Chain
from node.errors import InvalidHeader
from node.simplex.types import Block, Verdict
from tests.builders import (
    VALIDATORS,
    add_validator,
    ballot,
    carried,
    deliver,
    genesis,
    hash32,
    parameters,
    propose,
    ready,
    request,
)
from tests.unit.node.world import GENESIS, LIMITS, Ledger, ledger


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Ledger]:
    with ledger(tmp_path / "here") as made:
        yield made


@pytest.fixture
def there(tmp_path: Path) -> Iterator[Ledger]:
    with ledger(tmp_path / "there", me=1) as made:
        yield made


def give(to: Ledger, *events: Event) -> None:
    for event in events:
        to.pool.hold(event)


def lie(block: Block, chain: Chain, **changed: object) -> Block:
    """The block with other header fields."""
    header = msgspec.structs.replace(HEADERS.decode(block.header), **changed)
    return chain.parse(HEADERS.encode(header), block.refs)


def test_what_one_node_builds_another_finds_valid_and_both_log_the_same(
    here: Ledger, there: Ledger
) -> None:
    asked = request()
    for events in ((asked,), (deliver(asked), request(label="2")), ()):
        block = here.build(*events)
        give(there, *events)
        parsed = there.chain.parse(block.header, block.refs)
        assert there.chain.validate(parsed) is Verdict.VALID
        here.chain.commit([block], {})
        there.chain.commit([parsed], {})
    assert here.log.tip == there.log.tip
    entries = [each.log.read_entries(0, 100) for each in (here, there)]
    assert entries[0] == entries[1]
    assert len(entries[0]) == 6
    assert (len(here.pool), len(there.pool)) == (0, 0)


def test_a_block_that_refers_to_what_is_no_event_is_invalid(here: Ledger, there: Ledger) -> None:
    """Only the references count: the same header may come with those that belong to it."""
    first, second = request(), request(label="2")
    block = here.build(first, second)
    there.chain.note_unsound([hash32("another")])
    assert there.chain.validate(block) is Verdict.MISSING
    lied = there.chain.parse(block.header, (first.digest, hash32("another")))
    assert there.chain.validate(lied) is Verdict.INVALID
    give(there, first, second)
    assert there.chain.validate(block) is Verdict.VALID


def test_a_block_waits_for_its_parent_and_its_events(here: Ledger, there: Ledger) -> None:
    first, second = request(), request(label="2")
    parent = here.build(first)
    child = here.build(second, parent=parent)
    give(there, second)
    assert there.chain.validate(child) is Verdict.MISSING
    assert there.chain.validate(parent) is Verdict.MISSING
    assert there.chain.validate(parent, [first]) is Verdict.VALID
    assert there.chain.validate(child) is Verdict.VALID
    assert first.digest not in there.pool


@pytest.mark.parametrize(
    "changed",
    [
        {"network": bytes(32)},
        {"epoch": 1},
        {"height": 2},
        {"parent_view": 1, "view": 2},
        {"view": 0},
        {"proposer": 4},
        {"tree_size": 1},
        {"tree_root": bytes(32)},
        {"engine": ENGINE_VERSION + "x"},
        {"validators_hash": bytes(32)},
        {"next_validators": bytes(32)},
        {"records_root": bytes(32)},
        {"state_digest": bytes(32)},
        {"time_ms": GENESIS.time_ms},
        {"time_ms": 2**62},
    ],
    ids="-".join,
)
def test_a_header_that_lies_about_one_field_is_invalid(
    here: Ledger, there: Ledger, changed: dict[str, object]
) -> None:
    event = request()
    give(there, event)
    block = here.build(event)
    assert there.chain.validate(lie(block, there.chain, **changed)) is Verdict.INVALID
    assert there.chain.validate(block) is Verdict.VALID


def test_an_event_that_no_block_may_hold_makes_a_proposal_invalid(
    here: Ledger, there: Ledger
) -> None:
    final = request()
    there_block = there.build(final)
    there.chain.commit([there_block], {})
    here.chain.validate(there_block, [final])
    here.chain.commit([there_block], {})
    block = here.build(request(label="2"))
    replayed = lie(block, there.chain)
    replayed = there.chain.parse(replayed.header, (final.digest,))
    assert there.chain.validate(replayed, [final]) is Verdict.INVALID


def test_malformed_headers_are_refused(here: Ledger) -> None:
    block = here.build(request())
    for header, refs in (
        (b"", ()),
        (block.header[:-1], block.refs),
        (block.header + b"\0", block.refs),
        (block.header, ()),
        (block.header, block.refs * 2),
    ):
        with pytest.raises(InvalidHeader):
            here.chain.parse(header, refs)
    two = lie(here.build(request(label="2"), request(label="3")), here.chain)
    with pytest.raises(InvalidHeader):
        here.chain.parse(two.header, (two.refs[0], two.refs[0]))


def test_limits_of_the_genesis_bind_proposer_and_validator(tmp_path: Path) -> None:
    founding = genesis(block_events_max=2)
    events = [request(label=str(number)) for number in range(3)]
    with ledger(tmp_path / "a") as loose, ledger(tmp_path / "b", founding=founding) as tight:
        for event in events:
            tight.pool.hold(event)
        assert tight.chain.network != loose.chain.network
        block = loose.build(*events)
        fitting = lie(
            block,
            tight.chain,
            network=tight.chain.network,
            parent_hash=tight.log.tip.block_hash,
        )
        assert tight.chain.validate(fitting) is Verdict.INVALID


def test_a_commit_prunes_losers_and_keeps_what_builds_on_the_tip(here: Ledger) -> None:
    first, second, third = (request(label=str(number)) for number in range(3))
    loser = here.build(first)
    here.pool.remove([first.digest])
    lost_child = here.build(third, parent=loser)
    here.pool.remove([third.digest])
    winner = here.build(second)
    child = here.build(deliver(second), parent=winner)
    here.chain.commit([winner], {})
    assert [here.chain.holds(each.hash) for each in (loser, lost_child, child, winner)] == [
        False,
        False,
        True,
        True,
    ]
    # The child read through its parent's overlay; now it reads through the log.
    grandchild = here.build(request(label="x"), parent=child)
    here.chain.commit([child, grandchild], {})
    exchange = here.log.get(exchange_key(second.digest))
    assert exchange is not None
    assert b"delivered" in exchange
    assert here.chain._candidates == {}


def test_kept_candidates_do_not_read_through_pruned_ones(here: Ledger) -> None:
    parent = here.build(request())
    child = here.build(request(label="2"), parent=parent)
    here.chain.commit([parent], {})
    overlay = here.chain._candidates[child.hash].execution.overlay
    assert overlay.parent_value == here.log.get


def test_extra_meta_is_written_with_the_block(here: Ledger) -> None:
    here.chain.commit([here.build(request())], {b"name": b"value"})
    assert here.log.get_meta(b"name") == b"value"


def test_waiting_events_count_until_the_branch_holds_them(here: Ledger) -> None:
    tip = here.log.tip.block_hash
    assert not here.chain.has_pending(tip)
    block = here.build(request())
    assert here.chain.has_pending(tip)
    assert not here.chain.has_pending(block.hash)
    here.pool.add(request(label="2"))
    assert here.chain.has_pending(block.hash)


def test_more_events_are_expected_where_many_came_and_few_wait(
    here: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.chain.BUSY_EVENTS", 2)
    monkeypatch.setattr("node.chain.ENOUGH_EVENTS", 2)
    assert not here.chain.expects_more(here.log.tip.block_hash)
    lone = here.build(request(label="lone"))
    assert not here.chain.expects_more(lone.hash)
    here.chain.commit([lone], {})
    assert not here.chain.expects_more(lone.hash)
    busy = here.build(request(label="1"), request(label="2"))
    # Before it is final and after.
    assert here.chain.expects_more(busy.hash)
    here.chain.commit([busy], {})
    assert here.chain.expects_more(busy.hash)
    here.pool.add(request(label="3"))
    assert here.chain.expects_more(busy.hash)
    here.pool.add(request(label="4"))
    assert not here.chain.expects_more(busy.hash)


def test_an_event_refused_while_building_is_evicted_and_told_once(here: Ledger) -> None:
    """Poison: it was admitted, but no block may hold it. It must not stall the others."""
    expired = request(label="old", expires_height=0)
    good = request()
    block = here.build(expired, good)
    assert block.refs == (good.digest,)
    assert expired.digest not in here.pool
    assert here.chain.take_lost() == [(expired, "event-expired")]
    assert here.chain.take_lost() == []
    here.chain.commit([block], {})
    assert not here.chain.has_pending(here.log.tip.block_hash)


def test_the_rival_of_a_final_event_is_lost(here: Ledger, there: Ledger) -> None:
    first, rival = request(label="same", case="a"), request(label="same", case="b")
    block = here.build(first)
    there.pool.add(rival)
    assert there.chain.validate(block, [first]) is Verdict.VALID
    there.chain.commit([block], {})
    assert there.chain.take_lost() == [(rival, "nonce-reused")]


def test_the_largest_event_fits_into_a_record(here: Ledger) -> None:
    """Else one admitted event would stop every node."""
    low, high = 1, 1_000
    while low < high:
        middle = (low + high + 1) // 2
        size = len(request(subject_count=middle).data)
        low, high = (middle, high) if size <= EVENT_SIZE_BYTES_MAX else (low, middle - 1)
    event = request(subject_count=low, case="c" * 60)
    parse_event(event.data)
    final = here.finalize(event)
    assert final.records[0].event == event


def test_a_synced_block_must_fit_exactly(here: Ledger, there: Ledger) -> None:
    event, other = request(), request(label="2")
    block = here.build(event)
    for header, events in (
        (block.header, (other,)),
        (block.header, (event, other)),
        (block.header, ()),
        (lie(block, here.chain, state_digest=bytes(32)).header, (event,)),
        (lie(block, here.chain, parent_hash=bytes(32)).header, (event,)),
        (b"garbage", (event,)),
    ):
        with pytest.raises(InvalidHeader):
            there.chain.append_synced(header, events)
    assert there.chain._candidates == {}
    candidate = there.chain.append_synced(block.header, (event,))
    assert candidate.block.hash == hash_header(block.header)
    there.chain.drop([candidate.block.hash])
    assert not there.chain.holds(candidate.block.hash)
    assert there.log.tip.height == 0


def test_the_log_opens_again_where_it_ended(tmp_path: Path) -> None:
    event = request()
    with ledger(tmp_path / "a") as made:
        made.finalize(event)
        tip = made.log.tip
    with ledger(tmp_path / "a") as again:
        assert isinstance(again.log, Log)
        assert again.log.tip == tip
        assert again.chain.block(tip.block_hash) is not None
        again.finalize(deliver(event))
        assert again.log.tip.height == 2
    assert LIMITS.events_max > 0


# Epochs.

NEW = "de-tax"
FIVE = sorted([*VALIDATORS, NEW])


def enact(of: Ledger, **changed: object) -> None:
    """Final blocks after which the addition of a fifth validator is pending."""
    of.finalize(*carried(add_validator(NEW), **{"activate_height": 1, **changed}))


def seal_block(of: Ledger) -> Block:
    """A seal block on the tip: four of the five are ready."""
    return of.build(*(ready(member, FIVE) for member in FIVE[:4]))


def child(of: Ledger, parent: Block, *, epoch: int, view: int, parent_view: int) -> Block | None:
    return of.chain.build(
        parent.hash, epoch=epoch, view=view, parent_view=parent_view, wall_ms=GENESIS.time_ms
    )


def follow(of: Ledger, *blocks: tuple[Block, tuple[Event, ...]]) -> None:
    """Another node's final blocks."""
    for block, events in blocks:
        assert of.chain.validate(of.chain.parse(block.header, block.refs), events) is Verdict.VALID
        of.chain.commit([block], {})


def test_a_seal_block_ends_the_epoch_and_its_child_opens_the_next(
    here: Ledger, there: Ledger
) -> None:
    enact(here)
    sealed = seal_block(here)
    header = HEADERS.decode(sealed.header)
    following = here.chain.validators_after(sealed.hash)
    assert sealed.is_seal
    assert [each.member for each in following] == FIVE
    assert header.next_validators == hash_validator_list(following)
    assert header.validators_hash == hash_consensus_keys(GENESIS.validators)
    assert [here.chain.epoch_after(each) for each in (here.log.tip.block_hash, sealed.hash)] == [
        0,
        1,
    ]
    # Neither epoch 0 nor a view that goes on: only epoch 1, from parent view 0.
    assert child(here, sealed, epoch=0, view=sealed.view + 1, parent_view=sealed.view) is None
    opened = child(here, sealed, epoch=1, view=3, parent_view=0)
    assert opened is not None
    assert not opened.is_seal
    assert (opened.epoch, opened.view, opened.parent_view, opened.height) == (1, 3, 0, 3)
    assert HEADERS.decode(opened.header).validators_hash == hash_consensus_keys(following)
    ordinary = here.log.read_entry(0)
    assert not here.chain.parse(ordinary, (bytes(32), b"1" * 32, b"2" * 32)).is_seal
    events = carried(add_validator(NEW), activate_height=1)
    first = there.chain.parse(ordinary, tuple(event.digest for event in events))
    readies = tuple(ready(member, FIVE) for member in FIVE[:4])
    follow(there, (first, events))
    for changed in ({"next_validators": b""}, {"next_validators": bytes(32)}):
        lying = lie(sealed, there.chain, **changed)
        assert there.chain.validate(lying, readies) is Verdict.INVALID
    # On a seal block that is not final yet, and on one that is.
    assert there.chain.validate(sealed, readies) is Verdict.VALID
    assert there.chain.validate(opened) is Verdict.VALID
    there.chain.drop([opened.hash])
    follow(there, (sealed, readies))
    for changed in (
        {"epoch": 0},
        {"parent_view": sealed.view, "view": sealed.view + 1},
        {"validators_hash": header.validators_hash},
        {"proposer": 5},
        {"next_validators": header.next_validators},
    ):
        assert there.chain.validate(lie(opened, there.chain, **changed)) is Verdict.INVALID, changed
    assert there.chain.validate(lie(opened, there.chain, proposer=4)) is Verdict.VALID
    assert there.chain.validate(opened) is Verdict.VALID
    here.chain.commit([sealed, opened], {})
    there.chain.commit([opened], {})
    assert here.log.tip == there.log.tip
    assert here.log.tip.epoch == 1


def test_a_seal_is_wanted_when_its_height_has_come(here: Ledger) -> None:
    enact(here, activate_height=4)
    tip = seal_block(here)
    assert not tip.is_seal
    here.chain.commit([tip], {})
    # Height 3: nothing waits. Height 4 seals without any event, so it is wanted.
    assert not here.chain.has_pending(tip.hash)
    empty = here.build(parent=tip)
    assert not empty.is_seal
    assert here.chain.has_pending(empty.hash)
    sealed = here.build(parent=empty)
    assert sealed.is_seal
    assert sealed.refs == ()
    assert not here.chain.has_pending(sealed.hash)


def test_a_sealed_log_opens_in_the_next_epoch(tmp_path: Path) -> None:
    with ledger(tmp_path / "a") as made:
        enact(made)
        sealed = seal_block(made)
        made.chain.commit([sealed], {})
    with ledger(tmp_path / "a", me=None) as again:
        tip = again.log.tip
        found = again.chain.block(tip.block_hash)
        assert found is not None
        assert found.is_seal
        assert (tip.epoch, again.chain.epoch_after(tip.block_hash)) == (0, 1)
        assert [each.member for each in again.chain.validators_after(tip.block_hash)] == FIVE
        assert child(again, found, epoch=1, view=1, parent_view=0) is None  # it does not vote
        again.chain.me = FIVE.index(NEW)
        opened = child(again, found, epoch=1, view=1, parent_view=0)
        assert opened is not None
        assert opened.proposer == FIVE.index(NEW)
        again.chain.commit([opened], {})


def test_blocks_that_are_not_here_have_no_epoch_to_tell(here: Ledger) -> None:
    with pytest.raises(KeyError):
        here.chain.epoch_after(bytes(32))
    with pytest.raises(KeyError):
        here.chain.validators_after(bytes(32))
    assert here.chain.validators_after(here.log.tip.block_hash) == GENESIS.validators


def test_records_of_a_proposal_are_listed_under_it(here: Ledger) -> None:
    events = carried(add_validator(NEW))
    here.finalize(*events[:2])
    here.finalize(request(), events[2])
    here.finalize(ready(FIVE[0], FIVE))
    assert here.log.exchange_indexes(events[0].digest) == [1, 2, 5]
    assert here.log.exchange_indexes(hash32("no such thing")) == []
    # The word of a node belongs to nothing: it has no row.
    assert len(list(here.log._store.scan(b"X", b"Y"))) == 4


def test_a_word_that_came_too_late_is_forgotten(here: Ledger) -> None:
    """The seal did not wait for it: kept, it was a reason for a block that nobody could make."""
    late = ready(FIVE[4], FIVE)
    enact(here)
    sealed = seal_block(here)
    here.pool.add(late)
    here.chain.commit([sealed], {})
    assert not here.chain.has_pending(here.log.tip.block_hash)
    assert late.digest in [event.digest for event, _ in here.chain.take_lost()]


# Limits that members vote on.


def set_limits(here: Ledger, there: Ledger, **limits: int) -> None:
    """Blocks 1 and 2 decide other limits, which are in force from block 3 on."""
    proposal, *ballots = carried(SetParameters(parameters=parameters(**limits)), activate_height=3)
    for events in ((proposal,), ballots):
        block = here.build(*events)
        # The genesis still rules the block that decides.
        assert len(block.refs) == len(events)
        assert there.chain.validate(block, events) is Verdict.VALID
        for each in (here, there):
            each.chain.commit([block], {})


def stuffed(block: Block, chain: Chain, events: tuple[Event, ...]) -> bytes:
    """The header of a block that claims to hold more events."""
    header = HEADERS.decode(block.header)
    return HEADERS.encode(msgspec.structs.replace(header, record_count=len(events)))


def test_a_vote_changes_how_many_events_a_block_may_hold(here: Ledger, there: Ledger) -> None:
    set_limits(here, there, block_events_max=1)
    events = tuple(request(label=str(number)) for number in range(3))
    block = here.build(*events)
    assert len(block.refs) == 1
    held = [event for event in events if event.digest in block.refs]
    assert there.chain.validate(block, held) is Verdict.VALID
    with pytest.raises(InvalidHeader, match="3 records are more than allowed"):
        there.chain.append_synced(stuffed(block, here.chain, events), events)
    for each in (here, there):
        each.chain.commit([block], {})
    assert here.log.tip == there.log.tip


def test_a_vote_changes_how_large_a_block_may_be(here: Ledger, there: Ledger) -> None:
    set_limits(here, there, block_bytes_max=65_536)
    events = tuple(request(label=str(number), subject_count=1_000) for number in range(3))
    block = here.build(*events)
    assert len(block.refs) == 1
    with pytest.raises(InvalidHeader, match="larger than allowed"):
        there.chain.append_synced(stuffed(block, here.chain, events), events)


def test_a_vote_can_allow_more_than_genesis(tmp_path: Path) -> None:
    founding = genesis(block_events_max=2)
    network = hash_genesis(founding)
    with ledger(tmp_path / "small", founding=founding) as small:
        proposal = propose(
            SetParameters(parameters=parameters()), activate_height=0, network=network
        )
        small.finalize(proposal)
        small.finalize(*(ballot(proposal, each, network=network) for each in VALIDATORS[1:3]))
        block = small.build(*(request(label=str(n), network=network) for n in range(5)))
        assert len(block.refs) == 5
        small.chain.commit([block], {})
