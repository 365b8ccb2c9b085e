"""What heals losses: the frontier (R10), delivery of final blocks (R11), and wanted data.

Nothing here can sign: the frontier is built from stored votes and certificates only (I12).
"""

from node.simplex.errors import CorruptChain
from node.simplex.messages import FRONTIER_BYTES_MAX, JUSTIFICATION_MAX, size_certificate
from node.simplex.types import (
    Application,
    Block,
    BlockRecord,
    Certificate,
    CertificateRecord,
    Config,
    Fetch,
    FloorRecord,
    Frontier,
    Now,
    OwnVote,
    PeerVote,
    Vote,
    WalRecord,
)
from node.simplex.votes import CertificateStore, OwnVotes, Tally, size_vote

FETCH_RETRY_MS, FETCH_RETRY_MS_MAX = 500, 4_000  # doubled with each repetition
REPLY_MS = 500  # at most one frontier to a peer in this time
PEERS_MAX = 256
WALKS_MAX = 4
WANTED_MAX = 64  # blocks asked for at a time
_FRAME_BYTES = 64


class FrontierBuilder:
    """Builds frontiers of bounded size; what does not fit comes first the next time."""

    def __init__(self, *, epoch: int, store: CertificateStore, own: OwnVotes) -> None:
        self._epoch = epoch
        self._store = store
        self._own = own
        self._resume_views: dict[int | None, int] = {}  # by receiver; None: all

    def build(self, to: int | None = None) -> Frontier:
        """The finalization, the newest views, then on from where the last one to `to` ended.

        Each receiver has its own place: with one for all, two receivers that ask in turn would
        each see the same part every time.
        """
        store = self._store
        packer = _Packer()
        if store.finalization is not None:
            packer.add([store.finalization], [])
        seen = {*store.notarized, *store.nullified, *self._own.views()}
        views = sorted(view for view in seen if view > store.final_view)
        newest, rest = views[-2:], views[:-2]
        for view in newest:
            packer.add(store.above_final(view), self._own.in_view(view))
        resume_view = self._resume_views.pop(to, 0)
        later = [view for view in rest if view >= resume_view]
        earlier = [view for view in rest if view < resume_view]
        for view in later + earlier:
            if not packer.add(store.above_final(view), self._own.in_view(view)):
                if len(self._resume_views) >= PEERS_MAX:
                    del self._resume_views[next(iter(self._resume_views))]
                self._resume_views[to] = view
                break
        return Frontier(
            epoch=self._epoch,
            certificates=tuple(packer.certificates),
            votes=tuple(packer.votes),
        )


class _Packer:
    """Collects certificates and votes up to the size of a frontier."""

    def __init__(self) -> None:
        self.certificates: list[Certificate] = []
        self.votes: list[Vote] = []
        self._size_bytes = _FRAME_BYTES

    def add(self, certificates: list[Certificate], votes: list[Vote]) -> bool:
        """Add all of one view, or nothing and return False."""
        size_bytes = sum(size_certificate(each) for each in certificates)
        size_bytes += sum(size_vote(vote) for vote in votes)
        count = len(self.certificates) + len(certificates)
        if self._size_bytes + size_bytes > FRONTIER_BYTES_MAX or count > JUSTIFICATION_MAX:
            return False
        self._size_bytes += size_bytes
        self.certificates += certificates
        self.votes += votes
        return True


class Retransmission:
    """When to broadcast the frontier, and to whom one was sent lately. Never decides what.

    Only finality counts as progress: views that follow each other without it are the sign that
    certificates are split between the nodes, which the frontier mends.
    """

    def __init__(self, *, config: Config) -> None:
        jitter_ms = (config.me or 0) * 37 % max(1, config.retransmit_ms // 4)
        self._interval_ms = config.retransmit_ms + jitter_ms
        self._since_ms: int | None = None  # nothing became final although it should
        self._replied_ms: dict[int, int] = {}

    def progress(self, now: Now) -> None:
        """A view became final: wait a full interval again."""
        if self._since_ms is not None:
            self._since_ms = now.mono_ms

    def is_due(self, now: Now, *, is_unsettled: bool) -> bool:
        """Whether to broadcast now; True once in an interval."""
        if not is_unsettled:
            self._since_ms = None
            return False
        if self._since_ms is None:
            self._since_ms = now.mono_ms
        is_due = now.mono_ms >= self._since_ms + self._interval_ms
        if is_due:
            self._since_ms = now.mono_ms
        return is_due

    @property
    def due_ms(self) -> int | None:
        """Monotonic time of the next broadcast, None: all is settled."""
        return None if self._since_ms is None else self._since_ms + self._interval_ms

    def may_reply(self, peer: int, now: Now) -> bool:
        """Bound the frontiers that one peer can cause."""
        last_ms = self._replied_ms.get(peer)
        if last_ms is not None and now.mono_ms < last_ms + REPLY_MS:
            return False
        self._replied_ms.pop(peer, None)
        if len(self._replied_ms) >= PEERS_MAX:
            del self._replied_ms[next(iter(self._replied_ms))]
        self._replied_ms[peer] = now.mono_ms
        return True


class Wanted:
    """Data this node needs at this step; each is asked for again, ever less often."""

    def __init__(self, *, me: int | None) -> None:
        self._me = me
        self._due_ms: dict[bytes, tuple[int, int]] = {}  # when, and the pause after that
        self._needed: dict[bytes, tuple[int, ...]] = {}

    def need(self, block_hash: bytes, ask: tuple[int, ...], *, is_final: bool = False) -> None:
        """This step cannot go on without the block. A final one is asked for in any case."""
        if len(self._needed) >= WANTED_MAX and not is_final:
            return
        held = self._needed.get(block_hash, ())
        merged = dict.fromkeys(held + ask)
        self._needed[block_hash] = tuple(peer for peer in merged if peer != self._me)

    def take(self, now: Now) -> tuple[Fetch, ...]:
        """Fetches to start now; what was not needed in this step is forgotten."""
        fetches = []
        due: dict[bytes, tuple[int, int]] = {}
        for block_hash, ask in self._needed.items():
            due_ms, pause_ms = self._due_ms.get(block_hash, (now.mono_ms, FETCH_RETRY_MS))
            if due_ms <= now.mono_ms:
                fetches.append(Fetch(block_hash=block_hash, ask=ask))
                due_ms = now.mono_ms + pause_ms
                pause_ms = min(2 * pause_ms, FETCH_RETRY_MS_MAX)
            due[block_hash] = due_ms, pause_ms
        self._due_ms = due
        self._needed = {}
        return tuple(fetches)

    def restart(self) -> None:
        """A link came up: what was asked on the one before is lost with it."""
        self._due_ms.clear()

    @property
    def wake_ms(self) -> int | None:
        """When the next repetition is due."""
        return min((due_ms for due_ms, _ in self._due_ms.values()), default=None)


class Delivery:
    """Final blocks to the application in height order, each once (R11, I7)."""

    def __init__(self, *, height: int, block_hash: bytes) -> None:
        self.height = height
        self.block_hash = block_hash
        self._walks: dict[bytes, list[Block]] = {}  # by tip: how far back it was followed

    def sync(self, *, height: int, block_hash: bytes) -> None:
        """The application's final tip moved by itself."""
        if height > self.height:
            self.height = height
            self.block_hash = block_hash
            self._walks.clear()

    def path_to(
        self, tip_hash: bytes, application: Application
    ) -> tuple[list[Block], bytes | None]:
        """Held blocks from `tip_hash` back towards the last delivered one, and the missing hash.

        Goes on where the last call for this tip ended: blocks of a long gap come one at a time.
        """
        path = self._walks.pop(tip_hash, [])
        missing = self._walk(path, tip_hash, application)
        if missing is None and not all(application.holds(block.hash) for block in path):
            path = []  # the application gave one up meanwhile
            missing = self._walk(path, tip_hash, application)
        if path:
            if len(self._walks) >= WALKS_MAX:
                del self._walks[next(iter(self._walks))]
            self._walks[tip_hash] = path
        return list(path) if missing is None else [], missing

    def _walk(self, path: list[Block], tip_hash: bytes, application: Application) -> bytes | None:
        """Extend `path` as far as blocks are held; the hash of the first that is not."""
        wanted = path[-1].parent_hash if path else tip_hash
        while wanted != self.block_hash:
            block = application.block(wanted) if application.holds(wanted) else None
            if block is None:
                return wanted
            if block.height <= self.height or (path and block.height != path[-1].height - 1):
                raise CorruptChain(f"the final block at height {block.height} is on another chain")
            path.append(block)
            wanted = block.parent_hash
        if path and path[-1].height != self.height + 1:
            raise CorruptChain(f"height {self.height + 1} does not follow (I7)")
        return None

    def deliver(self, path: list[Block]) -> tuple[Block, ...]:
        """Mark a complete path as delivered; returns it in height order."""
        blocks = tuple(reversed(path))
        if blocks:
            self.height = blocks[-1].height
            self.block_hash = blocks[-1].hash
            self._walks.clear()
        return blocks


def record_block(block: Block) -> BlockRecord:
    """The log record of a block, to which the driver adds the events."""
    return BlockRecord(hash=block.hash, header=block.header, refs=block.refs)


def collect_live_records(
    *,
    epoch: int,
    me: int | None,
    store: CertificateStore,
    tally: Tally,
    own: OwnVotes,
    blocks: list[Block],
) -> list[WalRecord]:
    """The floor, undelivered blocks, certificates and votes above the floor, own ones last."""
    floor = FloorRecord(
        epoch=epoch,
        view=store.final_view,
        height=store.final_height,
        block_hash=store.final_hash,
    )
    records: list[WalRecord] = [floor]
    records += [record_block(block) for block in blocks]
    if store.finalization is not None:
        records.append(CertificateRecord(certificate=store.finalization))
    for view in sorted({*store.notarized, *store.nullified}):
        records += [CertificateRecord(certificate=each) for each in store.above_final(view)]
    certified = {
        (certificate.subject, signer)
        for view in {*store.notarized, *store.nullified}
        for certificate in store.above_final(view)
        for signer in certificate.signers
    }
    records += [
        PeerVote(vote=vote)
        for vote in tally.votes_by_others(me)
        if (vote.subject, vote.signer) not in certified
    ]
    for view in own.views():
        records += [OwnVote(vote=vote) for vote in own.in_view(view)]
    return records
