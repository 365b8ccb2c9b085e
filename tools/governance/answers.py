"""What nodes answer about governance: read strictly where it is used; more fields may stand there.

Nothing of it is proven: it is shown, and it says where to look for what is.
"""

from typing import Any, TypeVar

import msgspec

from tools.exits import InvalidAnswer
from tools.governance.changes import Change

T = TypeVar("T")


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Base of answers."""


class FaultLine(Answer, frozen=True, kw_only=True):
    """Why a proposal is not possible now."""

    code: str
    title: str = ""
    detail: str = ""
    advice: str = ""


class Seats(Answer, frozen=True, kw_only=True):
    """What a proposal would make of the list of validators, and who of it is heard."""

    quorum: int
    members: tuple[str, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]
    heard: tuple[str, ...]
    silent: tuple[str, ...]
    unlinked: tuple[str, ...]
    has_live_quorum: bool


class Preview(Answer, frozen=True, kw_only=True):
    """A dry run."""

    action_class: str = msgspec.field(name="class")
    needed: int
    voters: int
    factors: int
    own: bool
    faults: tuple[FaultLine, ...]
    changes: tuple[Change, ...]
    validators: Seats | None


class BallotLine(Answer, frozen=True, kw_only=True):
    """One ballot that counted."""

    index: int
    height: int
    member: str
    officer: str
    approve: bool
    text: str


class Summary(Answer, frozen=True, kw_only=True):
    """A proposal in a list; `actions` are their names, as `member.admit`."""

    digest: str
    status: str
    member: str
    action_class: str = msgspec.field(name="class")
    actions: tuple[str, ...]
    approved: tuple[str, ...]
    needed: int
    index: int
    ballots_until_height: int


class Told(Answer, frozen=True, kw_only=True):
    """What a node tells of one proposal."""

    digest: str
    status: str
    action_class: str = msgspec.field(name="class")
    index: int
    height: int
    effective_height: int | None
    ballots_until_height: int
    needed: int
    factors: int
    own: bool
    voters: tuple[str, ...]
    approved: tuple[str, ...]
    rejected: tuple[str, ...]
    pending_second_key: tuple[str, ...]
    missing: tuple[str, ...]
    ballots: tuple[BallotLine, ...]
    faults: tuple[FaultLine, ...]
    changes: tuple[Change, ...]


class RuleLine(Answer, frozen=True, kw_only=True):
    """How votes of a class count."""

    action_class: str = msgspec.field(name="class")
    share: int
    factors: int
    needed: int


class Rules(Answer, frozen=True, kw_only=True):
    """Who votes, and the rules in force."""

    voters: tuple[str, ...]
    rules: tuple[RuleLine, ...]


class RevisionLine(Answer, frozen=True, kw_only=True):
    """A change, and the first height at which it is in force."""

    proposal: str
    height: int


class History(Answer, frozen=True, kw_only=True):
    """Changes of one thing, newest last."""

    revisions: tuple[RevisionLine, ...]


class FreezeLine(Answer, frozen=True, kw_only=True):
    """A scope that is frozen; empty texts stand for all."""

    requester: str
    provider: str
    dataset: str
    reason: str


class ExpiringLine(Answer, frozen=True, kw_only=True):
    """What ends soon; `ends` is its last day."""

    kind: str
    id: str
    ends: str
    days_left: int


class SunsetLine(Answer, frozen=True, kw_only=True):
    """What is out of force from a day on."""

    target: str
    date: str
    ended: bool


class Sunsets(Answer, frozen=True, kw_only=True):
    """All sunset dates."""

    items: tuple[SunsetLine, ...]


class Status(Answer, frozen=True, kw_only=True):
    """State of a node, as far as governance is concerned."""

    height: int
    freezes: tuple[FreezeLine, ...] = ()
    expiring: tuple[ExpiringLine, ...] = ()


class OfficerLine(Answer, frozen=True, kw_only=True):
    """An officer of a member; `not_after` is the last day on which its key signs, if any."""

    key: str
    roles: tuple[str, ...]
    status: str
    not_after: str = ""


class EncryptionKeyLine(Answer, frozen=True, kw_only=True):
    """A key that payloads for a member are or were sealed to."""

    hash: str
    not_after: str
    from_height: int
    until_height: int


class CertificateLine(Answer, frozen=True, kw_only=True):
    """A certificate by its hash."""

    sha256: str


class GatewayLine(Answer, frozen=True, kw_only=True):
    """Where the payloads of a member are fetched since a height."""

    address: str
    certificates: tuple[CertificateLine, ...]
    height: int


class MemberLine(Answer, frozen=True, kw_only=True):
    """A member, or an agency that is proposed as one."""

    status: str
    officers: tuple[OfficerLine, ...]
    encryption_keys: tuple[EncryptionKeyLine, ...] = ()
    gateway: GatewayLine | None = None


def parse(document: Any, type_: type[T]) -> T:
    """An answer of the type. Raises `InvalidAnswer`."""
    try:
        return msgspec.convert(document, type_)
    except msgspec.ValidationError as error:
        raise InvalidAnswer("answer-malformed", f"{type_.__name__.lower()}: {error}") from None
