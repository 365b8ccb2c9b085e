"""The driver: peers that lie, frames that are garbage, tips that move while the core decides."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from nacl.bindings import crypto_sign, crypto_sign_seed_keypair

from ledger.blocks import HEADERS
from ledger.events import Event, parse_event
from ledger.tlog.note import SignedNote
from node.engine.driver import INPUTS_PER_PEER_MAX
from node.engine.proofs import Archive
from node.engine.ranges import build_range
from node.peers.links import Channel
from node.peers.wire import BlockData, FrameType, Range, RangeWanted, decode_content, encode_frame
from node.simplex.messages import encode_message, signed_vote
from node.simplex.types import Block, BlockRecord, Certificate, Kind, Received, Subject, Vote
from node.simplex.wal import Wal
from tests.builders import deliver, hash32, request
from tests.unit.node.simplex.builders import subject_of
from tests.unit.node.world import GENESIS, VALIDATORS, Bench, Ledger, bench, cosigned, ledger

PLACE = 2
PEER = VALIDATORS[PLACE]
FIRST, LAST = VALIDATORS[1], VALIDATORS[3]


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Ledger]:
    """A peer's ledger with twelve final blocks."""
    with ledger(tmp_path / "source", me=PLACE) as made:
        for number in range(12):
            made.finalize(request(label=str(number)))
        yield made


def drive(folder: Path, test: Callable[[Bench], Awaitable[None]]) -> None:
    async def run() -> None:
        with bench(folder / "mine") as made:
            await test(made)

    asyncio.run(run())


def tip_frame(height: int) -> bytes:
    return encode_frame(FrameType.TIP, height.to_bytes(8, "big"))


def foreign_candidates(mine: Bench) -> list[bytes]:
    """Candidates that others made; the own proposal of an empty block may stand beside them."""
    candidates = mine.ledger.chain._candidates.items()
    return [block_hash for block_hash, each in candidates if each.header.proposer != 0]


def asked_peers(mine: Bench) -> list[str | None]:
    return [to for to, _ in mine.wire.take(FrameType.RANGE_WANTED)]


def good_range(source: Ledger, from_height: int = 1) -> Range:
    cosigner = cosigned(source)
    archive = Archive(genesis=GENESIS, log=source.log, cosigner=cosigner)
    return build_range(source.log, cosigner, archive, from_height)


def change(value: Range, **changed: object) -> Range:
    return msgspec.structs.replace(value, **changed)


def few_cosignatures(answer: Range) -> Range:
    note = SignedNote.parse(answer.checkpoint)
    few = SignedNote(text=note.text, signatures=note.signatures[:3])
    return change(answer, checkpoint=few.format())


def altered_event(answer: Range) -> Range:
    other = request(label="other").data
    blocks = list(answer.blocks)
    blocks[5] = BlockData(header=blocks[5].header, events=(other,))
    return change(answer, blocks=tuple(blocks))


def altered_header(answer: Range) -> Range:
    blocks = list(answer.blocks)
    header = msgspec.structs.replace(HEADERS.decode(blocks[11].header), view=99)
    blocks[11] = BlockData(header=HEADERS.encode(header), events=blocks[11].events)
    return change(answer, blocks=tuple(blocks))


def broken_signature(answer: Range) -> Range:
    blocks = list(answer.blocks)
    data = blocks[0].events[0]
    broken = data[:-1] + bytes([data[-1] ^ 1])
    blocks[0] = BlockData(header=blocks[0].header, events=(broken,))
    return change(answer, blocks=tuple(blocks))


LIES: dict[str, Callable[[Range], Range]] = {
    "no checkpoint": lambda answer: change(answer, checkpoint=b""),
    "few cosignatures": few_cosignatures,
    "altered event": altered_event,
    "altered header": altered_header,
    "broken signature": broken_signature,
    "wrong proof": lambda answer: change(answer, consistency=(bytes(32),)),
    "cut without proof": lambda answer: change(answer, blocks=answer.blocks[:5]),
    "left out block": lambda answer: change(answer, blocks=answer.blocks[1:]),
}


def test_a_lagging_node_gets_final_blocks_from_a_peer(tmp_path: Path, source: Ledger) -> None:
    async def test(mine: Bench) -> None:
        mine.driver.on_frame(PEER, tip_frame(12))
        await mine.rounds()
        assert asked_peers(mine) == [PEER]
        mine.driver.on_frame(PEER, encode_frame(FrameType.RANGE, good_range(source)))
        await mine.rounds(2)
        assert mine.ledger.log.tip == source.log.tip
        assert [block.header.height for block in mine.finals] == list(range(1, 13))
        assert mine.driver.cosigner.checkpoint_size == source.log.tree_size
        assert mine.driver.core.final_view == source.log.tip.view
        assert mine.ledger.chain._candidates == {}

    drive(tmp_path, test)


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_a_lying_peer_is_refused_and_another_is_asked(
    tmp_path: Path, source: Ledger, lie: Callable[[Range], Range]
) -> None:
    async def test(mine: Bench) -> None:
        mine.driver.on_frame(PEER, tip_frame(1_000))
        mine.driver.on_frame(LAST, tip_frame(12))
        await mine.rounds()
        assert asked_peers(mine) == [PEER]
        mine.driver.on_frame(PEER, encode_frame(FrameType.RANGE, lie(good_range(source))))
        await mine.rounds(2)
        assert mine.ledger.log.tip.height == 0
        assert foreign_candidates(mine) == []
        assert (len(mine.ledger.pool), mine.finals) == (0, [])
        assert asked_peers(mine) == [LAST]
        mine.driver.on_frame(LAST, encode_frame(FrameType.RANGE, good_range(source)))
        await mine.rounds(2)
        assert mine.ledger.log.tip == source.log.tip

    drive(tmp_path, test)


def test_a_peer_that_claims_much_and_gives_nothing_is_passed_over(
    tmp_path: Path, source: Ledger
) -> None:
    async def test(mine: Bench) -> None:
        far = 2**62
        empty = Range(from_height=1, final_height=far, blocks=(), checkpoint=b"", consistency=())
        mine.driver.on_frame(PEER, tip_frame(far))
        mine.driver.on_frame(LAST, tip_frame(12))
        await mine.rounds()
        mine.driver.on_frame(PEER, encode_frame(FrameType.RANGE, empty))
        mine.driver.on_frame(PEER, tip_frame(far))
        await mine.rounds(2)
        assert asked_peers(mine) == [PEER, LAST]

    drive(tmp_path, test)


def test_a_range_nobody_asked_for_is_not_even_executed(tmp_path: Path, source: Ledger) -> None:
    async def test(mine: Bench) -> None:
        frame = encode_frame(FrameType.RANGE, good_range(source))
        mine.driver.on_frame(PEER, frame)
        await mine.rounds(2)
        assert mine.ledger.log.tip.height == 0
        mine.driver.on_frame(LAST, tip_frame(12))
        await mine.rounds()
        assert asked_peers(mine) == [LAST]
        mine.driver.on_frame(PEER, frame)
        await mine.rounds(2)
        assert mine.ledger.log.tip.height == 0

    drive(tmp_path, test)


def test_a_bad_range_does_not_drop_a_block_that_was_held_before(
    tmp_path: Path, source: Ledger
) -> None:
    """The core may have voted for it, and must find it when it becomes final."""

    async def test(mine: Bench) -> None:
        answer = good_range(source)
        events = [parse_event(data) for data in answer.blocks[0].events]
        block = mine.ledger.chain.append_synced(answer.blocks[0].header, tuple(events)).block
        mine.driver.on_frame(PEER, tip_frame(12))
        await mine.rounds()
        mine.driver.on_frame(PEER, encode_frame(FrameType.RANGE, few_cosignatures(answer)))
        await mine.rounds(2)
        assert foreign_candidates(mine) == [block.hash]

    drive(tmp_path, test)


# --- single blocks -------------------------------------------------------------------------------


def block_data(block: Block, *events: Event) -> bytes:
    data = BlockData(header=block.header, events=tuple(event.data for event in events))
    return encode_frame(FrameType.BLOCK, data)


def certify(block: Block, mine: Bench, kind: Kind = Kind.FINALIZE) -> Certificate:
    subject = subject_of(kind, block, epoch=0)
    votes = [sign(subject, signer, mine) for signer in (1, 2, 3)]
    return Certificate(
        subject=subject,
        committee=4,
        signers=(1, 2, 3),
        signatures=tuple(vote.signature for vote in votes),
    )


def sign(subject: Subject, signer: int, mine: Bench) -> Vote:
    _, secret = crypto_sign_seed_keypair(hash32(f"{VALIDATORS[signer]}/consensus"))
    message = signed_vote(mine.ledger.chain.network, subject)
    return Vote(subject=subject, signer=signer, signature=crypto_sign(message, secret)[:64])


def test_a_block_nobody_asked_for_leaves_no_trace(tmp_path: Path) -> None:
    async def test(mine: Bench) -> None:
        with ledger(tmp_path / "other", me=PLACE) as other:
            event = request()
            block = other.build(event)
        mine.driver.on_frame(PEER, block_data(block, event))
        await mine.rounds(2)
        assert not mine.ledger.chain.holds(block.hash)
        assert len(mine.ledger.pool) == 0

    drive(tmp_path, test)


def test_a_final_block_is_fetched_and_committed(tmp_path: Path) -> None:
    async def test(mine: Bench) -> None:
        with ledger(tmp_path / "other", me=PLACE) as other:
            event = request()
            block = other.build(event)
        mine.driver.put(Received(sender=PLACE, message=encode_message(certify(block, mine))))
        await mine.rounds()
        wanted = mine.wire.take(FrameType.BLOCK_WANTED)
        assert [content for _, content in wanted] == [block.hash] * 2
        first, second = (to for to, _ in wanted)
        assert first is not None
        assert second is not None
        # Other events under the right header: refused, and none of them stays.
        junk = request(label="junk")
        mine.driver.on_frame(first, block_data(block, junk))
        await mine.rounds(2)
        assert (mine.ledger.log.tip.height, len(mine.ledger.pool)) == (0, 0)
        # That peer had its chance; the other one still has its own.
        mine.driver.on_frame(first, block_data(block, event))
        await mine.rounds(2)
        assert mine.ledger.log.tip.height == 0
        mine.driver.on_frame(second, block_data(block, event))
        await mine.rounds(3)
        assert mine.ledger.log.tip.block_hash == block.hash
        assert len(mine.ledger.pool) == 0

    drive(tmp_path, test)


def test_who_was_asked_first_may_answer_after_others_were_asked_too(tmp_path: Path) -> None:
    """The pause between attempts is shorter than a block takes on a slow link."""

    async def test(mine: Bench) -> None:
        with ledger(tmp_path / "other", me=PLACE) as other:
            event = request()
            block = other.build(event)
        mine.driver.put(Received(sender=PLACE, message=encode_message(certify(block, mine))))
        await mine.rounds()
        slow = mine.wire.take(FrameType.BLOCK_WANTED)[0][0]
        assert slow is not None
        other = next(peer for peer in mine.driver.peers if peer != slow)
        mine.driver.sync.fetch(block.hash, [other])
        await mine.rounds()
        assert [to for to, _ in mine.wire.take(FrameType.BLOCK_WANTED)] == [other]
        mine.driver.on_frame(slow, block_data(block, event))
        await mine.rounds(3)
        assert mine.ledger.log.tip.block_hash == block.hash

    drive(tmp_path, test)


def test_children_wait_for_their_parents(tmp_path: Path) -> None:
    async def test(mine: Bench) -> None:
        with ledger(tmp_path / "other", me=PLACE) as other:
            asked = request()
            parent = other.build(asked)
            delivered = deliver(asked)
            child = other.build(delivered, parent=parent)
        mine.driver.put(Received(sender=PLACE, message=encode_message(certify(child, mine))))
        await mine.rounds()
        mine.driver.on_frame(FIRST, block_data(child, delivered))
        await mine.rounds(3)
        assert mine.ledger.log.tip.height == 0
        assert (FIRST, parent.hash) in mine.wire.take(FrameType.BLOCK_WANTED)
        mine.driver.on_frame(FIRST, block_data(parent, asked))
        await mine.rounds(3)
        assert mine.ledger.log.tip.block_hash == child.hash

    drive(tmp_path, test)


@pytest.mark.parametrize("is_range_first", [False, True])
def test_a_range_and_a_certificate_of_the_same_block_in_one_round(
    tmp_path: Path, source: Ledger, is_range_first: bool
) -> None:
    async def test(mine: Bench) -> None:
        answer = good_range(source)
        events = [tuple(map(parse_event, block.events)) for block in answer.blocks]
        block = mine.ledger.chain.append_synced(answer.blocks[0].header, events[0]).block
        received = Received(sender=PLACE, message=encode_message(certify(block, mine)))
        items = [received, lambda: mine.driver.sync._apply_range(PEER, answer, events)]
        for item in reversed(items) if is_range_first else items:
            mine.driver.put(item)
        await mine.rounds(2)
        assert mine.ledger.log.tip.height == (12 if is_range_first else 1)
        heights = [each.header.height for each in mine.finals]
        assert heights == list(range(1, mine.ledger.log.tip.height + 1))

    drive(tmp_path, test)


@pytest.mark.parametrize("is_first_a_timer", [False, True])
def test_the_core_hears_of_a_synced_tip_before_anything_else(
    tmp_path: Path, is_first_a_timer: bool
) -> None:
    """Else a certificate of that very tip would have it committed a second time.

    Or a timer, if the core waits for that block: it finds it, and hands it over once more.
    """

    async def test(mine: Bench) -> None:
        with ledger(tmp_path / "other", me=PLACE) as other:
            event = request()
            block = other.build(event)
            other.chain.commit([block], {})
            answer = good_range(other)
        received = Received(sender=PLACE, message=encode_message(certify(block, mine)))
        items = [lambda: mine.driver.sync._apply_range(PEER, answer, [(event,)]), received]
        for item in reversed(items) if is_first_a_timer else items:
            mine.driver.put(item)
            if is_first_a_timer:
                await mine.rounds()
                mine.clock.mono_ms += 1_000
        await mine.rounds(2)
        assert [each.header.height for each in mine.finals] == [1]

    drive(tmp_path, test)


def test_blocks_asked_for_are_answered_and_unknown_ones_with_the_tip(tmp_path: Path) -> None:
    async def test(mine: Bench) -> None:
        event = request()
        block = mine.ledger.build(event)
        mine.driver.on_frame(FIRST, encode_frame(FrameType.BLOCK_WANTED, block.hash))
        ((to, content),) = mine.wire.take(FrameType.BLOCK)
        assert to == FIRST
        assert decode_content(content, BlockData).events == (event.data,)
        mine.driver.on_frame(FIRST, encode_frame(FrameType.BLOCK_WANTED, hash32("x")))
        assert mine.wire.take(FrameType.TIP) == [(FIRST, bytes(8))]
        mine.driver.on_frame(LAST, encode_frame(FrameType.RANGE_WANTED, RangeWanted(from_height=1)))
        await mine.rounds()
        ((to, content),) = mine.wire.take(FrameType.RANGE)
        assert (to, decode_content(content, Range).final_height) == (LAST, 0)

    drive(tmp_path, test)


# --- frames and restart --------------------------------------------------------------------------


def test_malformed_frames_change_nothing(tmp_path: Path, source: Ledger) -> None:
    async def test(mine: Bench) -> None:
        chance = random.Random(3)
        block = source.build(request(label="n"))
        samples = [
            encode_frame(FrameType.RANGE, good_range(source)),
            block_data(block, request(label="n")),
            encode_frame(FrameType.CONSENSUS, encode_message(certify(block, mine))),
            encode_frame(FrameType.COSIGNATURE, bytes(16) + b"\xe2\x80\x94 name AAAA\n"),
            tip_frame(3),
            encode_frame(FrameType.RANGE_WANTED, RangeWanted(from_height=1)),
        ]
        mine.driver.on_frame(FIRST, b"")
        for number in range(256):
            mine.driver.on_frame(FIRST, bytes([number]))
            mine.driver.on_frame(FIRST, bytes([number]) + b"\xff" * 40)
        for _ in range(600):
            frame = bytearray(chance.choice(samples))
            for _ in range(chance.randrange(1, 4)):
                frame[chance.randrange(1, len(frame))] = chance.randrange(256)
            mine.driver.on_frame(FIRST, bytes(frame[: chance.randrange(1, len(frame) + 1)]))
        for _ in range(30):
            await mine.rounds()
        assert mine.ledger.log.tip.height == 0
        assert (foreign_candidates(mine), len(mine.ledger.pool)) == ([], 0)
        assert mine.driver.evidence_count == 0
        # And it still works.
        mine.driver.on_frame(PEER, tip_frame(12))
        mine.driver.sync.catchup.heights.pop(FIRST, None)
        mine.driver.sync.catchup.asked = None
        await mine.rounds()
        assert PEER in asked_peers(mine)

    drive(tmp_path, test)


def test_votes_leave_on_the_consensus_channel_and_data_on_the_other(tmp_path: Path) -> None:
    async def test(mine: Bench) -> None:
        mine.driver.on_connected(FIRST)
        await mine.rounds()
        mine.driver.put(lambda: mine.driver.sync.fetch(hash32("b")))
        await mine.rounds(2)
        channels = {frame[0]: channel for _, channel, frame in mine.wire.sent}
        assert channels[FrameType.CONSENSUS] is Channel.CONSENSUS
        assert channels[FrameType.TIP] is Channel.CONSENSUS
        assert channels[FrameType.BLOCK_WANTED] is Channel.BULK

    drive(tmp_path, test)


def test_blocks_of_the_write_ahead_log_are_held_again_after_a_restart(tmp_path: Path) -> None:
    event = request()
    with ledger(tmp_path / "other", me=PLACE) as other:
        block = other.build(event)
    wal, _ = Wal.open(tmp_path / "mine" / "wal")
    wal.append(
        [BlockRecord(hash=block.hash, header=block.header, refs=block.refs, events=(event.data,))]
    )
    wal.sync()
    wal.close()

    async def test(mine: Bench) -> None:
        assert mine.ledger.chain.holds(block.hash)
        assert event.digest in mine.ledger.pool

    drive(tmp_path, test)


def test_an_error_in_a_helper_stops_the_driver(tmp_path: Path) -> None:
    async def test(mine: Bench) -> None:
        async def die() -> None:
            raise OSError("no space left")

        mine.driver.spawn(die())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        with pytest.raises(OSError, match="no space left"):
            await mine.driver._round()

    drive(tmp_path, test)


def test_a_flood_of_consensus_messages_is_bounded_and_counted(tmp_path: Path) -> None:
    async def test(mine: Bench) -> None:
        frame = encode_frame(FrameType.CONSENSUS, b"\x00")
        for _ in range(INPUTS_PER_PEER_MAX + 5):
            mine.driver.on_frame(PEER, frame)
        assert mine.driver.dropped_messages == 5
        mine.driver.on_frame(FIRST, frame)
        assert mine.driver.dropped_messages == 5, "a flood of one peer leaves room for others"
        await mine.driver._round()
        mine.driver.on_frame(PEER, frame)
        assert mine.driver.dropped_messages == 5, "what was taken makes room again"

    drive(tmp_path, test)
