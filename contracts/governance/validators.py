"""The list of validators: what a proposed change makes of it, who is ready, when it is sealed.

    proposal carried -> pending change -> a quorum of the next list ready, height reached -> sealed

A change takes effect in a seal block, the last of its epoch (CONSENSUS 3): the block at whose end
`activate_height` is reached and a quorum of the next list is ready. Everything here is a pure
function of the state, so a dry run (`preview_change`) says what a vote would do.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec

from contracts.errors import unfit
from contracts.governance.faults import Fault
from contracts.governance.status import set_status
from contracts.lookup import (
    find_member,
    find_officer,
    read_epoch,
    read_pending,
    read_validators,
)
from ledger.blocks import VALIDATORS_MAX, quorum_of
from ledger.errors import InvalidKey, InvalidSignature
from ledger.events import Event
from ledger.governance.actions import Action
from ledger.governance.proposals import Proposal
from ledger.keys import ED25519
from ledger.quorum.governance import (
    AddValidator,
    KeepValidators,
    RemoveValidator,
    ValidatorReady,
    verify_possession,
)
from ledger.quorum.lists import VALIDATORS_MIN, hash_validator_list
from ledger.registry import (
    EPOCH_RECORDS,
    PENDINGS,
    REACHABLES,
    VALIDATOR_LISTS,
    EpochRecord,
    Pending,
    PendingChange,
    Reachable,
    Validator,
)
from ledger.state import (
    EPOCH_KEY,
    PENDING_KEY,
    VALIDATORS_KEY,
    Overlay,
    StateReader,
    epoch_key,
    reachable_key,
)
from ledger.tlog.note import COSIGNATURE_ED25519, VerifierKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What actions would make of the list in force: the next list, sorted by member, its quorum.

    With `faults` the change is not possible, and the list shows how far the actions make sense.
    """

    validators: tuple[Validator, ...]
    quorum: int
    faults: tuple[Fault, ...]


def preview_change(state: StateReader, actions: Sequence[Action], *, network: bytes) -> Preview:
    """Dry run of a proposal's actions on the state, with every fault found."""
    current = read_validators(state)
    if any(isinstance(action, KeepValidators) for action in actions):
        faults = tuple(_keep_faults(state, actions))
        return Preview(validators=current, quorum=quorum_of(len(current)), faults=faults)
    after = {validator.member: validator for validator in current}
    found = []
    if read_pending(state) is not None:
        found.append(Fault(code="change-pending", detail="one change of the list at a time"))
    for action in actions:
        if isinstance(action, AddValidator):
            found += _add_faults(state, action, after, network)
            after[action.validator.member] = action.validator
        elif isinstance(action, RemoveValidator) and after.pop(action.member, None) is None:
            found.append(Fault(code="validator-unknown", detail=action.member))
    validators = tuple(after[member] for member in sorted(after))
    found += _list_faults(state, current, validators)
    quorum = quorum_of(len(validators)) if validators else 0
    return Preview(validators=validators, quorum=quorum, faults=tuple(found))


def _keep_faults(state: StateReader, actions: Sequence[Action]) -> Iterator[Fault]:
    if len(actions) > 1:
        yield Fault(code="actions-conflict", detail="validator.keep stands alone")
    if read_pending(state) is None:
        yield Fault(code="no-change-pending", detail="there is nothing to abandon")


def _add_faults(
    state: StateReader, action: AddValidator, after: dict[str, Validator], network: bytes
) -> Iterator[Fault]:
    added = action.validator
    member = find_member(state, added.member)
    if member is None:
        yield Fault(code="member-unknown", detail=added.member)
    elif member.status != "active":
        yield Fault(code="member-not-active", detail=f"{added.member} is {member.status}")
    if added.member in after:
        yield Fault(code="validator-exists", detail=added.member)
    if not _is_cosigning_key(added.cosigning_key):
        # It would make the policy of every later checkpoint unreadable.
        yield Fault(code="validator-key-invalid", detail=f"cosigning key of {added.member}")
    try:
        verify_possession(network, action)
    except (InvalidKey, InvalidSignature) as error:
        yield Fault(code="possession-invalid", detail=f"{added.member}: {error}")


def _is_cosigning_key(key: bytes) -> bool:
    try:
        VerifierKey(name="validator", kind=COSIGNATURE_ED25519, raw=key[1:])
    except InvalidKey:
        return False
    return key[0] == ED25519


def _list_faults(
    state: StateReader, current: tuple[Validator, ...], validators: tuple[Validator, ...]
) -> Iterator[Fault]:
    count = len(validators)
    if not VALIDATORS_MIN <= count <= VALIDATORS_MAX:
        detail = f"{count}, from {VALIDATORS_MIN} to {VALIDATORS_MAX} are allowed"
        yield Fault(code="validator-count", detail=detail)
    if frozenset(validators) == frozenset(current):
        yield Fault(code="validators-unchanged", detail="the next list is the one in force")
    # A key of the list in force stays with its member: who leaves hands nothing over.
    owners: dict[bytes, str] = {}
    for validator in (*current, *validators):
        for name, key in (
            ("consensus key", validator.consensus_key),
            ("cosigning key", validator.cosigning_key),
            ("certificate", validator.tls_certificate),
        ):
            owner = owners.setdefault(key, f"{name} of {validator.member}")
            if owner != f"{name} of {validator.member}":
                detail = f"the {name} of {validator.member} is the {owner}"
                yield Fault(code="key-in-use", detail=detail)
    for validator in validators:
        officer = find_officer(state, validator.consensus_key)
        if officer is not None:
            detail = f"{validator.member}: an officer of {officer.member} signs with it"
            yield Fault(code="key-in-use", detail=detail)


def enact(overlay: Overlay, digest: bytes, proposal: Proposal, preview: Preview) -> None:
    """Put a carried proposal, whose preview has no faults, in force."""
    before = read_pending(overlay)
    change: PendingChange | None = None
    if before is not None:
        # Nothing but `validator.keep` passes the preview while a change is pending.
        set_status(overlay, before.proposal, "abandoned")
    else:
        change = PendingChange(
            proposal=digest,
            validators=preview.validators,
            set_hash=hash_validator_list(preview.validators),
            activate_height=proposal.activate_height,
            ready=(),
        )
    overlay.put(PENDING_KEY, PENDINGS.encode(Pending(change=change)))
    for action in proposal.actions:
        if isinstance(action, AddValidator):
            member = action.validator.member
            reachable = Reachable(member=member, address=action.address)
            overlay.put(reachable_key(member), REACHABLES.encode(reachable))


def check_ready(state: StateReader, event: Event, body: ValidatorReady) -> None:
    """Check a node's word that it is ready. Raises `RefusedEvent`, never one to be recorded."""
    pending = read_pending(state)
    if pending is None:
        raise unfit("ready-unexpected", "no change of the list is pending")
    check_validator(event, pending.validators)
    expected = read_epoch(state).epoch + 1
    if body.next_epoch != expected or body.set_hash != pending.set_hash:
        detail = f"epoch {expected} with the list {pending.set_hash.hex()} is pending"
        raise unfit("ready-unexpected", detail)
    if event.member in pending.ready:
        raise unfit("ready-known", event.member)


def check_validator(event: Event, validators: tuple[Validator, ...]) -> None:
    """Check that one of these validators' consensus keys speaks. Raises `RefusedEvent`."""
    for validator in validators:
        if validator.member == event.member and validator.consensus_key == event.officer:
            return
    raise unfit("not-a-validator", f"{event.member} with key {event.officer[1:].hex()}")


def apply_ready(overlay: Overlay, event: Event) -> None:
    """Count the member of a checked event as ready."""
    pending = read_pending(overlay)
    assert pending is not None, "check_ready has found it"
    ready = tuple(sorted((*pending.ready, event.member)))
    change = msgspec.structs.replace(pending, ready=ready)
    overlay.put(PENDING_KEY, PENDINGS.encode(Pending(change=change)))


def is_seal_due(state: StateReader, height: int) -> bool:
    """Whether a block at `height` that ends with this state is the last of its epoch."""
    pending = read_pending(state)
    return (
        pending is not None
        and height >= pending.activate_height
        and len(pending.ready) >= quorum_of(len(pending.validators))
    )


def seal(overlay: Overlay, height: int) -> tuple[Validator, ...] | None:
    """End the epoch with the block at `height` if that is due: the next list, or None."""
    if not is_seal_due(overlay, height):
        return None
    pending = read_pending(overlay)
    assert pending is not None, "a seal is due"
    epoch = read_epoch(overlay).epoch + 1
    record = EpochRecord(epoch=epoch, first_height=height + 1, validators=pending.validators)
    overlay.put(EPOCH_KEY, epoch.to_bytes(8, "big"))
    overlay.put(epoch_key(epoch), EPOCH_RECORDS.encode(record))
    overlay.put(VALIDATORS_KEY, VALIDATOR_LISTS.encode(pending.validators))
    overlay.put(PENDING_KEY, PENDINGS.encode(Pending(change=None)))
    set_status(overlay, pending.proposal, "sealed")
    return pending.validators
