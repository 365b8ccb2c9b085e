"""A set that may not be enacted is refused with a code, a place, and nothing ever escapes."""

import time

import msgspec
import pytest

from contracts.drafts import check
from contracts.drafts.bounds import DEPTH_MAX
from contracts.drafts.check import FAULTS_MAX, Fault, find_policy_set_faults
from contracts.engine import POLICIES_MAX, PolicyEngine, validate_policy_set
from contracts.shipped import load_shipped
from ledger.registry import Contract, PolicySet

PERMIT = '@id("draft") permit (principal, action, resource)'


def made_of(*texts: str, ids: tuple[str, ...] = ("draft",), **lies: object) -> PolicySet:
    contracts = tuple(Contract(id=id_, text=text) for id_, text in zip(ids, texts, strict=True))
    return msgspec.structs.replace(load_shipped(), **{"contracts": contracts, **lies})


def when(condition: str) -> PolicySet:
    return made_of(f"{PERMIT}\nwhen {{ {condition} }};")


def only(policy_set: PolicySet) -> Fault:
    (fault,) = find_policy_set_faults(policy_set)
    return fault


def test_the_shipped_set_may_be_enacted() -> None:
    assert find_policy_set_faults(load_shipped()) == ()


@pytest.mark.parametrize(
    ("text", "code", "place", "detail"),
    [
        ("", "contract-empty", (0, 0), "draft"),
        ("// nothing;", "contract-empty", (0, 0), "draft"),
        (PERMIT, "policy-unreadable", (1, 50), "unexpected end of input"),
        ('// x\n@id("draft") permit (principal action, resource);', "policy-unreadable", (2, 32),
         "unexpected token `action`"),
        (PERMIT + "\nwhen { contxt == 1 };", "policy-unreadable", (2, 8), "contxt"),
        (PERMIT + "\nwhen { context.shoe == 1 };", "policy-invalid", (2, 16), "`shoe`"),
        (PERMIT + '\nwhen { context.subjects == "a" };', "policy-invalid", (1, 1), "compatible"),
        ('@id("draft") permit (principal, action == Action::"steal", resource);',
         "policy-invalid", (1, 51), "steal"),
        (PERMIT + '\nwhen { context.purpose == "tax };', "string-open", (2, 27), ""),
        (PERMIT + ";\n" + PERMIT + ";", "policy-repeated", (2, 1), "draft"),
        ('@id("other") permit (principal, action, resource);', "annotation-invalid", (1, 1),
         '@id("draft")'),
        ('@id("draft") @speed("9") permit (principal, action, resource);', "annotation-invalid",
         (1, 1), "@speed"),
        ('@id("draft") permit (principal == ?principal, action, resource);', "policy-template",
         (1, 1), "?principal"),
        (PERMIT + "\nwhen { " + "(" * 65, "statement-large", (1, 1), "brackets"),
        (PERMIT + "\nwhen { " + " && ".join(["context.frozen"] * 70) + " };", "policy-deep",
         (1, 1), str(DEPTH_MAX)),
        (PERMIT + '\nwhen { decimal("1.0") == decimal("1.0") };', "policy-operator", (2, 8),
         "decimal"),
        (PERMIT + '\nwhen { Member::"a".kind == "tax" };', "policy-stranger", (2, 20), "kind"),
        (PERMIT + "\nwhen { context.timeMs * context.balance > 1 };", "policy-overflow", (1, 1),
         "9223372036854775807"),
    ],
)  # fmt: skip
def test_a_fault_has_its_code_and_place(
    text: str, code: str, place: tuple[int, int], detail: str
) -> None:
    faults = find_policy_set_faults(made_of(text))
    fault = next(each for each in faults if each.code == code and detail in each.detail)
    assert fault.contract == "draft"
    assert (fault.place.line, fault.place.column) == place


def schema(old: str, new: str) -> PolicySet:
    text = load_shipped().schema
    assert old in text
    return msgspec.structs.replace(load_shipped(), schema=text.replace(old, new))


@pytest.mark.parametrize(
    ("policy_set", "code", "place"),
    [
        (schema("entity Role;", 'entity Role enum ["requester"];'), "schema-lists", (3, 13)),
        (schema("region: String", "region: Strin"), "schema-unreadable", (7, 11)),
        (schema("entity Role;", "entity Role"), "schema-unreadable", (4, 1)),
        (schema("entity Role;", 'entity "Role;'), "string-open", (24, 71)),
        (schema("grade: String,", ""), "schema-unfit", (0, 0)),
        (schema("region: String", "region: Long"), "schema-unfit", (0, 0)),
        (schema("region: String", "region: String, more: String"), "schema-unfit", (0, 0)),
        (schema("frozen: Bool,", "frozen: Bool, more: Bool,"), "schema-unfit", (0, 0)),
        (schema("approve, ", ""), "schema-unfit", (0, 0)),
        (schema("entity Role;", "type Deep = " + "{a: " * 65), "statement-large", (3, 1)),
    ],
)
def test_a_schema_must_fit_what_the_ledger_asks(
    policy_set: PolicySet, code: str, place: tuple[int, int]
) -> None:
    fault = only(policy_set)
    assert (fault.code, fault.contract) == (code, "schema")
    if code != "string-open":
        assert (fault.place.line, fault.place.column) == place


def test_a_schema_may_say_more_than_is_asked() -> None:
    wider = schema("region: String", "region: String, more?: String")
    assert find_policy_set_faults(wider) == ()


@pytest.mark.parametrize(
    ("policy_set", "code"),
    [
        (made_of(ids=()), "set-empty"),
        (made_of(f"{PERMIT};", engine="cedarpy-0"), "engine-other"),
        (made_of(f"{PERMIT};".replace("draft", "b"), f"{PERMIT};".replace("draft", "a"),
                 ids=("b", "a")), "set-unsorted"),
        (made_of(f"{PERMIT};", f"{PERMIT};".replace("draft", "draft.b"), ids=("draft", "draft")),
         "contract-repeated"),
        (made_of('@id("a.b") permit (principal, action, resource);',
                 '@id("a.b") permit (principal, action, resource);', ids=("a", "a.b")),
         "policy-repeated"),
        (made_of("".join(f"{PERMIT};".replace("draft", f"draft.{n}")
                         for n in range(POLICIES_MAX + 1))), "policies-many"),
        (made_of(f"{PERMIT};", ids=("Draft",)), "set-malformed"),
        (made_of("x" * 40_000), "set-malformed"),
        (made_of("\ud800"), "set-malformed"),
        (made_of(f"{PERMIT};", version=-1), "set-malformed"),
        (made_of(f"{PERMIT};", contracts=None), "set-malformed"),
    ],
)  # fmt: skip
def test_faults_of_the_whole_set(policy_set: PolicySet, code: str) -> None:
    assert code in [fault.code for fault in find_policy_set_faults(policy_set)]


def test_a_set_that_validates_but_cannot_be_asked_is_refused() -> None:
    """Seen in Cedar: what parses as text may be too deep as JSON, in which it is handed over."""
    deep = when(" && ".join(["context.frozen"] * 70))
    assert validate_policy_set(deep)
    with pytest.raises(ValueError, match="JSON"):
        PolicyEngine(deep)
    assert only(deep).code == "policy-deep"


@pytest.mark.parametrize(
    ("condition", "code", "detail"),
    [
        (" && ".join(["context.frozen"] * 70), "engine-failed", "JSON"),
        ("context.timeMs + 9223372036854775807 > 0", "probe-failed", "overflow"),
        ('Member::"a".kind == "tax"', "probe-failed", "does not exist"),
    ],
)
def test_without_the_bounds_the_invented_questions_would_still_tell(
    monkeypatch: pytest.MonkeyPatch, condition: str, code: str, detail: str
) -> None:
    monkeypatch.setattr(check, "find_excess", lambda policy: iter(()))
    fault = only(when(condition))
    assert (fault.code, fault.contract) == (code, "")
    assert detail in fault.detail


def test_the_deepest_that_is_allowed_can_be_asked() -> None:
    deepest = max(
        count
        for count in range(40, 70)
        if not find_policy_set_faults(when(" && ".join(["context.frozen"] * count)))
    )
    assert deepest > 45
    PolicyEngine(when(" && ".join(["context.frozen"] * deepest)))


@pytest.mark.parametrize(
    "text",
    ['"' + '\\"' * 16_000 + "\\", '"' + '\\"' * 16_000, "(" * 32_000, "//" * 16_000, "@" * 32_000],
)
def test_hostile_text_is_refused_in_a_moment(text: str) -> None:
    started_s = time.process_time()
    assert find_policy_set_faults(made_of(text))
    assert find_policy_set_faults(made_of(f"{PERMIT};", schema=text))
    assert time.process_time() - started_s < 3


def test_no_more_faults_than_anyone_reads() -> None:
    bad = "when { context.a1 == 1 || context.a2 == 1 || context.a3 == 1 }"
    texts = [
        f'@id("draft.{n}") permit (principal, action, resource)\n{bad} {bad};' for n in range(60)
    ]
    assert len(find_policy_set_faults(made_of("".join(texts)))) <= FAULTS_MAX


def test_faults_are_the_same_every_time() -> None:
    bad = when('context.shoe == 1 || context.hat == 2 || Member::"a".kind == "tax"')
    assert len({find_policy_set_faults(bad) for _ in range(5)}) == 1
