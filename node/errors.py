"""Errors of `node`: one root.

`Invalid*` blames bytes from outside; `StartRefused` tells the operator what to do.
"""


class NodeError(Exception):
    """Root of every error raised by `node`."""


class InvalidHeader(NodeError, ValueError):
    """Header bytes or references of a proposed block are malformed."""


class InvalidMessage(NodeError):
    """A peer sent bytes that are not a message of its channel."""


class InvalidConfig(NodeError):
    """The configuration file has faults; `faults` lists all, each with line and key."""

    def __init__(self, path: str, faults: tuple[str, ...]) -> None:
        super().__init__("\n".join([f"{path}:", *(f"  {fault}" for fault in faults)]))
        self.faults = faults


class TokenFailed(NodeError):
    """A token that held a key does not sign (any more): the node cannot go on."""


class StartRefused(NodeError):
    """The node cannot start; `advice` says what to do about it."""

    def __init__(self, reason: str, advice: str) -> None:
        super().__init__(f"{reason}. {advice}")
        self.reason = reason
        self.advice = advice
