"""`tally officer credit`: what a node says in words, and what no node may say."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from contracts.credit.accounts import (
    Credits,
    apply_sanction,
    read_causes,
    read_changes,
    read_credit,
    read_formula,
)
from contracts.credit.behaviours import IN_TIME
from contracts.lookup import find_member
from ledger.genesis import encode_genesis_json
from ledger.state import Overlay
from node.api.schemas.base import encode_json
from node.api.schemas.credit import credit_body
from tests import builders
from tests.builders import OWNER, TIME_MS, hash32
from tests.unit.contracts.samples import states
from tests.unit.tools.test_doctor import serving
from tools.cli import main
from tools.exits import NOT_FOUND, OK, UNVERIFIED

VOTE, ANSWER = hash32("vote"), hash32("answer")
PATH = f"/v1/members/{OWNER}/credit"


def document(**lies: Any) -> bytes:
    """What a node answers after an answer in time and a sanction; `lies` replace fields."""
    overlay = Overlay(states())
    credits_ = Credits(overlay, height=5, time_ms=TIME_MS)
    credits_.count(OWNER, IN_TIME, event=ANSWER)
    credits_.write()
    apply_sanction(overlay, OWNER, 100, VOTE, TIME_MS, height=9)
    member = find_member(overlay, OWNER)
    assert member is not None
    recorded, standing = read_credit(overlay, member, TIME_MS)
    body = credit_body(
        member,
        read_formula(overlay),
        recorded,
        standing,
        time_ms=TIME_MS,
        causes=read_causes(overlay, OWNER, recorded),
        changes=read_changes(overlay, OWNER, recorded.changes, 50),
    )
    return msgspec.json.encode(json.loads(encode_json(body)) | lies)


@contextmanager
def node(answer: bytes, tmp_path: Path) -> Iterator[tuple[str, ...]]:
    genesis = tmp_path / "genesis.json"
    genesis.write_bytes(encode_genesis_json(builders.genesis()))
    with serving({PATH: (200, answer)}) as url:
        yield ("--url", url, "--genesis", str(genesis))


def credit(answer: bytes, tmp_path: Path, *options: str, member: str = OWNER) -> Result:
    with node(answer, tmp_path) as place:
        return CliRunner().invoke(main, ["officer", "credit", member, *place, *options])


def test_credit_in_words(tmp_path: Path) -> None:
    result = credit(document(), tmp_path, "--lang", "en")
    assert result.exit_code == OK, result.output
    assert f"{OWNER}: grade B, score 791 (start 890;" in result.stdout
    assert "delivered within the deadline" in result.stdout
    assert "height 9: A → B (891 → 791), because of what it did" in result.stdout
    assert result.stdout.count(VOTE.hex()) == 2
    assert result.stdout.count(ANSWER.hex()) == 1
    assert "On record" not in result.stdout
    chinese = credit(document(), tmp_path, "--lang", "zh").stdout
    assert f"{OWNER}：等级 B，791 分（起始 890；" in chinese
    assert "经表决处分" in chinese
    assert "delivered" not in chinese


def test_a_change_that_waits_to_be_recorded_is_told(tmp_path: Path) -> None:
    waiting = document(grade="A", score=890, contributions=[], causes=[])
    shown = credit(waiting, tmp_path, "--lang", "en").stdout
    assert "On record is grade B" in shown


def test_credit_as_json_says_that_it_is_not_verified(tmp_path: Path) -> None:
    found = json.loads(credit(document(), tmp_path, "--json").stdout)
    assert (found["verified"], found["score"], found["changes_total"]) == (False, 791, 1)
    assert found["changes"][0]["causes"][0]["event"] == VOTE.hex()


@pytest.mark.parametrize(
    ("lies", "code"),
    [
        ({"member": "cn-3301-tax"}, "answer-mismatch"),
        ({"grade": "E"}, "answer-malformed"),
        ({"score": "791"}, "answer-malformed"),
        ({"time_ms": 2**62}, "answer-malformed"),
        ({"causes": [{"event": "\x1b[2J", "behaviour": "x", "points": 1, "height": 1}]},
         "answer-malformed"),
    ],
)  # fmt: skip
def test_an_answer_that_cannot_be_is_an_error(
    lies: dict[str, Any], code: str, tmp_path: Path
) -> None:
    result = credit(document(**lies), tmp_path, "--json")
    assert result.exit_code == UNVERIFIED
    assert json.loads(result.stdout)["error"]["code"] == code


def test_a_member_that_is_none_is_not_found(tmp_path: Path) -> None:
    result = credit(document(), tmp_path, member="cn/9999")
    assert result.exit_code == NOT_FOUND


@pytest.mark.parametrize(("reason", "is_told"), [("no-time", True), ("not-held", False)])
def test_a_refusal_that_costs_credit_says_so(reason: str, is_told: bool, tmp_path: Path) -> None:
    with node(document(), tmp_path) as place:
        arguments = ("refuse", "00" * 32, "--reason", reason, "--member", OWNER, *place)
        key = ("--key", str(tmp_path / "none.key"))
        result = CliRunner().invoke(main, ["officer", *arguments, *key, "--lang", "en"])
    assert ("not one that costs no credit" in result.stderr) is is_told
    assert "none.key" in result.stderr
