"""Signed events: what is accepted has one spelling, the rest has a stable code."""

from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import InvalidEvent
from ledger.events import (
    BODY_TYPES,
    EVENT_DOMAIN,
    EVENT_SIZE_BYTES_MAX,
    Event,
    ShareApproved,
    ShareRejected,
    hash_event,
    parse_event,
    parse_events,
    verify_event,
)
from ledger.keys import SecretKey
from tests.unit.ledger.builders import (
    break_signature,
    make_event,
    make_genesis,
    make_request,
    officer_secret,
)
from tests.vectors.ledger_cases import event_cases

KEY = officer_secret("north")
EVENT = make_event(3)


def forge(key: SecretKey = KEY, **lies: Any) -> bytes:
    """Signed bytes made by another program: `lies` replace fields of the envelope."""
    signed = msgpack.unpackb(EVENT.data)
    envelope = msgpack.unpackb(signed["payload"], strict_map_key=True)
    payload = msgpack.packb(envelope | lies)
    signature = key.sign(EVENT_DOMAIN, payload)
    return bytes(msgpack.packb({"payload": payload, "signature": signature}))


def code_of(data: bytes) -> str:
    with pytest.raises(InvalidEvent) as caught:
        verify_event(parse_event(data))
    assert caught.value.code in (
        "event-too-large", "event-malformed", "event-kind-unknown", "event-body-invalid",
        "signature-invalid",
    )  # fmt: skip
    return caught.value.code


def test_there_and_back() -> None:
    again = parse_event(EVENT.data)
    verify_event(again)
    assert again == EVENT
    assert again.digest == hash_event(EVENT.data)
    assert again.body == make_request()
    assert (again.member, again.officer, again.kind) == ("north", KEY.public, "share.requested")
    assert (again.nonce, again.expires_height) == ((3).to_bytes(16, "big"), 1_000)


def test_forge_without_lies_is_the_event() -> None:
    assert forge() == EVENT.data


OPENING = ("share.requested", "share.offered", "incident.reported", "governance.proposed")


def test_every_kind_has_a_frozen_case() -> None:
    cases = event_cases()
    assert {kind for kind, _ in BODY_TYPES} == {kind for kind in cases if " " not in kind}
    for kind, _ in BODY_TYPES:
        event = parse_event(cases[kind])
        verify_event(event)
        assert event.kind == kind
        is_share, is_proposal = kind.startswith("share."), kind.startswith("governance.")
        is_incident = kind.startswith("incident.")
        opened = event.digest if kind in OPENING else None
        assert event.exchange == ((opened or b"\x0e" * 32) if is_share else b"")
        has_own = is_proposal or is_incident
        assert event.subject == ((opened or b"\x09" * 32) if has_own else event.exchange)


@given(position=st.integers(0, 2**20), bit=st.integers(0, 7))
def test_flipped_bit_is_refused(position: int, bit: int) -> None:
    data = bytearray(EVENT.data)
    data[position % len(data)] ^= 1 << bit
    code_of(bytes(data))


@given(data=st.binary(max_size=400))
def test_garbage_is_refused(data: bytes) -> None:
    code_of(data)


@pytest.mark.parametrize("end", [1, 2, 10, 100])
def test_cut_or_longer_is_refused(end: int) -> None:
    assert code_of(EVENT.data[:-end]) == "event-malformed"
    assert code_of(EVENT.data + bytes(end)) == "event-malformed"


@pytest.mark.parametrize(
    ("lies", "code"),
    [
        ({"version": 2}, "event-malformed"),
        ({"network": bytes(31)}, "event-malformed"),
        ({"nonce": bytes(15)}, "event-malformed"),
        ({"nonce": bytes(17)}, "event-malformed"),
        ({"officer": bytes(32)}, "event-malformed"),
        ({"member": "North"}, "event-malformed"),
        ({"member": ""}, "event-malformed"),
        ({"member": "north\n"}, "event-malformed"),
        ({"member": "n" * 65}, "event-malformed"),
        ({"expires_height": -1}, "event-malformed"),
        ({"expires_height": 2**63}, "event-malformed"),
        ({"expires_height": 1.0}, "event-malformed"),
        ({"expires_height": True}, "event-malformed"),
        ({"extra": 1}, "event-malformed"),
        ({"kind": "share.stolen"}, "event-kind-unknown"),
        ({"kind_version": 2}, "event-kind-unknown"),
        ({"kind": "share.approved"}, "event-body-invalid"),
        ({"body": {}}, "event-body-invalid"),
        ({"body": None}, "event-body-invalid"),
        ({"body": {"exchange": bytes(32)}}, "event-body-invalid"),
        ({"officer": b"\x02" + KEY.public[1:]}, "signature-invalid"),
        ({"officer": b"\x01" + bytes(32)}, "signature-invalid"),
        ({"officer": officer_secret("south").public}, "signature-invalid"),
    ],
)
def test_lying_envelope_has_a_code(lies: dict[str, Any], code: str) -> None:
    assert code_of(forge(**lies)) == code


def body_lie(**lies: Any) -> bytes:
    envelope = msgpack.unpackb(msgpack.unpackb(EVENT.data)["payload"])
    return forge(body=envelope["body"] | lies)


@pytest.mark.parametrize(
    "lies",
    [
        {"provider": "South"},
        {"fields": []},
        {"fields": ["f"] * 65},
        {"fields": "amount"},
        {"period_from": "2025-13-01"},
        {"period_from": "2025-1-1"},
        {"period_from": "2025-01-01\n"},
        {"period_from": "\u0662025-01-01"},
        {"subjects": []},
        {"subjects": [bytes(31)]},
        {"subjects": [bytes(32)] * 1_001},
        {"urgency": "now"},
        {"retention_days": 0},
        {"retention_days": 36_501},
        {"case": "c" * 65},
        {"case": None},
        {"taxpayer": "91110000"},
    ],
)
def test_lying_body_has_a_code(lies: dict[str, Any]) -> None:
    assert code_of(body_lie(**lies)) == "event-body-invalid"


def test_body_without_lies_is_accepted() -> None:
    verify_event(parse_event(body_lie(subjects=[bytes([at]) * 32 for at in range(200)])))


def test_body_in_another_order_is_refused() -> None:
    envelope = msgpack.unpackb(msgpack.unpackb(EVENT.data)["payload"])
    body = dict(reversed(envelope["body"].items()))
    assert code_of(forge(body=body)) == "event-body-invalid"


def test_size_is_bounded_before_parsing() -> None:
    assert code_of(bytes(EVENT_SIZE_BYTES_MAX + 1)) == "event-too-large"
    assert code_of(bytes(EVENT_SIZE_BYTES_MAX)) == "event-malformed"
    most = make_event(body=make_request(subjects=tuple([b"\x01" * 32] * 1_000)))
    assert len(most.data) < EVENT_SIZE_BYTES_MAX
    verify_event(most)


def test_signature_binds_the_network() -> None:
    other = make_event(3, network=bytes(32))
    mixed = msgpack.packb({"payload": EVENT.payload, "signature": other.signature})
    assert code_of(mixed) == "signature-invalid"
    assert code_of(break_signature(EVENT)) == "signature-invalid"


def test_digest_names_every_byte() -> None:
    events = [make_event(number) for number in range(50)]
    assert len({event.digest for event in events}) == 50
    resigned = make_event(3)
    assert resigned.digest == EVENT.digest  # Ed25519 is deterministic


@pytest.mark.parametrize(
    "lies",
    [
        {"member": "North"},
        {"nonce": b""},
        {"body": make_request(subjects=())},
        {"body": make_request(case="\ud800")},
        {"body": make_request(case="c" * 60_001)},
        {"body": ShareApproved(exchange=b"", comment="")},
        {"body": ShareRejected(
            exchange=bytes(32), commitment=bytes(32), code_set="x", codes=(0,), text="")},
        {"expires_height": 2**64},
    ],
)  # fmt: skip
def test_signing_refuses_what_parsing_would(lies: dict[str, Any]) -> None:
    with pytest.raises(InvalidEvent):
        make_event(**lies)


def test_events_are_values() -> None:
    assert isinstance(EVENT, Event)
    with pytest.raises(AttributeError):
        EVENT.member = "south"  # type: ignore[misc]  # the refusal is the point
    assert make_genesis() == make_genesis()


def test_several_at_once_are_what_one_by_one_are() -> None:
    cases = [data for name, data in event_cases().items() if " " not in name]
    assert parse_events(cases) == [parse_event(data) for data in cases]
    assert parse_events([]) == []


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (forge(kind="share.unknown"), "event-kind-unknown"),
        (forge(version=2), "event-malformed"),
        (EVENT.data[:-1], "event-malformed"),
        (EVENT.data + b"\x00", "event-malformed"),
        (bytes(60_001), "event-too-large"),
    ],
)
@pytest.mark.parametrize("place", [0, 1, 3])
def test_of_several_the_first_that_is_none_is_refused(bad: bytes, code: str, place: int) -> None:
    items = [make_event(number).data for number in range(3)]
    items[place:place] = [bad]
    items.append(b"another fault")
    with pytest.raises(InvalidEvent) as caught:
        parse_events(items)
    with pytest.raises(InvalidEvent) as alone:
        parse_event(bad)
    assert (caught.value.code, str(caught.value)) == (code, str(alone.value))
