"""Faults of what a node keeps: full disk, cut and damaged files, a copied and a missing directory.

After damage the node is brought back the way it says itself.
"""

import asyncio
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ledger.tlog.tiles import tile_paths
from tests.e2e.chaos.faults_process import hold
from tests.e2e.chaos.world import Violation, World
from tools.exits import FailedNode
from tools.localnet import free_ports

SPARE_BYTES = 96 * 1024 * 1024  # of a small disk, besides what it holds
DIED_S_MAX = 60.0


def can_mount() -> bool:
    """Whether this process may mount a small disk for a node."""
    return os.geteuid() == 0 and subprocess.run(["unshare", "-m", "true"]).returncode == 0


async def fill_disk(world: World) -> None:
    """The disk of one node fills up while it works: it stops and says why; with room it goes on."""
    victim = world.pick()
    data = world.data_dir(victim)
    await world.stop(victim)
    with _small_disk(data):
        await world.start(victim)
        ballast = data / "ballast"
        _fill(ballast)
        said = await world.wait_ended(victim)
        if "storage failed" not in said or "free disk space" not in said:
            raise Violation(f"on a full disk {victim} said:\n{said}")
        ballast.unlink()
        await world.start(victim)
        await hold(world, 0, 2)
        await world.stop(victim)
    await world.start(victim)


@contextmanager
def _small_disk(data: Path) -> Iterator[None]:
    """Put the directory on a disk of its own; what is there moves to it and back."""
    aside = data.with_name("data.aside")
    data.rename(aside)
    held_bytes = sum(path.stat().st_size for path in aside.rglob("*") if path.is_file())
    data.mkdir(mode=0o700)
    options = f"size={held_bytes + SPARE_BYTES},mode=700"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tallystick", str(data)], check=True)
    try:
        shutil.copytree(aside, data, dirs_exist_ok=True)
        yield
        shutil.rmtree(aside)
        shutil.copytree(data, aside)
    finally:
        subprocess.run(["umount", "--lazy", str(data)], check=True)
        data.rmdir()
        aside.rename(data)


def _fill(path: Path) -> None:
    """Write until the disk takes no more."""
    piece = 1 << 20
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        while piece:
            try:
                if os.write(descriptor, bytes(piece)) < piece:
                    piece //= 2
            except OSError:
                piece //= 2
    finally:
        os.close(descriptor)


async def cut_votes(world: World) -> None:
    """The newest log of votes ends in the middle of a record, as a lost write leaves it."""
    victim = world.pick()
    await world.kill(victim)
    world.suspects.add(victim)
    path = _newest_votes(world, victim)
    size_bytes = path.stat().st_size
    # Within the last records: a machine that loses power loses what was not synced yet.
    os.truncate(path, max(0, size_bytes - world.random.randint(1, min(size_bytes, 2_000))))
    await world.start(victim)


async def cut_new_votes(world: World) -> None:
    """The log of votes is cut inside its first bytes, as when it was just made."""
    victim = world.pick()
    await world.kill(victim)
    world.suspects.add(victim)
    path = _newest_votes(world, victim)
    os.truncate(path, world.random.randint(0, 8))
    await world.start(victim)


async def damage_votes(world: World) -> None:
    """A bit flips in the log of votes: the node refuses, and starts with the restored folder."""
    victim = world.pick()
    await world.stop(victim)
    path = _newest_votes(world, victim)
    whole = path.read_bytes()
    # In the first half: damage in the last record cannot be told from a lost write.
    _flip_bit(world, path, 0, len(whole) // 2)
    said = await world.refuse(victim)
    if "[start-votes-damaged]" not in said or "Restore that folder" not in said:
        raise Violation(f"with damaged votes {victim} said:\n{said}")
    path.write_bytes(whole)
    await world.start(victim)


async def damage_store(world: World) -> None:
    """A bit flips in a file of the store: the node refuses, or stops, or serves nothing wrong."""
    victim = world.pick()
    await world.stop(victim)
    files = [path for path in (world.data_dir(victim) / "store").rglob("*") if path.is_file()]
    path = world.random.choice(sorted(each for each in files if each.stat().st_size))
    _flip_bit(world, path, 0, path.stat().st_size)
    if await _starts(world, victim):
        # The damage is where nothing was read yet. Whatever a client asks for now must be right
        # or be refused; a node that finds the damage later stops.
        await _read_all(world, victim)
        if world.local.pid(victim):
            await world.stop(victim)
    said = world.local.log_tail(victim)
    if "Traceback" in said:
        raise Violation(f"with a damaged {path.name} {victim} said:\n{said}")
    shutil.rmtree(world.data_dir(victim) / "store")
    await world.start(victim)


async def _starts(world: World, victim: str) -> bool:
    """Whether the node becomes ready; one that ends by itself must have said what to do."""
    try:
        await world.start(victim)
    except FailedNode as error:
        if error.code != "node-ended" or not re.search(
            "remove the folder|the node stops", str(error)
        ):
            raise Violation(f"{victim} did not start, and did not say why: {error}") from None
        return False
    return True


async def _read_all(world: World, victim: str) -> None:
    """Read every tile: bytes that are there must be those of the other nodes."""
    other = world.local.node(world.others(victim)[0]).api
    mine = world.local.node(victim).api
    size = (await world.status(victim))["tree_size"]
    for tile in tile_paths(size):
        try:
            served = await world.read(f"{mine}/log/{tile.format()}")
        except OSError:
            continue
        if served is not None and served != await world.read(f"{other}/log/{tile.format()}"):
            raise Violation(f"{victim} serves a wrong {tile.format()} after its store was damaged")


async def copy_directory(world: World) -> None:
    """The same node twice: its directory, copied to another machine, is started there too."""
    victim = world.pick()
    await world.stop(victim)
    original = world.local.node_directory(victim)
    copy = original.with_name(f"{victim}.copy")
    shutil.copytree(original, copy)
    world.suspects.add(victim)
    await world.start(victim)
    twin = await _start_twin(world, victim, copy)
    try:
        await hold(world, 6, 12)
    finally:
        if twin.returncode is None:
            twin.terminate()
        _, said = await twin.communicate()
    shutil.rmtree(copy)
    text = said.decode(errors="replace")
    if "Traceback" in text or '"node started"' not in text:
        raise Violation(f"the copy of {victim} said:\n{text}")
    witnesses = (world.local.node_directory(each) / "node.log" for each in world.others(victim))
    if not any("two nodes seem to use one key" in path.read_text() for path in witnesses):
        raise Violation(f"no node noticed that {victim} ran twice")


async def _start_twin(world: World, victim: str, copy: Path) -> asyncio.subprocess.Process:
    """Start a copied directory on addresses of its own; it dials the others as the original."""
    place = world.local.node(victim)
    config = copy / "node.toml"
    text = config.read_text("utf-8")
    addresses = (place.peers, place.api.removeprefix("http://"), place.metrics)
    for address, port in zip(addresses, free_ports(3), strict=True):
        text = text.replace(f'"{address}"', f'"127.0.0.1:{port}"')
    config.write_text(text, "utf-8")
    given = str(world.local.node_directory(victim) / "node.toml")
    command = [str(config) if part == given else part for part in world.local.command(victim)]
    return await asyncio.create_subprocess_exec(
        *command,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )


async def lose_store(world: World) -> None:
    """A node loses its store and keeps its votes: it gets the log from its peers."""
    victim = world.pick()
    await world.kill(victim)
    shutil.rmtree(world.data_dir(victim) / "store")
    await world.start(victim)


async def miss_entries(world: World) -> None:
    """A node is away for thousands of entries, and then catches up under load."""
    await _miss(world, 3_000)


async def miss_many_entries(world: World) -> None:
    """The same, for a day's worth."""
    await _miss(world, 50_000)


async def _miss(world: World, count: int) -> None:
    victim = world.pick()
    other = world.others(victim)[0]
    await world.kill(victim)
    await world.load.submit_many(count)
    status = await world.status(other)
    before = asyncio.get_running_loop().time()
    await world.start(victim)
    await world.wait_height(victim, status["height"], DIED_S_MAX * 10)
    took_s = asyncio.get_running_loop().time() - before
    rate = count / took_s
    world.note(f"{count} entries missed, there after {took_s:.1f} s, start and all: {rate:.0f}/s")


def _newest_votes(world: World, victim: str) -> Path:
    return sorted((world.data_dir(victim) / "wal").glob("*.wal"))[-1]


def _flip_bit(world: World, path: Path, low: int, high: int) -> None:
    data = bytearray(path.read_bytes())
    data[world.random.randrange(low, high)] ^= 1 << world.random.randrange(8)
    path.write_bytes(data)
