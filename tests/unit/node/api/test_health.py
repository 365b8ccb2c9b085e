"""What the node says of itself over HTTP: its state, what ends soon, figures of governance."""

from pathlib import Path

from ledger.governance.actions import SanctionMember
from ledger.governance.keys import SetTerm
from ledger.keys import fingerprint
from tests import builders
from tests.builders import VALIDATORS, carried, propose
from tests.unit.node.api.governance.proposing import freeze, submit_all
from tests.unit.node.api.harness import Served, run

DAY_MS = 86_400_000


async def figures(node: Served) -> str:
    host, port = node.metrics_address
    async with node.client.get(f"http://{host}:{port}/metrics") as response:
        return await response.text()


def test_the_state_names_freezes_and_counts_open_proposals(data_dir: Path) -> None:
    async def story(node: Served) -> None:
        body = await node.get_json("/v1/status")
        assert (body["proposals_open"], body["freezes"]) == (0, [])
        sanction = SanctionMember(member=VALIDATORS[3], points=1, grounds="late")
        stop = carried(freeze(dataset="account"), activate_height=0)[:2]
        await submit_all(node, propose(sanction), *stop)
        body = await node.get_json("/v1/status")
        assert body["proposals_open"] == 1
        assert body["freezes"] == [
            {"requester": "", "provider": "", "dataset": "account", "reason": "stop"}
        ]
        text = await figures(node)
        assert "tallystick_proposals_open 1.0" in text
        assert "tallystick_freezes 1.0" in text

    run(data_dir, story)


def test_the_state_says_what_ends_soon(data_dir: Path) -> None:
    async def story(node: Served) -> None:
        own = {
            "kind": "certificate",
            "id": "cn-3301-tax",
            "ends": "2026-02-15",
            "days_left": 45,
            "within_days": 60,
        }
        assert (await node.get_json("/v1/status"))["expiring"] == [own]
        left = 'tallystick_days_left{id="cn-3301-tax",kind="certificate"} 45.0'
        assert left in await figures(node)
        node.service.wall_ms = builders.TIME_MS + 40 * DAY_MS
        later = {**own, "days_left": 5, "within_days": 7}
        assert (await node.get_json("/v1/status"))["expiring"] == [later]

    run(data_dir, story)


def test_the_figures_name_every_validator(data_dir: Path) -> None:
    async def story(node: Served) -> None:
        text = await figures(node)
        for member in VALIDATORS:
            # Certificates of the test network are none.
            assert f'tallystick_certificate_expiry_days{{member="{member}"}} NaN' in text

    run(data_dir, story)


def test_the_state_and_the_figures_count_the_days_of_own_keys(data_dir: Path) -> None:
    own = "cn-3301-tax"
    key = builders.key_of(own, "requester").public
    ending = SetTerm(member=own, key=key, not_after="2026-01-06")

    async def story(node: Served) -> None:
        await submit_all(node, *carried(ending, activate_height=0))
        expiring = (await node.get_json("/v1/status"))["expiring"]
        assert {
            "kind": "officer-key",
            "id": fingerprint(key),
            "ends": "2026-01-06",
            "days_left": 5,
            "within_days": 7,
        } in expiring
        figure = f'tallystick_key_expiry_days{{key="{fingerprint(key)}",kind="officer-key"}} 5.0'
        assert figure in await figures(node)

    run(data_dir, story)
