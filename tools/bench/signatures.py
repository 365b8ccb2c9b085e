"""How fast this machine verifies signatures: what everything else is compared with.

No two are alike, for a processor learns the branches of one that comes again and again.
"""

import time

from ledger.keys import SecretKey, verify_signature

# As much as an event has.
_SIGNED_BYTES = 1_024
_SIGNATURES = 500


class Signatures:
    """Some signatures, and how long it took to verify all of them so often."""

    def __init__(self) -> None:
        key = SecretKey(bytes(32))
        numbers = (number.to_bytes(4, "big") for number in range(_SIGNATURES))
        messages = [number * (_SIGNED_BYTES // len(number)) for number in numbers]
        self._public = key.public
        self._signed = [(each, key.sign(b"bench", each)) for each in messages]
        self.rounds = 0
        self.cpu_s = self.wall_s = 0.0

    @property
    def verified(self) -> int:
        """How many were verified so far."""
        return self.rounds * _SIGNATURES

    def verify(self) -> None:
        """Verify each of them once more."""
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        for message, signature in self._signed:
            verify_signature(self._public, b"bench", message, signature)
        self.cpu_s += time.process_time() - cpu_s
        self.wall_s += time.perf_counter() - wall_s
        self.rounds += 1
