"""Shares of the node's capacity: token buckets and pending counts per client key.

A key is a member id or a client address: both are asked, so neither many officers of one member
nor many members behind one address can take what belongs to others, and peers are never counted.
Pure: time is an argument, in milliseconds from any fixed start; arithmetic is in whole numbers.
"""

from collections import OrderedDict
from dataclasses import dataclass

_MILLI = 1_000


@dataclass(slots=True)
class _Bucket:
    millitokens: int
    at_ms: int


class RateQuota:
    """Token buckets: `rate_per_s` units a second and key, `burst` at once.

    At most `keys_max` keys are remembered: beyond that the key that was quiet for longest, whose
    bucket has filled up most, is forgotten, which costs the same however many there are.
    """

    def __init__(self, *, rate_per_s: int, burst: int, keys_max: int = 10_000) -> None:
        if min(rate_per_s, burst, keys_max) < 1:
            raise ValueError("rate_per_s, burst and keys_max must be at least 1")
        self._rate_per_s = rate_per_s
        self._burst_milli = burst * _MILLI
        self._keys_max = keys_max
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def wait_ms(self, key: str, amount: int, now_ms: int) -> int:
        """Milliseconds until `amount` can be taken, 0 for now. Takes nothing.

        More than the burst is granted from a full bucket, which then owes the rest.
        """
        need = min(amount * _MILLI, self._burst_milli)
        missing = need - self._level(key, now_ms)
        return 0 if missing <= 0 else -(-missing // self._rate_per_s)

    def take(self, key: str, amount: int, now_ms: int) -> int:
        """Take `amount` units and return 0, or take nothing and return the milliseconds to wait."""
        wait_ms = self.wait_ms(key, amount, now_ms)
        if wait_ms == 0:
            self.charge(key, amount, now_ms)
        return wait_ms

    def charge(self, key: str, amount: int, now_ms: int) -> None:
        """Take `amount` units that `wait_ms` has granted."""
        level = self._level(key, now_ms) - amount * _MILLI
        self._buckets.pop(key, None)
        if len(self._buckets) >= self._keys_max:
            self._buckets.popitem(last=False)
        self._buckets[key] = _Bucket(level, now_ms)

    def _level(self, key: str, now_ms: int) -> int:
        bucket = self._buckets.get(key)
        if bucket is None:
            return self._burst_milli
        gained = max(0, now_ms - bucket.at_ms) * self._rate_per_s
        return min(self._burst_milli, bucket.millitokens + gained)


class CountQuota:
    """How much each key holds at present (pending events, open connections)."""

    def __init__(self, *, per_key_max: int) -> None:
        if per_key_max < 1:
            raise ValueError("per_key_max must be at least 1")
        self._per_key_max = per_key_max
        self._held: dict[str, int] = {}

    def held(self, key: str) -> int:
        """Units that `key` holds."""
        return self._held.get(key, 0)

    def has_room(self, key: str, amount: int) -> bool:
        """Whether `key` may take `amount` more."""
        return self.held(key) + amount <= self._per_key_max

    def take(self, key: str, amount: int) -> bool:
        """Hold `amount` more, or hold nothing more and return False."""
        if not self.has_room(key, amount):
            return False
        self._held[key] = self.held(key) + amount
        return True

    def give_back(self, key: str, amount: int) -> None:
        """Release `amount` units taken before."""
        left = self.held(key) - amount
        assert left >= 0, "more given back than taken"
        if left:
            self._held[key] = left
        else:
            self._held.pop(key, None)
