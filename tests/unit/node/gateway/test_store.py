"""Jobs on disk: what is saved is there, wholly or not at all, and what is let go is gone."""

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from node.gateway.jobs import ACTIVE, Job, advance
from node.gateway.store import Store
from tests.builders import hash32
from tests.unit.node.gateway.samples import make_job, make_payload


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobs.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    made = Store(path)
    yield made
    made.close()


def save(store: Store, *jobs: Job, **marks: int) -> None:
    asyncio.run(store.save(jobs, **marks))


def test_a_job_is_what_it_was_and_its_sides_are_two(store: Store, path: Path) -> None:
    mine = make_job(payload=make_payload(), subjects=(hash32("subject"),), event=b"event")
    theirs = make_job(side="acquire", stage="open")
    save(store, mine, theirs, height=5)
    assert store.find(mine.exchange, "provide") == mine
    assert store.find(mine.exchange, "acquire") == theirs
    assert store.find(hash32("other"), "provide") is None
    assert (store.mark("height"), store.mark("other")) == (5, None)
    assert path.stat().st_mode & 0o777 == 0o600
    again = Store(path)
    assert again.find(mine.exchange, "provide") == mine
    again.close()


def test_a_later_change_takes_the_place_of_an_earlier_one(store: Store) -> None:
    job = make_job()

    async def story() -> None:
        first = asyncio.create_task(store.save([job], height=1))
        second = asyncio.create_task(store.save([advance(job, "deliver")], height=2))
        await asyncio.gather(first, second)

    asyncio.run(story())
    assert store.find(job.exchange, "provide") == advance(job, "deliver")
    assert store.mark("height") == 2


def test_many_changes_at_once_share_few_waits_for_the_disk(store: Store) -> None:
    jobs = [make_job(f"job {number}") for number in range(300)]
    commits: list[str] = []
    store._thread.submit(store._writer.set_trace_callback, commits.append).result()

    async def story() -> None:
        await asyncio.gather(*(store.save([job]) for job in jobs))

    asyncio.run(story())
    assert all(store.find(job.exchange, "provide") == job for job in jobs)
    assert commits.count("COMMIT") <= 3


def test_changes_just_after_a_commit_share_the_next_one(store: Store) -> None:
    commits: list[str] = []
    store._thread.submit(store._writer.set_trace_callback, commits.append).result()

    async def story() -> None:
        await store.save([make_job("first")])
        later = [asyncio.create_task(store.save([make_job(f"job {n}")])) for n in range(5)]
        for _ in range(20):
            await asyncio.sleep(0)
        later += [asyncio.create_task(store.save([make_job(f"late {n}")])) for n in range(5)]
        await asyncio.gather(*later)

    asyncio.run(story())
    assert commits.count("COMMIT") == 2


def test_what_changed_lately_is_known_without_the_disk_as_it_is_there(
    store: Store, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.gateway.store.RECENT_MAX", 2)
    first, second, third = (make_job(f"job {number}") for number in range(3))
    save(store, first, second)
    save(store, advance(first, "deliver"))
    save(store, third)
    # The one whose change is longest ago is asked for on the disk.
    assert store.recent(second.exchange, "provide") is None
    assert store.find(second.exchange, "provide") == second
    for job in (advance(first, "deliver"), third):
        assert store.recent(job.exchange, "provide") == job
    assert store.recent(first.exchange, "acquire") is None

    def fail(_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(store, "_commit", fail)
    with pytest.raises(sqlite3.OperationalError):
        save(store, advance(third, "deliver"))
    assert store.find(third.exchange, "provide") == third


def test_active_and_due_jobs_are_found(store: Store) -> None:
    active = [make_job(f"{side} {stage}", side=side, stage=stage) for side, stage in sorted(ACTIVE)]
    waiting = [make_job(f"due {number}", stage="offered", wake_ms=number) for number in (30, 10)]
    quiet = make_job("quiet", stage="settled")
    save(store, *active, *waiting, quiet)
    assert {job.exchange for job in store.find_active()} == {job.exchange for job in active}
    assert [job.wake_ms for job in store.find_due(30)] == [10, 30]
    assert [job.wake_ms for job in store.find_due(29)] == [10]
    assert [job.wake_ms for job in store.find_due(30, limit=1)] == [10]
    assert store.next_wake_ms() == 10
    save(store, *(msgspec.structs.replace(job, wake_ms=0) for job in waiting))
    assert (store.next_wake_ms(), store.find_due(10**15)) == (None, [])


def test_pages_go_through_all_jobs_in_order(store: Store) -> None:
    jobs = [make_job(f"job {number}") for number in range(25)]
    save(store, *jobs, make_job("done", stage="closed"))
    seen: list[bytes] = []
    while page := store.page(after=seen[-1] if seen else b"", stage="prepare", limit=10):
        seen += [job.exchange for job in page]
    assert seen == sorted(job.exchange for job in jobs)
    assert len(store.page(limit=1_000)) == 26
    assert store.count_by_stage() == [("provide", "closed", 1), ("provide", "prepare", 25)]


def test_what_save_returns_from_others_can_read(store: Store, path: Path) -> None:
    job = make_job()
    save(store, job, height=3)
    reader = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    rows = reader.execute("SELECT exchange, stage FROM jobs").fetchall()
    reader.close()
    assert rows == [(job.exchange, "prepare")]


def test_what_is_let_go_is_in_no_byte_of_the_files(store: Store, path: Path) -> None:
    blind, question = os.urandom(500), os.urandom(9_000)
    old = make_job("kept", payload=make_payload(blind=blind), question=question)
    job = msgspec.structs.replace(old, side="acquire", stage="kept")
    others = [make_job(f"other {number}") for number in range(50)]
    save(store, job, *others)
    for stage in ("hand", "answer", "kept", "erase"):
        job = advance(job, stage)
        save(store, job)
    assert contains(path, blind)
    assert contains(path, question)
    bare = make_payload(blind=b"", report=b"")
    save(store, advance(job, "attest", question=b"", payload=bare))
    assert not contains(path, blind)
    assert not contains(path, question[:1_000])
    assert not contains(path, question[-1_000:])
    assert all(store.find(other.exchange, "provide") == other for other in others)


def contains(path: Path, data: bytes) -> bool:
    files = [each for each in path.parent.iterdir() if each.name.startswith(path.name)]
    # Long values go over several pages: any part of them counts.
    parts = [data[at : at + 200] for at in range(0, len(data) - 199, 200)]
    return any(part in each.read_bytes() for each in files for part in parts)


FULL_DISK = """
    import asyncio, resource, signal, sqlite3, sys
    from pathlib import Path
    from node.gateway.store import Store
    from tests.unit.node.gateway.samples import make_job

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    path = Path(sys.argv[1])
    store = Store(path)

    async def story():
        await store.save([make_job("first")], height=1)
        size = max(each.stat().st_size for each in path.parent.iterdir()) + 20_000
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
        large = [make_job("first", question=bytes(200_000)), make_job("second")]
        results = await asyncio.gather(
            store.save(large, height=2), store.save([make_job("third")]), return_exceptions=True
        )
        assert all(isinstance(each, sqlite3.Error) for each in results), results
        # What was there is there, and nothing of what failed.
        assert store.find(make_job("first").exchange, "provide") == make_job("first")
        assert store.find(make_job("second").exchange, "provide") is None
        assert store.find(make_job("third").exchange, "provide") is None
        assert store.mark("height") == 1
        # With room again the same store goes on.
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        await store.save(large, height=2)
        assert store.mark("height") == 2
        print("good")

    asyncio.run(story())
    store.close()
"""


def test_a_full_disk_leaves_what_was_there_and_is_told(path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FULL_DISK), str(path)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stdout == "good\n", done.stderr
    again = Store(path)
    assert again.find(make_job("second").exchange, "provide") == make_job("second")
    again.close()


def test_nobody_else_may_read_what_is_written(path: Path) -> None:
    before = os.umask(0o022)
    try:
        store = Store(path)
        save(store, make_job())
        modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}
        store.close()
    finally:
        os.umask(before)
    assert modes == dict.fromkeys((path.name, f"{path.name}-wal", f"{path.name}-shm"), 0o600)
