"""A gateway beside its node: what it takes up, what it clears away, and when it forgets."""

import asyncio
import os
import socket
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from ledger.governance.actions import SuspendMember
from node.config import Address
from node.gateway.desk import now_ms
from node.gateway.jobs import Job, Stage
from node.gateway.service import _all_of, _needed_files
from tests.builders import ASKER, OWNER, deliver, propose, receive, reject, request, withdraw
from tests.certificates import der_of
from tests.exchanges import (
    CORRECTED,
    HELD,
    OPEN,
    PAYLOAD,
    REVIEWED,
    acknowledge,
    correct,
    offer,
    use,
)
from tests.refusals import start_refused
from tests.unit.contracts.governance.parts import (
    ASIDE,
    FIRST,
    FOURTH,
    SECOND,
    THIRD,
    gateway,
    passed,
    votes,
)
from tests.unit.node.gateway.house import House, live, save_before
from tests.unit.node.gateway.samples import make_job, make_payload, until

BLIND, QUESTION = os.urandom(300), os.urandom(5_000)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def of_owner(stage: Stage = "settled", **changed: Any) -> Job:
    """The owner's side of `OPEN` from an earlier life, delivered by this gateway."""
    base: dict[str, Any] = {
        "exchange": OPEN.digest, "stage": stage, "payload": make_payload(blind=BLIND),
        "question": QUESTION, "retention_days": 365,
    }  # fmt: skip
    return make_job(**{**base, **changed})


def of_asker(stage: Stage = "kept", **changed: Any) -> Job:
    """The asker's side, received by this gateway."""
    base: dict[str, Any] = {
        "side": "acquire", "asked": QUESTION, "held": PAYLOAD, "status": "received"
    }  # fmt: skip
    return of_owner(stage, **{**base, **changed})


def test_a_gateway_without_a_past_takes_up_what_is_on_the_ledger(tmp_path: Path) -> None:
    """Until when it may keep what it holds, the ledger tells, not the time of the last record."""

    async def story(made: House) -> None:
        job = made.job(OPEN.digest, "acquire")
        assert (job.stage, job.status, job.held) == ("kept", "used", PAYLOAD)
        detail = await made.node.get_json(f"/v1/requests/{OPEN.digest.hex()}")
        [holding] = detail["matters"]["holders"]
        assert job.until_ms == job.wake_ms == holding["until_ms"]
        waiting = made.job(REVIEWED.digest, "acquire")
        assert (waiting.stage, waiting.status) == ("open", "in_review")
        # And it follows from here on, with what comes after.
        await made.node.submit(withdraw(REVIEWED).data)
        await made.settled(REVIEWED.digest, "acquire", "closed")

    live(tmp_path, story, *HELD, use(OPEN), REVIEWED)


def test_the_end_of_retention_erases_and_attests_it(tmp_path: Path) -> None:
    received = tmp_path / "house" / "received" / f"{OPEN.digest.hex()}.0"
    received.mkdir(parents=True)
    (received / "records.jsonl").write_bytes(b"{}\n")
    job = of_asker(until_ms=now_ms() + 300, wake_ms=now_ms() + 300)
    save_before(tmp_path / "house", [job], height=3)

    async def story(made: House) -> None:
        closed = await made.settled(OPEN.digest, "acquire", "closed")
        assert (closed.status, closed.payload, closed.question) == ("destroyed", None, b"")
        detail = await made.node.get_json(f"/v1/requests/{OPEN.digest.hex()}")
        assert detail["state"]["status"] == "destroyed"
        assert detail["history"][-1]["event"]["body"]["method"] == "gateway-erase"
        assert names(made.folder / "received") == []
        for path in made.folder.glob("data/jobs.sqlite*"):
            data = path.read_bytes()
            assert BLIND not in data
            assert QUESTION[-200:] not in data

    live(tmp_path, story, *HELD)


def test_a_clock_that_jumped_ahead_erases_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    received = tmp_path / "house" / "received" / f"{OPEN.digest.hex()}.0"
    received.mkdir(parents=True)
    (received / "records.jsonl").write_bytes(b"{}\n")
    save_before(tmp_path / "house", [of_asker(until_ms=5, wake_ms=5)], height=3)
    monkeypatch.setattr("node.gateway.chain.now_ms", lambda: now_ms() + 400 * 86_400_000)

    async def story(made: House) -> None:
        await until(lambda: made.job(OPEN.digest, "acquire").fault == "clock-doubtful")
        assert made.job(OPEN.digest, "acquire").stage == "erase"
        assert names(made.folder / "received") == [f"{OPEN.digest.hex()}.0"]
        # Set right, it goes on by itself.
        monkeypatch.undo()
        await made.settled(OPEN.digest, "acquire", "closed")
        assert names(made.folder / "received") == []

    live(tmp_path, story, *HELD)


def test_what_waits_for_a_person_is_erased_in_time_too(tmp_path: Path) -> None:
    """A correction that cannot be used does not keep what it corrects."""
    job = of_asker(
        "held", resume="answer", fault="correction-unusable", correction=1, supersedes=PAYLOAD,
        payload=make_payload(CORRECTED), wake_ms=5, until_ms=5,
    )  # fmt: skip
    save_before(tmp_path / "house", [job], height=4)

    async def story(made: House) -> None:
        await made.settled(OPEN.digest, "acquire", "closed")
        detail = await made.node.get_json(f"/v1/requests/{OPEN.digest.hex()}")
        # The ledger takes what was held; the correction never was.
        assert detail["history"][-1]["event"]["body"]["commitment"] == PAYLOAD.hex()
        assert detail["state"]["status"] == "destroyed"

    live(tmp_path, story, *HELD, correct(OPEN))


def test_a_provider_forgets_blind_and_question_when_retention_ends(tmp_path: Path) -> None:
    save_before(tmp_path / "house", [of_owner(until_ms=5, wake_ms=5)], height=3)

    async def story(made: House) -> None:
        job = await made.settled(OPEN.digest, "provide", "closed")
        assert (job.question, job.payload) == (b"", None)
        await until(
            lambda: (
                not any(
                    BLIND in path.read_bytes() for path in made.folder.glob("data/jobs.sqlite*")
                )
            )
        )

    live(tmp_path, story, *HELD, member=OWNER, role="provider")


def test_what_nobody_fetched_in_time_leaves_the_outbox(tmp_path: Path) -> None:
    job = of_owner("offered", wake_ms=now_ms() + 300)
    save_before(tmp_path / "house", [job], height=2)
    outbox = tmp_path / "house" / "data" / "outbox"
    outbox.mkdir()
    (outbox / job.file_name).write_bytes(b"sealed")

    async def story(made: House) -> None:
        assert names(made.outbox) == [job.file_name]
        held = await made.settled(OPEN.digest, "provide", "held")
        assert held.fault == "outbox-expired"
        assert names(made.outbox) == []
        # A person can do no harm by letting it go on: the requester is told that it is gone.
        code, _ = await made.call("POST", f"/v1/jobs/provide/{OPEN.digest.hex()}/retry")
        assert code == 200
        assert (await made.settled(OPEN.digest, "provide", "offered")).wake_ms == 0

    live(tmp_path, story, *HELD[:2], member=OWNER, role="provider")


def test_a_start_clears_away_what_a_crash_left(tmp_path: Path) -> None:
    served = of_owner("offered")
    again = of_owner("held", resume="deliver", exchange=bytes(32), correction=2)
    fetching = of_asker("fetch", exchange=bytes([1] * 32))
    checking = of_asker("held", resume="check", exchange=bytes([2] * 32))
    handed = of_asker("answer", exchange=bytes([3] * 32))
    save_before(tmp_path / "house", [served, again, fetching, checking, handed], height=2)
    data = tmp_path / "house" / "data"
    needed = {"outbox": [served, again], "inbox": [fetching, checking]}
    orphans = {
        "outbox": [
            f"{bytes(32).hex()}.1.sealed", f"{served.file_name}.partial", "nonsense", "00.0.sealed",
            f"{bytes([9] * 32).hex()}.0.sealed", fetching.file_name,
        ],
        "inbox": [handed.file_name, served.file_name, "x.sealed"],
    }  # fmt: skip
    for box in ("outbox", "inbox"):
        (data / box).mkdir()
        for name in (*(job.file_name for job in needed[box]), *orphans[box]):
            (data / box / name).write_bytes(b"sealed")

    async def story(made: House) -> None:
        assert names(made.outbox) == sorted(job.file_name for job in needed["outbox"])
        # The fetching job may be on its way already; what it has is not thrown away.
        assert set(names(made.inbox)) == {job.file_name for job in needed["inbox"]}

    live(tmp_path, story, *HELD[:2], member=OWNER, role="provider")


@pytest.mark.parametrize("role", ["provider", "requester"])
def test_a_delivery_that_is_rejected_leaves_no_sealed_copy(tmp_path: Path, role: str) -> None:
    is_owner = role == "provider"
    job = of_owner("offered") if is_owner else of_asker("answer", codes=(50007,))
    save_before(tmp_path / "house", [job], height=2)
    box = tmp_path / "house" / "data" / ("outbox" if is_owner else "inbox")
    box.mkdir()
    (box / job.file_name).write_bytes(b"sealed")

    async def story(made: House) -> None:
        if is_owner:
            await made.node.submit(reject(OPEN).data)
            await made.settled(OPEN.digest, "provide", "held")
        else:
            await made.settled(OPEN.digest, "acquire", "open")
        assert names(box) == []

    live(tmp_path, story, *HELD[:2], member=OWNER if is_owner else ASKER, role=role)


def test_a_correction_takes_the_place_of_what_is_in_the_inbox(tmp_path: Path) -> None:
    job = of_asker("held", resume="hand", payload=make_payload())
    save_before(tmp_path / "house", [job], height=3)
    inbox = tmp_path / "house" / "data" / "inbox"
    inbox.mkdir()
    (inbox / job.file_name).write_bytes(b"sealed")

    async def story(made: House) -> None:
        assert names(made.inbox) == [job.file_name]
        await made.node.submit(correct(OPEN).data)
        await until(lambda: made.job(OPEN.digest, "acquire").correction == 1)
        await until(lambda: job.file_name not in names(made.inbox))
        await made.node.submit(acknowledge(OPEN).data)
        await made.settled(OPEN.digest, "acquire", "kept")
        assert names(made.inbox) == []

    live(tmp_path, story, *HELD)


def test_an_offer_waits_until_its_recipient_has_a_key(tmp_path: Path) -> None:
    offered = offer()

    async def story(made: House) -> None:
        await until(lambda: made.job(offered.digest, "provide").fault != "")
        job = made.job(offered.digest, "provide")
        assert (job.stage, job.fault) == ("prepare", "partner-without-key")
        assert job.wake_ms > 0

    live(tmp_path, story, offered, member=OWNER, role="provider")


@pytest.mark.parametrize("blocks_later", [0, 3])
def test_a_member_that_is_suspended_is_known_by_the_next_block(
    tmp_path: Path, blocks_later: int
) -> None:
    """Others decide it, in no exchange of this agency; it may be in force only later."""

    async def story(made: House) -> None:
        directory = made.service._directory
        assert directory.members_of(der_of("one")) == {FIRST}
        height = made.node.service.status().height
        later = height + blocks_later + 4 if blocks_later else 0
        action = SuspendMember(member=FIRST, grounds="found in the yearly review")
        proposal = propose(action, member=SECOND, activate_height=later)
        for event in votes(proposal, THIRD, FOURTH):
            status = await made.node.submit(event.data)
            assert status["code"] == "", status
        for number in range(blocks_later):
            await made.service._chain.wait_height(made.node.service.status().height)
            await directory.refresh()
            assert directory.members_of(der_of("one")) == {FIRST}
            await made.node.submit(request(member=ASKER, label=f"block {number}").data)
        async with asyncio.timeout(10):
            await until(lambda: not directory.members_of(der_of("one")))

    live(tmp_path, story, *passed(gateway(), activate_height=0), member=ASIDE)


def test_a_second_life_goes_on(tmp_path: Path) -> None:
    heights: list[int] = []

    async def story(made: House) -> None:
        heights.append(made.service._store.mark("height") or 0)
        job = made.job(OPEN.digest, "acquire")
        assert (job.stage, job.status) == ("fetch", "delivered")

    live(tmp_path, story, *HELD[:2])

    async def second(made: House) -> None:
        await made.settled(OPEN.digest, "acquire", "kept")

    # The node of the second life has the same ledger, and what came while the gateway was down.
    (tmp_path / "b").mkdir()
    (tmp_path / "house").rename(tmp_path / "b" / "house")
    live(tmp_path / "b", second, *HELD[:2], receive(OPEN))
    assert heights


def test_events_signed_at_once_outlive_the_way_to_the_newest_block(tmp_path: Path) -> None:
    """After a long sleep the gateway has far to go; what it signs must not expire on the way."""
    save_before(tmp_path / "house", [], height=0)

    async def story(made: House) -> None:
        assert made.service._signing.height >= 2

    live(tmp_path, story, *HELD)


def test_deliveries_wait_in_the_outbox_while_a_person_looks(tmp_path: Path) -> None:
    """Such as one that the ledger refused for now: its sealed copy is what will be delivered."""
    job = of_owner("deliver", until_ms=0)
    save_before(tmp_path / "house", [job], height=2)
    outbox = tmp_path / "house" / "data" / "outbox"
    outbox.mkdir()
    (outbox / job.file_name).write_bytes(b"sealed")

    async def story(made: House) -> None:
        # The ledger has a delivery with another commitment already, so it refuses this one.
        held = await made.settled(OPEN.digest, "provide", "held")
        assert held.resume == "deliver"
        assert names(made.outbox) == [job.file_name]

    live(
        tmp_path, story, OPEN, deliver(OPEN, commitment=CORRECTED), member=OWNER, role="provider"
    )  # fmt: skip


def test_a_correction_for_no_known_reason_is_refused_before_anything_is_read(
    tmp_path: Path,
) -> None:
    """The ledger would not take it, and what was prepared could never be recorded."""
    job = of_owner(until_ms=now_ms() + 10**9, status="received", seen_index=10**6)
    save_before(tmp_path / "house", [job], height=2)

    async def story(made: House) -> None:
        route = f"/v1/jobs/provide/{OPEN.digest.hex()}/correct"
        for wrong in ({"reason": "Not an id"}, {"reason": "wrong-value", "text": "x" * 501}):
            status, told = await made.call("POST", route, wrong)
            assert (status, told["code"]) == (422, "body-malformed")
        assert made.job(OPEN.digest, "provide").stage == "settled"

    live(tmp_path, story, *HELD, member=OWNER, role="provider")


def test_what_ends_a_gateway_is_told_as_it_is() -> None:
    """In a group of failures nobody finds the words for it."""

    async def fails() -> None:
        raise sqlite3.OperationalError("database or disk is full")

    async def never() -> None:
        await asyncio.Event().wait()

    with pytest.raises(sqlite3.OperationalError, match="full"):
        asyncio.run(_all_of(never(), fails()))


@pytest.mark.parametrize(
    ("stage", "resume", "kinds"),
    [
        ("prepare", "closed", ("sealed", "references")),
        ("refer", "closed", ("sealed", "references")),
        ("held", "refer", ("sealed", "references")),
        # Made anew in any case: what a refusal has left is of no use.
        ("held", "prepare", ()),
        ("deliver", "closed", ("sealed",)),
        ("offered", "closed", ("sealed",)),
        ("learn", "closed", ()),
        ("settled", "closed", ()),
    ],
)
def test_files_of_the_outbox_stay_as_long_as_they_are_needed(
    stage: Stage, resume: Stage, kinds: tuple[str, ...]
) -> None:
    job = make_job(stage=stage, resume=resume, correction=2)
    assert _needed_files(job) == tuple(f"{job.exchange.hex()}.2.{kind}" for kind in kinds)


async def never_told(_: House) -> None:
    raise AssertionError("it started")


def test_a_socket_in_a_folder_that_is_none_stops_the_start(tmp_path: Path) -> None:
    path = tmp_path / "none" / "gateway.sock"
    told = start_refused(lambda: live(tmp_path, never_told, socket=path), "start-gateway-socket")
    assert told.detail.startswith(f"{path}: ")


@pytest.mark.parametrize("name", ["listen", "metrics"])
def test_an_address_that_is_taken_stops_the_start(tmp_path: Path, name: str) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        taken = Address(*holder.getsockname())
        told = start_refused(
            lambda: live(tmp_path, never_told, **{name: taken}), "start-gateway-address"
        )
    assert told.detail.startswith(f"{taken}: ")
