"""`tally audit access` and `tally audit export` on a verified copy."""

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from ledger.access.lines import hash_line
from tests.unit.ledger.access.test_lines import anchors_of, chain
from tests.unit.ledger.builders import ChainBuilder, consensus_secret, make_event, make_request
from tests.unit.ledger.test_verify_epochs import spanning
from tests.unit.tools.test_epochs import code_of, tally, written
from tools.cli import main
from tools.exits import ERROR, OK, UNVERIFIED

LINES = chain(12)
OWNER = "north"


def anchored() -> ChainBuilder:
    """A log whose node of `north` anchored ten of its twelve lines, and that of `south` others."""
    log = spanning()
    for number, anchor in enumerate(anchors_of(LINES)):
        event = make_event(
            40 + number, member=OWNER, secret=consensus_secret(OWNER), body=anchor.body
        )
        log.add([event])
    body = anchors_of(chain(5, salt="s"))[0].body
    log.add([make_event(60, member="south", secret=consensus_secret("south"), body=body)])
    return log


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(anchored(), tmp_path_factory.mktemp("copy"))


def kept(folder: Path, lines: list[bytes]) -> Path:
    """The lines in two files of a folder."""
    folder.mkdir()
    for name, part in (("20260101-000000000001", lines[:7]), ("20260102-000000000008", lines[7:])):
        (folder / f"{name}.jsonl").write_bytes(b"".join(line + b"\n" for line in part))
    return folder


def test_kept_files_are_what_the_ledger_says(tmp_path: Path, copy: Path) -> None:
    found = tally("audit", "access", kept(tmp_path / "a", LINES), "--mirror", copy, "--jobs", 1)
    assert (found["member"], found["lines"], found["anchored"], found["faults"]) == (
        OWNER, 12, 10, [],
    )  # fmt: skip
    assert [anchor["entries"] for anchor in found["anchors"]] == [5, 5]
    assert found["anchors"][-1]["digest"] == hash_line(LINES[9]).hex()


CHANGES: dict[str, tuple[Callable[[list[bytes]], list[bytes]], str, str]] = {
    "rewritten": (
        lambda lines: [*lines[:8], lines[8].replace(b"192.0.2.7", b"192.0.2.1"), *lines[9:]],
        "Rewritten: line 9  20260102-000000000008.jsonl:2",
        "line-rewritten",
    ),
    "missing": (
        lambda lines: [*lines[:8], *lines[9:]],
        "Missing: line 9  20260102-000000000008.jsonl:2",
        "line-missing",
    ),
    "extra": (
        lambda lines: [*lines[:9], lines[8], *lines[9:]],
        "Too many: line 9  20260102-000000000008.jsonl:3",
        "line-extra",
    ),
    "cut": (lambda lines: lines[:9], "Missing: line 6 - 10  #", "line-missing"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_was_changed_is_named_and_ends_with_3(tmp_path: Path, copy: Path, name: str) -> None:
    change, sentence, code = CHANGES[name]
    folder = kept(tmp_path / "a", change(list(LINES)))
    arguments = ["audit", "access", str(folder), "--mirror", str(copy), "--jobs", "1"]
    found = tally(*arguments, exit_code=UNVERIFIED)
    assert [fault["code"] for fault in found["faults"]] == [code]
    shown = CliRunner().invoke(main, [*arguments, "--lang", "en"])
    assert shown.exit_code == UNVERIFIED
    assert sentence in shown.stdout


def test_an_owner_that_cannot_be_known_must_be_named(tmp_path: Path, copy: Path) -> None:
    folder = kept(tmp_path / "a", chain(3, salt="x"))
    arguments = ("audit", "access", folder, "--mirror", copy, "--jobs", 1)
    assert code_of(tally(*arguments, exit_code=ERROR)) == "access-owner-unknown"
    found = tally(*arguments, "--member", OWNER, exit_code=UNVERIFIED)
    assert {fault["code"] for fault in found["faults"]} == {"line-missing"}
    assert tally(*arguments, "--member", "west")["anchors"] == []


def test_a_folder_without_lines_is_no_access_log(tmp_path: Path, copy: Path) -> None:
    """Nothing at all is not what the ledger says: the folder is the wrong one."""
    arguments = ("audit", "access", tmp_path, "--mirror", copy, "--jobs", 1, "--member")
    for member in (OWNER, "west"):
        assert code_of(tally(*arguments, member, exit_code=ERROR)) == "access-empty"
    # Where lines must still be there, it is no mistake of the reader's.
    found = tally(*arguments, OWNER, "--days", 36_500, exit_code=UNVERIFIED)
    assert {fault["code"] for fault in found["faults"]} == {"line-missing"}


def test_lines_that_nothing_proves_are_not_called_proven(tmp_path: Path, copy: Path) -> None:
    arguments = ["audit", "access", str(kept(tmp_path / "a", chain(3, salt="x"))), "--mirror"]
    arguments += [str(copy), "--jobs", "1", "--member", "west", "--lang", "en"]
    shown = CliRunner().invoke(main, arguments)
    assert shown.exit_code == OK, shown.output
    assert "Nothing proves the access log of west yet: 3 lines" in shown.stdout


def test_lines_are_listed(tmp_path: Path, copy: Path) -> None:
    folder = kept(tmp_path / "a", LINES)
    arguments = ["audit", "access", str(folder), "--mirror", str(copy), "--jobs", "1", "--lines"]
    shown = CliRunner().invoke(main, [*arguments, "--lang", "en"])
    assert shown.exit_code == OK, shown.output
    assert shown.stdout.count("readEntry") == 12
    assert shown.stdout.count("curl/8") == 12
    assert tally(*arguments)["read"][11]["ids"] == {"index": "12"}


# --- export -----------------------------------------------------------------------------------


def exported(copy: Path, *options: str) -> list[dict[str, object]]:
    arguments = ["audit", "export", str(copy), "--format", "cloudevents", "--jobs", "1", *options]
    shown = CliRunner().invoke(main, arguments)
    assert shown.exit_code == OK, shown.output
    return [json.loads(line) for line in shown.stdout.split("\n")[:-1]]


def test_every_record_is_exported_as_a_cloud_event(tmp_path: Path, copy: Path) -> None:
    events = exported(copy)
    sequences = [str(event["sequence"]) for event in events]
    assert sequences == sorted(sequences)
    assert len({event["id"] for event in events}) == len(events)
    out = tmp_path / "out.jsonl"
    arguments = ("audit", "export", copy, "--format", "cloudevents", "--jobs", 1, "--out", out)
    assert tally(*arguments)["rows"] == len(events)
    assert [json.loads(line) for line in out.read_bytes().split(b"\n")[:-1]] == events


def test_an_export_is_narrowed_by_kind_member_and_height(copy: Path) -> None:
    anchors = exported(copy, "--kind", "access.logged")
    assert len(anchors) == 3
    assert len(exported(copy, "--kind", "access.logged", "--member", OWNER)) == 2
    data = msgspec.convert(anchors[1]["data"], dict[str, object])
    later = exported(copy, "--kind", "access.logged", "--from-height", str(data["height"]))
    assert later == anchors[1:]


def test_an_export_for_a_member_has_what_others_asked_of_it(tmp_path: Path) -> None:
    log = spanning()
    asked = make_event(70, body=make_request())
    log.add([asked])
    events = exported(written(log, tmp_path), "--member", make_request().provider)
    assert asked.digest.hex() in {event["id"] for event in events}
    assert asked.member != make_request().provider
