"""A contract changed by vote on four real nodes: a decision flips, and the mirror replays."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ledger.events import Body
from ledger.governance.actions import RemoveContract
from ledger.governance.proposals import GovernanceBalloted, GovernanceProposed
from ledger.keys import parse_secret_key
from tests.e2e.network import wait_receipt
from tests.e2e.test_tally import ask, tally
from tools.client import Client
from tools.exits import DENIED
from tools.localnet import Localnet
from tools.mirror import read_genesis

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

FIRST, SECOND, THIRD = ("cn-3301-tax", "cn-3302-tax", "cn-3205-tax")
# Without it no tax authority may ask another.
ACTION = RemoveContract(id="tax-request")


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Path]:
    directory = tmp_path / "net"
    tally("localnet", "init", directory)
    try:
        tally("localnet", "up", "--dir", directory)
        yield directory
    finally:
        assert tally("localnet", "down", "--dir", directory)["killed"] == []


async def rehearse(client: Client) -> dict[str, Any]:
    document = msgspec.json.encode({"actions": [ACTION], "member": FIRST})
    headers = {"Content-Type": "application/json"}
    url = f"{client.url}/v1/proposals/preview"
    async with client.session.post(url, data=document, headers=headers) as response:
        assert response.status == 200, await response.text()
        body: dict[str, Any] = await response.json()
        return body


async def act(client: Client, local: Localnet, member: str, body: Body) -> bytes:
    key = parse_secret_key(local.officer_key_path(member, "admin").read_text())
    record = await client.execute(await client.sign(key, member=member, body=body))
    assert record.outcome.applied, record.outcome
    return record.event.digest


async def vote(local: Localnet) -> dict[str, Any]:
    """The contract goes; what the node says of the proposal then."""
    async with Client(local.index.nodes[0].api, read_genesis(local.genesis_path)) as client:
        preview = await rehearse(client)
        assert (preview["class"], preview["needed"], preview["faults"]) == ("contracts", 3, [])
        assert "contract/tax-request" in {change["target"] for change in preview["changes"]}
        height = int((await client.get_json("/v1/status"))["height"])
        proposed = GovernanceProposed(
            actions=(ACTION,),
            text="",
            activate_height=0,
            ballots_until_height=height + 1_000,
        )
        digest = await act(client, local, FIRST, proposed)
        assert (await client.get_json("/v1/status"))["proposals_open"] == 1
        for member in (SECOND, THIRD):
            body = GovernanceBalloted(proposal=digest, approve=True, text="")
            await act(client, local, member, body)
        found = await client.get_json(f"/v1/proposals/{digest.hex()}")
        history = await client.get_json("/v1/history/contract/tax-request")
        assert history["revisions"] == [
            {"proposal": digest.hex(), "height": found["effective_height"]}
        ]
        return found


def test_a_vote_flips_a_decision_and_the_mirror_replays(net: Path, tmp_path: Path) -> None:
    local = Localnet(net)
    before = ask(net, tmp_path, legal_basis="tcal-6")
    found = asyncio.run(vote(local))
    assert (found["status"], found["approved"]) == ("in_force", sorted((FIRST, SECOND, THIRD)))
    (tmp_path / "again").mkdir()
    after = ask(net, tmp_path / "again", legal_basis="tcal-6", exit_code=DENIED)
    assert (before["outcome"]["decision"], after["outcome"]["decision"]) == ("permit", "deny")
    for node in local.index.nodes[:2]:
        wait_receipt(node.api, after["index"])
        copy = tmp_path / f"copy-{node.member}"
        tally("audit", "mirror", node.api, copy, "--genesis", local.genesis_path)
        report = tally("audit", "replay", copy, "--genesis", local.genesis_path)
        assert report["replay"] == "valid"
        assert (report["decisions"]["permit"], report["decisions"]["deny"]) == (1, 1)
