"""A small, fictitious message in the schema of the tests; each keyword lies about one field."""

from pathlib import Path

from node.crs.check import Finding, Report, check_file
from node.crs.rules import Setting
from node.crs.schemas import load_schema

SCHEMA_FOLDER = Path(__file__).parent / "schema"
SCHEMA = load_schema(SCHEMA_FOLDER)
NAMESPACES = (
    'xmlns="urn:example:exchange:message:v0" xmlns:c="urn:example:exchange:common:v0"'
)  # fmt: skip
IBAN = "DE89370400440532013000"
ISIN = "US0378331005"


def spec(
    id_: str, indicator: str = "OECD1", corrected: str = "", corrected_message: str = ""
) -> str:
    """A `DocSpec`."""
    more = f"<c:CorrMessageRefId>{corrected_message}</c:CorrMessageRefId>" * bool(corrected_message)
    more += f"<c:CorrDocRefId>{corrected}</c:CorrDocRefId>" * bool(corrected)
    return (
        f"<DocSpec><c:DocTypeIndic>{indicator}</c:DocTypeIndic>"
        f"<c:DocRefId>{id_}</c:DocRefId>{more}</DocSpec>"
    )


def person(*, residence: str = "CN", name_type: str = "", born: str = "1980-05-06") -> str:
    """An individual."""
    kind = f' nameType="{name_type}"' if name_type else ""
    return (
        f"<Individual><ResCountryCode>{residence}</ResCountryCode><Name{kind}>Zhang San</Name>"
        f"<BirthInfo><BirthDate>{born}</BirthDate></BirthInfo></Individual>"
    )


def entity(*, residence: str = "CN", kind: str = "CRS102") -> str:
    """An organisation as account holder."""
    return (
        f"<Organisation><ResCountryCode>{residence}</ResCountryCode><Name>Example Ltd</Name>"
        f"</Organisation><AcctHolderType>{kind}</AcctHolderType>"
    )


def account(
    id_: str = "DE2024A1",
    *,
    holder: str | None = None,
    controlling: str = "",
    number: str = IBAN,
    number_type: str = "OECD601",
    closed: str = "false",
    balance: str = "12.50",
    kind: str = "",
    payments: tuple[str, ...] = (),
    interest: str = "",
    **spec_changed: str,
) -> str:
    """An account report; `kind` and `payments` are types that only the newest edition has."""
    controller = f"<ControllingPerson>{controlling}</ControllingPerson>" * bool(controlling)
    equity = f"<EquityInterestType>{interest}</EquityInterestType>" * bool(interest)
    paid = "".join(f"<Payment><Type>{each}</Type></Payment>" for each in payments)
    account_type = f"<AccountType>{kind}</AccountType>" * bool(kind)
    return (
        f"<AccountReport>{spec(id_, **spec_changed)}"
        f'<AccountNumber AcctNumberType="{number_type}" ClosedAccount="{closed}">{number}'
        f"</AccountNumber>"
        f"<AccountHolder>{equity}{person() if holder is None else holder}</AccountHolder>"
        f"{controller}<AccountBalance>{balance}</AccountBalance>{paid}{account_type}"
        f"</AccountReport>\n"
    )


def institution(id_: str = "DE2024F1", *, residence: str = "DE", **spec_changed: str) -> str:
    """A reporting institution."""
    return (
        f"<ReportingFI><ResCountryCode>{residence}</ResCountryCode><Name>Example Bank</Name>"
        f"{spec(id_, **spec_changed)}</ReportingFI>\n"
    )


def group(*accounts: str, before: str = "", behind: str = "") -> str:
    """A reporting group."""
    return f"<ReportingGroup>\n{before}{''.join(accounts)}{behind}</ReportingGroup>\n"


def body(*parts: str) -> str:
    """A body; without parts, an institution and one account."""
    return f"<TestBody>\n{''.join(parts or (institution(), group(account())))}</TestBody>\n"


def message(
    *bodies: str,
    transmitting: str = "DE",
    receiving: str = "CN",
    id_: str = "DE2024CN0001",
    kind: str = "CRS701",
    corrected: str = "",
    period: str = "2024-12-31",
    head: str = "",
    tail: str = "",
) -> str:
    """A message; without bodies it has one, and `""` is no body."""
    more = f"<CorrMessageRefId>{corrected}</CorrMessageRefId>" * bool(corrected)
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n{head}<Message {NAMESPACES}>\n<MessageSpec>'
        f"<TransmittingCountry>{transmitting}</TransmittingCountry>"
        f"<ReceivingCountry>{receiving}</ReceivingCountry>"
        f"<MessageRefId>{id_}</MessageRefId><MessageTypeIndic>{kind}</MessageTypeIndic>{more}"
        f"<ReportingPeriod>{period}</ReportingPeriod></MessageSpec>\n"
        f"{''.join(bodies or (body(),))}{tail}</Message>\n"
    )


def check(path: Path, text: str | bytes, setting: Setting | None = None) -> Report:
    """Write a message and check it."""
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return check_file(path, SCHEMA, setting or Setting(receiving="CN"))


def codes(report: Report) -> list[int]:
    """Status codes of what was found, in order."""
    return [finding.code for finding in report.findings]


def first(report: Report) -> Finding:
    """What was found first."""
    return report.findings[0]
