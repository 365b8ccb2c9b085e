r"""Members and officers: what each action does to the state, and why it may not be possible.

    application --carried--> applied --acknowledged--> active <--> suspended --> retired
                                                            \________________/

Each function finds every fault first; only if there is none does it change the overlay.
"""

from collections.abc import Iterator

import msgspec

from contracts.credit.accounts import apply_sanction
from contracts.governance.faults import Case, Fault
from contracts.lookup import find_member, find_officer, read_validators
from ledger.errors import InvalidKey, InvalidSignature
from ledger.governance.actions import (
    AddOfficer,
    AdmitMember,
    OfficerKey,
    ReinstateMember,
    RetireMember,
    RevokeOfficer,
    SanctionMember,
    SetRoles,
    SuspendMember,
    verify_application,
    verify_key,
)
from ledger.registry import MEMBERS, OFFICERS, Member, MemberStatus, Officer
from ledger.state import Overlay, StateReader, member_key, officer_key

NEWCOMER_CREDIT = 700
# From which states a member comes into which.
_MOVES: dict[MemberStatus, tuple[MemberStatus, ...]] = {
    "suspended": ("active",),
    "active": ("suspended",),
    "retired": ("applied", "active", "suspended"),
}


def admit(overlay: Overlay, action: AdmitMember, case: Case) -> list[Fault]:
    """The applicant is a member that still has to acknowledge."""
    faults = list(_admission_faults(overlay, action, case.network))
    if not faults:
        application = action.application
        member = Member(
            id=application.id,
            name_zh=application.name_zh,
            name_en=application.name_en,
            region=application.region,
            kind=application.kind,
            status="applied",
            credit=NEWCOMER_CREDIT,
        )
        put_member(overlay, member)
        for key in application.keys:
            _put_officer(overlay, member.id, key)
    return faults


def _admission_faults(state: StateReader, action: AdmitMember, network: bytes) -> Iterator[Fault]:
    application = action.application
    known = find_member(state, application.id)
    if known is not None:
        yield Fault(code="member-exists", detail=f"{known.id} is {known.status}")
    keys = [officer.key for officer in application.keys]
    if keys != sorted(frozenset(keys)):
        yield Fault(code="application-invalid", detail="its keys are not sorted or not different")
    admins = [officer.key for officer in application.keys if "admin" in officer.roles]
    if action.signer not in admins:
        yield Fault(code="application-invalid", detail="no administrator of it has signed it")
    for officer in application.keys:
        yield from _key_faults(state, officer)
    try:
        verify_application(network, action)
    except (InvalidKey, InvalidSignature) as error:
        yield Fault(code="application-invalid", detail=str(error))


def _key_faults(state: StateReader, officer: OfficerKey) -> Iterator[Fault]:
    """A key that nobody holds on the ledger yet, with roles in their one order."""
    owner = find_officer(state, officer.key)
    if owner is not None:
        yield Fault(code="officer-exists", detail=f"an officer of {owner.member} has this key")
    for validator in read_validators(state):
        if officer.key in (validator.consensus_key, validator.cosigning_key):
            yield Fault(code="key-in-use", detail=f"the validator of {validator.member} has it")
    yield from _role_faults(officer.roles)


def _role_faults(roles: tuple[str, ...]) -> Iterator[Fault]:
    if list(roles) != sorted(frozenset(roles)):
        yield Fault(code="roles-invalid", detail=", ".join(roles))


def move_member(
    overlay: Overlay,
    action: SuspendMember | ReinstateMember | RetireMember,
) -> list[Fault]:
    """Suspend, reinstate or retire."""
    moves: dict[type, MemberStatus]
    moves = {SuspendMember: "suspended", ReinstateMember: "active", RetireMember: "retired"}
    target = moves[type(action)]
    member = find_member(overlay, action.member)
    if member is None:
        return [Fault(code="member-unknown", detail=action.member)]
    if member.status not in _MOVES[target]:
        return [Fault(code="member-state", detail=f"{member.id} is {member.status}")]
    seats = [validator.member for validator in read_validators(overlay)]
    if target == "retired" and member.id in seats:
        return [Fault(code="member-validates", detail=member.id)]
    put_member(overlay, msgspec.structs.replace(member, status=target))
    return []


def sanction(overlay: Overlay, action: SanctionMember, case: Case) -> list[Fault]:
    """The member loses credit, for as long as the window of credit is."""
    member = find_member(overlay, action.member)
    if member is None:
        return [Fault(code="member-unknown", detail=action.member)]
    if member.status == "retired":
        return [Fault(code="member-state", detail=f"{member.id} is retired")]
    moment = case.moment
    if moment is not None:
        apply_sanction(
            overlay,
            member.id,
            action.points,
            moment.proposal,
            moment.time_ms,
            height=moment.height,
        )
    return []


def put_member(overlay: Overlay, member: Member) -> None:
    """Write a member."""
    overlay.put(member_key(member.id), MEMBERS.encode(member))


def add_officer(overlay: Overlay, action: AddOfficer, case: Case) -> list[Fault]:
    """A member gets another officer."""
    member = find_member(overlay, action.member)
    faults = list(_key_faults(overlay, action.officer))
    if member is None:
        faults.append(Fault(code="member-unknown", detail=action.member))
    elif member.status == "retired":
        faults.append(Fault(code="member-state", detail=f"{member.id} is retired"))
    try:
        verify_key(case.network, action.member, action.officer)
    except (InvalidKey, InvalidSignature) as error:
        faults.append(Fault(code="possession-invalid", detail=f"{action.member}: {error}"))
    if not faults:
        _put_officer(overlay, action.member, action.officer)
    return faults


def _put_officer(overlay: Overlay, member: str, key: OfficerKey) -> None:
    officer = Officer(key=key.key, member=member, roles=key.roles, status="active")
    overlay.put(officer_key(officer.key), OFFICERS.encode(officer))


def set_roles(overlay: Overlay, action: SetRoles) -> list[Fault]:
    """An officer has other roles."""
    officer, faults = _active_officer(overlay, action.key)
    faults += _role_faults(action.roles)
    if officer is not None and officer.roles == action.roles:
        faults.append(Fault(code="unchanged", detail=", ".join(action.roles)))
    if officer is not None and not faults:
        changed = msgspec.structs.replace(officer, roles=action.roles)
        overlay.put(officer_key(officer.key), OFFICERS.encode(changed))
    return faults


def revoke_officer(overlay: Overlay, action: RevokeOfficer) -> list[Fault]:
    """A key signs no more."""
    officer, faults = _active_officer(overlay, action.key)
    if officer is not None:
        revoked = msgspec.structs.replace(officer, status="revoked")
        overlay.put(officer_key(officer.key), OFFICERS.encode(revoked))
    return faults


def _active_officer(state: StateReader, key: bytes) -> tuple[Officer | None, list[Fault]]:
    officer = find_officer(state, key)
    if officer is None:
        return None, [Fault(code="officer-unknown", detail=key[1:].hex())]
    if officer.status != "active":
        return None, [Fault(code="officer-revoked", detail=key[1:].hex())]
    return officer, []
