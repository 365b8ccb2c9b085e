"""Status messages: how a receiver tells a sender what was wrong, as XML, written and read.

    CrsStatusMessage_OECD
      MessageSpec        TransmittingCountry, ReceivingCountry, MessageType, MessageRefId, Timestamp
      CrsStatusMessage
        OriginalMessage  OriginalMessageRefID
        ValidationErrors FileError (Code, Details), RecordError (Code, Details, DocRefIDInError)
        ValidationResult Status (Accepted, Rejected), ValidatedBy

A message is rejected as a whole for an error of the file, and then nothing in it counts. Errors of
records leave it accepted, and the sender corrects those records; the receiver may reject the whole
file for some of them (`node.crs.codes.GROUNDS`).
"""

import re
from collections.abc import Iterable
from datetime import datetime
from itertools import groupby
from typing import Annotated, Literal

import msgspec
from lxml import etree
from msgspec import Meta

from contracts.words import Language
from node.crs.check import Report
from node.crs.codes import read_code_set
from node.crs.errors import InvalidDocument, InvalidStatus
from node.crs.guard import Limits, check_pieces
from node.crs.message import find_all, local, text, texts
from node.crs.schemas import make_parser

NAMESPACE = "urn:oecd:ties:csm:v2"
ROOT = "CrsStatusMessage_OECD"
MESSAGE_TYPE = "CRSMessageStatus"
SIZE_BYTES_MAX = 16 << 20
_FORBIDDEN = re.compile("[\0-\x1f\ud800-\udfff\ufffe\uffff]")
_BLANK_FREE = r"^\S(.*\S)?\Z"

Code = Annotated[int, Meta(ge=10_000, le=99_999)]
Label = Annotated[str, Meta(max_length=200, pattern=_BLANK_FREE)]
Details = Annotated[str, Meta(max_length=4_000)]
Country = Annotated[str, Meta(pattern=r"^[A-Z]{2}\Z")]
Moment = Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\Z")]
Verdict = Literal["Accepted", "Rejected"]


class FileError(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with the file."""

    code: Code
    details: Details


class RecordError(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with some records."""

    code: Code
    details: Details
    documents: Annotated[tuple[Label, ...], Meta(max_length=100_000)]


class StatusMessage(msgspec.Struct, frozen=True, kw_only=True):
    """One status message; `timestamp` is ISO 8601 without a zone, to the second."""

    transmitting: Country
    receiving: Country
    message_id: Label
    timestamp: Moment
    original_id: Label
    file_errors: Annotated[tuple[FileError, ...], Meta(max_length=1_000)]
    record_errors: Annotated[tuple[RecordError, ...], Meta(max_length=10_000)]
    status: Verdict
    validated_by: Label


def make_status(
    report: Report, *, original_id: str, transmitting: str, receiving: str, message_id: str,
    timestamp: str, language: Language, code_set: str, is_rejected: bool = False,
) -> StatusMessage:  # fmt: skip
    """The answer to a message; of a file that could not be read, `original_id` is its sender's.

    `is_rejected`: for errors of records.
    """
    names = read_code_set(code_set)
    findings = sorted((each.code, each.document_id) for each in report.findings)
    unknown = [code for code, _ in findings if code not in names]
    if unknown:
        raise InvalidStatus("status-code-foreign", f"{unknown[0]}, {code_set}")
    files, records = [], []
    for code, group in groupby(findings, key=lambda finding: finding[0]):
        named = {id_: None for _, id_ in group if id_}
        details = names[code][language]
        if named or code >= 60_000:
            records.append(RecordError(code=code, details=details, documents=tuple(named)))
        else:
            files.append(FileError(code=code, details=details))
    return StatusMessage(
        transmitting=transmitting,
        receiving=receiving,
        message_id=message_id,
        timestamp=timestamp,
        original_id=original_id,
        file_errors=tuple(files),
        record_errors=() if files else tuple(records),
        status="Rejected" if files or is_rejected else "Accepted",
        validated_by="Tallystick",
    )


def write_status(status: StatusMessage) -> bytes:
    """Status message as XML. Raises `InvalidStatus`."""
    _check(status)
    root = etree.Element(f"{{{NAMESPACE}}}{ROOT}", nsmap={"csm": NAMESPACE}, version="2.0")
    head = _add(root, "MessageSpec")
    _add_texts(head, {
        "TransmittingCountry": status.transmitting, "ReceivingCountry": status.receiving,
        "MessageType": MESSAGE_TYPE, "MessageRefId": status.message_id,
        "Timestamp": status.timestamp,
    })  # fmt: skip
    body = _add(root, "CrsStatusMessage")
    _add_texts(_add(body, "OriginalMessage"), {"OriginalMessageRefID": status.original_id})
    errors = _add(body, "ValidationErrors")
    for file in status.file_errors:
        _add_texts(_add(errors, "FileError"), {"Code": str(file.code), "Details": file.details})
    for record in status.record_errors:
        element = _add(errors, "RecordError")
        _add_texts(element, {"Code": str(record.code), "Details": record.details})
        for document in record.documents:
            _add_texts(element, {"DocRefIDInError": document})
    result = _add(body, "ValidationResult")
    _add_texts(result, {"Status": status.status, "ValidatedBy": status.validated_by})
    data: bytes = etree.tostring(root, encoding="UTF-8", xml_declaration=True, pretty_print=True)
    return data


def read_status(data: bytes) -> StatusMessage:
    """Status message of its XML. Raises `InvalidStatus`; unknown elements are left out."""
    try:
        check_pieces((data,), Limits(size_bytes_max=SIZE_BYTES_MAX))
        root = etree.fromstring(data, make_parser())
    except InvalidDocument as error:
        raise InvalidStatus("status-unsafe", str(error)) from None
    except etree.XMLSyntaxError as error:
        raise InvalidStatus("status-malformed", f"line {error.lineno}") from None
    if local(root) != ROOT:
        raise InvalidStatus("status-malformed", "root")
    body = "CrsStatusMessage/"
    errors = find_all(root, f"{body}ValidationErrors")
    document = {
        "transmitting": text(root, "MessageSpec/TransmittingCountry"),
        "receiving": text(root, "MessageSpec/ReceivingCountry"),
        "message_id": text(root, "MessageSpec/MessageRefId"),
        "timestamp": text(root, "MessageSpec/Timestamp"),
        "original_id": text(root, f"{body}OriginalMessage/OriginalMessageRefID"),
        "file_errors": [_read_error(each) for of in errors for each in find_all(of, "FileError")],
        "record_errors": [
            {**_read_error(each), "documents": texts(each, "DocRefIDInError")}
            for of in errors
            for each in find_all(of, "RecordError")
        ],
        "status": text(root, f"{body}ValidationResult/Status"),
        "validated_by": text(root, f"{body}ValidationResult/ValidatedBy") or "-",
    }
    try:
        status = msgspec.convert(document, StatusMessage)
    except msgspec.ValidationError as error:
        raise InvalidStatus("status-malformed", str(error)) from None
    _check(status)
    return status


def _read_error(element: etree._Element) -> dict[str, object]:
    code = text(element, "Code")
    number = int(code) if code.isascii() and code.isdigit() and len(code) == 5 else code
    return {"code": number, "details": text(element, "Details")}


def _check(status: StatusMessage) -> None:
    try:
        msgspec.convert(msgspec.to_builtins(status), StatusMessage)
        datetime.fromisoformat(status.timestamp)
    except msgspec.ValidationError as error:
        raise InvalidStatus("status-malformed", str(error)) from None
    except ValueError:
        raise InvalidStatus("status-malformed", "Timestamp") from None
    if any(_FORBIDDEN.search(said) or said != said.strip() for said in _words(status)):
        raise InvalidStatus("status-malformed", "control character, or blanks at an end")
    is_rejected = status.status == "Rejected"
    has_errors = bool(status.file_errors or status.record_errors)
    if (status.file_errors and not is_rejected) or (is_rejected and not has_errors):
        raise InvalidStatus("status-verdict", status.status)


def _words(status: StatusMessage) -> Iterable[str]:
    yield from (status.message_id, status.original_id, status.validated_by)
    yield from (each.details for each in status.file_errors)
    yield from (each.details for each in status.record_errors)
    yield from (document for each in status.record_errors for document in each.documents)


def _add(parent: etree._Element, name: str) -> etree._Element:
    return etree.SubElement(parent, f"{{{NAMESPACE}}}{name}")


def _add_texts(parent: etree._Element, texts_by_name: dict[str, str]) -> None:
    for name, said in texts_by_name.items():
        _add(parent, name).text = said
