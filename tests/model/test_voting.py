"""All states of the voting rules: safe as they are; without any one of them, what breaks and how.

A condition is removed by telling the production predicate that it holds. Each removal either has a
shortest counterexample, printed by `pytest -s`, or is shown to be safe, which is said here.
"""

from collections.abc import Callable, Collection
from dataclasses import replace

import pytest

from node.simplex import rules
from tests.model.explorer import Found, explore
from tests.model.oracle import (
    CONTRADICTION,
    EVERYTHING,
    EXCLUSION,
    FINALIZE,
    FORK,
    NOTARIZE,
    NULLIFY,
    TWO_HASHES,
    UNNOTARIZED,
    faults_of_certificates,
    faults_of_votes,
    is_quorum,
)
from tests.model.voting import ONE_VIEW, SEALS, TWO_VIEWS, Model, Predicates

PRODUCTION = Predicates()
STATES_MIN = 75_000  # of four validators and two views
SEAL_STATES_MIN = 150_000
BROKEN = (TWO_HASHES, EXCLUSION, UNNOTARIZED, FORK)  # more than a contradiction of one validator


class _All:
    """A set that contains everything."""

    def __contains__(self, _: object) -> bool:
        return True


def _without(predicate: Callable[..., object], **told: object) -> Callable[..., object]:
    """The production predicate, told some of its inputs; a function is given all of them."""

    def judge(**inputs: object) -> object:
        lies = {name: each(inputs) if callable(each) else each for name, each in told.items()}
        return predicate(**{**inputs, **lies})

    return judge


def _claimed_parent(inputs: dict) -> dict[int, bytes]:
    return {**inputs["notarized"], inputs["parent_view"]: inputs["parent_hash"]}


def _unless_notarized(inputs: dict) -> dict[int, bytes]:
    """The parent counts as notarized where nothing is notarized."""
    return {inputs["parent_view"]: inputs["parent_hash"], **inputs["notarized"]}


def _what_is_notarized(inputs: dict) -> bytes:
    return inputs["notarized"].get(inputs["parent_view"], b"")


def _notarized_or_own(inputs: dict) -> bytes:
    return inputs["notarized_hash"] or inputs["own_notarized_hash"] or b"anything"


def _finalize(**told: object) -> Predicates:
    return replace(PRODUCTION, may_finalize=_without(rules.may_finalize, **told))


def _nullify(**told: object) -> Predicates:
    return replace(PRODUCTION, may_nullify=_without(rules.may_nullify, **told))


def _notarize(**told: object) -> Predicates:
    return replace(PRODUCTION, may_notarize=_without(rules.may_notarize, **told))


def _place(**told: object) -> Predicates:
    return replace(PRODUCTION, judge_place=_without(rules.judge_place, **told))


def _this_view(inputs: dict) -> int:
    return inputs["view"]


def _next_view(inputs: dict) -> int:
    return inputs["view"] + 1


def _run(predicates: Predicates, seek: Collection[str] = EVERYTHING) -> Found:
    return explore(Model(validators=4, table=TWO_VIEWS, predicates=predicates), seek=seek)


def test_the_rules_are_safe_in_every_state() -> None:
    found = _run(PRODUCTION)
    print(found)
    assert not found.faults, str(found)
    assert found.states >= STATES_MIN


def test_the_model_goes_where_it_should() -> None:
    """Safe because nothing can happen would be no result."""
    model = Model(validators=4, table=TWO_VIEWS)
    reached = [model.certified(state) for state in _states(model)]
    together = [set(model.said(certified)) for certified in set(reached)]
    for wanted in (
        {(NOTARIZE, 1, "a"), (NULLIFY, 1, ""), (NOTARIZE, 2, "c")},  # skipped though notarized
        {(NOTARIZE, 1, "a"), (NULLIFY, 1, ""), (NOTARIZE, 2, "d"), (FINALIZE, 2, "d")},
        {(FINALIZE, 1, "b"), (FINALIZE, 2, "e")},
        {(FINALIZE, 1, "a"), (NOTARIZE, 2, "d"), (NULLIFY, 2, "")},
        {(NULLIFY, 1, ""), (NULLIFY, 2, "")},
    ):
        assert any(wanted <= each for each in together), wanted


def _states(model: Model) -> set[tuple[int, ...]]:
    seen = {model.canonical(model.start)}
    edge = list(seen)
    while edge:
        state = edge.pop()
        for at, _, after in model.moves(state):
            following = model.canonical((*state[:at], after, *state[at + 1 :]))
            if following not in seen:
                seen.add(following)
                edge.append(following)
    return seen


# What is removed, the predicates without it, what breaks first, the worst that breaks.
REMOVALS: dict[str, tuple[Predicates, str, str]] = {
    "gap check (R5)": (_place(nullified=_All()), FORK, FORK),
    "parent notarized with its hash (R5)": (_place(notarized=_claimed_parent), FORK, FORK),
    "parent notarized at all (R5)": (_place(notarized=_unless_notarized), FORK, FORK),
    "parent of the notarized hash (R5)": (_place(parent_hash=_what_is_notarized), FORK, FORK),
    "notarize once (R5)": (_notarize(has_notarized=False), CONTRADICTION, FORK),
    "notarize in the current view only (R5)": (
        _notarize(current=_this_view),
        CONTRADICTION,
        CONTRADICTION,
    ),
    "no finalize after nullify (R6)": (_finalize(has_nullified=False), CONTRADICTION, FORK),
    "finalize only what is notarized (R6)": (
        _finalize(notarized_hash=_notarized_or_own),
        CONTRADICTION,
        UNNOTARIZED,
    ),
    "finalize above the final view only (R6)": (_finalize(final_view=0), CONTRADICTION, FORK),
    "finalize below the current view only (R6)": (
        _finalize(current=_next_view),
        CONTRADICTION,
        CONTRADICTION,
    ),
    "finalize only the own notarize (R6)": (
        _finalize(own_notarized_hash=None),
        CONTRADICTION,
        CONTRADICTION,
    ),
    # The own finalize of a view at or below the final one is forgotten: only this bound is left.
    "nullify in the current view only (R7)": (
        _nullify(current=_this_view),
        CONTRADICTION,
        FORK,
    ),
    "no nullify after finalize, by both of its conditions (R7)": (
        _nullify(current=_this_view, has_finalized=False),
        CONTRADICTION,
        FORK,
    ),
}

# What is removed, the predicates without it. The reason is said where it is not plain.
SAFE: dict[str, Predicates] = {
    # A notarization moves the view on before its finalize, so the current view has none.
    "no nullify after finalize, by has_finalized (R7)": _nullify(has_finalized=False),
    # Deterministic signatures: the second vote is the same bytes.
    "nullify once (R7)": _nullify(has_nullified=False),
    "finalize once (R6)": _finalize(has_finalized=False),
    # Order does not matter: notarize and nullify of one view are legal together (R12). The guard
    # refuses it all the same; what is lost is nothing, because the view is given up already.
    "no notarize after nullify (R5)": _notarize(has_nullified=False),
    # A parent below the final view would need that view nullified. The bound saves memory (I11).
    "parent not below the final view (R5)": _place(final_view=0),
}


@pytest.mark.parametrize("name", REMOVALS)
def test_every_removed_rule_is_caught(name: str) -> None:
    predicates, first, worst = REMOVALS[name]
    for seek, fault in {EVERYTHING: first, (worst,): worst}.items():
        found = _run(predicates, seek)
        print(f"\nwithout {name}: {found}")
        assert fault in found.faults, str(found)
        assert found.trace


@pytest.mark.parametrize("name", SAFE)
def test_some_rules_can_be_removed_safely(name: str) -> None:
    found = _run(SAFE[name])
    print(f"\nwithout {name}: {found}")
    assert not found.faults, str(found)
    assert found.states >= STATES_MIN


@pytest.mark.parametrize(
    "name", [name for name, (_, _, worst) in REMOVALS.items() if worst == CONTRADICTION]
)
def test_some_rules_only_keep_evidence_sharp(name: str) -> None:
    """Without them an honest validator can be accused (R12), but nothing forks."""
    found = _run(REMOVALS[name][0], BROKEN)
    print(f"\nwithout {name}: {found}")
    assert not found.faults, str(found)


@pytest.mark.parametrize("validators", [5, 6, 7])
def test_a_quorum_is_enough_for_other_numbers_of_validators(validators: int) -> None:
    found = explore(Model(validators=validators, table=ONE_VIEW))
    print(found)
    assert not found.faults, str(found)


@pytest.mark.parametrize("validators", [5, 6])
def test_2f_plus_1_is_too_small_a_quorum(validators: int) -> None:
    def count_quorum(count: int) -> int:
        return 2 * rules.count_faulty_max(count) + 1

    predicates = replace(PRODUCTION, count_quorum=count_quorum)
    model = Model(validators=validators, table=ONE_VIEW, predicates=predicates)
    for fault in (TWO_HASHES, EXCLUSION):
        found = explore(model, seek=[fault])
        print(f"\n2f+1 of {validators}: {found}")
        assert found.faults == (fault,), str(found)


@pytest.mark.parametrize("validators", range(4, 31))
def test_the_quorum_is_the_least_of_more_than_two_thirds(validators: int) -> None:
    quorum = rules.count_quorum(validators)
    faulty = rules.count_faulty_max(validators)
    assert is_quorum(quorum, validators)
    assert not is_quorum(quorum - 1, validators)
    assert is_quorum(validators - faulty, validators), "the honest alone are a quorum"
    assert not is_quorum(validators - faulty - 1, validators), "no more can be faulty"


def test_epochs_end_safely_in_every_state() -> None:
    model = Model(validators=4, table=SEALS)
    found = explore(model)
    print(found)
    assert not found.faults, str(found)
    assert found.states >= SEAL_STATES_MIN
    again = {(FINALIZE, 1, "s"), (FINALIZE, 2, "s again")}
    assert any(again <= set(model.said(model.certified(state))) for state in _states(model))


def _child_allowed(*, is_parent_seal: bool, is_reproposal: bool) -> bool:
    return is_parent_seal or not is_reproposal


def _any_block_again(*, is_parent_seal: bool, is_reproposal: bool) -> bool:
    return is_reproposal or not is_parent_seal


@pytest.mark.parametrize(
    "predicates",
    [
        pytest.param(replace(PRODUCTION, may_follow=_child_allowed), id="no child of a seal"),
        pytest.param(_place(notarized=_claimed_parent), id="seal notarized before it comes again"),
    ],
)
def test_every_removed_rule_of_the_seal_is_caught(predicates: Predicates) -> None:
    """A height gets one block in this epoch and another in the next."""
    found = explore(Model(validators=4, table=SEALS, predicates=predicates), seek=[FORK])
    print(f"\n{found}")
    assert found.faults == (FORK,)


@pytest.mark.parametrize(
    "predicates",
    [
        # The seal block is final: all that may follow it in this epoch is itself. I5 is kept for
        # the epoch's end in time and for keys that are erased then.
        pytest.param(
            replace(PRODUCTION, may_vote=_without(rules.may_vote, is_final_seal=False)),
            id="no vote after the seal is final (I5)",
        ),
        # A block twice in a row is one block: nothing forks, but an epoch could spend its views so.
        pytest.param(
            replace(PRODUCTION, may_follow=_any_block_again), id="nothing but a seal again"
        ),
    ],
)
def test_some_rules_of_the_seal_can_be_removed_safely(predicates: Predicates) -> None:
    found = explore(Model(validators=4, table=SEALS, predicates=predicates))
    print(f"\n{found}")
    assert not found.faults, str(found)
    assert found.states >= SEAL_STATES_MIN


def test_the_oracle_can_tell_a_block_after_the_final_seal() -> None:
    blocks = Model(validators=4, table=SEALS).blocks
    final = {(NOTARIZE, 1, "s"), (FINALIZE, 1, "s")}
    again = {(NOTARIZE, 2, "s again"), (FINALIZE, 2, "s again")}
    child = {(NOTARIZE, 2, "child of s"), (FINALIZE, 2, "child of s")}
    assert faults_of_certificates(final | again, blocks) == set()
    assert faults_of_certificates(final | child, blocks) == {FORK}


def test_the_oracle_can_tell() -> None:
    blocks = Model(validators=4, table=TWO_VIEWS).blocks
    final_a = {(NOTARIZE, 1, "a"), (FINALIZE, 1, "a")}
    final_d = {(NOTARIZE, 2, "d"), (FINALIZE, 2, "d")}
    final_e = {(NOTARIZE, 2, "e"), (FINALIZE, 2, "e")}
    assert faults_of_certificates(final_a | final_d, blocks) == set()
    assert faults_of_certificates(final_a | final_e, blocks) == {FORK}
    assert faults_of_certificates(final_a | {(NULLIFY, 1, "")}, blocks) == {EXCLUSION}
    assert faults_of_certificates(final_a | {(NOTARIZE, 1, "b")}, blocks) == {TWO_HASHES}
    assert faults_of_certificates({(FINALIZE, 1, "a")}, blocks) == {UNNOTARIZED}
    assert faults_of_votes({(NOTARIZE, 1, "a"), (NULLIFY, 1, ""), (FINALIZE, 2, "d")}) == set()
    for pair in (
        {(NOTARIZE, 1, "a"), (NOTARIZE, 1, "b")},
        {(FINALIZE, 1, "a"), (FINALIZE, 1, "b")},
        {(NOTARIZE, 1, "a"), (FINALIZE, 1, "b")},
        {(NULLIFY, 1, ""), (FINALIZE, 1, "b")},
    ):
        assert faults_of_votes(pair) == {CONTRADICTION}
