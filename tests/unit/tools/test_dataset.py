"""`tally dataset`: fields shown, samples repeatable to the byte, files checked."""

import hashlib
import json
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from node.records.pipeline import FORMATS as NODE_FORMATS
from node.records.shipped import DATASETS as NODE_DATASETS
from tools.cli import main
from tools.commands.records.dataset import DATASETS, FORMATS
from tools.exits import ERROR, OK, USAGE
from tools.sample.making import make_sample
from tools.sample.records import MAKERS


def tally(*words: object, lang: str = "en") -> Result:
    return CliRunner().invoke(main, ["dataset", *map(str, words), "--lang", lang])


def make(path: Path, *words: object, dataset: str = "invoice") -> Path:
    done = tally("sample", "--dataset", dataset, "-o", path, *words)
    assert done.exit_code == OK, done.output
    return path


def test_names_are_those_of_the_node() -> None:
    assert DATASETS == NODE_DATASETS == tuple(MAKERS)
    assert FORMATS == NODE_FORMATS


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize(("lang", "word"), [("zh", "敏感级别"), ("en", "sensitivity")])
def test_the_fields_of_a_dataset(dataset: str, lang: str, word: str) -> None:
    shown = tally("show", dataset, lang=lang)
    assert shown.exit_code == OK, shown.output
    assert word in shown.output
    schema = json.loads(tally("show", dataset, "--json").output)
    assert all(name in shown.output for name in schema["properties"])


SAMPLES = {
    "registration": "4173cf110557c626",
    "filing": "93d5a1a519f6f2b2",
    "incentive": "cbae79a3567bfd28",
    "invoice": "6cb5666ed681d2df",
    "account": "70a94c489ae6e251",
}


@pytest.mark.parametrize("dataset", DATASETS)
def test_a_seed_gives_the_same_bytes_for_ever(dataset: str) -> None:
    data = b"".join(make_sample(dataset, "jsonl", rows=50, seed=7, fault_percent=20))
    assert hashlib.sha256(data).hexdigest()[:16] == SAMPLES[dataset]
    other = b"".join(make_sample(dataset, "jsonl", rows=50, seed=8, fault_percent=20))
    assert other != data


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("form", FORMATS)
def test_a_sample_without_faults_passes_whole(dataset: str, form: str, tmp_path: Path) -> None:
    words = ("--rows", 50, "--fault-rate", 0, "--format", form)
    path = make(tmp_path / f"a.{form}", *words, dataset=dataset)
    checked = tally("check", path, "--dataset", dataset, "--json")
    assert checked.exit_code == OK, checked.output
    report = json.loads(checked.stdout)["report"]
    assert (report["accepted"], report["rules"]) == (50, [])


@pytest.mark.parametrize(
    ("lang", "words"),
    [
        ("zh", ("拒收", "统一社会信用代码不合法")),
        ("en", ("reject", "wrong unified social credit code")),
    ],
)
def test_faults_are_shown_in_words(lang: str, words: tuple[str, ...], tmp_path: Path) -> None:
    path = make(tmp_path / "a.csv", "--rows", 300, "--fault-rate", 30)
    out = tmp_path / "clean.jsonl"
    checked = tally("check", path, "--dataset", "invoice", "-o", out, lang=lang)
    assert checked.exit_code == ERROR
    assert all(word in checked.output for word in words)
    lines = out.read_bytes().split(b"\n")[:-1]
    again = json.loads(tally("check", out, "--dataset", "invoice", "--json").stdout)["report"]
    assert again["accepted"] == len(lines) == again["rows"] > 200
    assert stat.S_IMODE(out.stat().st_mode) == 0o600


@pytest.mark.parametrize(("wish", "has_colours"), [("", True), ("1", False)])
def test_colours_stay_away_where_nobody_wants_them(
    wish: str, has_colours: bool, tmp_path: Path
) -> None:
    path = make(tmp_path / "faulty.jsonl", "--rows", 50, "--fault-rate", 30)
    words = ["dataset", "check", str(path), "--dataset", "invoice"]
    done = CliRunner(env={"NO_COLOR": wish}).invoke(main, words, color=True)
    assert ("\x1b[" in done.output) is has_colours


def test_permitted_fields_only(tmp_path: Path) -> None:
    path = make(tmp_path / "a.csv", "--rows", 20, "--fault-rate", 0)
    out = tmp_path / "clean.jsonl"
    fields = ("--fields", "number,amount-fen")
    assert tally("check", path, "--dataset", "invoice", "-o", out, *fields).exit_code == OK
    for line in out.read_text("utf-8").split("\n")[:-1]:
        assert sorted(json.loads(line)) == ["amount-fen", "number"]


def test_what_cannot_be_used_is_said_with_advice(tmp_path: Path) -> None:
    odd = tmp_path / "a.txt"
    odd.write_text("x")
    (tmp_path / "b.csv").write_text("colour\nred\n")
    (tmp_path / "c.xml").write_text("<!DOCTYPE a []><a/>")
    for words, code, exit_code in (
        ((odd,), "record-format", USAGE),
        ((tmp_path / "b.csv",), "columns-unknown", ERROR),
        ((tmp_path / "c.xml",), "xml-doctype", ERROR),
        ((tmp_path / "none.csv",), "file-unreadable", ERROR),
        ((tmp_path / "b.csv", "--fields", "nothing"), "field-undefined", ERROR),
        ((tmp_path / "b.csv", "-o", odd), "file-exists", ERROR),
    ):
        done = tally("check", *words, "--dataset", "invoice", "--json")
        assert done.exit_code == exit_code, done.output
        error = json.loads(done.stdout)["error"]
        assert error["code"] == code
        assert error["title"]
        assert error["advice"]
    clean = tmp_path / "clean.jsonl"
    tally("check", tmp_path / "c.xml", "--dataset", "invoice", "-o", clean)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "b.csv", "c.xml"]
    assert tally("sample", "--dataset", "invoice", "-o", odd).exit_code == ERROR
