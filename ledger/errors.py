"""Errors of `ledger`: one root; the first word of a name says who is to blame.

`Invalid*`: bytes from outside are bad. `Corrupt*`: our own store contradicts itself, stop.
`NotYet*`: cannot be judged before more data is here. Every error carries one sentence.
"""


class LedgerError(Exception):
    """Root of every error raised by `ledger`."""


class InvalidEncoding(LedgerError):
    """Bytes are not the canonical encoding of the expected value."""


class InvalidSignature(LedgerError):
    """A signature does not verify under the key it names."""


class InvalidKey(LedgerError):
    """Bytes or text are not a key of a known algorithm."""


class InvalidCertificate(LedgerError):
    """Bytes are not a self-issued P-256 certificate."""


class InvalidKeystore(LedgerError):
    """A keystore file is damaged, or breaks a bound."""


class WrongPassphrase(LedgerError):
    """The pass phrase does not open the keystore (or somebody altered the file on purpose)."""


class InvalidRotation(LedgerError):
    """A statement that one key follows another is malformed or lacks a signature."""


class InvalidEvent(LedgerError):
    """A signed event is malformed; `code` is the stable error code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class InvalidGenesis(LedgerError):
    """A genesis document breaks a rule; `faults` lists every one of them."""

    def __init__(self, faults: tuple[str, ...]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


class InvalidFounding(LedgerError):
    """Not every founder signed this genesis as it must be; `faults` lists what is wrong."""

    def __init__(self, faults: tuple[str, ...]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


class InvalidProof(LedgerError):
    """An inclusion or consistency proof does not verify."""


class InvalidEvidence(LedgerError):
    """Two votes do not prove that a validator contradicted itself."""


class InvalidCheckpoint(LedgerError):
    """A checkpoint is malformed, unsigned, or lacks a quorum of cosignatures."""


class StoreFailed(LedgerError):
    """The storage engine could not write or read (disk full, input/output error): stop."""


class SnapshotGone(LedgerError):
    """A snapshot of the store was closed, by its owner or because the store had to grow."""


class StagingEnded(LedgerError):
    """The log moved on by itself while entries were being put behind its tip."""


class CorruptStore(LedgerError):
    """The store contradicts itself or belongs to another network: refuse to start."""


class Divergence(LedgerError):
    """A copy of a log is not what it should be; the first place found.

    `step` and `step_name` say which numbered step of `ledger.verify` (or `contracts.replay`)
    refused, `index` the entry (-1: no single entry), `expected` and `found` what stood there.
    """

    def __init__(self, step: int, step_name: str, index: int, *, expected: str, found: str) -> None:
        place = f"entry {index}: " if index >= 0 else ""
        super().__init__(f"step {step} {step_name}: {place}expected {expected}, found {found}")
        self.step = step
        self.step_name = step_name
        self.index = index
        self.expected = expected
        self.found = found


class InvalidSubject(LedgerError):
    """A subject and a blind are not what a commitment on the ledger was made of."""


class InvalidTokenUri(LedgerError, ValueError):
    """A text is not the URI of a key on a token; `has_pin`: it would be, but a PIN stands in it."""

    def __init__(self, reason: str, *, has_pin: bool = False) -> None:
        super().__init__(reason)
        self.has_pin = has_pin
