"""A node that lost its store and kept its votes, in a later epoch than the first."""

import shutil
from pathlib import Path

import pytest
import structlog

from node.engine import driver
from node.simplex.types import OwnVote
from node.simplex.wal import Wal
from tests.builders import (
    VALIDATORS,
    add_validator,
    ballot,
    carried,
    propose,
    remove_validator,
    request,
)
from tests.unit.node.engine.network import Network, play

NEW = "de-tax"


async def reach_epoch_2(network: Network) -> None:
    for event in carried(add_validator(NEW), activate_height=1):
        await network.record(event)
    network.add_site(NEW).start()
    await network.until(lambda: epochs_of(network) == {1})
    proposal = propose(remove_validator(NEW), label="remove", activate_height=1)
    await network.record(proposal)
    for voter in VALIDATORS[1:]:
        await network.record(ballot(proposal, voter))
    await network.until(lambda: epochs_of(network) == {2})


def epochs_of(network: Network) -> set[int]:
    return {site.engine.epochs.current.number for site in network.running}


def own_views(folder: Path) -> list[tuple[int, int]]:
    wal, records = Wal.open(folder / "wal")
    wal.close()
    subjects = (each.vote.subject for each in records if isinstance(each, OwnVote))
    return [(subject.epoch, subject.view) for subject in subjects]


@pytest.mark.parametrize("revived_max", [driver.REVIVED_MAX, 0])
def test_it_follows_to_the_epoch_of_its_votes_and_votes_again(
    tmp_path: Path, revived_max: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With many blocks among its votes it executes none: that stopped its loop for a minute."""

    async def test(network: Network) -> None:
        monkeypatch.setattr(driver, "REVIVED_MAX", revived_max)
        await reach_epoch_2(network)
        await network.record(*(request(label=str(number)) for number in range(3)))
        victim = network.sites[VALIDATORS[1]]
        victim.crash()
        voted = own_views(victim.folder)
        assert voted
        assert {epoch for epoch, _ in voted} == {2}
        shutil.rmtree(victim.folder / "store")
        victim.start()
        await network.until(lambda: victim.engine.epochs.me is None)
        assert victim.engine.epochs.current.number < 2
        await network.until(lambda: epochs_of(network) == {2})
        assert victim.engine.epochs.me == 1
        is_left = any(each["event"] == "final blocks are left to the peers" for each in logs)
        assert is_left is (revived_max == 0)
        # Its vote is needed: three of four are a quorum.
        network.sites[VALIDATORS[2]].crash()
        await network.record(request(label="with its vote"))
        victim.crash()
        later = own_views(victim.folder)
        assert max(later) > max(voted)
        assert {epoch for epoch, _ in later} == {2}

    with structlog.testing.capture_logs() as logs:
        play(tmp_path, VALIDATORS, test)


def test_it_may_stop_again_on_the_way(tmp_path: Path) -> None:
    async def test(network: Network) -> None:
        await reach_epoch_2(network)
        victim = network.sites[VALIDATORS[1]]
        victim.crash()
        voted = own_views(victim.folder)
        shutil.rmtree(victim.folder / "store")
        victim.start()
        await network.until(lambda: victim.height > 0)
        victim.crash()
        assert set(voted) <= set(own_views(victim.folder))
        victim.start()
        await network.until(lambda: epochs_of(network) == {2})
        await network.record(request(label="afterwards"))

    play(tmp_path, VALIDATORS, test)
