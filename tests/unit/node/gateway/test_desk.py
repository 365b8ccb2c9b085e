"""The desk: durable before done, one step at a time, and a ledger that may always interrupt."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from node.gateway import desk as desks
from node.gateway.desk import ATTEMPTS_MAX, Change, Desk, Step, now_ms
from node.gateway.jobs import Failed, Job, Side, Stage, advance, change, hold
from node.gateway.store import Store
from tests.unit.node.gateway.samples import make_job, until

Steps = Mapping[tuple[Side, Stage], Step]
Story = Callable[[Desk, Store], Awaitable[None]]


def to(stage: Stage, **changed: Any) -> Change:
    return lambda job: advance(job, stage, **changed)


def always(result: Change) -> Step:
    async def step(_: Job) -> Change:
        return result

    return step


def play(
    path: Path,
    steps: Steps,
    story: Story,
    *,
    wakes: Mapping[tuple[Side, Stage], Change] | None = None,
    enter: Callable[[Job], None] = lambda _: None,
    in_flight_max: int = 8,
    before: tuple[Job, ...] = (),
) -> None:
    """Run a story beside a running desk; no task may be left when the desk is cancelled."""

    async def main() -> None:
        store = Store(path / "jobs.sqlite")
        await store.save(before)
        desk = Desk(store, steps=steps, wakes=wakes or {}, enter=enter, in_flight_max=in_flight_max)
        running = asyncio.create_task(desk.run())
        try:
            async with asyncio.timeout(30):
                await story(desk, store)
        finally:
            if desk._failure is None:
                running.cancel()
            done = await asyncio.gather(running, return_exceptions=True)
            left = asyncio.all_tasks() - {asyncio.current_task()}
            assert not [task for task in left if "Desk" in str(task.get_coro())], left
            store.close()
        if isinstance(done[0], Exception):
            raise done[0]

    asyncio.run(main())


async def settled(desk: Desk, job: Job, *stages: str) -> Job:
    await desk.wait(job.exchange, job.side, stages, 20)
    found = desk.find(job.exchange, job.side)
    assert found is not None
    assert found.stage in stages, found
    return found


def test_a_job_goes_from_step_to_step_until_it_waits(tmp_path: Path) -> None:
    entered: list[str] = []
    steps: Steps = {
        ("provide", "ask"): always(to("prepare")),
        ("provide", "prepare"): always(to("deliver")),
        ("provide", "deliver"): always(to("offered")),
    }

    async def story(desk: Desk, store: Store) -> None:
        job = make_job(stage="ask")
        await desk.put([job], height=4)
        await settled(desk, job, "offered")
        assert entered == ["ask", "prepare", "deliver", "offered"]
        assert store.mark("height") == 4
        assert not desk._jobs, "what waits is not in memory"
        assert not desk._saving

    play(tmp_path, steps, story, enter=lambda job: entered.append(job.stage))


def test_nothing_begins_before_it_is_durable(tmp_path: Path) -> None:
    """Every step and every entering sees on disk what it was started for."""
    seen: list[tuple[str, str]] = []
    stores: list[Store] = []

    def on_disk(job: Job) -> str:
        found = stores[0].find(job.exchange, job.side)
        return "" if found is None else found.stage

    def step_to(stage: Stage) -> Step:
        async def step(job: Job) -> Change:
            seen.append((job.stage, on_disk(job)))
            return to(stage)

        return step

    steps: Steps = {
        ("provide", "ask"): step_to("prepare"),
        ("provide", "prepare"): step_to("deliver"),
        ("provide", "deliver"): step_to("offered"),
    }

    async def story(desk: Desk, store: Store) -> None:
        stores.append(store)
        jobs = [make_job(f"job {number}", stage="ask") for number in range(40)]
        await asyncio.gather(*(desk.put([job]) for job in jobs))
        for job in jobs:
            await settled(desk, job, "offered")

    play(tmp_path, steps, story, enter=lambda job: seen.append((job.stage, on_disk(job))))
    assert len(seen) == 40 * 7
    assert all(stage == disk for stage, disk in seen)


def test_a_record_that_comes_while_a_step_runs_wins(tmp_path: Path) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()
    entered: list[str] = []

    async def prepare(_: Job) -> Change:
        begun.set()
        await go_on.wait()
        return to("deliver")

    async def story(desk: Desk, _: Store) -> None:
        job = make_job()
        await desk.put([job])
        await begun.wait()
        await desk.put([to("closed", status="withdrawn")(job)])
        assert entered == ["prepare", "closed"]
        go_on.set()
        await until(lambda: not desk._tasks)
        found = desk.find(job.exchange, "provide")
        assert found is not None
        assert (found.stage, found.status) == ("closed", "withdrawn")
        # What the step left on disk is cleared away once more.
        assert entered == ["prepare", "closed", "closed"]

    play(
        tmp_path, {("provide", "prepare"): prepare}, story, enter=lambda j: entered.append(j.stage)
    )


def test_a_step_of_an_earlier_delivery_does_not_count_for_a_later_one(tmp_path: Path) -> None:
    begun: list[int] = []
    go_on = asyncio.Event()

    async def fetch(job: Job) -> Change:
        begun.append(job.correction)
        if job.correction == 0:
            await go_on.wait()
        return to("check", text=f"fetched {job.correction}")

    async def story(desk: Desk, _: Store) -> None:
        job = make_job(side="acquire", stage="fetch")
        await desk.put([job])
        await until(lambda: bool(begun))
        await desk.put([to("fetch", correction=1)(job)])
        go_on.set()
        found = await settled(desk, job, "kept")
        assert begun == [0, 1]
        assert found.text == "fetched 1"

    steps: Steps = {("acquire", "fetch"): fetch, ("acquire", "check"): always(to("kept"))}
    play(tmp_path, steps, story)


def test_who_waited_for_room_looks_again_before_it_begins(tmp_path: Path) -> None:
    begun: list[bytes] = []
    go_on = asyncio.Event()

    async def prepare(job: Job) -> Change:
        begun.append(job.exchange)
        await go_on.wait()
        return to("offered")

    async def story(desk: Desk, _: Store) -> None:
        first, second, third = (make_job(f"job {number}") for number in range(3))
        for job in (first, second, third):
            await desk.put([job])
        await desk.put([to("closed")(second)])
        go_on.set()
        await settled(desk, first, "offered")
        await settled(desk, third, "offered")
        assert begun == [first.exchange, third.exchange]

    play(tmp_path, {("provide", "prepare"): prepare}, story, in_flight_max=1)


def test_no_more_steps_than_allowed_run_at_once(tmp_path: Path) -> None:
    running: list[int] = [0, 0]

    async def prepare(_: Job) -> Change:
        running[0] += 1
        running[1] = max(running)
        await asyncio.sleep(0.001)
        running[0] -= 1
        return to("offered")

    async def story(desk: Desk, _: Store) -> None:
        jobs = [make_job(f"job {number}") for number in range(30)]
        await desk.put(jobs)
        for job in jobs:
            await settled(desk, job, "offered")
        assert running == [0, 3]

    play(tmp_path, {("provide", "prepare"): prepare}, story, in_flight_max=3)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desks, "PAUSE_S_MIN", 0.001)
    monkeypatch.setattr(desks, "PAUSE_S_MAX", 0.004)


@pytest.mark.usefixtures("quick")
def test_a_step_that_fails_is_tried_again_after_longer_and_longer_pauses(tmp_path: Path) -> None:
    tries: list[Job] = []

    async def prepare(job: Job) -> Change:
        tries.append(job)
        if len(tries) < 5:
            raise Failed("work-died", f"try {len(tries)}")
        return to("offered")

    async def story(desk: Desk, _: Store) -> None:
        job = make_job()
        await desk.put([job])
        found = await settled(desk, job, "offered")
        assert [each.attempts for each in tries] == [0, 1, 2, 3, 4]
        assert tries[-1].fault == "work-died"
        assert tries[-1].detail == "try 4"
        # What went well at last leaves no trace of what did not.
        assert (found.attempts, found.fault, found.detail, found.wake_ms) == (0, "", "", 0)

    play(tmp_path, {("provide", "prepare"): prepare}, story)


def test_pauses_double_up_to_the_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desks, "now_ms", lambda: 0)
    pauses, job = [], make_job()
    for _ in range(ATTEMPTS_MAX - 1):
        job = desks._failure(Failed("work-died"))(job)
        pauses.append(job.wake_ms)
    assert pauses[:4] == [500, 1_000, 2_000, 4_000]
    assert pauses[-1] == 300_000
    assert pauses == sorted(pauses)
    held = desks._failure(Failed("work-died", "at last"))(job)
    assert (held.stage, held.resume, held.fault, held.detail) == (
        "held", "prepare", "work-died", "at last"
    )  # fmt: skip


def test_who_is_away_is_waited_for_as_long_as_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desks, "now_ms", lambda: 0)
    job = make_job()
    for _ in range(2 * ATTEMPTS_MAX):
        job = desks._failure(Failed("partner-unreachable"))(job)
    assert (job.stage, job.wake_ms) == ("prepare", 300_000)


@pytest.mark.usefixtures("quick")
def test_after_the_last_attempt_a_person_must_look_and_may_let_it_go_on(tmp_path: Path) -> None:
    tries: list[int] = []
    is_mended: list[bool] = []

    async def prepare(job: Job) -> Change:
        tries.append(job.attempts)
        if not is_mended:
            raise Failed("files-missing")
        return to("offered")

    async def story(desk: Desk, _: Store) -> None:
        job = make_job()
        await desk.put([job])
        held = await settled(desk, job, "held")
        assert tries == list(range(ATTEMPTS_MAX))
        assert (held.resume, held.fault) == ("prepare", "files-missing")
        is_mended.append(True)
        await desk.put([advance(held, held.resume)])
        await settled(desk, job, "offered")
        assert tries[-1] == 0

    play(tmp_path, {("provide", "prepare"): prepare}, story)


def test_what_cannot_be_otherwise_later_is_held_at_once(tmp_path: Path) -> None:
    async def prepare(_: Job) -> Change:
        raise Failed("connector-missing", retry=False)

    async def story(desk: Desk, _: Store) -> None:
        job = make_job()
        await desk.put([job])
        held = await settled(desk, job, "held")
        assert held.attempts == 0

    play(tmp_path, {("provide", "prepare"): prepare}, story)


def test_an_error_that_no_step_should_raise_ends_the_desk(tmp_path: Path) -> None:
    async def prepare(_: Job) -> Change:
        raise ZeroDivisionError("our own fault")

    async def story(desk: Desk, store: Store) -> None:
        job = make_job()
        await desk.put([job])
        await until(lambda: desk._failure is not None)
        assert store.find(job.exchange, "provide") == job

    with pytest.raises(ZeroDivisionError, match="our own fault"):
        play(tmp_path, {("provide", "prepare"): prepare}, story)


def test_a_step_that_failed_before_the_desk_ran_ends_it_too(tmp_path: Path) -> None:
    async def prepare(_: Job) -> Change:
        raise ZeroDivisionError

    async def main() -> None:
        store = Store(tmp_path / "jobs.sqlite")
        steps: Steps = {("provide", "prepare"): prepare}
        desk = Desk(store, steps=steps, wakes={}, enter=lambda _: None, in_flight_max=1)
        await desk.put([make_job()])
        await until(lambda: not desk._tasks)
        try:
            async with asyncio.timeout(10):
                await desk.run()
        finally:
            store.close()

    with pytest.raises(ZeroDivisionError):
        asyncio.run(main())


def test_a_store_that_fails_ends_the_desk_whoever_asked_for_the_change(tmp_path: Path) -> None:
    async def story(desk: Desk, store: Store) -> None:
        # Only writing fails: what is there can still be read.
        fault = "CREATE TRIGGER fault BEFORE INSERT ON jobs BEGIN SELECT RAISE(ABORT, 'full'); END"
        store._thread.submit(store._writer.execute, fault).result()
        with pytest.raises(sqlite3.Error, match="full"):
            await desk.put([make_job()])
        # A step of what is not on disk never began.
        assert not desk._tasks

    with pytest.raises(sqlite3.Error, match="full"):
        play(tmp_path, {}, story)


def test_time_wakes_what_waits_for_it(tmp_path: Path) -> None:
    async def story(desk: Desk, _: Store) -> None:
        soon = now_ms() + 50
        jobs = [make_job(f"job {n}", stage="offered", wake_ms=soon + n) for n in range(20)]
        late = make_job("late", stage="offered", wake_ms=soon + 10**9)
        await desk.put([*jobs, late])
        for job in jobs:
            held = await settled(desk, job, "held")
            assert held.fault == "outbox-expired"
            assert now_ms() >= job.wake_ms
        assert desk.find(late.exchange, "provide") == late

    wakes: dict[tuple[Side, Stage], Change] = {
        ("provide", "offered"): lambda job: hold(job, "outbox-expired", "")
    }
    play(tmp_path, {}, story, wakes=wakes)


def test_what_waits_for_nothing_is_woken_once(tmp_path: Path) -> None:
    async def story(desk: Desk, store: Store) -> None:
        job = make_job(stage="settled", wake_ms=1)
        await desk.put([job])
        await until(lambda: store.next_wake_ms() is None)
        assert store.find(job.exchange, "provide") == change(job, wake_ms=0)

    play(tmp_path, {}, story)


def test_after_a_restart_everything_goes_on_where_it_was(tmp_path: Path) -> None:
    """What was under way, what paused, and what fell due meanwhile."""
    at_work = make_job("at work", stage="deliver")
    pausing = make_job("pausing", attempts=3, wake_ms=now_ms() + 60, fault="work-died")
    overdue = make_job("overdue", attempts=3, wake_ms=5)
    expired = make_job("expired", stage="offered", wake_ms=5)
    held = make_job("held", stage="held", resume="prepare")
    steps: Steps = {
        ("provide", "deliver"): always(to("settled")),
        ("provide", "prepare"): always(to("settled")),
    }

    async def story(desk: Desk, _: Store) -> None:
        for job in (at_work, pausing, overdue):
            await settled(desk, job, "settled")
        assert now_ms() >= pausing.wake_ms
        await settled(desk, expired, "closed")
        assert desk.find(held.exchange, "provide") == held

    play(
        tmp_path, steps, story, wakes={("provide", "offered"): to("closed")},
        before=(at_work, pausing, overdue, expired, held),
    )  # fmt: skip


def test_a_step_that_hangs_is_cancelled_and_nothing_begins_afterwards(tmp_path: Path) -> None:
    begun: list[str] = []

    async def prepare(job: Job) -> Change:
        begun.append(job.stage)
        await asyncio.Event().wait()
        raise AssertionError

    async def main() -> None:
        store = Store(tmp_path / "jobs.sqlite")
        steps: Steps = {("provide", "prepare"): prepare}
        desk = Desk(store, steps=steps, wakes={}, enter=lambda _: None, in_flight_max=8)
        running = asyncio.create_task(desk.run())
        await desk.put([make_job()])
        await until(lambda: bool(begun))
        saving = asyncio.create_task(desk.put([make_job("on its way")]))
        await asyncio.sleep(0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await saving
        await asyncio.sleep(0)
        assert begun == ["prepare"]
        assert store.find(make_job("on its way").exchange, "provide") is not None
        assert asyncio.all_tasks() == {asyncio.current_task()}
        store.close()

    asyncio.run(main())


def test_waiting_ends_with_the_stage_or_with_the_time(tmp_path: Path) -> None:
    async def story(desk: Desk, _: Store) -> None:
        job = make_job(stage="offered")
        loop = asyncio.get_running_loop()
        waiting = asyncio.create_task(desk.wait(job.exchange, "provide", ("settled",), 20))
        await desk.put([job])
        await asyncio.sleep(0.01)
        assert not waiting.done()
        await desk.put([to("settled")(job)])
        await waiting
        began = loop.time()
        await desk.wait(job.exchange, "provide", ("closed",), 0.05)
        assert 0.04 < loop.time() - began < 5
        await desk.wait(job.exchange, "provide", ("settled",), 0)
        assert not desk._waiters

    play(tmp_path, {}, story)


def test_who_waits_finds_done_what_belongs_to_the_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also who comes when the job is on disk already and its desk has not heard of that yet."""
    job, entered = make_job(stage="offered"), list[Job]()
    is_saved, go_on = asyncio.Event(), asyncio.Event()

    async def story(desk: Desk, store: Store) -> None:
        save = store.save

        async def linger(jobs: Iterable[Job], **marks: int) -> None:
            await save(jobs, **marks)
            is_saved.set()
            await go_on.wait()

        monkeypatch.setattr(store, "save", linger)
        putting = asyncio.create_task(desk.put([job]))
        await is_saved.wait()
        waiting = asyncio.create_task(desk.wait(job.exchange, "provide", ("offered",), 20))
        await asyncio.sleep(0)
        assert not waiting.done()
        go_on.set()
        await waiting
        assert entered == [job]
        await putting

    play(tmp_path, {}, story, enter=entered.append)


def test_who_waits_misses_no_stage_on_the_way(tmp_path: Path) -> None:
    async def story(desk: Desk, _: Store) -> None:
        job = make_job(stage="offered")
        waiting = asyncio.create_task(desk.wait(job.exchange, "provide", ("offered",), 20))
        await asyncio.sleep(0)
        await asyncio.gather(desk.put([job]), desk.put([to("settled")(job)]))
        await waiting

    play(tmp_path, {}, story)


def test_changes_of_one_job_at_the_same_time_all_count(tmp_path: Path) -> None:
    async def story(desk: Desk, store: Store) -> None:
        job = make_job(stage="settled")
        await desk.put([job])

        async def add(number: int) -> None:
            await asyncio.sleep(0.0001 * (number % 7))
            now = desk.find(job.exchange, "provide")
            assert now is not None
            await desk.put([change(now, attempts=now.attempts + 1)])

        await asyncio.gather(*(add(number) for number in range(50)))
        assert store.find(job.exchange, "provide") == msgspec.structs.replace(job, attempts=50)

    play(tmp_path, {}, story)


def test_the_own_job_of_an_exchange_is_found_wherever_it_is(tmp_path: Path) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def fetch(_: Job) -> Change:
        begun.set()
        await go_on.wait()
        return to("kept")

    before = make_job("old", side="acquire", stage="kept")

    async def story(desk: Desk, store: Store) -> None:
        store._recent.clear()
        job = make_job(side="acquire", stage="fetch")
        await desk.put([job])
        await begun.wait()
        saving = asyncio.create_task(desk.put([change(job, text="newer")]))
        await asyncio.sleep(0)
        # In memory and on its way to the disk; on the disk only; nowhere.
        assert desk.find_own(job.exchange) == change(job, text="newer")
        assert desk.find_own(before.exchange) == before
        assert desk.find_own(make_job("unknown").exchange) is None
        await saving
        go_on.set()
        await settled(desk, job, "kept")

    play(tmp_path, {("acquire", "fetch"): fetch}, story, before=(before,))


def test_only_an_earlier_time_than_the_one_waited_for_is_an_alarm(tmp_path: Path) -> None:
    async def story(desk: Desk, _: Store) -> None:
        soon = now_ms() + 1_000_000
        await until(lambda: not desk._alarm.is_set() and desk._alarm_ms < soon + 10)
        assert desk._alarm_ms == first.wake_ms
        await desk.put([make_job("later", stage="offered", wake_ms=first.wake_ms + 1)])
        assert not desk._alarm.is_set()
        await desk.put([make_job("earlier", stage="offered", wake_ms=now_ms() + 50)])
        await until(lambda: desk._alarm_ms == first.wake_ms and not desk._alarm.is_set())
        found = desk.find(make_job("earlier").exchange, "provide")
        assert found is not None
        assert found.stage == "held"

    first = make_job("first", stage="offered", wake_ms=now_ms() + 900_000)
    wakes: dict[tuple[Side, Stage], Change] = {
        ("provide", "offered"): lambda job: hold(job, "outbox-expired", "")
    }
    play(tmp_path, {}, story, wakes=wakes, before=(first,))
