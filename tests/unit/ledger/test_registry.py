"""Registry values: bounds of every field, and one spelling."""

from typing import Any

import msgpack
import pytest

from ledger.codec import Codec
from ledger.errors import InvalidEncoding
from ledger.registry import (
    CREDIT_CAUSES,
    CREDIT_RULES,
    CREDITS,
    DATASETS,
    EMPTY_COUNTERS,
    EXCHANGES,
    FREEZES,
    GRADE_CHANGES,
    LEGAL_BASES,
    MEMBERS,
    OFFICERS,
    PAIR_COUNTERS,
    PARAMETERS,
    POLICY_SETS,
    PURPOSES,
    VALIDATOR_LISTS,
)
from tests.unit.ledger.builders import make_genesis
from tests.vectors.ledger_cases import registry_cases

CODECS: dict[str, Codec[Any]] = {
    "member": MEMBERS,
    "officer": OFFICERS,
    "validators": VALIDATOR_LISTS,
    "dataset": DATASETS,
    "legal basis": LEGAL_BASES,
    "purpose": PURPOSES,
    "credit": CREDITS,
    "credit causes": CREDIT_CAUSES,
    "credit rules": CREDIT_RULES,
    "grade change": GRADE_CHANGES,
    "freezes": FREEZES,
    "parameters": PARAMETERS,
    "exchange": EXCHANGES,
    "pair counters": PAIR_COUNTERS,
}
CASES = registry_cases()


@pytest.mark.parametrize("name", CODECS)
def test_there_and_back(name: str) -> None:
    codec = CODECS[name]
    assert codec.encode(codec.decode(CASES[name])) == CASES[name]
    assert msgpack.packb(msgpack.unpackb(CASES[name])) == CASES[name]


@pytest.mark.parametrize("name", CODECS)
def test_no_type_is_taken_for_another(name: str) -> None:
    for other, codec in CODECS.items():
        if other != name:
            with pytest.raises(InvalidEncoding):
                codec.decode(CASES[name])


LIES = [
    ("member", "id", ""),
    ("member", "id", "-north"),
    ("member", "id", "north/west"),
    ("member", "name_zh", ""),
    ("member", "name_en", "n" * 121),
    ("member", "region", "1"),
    ("member", "region", "1100001"),
    ("member", "kind", "bank"),
    ("member", "status", "gone"),
    ("member", "credit", 1_001),
    ("member", "credit", -1),
    ("officer", "key", bytes(32)),
    ("officer", "roles", ["king"]),
    ("officer", "status", "lost"),
    ("dataset", "version", 0),
    ("dataset", "version", 65_536),
    ("dataset", "fields", []),
    ("dataset", "deadline_hours", 0),
    ("dataset", "deadline_hours", 8_761),
    ("legal basis", "in_force_from", "2001-5-1"),
    ("legal basis", "in_force_to", "never"),
    ("legal basis", "parties", ["North"]),
    ("purpose", "id", "Audit"),
    ("parameters", "block_events_max", 0),
    ("parameters", "block_events_max", 1_001),
    ("parameters", "block_bytes_max", 65_535),
    ("parameters", "delta_ms", 9),
    ("parameters", "heartbeat_ms", 999),
    ("parameters", "expiry_blocks_max", 9),
    ("exchange", "requested_by", bytes(34)),
    ("exchange", "commitment", bytes(33)),
    ("exchange", "requested_ms", 2**63),
    ("exchange", "record_count", -1),
    ("pair counters", "asked", -1),
    ("pair counters", "late", None),
    ("credit", "score", 1_001),
    ("credit", "grade", "E"),
    ("credit", "changes", -1),
    ("credit", "buckets", [[0, []]] * 49),
    ("credit", "buckets", [[0, [["late", -1]]]]),
    ("credit", "buckets", [[0, [["late", 1, 1]]]]),
    ("credit", "causes", [[bytes(31), "late", 1, 1]]),
    ("credit", "causes", [[bytes(32), "late", 1_001, 1]]),
    ("credit", "causes", [[bytes(32), "", 1, 1]]),
    ("credit rules", "bucket_days", 0),
    ("credit rules", "bucket_days", 367),
    ("credit rules", "buckets", 0),
    ("credit rules", "buckets", 25),
    ("credit rules", "base", 1_001),
    ("credit rules", "minimum", -1),
    ("credit rules", "weights", [{"behaviour": "late", "points": 1_001, "limit": 0}]),
    ("credit rules", "weights", [{"behaviour": "late", "points": 0, "limit": -1}]),
    ("credit rules", "permitted_reasons", ["Not held"]),
    ("credit rules", "permitted_reasons", ["a"] * 65),
    ("grade change", "before", "a"),
    ("grade change", "reason", "mood"),
    ("grade change", "causes", [[bytes(32), "late", 1, 1]] * 9),
]


@pytest.mark.parametrize(("name", "field", "lie"), LIES)
def test_lying_field_is_refused(name: str, field: str, lie: object) -> None:
    plain = msgpack.unpackb(CASES[name])
    assert field in plain
    with pytest.raises(InvalidEncoding):
        CODECS[name].decode(msgpack.packb(plain | {field: lie}))


def test_counters_start_at_zero() -> None:
    assert set(msgpack.unpackb(PAIR_COUNTERS.encode(EMPTY_COUNTERS)).values()) == {0}


def test_policy_set_there_and_back() -> None:
    policy_set = make_genesis().policy_set
    data = POLICY_SETS.encode(policy_set)
    assert POLICY_SETS.decode(data) == policy_set
    with pytest.raises(InvalidEncoding):
        POLICY_SETS.decode(data + b"\0")
