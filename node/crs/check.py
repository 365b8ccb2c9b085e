"""The check of one message file, in four steps; a fault of the file ends it.

1. Safe and well-formed XML (`node.crs.guard`): 50005 for what threatens, 50007 for what is broken.
2. The schema that the operator has pinned: 50007, with lines and without values.
3. Header and records by the rules of one message. 4. What only the whole shows.

A file that fits is validated as it streams. The library tells lines only of a whole document, so a
file with faults is read once more, into memory; beyond `TREE_BYTES_MAX` faults have the line 0.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lxml import etree

from node.crs.codes import FILE_CODES
from node.crs.errors import InvalidDocument
from node.crs.guard import PIECE_BYTES, THREATS, Limits, check_pieces
from node.crs.message import Header, Reader, Record
from node.crs.rules import Fault, Setting, Whole, check_header, check_record
from node.crs.schemas import Schema, make_parser

FAULTS_MAX = 1_000
TREE_BYTES_MAX = 64 << 20
TELL_EVERY = 1_000

# What the validator calls a fault: our word for it.
_SCHEMA_FAULTS = {
    "SCHEMAV_ELEMENT_CONTENT": "element-unexpected",
    "SCHEMAV_CVC_ELT_1": "root-unknown",
    "SCHEMAV_CVC_COMPLEX_TYPE_3_2_1": "attribute-unexpected",
    "SCHEMAV_CVC_COMPLEX_TYPE_4": "attribute-missing",
    "SCHEMAV_CVC_PATTERN_VALID": "value-pattern",
    "SCHEMAV_CVC_ENUMERATION_VALID": "value-unlisted",
    "SCHEMAV_CVC_MINLENGTH_VALID": "value-length",
    "SCHEMAV_CVC_MAXLENGTH_VALID": "value-length",
    "SCHEMAV_CVC_LENGTH_VALID": "value-length",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A status code, where it is, and for faults of XML or schema the reason as a word."""

    code: int
    line: int
    document_id: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was found in a file; `more` findings are left out beyond `FAULTS_MAX`.

    `codes` are those of all findings, sorted.
    """

    header: Header
    records: int
    findings: tuple[Finding, ...]
    more: int
    codes: tuple[int, ...]

    @property
    def is_rejected(self) -> bool:
        """Whether the file as a whole is to be rejected."""
        return any(code in FILE_CODES for code in self.codes)


Tell = Callable[[], None]


def _quiet() -> None:
    """Nobody waits for a sign of life."""


def check_file(
    path: Path, schema: Schema, setting: Setting | None = None, *, tell: Tell = _quiet
) -> Report:
    """Check one message; `tell` is called now and then. Raises `OSError` if it cannot be read."""
    try:
        check_pieces(read_pieces(path, tell))
    except InvalidDocument as error:
        code = 50005 if error.code in THREATS else 50007
        return _report(Header(), 0, [_finding(code, error.line, error.code)])
    faults = _validate(path, schema, tell)
    if faults:
        return _report(Header(), 0, faults)
    return _check_records(path, setting or Setting(), tell)


def read_pieces(path: Path, tell: Tell = _quiet) -> Iterator[bytes]:
    """The bytes of a file."""
    with path.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            tell()
            yield piece


def check_xml(path: Path) -> None:
    """Step 1 alone, for a file whose records are only to be read. Raises `InvalidDocument`."""
    check_pieces(read_pieces(path), Limits())


def _validate(path: Path, schema: Schema, tell: Tell) -> list[Finding]:
    with path.open("rb") as file:
        walk = etree.iterparse(
            file, events=("end",), schema=schema.compiled, resolve_entities=False,
            no_network=True, load_dtd=False, huge_tree=False, remove_comments=True,
            remove_pis=True,
        )  # fmt: skip
        try:
            for number, (_, element) in enumerate(walk):
                if not number % TELL_EVERY:
                    tell()
                element.clear(keep_tail=False)
                while element.getprevious() is not None:
                    del element.getparent()[0]
        except etree.XMLSyntaxError:
            return _list_faults(path, schema, walk.error_log)
    return []


def _list_faults(path: Path, schema: Schema, seen: etree._ListErrorLog) -> list[Finding]:
    if path.stat().st_size > TREE_BYTES_MAX:
        return [_finding(50007, 0, _reason(entry)) for entry in seen]
    schema.compiled.validate(etree.parse(str(path), make_parser()))
    found = {(entry.line, _reason(entry)): None for entry in schema.compiled.error_log}
    return [_finding(50007, line, reason) for line, reason in found]


def _check_records(path: Path, setting: Setting, tell: Tell) -> Report:
    reader, whole = Reader(path), Whole(setting)
    faults: list[Fault] = []
    records = 0
    for part in reader.parts():
        tell()
        if isinstance(part, Record):
            records += 1
            faults += check_record(part, reader.header)
            faults += whole.see_record(part)
        else:
            faults += whole.see_mark(part)
    faults += check_header(reader.header, setting)
    faults += whole.finish(reader.header, reader.bodies)
    findings = [
        Finding(code=fault.code, line=fault.line, document_id=fault.document_id, reason="")
        for fault in sorted(faults, key=lambda fault: (fault.line, fault.code))
    ]
    return _report(reader.header, records, findings)


def _report(header: Header, records: int, findings: list[Finding]) -> Report:
    shown = tuple(findings[:FAULTS_MAX])
    return Report(
        header=header,
        records=records,
        findings=shown,
        more=len(findings) - len(shown),
        codes=tuple(sorted({finding.code for finding in findings})),
    )


def _finding(code: int, line: int, reason: str) -> Finding:
    return Finding(code=code, line=line, document_id="", reason=reason)


def _reason(entry: etree._LogEntry) -> str:
    return _SCHEMA_FAULTS.get(entry.type_name, "value-invalid")
