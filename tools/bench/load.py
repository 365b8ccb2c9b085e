"""Measurements on real processes: submit-to-final at the client, over HTTP.

The workload is whole exchanges of five events: a share request, decided by the contracts, and four
lifecycle events (delivered, rejected, delivered, received). An event is sent when the one before it
in its exchange is final, so `in_flight` exchanges are under way at any time. All events are signed
before the clock starts.
"""

import asyncio
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from ledger.events import Body, ShareDelivered, ShareReceived, ShareRejected, ShareRequested
from ledger.genesis import Genesis
from tools.bench.signatures import Signatures
from tools.bench.signing import Signing
from tools.client import Claim, Client, StreamAnswer, SubmitStream
from tools.exits import NotYetFinal, RefusedEvent
from tools.founding import read_source
from tools.localnet import Localnet, create_network, free_ports, get_json, shipped_policy_set
from tools.mirror import read_genesis

STEPS = 5
BATCH = 50
LONE_EVENTS = 20
SUBJECT_BYTES = 34
SUBJECTS_MAX = 200
VERIFY_S = 0.5
WAIT_S = 30
STALL_S_MAX = 60
PAUSES = frozenset(("rate-limited", "quota-pending", "pool-full", "node-not-ready"))

Way = Literal["single", "batch", "stream"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to measure."""

    nodes: int
    size_bytes: int
    in_flight: int
    events: int
    submit: Way
    kill: Literal["leader", "follower"] | None
    wan_ms: int


@dataclass(slots=True)
class Chain:
    """The signed events of one exchange and how far it has come."""

    events: list[bytes]
    digests: list[bytes]
    done: int = 0
    sent_s: float = 0.0


@dataclass(slots=True)
class Tally:
    """Times at the client, and a wake-up when half of the work is done."""

    total: int
    on_progress: Callable[[int, int], None]
    latencies_s: list[float] = field(default_factory=list)
    final_s: list[float] = field(default_factory=list)
    retries: int = 0
    half: asyncio.Event = field(default_factory=asyncio.Event)

    def count(self, chain: Chain, now_s: float) -> None:
        """One more event is final."""
        self.latencies_s.append(now_s - chain.sent_s)
        self.final_s.append(now_s)
        chain.done += 1
        if len(self.final_s) * 2 >= self.total:
            self.half.set()
        self.on_progress(len(self.final_s), self.total)


async def measure(
    plan: Plan, directory: Path, on_progress: Callable[[int, int], None]
) -> dict[str, Any]:
    """Make a network in `directory`, load it, and return the figures."""
    verifies_per_s = await asyncio.to_thread(measure_verifies)
    network = create_network(
        directory, source=read_source(), nodes=plan.nodes, policy_set=shipped_policy_set()
    )
    genesis = read_genesis(network.genesis_path)
    slow_line = _start_wan(network, plan.wan_ms) if plan.wan_ms else None
    try:
        network.start()
        await asyncio.to_thread(network.wait_ready)
        chains = list(sign_chains(network, genesis, plan))
        figures = await _load(plan, network, genesis, chains, on_progress)
        figures["rss_mb"] = round(_rss_mb(network), 1)
    finally:
        await asyncio.to_thread(network.stop)
        if slow_line is not None:
            slow_line.send_signal(signal.SIGTERM)
            slow_line.wait()
    sizes = [len(event) for chain in chains for event in chain.events]
    return {
        "nodes": plan.nodes,
        "submit": plan.submit,
        "in_flight": plan.in_flight,
        "events": len(sizes),
        "event_bytes_mean": round(sum(sizes) / len(sizes)),
        **figures,
        "disk_mb": round(_disk_mb(directory / "nodes"), 1),
        "verifies_per_s": verifies_per_s,
    }


def measure_verifies() -> int:
    """Signatures that this machine verifies in a second on one core."""
    signatures = Signatures()
    while signatures.wall_s < VERIFY_S:
        signatures.verify()
    return round(signatures.verified / signatures.wall_s)


async def _load(
    plan: Plan,
    network: Localnet,
    genesis: Genesis,
    chains: list[Chain],
    on_progress: Callable[[int, int], None],
) -> dict[str, Any]:
    tally = Tally(total=STEPS * len(chains), on_progress=on_progress)
    # Clients leave the last node alone: it is the one that is killed.
    used = network.index.nodes[: -1 if plan.kill else None]
    work = deque(chains)
    submit = {"single": _load_single, "batch": _load_batch, "stream": load_stream}[plan.submit]
    killed_s: list[float] = []
    clients = [Client(node.api, genesis) for node in used]
    try:
        for client in clients:
            await client.__aenter__()
        lone_s = await _measure_lone(clients[0], network)
        started_s = time.monotonic()
        async with asyncio.TaskGroup() as group:
            killer = group.create_task(_kill(plan, network, tally, killed_s))
            async with asyncio.TaskGroup() as loads:
                for place, client in enumerate(clients):
                    share = plan.in_flight // len(clients) + (place < plan.in_flight % len(clients))
                    loads.create_task(submit(client, work, share, tally))
            killer.cancel()
    finally:
        for client in clients:
            await client.__aexit__(None, None, None)
    took_s = tally.final_s[-1] - started_s
    latencies_ms = sorted(1_000 * value for value in tally.latencies_s)
    return {
        "events_per_s": round(len(latencies_ms) / took_s),
        "p50_ms": _percentile(latencies_ms, 50),
        "p95_ms": _percentile(latencies_ms, 95),
        "p99_ms": _percentile(latencies_ms, 99),
        "lone_p50_ms": _percentile(sorted(1_000 * value for value in lone_s), 50),
        "gap_s": round(_gap_s(tally.final_s, killed_s), 3),
        "retries": tally.retries,
        "seconds": round(took_s, 2),
        "killed": bool(killed_s),
        **_rates_around(killed_s, tally.final_s, started_s),
    }


def _rates_around(killed_s: list[float], final_s: list[float], started_s: float) -> dict[str, int]:
    """Events a second with all nodes, and from the kill on with one dead."""
    if not killed_s:
        return {}
    before = sum(each <= killed_s[0] for each in final_s)
    after_s = final_s[-1] - killed_s[0]
    return {
        "before_kill_per_s": round(before / (killed_s[0] - started_s)),
        "after_kill_per_s": round((len(final_s) - before) / after_s),
    }


async def load_stream(client: Client, work: deque[Chain], in_flight: int, tally: Tally) -> None:
    """One WebSocket: each answer lets the next event of its exchange go."""
    under_way: dict[bytes, Chain] = {}
    async with client.stream() as stream:
        await _send(stream, [work.popleft() for _ in range(min(in_flight, len(work)))], under_way)
        while under_way:
            async with _stall_limit():
                answers = await stream.receive()
            now_s = time.monotonic()
            pause_s = 0.0
            ready: list[Chain] = []
            for answer in answers:
                chain = under_way.pop(answer.digest)
                if answer.state == "refused":
                    pause_s = max(pause_s, _pause_s(answer))
                    tally.retries += 1
                    ready.append(chain)
                    continue
                tally.count(chain, now_s)
                if chain.done < STEPS:
                    ready.append(chain)
                elif work:
                    ready.append(work.popleft())
            # The node said when to come back.
            await asyncio.sleep(pause_s)
            await _send(stream, ready, under_way)


async def _send(stream: SubmitStream, chains: list[Chain], under_way: dict[bytes, Chain]) -> None:
    now_s = time.monotonic()
    for chain in chains:
        chain.sent_s = now_s
        under_way[chain.digests[chain.done]] = chain
    for start in range(0, len(chains), BATCH):
        part = chains[start : start + BATCH]
        await stream.send([chain.events[chain.done] for chain in part])


def _refusal(claim: Claim) -> RefusedEvent:
    return RefusedEvent(claim.code or "not-yet-final", claim.detail or claim.digest)


def _pause_s(answer: StreamAnswer) -> float:
    if answer.code not in PAUSES:
        raise RefusedEvent(answer.code, answer.digest.hex())
    return answer.retry_after_s or 0.1


async def _load_batch(client: Client, work: deque[Chain], in_flight: int, tally: Tally) -> None:
    async def worker() -> None:
        while work:
            group = [work.popleft() for _ in range(min(BATCH, len(work)))]
            for _ in range(STEPS):
                now_s = time.monotonic()
                for chain in group:
                    chain.sent_s = now_s
                data = [chain.events[chain.done] for chain in group]
                claims = await client.submit_raw_batch(data, wait_s=WAIT_S)
                now_s = time.monotonic()
                for chain, claim in zip(group, claims, strict=True):
                    if claim.state != "final":
                        raise _refusal(claim)
                    tally.count(chain, now_s)

    await _run_workers(worker, max(1, in_flight // BATCH))


async def _load_single(client: Client, work: deque[Chain], in_flight: int, tally: Tally) -> None:
    async def worker() -> None:
        while work:
            chain = work.popleft()
            for data in chain.events:
                chain.sent_s = time.monotonic()
                claim = await client.submit_raw(data, wait_s=WAIT_S)
                if claim.state != "final":
                    raise _refusal(claim)
                tally.count(chain, time.monotonic())

    await _run_workers(worker, in_flight)


async def _run_workers(worker: Callable[[], Awaitable[None]], count: int) -> None:
    async with asyncio.TaskGroup() as group:
        for _ in range(count):
            group.create_task(_as_coroutine(worker))


async def _as_coroutine(worker: Callable[[], Awaitable[None]]) -> None:
    await worker()


def _stall_limit() -> "_Stall":
    return _Stall()


class _Stall:
    """Raises `NotYetFinal` when nothing becomes final for a minute."""

    async def __aenter__(self) -> None:
        self._timeout = asyncio.timeout(STALL_S_MAX)
        await self._timeout.__aenter__()

    async def __aexit__(self, *error: Any) -> None:
        try:
            await self._timeout.__aexit__(*error)
        except TimeoutError:
            raise NotYetFinal("stalled", f"{STALL_S_MAX} s") from None


async def _measure_lone(client: Client, network: Localnet) -> list[float]:
    """Submit-to-final of single events on a network that does nothing else."""
    took_s = []
    for chain in _chains(network, client.genesis, LONE_EVENTS, 1, b"lone"):
        started_s = time.monotonic()
        claim = await client.submit_raw(chain.events[0], wait_s=WAIT_S)
        took_s.append(time.monotonic() - started_s)
        if claim.state != "final":
            raise _refusal(claim)
    return took_s


async def _kill(plan: Plan, network: Localnet, tally: Tally, killed_s: list[float]) -> None:
    """Half way, kill the last node while it leads a view, or while it does not."""
    if plan.kill is None:
        return
    await tally.half.wait()
    victim, api = network.members[-1], network.index.nodes[0].api
    for _ in range(200):
        status = (await asyncio.to_thread(get_json, f"{api}/v1/status", timeout_s=5)).document
        if (status["leader"] == victim) == (plan.kill == "leader"):
            break
    await asyncio.to_thread(network.kill, victim)
    killed_s.append(time.monotonic())


def sign_chains(network: Localnet, genesis: Genesis, plan: Plan) -> Iterator[Chain]:
    """The exchanges of a plan, signed."""
    probe = next(_chains(network, genesis, 1, 1, b"probe"))
    rest = sum(map(len, probe.events)) - SUBJECT_BYTES
    subjects = (STEPS * plan.size_bytes - rest) // SUBJECT_BYTES
    count = max(1, plan.events // STEPS)
    yield from _chains(network, genesis, count, max(1, min(SUBJECTS_MAX, subjects)), b"load")


def _chains(
    network: Localnet, genesis: Genesis, count: int, subjects: int, label: bytes
) -> Iterator[Chain]:
    """Signed exchanges between the pairs of node members that a legal basis covers."""
    members = network.members
    pairs = [(a, b) for a in members for b in members if a != b and _find_basis(genesis, a, b)]
    signing = Signing(network, genesis)
    for number in range(count):
        requester, provider = pairs[number % len(pairs)]
        seed = hashlib.sha256(label + number.to_bytes(8, "big")).digest()
        chain = Chain(events=[], digests=[])
        for member, role, body in _bodies(genesis, requester, provider, seed, subjects, chain):
            nonce = hashlib.sha256(seed + bytes([len(chain.events)])).digest()[:16]
            event = signing.sign(member, role, body, nonce)
            chain.events.append(event.data)
            chain.digests.append(event.digest)
        yield chain


def _bodies(
    genesis: Genesis, requester: str, provider: str, seed: bytes, subjects: int, chain: Chain
) -> Iterator[tuple[str, str, Body]]:
    """The five steps; the first is signed into `chain` before the next is asked for."""
    yield (
        requester,
        "requester",
        ShareRequested(
            provider=provider,
            dataset="registration",
            purpose="assessment",
            legal_basis=_find_basis(genesis, requester, provider),
            fields=("uscc", "name", "type", "industry", "status"),
            period_from="2025-01-01",
            period_to="2025-12-31",
            subjects=tuple(
                hashlib.sha256(seed + at.to_bytes(2, "big")).digest() for at in range(subjects)
            ),
            # Exempt from the reciprocity rule, which would send some exchanges to review.
            urgency="critical",
            retention_days=180,
            case="bench",
        ),
    )
    exchange = chain.digests[0]
    delivered = ShareDelivered(
        exchange=exchange,
        commitment=seed,
        record_count=subjects,
        schema_version=1,
        quality_digest=seed,
        size_bytes=4_096,
        outbox_until_ms=genesis.time_ms + 86_400_000,
    )
    yield provider, "provider", delivered
    yield (
        requester,
        "requester",
        ShareRejected(
            exchange=exchange, commitment=seed, code_set="tallystick-1", codes=(99_999,), text=""
        ),
    )
    yield provider, "provider", delivered
    yield (
        requester,
        "requester",
        ShareReceived(exchange=exchange, commitment=seed, record_count=subjects),
    )


def _find_basis(genesis: Genesis, requester: str, provider: str) -> str:
    """A legal basis that covers the pair; empty for members added to a larger network."""
    for basis in genesis.legal_bases:
        covers = not basis.parties or {requester, provider} <= set(basis.parties)
        if covers and basis.id in ("tcal-6", "yrd-2021"):
            return basis.id
    return ""


def _start_wan(network: Localnet, delay_ms: int) -> subprocess.Popen[bytes]:
    """Put a slow line in front of every node's peer address."""
    targets = [node.peers for node in network.index.nodes]
    lines = dict(zip(targets, free_ports(len(targets)), strict=True))
    for node in network.index.nodes:
        path = network.node_directory(node.member) / "node.toml"
        head, mark, peers = path.read_text("utf-8").partition("[peers.addresses]")
        for target, port in lines.items():
            peers = peers.replace(f'"{target}"', f'"127.0.0.1:{port}"')
        path.write_text(head + mark + peers, "utf-8")
    forwards = [f"{port}={target.rpartition(':')[2]}" for target, port in lines.items()]
    command = [sys.executable, "-m", "tools.wan", str(delay_ms), *forwards]
    return subprocess.Popen(command, start_new_session=True)  # noqa: S603 - our own program


def _gap_s(final_s: list[float], killed_s: list[float]) -> float:
    """Longest time without a final event, after the kill if there was one."""
    start_s = killed_s[0] if killed_s else final_s[0]
    times_s = [start_s, *(moment for moment in final_s if moment >= start_s)]
    return max((later - before for before, later in pairwise(times_s)), default=0.0)


def _percentile(values: list[float], percent: int) -> float:
    return round(values[min(len(values) - 1, len(values) * percent // 100)], 1)


def _rss_mb(network: Localnet) -> float:
    page_bytes = os.sysconf("SC_PAGE_SIZE")
    pids = [pid for pid in map(network.pid, network.members) if pid]
    pages = (int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids)
    return sum(pages) * page_bytes / 1e6


def _disk_mb(directory: Path) -> float:
    files = (path for path in directory.glob("*/data/**/*") if path.is_file())
    return sum(path.stat().st_size for path in files) / 1e6
