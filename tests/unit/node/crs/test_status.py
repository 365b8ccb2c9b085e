"""Status messages: written and read back the same, made from what a check found."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.crs.errors import InvalidStatus
from node.crs.status import (
    FileError,
    RecordError,
    StatusMessage,
    make_status,
    read_status,
    write_status,
)
from tests.unit.node.crs import messages as m
from tests.unit.node.crs.messages import check

STATUS = StatusMessage(
    transmitting="CN",
    receiving="DE",
    message_id="CN2024DE0009",
    timestamp="2026-01-02T03:04:05",
    original_id="DE2024CN0001",
    file_errors=(),
    record_errors=(RecordError(code=60002, details='below <0> & "so"', documents=("DE2024A1",)),),
    status="Accepted",
    validated_by="Tallystick",
)

# What may stand in XML and is not trimmed away.
CHARACTERS = st.characters(min_codepoint=0x20, exclude_categories=("Cs", "Cn"))
DETAILS = st.text(CHARACTERS, max_size=40).map(str.strip)
LABELS = st.text(CHARACTERS, min_size=1, max_size=30).map(str.strip).filter(bool)
CODES = st.integers(10_000, 99_999)


@st.composite
def statuses(draw: st.DrawFn) -> StatusMessage:
    files = draw(st.lists(st.builds(FileError, code=CODES, details=DETAILS), max_size=3))
    record = st.builds(
        RecordError, code=CODES, details=DETAILS, documents=st.lists(LABELS, max_size=3).map(tuple)
    )
    records = draw(st.lists(record, max_size=3))
    verdicts = ["Rejected"] if files else ["Accepted", "Rejected"] if records else ["Accepted"]
    return msgspec.structs.replace(
        STATUS,
        message_id=draw(LABELS),
        original_id=draw(LABELS),
        file_errors=tuple(files),
        record_errors=tuple(records),
        status=draw(st.sampled_from(verdicts)),
    )


@settings(max_examples=200, deadline=None)
@given(statuses())
def test_what_is_written_is_read_again(status: StatusMessage) -> None:
    assert read_status(write_status(status)) == status


def test_an_example_as_it_stands() -> None:
    text = write_status(STATUS).decode()
    assert "<csm:Code>60002</csm:Code>" in text
    assert "<csm:DocRefIDInError>DE2024A1</csm:DocRefIDInError>" in text
    assert "&lt;0&gt; &amp;" in text


def answer(path: Path, text: str, **changed: Any) -> StatusMessage:
    named = {
        "original_id": "DE2024CN0001", "transmitting": "CN", "receiving": "DE",
        "message_id": "CN2024DE0009", "timestamp": "2026-01-02T03:04:05", "language": "zh",
        "code_set": "oecd-crs-sm-3.0", **changed,
    }  # fmt: skip
    return make_status(check(path / "m.xml", text), **named)


def test_errors_of_records_leave_the_message_accepted(tmp_path: Path) -> None:
    accounts = (m.account(balance="-1"), m.account("DE2024A2", balance="-1"))
    status = answer(tmp_path, m.message(m.body(m.institution(), m.group(*accounts))))
    assert (status.status, status.file_errors) == ("Accepted", ())
    (error,) = status.record_errors
    assert (error.code, error.documents) == (60002, ("DE2024A1", "DE2024A2"))
    assert error.details == "账户余额为负"
    assert read_status(write_status(status)) == status


def test_an_error_of_the_file_rejects_all_of_it(tmp_path: Path) -> None:
    text = m.message(m.body(m.institution(), m.group(m.account(balance="-1"))), id_="DE1")
    status = answer(tmp_path, text, language="en")
    assert status.status == "Rejected"
    assert [error.code for error in status.file_errors] == [50008]
    assert status.record_errors == ()
    assert read_status(write_status(status)) == status


def test_errors_of_records_may_reject_all_of_it(tmp_path: Path) -> None:
    text = m.message(m.body(m.institution(), m.group(m.account(balance="-1"))))
    status = answer(tmp_path, text, is_rejected=True)
    assert (status.status, status.file_errors) == ("Rejected", ())
    assert [error.code for error in status.record_errors] == [60002]
    assert read_status(write_status(status)) == status


def test_a_message_without_faults_is_accepted(tmp_path: Path) -> None:
    status = answer(tmp_path, m.message())
    assert (status.status, status.record_errors) == ("Accepted", ())
    assert read_status(write_status(status)) == status


def test_a_code_of_another_set_is_not_told(tmp_path: Path) -> None:
    text = m.message(m.body(m.institution(), m.group(m.account(balance="-1"))))
    with pytest.raises(InvalidStatus, match="status-code-foreign: 60002, local-98"):
        answer(tmp_path, text, code_set="local-98")


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"transmitting": "China"}, "status-malformed"),
        ({"message_id": ""}, "status-malformed"),
        ({"message_id": " a"}, "status-malformed"),
        ({"original_id": "a\0"}, "status-malformed"),
        ({"timestamp": "2026-13-02T03:04:05"}, "status-malformed"),
        ({"timestamp": "2026-01-02"}, "status-malformed"),
        ({"record_errors": (RecordError(code=1, details="", documents=()),)}, "status-malformed"),
        ({"status": "Rejected", "record_errors": ()}, "status-verdict"),
        ({"file_errors": (FileError(code=50007, details=""),)}, "status-verdict"),
    ],
)
def test_what_may_not_be_written_is_refused(changed: dict[str, Any], code: str) -> None:
    with pytest.raises(InvalidStatus) as caught:
        write_status(msgspec.structs.replace(STATUS, **changed))
    assert caught.value.code == code


WRITTEN = write_status(STATUS).decode()
GOOD = write_status(msgspec.structs.replace(STATUS, record_errors=())).decode()


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (WRITTEN.replace("60002", "+6002"), "status-malformed"),
        (WRITTEN.replace("60002", "６0002"), "status-malformed"),
        (WRITTEN.replace("Accepted", "accepted"), "status-malformed"),
        (GOOD.replace("Accepted", "Rejected"), "status-verdict"),
        (WRITTEN.replace("CrsStatusMessage_OECD", "Message"), "status-malformed"),
        (WRITTEN.replace("<csm:CrsStatusMessage_OECD", "<!DOCTYPE a []><a"), "status-unsafe"),
        ("", "status-unsafe"),
    ],
)
def test_what_is_no_status_message_is_refused(text: str, code: str) -> None:
    text = text.replace("<?xml version='1.0' encoding='UTF-8'?>", "").strip()
    with pytest.raises(InvalidStatus) as caught:
        read_status(text.encode())
    assert caught.value.code == code
