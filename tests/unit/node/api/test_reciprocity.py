"""Counters of pairs, dependency and risk over HTTP, from events that were executed."""

from pathlib import Path

import pytest

from ledger.events import Event
from tests.builders import ASKER, OWNER, deliver, receive, refuse, request, reviewed_request
from tests.exchanges import offer
from tests.unit.node.api.harness import Served, run

OTHER = "cn-3205-tax"
FIRST, SECOND = request(label="first"), request(label="second")
AUDIT = request(label="audit", purpose="audit")
LATER = reviewed_request(label="later")
FROM_OTHER = request(label="from other", provider=OTHER)
OFFERED = offer(label="offered")


async def submit(node: Served, *events: Event) -> None:
    for event in events:
        answer = await node.submit(event.data)
        assert answer["outcome"]["applied"], answer


def answered(of: Event, records: int, **changed: object) -> tuple[Event, Event]:
    provider = {"member": changed.pop("member")} if "member" in changed else {}
    given = deliver(of, label=f"d{of.nonce.hex()}", record_count=records, **provider)
    return given, receive(of, label=f"r{of.nonce.hex()}", record_count=records - 1)


async def tell(node: Served) -> None:
    await submit(node, FIRST, *answered(FIRST, 10), SECOND, deliver(SECOND, record_count=5))
    await submit(node, AUDIT, *answered(AUDIT, 21), LATER, refuse(LATER))
    await submit(node, FROM_OTHER, *answered(FROM_OTHER, 61, member=OTHER))


def test_pairs_show_what_was_asked_sent_and_received(data_dir: Path) -> None:
    async def story(node: Served) -> None:
        assert (await node.get_json("/v1/reciprocity"))["items"] == []
        await tell(node)
        page = await node.get_json(f"/v1/reciprocity?requester={ASKER}&provider={OWNER}")
        rows = {each["purpose"]: each for each in page["items"]}
        assert set(rows) == {"assessment", "audit"}
        assert rows["assessment"] == {
            "requester": ASKER, "provider": OWNER, "purpose": "assessment", "year": 2026,
            "asked": 2, "permitted": 2, "reviewed": 0, "denied": 0, "refused": 0,
            "answered": 2, "in_time": 2, "late": 0, "records_sent": 15,
            "received": 1, "records_received": 9,
        }  # fmt: skip
        audit = rows["audit"]
        assert (audit["asked"], audit["reviewed"], audit["refused"]) == (2, 1, 1)
        assert (audit["records_sent"], audit["received"], audit["records_received"]) == (21, 1, 20)

    run(data_dir, story)


def test_an_offer_that_arrives_counts_as_received(data_dir: Path) -> None:
    async def story(node: Served) -> None:
        await submit(node, OFFERED, *answered(OFFERED, 7))
        (row,) = (await node.get_json("/v1/reciprocity"))["items"]
        assert (row["asked"], row["answered"], row["received"]) == (0, 1, 1)

    run(data_dir, story)


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("", 3), (f"provider={OTHER}", 1), ("purpose=audit", 1), ("year=2026", 3),
        ("year=2025", 0), (f"requester={OWNER}", 0),
    ],
)  # fmt: skip
def test_pairs_are_filtered(query: str, count: int, data_dir: Path) -> None:
    async def story(node: Served) -> None:
        await tell(node)
        assert len((await node.get_json(f"/v1/reciprocity?{query}"))["items"]) == count

    run(data_dir, story)


def test_pages_hold_every_pair_once(data_dir: Path) -> None:
    async def story(node: Served) -> None:
        await tell(node)
        found, path = [], "/v1/reciprocity?limit=1"
        page = await node.get_json(path)
        for _ in range(2):
            found += page["items"]
            page = await node.get_json(f"{path}&cursor={page['next']}")
        assert page["next"] is None
        found = [(each["provider"], each["purpose"]) for each in (*found, *page["items"])]
        assert found == [(OTHER, "assessment"), (OWNER, "assessment"), (OWNER, "audit")]

    run(data_dir, story)


def test_dependency_is_the_share_of_what_came_in(data_dir: Path) -> None:
    async def story(node: Served) -> None:
        await tell(node)
        body = await node.get_json(f"/v1/members/{ASKER}/dependency")
        assert (body["member"], body["year"]) == (ASKER, 2026)
        assert (body["exchanges"], body["records"], body["next"]) == (3, 89, None)
        assert body["items"] == [
            {
                "provider": OTHER, "exchanges": 1, "records": 60,
                "exchange_share": 333, "record_share": 674, "index": 503,
            },
            {
                "provider": OWNER, "exchanges": 2, "records": 29,
                "exchange_share": 666, "record_share": 325, "index": 495,
            },
        ]  # fmt: skip
        nothing = await node.get_json(f"/v1/members/{OWNER}/dependency?year=2026")
        assert (nothing["exchanges"], nothing["items"]) == (0, [])

    run(data_dir, story)


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v1/members/nobody/dependency", 404, "member-not-found"),
        ("/v1/members/%00/dependency", 400, "parameter-invalid"),
        (f"/v1/members/{ASKER}/dependency?year=x", 400, "parameter-invalid"),
        (f"/v1/members/{ASKER}/dependency?year=1969", 400, "parameter-invalid"),
        ("/v1/reciprocity?year=10000", 400, "parameter-invalid"),
        ("/v1/reciprocity?cursor=Zm9v", 400, "cursor-invalid"),
        ("/v1/reciprocity?mood=good", 400, "parameter-invalid"),
    ],
)
def test_what_cannot_be_read(path: str, status: int, code: str, data_dir: Path) -> None:
    async def story(node: Served) -> None:
        assert (await node.get_json(path, status=status))["code"] == code

    run(data_dir, story)


def test_the_risk_of_a_request_is_shown(data_dir: Path) -> None:
    many = request(label="many", subject_count=101, purpose="audit")

    async def story(node: Served) -> None:
        await submit(node, FIRST, many)
        ordinary = (await node.get_json(f"/v1/requests/{FIRST.digest.hex()}"))["risk"]
        assert ordinary == {"score": 0, "reasons": [], "rules_version": 0}
        risk = (await node.get_json(f"/v1/requests/{many.digest.hex()}"))["risk"]
        assert risk["score"] == 40
        assert risk["reasons"] == [
            {"code": "many-subjects", "points": 25}, {"code": "new-purpose", "points": 15}
        ]  # fmt: skip

    run(data_dir, story)
