"""A log of requests of all kinds, one of which lives through everything that may happen to it."""

from typing import Any

from contracts.lifecycle import PERMITTED
from contracts.lookup import find_exchange
from ledger.events import Event, ShareDelivered, ShareReceived, ShareRejected
from ledger.exchange import bodies, incidents
from ledger.exchange.subjects import commit_subject
from tests.builders import OUTBOX_UNTIL_MS, hash32
from tests.unit.contracts.drafts.pasts import (
    add_executed,
    make_past,
    make_request,
    signed,
)

# Whom the story is about, by name and blind, as an agency keeps them.
PERSON, BLIND = "91330200MA2TEST01X", hash32("blind")
ASKER, OWNER, THIRD = "north", "south", "east"
FIRST, SECOND, THIRD_PAYLOAD = hash32("first"), hash32("second"), hash32("third")
DAY_MS = 86_400_000


class Story:
    """`chain` ends with the story; `exchange` is the digest of its request."""

    def __init__(self, blocks: int = 3, size: int = 20) -> None:
        self.chain = make_past(blocks, size=size)
        self.number = 1_000_000
        self.digests: dict[str, bytes] = {}
        asked = self.act(
            ASKER,
            make_request(
                provider=OWNER, dataset="registration", fields=("uscc", "name"),
                purpose="assessment", subjects=(commit_subject(PERSON, BLIND),),
                retention_days=700,
            ),
        )  # fmt: skip
        self.exchange = asked.digest
        found = find_exchange(self.chain.state, asked.digest)
        assert found is not None
        assert found.status == PERMITTED

    def act(self, member: str, body: Any, *, applied: bool = True) -> Event:
        """One block with one event of a member."""
        self.number += 1
        event = signed(self.chain, member, body, self.number)
        (outcome,) = add_executed(self.chain, [event])
        assert outcome.applied == applied, outcome
        return event

    def deliver(self, commitment: bytes) -> None:
        self.act(
            OWNER,
            ShareDelivered(
                exchange=self.exchange, commitment=commitment, record_count=3, schema_version=1,
                quality_digest=bytes(32), size_bytes=100, outbox_until_ms=OUTBOX_UNTIL_MS,
            ),
        )  # fmt: skip

    def live(self) -> "Story":
        """Delivery, rejection, receipt, use, consent, correction, dispute, rating, destruction."""
        id_ = self.exchange
        self.deliver(FIRST)
        rejected = ShareRejected(
            exchange=id_, commitment=FIRST, code_set="tallystick-1", codes=(50007,),
            text="<not> & valid",
        )  # fmt: skip
        self.act(ASKER, rejected)
        self.deliver(SECOND)
        # Of the other payload: refused, and on record.
        received = ShareReceived(exchange=id_, commitment=FIRST, record_count=3)
        self.act(ASKER, received, applied=False)
        self.act(ASKER, ShareReceived(exchange=id_, commitment=SECOND, record_count=3))
        used = bodies.ShareUsed(
            exchange=id_, commitment=SECOND, outcome="assessed", consent=b"", text=""
        )
        self.act(ASKER, used)
        asked = self.act(
            ASKER,
            bodies.ShareConsentRequested(
                exchange=id_, recipient=THIRD, purpose="assessment", legal_basis="law-1", text=""
            ),
        )
        self.act(OWNER, bodies.ShareConsentGiven(exchange=id_, consent=asked.digest, text=""))
        onward = bodies.ShareUsed(
            exchange=id_, commitment=SECOND, outcome="forwarded", consent=asked.digest, text=""
        )
        self.act(ASKER, onward)
        corrected = bodies.ShareCorrected(
            exchange=id_, supersedes=SECOND, reason="wrong-amount", commitment=THIRD_PAYLOAD,
            record_count=2, schema_version=1, quality_digest=bytes(32), size_bytes=90,
            outbox_until_ms=OUTBOX_UNTIL_MS, text="",
        )  # fmt: skip
        self.act(OWNER, corrected)
        self.act(
            ASKER,
            bodies.ShareCorrectionAcknowledged(exchange=id_, commitment=THIRD_PAYLOAD),
        )
        disputed = self.act(
            ASKER, bodies.ShareDisputed(exchange=id_, reason="incomplete", text="一行不全")
        )
        resolved = bodies.ShareDisputeResolved(
            exchange=id_, dispute=disputed.digest, outcome="accepted", text=""
        )
        self.act(OWNER, resolved)
        self.act(ASKER, bodies.ShareRated(exchange=id_, quality=4, usefulness=5, text=""))
        leak = incidents.IncidentReported(
            category="data-leak", severity="high", discovered_on="2026-01-02",
            partners=(THIRD, OWNER), exchanges=(id_,), text="",
        )  # fmt: skip
        self.digests["incident"] = self.act(ASKER, leak).digest
        destroyed = bodies.ShareDestroyed(
            exchange=id_, commitment=THIRD_PAYLOAD, method="crypto-erase", text=""
        )
        self.act(ASKER, destroyed)
        return self

    def wait(self, days: int) -> "Story":
        """An empty block, days later."""
        later = self.chain.time_ms + days * DAY_MS + 1_000
        add_executed(self.chain, [], time_ms=later)
        return self
