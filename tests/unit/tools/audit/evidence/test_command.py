"""`tally audit evidence` and `verify-evidence`: from a folder and a node, codes, both languages."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.unit.contracts.drafts.pasts import write_copy
from tests.unit.ledger.builders import make_copy
from tests.unit.tools.audit.evidence.case import Case, bundle_of, make_case, written
from tests.unit.tools.test_epochs import node_of
from tools.cli import main
from tools.exits import ERROR, NOT_FOUND, OK, UNVERIFIED, USAGE


@pytest.fixture(scope="module")
def case() -> Case:
    return make_case()


@pytest.fixture(scope="module")
def mirror(case: Case, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_copy(case.chain, tmp_path_factory.mktemp("mirror"))


@pytest.fixture
def bundle(case: Case, tmp_path: Path) -> Path:
    path = tmp_path / "case.zip"
    path.write_bytes(bundle_of(case))
    return path


def invoke(*arguments: object, lang: str = "en") -> Result:
    line = ["audit", *map(str, arguments), "--lang", lang]
    if "--jobs" not in line:
        line += ["--jobs", "1"]
    return CliRunner().invoke(main, line, catch_exceptions=False)


def tally(*arguments: object, exit_code: int = OK) -> dict[str, Any]:
    result = invoke(*arguments, "--json")
    assert result.exit_code == exit_code, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def code_of(*arguments: object, exit_code: int = ERROR) -> str:
    return str(tally(*arguments, exit_code=exit_code)["error"]["code"])


def test_from_a_folder_and_from_a_node_come_the_same_bytes(
    case: Case, mirror: Path, tmp_path: Path
) -> None:
    trust = ("--genesis", mirror / "genesis.json")
    one, two = tmp_path / "1.zip", tmp_path / "2.zip"
    document = tally("evidence", case.exchange.hex(), mirror, "-o", one, *trust)
    assert (document["events"], document["decisions"]) == (5, 3)
    assert document["bytes"] == one.stat().st_size
    with node_of(case.chain) as url:
        tally("evidence", case.exchange.hex(), url, "-o", two, *trust)
    assert one.read_bytes() == two.read_bytes() == bundle_of(case)


@pytest.mark.parametrize(("lang", "words"), [("en", "Evidence valid"), ("zh", "证据有效")])
def test_a_true_file_holds_offline_and_with_the_log(
    case: Case, mirror: Path, bundle: Path, lang: str, words: str
) -> None:
    check = ("verify-evidence", bundle, "--genesis-hash", case.trusted)
    alone = invoke(*check, lang=lang)
    assert (alone.exit_code, words in alone.stdout) == (OK, True), alone.output
    assert len(alone.stdout.strip().split("\n")) == 1
    logged = invoke(*check, "--log", mirror, lang=lang)
    assert len(logged.stdout.strip().split("\n")) == 2
    assert tally(*check, "--log", mirror)["log"] is True


def test_a_longer_log_still_agrees_and_a_shorter_one_cannot_tell(
    case: Case, mirror: Path, bundle: Path, tmp_path: Path
) -> None:
    check = ("verify-evidence", bundle, "--genesis-hash", case.trusted, "--log")
    longer = Case()
    longer.act("north", longer.asking())
    grown = write_copy(longer.chain, tmp_path / "longer")
    assert tally(*check, grown)["valid"] is True
    end = case.chain.blocks[5].header.tree_size
    files = make_copy(case.chain.entries[:end], case.chain.genesis)
    assert code_of(*check, written(files, tmp_path / "shorter")) == "log-other-size"


def test_refusals_have_codes(case: Case, mirror: Path, bundle: Path, tmp_path: Path) -> None:
    out = ("-o", tmp_path / "new.zip")
    exchange = case.exchange.hex()
    assert code_of("evidence", exchange, mirror, "-o", bundle) == "file-exists"
    unknown = ("evidence", "0" * 64, mirror, *out)
    assert code_of(*unknown, exit_code=NOT_FOUND) == "exchange-not-found"
    step = case.delivered.digest.hex()
    other = ("evidence", step, mirror, *out)
    assert code_of(*other, exit_code=NOT_FOUND) == "exchange-not-found"
    assert code_of("evidence", "xyz", mirror, *out) == "digest-invalid"
    assert code_of("evidence", exchange, tmp_path / "none", *out) == "folder-not-found"
    nowhere = ("-o", tmp_path / "no" / "new.zip")
    assert code_of("evidence", exchange, mirror, *nowhere) == "file-unwritable"
    trust = ("--genesis-hash", case.trusted)
    assert code_of("verify-evidence", tmp_path / "none", *trust) == "file-unreadable"
    assert code_of("verify-evidence", bundle, "--genesis-hash", "1") == "digest-invalid"
    assert invoke("verify-evidence", bundle).exit_code == USAGE
    bundle.write_bytes(bundle.read_bytes()[:-1])
    invalid = ("verify-evidence", bundle, *trust)
    assert code_of(*invalid, exit_code=UNVERIFIED) == "bundle-invalid"
    assert not (tmp_path / "new.zip").exists()


def test_evidence_is_not_made_of_a_log_that_does_not_verify(case: Case, tmp_path: Path) -> None:
    tile = f"tile/entries/000.p/{len(case.chain.entries)}"
    data = case.chain.copy()[tile]
    broken = write_copy(case.chain, tmp_path / "copy", **{tile: data[:-1] + b"\x00"})
    made = ("evidence", case.exchange.hex(), broken, "-o", tmp_path / "new.zip")
    assert code_of(*made, exit_code=UNVERIFIED) == "replay-diverged"
