"""Anchors: at the end of a period or of many lines, the same until recorded, each continuing."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from ledger.access.anchors import NO_ANCHOR, AccessAnchor, AccessLogged
from node.access.anchors import HOUR_MS, Anchors
from node.access.files import Files
from node.access.log import AccessLog
from tests.unit.node.access.test_files import START_MS, lines_of, reading
from tests.unit.node.access.test_log import _note as note


async def until(is_true: Callable[[], bool]) -> None:
    for _ in range(10_000):
        if is_true():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it never came")


class Scene:
    """A log, its anchors, and a ledger that records what is due when told to."""

    def __init__(self, folder: Path, **changed: Any) -> None:
        self.last: AccessAnchor | None = changed.pop("last", None)
        self.now_ms = START_MS
        self.log = AccessLog(Files(folder))
        settings = {
            "period_ms": HOUR_MS, "lines_max": 10, "kept_days": 3, "size_bytes_max": 10**9
        }  # fmt: skip
        self.anchors = Anchors(
            self.log,
            read_last=lambda: self.last,
            wall_ms=lambda: self.now_ms,
            **{**settings, **changed},
        )

    def due(self) -> AccessLogged | None:
        return self.anchors.due(self.last)

    async def until_due(self) -> AccessLogged:
        await until(lambda: self.due() is not None)
        body = self.due()
        assert body is not None
        return body

    def record(self, body: AccessLogged) -> None:
        """What `contracts.exchange.access` does with an anchor that fits."""
        before = self.last
        assert body.previous == (NO_ANCHOR if before is None else before.digest)
        assert body.period_to_ms >= body.period_from_ms
        assert body.period_from_ms >= (0 if before is None else before.period_to_ms)
        entries = body.entries + (0 if before is None else before.entries)
        self.last = AccessAnchor(
            digest=body.digest, period_to_ms=body.period_to_ms, entries=entries
        )


def play(
    folder: Path, story: Callable[[Scene], Awaitable[None]], **changed: Any
) -> AccessAnchor | None:
    async def main() -> AccessAnchor | None:
        scene = Scene(folder, **changed)
        scene.log.start()
        running = asyncio.create_task(scene.anchors.run())
        try:
            async with asyncio.timeout(20):
                await story(scene)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            scene.log.close()
        return scene.last

    return asyncio.run(main())


def test_many_lines_are_anchored_before_the_period_ends(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        await note(scene.log, 9)
        await scene.log.mark()
        assert scene.due() is None
        await note(scene.log, 1)
        body = await scene.until_due()
        assert (body.entries, body.previous) == (10, NO_ANCHOR)
        assert body.digest == (await scene.log.mark()).digest
        assert scene.due() == body  # until it is recorded
        scene.record(body)
        assert scene.due() is None
        await note(scene.log, 10)
        following = await scene.until_due()
        assert (following.entries, following.previous) == (10, body.digest)
        scene.record(following)

    play(tmp_path, story)


def test_a_period_ends_by_time(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        await note(scene.log, 2)
        assert (await scene.until_due()).entries == 2

    play(tmp_path, story, period_ms=30)


def test_a_period_without_lines_is_not_anchored(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        await asyncio.sleep(0.05)
        assert scene.due() is None

    play(tmp_path, story, period_ms=10)


def test_what_was_not_recorded_before_a_restart_is_anchored_after_it(tmp_path: Path) -> None:
    async def first(scene: Scene) -> None:
        await note(scene.log, 10)
        scene.record(await scene.until_due())
        await note(scene.log, 5)

    async def second(scene: Scene) -> None:
        await note(scene.log, 7)
        body = await scene.until_due()
        assert body.entries == 12  # five of them were written before
        scene.record(body)

    last = play(tmp_path, first)
    assert play(tmp_path, second, last=last, lines_max=22) is not None


def test_a_clock_that_was_ahead_once_does_not_end_the_anchors(tmp_path: Path) -> None:
    async def before(scene: Scene) -> None:
        scene.now_ms += 10**12
        await note(scene.log, 2)
        scene.record(await scene.until_due())

    last = play(tmp_path, before, period_ms=30)
    assert last is not None

    async def after(scene: Scene) -> None:
        await note(scene.log, 2)
        assert (await scene.until_due()).entries == 2

    ahead = replace(last, period_to_ms=START_MS + 10**12)
    play(tmp_path, after, period_ms=30, last=ahead)


def test_a_folder_that_was_lost_does_not_end_the_chain(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        for each in range(10):
            await scene.log.note(reading(name=f"{each} {scene.last}"[:60]))
        scene.record(await scene.until_due())

    last = play(tmp_path / "one", story)
    again = play(tmp_path / "two", story, last=last)
    assert again is not None
    assert again.entries == 20


def test_old_files_go_after_their_anchor(tmp_path: Path) -> None:
    def count() -> int:
        return len(list(tmp_path.iterdir()))

    async def story(scene: Scene) -> None:
        await scene.log.note(reading(START_MS))
        await scene.log.note(reading(scene.now_ms + 9 * 86_400_000))
        scene.now_ms += 9 * 86_400_000
        await note(scene.log, 8)
        scene.record(await scene.until_due())
        assert count() == 2
        await note(scene.log, 10)
        await until(lambda: count() == 1)

    play(tmp_path, story)
    assert len(lines_of(tmp_path)) == 19
