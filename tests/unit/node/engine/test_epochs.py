"""Epochs at run time: joining, leaving, following, and a crash at every instant of the switch."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ledger.blocks import HEADERS, RECORDS
from ledger.events import Event
from ledger.governance.actions import SetParameters
from ledger.keys import SecretKey
from ledger.quorum.epochs import EPOCH_PROOFS, EpochChain
from ledger.quorum.governance import AddValidator, prove_possession
from node.engine.driver import PROOFS_PER_S, Driver
from node.engine.ranges import build_range
from node.peers.wire import BlockData, FrameType, Range, encode_frame
from node.simplex.core import Simplex
from node.simplex.errors import ConflictingVote
from node.simplex.messages import decode_message, encode_message, signed_vote
from node.simplex.types import (
    Block,
    Certificate,
    FloorRecord,
    Frontier,
    Kind,
    Status,
    Subject,
)
from node.simplex.wal import Wal
from tests.builders import (
    NETWORK,
    VALIDATORS,
    add_validator,
    ballot,
    carried,
    hash32,
    parameters,
    propose,
    remove_validator,
    request,
    validator,
)
from tests.unit.node.engine.network import GENESIS, Network, Site, copy, play

NEW = "de-tax"
FIVE = sorted([*VALIDATORS, NEW])
NEW_KEY = SecretKey(hash32("a new key"))


def renewed(member: str) -> AddValidator:
    """The member's validator with another consensus key."""
    changed = msgspec.structs.replace(
        validator(member),
        consensus_key=NEW_KEY.public,
        cosigning_key=SecretKey(hash32("a new cosigning key")).public,
        tls_certificate=b"a new certificate",
    )
    proof = prove_possession(NEW_KEY, NETWORK, changed)
    return AddValidator(validator=changed, address="renewed.example:7001", possession=proof)


def is_in_epoch(network: Network, number: int) -> bool:
    return all(site.engine.epochs.current.number == number for site in network.running)


def has_proofs(network: Network, count: int) -> bool:
    return all(
        site.engine.archive.proof(epoch) is not None
        for site in network.running
        for epoch in range(count)
    )


async def decide(network: Network, *events: Event) -> None:
    """Each event is judged on the state that the ones before it left."""
    for event in events:
        await network.record(event)


async def join(network: Network) -> None:
    """A fifth validator is decided, follows, says that it is ready, and votes."""
    await decide(network, *carried(add_validator(NEW), activate_height=1))
    network.add_site(NEW).start()
    await network.until(lambda: is_in_epoch(network, 1))


def test_a_fifth_validator_joins_and_votes(tmp_path: Path) -> None:
    async def test(network: Network) -> None:
        await network.record(request(label="before"))
        await join(network)
        newcomer = network.sites[NEW].engine
        assert newcomer.epochs.current.members == tuple(FIVE)
        assert newcomer.epochs.me == FIVE.index(NEW)
        # Two of five are one too many to lose: the newcomer's votes are needed.
        network.sites[VALIDATORS[0]].crash()
        await network.record(request(label="after"))
        assert len({site.engine.chain.log.tip.block_hash for site in network.running}) == 1

    play(tmp_path, VALIDATORS, test)


def test_timers_that_members_change_are_those_of_the_next_core(tmp_path: Path) -> None:
    async def test(network: Network) -> None:
        slower = SetParameters(parameters=parameters(delta_ms=400, heartbeat_ms=30_000))
        await decide(network, *carried(slower, activate_height=1))
        await network.record(request(label="after"))
        assert timers(network) == {(200, 60_000)}
        restarted = network.sites[VALIDATORS[0]]
        restarted.crash()
        restarted.start()
        config = restarted.engine.core.config
        assert (config.delta_ms, config.heartbeat_ms) == (400, 30_000)
        # One epoch with two timers: it still goes on.
        await network.record(request(label="restarted"))
        await join(network)
        assert timers(network) == {(400, 30_000)}

    play(tmp_path, VALIDATORS, test)


def timers(network: Network) -> set[tuple[int, int]]:
    configs = [site.engine.core.config for site in network.running]
    return {(config.delta_ms, config.heartbeat_ms) for config in configs}


def test_every_node_gets_the_proof_of_the_epoch(tmp_path: Path) -> None:
    async def test(network: Network) -> None:
        await join(network)
        await network.until(lambda: has_proofs(network, 1))
        for site in network.running:
            data = site.engine.archive.proof(0)
            assert data is not None
            chain = EpochChain(GENESIS, [EPOCH_PROOFS.decode(data)])
            assert [each.member for each in chain.validators_of(1)] == FIVE

    play(tmp_path, VALIDATORS, test)


def test_a_removed_validator_follows_and_is_not_missed(tmp_path: Path) -> None:
    async def test(network: Network) -> None:
        await join(network)
        leaver = VALIDATORS[1]
        await remove(network, leaver)
        assert network.sites[leaver].engine.epochs.me is None
        network.sites[VALIDATORS[0]].crash()
        await network.record(request(label="by three of four, seen by the one that left"))

    play(tmp_path, VALIDATORS, test)


async def remove(network: Network, leaver: str) -> None:
    """In epoch 1 of the five, one is voted out."""
    proposal = propose(remove_validator(leaver), label="remove", activate_height=1)
    voters = [member for member in FIVE if member != VALIDATORS[0]][:3]
    await decide(network, proposal, *(ballot(proposal, voter) for voter in voters))
    await network.until(lambda: is_in_epoch(network, 2))


def test_a_validator_that_missed_the_seal_block_gets_it(tmp_path: Path) -> None:
    async def test(network: Network) -> None:
        absent = VALIDATORS[3]
        network.cut.append(absent)
        present = [member for member in VALIDATORS if member != absent]
        for event in carried(add_validator(NEW), activate_height=1):
            await network.record(event, at=present)
        network.add_site(NEW).start()
        await network.until(lambda: network.sites[NEW].engine.epochs.me is not None)
        assert network.sites[absent].engine.epochs.current.number == 0
        network.connect(absent)
        await network.until(lambda: is_in_epoch(network, 1))
        network.sites[VALIDATORS[0]].crash()
        await network.record(request(label="its vote is needed"))

    play(tmp_path, VALIDATORS, test)


def test_the_finalization_of_the_seal_block_is_enough_to_follow(tmp_path: Path) -> None:
    """No range is answered: who is behind says so by any message, and gets the certificate."""

    async def test(network: Network) -> None:
        absent = VALIDATORS[3]
        present = [member for member in VALIDATORS if member != absent]
        proposal, *ballots = carried(add_validator(NEW), activate_height=1)
        await decide(network, proposal, *ballots[:-1])
        network.cut.append(absent)
        await network.record(ballots[-1], at=present)
        network.add_site(NEW).start()
        await network.until(lambda: network.sites[NEW].engine.epochs.me is not None)
        network.dropped = lambda sender, to, frame: frame[0] == FrameType.RANGE
        network.connect(absent)
        await network.until(lambda: is_in_epoch(network, 1))

    play(tmp_path, VALIDATORS, test)


def test_nothing_of_an_ended_epoch_is_signed_any_more(tmp_path: Path) -> None:
    async def test(network: Network) -> None:
        await join(network)
        await network.record(request(label="in epoch 1"))
        for site in network.running:
            late = Subject(kind=Kind.NULLIFY, epoch=0, view=1_000)
            with pytest.raises(ConflictingVote):
                site.engine._guard.sign_vote(signed_vote(NETWORK, late))

    play(tmp_path, VALIDATORS, test)


def test_the_guard_knows_of_the_new_epoch_before_the_core_does(tmp_path: Path) -> None:
    async def test(network: Network) -> None:
        floors: list[tuple[int, int]] = []
        engine = network.sites[VALIDATORS[0]].engine
        make_core = engine.epochs.make_core

        def making() -> Simplex:
            floors.append(engine._guard._floor)
            return make_core()

        engine.epochs.make_core = making  # type: ignore[method-assign]  # to look at that time
        await join(network)
        assert floors == [(1, 0)]

    play(tmp_path, VALIDATORS, test)


def test_a_node_that_starts_at_genesis_follows_over_two_epochs(tmp_path: Path) -> None:
    """It knows the validators of genesis only, and believes each epoch by the one before."""

    async def test(network: Network) -> None:
        await join(network)
        await network.record(*(request(label=str(number)) for number in range(3)))
        await remove(network, VALIDATORS[1])
        for number in range(12):
            await network.record(request(label=f"later {number}"))
        await network.until(lambda: has_proofs(network, 2))
        network.sites[VALIDATORS[3]].crash()
        network.sites[VALIDATORS[3]].folder = tmp_path / "afresh"
        late = network.sites[VALIDATORS[3]]
        late.start()
        height = network.sites[NEW].height
        await network.until(lambda: late.height >= height)
        assert late.engine.epochs.current.number == 2
        await network.until(lambda: has_proofs(network, 2))

    play(tmp_path, VALIDATORS, test)


def test_a_member_takes_a_new_key_by_leaving_and_joining_at_once(tmp_path: Path) -> None:
    async def test(network: Network) -> None:
        member = VALIDATORS[2]
        following = renewed(member)
        proposal = propose(remove_validator(member), following, activate_height=1)
        ballots = [ballot(proposal, voter) for voter in VALIDATORS[1:3]]
        await decide(network, proposal, *ballots)
        site = network.sites[member]
        site.crash()
        site.consensus = NEW_KEY
        site.start()
        assert site.engine.epochs.me is None, "the list in force has the old key"
        await network.until(lambda: is_in_epoch(network, 1))
        assert site.engine.epochs.me == sorted(VALIDATORS).index(member)
        network.sites[VALIDATORS[0]].crash()
        await network.record(request(label="by the new key"))

    play(tmp_path, VALIDATORS, test)


# --- proofs --------------------------------------------------------------------------------------


def test_lines_of_the_seal_tree_are_sent_again_until_there_is_a_proof(tmp_path: Path) -> None:
    """Every node stops right after the seal block, and no line of it has arrived anywhere."""

    async def test(network: Network) -> None:
        for number, change in enumerate((join, lambda on: remove(on, VALIDATORS[1])), start=1):
            network.dropped = lambda sender, to, frame: frame[0] == FrameType.COSIGNATURE
            await change(network)
            assert not has_proofs(network, number)
            for site in network.running:
                site.crash()
            network.dropped = lambda sender, to, frame: False
            for site in network.sites.values():
                site.start()
            await network.record(request(label=f"the tree has grown {number}"))
            await network.until(lambda count=number: has_proofs(network, count))

    play(tmp_path, VALIDATORS, test)


def test_a_proof_that_a_node_lacks_is_got_from_a_peer(tmp_path: Path) -> None:
    async def test(network: Network) -> None:
        lacking = VALIDATORS[1]
        network.dropped = lambda sender, to, frame: (
            to == lacking and frame[0] in (FrameType.COSIGNATURE, FrameType.RANGE)
        )
        await join(network)
        await network.until(lambda: network.sites[lacking].engine.archive.proof(0) is not None)

    play(tmp_path, VALIDATORS, test)


def test_a_range_ends_with_its_epoch_and_is_proven_by_it(tmp_path: Path) -> None:
    async def test(network: Network) -> None:
        await join(network)
        await network.record(request(label="in epoch 1"))
        await network.until(lambda: has_proofs(network, 1))
        engine = network.sites[VALIDATORS[0]].engine
        log, archive = engine.chain.log, engine.archive
        await network.until(lambda: engine.cosigner.checkpoint_size == log.tree_size)
        ended = build_range(log, engine.cosigner, archive, 1)
        seal = HEADERS.decode(ended.blocks[-1].header)
        assert (seal.epoch, bool(seal.next_validators)) == (0, True)
        assert ended.checkpoint == archive.checkpoint_of(0)
        present = build_range(log, engine.cosigner, archive, seal.height + 1)
        assert [HEADERS.decode(each.header).epoch for each in present.blocks] == [1]
        assert present.checkpoint == engine.cosigner.checkpoint

    play(tmp_path, VALIDATORS, test)


def test_a_range_over_the_end_of_an_epoch_is_refused(tmp_path: Path) -> None:
    """Whatever it is proven by: a quorum of the first epoch says nothing of the second."""

    async def test(network: Network) -> None:
        await join(network)
        await network.record(request(label="in epoch 1"))
        engine = network.sites[VALIDATORS[0]].engine
        log = engine.chain.log
        await network.until(lambda: engine.cosigner.checkpoint_size == log.tree_size)
        blocks = []
        for height in range(1, log.tip.height + 1):
            header, records = log.read_block(height)
            events = tuple(RECORDS.decode(record).event for record in records)
            blocks.append(BlockData(header=header, events=events))
        over = Range(
            from_height=1,
            final_height=log.tip.height,
            blocks=tuple(blocks),
            checkpoint=engine.cosigner.checkpoint or b"",
            consistency=(),
        )
        victim = network.sites[VALIDATORS[1]]
        victim.crash()
        victim.folder = tmp_path / "afresh"
        network.cut.append(victim.member)
        victim.start()
        sync = victim.engine.sync
        sync.catchup.note_peer(VALIDATORS[0], log.tip.height)
        sync.catchup.asked = VALIDATORS[0]
        victim.engine.on_frame(VALIDATORS[0], encode_frame(FrameType.RANGE, over))
        await network.until(lambda: VALIDATORS[0] in sync.catchup.distrusted)
        assert victim.height == 0

    play(tmp_path, VALIDATORS, test)


def test_proofs_are_given_no_faster_than_they_can_be_of_use(tmp_path: Path) -> None:
    async def test(network: Network) -> None:
        await join(network)
        await network.until(lambda: has_proofs(network, 1))
        given: list[bytes] = []
        asked, asking = network.sites[VALIDATORS[0]].engine, VALIDATORS[1]

        def counting(sender: str, to: str, frame: bytes) -> bool:
            if (sender, to, frame[0]) == (VALIDATORS[0], asking, FrameType.EPOCH):
                given.append(frame)
            return False

        network.dropped = counting
        for _ in range(10 * PROOFS_PER_S):
            asked.on_frame(asking, encode_frame(FrameType.EPOCH_WANTED, bytes(8)))
        await asyncio.sleep(0.1)
        assert len(given) == 2 * PROOFS_PER_S
        assert given[0][1:] == asked.archive.proof(0)

    play(tmp_path, VALIDATORS, test)


def test_a_peer_that_comes_back_gets_the_newest_line(tmp_path: Path) -> None:
    """All is quiet, so no later tree would ever get its quorum at that peer."""

    async def test(network: Network) -> None:
        late = network.sites[VALIDATORS[1]]
        network.dropped = lambda sender, to, frame: (
            to == late.member and frame[0] == FrameType.COSIGNATURE
        )
        await network.record(request(label="the last"))
        await asyncio.sleep(1)
        log, cosigner = late.engine.chain.log, late.engine.cosigner
        assert cosigner.checkpoint_size < log.tree_size
        network.dropped = lambda sender, to, frame: False
        network.cut.append(late.member)
        network.connect(late.member)
        await asyncio.sleep(1)
        assert cosigner.checkpoint_size == log.tree_size

    play(tmp_path, VALIDATORS, test)


# --- messages of other epochs --------------------------------------------------------------------


@pytest.mark.parametrize("epoch", [0, 2])
def test_a_peer_in_another_epoch_is_told_where_we_are(tmp_path: Path, epoch: int) -> None:
    """Once in a while: it cannot make us busy."""

    async def test(network: Network) -> None:
        await join(network)
        engine, peer = network.sites[VALIDATORS[0]].engine, VALIDATORS[1]
        told: list[bytes] = []

        def telling(sender: str, to: str, frame: bytes) -> bool:
            if (sender, to) == (VALIDATORS[0], peer):
                told.append(frame)
            return False

        await asyncio.sleep(1)
        network.dropped = telling
        message = encode_message(Frontier(epoch=epoch, certificates=(), votes=()))
        for _ in range(5):
            engine.on_frame(peer, encode_frame(FrameType.CONSENSUS, message))
        await asyncio.sleep(0.1)
        assert [frame[0] for frame in told] == [FrameType.CONSENSUS, FrameType.TIP]
        answer = decode_message(told[0][1:])
        if epoch == 0:
            assert isinstance(answer, Certificate)
            assert answer.subject.kind is Kind.FINALIZE
            assert answer.subject.block_hash == engine.epochs.current.genesis_hash
        else:
            assert isinstance(answer, Status)
            assert answer.epoch == 1

    play(tmp_path, VALIDATORS, test)


# --- crashes -------------------------------------------------------------------------------------


def is_over(driver: Driver, *_: object) -> bool:
    return driver.epochs.is_over()


def is_seal(driver: Driver, blocks: Sequence[Block], *_: object) -> bool:
    return blocks[-1].is_seal


def is_next(driver: Driver, *_: object) -> bool:
    return driver.epochs.current.number > 0


# What happens at a seal block, in this order, and when a call is that of the switch.
INSTANTS: list[tuple[str, Callable[[Driver], object], Callable[..., bool]]] = [
    ("commit", lambda driver: driver.chain, is_seal),
    ("sign", lambda driver: driver.cosigner, is_over),
    ("advance_floor", lambda driver: driver._guard, is_over),
    ("make_core", lambda driver: driver.epochs, is_next),
    ("rotate", lambda driver: driver._wal, is_next),
    ("open", lambda driver: driver.archive, is_next),
    ("enter", lambda driver: driver.sync, is_next),
]


def copy_around(site: Site, copies: list[Path]) -> None:
    """Copy the data directory, as a crash would leave it, before and after each such call."""

    def wrap(owner: object, name: str, is_due: Callable[..., bool]) -> None:
        call = getattr(owner, name)

        def copying(*values: Any, **named: Any) -> Any:
            if not is_due(site.engine, *values):
                return call(*values, **named)
            copies.append(copy(site.folder, site.folder.parent / f"before-{name}"))
            result = call(*values, **named)
            copies.append(copy(site.folder, site.folder.parent / f"after-{name}"))
            return result

        setattr(owner, name, copying)

    for name, owner, is_due in INSTANTS:
        wrap(owner(site.engine), name, is_due)


def test_a_crash_at_any_instant_of_the_switch_is_healed_by_a_start(tmp_path: Path) -> None:
    async def test(network: Network) -> None:
        site, copies = network.sites[VALIDATORS[2]], list[Path]()
        copy_around(site, copies)
        await join(network)
        await network.until(lambda: has_proofs(network, 1))
        assert [path.name for path in copies] == [
            f"{when}-{name}" for name, _, _ in INSTANTS for when in ("before", "after")
        ]
        for number, path in enumerate(copies):
            site.crash()
            site.folder = path
            site.start()
            await network.until(lambda: is_in_epoch(network, 1))
            network.cut.append(VALIDATORS[0])
            others = [member for member in FIVE if member != VALIDATORS[0]]
            await network.record(request(label=f"its vote is needed {number}"), at=others)
            network.connect(VALIDATORS[0])
            await network.until(lambda: has_proofs(network, 1))
            _, records = Wal.open(copy(path, tmp_path / str(number)) / "wal")
            assert {each.epoch for each in records if isinstance(each, FloorRecord)} == {1}

    play(tmp_path, VALIDATORS, test)


def test_the_line_of_a_seal_tree_is_the_same_after_a_restart(tmp_path: Path) -> None:
    """Made for the ended epoch, with the time that was durable with the block: never another."""

    async def test(network: Network) -> None:
        site, copies = network.sites[VALIDATORS[2]], list[Path]()
        copy_around(site, copies)
        network.dropped = lambda sender, to, frame: frame[0] == FrameType.COSIGNATURE
        await join(network)
        (line,) = site.engine.cosigner.seal_lines
        for path in copies[1:]:
            site.crash()
            site.folder = path
            await asyncio.sleep(5)
            site.start()
            await asyncio.sleep(1)
            assert site.engine.cosigner.seal_lines == (line,)
            assert [each for each in site.engine.cosigner.own_lines if each.size == line.size] == [
                line
            ]

    play(tmp_path, VALIDATORS, test)
