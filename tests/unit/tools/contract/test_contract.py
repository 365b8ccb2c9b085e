"""`tally contract` on real files and a real mirror: output, exit codes, refusals in words."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from contracts.engine import Contracts, PolicyEngine
from contracts.shipped import TABLE, load_shipped
from ledger.events import ShareRequested
from ledger.genesis import encode_genesis_json
from ledger.state import StateReader
from tests.unit.contracts.drafts.pasts import (
    add_executed,
    ask,
    changed_set,
    make_past,
    make_past_genesis,
    records_of,
    write_copy,
    write_draft,
)
from tests.unit.ledger.builders import ChainBuilder
from tests.unit.tools.test_epochs import node_of
from tools.cli import main
from tools.exits import ERROR, NOT_FOUND, OK, UNVERIFIED, USAGE

FEWER = changed_set("necessity", "context.subjects > 200", "context.subjects > 20")


def invoke(*arguments: object, lang: str = "en") -> Result:
    line = ["contract", *map(str, arguments), "--lang", lang]
    return CliRunner().invoke(main, line, catch_exceptions=False)


def tally(*arguments: object, exit_code: int = OK) -> dict[str, Any]:
    result = invoke(*arguments, "--json")
    assert result.exit_code == exit_code, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def code_of(*arguments: object, exit_code: int = ERROR) -> str:
    return str(tally(*arguments, exit_code=exit_code)["error"]["code"])


@pytest.fixture(scope="module")
def chain() -> ChainBuilder:
    return make_past()


@pytest.fixture(scope="module")
def mirror(chain: ChainBuilder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_copy(chain, tmp_path_factory.mktemp("mirror"))


@pytest.fixture
def draft(tmp_path: Path) -> Path:
    return write_draft(FEWER, tmp_path / "draft")


# --- validate ------------------------------------------------------------------------------------


def test_a_valid_draft_has_a_hash(draft: Path) -> None:
    document = tally("validate", draft)
    assert (document["valid"], document["contracts"], document["found"]) == (True, len(TABLE), [])
    assert document["hash"] in invoke("validate", draft).stdout


@pytest.mark.parametrize(
    ("lang", "sentence"),
    [
        ("en", "Use the entities, attributes and actions of the schema only"),
        ("zh", "只使用模式中的"),
    ],
)
def test_a_fault_is_said_with_file_line_column_and_what_to_do(
    draft: Path, lang: str, sentence: str
) -> None:
    path = draft / "freeze.cedar"
    path.write_text(path.read_text().replace("context.frozen", "context.shoe"))
    result = invoke("validate", draft, lang=lang)
    assert result.exit_code == ERROR
    assert f"{path}:6:16: " in result.stdout
    assert "[policy-invalid]" in result.stdout
    assert sentence in result.stdout
    (found,) = tally("validate", draft, exit_code=ERROR)["found"]
    assert (found["file"], found["line"], found["column"]) == (str(path), 6, 16)
    assert (found["contract"], found["policy"]) == ("freeze", "freeze")


def test_files_alone_are_checked_against_the_shipped_schema(draft: Path) -> None:
    assert tally("validate", draft / "freeze.cedar")["contracts"] == 1
    schema = draft / "other.cedarschema"
    schema.write_text(load_shipped().schema.replace("frozen: Bool,", ""))
    found = tally("validate", draft / "freeze.cedar", schema, exit_code=ERROR)["found"]
    assert {each["file"] for each in found} == {str(schema)}


def test_what_is_no_draft_is_refused(tmp_path: Path, draft: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert code_of("validate", tmp_path / "empty") == "draft-empty"
    assert code_of("validate", tmp_path / "none.cedar") == "file-unreadable"
    assert code_of("validate", tmp_path / "none") == "draft-invalid"
    (draft / "Big Name.cedar").write_text("")
    assert code_of("validate", draft) == "draft-invalid"
    (draft / "Big Name.cedar").unlink()
    assert code_of("validate", draft, draft / "freeze.cedar") == "draft-invalid"
    (draft / "freeze.cedar").write_bytes(b"\xff")
    assert code_of("validate", draft) == "text-invalid"
    (draft / "freeze.cedar").write_bytes(b" " * 200_000)
    assert code_of("validate", draft) == "file-too-large"
    assert invoke("validate").exit_code == USAGE


# --- test ----------------------------------------------------------------------------------------


def test_the_shipped_cases_hold() -> None:
    document = tally("test", "shipped")
    assert document["failed"] == 0
    assert document["passed"] == len(document["cases"]) >= 60
    assert "fail" in invoke("test", "shipped").stdout


def test_a_failing_case_shows_expected_found_and_reasons(draft: Path) -> None:
    cases = draft / "necessity.cases.toml"
    cases.write_text(
        "[[case]]\nname = 'thirty'\npurpose = 'audit'\nsubjects = 30\nexpect = 'permit'\n"
        "[[case]]\nname = 'three'\npurpose = 'audit'\nsubjects = 3\nexpect = 'permit'\n"
    )
    result = invoke("test", draft)
    assert result.exit_code == ERROR
    assert f"{cases}: thirty\n  expect: expected permit, found deny\n" in result.stdout
    assert "Because: Necessity: more subjects than the purpose needs" in result.stdout
    assert "Cases: 1 hold, 1 fail" in result.stdout
    document = tally("test", draft / "necessity.cedar", exit_code=ERROR)
    assert [case["passed"] for case in document["cases"]] == [False, True]
    assert "不符" in invoke("test", draft, lang="zh").stdout


def test_tables_that_cannot_be_run_are_refused(draft: Path, tmp_path: Path) -> None:
    assert code_of("test", draft) == "cases-missing"
    table = tmp_path / "other.toml"
    table.write_text("[[case]]\nname = 'a'\nexpect = 'permit'\nshoe = 1\n")
    assert code_of("test", draft, "--cases", table) == "cases-invalid"
    assert "case 1 (a): unknown key shoe" in invoke("test", draft, "--cases", table).stderr
    assert code_of("test", draft, "--cases", tmp_path / "none.toml") == "file-unreadable"
    (draft / "freeze.cedar").write_text("permit")
    assert code_of("test", draft, "--cases", table) == "policy-set-invalid"


# --- explain -------------------------------------------------------------------------------------


def explained(chain: ChainBuilder, mirror: Path, wanted: str) -> tuple[dict[str, Any], str, str]:
    digest = next(
        event.digest.hex() for event, outcome in records_of(chain) if outcome.decision == wanted
    )
    texts = [
        invoke("explain", digest, mirror, "--jobs", 1, lang=lang).stdout for lang in ("en", "zh")
    ]
    return tally("explain", digest, mirror, "--jobs", 1), texts[0], texts[1]


@pytest.mark.parametrize(
    ("wanted", "words"),
    [("permit", ("Permit", "准予")), ("review", ("Review", "复核")), ("deny", ("Deny", "拒绝"))],
)
def test_a_decision_is_explained(
    chain: ChainBuilder, mirror: Path, wanted: str, words: tuple[str, str]
) -> None:
    document, english, chinese = explained(chain, mirror, wanted)
    event, outcome = next(
        each for each in records_of(chain) if each[0].digest.hex() == document["event"]
    )
    assert isinstance(event.body, ShareRequested)
    assert document["decision"]["verdict"] == wanted
    policies = document["decision"]["policies"]
    assert tuple(policy["id"] for policy in policies) == outcome.policies
    assert document["policy_set"]["hash"] == outcome.policy_set.hex()
    assert document["asked"]["facts"]["subjects"] == len(event.body.subjects)
    assert document["asked"]["facts"]["purpose"] == event.body.purpose
    assert document["legal_basis"]["id"] == "law-1"
    assert document["asked"]["grade"] == "A"
    assert english.startswith(words[0])
    assert chinese.startswith(words[1])
    for text in (english, chinese):
        assert document["event"] in text
        assert document["policy_set"]["hash"] in text
        assert all(policy["text"].split("\n")[0] in text for policy in policies)
    assert "Tax Collection Law, 54" in english
    assert "税收征管法" in chinese


def test_a_later_act_and_a_refusal_are_explained(chain: ChainBuilder, mirror: Path) -> None:
    records = records_of(chain)
    delivery = next(e for e, o in records if e.kind == "share.delivered" and o.applied)
    document = tally("explain", delivery.digest.hex(), mirror, "--jobs", 1)
    assert document["asked"]["action"] == "deliver"
    assert [policy["id"] for policy in document["decision"]["policies"]] == ["delivery"]
    refused = next(e for e, o in records if o.code == "dataset-unknown")
    document = tally("explain", refused.digest.hex(), mirror, "--jobs", 1)
    assert (document["decision"], document["code"]) == (None, "dataset-unknown")
    text = invoke("explain", refused.digest.hex(), mirror, "--jobs", 1).stdout
    assert text.startswith("The contracts were not asked.\nUnknown dataset [dataset-unknown]\n")


def test_an_event_is_explained_from_a_node(chain: ChainBuilder, mirror: Path) -> None:
    digest = records_of(chain)[0][0].digest.hex()
    with node_of(chain) as url:
        document = tally("explain", digest, url, "--jobs", 1)
    assert document == tally("explain", digest, mirror, "--jobs", 1)


def test_what_cannot_be_explained_is_refused(
    chain: ChainBuilder, mirror: Path, tmp_path: Path
) -> None:
    assert code_of("explain", "11" * 32, mirror, "--jobs", 1, exit_code=NOT_FOUND) == (
        "event-not-found"
    )
    assert code_of("explain", "XY", mirror) == "digest-invalid"
    assert code_of("explain", "11" * 32, tmp_path / "none") == "folder-not-found"
    bad = dict(chain.copy())
    name = next(name for name in bad if name.startswith("tile/entries"))
    damaged = write_copy(chain, tmp_path / "bad", **{name: bad[name][:-1] + b"\x00"})
    digest = records_of(chain)[0][0].digest.hex()
    refused = code_of("explain", digest, damaged, "--jobs", 1, exit_code=UNVERIFIED)
    assert refused == "replay-diverged"


class Newer(Contracts):
    """An engine of another version, whatever the set in force says."""

    def at(self, state: StateReader) -> PolicyEngine:
        return PolicyEngine(load_shipped())


def test_a_decision_of_another_engine_is_not_guessed(tmp_path: Path) -> None:
    other = msgspec.structs.replace(load_shipped(), engine="cedarpy-0")
    chain = ChainBuilder(make_past_genesis(policy_set=other))
    event = ask(chain, 1)
    add_executed(chain, [event], Newer())
    folder = write_copy(chain, tmp_path / "copy")
    result = invoke("explain", event.digest.hex(), folder, "--jobs", 1)
    assert result.exit_code == ERROR
    assert "another version of the engine: cedarpy-0 [engine-differs]" in result.stderr


def test_texts_of_others_do_not_steer_the_terminal(draft: Path) -> None:
    path = draft / "freeze.cedar"
    path.write_text(path.read_text().replace("Emergency freeze", "Freeze\x1b[2J\u202e"))
    text = invoke("diff", "shipped", draft).stdout
    assert '+@title_en("Freeze?[2J?")' in text
    assert "\x1b" not in text


# --- what-if -------------------------------------------------------------------------------------


def test_the_shipped_set_changes_nothing(mirror: Path) -> None:
    document = tally("what-if", "shipped", mirror, "--jobs", 1)
    assert (document["changed"], document["changes"], document["other_reasons"]) == (0, [], 0)
    assert document["requests"] > 60
    assert (document["verified"], document["follow_on_effects"]) == (True, False)


def expected_changes(chain: ChainBuilder) -> set[str]:
    """Requests for more than 20 subjects that were let through, but for statistics."""
    return {
        event.digest.hex()
        for event, outcome in records_of(chain)
        if isinstance(event.body, ShareRequested)
        and outcome.decision in ("permit", "review")
        and len(event.body.subjects) > 20
        and event.body.purpose != "statistics"
    }


@pytest.mark.parametrize("more", [("--jobs", 1), ("--jobs", 1, "--trust"), ("--jobs", 2)])
def test_a_draft_changes_what_it_says(
    chain: ChainBuilder, mirror: Path, draft: Path, more: tuple[object, ...]
) -> None:
    document = tally("what-if", draft, mirror, *more)
    assert {change["exchange"] for change in document["changes"]} == expected_changes(chain)
    assert {change["new"] for change in document["changes"]} == {"deny"}
    assert sum(row["count"] for row in document["by_pair"]) == document["changed"]
    assert sum(row["count"] for row in document["by_purpose"]) == document["changed"]
    assert document["verified"] is ("--trust" not in more)


def test_since_and_limit_bound_what_is_asked_and_listed(mirror: Path, draft: Path) -> None:
    whole = tally("what-if", draft, mirror, "--jobs", 1)
    late = tally("what-if", draft, mirror, "--jobs", 1, "--since", 3, "--limit", 2)
    assert late["requests"] < whole["requests"]
    later = [change for change in whole["changes"] if change["height"] >= 3]
    assert late["changes"] == later[:2]
    assert late["not_listed"] == len(later) - 2
    none = tally("what-if", draft, mirror, "--jobs", 1, "--since", 99)
    assert (none["requests"], none["changed"]) == (0, 0)


def test_the_text_lists_counts_and_limits(mirror: Path, draft: Path) -> None:
    text = invoke("what-if", draft, mirror, "--jobs", 1, "--limit", 1, "--trust").stdout
    assert "Permit → Deny" in text
    assert "necessity.subjects" in text
    assert "more are not listed" in text
    assert "requests/s" in text
    assert "is not simulated" in text
    assert "were not verified (--trust)" in text
    assert "未模拟" in invoke("what-if", draft, mirror, "--jobs", 1, lang="zh").stdout


def test_a_draft_that_may_not_be_enacted_is_not_asked(mirror: Path, draft: Path) -> None:
    (draft / "freeze.cedar").write_text('@id("freeze") permit (principal, action, resource)')
    assert code_of("what-if", draft, mirror) == "policy-set-invalid"


def test_a_copy_that_lies_is_not_believed(chain: ChainBuilder, draft: Path, tmp_path: Path) -> None:
    bad = dict(chain.copy())
    name = next(name for name in bad if name.startswith("tile/entries"))
    folder = write_copy(chain, tmp_path / "bad", **{name: bad[name][:-1] + b"\x00"})
    for more in ((), ("--trust",)):
        found = code_of("what-if", draft, folder, "--jobs", 1, *more, exit_code=UNVERIFIED)
        assert found == "replay-diverged"


def test_a_state_that_is_not_the_one_on_the_log_is_not_believed(tmp_path: Path) -> None:
    chain = ChainBuilder(make_past_genesis())
    add_executed(chain, [ask(chain, 1)], state_digest=bytes(32))
    folder = write_copy(chain, tmp_path / "copy")
    line = ("what-if", "shipped", folder, "--jobs", 1)
    assert code_of(*line, exit_code=UNVERIFIED) == "replay-diverged"
    digest = records_of(chain)[0][0].digest.hex()
    found = code_of("explain", digest, folder, "--jobs", 1, exit_code=UNVERIFIED)
    assert found == "replay-diverged"
    assert tally(*line, "--trust")["requests"] == 1


# --- diff ----------------------------------------------------------------------------------------


@pytest.fixture
def genesis_file(tmp_path: Path) -> Path:
    path = tmp_path / "genesis.json"
    genesis = make_past_genesis(policy_set=msgspec.structs.replace(FEWER, version=7))
    path.write_bytes(encode_genesis_json(genesis))
    return path


def sources(mirror: Path, draft: Path, genesis_file: Path) -> Iterator[tuple[object, bool]]:
    yield "shipped", False
    yield mirror, False
    yield f"{mirror}@1", False
    yield f"{mirror}@5", False
    yield draft, True
    yield genesis_file, True


def test_two_sets_are_compared(mirror: Path, draft: Path, genesis_file: Path) -> None:
    for where, differs in sources(mirror, draft, genesis_file):
        document = tally("diff", "shipped", where, "--jobs", 1)
        changed = [(change["id"], change["how"]) for change in document["policies"]]
        assert changed == ([("necessity.subjects", "changed")] if differs else []), where
    text = invoke("diff", "shipped", genesis_file).stdout
    assert "-when { context.subjects > 200 }\n+when { context.subjects > 20 }" in text
    assert "version 7 · " in text
    assert "Policies: 0 added, 0 removed, 1 changed" in text
    assert "修改 1" in invoke("diff", "shipped", draft, lang="zh").stdout


def test_sets_that_are_not_there_are_refused(mirror: Path, draft: Path, tmp_path: Path) -> None:
    assert code_of("diff", "shipped", f"{mirror}@99", "--jobs", 1) == "height-unknown"
    assert code_of("diff", "shipped", f"{draft}@1") == "height-unknown"
    assert code_of("diff", "shipped", tmp_path / "none.json") == "genesis-unreadable"
    assert code_of("diff", "shipped", tmp_path / "none") == "draft-invalid"
