"""A ledger made without a network, to measure what reads one: the files of a mirror, in a folder.

The blocks are those that validators would make of the workload of `tools.bench.load`: whole
exchanges, a few hundred under way at a time, really signed, executed and cosigned. The folder also
keeps the keys, under `net/`; a folder that holds such a ledger already is used as it is.
"""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from contracts.engine import ENGINE_VERSION, Contracts
from contracts.execute import BlockInput, Execution, execute
from contracts.replay import Point
from ledger.blocks import HEADERS, Header, hash_header
from ledger.events import Event, parse_event
from ledger.genesis import cosigner_keys, genesis_state
from ledger.keys import SecretKey, parse_secret_key
from ledger.lthash.digest import StateDigest, apply_changes
from ledger.quorum.lists import hash_consensus_keys
from ledger.state import MapState
from ledger.tlog.checkpoint import Checkpoint, cosign, sign_checkpoint
from ledger.tlog.merkle import CompactRange, Hash, hash_leaves, root_of
from ledger.tlog.note import COSIGNATURE_ED25519, ED25519, SignedNote, SigningKey
from ledger.tlog.tiles import ENTRIES_LEVEL, TILE_HEIGHT, TILE_WIDTH, TilePath, encode_entries
from tools.audit.segments import keep_state
from tools.bench.load import STEPS, Chain, Plan, sign_chains
from tools.founding import read_source
from tools.localnet import Localnet, create_network, shipped_policy_set
from tools.mirror import read_genesis

NODES = 4
UNDER_WAY = 250
BLOCK_MS = 100
EVENT_BYTES = 1_024
# State files divide the ledger into so many parts.
PARTS = 4


def make_ledger(directory: Path, entries: int, on_progress: Callable[[int, int], None]) -> Path:
    """Folder of a ledger of at least so many entries, made now if it is not there."""
    events = max(1, entries * UNDER_WAY // (UNDER_WAY + 1) + 1) // STEPS + 1
    plan = Plan(
        nodes=NODES,
        size_bytes=EVENT_BYTES,
        in_flight=UNDER_WAY,
        events=events * STEPS,
        submit="stream",
        kill=None,
        wan_ms=0,
    )

    def fill(writer: "LedgerWriter", network: Localnet) -> None:
        kept = 1
        for block in _blocks(sign_chains(network, read_genesis(network.genesis_path), plan)):
            writer.add(block)
            if kept < PARTS and writer.size * PARTS >= entries * kept:
                writer.keep_state()
                kept += 1
            on_progress(min(writer.size, entries), entries)

    return make_copy(directory / f"ledger-{entries}", fill)


def make_copy(copy: Path, fill: Callable[["LedgerWriter", Localnet], None]) -> Path:
    """The folder `copy` with a ledger of the blocks that `fill` adds, made if it is not there."""
    if (copy / "checkpoint").exists():
        return copy
    shutil.rmtree(copy, ignore_errors=True)
    network = create_network(
        copy / "net", source=read_source(), nodes=NODES, policy_set=shipped_policy_set()
    )
    shutil.copy(network.genesis_path, copy / "genesis.json")
    writer = LedgerWriter(copy, network)
    fill(writer, network)
    writer.finish()
    return copy


def _blocks(chains: Iterator[Chain]) -> Iterator[list[Event]]:
    """The events of each block: the next one of every exchange under way."""
    under_way: list[Chain] = []
    while True:
        # A fifth of them at a time, so that every block has events of all steps.
        for _ in range(UNDER_WAY // STEPS):
            chain = next(chains, None)
            if chain is not None:
                under_way.append(chain)
        if not under_way:
            return
        yield [parse_event(chain.events[chain.done]) for chain in under_way]
        for chain in under_way:
            chain.done += 1
        under_way = [chain for chain in under_way if chain.done < STEPS]


class LedgerWriter:
    """Executes blocks and writes what a mirror would hold."""

    def __init__(self, directory: Path, network: Localnet) -> None:
        self._directory = directory
        self._localnet = network
        self._genesis = read_genesis(network.genesis_path)
        self._network = bytes.fromhex(network.index.network)
        self._contracts = Contracts()
        self._state = MapState(genesis_state(self._genesis))
        digest = StateDigest()
        digest.add_all(list(self._state.pairs.items()))
        self._accumulator = digest.encode()
        self._range = CompactRange()
        self._levels: list[list[Hash]] = []
        self._waiting: list[bytes] = []
        self._parent: Header | None = None
        self._parent_hash = self._network

    @property
    def size(self) -> int:
        """Entries so far."""
        return self._range.size

    def add(self, events: list[Event]) -> None:
        """The next block, with the outcomes that its events have."""
        height = 1 if self._parent is None else self._parent.height + 1
        time_ms = self._genesis.time_ms + height * BLOCK_MS
        given = BlockInput(
            network=self._network,
            height=height,
            time_ms=time_ms,
            first_index=self.size + 1,
            events=tuple(events),
        )
        execution = execute(self._state, given, self._contracts)
        digest = apply_changes(self._accumulator, execution.overlay)
        self._accumulator = digest.encode()
        self._state.pairs.update(execution.overlay.changes)
        header = self._header(height, time_ms, execution, digest.digest())
        self._parent, data = header, HEADERS.encode(header)
        self._parent_hash = hash_header(data)
        self._append([data, *execution.records])

    def keep_state(self) -> None:
        """Write the state file of the block that was added last."""
        assert self._parent is not None, "there is a block"
        point = Point(
            height=self._parent.height,
            block_hash=self._parent_hash,
            entries=self.size,
            state_digest=self._parent.state_digest,
        )
        index = self._parent.tree_size
        keep_state(self._directory, self._network, point, index, self._state)

    def finish(self) -> None:
        """Write what is left, the checkpoint last."""
        self._write_entries(self._waiting)
        for level, hashes in enumerate(self._levels[::TILE_HEIGHT]):
            for start in range(0, len(hashes), TILE_WIDTH):
                part = hashes[start : start + TILE_WIDTH]
                self._write_tile(level, start // TILE_WIDTH, len(part), b"".join(part))
        (self._directory / "checkpoint").write_bytes(self._sign())

    def _header(
        self, height: int, time_ms: int, execution: Execution, state_digest: bytes
    ) -> Header:
        view = 0 if self._parent is None else self._parent.view
        keys = hash_consensus_keys(self._genesis.validators)
        return Header(
            entry=1,
            version=1,
            network=self._network,
            epoch=0,
            height=height,
            view=view + 1,
            parent_view=view,
            proposer=height % len(self._genesis.validators),
            time_ms=time_ms,
            parent_hash=self._parent_hash,
            tree_size=self.size,
            tree_root=self._range.root(),
            record_count=len(execution.records),
            records_root=root_of(hash_leaves(execution.records)),
            state_digest=state_digest,
            engine=ENGINE_VERSION,
            validators_hash=keys,
            next_validators=b"",
        )

    def _append(self, entries: list[bytes]) -> None:
        self._range, grown = self._range.grow(hash_leaves(entries))
        for level, hashes in enumerate(grown):
            if level == len(self._levels):
                self._levels.append([])
            self._levels[level] += hashes
        self._waiting += entries
        while len(self._waiting) >= TILE_WIDTH:
            self._write_entries(self._waiting[:TILE_WIDTH])
            del self._waiting[:TILE_WIDTH]

    def _write_entries(self, entries: list[bytes]) -> None:
        if entries:
            tile = (self.size - len(self._waiting)) // TILE_WIDTH
            self._write_tile(ENTRIES_LEVEL, tile, len(entries), encode_entries(entries))

    def _write_tile(self, level: int, index: int, width: int, data: bytes) -> None:
        path = self._directory / TilePath(level=level, index=index, width=width).format()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def _sign(self) -> bytes:
        tree = Checkpoint(origin=self._genesis.origin, size=self.size, root=self._range.root())
        folders = [self._localnet.node_directory(member) for member in self._localnet.members]
        seed = _read_key(folders[0], "log").seed
        note = sign_checkpoint(tree, SigningKey(name=tree.origin, kind=ED25519, seed=seed))
        lines = tuple(
            cosign(
                tree,
                SigningKey(
                    name=verifier.name,
                    kind=COSIGNATURE_ED25519,
                    seed=_read_key(folder, "cosigning").seed,
                ),
                self._genesis.time_ms // 1_000 + 1,
            )
            for verifier, folder in zip(cosigner_keys(self._genesis), folders, strict=True)
        )
        return SignedNote(text=note.text, signatures=(*note.signatures, *lines)).format()


def _read_key(folder: Path, name: str) -> SecretKey:
    return parse_secret_key((folder / "keys" / f"{name}.key").read_text("utf-8"))
