r"""Members, officers, keys: what each action does to the state, and why it may not be possible.

    application --carried--> applied --acknowledged--> active <--> suspended --> retired
                                                            \________________/

Each function finds every fault first; only if there is none does it change the overlay.
"""

from collections.abc import Iterator
from datetime import date

import msgspec

from contracts.credit.accounts import apply_sanction
from contracts.governance.faults import Case, Fault
from contracts.lookup import (
    find_encryption_key,
    find_last_day,
    find_member,
    find_officer,
    find_recipient,
    read_validators,
)
from ledger.custody.encryption import (
    format_fingerprint,
    hash_encryption_key,
    verify_encryption_key,
)
from ledger.custody.rotation import verify_rotation
from ledger.errors import InvalidKey, InvalidRotation, InvalidSignature
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
from ledger.governance.keys import (
    ENCRYPTION_KEYS,
    TERMS,
    EncryptionKey,
    RotateOfficer,
    SetEncryptionKey,
    SetTerm,
    Term,
)
from ledger.registry import MEMBERS, OFFICERS, Member, MemberStatus, Officer
from ledger.state import (
    Overlay,
    StateReader,
    encryption_key,
    member_key,
    officer_key,
    recipient_key,
    term_key,
)

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
        yield from _key_faults(state, officer.key)
        yield from _role_faults(officer.roles)
    try:
        verify_application(network, action)
    except (InvalidKey, InvalidSignature) as error:
        yield Fault(code="application-invalid", detail=str(error))


def _key_faults(state: StateReader, key: bytes) -> Iterator[Fault]:
    """Why a key cannot become that of an officer: somebody has it on the ledger."""
    owner = find_officer(state, key)
    if owner is not None:
        yield Fault(code="officer-exists", detail=f"an officer of {owner.member} has this key")
    for validator in read_validators(state):
        if key in (validator.consensus_key, validator.cosigning_key):
            yield Fault(code="key-in-use", detail=f"the validator of {validator.member} has it")


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
    faults = [
        *_key_faults(overlay, action.officer.key),
        *_role_faults(action.officer.roles),
        *member_faults(overlay, action.member),
    ]
    try:
        verify_key(case.network, action.member, action.officer)
    except (InvalidKey, InvalidSignature) as error:
        faults.append(Fault(code="possession-invalid", detail=f"{action.member}: {error}"))
    if not faults:
        _put_officer(overlay, action.member, action.officer)
    return faults


def member_faults(state: StateReader, name: str) -> Iterator[Fault]:
    """Why an agency cannot get keys: it is no member, or not any more."""
    member = find_member(state, name)
    if member is None:
        yield Fault(code="member-unknown", detail=name)
    elif member.status == "retired":
        yield Fault(code="member-state", detail=f"{name} is retired")


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
    """The officer of a key that signs; without one, why."""
    officer = find_officer(state, key)
    if officer is None:
        return None, [Fault(code="officer-unknown", detail=key[1:].hex())]
    if officer.status != "active":
        return None, [Fault(code="officer-revoked", detail=key[1:].hex())]
    return officer, []


def _officer_of(state: StateReader, member: str, key: bytes) -> tuple[Officer | None, list[Fault]]:
    """The officer of a key that signs for a member, and why it is not that."""
    officer, faults = _active_officer(state, key)
    if officer is not None and officer.member != member:
        faults.append(Fault(code="officer-of-other-member", detail=f"{officer.member} has the key"))
    return officer, faults


def rotate_officer(overlay: Overlay, action: RotateOfficer, case: Case) -> list[Fault]:
    """The successor that an officer's key named signs with the same roles."""
    rotation = action.statement.rotation
    officer, faults = _officer_of(overlay, rotation.member, rotation.old_key)
    faults += _key_faults(overlay, rotation.new_key)
    faults += member_faults(overlay, rotation.member)
    if rotation.network != case.network:
        detail = f"it is for network {rotation.network.hex()[:16]}"
        faults.append(Fault(code="statement-invalid", detail=detail))
    try:
        verify_rotation(action.statement)
    except InvalidRotation as error:
        faults.append(Fault(code="statement-invalid", detail=str(error)))
    if officer is not None and not faults:
        successor = msgspec.structs.replace(officer, key=rotation.new_key)
        overlay.put(officer_key(successor.key), OFFICERS.encode(successor))
    return faults


def set_term(overlay: Overlay, action: SetTerm) -> list[Fault]:
    """An officer's key signs up to a day, or without end."""
    _, faults = _officer_of(overlay, action.member, action.key)
    faults += _day_faults(action.not_after)
    if find_last_day(overlay, action.key) == action.not_after:
        faults.append(Fault(code="unchanged", detail=action.not_after))
    if not faults:
        overlay.put(term_key(action.key), TERMS.encode(Term(not_after=action.not_after)))
    return faults


def set_encryption_key(overlay: Overlay, action: SetEncryptionKey, case: Case) -> list[Fault]:
    """Payloads for a member are sealed to another key. A dry run without a moment has no height."""
    faults = [*member_faults(overlay, action.member), *_day_faults(action.not_after)]
    try:
        verify_encryption_key(action.key)
    except InvalidKey as error:
        faults.append(Fault(code="encryption-key-invalid", detail=str(error)))
    key_hash = hash_encryption_key(action.key)
    known = find_encryption_key(overlay, key_hash)
    if known is not None:
        detail = f"{format_fingerprint(key_hash)} is of {known.member}"
        faults.append(Fault(code="encryption-key-known", detail=detail))
    if faults or case.moment is None:
        return faults
    before = find_recipient(overlay, action.member)
    after = EncryptionKey(
        member=action.member,
        key=action.key,
        not_after=action.not_after,
        from_height=case.moment.height,
        until_height=0,
        previous=b"" if before is None else hash_encryption_key(before.key),
    )
    overlay.put(encryption_key(key_hash), ENCRYPTION_KEYS.encode(after))
    overlay.put(recipient_key(action.member), key_hash)
    if before is not None:
        ended = msgspec.structs.replace(before, until_height=case.moment.height)
        overlay.put(encryption_key(after.previous), ENCRYPTION_KEYS.encode(ended))
    return faults


def _day_faults(last_day: str) -> Iterator[Fault]:
    """A day that the calendar does not have."""
    try:
        if last_day:
            date.fromisoformat(last_day)
    except ValueError:
        yield Fault(code="last-day-invalid", detail=last_day)
