"""Contracts that members vote on: every node decides by them from one block on, and so a replay."""

from pathlib import Path

from contracts.engine import hash_policy_set
from contracts.lookup import read_policy_set
from contracts.replay import replay
from ledger.blocks import Outcome
from ledger.events import Event
from ledger.genesis import encode_genesis_json
from ledger.governance.actions import SetContract
from ledger.log import Log
from ledger.registry import Contract
from ledger.tlog.tiles import tile_paths
from tests.builders import VALIDATORS, ballot, propose, request
from tests.unit.node.engine.network import GENESIS, Network, Site, play
from tools.mirror import folder_reader

ACTIVE = 9
FORBIDDEN = SetContract(
    contract=Contract(
        id="no-registration",
        text="""
@id("no-registration")
@title_zh("暂停提供登记信息")
@title_en("No registration data")
forbid (principal, action == Action::"request", resource in Category::"registration");
""",
    )
)


def outcomes(site: Site) -> list[tuple[int, Outcome]]:
    """What became of requests, with the height of each."""
    return [
        (block.header.height, record.outcome)
        for block in site.finals
        for record in block.records
        if record.event.kind == "share.requested"
    ]


def mirror(log: Log, checkpoint: bytes, folder: Path) -> Path:
    """The log as an auditor copies it."""
    files = {"genesis.json": encode_genesis_json(GENESIS), "checkpoint": checkpoint}
    for tile in tile_paths(log.tree_size):
        data = log.tile(tile.format())
        assert data is not None
        files[tile.format()] = data
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def test_a_vote_flips_a_decision_at_its_height_everywhere(tmp_path: Path) -> None:
    copy = tmp_path / "copy"

    async def test(network: Network) -> None:
        proposal = propose(FORBIDDEN, activate_height=ACTIVE)
        decided: tuple[Event, ...] = (
            proposal,
            *(ballot(proposal, member) for member in VALIDATORS[1:3]),
        )
        for event in decided:
            await network.record(event)
        assert network.sites[VALIDATORS[0]].height < ACTIVE - 2
        while network.sites[VALIDATORS[0]].height < ACTIVE + 2:
            number = network.sites[VALIDATORS[0]].height
            await network.record(request(label=f"after block {number}"))
        await network.until(lambda: all(map(is_covered, network.running)))
        # A node that comes up later reads what was decided from its log.
        first, *others = network.running
        assert all(outcomes(first) == outcomes(other) for other in others)
        decisions = {height: outcome.decision for height, outcome in outcomes(first)}
        heights = sorted(decisions)
        assert {ACTIVE - 1, ACTIVE} <= decisions.keys(), heights
        for height in heights:
            assert decisions[height] == ("permit" if height < ACTIVE else "deny")
        log = first.engine.chain.log
        voted = hash_policy_set(read_policy_set(log))
        used = {height: outcome.policy_set for height, outcome in outcomes(first)}
        assert used[ACTIVE] == voted
        assert used[ACTIVE - 1] == hash_policy_set(GENESIS.policy_set) != voted
        checkpoint = first.engine.cosigner.checkpoint
        assert checkpoint is not None
        mirror(log, checkpoint, copy)

    play(tmp_path / "nodes", VALIDATORS, test)
    report = replay(folder_reader(copy), genesis=GENESIS)
    assert report.decisions["permit"] >= 1
    assert report.decisions["deny"] >= 1
    assert len(report.cosigners) >= 3


def is_covered(site: Site) -> bool:
    engine = site.engine
    return engine.cosigner.checkpoint_size == engine.chain.log.tree_size
