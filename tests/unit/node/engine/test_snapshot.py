"""Catching up by snapshot: real engines on a network of function calls, one of which may lie."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from ledger.blocks import HEADERS
from ledger.events import Event
from ledger.tlog.note import SignedNote
from ledger.tlog.tiles import tile_paths
from node.peers.wire import (
    Entries,
    FrameType,
    Pairs,
    SnapshotOffer,
    decode_content,
    encode_frame,
)
from tests.builders import VALIDATORS, add_validator, carried, request
from tests.unit.node.engine.network import Network, Site, VirtualLoop, play

AWAY = VALIDATORS[0]
LIAR = VALIDATORS[1]
PARTS = (FrameType.SNAPSHOT, FrameType.PAIRS, FrameType.ENTRIES)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes at which some dozen entries make many windows and parts."""
    monkeypatch.setattr("node.engine.snapshot.GAP_ENTRIES_MIN", 30)
    monkeypatch.setattr("node.engine.snapshot.WINDOW_ENTRIES_MAX", 8)
    monkeypatch.setattr("node.engine.snapshot.AHEAD_ENTRIES", 32)
    monkeypatch.setattr("node.engine.snapshot.BATCH_ENTRIES", 16)
    monkeypatch.setattr("node.engine.ranges.PART_BYTES_MAX", 3_000)


def events(count: int, label: str) -> list[Event]:
    return [request(label=f"{label} {number}") for number in range(count)]


async def leave(network: Network) -> None:
    """One node goes away, and the others order events."""
    await network.record(request(label="before"))
    network.sites[AWAY].crash()
    for turn in range(0, 60, 5):
        await network.record(*events(5, f"missed {turn}"))


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of four nodes after one of them was away; made once."""
    folder = tmp_path_factory.mktemp("left")
    play(folder, VALIDATORS, leave)
    return folder


def resume(left: Path, folder: Path, test: Callable[[Network], Awaitable[None]]) -> None:
    """Run a test on copies of these folders; one node is still away."""
    shutil.copytree(left, folder, dirs_exist_ok=True)

    async def run() -> None:
        network = Network(folder, VALIDATORS)
        try:
            for name in VALIDATORS:
                if name != AWAY:
                    network.sites[name].start()
            others = network.running
            await network.until(
                lambda: all(
                    each.engine.cosigner.checkpoint_size == each.engine.chain.log.tree_size
                    for each in others
                )
            )
            await test(network)
        finally:
            network.close()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(run())


async def come_back(network: Network) -> Site:
    site = network.sites[AWAY]
    site.start()
    other = network.sites[VALIDATORS[2]]
    await network.until(
        lambda: site.height == other.height and not site.engine.sync.snapshot.progress
    )
    return site


def check_is_whole(site: Site, other: Site) -> None:
    """Whatever can be read of one node reads the same at the other."""
    log, twin = site.engine.chain.log, other.engine.chain.log
    assert log.tip == twin.tip
    entries = twin.read_entries(0, 100_000)
    assert log.read_entries(0, 100_000) == entries
    for path in tile_paths(twin.tree_size):
        assert log.tile(path.format()) == twin.tile(path.format())
    for height in range(1, twin.tip.height + 1):
        assert log.read_block(height) == twin.read_block(height)
    assert log.scan_state(b"", b"", 100_000) == twin.scan_state(b"", b"", 100_000)
    for number in range(60):
        digest = request(label=f"missed {number // 5 * 5} {number % 5}").digest
        assert log.index_of_event(digest) == twin.index_of_event(digest)
        assert log.exchange_indexes(digest) == twin.exchange_indexes(digest)
    assert log.clean(1) is False


async def check_votes(network: Network) -> None:
    """With another node gone, nothing becomes final without the vote of the one that was away."""
    network.sites[VALIDATORS[3]].crash()
    await network.record(request(label="with its vote"))


def test_a_node_that_was_away_is_level_without_executing(left: Path, tmp_path: Path) -> None:
    async def test(network: Network) -> None:
        site = await come_back(network)
        assert site.engine.sync.snapshot.done == 1
        # Nothing was executed: no block was told to those who follow.
        assert len(site.finals) < network.sites[VALIDATORS[2]].height - 1
        check_is_whole(site, network.sites[VALIDATORS[2]])
        await check_votes(network)

    resume(left, tmp_path, test)


def test_a_small_gap_is_executed(
    left: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.engine.snapshot.GAP_ENTRIES_MIN", 200)

    async def test(network: Network) -> None:
        site = await come_back(network)
        assert site.engine.sync.snapshot.done == 0
        check_is_whole(site, network.sites[VALIDATORS[2]])

    resume(left, tmp_path, test)


def test_a_restart_finds_all_that_was_jumped_over(left: Path, tmp_path: Path) -> None:
    async def test(network: Network) -> None:
        site = await come_back(network)
        site.crash()
        site.start()
        check_is_whole(site, network.sites[VALIDATORS[2]])
        await check_votes(network)

    resume(left, tmp_path, test)


def test_pending_events_are_settled(tmp_path: Path) -> None:
    async def test(network: Network) -> None:
        recorded, lost, waiting = (request(label=name) for name in ("one", "two", "three"))
        rival = request(label="two", case="another body, the same nonce")
        assert (rival.nonce, rival.member) == (lost.nonce, lost.member)
        network.cut.append(AWAY)
        site = network.sites[AWAY]
        site.add(recorded)
        site.add(lost)
        others = [name for name in VALIDATORS if name != AWAY]
        await network.record(recorded, rival, at=others)
        for turn in range(0, 60, 5):
            await network.record(*events(5, f"missed {turn}"), at=others)
        site.add(waiting)
        network.connect(AWAY)
        await network.until(lambda: site.engine.sync.snapshot.done == 1)
        pool = site.engine.chain.pool
        assert recorded.digest not in pool
        assert lost.digest not in pool
        assert [code for event, code in site.engine.chain.take_lost() if event == lost] == [
            "nonce-reused"
        ]
        told = [record.event.digest for block in site.finals for record in block.records]
        assert recorded.digest in told
        await network.record(waiting)
        assert {name: network.sites[name].height for name in VALIDATORS} == dict.fromkeys(
            VALIDATORS, site.height
        )

    play(tmp_path, VALIDATORS, test)


def test_a_node_that_was_away_for_an_epoch_verifies_the_way_to_it(tmp_path: Path) -> None:
    new = "de-tax"

    async def test(network: Network) -> None:
        await network.record(request(label="before"))
        network.sites[AWAY].crash()
        for event in carried(add_validator(new), activate_height=1):
            await network.record(event)
        network.add_site(new).start()
        await network.until(
            lambda: all(each.engine.epochs.current.number == 1 for each in network.running)
        )
        await network.until(
            lambda: all(each.engine.archive.proof(0) is not None for each in network.running)
        )
        for turn in range(0, 60, 5):
            await network.record(*events(5, f"missed {turn}"))
        site = await come_back(network)
        assert site.engine.sync.snapshot.done == 1
        assert site.engine.epochs.current.number == 1
        assert site.engine.archive.proof(0) is not None
        check_is_whole(site, network.sites[VALIDATORS[2]])
        await network.record(request(label="after"))

    play(tmp_path, VALIDATORS, test)


def test_progress_is_told_while_there_is_any(left: Path, tmp_path: Path) -> None:
    async def test(network: Network) -> None:
        site, told = network.sites[AWAY], []

        def look(sender: str, to: str, frame: bytes) -> bool:
            progress = site.engine.sync.progress if to == AWAY else None
            if progress is not None and progress not in told:
                told.append(progress)
            return False

        network.dropped = look
        await come_back(network)
        size = site.engine.chain.log.tree_size
        assert {(each.first, each.total) for each in told} == {(told[0].first, size)}
        done = [each.done for each in told]
        assert done == sorted(done)
        assert len(set(done)) > 2
        assert told[-1].entries_per_s(told[-1].started_ms + 1_000) == done[-1] - told[-1].first
        assert site.engine.sync.progress is None

    resume(left, tmp_path, test)


# --- liars ---------------------------------------------------------------------------------------

Lie = Callable[[object], object]


def change(value: object, **changed: object) -> object:
    return msgspec.structs.replace(value, **changed)


def other_header(offer: SnapshotOffer) -> object:
    header = msgspec.structs.replace(HEADERS.decode(offer.header), state_digest=bytes(32))
    return change(offer, header=HEADERS.encode(header))


def few_cosignatures(offer: SnapshotOffer) -> object:
    note = SignedNote.parse(offer.checkpoint)
    few = SignedNote(text=note.text, signatures=note.signatures[:3])
    return change(offer, checkpoint=few.format())


def altered_pair(part: Pairs) -> object:
    (key, value), *rest = part.pairs
    return change(part, pairs=((key, value + b"\0"), *rest))


LIES: dict[str, tuple[FrameType, type, Lie]] = {
    "another header": (FrameType.SNAPSHOT, SnapshotOffer, other_header),
    "few cosignatures": (FrameType.SNAPSHOT, SnapshotOffer, few_cosignatures),
    "no proof": (FrameType.SNAPSHOT, SnapshotOffer, lambda offer: change(offer, proof=())),
    "altered pair": (FrameType.PAIRS, Pairs, altered_pair),
    "missing pair": (FrameType.PAIRS, Pairs, lambda part: change(part, pairs=part.pairs[1:])),
    "extra pair": (
        FrameType.PAIRS,
        Pairs,
        lambda part: change(part, pairs=(*part.pairs, (part.pairs[-1][0] + b"!", b""))),
    ),
    "pair twice": (
        FrameType.PAIRS,
        Pairs,
        lambda part: change(part, pairs=(*part.pairs, part.pairs[-1])),
    ),
    "cut short": (FrameType.PAIRS, Pairs, lambda part: change(part, is_last=True)),
    "wrong entry": (
        FrameType.ENTRIES,
        Entries,
        lambda part: change(part, entries=(b"other", *part.entries[1:])),
    ),
    "missing entry": (
        FrameType.ENTRIES,
        Entries,
        lambda part: change(part, entries=part.entries[1:]),
    ),
    "wrong proof": (FrameType.ENTRIES, Entries, lambda part: change(part, proof=(bytes(32),))),
}


def make_liar(network: Network, frame_type: FrameType, type_: type, lie: Lie) -> list[object]:
    """One peer's frames of a type are changed on their way; what was said instead."""
    said: list[object] = []

    def alter(sender: str, to: str, frame: bytes) -> bool:
        if (sender, to, frame[0]) != (LIAR, AWAY, frame_type):
            return False
        value = decode_content(frame[1:], type_)
        if value in said:
            return False
        said.append(lie(value))
        network.sites[to].engine.on_frame(sender, encode_frame(frame_type, said[-1]))
        return True

    network.dropped = alter
    return said


@pytest.mark.parametrize("name", LIES)
def test_a_liar_is_found_out_and_another_peer_is_asked(
    left: Path, tmp_path: Path, name: str
) -> None:
    async def test(network: Network) -> None:
        said = make_liar(network, *LIES[name])
        site = await come_back(network)
        assert said, "the liar was never asked"
        assert LIAR in site.engine.sync.catchup.distrusted
        assert site.engine.sync.snapshot.done == 1
        check_is_whole(site, network.sites[VALIDATORS[2]])

    resume(left, tmp_path, test)


def test_endless_pairs_end(left: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that has always one more pair is cut off at what a state can have."""
    monkeypatch.setattr("node.engine.snapshot.STATE_BYTES_BASE", 100_000)

    async def test(network: Network) -> None:
        given = 0

        def alter(sender: str, to: str, frame: bytes) -> bool:
            nonlocal given
            if (sender, to, frame[0]) != (LIAR, AWAY, FrameType.PAIRS):
                return False
            part = decode_content(frame[1:], Pairs)
            given += 1
            pairs = ((b"zz" + given.to_bytes(4, "big"), bytes(20_000)),)
            more = change(part, pairs=pairs, is_last=False)
            network.sites[to].engine.on_frame(sender, encode_frame(FrameType.PAIRS, more))
            return True

        network.dropped = alter
        site = await come_back(network)
        assert 5 < given < 100
        assert LIAR in site.engine.sync.catchup.distrusted
        assert site.engine.sync.snapshot.done == 1

    resume(left, tmp_path, test)


@pytest.mark.parametrize("frame_type", PARTS, ids=lambda each: each.name)
def test_a_silent_peer_is_left_out(left: Path, tmp_path: Path, frame_type: FrameType) -> None:
    async def test(network: Network) -> None:
        network.dropped = lambda sender, to, frame: (sender, frame[0]) == (LIAR, frame_type)
        site = await come_back(network)
        assert site.engine.sync.snapshot.done == 1
        assert LIAR not in site.engine.sync.catchup.distrusted

    resume(left, tmp_path, test)


def test_a_snapshot_that_is_gone_is_taken_from_another_peer(left: Path, tmp_path: Path) -> None:
    async def test(network: Network) -> None:
        count = 0

        def close(sender: str, to: str, frame: bytes) -> bool:
            nonlocal count
            if (sender, frame[0]) == (LIAR, FrameType.PAIRS):
                count += 1
                if count == 2:
                    network.sites[LIAR].engine.sync._answers._close(AWAY)
            return False

        network.dropped = close
        site = await come_back(network)
        assert count == 3
        assert site.engine.sync.snapshot.done == 1
        assert LIAR not in site.engine.sync.catchup.distrusted

    resume(left, tmp_path, test)


def test_where_nobody_gives_a_snapshot_blocks_are_executed(left: Path, tmp_path: Path) -> None:
    async def test(network: Network) -> None:
        network.dropped = lambda sender, to, frame: frame[0] in PARTS
        site = await come_back(network)
        assert site.engine.sync.snapshot.done == 0
        check_is_whole(site, network.sites[VALIDATORS[2]])

    resume(left, tmp_path, test)


@pytest.mark.parametrize("after", [0, 1, 2, 5, 9, 14, 20, 27])
def test_a_crash_in_the_middle_does_no_harm(left: Path, tmp_path: Path, after: int) -> None:
    """After so many parts of a snapshot the node dies; it comes back and is level."""

    async def test(network: Network) -> None:
        site = network.sites[AWAY]
        parts = 0

        def kill(sender: str, to: str, frame: bytes) -> bool:
            nonlocal parts
            if to == AWAY and frame[0] in PARTS:
                parts += 1
                if parts == after + 1:
                    site.crash()
            return parts == after + 1

        network.dropped = kill
        site.start()
        await network.until(lambda: site.driver is None or site.engine.sync.snapshot.done == 1)
        network.dropped = lambda sender, to, frame: False
        site.crash()
        await come_back(network)
        check_is_whole(site, network.sites[VALIDATORS[2]])
        await check_votes(network)

    resume(left, tmp_path, test)


def test_the_log_goes_on_while_a_node_catches_up(left: Path, tmp_path: Path) -> None:
    async def test(network: Network) -> None:
        site = network.sites[AWAY]
        site.start()
        others = [name for name in VALIDATORS if name != AWAY]
        for turn in range(20):
            await network.record(request(label=f"meanwhile {turn}"), at=others)
        await come_to(network, site)
        assert site.engine.sync.snapshot.done == 1
        check_is_whole(site, network.sites[VALIDATORS[2]])
        await check_votes(network)

    resume(left, tmp_path, test)


async def come_to(network: Network, site: Site) -> None:
    other = network.sites[VALIDATORS[2]]
    await network.until(lambda: site.height == other.height)
