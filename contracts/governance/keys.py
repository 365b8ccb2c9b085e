"""Keys in the course of time: successors, last days, keys that payloads are sealed to."""

from collections.abc import Iterator
from datetime import date

import msgspec

from contracts.governance.faults import Fault, Moment
from contracts.governance.parties import find_active, find_key_faults, find_member_faults
from contracts.lookup import find_encryption_key, find_last_day, find_recipient
from ledger.custody.encryption import (
    format_fingerprint,
    hash_encryption_key,
    verify_encryption_key,
)
from ledger.custody.rotation import verify_rotation
from ledger.errors import InvalidKey, InvalidRotation
from ledger.governance.keys import (
    ENCRYPTION_KEYS,
    TERMS,
    EncryptionKey,
    RotateOfficer,
    SetEncryptionKey,
    SetTerm,
    Term,
)
from ledger.registry import OFFICERS
from ledger.state import Overlay, encryption_key, officer_key, recipient_key, term_key


def rotate_officer(overlay: Overlay, action: RotateOfficer, network: bytes) -> list[Fault]:
    """The successor that an officer's key named signs with the same roles."""
    rotation = action.statement.rotation
    officer, faults = find_active(overlay, rotation.old_key)
    if officer is not None and officer.member != rotation.member:
        faults.append(Fault(code="officer-of-other-member", detail=f"{officer.member} has the key"))
    faults += find_key_faults(overlay, rotation.new_key)
    faults += find_member_faults(overlay, rotation.member)
    if rotation.network != network:
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
    officer, faults = find_active(overlay, action.key)
    if officer is not None and officer.member != action.member:
        faults.append(Fault(code="officer-of-other-member", detail=f"{officer.member} has the key"))
    faults += _day_faults(action.not_after)
    if find_last_day(overlay, action.key) == action.not_after:
        faults.append(Fault(code="unchanged", detail=action.not_after))
    if not faults:
        overlay.put(term_key(action.key), TERMS.encode(Term(not_after=action.not_after)))
    return faults


def set_encryption_key(
    overlay: Overlay, action: SetEncryptionKey, moment: Moment | None
) -> list[Fault]:
    """Payloads for a member are sealed to another key. A dry run without a moment has no height."""
    faults = [*find_member_faults(overlay, action.member), *_day_faults(action.not_after)]
    try:
        verify_encryption_key(action.key)
    except InvalidKey as error:
        faults.append(Fault(code="encryption-key-invalid", detail=str(error)))
    key_hash = hash_encryption_key(action.key)
    known = find_encryption_key(overlay, key_hash)
    if known is not None:
        detail = f"{format_fingerprint(key_hash)} is of {known.member}"
        faults.append(Fault(code="encryption-key-known", detail=detail))
    if faults or moment is None:
        return faults
    before = find_recipient(overlay, action.member)
    after = EncryptionKey(
        member=action.member,
        key=action.key,
        not_after=action.not_after,
        from_height=moment.height,
        until_height=0,
        previous=b"" if before is None else hash_encryption_key(before.key),
    )
    overlay.put(encryption_key(key_hash), ENCRYPTION_KEYS.encode(after))
    overlay.put(recipient_key(action.member), key_hash)
    if before is not None:
        ended = msgspec.structs.replace(before, until_height=moment.height)
        overlay.put(encryption_key(after.previous), ENCRYPTION_KEYS.encode(ended))
    return faults


def _day_faults(last_day: str) -> Iterator[Fault]:
    """A day that the calendar does not have."""
    try:
        if last_day:
            date.fromisoformat(last_day)
    except ValueError:
        yield Fault(code="last-day-invalid", detail=last_day)
