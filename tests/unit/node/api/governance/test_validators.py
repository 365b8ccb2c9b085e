"""Who validates, over HTTP: lists, the pending change, dry runs, evidence, proofs of epochs."""

import base64
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ledger.events import Event
from ledger.governance.actions import Action
from ledger.quorum.votes import Kind, encode_vote
from tests import builders
from tests.builders import VALIDATORS
from tests.unit.node.api.harness import ENGLISH, MSGPACK, Served, run

JOINING = sorted(builders.MEMBERS)[4]


async def submit_all(node: Served, *events: Event) -> None:
    for event in events:
        body = await node.submit(event.data)
        assert body["outcome"]["applied"], body


async def preview(node: Served, *actions: Action, status: int = 200, **headers: str) -> Any:
    async with node.client.post(
        "/v1/validators/preview",
        data=msgspec.msgpack.encode(actions),
        headers={**MSGPACK, **ENGLISH, **headers},
    ) as response:
        body = await response.json(content_type=None)
        assert response.status == status, body
        return body


def test_the_list_in_force(data_dir: Path) -> None:
    async def story(node: Served) -> None:
        body = await node.get_json("/v1/validators")
        assert (body["epoch"], body["quorum"], body["pending"]) == (0, 3, None)
        assert [each["member"] for each in body["validators"]] == VALIDATORS
        heard = {each["member"]: each["hearing"] for each in body["validators"]}
        # The node is the third; it has a link with the fourth alone.
        assert heard == dict(
            zip(VALIDATORS, ("unlinked", "unlinked", "heard", "heard"), strict=True)
        )

    run(data_dir, story)


def test_a_pending_change_names_who_is_not_ready(data_dir: Path) -> None:
    async def story(node: Served) -> None:
        action = builders.add_validator(JOINING)
        await submit_all(node, *builders.carried(action, activate_height=1_000))
        following = [*VALIDATORS, JOINING]
        await submit_all(node, builders.ready(VALIDATORS[1], following))
        pending = (await node.get_json("/v1/validators"))["pending"]
        assert (pending["next_epoch"], pending["activate_height"]) == (1, 1_000)
        assert (pending["quorum"], pending["ready"]) == (4, [VALIDATORS[1]])
        assert set(pending["missing"]) == set(following) - {VALIDATORS[1]}
        addresses = {each["member"]: each["address"] for each in pending["validators"]}
        assert addresses[JOINING] == action.address

    run(data_dir, story)


def test_a_dry_run_of_an_addition(data_dir: Path) -> None:
    async def story(node: Served) -> None:
        body = await preview(node, builders.add_validator(JOINING))
        assert (body["quorum"], body["faults"]) == (4, [])
        assert (body["added"], body["removed"]) == ([JOINING], [])
        assert (body["heard"], body["silent"]) == (VALIDATORS[2:], [])
        assert set(body["unlinked"]) == {*VALIDATORS[:2], JOINING}
        assert body["has_live_quorum"] is False
        assert (await node.get_json("/v1/status"))["height"] == 0

    run(data_dir, story)


def test_a_dry_run_says_why_a_change_is_not_possible(data_dir: Path) -> None:
    async def story(node: Served) -> None:
        removal = builders.remove_validator(VALIDATORS[3])
        body = await preview(node, removal, builders.remove_validator("nobody"))
        codes = {fault["code"] for fault in body["faults"]}
        assert "validator-unknown" in codes
        assert len(codes) == 2  # and too few are left
        assert all(fault["title"] and fault["advice"] for fault in body["faults"])
        assert body["removed"] == [VALIDATORS[3]]
        chinese = await preview(node, removal, **{"Accept-Language": "zh"})
        assert not chinese["faults"][0]["title"].isascii()

    run(data_dir, story)


def test_a_dry_run_in_json(data_dir: Path) -> None:
    async def story(node: Served) -> None:
        action = builders.add_validator(JOINING)
        document = msgspec.json.encode({"actions": [action]})
        headers = {"Content-Type": "application/json"}
        async with node.client.post(
            "/v1/validators/preview", data=document, headers=headers
        ) as response:
            assert response.status == 200, await response.text()
            assert (await response.json())["added"] == [JOINING]
        encoded = base64.b64encode(action.possession).decode()
        assert encoded.encode() in document

    run(data_dir, story)


@pytest.mark.parametrize("body", [b"", b"\x90", b"\x91\x01", b"\xc1", b"x" * 70_000])
def test_what_is_no_list_of_actions_is_refused(data_dir: Path, body: bytes) -> None:
    async def story(node: Served) -> None:
        async with node.client.post(
            "/v1/validators/preview", data=body, headers=MSGPACK
        ) as response:
            assert response.status == (413 if len(body) > 65_536 else 400)

    run(data_dir, story)


def test_nine_actions_are_too_many(data_dir: Path) -> None:
    async def story(node: Served) -> None:
        actions = [builders.remove_validator(VALIDATORS[0])] * 9
        body = await preview(node, *actions, status=400)
        assert body["code"] == "body-malformed"

    run(data_dir, story)


def test_evidence_is_listed_with_both_votes_and_its_place(data_dir: Path) -> None:
    async def story(node: Served) -> None:
        assert (await node.get_json("/v1/evidence")) == {"items": [], "next": None}
        one, other = builders.vote(VALIDATORS[2], "a"), builders.vote(VALIDATORS[2], "b")
        skipped = builders.vote(VALIDATORS[3], kind=Kind.NULLIFY)
        final = builders.vote(VALIDATORS[3], "a", kind=Kind.FINALIZE)
        first = builders.accuse(one, other)
        await submit_all(node, first, builders.accuse(skipped, final, member=VALIDATORS[1]))
        items = (await node.get_json("/v1/evidence"))["items"]
        assert [item["member"] for item in items] == VALIDATORS[2:]
        item = items[0]
        assert (item["epoch"], item["view"]) == (0, one.subject.view)
        assert item["submitted_by"] == VALIDATORS[0]
        assert [vote["data"] for vote in item["votes"]] == [
            encode_vote(one).hex(),
            encode_vote(other).hex(),
        ]
        assert [vote["kind"] for vote in items[1]["votes"]] == ["nullify", "finalize"]
        entry = await node.get_json(item["entry"])
        assert entry["event"]["digest"] == item["event"] == first.digest.hex()
        page = await node.get_json("/v1/evidence?limit=1")
        rest = await node.get_json(f"/v1/evidence?limit=1&cursor={page['next']}")
        assert page["items"] + rest["items"] == items
        assert rest["next"] is None

    run(data_dir, story)


def test_the_proof_of_an_epoch(data_dir: Path) -> None:
    async def story(node: Served) -> None:
        problem = await node.get_json("/v1/log/epochs/0", status=404)
        assert problem["code"] == "epoch-open"
        await submit_all(
            node,
            *builders.carried(builders.add_validator(JOINING), activate_height=1),
            *(builders.ready(member, [*VALIDATORS, JOINING]) for member in VALIDATORS),
        )
        assert (await node.get_json("/v1/validators"))["epoch"] == 1
        problem = await node.get_json("/v1/log/epochs/0", status=503)
        assert problem["code"] == "epoch-proof-not-yet"
        node.service.proofs[0] = b"proof"
        async with node.client.get("/v1/log/epochs/0") as response:
            assert await response.read() == b"proof"
            assert "immutable" in response.headers["Cache-Control"]
        for epoch in ("1", "x", "-1"):
            status = 404 if epoch == "1" else 400
            await node.get_json(f"/v1/log/epochs/{epoch}", status=status)

    run(data_dir, story)
