"""Errors of `node.simplex`: one root; the first word of a name says who is to blame."""


class SimplexError(Exception):
    """Root of every error raised by `node.simplex`."""


class InvalidMessage(SimplexError):
    """Bytes of a peer are malformed, out of bounds or badly signed: blame the sender."""


class InvalidEvidence(SimplexError):
    """Two votes that do not prove a fault of their signer."""


class ConflictingVote(SimplexError):
    """The guard was asked for a signature that could contradict an earlier one: stop."""


class CorruptWal(SimplexError):
    """The write-ahead log contradicts itself: refuse to start."""

    def __init__(self, message: str, *, offset_bytes: int = 0) -> None:
        super().__init__(message)
        self.offset_bytes = offset_bytes


class WalFailed(SimplexError):
    """The write-ahead log could not be written or synced: stop, never retry."""


class CorruptQuorum(SimplexError):
    """Two valid certificates contradict each other (I6): more than f validators are faulty.

    `first` and `second` are the encoded certificates; the driver stores both and stops.
    """

    def __init__(self, message: str, *, first: bytes, second: bytes) -> None:
        super().__init__(message)
        self.first = first
        self.second = second


class CorruptChain(SimplexError):
    """A final block contradicts what this node delivered or computed (I7): stop."""
