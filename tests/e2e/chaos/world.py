"""A network of real processes whose every line can be made bad, and its load.

Between each pair of nodes stand two lines, one for what either of them dials. A node sends only on
what it dialled, but both directions of a connection are needed to open it.
"""

import asyncio
import http.client
import os
import random
import re
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

from ledger.events import Body, Event, sign_event
from ledger.genesis import Genesis, decode_genesis_json, hash_genesis
from ledger.keys import parse_secret_key
from tests.e2e.chaos.launcher import OFFSET, step_clock
from tests.e2e.chaos.load import EXPIRY_BLOCKS, Load
from tools.founding import read_source
from tools.localnet import Localnet, create_network, get_json, shipped_policy_set
from tools.wan import Line, Way

READY_S_MAX = 90.0
CALL_S_MAX = 5.0
LOOK_S = 0.2


class Violation(Exception):
    """The network did what it must never do, or did not do what it must."""


class Processes(Localnet):
    """Nodes as processes whose wall clocks can be stepped."""

    def clock_path(self, member: str) -> Path:
        return self.node_directory(member) / "clock"

    def command(self, member: str) -> list[str]:
        python, _, _, *options = super().command(member)
        launcher = ["-m", "tests.e2e.chaos.launcher", str(self.clock_path(member))]
        return [python, *launcher, *options]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """The line on which one node dials another."""

    line: Line
    there: Way
    back: Way


class World:
    """What faults act on. Every choice is drawn from `random`, so a seed repeats a run."""

    def __init__(
        self,
        local: Processes,
        genesis: Genesis,
        wires: dict[tuple[str, str], Wire],
        *,
        seed: int,
        note: Callable[[str], None],
    ) -> None:
        self.local = local
        self.genesis = genesis
        self.wires = wires
        self.random = random.Random(seed)
        self.note = note
        # Members whose votes were lost or copied: they may contradict themselves.
        self.suspects: set[str] = set()
        # Nodes that join and leave; faults do not strike them.
        self.guests: list[str] = []
        self.members: Sequence[str] = local.members
        self.load: Load

    @property
    def everyone(self) -> list[str]:
        return [*self.members, *self.guests]

    @property
    def faulty_max(self) -> int:
        return (len(self.members) - 1) // 3

    def pick(self) -> str:
        return self.random.choice(list(self.members))

    def others(self, *victims: str) -> list[str]:
        return [member for member in self.members if member not in victims]

    def data_dir(self, member: str) -> Path:
        return self.local.node_directory(member) / "data"

    # --- processes ----------------------------------------------------------------------------

    async def kill(self, *victims: str) -> None:
        """SIGKILL, as nearly at once as it goes, and wait until they are gone."""
        await asyncio.gather(*(asyncio.to_thread(self.local.kill, each) for each in victims))

    async def stop(self, *victims: str) -> None:
        """SIGTERM; a node that does not end in time is a fault."""
        if killed := await asyncio.to_thread(self.local.stop, victims):
            raise Violation(f"{killed} did not stop on SIGTERM")

    async def start(self, *members: str) -> None:
        """Start and wait until ready."""
        self.local.start(members)
        await asyncio.to_thread(self.local.wait_ready, members, timeout_s=READY_S_MAX)

    async def invite(self, guest: str) -> None:
        """Start a node that was added to the network, and have it take part."""
        self.local.clock_path(guest).write_bytes(bytes(OFFSET.size))
        await self.start(guest)
        self.guests.append(guest)
        await self.load.add_node(guest, self.local.node(guest).api)

    def sign(self, body: Body, member: str, role: str) -> Event:
        return sign_event(
            parse_secret_key(self.local.officer_key_path(member, role).read_text()),
            network=hash_genesis(self.genesis),
            member=member,
            nonce=self.random.randbytes(16),
            expires_height=self.load.height + EXPIRY_BLOCKS,
            body=body,
        )

    def send_signal(self, member: str, number: signal.Signals) -> None:
        os.kill(self.local.pid(member), number)

    async def wait_ended(self, member: str) -> str:
        """Wait until a node ends by itself, with exit code 1; returns the end of its log."""
        pid = self.local.pid(member)
        if pid:
            flags = os.WEXITED | os.WNOWAIT
            async with asyncio.timeout(READY_S_MAX):
                ended = await asyncio.to_thread(os.waitid, os.P_PID, pid, flags)
            if ended is None or (ended.si_code, ended.si_status) != (os.CLD_EXITED, 1):
                raise Violation(f"{member} ended as {ended}:\n{self.local.log_tail(member)}")
        said = self.local.log_tail(member)
        await asyncio.to_thread(self.local.stop, [member])
        return said

    async def refuse(self, member: str) -> str:
        """Start a node that must refuse; returns what it says on standard error."""
        process = await asyncio.create_subprocess_exec(
            *self.local.command(member),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(READY_S_MAX):
                _, said = await process.communicate()
        except TimeoutError:
            process.kill()
            await process.wait()
            raise Violation(f"{member} started, although it must refuse") from None
        text = said.decode(errors="replace")
        if process.returncode != 1 or "Traceback" in text:
            raise Violation(f"{member} ended with {process.returncode} and said:\n{text}")
        return text

    def step_clock(self, member: str, offset_ms: int) -> None:
        step_clock(self.local.clock_path(member), offset_ms)

    # --- lines --------------------------------------------------------------------------------

    def ways(self, sender: str, receiver: str) -> list[Way]:
        """Everything that carries bytes from one node to another."""
        return [self.wires[sender, receiver].there, self.wires[receiver, sender].back]

    def ways_between(self, group: Iterable[str], rest: Iterable[str]) -> list[Way]:
        """Everything that carries bytes from a node of `group` to one of `rest`."""
        rest = list(rest)
        return [way for a in group for b in rest if a != b for way in self.ways(a, b)]

    def wires_of(self, member: str) -> list[Wire]:
        return [wire for pair, wire in self.wires.items() if member in pair]

    # --- reading ------------------------------------------------------------------------------

    async def get(self, member: str, path: str, *, timeout_s: float = CALL_S_MAX) -> dict[str, Any]:
        """A JSON document of a node that must answer. Raises `OSError`."""
        url = self.local.node(member).api + path
        return (await asyncio.to_thread(get_json, url, timeout_s=timeout_s)).document

    async def read(self, url: str) -> bytes | None:
        """Bytes that a node serves, or None if it refuses. Raises `OSError` without an answer."""
        return await asyncio.to_thread(_read, url)

    async def status(self, member: str) -> dict[str, Any]:
        return await self.get(member, "/v1/status")

    async def epoch(self) -> int:
        return max([await self._find_epoch(member) for member in self.everyone])

    async def wait_epoch(self, epoch: int, timeout_s: float) -> None:
        """Return when every node is in the epoch or a later one."""
        deadline_s = asyncio.get_running_loop().time() + timeout_s
        for member in self.everyone:
            while (found := await self._find_epoch(member)) < epoch:
                if asyncio.get_running_loop().time() > deadline_s:
                    raise Violation(f"{member} is in epoch {found}, not {epoch}: {timeout_s} s")
                await asyncio.sleep(LOOK_S)

    async def _find_epoch(self, member: str) -> int:
        try:
            return int((await self.status(member))["epoch"])
        except OSError:
            return -1  # it is down at this moment

    async def leader(self) -> str:
        """The member that leads the present view, as some node sees it."""
        return str((await self.status(self.pick()))["leader"])

    async def wait_height(self, member: str, height: int, timeout_s: float) -> None:
        """Return when the node has the block at `height`: its stream sends it then."""
        await asyncio.to_thread(self._wait_height, member, height, timeout_s)

    def _wait_height(self, member: str, height: int, timeout_s: float) -> None:
        host = self.local.node(member).api.removeprefix("http://")
        connection = http.client.HTTPConnection(host, timeout=timeout_s)
        try:
            connection.request("GET", "/v1/stream", headers={"Last-Event-ID": str(height - 1)})
            response = connection.getresponse()
            while not (line := response.readline()).startswith(b"id: "):
                if not line:
                    raise Violation(f"{member} ended the stream before height {height}")
        except TimeoutError:
            raise Violation(f"{member} did not come to height {height} in {timeout_s} s") from None
        finally:
            connection.close()


def _read(url: str) -> bytes | None:
    host, _, path = url.removeprefix("http://").partition("/")
    connection = http.client.HTTPConnection(host, timeout=CALL_S_MAX)
    try:
        connection.request("GET", f"/{path}")
        response = connection.getresponse()
        data = response.read()
    except http.client.HTTPException as error:
        raise OSError(f"{url}: {error}") from error
    finally:
        connection.close()
    return data if response.status == http.client.OK else None


def _route(local: Localnet, ports: dict[tuple[str, str], int]) -> None:
    """Have every node dial its peers through its own lines."""
    for member in local.members:
        path = local.node_directory(member) / "node.toml"

        def line_of(found: re.Match[str], member: str = member) -> str:
            return f'{found[1]}"127.0.0.1:{ports[member, found[2]]}"'

        head, mark, rest = path.read_text("utf-8").partition("[peers.addresses]\n")
        peers, end, tail = rest.partition("\n[api]")
        peers = re.sub(r'(?m)^("([^"]+)" = )"[^"]+"', line_of, peers)
        path.write_text(head + mark + peers + end + tail, "utf-8")


async def _open_wires(
    local: Localnet, seed: int, stack: AsyncExitStack
) -> dict[tuple[str, str], Wire]:
    wires = {}
    ports = {}
    for dialler, target in permutations(local.members, 2):
        there, back = Way(), Way()
        port = int(local.node(target).peers.rpartition(":")[2])
        line = Line(port, there=there, back=back, seed=seed)
        stack.push_async_callback(line.close)
        ports[dialler, target] = await line.listen()
        wires[dialler, target] = Wire(line=line, there=there, back=back)
    _route(local, ports)
    return wires


@asynccontextmanager
async def open_world(
    directory: Path, *, nodes: int, seed: int, rate_per_s: int, say: Callable[[str], None]
) -> AsyncIterator[World]:
    """A running network under load; all processes are ended afterwards."""
    create_network(directory, source=read_source(), nodes=nodes, policy_set=shipped_policy_set())
    local = Processes(directory)
    for member in local.members:
        local.clock_path(member).write_bytes(bytes(OFFSET.size))
    genesis = decode_genesis_json(local.genesis_path.read_bytes())
    keys = {
        member: parse_secret_key(local.officer_key_path(member, "requester").read_text())
        for member in local.members
    }
    urls = {member: local.node(member).api for member in local.members}
    async with AsyncExitStack() as stack:
        world = World(local, genesis, await _open_wires(local, seed, stack), seed=seed, note=say)
        stack.push_async_callback(_end, world)
        await world.start(*world.members)
        say(f"{len(world.members)} nodes are ready")
        world.load = Load(urls, genesis, keys, rate_per_s=rate_per_s, seed=seed)
        await stack.enter_async_context(world.load)
        yield world


async def _end(world: World) -> None:
    for member in world.everyone:
        if pid := world.local.pid(member):
            os.kill(pid, signal.SIGCONT)
    await asyncio.to_thread(world.local.stop)


def python_module(*arguments: str) -> list[str]:
    return [sys.executable, "-m", *arguments]
