"""The client: submits events at a steady rate to random nodes and remembers what it was told.

An event is sent again, byte for byte, to another node until one says that it is final. So after a
fault every event must be in the log once, at the place that was acknowledged, however many nodes
took it and died.
"""

import asyncio
import os
import random
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field

from ledger.events import Event, sign_event
from ledger.genesis import Genesis, hash_genesis
from ledger.keys import SecretKey
from tests.e2e.network import request_body
from tools.client import Claim, Client
from tools.exits import NotFound, RefusedEvent, Unreachable

WAIT_S = 3
ATTEMPT_S = 5.0
RETRY_S = 0.1
RECEIPT_EVERY = 25
TWICE_EVERY = 10
EXPIRY_BLOCKS = 10_000
# What a node says that has not got the block yet on which the event builds.
BEHIND = frozenset(("proposal-unknown",))


@dataclass(slots=True, kw_only=True)
class Sent:
    """An event and what became of it; times are of the loop's clock."""

    event: Event
    sent_s: float
    final_s: float = 0.0
    claims: set[tuple[int, int]] = field(default_factory=set)
    is_applied: bool = False

    @property
    def is_final(self) -> bool:
        return bool(self.claims)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """Entry and receipt as a node gave them."""

    index: int
    entry: bytes
    receipt: bytes


class Load:
    """Use `async with`; submits while not paused."""

    def __init__(
        self,
        urls: dict[str, str],
        genesis: Genesis,
        keys: dict[str, SecretKey],
        *,
        rate_per_s: int,
        seed: int,
    ) -> None:
        self.sent: dict[bytes, Sent] = {}
        self.proofs: list[Proof] = []
        self._genesis = genesis
        self._network = hash_genesis(genesis)
        self._keys = keys
        self._rate_per_s = rate_per_s
        self._random = random.Random(seed)
        self.clients = {member: Client(url, genesis) for member, url in urls.items()}
        self.height = 0
        self._going = asyncio.Event()
        self._settled = asyncio.Event()
        self._pacer: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting = 0
        self._failure: BaseException | None = None

    async def __aenter__(self) -> "Load":
        for client in self.clients.values():
            await client.__aenter__()
        self._pacer = asyncio.create_task(self._pace())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._pacer is not None
        tasks = [self._pacer, *self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for client in self.clients.values():
            await client.__aexit__(None, None, None)

    def resume(self) -> None:
        self._going.set()

    async def drain(self, timeout_s: float) -> int:
        """Submit no more; how many events are not final after at most `timeout_s`."""
        self._going.clear()
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + timeout_s
        while self._waiting and loop.time() < deadline_s:
            self._settled.clear()
            try:
                async with asyncio.timeout_at(deadline_s):
                    await self._settled.wait()
            except TimeoutError:
                break
        self.raise_failure()
        return self._waiting

    def raise_failure(self) -> None:
        """Raise what a node answered that no fault excuses."""
        if self._failure is not None:
            raise self._failure

    def final_times(self, from_s: float, to_s: float) -> list[float]:
        times = (sent.final_s for sent in self.sent.values() if sent.is_final)
        return sorted(time_s for time_s in times if from_s <= time_s <= to_s)

    @property
    def final_count(self) -> int:
        return len(self.sent) - self._waiting

    async def first_final_after(self, moment_s: float, timeout_s: float) -> float | None:
        """When an event sent after `moment_s` was first told to be final, or None in time."""
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + timeout_s
        while True:
            self.raise_failure()
            times = [s.final_s for s in self.sent.values() if s.is_final and s.sent_s >= moment_s]
            if times:
                return min(times)
            self._settled.clear()
            try:
                async with asyncio.timeout_at(deadline_s):
                    await self._settled.wait()
            except TimeoutError:
                return None

    async def add_node(self, member: str, url: str) -> None:
        """Submit to one more node from now on."""
        client = Client(url, self._genesis)
        await client.__aenter__()
        self.clients[member] = client

    async def submit_one(self, event: Event) -> Sent:
        """Submit an event of the caller's until it is final."""
        sent = self.sent[event.digest] = Sent(event=event, sent_s=asyncio.get_running_loop().time())
        self._waiting += 1
        await self._deliver(sent)
        return sent

    async def submit_many(self, count: int, members: Sequence[str] = ()) -> None:
        """Submit that many more events in batches, as fast as the network takes them."""
        for start in range(0, count, 500):
            events = [self._sign() for _ in range(min(500, count - start))]
            now_s = asyncio.get_running_loop().time()
            for event in events:
                self.sent[event.digest] = Sent(event=event, sent_s=now_s)
            self._waiting += len(events)
            for claim, event in zip(await self._submit_batch(events, members), events, strict=True):
                if claim.state == "final":
                    self._note(self.sent[event.digest], claim)
                    self._waiting -= 1
                else:
                    self._start(self._deliver(self.sent[event.digest]))

    async def _submit_batch(self, events: list[Event], members: Sequence[str]) -> list[Claim]:
        while True:
            try:
                return await self._pick(members).submit_batch(events, wait_s=20)
            except Unreachable:
                await asyncio.sleep(RETRY_S)

    async def _pace(self) -> None:
        loop = asyncio.get_running_loop()
        due_s = loop.time()
        while True:
            if not self._going.is_set():
                await self._going.wait()
                due_s = loop.time()
            event = self._sign()
            sent = self.sent[event.digest] = Sent(event=event, sent_s=loop.time())
            self._waiting += 1
            self._start(self._deliver(sent))
            if len(self.sent) % TWICE_EVERY == 0:
                self._start(self._submit_twice(sent))
            # The load is steady: an event every so often, whatever became of those before.
            due_s = max(due_s + 1 / self._rate_per_s, loop.time() - 1)
            await asyncio.sleep(due_s - loop.time())

    def _sign(self) -> Event:
        asker, owner = self._random.sample(sorted(self._keys), 2)
        return sign_event(
            self._keys[asker],
            network=self._network,
            member=asker,
            nonce=os.urandom(16),
            expires_height=self.height + EXPIRY_BLOCKS,
            body=request_body(owner),
        )

    def _start(self, coroutine: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failure = self._failure or error
            self._settled.set()

    async def _deliver(self, sent: Sent) -> None:
        while not await self._attempt(sent):
            pass
        self._waiting -= 1
        self._settled.set()
        if self.final_count % RECEIPT_EVERY == 0:
            await self._fetch_proof(next(iter(sent.claims))[0])

    async def _submit_twice(self, sent: Sent) -> None:
        """The same event at another node at the same time: it must still be there once."""
        await self._attempt(sent)

    async def _attempt(self, sent: Sent) -> bool:
        try:
            async with asyncio.timeout(ATTEMPT_S):
                claim = await self._pick().submit(sent.event, wait_s=WAIT_S)
        except (Unreachable, TimeoutError):
            # A refused connection costs no time: do not spin on nodes that are down.
            await asyncio.sleep(RETRY_S)
            return False
        except RefusedEvent as refused:
            if refused.code not in BEHIND:
                raise
            await asyncio.sleep(RETRY_S)
            return False
        if claim.state == "final":
            self._note(sent, claim)
        return sent.is_final

    def _note(self, sent: Sent, claim: Claim) -> None:
        if not sent.is_final:
            sent.final_s = asyncio.get_running_loop().time()
        sent.claims.add((claim.index, claim.height))
        sent.is_applied = claim.outcome is not None and claim.outcome.applied
        self.height = max(self.height, claim.height)

    async def _fetch_proof(self, index: int) -> None:
        """A receipt as it was given at this time; the checker verifies it against the end."""
        try:
            entry, receipt = await self._pick().fetch_entry(index)
        except (Unreachable, NotFound):
            return  # the node is down, or behind: there will be other samples
        self.proofs.append(Proof(index=index, entry=entry, receipt=receipt))

    def _pick(self, members: Sequence[str] = ()) -> Client:
        return self.clients[self._random.choice(sorted(members or self.clients))]
