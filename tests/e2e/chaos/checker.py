"""What must hold after every fault, from the client's memory and copies of every node's log.

1. progress     Every submitted event becomes final.
2. agreement    All nodes come to one height and one tree; copies of their logs, each verified
                against its quorum checkpoint, are equal byte for byte.
3. once         Every acknowledged event is in the log once, at the acknowledged index, and nothing
                is in the log that nobody submitted.
4. receipts     Receipts of a sample, taken while faults went on, prove entries of the final log.
5. silence      No node wrote a traceback, and none saw contradictory votes of a validator whose
                votes were never lost or copied.
6. replay       At the end of a run: the log replays without divergence (`tally audit replay`).
"""

import asyncio
import filecmp
import itertools
import json
from collections.abc import Collection, Mapping
from pathlib import Path

from ledger.blocks import RECORDS, is_header
from ledger.errors import LedgerError
from ledger.events import hash_event, parse_event
from ledger.genesis import log_policy
from ledger.quorum.epochs import epoch_path
from ledger.tlog.receipt import Receipt, verify_receipt
from ledger.tlog.tiles import ENTRIES_LEVEL, decode_entries, tile_paths
from tests.e2e.chaos.load import Sent
from tests.e2e.chaos.world import LOOK_S, Violation, World, python_module
from tools.exits import ToolError
from tools.mirror import Mirror, mirror_log

DRAIN_S_MAX = 90.0
AGREE_S_MAX = 60.0
REPLAY_S_MAX = 1_800.0
# Events that nodes write by themselves.
NODE_KINDS = ("evidence.", "validator.")


async def check(world: World) -> int:
    """Steps 1 to 5, with the load paused; returns the number of entries. Raises `Violation`."""
    left = await world.load.drain(DRAIN_S_MAX)
    if left:
        raise Violation(f"{left} events are not final after {DRAIN_S_MAX:.0f} s without a fault")
    await _agree(world)
    mirrors = [await _mirror(world, member) for member in world.everyone]
    _compare(mirrors)
    entries = read_entries(mirrors[0])
    check_once(world.load.sent, entries)
    _check_receipts(world, entries)
    for member in world.everyone:
        text = (world.local.node_directory(member) / "node.log").read_text(errors="replace")
        check_silence(member, text, world.suspects)
    return len(entries)


async def check_replay(world: World) -> None:
    """Step 6, with the real command, over the copy of one node."""
    folder = _mirror_path(world, world.members[0])
    process = await asyncio.create_subprocess_exec(
        *python_module("tools.cli", "audit", "replay", str(folder), "--json", "--jobs", "1"),
        "--genesis",
        str(world.local.genesis_path),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(REPLAY_S_MAX):
        out, said = await process.communicate()
    if process.returncode != 0:
        raise Violation(f"the replay ends with {process.returncode}: {(out + said).decode()}")


async def _agree(world: World) -> None:
    """Wait for the highest node; then none may be elsewhere."""
    statuses = [await world.status(member) for member in world.everyone]
    height = max(status["height"] for status in statuses)
    for member in world.everyone:
        await world.wait_height(member, height, AGREE_S_MAX)
    deadline_s = asyncio.get_running_loop().time() + AGREE_S_MAX
    sizes = await _sizes(world)
    # Nodes submit events of their own, too: a last block may just be on its way.
    while len(set(sizes.values())) != 1:
        if asyncio.get_running_loop().time() > deadline_s:
            raise Violation(f"trees differ at height {height}: {sizes}")
        await asyncio.sleep(LOOK_S)
        sizes = await _sizes(world)
    size = sizes[world.members[0]]
    for member in world.everyone:
        await _wait_covered(world, member, size)


async def _sizes(world: World) -> dict[str, int]:
    return {member: (await world.status(member))["tree_size"] for member in world.everyone}


async def _wait_covered(world: World, member: str, size: int) -> None:
    """Return when a quorum checkpoint of the node covers its tree."""
    deadline_s = asyncio.get_running_loop().time() + AGREE_S_MAX
    path = f"/v1/entries/{size - 1}/receipt?wait=5"
    while True:
        try:
            await world.load.clients[member].get_bytes(path, wait_s=10)
        except ToolError as error:
            if asyncio.get_running_loop().time() > deadline_s:
                raise Violation(f"{member} has no quorum checkpoint of {size}: {error}") from None
        else:
            return


def _mirror_path(world: World, member: str) -> Path:
    return world.local.directory / "mirrors" / member


async def _mirror(world: World, member: str) -> Mirror:
    folder, url = _mirror_path(world, member), world.local.node(member).api
    try:
        copy = await mirror_log(
            url, folder, genesis=world.genesis, on_progress=lambda done, total: None
        )
    except ToolError as error:
        raise Violation(f"the log of {member} cannot be copied: {error}") from None
    for epoch in itertools.count():
        proof = await world.read(f"{url}/v1/log/epochs/{epoch}")
        if proof is None:
            return copy
        path = folder / epoch_path(epoch)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(proof)
    raise AssertionError("a count has no end")


def _compare(mirrors: list[Mirror]) -> None:
    first, *rest = mirrors
    names = [tile.format() for tile in tile_paths(first.checkpoint.size)]
    for other in rest:
        if other.checkpoint != first.checkpoint:
            raise Violation(f"checkpoints differ: {first.checkpoint} and {other.checkpoint}")
        _, differ, missing = filecmp.cmpfiles(first.directory, other.directory, names, False)
        if differ or missing:
            raise Violation(f"{other.directory}: {differ} differ, {missing} are missing")


def read_entries(mirror: Mirror) -> list[bytes]:
    entries: list[bytes] = []
    for tile in tile_paths(mirror.checkpoint.size):
        if tile.level == ENTRIES_LEVEL:
            data = (mirror.directory / tile.format()).read_bytes()
            entries += decode_entries(data, tile.width)
    return entries


def check_once(sent: Mapping[bytes, Sent], entries: list[bytes]) -> None:
    """Step 3."""
    places: dict[bytes, int] = {}
    for index, data in enumerate(entries):
        if is_header(data):
            continue
        event = RECORDS.decode(data).event
        digest = hash_event(event)
        if digest in places:
            raise Violation(f"event {digest.hex()} stands at {places[digest]} and at {index}")
        places[digest] = index
        if digest not in sent and not _is_by_node(event):
            raise Violation(f"nobody submitted the event at {index}")
    for digest, each in sent.items():
        indexes = {index for index, _ in each.claims}
        if indexes != {places.get(digest)}:
            where = places.get(digest, "nowhere")
            raise Violation(f"event {digest.hex()}: acknowledged at {indexes}, stands at {where}")


def _is_by_node(event: bytes) -> bool:
    return parse_event(event).kind.startswith(NODE_KINDS)


def _check_receipts(world: World, entries: list[bytes]) -> None:
    policy = log_policy(world.genesis)
    for proof in world.load.proofs:
        if entries[proof.index] != proof.entry:
            raise Violation(f"the entry at {proof.index} was another one when its receipt was made")
        try:
            verify_receipt(Receipt.parse(proof.receipt), entries[proof.index], policy)
        except LedgerError as error:
            raise Violation(f"the receipt of {proof.index} does not verify: {error}") from None


def check_silence(member: str, text: str, suspects: Collection[str]) -> None:
    """Step 5 for the log file of one node."""
    if "Traceback" in text:
        raise Violation(f"{member} wrote a traceback")
    for line in text.split("\n"):
        if "two contradictory votes" in line and json.loads(line)["member"] not in suspects:
            raise Violation(f"{member} has evidence against a node that lost no vote: {line}")
