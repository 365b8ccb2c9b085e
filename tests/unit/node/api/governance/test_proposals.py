"""Proposals over HTTP: rules, dry runs, lists, one in full, histories, and what is refused."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from ledger.governance.actions import (
    Action,
    LiftFreeze,
    RemoveContract,
    RevokeOfficer,
    SanctionMember,
    SetBasis,
    SetRule,
    SuspendMember,
    VotingRule,
)
from ledger.keys import format_public_key
from tests import builders
from tests.builders import HEIGHT, VALIDATORS, ballot, carried, key_of, propose, take_back
from tests.unit.node.api.governance.proposing import (
    add_officer,
    change_contract,
    freeze,
    preview,
    submit_all,
)
from tests.unit.node.api.harness import ENGLISH, MSGPACK, Served, run

FIRST, SECOND, THIRD, FOURTH = VALIDATORS
SANCTION = SanctionMember(member=FOURTH, points=100, grounds="late")
TWO_KEYS = SetRule(rule=VotingRule(action_class="parties", share=667, factors=2))


async def detail(node: Served, digest: bytes) -> Any:
    return await node.get_json(f"/v1/proposals/{digest.hex()}", headers=ENGLISH)


def codes(body: Any) -> list[str]:
    return [fault["code"] for fault in body["faults"]]


# Rules.


def test_the_rules_say_how_many_must_approve(data_dir: Path) -> None:
    async def story(node: Served) -> None:
        body = await node.get_json("/v1/rules")
        assert body["voters"] == VALIDATORS
        needed = {rule["class"]: rule["needed"] for rule in body["rules"]}
        assert needed == {
            "parties": 3,
            "keys": 3,
            "contracts": 3,
            "parameters": 3,
            "emergency": 2,
        }
        rule = VotingRule(action_class="emergency", share=500, factors=1)
        await submit_all(node, *carried(SetRule(rule=rule), activate_height=0))
        changed = (await node.get_json("/v1/rules"))["rules"][-1]
        assert changed == {"class": "emergency", "share": 500, "factors": 1, "needed": 3}
        await node.get_json("/v1/rules?class=keys", status=400)

    run(data_dir, story)


# Dry runs.


def test_a_dry_run_says_what_changes_and_submits_nothing(data_dir: Path) -> None:
    async def story(node: Served) -> None:
        body = await preview(node, SANCTION, member=FIRST)
        assert (body["class"], body["needed"], body["voters"], body["factors"]) == (
            "parties",
            3,
            4,
            1,
        )
        assert (body["own"], body["faults"], body["validators"]) == (False, [], None)
        (change,) = body["changes"]
        assert (change["target"], change["kind"]) == (f"member/{FOURTH}", "set")
        assert (change["before"]["score"], change["after"]["score"]) == (890, 790)
        assert (await node.get_json("/v1/status"))["height"] == 0

    run(data_dir, story)


def test_contracts_are_shown_one_by_one(data_dir: Path) -> None:
    async def story(node: Served) -> None:
        body = await preview(node, change_contract(), RemoveContract(id="credit"))
        changes = {change["target"]: change for change in body["changes"]}
        assert set(changes) == {"contract/statistics", "contract/credit", "policy-set"}
        assert changes["contract/credit"]["kind"] == "remove"
        assert changes["contract/credit"]["after"] is None
        assert changes["contract/statistics"]["after"]["text"].startswith("// changed\n")
        versions = [changes["policy-set"][side]["version"] for side in ("before", "after")]
        assert versions[1] == versions[0] + 1

    run(data_dir, story)


def test_a_freeze_that_ends_is_shown_as_removed(data_dir: Path) -> None:
    async def story(node: Served) -> None:
        await submit_all(node, *carried(freeze(), activate_height=0)[:2])
        lift = LiftFreeze(requester="", provider="", dataset="")
        body = await preview(node, lift)
        (change,) = body["changes"]
        assert (change["kind"], change["after"]) == ("remove", None)
        assert change["before"]["reason"] == "stop"

    run(data_dir, story)


def test_a_dry_run_of_the_list_of_validators(data_dir: Path) -> None:
    joining = sorted(builders.MEMBERS)[4]

    async def story(node: Served) -> None:
        body = await preview(node, builders.add_validator(joining))
        assert body["validators"]["added"] == [joining]
        (change,) = body["changes"]
        assert (change["target"], change["before"]) == (f"validator/{joining}", None)
        wrong = builders.add_validator(joining, possession=bytes([1]) * 65)
        body = await preview(node, wrong)
        assert (codes(body), body["changes"]) == (["possession-invalid"], [])

    run(data_dir, story)


def test_a_dry_run_names_every_fault_in_the_language_asked_for(data_dir: Path) -> None:
    unknown = SuspendMember(member="nobody", grounds="gone")

    async def story(node: Served) -> None:
        body = await preview(node, unknown, SANCTION, member=sorted(builders.MEMBERS)[4])
        assert codes(body) == ["member-unknown", "not-a-voter"]
        assert all(fault["title"] and fault["advice"] for fault in body["faults"])
        chinese = await preview(node, unknown, **{"Accept-Language": "zh"})
        assert not chinese["faults"][0]["title"].isascii()

    run(data_dir, story)


@pytest.mark.parametrize(
    ("actions", "code"),
    [
        ((SANCTION, freeze()), "classes-mixed"),
        ((SANCTION, builders.remove_validator(FOURTH)), "actions-conflict"),
    ],
)
def test_actions_that_do_not_belong_together_have_no_class(
    data_dir: Path, actions: tuple[Action, ...], code: str
) -> None:
    async def story(node: Served) -> None:
        body = await preview(node, *actions)
        assert codes(body) == [code]
        assert (body["class"], body["needed"], body["changes"]) == ("", 0, [])

    run(data_dir, story)


def test_what_waits_holds_what_it_changes(data_dir: Path) -> None:
    async def story(node: Served) -> None:
        await submit_all(node, *carried(SANCTION, activate_height=90))
        assert codes(await preview(node, SANCTION)) == ["target-waiting"]

    run(data_dir, story)


def test_own_officers_need_no_votes(data_dir: Path) -> None:
    outsider = sorted(builders.MEMBERS)[4]

    async def story(node: Served) -> None:
        assert (await preview(node, add_officer(outsider), member=outsider))["own"] is True
        assert (await preview(node, add_officer(outsider), member=FIRST))["own"] is False

    run(data_dir, story)


def test_a_dry_run_in_json(data_dir: Path) -> None:
    async def story(node: Served) -> None:
        document = msgspec.json.encode({"actions": [add_officer(FOURTH)], "member": FOURTH})
        headers = {"Content-Type": "application/json"}
        async with node.client.post(
            "/v1/proposals/preview", data=document, headers=headers
        ) as response:
            assert response.status == 200, await response.text()
            assert (await response.json())["own"] is True

    run(data_dir, story)


UNKNOWN_ACTION = {"actions": [{"action": "member.delete", "member": FIRST}], "member": ""}
BAD_BODIES = {
    "empty": (b"", 400),
    "not MessagePack": (b"\xc1", 400),
    "no map": (b"\x91\x01", 400),
    "no actions": (msgspec.msgpack.encode({"actions": [], "member": ""}), 400),
    "nine actions": (msgspec.msgpack.encode({"actions": [SANCTION] * 9, "member": ""}), 400),
    "an unknown action": (msgspec.msgpack.encode(UNKNOWN_ACTION), 400),
    "an unknown field": (msgspec.msgpack.encode({"actions": [SANCTION], "who": ""}), 400),
    "too large": (b"x" * 140_000, 413),
}


@pytest.mark.parametrize("name", BAD_BODIES)
def test_what_is_no_proposal_is_refused(data_dir: Path, name: str) -> None:
    body, status = BAD_BODIES[name]

    async def story(node: Served) -> None:
        async with node.client.post(
            "/v1/proposals/preview", data=body, headers=MSGPACK
        ) as response:
            assert response.status == status
            problem = await response.json(content_type=None)
            assert problem["code"] == ("body-too-large" if status == 413 else "body-malformed")
        async with node.client.post("/v1/proposals/preview", data=b"") as response:
            assert response.status == 415

    run(data_dir, story)


def test_what_no_event_could_hold_is_refused(data_dir: Path) -> None:
    basis = builders.legal_basis("wide", categories=tuple(f"c-{n:058}" for n in range(1_100)))

    async def story(node: Served) -> None:
        body = await preview(node, SetBasis(basis=basis), status=413)
        assert body["code"] == "event-too-large"

    run(data_dir, story)


def test_dry_runs_of_contracts_are_dear(data_dir: Path) -> None:
    async def story(node: Served) -> None:
        assert (await preview(node, change_contract()))["faults"] == []
        body = await preview(node, change_contract(), status=429)
        assert body["code"] == "rate-limited"
        assert (await preview(node, SANCTION))["faults"] == []

    run(data_dir, story, requests_per_s=1, requests_burst=1_500)


# Lists.


def test_proposals_are_listed_by_status_and_in_pages(data_dir: Path) -> None:
    dead = propose(SANCTION, label="dead", ballots_until_height=1)

    async def story(node: Served) -> None:
        assert (await node.get_json("/v1/proposals")) == {"items": [], "next": None}
        open_, back = propose(SANCTION, label="open", text="why"), propose(SANCTION, label="back")
        await submit_all(node, dead, open_, back, take_back(back))
        items = (await node.get_json("/v1/proposals"))["items"]
        assert [item["digest"] for item in items] == sorted(
            each.digest.hex() for each in (dead, open_, back)
        )
        for status, event in (("expired", dead), ("open", open_), ("withdrawn", back)):
            body = await node.get_json(f"/v1/proposals?status={status}")
            assert [item["digest"] for item in body["items"]] == [event.digest.hex()]
            assert (body["items"][0]["status"], body["next"]) == (status, None)
        found = next(item for item in items if item["digest"] == open_.digest.hex())
        assert (found["text"], found["class"], found["needed"]) == ("why", "parties", 3)
        assert (found["actions"], found["approved"]) == (["member.sanction"], [FIRST])
        entry = await node.get_json(f"/v1/entries/{found['index']}")
        assert (entry["event"]["digest"], entry["height"]) == (found["digest"], found["height"])
        listed: list[Any] = []
        cursor: str | None = ""
        while cursor is not None:
            page = await node.get_json(f"/v1/proposals?limit=1{cursor}")
            listed += page["items"]
            cursor = page["next"] and f"&cursor={page['next']}"
        assert listed == items

    run(data_dir, story)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("status=lost", "parameter-invalid"),
        ("limit=0", "parameter-invalid"),
        ("limit=1001", "parameter-invalid"),
        ("member=x", "parameter-invalid"),
        ("cursor=*", "cursor-invalid"),
        ("cursor=eC9h", "cursor-invalid"),  # of another list
    ],
)
def test_a_bad_query_of_the_list_is_refused(data_dir: Path, query: str, code: str) -> None:
    async def story(node: Served) -> None:
        body = await node.get_json(f"/v1/proposals?{query}", status=400)
        assert body["code"] == code

    run(data_dir, story)


# One proposal.


def test_an_open_proposal_says_who_is_missing(data_dir: Path) -> None:
    async def story(node: Served) -> None:
        event = propose(SANCTION, text="too late")
        no = ballot(event, SECOND, approve=False, text="not so")
        await submit_all(node, event, no)
        repeated = ballot(event, SECOND, label="repeated")
        body = await node.submit(repeated.data, status=422)
        assert body["code"] == "ballot-repeated"
        body = await detail(node, event.digest)
        assert (body["status"], body["member"], body["text"]) == ("open", FIRST, "too late")
        assert body["actions"] == [
            {"action": "member.sanction", "member": FOURTH, "points": 100, "grounds": "late"}
        ]
        assert (body["approved"], body["rejected"]) == ([FIRST], [SECOND])
        assert (body["missing"], body["pending_second_key"]) == ([THIRD, FOURTH], [])
        assert (body["needed"], body["voters"], body["effective_height"]) == (3, VALIDATORS, None)
        assert [change["target"] for change in body["changes"]] == [f"member/{FOURTH}"]
        (said,) = body["ballots"]
        assert said == {
            "event": no.digest.hex(),
            "index": 3,
            "height": 2,
            "member": SECOND,
            "officer": format_public_key(key_of(SECOND, "admin").public),
            "approve": False,
            "text": "not so",
        }

    run(data_dir, story)


def test_a_ballot_is_found_behind_thousands_that_did_not_count(data_dir: Path) -> None:
    event = propose(SANCTION)
    said = ballot(event, SECOND)
    repeated = [ballot(event, SECOND, label=f"again {number}") for number in range(2_100)]

    async def story(node: Served) -> None:
        await submit_all(node, event)
        # Pending together, so that none is refused at the door: they are recorded as refused.
        node.service.hold = True
        await node.service.submit([said.data, *(each.data for each in repeated)], client="")
        while len(node.service.pool):
            node.service.finalize()
        node.service.hold = False
        assert node.service.tree_size() > 2_100
        await submit_all(node, last := ballot(event, THIRD))
        body = await detail(node, event.digest)
        assert [each["event"] for each in body["ballots"]] == [
            said.digest.hex(),
            last.digest.hex(),
        ]
        assert body["effective_height"] == max(HEIGHT, body["ballots"][-1]["height"] + 1)
        # Each of the five chunks is a request: who has the node read so much again has to wait.
        for _ in range(3):
            async with node.client.get(f"/v1/proposals/{event.digest.hex()}") as response:
                problem = await response.json(content_type=None)
        assert (response.status, problem["code"]) == (429, "rate-limited")

    run(data_dir, story, requests_per_s=1, requests_burst=20)


def test_a_carried_proposal_says_from_when_it_is_in_force(data_dir: Path) -> None:
    async def story(node: Served) -> None:
        waiting = carried(SANCTION, activate_height=5)
        await submit_all(node, *waiting)
        body = await detail(node, waiting[0].digest)
        assert (body["status"], body["effective_height"]) == ("waiting", 5)
        assert body["changes"][0]["after"]["score"] == 790
        at_once = carried(freeze(), label="at once", activate_height=0)[:2]
        await submit_all(node, *at_once)
        body = await detail(node, at_once[0].digest)
        # The ballot that carried it stands in block 5, and block 6 is the first after it.
        assert (body["status"], body["effective_height"]) == ("in_force", 6)
        assert (body["changes"], body["faults"]) == ([], [])
        body = await detail(node, waiting[0].digest)
        assert (body["status"], body["effective_height"]) == ("in_force", 5)

    run(data_dir, story)


def test_ballots_over_and_done_with(data_dir: Path) -> None:
    async def story(node: Served) -> None:
        lost, old = propose(SANCTION), propose(SANCTION, label="old", ballots_until_height=4)
        against = [ballot(lost, member, approve=False) for member in (SECOND, THIRD)]
        await submit_all(node, old, lost, *against)
        body = await detail(node, lost.digest)
        assert (body["status"], body["rejected"]) == ("rejected", [SECOND, THIRD])
        body = await detail(node, old.digest)
        assert (body["status"], body["faults"]) == ("expired", [])

    run(data_dir, story)


def test_a_proposal_that_became_impossible_says_so(data_dir: Path) -> None:
    async def story(node: Served) -> None:
        removal = propose(RemoveContract(id="credit"))
        await submit_all(node, removal)
        again = carried(RemoveContract(id="credit"), label="again", activate_height=0)
        await submit_all(node, *again)
        body = await detail(node, removal.digest)
        assert (body["status"], codes(body)) == ("open", ["contract-unknown"])

    run(data_dir, story)


def test_an_approval_may_lack_its_second_key(data_dir: Path) -> None:
    async def story(node: Served) -> None:
        second_admin = add_officer(FIRST, "second admin", "admin")
        event = propose(second_admin)
        await submit_all(node, event)
        body = await detail(node, event.digest)
        # The own officers' way: another administrator of the member makes it whole.
        assert (body["own"], body["pending_second_key"]) == (True, [FIRST])
        assert body["missing"] == [SECOND, THIRD, FOURTH]
        rule = propose(TWO_KEYS)
        await submit_all(node, rule)
        body = await detail(node, rule.digest)
        assert (body["factors"], body["approved"]) == (2, [])
        assert body["pending_second_key"] == [FIRST]
        assert body["missing"] == [SECOND, THIRD, FOURTH]

    run(data_dir, story)


def test_a_proposal_that_nobody_made_is_unknown(data_dir: Path) -> None:
    async def story(node: Served) -> None:
        body = await node.get_json(f"/v1/proposals/{'0' * 64}", status=404)
        assert body["code"] == "proposal-not-found"
        for bad in ("0", "g" * 64, "A" * 64, "0" * 64 + "?x=1"):
            body = await node.get_json(f"/v1/proposals/{bad}", status=400)
            assert body["code"] == "parameter-invalid"

    run(data_dir, story)


# Histories.


def test_a_history_names_what_decided_each_change(data_dir: Path) -> None:
    async def story(node: Served) -> None:
        target = f"member/{FOURTH}"
        assert (await node.get_json(f"/v1/history/{target}")) == {
            "target": target,
            "revisions": [],
        }
        first = carried(SANCTION, label="first", activate_height=0)
        second = carried(SANCTION, label="second", activate_height=HEIGHT + 3)
        revoke = RevokeOfficer(key=key_of(FOURTH, "provider").public, grounds="lost")
        await submit_all(node, *first, *second)
        await submit_all(node, *(propose(revoke, label=f"block {height}") for height in (7, 8, 9)))
        body = await node.get_json(f"/v1/history/{target}")
        assert body["revisions"] == [
            {"proposal": first[0].digest.hex(), "height": 4},
            {"proposal": second[0].digest.hex(), "height": 10},
        ]
        # A name that begins alike is another thing.
        assert (await node.get_json(f"/v1/history/{target[:-1]}"))["revisions"] == []

    run(data_dir, story)


@pytest.mark.parametrize("target", ["", "Member/x", "a/b/c", "%00", "x" * 40])
def test_what_is_no_target_is_refused(data_dir: Path, target: str) -> None:
    async def story(node: Served) -> None:
        status = 404 if not target else 400
        await node.get_json(f"/v1/history/{target}", status=status)

    run(data_dir, story)
