"""The catalogues have equal keys and equal places; values are never read as templates."""

import re
from pathlib import Path
from typing import get_args

import pytest

from contracts.lifecycle import STATUSES
from contracts.words import (
    LANGUAGES,
    catalogue,
    decision_word,
    describe,
    kind_word,
    proposal_word,
    role_word,
    status_word,
)
from ledger.errors import InvalidEvent
from ledger.events import BODY_TYPES, parse_event
from ledger.governance.proposals import ProposalStatus

ROOT = Path(__file__).parents[3]
RAISED = re.compile(r'(?:\bunfit|\brefused|InvalidEvent|Fault)\(\s*(?:code=)?"([a-z-]+)"')


def flat(tree: object, path: str = "") -> dict[str, str]:
    if isinstance(tree, dict):
        return {
            key: text for name in tree for key, text in flat(tree[name], f"{path}/{name}").items()
        }
    return {path: str(tree)}


def test_languages_have_equal_keys_and_places() -> None:
    zh, en = flat(catalogue("zh")), flat(catalogue("en"))
    assert zh.keys() == en.keys()
    place = re.compile(r"\{[a-z_]+\}")
    for key in zh:
        assert zh[key]
        assert sorted(place.findall(zh[key])) == sorted(place.findall(en[key])), key


def test_every_state_role_and_decision_has_a_word() -> None:
    for language in LANGUAGES:
        assert len({status_word(status, language) for status in STATUSES}) == len(STATUSES)
        for role in ("requester", "approver", "provider", "admin", "auditor", "supervisor"):
            assert role_word(role, language)
        assert len({kind_word(kind, language) for kind, _ in BODY_TYPES}) == len(BODY_TYPES)
        states = get_args(ProposalStatus)
        assert len({proposal_word(state, language) for state in states}) == len(states)
        for verdict in ("permit", "review", "deny"):
            assert decision_word(verdict, language)


def test_values_are_text_not_templates() -> None:
    words = describe("field-unknown", "en", detail="{code}")
    assert words.detail == "{code}"


def test_code_without_words_shows_itself() -> None:
    assert describe("brand-new", "en").title == "Error brand-new"


def test_ledger_codes_have_words() -> None:
    with pytest.raises(InvalidEvent) as caught:
        parse_event(b"")
    assert caught.value.code in catalogue("en")["codes"]
    for code in ("event-too-large", "event-kind-unknown", "event-body-invalid", "signature-invalid",
                 "pool-full", "rate-limited", "node-not-ready", "contract-denied"):  # fmt: skip
        assert code in catalogue("en")["codes"]


def test_every_code_in_the_source_has_words() -> None:
    places = [path for part in ("contracts", "ledger") for path in (ROOT / part).rglob("*.py")]
    codes = {code for path in places for code in RAISED.findall(path.read_text("utf-8"))}
    assert len(codes) >= 54
    for language in LANGUAGES:
        assert codes <= catalogue(language)["codes"].keys()
