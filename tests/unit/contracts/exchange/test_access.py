"""Anchors of access logs: signed by the node, each continuing the one before."""

import msgspec
import pytest

from contracts.exchange.access import ENTRIES_MAX
from contracts.lookup import find_access_anchor
from contracts.words import LANGUAGES, catalogue
from ledger.access.anchors import ACCESS_ANCHORS, AccessAnchor
from ledger.events import Event
from ledger.state import access_key
from tests.builders import TIME_MS, VALIDATORS, anchor, consensus_key, hash32
from tests.unit.contracts.governance.parts import ASIDE, FIRST, SECOND, after, refusal
from tests.unit.contracts.samples import states

NEXT = {
    "previous": hash32("the last line"),
    "digest": hash32("a later line"),
    "period_from_ms": TIME_MS + 1,
    "period_to_ms": TIME_MS + 9,
    "label": "next",
}
REFUSED: dict[str, tuple[dict[str, object], str]] = {
    "an officer signs": ({"key": consensus_key(SECOND)}, "not-a-validator"),
    "a member without a validator": ({"member": ASIDE}, "not-a-validator"),
    "the first one once more": ({**NEXT, "previous": bytes(32)}, "access-unlinked"),
    "one in between is left out": ({**NEXT, "previous": hash32("other")}, "access-unlinked"),
    "it ends before it begins": ({**NEXT, "period_to_ms": TIME_MS}, "access-period-invalid"),
    "it reaches back": ({**NEXT, "period_from_ms": TIME_MS}, "access-period-invalid"),
}


def next_anchor(**changed: object) -> Event:
    return anchor(**{**NEXT, **changed})


def test_anchors_of_a_member_make_a_chain() -> None:
    state = after(anchor())
    after(next_anchor(), state=state)
    assert find_access_anchor(state, FIRST) == AccessAnchor(
        digest=hash32("a later line"), period_to_ms=TIME_MS + 9, entries=6
    )
    assert find_access_anchor(state, SECOND) is None


def test_two_anchors_fit_in_one_block() -> None:
    state = after(anchor(), next_anchor(), anchor(member=SECOND))
    assert state.get(access_key(SECOND)) is not None
    found = find_access_anchor(state, FIRST)
    assert found is not None
    assert found.entries == 6


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_continue_the_chain_is_in_no_block(name: str) -> None:
    changed, code = REFUSED[name]
    state = after(anchor())
    before = dict(state.pairs)
    refused = refusal(state, next_anchor(**changed))
    assert (refused.code, refused.recordable) == (code, False)
    assert state.pairs == before
    for language in LANGUAGES:
        assert catalogue(language)["codes"][code]["advice"]


def test_the_first_anchor_of_a_member_has_no_previous_one() -> None:
    assert refusal(states(), next_anchor()).code == "access-unlinked"


def test_every_validator_has_a_chain_of_its_own() -> None:
    state = after(*(anchor(member=member) for member in VALIDATORS))
    assert all(find_access_anchor(state, member) is not None for member in VALIDATORS)


def test_the_sum_of_lines_stays_a_number_of_the_state() -> None:
    state = after(anchor())
    last = find_access_anchor(state, FIRST)
    assert last is not None
    most = msgspec.structs.replace(last, entries=ENTRIES_MAX - 1)
    state.pairs[access_key(FIRST)] = ACCESS_ANCHORS.encode(most)
    after(next_anchor(), state=state)
    found = find_access_anchor(state, FIRST)
    assert found is not None
    assert found.entries == ENTRIES_MAX
