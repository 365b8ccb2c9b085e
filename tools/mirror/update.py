"""Making and following a mirror: which genesis, which sources, which checkpoint."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

from ledger.errors import InvalidFounding, InvalidGenesis, LedgerError
from ledger.genesis import Genesis, decode_genesis_json, encode_genesis_json, hash_genesis
from ledger.quorum.founding import decode_signatures, encode_signatures, verify_founders
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.note import SignedNote
from tools.audit.alarms import Sighting
from tools.client import fetch_file, fetch_genesis
from tools.exits import InvalidAnswer, InvalidInput, NotFound, ToolError, Unreachable
from tools.founding import signatures_path
from tools.mirror.download import Filling
from tools.mirror.folder import (
    Mirror,
    OnProgress,
    no_progress,
    read_epochs,
    read_genesis,
    write_file,
)
from tools.mirror.live import Live, note_lost
from tools.mirror.sources import Source, Sources, extend_epochs, verify_checkpoint_of
from tools.output import note
from tools.words import say

# A copy on a web server may move on while it is read.
ATTEMPTS_MAX = 3


class Mirroring:
    """A folder, the epochs that it knows and the sources that it is filled from."""

    def __init__(self, directory: Path, genesis: Genesis, sources: Sources) -> None:
        self._directory = directory
        self._genesis = genesis
        self._sources = sources
        self.epochs = read_epochs(directory, genesis)
        self._filling = Filling(directory, self.epochs, sources)
        self._has_founders = signatures_path(directory / "genesis.json").exists()

    async def update(self, on_progress: OnProgress) -> Mirror:
        """Bring the folder to the newest checkpoint that any source has.

        1. The proofs of ended epochs, each by the epoch before, and the checkpoint of each source
        by its own epoch. 2. The signatures of the founders. 3. Everything under the newest.

        Raises `InvalidAnswer`, `NotFound`, `Unreachable`.
        """
        for attempt in range(1, ATTEMPTS_MAX + 1):
            seen = await self._ask()  # 1
            await self._keep_founders()  # 2
            try:
                return await self._fill(seen, on_progress)  # 3
            except NotFound:
                if attempt == ATTEMPTS_MAX:
                    raise
        raise AssertionError("the last attempt returns or raises")

    async def follow(self, mirrored: Mirror, live: Live) -> AsyncGenerator[Mirror, None]:
        """Every further state of the folder, as the sources have new checkpoints, for ever."""
        size = mirrored.checkpoint.size
        async with aclosing(live.notes()) as notes:
            async for source, data in notes:
                try:
                    seen = await self._sight(source, data)
                    if size_of(seen) <= size:
                        continue
                    mirrored = await self._fill([seen], no_progress)
                except (Unreachable, NotFound) as error:
                    note_lost(source, error)
                    continue
                except InvalidAnswer as error:
                    if error.code != "log-forked":
                        self._sources.drop(source, error)
                    if error.code == "log-forked" or not self._sources.usable:
                        raise
                    continue
                size = mirrored.checkpoint.size
                yield mirrored

    async def _ask(self) -> list[Sighting]:
        """Verified checkpoints of the sources that have one. Raises if none has."""
        asked = self._sources.usable
        answers = await asyncio.gather(*map(self._ask_one, asked), return_exceptions=True)
        faults: list[ToolError] = []
        seen: list[Sighting] = []
        for source, answer in zip(asked, answers, strict=True):
            if isinstance(answer, InvalidAnswer):
                self._sources.drop(source, answer)
                faults.append(answer)
            elif isinstance(answer, ToolError):
                faults.append(answer)
                if len(asked) > 1:
                    note_lost(source, answer)
            elif isinstance(answer, BaseException):
                raise answer
            else:
                seen.append(answer)
        if not seen:
            raise faults[0]
        return seen

    async def _ask_one(self, source: Source) -> Sighting:
        return await self._sight(source, await source.get_checkpoint())

    async def _sight(self, source: Source, data: bytes) -> Sighting:
        try:
            SignedNote.parse(data)
        except LedgerError as error:
            # Whoever has no checkpoint has no proofs either, whatever it answers.
            raise InvalidAnswer("checkpoint-invalid", f"{source.url}: {error}") from None
        # Those of an ended epoch may cosign in the next one too: their quorum does not tell.
        await extend_epochs(source, self.epochs)
        await verify_checkpoint_of(source, data, self.epochs)
        return Sighting(source=source.url, note=data.decode())

    async def _fill(self, seen: list[Sighting], on_progress: OnProgress) -> Mirror:
        """Fill up to the largest; the folder's own, if a source is behind it."""
        held = self._filling.held()
        found, *others = sorted([*seen, *([held] if held else [])], key=size_of, reverse=True)
        return await self._filling.fill(found, tuple(others), on_progress)

    async def _keep_founders(self) -> None:
        """The signatures of those who founded the network; a copy may lack them."""
        if self._has_founders:
            return
        self._has_founders = True
        missing = ""
        for source in self._sources.usable:
            try:
                signatures = decode_signatures(await source.get("genesis.signatures.json"))
                verify_founders(self._genesis, signatures)
            except (NotFound, Unreachable):
                missing = missing or source.url
                continue
            except InvalidFounding as error:
                raise InvalidAnswer("signatures-invalid", f"{source.url}: {error}") from None
            path = signatures_path(self._directory / "genesis.json")
            write_file(path, encode_signatures(signatures))
            return
        # The genesis names the network.
        note(say("audit.no_founders", url=missing))


def size_of(seen: Sighting) -> int:
    """Number of entries under a checkpoint that has been verified."""
    return Checkpoint.parse(SignedNote.parse(seen.note.encode()).text).size


@asynccontextmanager
async def open_mirroring(
    urls: Sequence[str], directory: Path, genesis: Genesis | None
) -> AsyncIterator[tuple[Mirroring, Live]]:
    """Genesis: the caller's, else that of the folder, else a source's (then pinned by the folder).

    Raises `InvalidInput`, `InvalidAnswer`, `Unreachable`.
    """
    chosen = await choose_genesis(urls, directory, genesis)
    async with Sources(urls, chosen) as sources:
        yield Mirroring(directory, chosen, sources), Live(sources)


async def mirror_from(
    urls: Sequence[str], directory: Path, *, genesis: Genesis | None, on_progress: OnProgress
) -> Mirror:
    """Download the log behind the newest checkpoint of these sources."""
    async with open_mirroring(urls, directory, genesis) as (mirroring, _):
        return await mirroring.update(on_progress)


async def choose_genesis(urls: Sequence[str], directory: Path, genesis: Genesis | None) -> Genesis:
    """See `open_mirroring`."""
    path = directory / "genesis.json"
    held = read_genesis(path) if path.exists() else None
    chosen = genesis or held or await fetch_any_genesis(urls)
    if held is not None and hash_genesis(held) != hash_genesis(chosen):
        raise InvalidInput("genesis-mismatch", str(directory))
    if held is None:
        write_file(path, encode_genesis_json(chosen))
    return chosen


async def fetch_any_genesis(urls: Sequence[str]) -> Genesis:
    """Genesis of the first source that answers; believed by whoever calls this."""
    fault: ToolError | None = None
    for url in urls:
        try:
            try:
                data = await fetch_genesis(url)
            except NotFound:
                data = await fetch_file(url, "/genesis.json")
            return decode_genesis_json(data)
        except InvalidGenesis as error:
            fault = fault or InvalidAnswer("genesis-invalid", str(error))
        except (Unreachable, NotFound) as error:
            fault = fault or error
    assert fault is not None, "there was a source, and it failed"
    raise fault
