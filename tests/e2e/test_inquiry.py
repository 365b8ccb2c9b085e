"""An auditor asks the copy of a log that four real nodes made."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.e2e.network import ASKER, OWNER
from tests.unit.tools.test_epochs import code_of
from tools.cli import main
from tools.exits import OK, UNVERIFIED

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


def ask(command: str, *arguments: object, code: int = OK) -> dict[str, Any]:
    given = ("audit", command, *arguments, "--json")
    done = CliRunner().invoke(main, [*map(str, given)])
    assert done.exit_code == code, done.output
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def test_questions_to_a_real_copy(mirror: Path, stopped: Path, tmp_path: Path) -> None:
    pinned = ("--genesis", mirror / "genesis.json", "--jobs", 2)
    told = ask("index", mirror, *pinned)
    assert (told["index"], told["events"]) == ("built", 271)
    denied = ask("search", mirror, *pinned, "--decision", "deny", "--contract", "legality")
    assert (denied["index"], denied["total"]) == ("kept", 30)
    assert {row["legal_basis"] for row in denied["records"]} == {"yrd-pilot-2019"}
    (delivered,) = ask("search", mirror, *pinned, "--status", "delivered", "--limit", 1)["records"]
    story = ask("trace", delivered["exchange"], mirror, *pinned, "--svg", tmp_path / "x.svg")
    assert [each["kind"] for each in story["events"]] == ["share.requested", "share.delivered"]
    assert (story["requester"], story["provider"]) == (ASKER, OWNER)
    assert [duty["gap"] for duty in story["duties"]] == ["delivery-without-receipt"]
    (pair,) = ask("reciprocity", mirror, *pinned)["pairs"]
    assert (pair["asked"], pair["answered"]) == (270, 1)
    gaps = ask("gaps", mirror, *pinned, "--all")["tasks"]
    assert {gap["gap"] for gap in gaps} >= {"permit-without-delivery", "delivery-without-receipt"}
    assert ask("compare", mirror, stopped / "mirror")["result"] == "equal"


def test_a_real_copy_that_was_changed_is_refused(mirror: Path) -> None:
    path = mirror / "tile" / "entries" / "000"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    told = ask("search", mirror, "--jobs", 2, code=UNVERIFIED)
    assert code_of(told) == "replay-diverged"
    assert not (mirror / "index.sqlite").exists()
