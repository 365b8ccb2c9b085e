"""Tables of cases: the shipped ones hold and cover every policy; bad tables are refused."""

from importlib.resources import files

import pytest

from contracts.drafts.cases import CASES_MAX, InvalidCases, parse_cases, run_case
from contracts.engine import PolicyEngine
from contracts.shipped import TABLE, load_shipped
from tests.unit.contracts.drafts.pasts import changed_set

ENGINE = PolicyEngine(load_shipped())
FOLDER = files("contracts") / "policies"


def table(contract: str) -> str:
    return FOLDER.joinpath(f"{contract}.cases.toml").read_text("utf-8")


@pytest.mark.parametrize("contract", [row.id for row in TABLE])
def test_every_shipped_case_holds(contract: str) -> None:
    for case in parse_cases(table(contract)):
        result = run_case(ENGINE, case)
        assert result.differences == (), (case.expected.name, result.differences)


def test_every_shipped_policy_decides_a_case_of_its_contract() -> None:
    for row in TABLE:
        decided = {
            name
            for case in parse_cases(table(row.id))
            for name in run_case(ENGINE, case).decision.policies
        }
        own = {name for name, info in ENGINE.infos.items() if info.contract == row.id}
        assert own <= decided, row.id


@pytest.mark.parametrize("contract", [row.id for row in TABLE])
def test_a_case_fails_without_its_contract(contract: str) -> None:
    shipped = load_shipped()
    rest = tuple(each for each in shipped.contracts if each.id != contract)
    engine = PolicyEngine(
        type(shipped)(version=1, engine=shipped.engine, schema=shipped.schema, contracts=rest)
    )
    results = [run_case(engine, case) for case in parse_cases(table(contract))]
    assert any(result.differences for result in results)


def test_a_failing_case_says_what_differs() -> None:
    engine = PolicyEngine(
        changed_set("necessity", "context.subjects > 200", "context.subjects > 9")
    )
    (case,) = parse_cases(
        "[defaults]\npurpose = 'assessment'\n[[case]]\nname = 'ten'\nsubjects = 10\n"
        "expect = 'permit'\npolicies = ['tax-request']\ndeadline_hours = 24\nredact = []"
    )
    found = [(each.what, each.expected, each.found) for each in run_case(engine, case).differences]
    assert found == [
        ("expect", "permit", "deny"),
        ("policies", "tax-request", "necessity.subjects"),
        ("deadline_hours", "24", "-"),
    ]


CASE = "[[case]]\nname = 'a'\nexpect = 'permit'\n"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "no [[case]]"),
        ("[[case", "Expected"),
        ("x = 1", "unknown key x"),
        ("case = 3", "no [[case]]"),
        ("case = [3]", "case 1: not a table"),
        ("defaults = 3\n" + CASE, "no [[case]]"),
        ("[[case]]\nexpect = 'permit'", "case 1 (-): Object missing required field `name`"),
        ("[[case]]\nname = 'a'\nexpect = 'maybe'", "Invalid enum value 'maybe'"),
        (CASE + "shoe = 3", "case 1 (a): unknown key shoe"),
        (CASE + "subjects = 'many'", "Expected `int`, got `str`"),
        (CASE + "subjects = 1.5", "Expected `int`, got `float`"),
        (CASE + "subjects = 9223372036854775807", "<= 1125899906842624"),
        (CASE + "frozen = 1", "Expected `bool`, got `int`"),
        (CASE + "fields = 'a'", "Expected `array`, got `str`"),
        (CASE + "grade = 'E'", "Invalid enum value 'E'"),
        (CASE + "roles = ['king']", "Invalid enum value 'king'"),
        (CASE + CASE, "case 'a' stands twice"),
        ("x" * 300_000, "more than 262144 characters"),
        (
            "".join(f"[[case]]\nname = '{n}'\nexpect = 'deny'\n" for n in range(CASES_MAX + 1)),
            "at most 1000",
        ),
    ],
)
def test_a_bad_table_is_refused_with_the_place(text: str, fault: str) -> None:
    with pytest.raises(InvalidCases) as caught:
        parse_cases(text)
    assert fault in str(caught.value)
