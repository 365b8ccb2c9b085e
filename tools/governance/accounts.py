"""Who did what, from a copy of a log: verified, and executed again for the state of each moment.

1. The copy: steps 1 to 8 of `ledger.verify`.
2. Each block is executed again; its records and its state must be those of the log. So the roles,
   the standing and the contract set beside an act are those of its height, from no node's word.

What a key signed before it was revoked stays valid: beside the acts stands the life of each key,
with the proposals that added and revoked it. A walk over what is left of a pruned mirror begins
with a state: it knows the keys, and what acts are about, but not since when a key is there.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from contracts.execute import Execution
from contracts.lookup import (
    find_exchange,
    find_member,
    find_officer,
    find_proposal,
    read_policy_set,
    read_validators,
)
from contracts.replay import Beginning, Machine
from ledger.blocks import Outcome
from ledger.errors import Divergence
from ledger.events import Event
from ledger.genesis import Genesis
from ledger.governance.actions import Action
from ledger.governance.proposals import (
    REVISIONS,
    GovernanceAcknowledged,
    GovernanceBalloted,
    GovernanceProposed,
    GovernanceWithdrawn,
    Proposal,
)
from ledger.keys import fingerprint
from ledger.registry import OFFICERS, Exchange, Officer
from ledger.state import officer_key, revision_key
from ledger.verify import (
    BlockEntries,
    LogCopy,
    MapEvents,
    Progress,
    Read,
    no_progress,
    open_copy,
    read_blocks,
)
from tools.audit.divergence import diverged
from tools.audit.left import Begin, from_genesis, scan
from tools.audit.period import EVER, Period

OFFICER_PREFIX = officer_key(b"")


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Whom one asks about: one of these is given."""

    member: str = ""
    key: bytes = b""
    fingerprint: str = ""

    def is_key(self, key: bytes, member: str) -> bool:
        """Whether a key of a member is meant."""
        if self.member:
            return member == self.member
        return key == self.key if self.key else fingerprint(key) == self.fingerprint


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One event, and what its signer was at that height.

    `roles` and `standing` are of the officer (`validator` for a node's key, `unknown` for a key
    that the ledger did not know), `policy_set` is the version of the contracts in force. `opened`
    is the event that opened what this one is about, if that was seen: a request, a proposal;
    `known` is that as the state had it, if it was opened before.
    """

    index: int
    height: int
    time_ms: int
    event: Event
    outcome: Outcome
    roles: tuple[str, ...]
    standing: str
    member_status: str
    policy_set: int
    opened: Event | None
    known: Proposal | Exchange | None


@dataclass(slots=True, kw_only=True)
class KeyLife:
    """A key from when to when, and by which proposals; since 0 and no proposal: by genesis.

    Since None: it was there before what was seen. So was the end of one that is revoked, but from
    no height on.
    """

    key: bytes
    member: str
    roles: tuple[str, ...]
    since_height: int | None = 0
    added_by: bytes = b""
    status: str = "active"
    revoked_height: int | None = None
    revoked_by: bytes = b""


@dataclass(slots=True, kw_only=True)
class Account:
    """Everything about a subject in a copy that is valid, after height `begins`."""

    network: bytes
    entries: int
    begins: int
    height: int = 0
    acts: list[Act] = field(default_factory=list)
    keys: list[KeyLife] = field(default_factory=list)


def account_for(
    read: Read,
    subject: Subject,
    *,
    genesis: Genesis | None = None,
    period: Period = EVER,
    begin: Begin = from_genesis,
    map_events: MapEvents = map,
    on_progress: Callable[[Progress], None] = no_progress,
) -> Account:
    """All acts of a subject in a period. Raises `InvalidAnswer` if the copy is not valid."""
    try:
        copy = open_copy(read, genesis=genesis)
        beginning = begin(copy)
        book = _Book(copy, subject, period, beginning)
        start = None if beginning is None else beginning.start
        for block in read_blocks(copy, map_events, start=start):
            if period.is_over(block.header.time_ms):
                break
            book.add(block)
            done = block.index + 1 + len(block.records)
            on_progress(Progress(done=done, total=copy.checkpoint.size))
    except Divergence as error:
        raise diverged(error) from None
    return book.account


class _Book:
    """The state that execution has reached, and what was found on the way."""

    def __init__(
        self, copy: LogCopy, subject: Subject, period: Period, begin: Beginning | None
    ) -> None:
        self._subject = subject
        self._period = period
        self._machine = Machine(copy, begin)
        self._state = self._machine.state
        self._opened: dict[bytes, Event] = {}
        self.account = Account(
            network=copy.network,
            entries=copy.checkpoint.size,
            begins=0 if begin is None else begin.point.height,
        )
        founders = {officer.key for officer in copy.genesis.officers}
        for _, officer in scan(self._state, OFFICER_PREFIX, OFFICERS.decode):
            if subject.is_key(officer.key, officer.member):
                since_height = 0 if officer.key in founders else None
                self.account.keys.append(_life(officer, since_height=since_height))

    def add(self, block: BlockEntries) -> None:
        """Note the acts of a block by the state before it, then move on to the state after it."""
        self.account.height = block.header.height
        is_asked = self._period.has_begun(block.header.time_ms)
        rows = zip(block.events, block.outcomes, strict=True)
        for index, (event, outcome) in enumerate(rows, start=block.index + 1):
            if event.subject == event.digest:
                self._opened[event.digest] = event
            if is_asked and self._subject.is_key(event.officer, event.member):
                self.account.acts.append(self._act(event, outcome, block, index))
        execution = self._machine.execute(block)
        self._note_keys(execution, block.header.height + 1)

    def _act(self, event: Event, outcome: Outcome, block: BlockEntries, index: int) -> Act:
        member = find_member(self._state, event.member)
        officer = find_officer(self._state, event.officer)
        opened = self._opened.get(event.subject)
        roles: tuple[str, ...] = () if officer is None else officer.roles
        standing: str = "unknown" if officer is None else officer.status
        seats = [each.consensus_key for each in read_validators(self._state)]
        if officer is None and event.officer in seats:
            standing = "validator"
        return Act(
            index=index,
            height=block.header.height,
            time_ms=block.header.time_ms,
            event=event,
            outcome=outcome,
            roles=roles,
            standing=standing,
            member_status="unknown" if member is None else member.status,
            policy_set=read_policy_set(self._state).version,
            opened=opened,
            known=None if opened else self._known(event.subject),
        )

    def _known(self, subject: bytes) -> Proposal | Exchange | None:
        """What an act is about, of which nothing was seen."""
        return find_proposal(self._state, subject) or find_exchange(self._state, subject)

    def _note_keys(self, execution: Execution, height: int) -> None:
        """Keys of the subject that the end of a block added, changed or revoked."""
        changes = execution.overlay.changes
        for key in sorted(changes):
            if not key.startswith(OFFICER_PREFIX):
                continue
            officer = OFFICERS.decode(changes[key])
            if not self._subject.is_key(officer.key, officer.member):
                continue
            life = next((each for each in self.account.keys if each.key == officer.key), None)
            decided = _decided_by(changes, officer, height)
            if life is None:
                life = _life(officer, since_height=height, added_by=decided)
                self.account.keys.append(life)
            life.roles = officer.roles
            life.status = officer.status
            if officer.status == "revoked":
                life.revoked_height, life.revoked_by = height, decided


def _life(officer: Officer, *, since_height: int | None, added_by: bytes = b"") -> KeyLife:
    return KeyLife(
        key=officer.key,
        member=officer.member,
        roles=officer.roles,
        since_height=since_height,
        added_by=added_by,
        status=officer.status,
    )


def _decided_by(changes: dict[bytes, bytes], officer: Officer, height: int) -> bytes:
    """The proposal behind a change of an officer: of its own, or of its member's admission."""
    for target in (f"officer/{officer.key.hex()}", f"member/{officer.member}"):
        data = changes.get(revision_key(target, height))
        if data is not None:
            return REVISIONS.decode(data).proposal
    return b""


def actions_of(act: Act) -> tuple[Action, ...]:
    """What the proposal would do that an act is about; nothing for others."""
    about = act.known if act.opened is None else act.opened.body
    return about.actions if isinstance(about, GovernanceProposed | Proposal) else ()


def proposal_of(act: Act) -> bytes:
    """Digest of the proposal that an act is about; empty for others."""
    body = act.event.body
    if isinstance(
        body,
        GovernanceProposed | GovernanceBalloted | GovernanceWithdrawn | GovernanceAcknowledged,
    ):
        return act.event.subject
    return b""
