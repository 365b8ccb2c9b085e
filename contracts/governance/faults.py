"""Why a change is not possible, and when a possible one takes effect."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A stable code (`contracts.words`) and what was found."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A carried proposal takes effect with the block at `height`, at the time of the one before."""

    proposal: bytes
    height: int
    time_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What a change may depend on besides the state. A dry run has no moment."""

    network: bytes
    moment: Moment | None
