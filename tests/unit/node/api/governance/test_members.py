"""One member over HTTP: from application through votes and acknowledgement to suspension."""

from pathlib import Path

import pytest

from ledger.custody.certificates import hash_certificate
from ledger.custody.encryption import format_encryption_key, hash_encryption_key
from ledger.governance.actions import SanctionMember, SuspendMember
from ledger.governance.keys import SetTerm
from ledger.keys import format_public_key
from tests import builders
from tests.builders import VALIDATORS, ballot, carried, propose
from tests.certificates import der_of
from tests.unit.contracts.governance.parts import gateway, recipient
from tests.unit.node.api.governance.proposing import APPLICANT, acknowledge, admit, submit_all
from tests.unit.node.api.harness import Served, run

FIRST, SECOND, THIRD, FOURTH = VALIDATORS


def test_a_member_that_genesis_names(data_dir: Path) -> None:
    async def story(node: Served) -> None:
        body = await node.get_json(f"/v1/members/{FOURTH}")
        assert (body["id"], body["status"], body["credit"]) == (FOURTH, "active", 890)
        assert (body["admission"], body["waits_for"]) == (None, "")
        assert {officer["roles"][0] for officer in body["officers"]} == set(builders.ROLES)
        assert {officer["member"] for officer in body["officers"]} == {FOURTH}
        sanction = SanctionMember(member=FOURTH, points=1, grounds="late")
        await submit_all(node, *carried(sanction, activate_height=0))
        # A later change of it is no admission.
        assert (await node.get_json(f"/v1/members/{FOURTH}"))["admission"] is None

    run(data_dir, story)


def test_an_applicant_on_its_way_in(data_dir: Path) -> None:
    path = f"/v1/members/{APPLICANT}"

    async def story(node: Served) -> None:
        assert (await node.get_json(path, status=404))["code"] == "member-not-found"
        proposal = propose(admit(), activate_height=5)
        await submit_all(node, proposal, ballot(proposal, SECOND))
        body = await node.get_json(path)
        assert (body["status"], body["waits_for"], body["officers"]) == ("proposed", "ballots", [])
        assert body["name_zh"] == "深圳市税务局"
        assert body["admission"] == {
            "proposal": proposal.digest.hex(),
            "status": "open",
            "member": FIRST,
            "approved": [FIRST, SECOND],
            "rejected": [],
            "needed": 3,
        }
        rival = propose(admit(), label="rival", member=SECOND)
        await submit_all(node, rival, ballot(proposal, THIRD))
        # Decided in block 4, and in force from block 5 on.
        body = await node.get_json(path)
        assert (body["status"], body["waits_for"]) == ("applied", "acknowledgement")
        assert body["admission"]["status"] == "in_force"
        assert len(body["officers"]) == 1
        await submit_all(node, acknowledge(proposal))
        body = await node.get_json(path)
        assert (body["status"], body["waits_for"]) == ("active", "")
        assert body["admission"]["proposal"] == proposal.digest.hex()

    run(data_dir, story)


def test_a_decided_admission_waits_for_its_height(data_dir: Path) -> None:
    async def story(node: Served) -> None:
        await submit_all(node, *carried(admit(), activate_height=50))
        body = await node.get_json(f"/v1/members/{APPLICANT}")
        assert (body["status"], body["waits_for"]) == ("proposed", "height")
        assert body["admission"]["status"] == "waiting"

    run(data_dir, story)


def test_a_suspended_member_waits_for_its_reinstatement(data_dir: Path) -> None:
    async def story(node: Served) -> None:
        suspend = SuspendMember(member=FOURTH, grounds="gone")
        await submit_all(node, *carried(suspend, activate_height=0))
        body = await node.get_json(f"/v1/members/{FOURTH}")
        assert (body["status"], body["waits_for"]) == ("suspended", "reinstatement")

    run(data_dir, story)


@pytest.mark.parametrize("name", ["-x", "X", "x" * 65, "x%00", "x?y=1"])
def test_what_is_no_member_is_refused(data_dir: Path, name: str) -> None:
    async def story(node: Served) -> None:
        body = await node.get_json(f"/v1/members/{name}", status=400)
        assert body["code"] == "parameter-invalid"

    run(data_dir, story)


def test_keys_of_a_member_with_their_last_days(data_dir: Path) -> None:
    path, key = f"/v1/members/{FIRST}", builders.key_of(FIRST, "requester").public
    terms = (
        SetTerm(member=FIRST, key=key, not_after="2026-02-01"),
        recipient(FIRST, not_after="2026-03-01"),
    )

    async def story(node: Served) -> None:
        assert (await node.get_json(path))["encryption_keys"] == []
        await submit_all(node, *carried(*terms, activate_height=0))
        await submit_all(node, *carried(recipient(FIRST, "two"), activate_height=0, label="two"))
        body = await node.get_json(path)
        ends = {each["key"]: each["not_after"] for each in body["officers"]}
        assert ends.pop(format_public_key(key)) == "2026-02-01"
        assert set(ends.values()) == {""}
        newest, first = body["encryption_keys"]
        assert newest["key"] == format_encryption_key(recipient(FIRST, "two").key)
        assert newest["hash"] == hash_encryption_key(recipient(FIRST, "two").key).hex()
        assert (newest["not_after"], newest["until_height"]) == ("", 0)
        assert (first["not_after"], first["until_height"]) == ("2026-03-01", newest["from_height"])
        kinds = [each["kind"] for each in (await node.get_json("/v1/status"))["expiring"]]
        assert kinds == ["certificate"], "only what the own member has"

    run(data_dir, story)


def test_where_the_payloads_of_a_member_are_fetched(data_dir: Path) -> None:
    path = f"/v1/members/{FIRST}"
    first, moved = gateway(FIRST), gateway(FIRST, "[2001:db8::1]:8443", ("one", "two"))

    async def story(node: Served) -> None:
        assert (await node.get_json(path))["gateway"] is None
        await submit_all(node, *carried(first, activate_height=0))
        body = (await node.get_json(path))["gateway"]
        assert body["address"] == "gate.example.org:8443"
        assert body["certificates"] == [
            {"sha256": hash_certificate(der_of("one")).hex(), "der": der_of("one").hex()}
        ]
        await submit_all(node, *carried(moved, activate_height=0, label="moved"))
        after = (await node.get_json(path))["gateway"]
        assert after["address"] == "[2001:db8::1]:8443"
        assert [each["der"] for each in after["certificates"]] == [
            der_of(each).hex() for each in ("one", "two")
        ]
        assert after["height"] > body["height"] > 0

    run(data_dir, story)
