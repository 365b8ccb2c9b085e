"""A mirror that follows a log and archives it, killed again and again: what is left is whole.

The program runs as people run it, against a node on loopback that shows ever more of the log.
"""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from ledger.genesis import encode_genesis_json
from tests.unit.ledger.builders import make_copy
from tests.unit.tools.audit.archived import ENTRIES, GENESIS, archived, contents, restored
from tests.unit.tools.mirror.servers import LogServer, listening
from tools.audit.archive import HEAD, segment_path
from tools.mirror.folder import no_progress
from tools.mirror.pruned import SEGMENT_ENTRIES
from tools.mirror.update import mirror_from

TIMEOUT_S = 300
LINE_BYTES_MAX = 1 << 20


class GrowingLog(LogServer):
    """A node that shows the first entries of the log; `reached` is set when a file is asked for."""

    def __init__(self, count: int) -> None:
        super().__init__({})
        self.awaited = ""
        self.reached = asyncio.Event()
        self.grow_to(count)

    def grow_to(self, count: int) -> None:
        first = len(self._entries)
        self.files, self._entries = make_copy(ENTRIES[:count]), ENTRIES[:count]
        block = {"first_index": first, "records": [{"index": count - 1}]}
        for queue in self._streams:
            queue.put_nowait(b"event: block\ndata: " + msgspec.json.encode(block) + b"\n\n")

    def _name(self, path: str) -> str:
        name = super()._name(path)
        if name == self.awaited:
            self.reached.set()
        return name


class Follower:
    """`tally audit mirror --follow --archive` in a process."""

    def __init__(self, process: Process) -> None:
        self._process = process

    async def wait_mirrored(self, entries: int) -> None:
        """Until the mirror has so many entries; only then they are archived."""
        assert self._process.stdout is not None
        line = json.loads(await self._process.stdout.readline())
        assert line["entries"] == entries

    async def wait_archived(self, segments: int) -> None:
        """Until it says that the last of so many segments was written."""
        assert self._process.stderr is not None
        line = b""
        while b"Archived to" not in line:
            line = await self._process.stderr.readline()
            assert line, "it ended"
        assert f"{segments} segments".encode() in line

    async def kill(self) -> None:
        self._process.kill()
        await self._process.wait()


@asynccontextmanager
async def following(folder: Path, url: str) -> AsyncIterator[Follower]:
    """One that is killed in the end, whatever it does then."""
    genesis = folder / "genesis.json"
    genesis.write_bytes(encode_genesis_json(GENESIS))
    command = [sys.executable, "-m", "tools.cli", "audit", "mirror", url, folder / "copy",
               "--follow", "--archive", folder / "archive", "--genesis", genesis,
               "--lang", "en", "--json"]  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        *command, stdout=PIPE, stderr=PIPE, limit=LINE_BYTES_MAX
    )
    follower = Follower(process)
    try:
        yield follower
    finally:
        await follower.kill()


async def wait_for(is_so: Callable[[], bool]) -> None:
    """Look again and again, while what runs here goes on."""
    while not is_so():  # noqa: ASYNC110 - another process gives no event
        await asyncio.sleep(0.001)


def drafts(folder: Path) -> list[Path]:
    return [path for path in folder.rglob(".*") if path.is_file()]


def assert_whole(archive: Path, made: Path, segments: Sequence[int]) -> None:
    """The files of segments that are there are those of a mirror that nothing happened to."""
    for number in range(2):
        path = segment_path(archive, number)
        assert path.exists() == (number in segments)
        if number in segments:
            assert path.read_bytes() == segment_path(made / "archive", number).read_bytes()


def test_killed_again_and_again_it_archives_what_a_fresh_mirror_does(
    made: Path, tmp_path: Path
) -> None:
    """While it archives, while it downloads, and right after it has archived."""
    archive, short = tmp_path / "archive", SEGMENT_ENTRIES + 300

    async def story() -> None:
        node = GrowingLog(SEGMENT_ENTRIES - 300)
        async with asyncio.timeout(TIMEOUT_S), listening(node) as (url,):
            async with following(tmp_path, url) as follower:
                await follower.wait_mirrored(SEGMENT_ENTRIES - 300)
                node.grow_to(short)
                await follower.wait_mirrored(short)
                await wait_for(lambda: any(archive.glob("*000000.tar*")))
            # Killed while the segment is written; what it had begun is no part of the archive.
            async with following(tmp_path, url) as follower:
                await follower.wait_mirrored(short)
                await wait_for(segment_path(archive, 0).exists)
                assert_whole(archive, made, [0])
                node.awaited = "tile/entries/400"
                node.grow_to(len(ENTRIES))
                await node.reached.wait()
            # Killed half-way through the second segment.
            assert_whole(archive, made, [0])
            async with following(tmp_path, url) as follower:
                await follower.wait_mirrored(len(ENTRIES))
                await follower.wait_archived(2)
            assert_whole(archive, made, [0, 1])

    asyncio.run(story())
    fresh = tmp_path / "fresh"

    async def mirror_again() -> None:
        node = GrowingLog(len(ENTRIES))
        async with asyncio.timeout(TIMEOUT_S), listening(node) as urls:
            await mirror_from(urls, fresh, genesis=GENESIS, on_progress=no_progress)

    asyncio.run(mirror_again())
    archived(fresh, tmp_path / "fresh-archive")
    assert not drafts(tmp_path)
    assert contents(archive) == contents(tmp_path / "fresh-archive")
    assert (archive / HEAD).exists()
    assert contents(tmp_path / "copy") == contents(fresh)
    assert restored(archive, tmp_path / "again") == 2
