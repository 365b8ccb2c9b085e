"""What was changed in a mirror is named by every verb that reads it: step, entry and exit code 3.

What a forger with keys can do is in `tests/unit/contracts/test_tampering.py`.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ledger.blocks import is_header
from ledger.errors import Divergence
from ledger.genesis import encode_genesis_json
from ledger.keys import SecretKey, format_secret_key
from ledger.verify import Step
from tests.unit.contracts.test_replay_epochs import Governed
from tests.unit.ledger.builders import make_genesis
from tests.unit.tools.audit.copies import make_log, write_copy
from tools.audit.divergence import Fault, describe_fault, tell_fault
from tools.cli import main
from tools.exits import UNVERIFIED
from tools.words import LANGUAGES, catalogue, select_language

# An entry in the second bundle, and the first of that bundle.
ENTRY, FIRST = 260, 256


@pytest.fixture(scope="module")
def log() -> Governed:
    return make_log()


@pytest.fixture(scope="module")
def true(log: Governed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_copy(tmp_path_factory.mktemp("true") / "copy", log)
    assert not is_header(log.chain.entries[ENTRY])
    return folder


@pytest.fixture
def genesis(log: Governed, tmp_path: Path) -> Path:
    path = tmp_path / "genesis.json"
    path.write_bytes(encode_genesis_json(log.chain.genesis))
    return path


@pytest.fixture
def copy(true: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(true, tmp_path / "copy"))


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def bundle(copy: Path) -> Path:
    (path,) = (copy / "tile/entries").glob("001.p/*")
    return path


def change_entry(copy: Path, log: Governed) -> None:
    path, entry = bundle(copy), log.chain.entries[ENTRY]
    flip(path, path.read_bytes().index(entry) + len(entry) // 2)


def change_bundle(copy: Path, log: Governed) -> None:
    """The length that stands before the first entry of the bundle."""
    flip(bundle(copy), 1)


def change_tile(copy: Path, log: Governed) -> None:
    flip(copy / "tile/0/000", 32 * 10 + 5)


def change_checkpoint(copy: Path, log: Governed) -> None:
    """The size that was signed."""
    path = copy / "checkpoint"
    flip(path, path.read_bytes().index(b"\n") + 1)


def change_signature(copy: Path, log: Governed) -> None:
    """The last digits of the line of the log's own key."""
    path = copy / "checkpoint"
    flip(path, path.read_bytes().index(b"\n", path.read_bytes().index(b"\xe2\x80\x94")) - 9)


def change_cosignatures(copy: Path, log: Governed) -> None:
    """Only a minority is left."""
    lines = (copy / "checkpoint").read_bytes().split(b"\n")
    (copy / "checkpoint").write_bytes(b"\n".join([*lines[:7], b""]))


def change_genesis(copy: Path, log: Governed) -> None:
    """A founding document with another name: another network."""
    (copy / "genesis.json").write_bytes(encode_genesis_json(make_genesis(name="Another")))


CHANGES: dict[str, tuple[Callable[[Path, Governed], None], str, int]] = {
    "entry": (change_entry, "entries", ENTRY),
    "bundle": (change_bundle, "entries", FIRST),
    "tile": (change_tile, "tiles", 0),
    "checkpoint": (change_checkpoint, "checkpoint", -1),
    "signature": (change_signature, "checkpoint", -1),
    "cosignatures": (change_cosignatures, "checkpoint", -1),
    "genesis": (change_genesis, "genesis", -1),
}


def refused(*arguments: str | Path) -> dict[str, Any]:
    done = CliRunner().invoke(main, ["audit", *map(str, arguments), "--json"])
    assert done.exit_code == UNVERIFIED, done.output
    error: dict[str, Any] = json.loads(done.stdout)["error"]
    assert error["code"] == "replay-diverged"
    found: dict[str, Any] = error["divergence"]
    return found


@pytest.mark.parametrize("name", CHANGES)
def test_every_kind_of_bytes_is_named(copy: Path, genesis: Path, log: Governed, name: str) -> None:
    change, step, entry = CHANGES[name]
    change(copy, log)
    found = refused("replay", copy, "--genesis", genesis, "--jobs", "1")
    assert (found["name"], found["entry"]) == (step, entry), found
    assert Step(found["step"]).name.lower() == step


VERBS: dict[str, tuple[str, ...]] = {
    "replay": ("replay", "{copy}"),
    "index": ("index", "{copy}"),
    "search": ("search", "{copy}"),
    "decisions": ("decisions", "{copy}"),
    "gaps": ("gaps", "{copy}"),
    "reciprocity": ("reciprocity", "{copy}"),
    "trace": ("trace", "0" * 64, "{copy}"),
    "who": ("who", "north", "{copy}"),
    "equivocation": ("equivocation", "{copy}"),
    "evidence": ("evidence", "0" * 64, "{copy}", "--out", "{out}"),
    "export": ("export", "{copy}", "--format", "csv", "--out", "{out}"),
    "report": ("report", "{copy}", "--from", "2026-01-01", "--to", "2027-12-31", "--out", "{out}"),
    "access": ("access", "{lines}", "--mirror", "{copy}", "--member", "north"),
}


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_names_step_and_entry_and_writes_nothing(
    copy: Path, genesis: Path, log: Governed, tmp_path: Path, verb: str
) -> None:
    change_entry(copy, log)
    places = {"copy": copy, "out": tmp_path / "out.html", "lines": tmp_path}
    arguments = [each.format(**places) for each in VERBS[verb]]
    found = refused(*arguments, "--genesis", genesis, "--jobs", "1")
    assert (found["step"], found["name"], found["entry"]) == (5, "entries", ENTRY)
    assert not places["out"].exists()


def test_a_part_is_signed_with_what_was_found(
    copy: Path, genesis: Path, log: Governed, tmp_path: Path
) -> None:
    change_entry(copy, log)
    key, out = tmp_path / "auditor.key", tmp_path / "part.json"
    key.write_text(format_secret_key(SecretKey(b"a" * 32)))
    key.chmod(0o600)
    arguments = ["segment", copy, "--genesis", genesis, "--key", key, "--out", out, "--jobs", "1"]
    done = CliRunner().invoke(main, ["audit", *map(str, arguments), "--lang", "en"])
    assert (done.exit_code, out.exists()) == (UNVERIFIED, True)
    assert f"step 5 entries: entry {ENTRY}: expected leaf " in done.stdout
    found = refused("merge", out, "--genesis", genesis)
    assert (found["step"], found["entry"]) == (5, ENTRY)


# --- in words -------------------------------------------------------------------------------------


def test_a_divergence_is_told_in_both_languages(copy: Path, genesis: Path, log: Governed) -> None:
    change_entry(copy, log)
    for language, expected in (
        ("en", f"step 5 entries: entry {ENTRY}: expected leaf "),
        ("zh", f"第 5 步 条目：条目 {ENTRY}：应为 叶 "),
    ):
        arguments = ["replay", copy, "--genesis", genesis, "--jobs", "1", "--lang", language]
        done = CliRunner().invoke(main, ["audit", *map(str, arguments)])
        assert expected in done.stderr


@pytest.fixture
def english() -> Iterator[None]:
    select_language(["--lang", "en"])
    yield
    select_language([])


@pytest.mark.usefixtures("english")
@pytest.mark.parametrize("step", Step)
def test_every_step_has_a_name(step: Step) -> None:
    for language in LANGUAGES:
        assert catalogue(language)[f"divergence.{step.name.lower()}"]
    error = Divergence(step, step.name.lower(), 7, expected="a", found="b")
    assert tell_fault(describe_fault(error)) == str(error)


@pytest.mark.usefixtures("english")
def test_a_step_of_a_newer_program_stays_as_it_is() -> None:
    fault = Fault(step=11, name="text", entry=-1, expected="a", found="b")
    assert tell_fault(fault) == "step 11 text: expected a, found b"
