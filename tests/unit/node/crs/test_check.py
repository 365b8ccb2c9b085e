"""Each code that one message decides: one message with exactly that fault, and one without any."""

from pathlib import Path
from typing import Any

import pytest

from contracts.words import catalogue
from node.crs.check import FAULTS_MAX, check_file
from node.crs.codes import CODE_SETS, read_code_set, who_decides
from node.crs.message import Reader, Record
from node.crs.rules import Setting
from tests.tables_of_crs import ALSO_BY_LEDGER
from tests.unit.node.crs import messages as m
from tests.unit.node.crs.messages import SCHEMA, check, codes, first

NEXT = m.account("DE2024A2")
PERSON = m.person()
LONG = "long" * 400


def of_account(**changed: Any) -> str:
    return m.message(m.body(m.institution(), m.group(m.account(**changed))))


def of_group(**changed: str) -> str:
    return m.message(m.body(m.institution(), m.group(m.account(), **changed)))


def corrections(*accounts: str, fi: str = "") -> str:
    again = fi or m.institution(indicator="OECD0")
    return m.message(m.body(again, m.group(*accounts)), kind="CRS702")


PARTY = f"<Sponsor>{m.spec('DE2024S1')}</Sponsor>"
FIXED = {"indicator": "OECD2", "corrected": "DE2023A1"}
GONE = m.institution(indicator="OECD3", corrected="DE2023F1")
FUND = {"number": m.ISIN, "number_type": "OECD603", "kind": "CRS1104"}
INSURED = {"number": "P-1", "number_type": "OECD605", "kind": "CRS1103"}
# Code: messages that have this fault and no other.
CASES: dict[int, tuple[str, ...]] = {
    50005: (m.message(head="<!DOCTYPE Message>"),),
    50007: (
        of_account(balance="much"), m.message(tail="<Extra/>"), m.message()[:-20],
        m.message().replace("</MessageSpec>", ""),
    ),
    50008: tuple(
        m.message(id_=id_) for id_ in ("DE2023CN0001", "XX2024CN0001", "DE2024CN")
    ),
    50010: (
        m.message(m.body(
            m.institution(indicator="OECD11"), m.group(m.account(indicator="OECD11"))
        )),
    ),
    50012: (m.message(
        m.body(m.institution(), m.group(m.account(holder=m.person(residence="FR")))),
        receiving="FR", id_="DE2024FR1",
    ),),
    60000: (of_account(number="DE89370400440532013001"),),
    60001: (of_account(number="US0378331006", number_type="OECD603"),),
    60002: (of_account(balance="-0.01"),),
    60003: (of_account(closed="true"),),
    60004: (
        of_account(holder=m.person(name_type="OECD201")),
        of_account(holder=m.entity(kind="CRS101"), controlling=m.person(name_type="OECD201")),
    ),
    60005: (
        of_account(holder=m.entity(kind="CRS102"), controlling=PERSON),
        of_account(holder=m.entity(kind="CRS103"), controlling=PERSON),
    ),
    60006: (of_account(holder=m.entity(kind="CRS101")),),
    60007: (m.message(m.body(m.institution(), m.group(m.account()), m.group(NEXT))),),
    60008: (of_group(before=PARTY),),
    60009: (of_group(before=PARTY.replace("Sponsor", "Intermediary")),),
    60010: (of_group(behind=PARTY.replace("Sponsor", "PoolReport")),),
    60011: (
        of_account(holder=m.person(residence="FR")),
        of_account(holder=m.entity(kind="CRS101"), controlling=m.person(residence="FR")),
    ),
    60012: (of_account(holder=m.entity(residence="FR")),),
    60013: (m.message(m.body(m.institution(residence="FR"), m.group(m.account()))),),
    60014: (
        of_account(holder=m.person(born="1899-12-31")),
        of_account(holder=m.person(born="2025-01-01")),
        of_account(holder=m.entity(kind="CRS101"), controlling=m.person(born="1850-01-01")),
    ),
    60015: (
        m.message(m.body(m.institution())), m.message(m.body(m.institution(), m.group())),
        m.message(m.body(m.institution(indicator="OECD0"))),
    ),
    60016: (of_account(controlling=PERSON),),
    60017: (
        of_account(number="E-1", number_type="OECD606", kind="CRS1102"),
        of_account(number="E-1", number_type="OECD606", kind="CRS1100"),
    ),
    60018: (of_account(kind="CRS1102"),),
    60019: (of_account(kind="CRS1101", interest="CRS401"),),
    60020: (
        of_account(number="1", number_type="OECD602", kind="CRS1103"),
        of_account(number=m.ISIN, number_type="OECD603", kind="CRS1103"),
    ),
    60021: (of_account(kind="CRS1101", payments=("CRS502", "CRS501")),),
    60022: (of_account(**FUND, payments=("CRS503", "CRS501")),),
    60023: (of_account(**INSURED, payments=("CRS502",)),),
    80000: (m.message(m.body(m.institution(), m.group(m.account(), m.account()))),),
    80001: (of_account(id_="FR2024A1"), of_account(id_="DE24A1"), of_account(id_="DE2024")),
    80004: (of_account(corrected="DE2023A1"),),
    80005: (corrections(m.account(indicator="OECD2")), corrections(m.account(indicator="OECD3"))),
    80006: (corrections(m.account(**FIXED, corrected_message="DE2023CN1")),),
    80007: (m.message(corrected="DE2023CN0001"),),
    80008: (corrections(m.account(indicator="OECD0")),),
    80009: (corrections(m.account(**FIXED), fi=GONE),),
    80010: (corrections(m.account(**FIXED), NEXT),),
    80011: (corrections(m.account(**FIXED), m.account("DE2024A2", **FIXED)),),
    80015: (m.message(""),),
}  # fmt: skip


@pytest.mark.parametrize(
    ("code", "text"), [(code, text) for code, texts in CASES.items() for text in texts]
)
def test_a_message_with_exactly_that_fault(tmp_path: Path, code: int, text: str) -> None:
    report = check(tmp_path / "message.xml", text)
    assert set(codes(report)) == {code}, report
    assert report.is_rejected is (code < 60_000)


def test_production_data_in_a_test(tmp_path: Path) -> None:
    setting = Setting(receiving="CN", environment="test")
    assert codes(check(tmp_path / "m.xml", m.message(), setting)) == [50011]
    text = CASES[50010][0]
    assert codes(check(tmp_path / "m.xml", text, setting)) == []


GOOD = {
    "one account": m.message(),
    "two bodies": m.message(m.body(), m.body(m.institution("DE2024F2"), m.group(NEXT))),
    "an entity": of_account(holder=m.entity()),
    "a controlled entity": of_account(holder=m.entity(kind="CRS101"), controlling=PERSON),
    "an entity elsewhere, controlled from here": of_account(
        holder=m.entity(residence="FR", kind="CRS101"), controlling=PERSON
    ),
    "a deposit with interest": of_account(kind="CRS1101", payments=("CRS502",)),
    "electronic money": of_account(number="E-1", number_type="OECD606", kind="CRS1101"),
    "a custodian": of_account(
        number="1", number_type="OECD605", kind="CRS1102", payments=("CRS501", "CRS503")
    ),
    "a fund": of_account(**FUND, interest="CRS401", payments=("CRS503", "CRS504")),
    "an insurance": of_account(**INSURED, payments=("CRS503", "CRS504")),
    "an account of an edition without types": of_account(payments=("CRS501",)),
    "a number of no kind": of_account(number="123", number_type="OECD605"),
    "an isin": of_account(number=m.ISIN, number_type="OECD603"),
    "a closed account": of_account(closed="true", balance="0.00"),
    "corrections": corrections(m.account(**FIXED)),
    "everything deleted": corrections(
        m.account(indicator="OECD3", corrected="DE2023A1"), fi=GONE
    ),
    "an institution sent again in two bodies": m.message(
        m.body(m.institution(indicator="OECD0"), m.group(m.account())),
        m.body(m.institution(indicator="OECD0"), m.group(NEXT)),
    ),
    "nothing to report": m.message(m.body(m.institution()), kind="CRS703"),
    "nothing to report, without a body": m.message("", kind="CRS703"),
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_a_message_without_faults(tmp_path: Path, name: str) -> None:
    report = check(tmp_path / "message.xml", GOOD[name])
    assert report.findings == ()
    assert report.header.message_id.startswith("DE2024CN")


def test_every_code_that_is_claimed_has_its_message() -> None:
    claimed = {code for code in read_code_set("oecd-crs-sm-3.0") if who_decides(code) == "message"}
    assert claimed == (CASES.keys() | {50011}) - {50012, 80000}


def test_the_ledger_decides_what_is_claimed_of_it() -> None:
    judged = {code for code in catalogue("en")["codes"] if code.startswith("oecd-")}
    claimed = {code for code in read_code_set("oecd-crs-sm-3.0") if who_decides(code) == "ledger"}
    assert judged == {f"oecd-{code}" for code in claimed | ALSO_BY_LEDGER}


def test_code_sets_are_editions_of_their_own() -> None:
    sizes = [len(read_code_set(name)) for name in CODE_SETS]
    assert sizes == [50, 57, 3, 5]
    assert 60017 not in read_code_set("oecd-crs-sm-2.0")
    assert read_code_set("oecd-crs-sm-9.9") == {}
    for name in CODE_SETS:
        assert all(all(names.values()) for names in read_code_set(name).values())


def test_a_record_is_found_by_its_line_and_document(tmp_path: Path) -> None:
    text = m.message(
        m.body(m.institution(), m.group(m.account(), m.account("DE2024A2", balance="-1")))
    )
    finding = first(check(tmp_path / "m.xml", text))
    assert (finding.code, finding.document_id) == (60002, "DE2024A2")
    assert "DE2024A2" in text.split("\n")[finding.line - 1]


def test_schema_faults_have_lines_and_reasons_and_no_values(tmp_path: Path) -> None:
    text = m.message(m.body(m.institution(), m.group(
        m.account(balance="secret"), m.account("DE2024A2", number_type="x\" secret=\"1"),
        m.account(id_=LONG, indicator="OECD9"),
    )))  # fmt: skip
    report = check(tmp_path / "m.xml", text)
    assert "secret" not in repr(report)
    found = {(finding.line, finding.reason) for finding in report.findings}
    assert found == {
        (7, "value-invalid"), (8, "attribute-unexpected"), (9, "value-length"),
        (9, "value-pattern"),
    }  # fmt: skip


def test_findings_are_bounded(tmp_path: Path) -> None:
    accounts = [m.account(f"DE2024A{number}", balance="-1") for number in range(FAULTS_MAX + 5)]
    report = check(tmp_path / "m.xml", m.message(m.body(m.institution(), m.group(*accounts))))
    assert (len(report.findings), report.more, report.records) == (FAULTS_MAX, 5, FAULTS_MAX + 6)


def test_a_code_beyond_the_bound_is_not_lost(tmp_path: Path) -> None:
    accounts = [m.account(f"DE2024A{number}", balance="-1") for number in range(FAULTS_MAX)]
    accounts.append(m.account("DE2024B", holder=m.person(born="1850-01-01")))
    report = check(tmp_path / "m.xml", m.message(m.body(m.institution(), m.group(*accounts))))
    assert {finding.code for finding in report.findings} == {60002}
    assert report.codes == (60002, 60014)


def test_a_long_check_gives_signs_of_life(tmp_path: Path) -> None:
    accounts = [m.account(f"DE2024A{number}") for number in range(500)]
    path, signs = tmp_path / "m.xml", [0]
    path.write_text(m.message(m.body(m.institution(), m.group(*accounts))))

    def tell() -> None:
        signs[0] += 1

    check_file(path, SCHEMA, tell=tell)
    assert signs[0] > 500


def test_memory_holds_what_is_read_ahead(tmp_path: Path) -> None:
    accounts = [m.account(f"DE2024A{number}") for number in range(1_000)]
    (tmp_path / "m.xml").write_text(m.message(m.body(m.institution(), m.group(*accounts))))
    kept = [
        len(part.element.getparent())
        for part in Reader(tmp_path / "m.xml").parts()
        if isinstance(part, Record) and part.name == "AccountReport"
    ]
    assert len(kept) == 1_000
    assert max(kept) < 200, "the parser reads some tens of records at once"


def test_lines_beyond_sixteen_bits_are_told(tmp_path: Path) -> None:
    text = m.message(m.body(m.institution(), m.group("\n" * 70_000, m.account(balance="-1"))))
    line = first(check(tmp_path / "m.xml", text)).line
    assert line > 70_000
    assert "DE2024A1" in text.split("\n")[line - 1]


def test_a_file_that_is_not_there_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        check_file(tmp_path / "none.xml", SCHEMA)
