"""What a pruned mirror still answers, as the whole one does, and how it refuses the rest."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from contracts.engine import ENGINE_VERSION
from ledger.tlog.merkle import HASH_BYTES
from ledger.tlog.tiles import TILE_WIDTH, TilePath
from tests.unit.contracts.drafts.pasts import write_copy
from tests.unit.tools.audit.archived import contents
from tests.unit.tools.audit.grown import Grown, fill, make_grown
from tests.unit.tools.audit.logs import Story
from tests.unit.tools.audit.test_prune import web_server
from tests.unit.tools.test_epochs import code_of, tally
from tools.audit.segments import state_path
from tools.cli import main
from tools.exits import ERROR, NOT_FOUND, OK, UNVERIFIED
from tools.mirror.pruned import SEGMENT_ENTRIES, read_pruned

FILE = "000000.tar"
FORKED_AT = 40_000


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Grown:
    return make_grown(tmp_path_factory.mktemp("grown"))


@pytest.fixture(scope="module")
def forked(grown: Grown, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another history of the network, from somewhere in the segment on."""
    story = Story().live()
    fill(story.chain, FORKED_AT)
    story.chain.add(engine=ENGINE_VERSION, time_ms=story.chain.time_ms + 7)
    fill(story.chain, SEGMENT_ENTRIES + 300)
    assert story.chain.genesis == grown.genesis
    return write_copy(story.chain, tmp_path_factory.mktemp("forked") / "copy")


def told(grown: Grown, *line: object, exit_code: int = OK) -> dict[str, Any]:
    return tally("audit", *line, *grown.trust, exit_code=exit_code)


def whole(grown: Grown) -> Path:
    return grown.folder / "whole"


QUESTIONS: list[Callable[[Grown, Path], tuple[object, ...]]] = [
    lambda grown, copy: ("trace", grown.late, copy),
    lambda grown, copy: ("search", copy, "--limit", 200),
    lambda grown, copy: ("decisions", copy),
    lambda grown, copy: ("gaps", copy, "--all"),
    lambda grown, copy: ("reciprocity", copy),
]


@pytest.mark.parametrize("question", QUESTIONS)
def test_what_has_an_index_answers_as_before(
    grown: Grown, tmp_path: Path, question: Callable[[Grown, Path], tuple[object, ...]]
) -> None:
    copy = grown.pruned(tmp_path / "copy", index="whole")
    answer = told(grown, *question(grown, copy))
    assert answer == told(grown, *question(grown, whole(grown)))
    assert answer["index"] == "kept"


def test_an_index_that_ends_behind_the_cut_is_extended(grown: Grown, tmp_path: Path) -> None:
    copy = grown.pruned(tmp_path / "copy", index="near")
    answer = told(grown, "search", copy, "--limit", 200)
    assert answer.pop("index") == "extended"
    expected = told(grown, "search", whole(grown), "--limit", 200)
    assert answer.items() <= expected.items()


REFUSED: list[Callable[[Grown, Path], tuple[object, ...]]] = [
    lambda grown, copy: ("trace", grown.early, copy, "--jobs", 1),
    lambda grown, copy: ("search", copy, "--jobs", 1),
    lambda grown, copy: ("index", copy, "--jobs", 1),
    lambda grown, copy: ("replay", copy, "--jobs", 1),
    lambda grown, copy: ("replay", copy, "--to", 3),
    lambda grown, copy: ("evidence", grown.early, copy, "-o", copy.parent / "out.zip"),
    lambda grown, copy: ("equivocation", copy, "--jobs", 1),
]  # fmt: skip


def assert_names_the_file(grown: Grown, document: dict[str, Any]) -> None:
    """The error tells people and programs which file of the archive is needed."""
    assert code_of(document) == "entries-archived"
    error = document["error"]
    assert error["file"] == FILE
    assert error["sha256"] == read_pruned(grown.folder / "pruned").files[0]
    assert error["sha256"] in error["detail"]
    assert "tally audit restore" in error["advice"]


@pytest.mark.parametrize("question", REFUSED)
def test_what_needs_an_entry_that_is_gone_says_which_file_has_it(
    grown: Grown, tmp_path: Path, question: Callable[[Grown, Path], tuple[object, ...]]
) -> None:
    """Nothing is written, beside the lock of an index."""
    copy = grown.pruned(tmp_path / "copy", with_state=True)
    before = contents(tmp_path)
    assert_names_the_file(grown, told(grown, *question(grown, copy), exit_code=ERROR))
    after = contents(tmp_path)
    assert after.keys() - before.keys() <= {"copy/.index.sqlite.lock"}
    assert before.items() <= after.items()


@pytest.mark.parametrize("index", ["behind", "whole"])
def test_an_index_that_would_have_to_be_made_anew(grown: Grown, tmp_path: Path, index: str) -> None:
    """One that ends in what is gone, or is damaged; it stays what it was."""
    copy = grown.pruned(tmp_path / "copy", index=index, with_state=True)
    if index == "whole":
        with (copy / "index.sqlite").open("ab") as file:
            file.write(b"?")
    before = contents(copy)
    assert_names_the_file(grown, told(grown, "search", copy, "--jobs", 1, exit_code=ERROR))
    assert before.items() <= contents(copy).items()


@pytest.mark.parametrize(
    ("language", "words"),
    [("en", ("archive files only", "Put them back")), ("zh", ("仅存于归档文件", "请恢复"))],
)
def test_both_languages_say_what_to_do(
    grown: Grown, tmp_path: Path, language: str, words: tuple[str, ...]
) -> None:
    copy = grown.pruned(tmp_path / "copy", index="whole")
    line = ("audit", "trace", grown.early, copy, *grown.trust, "--lang", language)
    done = CliRunner().invoke(main, [str(each) for each in line])
    assert done.exit_code == ERROR
    assert isinstance(done.exception, SystemExit)
    assert all(word in done.stderr for word in (*words, FILE, "tally audit restore"))


def test_done_as_told_it_works(grown: Grown, tmp_path: Path) -> None:
    copy = grown.pruned(tmp_path / "copy", index="whole")
    told(grown, "trace", grown.early, copy, exit_code=ERROR)
    told(grown, "restore", grown.folder / "archive", copy)
    expected = told(grown, "trace", grown.early, whole(grown))
    assert told(grown, "trace", grown.early, copy) == expected


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_replay_from_a_state_behind_the_cut(grown: Grown, tmp_path: Path, jobs: int) -> None:
    copy = grown.pruned(tmp_path / "copy", with_state=True)
    line = ("--from", grown.height, "--jobs", jobs)
    answer, expected = (told(grown, "replay", each, *line) for each in (copy, whole(grown)))
    timed = ("seconds", "entries_per_s")
    assert {name: answer[name] for name in answer if name not in timed} == {
        name: expected[name] for name in expected if name not in timed
    }
    assert (answer["from_height"], answer["blocks"]) == (grown.height, 6)


def test_a_replay_in_parts_names_the_file_too(grown: Grown, tmp_path: Path) -> None:
    """The part that needs it runs in another process."""
    copy = grown.pruned(tmp_path / "copy", with_state=True)
    assert_names_the_file(grown, told(grown, "replay", copy, "--jobs", 2, exit_code=ERROR))


def test_a_replay_from_a_state_that_is_not_there(grown: Grown, tmp_path: Path) -> None:
    """One step helps: the heights that there are, or else how to make a state."""
    copy = grown.pruned(tmp_path / "copy", with_state=True)
    line = ("replay", copy, "--jobs", 1, "--from")
    answer = told(grown, *line, grown.height + 1, exit_code=ERROR)
    assert code_of(answer) == "snapshot-not-found"
    assert answer["error"]["heights"] == [grown.height]
    assert f"({grown.height})" in answer["error"]["detail"]
    told(grown, *line, grown.height)
    shutil.rmtree(copy / "snapshots")
    answer = told(grown, *line, grown.height, exit_code=ERROR)
    assert code_of(answer) == "snapshot-archived"
    assert all(word in answer["error"]["advice"] for word in ("audit restore", "--snapshots-every"))


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_replay_of_all_says_from_where_it_can_be(grown: Grown, tmp_path: Path, jobs: int) -> None:
    copy = grown.pruned(tmp_path / "copy", with_state=True)
    answer = told(grown, "replay", copy, "--jobs", jobs, exit_code=ERROR)
    assert answer["error"]["from_height"] == grown.height
    assert f"--from {grown.height}" in answer["error"]["detail"]


def test_evidence_of_what_is_left_has_the_same_bytes(grown: Grown, tmp_path: Path) -> None:
    """By the index, from the state behind the cut; without that state it is refused."""
    copy = grown.pruned(tmp_path / "copy", index="whole", with_state=True)
    files = tmp_path / "pruned.zip", tmp_path / "whole.zip"
    for folder, file in zip((copy, whole(grown)), files, strict=True):
        told(grown, "evidence", grown.late, folder, "-o", file)
    assert files[0].read_bytes() == files[1].read_bytes()
    network = told(grown, "compare", copy, copy)["sides"][0]["network"]
    line = ("audit", "verify-evidence", files[1], "--genesis-hash", network, "--log", copy)
    assert tally(*line)["log"] is True
    shutil.rmtree(copy / "snapshots")
    assert_names_the_file(grown, tally(*line, "--jobs", 1, exit_code=ERROR))
    out = tmp_path / "none.zip"
    answer = told(grown, "evidence", grown.late, copy, "-o", out, exit_code=ERROR)
    assert_names_the_file(grown, answer)
    assert not out.exists()


# --- of a period ------------------------------------------------------------------------------


OF_A_PERIOD: list[tuple[object, ...]] = [
    ("report", "{copy}", "-o", "{out}.html"),
    ("report", "{copy}", "-o", "{out}.html", "--pair", "north", "south"),
    ("export", "{copy}", "--format", "csv", "-o", "{out}.csv"),
    ("export", "{copy}", "--format", "csv", "--table", "exchanges", "-o", "{out}.csv"),
    ("export", "{copy}", "--format", "csv", "--member", "south", "-o", "{out}.csv"),
    ("export", "{copy}", "--format", "prov", "-o", "{out}.json"),
    ("export", "{copy}", "--format", "prov-jsonld", "-o", "{out}.json"),
    ("export", "{copy}", "--format", "cloudevents", "-o", "{out}.json"),
    ("who", "north", "{copy}"),
]


def asked(line: tuple[object, ...], copy: Path) -> list[str]:
    return [str(each).format(copy=copy, out=copy.parent / "out") for each in (*line, "--jobs", 1)]


@pytest.mark.parametrize("line", OF_A_PERIOD)
def test_a_period_behind_the_cut_is_told(
    grown: Grown, tmp_path: Path, line: tuple[object, ...]
) -> None:
    """That it is what the whole mirror tells, is tested beside each command."""
    copy = grown.pruned(tmp_path / "copy", with_state=True)
    answer = told(grown, *asked(line, copy), "--from", grown.since)
    count = {"report": "total", "export": "rows", "who": "acts"}[str(line[0])]
    assert answer[count]
    if line[0] == "report":
        assert answer["ground"]["begins"]["height"] == grown.height
        page = (tmp_path / "out.html").read_text()
        for words in ("From a pruned copy", "依据已修剪的副本", "what is left of a pruned copy"):
            assert words in page


def test_a_report_is_that_of_the_whole_mirror(grown: Grown, tmp_path: Path) -> None:
    """What says where it began is the one difference, and names of what is not seen."""
    pruned = grown.pruned(tmp_path / "copy", index="whole", with_state=True)
    answers = []
    for copy in (pruned, whole(grown)):
        line = ("report", copy, "-o", tmp_path / "out.html", "--use-index", "--from", grown.since)
        answer = told(grown, *line, "--jobs", 1)
        begins = answer["ground"].pop("begins")
        assert (begins is None) == (copy != pruned)
        # Which record reported an incident stands in what was pruned.
        gaps = [gap for gap in answer["gaps"] if gap["gap"].startswith("incident-")]
        control = next(each for each in answer["controls"] if each["id"] == "incidents")
        indexes = [gap.pop("index") for gap in gaps], control["exceptions"].pop("samples")
        assert (not any(indexes[0]), not indexes[1]) == (copy == pruned,) * 2
        answers.append(answer)
    assert answers[0] == answers[1]
    page = (tmp_path / "out.html").read_text()
    assert "pruned copy" not in page


@pytest.mark.parametrize("line", OF_A_PERIOD)
def test_of_a_period_that_was_pruned_it_says_since_when_it_answers(
    grown: Grown, tmp_path: Path, line: tuple[object, ...]
) -> None:
    copy = grown.pruned(tmp_path / "copy", with_state=True)
    before = contents(tmp_path)
    answer = told(grown, *asked(line, copy), exit_code=ERROR)
    assert code_of(answer) == "period-archived"
    error = answer["error"]
    assert (error["from_height"], error["files"]) == (grown.height + 1, [FILE])
    assert error["from_day"] < grown.since
    assert all(str(each) in error["detail"] for each in (error["from_day"], grown.height + 1, FILE))
    assert "tally audit restore" in error["advice"]
    assert contents(tmp_path) == before
    told(grown, *asked(line, copy), "--from", error["from_day"])


@pytest.mark.parametrize("line", OF_A_PERIOD)
def test_of_a_period_without_a_state_it_names_the_file(
    grown: Grown, tmp_path: Path, line: tuple[object, ...]
) -> None:
    copy = grown.pruned(tmp_path / "copy")
    answer = told(grown, *asked(line, copy), "--from", grown.since, exit_code=ERROR)
    assert_names_the_file(grown, answer)


def test_heights_behind_the_cut_are_exported(grown: Grown, tmp_path: Path) -> None:
    copy = grown.pruned(tmp_path / "copy", with_state=True)
    line = ("--format", "csv", "--from-height", grown.height + 1)
    for folder, name in ((copy, "pruned"), (whole(grown), "whole")):
        told(grown, "export", folder, *line, "-o", tmp_path / name)
    assert (tmp_path / "pruned").read_bytes() == (tmp_path / "whole").read_bytes()
    line = (*line[:-1], grown.height, "-o", tmp_path / "more")
    assert code_of(told(grown, "export", copy, *line, exit_code=ERROR)) == "period-archived"


def test_a_state_of_another_block_is_no_beginning(grown: Grown, tmp_path: Path) -> None:
    copy = grown.pruned(tmp_path / "copy", with_state=True)
    state = state_path(copy, grown.height)
    data = bytearray(state.read_bytes())
    data[-100] ^= 1
    state.unlink()
    state.write_bytes(data)
    line = asked(("who", "north", "{copy}"), copy)
    answer = told(grown, *line, "--from", grown.since, exit_code=ERROR)
    assert code_of(answer) == "snapshot-invalid"


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", ("answers from", "Ask from that day on with --from")),
        ("zh", ("起的期间", "请用 --from 自该日起查询")),
    ],
)
def test_both_languages_say_since_when(
    grown: Grown, tmp_path: Path, language: str, words: tuple[str, ...]
) -> None:
    copy = grown.pruned(tmp_path / "copy", with_state=True)
    line = ["audit", "who", "north", str(copy), *map(str, grown.trust), "--lang", language]
    done = CliRunner().invoke(main, [*line, "--jobs", "1"])
    assert done.exit_code == ERROR
    assert all(each in done.stderr for each in (*words, FILE))
    done = CliRunner().invoke(main, [*line, "--jobs", "1", "--from", grown.since])
    assert done.exit_code == OK
    assert ("in archive files only" if language == "en" else "仅存于归档文件") in done.stderr
    # The exchange from the segment is named by what the state says of it.
    assert "north → south registration assessment" in done.stdout


# --- compare ----------------------------------------------------------------------------------


def test_a_pruned_copy_is_no_other_history(grown: Grown, tmp_path: Path) -> None:
    copy = grown.pruned(tmp_path / "copy")
    for other, result in (("whole", "equal"), ("pruned", "equal"), ("near", "prefix"),
                          ("behind", "prefix")):  # fmt: skip
        for sides in ((copy, grown.folder / other), (grown.folder / other, copy)):
            assert told(grown, "compare", *sides)["result"] == result
    with web_server(copy) as url:
        assert told(grown, "compare", url, whole(grown))["result"] == "equal"


@pytest.mark.parametrize("is_served", [False, True])
def test_a_fork_in_what_was_pruned_is_told(
    grown: Grown, forked: Path, tmp_path: Path, is_served: bool
) -> None:
    """Hash tiles prove where; of the pruned side it says in which file the entry is."""
    copy = grown.pruned(tmp_path / "copy")
    expected = told(grown, "compare", whole(grown), forked, exit_code=UNVERIFIED)
    with web_server(copy) as url:
        side = url if is_served else copy
        answer = told(grown, "compare", side, forked, exit_code=UNVERIFIED)
    assert (answer["result"], answer["first"]) == ("different", FORKED_AT)
    assert answer["sides"][1] == expected["sides"][1]
    pruned, known = answer["sides"][0], expected["sides"][0]
    assert (pruned["entry"], pruned["what"]) == (None, None)
    assert pruned["leaf"] == known["leaf"]
    assert (pruned["archived"]["file"], known["archived"]) == (FILE, None)
    assert pruned["archived"]["sha256"] == read_pruned(copy).files[0]


@pytest.mark.parametrize(("language", "word"), [("en", "was pruned"), ("zh", "已修剪")])
def test_a_fork_in_what_was_pruned_in_words(
    grown: Grown, forked: Path, tmp_path: Path, language: str, word: str
) -> None:
    copy = grown.pruned(tmp_path / "copy")
    line = ["audit", "compare", str(copy), str(forked), "--lang", language]
    done = CliRunner().invoke(main, line)
    assert done.exit_code == UNVERIFIED
    assert all(each in done.stdout for each in (word, FILE, "tally audit restore"))


def test_a_fork_is_not_told_at_another_entry(grown: Grown, forked: Path, tmp_path: Path) -> None:
    """There is no entry to tell that the pruned side lies about its hash."""
    copy = grown.pruned(tmp_path / "copy")
    path = copy / TilePath(level=0, index=FORKED_AT // TILE_WIDTH).format()
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(bytes(HASH_BYTES) + data[HASH_BYTES:])
    answer = told(grown, "compare", copy, forked, exit_code=UNVERIFIED)
    assert code_of(answer) == "copy-invalid"
    assert str(copy) in answer["error"]["detail"]


# --- as a source ------------------------------------------------------------------------------


def test_a_pruned_mirror_is_no_whole_source(grown: Grown, tmp_path: Path) -> None:
    """It is told what is missing and what to do; beside a whole source it serves."""
    copy = grown.pruned(tmp_path / "copy")
    with web_server(copy) as url, web_server(whole(grown)) as other:
        answer = told(grown, "mirror", url, tmp_path / "new", exit_code=NOT_FOUND)
        assert code_of(answer) == "file-not-served"
        assert f"{url}/tile/entries/" in answer["error"]["detail"]
        assert "tally audit restore" in answer["error"]["advice"]
        assert not (tmp_path / "new" / "checkpoint").exists()
        told(grown, "mirror", url, other, tmp_path / "new")
    assert contents(tmp_path / "new/tile") == contents(whole(grown) / "tile")
