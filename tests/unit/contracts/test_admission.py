"""Each refusal code: what is wrong in exactly one field is refused with exactly that code."""

import msgspec
import pytest

from contracts.admission import check_event
from contracts.errors import InvalidInclusion, RefusedEvent
from contracts.execute import BlockInput, Execution, execute
from contracts.lifecycle import STEPS
from contracts.words import LANGUAGES, describe
from ledger.events import Event
from ledger.genesis import genesis_state
from ledger.registry import OFFICERS, Officer
from ledger.state import MapState, StateReader, nonce_key, officer_key
from tests import builders
from tests.builders import (
    ASKER,
    HEIGHT,
    NETWORK,
    OWNER,
    TIME_MS,
    approve,
    deliver,
    hash32,
    key_of,
    receive,
    reject,
    request,
    reviewed_request,
)
from tests.exchanges import PATHS, SCRIPTS
from tests.unit.contracts.samples import CONTRACTS, run, state_after, states

OPEN = request(label="open")
REVIEWED = reviewed_request(label="reviewed")


def refusal(state: StateReader, event: Event) -> RefusedEvent:
    with pytest.raises(RefusedEvent) as caught:
        check_event(state, event, network=NETWORK, height=HEIGHT, time_ms=TIME_MS)
    return caught.value


UNFIT = {
    "wrong-network": request(network=hash32("elsewhere")),
    "event-expired": request(expires_height=HEIGHT - 1),
    "expiry-too-far": request(expires_height=HEIGHT + 1_001),
    "duplicate": OPEN,
    "nonce-reused": request(label="open", case="another"),
    "member-unknown": request(member="cn-9999-tax", key=key_of(ASKER, "requester")),
    "officer-unknown": request(key=key_of("nobody", "requester")),
    "officer-of-other-member": request(key=key_of(OWNER, "requester")),
}
RECORDABLE = {
    "role-missing": request(role="approver"),
    "provider-unknown": request(provider="cn-9999-tax"),
    "dataset-unknown": request(dataset="weather"),
    "purpose-unknown": request(purpose="curiosity"),
    "legal-basis-unknown": request(legal_basis="none"),
    "field-unknown": request(fields=("shoe-size",)),
    "field-repeated": request(fields=("uscc", "uscc")),
    "subject-repeated": request(subjects=(hash32("one"), hash32("one"))),
    "period-invalid": request(period_from="2024-12-31", period_to="2024-01-01"),
    "exchange-unknown": receive(request(label="never recorded")),
    "exchange-state": receive(OPEN),
    "not-a-party": deliver(OPEN, member="cn-3205-tax"),
    "schema-version-unknown": deliver(OPEN, schema_version=2),
}


@pytest.fixture(scope="module")
def state() -> StateReader:
    return state_after(OPEN, REVIEWED)


@pytest.mark.parametrize("code", UNFIT)
def test_unfit_event_is_refused_and_makes_a_block_invalid(code: str, state: StateReader) -> None:
    refused = refusal(state, UNFIT[code])
    assert (refused.code, refused.recordable) == (code, False)
    with pytest.raises(InvalidInclusion) as caught:
        run(state, UNFIT[code])
    assert (caught.value.code, caught.value.digest) == (code, UNFIT[code].digest)


@pytest.mark.parametrize("code", RECORDABLE)
def test_recordable_refusal_changes_only_the_nonce(code: str, state: StateReader) -> None:
    event = RECORDABLE[code]
    refused = refusal(state, event)
    assert (refused.code, refused.recordable) == (code, True)
    execution = run(state, event)
    assert (execution.outcomes[0].applied, execution.outcomes[0].code) == (False, code)
    assert execution.overlay.changes == {nonce_key(event.member, event.nonce): event.digest}


def test_suspended_members_and_revoked_officers_are_unfit() -> None:
    ids = sorted(builders.MEMBERS)
    suspended = tuple(
        builders.member(id_, status="suspended" if id_ == ASKER else "active") for id_ in ids
    )
    state = builders.world(members=suspended).state
    assert refusal(state, request()).code == "member-not-active"
    owner = tuple(
        builders.member(id_, status="suspended" if id_ == OWNER else "active") for id_ in ids
    )
    refused = refusal(builders.world(members=owner).state, request())
    assert (refused.code, refused.recordable) == ("provider-not-active", True)
    revoked = MapState(genesis_state(builders.genesis()))
    key = key_of(ASKER, "requester").public
    officer = Officer(key=key, member=ASKER, roles=("requester",), status="revoked")
    revoked.pairs[officer_key(key)] = OFFICERS.encode(officer)
    assert refusal(revoked, request()).code == "officer-revoked"


def test_delivery_answers_must_name_the_delivered_commitment() -> None:
    state = state_after(OPEN, deliver(OPEN))
    other = hash32("other payload")
    assert refusal(state, receive(OPEN, commitment=other)).code == "commitment-mismatch"
    assert refusal(state, reject(OPEN, commitment=other)).code == "commitment-mismatch"
    assert refusal(state, reject(OPEN, code_set="invented")).code == "code-set-unknown"


def test_who_requested_never_approves() -> None:
    # One key with both roles, of a provider that is also the requester's own key holder.
    pairs = dict(states().pairs)
    key = key_of(ASKER, "requester").public
    opened = MapState(pairs)
    opened.pairs.update(run(opened, REVIEWED).overlay.changes)
    moved = Officer(key=key, member=OWNER, roles=("approver",), status="active")
    opened.pairs[officer_key(key)] = OFFICERS.encode(moved)
    event = approve(REVIEWED, key=key_of(ASKER, "requester"))
    assert refusal(opened, event).code == "same-officer"


def test_every_step_is_refused_in_every_state_that_its_row_does_not_name() -> None:
    for status, events in PATHS.items():
        state = state_after(*events)
        for kind, step in STEPS.items():
            event = SCRIPTS[kind][1](events[0], label=f"again {kind}")
            outcome = run(state, event).outcomes[0]
            is_refused = outcome.code == "exchange-state"
            assert is_refused is (status not in step.before), (status, kind, outcome)


def test_every_code_has_words_in_every_language() -> None:
    for code in (*UNFIT, *RECORDABLE, "same-officer", "commitment-mismatch", "code-set-unknown"):
        for language in LANGUAGES:
            words = describe(code, language, detail="what was found")
            assert words.title != describe("unknown", language).title
            assert "what was found" in words.detail
            assert words.advice


def test_refusal_message_keeps_code_and_detail(state: StateReader) -> None:
    refused = refusal(state, RECORDABLE["field-unknown"])
    assert str(refused) == "field-unknown: registration has no field shoe-size"


def test_events_of_one_block_see_each_other() -> None:
    execution: Execution = execute(
        states(),
        BlockInput(
            network=NETWORK,
            height=HEIGHT,
            time_ms=TIME_MS,
            first_index=1,
            events=(OPEN, deliver(OPEN), receive(OPEN)),
        ),
        CONTRACTS,
    )
    assert [outcome.applied for outcome in execution.outcomes] == [True, True, True]
    assert msgspec.msgpack.decode(execution.records[0])["event"] == OPEN.data
