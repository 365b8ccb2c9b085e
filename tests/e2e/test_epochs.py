"""Real processes over epochs: a fifth node is voted in, another one out, while events flow."""

import asyncio
import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from click.testing import CliRunner

from contracts.replay import replay
from ledger.blocks import HEADERS, hash_header, is_header
from ledger.governance.actions import Action
from ledger.governance.proposals import GovernanceBalloted, GovernanceProposed
from ledger.quorum.governance import RemoveValidator
from tests.e2e.network import ASKER, OWNER, Net, running
from tools.cli import main
from tools.founding import read_application
from tools.mirror import folder_reader, mirror_log

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

NEW = "cn-3302-customs"
LATER = "cn-3301-bank"
WAIT_S = 60


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Net]:
    with running(tmp_path / "net") as made:
        yield made


class Flow(threading.Thread):
    """Requests one after the other, each waited for, until it is told to stop."""

    def __init__(self, net: Net) -> None:
        super().__init__()
        self.net = net
        self.final = 0
        self.faults: list[str] = []
        self.is_over = threading.Event()

    def run(self) -> None:
        try:
            while not self.is_over.is_set():
                self.net.submit_final(self.net.request())
                self.final += 1
        except (AssertionError, OSError, http.client.HTTPException) as error:
            self.faults.append(repr(error))


@contextmanager
def flowing(net: Net) -> Iterator[Flow]:
    flow = Flow(net)
    flow.start()
    try:
        yield flow
    finally:
        flow.is_over.set()
        flow.join()


def decide(net: Net, voters: tuple[str, ...], *actions: Action) -> None:
    """Propose and approve until it is carried."""
    height = net.status(voters[0])["height"]
    body = GovernanceProposed(
        actions=actions, text="", activate_height=height, ballots_until_height=height + 500
    )
    proposal = net.sign(body, member=voters[0], role="admin", expires_height=height + 500)
    assert net.submit_final(proposal)["outcome"]["applied"]
    for voter in voters[1:]:
        ballot = GovernanceBalloted(proposal=proposal.digest, approve=True, text="")
        event = net.sign(ballot, member=voter, role="admin", expires_height=height + 500)
        assert net.submit_final(event)["outcome"]["applied"]


def test_a_node_joins_and_another_leaves_while_events_flow(net: Net) -> None:
    four = net.members
    with flowing(net) as flow:
        application = read_application(net.local.add_node(NEW))
        decide(net, four[:3], application)
        net.local.start([NEW])
        net.local.wait_ready([NEW])
        for member in (*four, NEW):
            net.wait_block(member, lambda at: at["epoch"] == 1)
        # The newcomer votes: with one of the others gone, four of five are a quorum.
        index = sorted((*four, NEW)).index(NEW)
        net.wait_block(NEW, lambda at: at["epoch"] == 1 and at["proposer"] == index)
        leaver = next(member for member in four if member not in (ASKER, OWNER))
        voters = tuple(member for member in (*four, NEW) if member != leaver)
        decide(net, voters, RemoveValidator(member=leaver))
        for member in (*four, NEW):
            net.wait_block(member, lambda at: at["epoch"] == 2)
        before = flow.final
        net.submit_final(net.request())
    assert flow.faults == []
    assert flow.final > before > 0
    last = net.submit_final(net.request())
    for member in (*four, NEW):
        net.wait_height(member, last["height"])
    logs = {member: net.entries(member)[: last["index"] + 1] for member in (*four, NEW)}
    assert all(entries == logs[NEW] for entries in logs.values())
    verify_epochs(logs[NEW])
    report = replay(folder_reader(mirrored(net, NEW, last["index"] + 1)), genesis=net.genesis)
    assert report.entries >= last["index"] + 1
    cosigners = {name.rpartition("/")[2] for name in report.cosigners}
    assert len(cosigners) >= 3
    assert cosigners <= {*four, NEW} - {leaver}
    # In the epoch after that nobody speaks with the one that left, and it says so.
    with flowing(net):
        decide(net, voters[:3], read_application(net.local.add_node(LATER)))
        net.wait_block(NEW, lambda at: at["epoch"] == 3)
    deadline = time.monotonic() + WAIT_S
    while (answer := net.get(leaver, "/readyz")).status == http.client.OK:
        assert time.monotonic() < deadline, "it is still spoken with"
    assert [reason["code"] for reason in answer.body["reasons"]] == ["not-receiving"]
    tally = ("node", "status", "--dir", str(net.local.directory), "--member", leaver)
    told = CliRunner().invoke(main, [*tally, "--lang", "en"])
    assert told.exit_code == 0, told.output
    assert "WARNING: no peer speaks with this node" in told.stdout


def verify_epochs(entries: list[bytes]) -> None:
    """Every epoch but the last ends with a seal block, and views begin anew behind it."""
    headers = [HEADERS.decode(entry) for entry in entries if is_header(entry)]
    seals = [header for header in headers if header.next_validators]
    assert [seal.epoch for seal in seals] == [0, 1]
    for seal, after in pairwise(headers):
        if seal.next_validators:
            assert (after.epoch, after.parent_view) == (seal.epoch + 1, 0)
            assert after.parent_hash == hash_header(HEADERS.encode(seal))
        else:
            assert after.epoch == seal.epoch


def mirrored(net: Net, member: str, size: int) -> Path:
    """A copy of the log, taken from a node as soon as a quorum covers so many entries."""
    net.wait_checkpoint(member, size)
    directory = net.local.directory / "mirror"
    url = net.local.node(member).api
    asyncio.run(
        mirror_log(url, directory, genesis=net.genesis, on_progress=lambda done, total: None)
    )
    return directory
