"""Evidence and readiness: said once, said again if lost, and kept over a kill right after."""

import asyncio
from pathlib import Path
from typing import Any

from contracts.lookup import find_access_anchor, find_evidence
from ledger.access.anchors import NO_ANCHOR, AccessAnchor, AccessLogged
from ledger.quorum.governance import EvidenceEquivocation, ValidatorReady
from ledger.quorum.votes import Kind, Vote
from node.peers.wire import FrameType, encode_frame
from node.simplex.messages import encode_message
from tests.builders import VALIDATORS, add_validator, carried, hash32, request, vote
from tests.unit.node.engine.network import Network, Site, play

CHEAT = VALIDATORS[3]
NEW = "de-tax"
VIEW = 2


def votes_of(kind: Kind = Kind.NOTARIZE, view: int = VIEW) -> tuple[Vote, Vote]:
    """Two votes of the cheat for different blocks."""
    place: dict[str, Any] = {"kind": kind, "view": view, "height": 1, "parent_view": 0}
    return vote(CHEAT, "one", **place), vote(CHEAT, "other", **place)


def hear(site: Site, *votes: Vote) -> None:
    for each in votes:
        frame = encode_frame(FrameType.CONSENSUS, encode_message(each))
        site.engine.on_frame(CHEAT, frame)


def has_evidence(site: Site, view: int = VIEW) -> bool:
    return find_evidence(site.engine.chain.log, 0, view, CHEAT) is not None


def own_events(site: Site, kind: type) -> list[str]:
    """Members that have recorded an event of this kind."""
    return [
        record.event.member
        for block in site.finals
        for record in block.records
        if isinstance(record.event.body, kind)
    ]


def test_two_contradictory_votes_get_onto_the_ledger(tmp_path: Path) -> None:
    async def test(network: Network) -> None:
        hear(network.sites[VALIDATORS[0]], *votes_of())
        await network.until(lambda: all(has_evidence(site) for site in network.running))
        for site in network.running:
            assert own_events(site, EvidenceEquivocation) == [VALIDATORS[0]]

    play(tmp_path, VALIDATORS, test)


def test_what_all_have_seen_is_recorded_once(tmp_path: Path) -> None:
    async def test(network: Network) -> None:
        for member in VALIDATORS[:3]:
            hear(network.sites[member], *votes_of())
        await network.until(lambda: all(has_evidence(site) for site in network.running))
        await network.record(request(label="later"))
        for site in network.running:
            assert len(own_events(site, EvidenceEquivocation)) == 1
            assert len(site.engine.chain.pool) == 0

    play(tmp_path, VALIDATORS, test)


def test_one_pair_of_votes_a_validator_and_epoch_is_reported(tmp_path: Path) -> None:
    """A cheat cannot fill the ledger with evidence against itself."""

    async def test(network: Network) -> None:
        site = network.sites[VALIDATORS[0]]
        for view in (VIEW, VIEW + 1):
            hear(site, *votes_of(view=view))
        await network.until(lambda: has_evidence(site))
        await network.record(request(label="later"))
        assert site.engine.evidence_count == 2
        assert len(own_events(site, EvidenceEquivocation)) == 1

    play(tmp_path, VALIDATORS, test)


def test_evidence_outlives_a_kill_right_after_it_was_found(tmp_path: Path) -> None:
    """Nobody else has seen the second vote, and the log of votes does not have it either."""

    async def test(network: Network) -> None:
        site = network.sites[VALIDATORS[0]]
        network.cut.append(site.member)
        view = site.engine.core.current_view + 4
        hear(site, *votes_of(view=view))
        note_evidence = site.engine.duties.note_evidence
        is_noted: list[bool] = []

        def noting(evidence: Any) -> None:
            note_evidence(evidence)
            is_noted.append(True)
            site.crash()  # before anything of it was said to anyone

        site.engine.duties.note_evidence = noting  # type: ignore[method-assign]  # a crash there
        await network.until(lambda: bool(is_noted))
        await network.record(request(label="meanwhile"))
        assert not any(has_evidence(other, view) for other in network.running)
        network.cut.remove(site.member)
        site.start()
        await network.until(lambda: all(has_evidence(each, view) for each in network.running))

    play(tmp_path, VALIDATORS, test)


def test_an_event_that_nobody_heard_is_sent_again(tmp_path: Path) -> None:
    """The leader knows of nothing to propose, and nobody else of a reason to leave its view."""

    async def test(network: Network) -> None:
        await network.record(request(label="then all is quiet"))
        core = network.sites[CHEAT].engine.core
        view, leader = core.current_view, VALIDATORS[core.leader]
        site = next(each for each in network.running if each.member not in (leader, CHEAT))
        network.dropped = lambda sender, to, frame: frame[0] == FrameType.EVENTS
        hear(site, *votes_of(view=view))
        await network.until(lambda: len(site.engine.chain.pool) == 1)
        await asyncio.sleep(1)  # what was sent has been lost by now
        network.dropped = lambda sender, to, frame: False
        await network.until(lambda: all(has_evidence(each, view) for each in network.running))

    play(tmp_path, VALIDATORS, test)


def test_a_newcomer_says_that_it_is_ready_once_it_has_caught_up(tmp_path: Path) -> None:
    """Four of the five of the next list must, and one of the others cannot."""

    async def test(network: Network) -> None:
        network.cut.append(CHEAT)
        for event in carried(add_validator(NEW), activate_height=1):
            await network.record(event, at=VALIDATORS[:3])
        newcomer = network.add_site(NEW)
        newcomer.start()
        await network.until(lambda: newcomer.engine.epochs.current.number == 1)
        assert sorted(own_events(newcomer, ValidatorReady)) == sorted([*VALIDATORS[:3], NEW])

    play(tmp_path, VALIDATORS, test)


class Vouching:
    """An access log whose anchors are due one after the other."""

    def __init__(self, *digests: str) -> None:
        self._digests = [hash32(digest) for digest in digests]

    def due(self, last: AccessAnchor | None) -> AccessLogged | None:
        previous = NO_ANCHOR if last is None else last.digest
        after = [NO_ANCHOR, *self._digests].index(previous)
        if after == len(self._digests):
            return None
        return AccessLogged(
            period_from_ms=after,
            period_to_ms=after + 1,
            entries=1,
            digest=self._digests[after],
            previous=previous,
        )


def test_anchors_of_access_logs_get_onto_the_ledger_one_after_the_other(tmp_path: Path) -> None:
    async def test(network: Network) -> None:
        for member in VALIDATORS[:2]:
            network.sites[member].engine.duties.access = Vouching("one", "two", f"three {member}")

        def is_done() -> bool:
            return all(
                (last := find_access_anchor(site.engine.chain.log, member)) is not None
                and last.digest == hash32(f"three {member}")
                for site in network.running
                for member in VALIDATORS[:2]
            )

        await network.until(is_done)
        for site in network.running:
            said = own_events(site, AccessLogged)
            assert sorted(said) == sorted(3 * VALIDATORS[:2])

    play(tmp_path, VALIDATORS, test)
