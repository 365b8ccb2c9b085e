"""Validators change by vote, through the commands that people use; the log proves every step."""

import http.client
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.network import wait_level
from tests.e2e.test_tally import tally
from tools.exits import ERROR
from tools.localnet import Localnet, free_ports, get_json

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

NEW = "cn-3302-customs"
EPOCH_S_MAX = 30


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    directory = tmp_path_factory.mktemp("admin") / "net"
    tally("localnet", "init", directory)
    try:
        tally("localnet", "up", "--dir", directory)
        yield directory
    finally:
        assert tally("localnet", "down", "--dir", directory)["killed"] == []


# The network lives as long as the module: its processes are no leak of one test.
@pytest.fixture(autouse=True)
def _no_process_left(net: Path) -> None:
    del net


def admin(net: Path, *arguments: object, member: str = "", exit_code: int = 0) -> dict[str, Any]:
    place = ("--dir", net, *(("--member", member) if member else ()))
    return tally("admin", *arguments, *place, exit_code=exit_code)


def wait_epoch(net: Path, member: str, epoch: int) -> list[str]:
    """Members of the validators of the epoch, as soon as the node is in it."""
    url = Localnet(net).node(member).api
    deadline_s = time.monotonic() + EPOCH_S_MAX
    while time.monotonic() < deadline_s:
        document = tally("admin", "validators", "--url", url, "--genesis", net / "genesis.json")
        if document["epoch"] == epoch:
            return [seat["member"] for seat in document["validators"]]
    raise AssertionError(f"{member} did not reach epoch {epoch}: {document}")


def carry(net: Path, proposal: str, members: tuple[str, ...]) -> None:
    """Ballots, each at the member's own node, which may be a block behind the proposer's."""
    deadline_s = time.monotonic() + EPOCH_S_MAX
    for member in members:
        path = f"{Localnet(net).node(member).api}/v1/proposals/{proposal}"
        while get_json(path, timeout_s=10).status != http.client.OK:
            assert time.monotonic() < deadline_s, f"{member} does not get the proposal"
        admin(net, "ballot", proposal, member=member)


def test_a_node_joins_and_leaves_by_vote(net: Path) -> None:
    local = Localnet(net)
    first, *others = local.members
    application = tally("localnet", "add", NEW, "--dir", net)["application"]

    preview = admin(net, "validator", "add", application, "--dry-run", member=first)
    assert preview["added"] == [NEW]
    assert (len(preview["members"]), preview["quorum"], preview["has_live_quorum"]) == (5, 4, True)
    assert admin(net, "validators")["pending"] is None, "a dry run submits nothing"

    proposal = admin(net, "validator", "add", application, member=first)["digest"]
    carry(net, proposal, tuple(others[:2]))
    tally("localnet", "up", "--dir", net)
    for member in (*local.members, NEW):
        assert NEW in wait_epoch(net, member, 1)

    proposal = admin(net, "validator", "remove", NEW, member=first)["digest"]
    carry(net, proposal, tuple(others))
    for member in (*local.members, NEW):
        assert NEW not in wait_epoch(net, member, 2), "also who left follows"

    url = local.node(first).api
    report = tally("audit", "replay", url, "--genesis", net / "genesis.json")
    assert report["blocks"] > 0, "exit code 0 says that it is valid, through all three epochs"


def test_a_node_made_in_a_home_of_its_own_joins(net: Path, tmp_path: Path) -> None:
    """As on another machine: it gets the genesis with its signatures, and hands in one file."""
    guest, home = "cn-3301-bank", tmp_path / "home"
    local = Localnet(net)
    # Who was voted out has no link with the others any more, and no vote.
    first, *others = (member for member in local.members if member != NEW)
    peers, api, metrics = (f"127.0.0.1:{port}" for port in free_ports(3))
    phrase = tmp_path / "phrase"
    phrase.touch(mode=0o600)
    phrase.write_text("correct horse battery\n")
    made = tally(
        *("node", "join", home, "--member", guest, "--address", peers),
        *("--genesis", net / "genesis.json", "--api", api, "--metrics", metrics),
        *("--passphrase-file", phrase),
    )
    proposal = admin(net, "validator", "add", made["application"], member=first)["digest"]
    carry(net, proposal, tuple(others[:2]))
    try:
        tally("localnet", "up", "--dir", home)
        deadline_s = time.monotonic() + EPOCH_S_MAX
        waits = {"validator": "?"}
        while waits and time.monotonic() < deadline_s:
            told = tally("node", "status", "--dir", home)
            waits = {each["name"]: each["waits_for"] for each in told["stages"] if not each["done"]}
        assert waits == {}
        # What a node said while it was voted in may be of the epoch before.
        epoch = tally("node", "status", "--dir", home)["epoch"]
        # And it may know of its epoch before the node that is asked to end it.
        wait_level([local.node(first).api, f"http://{api}"])
        leave = admin(net, "validator", "remove", guest, member=first)["digest"]
        carry(net, leave, tuple(others))
        assert guest not in wait_epoch(net, first, epoch + 1)
    finally:
        assert tally("localnet", "down", "--dir", home)["killed"] == []


def test_what_cannot_be_is_refused_before_it_is_proposed(net: Path, tmp_path: Path) -> None:
    first = Localnet(net).members[0]
    path = tmp_path / "application.json"
    path.write_text(json.dumps({"action": "validator.add"}))
    height = tally("localnet", "status", "--dir", net)["nodes"][0]["status"]["height"]
    for arguments, code in (
        (("remove", first), "validator-count"),
        (("keep",), "no-change-pending"),
        (("remove", "de-tax"), "validator-unknown"),
        (("add", path), "application-unreadable"),
    ):
        refused = admin(net, "validator", *arguments, member=first, exit_code=ERROR)
        assert refused["error"]["code"] == code
    after = tally("localnet", "status", "--dir", net)["nodes"][0]["status"]["height"]
    assert after == height
