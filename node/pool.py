"""Events that wait to be ordered: bounded, in order of arrival, one per member's nonce.

The pool never judges events (admission does, `contracts.admission`); it bounds them and forgets
those that can never be executed any more: final ones, those whose nonce is used, and expired ones.
So a pool that is not empty always is a reason to make a block.
"""

import heapq
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from ledger.events import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolLimits:
    """Maxima in events and bytes."""

    events_max: int
    events_per_member_max: int
    bytes_max: int = 256 * 1024 * 1024


class PoolFull(Exception):
    """The event does not fit now; `scope` is `pool` or `member`."""

    def __init__(self, scope: str) -> None:
        super().__init__(f"the {scope} has as many pending events as allowed")
        self.scope = scope


def _mono_ms() -> int:
    return time.monotonic_ns() // 1_000_000


class Pool:
    """Pending events by digest, in order of arrival. `now_ms` is only for saying how long."""

    def __init__(self, limits: PoolLimits, now_ms: Callable[[], int] = _mono_ms) -> None:
        self._limits = limits
        self._now_ms = now_ms
        self._arrived_ms: dict[bytes, int] = {}
        self._events: dict[bytes, Event] = {}
        self._by_nonce: dict[tuple[str, bytes], bytes] = {}
        self._of_member: dict[str, int] = {}
        self._expiry: list[tuple[int, bytes]] = []
        self._bytes = 0
        self.on_displaced: Callable[[Event], None] | None = None

    def __len__(self) -> int:
        return len(self._events)

    def __iter__(self) -> Iterator[Event]:
        return iter(self._events.values())

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._events

    @property
    def events_max(self) -> int:
        """How many events may wait."""
        return self._limits.events_max

    def oldest_ms(self) -> int:
        """How long the event waits that came first; 0 when none waits."""
        arrived_ms = next(iter(self._arrived_ms.values()), None)
        return 0 if arrived_ms is None else self._now_ms() - arrived_ms

    def get(self, digest: bytes) -> Event | None:
        """The pending event with this digest, or None."""
        return self._events.get(digest)

    def digest_of_nonce(self, member: str, nonce: bytes) -> bytes | None:
        """Digest of the pending event that a member's nonce names, or None."""
        return self._by_nonce.get((member, nonce))

    def add(self, event: Event) -> None:
        """Keep an admitted event. Raises `PoolFull`; a second event of one nonce is a bug."""
        limits = self._limits
        is_full = len(self._events) >= limits.events_max
        if is_full or self._bytes + len(event.data) > limits.bytes_max:
            raise PoolFull("pool")
        if self._of_member.get(event.member, 0) >= limits.events_per_member_max:
            raise PoolFull("member")
        self.hold(event)

    def hold(self, event: Event) -> None:
        """Keep an event that stands in a proposed block, whatever the limits (blocks are bounded).

        A different pending event of the same nonce makes way, and `on_displaced` is told of it: at
        most one of them becomes final.
        """
        if event.digest in self._events:
            return
        rival = self._by_nonce.get((event.member, event.nonce))
        displaced = self._events[rival] if rival is not None else None
        if displaced is not None:
            self._remove(displaced.digest)
        self._events[event.digest] = event
        self._arrived_ms[event.digest] = self._now_ms()
        self._by_nonce[event.member, event.nonce] = event.digest
        self._of_member[event.member] = self._of_member.get(event.member, 0) + 1
        self._bytes += len(event.data)
        heapq.heappush(self._expiry, (event.expires_height, event.digest))
        if displaced is not None and self.on_displaced is not None:
            self.on_displaced(displaced)

    def remove(self, digests: Iterable[bytes]) -> None:
        """Forget events, known or not."""
        for digest in digests:
            self._remove(digest)

    def settle(self, events: Iterable[Event], height: int) -> list[tuple[Event, str]]:
        """Forget what the final block at `height` decided.

        Returns the events that can never be final, each with its code: rivals of a used nonce
        (`nonce-reused`) and those that expire before the next block (`event-expired`).
        """
        lost: list[tuple[Event, str]] = []
        for event in events:
            rival = self._by_nonce.get((event.member, event.nonce))
            if rival is not None and rival != event.digest:
                lost.append((self._events[rival], "nonce-reused"))
                self._remove(rival)
            self._remove(event.digest)
        while self._expiry and self._expiry[0][0] <= height:
            _, digest = heapq.heappop(self._expiry)
            if digest in self._events:
                lost.append((self._events[digest], "event-expired"))
                self._remove(digest)
        if len(self._expiry) > 2 * len(self._events) + 1_024:
            self._expiry = [(event.expires_height, event.digest) for event in self]
            heapq.heapify(self._expiry)
        return lost

    def _remove(self, digest: bytes) -> None:
        event = self._events.pop(digest, None)
        if event is None:
            return
        del self._by_nonce[event.member, event.nonce], self._arrived_ms[digest]
        self._bytes -= len(event.data)
        left = self._of_member[event.member] - 1
        if left:
            self._of_member[event.member] = left
        else:
            del self._of_member[event.member]
