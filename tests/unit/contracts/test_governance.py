"""The list of validators: proposals, ballots, readiness, the seal, and every refusal on the way."""

import msgspec
import pytest

from contracts.admission import check_event
from contracts.errors import RefusedEvent
from contracts.execute import Execution
from contracts.governance.validators import is_seal_due, preview_change
from contracts.lookup import (
    find_epoch,
    find_evidence,
    find_proposal,
    find_reachable,
    read_epoch,
    read_pending,
    read_validators,
)
from contracts.words import LANGUAGES, describe
from ledger.events import Event
from ledger.governance.actions import Action
from ledger.governance.proposals import PROPOSALS, Proposal
from ledger.keys import SecretKey
from ledger.lthash.digest import hash_state
from ledger.quorum.governance import KeepValidators, prove_possession
from ledger.quorum.lists import hash_validator_list
from ledger.quorum.votes import Kind, Subject, Vote, encode_vote, signed_vote
from ledger.registry import MEMBERS, OFFICERS, EpochRecord, Officer, Validator
from ledger.state import MapState, StateReader, member_key, nonce_key, officer_key, proposal_key
from tests.builders import (
    HEIGHT,
    NETWORK,
    TIME_MS,
    VALIDATORS,
    accuse,
    add_validator,
    ballot,
    carried,
    consensus_key,
    hash32,
    key_of,
    member,
    propose,
    ready,
    remove_validator,
    request,
    take_back,
    validator,
    vote,
)
from tests.unit.contracts.samples import run, states

NEW = "de-tax"
FIVE = sorted([*VALIDATORS, NEW])
ADD = add_validator(NEW)
SWAP = (remove_validator(VALIDATORS[3]), ADD)
AFTER_SWAP = sorted([*VALIDATORS[:3], NEW])
FIRST, SECOND, THIRD, FOURTH = VALIDATORS


def after(state: MapState, *events: Event, height: int = HEIGHT) -> Execution:
    """One block on the state, which moves on."""
    execution = run(state, *events, height=height)
    state.pairs.update(execution.overlay.changes)
    return execution


def applied(*events: Event, height: int = HEIGHT) -> MapState:
    """A fresh network after one block whose events are all applied."""
    state = states()
    execution = after(state, *events, height=height)
    assert all(outcome.applied for outcome in execution.outcomes), execution.outcomes
    return state


def members_of(validators: tuple[Validator, ...] | None) -> list[str]:
    return [each.member for each in validators or ()]


def preview(state: StateReader, *actions: Action) -> list[str]:
    return [fault.code for fault in preview_change(state, actions, network=NETWORK).faults]


def refusal(state: StateReader, event: Event, height: int = HEIGHT) -> RefusedEvent:
    with pytest.raises(RefusedEvent) as caught:
        check_event(state, event, network=NETWORK, height=height, time_ms=TIME_MS)
    return caught.value


# Proposals and ballots.


def test_a_quorum_of_ballots_makes_a_change_pending() -> None:
    proposal, *ballots = carried(ADD, activate_height=50)
    state = applied(proposal)
    opened = find_proposal(state, proposal.digest)
    assert opened is not None
    assert (opened.status, opened.approved, opened.activate_height) == ("open", (FIRST,), 50)
    after(state, ballots[0])
    assert read_pending(state) is None
    after(state, ballots[1])
    pending = read_pending(state)
    assert pending is not None
    assert members_of(pending.validators) == FIVE
    assert pending.set_hash == hash_validator_list(pending.validators)
    assert (pending.activate_height, pending.ready) == (50, ())
    enacted = find_proposal(state, proposal.digest)
    assert enacted is not None
    assert (enacted.status, enacted.approved) == ("enacted", (FIRST, SECOND, THIRD))
    reachable = find_reachable(state, NEW)
    assert reachable is not None
    assert reachable.address == "de-tax.example:7001"
    # The list in force is the old one until a block seals.
    assert members_of(read_validators(state)) == VALIDATORS
    assert read_epoch(state).epoch == 0


def test_a_rejection_is_counted_and_carries_nothing() -> None:
    proposal = propose(ADD)
    state = applied(
        proposal, ballot(proposal, SECOND, approve=False), ballot(proposal, THIRD, approve=False)
    )
    found = find_proposal(state, proposal.digest)
    assert found is not None
    # The two that are left are no quorum: it is decided, with its reasons in the ballots.
    assert (found.status, found.rejected) == ("rejected", (SECOND, THIRD))
    assert read_pending(state) is None
    assert refusal(state, ballot(proposal, FOURTH)).code == "proposal-closed"


def test_ballots_of_members_that_left_count_no_more() -> None:
    """Votes are counted by the list in force when they are counted (CONSENSUS 3.7)."""
    late = propose(add_validator(FOURTH), label="late", ballots_until_height=HEIGHT + 100)
    state = applied(*carried(*SWAP))
    seal_with(state, AFTER_SWAP)
    after(state, late, ballot(late, SECOND))
    found = find_proposal(state, late.digest)
    assert found is not None
    # As if the member that has left had approved while it still could.
    planted = msgspec.structs.replace(found, approved=tuple(sorted((FIRST, SECOND, FOURTH))))
    put_proposal(state, late.digest, planted)
    execution = after(state, ballot(late, THIRD, approve=False))
    assert execution.outcomes[0].applied
    assert read_pending(state) is None
    assert refusal(state, ballot(late, FOURTH)).code == "not-a-voter"
    after(state, ballot(late, NEW))
    assert read_pending(state) is not None


def put_proposal(state: MapState, digest: bytes, proposal: Proposal) -> None:
    state.pairs[proposal_key(digest)] = PROPOSALS.encode(proposal)


def test_the_proposer_can_take_it_back() -> None:
    proposal = propose(ADD)
    state = applied(proposal)
    assert refusal(state, take_back(proposal, member=SECOND)).code == "not-the-proposer"
    after(state, take_back(proposal))
    found = find_proposal(state, proposal.digest)
    assert found is not None
    assert found.status == "withdrawn"
    assert refusal(state, ballot(proposal, SECOND)).code == "proposal-closed"
    assert refusal(state, take_back(proposal, label="2")).code == "proposal-closed"


def test_ballots_are_counted_up_to_a_height_which_is_included() -> None:
    proposal = propose(ADD, ballots_until_height=HEIGHT + 3)
    state = applied(proposal)
    check_event(
        state, ballot(proposal, SECOND), network=NETWORK, height=HEIGHT + 3, time_ms=TIME_MS
    )
    late = ballot(proposal, SECOND, expires_height=HEIGHT + 9)
    assert refusal(state, late, HEIGHT + 4).code == "proposal-expired"


RECORDED: dict[str, Event] = {
    "role-missing": propose(ADD, role="requester"),
    "not-a-voter": propose(ADD, member=NEW),
    "ballot-period-invalid": propose(ADD, ballots_until_height=HEIGHT - 1),
    "proposal-unknown": ballot(propose(ADD, label="never recorded"), SECOND),
    "actions-conflict": propose(KeepValidators(), ADD),
    "no-change-pending": propose(KeepValidators()),
    "member-unknown": propose(add_validator(NEW, validator=validator("cn-9999-tax"))),
    "validator-exists": propose(add_validator(FIRST)),
    "validator-unknown": propose(remove_validator(NEW), ADD),
    "validator-count": propose(remove_validator(FIRST)),
    "validators-unchanged": propose(remove_validator(FIRST), add_validator(FIRST)),
    "possession-invalid": propose(
        msgspec.structs.replace(ADD, validator=validator(NEW, tls_certificate=b"another"))
    ),
}


@pytest.mark.parametrize("code", RECORDED)
def test_what_is_wrong_is_recorded_as_refused(code: str) -> None:
    state = states()
    event = RECORDED[code]
    refused = refusal(state, event)
    assert (refused.code, refused.recordable) == (code, True)
    before = dict(state.pairs)
    (outcome,) = after(state, event).outcomes
    assert (outcome.applied, outcome.code) == (False, code)
    assert state.pairs == before | {nonce_key(event.member, event.nonce): event.digest}
    for language in LANGUAGES:
        assert describe(code, language).title != describe("brand-new", language).title


def test_a_ballot_period_has_an_end() -> None:
    last = HEIGHT + 1_000
    check_event(
        states(),
        propose(ADD, ballots_until_height=last),
        network=NETWORK,
        height=HEIGHT,
        time_ms=TIME_MS,
    )
    assert refusal(states(), propose(ADD, ballots_until_height=last + 1)).code == (
        "ballot-period-invalid"
    )


def test_a_member_votes_once() -> None:
    proposal = propose(ADD)
    state = applied(proposal, ballot(proposal, SECOND, approve=False))
    assert refusal(state, ballot(proposal, FIRST)).code == "ballot-repeated"
    assert refusal(state, ballot(proposal, SECOND)).code == "ballot-repeated"


def test_a_member_that_is_not_active_cannot_join() -> None:
    state = states()
    state.pairs[member_key(NEW)] = MEMBERS.encode(member(NEW, status="suspended"))
    assert refusal(state, propose(ADD)).code == "member-not-active"


def signed_anew(changed: Validator, key: SecretKey) -> Action:
    return add_validator(NEW, validator=changed, possession=prove_possession(key, NETWORK, changed))


def test_keys_belong_to_one_validator() -> None:
    new, first = consensus_key(NEW), validator(FIRST)
    for taken, holder in (
        ({"consensus_key": first.consensus_key}, consensus_key(FIRST)),
        ({"cosigning_key": first.cosigning_key}, new),
        ({"cosigning_key": first.consensus_key}, new),
        ({"cosigning_key": new.public}, new),
        ({"tls_certificate": first.tls_certificate}, new),
    ):
        action = signed_anew(validator(NEW, **taken), holder)
        assert preview(states(), action) == ["key-in-use"], taken
        # Not even when the owner leaves with the same proposal.
        assert "key-in-use" in preview(states(), remove_validator(FIRST), action), taken
    officer = key_of(NEW, "admin")
    action = signed_anew(validator(NEW, consensus_key=officer.public), officer)
    assert preview(states(), action) == ["key-in-use"]


def test_a_member_can_replace_its_keys() -> None:
    fresh = SecretKey(hash32("fresh"))
    keys = {"consensus_key": fresh.public, "cosigning_key": hash_key("c"), "tls_certificate": b"n"}
    action = signed_anew(validator(FIRST, **keys), fresh)
    shown = preview_change(states(), (remove_validator(FIRST), action), network=NETWORK)
    assert shown.faults == ()
    assert members_of(shown.validators) == VALIDATORS


def hash_key(label: str) -> bytes:
    return SecretKey(hash32(label)).public


@pytest.mark.parametrize(
    "key", [b"\x02" + bytes(32), b"\x01" + bytes(32), b"\x01\x01" + bytes(31)], ids=repr
)
def test_a_key_under_which_checkpoints_could_not_be_judged_is_refused(key: bytes) -> None:
    action = signed_anew(validator(NEW, cosigning_key=key), consensus_key(NEW))
    assert preview(states(), action) == ["validator-key-invalid"]
    holder = validator(NEW, consensus_key=key)
    action = add_validator(NEW, validator=holder)
    assert preview(states(), action) == ["possession-invalid"]


def test_possession_is_bound_to_the_network_and_the_whole_validator() -> None:
    elsewhere = prove_possession(consensus_key(NEW), hash32("elsewhere"), validator(NEW))
    assert preview(states(), add_validator(NEW, possession=elsewhere)) == ["possession-invalid"]
    for changed in ({"tls_certificate": b"other"}, {"cosigning_key": hash_key("other")}):
        action = add_validator(NEW, validator=validator(NEW, **changed))
        assert preview(states(), action) == ["possession-invalid"]
    assert preview(states(), ADD) == []


def test_a_preview_is_a_dry_run_with_every_fault() -> None:
    state = states()
    before = hash_state(state.pairs.items())
    shown = preview_change(state, (ADD,), network=NETWORK)
    assert (members_of(shown.validators), shown.quorum, shown.faults) == (FIVE, 4, ())
    shown = preview_change(state, [remove_validator(id_) for id_ in VALIDATORS], network=NETWORK)
    assert (shown.validators, shown.quorum) == ((), 0)
    assert preview(state, remove_validator(NEW), add_validator(FIRST)) == [
        "validator-unknown",
        "validator-exists",
        "validators-unchanged",
    ]
    assert hash_state(state.pairs.items()) == before


# One change at a time.


def test_one_change_at_a_time() -> None:
    first, second = carried(ADD, label="a"), carried(*SWAP, label="b")
    state = applied(*first[:2], *second[:2], first[2])
    # The second was proposed before anything was pending: the deciding ballot is refused.
    last = refusal(state, second[2])
    assert (last.code, last.recordable) == ("change-pending", True)
    assert refusal(state, propose(ADD, label="c")).code == "change-pending"
    # A ballot that decides nothing is free, and the proposal is open for later.
    against = ballot(second[0], FOURTH, approve=False)
    (outcome,) = after(state, against).outcomes
    assert outcome.applied
    abandon = carried(KeepValidators(), label="k")
    assert all(outcome.applied for outcome in after(state, *abandon).outcomes)
    assert read_pending(state) is None
    statuses = [find_proposal(state, each[0].digest) for each in (first, second, abandon)]
    assert [each and each.status for each in statuses] == ["abandoned", "open", "enacted"]
    after(state, ballot(second[0], THIRD, label="again"))
    pending = read_pending(state)
    assert pending is not None
    assert members_of(pending.validators) == AFTER_SWAP


def test_two_changes_in_one_block_do_not_add_up() -> None:
    """Lists of two changes, concatenated, would stop the network (CONSENSUS 3.1)."""
    first, second = carried(ADD, label="a"), carried(*SWAP, label="b")
    state = states()
    outcomes = after(state, *first[:2], *second[:2], first[2], second[2]).outcomes
    assert [outcome.code for outcome in outcomes] == ["", "", "", "", "", "change-pending"]
    pending = read_pending(state)
    assert pending is not None
    assert members_of(pending.validators) == FIVE


# Readiness and the seal.


def seal_with(state: MapState, following: list[str], height: int = HEIGHT) -> Execution:
    """A block in which just enough of the pending list's validators are ready."""
    quorum = len(following) - (len(following) - 1) // 3
    return after(state, *(ready(id_, following) for id_ in following[:quorum]), height=height)


def test_a_quorum_of_the_next_list_seals() -> None:
    state = applied(*carried(ADD))
    four = [ready(id_, FIVE) for id_ in (FIRST, NEW, FOURTH, SECOND)]
    for number, event in enumerate(four[:3]):
        execution = after(state, event, height=HEIGHT + number)
        assert execution.next_validators is None
    pending = read_pending(state)
    assert pending is not None
    assert pending.ready == tuple(sorted((FIRST, NEW, FOURTH)))
    execution = after(state, four[3], height=HEIGHT + 3)
    assert members_of(execution.next_validators) == FIVE
    assert read_validators(state) == execution.next_validators
    expected = EpochRecord(epoch=1, first_height=HEIGHT + 4, validators=read_validators(state))
    assert read_epoch(state) == find_epoch(state, 1) == expected
    old = find_epoch(state, 0)
    assert old is not None
    assert (old.first_height, members_of(old.validators)) == (1, VALIDATORS)
    assert read_pending(state) is None
    assert find_epoch(state, 2) is None


def test_a_seal_waits_for_its_height() -> None:
    state = applied(*carried(ADD, activate_height=HEIGHT + 5))
    execution = seal_with(state, FIVE)
    assert execution.next_validators is None
    assert [is_seal_due(state, HEIGHT + each) for each in (4, 5, 6)] == [False, True, True]
    assert after(state, height=HEIGHT + 4).overlay.changes == {}
    # An empty block seals; what it does is then in force for the block after it.
    execution = after(state, request(), height=HEIGHT + 5)
    assert members_of(execution.next_validators) == FIVE
    assert execution.outcomes[0].applied
    assert after(state, height=HEIGHT + 6).overlay.changes == {}


def test_an_empty_block_changes_nothing_unless_it_seals() -> None:
    state = applied(*carried(ADD))
    for height in range(HEIGHT, HEIGHT + 3):
        execution = after(state, height=height)
        assert (execution.overlay.changes, execution.next_validators) == ({}, None)
    seal_with(state, FIVE)
    assert after(state, height=HEIGHT + 9).overlay.changes == {}


def test_the_proposal_of_a_sealed_change_is_in_force() -> None:
    events = carried(*SWAP)
    state = applied(*events)
    seal_with(state, AFTER_SWAP)
    found = find_proposal(state, events[0].digest)
    assert found is not None
    assert found.status == "sealed"
    # The new list votes from now on, in its own epoch.
    following = propose(remove_validator(NEW), add_validator(FOURTH), label="back")
    after(state, following, ballot(following, NEW), ballot(following, SECOND))
    pending = read_pending(state)
    assert pending is not None
    assert members_of(pending.validators) == VALIDATORS
    for id_ in (FIRST, SECOND, THIRD):
        event = ready(id_, VALIDATORS, next_epoch=2, label="two")
        assert after(state, event).outcomes[0].applied
    assert read_epoch(state).epoch == 2
    third = find_epoch(state, 1)
    assert third is not None
    assert members_of(third.validators) == AFTER_SWAP


def test_readiness_is_refused_unless_it_is_awaited() -> None:
    fresh, state = states(), applied(*carried(*SWAP))
    for where, event, code in (
        (fresh, ready(FIRST, AFTER_SWAP), "ready-unexpected"),
        (state, ready(FIRST, FIVE), "ready-unexpected"),
        (state, ready(FIRST, AFTER_SWAP, next_epoch=2), "ready-unexpected"),
        (state, ready(FOURTH, AFTER_SWAP), "not-a-validator"),
        (state, ready(FIRST, AFTER_SWAP, key=consensus_key(SECOND)), "not-a-validator"),
        (state, ready(FIRST, AFTER_SWAP, key=key_of(FIRST, "admin")), "not-a-validator"),
    ):
        refused = refusal(where, event)
        assert (refused.code, refused.recordable) == (code, False)
    after(state, ready(FIRST, AFTER_SWAP))
    refused = refusal(state, ready(FIRST, AFTER_SWAP, synced_height=99))
    assert (refused.code, refused.recordable) == ("ready-known", False)


def test_a_node_key_speaks_for_the_node_only() -> None:
    """The consensus key is no officer: it neither asks for data nor votes."""
    for event in (
        request(member=FIRST, provider=SECOND, key=consensus_key(FIRST)),
        propose(ADD, key=consensus_key(FIRST)),
    ):
        assert refusal(states(), event).code == "officer-unknown"


def test_an_officer_who_lost_its_key_cannot_vote() -> None:
    state, key = states(), key_of(SECOND, "admin").public
    revoked = Officer(key=key, member=SECOND, roles=("admin",), status="revoked")
    state.pairs[officer_key(key)] = OFFICERS.encode(revoked)
    assert refusal(state, ballot(propose(ADD), SECOND)).code == "officer-revoked"


# Evidence.

A, B = vote(SECOND, "a"), vote(SECOND, "b")


def test_evidence_is_recorded_once_for_each_validator_and_view() -> None:
    event = accuse(A, B)
    state = applied(event)
    assert find_evidence(state, 0, 9, SECOND) == event.digest
    for again in (
        accuse(B, A),
        accuse(A, B, member=THIRD),
        accuse(vote(SECOND, "a", kind=Kind.FINALIZE), vote(SECOND, kind=Kind.NULLIFY)),
    ):
        refused = refusal(state, again)
        assert (refused.code, refused.recordable) == ("evidence-known", False)
    others = [
        accuse(vote(SECOND, "a", view=10), vote(SECOND, "b", view=10)),
        accuse(vote(FIRST, "a"), vote(FIRST, "b")),  # a node may accuse its own member
    ]
    assert all(outcome.applied for outcome in after(state, *others).outcomes)


LEGAL = {
    "the same vote": (A, A),
    "notarize and nullify": (A, vote(SECOND, kind=Kind.NULLIFY)),
    "notarize and finalize of one block": (A, vote(SECOND, "a", kind=Kind.FINALIZE)),
    "two views": (A, vote(SECOND, "b", view=10)),
    "two epochs": (A, vote(SECOND, "b", epoch=1)),
    "two signers": (A, vote(THIRD, "b")),
    "two indexes for one key": (A, vote(SECOND, "b", signer=3)),
    "another signer's index": (vote(SECOND, "a", signer=2), vote(SECOND, "b", signer=2)),
    "no such signer": (vote(SECOND, "a", signer=4), vote(SECOND, "b", signer=4)),
    "an epoch to come": (vote(SECOND, "a", epoch=1), vote(SECOND, "b", epoch=1)),
    "one signature is wrong": (A, msgspec.structs.replace(B, signature=A.signature)),
}


@pytest.mark.parametrize("name", LEGAL)
def test_what_proves_nothing_is_refused(name: str) -> None:
    for first, second in (LEGAL[name], reversed(LEGAL[name])):
        refused = refusal(states(), accuse(first, second))
        assert (refused.code, refused.recordable) == ("evidence-invalid", False)


def test_evidence_needs_votes_and_a_validator() -> None:
    for changed in ({"first": b"\x01"}, {"second": encode_vote(B)[:-1]}):
        refused = refusal(states(), accuse(A, B, **changed))
        assert refused.code == "evidence-invalid"
    for stranger in (
        accuse(A, B, member=NEW),
        accuse(A, B, key=key_of(FIRST, "admin")),
    ):
        assert refusal(states(), stranger).code == "not-a-validator"


def test_evidence_of_an_ended_epoch_is_judged_by_its_list() -> None:
    """The accused has left since, and its index is now that of another."""
    first, second = vote(FOURTH, "a"), vote(FOURTH, "b")
    state = applied(*carried(*SWAP))
    seal_with(state, AFTER_SWAP)
    assert FOURTH not in members_of(read_validators(state))
    event = accuse(first, second)
    assert after(state, event).outcomes[0].applied
    assert find_evidence(state, 0, 9, FOURTH) == event.digest
    # The joined validator's votes in epoch 1 carry its index there.
    at = AFTER_SWAP.index(NEW)
    votes = [vote(NEW, block, epoch=1, signer=at) for block in "ab"]
    assert after(state, accuse(*votes)).outcomes[0].applied
    assert find_evidence(state, 1, 9, NEW) is not None


def test_votes_of_another_network_are_no_evidence() -> None:
    subject = Subject(kind=Kind.NULLIFY, epoch=0, view=9)
    signature = consensus_key(SECOND).sign_raw(signed_vote(hash32("elsewhere"), subject))
    foreign = Vote(subject=subject, signer=VALIDATORS.index(SECOND), signature=signature)
    final = vote(SECOND, "a", kind=Kind.FINALIZE)
    assert refusal(states(), accuse(final, foreign)).code == "evidence-invalid"
    home = vote(SECOND, kind=Kind.NULLIFY)
    assert home.subject == subject
    check_event(states(), accuse(final, home), network=NETWORK, height=HEIGHT, time_ms=TIME_MS)
