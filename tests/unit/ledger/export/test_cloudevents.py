"""Records as CloudEvents: the attributes that the specification asks for, and all of the body."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.events import parse_event
from ledger.export.cloudevents import cloud_event, encode_cloud_event, format_time
from tests.unit.ledger.builders import make_outcome
from tests.vectors.ledger_cases import event_cases

KINDS = sorted(name for name in event_cases() if not name.endswith(" digest"))
# CloudEvents 1.0.2, "Required Attributes" and "Naming".
REQUIRED = {"id", "source", "specversion", "type"}
RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_becomes_a_cloud_event(kind: str) -> None:
    event = parse_event(event_cases()[kind])
    line = encode_cloud_event(
        cloud_event(
            network=b"\x07" * 32, index=9, height=3, time_ms=1_767_225_600_001,
            event=event, outcome=make_outcome(),
        )
    )  # fmt: skip
    found = json.loads(line)
    assert b"\n" not in line
    assert found.keys() >= REQUIRED
    assert all(re.fullmatch(r"[a-z0-9]{1,20}", name) for name in found)
    assert found["specversion"] == "1.0"
    assert found["id"] == event.digest.hex()
    assert found["source"] == "urn:tallystick:" + "07" * 32
    assert found["type"] == f"tallystick.{kind}.v1"
    assert found["time"] == "2026-01-01T00:00:00.001Z"
    assert found.get("subject", "") == event.subject.hex()
    assert found["sequence"] == "00000000000000000009"
    assert found["data"]["body"].keys() == set(event.body.__struct_fields__)
    assert found["data"]["outcome"]["applied"] is True


@given(st.integers(0, 253_402_300_799_999))
def test_times_sort_as_numbers_do(time_ms: int) -> None:
    text = format_time(time_ms)
    assert RFC_3339.fullmatch(text)
    assert format_time(max(0, time_ms - 1)) <= text
