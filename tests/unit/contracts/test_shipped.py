"""Each shipped contract: one exchange that it lets through, one that it holds back."""

from importlib.resources import files

import pytest

from contracts.engine import validate_policy_set
from contracts.shipped import TABLE, load_shipped
from ledger.blocks import Outcome
from ledger.events import Event
from ledger.registry import Freeze, Member
from ledger.state import StateReader
from tests import builders
from tests.builders import ASKER, OWNER, TIME_MS, approve, deliver, request, reviewed_request
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
