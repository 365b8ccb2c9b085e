"""What becomes of a delivery: holders, consents, corrections, destruction, disputes, ratings."""

import pytest

from contracts.exchange.matters import DAY_MS, find_consent, find_holding, read_matters
from contracts.lookup import find_exchange
from ledger.blocks import Outcome
from ledger.events import Event
from ledger.exchange.matters import EMPTY_MATTERS, Matters
from ledger.state import matters_key
from tests.builders import ASKER, OWNER, TIME_MS, refuse
from tests.exchanges import (
    ASKED,
    CORRECTED,
    DISPUTED,
    HELD,
    OPEN,
    OTHER,
    PAYLOAD,
    REVIEWED,
    acknowledge,
    ask_consent,
    correct,
    destroy,
    dispute,
    give_consent,
    rate,
    refuse_consent,
    resolve,
    use,
)
from tests.unit.contracts.samples import run, state_after

GIVEN = give_consent(OPEN, ASKED)
ONWARD = use(OPEN, consent=ASKED.digest)


def matters_of(*events: Event) -> Matters:
    state = state_after(*events)
    exchange = find_exchange(state, events[0].digest)
    assert exchange is not None
    return read_matters(state, events[0].digest, exchange)


def status_of(*events: Event) -> str:
    exchange = find_exchange(state_after(*events), events[0].digest)
    assert exchange is not None
    return exchange.status


def outcome(event: Event, *before: Event) -> Outcome:
    return run(state_after(*before), event).outcomes[0]


def test_who_has_received_holds_without_anything_being_written() -> None:
    state = state_after(*HELD)
    assert state.get(matters_key(OPEN.digest)) is None
    (holding,) = matters_of(*HELD).holders
    assert (holding.holder, holding.commitment, holding.since_ms) == (ASKER, PAYLOAD, TIME_MS)
    # 365 days: the shortest of what was asked and of what the contracts allow.
    assert holding.until_ms == TIME_MS + 365 * DAY_MS


def test_nobody_holds_what_was_not_received() -> None:
    assert matters_of(*HELD[:2]) == EMPTY_MATTERS


def test_use_is_counted_and_moves_the_exchange() -> None:
    assert status_of(*HELD, use(OPEN)) == "used"
    holding = find_holding(matters_of(*HELD, use(OPEN), use(OPEN, label="again")), ASKER)
    assert holding is not None
    assert holding.uses == 2


def test_a_consent_makes_its_recipient_a_holder_until_the_same_end() -> None:
    matters = matters_of(*HELD, ASKED, GIVEN, ONWARD)
    mine, copy = (find_holding(matters, name) for name in (ASKER, OTHER))
    assert mine is not None
    assert copy is not None
    assert (copy.until_ms, copy.commitment, copy.uses) == (mine.until_ms, PAYLOAD, 0)
    consent = find_consent(matters, ASKED.digest)
    assert consent is not None
    assert (consent.status, consent.purpose) == ("given", "audit")


def test_using_a_consent_again_makes_no_second_copy() -> None:
    again = use(OPEN, consent=ASKED.digest, label="again")
    assert len(matters_of(*HELD, ASKED, GIVEN, ONWARD, again).holders) == 2


def test_the_purpose_of_a_consent_is_what_contracts_are_asked_for() -> None:
    asked = ask_consent(OPEN, recipient=ASKER, purpose="statistics")
    given = give_consent(OPEN, asked)
    assert outcome(given, *HELD, asked).policies == ("onward",)
    forbidden = ask_consent(OPEN, recipient=ASKER, purpose="audit", legal_basis="ended")
    denied = outcome(give_consent(OPEN, forbidden), *HELD, forbidden)
    assert (denied.applied, denied.policies) == (False, ("legality",))


def test_a_correction_is_for_every_holder_to_acknowledge() -> None:
    corrected = correct(OPEN)
    matters = matters_of(*HELD, ASKED, GIVEN, ONWARD, corrected)
    assert [each.correction_due_ms > 0 for each in matters.holders] == [True, True]
    exchange = find_exchange(state_after(*HELD, corrected), OPEN.digest)
    assert exchange is not None
    assert (exchange.commitment, exchange.record_count) == (CORRECTED, 2)
    assert (exchange.status, exchange.changed_ms) == ("received", TIME_MS)
    after = matters_of(
        *HELD, ASKED, GIVEN, ONWARD, corrected, acknowledge(OPEN),
        acknowledge(OPEN, member=OTHER),
    )  # fmt: skip
    assert {(each.commitment, each.correction_due_ms) for each in after.holders} == {(CORRECTED, 0)}


def test_what_was_destroyed_needs_no_correction() -> None:
    matters = matters_of(*HELD, destroy(OPEN), correct(OPEN))
    assert [each.correction_due_ms for each in matters.holders] == [0]


def test_an_exchange_ends_with_the_requester_not_with_a_copy() -> None:
    before = (*HELD, ASKED, GIVEN, ONWARD)
    assert status_of(*before, destroy(OPEN, member=OTHER)) == "used"
    assert status_of(*before, destroy(OPEN)) == "destroyed"
    assert status_of(*before, destroy(OPEN), destroy(OPEN, member=OTHER)) == "destroyed"


def test_a_dispute_is_a_thread_that_one_answer_ends() -> None:
    reply = dispute(OPEN, member=OWNER, role="approver")
    matters = matters_of(*HELD, DISPUTED, reply)
    assert matters.dispute is not None
    assert (matters.dispute.id, matters.dispute.member) == (DISPUTED.digest, ASKER)
    assert matters.disputes == 1
    assert matters_of(*HELD, DISPUTED, reply, resolve(OPEN, DISPUTED)).dispute is None


def test_a_refusal_can_be_contested() -> None:
    refused = refuse(REVIEWED)
    assert matters_of(REVIEWED, refused, dispute(REVIEWED)).disputes == 1


def test_a_rating_stays() -> None:
    rating = matters_of(*HELD, rate(OPEN)).rating
    assert rating is not None
    assert (rating.quality, rating.usefulness) == (4, 5)


REFUSALS: dict[str, tuple[tuple[Event, ...], Event]] = {
    "not-a-holder": (HELD, destroy(OPEN, member=OTHER)),
    "destroyed-already": ((*HELD, destroy(OPEN)), destroy(OPEN, label="again")),
    "commitment-mismatch": (HELD, use(OPEN, commitment=CORRECTED)),
    "consent-unknown": (HELD, give_consent(OPEN, OPEN)),
    "consent-missing": ((*HELD, ASKED), ONWARD),
    "consent-answered": ((*HELD, ASKED, GIVEN), refuse_consent(OPEN, ASKED)),
    "consent-needless": (HELD, ask_consent(OPEN, recipient=ASKER, purpose="assessment")),
    "recipient-unknown": (HELD, ask_consent(OPEN, recipient="nobody")),
    "recipient-is-provider": (HELD, ask_consent(OPEN, recipient=OWNER)),
    "purpose-unknown": (HELD, ask_consent(OPEN, purpose="fishing")),
    "legal-basis-unknown": (HELD, ask_consent(OPEN, legal_basis="nothing")),
    "no-correction": (HELD, acknowledge(OPEN)),
    "unchanged": (HELD, correct(OPEN, commitment=PAYLOAD)),
    "schema-version-unknown": (HELD, correct(OPEN, schema_version=2)),
    "dispute-unknown": (HELD, resolve(OPEN, DISPUTED)),
    "dispute-side": ((*HELD, DISPUTED), resolve(OPEN, DISPUTED, outcome="withdrawn")),
    "rated-already": ((*HELD, rate(OPEN)), rate(OPEN, quality=1)),
    "consents-full": (
        (*HELD, *(ask_consent(OPEN, text=str(number)) for number in range(64))),
        ask_consent(OPEN, text="one more"),
    ),
}


@pytest.mark.parametrize("code", REFUSALS)
def test_what_is_refused_changes_nothing(code: str) -> None:
    before, event = REFUSALS[code]
    state = state_after(*before)
    execution = run(state, event)
    assert (execution.outcomes[0].applied, execution.outcomes[0].code) == (False, code)
    assert list(execution.overlay.changes) == [
        key for key in execution.overlay.changes if key.startswith(b"i/")
    ]


def test_corrections_supersede_the_newest_only() -> None:
    late = correct(OPEN, commitment=b"x" * 32)
    assert outcome(late, *HELD, correct(OPEN)).code == "commitment-mismatch"
    old = acknowledge(OPEN, commitment=PAYLOAD)
    assert outcome(old, *HELD, correct(OPEN)).code == "commitment-mismatch"


def test_who_opened_a_dispute_cannot_accept_it() -> None:
    mine = resolve(OPEN, DISPUTED, member=ASKER, role="requester")
    assert outcome(mine, *HELD, DISPUTED).code == "dispute-side"
    settled = resolve(OPEN, DISPUTED, member=ASKER, role="requester", outcome="settled")
    assert outcome(settled, *HELD, DISPUTED).applied
