"""The drop folder: no file is lost, none stops the others, and what waits is not tried at once."""

import asyncio
import errno
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from node.gateway.agency import drop
from node.gateway.agency.asking import Asking
from node.gateway.chain import Chain, Network
from node.gateway.desk import Desk
from node.gateway.signing import Signing
from node.gateway.steps.provide import Parts
from node.gateway.store import Store
from tests.builders import ASKER, key_of
from tests.unit.node.gateway.agency.test_requests import SUBJECTS, WANTED
from tests.unit.node.gateway.samples import until

RETRY_S = 0.2
# Names of files that have no room for a number before them, or are no text.
HARD_NAMES = (b"n" * 250 + b".json", b"\xff\xfe.json")


@dataclass
class Place:
    """A drop folder beside a node that does not answer before `gate` is open, and then: not now."""

    folder: Path
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    asked: int = 0

    async def answer(self, _: web.Request) -> web.Response:
        """Whatever is asked for."""
        self.asked += 1
        await self.gate.wait()
        raise web.HTTPServiceUnavailable

    def put(self, name: str | bytes, document: dict[str, Any]) -> None:
        """As another system does: written under another name, then renamed."""
        draft = self.folder / "draft.part"
        draft.write_text(json.dumps(document))
        draft.rename(self.folder / os.fsdecode(name))

    def texts(self) -> list[str]:
        """What the files in the folder say."""
        return sorted(path.read_text() for path in self.folder.glob("*.json"))


@asynccontextmanager
async def place(folder: Path) -> AsyncIterator[Place]:
    made = Place(folder / "drop")
    made.folder.mkdir()
    app = web.Application()
    app.router.add_get("/{path:.*}", made.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    node = f"http://127.0.0.1:{runner.addresses[0][1]}"
    store = Store(folder / "jobs.sqlite")
    async with Chain(node, ASKER) as chain:
        network = Network(network=bytes(32), expiry_blocks_max=1_000)
        signing = Signing(key_of(ASKER, "requester"), ASKER, network, chain)
        parts = Parts(chain=chain, directory=None, pool=None, signing=signing)  # type: ignore[arg-type]  # not reached
        desk = Desk(store, steps={}, wakes={}, enter=lambda _: None, in_flight_max=1)
        running = asyncio.create_task(drop.Drop(made.folder, Asking(parts, desk), desk).run())
        try:
            await until((made.folder / "failed").exists)
            yield made
            assert not running.done(), running
        finally:
            made.gate.set()
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            store.close()
            await runner.cleanup()


def play(folder: Path, story: Callable[[Place], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(30), place(folder) as made:
            await story(made)

    asyncio.run(main())


def wanted(case: str) -> dict[str, Any]:
    return {"request": {**WANTED, "case": case}, "subjects": SUBJECTS}


def test_files_that_wait_are_tried_again_after_a_pause_however_many_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Putting a file back is news in the folder, and each file asks for a look of its own."""
    monkeypatch.setattr(drop, "RETRY_S", RETRY_S)

    async def story(made: Place) -> None:
        made.gate.set()
        for number in range(4):
            made.put(f"{number}.json", wanted(str(number)))
        await until(lambda: made.asked >= 4)
        before, started_s = made.asked, time.monotonic()
        await asyncio.sleep(10 * RETRY_S)
        looks = (time.monotonic() - started_s) / RETRY_S + 1
        assert made.asked - before <= 4 * looks
        await until(lambda: made.asked >= before + 4)
        await until(lambda: len(made.texts()) == 4)

    play(tmp_path, story)


def test_a_file_that_goes_back_does_not_take_the_place_of_another(tmp_path: Path) -> None:
    async def story(made: Place) -> None:
        made.put("a.json", wanted("first"))
        await until(lambda: made.asked == 1)
        made.put("a.json", wanted("second"))
        made.gate.set()
        await until(lambda: len(made.texts()) == 2)
        assert made.texts() == sorted(json.dumps(wanted(case)) for case in ("first", "second"))

    play(tmp_path, story)


@pytest.mark.parametrize("what", ["request", "offer"])
@pytest.mark.parametrize("name", HARD_NAMES)
def test_one_file_does_not_stop_the_others(tmp_path: Path, name: bytes, what: str) -> None:
    async def story(made: Place) -> None:
        made.gate.set()
        made.put(name, wanted("") if what == "request" else {"offer": {"case": ""}})
        made.put("z.json", {"request": {}, "subjects": SUBJECTS})
        await until((made.folder / "failed" / "z.json").exists)
        await asyncio.sleep(0.1)

    play(tmp_path, story)


@pytest.mark.parametrize("subjects", [[""], ["x" * 257], SUBJECTS * 1_001])
def test_subjects_of_a_file_are_bounded(tmp_path: Path, subjects: list[str]) -> None:
    async def story(made: Place) -> None:
        made.put("a.json", {"request": WANTED, "subjects": subjects})
        answer = made.folder / "failed" / "a.result.json"
        await until(answer.exists)
        assert json.loads(answer.read_text())["code"] == "body-malformed"
        assert made.asked == 0

    play(tmp_path, story)


def test_what_the_disk_left_on_its_way_goes_back_without_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drop, "RETRY_S", RETRY_S)
    move, failing = drop._move, ["first"]

    def odd(path: Path, target: Path) -> None:
        if path.parent.name == "taken" and failing:
            failing.pop()
            raise OSError(errno.EIO, "broken")
        move(path, target)

    monkeypatch.setattr(drop, "_move", odd)

    async def story(made: Place) -> None:
        made.gate.set()
        made.put("a.json", wanted("first"))
        await until(lambda: not failing)
        assert len(list((made.folder / "taken").iterdir())) == 1
        await until(lambda: made.texts() == [json.dumps(wanted("first"))])
        await until(lambda: not list((made.folder / "taken").iterdir()))

    play(tmp_path, story)
