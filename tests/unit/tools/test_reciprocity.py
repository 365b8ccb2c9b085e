"""`tally reciprocity`: a table, a document and a picture of what a node counts."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.parsers import expat

import msgspec
import pytest
from click.testing import CliRunner, Result

from contracts.exchange.reciprocity import read_receipts
from ledger.events import Event
from ledger.genesis import encode_genesis_json
from ledger.registry import PAIR_COUNTERS
from node.api.schemas.base import encode_json
from node.api.schemas.reciprocity import PairPage, pair_body
from tests import builders
from tests.builders import ASKER, OWNER, deliver, receive, request
from tests.unit.contracts.samples import run, states
from tests.unit.tools.test_doctor import serving
from tools.cli import main
from tools.commands.exchange.matrix import Cell, draw_matrix
from tools.exits import ERROR, OK, UNVERIFIED

OTHER = "cn-3205-tax"
PATH = "/v1/reciprocity"


def story() -> Iterator[Event]:
    """Two members ask the owner, and one asks another; everything but one is answered."""
    for at, (member, provider, purpose, records) in enumerate(
        (
            (ASKER, OWNER, "assessment", 40), (ASKER, OWNER, "audit", 20),
            (ASKER, OTHER, "audit", 60), (OTHER, OWNER, "audit", 5), (ASKER, OWNER, "audit", 0),
        )
    ):  # fmt: skip
        label = str(at)
        asked = request(label=label, member=member, provider=provider, purpose=purpose)
        yield asked
        if records:
            yield deliver(asked, label=label, member=provider, record_count=records)
            yield receive(asked, label=f"{label} in", member=member, record_count=records)


def answer(**lies: Any) -> bytes:
    """What a node says of it; `lies` replace fields of the first row."""
    state = states()
    for event in story():
        execution = run(state, event)
        assert execution.outcomes[0].applied, execution.outcomes
        state.pairs.update(execution.overlay.changes)
    rows = []
    for key in sorted(key for key in state.pairs if key.startswith(b"c/")):
        requester, provider, purpose, year = key[2:].decode().split("\0")
        receipts = read_receipts(state, requester, int(year), provider, purpose)
        names, counters = (requester, provider, purpose), PAIR_COUNTERS.decode(state.pairs[key])
        rows.append(pair_body(names, int(year), counters, receipts))
    page = json.loads(encode_json(PairPage(items=rows, next=None)))
    page["items"][0] |= lies
    return msgspec.json.encode(page)


@contextmanager
def node(data: bytes, tmp_path: Path, query: str) -> Iterator[tuple[str, ...]]:
    genesis = tmp_path / "genesis.json"
    genesis.write_bytes(encode_genesis_json(builders.genesis()))
    with serving({f"{PATH}?{query}limit=500": (200, data)}) as url:
        yield ("--url", url, "--genesis", str(genesis))


def tally(tmp_path: Path, *options: object, query: str = "", data: bytes | None = None) -> Result:
    with node(data or answer(), tmp_path, query) as place:
        return CliRunner().invoke(main, ["reciprocity", *place, *map(str, options)])


def document(tmp_path: Path, *options: object, query: str = "") -> dict[str, Any]:
    result = tally(tmp_path, "--json", *options, query=query)
    assert result.exit_code == OK, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_purposes_are_added_up(tmp_path: Path) -> None:
    found = document(tmp_path)
    assert (found["verified"], found["year"]) == (False, 2026)
    pairs = {(each["requester"], each["provider"]): each for each in found["pairs"]}
    assert set(pairs) == {(ASKER, OWNER), (ASKER, OTHER), (OTHER, OWNER)}
    both = pairs[ASKER, OWNER]
    assert (both["asked"], both["answered"], both["in_time"]) == (3, 2, 2)
    assert (both["records_sent"], both["received"], both["records_received"]) == (60, 2, 60)


def test_dependency_comes_first_where_it_is_greatest(tmp_path: Path) -> None:
    found = document(tmp_path)["dependency"]
    rows = [(each["requester"], each["provider"], each["dependency"]) for each in found]
    # 2 of 3 exchanges and 60 of 120 records: (666 + 500) / 2.
    assert rows == [(OTHER, OWNER, 1_000), (ASKER, OWNER, 583), (ASKER, OTHER, 416)]


def test_a_purpose_narrows_the_pairs_and_not_the_dependency(tmp_path: Path) -> None:
    found = document(tmp_path, "--purpose", "assessment", "--year", "2026", query="year=2026&")
    assert [(each["provider"], each["asked"]) for each in found["pairs"]] == [(OWNER, 1)]
    assert len(found["dependency"]) == 3


def test_a_member_sees_its_own(tmp_path: Path) -> None:
    found = document(tmp_path, "--member", OTHER)
    sides = {(each["requester"], each["provider"]) for each in found["pairs"]}
    assert sides == {(ASKER, OTHER), (OTHER, OWNER)}
    assert [each["requester"] for each in found["dependency"]] == [OTHER]


@pytest.mark.parametrize(
    ("language", "words"),
    [("en", ("Reciprocity 2026 · all purposes", "turned down", "dependency ‰")),
     ("zh", ("互惠 2026 · 全部用途", "被拒", "依赖度‰"))],
)  # fmt: skip
def test_the_table_speaks_both_languages(
    language: str, words: tuple[str, ...], tmp_path: Path
) -> None:
    result = tally(tmp_path, "--lang", language)
    assert result.exit_code == OK, result.output
    assert all(each in result.stdout for each in words)


def test_nothing_asked_yet(tmp_path: Path) -> None:
    result = tally(tmp_path, "--lang", "en", data=b'{"items":[],"next":null}')
    assert result.stdout.strip() == "Nobody has asked anybody within these bounds."


def test_a_node_that_counts_nonsense_is_not_believed(tmp_path: Path) -> None:
    result = tally(tmp_path, "--json", data=answer(asked=-1))
    assert json.loads(result.stdout)["error"]["code"] == "answer-malformed"
    assert result.exit_code == UNVERIFIED


def words_of(picture: str) -> list[str]:
    """Texts of a picture that a parser accepts."""
    found: list[str] = []
    parser = expat.ParserCreate()
    parser.CharacterDataHandler = found.append
    parser.Parse(picture, True)
    return found


def test_the_picture_is_a_matrix(tmp_path: Path) -> None:
    path = tmp_path / "matrix.svg"
    result = tally(tmp_path, "--svg", path, "--lang", "en")
    assert result.exit_code == OK, result.output
    words = words_of(path.read_text("utf-8"))
    assert "2 / 3" in words
    assert "60 records" in words
    assert {ASKER, OWNER, OTHER} <= set(words)
    assert "http" not in path.read_text("utf-8").replace('xmlns="http://www.w3.org/2000/svg"', "")


def test_a_picture_that_cannot_be_written(tmp_path: Path) -> None:
    result = tally(tmp_path, "--svg", tmp_path / "none" / "matrix.svg", "--json")
    assert json.loads(result.stdout)["error"]["code"] == "system-refused"
    assert result.exit_code == ERROR


def test_the_more_the_darker_and_the_diagonal_is_empty() -> None:
    cells = {("a", "b"): Cell(10, "x", "y", "z"), ("b", "a"): Cell(0, "o", "p", "q<&>")}
    picture = draw_matrix("t", "l", ["a", "b"], cells)
    assert 'fill="#144e7a"' in picture
    assert 'fill="#f1f6fa"' in picture
    assert picture.count('fill="#e8ebee"') == 2
    assert 'class="middle light">x' in picture
    assert "q<&>" in "".join(words_of(picture))
