"""Errors of `contracts`: one root; values as attributes, texts for people in `contracts.words`."""


class ContractError(Exception):
    """Root of every error raised by `contracts`."""


class InvalidPolicySet(ContractError):
    """A policy set breaks the schema or the rules of this ledger; `faults` lists every one."""

    def __init__(self, faults: tuple[str, ...]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


class InvalidSchema(ContractError):
    """A record schema is not one: `code` says why, `detail` where, as `/field/keyword`."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code
        self.detail = detail


class RefusedEvent(ContractError):
    """An event that must not be applied. `code` is stable, `detail` says what was found.

    `recordable`: a block may include it, as a refused record. Otherwise a block with it is invalid.
    """

    def __init__(self, code: str, detail: str, *, recordable: bool) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.recordable = recordable


def unfit(code: str, detail: str) -> RefusedEvent:
    """A refusal that no block may hold: whoever proposes it is wrong, and nobody pays for it."""
    return RefusedEvent(code, detail, recordable=False)


def refused(code: str, detail: str) -> RefusedEvent:
    """A refusal that is recorded: the event uses up its nonce and changes nothing else."""
    return RefusedEvent(code, detail, recordable=True)


class InvalidInclusion(ContractError):
    """A block includes an event that no honest proposer includes; `place` counts from 0."""

    def __init__(self, digest: bytes, refused: RefusedEvent, place: int) -> None:
        super().__init__(f"event {digest.hex()}: {refused}")
        self.place = place
        self.digest = digest
        self.code = refused.code


class InvalidMoment(ContractError):
    """`text` names no time, or none that can be looked ahead to."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class InvalidTime(ContractError):
    """A block's time is beyond the calendar; `time_ms` is what it says."""

    def __init__(self, time_ms: int) -> None:
        super().__init__(f"block time {time_ms} ms is after the year 9999")
        self.time_ms = time_ms
