"""Anchors of access logs: each continues the one before, so no line under one can be rewritten."""

from contracts.errors import unfit
from contracts.governance.validators import check_validator
from contracts.lookup import find_access_anchor, read_validators
from ledger.access.anchors import ACCESS_ANCHORS, NO_ANCHOR, AccessAnchor, AccessLogged
from ledger.events import Event
from ledger.state import Overlay, StateReader, access_key

ENTRIES_MAX = 2**63 - 1


def check_access(state: StateReader, event: Event, body: AccessLogged) -> None:
    """Check the anchor that a validator's node submits. Raises `RefusedEvent`, never recorded."""
    check_validator(event, read_validators(state))
    last = find_access_anchor(state, event.member)
    previous = NO_ANCHOR if last is None else last.digest
    if body.previous != previous:
        raise unfit("access-unlinked", f"the last anchor of {event.member} is {previous.hex()}")
    start_ms = 0 if last is None else last.period_to_ms
    if not start_ms <= body.period_from_ms <= body.period_to_ms:
        detail = f"from {body.period_from_ms} to {body.period_to_ms}, not before {start_ms}"
        raise unfit("access-period-invalid", detail)


def apply_access(overlay: Overlay, event: Event, body: AccessLogged) -> None:
    """Make a checked anchor the last one of its member."""
    last = find_access_anchor(overlay, event.member)
    before = 0 if last is None else last.entries
    anchor = AccessAnchor(
        digest=body.digest,
        period_to_ms=body.period_to_ms,
        entries=min(before + body.entries, ENTRIES_MAX),
    )
    overlay.put(access_key(event.member), ACCESS_ANCHORS.encode(anchor))
