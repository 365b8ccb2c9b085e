"""Every refusal of admission and exchange: what provokes it, from which line, and in which words.

Places that refuse are read from the source, so a new one fails here until a case comes from it.
"""

import ast
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from contracts.errors import RefusedEvent
from contracts.exchange.matters import read_matters
from contracts.lookup import find_exchange
from contracts.words import LANGUAGES, catalogue, describe
from ledger.access.anchors import NO_ANCHOR
from ledger.events import Event
from ledger.exchange.matters import HOLDERS_MAX, MATTERS
from ledger.governance.actions import Action, RevokeOfficer, SuspendMember
from ledger.governance.keys import SetTerm
from ledger.registry import OFFICERS, POLICY_SETS, Contract, Freeze, Officer
from ledger.state import POLICY_SET_KEY, MapState, matters_key, officer_key
from tests.builders import (
    ASKER,
    HEIGHT,
    NETWORK,
    OWNER,
    TIME_MS,
    VALIDATORS,
    anchor,
    approve,
    dataset,
    deliver,
    hash32,
    key_of,
    receive,
    reject,
    request,
)
from tests.exchanges import (
    ASKED,
    CORRECTED,
    DISPUTED,
    HELD,
    KEY_ID,
    OPEN,
    OTHER,
    PAYLOAD,
    REVIEWED,
    acknowledge,
    ask_consent,
    close,
    confirm,
    correct,
    destroy,
    give_consent,
    offer,
    rate,
    refer,
    reference_keys,
    refuse_consent,
    remedy,
    report,
    resolve,
    use,
)
from tests.registers import code_list, record_schema, shape, sunset
from tests.unit.contracts.governance.parts import after, passed, refusal
from tests.unit.contracts.samples import run, state_after, states

ROOT = Path(__file__).parents[3]
SOURCES = [ROOT / "contracts/admission.py", *sorted((ROOT / "contracts/exchange").glob("*.py"))]
RAISERS = ("refused", "unfit")
GONE = "cn-9999-tax"
GIVEN = give_consent(OPEN, ASKED)
ONWARD = use(OPEN, consent=ASKED.digest)
LATE_CORRECTION = correct(OPEN, commitment=hash32("third"), supersedes=CORRECTED)
REPORTED = report()
CONFIRMED, REMEDIED = confirm(REPORTED), remedy(REPORTED)
NOBODY = key_of("nobody", "requester")
SOLE = key_of(ASKER, "requester")
UNKNOWN = request(label="never recorded")
REUSED = request(label="open", case="another")
PAST = "2020-01-01"
REGISTERED = dataset("registration", uscc="internal", name="public", representative="personal")
SCHEMA = record_schema(shape(REGISTERED), dataset="registration")
LISTED = record_schema(shape(REGISTERED, name={"x-code-list": "iso-4217"}), dataset="registration")

# A state, and an event that it must not take at a height.
Case = tuple[MapState, Event, int]


def on(*before: Event) -> Callable[[Event], Case]:
    """After these events."""
    return lambda event: (state_after(*before), event, HEIGHT)


def voted(*actions: Action, before: tuple[Event, ...] = ()) -> MapState:
    """A quorum has carried the actions, and a block has passed since."""
    state = state_after(*before)
    for number, action in enumerate(actions):
        after(*passed(action, label=str(number)), state=state, height=HEIGHT + 2 * number)
        after(state=state, height=HEIGHT + 2 * number + 1)
    return state


def suspended(member: str) -> MapState:
    return voted(SuspendMember(member=member, grounds="x"))


def full_of_holders() -> MapState:
    """As many hold a copy as may."""
    state = state_after(*HELD, ASKED, GIVEN)
    exchange = find_exchange(state, OPEN.digest)
    assert exchange is not None
    matters = read_matters(state, OPEN.digest, exchange)
    (first,) = matters.holders
    more = (msgspec.structs.replace(first, holder=f"holder-{at}") for at in range(1, HOLDERS_MAX))
    matters = msgspec.structs.replace(matters, holders=(first, *more))
    state.pairs[matters_key(OPEN.digest)] = MATTERS.encode(matters)
    return state


def turned() -> MapState:
    """The key that requested has become one of the provider's approvers."""
    state = state_after(REVIEWED)
    moved = Officer(key=SOLE.public, member=OWNER, roles=("approver",), status="active")
    state.pairs[officer_key(SOLE.public)] = OFFICERS.encode(moved)
    return state


# By its code, and where several places have it, what is wrong: how it comes, and what is found.
CASES: dict[str, tuple[Callable[[], Case], str]] = {
    "wrong-network": (
        lambda: on()(request(network=hash32("elsewhere"))),
        f"signed for network {hash32('elsewhere').hex()[:16]}",
    ),
    "event-expired": (
        lambda: on()(request(expires_height=HEIGHT - 1)),
        f"expired at height {HEIGHT - 1}, now {HEIGHT}",
    ),
    "expiry-too-far": (
        lambda: on()(request(expires_height=HEIGHT + 1_001)),
        f"expires at height {HEIGHT + 1_001}, at most {HEIGHT + 1_000}",
    ),
    "duplicate": (lambda: on(OPEN)(OPEN), f"event {OPEN.digest.hex()} is recorded already"),
    "nonce-reused": (lambda: on(OPEN)(REUSED), f"the nonce names event {OPEN.digest.hex()}"),
    "member-unknown": (lambda: on()(request(member=GONE, key=SOLE)), GONE),
    "member-not-active": (
        lambda: (suspended(ASKER), request(), HEIGHT + 2),
        f"{ASKER} is suspended",
    ),
    "officer-unknown": (lambda: on()(request(key=NOBODY)), NOBODY.public[1:].hex()),
    "officer-of-other-member": (
        lambda: on()(request(key=key_of(OWNER, "requester"))),
        f"the key belongs to {OWNER}",
    ),
    "officer-revoked": (
        lambda: (voted(RevokeOfficer(key=SOLE.public, grounds="x")), request(), HEIGHT + 2),
        SOLE.public[1:].hex(),
    ),
    "officer-expired": (
        lambda: (
            voted(SetTerm(member=ASKER, key=SOLE.public, not_after="2025-12-31")),
            request(),
            HEIGHT + 2,
        ),
        f"{SOLE.public[1:].hex()} signed up to 2025-12-31",
    ),
    "legal-basis-unknown": (lambda: on()(request(legal_basis="none")), "none"),
    "legal-basis-unknown: of a consent": (
        lambda: on(*HELD)(ask_consent(OPEN, legal_basis="nothing")),
        "nothing",
    ),
    "field-unknown": (
        lambda: on()(request(fields=("shoe-size",))),
        "registration has no field shoe-size",
    ),
    "field-repeated": (lambda: on()(request(fields=("uscc", "uscc"))), "registration"),
    "subject-repeated": (
        lambda: on()(request(subjects=(hash32("one"), hash32("one")))),
        "2 commitments",
    ),
    "provider-unknown": (lambda: on()(request(provider=GONE)), GONE),
    "provider-unknown: oneself": (lambda: on()(request(provider=ASKER)), ASKER),
    "recipient-unknown: of an offer": (lambda: on()(offer(recipient=GONE)), GONE),
    "provider-not-active": (
        lambda: (suspended(OWNER), request(), HEIGHT + 2),
        f"{OWNER} is suspended",
    ),
    "recipient-not-active": (
        lambda: (suspended(ASKER), offer(), HEIGHT + 2),
        f"{ASKER} is suspended",
    ),
    "period-invalid: no day": (
        lambda: on()(request(period_from="2024-02-30")),
        "2024-02-30 to 2024-12-31",
    ),
    "period-invalid: backwards": (
        lambda: on()(request(period_from="2024-12-31", period_to="2024-01-01")),
        "2024-12-31 is after 2024-01-01",
    ),
    "exchange-unknown": (lambda: on()(receive(UNKNOWN)), UNKNOWN.digest.hex()),
    "exchange-unknown: of an incident": (
        lambda: on()(report(exchanges=(hash32("x"),))),
        hash32("x").hex(),
    ),
    "exchange-state": (lambda: on(OPEN)(receive(OPEN)), "share.received while permitted"),
    "same-officer": (
        lambda: (turned(), approve(REVIEWED, key=SOLE), HEIGHT),
        "the requesting officer cannot decide the review",
    ),
    "not-a-party": (
        lambda: on(OPEN)(deliver(OPEN, member=OTHER)),
        f"only {OWNER} may do share.delivered here",
    ),
    "not-a-party: reports": (
        lambda: on(*HELD)(report(OPEN, member=OTHER)),
        f"{OTHER} has no part in {OPEN.digest.hex()}",
    ),
    "not-a-party: confirms": (
        lambda: on(REPORTED)(confirm(REPORTED, member=OTHER)),
        f"only its partners confirm {REPORTED.digest.hex()}",
    ),
    "not-a-party: remedies": (
        lambda: on(REPORTED)(remedy(REPORTED, member=OWNER)),
        f"only {ASKER} remedies its incident",
    ),
    "not-a-party: closes": (
        lambda: on(REPORTED, CONFIRMED, REMEDIED)(close(REPORTED, member=OTHER)),
        "a partner or a supervisor closes an incident",
    ),
    "commitment-mismatch": (
        lambda: on(OPEN, deliver(OPEN))(receive(OPEN, commitment=CORRECTED)),
        f"delivered was {PAYLOAD.hex()}",
    ),
    "commitment-mismatch: corrects": (
        lambda: on(*HELD)(LATE_CORRECTION),
        f"delivered was {PAYLOAD.hex()}",
    ),
    "commitment-mismatch: acknowledges": (
        lambda: on(*HELD, correct(OPEN))(acknowledge(OPEN, commitment=PAYLOAD)),
        f"the newest correction is {CORRECTED.hex()}",
    ),
    "commitment-mismatch: uses": (
        lambda: on(*HELD)(use(OPEN, commitment=CORRECTED)),
        f"held is {PAYLOAD.hex()}",
    ),
    "role-missing": (lambda: on()(request(role="approver")), "requester"),
    "dataset-unknown": (lambda: on()(request(dataset="weather")), "weather"),
    "dataset-ended": (
        lambda: (voted(sunset("dataset/registration", PAST)), request(), HEIGHT + 2),
        "registration",
    ),
    "purpose-unknown": (lambda: on()(request(purpose="curiosity")), "curiosity"),
    "purpose-ended": (
        lambda: (voted(sunset("purpose/assessment", PAST)), request(), HEIGHT + 2),
        "assessment",
    ),
    "code-set-unknown": (
        lambda: on(OPEN, deliver(OPEN))(reject(OPEN, code_set="invented")),
        "invented",
    ),
    "code-set-ended": (
        lambda: (
            voted(
                code_list("50007", id="local-98"),
                sunset("code-list/local-98", PAST),
                before=(OPEN, deliver(OPEN)),
            ),
            reject(OPEN, code_set="local-98"),
            HEIGHT + 4,
        ),
        "local-98",
    ),
    "status-code-unknown": (
        lambda: (
            voted(code_list("50007", id="local-98"), before=(OPEN, deliver(OPEN))),
            reject(OPEN, code_set="local-98", codes=(50_008,)),
            HEIGHT + 2,
        ),
        "local-98 has no code 50008",
    ),
    "record-schema-ended": (
        lambda: (
            voted(SCHEMA, sunset("record-schema/registration@1", PAST), before=(OPEN,)),
            deliver(OPEN),
            HEIGHT + 4,
        ),
        "registration version 1",
    ),
    "record-schema-ended: with its code list": (
        lambda: (
            voted(code_list(), LISTED, sunset("code-list/iso-4217", PAST), before=(OPEN,)),
            deliver(OPEN),
            HEIGHT + 6,
        ),
        "registration version 1, with iso-4217",
    ),
    "schema-version-unknown": (
        lambda: on(OPEN)(deliver(OPEN, schema_version=2)),
        "registration version 2",
    ),
    "consent-missing": (
        lambda: on(*HELD, ASKED)(ONWARD),
        f"consent {ASKED.digest.hex()} is asked",
    ),
    "holders-full": (lambda: (full_of_holders(), ONWARD, HEIGHT), str(HOLDERS_MAX)),
    "recipient-unknown": (lambda: on(*HELD)(ask_consent(OPEN, recipient=GONE)), GONE),
    "recipient-is-provider": (lambda: on(*HELD)(ask_consent(OPEN, recipient=OWNER)), OWNER),
    "consent-needless": (
        lambda: on(*HELD)(ask_consent(OPEN, recipient=ASKER, purpose="assessment")),
        "assessment",
    ),
    "consents-full": (
        lambda: on(*HELD, *(ask_consent(OPEN, text=str(number)) for number in range(64)))(
            ask_consent(OPEN, text="one more")
        ),
        "64",
    ),
    "consent-answered": (
        lambda: on(*HELD, ASKED, GIVEN)(refuse_consent(OPEN, ASKED)),
        f"consent {ASKED.digest.hex()} is given",
    ),
    "consent-unknown": (
        lambda: on(*HELD)(give_consent(OPEN, OPEN)),
        OPEN.digest.hex(),
    ),
    "unchanged": (lambda: on(*HELD)(correct(OPEN, commitment=PAYLOAD)), PAYLOAD.hex()),
    "no-correction": (lambda: on(*HELD)(acknowledge(OPEN)), ASKER),
    "dispute-unknown": (
        lambda: on(*HELD)(resolve(OPEN, DISPUTED)),
        DISPUTED.digest.hex(),
    ),
    "dispute-side": (
        lambda: on(*HELD, DISPUTED)(resolve(OPEN, DISPUTED, outcome="withdrawn")),
        f"withdrawn is not for {OWNER} to say",
    ),
    "rated-already": (lambda: on(*HELD, rate(OPEN))(rate(OPEN, quality=1)), "4/5"),
    "not-a-holder": (lambda: on(*HELD)(destroy(OPEN, member=OTHER)), OTHER),
    "destroyed-already": (
        lambda: on(*HELD, destroy(OPEN))(destroy(OPEN, label="again")),
        ASKER,
    ),
    "access-unlinked": (
        lambda: on()(anchor(previous=hash32("x"))),
        f"the last anchor of {VALIDATORS[0]} is {NO_ANCHOR.hex()}",
    ),
    "access-period-invalid": (
        lambda: on()(anchor(period_from_ms=TIME_MS + 2)),
        f"from {TIME_MS + 2} to {TIME_MS + 1}, not before 0",
    ),
    "reference-key-unset: no list": (lambda: on(OPEN)(refer(OPEN)), "2024"),
    "reference-key-unset: no year": (
        lambda: on(OPEN, *reference_keys())(refer(OPEN, period="2025-12-31")),
        "2025",
    ),
    "reference-key-differs": (
        lambda: on(OPEN, *reference_keys())(refer(OPEN, key_id=bytes(32))),
        f"2024: {KEY_ID.hex()}",
    ),
    "oecd-50012": (lambda: on(OPEN, *reference_keys())(refer(OPEN, receiving="DE")), "50012"),
    "list-not-sorted: partners": (
        lambda: on()(report(partners=(OWNER, OTHER))),
        "partners",
    ),
    "list-not-sorted: exchanges": (
        lambda: on()(report(exchanges=(hash32("x"), hash32("x")))),
        "exchanges",
    ),
    "partner-unknown": (lambda: on()(report(partners=(GONE,))), GONE),
    "partner-missing": (
        lambda: on(*HELD)(report(OPEN, partners=())),
        f"{OWNER} has a part in {OPEN.digest.hex()}",
    ),
    "incident-unknown": (lambda: on()(confirm(OPEN)), OPEN.digest.hex()),
    "incident-state: closed": (
        lambda: on(REPORTED, CONFIRMED, REMEDIED, close(REPORTED))(close(REPORTED, label="2")),
        "incident.closed while closed",
    ),
    "incident-state: remedied": (
        lambda: on(REPORTED, REMEDIED)(remedy(REPORTED, label="again")),
        "incident.remedied while remedied",
    ),
    "incident-state: open": (
        lambda: on(REPORTED, CONFIRMED)(close(REPORTED)),
        "incident.closed while open",
    ),
    "notified-already": (
        lambda: on(REPORTED, CONFIRMED)(confirm(REPORTED, label="again")),
        OWNER,
    ),
    "partners-not-notified": (lambda: on(REPORTED, REMEDIED)(close(REPORTED)), OWNER),
}


def code_of(name: str) -> str:
    return name.partition(":")[0]


def places() -> set[tuple[str, int]]:
    """File and line of everything that refuses."""
    return {
        (str(path), node.lineno)
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Raise)
        and isinstance(node.exc, ast.Call)
        and getattr(node.exc.func, "id", "") in RAISERS
    }


def place_of(refused: RefusedEvent) -> tuple[str, int]:
    """File and line that an error was raised at."""
    trace = refused.__traceback__
    assert trace is not None
    while trace.tb_next is not None:
        trace = trace.tb_next
    return trace.tb_frame.f_code.co_filename, trace.tb_lineno


def test_every_place_that_refuses_has_a_case() -> None:
    seen = {place_of(refusal(*build())) for build, _ in CASES.values()}
    assert len(seen) > 50
    assert seen == places()


@pytest.mark.parametrize("name", CASES)
def test_what_is_refused_says_what_was_found_and_changes_nothing(name: str) -> None:
    build, detail = CASES[name]
    state, event, height = build()
    before = dict(state.pairs)
    refused = refusal(state, event, height)
    assert (refused.code, refused.detail) == (code_of(name), detail)
    assert state.pairs == before
    for language in LANGUAGES:
        words = catalogue(language)["codes"][refused.code]
        assert words["title"]
        assert words["advice"]
        told = describe(refused.code, language, detail=refused.detail)
        assert detail in told.detail


# What the contracts refuse is an outcome, and not an error.


def frozen() -> Case:
    state = states(freezes=(Freeze(requester="", provider="", dataset="", reason=""),))
    state.pairs.update(run(states(), REVIEWED).overlay.changes)
    return state, approve(REVIEWED), HEIGHT


def broken() -> Case:
    state = state_after(OPEN)
    policies = POLICY_SETS.decode(state.pairs[POLICY_SET_KEY])
    text = (
        '@id("zz") forbid (principal, action, resource)'
        "when { context.timeMs + 9223372036854775807 > 0 };"
    )
    changed = msgspec.structs.replace(
        policies, contracts=(*policies.contracts, Contract(id="zz", text=text))
    )
    state.pairs[POLICY_SET_KEY] = POLICY_SETS.encode(changed)
    return state, deliver(OPEN), HEIGHT


OUTCOMES = {"contract-denied": frozen, "contract-error": broken}


@pytest.mark.parametrize("code", OUTCOMES)
def test_what_the_contracts_refuse_is_recorded_and_has_words(code: str) -> None:
    state, event, height = OUTCOMES[code]()
    (outcome,) = run(state, event, height=height, time_ms=TIME_MS).outcomes
    assert (outcome.applied, outcome.code) == (False, code)
    assert event.network == NETWORK
    for language in LANGUAGES:
        assert catalogue(language)["codes"][code]["advice"]


def test_every_code_of_execution_has_a_case() -> None:
    words = catalogue("en")["codes"].keys()
    tree = ast.parse((ROOT / "contracts/execute.py").read_text("utf-8"))
    found = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    assert found & words == OUTCOMES.keys()
