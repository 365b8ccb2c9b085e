"""A gateway's socket with its desk, jobs and working processes, but without a node beside it."""

import asyncio
import threading
from collections.abc import Iterable, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from node.gateway.agency.asking import Asking
from node.gateway.agency.local import Local
from node.gateway.desk import Change, Desk, now_ms
from node.gateway.jobs import Job, Payload
from node.gateway.signing import Signing
from node.gateway.steps.acquire import Acquirer
from node.gateway.steps.provide import Parts
from node.gateway.store import Store
from node.gateway.work.pool import Pool
from node.gateway.work.tasks import Plug, Setup

ASKER, OWNER = "cn-3301-tax", "cn-3302-tax"
DAY_MS = 86_400_000


def job(number: int, **changed: Any) -> Job:
    """A job of the asker; keywords say what is different."""
    fields: dict[str, Any] = {
        "exchange": number.to_bytes(32, "big"),
        "side": "acquire",
        "stage": "open",
        "requester": ASKER,
        "provider": OWNER,
        "dataset": "registration",
        "purpose": "assessment",
        "fields": ("uscc",),
        "period_from": "2026-01-01",
        "period_to": "2026-03-31",
        "subjects": (),
        "retention_days": 90,
        **changed,
    }
    return Job(**fields)


def kept(number: int, **changed: Any) -> Job:
    """A job whose delivery was received, and is kept for a day."""
    payload = Payload(
        commitment=bytes(32),
        record_count=3,
        schema_version=1,
        quality_digest=bytes(32),
        size_bytes=900,
        outbox_until_ms=now_ms() + DAY_MS,
    )
    until_ms = now_ms() + DAY_MS
    return job(
        number, stage="kept", status="received", payload=payload, until_ms=until_ms,
        wake_ms=until_ms, **changed,
    )  # fmt: skip


@contextmanager
def office(folder: Path, jobs: Iterable[Job] = ()) -> Iterator[Path]:
    """Serve in a thread of its own; the path of the socket."""
    started: list[tuple[Path, asyncio.AbstractEventLoop, asyncio.Event]] = []
    ready = threading.Event()

    async def serve() -> None:
        async with AsyncExitStack() as stack:
            path = await _open(stack, folder, tuple(jobs))
            ended = asyncio.Event()
            started.append((path, asyncio.get_running_loop(), ended))
            ready.set()
            await ended.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        assert ready.wait(30), "the socket is open"
        path, loop, ended = started[0]
        yield path
    finally:
        if started:
            loop.call_soon_threadsafe(ended.set)
        thread.join(30)


async def _open(stack: AsyncExitStack, folder: Path, jobs: tuple[Job, ...]) -> Path:
    store = Store(folder / "jobs.sqlite")
    stack.callback(store.close)
    await store.save(jobs)
    pool = Pool(_setup(folder), size=1, stall_s=30)
    stack.push_async_callback(pool.close)
    signing = Signing(None, ASKER, None, None)  # type: ignore[arg-type]  # signs nothing here
    parts = Parts(chain=None, directory=None, pool=pool, signing=signing)  # type: ignore[arg-type]  # no node is beside it
    acquirer = Acquirer(parts, inbox=folder)
    desk = Desk(
        store,
        steps={("acquire", "erase"): acquirer.erase, ("acquire", "attest"): _never},
        wakes={},
        enter=lambda _: None,
        in_flight_max=2,
    )
    running = asyncio.create_task(desk.run())
    stack.push_async_callback(_cancel, running)
    runner = web.AppRunner(
        Local(parts, Asking(parts, desk), store=store, desk=desk).app(), access_log=None
    )
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    path = folder / "gateway.sock"
    await web.UnixSite(runner, path).start()
    return path


def _setup(folder: Path) -> Setup:
    return Setup(
        network=bytes(32),
        member=ASKER,
        seeds=(bytes(range(32)),),
        connectors={},
        receiver=Plug(name="folder", options={"path": "received"}),
        base=str(folder),
        memory_bytes_max=1_000_000_000,
    )


async def _never(_: Job) -> Change:
    """The step after the last one that needs no ledger."""
    await asyncio.Event().wait()
    raise AssertionError("nobody sets it")


async def _cancel(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
