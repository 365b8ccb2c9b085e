"""Who a signer was at a height: from genesis and the proposals that the members carried since.

A proposal is in force from its height on, or from the block after the ballot that carried it, which
is its last approving one: a carried proposal takes no more. What it does to members and officers is
what the ledger does; how many votes are enough was decided by those who cosigned the log.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import msgspec

from contracts.facts import block_date
from contracts.governance.catalogue import ROWS, target_of
from contracts.governance.faults import Case
from contracts.governance.parties import put_member
from contracts.lookup import find_last_day, find_member, find_officer
from ledger.genesis import Genesis, genesis_state, hash_genesis
from ledger.governance.actions import (
    Action,
    AddOfficer,
    AdmitMember,
    ReinstateMember,
    RetireMember,
    RevokeOfficer,
    SetRoles,
    SuspendMember,
)
from ledger.governance.keys import RotateOfficer, SetTerm, is_over
from ledger.governance.proposals import (
    GovernanceAcknowledged,
    GovernanceBalloted,
    GovernanceProposed,
)
from ledger.keys import format_public_key
from ledger.registry import VALIDATOR_LISTS, Member, Officer
from ledger.state import VALIDATORS_KEY, MapState, Overlay, StateReader
from tools.audit.evidence.story import Story, Told, invalid_bundle

# Actions that make, change or end who may sign.
STANDING_ACTIONS = (
    AdmitMember, SuspendMember, ReinstateMember, RetireMember,
    AddOfficer, SetRoles, RevokeOfficer, RotateOfficer, SetTerm,
)  # fmt: skip
_BEFORE_ENTRIES = -1  # what comes in force with a block does so before its first entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """A proposal with its approvals, in force from the block of `height` on."""

    height: int
    proposal: Told
    approvals: tuple[Told, ...]

    @property
    def actions(self) -> tuple[Action, ...]:
        """What it does."""
        body = self.proposal.event.body
        assert isinstance(body, GovernanceProposed), "find_carried has checked it"
        return body.actions

    @property
    def added_keys(self) -> frozenset[bytes]:
        """Keys that it makes an officer's."""
        found: set[bytes] = set()
        for action in self.actions:
            if isinstance(action, AdmitMember):
                found |= {officer.key for officer in action.application.keys}
            elif isinstance(action, AddOfficer):
                found.add(action.officer.key)
            elif isinstance(action, RotateOfficer):
                found.add(action.statement.rotation.new_key)
        return frozenset(found)

    @property
    def revoked_keys(self) -> frozenset[bytes]:
        """Keys that sign no more by it."""
        return frozenset(each.key for each in self.actions if isinstance(each, RevokeOfficer))

    @property
    def last(self) -> int:
        """Index of the entry that carried it."""
        return max(told.index for told in (self.proposal, *self.approvals))


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The signer of an event, as it was then."""

    told: Told
    member: Member
    officer: Officer
    not_after: str


def find_carried(governance: Sequence[Told]) -> tuple[Carried, ...]:
    """Proposals about who may sign, in the order in which they come in force."""
    found = []
    for told in governance:
        body = told.event.body
        if not isinstance(body, GovernanceProposed):
            continue
        approvals = tuple(each for each in governance if _approves(each, told.event.digest))
        if not approvals:
            continue  # no rule lets one member decide alone
        carried_at = max(each.height for each in (told, *approvals))
        height = max(body.activate_height, carried_at + 1)
        found.append(Carried(height=height, proposal=told, approvals=approvals))
    return tuple(sorted(found, key=lambda each: (each.height, each.last)))


def _approves(told: Told, proposal: bytes) -> bool:
    body = told.event.body
    return isinstance(body, GovernanceBalloted) and body.approve and body.proposal == proposal


def select_governance(
    governance: Sequence[Told],
    in_force: Iterable[bytes],
    events: Sequence[Told],
    members: Iterable[str],
) -> tuple[Told, ...]:
    """What admitted the signers of events, and those who voted on it, and so on up to genesis.

    `in_force` are the proposals that came in force; everything that they touch is followed.
    """
    effective = frozenset(in_force)
    carried = [each for each in find_carried(governance) if each.proposal.event.digest in effective]
    carried = [each for each in carried if any(map(_is_standing, each.actions))]
    wanted = {f"member/{member}" for member in members}
    chosen: dict[int, Told] = {}
    wanted |= {target for told in events for target in _targets_of_signer(told)}
    waiting = carried
    while True:
        taken = [each for each in waiting if not wanted.isdisjoint(_changed(each.actions))]
        if not taken:
            return tuple(chosen[index] for index in sorted(chosen))
        waiting = [each for each in waiting if each not in taken]
        for each in taken:
            wanted |= _touched(each.actions)
            acts = (each.proposal, *each.approvals, *_acknowledgements(governance, each))
            for told in acts:
                chosen[told.index] = told
                wanted |= _targets_of_signer(told)


def _acknowledgements(governance: Sequence[Told], carried: Carried) -> Iterator[Told]:
    for told in governance:
        body = told.event.body
        if (
            isinstance(body, GovernanceAcknowledged)
            and body.proposal == carried.proposal.event.digest
        ):
            yield told


def _targets_of_signer(told: Told) -> frozenset[str]:
    key = told.event.officer.hex()
    return frozenset((f"member/{told.event.member}", f"officer/{key}", f"term/{key}"))


def _changed(actions: Sequence[Action]) -> frozenset[str]:
    """Members, keys and terms that actions change."""
    return frozenset(target_of(action) for action in actions if _is_standing(action))


def _touched(actions: Sequence[Action]) -> frozenset[str]:
    """What actions change, and what whether they may depends on."""
    found = set(_changed(actions))
    for action in actions:
        if isinstance(action, AddOfficer | SetTerm):
            found.add(f"member/{action.member}")
        if isinstance(action, SetTerm):
            found.add(f"officer/{action.key.hex()}")
        if isinstance(action, RotateOfficer):
            rotation = action.statement.rotation
            found |= {f"member/{rotation.member}", f"officer/{rotation.old_key.hex()}"}
    return frozenset(found)


def _is_standing(action: Action) -> bool:
    return isinstance(action, STANDING_ACTIONS)


def find_standings(genesis: Genesis, story: Story) -> dict[int, Standing]:
    """Of every event in a story, by index. Raises `InvalidAnswer` for one who might not sign."""
    state = _founding_state(genesis)
    network = hash_genesis(genesis)
    changes: list[tuple[int, int, int, Carried | Told]] = [
        (each.height, _BEFORE_ENTRIES, each.last, each) for each in find_carried(story.governance)
    ]
    signed = [(told.height, told.index, 0, told) for told in (*story.events, *story.governance)]
    found: dict[int, Standing] = {}
    for *_, item in sorted((*changes, *signed), key=lambda row: row[:3]):
        if isinstance(item, Carried):
            _carry_out(state, item, network)
            continue
        found[item.index] = standing = _find_standing(state, item)
        if isinstance(item.event.body, GovernanceAcknowledged):
            overlay = Overlay(state)
            put_member(overlay, msgspec.structs.replace(standing.member, status="active"))
            state.pairs.update(overlay.changes)
    return found


def _founding_state(genesis: Genesis) -> MapState:
    """Members and officers of genesis. Seats are judged by the proofs of epochs, not here."""
    pairs = genesis_state(genesis)
    pairs[VALIDATORS_KEY] = VALIDATOR_LISTS.encode(())
    return MapState(pairs)


def _carry_out(state: MapState, carried: Carried, network: bytes) -> None:
    overlay = Overlay(state)
    for action in filter(_is_standing, carried.actions):
        change = ROWS[type(action)].change
        assert change is not None, "no action about a member or officer is judged elsewhere"
        for fault in change(overlay, action, Case(network=network, moment=None)):
            where = f"proposal #{carried.proposal.index}"
            raise invalid_bundle(f"{where}: {fault.code} {fault.detail}")
    state.pairs.update(overlay.changes)


def _find_standing(state: StateReader, told: Told) -> Standing:
    event = told.event
    member, officer = find_member(state, event.member), find_officer(state, event.officer)
    if member is None or officer is None or officer.member != event.member:
        key = format_public_key(event.officer)
        raise invalid_bundle(f"#{told.index}: no officer of {event.member} has the key {key}")
    is_acknowledging = isinstance(event.body, GovernanceAcknowledged)
    status = member.status if not is_acknowledging else "active"
    not_after = find_last_day(state, event.officer)
    if (status, officer.status) != ("active", "active") or is_over(
        not_after, block_date(told.time_ms).isoformat()
    ):
        standing = f"{member.id} is {member.status}, its key {officer.status} {not_after}"
        raise invalid_bundle(f"#{told.index}: {standing}")
    return Standing(told=told, member=member, officer=officer, not_after=not_after)
