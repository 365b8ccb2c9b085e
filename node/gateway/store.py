"""The jobs on disk: one SQLite file, one writer thread, many changes in one durable commit.

`save` returns when the change is on disk. Changes that arrive while one commit runs, or just after
it, share the next one, so a hundred exchanges at once cost hardly more waits for the disk than one.
"""

import asyncio
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import msgspec

from node.gateway.jobs import ACTIVE, Job, Side

_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    exchange BLOB NOT NULL,
    side TEXT NOT NULL,
    stage TEXT NOT NULL,
    wake_ms INTEGER NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (exchange, side)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS jobs_by_wake ON jobs (wake_ms) WHERE wake_ms > 0;
CREATE INDEX IF NOT EXISTS jobs_by_stage ON jobs (stage);
CREATE TABLE IF NOT EXISTS marks (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
"""
# What was deleted is overwritten: blinds and questions must not stay in free pages.
_SETTINGS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA secure_delete = ON",
)
# Stages in which blinds and questions have just been let go.
_FORGOTTEN = ("attest", "closed")
COMMIT_PAUSE_S = 0.01
RECENT_MAX = 2_000
_JOBS = msgspec.msgpack.Decoder(Job)
_ENCODE = msgspec.msgpack.Encoder().encode

Change = tuple[Sequence[Job], dict[str, int], "asyncio.Future[None]"]
Key = tuple[bytes, Side]


class Store:
    """All jobs of a gateway. Reads are of what is durable."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # SQLite gives its journal the mode that the file has when it first writes.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        path.chmod(0o600)
        self._reader = self._connect()
        self._reader.executescript(_SCHEMA)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._writer = self._thread.submit(self._connect).result()
        self._waiting: list[Change] = []
        self._writing: asyncio.Task[None] | None = None
        self._committed_s = -COMMIT_PAUSE_S
        self._recent: dict[Key, Job] = {}  # those that changed last, as they are on disk

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None, timeout=30)
        for setting in _SETTINGS:
            connection.execute(setting).close()
        return connection

    def recent(self, exchange: bytes, side: Side) -> Job | None:
        """One job, if it changed lately; None says nothing."""
        return self._recent.get((exchange, side))

    def find(self, exchange: bytes, side: Side) -> Job | None:
        """One job, or None."""
        if (job := self.recent(exchange, side)) is not None:
            return job
        row = self._reader.execute(
            "SELECT data FROM jobs WHERE exchange = ? AND side = ?", (exchange, side)
        ).fetchone()
        return None if row is None else _JOBS.decode(row[0])

    def find_active(self) -> Iterator[Job]:
        """Every job that has a step to run."""
        stages = sorted({stage for _, stage in ACTIVE})
        marks = ", ".join("?" * len(stages))
        query = f"SELECT data FROM jobs WHERE stage IN ({marks})"  # noqa: S608  # question marks only
        yield from map(self._decode, self._reader.execute(query, stages).fetchall())

    def find_due(self, now_ms: int, limit: int = 1_000) -> list[Job]:
        """Jobs whose time has come, the earliest first."""
        rows = self._reader.execute(
            "SELECT data FROM jobs WHERE wake_ms > 0 AND wake_ms <= ? ORDER BY wake_ms LIMIT ?",
            (now_ms, limit),
        )
        return [self._decode(row) for row in rows.fetchall()]

    def next_wake_ms(self) -> int | None:
        """When the next job is due, or None."""
        (found,) = self._reader.execute(
            "SELECT min(wake_ms) FROM jobs WHERE wake_ms > 0"
        ).fetchone()
        return None if found is None else int(found)

    def page(self, *, after: bytes = b"", stage: str = "", limit: int = 100) -> list[Job]:
        """Jobs by exchange, from the one after `after` on."""
        rows = self._reader.execute(
            "SELECT data FROM jobs WHERE exchange > ? AND (? = '' OR stage = ?)"
            " ORDER BY exchange, side LIMIT ?",
            (after, stage, stage, limit),
        )
        return [self._decode(row) for row in rows.fetchall()]

    def count_by_stage(self) -> list[tuple[str, str, int]]:
        """How many jobs are in each side and stage."""
        rows = self._reader.execute(
            "SELECT side, stage, count(*) FROM jobs GROUP BY side, stage ORDER BY side, stage"
        )
        return [(side, stage, count) for side, stage, count in rows.fetchall()]

    def mark(self, name: str) -> int | None:
        """A durable number, such as the height up to which the chain was followed."""
        row = self._reader.execute("SELECT value FROM marks WHERE name = ?", (name,)).fetchone()
        return None if row is None else int(row[0])

    async def save(self, jobs: Iterable[Job], **marks: int) -> None:
        """Make jobs and marks durable, all or none of them."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((tuple(jobs), marks, done))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())
        await done

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            await asyncio.sleep(self._committed_s + COMMIT_PAUSE_S - loop.time())
            changes, self._waiting = self._waiting, []
            try:
                await loop.run_in_executor(self._thread, self._commit, changes)
            except BaseException as error:
                for _, _, done in changes:
                    if not done.done():
                        done.set_exception(error)
                if not isinstance(error, sqlite3.Error):
                    raise
                continue
            finally:
                self._committed_s = loop.time()
            for _, _, done in changes:
                if not done.done():
                    done.set_result(None)

    def _remember(self, jobs: Iterable[Job]) -> None:
        for job in jobs:
            # At the end, also where it was known: who changed longest ago is forgotten first.
            self._recent.pop((job.exchange, job.side), None)
            self._recent[job.exchange, job.side] = job
        while len(self._recent) > RECENT_MAX:
            del self._recent[next(iter(self._recent))]

    def _commit(self, changes: Sequence[Change]) -> None:
        connection = self._writer
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(
                "INSERT OR REPLACE INTO jobs VALUES (?, ?, ?, ?, ?)",
                [
                    (job.exchange, job.side, job.stage, job.wake_ms, _ENCODE(job))
                    for jobs, _, _ in changes
                    for job in jobs
                ],
            )
            connection.executemany(
                "INSERT OR REPLACE INTO marks VALUES (?, ?)",
                [mark for _, marks, _ in changes for mark in marks.items()],
            )
            connection.execute("COMMIT")
        except sqlite3.Error:
            # Where the disk is full, SQLite may have rolled back by itself.
            with suppress(sqlite3.OperationalError):
                connection.execute("ROLLBACK")
            raise
        self._remember(job for jobs, _, _ in changes for job in jobs)
        if any(job.stage in _FORGOTTEN for jobs, _, _ in changes for job in jobs):
            # Pages as they were before stay in the log of the journal until it is cut off.
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").close()

    def close(self) -> None:
        """Close the file; nothing is waiting any more."""
        self._thread.submit(self._writer.close).result()
        self._thread.shutdown()
        self._reader.close()

    @staticmethod
    def _decode(row: tuple[bytes]) -> Job:
        return _JOBS.decode(row[0])
