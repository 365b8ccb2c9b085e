"""Tasks and incidents over HTTP, and the book of duties behind them."""

from pathlib import Path

import msgspec

from contracts.exchange.duties import GAPS
from contracts.exchange.matters import DAY_MS, HOUR_MS
from ledger.events import Event
from ledger.exchange.matters import DEFAULT_DEADLINES
from ledger.governance.actions import SetDeadlines
from node.oversight.duties import DutyBook
from tests.builders import ASKER, OWNER, carried, deliver, receive, request
from tests.exchanges import OPEN, close, confirm, correct, remedy, report, use
from tests.unit.node.api.harness import Served, run


async def submit(node: Served, *events: Event) -> None:
    for event in events:
        answer = await node.submit(event.data)
        assert answer["outcome"]["applied"], answer


def test_tasks_follow_the_log(data_dir: Path) -> None:
    async def story(node: Served) -> None:
        assert (await node.get_json("/v1/tasks"))["items"] == []
        await submit(node, OPEN)
        page = await node.get_json("/v1/tasks")
        (task,) = page["items"]
        assert (task["member"], task["gap"]) == (OWNER, "permit-without-delivery")
        assert task["subject"] == OPEN.digest.hex()
        assert task["kinds"] == ["share.delivered"]
        assert (task["is_overdue"], page["next"]) == (False, None)
        await submit(node, deliver(OPEN), receive(OPEN), correct(OPEN))
        mine = await node.get_json(f"/v1/tasks?member={ASKER}")
        assert {each["gap"] for each in mine["items"]} == {
            "correction-without-acknowledgement", "receipt-without-use",
            "retention-without-destruction",
        }  # fmt: skip
        assert (await node.get_json(f"/v1/tasks?member={OWNER}"))["items"] == []
        assert (await node.get_json("/v1/tasks?overdue=true"))["items"] == []
        assert len((await node.get_json("/v1/tasks?overdue=false"))["items"]) == 3

    run(data_dir, story)


def test_a_book_that_follows_equals_one_that_reads_everything(data_dir: Path) -> None:
    async def story(node: Served) -> None:
        book = node.service.duties()
        assert book.tasks() == ()
        reported = report()
        events = (
            OPEN, deliver(OPEN), receive(OPEN), reported, correct(OPEN), use(OPEN),
            confirm(reported), request(label="second"), remedy(reported), close(reported),
        )  # fmt: skip
        for event in events:
            await submit(node, event)
            assert book.tasks() == DutyBook(node.service.log).tasks()
        assert book.tasks()

    run(data_dir, story)


def test_duties_follow_voted_deadlines(data_dir: Path) -> None:
    """The vote is a block without an event of the exchange, whose duty moves all the same."""
    rules = msgspec.structs.replace(DEFAULT_DEADLINES, receipt_hours=1)

    async def story(node: Served) -> None:
        await submit(node, OPEN, deliver(OPEN))
        (before,) = (await node.get_json("/v1/tasks"))["items"]
        await submit(node, *carried(SetDeadlines(rules=rules), activate_height=0))
        (after,) = (await node.get_json("/v1/tasks"))["items"]
        assert before["due_ms"] - after["due_ms"] == 71 * HOUR_MS
        assert (await node.get_json("/v1/network"))["deadlines"]["receipt_hours"] == 1

    run(data_dir, story)


def test_pages_hold_every_task_once(data_dir: Path) -> None:
    async def story(node: Served) -> None:
        await submit(node, *(request(label=str(number)) for number in range(7)))
        found, cursor = [], ""
        for _ in range(4):
            page = await node.get_json(f"/v1/tasks?limit=2{cursor}")
            found += [each["subject"] for each in page["items"]]
            cursor = f"&cursor={page['next']}"
        assert page["next"] is None
        assert len(set(found)) == len(found) == 7

    run(data_dir, story)


def test_a_look_ahead_judges_at_another_time_and_says_so(data_dir: Path) -> None:
    async def story(node: Served) -> None:
        await submit(node, OPEN)
        page = await node.get_json("/v1/tasks")
        (task,) = page["items"]
        assert page["as_of_ms"] == page["time_ms"]
        assert (await node.get_json("/v1/tasks?overdue=true&at=%2B1%20day"))["items"] == []
        ahead = await node.get_json("/v1/tasks?overdue=true&at=%2B40%20days")
        assert ahead["items"] == [{**task, "is_overdue": True}]
        assert ahead["as_of_ms"] - ahead["time_ms"] == 40 * DAY_MS
        assert ahead["time_ms"] == page["time_ms"]
        # It is a question only: the answer of now stays.
        assert await node.get_json("/v1/tasks") == page

    run(data_dir, story)


def test_bad_parameters_are_named(data_dir: Path) -> None:
    async def story(node: Served) -> None:
        for query in ("overdue=maybe", "limit=0", "colour=red", "at=soon", "at=2020-01-01", "at="):
            problem = await node.get_json(f"/v1/tasks?{query}", status=400)
            assert problem["code"] == "parameter-invalid"
        assert (await node.get_json("/v1/tasks?cursor=!", status=400))["code"] == "cursor-invalid"
        missing = await node.get_json(f"/v1/incidents/{'00' * 32}", status=404)
        assert missing["code"] == "incident-unknown"

    run(data_dir, story)


def test_gaps_are_counted_in_block_time(data_dir: Path) -> None:
    async def story(node: Served) -> None:
        await submit(node, OPEN)
        book = node.service.duties()
        now_ms = node.service.final_time_ms()
        assert book.count(now_ms).open == {"permit-without-delivery": 1}
        assert book.count(now_ms).overdue == {}
        (task,) = book.tasks()
        assert book.count(task.due_ms).overdue == {}
        assert book.count(task.due_ms + 1).overdue == {"permit-without-delivery": 1}
        host, port = node.metrics_address
        async with node.client.get(f"http://{host}:{port}/metrics") as response:
            text = await response.text()
        for gap in GAPS:
            wanted = 1 if gap == "permit-without-delivery" else 0
            assert f'tallystick_duties{{gap="{gap}",state="open"}} {wanted}.0' in text

    run(data_dir, story)


def test_an_exchange_shows_its_matters_and_duties(data_dir: Path) -> None:
    async def story(node: Served) -> None:
        await submit(node, OPEN, deliver(OPEN), receive(OPEN), correct(OPEN))
        shown = await node.get_json(f"/v1/requests/{OPEN.digest.hex()}")
        (holder,) = shown["matters"]["holders"]
        assert (holder["holder"], shown["matters"]["corrections"]) == (ASKER, 1)
        assert [each["member"] for each in shown["duties"]] == [ASKER] * 3

    run(data_dir, story)


def test_an_incident_has_its_records(data_dir: Path) -> None:
    async def story(node: Served) -> None:
        reported = report()
        await submit(node, reported, confirm(reported))
        shown = await node.get_json(f"/v1/incidents/{reported.digest.hex()}")
        kinds = [each["event"]["kind"] for each in shown["history"]]
        assert kinds == ["incident.reported", "incident.notified"]
        assert shown["state"]["notified"] == [OWNER]
        (listed,) = (await node.get_json("/v1/incidents"))["items"]
        assert listed == shown["state"]

    run(data_dir, story)
