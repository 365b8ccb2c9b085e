"""Tables of cases on disk: `cases.toml`, or `NAME.cases.toml` beside the policies."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from contracts.drafts.cases import CaseResult, InvalidCases, parse_cases, run_case
from contracts.engine import PolicyEngine
from tools.contract.sources import read_text
from tools.exits import InvalidInput

TABLE_BYTES_MAX = 1_048_576


@dataclass(frozen=True, slots=True, kw_only=True)
class TableResult:
    """The cases of one file with what came of them."""

    path: Path
    results: tuple[CaseResult, ...]


def find_tables(path: Path) -> list[Path]:
    """Tables in a folder, that of a contract, or the one named. Raises `InvalidInput` for none."""
    if not path.is_dir():
        return [path if path.suffix == ".toml" else path.with_suffix(".cases.toml")]
    found = [*path.glob("cases.toml"), *sorted(path.glob("*.cases.toml"))]
    if not found:
        raise InvalidInput("cases-missing", str(path))
    return found


def run_tables(engine: PolicyEngine, paths: Sequence[Path]) -> Iterator[TableResult]:
    """Run every case. Raises `InvalidInput` for a table that cannot be read."""
    for path in paths:
        try:
            cases = parse_cases(read_text(path, TABLE_BYTES_MAX))
        except InvalidCases as error:
            raise InvalidInput("cases-invalid", f"{path}: {error}") from None
        yield TableResult(path=path, results=tuple(run_case(engine, case) for case in cases))
