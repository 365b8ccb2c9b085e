"""Members and officers: application, admission, acknowledgement, and every refusal on the way."""

import msgspec
import pytest

from contracts.credit.accounts import read_changes, read_credit
from contracts.lookup import find_member, find_officer
from ledger.governance.actions import (
    Action,
    AddOfficer,
    ReinstateMember,
    RetireMember,
    RevokeOfficer,
    SanctionMember,
    SetRoles,
    SuspendMember,
)
from ledger.keys import SecretKey
from ledger.state import StateReader
from tests.builders import (
    ASKER,
    HEIGHT,
    TIME_MS,
    ballot,
    hash32,
    key_of,
    propose,
    remove_validator,
    request,
)
from tests.unit.contracts.governance.parts import (
    ASIDE,
    FIRST,
    FOURTH,
    NEW,
    SECOND,
    acknowledge,
    after,
    application,
    block,
    codes,
    faults,
    found,
    fresh_officer,
    passed,
    proved,
    refusal,
    states,
    votes,
)


def status_of(state: StateReader, member: str) -> str:
    found_member = find_member(state, member)
    assert found_member is not None
    return found_member.status


def test_an_applicant_is_admitted_acknowledges_and_acts() -> None:
    events = passed(application())
    state = after(*events)
    assert status_of(state, NEW) == "applied"
    asking = request(member=NEW)
    assert refusal(state, asking).code == "member-not-active"
    assert refusal(state, acknowledge(events[0], key=key_of(NEW, "requester"))).code == (
        "role-missing"
    )
    after(acknowledge(events[0]), state=state, height=HEIGHT + 1)
    assert status_of(state, NEW) == "active"
    (outcome,) = block(state, asking, height=HEIGHT + 2).outcomes
    assert (outcome.applied, outcome.decision) == (True, "permit")
    again = acknowledge(events[0], label="again")
    assert refusal(state, again).code == "acknowledge-unexpected"


def test_only_the_admitted_member_acknowledges_its_own_admission() -> None:
    other = "cn-5101-tax"
    events, others = passed(application()), passed(application(other), label="other")
    state = after(*events, *others)
    assert refusal(state, acknowledge(others[0])).code == "acknowledge-unexpected"
    assert refusal(state, acknowledge(events[0], other)).code == "acknowledge-unexpected"
    never = propose(application(), label="never recorded")
    assert refusal(state, acknowledge(never)).code == "proposal-unknown"
    assert refusal(state, acknowledge(events[0], FIRST)).code == "acknowledge-unexpected"


def test_a_declined_applicant_applies_again() -> None:
    state = states()
    first = propose(application())
    block(state, first, *(ballot(first, id_, approve=False) for id_ in (FOURTH, ASKER)))
    assert found(state, first).status == "rejected"
    assert find_member(state, NEW) is None
    events = passed(application(), label="again")
    after(*events, state=state, height=HEIGHT + 1)
    assert status_of(state, NEW) == "applied"


OTHER = SecretKey(hash32("other"))
GOOD = application()
TAMPERED: dict[str, Action] = {
    "a changed name": msgspec.structs.replace(
        GOOD, application=msgspec.structs.replace(GOOD.application, name_en="Another")
    ),
    "a signature of somebody else": msgspec.structs.replace(GOOD, signer=OTHER.public),
    "a signature of an officer": msgspec.structs.replace(
        GOOD, signer=key_of(NEW, "requester").public
    ),
    "another network": application(network=hash32("another")),
    "no administrator": application(keys=(proved(key_of(NEW, "requester"), NEW, "requester"),)),
    "one key twice": application(keys=(proved(key_of(NEW, "admin"), NEW, "admin"),) * 2),
    "a key that the applicant does not hold": application(
        keys=tuple(
            sorted(
                (
                    proved(key_of(NEW, "admin"), NEW, "admin"),
                    proved(key_of(NEW, "requester"), ASIDE, "requester"),
                ),
                key=lambda officer: officer.key,
            )
        )
    ),
}


@pytest.mark.parametrize("what", TAMPERED)
def test_a_tampered_application_is_refused(what: str) -> None:
    assert frozenset(faults(states(), TAMPERED[what])) == {"application-invalid"}
    assert refusal(states(), propose(TAMPERED[what])).code == "application-invalid"


def test_an_id_and_a_key_are_given_once() -> None:
    state = after(*passed(application()))
    assert "member-exists" in faults(state, application())
    taken = application(
        "cn-5101-tax", keys=(proved(key_of(FIRST, "admin"), "cn-5101-tax", "admin"),)
    )
    assert "officer-exists" in faults(state, taken)
    assert faults(state, fresh_officer(FIRST, "admin", label=f"{FIRST}/consensus")) == [
        "key-in-use"
    ]


SUSPEND = SuspendMember(member=ASIDE, grounds="x")
REINSTATE = ReinstateMember(member=ASIDE, grounds="x")
RETIRE = RetireMember(member=ASIDE, grounds="x")
MOVES: list[tuple[list[Action], str]] = [
    ([SUSPEND], "suspended"),
    ([SUSPEND, REINSTATE], "active"),
    ([RETIRE], "retired"),
    ([SUSPEND, RETIRE], "retired"),
]


@pytest.mark.parametrize(("actions", "status"), MOVES)
def test_the_states_of_a_member(actions: list[Action], status: str) -> None:
    assert status_of(after(*passed(*actions)), ASIDE) == status


def test_what_may_not_follow_in_a_state() -> None:
    sanction = SanctionMember(member=ASIDE, points=5, grounds="x")
    assert faults(states(), REINSTATE) == ["member-state"]
    assert faults(states(), SUSPEND, SUSPEND) == ["member-state"]
    state = after(*passed(RETIRE))
    for action in (SUSPEND, REINSTATE, RETIRE, sanction, fresh_officer(ASIDE, "admin")):
        assert faults(state, action) == ["member-state"], action
    assert faults(states(), RetireMember(member=FIRST, grounds="x")) == ["member-validates"]
    for action in (SUSPEND, REINSTATE, RETIRE, sanction):
        unknown = msgspec.structs.replace(action, member="cn-9999-tax")
        assert faults(states(), unknown) == ["member-unknown"]
    assert faults(states(), fresh_officer("cn-9999-tax", "admin")) == ["member-unknown"]


def test_a_suspended_member_may_do_nothing_and_then_everything() -> None:
    state = after(*passed(SuspendMember(member=ASKER, grounds="breach of secrecy")))
    assert refusal(state, request()).code == "member-not-active"
    assert refusal(state, request(member=ASIDE, provider=ASKER)).code == "provider-not-active"
    reinstate = propose(ReinstateMember(member=ASKER, grounds="remedied"))
    after(*votes(reinstate, SECOND, FOURTH), state=state, height=HEIGHT + 1)
    assert codes(block(state, request(), height=HEIGHT + 2)) == [""]


def score_of(state: StateReader, member: str) -> int:
    found_member = find_member(state, member)
    assert found_member is not None
    return read_credit(state, found_member, TIME_MS)[1].score


def test_a_sanction_takes_credit_down_to_nothing() -> None:
    state = states()
    assert score_of(state, ASKER) == 920
    first = passed(SanctionMember(member=ASKER, points=100, grounds="late"))
    after(*first, state=state)
    assert score_of(state, ASKER) == 820
    last = passed(SanctionMember(member=ASKER, points=1_000, grounds="again"))
    after(*last, state=state, height=HEIGHT + 1)
    assert score_of(state, ASKER) == 0
    member = find_member(state, ASKER)
    assert member is not None
    credit, _ = read_credit(state, member, TIME_MS)
    (change,) = read_changes(state, ASKER, credit.changes, 4)
    # A change of grade names the proposals behind it.
    assert (change.before, change.after) == ("A", "D")
    assert {cause.event for cause in change.causes} == {first[0].digest, last[0].digest}


def test_an_officer_gets_other_roles_and_loses_its_key() -> None:
    key = key_of(ASKER, "requester").public
    state = after(*passed(SetRoles(key=key, roles=("approver", "requester"))))
    officer = find_officer(state, key)
    assert officer is not None
    assert officer.roles == ("approver", "requester")
    assert faults(state, SetRoles(key=key, roles=("approver", "requester"))) == ["unchanged"]
    assert faults(state, SetRoles(key=key, roles=("requester", "admin"))) == ["roles-invalid"]
    assert faults(state, SetRoles(key=key, roles=("admin", "admin"))) == ["roles-invalid"]
    made_before = request()
    block(state, made_before)
    after(*passed(RevokeOfficer(key=key, grounds="left")), state=state, height=HEIGHT + 1)
    assert refusal(state, request(label="later")).code == "officer-revoked"
    assert faults(state, SetRoles(key=key, roles=("admin",))) == ["officer-revoked"]
    assert faults(state, RevokeOfficer(key=key, grounds="x")) == ["officer-revoked"]
    unknown = SecretKey(hash32("nobody")).public
    assert faults(state, RevokeOfficer(key=unknown, grounds="x")) == ["officer-unknown"]


def test_a_new_key_is_proved_by_its_holder_for_this_member_and_network() -> None:
    key = SecretKey(hash32("fresh"))
    for wrong in (
        proved(key, FIRST, "admin"),
        proved(key, ASIDE, "admin", network=hash32("another")),
    ):
        assert faults(states(), AddOfficer(member=ASIDE, officer=wrong)) == ["possession-invalid"]


def test_keys_are_rotated_with_overlap() -> None:
    """The next key is added at once, the old one is revoked from a height on."""
    new, old = fresh_officer(ASKER, "requester"), key_of(ASKER, "requester").public
    revoke = RevokeOfficer(key=old, grounds="rotation")
    state = after(*passed(new), *passed(revoke, activate_height=HEIGHT + 5, label="old"))
    for height in range(HEIGHT + 1, HEIGHT + 5):
        both = [
            request(label=f"old {height}"),
            request(label=f"new {height}", key=SecretKey(hash32("fresh"))),
        ]
        assert codes(block(state, *both, height=height)) == ["", ""]
    assert refusal(state, request(label="too late"), HEIGHT + 5).code == "officer-revoked"


def test_members_with_validators_leave_in_two_steps() -> None:
    retire = RetireMember(member=FIRST, grounds="merged")
    assert faults(states(), remove_validator(FIRST), retire) == ["actions-conflict"]
