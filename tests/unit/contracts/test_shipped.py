"""Each shipped contract: one exchange that it lets through, one that it holds back."""

from importlib.resources import files

import msgspec
import pytest

from contracts.engine import validate_policy_set
from contracts.risk.habits import month_of
from contracts.shipped import TABLE, load_shipped
from ledger.blocks import Outcome
from ledger.events import Event
from ledger.exchange.risk import HABITS, AskedMonth, AskedUse, Habit
from ledger.registry import EMPTY_COUNTERS, PAIR_COUNTERS, POLICY_SETS, Freeze, Member
from ledger.state import POLICY_SET_KEY, MapState, StateReader, counters_key, habit_key
from tests import builders
from tests.builders import ASKER, OWNER, TIME_MS, approve, deliver, request, reviewed_request
from tests.exchanges import ASKED, HELD, give_consent, offer, report, use
from tests.unit.contracts.samples import run, state_after, states


def outcome(event: Event, state: StateReader | None = None) -> Outcome:
    return run(state or states(), event).outcomes[0]


def members(**scores: int) -> tuple[Member, ...]:
    """The members with other credit scores, named by `_` for `-`."""
    wanted = {name.replace("_", "-"): credit for name, credit in scores.items()}
    return tuple(
        builders.member(id_, credit=wanted.get(id_, builders.MEMBERS[id_][2]))
        for id_ in sorted(builders.MEMBERS)
    )


def crs(**changed: object) -> Event:
    base = {"dataset": "account", "purpose": "automatic-exchange", "fields": ("balance-fen",)}
    return request(**{**base, **changed})


def filing(**changed: object) -> Event:
    return request(**{"dataset": "filing", "fields": ("tax-type",), **changed})


def test_automatic_exchange() -> None:
    assert outcome(crs()).policies == ("automatic-exchange",)
    assert outcome(crs(member="de-tax")).decision == "permit"
    assert outcome(crs(member="cn-3301-bank")).decision == "deny"


def test_credit() -> None:
    grade_c, grade_d = (
        states(members=members(cn_3301_tax=500)),
        states(members=members(cn_3301_tax=100)),
    )
    assert outcome(request()).decision == "permit"
    assert outcome(request(), grade_c).decision == "review"
    assert "credit.review" in outcome(request(), grade_c).policies
    assert outcome(request(), grade_d).policies == ("credit.deny",)
    case = request(purpose="criminal", urgency="critical")
    assert outcome(case, grade_d).decision == "review"


def test_criminal_release() -> None:
    assert "criminal-release" in outcome(filing(purpose="criminal", urgency="critical")).policies
    assert outcome(filing(purpose="criminal")).decision == "review"


def test_delivery() -> None:
    opened = request()
    state = state_after(opened)
    assert outcome(deliver(opened), state).policies == ("delivery",)
    frozen = states(freezes=(Freeze(requester="", provider=OWNER, dataset="", reason=""),))
    frozen.pairs.update(run(states(), opened).overlay.changes)
    denied = outcome(deliver(opened), frozen)
    assert (denied.applied, denied.code, denied.policies) == (
        False, "contract-denied", ("freeze",)
    )  # fmt: skip


def test_department_request() -> None:
    customs = tuple(
        builders.member(id_, kind="department" if id_ == ASKER else builders.MEMBERS[id_][1])
        for id_ in sorted(builders.MEMBERS)
    )
    state = states(members=customs)
    wanted = outcome(request(purpose="refund-control"), state)
    assert "department-request" in wanted.policies
    assert outcome(filing(purpose="refund-control"), state).decision == "deny"


def test_four_eyes() -> None:
    opened = reviewed_request()
    approved = outcome(approve(opened), state_after(opened))
    assert (approved.applied, approved.policies) == (True, ("four-eyes",))
    other = outcome(approve(opened, member="cn-3205-tax"), state_after(opened))
    assert (other.applied, other.code) == (False, "not-a-party")


@pytest.mark.parametrize("field", ["requester", "provider", "dataset"])
def test_freeze(field: str) -> None:
    matching = {"requester": ASKER, "provider": OWNER, "dataset": "registration"}[field]
    nothing = {"requester": "", "provider": "", "dataset": "", "reason": ""}
    state = states(freezes=(Freeze(**{**nothing, field: matching}),))
    assert outcome(request(), state).policies == ("freeze",)
    other = states(freezes=(Freeze(**{**nothing, field: "other"}),))
    assert outcome(request(), other).decision == "permit"


@pytest.mark.parametrize("basis", ["ended", "only-account", "only-audit", "only-others"])
def test_legality(basis: str) -> None:
    denied = outcome(request(legal_basis=basis))
    assert (denied.decision, denied.policies) == ("deny", ("legality",))
    assert outcome(request(legal_basis="all")).decision == "permit"


def test_legality_is_judged_at_block_time() -> None:
    ended_2020_ms = TIME_MS - 6 * 366 * 86_400_000
    event = request(legal_basis="ended")
    assert run(states(), event, time_ms=ended_2020_ms).outcomes[0].decision == "permit"


def test_incident() -> None:
    first = report()
    assert outcome(request(), state_after(first)).decision == "review"
    assert outcome(offer(), state_after(first)).decision == "permit"
    several = [report(label=str(number)) for number in range(3)]
    assert outcome(request(), state_after(*several)).policies == ("incident.stop",)
    assert outcome(offer(), state_after(*several)).policies == ("incident.stop",)
    urgent = request(purpose="criminal", urgency="critical")
    assert outcome(urgent, state_after(*several)).decision == "review"


def test_offer() -> None:
    found = outcome(offer())
    assert (found.decision, found.policies) == ("permit", ("offer",))
    assert outcome(offer(purpose="statistics")).decision == "deny"
    assert outcome(offer(retention_days=1_831)).decision == "deny"


def test_onward() -> None:
    state = state_after(*HELD, ASKED)
    assert outcome(give_consent(HELD[0], ASKED), state).policies == ("onward",)


def test_use() -> None:
    assert outcome(use(HELD[0]), state_after(*HELD)).policies == ("use",)


def test_necessity() -> None:
    assert outcome(request(subject_count=200)).decision == "permit"
    assert outcome(request(subject_count=201)).policies == ("necessity.subjects",)
    long = request(period_from="2020-01-01", period_to="2024-12-31")
    assert outcome(long).policies == ("necessity.period",)
    assert outcome(request(retention_days=2_000)).policies == ("necessity.retention",)
    secret = request(dataset="account", fields=("balance-fen",))
    assert outcome(secret).policies == ("necessity.secret-fields",)


def test_reciprocity() -> None:
    opened = [request(label=f"many {number}") for number in range(25)]
    answers = [deliver(event, label=event.nonce.hex()) for event in opened]
    before = state_after(*opened[:24], *answers[:24])
    assert outcome(request(), before).decision == "permit"
    after = state_after(*opened, *answers)
    assert outcome(request(), after).decision == "review"
    assert "reciprocity" in outcome(request(), after).policies


def test_registration_release() -> None:
    assert "registration-release" in outcome(request()).policies
    bank = request(member="cn-3301-bank")
    assert outcome(bank).decision == "deny"


def test_risk() -> None:
    assert "risk" not in outcome(request()).policies
    found = outcome(request(), asks_much())
    assert (found.decision, found.policies) == ("review", ("risk", "tax-request"))


def test_routine_release() -> None:
    assert "routine-release" in outcome(filing()).policies
    assert outcome(filing(subject_count=51)).decision == "review"


def test_statistics() -> None:
    assert outcome(request(purpose="statistics")).decision == "permit"
    personal = request(purpose="statistics", fields=("representative",))
    assert outcome(personal).decision == "deny"


def test_tax_request() -> None:
    assert "tax-request" in outcome(filing()).policies
    assert outcome(filing(member="cn-3301-bank")).policies == ()


def without(contract: str, state: MapState) -> MapState:
    """The same state under the shipped contracts but one."""
    shipped = load_shipped()
    rest = tuple(each for each in shipped.contracts if each.id != contract)
    pairs = dict(state.pairs)
    pairs[POLICY_SET_KEY] = POLICY_SETS.encode(msgspec.structs.replace(shipped, contracts=rest))
    return MapState(pairs)


def took_much() -> MapState:
    state = states()
    counted = msgspec.structs.replace(EMPTY_COUNTERS, asked=25, permitted=25, delivered=25)
    state.pairs[counters_key(ASKER, OWNER, "assessment", 2026)] = PAIR_COUNTERS.encode(counted)
    return state


def asks_much() -> MapState:
    """The asker asks ten times as much as last month, and for another purpose."""
    state, month = states(), month_of(TIME_MS)
    months = (AskedMonth(month - 1, 20, 100, 0), AskedMonth(month, 200, 1_000, 0))
    for provider in ("", OWNER):
        uses = (AskedUse("registration", "audit"),) if provider else ()
        habit = Habit(months=months, uses=uses)
        state.pairs[habit_key(ASKER, provider)] = HABITS.encode(habit)
    return state


def test_reciprocity_sets_off_what_was_given() -> None:
    state = took_much()
    assert outcome(request(), state).decision == "review"
    given = msgspec.structs.replace(EMPTY_COUNTERS, delivered=1)
    state.pairs[counters_key(OWNER, ASKER, "assessment", 2026)] = PAIR_COUNTERS.encode(given)
    assert outcome(request(), state).decision == "permit"


def of_kind(kind: str) -> MapState:
    """The asking member is of this kind."""
    ids = sorted(builders.MEMBERS)
    return states(
        members=tuple(
            builders.member(id_, kind=kind if id_ == ASKER else builders.MEMBERS[id_][1])
            for id_ in ids
        )
    )


OPEN, REVIEWED = request(label="open"), reviewed_request(label="reviewed")
EVERYTHING = Freeze(requester="", provider="", dataset="", reason="")
CAUSES: dict[str, tuple[MapState, Event, str, str]] = {
    "automatic-exchange": (states(), crs(), "permit", "deny"),
    "credit": (states(members=members(cn_3301_tax=500)), request(), "review", "permit"),
    "criminal-release": (
        states(), filing(purpose="criminal", urgency="critical"), "permit", "review"
    ),
    "delivery": (state_after(OPEN), deliver(OPEN), "", "contract-denied"),
    "department-request": (of_kind("department"), request(purpose="criminal"), "permit", "deny"),
    "four-eyes": (state_after(REVIEWED), approve(REVIEWED), "", "contract-denied"),
    "freeze": (states(freezes=(EVERYTHING,)), request(), "deny", "permit"),
    "incident": (state_after(report()), request(), "review", "permit"),
    "legality": (states(), request(legal_basis="ended"), "deny", "permit"),
    "necessity": (states(), request(subject_count=201), "deny", "permit"),
    "offer": (states(), offer(), "permit", "deny"),
    "onward": (
        state_after(*HELD, ASKED), give_consent(HELD[0], ASKED), "", "contract-denied"
    ),
    "reciprocity": (took_much(), request(), "review", "permit"),
    "registration-release": (
        of_kind("department"), request(purpose="refund-control"), "permit", "review"
    ),
    "risk": (asks_much(), request(), "review", "permit"),
    "routine-release": (states(), filing(), "permit", "review"),
    "statistics": (states(), request(purpose="statistics"), "permit", "deny"),
    "tax-request": (states(), filing(), "permit", "deny"),
    "use": (state_after(*HELD), use(HELD[0]), "", "contract-denied"),
}  # fmt: skip


@pytest.mark.parametrize("contract", [row.id for row in TABLE])
def test_taking_a_contract_away_changes_what_it_decides(contract: str) -> None:
    state, event, with_it, without_it = CAUSES[contract]
    for given, wanted in ((state, with_it), (without(contract, state), without_it)):
        found = outcome(event, given)
        assert (found.decision or found.code) == wanted


def test_table_files_and_tests_agree() -> None:
    folder = files("contracts") / "policies"
    stems = sorted(
        entry.name.removesuffix(".cedar")
        for entry in folder.iterdir()
        if entry.name.endswith(".cedar")
    )
    assert [row.id for row in TABLE] == stems
    for row in TABLE:
        assert callable(globals().get(row.test)), row.test


def test_shipped_set_is_valid_and_titled_in_both_languages() -> None:
    for info in validate_policy_set(load_shipped()):
        assert info.title_zh != info.id
        assert info.title_en != info.id
