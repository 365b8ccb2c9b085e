"""Deterministic simulation of the production core: virtual time, lossy network, crashes, healing.

`run(seed)` draws a network of 4 to 7 validators and an observer, breaks it for some virtual seconds
(loss, duplication, reordering, partitions, crashes before and after the log is synced), heals it,
and checks safety throughout and liveness and silence at the end. A restarted node has nothing but
its committed blocks and the bytes of its log. One line reproduces a failure:

    python -m tests.simulation.simulator SEED
"""

import hashlib
import heapq
import random
import sys
from collections.abc import Callable

import msgspec
from nacl.bindings import crypto_sign_seed_keypair

from node.simplex.core import Simplex
from node.simplex.guard import GuardedSigner
from node.simplex.messages import decode_message, encode_message
from node.simplex.types import (
    BlockRecord,
    Config,
    Connected,
    DataArrived,
    Effects,
    Fetch,
    FloorRecord,
    Input,
    Now,
    PendingChanged,
    Received,
    Status,
    Tick,
    WalRecord,
)
from node.simplex.votes import Verifier
from node.simplex.wal import MAGIC, decode_segment, encode_record
from tests.simulation.checkers import Checker
from tests.simulation.toy import GENESIS, GENESIS_TIME_MS, ToyApplication

NETWORK_ID = hashlib.sha256(b"simulated network").digest()
STATUS_MS = 5_000
ROTATE_BYTES = 15_000


class Crash(Exception):
    """The simulated process dies here."""


class Disk:
    """What survives a crash: committed blocks with their events, and a prefix of the log."""

    def __init__(self) -> None:
        self.committed = [GENESIS]
        self.events: dict[bytes, bytes] = {}
        self.log = bytearray(MAGIC)
        self.synced_bytes = len(MAGIC)


class Node:
    """One process: the core, the toy application, the driver's loop over a simulated disk."""

    def __init__(self, world: "World", index: int) -> None:
        self.world = world
        self.index = index
        self.disk = Disk()
        self.is_up = False
        self.generation = 0
        self.skew_ms = world.random.randrange(-100, 100)

    def start(self) -> None:
        """Boot from the disk alone."""
        disk, world = self.disk, self.world
        records, valid = decode_segment(bytes(disk.log), is_last=True)
        del disk.log[valid:]
        disk.synced_bytes = valid
        self.generation += 1
        self.application = ToyApplication(me=self.index, committed=disk.committed)
        self.application.events.update(disk.events)
        for record in records:
            if isinstance(record, BlockRecord):
                block = self.application.parse(record.header, record.refs)
                self.application.absorb(block, record.events)
        is_validator = self.index < world.count
        self.signer = world.make_signer(self.index) if is_validator else None
        if self.signer is not None:
            self.signer.restore(records)
        tip = disk.committed[-1]
        config = Config(
            network_id=NETWORK_ID,
            epoch=1,
            validators=world.keys,
            me=self.index if is_validator else None,
            genesis_hash=GENESIS.hash,
            rotation=world.rotation,
            final_view=tip.view,
            final_height=tip.height,
            final_hash=tip.hash,
        )
        self.core = Simplex(
            config=config,
            application=self.application,
            signer=self.signer,
            verifier=world.verifier,
        )
        self.is_up = True
        self.perform(lambda: self.core.restore(records, self.now()))
        for event in world.events:
            if world.is_healed:
                self.application.submit(event)

    def now(self) -> Now:
        """The node's clocks."""
        time_ms = self.world.time_ms
        return Now(mono_ms=time_ms, wall_ms=GENESIS_TIME_MS + time_ms + self.skew_ms)

    def step(self, input_: Input) -> None:
        """One turn of the driver's loop."""
        if self.is_up:
            self.perform(lambda: self.core.step(input_, self.now()))

    def perform(self, step: Callable[[], Effects]) -> None:
        """Effects in their order, with a crash now and then between two of them."""
        try:
            effects = step()
            self.world.steps += 1
            self._perform(effects)
        except Crash:
            self.crash()

    def _perform(self, effects: Effects) -> None:
        disk, world = self.disk, self.world
        for record in effects.persist:
            disk.log += encode_record(self._complete(record))
        world.maybe_crash(self)
        if effects.sync:
            disk.synced_bytes = len(disk.log)
        world.maybe_crash(self)
        for send in effects.send:
            world.send(self.index, send.to, send.message)
        for block in effects.commit:
            self.application.commit(block)
            for ref in block.refs:
                disk.events[ref] = self.application.events[ref]
        world.checker.check_delivery(self.index, disk.committed)
        assert not effects.evidence, f"evidence against an honest node: {effects.evidence}"
        for rejected in effects.rejected:
            raise AssertionError(f"an honest message was rejected: {rejected}")
        for fetch in effects.fetch:
            world.fetch(self, fetch)
        world.checker.check_floor((self.index, self.generation), self.core.final_view)
        if effects.wake_ms is not None:
            world.at(max(effects.wake_ms, world.time_ms), self._wake(effects.wake_ms))
        self.wake_ms = effects.wake_ms
        if len(disk.log) > ROTATE_BYTES:
            self._rotate()

    def _rotate(self) -> None:
        live = [self._complete(record) for record in self.core.live_records()]
        if self.signer is not None:
            self.signer.check_rotation(live)
        assert isinstance(live[0], FloorRecord), "a segment begins with its floor"
        self.disk.log = bytearray(MAGIC) + b"".join(encode_record(record) for record in live)
        self.disk.synced_bytes = len(self.disk.log)

    def _complete(self, record: WalRecord) -> WalRecord:
        if isinstance(record, BlockRecord):
            events = self.application.events_of(record)
            return msgspec.structs.replace(record, events=events)
        return record

    def _wake(self, wake_ms: int) -> Callable[[], None]:
        generation = self.generation

        def wake() -> None:
            if self.is_up and self.generation == generation and self.wake_ms == wake_ms:
                self.step(Tick())

        return wake

    def crash(self) -> None:
        """Everything unsynced is lost, or a part of it."""
        world, disk = self.world, self.disk
        self.is_up = False
        kept = world.random.randint(disk.synced_bytes, len(disk.log))
        del disk.log[kept:]
        disk.synced_bytes = len(disk.log)
        world.crashes += 1
        world.at(world.time_ms + world.random.randrange(10, 4_000), self.start_again)

    def start_again(self) -> None:
        """Restart, and the links come up."""
        if not self.is_up:
            self.start()
            for node in self.world.nodes:
                if node is not self and node.is_up:
                    node.step(Connected(peer=self.index))


class World:
    """Virtual time, the network and its faults."""

    def __init__(self, seed: int, *, fault_ms: int = 12_000, heal_ms: int = 60_000) -> None:
        self.random = random.Random(seed)
        self.seed = seed
        self.time_ms = 0
        self.steps = 0
        self.crashes = 0
        self.messages_after_ms: list[int] = []
        self.fault_ms = fault_ms
        self.end_ms = fault_ms + heal_ms
        self.count = self.random.choice((4, 4, 5, 6, 7))
        self.rotation = self.random.randrange(self.count)
        self.loss = self.random.choice((0.0, 0.05, 0.2, 0.4))
        self.crash_rate = self.random.choice((0.0, 0.002, 0.01))
        self.tail_ms = self.random.choice((20, 100, 1_000))
        self.group: set[int] = set()
        pairs = [crypto_sign_seed_keypair(self._seed_of(index)) for index in range(self.count)]
        self.keys = tuple(public for public, _ in pairs)
        self.verifier = Verifier(network_id=NETWORK_ID, validators=self.keys)
        self.checker = Checker(validators=self.count)
        self.digest = hashlib.sha256()
        self.events: list[bytes] = []
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._sequence = 0
        self.nodes = [Node(self, index) for index in range(self.count + 1)]

    @property
    def is_healed(self) -> bool:
        """After the faults."""
        return self.time_ms >= self.fault_ms

    def make_signer(self, index: int) -> GuardedSigner:
        """The guard of a validator, fresh as after a start."""
        return GuardedSigner(seed=self._seed_of(index), network_id=NETWORK_ID)

    def at(self, time_ms: int, action: Callable[[], None]) -> None:
        """Do something at a virtual time."""
        self._sequence += 1
        heapq.heappush(self._queue, (time_ms, self._sequence, action))

    def maybe_crash(self, node: Node) -> None:
        """A crash at this instruction, sometimes."""
        if not self.is_healed and self.random.random() < self.crash_rate:
            raise Crash

    def send(self, sender: int, to: int | None, message: bytes) -> None:
        """Deliver, late, twice, or not at all."""
        self.digest.update(b"%d %d " % (self.time_ms, sender) + message)
        decoded = decode_message(message)
        assert encode_message(decoded) == message, "one value, one encoding"
        self.checker.check_message(decoded)
        if not isinstance(decoded, Status):
            self.messages_after_ms.append(self.time_ms)
        targets = range(self.count + 1) if to is None else (to,)
        for target in targets:
            if target != sender:
                self._carry(sender, target, message)

    def _carry(self, sender: int, target: int, message: bytes) -> None:
        received = Received(sender=sender, message=message)
        copies = 1
        if not self.is_healed:
            if (sender in self.group) != (target in self.group):
                return
            if self.random.random() < self.loss:
                return
            copies = 2 if self.random.random() < 0.05 else 1
        for _ in range(copies):
            tail_ms = self.tail_ms if not self.is_healed else 20
            delay_ms = 5 + int(self.random.random() ** 3 * tail_ms)
            self.at(self.time_ms + delay_ms, lambda: self.nodes[target].step(received))

    def fetch(self, node: Node, fetch: Fetch) -> None:
        """Ask one peer for a block and its events; a failure is repeated by the core."""
        if not fetch.ask:
            return
        peer = self.nodes[self.random.choice(fetch.ask)]
        generation = node.generation

        def arrive() -> None:
            block = peer.application.block(fetch.block_hash) if peer.is_up else None
            if block is None or not node.is_up or node.generation != generation:
                return
            node.application.absorb(block, peer.application.events_of(block))
            node.step(DataArrived(block_hash=fetch.block_hash))

        if self.is_healed or self.random.random() >= self.loss:
            self.at(self.time_ms + 30, arrive)

    def run(self) -> None:
        """The whole life of this network."""
        for node in self.nodes:
            node.start()
        for number in range(24):
            event = b"event %d of %d" % (number, self.seed)
            self.at(self.random.randrange(100, self.fault_ms), self._submission(event))
        for _ in range(3):
            self.at(self.random.randrange(self.fault_ms), self._partition)
        self.at(self.fault_ms, self._heal)
        self.at(STATUS_MS, self._status)
        while self._queue and self._queue[0][0] <= self.end_ms:
            self.time_ms, _, action = heapq.heappop(self._queue)
            action()
        self._check_end()

    def _submission(self, event: bytes) -> Callable[[], None]:
        def submit() -> None:
            self.events.append(event)
            for node in self.nodes:
                if node.is_up and (self.is_healed or self.random.random() >= self.loss):
                    node.application.submit(event)
                    node.step(PendingChanged())

        return submit

    def _partition(self) -> None:
        size = self.random.randrange(self.count)
        self.group = set(self.random.sample(range(self.count + 1), size))

    def _status(self) -> None:
        for node in self.nodes[: self.count]:
            if node.is_up:
                self.send(node.index, None, node.core.status(node.now()))
        self.at(self.time_ms + STATUS_MS, self._status)

    def _heal(self) -> None:
        """All nodes run, links are good, clients submit again what they saw no receipt for."""
        self.group = set()
        for node in self.nodes:
            node.start_again()
        for node in self.nodes:
            for event in self.events:
                node.application.submit(event)
            node.step(PendingChanged())

    def _check_end(self) -> None:
        wanted = {hashlib.sha256(event).digest() for event in self.events}
        tips = {node.disk.committed[-1].hash for node in self.nodes}
        assert len(tips) == 1, "liveness: all nodes end with one final tip"
        final = [ref for block in self.nodes[0].disk.committed for ref in block.refs]
        assert set(final) == wanted, "liveness: every event is final"
        assert len(final) == len(wanted), "safety: an event is final twice"
        last_ms = max(self.messages_after_ms)
        assert last_ms < self.end_ms - 20_000, f"silence: a message was sent at {last_ms}"
        self.checker.check_end([node.disk.committed for node in self.nodes])

    @staticmethod
    def _seed_of(index: int) -> bytes:
        return hashlib.sha256(b"validator %d" % index).digest()


def run(seed: int) -> World:
    """Simulate one seed; raises on a violation, with the line that reproduces it."""
    world = World(seed)
    try:
        world.run()
    except Exception as error:
        error.add_note(f"reproduce: python -m tests.simulation.simulator {seed}")
        raise
    return world


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        finished = run(int(argument))
        print(argument, finished.digest.hexdigest()[:16], finished.steps, finished.crashes)
