"""The rules that one message decides by itself, as tables: of its header, of a record, of a whole.

Each rule is a status code and a function that says whether the fault is there. What needs more than
one record (`Whole`) is gathered while the message is read and told at its end.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Literal

from stdnum import iban, isin

from node.crs.message import Header, Mark, Record, find_all, text, texts

Environment = Literal["production", "test"]

_NIL = "CRS703"
_BIRTH_YEAR_MIN = 1_900
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MARK_CODES = {"Sponsor": 60008, "Intermediary": 60009, "PoolReport": 60010}
# Of account holders that are entities: a passive one has controlling persons, the others have not.
_PASSIVE = "CRS101"
_NOT_PASSIVE = ("CRS102", "CRS103")
# Types of accounts and of payments; edition 3.0 of the schema has both, those before it none.
_DEPOSITORY, _INSURANCE, _INVESTMENT = "CRS1101", "CRS1103", "CRS1104"
_INTEREST, _PROCEEDS_OR_OTHER = ("CRS502",), ("CRS503", "CRS504")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A status code; `line` 0: of the message as a whole; `document_id` empty: not of a record."""

    code: int
    line: int
    document_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Who reads the message; an empty `receiving` is not compared."""

    receiving: str = ""
    environment: Environment = "production"


RecordRule = Callable[[Record, Header], bool]


def _account_number(record: Record, kind: str, is_valid: Callable[[str], bool]) -> bool:
    found = find_all(record.element, "AccountNumber")
    return any(
        each.get("AcctNumberType") == kind and not is_valid((each.text or "").strip())
        for each in found
    )


def _balance(record: Record) -> Decimal | None:
    said = text(record.element, "AccountBalance")
    try:
        return Decimal(said) if said else None
    except InvalidOperation:
        return None


def _is_negative(record: Record, _: Header) -> bool:
    balance = _balance(record)
    return balance is not None and balance < 0


def _closed_with_balance(record: Record, _: Header) -> bool:
    balance = _balance(record)
    closed = [each.get("ClosedAccount") for each in find_all(record.element, "AccountNumber")]
    return bool(balance) and any(each in ("true", "1") for each in closed)


def _names(record: Record, _: Header) -> bool:
    return any(each.get("nameType") == "OECD201" for each in record.element.iter("{*}Name"))


def _has_controlling(record: Record) -> bool:
    return bool(find_all(record.element, "ControllingPerson"))


def _holder_type(record: Record) -> str:
    return text(record.element, "AccountHolder/AcctHolderType")


def _individual_residence(record: Record, header: Header) -> bool:
    people = [
        *find_all(record.element, "AccountHolder/Individual"),
        *find_all(record.element, "ControllingPerson/Individual"),
    ]
    return any(header.receiving not in texts(each, "ResCountryCode") for each in people)


def _entity_residence(record: Record, header: Header) -> bool:
    own = texts(record.element, "AccountHolder/Organisation/ResCountryCode")
    controlling = texts(record.element, "ControllingPerson/Individual/ResCountryCode")
    is_entity = bool(find_all(record.element, "AccountHolder/Organisation"))
    return is_entity and header.receiving not in (*own, *controlling)


def _institution_residence(record: Record, header: Header) -> bool:
    return header.transmitting not in texts(record.element, "ResCountryCode")


def _birth(record: Record, header: Header) -> bool:
    said = [
        *texts(record.element, "AccountHolder/Individual/BirthInfo/BirthDate"),
        *texts(record.element, "ControllingPerson/Individual/BirthInfo/BirthDate"),
    ]
    latest = header.period or "9999-12-31"
    return any(
        not _DATE.fullmatch(each) or int(each[:4]) < _BIRTH_YEAR_MIN or each > latest
        for each in said
    )


def _individual_controlled(record: Record, _: Header) -> bool:
    return bool(find_all(record.element, "AccountHolder/Individual")) and _has_controlling(record)


def _account_type(record: Record) -> str:
    return text(record.element, "AccountType")


def _number_types(record: Record) -> list[str]:
    found = find_all(record.element, "AccountNumber")
    return [kind for each in found if (kind := each.get("AcctNumberType")) is not None]


def _number_needs_deposit(record: Record, kind: str) -> bool:
    account = _account_type(record)
    return bool(account) and account != _DEPOSITORY and kind in _number_types(record)


def _equity_interest(record: Record, _: Header) -> bool:
    account = _account_type(record)
    has_interest = next(record.element.iter("{*}EquityInterestType"), None) is not None
    return has_interest and bool(account) and account != _INVESTMENT


def _insurance_number(record: Record, _: Header) -> bool:
    kinds = _number_types(record)
    return _account_type(record) == _INSURANCE and any(kind != "OECD605" for kind in kinds)


def _other_payment(record: Record, account: str, allowed: tuple[str, ...]) -> bool:
    paid = texts(record.element, "Payment/Type")
    return _account_type(record) == account and any(kind not in allowed for kind in paid)


def _document_format(record: Record, header: Header) -> bool:
    pattern = rf"{re.escape(header.transmitting)}[0-9]{{4}}\S{{1,190}}"
    return not re.fullmatch(pattern, record.document_id)


ACCOUNT_RULES: dict[int, RecordRule] = {
    60000: lambda record, _: _account_number(record, "OECD601", iban.is_valid),
    60001: lambda record, _: _account_number(record, "OECD603", isin.is_valid),
    60002: _is_negative,
    60003: _closed_with_balance,
    60005: lambda record, _: _holder_type(record) in _NOT_PASSIVE and _has_controlling(record),
    60006: lambda record, _: _holder_type(record) == _PASSIVE and not _has_controlling(record),
    60011: _individual_residence,
    60012: _entity_residence,
    60014: _birth,
    60016: _individual_controlled,
    60017: lambda record, _: _number_needs_deposit(record, "OECD606"),
    60018: lambda record, _: _number_needs_deposit(record, "OECD601"),
    60019: _equity_interest,
    60020: _insurance_number,
    60021: lambda record, _: _other_payment(record, _DEPOSITORY, _INTEREST),
    60022: lambda record, _: _other_payment(record, _INVESTMENT, _PROCEEDS_OR_OTHER),
    60023: lambda record, _: _other_payment(record, _INSURANCE, _PROCEEDS_OR_OTHER),
}
INSTITUTION_RULES: dict[int, RecordRule] = {60013: _institution_residence}
RECORD_RULES: dict[int, RecordRule] = {
    60004: _names,
    80001: _document_format,
    80004: lambda record, _: record.indicator in ("new", "resend") and bool(record.corrected_id),
    80005: lambda record, _: (
        record.indicator in ("corrected", "deleted") and not record.corrected_id
    ),
    80006: lambda record, _: bool(record.corrected_message_id),
    80008: lambda record, _: record.indicator == "resend" and record.name != "ReportingFI",
}


def check_record(record: Record, header: Header) -> list[Fault]:
    """Faults of one record by itself."""
    tables = [RECORD_RULES]
    if record.name == "AccountReport":
        tables.append(ACCOUNT_RULES)
    elif record.name == "ReportingFI":
        tables.append(INSTITUTION_RULES)
    return [
        Fault(code=code, line=record.line, document_id=record.document_id)
        for table in tables
        for code, is_faulty in table.items()
        if is_faulty(record, header)
    ]


def check_header(header: Header, setting: Setting) -> list[Fault]:
    """Faults of the header."""
    faults = []
    pattern = (
        rf"{re.escape(header.transmitting)}{re.escape(header.period[:4])}"
        rf"{re.escape(header.receiving)}\S{{1,160}}"
    )
    if not re.fullmatch(pattern, header.message_id):
        faults.append(50008)
    if setting.receiving and header.receiving != setting.receiving:
        faults.append(50012)
    if header.corrected_ids:
        faults.append(80007)
    return [Fault(code=code, line=header.line, document_id="") for code in faults]


@dataclass(slots=True)
class _Body:
    """What a body has had so far; `institution` is its `ReportingFI`, as a place to point to."""

    institution: Fault | None = None
    indicator: str = ""
    groups: int = 0
    accounts: int = 0
    kept: int = 0


@dataclass(slots=True)
class Whole:
    """What must be seen together: identifiers, corrections, bodies and their groups."""

    setting: Setting
    seen: set[str] = field(default_factory=set)
    corrected: set[str] = field(default_factory=set)
    contents: set[str] = field(default_factory=set)
    kinds: set[bool] = field(default_factory=set)
    bodies: dict[int, _Body] = field(default_factory=dict)

    def see_mark(self, mark: Mark) -> list[Fault]:
        """A group ended, or something stands in it that is not allowed."""
        body = self.bodies.setdefault(mark.body, _Body())
        code = _MARK_CODES.get(mark.name, 0)
        if mark.name == "ReportingGroup":
            body.groups += 1
            code = 60007 if body.groups > 1 else 0
        return [Fault(code=code, line=mark.line, document_id="")] if code else []

    def see_record(self, record: Record) -> list[Fault]:
        """Faults that a record shows beside those before it."""
        place = Fault(code=0, line=record.line, document_id=record.document_id)
        codes = []
        if record.document_id in self.seen and record.indicator != "resend":
            codes.append(80000)
        self.seen.add(record.document_id)
        if record.corrected_id and record.corrected_id in self.corrected:
            codes.append(80011)
        self.corrected.add(record.corrected_id)
        if record.indicator not in ("resend", ""):
            content = "new" if record.indicator == "new" else "correction"
            if self.contents and content not in self.contents:
                codes.append(80010)
            self.contents.add(content)
        self.kinds.add(record.is_test)
        self._see_body(record, place)
        return [_at(place, code) for code in codes]

    def _see_body(self, record: Record, place: Fault) -> None:
        body = self.bodies.setdefault(record.body, _Body())
        if record.name == "ReportingFI":
            body.institution, body.indicator = place, record.indicator
        elif record.name == "AccountReport":
            body.accounts += 1
            body.kept += record.indicator != "deleted"

    def finish(self, header: Header, bodies: int) -> Iterator[Fault]:
        """Faults of the message as a whole."""
        if True in self.kinds and self.setting.environment == "production":
            yield Fault(code=50010, line=0, document_id="")
        if False in self.kinds and self.setting.environment == "test":
            yield Fault(code=50011, line=0, document_id="")
        if not bodies and header.type_indicator != _NIL:
            yield Fault(code=80015, line=0, document_id="")
        for body in self.bodies.values():
            if body.institution is None:
                continue
            is_nil = header.type_indicator == _NIL
            if body.indicator in ("new", "resend") and not body.accounts and not is_nil:
                yield _at(body.institution, 60015)
            if body.indicator == "deleted" and body.kept:
                yield _at(body.institution, 80009)


def _at(place: Fault, code: int) -> Fault:
    return Fault(code=code, line=place.line, document_id=place.document_id)
