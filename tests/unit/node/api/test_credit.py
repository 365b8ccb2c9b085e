"""The credit of a member over HTTP: as computed, as recorded, and for members that are not."""

from pathlib import Path

import pytest

from contracts.credit.behaviours import UNFOUNDED
from tests import builders
from tests.builders import ASKER, OWNER, refuse, reviewed_request
from tests.unit.node.api.harness import ENGLISH, Served, run


async def refuse_often(node: Served, count: int) -> list[str]:
    """The owner refuses for a reason that is not permitted; digests of the refusals."""
    digests = []
    for number in range(count):
        opened = reviewed_request(label=f"opened {number}")
        refusal = refuse(opened, reason="no-time", label=f"refusal {number}")
        for event in (opened, refusal):
            assert (await node.submit(event.data))["outcome"]["applied"]
        digests.append(refusal.digest.hex())
    return digests


def test_credit_names_what_it_is_made_of(data_dir: Path) -> None:
    async def story(node: Served) -> None:
        digests = await refuse_often(node, 7)
        found = await node.get_json(f"/v1/members/{OWNER}/credit")
        assert (found["score"], found["grade"], found["start"]) == (785, "B", 890)
        assert found["recorded_grade"] == "B"
        assert found["contributions"] == [
            {"behaviour": UNFOUNDED, "amount": 7, "points": -105, "limit": 300}
        ]
        assert [each["event"] for each in found["causes"]] == digests[:-4:-1]
        (change,) = found["changes"]
        assert (change["before"], change["after"], change["reason"]) == ("A", "B", "behaviour")
        assert (change["score_before"], change["score_after"]) == (800, 785)
        assert change["causes"][0]["event"] == digests[-1]
        assert change["height"] == change["causes"][0]["height"] == 14
        assert found["changes_total"] == 1
        assert found["time_ms"] == node.service.log.tip.time_ms
        assert 0 <= found["time_ms"] - found["window_from_ms"] - 330 * 86_400_000 < 30 * 86_400_000

    run(data_dir, story)


def test_a_member_that_nothing_counted_for_has_what_genesis_gave(data_dir: Path) -> None:
    async def story(node: Served) -> None:
        found = await node.get_json(f"/v1/members/{ASKER}/credit")
        assert found["score"] == found["start"] == builders.MEMBERS[ASKER][2]
        assert (found["contributions"], found["causes"], found["changes"]) == ([], [], [])

    run(data_dir, story)


def test_who_is_no_member_has_no_credit(data_dir: Path) -> None:
    async def story(node: Served) -> None:
        path = "/v1/members/cn-9999-tax/credit"
        problem = await node.get_json(path, status=404, headers=ENGLISH)
        assert (problem["code"], problem["title"]) == ("member-not-found", "No such member")

    run(data_dir, story)


@pytest.mark.parametrize("name", ["CN", "a%00b", "a%01b", "%ff", "x" * 65])
@pytest.mark.parametrize(
    "path",
    [
        "/v1/members/{}/credit",
        "/v1/members/{}",
        "/v1/members/{}/events/" + 32 * "0",
        "/v1/requests?member={}",
        "/v1/tasks?member={}",
        "/v1/stream?member={}",
    ],
)
def test_what_can_be_no_member_is_refused(data_dir: Path, name: str, path: str) -> None:
    async def story(node: Served) -> None:
        problem = await node.get_json(path.format(name), status=400)
        assert problem["code"] == "parameter-invalid"

    run(data_dir, story)


def test_the_route_takes_no_parameters(data_dir: Path) -> None:
    async def story(node: Served) -> None:
        problem = await node.get_json(f"/v1/members/{OWNER}/credit?at=1", status=400)
        assert problem["code"] == "parameter-invalid"

    run(data_dir, story)
