"""Record schemas and code lists by vote: versions, what they stand for, what refers to them."""

import json
from typing import Any

import pytest

from contracts.admission import check_event
from contracts.errors import RefusedEvent
from contracts.lookup import find_code_list, find_record_schema, read_record_schema_version
from ledger.events import EVENT_SIZE_BYTES_MAX, Event
from ledger.governance.registers import CODES_MAX
from ledger.state import MapState
from tests.builders import (
    HEIGHT,
    NETWORK,
    TIME_MS,
    dataset,
    deliver,
    propose,
    reject,
    request,
)
from tests.registers import ACCOUNT, code_list, record_schema, shape, sunset
from tests.unit.contracts.governance.parts import after, faults, passed, refusal
from tests.unit.contracts.samples import states

PAST = "2020-01-01"
ASKED = request()
NAME = "registration"


def test_a_record_schema_stays_when_the_next_version_comes() -> None:
    first = record_schema()
    state = after(*passed(first))
    second = record_schema(shape(currency={"enum": ["CNY"]}), version=2)
    after(*passed(second), state=state, height=HEIGHT + 1)
    assert read_record_schema_version(state, ACCOUNT.id) == 2
    assert find_record_schema(state, ACCOUNT.id, 1) == first.record_schema
    assert find_record_schema(state, ACCOUNT.id, 2) == second.record_schema
    assert find_record_schema(state, ACCOUNT.id, 3) is None


def test_versions_of_schemas_and_lists_have_no_gaps() -> None:
    assert faults(states(), record_schema(version=2)) == ["version-invalid"]
    assert faults(states(), code_list(version=2)) == ["version-invalid"]
    state = after(*passed(code_list(), record_schema()))
    assert faults(state, code_list()) == ["version-invalid"]
    assert faults(state, record_schema()) == ["version-invalid"]


def test_the_properties_are_the_fields_of_the_dataset() -> None:
    other = dataset("account", account_number="secret", balance_fen="public", owner="personal")
    assert faults(states(), record_schema(shape(other))) == [
        "sensitivity-differs",
        "field-unknown",
        "field-missing",
    ]


def test_a_schema_names_code_lists_that_are_in_force() -> None:
    naming = record_schema(shape(currency={"x-code-list": "iso-4217"}))
    assert faults(states(), naming) == ["code-list-unknown"]
    assert faults(states(), code_list(), naming) == [], "both in one proposal"
    state = after(*passed(code_list()))
    assert faults(state, naming) == []
    after(*passed(sunset("code-list/iso-4217", PAST)), state=state, height=HEIGHT + 1)
    after(state=state, height=HEIGHT + 2)
    assert faults(state, naming) == ["code-list-ended"]


def test_a_code_list_is_replaced_by_its_next_version() -> None:
    state = after(*passed(code_list()))
    following = code_list("CNY", "EUR", "XAU", version=2)
    after(*passed(following), state=state, height=HEIGHT + 1)
    assert find_code_list(state, "iso-4217") == following.code_list


@pytest.mark.parametrize("codes", [("EUR", "CNY"), ("CNY", "CNY")])
def test_codes_are_sorted_and_different(codes: tuple[str, ...]) -> None:
    assert faults(states(), code_list(*codes)) == ["codes-unsorted"]


def test_a_list_as_long_as_the_largest_in_use_fits_into_an_event() -> None:
    currencies = code_list(*(f"{number:03}" for number in range(300)))
    assert len(propose(currencies).data) < EVENT_SIZE_BYTES_MAX
    assert len(currencies.code_list.codes) < CODES_MAX


def refused_step(state: MapState, event: Any) -> tuple[str, str]:
    with pytest.raises(RefusedEvent) as caught:
        check_event(state, event, network=NETWORK, height=HEIGHT + 9, time_ms=TIME_MS)
    return caught.value.code, caught.value.detail


def test_a_delivery_names_a_version_of_the_record_schema_that_is_in_force() -> None:
    document = shape(registered := dataset(NAME, uscc="internal", name="public",
                                           representative="personal"))  # fmt: skip
    assert registered.id == NAME
    schema = record_schema(document, dataset=NAME)
    second = record_schema(document, dataset=NAME, version=2)
    state = after(ASKED, *passed(schema))
    after(*passed(second), state=state, height=HEIGHT + 1)
    check_event(
        state, deliver(ASKED, schema_version=2), network=NETWORK, height=HEIGHT + 2, time_ms=TIME_MS
    )
    late = deliver(ASKED, schema_version=3)
    assert refusal(state, late, HEIGHT + 2).code == "schema-version-unknown"
    after(*passed(sunset(f"record-schema/{NAME}@1", PAST)), state=state, height=HEIGHT + 2)
    after(state=state, height=HEIGHT + 3)
    assert refused_step(state, deliver(ASKED)) == ("record-schema-ended", f"{NAME} version 1")
    check_event(
        state, deliver(ASKED, schema_version=2), network=NETWORK, height=HEIGHT + 4, time_ms=TIME_MS
    )


def test_a_code_list_that_ends_takes_the_versions_that_name_it_with_it() -> None:
    registered = dataset(NAME, uscc="internal", name="public", representative="personal")
    listed = shape(registered, name={"x-code-list": "iso-4217"})
    state = after(ASKED, *passed(code_list(), record_schema(listed, dataset=NAME)))
    second = record_schema(shape(registered), dataset=NAME, version=2)
    after(*passed(second, label="2"), state=state, height=HEIGHT + 1)

    def check(event: Event, height: int) -> None:
        check_event(state, event, network=NETWORK, height=height, time_ms=TIME_MS)

    check(deliver(ASKED), HEIGHT + 2)
    after(*passed(sunset("code-list/iso-4217", PAST)), state=state, height=HEIGHT + 2)
    after(state=state, height=HEIGHT + 3)
    assert refusal(state, deliver(ASKED), HEIGHT + 4).code == "record-schema-ended"
    check(deliver(ASKED, schema_version=2), HEIGHT + 4)
    # In force again, and so is what names it.
    later = sunset("code-list/iso-4217", None)
    after(*passed(later, label="later"), state=state, height=HEIGHT + 4)
    check(deliver(ASKED), HEIGHT + 5)


def test_a_rejection_names_codes_of_a_set_that_is_in_force() -> None:
    codes = code_list("50007", "98001", id="local-98")
    state = after(ASKED, deliver(ASKED))
    asked = reject(ASKED, code_set="local-98")
    assert refusal(state, asked, HEIGHT + 1).code == "code-set-unknown"
    after(*passed(codes), state=state, height=HEIGHT + 1)
    check_event(state, asked, network=NETWORK, height=HEIGHT + 2, time_ms=TIME_MS)
    other = reject(ASKED, code_set="local-98", codes=(50008,))
    assert refused_step(state, other) == ("status-code-unknown", "local-98 has no code 50008")
    after(*passed(sunset("code-list/local-98", PAST)), state=state, height=HEIGHT + 2)
    after(state=state, height=HEIGHT + 3)
    assert refused_step(state, asked) == ("code-set-ended", "local-98")


def test_a_schema_is_judged_as_text_not_as_bytes_on_a_disk() -> None:
    spaced = json.dumps(shape(), indent=2, ensure_ascii=False)
    assert faults(states(), record_schema(text=spaced)) == []
