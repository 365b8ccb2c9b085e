"""Governance at random: no sequence of events makes an illegal list, and all nodes agree on it.

Evidence at random: nothing that honest validators sign is evidence, every contradiction is.
"""

import pytest
from hypothesis import event as note
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.execute import Execution, select
from contracts.lookup import find_epoch, read_epoch, read_pending, read_validators
from ledger.blocks import quorum_of
from ledger.errors import InvalidEncoding, InvalidEvidence
from ledger.events import Event
from ledger.lthash.digest import StateDigest, apply_changes, hash_state
from ledger.quorum.evidence import verify_equivocation
from ledger.quorum.governance import KeepValidators, ValidatorReady
from ledger.quorum.lists import find_list_faults, hash_validator_list
from ledger.quorum.votes import Kind, Vote, decode_vote, encode_vote
from tests.builders import (
    HEIGHT,
    MEMBERS,
    NETWORK,
    TIME_MS,
    VALIDATORS,
    add_validator,
    ballot,
    consensus_key,
    genesis,
    hash32,
    propose,
    remove_validator,
    request,
    sign,
    take_back,
    validator,
    vote,
)
from tests.unit.contracts.samples import CONTRACTS, run, states

EVERYONE = sorted(MEMBERS)
ACTIONS = st.one_of(
    st.just(add_validator(EVERYONE[4])),
    st.sampled_from(EVERYONE).map(add_validator),
    st.sampled_from(EVERYONE).map(remove_validator),
    st.just(KeepValidators()),
)


class Session:
    """A network that is governed by drawn events; proposals are remembered to be voted on."""

    def __init__(self) -> None:
        self.state = states()
        self.height = HEIGHT
        self.proposals: list[Event] = []
        self.count = 0
        whole = StateDigest()
        for pair in self.state.pairs.items():
            whole.add(*pair)
        self.accumulator = whole.encode()

    def draw(self, draw: st.DrawFn) -> list[Event]:
        """One event, or what several members say at once: else hardly anything is carried."""
        self.count += 1
        label = str(self.count)
        absent = draw(st.sets(st.sampled_from(EVERYONE), max_size=2))
        crowd = [each for each in EVERYONE if each not in absent]
        choice = draw(st.integers(0, 7)) if self.proposals else 0
        if choice <= 1:
            made = propose(
                *draw(st.lists(ACTIONS, min_size=1, max_size=2)),
                member=crowd[0],
                label=label,
                activate_height=self.height + draw(st.integers(0, 2)),
                ballots_until_height=self.height + 50,
            )
            self.proposals.append(made)
            return [made]
        of = self.proposals[-1] if choice <= 4 else draw(st.sampled_from(self.proposals))
        if choice <= 5:
            reject = draw(st.sampled_from([*EVERYONE, *[""] * 5]))
            return [ballot(of, each, label=label + each, approve=each != reject) for each in crowd]
        if choice == 6:
            return [self.ready(each, label + each) for each in crowd]
        return [take_back(of, label=label), request(label=label)]

    def ready(self, member: str, label: str) -> Event:
        pending = read_pending(self.state)
        following = pending.validators if pending else read_validators(self.state)
        body = ValidatorReady(
            next_epoch=read_epoch(self.state).epoch + 1,
            set_hash=hash_validator_list(following),
            synced_height=self.height,
        )
        return sign(body, member=member, role="node", label=label, key=consensus_key(member))

    def block(self, events: list[Event]) -> Execution:
        """Select, execute again as a validator does, and move on only if both agree."""
        built, included, _ = select(
            self.state, events, network=NETWORK, height=self.height, time_ms=TIME_MS,
            first_index=1, contracts=CONTRACTS, events_max=100, bytes_max=1 << 20,
        )  # fmt: skip
        again = run(self.state, *included, height=self.height)
        assert again.records == built.records
        assert again.overlay.changes == built.overlay.changes
        assert again.next_validators == built.next_validators
        digest = apply_changes(self.accumulator, built.overlay)
        before = read_validators(self.state)
        self.state.pairs.update(built.overlay.changes)
        self.accumulator = digest.encode()
        self.check(built, before)
        self.height += 1
        return built

    def check(self, built: Execution, before: object) -> None:
        """What holds after every block."""
        validators, epoch = read_validators(self.state), read_epoch(self.state)
        assert epoch.validators == validators
        assert list(find_list_faults(validators)) == []
        members = [each.member for each in validators]
        assert epoch.epoch == 0 or members == sorted(members)
        assert (built.next_validators is not None) is (validators != before)
        if built.next_validators is not None:
            assert built.next_validators == validators
            assert epoch.first_height == self.height + 1
            old = find_epoch(self.state, epoch.epoch - 1)
            assert old is not None
            assert old.validators == before
        pending = read_pending(self.state)
        if pending is not None:
            assert list(find_list_faults(pending.validators)) == []
            assert pending.set_hash == hash_validator_list(pending.validators)
            following = [each.member for each in pending.validators]
            assert following == sorted(following)
            assert set(pending.ready) <= set(following)
            is_due = self.height >= pending.activate_height
            assert not (is_due and len(pending.ready) >= quorum_of(len(following)))


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_no_sequence_of_events_makes_an_illegal_list(data: st.DataObject) -> None:
    session = Session()
    for _ in range(data.draw(st.integers(1, 10), "blocks")):
        events: list[Event] = []
        for _ in range(data.draw(st.integers(0, 5), "draws")):
            events += data.draw(st.composite(session_event)(session))
        session.block(events)
    assert StateDigest(session.accumulator).digest() == hash_state(session.state.pairs.items())
    note(f"epoch {read_epoch(session.state).epoch}")
    note(f"pending {read_pending(session.state) is not None}")


def session_event(draw: st.DrawFn, session: Session) -> list[Event]:
    return session.draw(draw)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_decided_changes_follow_each_other_through_epochs(data: st.DataObject) -> None:
    """Directed where chance seldom goes: every step is carried, made ready and sealed."""
    session = Session()
    for number in range(data.draw(st.integers(1, 4), "epochs")):
        members = [each.member for each in read_validators(session.state)]
        outside = [each for each in EVERYONE if each not in members]
        leaver = data.draw(st.sampled_from(members))
        actions = [remove_validator(leaver)] if not outside else [add_validator(outside[0])]
        if outside and data.draw(st.booleans()):
            actions.append(remove_validator(leaver))
        opened = propose(
            *actions, member=members[0], label=f"p{number}", activate_height=0,
            ballots_until_height=session.height + 9,
        )  # fmt: skip
        session.block(
            [opened, *(ballot(opened, each, label=f"{number}{each}") for each in members[1:])]
        )
        pending = read_pending(session.state)
        assert pending is not None
        following = [each.member for each in pending.validators]
        order = data.draw(st.permutations(following))
        session.block([session.ready(each, f"r{number}{each}") for each in order])
        assert read_epoch(session.state).epoch == number + 1
        assert [each.member for each in read_validators(session.state)] == following


# Evidence.


@st.composite
def honest_votes(draw: st.DrawFn) -> list[Vote]:
    """What one validator that keeps the rules may have signed over some views of two epochs."""
    votes = []
    for view in draw(st.sets(st.integers(9, 12), min_size=1)):
        epoch = draw(st.integers(0, 1))
        block = draw(st.sampled_from("ab"))
        height = draw(st.integers(5, 6))
        where = {"epoch": epoch, "view": view}
        is_notarized, ending = draw(st.booleans()), draw(st.sampled_from(("", "null", "final")))
        if is_notarized:
            votes.append(vote(VALIDATORS[1], block, **where, height=height))
        if ending == "null":
            votes.append(vote(VALIDATORS[1], kind=Kind.NULLIFY, **where))
        if ending == "final":
            votes.append(vote(VALIDATORS[1], block, kind=Kind.FINALIZE, **where, height=height))
    return votes


FOUR = genesis().validators


def is_evidence(first: Vote, second: Vote) -> bool:
    try:
        verify_equivocation(NETWORK, FOUR, first, second)
    except InvalidEvidence:
        return False
    return True


@settings(max_examples=100, deadline=None)
@given(honest_votes())
def test_nothing_an_honest_validator_signs_is_evidence(votes: list[Vote]) -> None:
    for first in votes:
        for second in votes:
            assert not is_evidence(first, second)


ANY_VOTE = st.builds(
    lambda kind, block, view, member, height: vote(
        member, block, kind=kind, view=view, **({} if kind is Kind.NULLIFY else {"height": height})
    ),
    st.sampled_from(Kind),
    st.sampled_from("ab"),
    st.integers(9, 10),
    st.sampled_from(VALIDATORS[:2]),
    st.integers(5, 6),
)


def contradicts(first: Vote, second: Vote) -> bool:
    """R12 and R6, written out once more: what no honest validator signs in one view."""
    one, other = first.subject, second.subject
    if first.signer != second.signer or one.view != other.view:
        return False
    kinds = sorted((one.kind, other.kind))
    same_block = (one.height, one.block_hash) == (other.height, other.block_hash)
    match kinds:
        case [Kind.NOTARIZE, Kind.NOTARIZE] | [Kind.FINALIZE, Kind.FINALIZE]:
            return not same_block
        case [Kind.NOTARIZE, Kind.FINALIZE]:
            return not same_block
        case [Kind.NULLIFY, Kind.FINALIZE]:
            return True
        case _:
            return False


@settings(max_examples=300, deadline=None)
@given(ANY_VOTE, ANY_VOTE)
def test_evidence_is_exactly_what_contradicts(first: Vote, second: Vote) -> None:
    assert is_evidence(first, second) is contradicts(first, second)
    assert is_evidence(second, first) is contradicts(first, second)


@settings(max_examples=150, deadline=None)
@given(position=st.integers(0, 10_000), bit=st.integers(0, 7), second=st.booleans())
def test_one_wrong_bit_is_no_evidence(position: int, bit: int, second: bool) -> None:
    pair = [vote(VALIDATORS[1], block) for block in "ab"]
    data = bytearray(encode_vote(pair[second]))
    data[position % len(data)] ^= 1 << bit
    try:
        pair[second] = decode_vote(bytes(data))
    except InvalidEncoding:
        return
    assert not is_evidence(*pair)


def test_the_pair_without_a_wrong_bit_is_evidence() -> None:
    pair = [vote(VALIDATORS[1], block) for block in "ab"]
    assert is_evidence(*pair)
    with pytest.raises(InvalidEvidence):
        verify_equivocation(hash32("elsewhere"), FOUR, *pair)
    with pytest.raises(InvalidEvidence):
        verify_equivocation(NETWORK, [validator(each) for each in VALIDATORS[::-1]], *pair)
