"""Every refusal of governance, by its code: what provokes it, and the sentence that is found.

The codes are read from the source, so a new one fails here until it has a case and its words.
"""

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from contracts.credit.behaviours import DEFAULT_RULES
from contracts.risk.reasons import DEFAULT_RULES as RISK_RULES
from contracts.words import LANGUAGES, catalogue
from ledger.custody.rotation import SignedRotation, sign_rotation
from ledger.events import Event
from ledger.governance.actions import (
    Action,
    LiftFreeze,
    RemoveContract,
    RetireMember,
    RevokeOfficer,
    SetBasis,
    SetContract,
    SetCreditRules,
    SetDataset,
    SetFreeze,
    SetPurpose,
    SetRiskRules,
    SetRoles,
    SetRule,
    SuspendMember,
    VotingRule,
)
from ledger.governance.keys import RotateOfficer, SetEncryptionKey, SetTerm
from ledger.governance.registers import SUNSETS, SUNSETS_MAX, Sunset
from ledger.keys import SecretKey, fingerprint
from ledger.quorum.governance import KeepValidators
from ledger.registry import Contract, Freeze, Purpose
from ledger.state import SUNSETS_KEY, MapState
from tests.builders import (
    DATASETS,
    HEIGHT,
    VALIDATORS,
    accuse,
    add_validator,
    ballot,
    carried,
    consensus_key,
    hash32,
    key_of,
    legal_basis,
    propose,
    ready,
    remove_validator,
    take_back,
    validator,
    vote,
)
from tests.registers import code_list, record_schema, shape, sunset
from tests.unit.contracts.governance.parts import (
    ASIDE,
    FIRST,
    FOURTH,
    NEW,
    SECOND,
    THIRD,
    acknowledge,
    after,
    application,
    encryption_bytes,
    fresh_officer,
    gateway,
    passed,
    proved,
    recipient,
    refusal,
    votes,
)
from tests.unit.contracts.samples import states

SOURCES = [
    Path(__file__).parents[4] / "contracts" / folder for folder in ("governance", "registers")
]
RAISERS = ("Fault", "refused", "unfit")
GONE = "cn-9999-tax"
NOBODY = SecretKey(hash32("nobody")).public
SUSPEND = SuspendMember(member=ASIDE, grounds="x")
RETIRE = RetireMember(member=ASIDE, grounds="x")
KNOWN = Purpose(id="pensions", name_zh="x", name_en="x")
FREEZE = SetFreeze(freeze=Freeze(requester="", provider="", dataset="", reason="drill"))
ADD = add_validator(ASIDE)
FIVE = sorted([*VALIDATORS, ASIDE])
TWO_VOTES = vote(THIRD, "a"), vote(THIRD, "b")
ACCUSED = accuse(*TWO_VOTES)
LATER = propose(RETIRE, label="later", activate_height=99)
UNSIGNED = "signature does not verify under the named key"

# What provokes a refusal: a state and an event that it must not take at a height.
Case = tuple[MapState, Event, int]
Builder = Callable[[], Case]


def asked(*actions: Action, state: MapState | None = None) -> Case:
    """The actions are proposed, on a fresh network unless another is given."""
    return states() if state is None else state, propose(*actions, label="asked"), HEIGHT


def purpose(name: str) -> SetPurpose:
    return SetPurpose(purpose=msgspec.structs.replace(KNOWN, id=name))


def waiting(count: int) -> MapState:
    state = states()
    for number in range(count):
        events = passed(purpose(f"p{number}"), activate_height=HEIGHT + 50, label=str(number))
        after(*events, state=state)
    return state


def opened(**changed: object) -> tuple[MapState, Event]:
    proposal = propose(SUSPEND, **changed)
    return after(proposal), proposal


def on_opened(event: Callable[[Event], Event], height: int = HEIGHT, **changed: object) -> Case:
    state, proposal = opened(**changed)
    return state, event(proposal), height


def evidence_twice() -> Case:
    return after(ACCUSED), accuse(*TWO_VOTES, label="again"), HEIGHT


def acknowledged_twice() -> Case:
    events = passed(application())
    state = after(*events)
    after(acknowledge(events[0]), state=state, height=HEIGHT + 1)
    return state, acknowledge(events[0], label="again"), HEIGHT + 2


def pending_and(event: Event) -> Case:
    return after(*carried(ADD)), event, HEIGHT


def ready_twice() -> Case:
    state = after(*carried(ADD, activate_height=HEIGHT + 50))
    after(ready(FIRST, FIVE), state=state)
    return state, ready(FIRST, FIVE, label="again"), HEIGHT


def full_freezes() -> MapState:
    scopes = [Freeze(requester=f"r{n}", provider="", dataset="", reason="") for n in range(64)]
    return states(freezes=tuple(scopes))


def closed() -> Case:
    state, proposal = opened()
    after(take_back(proposal), state=state)
    return state, ballot(proposal, SECOND), HEIGHT


def contradicted() -> Case:
    """Both were open; what is carried first holds the member."""
    first = propose(SUSPEND, label="first")
    state = after(*votes(first, SECOND), *votes(LATER, SECOND, THIRD))
    return state, ballot(first, THIRD), HEIGHT + 1


def revoked() -> Case:
    key = key_of(ASIDE, "requester").public
    state = after(*passed(RevokeOfficer(key=key, grounds="left")))
    return asked(RevokeOfficer(key=key, grounds="again"), state=state)


def rule(share: int) -> SetRule:
    return SetRule(rule=VotingRule(action_class="keys", share=share, factors=1))


def next_dataset(**changed: object) -> SetDataset:
    return SetDataset(dataset=msgspec.structs.replace(DATASETS[0], version=2, **changed))


def stranger() -> Action:
    """An application in which a key of another member stands."""
    keys = (proved(key_of(id_, "admin"), NEW, "admin") for id_ in (NEW, FIRST))
    return application(keys=tuple(sorted(keys, key=lambda each: each.key)))


def tampered() -> Action:
    good = application()
    told = msgspec.structs.replace(good.application, name_en="Another")
    return msgspec.structs.replace(good, application=told)


def elsewhere() -> SignedRotation:
    old, new = key_of(FIRST, "admin"), SecretKey(hash32("next"))
    return sign_rotation(old, new, network=hash32("another"), member=FIRST)


def bad_cosigning_key() -> Action:
    wrong = validator(ASIDE, cosigning_key=b"\x02" + bytes(32))
    return add_validator(ASIDE, validator=wrong)


LISTED = shape(currency={"x-code-list": "iso-4217"})


def widened() -> dict[str, Any]:
    """A record schema that has one property more than the dataset has fields."""
    document = shape()
    document["properties"]["nickname"] = document["properties"]["currency"]
    return document


def shortened() -> dict[str, Any]:
    """A record schema without a property of one field."""
    document = shape()
    del document["properties"]["currency"]
    return document


def without_list() -> MapState:
    """The code list was registered, and is out of force."""
    state = after(*passed(code_list()))
    after(*passed(sunset("code-list/iso-4217", "2020-01-01")), state=state, height=HEIGHT + 1)
    return after(state=state, height=HEIGHT + 2)


def sunsets() -> MapState:
    """As many last days as there is room for."""
    state = states()
    state.pairs[SUNSETS_KEY] = SUNSETS.encode(
        tuple(
            Sunset(
                target=f"purpose/p{number:03}", date="2099-01-01", proposal=bytes(32), ended=False
            )
            for number in range(SUNSETS_MAX)
        )
    )
    return state


CASES: dict[str, tuple[Builder, str]] = {
    "classes-mixed": (lambda: asked(SUSPEND, purpose("x")), "contracts, parties"),
    "actions-conflict": (
        lambda: asked(remove_validator(FIRST), RETIRE),
        "changes of the validators stand alone",
    ),
    "not-a-validator": (
        lambda: (states(), accuse(*TWO_VOTES, member=ASIDE), HEIGHT),
        f"{ASIDE} with key {consensus_key(ASIDE).public[1:].hex()}",
    ),
    "evidence-invalid": (
        lambda: (states(), accuse(vote(THIRD, "a"), vote(THIRD, "a")), HEIGHT),
        "an honest validator may sign both votes",
    ),
    "evidence-known": (
        evidence_twice,
        f"event {ACCUSED.digest.hex()} holds evidence about this view",
    ),
    "member-exists": (lambda: asked(application(ASIDE)), f"{ASIDE} is active"),
    "application-invalid": (lambda: asked(tampered()), UNSIGNED),
    "officer-exists": (lambda: asked(stranger()), f"an officer of {FIRST} has this key"),
    "key-in-use": (
        lambda: asked(fresh_officer(FIRST, "admin", label=f"{FIRST}/consensus")),
        f"the validator of {FIRST} has it",
    ),
    "roles-invalid": (
        lambda: asked(SetRoles(key=key_of(ASIDE, "admin").public, roles=("requester", "admin"))),
        "requester, admin",
    ),
    "member-unknown": (lambda: asked(SuspendMember(member=GONE, grounds="x")), GONE),
    "member-state": (
        lambda: asked(SUSPEND, state=after(*passed(SUSPEND))),
        f"{ASIDE} is suspended",
    ),
    "member-validates": (lambda: asked(RetireMember(member=FIRST, grounds="x")), FIRST),
    "possession-invalid": (
        lambda: asked(msgspec.structs.replace(fresh_officer(FIRST, "admin"), member=ASIDE)),
        f"{ASIDE}: {UNSIGNED}",
    ),
    "unchanged": (lambda: asked(rule(500)), "keys"),
    "officer-unknown": (lambda: asked(RevokeOfficer(key=NOBODY, grounds="x")), NOBODY[1:].hex()),
    "officer-revoked": (revoked, key_of(ASIDE, "requester").public[1:].hex()),
    "officer-of-other-member": (
        lambda: asked(SetTerm(member=FIRST, key=key_of(ASIDE, "admin").public, not_after="")),
        f"{ASIDE} has the key",
    ),
    "statement-invalid": (
        lambda: asked(RotateOfficer(statement=elsewhere())),
        f"it is for network {hash32('another').hex()[:16]}",
    ),
    "encryption-key-invalid": (
        lambda: asked(SetEncryptionKey(member=FIRST, key=bytes(1_217), not_after="")),
        "unknown encryption key algorithm or wrong key length",
    ),
    "encryption-key-known": (
        lambda: asked(recipient(), state=after(*passed(recipient()))),
        f"{fingerprint(encryption_bytes('one'))} is of {FIRST}",
    ),
    "gateway-address-invalid": (
        lambda: asked(gateway(address="gate-.example.org:8443")),
        "gate-.example.org:8443",
    ),
    "gateway-certificate-invalid": (
        lambda: asked(msgspec.structs.replace(gateway(), certificates=(b"0",))),
        "certificate 1: no value of type 0x30 where one has to be",
    ),
    "last-day-invalid": (lambda: asked(recipient(not_after="2026-02-30")), "2026-02-30"),
    "not-a-voter": (
        lambda: (states(), propose(FREEZE, member=ASIDE), HEIGHT),
        f"{ASIDE} has no validator in this epoch",
    ),
    "not-the-proposer": (
        lambda: on_opened(lambda of: take_back(of, member=SECOND)),
        f"only {FIRST} may withdraw it",
    ),
    "proposal-unknown": (
        lambda: (states(), ballot(propose(SUSPEND), SECOND), HEIGHT),
        propose(SUSPEND).digest.hex(),
    ),
    "acknowledge-unexpected": (acknowledged_twice, NEW),
    "ballot-period-invalid": (
        lambda: (states(), propose(SUSPEND, ballots_until_height=HEIGHT - 1), HEIGHT),
        f"height {HEIGHT - 1}, from {HEIGHT} to {HEIGHT + 1_000} are allowed",
    ),
    "proposal-expired": (
        lambda: on_opened(
            lambda of: ballot(of, SECOND), HEIGHT + 2, ballots_until_height=HEIGHT + 1
        ),
        f"ballots counted up to height {HEIGHT + 1}, now {HEIGHT + 2}",
    ),
    "ballot-repeated": (lambda: on_opened(lambda of: ballot(of, FIRST)), FIRST),
    "proposal-closed": (closed, "withdrawn"),
    "contract-unknown": (lambda: asked(RemoveContract(id="nothing")), "nothing"),
    "contract-invalid": (
        lambda: asked(SetContract(contract=Contract(id="stop", text=""))),
        "stop: contract-empty stop",
    ),
    "version-invalid": (
        lambda: asked(next_dataset(id="customs")),
        "customs: version 2, the next one is 1",
    ),
    "field-repeated": (lambda: asked(next_dataset(fields=DATASETS[0].fields * 2)), DATASETS[0].id),
    "period-invalid": (
        lambda: asked(
            SetBasis(basis=legal_basis("x", in_force_from="2020-01-02", in_force_to="2020-01-01"))
        ),
        "2020-01-02 to 2020-01-01",
    ),
    "purpose-unknown": (
        lambda: asked(SetBasis(basis=legal_basis("x", purposes=("pensions",)))),
        "pensions",
    ),
    "credit-rules-invalid": (
        lambda: asked(
            SetCreditRules(rules=msgspec.structs.replace(DEFAULT_RULES, version=1, grade_b=950))
        ),
        "minimum <= grade_c <= grade_b <= grade_a <= maximum does not hold",
    ),
    "risk-rules-invalid": (
        lambda: asked(
            SetRiskRules(rules=msgspec.structs.replace(RISK_RULES, version=1, close_hour=7))
        ),
        "open_hour < close_hour does not hold",
    ),
    "rule-invalid": (lambda: asked(rule(1)), "1, from 333 to 999 thousandths are allowed"),
    "freezes-full": (lambda: asked(FREEZE, state=full_freezes()), "64"),
    "dataset-unknown": (
        lambda: asked(
            SetFreeze(freeze=Freeze(requester="", provider="", dataset="none", reason="x"))
        ),
        "none",
    ),
    "freeze-unknown": (
        lambda: asked(LiftFreeze(requester=FIRST, provider="", dataset="")),
        f"{FIRST} / * / *",
    ),
    "voters-too-few": (
        lambda: asked(*(SuspendMember(member=each, grounds="x") for each in (THIRD, FOURTH))),
        "2 of 4 members with a validator would be active",
    ),
    "waiting-full": (lambda: asked(purpose("more"), state=waiting(64)), "64"),
    "target-waiting": (contradicted, f"member/{ASIDE}: proposal {LATER.digest.hex()} at height 99"),
    "change-pending": (
        lambda: pending_and(propose(remove_validator(FIRST))),
        "one change of the list at a time",
    ),
    "validator-unknown": (lambda: asked(remove_validator(ASIDE)), ASIDE),
    "no-change-pending": (lambda: asked(KeepValidators()), "there is nothing to abandon"),
    "member-not-active": (
        lambda: asked(ADD, state=after(*passed(SUSPEND))),
        f"{ASIDE} is suspended",
    ),
    "validator-exists": (lambda: asked(add_validator(FIRST)), FIRST),
    "validator-key-invalid": (lambda: asked(bad_cosigning_key()), f"cosigning key of {ASIDE}"),
    "validator-count": (lambda: asked(remove_validator(FIRST)), "3, from 4 to 30 are allowed"),
    "validators-unchanged": (
        lambda: asked(remove_validator(FIRST), add_validator(FIRST)),
        "the next list is the one in force",
    ),
    "record-schema-invalid": (lambda: asked(record_schema({})), "schema-value: /type"),
    "field-unknown": (lambda: asked(record_schema(widened())), "account has no field nickname"),
    "field-missing": (lambda: asked(record_schema(shortened())), "currency"),
    "sensitivity-differs": (
        lambda: asked(record_schema(shape(currency={"x-sensitivity": "secret"}))),
        "currency: secret, in account it is public",
    ),
    "code-list-unknown": (lambda: asked(record_schema(LISTED)), "iso-4217"),
    "code-list-ended": (lambda: asked(record_schema(LISTED), state=without_list()), "iso-4217"),
    "codes-unsorted": (lambda: asked(code_list("EUR", "CNY")), "CNY after EUR"),
    "sunset-target-unknown": (lambda: asked(sunset("dataset/none", "2099-01-01")), "dataset/none"),
    "sunset-date-invalid": (lambda: asked(sunset("purpose/audit", "2027-02-30")), "2027-02-30"),
    "sunsets-full": (lambda: asked(sunset("purpose/audit", "2099-01-01"), state=sunsets()), "128"),
    "ready-unexpected": (
        lambda: (states(), ready(FIRST, FIVE), HEIGHT),
        "no change of the list is pending",
    ),
    "ready-known": (ready_twice, FIRST),
}


def codes_of_source() -> frozenset[str]:
    """Codes that stand in calls, and those that a table hands to one."""
    found = set()
    words = catalogue("en")["codes"].keys()
    for path in (path for folder in SOURCES for path in folder.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in RAISERS:
                named = [each.value for each in node.keywords if each.arg == "code"]
                code = (*named, *node.args)[0]
                if isinstance(code, ast.Constant):
                    found.add(str(code.value))
            elif isinstance(node, ast.Constant) and node.value in words:
                found.add(str(node.value))
    return frozenset(found)


def test_every_code_of_governance_has_a_case_and_words() -> None:
    assert codes_of_source() == CASES.keys()
    for language in LANGUAGES:
        words = catalogue(language)["codes"]
        for code in CASES:
            assert words[code]["title"], code
            assert words[code]["advice"], code


@pytest.mark.parametrize("code", CASES)
def test_what_is_refused_says_what_was_found(code: str) -> None:
    build, detail = CASES[code]
    state, event, height = build()
    before = dict(state.pairs)
    refused = refusal(state, event, height)
    assert (refused.code, refused.detail) == (code, detail)
    assert state.pairs == before, "a check changes nothing"


def replayed() -> Case:
    """The very bytes of a ballot that was counted, once more."""
    state, proposal = opened()
    cast = ballot(proposal, SECOND)
    after(cast, state=state)
    return state, cast, HEIGHT + 1


def from_elsewhere() -> Case:
    return on_opened(lambda of: ballot(of, SECOND, network=hash32("another")))


# Input that people and attackers really hand in, by its name. A wrong pass phrase and a damaged
# keystore never reach a node: `tests/unit/tools/custody/test_keyfiles.py` has them.
BAD_INPUT: dict[str, tuple[Builder, str]] = {
    "wrong network": (from_elsewhere, "wrong-network"),
    "replayed ballot": (replayed, "duplicate"),
    "double ballot": (CASES["ballot-repeated"][0], "ballot-repeated"),
    "ballot after expiry": (CASES["proposal-expired"][0], "proposal-expired"),
    "proposal that contradicts another": (contradicted, "target-waiting"),
    "tampered application": (CASES["application-invalid"][0], "application-invalid"),
    "more than one pending validator change": (CASES["change-pending"][0], "change-pending"),
}


@pytest.mark.parametrize("name", BAD_INPUT)
def test_bad_input_is_refused(name: str) -> None:
    build, code = BAD_INPUT[name]
    assert refusal(*build()).code == code
