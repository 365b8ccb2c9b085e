"""Errors of `node`: one root.

`Invalid*` blames bytes from outside. What an operator is told of `StartRefused` and `InvalidConfig`
stands in `node.words`, by their codes; their own text is for programmers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

# A failure of the system has words too, by its number.
Value = str | int | Path | Exception


class NodeError(Exception):
    """Root of every error raised by `node`."""


class InvalidHeader(NodeError, ValueError):
    """Header bytes or references of a proposed block are malformed."""


class InvalidMessage(NodeError):
    """A peer sent bytes that are not a message of its channel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigFault:
    """One fault of a configuration file: its cause, and where: line (0: unknown) and setting.

    A value that differs by language has two names, `…_zh` and `…_en`.
    """

    code: str
    line: int = 0
    setting: str = ""
    values: Mapping[str, Value] = field(default_factory=dict)


class InvalidValue(NodeError, ValueError):
    """A setting cannot have this value, for the cause `code`."""

    def __init__(self, code: str, **values: Value) -> None:
        super().__init__(_show(code, values))
        self.code = code
        self.values = values


class InvalidConfig(NodeError):
    """The configuration file has faults; `faults` lists all."""

    def __init__(self, path: str, faults: tuple[ConfigFault, ...]) -> None:
        shown = (f"{fault.setting} {_show(fault.code, fault.values)}" for fault in faults)
        super().__init__("; ".join([path, *shown]))
        self.path = path
        self.faults = faults


class TokenFailed(NodeError):
    """A token that held a key does not sign (any more): the node cannot go on."""


class StartRefused(NodeError):
    """The node or gateway cannot start, for the cause `code`."""

    def __init__(self, code: str, **values: Value) -> None:
        super().__init__(_show(code, values))
        self.code = code
        self.values = values


def system_refused(error: Exception) -> StartRefused:
    """What the system refuses beside all that has a code of its own."""
    path = getattr(error, "filename", None) or "-"
    return StartRefused("start-system-refused", path=path, reason=error)


def _show(code: str, values: Mapping[str, Value]) -> str:
    return " ".join([code, *(f"{name}={value}" for name, value in values.items())])
