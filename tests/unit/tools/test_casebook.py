"""The demonstration's requests: the file, the scenes behind it, and what the contracts decide."""

import datetime as dt
import hashlib
from collections import Counter
from importlib.resources import files

from contracts.engine import Contracts
from contracts.execute import BlockInput, execute
from ledger.blocks import Outcome
from ledger.events import Event, ShareRequested, sign_event
from ledger.genesis import genesis_state, hash_genesis
from ledger.state import MapState
from tools.casebook import CASES, Case, encode_cases, make_cases, read_cases
from tools.found.local import Founding, found_network
from tools.founding import read_source
from tools.localnet import shipped_policy_set

NOW = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)


def sign_case(founding: Founding, case: Case, number: int) -> Event:
    """The case as a signed event with subjects made from its number."""
    network = hash_genesis(founding.genesis)
    seeds = (f"{number}/{subject}".encode() for subject in range(case.subject_count))
    return sign_event(
        founding.officers[case.requester, "requester"],
        network=network,
        member=case.requester,
        nonce=number.to_bytes(16, "big"),
        expires_height=100,
        body=ShareRequested(
            provider=case.provider,
            dataset=case.dataset,
            purpose=case.purpose,
            legal_basis=case.legal_basis,
            fields=case.fields,
            period_from=case.period_from,
            period_to=case.period_to,
            subjects=tuple(hashlib.sha256(seed).digest() for seed in seeds),
            urgency=case.urgency,
            retention_days=case.retention_days,
            case=case.case,
        ),
    )


def decide(cases: list[Case]) -> tuple[Outcome, ...]:
    addresses = [f"127.0.0.1:{port}" for port in range(7101, 7105)]
    founding = found_network(
        read_source(), addresses=addresses, policy_set=shipped_policy_set(), now=NOW
    )
    block = BlockInput(
        network=hash_genesis(founding.genesis),
        height=1,
        time_ms=founding.genesis.time_ms + 1_000,
        first_index=1,
        events=tuple(sign_case(founding, case, number) for number, case in enumerate(cases)),
    )
    return execute(MapState(genesis_state(founding.genesis)), block, Contracts()).outcomes


def test_file_is_what_the_scenes_make() -> None:
    shipped = (files("config") / "demo" / "requests.ndjson").read_bytes()
    assert shipped == encode_cases(make_cases())


def test_two_hundred_cases_in_the_intended_mix() -> None:
    cases = read_cases()
    assert len(cases) == CASES
    assert Counter(case.expect for case in cases) == {"permit": 130, "review": 40, "deny": 30}
    assert {case.dataset for case in cases} == {
        "account", "filing", "incentive", "invoice", "registration",
    }  # fmt: skip
    assert len({case.purpose for case in cases}) >= 5
    assert len({case.case for case in cases}) == CASES


def test_contracts_decide_every_case_as_expected() -> None:
    cases = read_cases()
    wrong = [
        f"{case.case} {case.note_en}: {outcome.decision} {outcome.code} {outcome.policies}"
        for case, outcome in zip(cases, decide(cases), strict=True)
        if outcome.decision != case.expect
    ]
    assert wrong == []
