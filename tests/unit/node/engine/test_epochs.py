"""Epochs at run time: joining, leaving, and a crash at every instant of the switch."""

from pathlib import Path

from ledger.events import Event
from ledger.quorum.epochs import EPOCH_PROOFS, EpochChain
from tests.builders import VALIDATORS, add_validator, carried, request
from tests.unit.node.engine.network import GENESIS, Network, play

NEW = "de-tax"
FIVE = sorted([*VALIDATORS, NEW])


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
