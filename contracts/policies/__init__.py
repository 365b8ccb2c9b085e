"""The contracts that ship with Tallystick, and the table of what each is for.

A test insists that table, files and tests agree.
"""

from dataclasses import dataclass
from importlib.resources import files

from contracts.engine import ENGINE_VERSION
from ledger.registry import Contract, PolicySet


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One contract: what it does in a sentence, and the stem of its tests' names."""

    contract: str
    effect: str
    test: str


TABLE = tuple(
    Row(contract=contract, effect=effect, test=f"test_{contract.replace('-', '_')}")
    for contract, effect in (
        ("automatic-exchange", "releases account data to tax and foreign authorities under CRS"),
        ("business-data", "releases small requests for filings, incentives and invoices"),
        ("credit-grade", "denies grade D but in urgent criminal cases; reviews grade C"),
        ("delivery", "lets a provider officer of the owner deliver"),
        ("four-eyes", "lets an approver of the owner approve who did not request"),
        ("freeze", "denies everything that a freeze in force matches"),
        ("legality", "denies without a legal basis that is in force and covers the exchange"),
        ("necessity", "denies too many subjects, too long periods and needless fields"),
        ("reciprocity", "reviews requests of who takes far more than it gives"),
        ("registration", "releases registration data among tax authorities"),
        ("request", "lets requester officers of agencies request"),
        ("sensitive-fields", "reviews personal and secret fields"),
        ("statistics", "releases data for statistics without identifying fields"),
    )
)


def load_shipped() -> PolicySet:
    """The shipped policy set, version 1."""
    folder = files("contracts") / "shipped"
    return PolicySet(
        version=1,
        engine=ENGINE_VERSION,
        schema=(folder / "schema.cedarschema").read_text("utf-8"),
        contracts=tuple(
            Contract(
                id=row.contract, text=(folder / f"{row.contract}.cedar").read_text("utf-8")
            )
            for row in TABLE
        ),
    )
