"""The snapshot of a node: taken from real parts, with a clock that the test moves."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ledger.events import Event
from node.diagnosis.facts import Facts, Standing
from node.diagnosis.gather import DISK_MS, Gatherer
from node.diagnosis.machine import find_expiry_ms
from node.diagnosis.rules import diagnose
from node.engine.ports import Threads
from node.peers.software import Software, own_software
from node.simplex.types import PendingChanged
from tests import builders
from tests.builders import VALIDATORS, request
from tests.unit.node.world import Bench, bench

ME, *OTHERS = VALIDATORS
JOINING = sorted(builders.MEMBERS)[4]
END_MS = 2_000_000_000_000


class Peers:
    """What the gatherer asks of the links: three peers that were heard just now."""

    members = tuple(OTHERS)

    def is_connected(self, peer: str) -> bool:
        return peer in OTHERS

    def silent_ms(self, peer: str) -> int:
        return 100 + OTHERS.index(peer)

    def address_of(self, peer: str) -> str:
        return f"{peer}:7000"

    def software_of(self, peer: str) -> Software | None:
        return own_software() if peer == OTHERS[0] else None

    def dropped_frames(self) -> int:
        return 3

    def last_drop_ms(self) -> int:
        return 500


class Watched:
    """A bench and its gatherer."""

    def __init__(self, mine: Bench, gatherer: Gatherer) -> None:
        self.mine, self.gatherer = mine, gatherer

    def facts(self) -> Facts:
        return asyncio.run(self.gatherer.facts())

    def codes(self) -> set[str]:
        return {finding.code for finding in diagnose(self.facts())}

    def finalize(self, *events: Event, after_ms: int = 0) -> None:
        """A final block, that long after what came before."""
        self.mine.clock.mono_ms += after_ms
        self.mine.ledger.finalize(*events)
        self.gatherer.note_final()


def with_node(folder: Path, test: Callable[[Watched], None]) -> None:
    with bench(folder) as mine, ThreadPoolExecutor(1) as workers:
        mine.ledger.pool._now_ms = lambda: mine.clock.mono_ms
        links: Any = Peers()
        gatherer = Gatherer(
            driver=mine.driver,
            links=links,
            clock=mine.clock,
            workers=Threads(workers),
            data_dir=folder,
            certificate_expires_ms=END_MS,
        )
        test(Watched(mine, gatherer))


def test_a_node_that_just_started(tmp_path: Path) -> None:
    def test(node: Watched) -> None:
        facts = node.facts()
        assert (facts.member, facts.standing, facts.height) == (ME, Standing.VALIDATOR, 0)
        assert facts.block_hash == node.mine.ledger.chain.network.hex()
        view = facts.view
        assert (view.epoch, view.view, view.quorum, view.final_view) == (0, 1, 3, 0)
        assert view.validators == tuple(VALIDATORS)
        assert [peer.member for peer in facts.peers] == OTHERS
        assert [peer.software for peer in facts.peers] == [own_software(), None, None]
        assert facts.disk.engine in ("leveldb", "lmdb")
        assert facts.disk.path == "[node] data_dir"
        assert 0 < facts.disk.votes_bytes < facts.disk.free_bytes
        assert (facts.frames.count, facts.frames.last_ms_ago) == (3, 500)
        assert facts.stalled_ms == facts.messages.count == 0

    with_node(tmp_path, test)


def test_how_long_something_waits_without_finality(tmp_path: Path) -> None:
    def test(node: Watched) -> None:
        node.mine.ledger.pool.add(request(label="waits"))
        node.mine.clock.mono_ms += 12_000
        facts = node.facts()
        assert (facts.stalled_ms, facts.pool.count, facts.pool.oldest_ms) == (12_000, 1, 12_000)
        assert "no-finality" in node.codes()
        # A block without it: the network goes on, though this event still waits.
        node.gatherer.note_final()
        node.mine.clock.mono_ms += 1_000
        facts = node.facts()
        assert (facts.stalled_ms, facts.pool.oldest_ms) == (1_000, 13_000)

    with_node(tmp_path, test)


def test_the_view_waits_for_the_leader_when_there_is_demand(tmp_path: Path) -> None:
    def test(node: Watched) -> None:
        async def demand() -> None:
            node.mine.ledger.pool.add(request(label="waits"))
            node.mine.driver.put(PendingChanged())
            await node.mine.rounds()

        asyncio.run(demand())
        view = node.facts().view
        assert view.awaited == "notarize"
        is_mine = view.leader == ME
        assert view.has_proposal is is_mine
        assert view.votes.get("notarize", ()) == ((ME,) if is_mine else ())

    with_node(tmp_path, test)


def test_the_rate_of_catching_up(tmp_path: Path) -> None:
    def test(node: Watched) -> None:
        assert node.facts().sync.blocks_per_minute == 0
        for number in range(11):
            node.finalize(request(label=f"{number}"), after_ms=1_000)
        node.mine.driver.sync.catchup.heights = {OTHERS[0]: 900, OTHERS[1]: 500, OTHERS[2]: 20}
        sync = node.facts().sync
        assert (sync.blocks_per_minute, sync.is_behind) == (60, True)
        # The highest claim may be a lie (f = 1): the second is believed.
        assert (sync.target_height, sync.best_height, sync.best_peer) == (500, 900, OTHERS[0])
        assert "catching-up" in node.codes()
        node.mine.clock.mono_ms += 61_000
        assert node.facts().sync.blocks_per_minute == 0
        assert "catch-up-stalled" in node.codes()

    with_node(tmp_path, test)


def test_since_when_there_is_no_checkpoint_and_who_did_not_cosign(tmp_path: Path) -> None:
    def test(node: Watched) -> None:
        node.finalize(request(label="a"))
        node.mine.driver._cosign_tip()
        node.gatherer.note_checkpoint()
        node.mine.clock.mono_ms += 31_000
        cosigning = node.facts().cosigning
        assert (cosigning.tree_size, cosigning.checkpoint_size) == (2, 0)
        assert (cosigning.behind_ms, cosigning.signers) == (31_000, (ME,))
        assert "cosigning-behind" in node.codes()
        node.mine.driver.cosigner.checkpoint_size = 2
        node.gatherer.note_checkpoint()
        node.mine.clock.mono_ms += 31_000
        assert node.facts().cosigning.behind_ms == 0
        assert "cosigning-behind" not in node.codes()

    with_node(tmp_path, test)


def test_evidence_seen_and_evidence_on_the_ledger(tmp_path: Path) -> None:
    def test(node: Watched) -> None:
        pair = [builders.vote(OTHERS[1], block) for block in "ab"]
        node.finalize(builders.accuse(pair[0], pair[1]))
        node.mine.driver.contradicting.add(OTHERS[0])
        assert node.facts().contradictions == (OTHERS[0], OTHERS[1])

    with_node(tmp_path, test)


def test_a_pending_change_and_what_it_makes_of_a_node(tmp_path: Path) -> None:
    def test(node: Watched) -> None:
        epochs = node.mine.driver.epochs
        change = (builders.add_validator(JOINING), builders.remove_validator(OTHERS[2]))
        node.finalize(*builders.carried(*change, activate_height=2))
        following = sorted([ME, *OTHERS[:2], JOINING])
        node.finalize(builders.ready(ME, following))
        facts = node.facts()
        assert facts.change is not None
        assert (facts.change.next_epoch, facts.change.quorum) == (1, 3)
        assert (facts.change.validators, facts.change.ready) == (tuple(following), (ME,))
        assert "change-waits-for-readiness" in node.codes()
        for member, standing in ((JOINING, Standing.JOINING), ("nobody", Standing.OBSERVER)):
            epochs.member, epochs.me = member, None
            assert node.facts().standing is standing
        node.finalize(*(builders.ready(member, following) for member in following[1:]))
        assert node.facts().change is None
        epochs.enter()
        assert epochs.current.number == 1
        for member, standing in ((OTHERS[2], Standing.REMOVED), ("nobody", Standing.OBSERVER)):
            epochs.member, epochs.me = member, None
            assert node.facts().standing is standing

    with_node(tmp_path, test)


def test_the_disk_is_looked_at_now_and_then(tmp_path: Path) -> None:
    def test(node: Watched) -> None:
        before = node.facts().disk
        (tmp_path / "wal" / "more").write_bytes(bytes(5_000))
        node.mine.driver.sync_took_ms = 9
        node.mine.clock.mono_ms += DISK_MS - 1
        assert node.facts().disk == replace(before, sync_ms=9)
        node.mine.clock.mono_ms += 1
        assert node.facts().disk.votes_bytes == before.votes_bytes + 5_000

    with_node(tmp_path, test)


@pytest.mark.parametrize("certificate", [b"", b"no certificate", bytes(100)])
def test_a_certificate_that_cannot_be_read_is_not_judged(
    tmp_path: Path, certificate: bytes
) -> None:
    def test(node: Watched) -> None:
        assert find_expiry_ms(certificate) is None
        assert all(peer.certificate_expires_ms is None for peer in node.facts().peers)

    with_node(tmp_path, test)
