"""Frozen cases of what follows a delivery: bodies of events, and values of the state."""

from ledger.events import Body
from ledger.exchange import bodies, incidents
from ledger.exchange.matters import (
    DEADLINE_RULES,
    DEFAULT_DEADLINES,
    MATTERS,
    Consent,
    Dispute,
    Holding,
    Matters,
    Rating,
)
from ledger.exchange.receipts import RECEIPTS, Receipts
from ledger.exchange.references import (
    DOCUMENTS,
    MESSAGES,
    Document,
    Message,
    Reference,
    ShareReferenced,
)
from ledger.exchange.risk import (
    HABITS,
    RISK_RULES,
    RISKS,
    AskedMonth,
    AskedUse,
    Habit,
    Risk,
    RiskReason,
    RiskRules,
    RiskWeight,
)
from ledger.state import (
    document_key,
    habit_key,
    incident_key,
    matters_key,
    message_key,
    open_incidents_key,
    receipts_key,
    risk_key,
)

EXCHANGE, COMMITMENT, OTHER = b"\x0e" * 32, b"\x0c" * 32, b"\x09" * 32
TIME_MS = 1_767_225_600_000


def exchange_bodies() -> dict[str, Body]:
    """One body of each kind."""
    return {
        "share.offered": bodies.ShareOffered(
            recipient="south", manner="automatic", dataset="invoices", purpose="audit",
            legal_basis="law-1", fields=("amount", "buyer"), period_from="2025-01-01",
            period_to="2025-12-31", subjects=(), urgency="normal", retention_days=365, case="批-1",
        ),
        "share.used": bodies.ShareUsed(
            exchange=EXCHANGE, commitment=COMMITMENT, outcome="assessed", consent=OTHER, text="补税"
        ),
        "share.consent_requested": bodies.ShareConsentRequested(
            exchange=EXCHANGE, recipient="east", purpose="criminal", legal_basis="law-2", text=""
        ),
        "share.consent_given": bodies.ShareConsentGiven(
            exchange=EXCHANGE, consent=OTHER, text=""
        ),
        "share.consent_refused": bodies.ShareConsentRefused(
            exchange=EXCHANGE, consent=OTHER, reason="not-necessary", text=""
        ),
        "share.corrected": bodies.ShareCorrected(
            exchange=EXCHANGE, supersedes=COMMITMENT, reason="wrong-amount", commitment=OTHER,
            record_count=70_000, schema_version=2, quality_digest=bytes(32), size_bytes=2**33,
            outbox_until_ms=TIME_MS, text="",
        ),
        "share.correction_acknowledged": bodies.ShareCorrectionAcknowledged(
            exchange=EXCHANGE, commitment=COMMITMENT
        ),
        "share.destroyed": bodies.ShareDestroyed(
            exchange=EXCHANGE, commitment=COMMITMENT, method="crypto-erase", text=""
        ),
        "share.disputed": bodies.ShareDisputed(
            exchange=EXCHANGE, reason="incomplete", text="缺三月"
        ),
        "share.dispute_resolved": bodies.ShareDisputeResolved(
            exchange=EXCHANGE, dispute=OTHER, outcome="settled", text=""
        ),
        "share.rated": bodies.ShareRated(exchange=EXCHANGE, quality=5, usefulness=1, text=""),
        "share.referenced": ShareReferenced(
            exchange=EXCHANGE, key_id=OTHER, message=COMMITMENT, period="2025-12-31",
            receiving="DE", references=(
                Reference(document=b"\x01" * 32, indicator="new", corrected=b""),
                Reference(document=b"\x02" * 32, indicator="deleted", corrected=b"\x03" * 32),
            ),
        ),
        "incident.reported": incidents.IncidentReported(
            category="data-leak", severity="critical", discovered_on="2026-01-02",
            partners=("east", "south"), exchanges=(EXCHANGE,), text="",
        ),
        "incident.notified": incidents.IncidentNotified(incident=OTHER, text=""),
        "incident.remedied": incidents.IncidentRemedied(incident=OTHER, measures="换钥"),
        "incident.closed": incidents.IncidentClosed(incident=OTHER, text=""),
        "drill.run": incidents.DrillRun(
            category="restore", result="passed", held_on="2026-01-02", duration_minutes=95,
            report_digest=COMMITMENT, text="",
        ),
    }  # fmt: skip


RULES = RiskRules(
    version=1,
    weights=(RiskWeight(reason="off-hours", points=0), RiskWeight(reason="volume", points=50)),
    open_hour=8,
    close_hour=18,
    subjects_many=100,
    months=12,
    usual_share=250,
    volume_floor=500,
    asked_floor=100,
    denied_floor=10,
)


def exchange_cases() -> dict[str, bytes]:
    """One value of each type of the state, and its key."""
    holding = Holding(
        holder="south", commitment=COMMITMENT, since_ms=TIME_MS, until_ms=TIME_MS + 1,
        correction_due_ms=TIME_MS + 2, uses=3, destroyed_ms=0,
    )  # fmt: skip
    matters = Matters(
        holders=(holding,),
        consents=(
            Consent(
                id=OTHER, status="given", recipient="east", purpose="criminal",
                legal_basis="law-2", due_ms=TIME_MS,
            ),
        ),
        corrections=1,
        disputes=2,
        dispute=Dispute(id=OTHER, member="south", reason="incomplete", due_ms=TIME_MS),
        rating=Rating(quality=5, usefulness=1),
    )  # fmt: skip
    incident = incidents.Incident(
        status="remedied", member="north", category="data-leak", severity="critical",
        partners=("east", "south"), notified=("east",), reported_ms=TIME_MS,
        remedied_ms=TIME_MS + 1, closed_ms=0, closed_by="",
    )  # fmt: skip
    counts = incidents.OpenIncidents(reported=1, touching=2)
    risk = Risk(
        score=45, reasons=(RiskReason("off-hours", 15), RiskReason("volume", 30)), rules_version=2
    )
    habit = Habit(
        months=(AskedMonth(24_311, 3, 2**33, 1), AskedMonth(24_312, 1, 1, 0)),
        uses=(AskedUse("account", "audit"),),
    )
    message = Message(
        exchange=EXCHANGE, provider="north", requester="south", period="2025-12-31",
        content="correction", delivered=OTHER, documents=300,
    )  # fmt: skip
    document = Document(message=COMMITMENT, is_deletion=False, successor=OTHER)
    return {
        "risk": RISKS.encode(risk),
        "risk key": risk_key(EXCHANGE),
        "risk rules": RISK_RULES.encode(RULES),
        "habit": HABITS.encode(habit),
        "habit key": habit_key("north"),
        "habit key of a pair": habit_key("north", "south"),
        "receipts": RECEIPTS.encode(Receipts(exchanges=3, records=2**33)),
        "receipts key": receipts_key("north", 2026),
        "receipts key of a pair": receipts_key("north", 2026, "south"),
        "receipts key of a purpose": receipts_key("north", 2026, "south", "audit"),
        "message": MESSAGES.encode(message),
        "message key": message_key(COMMITMENT),
        "document": DOCUMENTS.encode(document),
        "document key": document_key(OTHER),
        "matters": MATTERS.encode(matters),
        "matters key": matters_key(EXCHANGE),
        "deadline rules": DEADLINE_RULES.encode(DEFAULT_DEADLINES),
        "incident": incidents.INCIDENTS.encode(incident),
        "incident key": incident_key(OTHER),
        "open incidents": incidents.OPEN_INCIDENTS.encode(counts),
        "open incidents key": open_incidents_key("north"),
    }
