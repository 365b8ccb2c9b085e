"""Blocks and final ranges asked from peers: what to ask, whom, and what to do with the answer.

`Orphans` keeps received blocks whose parent is not here yet. `Catchup` decides when this node is so
far behind that it asks for final ranges instead of single blocks, and from whom. Both are without
input and output; `node.engine.driver` sends and executes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ledger.events import Event
from node.simplex.types import Block

ORPHANS_MAX = 64
GAP_AT_ONCE = 8
GAP_PATIENCE_MS = 500
ANSWER_TIMEOUT_MS = 3_000
ASKED_FIRST, ASKED_MAX = 2, 8  # peers asked for one block
DISTRUST_MS = 60_000


def take_turn(peers: Sequence[str], attempt: int) -> list[str]:
    """Whom to ask for a block in an attempt, counted from 0: others each time, and more of them.

    Peers that never answer stand in the way of a few attempts, not of all.
    """
    start, count = 0, ASKED_FIRST
    for _ in range(min(attempt, len(peers))):
        start, count = start + count, min(2 * count, ASKED_MAX)
    rest = start % max(len(peers), 1)
    return [*peers[rest:], *peers[:rest]][:count]


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphan:
    """A received block with verified events that waits for its parent."""

    block: Block
    events: tuple[Event, ...]


class Orphans:
    """Blocks by parent hash, bounded; the oldest make way."""

    def __init__(self) -> None:
        self._by_hash: dict[bytes, Orphan] = {}

    def add(self, orphan: Orphan) -> None:
        """Keep a block until its parent arrives."""
        self._by_hash[orphan.block.hash] = orphan
        if len(self._by_hash) > ORPHANS_MAX:
            del self._by_hash[next(iter(self._by_hash))]

    def get(self, block_hash: bytes) -> Orphan | None:
        """The waiting block, or None."""
        return self._by_hash.get(block_hash)

    def take_children(self, parent_hash: bytes) -> list[Orphan]:
        """Blocks on this parent, removed from here."""
        children = [
            orphan for orphan in self._by_hash.values() if orphan.block.parent_hash == parent_hash
        ]
        for orphan in children:
            del self._by_hash[orphan.block.hash]
        return children

    def forget_below(self, height: int) -> None:
        """Drop blocks at or below a final height."""
        self._by_hash = {
            block_hash: orphan
            for block_hash, orphan in self._by_hash.items()
            if orphan.block.height > height
        }


@dataclass(slots=True)
class Catchup:
    """When and whom to ask for final blocks.

    A gap of `GAP_AT_ONCE` blocks starts at once. A smaller one is normal while blocks flow: it
    starts when this node made no progress for `GAP_PATIENCE_MS`. What a single peer claims moves
    nobody: with `faulty_max` liars, only the claim after the highest `faulty_max` is believed. Only
    `members`, the validators, are heard and asked. Who was `heard` since the start has told at
    least once where it is. A peer whose answer was refused is left alone
    for `DISTRUST_MS`: it may have been repaired.
    """

    height: int
    members: tuple[str, ...]
    faulty_max: int = 0
    progress_ms: int = 0
    asked: str | None = None
    asked_ms: int = 0
    heights: dict[str, int] = field(default_factory=dict)
    heard: set[str] = field(default_factory=set)
    distrusted: dict[str, int] = field(default_factory=dict)  # until this monotonic time in ms
    fruitless: set[str] = field(default_factory=set)
    is_answering: bool = False

    def enter(self, members: tuple[str, ...], faulty_max: int) -> None:
        """Another epoch: these are its validators."""
        self.members, self.faulty_max = members, faulty_max
        self.heights = {peer: at for peer, at in self.heights.items() if peer in members}
        self.heard.intersection_update(members)

    def note_peer(self, peer: str, height: int) -> None:
        """A peer says where its final tip is."""
        if peer in self.members:
            self.heights[peer] = max(height, self.heights.get(peer, 0))
            self.heard.add(peer)

    def note_progress(self, height: int, now_ms: int) -> None:
        """Our final tip moved."""
        self.height, self.progress_ms = height, now_ms
        self.fruitless.clear()

    def relinked(self, peer: str) -> None:
        """A link came up: what was asked on the one before is lost with it."""
        if not self.is_answering:
            self.answered(peer)

    def take_answer(self, peer: str) -> bool:
        """Whether an answer of this peer is awaited; True once for each question."""
        is_awaited = self.asked == peer and not self.is_answering
        self.is_answering = self.is_answering or is_awaited
        return is_awaited

    def gave_nothing(self, peer: str, height: int) -> None:
        """The peer has no blocks for us, wherever it claims to be: others are asked first."""
        self.answered(peer)
        self.heights[peer] = height
        self.fruitless.add(peer)

    def answered(self, peer: str) -> None:
        """The peer's answer was executed."""
        if self.asked == peer:
            self.asked = None

    def refused(self, peer: str, now_ms: int) -> None:
        """The peer's answer was refused."""
        self.answered(peer)
        self.distrusted[peer] = now_ms + DISTRUST_MS
        self.heights.pop(peer, None)

    @property
    def is_behind(self) -> bool:
        """Whether peers that cannot all lie are ahead by more than the flow of blocks explains."""
        return self.believed_height >= self.height + GAP_AT_ONCE

    @property
    def believed_height(self) -> int:
        """The highest final tip that is not only claimed by peers that may all lie."""
        claims = sorted(self._trusted_heights(), reverse=True)[self.faulty_max :]
        return claims[0] if claims else 0

    def choose(self, now_ms: int, connected: Iterable[str]) -> str | None:
        """Peer to ask now, or None: nothing to ask, or an answer is awaited."""
        for peer in [peer for peer, until_ms in self.distrusted.items() if until_ms <= now_ms]:
            del self.distrusted[peer]
        if self.asked is not None:
            if now_ms - self.asked_ms < ANSWER_TIMEOUT_MS:
                return None
            self.heights.pop(self.asked, None)
            self.fruitless.add(self.asked)
            self.asked = None
        ahead = {
            peer: self.heights[peer]
            for peer in connected
            if peer not in self.distrusted and self.heights.get(peer, 0) > self.height
        }
        if not ahead:
            return None
        gap = max(ahead.values()) - self.height
        if gap < GAP_AT_ONCE and now_ms - self.progress_ms < GAP_PATIENCE_MS:
            return None
        best = min(ahead, key=lambda peer: (peer in self.fruitless, -ahead[peer], peer))
        if best in self.fruitless and now_ms - self.asked_ms < GAP_PATIENCE_MS:
            return None  # all have nothing for us yet: no checkpoint covers it
        self.asked, self.asked_ms, self.is_answering = best, now_ms, False
        return best

    def wake_ms(self) -> int | None:
        """When `choose` could give another answer without new input."""
        if self.asked is not None:
            return self.asked_ms + ANSWER_TIMEOUT_MS
        if max(self._trusted_heights(), default=0) > self.height:
            return self.progress_ms + GAP_PATIENCE_MS
        return None

    def _trusted_heights(self) -> Iterable[int]:
        return (height for peer, height in self.heights.items() if peer not in self.distrusted)
