"""Events after a delivery, about incidents and drills: builders that may lie about one field."""

from collections.abc import Callable
from typing import Any

import msgspec

from ledger.events import Body, Event
from ledger.exchange import bodies, incidents
from ledger.exchange.references import REFERENCE_KEYS, Reference, ShareReferenced
from ledger.governance.actions import SetCodeList
from ledger.governance.registers import Code
from tests.builders import (
    ASKER,
    ENVELOPE,
    OUTBOX_UNTIL_MS,
    OWNER,
    approve,
    carried,
    deliver,
    hash32,
    receive,
    refuse,
    reject,
    request,
    reviewed_request,
    sign,
    withdraw,
)
from tests.registers import code_list

OTHER = "cn-3205-tax"
KEY_ID = hash32("reference key")
PAYLOAD, CORRECTED = hash32("payload"), hash32("corrected")


def _event(body: Body, member: str, role: str, changed: dict[str, Any]) -> Event:
    envelope = {name: changed.pop(name) for name in ENVELOPE if name in changed}
    body = msgspec.structs.replace(body, **changed)
    return sign(body, **{"member": member, "role": role, **envelope})


def offer(**changed: Any) -> Event:
    """The owner offers account data to the asker."""
    body = bodies.ShareOffered(
        recipient=ASKER, manner="spontaneous", dataset="registration", purpose="assessment",
        legal_basis="all", fields=("uscc", "name"), period_from="2024-01-01",
        period_to="2024-12-31", subjects=(), urgency="normal", retention_days=1_000, case="case",
    )  # fmt: skip
    return _event(body, OWNER, "provider", changed)


def reference(label: str, indicator: str = "new", corrected: str = "") -> Reference:
    """A reference to the document of that name, which may correct another."""
    return Reference(
        document=hash32(f"document {label}"),
        indicator=indicator,
        corrected=hash32(f"document {corrected}") if corrected else b"",
    )


def refer(of: Event, *references: Reference, message: str = "1", **changed: Any) -> Event:
    """The owner names the documents of the message of that name."""
    body = ShareReferenced(
        exchange=of.digest, key_id=KEY_ID, message=hash32(f"message {message}"),
        period="2024-12-31", receiving="CN", references=references or (reference("a"),),
    )  # fmt: skip
    return _event(body, OWNER, "provider", changed)


def reference_keys(**years: bytes) -> tuple[Event, ...]:
    """The members register the keys of some years (`y2024`); without any, that of 2024."""
    keys = years or {"y2024": KEY_ID}
    codes = {name.removeprefix("y"): key.hex() for name, key in keys.items()}
    listed = code_list(*codes, id=REFERENCE_KEYS).code_list
    named = tuple(Code(code=code, name_zh=key, name_en=key) for code, key in sorted(codes.items()))
    return carried(SetCodeList(code_list=msgspec.structs.replace(listed, codes=named)))


def use(of: Event, **changed: Any) -> Event:
    """The requester reports that it has used the data for its purpose."""
    body = bodies.ShareUsed(
        exchange=of.digest, commitment=PAYLOAD, outcome="assessed", consent=b"", text=""
    )
    return _event(body, ASKER, "requester", changed)


def ask_consent(of: Event, **changed: Any) -> Event:
    """The requester asks to hand the data to a third member for audit."""
    body = bodies.ShareConsentRequested(
        exchange=of.digest, recipient=OTHER, purpose="audit", legal_basis="all", text=""
    )
    return _event(body, ASKER, "requester", changed)


def give_consent(of: Event, asked: Event, **changed: Any) -> Event:
    """The owner's approver agrees."""
    body = bodies.ShareConsentGiven(exchange=of.digest, consent=asked.digest, text="")
    return _event(body, OWNER, "approver", changed)


def refuse_consent(of: Event, asked: Event, **changed: Any) -> Event:
    """The owner's approver does not agree."""
    body = bodies.ShareConsentRefused(
        exchange=of.digest, consent=asked.digest, reason="not-necessary", text=""
    )
    return _event(body, OWNER, "approver", changed)


def correct(of: Event, **changed: Any) -> Event:
    """The owner delivers anew."""
    body = bodies.ShareCorrected(
        exchange=of.digest, supersedes=PAYLOAD, reason="wrong-amount", commitment=CORRECTED,
        record_count=2, schema_version=1, quality_digest=hash32("quality"), size_bytes=90,
        outbox_until_ms=OUTBOX_UNTIL_MS, text="",
    )  # fmt: skip
    return _event(body, OWNER, "provider", changed)


def acknowledge(of: Event, **changed: Any) -> Event:
    """The requester acknowledges the correction."""
    body = bodies.ShareCorrectionAcknowledged(exchange=of.digest, commitment=CORRECTED)
    return _event(body, ASKER, "requester", changed)


def destroy(of: Event, **changed: Any) -> Event:
    """The requester attests that it has destroyed what it held."""
    body = bodies.ShareDestroyed(
        exchange=of.digest, commitment=PAYLOAD, method="crypto-erase", text=""
    )
    return _event(body, ASKER, "requester", changed)


def dispute(of: Event, **changed: Any) -> Event:
    """The requester contests the exchange."""
    body = bodies.ShareDisputed(exchange=of.digest, reason="incomplete", text="")
    return _event(body, ASKER, "requester", changed)


def resolve(of: Event, disputed: Event, **changed: Any) -> Event:
    """The owner accepts the dispute."""
    body = bodies.ShareDisputeResolved(
        exchange=of.digest, dispute=disputed.digest, outcome="accepted", text=""
    )
    return _event(body, OWNER, "approver", changed)


def rate(of: Event, **changed: Any) -> Event:
    """The requester rates the delivery."""
    body = bodies.ShareRated(exchange=of.digest, quality=4, usefulness=5, text="")
    return _event(body, ASKER, "requester", changed)


def report(*exchanges: Event, **changed: Any) -> Event:
    """The asker reports an incident that touches the owner."""
    body = incidents.IncidentReported(
        category="data-leak", severity="high", discovered_on="2026-01-02", partners=(OWNER,),
        exchanges=tuple(sorted(each.digest for each in exchanges)), text="",
    )  # fmt: skip
    return _event(body, ASKER, "approver", changed)


def confirm(of: Event, **changed: Any) -> Event:
    """The owner confirms that it knows of the incident."""
    body = incidents.IncidentNotified(incident=of.digest, text="")
    return _event(body, OWNER, "admin", changed)


def remedy(of: Event, **changed: Any) -> Event:
    """The asker says what was done."""
    body = incidents.IncidentRemedied(incident=of.digest, measures="keys changed")
    return _event(body, ASKER, "approver", changed)


def close(of: Event, **changed: Any) -> Event:
    """The owner is satisfied."""
    return _event(incidents.IncidentClosed(incident=of.digest, text=""), OWNER, "admin", changed)


def drill(**changed: Any) -> Event:
    """The asker has restored a backup."""
    body = incidents.DrillRun(
        category="restore", result="passed", held_on="2026-01-02", duration_minutes=30,
        report_digest=hash32("report"), text="",
    )  # fmt: skip
    return _event(body, ASKER, "admin", changed)


OPEN, REVIEWED = request(label="open"), reviewed_request(label="reviewed")
HELD = (OPEN, deliver(OPEN), receive(OPEN))
ASKED, DISPUTED = ask_consent(OPEN), dispute(OPEN)

# For each step: what is executed before it, and how it is made for the exchange of the first event.
SCRIPTS: dict[str, tuple[tuple[Event, ...], Callable[..., Event]]] = {
    "share.approved": ((REVIEWED,), approve),
    "share.refused": ((REVIEWED,), refuse),
    "share.withdrawn": ((OPEN,), withdraw),
    "share.referenced": ((OPEN, *reference_keys()), refer),
    "share.delivered": ((OPEN,), deliver),
    "share.received": ((OPEN, deliver(OPEN)), receive),
    "share.rejected": ((OPEN, deliver(OPEN)), reject),
    "share.used": (HELD, use),
    "share.consent_requested": (HELD, ask_consent),
    "share.consent_given": (
        (*HELD, ASKED), lambda of, **changed: give_consent(of, ASKED, **changed),
    ),
    "share.consent_refused": (
        (*HELD, ASKED), lambda of, **changed: refuse_consent(of, ASKED, **changed),
    ),
    "share.corrected": (HELD, correct),
    "share.correction_acknowledged": ((*HELD, correct(OPEN)), acknowledge),
    "share.destroyed": (HELD, destroy),
    "share.disputed": (HELD, dispute),
    "share.dispute_resolved": (
        (*HELD, DISPUTED), lambda of, **changed: resolve(of, DISPUTED, **changed),
    ),
    "share.rated": (HELD, rate),
}  # fmt: skip
# How an exchange comes into each state.
PATHS: dict[str, tuple[Event, ...]] = {
    "permitted": (OPEN,),
    "in_review": (REVIEWED,),
    "refused": (REVIEWED, refuse(REVIEWED)),
    "withdrawn": (OPEN, withdraw(OPEN)),
    "delivered": (OPEN, deliver(OPEN)),
    "received": HELD,
    "rejected": (OPEN, deliver(OPEN), reject(OPEN)),
    "used": (*HELD, use(OPEN)),
    "destroyed": (*HELD, destroy(OPEN)),
}
