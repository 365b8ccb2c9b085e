"""Single blocks between peers."""

from pathlib import Path

import pytest

from ledger.errors import CorruptStore, StoreFailed
from ledger.events import parse_event
from node.engine.fetch import GAP_AT_ONCE
from node.peers.wire import BlockData, FrameType, decode_content, encode_frame
from tests.builders import VALIDATORS, request
from tests.unit.node.engine.network import Network, play


def test_a_restarted_node_still_serves_its_final_blocks(tmp_path: Path) -> None:
    """Two of four have a final block and restart; the third cannot vote before it gets it.

    With one node dead no quorum can cosign the block, so no range has it: only its hash is asked.
    """

    async def script(network: Network) -> None:
        first, second = VALIDATORS[:2]
        await network.record(request())
        site = network.sites[first]
        block_hash = site.engine.chain.log.tip.block_hash
        site.crash()
        site.start()
        answers: list[bytes] = []

        def listen(sender: str, to: str, frame: bytes) -> bool:
            if (sender, to, frame[0]) == (first, second, FrameType.BLOCK):
                answers.append(frame)
            return False

        network.dropped = listen
        wanted = encode_frame(FrameType.BLOCK_WANTED, block_hash)
        network.deliver(second, first, wanted)
        await network.until(lambda: bool(answers), limit_s=2)
        data = decode_content(answers[0][1:], BlockData)
        assert data.events == (request().data,)

    play(tmp_path, VALIDATORS, script)


@pytest.mark.parametrize("error", [StoreFailed("disk full"), CorruptStore("a bad block")])
def test_a_disk_that_fails_under_a_frame_stops_the_node(tmp_path: Path, error: Exception) -> None:
    """It is not the peer's fault: nothing is logged as a bad frame and forgotten."""

    async def script(network: Network) -> None:
        first, second = VALIDATORS[:2]
        await network.record(request())
        site = network.sites[first]
        store = site.store
        assert store is not None

        def fail(key: bytes) -> bytes:
            raise error

        block_hash = site.engine.chain.log.tip.block_hash
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(store, "get", fail)
            network.deliver(second, first, encode_frame(FrameType.BLOCK_WANTED, block_hash))
        assert site.task is not None
        with pytest.raises(type(error)):
            await site.task
        site.task = None

    play(tmp_path, VALIDATORS, script)


def test_an_event_that_one_node_alone_knows_becomes_final(tmp_path: Path) -> None:
    """Who was asked told one other node only, and stopped: that one tells the rest."""

    async def script(network: Network) -> None:
        await network.record(request())
        alone = network.sites[VALIDATORS[3]]
        event = request(label="known to one")
        alone.add(event)
        await network.until(
            lambda: all(
                site.engine.chain.log.index_of_event(event.digest) is not None
                for site in network.running
            ),
            limit_s=6,
        )

    play(tmp_path, VALIDATORS, script)


def test_a_block_with_an_event_that_nobody_can_verify_does_not_use_up_its_view(
    tmp_path: Path,
) -> None:
    """Its leader gave the bytes that it refers to: there is nothing more to wait for."""

    async def script(network: Network) -> None:
        await network.record(request())
        leader = next(
            site for site in network.running if site.engine.core.leader == site.engine.epochs.me
        )
        good = request(label="good")
        other = request(label="forged")
        signature = bytes(len(other.signature) - 1)
        forged = parse_event(other.data.replace(other.signature, other.signature[:1] + signature))
        leader.engine.chain.pool.hold(forged)
        network.submit(good)
        log = next(site for site in network.running if site is not leader).engine.chain.log
        await network.until(lambda: log.index_of_event(good.digest) is not None, limit_s=0.6)

    play(tmp_path, VALIDATORS, script)


def test_final_blocks_asked_on_a_link_that_broke_are_asked_again_on_the_next(
    tmp_path: Path,
) -> None:
    """The answer was lost with the link: nothing is won by waiting for it."""

    async def script(network: Network) -> None:
        late, others = VALIDATORS[3], VALIDATORS[:3]
        network.cut.append(late)
        for number in range(GAP_AT_ONCE):
            await network.record(request(label=f"{number}"), at=others)
        asked: list[str] = []

        def lose(sender: str, to: str, frame: bytes) -> bool:
            if frame[0] == FrameType.RANGE_WANTED:
                asked.append(to)
            return frame[0] == FrameType.RANGE_WANTED

        network.dropped = lose
        network.connect(late)
        await network.until(lambda: bool(asked), limit_s=1)
        network.cut.append(late)
        network.dropped = lambda *_: False
        network.connect(late)
        height = network.sites[others[0]].height
        await network.until(lambda: network.sites[late].height >= height, limit_s=1)

    play(tmp_path, VALIDATORS, script)
