"""Who a signer was: the same by genesis and votes alone as by executing the whole log."""

import dataclasses
from collections.abc import Iterable

import msgspec
import pytest

from ledger.governance.proposals import GovernanceBalloted
from tests.unit.tools.audit.evidence.case import AFTER, Case, gathered, make_case
from tools.audit.evidence.standing import find_carried, find_standings, select_governance
from tools.audit.evidence.story import Story, Told
from tools.exits import InvalidAnswer
from tools.governance.accounts import Act, Subject, account_for


@pytest.fixture(scope="module")
def case() -> Case:
    return make_case()


def executed(case: Case) -> dict[int, Act]:
    """Every act of a member in the log by index, with the standing that execution gives."""
    read = case.chain.copy().get
    accounts = [account_for(read, Subject(member=name)) for name in AFTER]
    return {act.index: act for account in accounts for act in account.acts}


def test_genesis_and_votes_give_the_standing_that_executing_the_log_gives(case: Case) -> None:
    acts = executed(case)
    standings = find_standings(case.chain.genesis, gathered(case).story())
    assert len(standings) > 20
    for index, standing in standings.items():
        act = acts[index]
        found = (standing.officer.roles, standing.member.status, standing.officer.status)
        assert found == (act.roles, act.member_status, "active")


def test_all_votes_of_the_log_give_no_other_standing_than_the_chosen(case: Case) -> None:
    story = gathered(case).story()
    whole = Story(events=story.events, governance=governance_of(case))
    assert len(whole.governance) > len(story.governance)
    more = find_standings(case.chain.genesis, whole)
    for index, standing in find_standings(case.chain.genesis, story).items():
        assert more[index] == standing


def governance_of(case: Case) -> tuple[Told, ...]:
    """Every applied event of governance, from the acts of the log."""
    headers = {block.header.height: block.header for block in case.chain.blocks}
    return tuple(
        Told(index=index, header=headers[act.height], event=act.event, outcome=act.outcome)
        for index, act in sorted(executed(case).items())
        if act.event.kind.startswith("governance.") and act.outcome.applied
    )


def test_only_what_came_in_force_and_touches_a_signer_is_chosen(case: Case) -> None:
    governance, story = governance_of(case), gathered(case).story()

    def choose(in_force: Iterable[bytes]) -> set[bytes]:
        chosen = select_governance(governance, in_force, story.events, story.members)
        return {told.event.digest for told in chosen} & everything

    everything = {each.proposal.event.digest for each in find_carried(governance)}
    assert choose(everything) == {each.digest for each in case.behind_signers}
    assert choose(everything - {case.revoked.digest}) == {
        each.digest for each in case.behind_signers[:-1]
    }
    assert choose(()) == set()


def test_a_proposal_without_an_approving_ballot_carries_nothing(case: Case) -> None:
    governance = governance_of(case)
    alone = [told for told in governance if not isinstance(told.event.body, GovernanceBalloted)]
    assert find_carried(alone) == ()


def test_ballots_against_a_proposal_carry_nothing(case: Case) -> None:
    governance = [refusing(told) for told in governance_of(case)]
    assert any(isinstance(told.event.body, GovernanceBalloted) for told in governance)
    assert find_carried(governance) == ()


def refusing(told: Told) -> Told:
    """The same event; a ballot is one against the proposal."""
    body = told.event.body
    if not isinstance(body, GovernanceBalloted):
        return told
    against = msgspec.structs.replace(body, approve=False)
    return dataclasses.replace(told, event=msgspec.structs.replace(told.event, body=against))


def moved(told: Told, **changed: int) -> Told:
    """An event as if it stood in another block."""
    return dataclasses.replace(told, header=msgspec.structs.replace(told.header, **changed))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"height": 9_999}, "its key revoked"),
        ({"time_ms": 1_924_992_000_000}, "its key active 2030-12-31"),
        ({"height": 9}, "center is suspended"),
        ({"height": 6}, "no officer of center has the key"),
    ],
)
def test_a_key_that_might_not_sign_then_is_refused(
    case: Case, changed: dict[str, int], said: str
) -> None:
    story = gathered(case).story()
    late = moved(story.events[-1], **changed)
    with pytest.raises(InvalidAnswer, match=said):
        find_standings(case.chain.genesis, dataclasses.replace(story, events=(late,)))


def test_the_key_of_another_member_is_refused(case: Case) -> None:
    """As nobody but a rogue quorum could have put on the log."""
    story = gathered(case).story()
    last = story.events[-1]
    false = dataclasses.replace(last, event=msgspec.structs.replace(last.event, member="east"))
    with pytest.raises(InvalidAnswer, match="no officer of east has the key"):
        find_standings(case.chain.genesis, dataclasses.replace(story, events=(false,)))
